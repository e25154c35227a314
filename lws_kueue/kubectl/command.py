"""The program `kubectl-lws`, which kubectl runs as `kubectl lws`.

Each command is loaded when it is asked for.
"""

import gc
import importlib
import sys
from typing import Final

import click

from lws_kueue import __version__, interruption
from lws_kueue.kubectl import garbage

# Where each command stands; `lws-kueue` has the same.
COMMANDS: Final = {
    "get": "lws_kueue.kubectl.get:get",
    "status": "lws_kueue.kubectl.status:command",
    "explain": "lws_kueue.kubectl.explain:explain",
    "whatif": "lws_kueue.kubectl.whatif:command",
    "where": "lws_kueue.kubectl.where:command",
    "usage": "lws_kueue.kubectl.usage:command",
    "stop": "lws_kueue.kubectl.activity:stop",
    "start": "lws_kueue.kubectl.activity:start",
    "logs": "lws_kueue.kubectl.logs:command",
    "rollout": "lws_kueue.kubectl.rollout:command",
    "dashboard": "lws_kueue.kubectl.dashboard.command:command",
}
# What help lists of each, so that nothing has to be loaded for it.
_HELP: Final = {
    "get": "The sets that there are, and how many of their groups run.",
    "status": "Each group of a set, the update that is under way, what is next.",
    "explain": "Why groups do not run, what is free, what to change.",
    "whatif": "Which groups would run with other replicas, another set or quota.",
    "where": "The blocks, racks and hosts of a set, with its ranks.",
    "usage": "What admitted groups hold of quota, GPUs first.",
    "stop": "Stop one group and give its quota back.",
    "start": "Queue a group again that was stopped.",
    "logs": "What the pods of a group say, by rank.",
    "rollout": "How far an update is; history, undo, restart, pause, resume.",
    "dashboard": "A page on loopback with sets, racks and queues.",
}


def loaded(name: str) -> click.Command:
    """Return a command of these."""
    module, _, attribute = COMMANDS[name].partition(":")
    if module not in sys.modules:
        _load(module)
    found = getattr(sys.modules[module], attribute)
    assert isinstance(found, click.Command)
    return found


def _load(module: str) -> None:
    with garbage.ignored(), interruption.ending_quietly():
        importlib.import_module(module)
        gc.freeze()


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        return loaded(cmd_name) if cmd_name in COMMANDS else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, _HELP[name]) for name in COMMANDS])


@click.group("kubectl-lws", cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="kubectl-lws")
def main() -> None:
    """LeaderWorkerSets: what runs, what waits and why, and where everything is."""


if __name__ == "__main__":
    main()
