"""`lws-kueue demo`."""

import contextlib
import signal
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Final

import click

from lws_kueue.api import printable
from lws_kueue.install import preflight
from lws_kueue.runtime import client as runtime_client
from lws_kueue_lab import sandbox
from lws_kueue_lab.demo import screen, story, telling
from lws_kueue_lab.demo.multikueue import story as several_clusters
from lws_kueue_lab.sandbox import client, kueue_choice

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

# What is wrong outside of the program, to be told in words.
_TOLD: Final = (
    telling.FailedError,
    sandbox.SandboxError,
    client.ApiError,
    client.WaitTimeoutError,
    runtime_client.ApiError,
    preflight.Unfit,
    TimeoutError,
)


class _Interrupted(KeyboardInterrupt):
    """Unwinds everything from wherever a signal reached it.

    It is a KeyboardInterrupt because an event loop lets only that one through.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@click.command("demo")
@click.option("--keep", is_flag=True, help="Leave everything up at the end, until Ctrl-C.")
@click.option(
    "--kueue",
    type=kueue_choice.KUEUE_CHOICE,
    default="auto",
    show_default=True,
    help=kueue_choice.HELP,
)
@click.option(
    "--multikueue",
    is_flag=True,
    help="Four groups of one set in three clusters, each where there is room for it.",
)
def demo_command(keep: bool, kueue: str, multikueue: bool) -> None:
    """Watch a LeaderWorkerSet being admitted group by group on a cluster of its own.

    Starts a real Kubernetes control plane on this machine, with --multikueue four of them, and ends
    everything again.
    """
    tell = several_clusters.tell if multikueue else story.tell
    try:
        with screen.open() as show, _signals() as interrupted:
            tell(show, keep=keep, kueue_mode=kueue, check=interrupted)
    except _Interrupted as interruption:
        click.echo("Interrupted: everything is stopped.")
        sys.exit(128 + interruption.number)
    except _TOLD as error:
        click.echo(f"lws-kueue demo: {printable.escaped(str(error))}", err=True)
        sys.exit(1)


@contextlib.contextmanager
def _signals() -> Iterator[Callable[[], None]]:
    """Turn the first signal into an exception; while that unwinds, further ones do nothing.

    Where a signal meets a finalizer, Python drops the exception without a word, so that has to be
    asked for as well: what is given raises it again.
    """
    first: list[int] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        del frame
        if not first:
            first.append(number)
            raise _Interrupted(number)

    def check() -> None:
        if first:
            raise _Interrupted(first[0])

    before = {number: signal.signal(number, interrupt) for number in _SIGNALS}
    try:
        yield check
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
