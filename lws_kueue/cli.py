"""The command line: install, run, those of `kubectl lws`, and what other distributions add."""

import asyncio
import sys
from importlib import metadata
from typing import Final

import click
from rich import console as rich_console
from rich import table as rich_table

from lws_kueue import interruption
from lws_kueue.api import printable
from lws_kueue.install import install, manifests, patience, preflight
from lws_kueue.kubectl import command as questions
from lws_kueue.manager import command
from lws_kueue.manager.settings import flags
from lws_kueue.runtime import client

# What other distributions add to the commands: the laboratory has some.
_ENTRY_POINTS: Final = "lws_kueue.commands"

# Told where one of them is asked for and not installed.
_OF_THE_LAB: Final = ("bench", "demo", "sandbox")


class _Group(click.Group):
    """A group that also has the commands of installed distributions.

    They are imported when they are asked for: the controller in a cluster has no use for them.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *questions.COMMANDS, *_added().names])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        own = super().get_command(ctx, cmd_name)
        if own is not None:
            return own
        if cmd_name in questions.COMMANDS:
            return questions.loaded(cmd_name)
        if cmd_name in _added().names:
            with interruption.ending_quietly():
                command = _added()[cmd_name].load()
            assert isinstance(command, click.Command)
            return command
        if cmd_name in _OF_THE_LAB:
            raise click.ClickException(
                f"{cmd_name} belongs to the laboratory: in a checkout, pip install . ./lab"
            )
        return None


def _added() -> metadata.EntryPoints:
    return metadata.entry_points(group=_ENTRY_POINTS)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=lambda ctx, _, value: flags.print_version(ctx) if value else None,
    help="Print version, build date and commit, and exit.",
)
def main() -> None:
    """LeaderWorkerSets on Kubernetes, admitted group by group by Kueue."""


def _console() -> rich_console.Console:
    """Return a console that, in a pipe or a log, does not cut names to fit a guessed width."""
    console = rich_console.Console()
    return console if console.is_terminal else rich_console.Console(width=160)


def _tell(text: str) -> None:
    """Say something beside what a command is asked for."""
    click.echo(f"lws-kueue: {printable.escaped(text)}", err=True)


@main.command("install")
@flags.kubeconfig
@flags.context
@click.option(
    "--gang-scheduling",
    type=click.Choice(manifests.GANG_SCHEDULERS),
    help="Scheduler of whole groups; its policy tells pods their PodGroup, and goes without this.",
)
@click.option(
    "--default-priority-class",
    is_flag=True,
    help="Sets without a priority get the WorkloadPriorityClass `default`, as with Kueue's feature "
    "gate WorkloadPriorityClassDefaulting; the policy goes without this.",
)
def install_command(
    kubeconfig: str | None,
    context: str | None,
    gang_scheduling: manifests.GangScheduling | None,
    default_priority_class: bool,
) -> None:
    """Apply the LeaderWorkerSet CRD, the admission policies and users' roles.

    Repeating it is safe.

    What an earlier version installed, and this one has not, is removed. Where Kueue is served, sets
    without a queue get the default one: repeat it when Kueue has come or gone.
    """

    async def run() -> list[install.Installed]:
        api = await client.Client.load(kubeconfig=kubeconfig, context=context)
        try:
            return await install.install(
                api,
                gang_scheduling=gang_scheduling,
                default_priority_class=default_priority_class,
                patience=patience.Patience(tell=_tell),
            )
        finally:
            await api.close()

    try:
        results = asyncio.run(run())
    except (
        preflight.Unfit,
        patience.NoPatienceLeft,
        client.ApiError,
        client.NoServerError,
        TimeoutError,
    ) as error:
        # What is wrong is outside the program.
        _tell(str(error))
        sys.exit(1)
    table = rich_table.Table("Kind", "Name", "Change", box=None)
    for result in results:
        table.add_row(result.kind, result.name, result.change)
    _console().print(table)


main.add_command(command.run_command)


if __name__ == "__main__":
    main()
