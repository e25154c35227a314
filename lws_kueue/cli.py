"""The command line: install, run, demo, sandbox."""

import asyncio
import importlib
import logging
import sys
from collections.abc import Mapping
from typing import Final, NoReturn

import click
from rich import console as rich_console
from rich import table as rich_table

import lws_kueue
from lws_kueue.runtime import client, install, preflight, process, settings

_KUBECONFIG = click.option(
    "--kubeconfig",
    type=click.Path(exists=True, dir_okay=False),
    envvar="KUBECONFIG",
    help="Kubeconfig file; without one, the pod's service account.",
)
_CONTEXT = click.option("--context", help="Context of the kubeconfig file.")

# Commands of the cluster on this machine. The controller in a cluster has no use for their
# modules, so they are imported when they are asked for.
_LATER: Final[Mapping[str, tuple[str, str]]] = {
    "demo": ("lws_kueue.demo.command", "demo_command"),
    "sandbox": ("lws_kueue.sandbox.cli", "sandbox_group"),
}


class _Group(click.Group):
    """A group that also has the commands of `_LATER`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *_LATER])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _LATER:
            return super().get_command(ctx, cmd_name)
        module, attribute = _LATER[cmd_name]
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(lws_kueue.__version__, prog_name="lws-kueue")
def main() -> None:
    """LeaderWorkerSets on Kubernetes, admitted group by group by Kueue."""


def _console() -> rich_console.Console:
    """Return a console that, in a pipe or a log, does not cut names to fit a guessed width."""
    console = rich_console.Console()
    return console if console.is_terminal else rich_console.Console(width=160)


def _refuse(error: Exception) -> NoReturn:
    """End with a message instead of a traceback: what is wrong is outside the program."""
    click.echo(f"lws-kueue: {error}", err=True)
    sys.exit(1)


@main.command("install")
@_KUBECONFIG
@_CONTEXT
def install_command(kubeconfig: str | None, context: str | None) -> None:
    """Apply the LeaderWorkerSet CRD and the admission policies; repeating it is safe."""

    async def run() -> list[install.Installed]:
        api = await client.Client.load(kubeconfig=kubeconfig, context=context)
        try:
            return await install.install(api)
        finally:
            await api.close()

    try:
        results = asyncio.run(run())
    except (preflight.Unfit, client.ApiError, TimeoutError) as error:
        _refuse(error)
    table = rich_table.Table("Kind", "Name", "Change", box=None)
    for result in results:
        table.add_row(result.kind, result.name, result.change)
    _console().print(table)


@main.command("run")
@_KUBECONFIG
@_CONTEXT
@click.option("--liveness-port", type=int, help="Serve /healthz on this port.")
@click.option("--verbose", is_flag=True, help="Also log what is decided not to do.")
def run_command(
    kubeconfig: str | None, context: str | None, liveness_port: int | None, verbose: bool
) -> None:
    """Run the controller until interrupted."""
    level = logging.DEBUG if verbose else logging.INFO
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    # kopf tells about each event it passes on; that is our log's job, and only if it matters.
    logging.getLogger("kopf").setLevel(logging.WARNING)
    # It warns of kinds that are not served; that Kueue is missing is said by ourselves.
    logging.getLogger("kopf._core.reactor.observation").setLevel(logging.ERROR)
    wanted = settings.Settings(kubeconfig=kubeconfig, context=context, liveness_port=liveness_port)
    try:
        asyncio.run(process.run(wanted))
    except (preflight.Unfit, client.ApiError) as error:
        _refuse(error)


if __name__ == "__main__":
    main()
