"""Who is measured: the StatefulSet controller alone, ours, and the peers in Go."""

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, Literal

from lws_kueue.api import names
from lws_kueue_lab import controller, sandbox
from lws_kueue_lab.bench import cases, loop_blocks
from lws_kueue_lab.sandbox import kueue, kueue_manager, kueue_settings, lws_manager

Contender = Literal["nobody", "ours", "LWS", "LWS + Kueue"]

PEERS: Final[tuple[Contender, ...]] = ("LWS", "LWS + Kueue")
_BLOCKS_FILE: Final = "loop-blocks"


class Served:
    """A cluster in which somebody serves sets."""

    def __init__(
        self, own: controller.Controller | None, blocks: Callable[[float], Mapping[str, float]]
    ) -> None:
        self.own = own
        #: The longest blocks of our event loop from a moment on, as figures; none for others.
        self.blocks = blocks

    def check(self) -> None:
        """Raise `ComponentDiedError` if our controller has ended."""
        if self.own is not None:
            self.own.check()


def of(case: cases.Case, *, peers: bool) -> tuple[Contender, ...]:
    """Return who takes part in a case; peers do if the environment names their programs.

    Raises SandboxError if it names half of one.
    """
    if case == "floor":
        return ("nobody",)
    if not peers or lws_manager.from_environment() is None:
        return ("ours",)
    if case == "plain":
        return ("ours", "LWS")
    return ("ours", "LWS + Kueue") if kueue_manager.from_environment() else ("ours",)


@contextlib.contextmanager
def serving(
    cluster: sandbox.Sandbox, case: cases.Case, contender: Contender, *, frameworks: Sequence[str]
) -> Iterator[Served]:
    """Have sets served for as long as the context is open, by Kueue as well where it has a part.

    ``frameworks`` are Kueue's integrations; its own for sets is added where that is the peer.
    Raises SandboxError if something does not start.
    """
    with contextlib.ExitStack() as stack:
        if contender in PEERS:
            source = lws_manager.from_environment()
            assert source is not None, "it is asked for only where there is one"
            stack.enter_context(lws_manager.run(cluster, source=source))
        if case in cases.QUEUED:
            settings = _settings(contender, frameworks)
            cluster.kueue = stack.enter_context(kueue.start(cluster, settings=settings))
        if contender != "ours":
            yield Served(None, lambda _: {})
            return
        controller.install_api(cluster)
        file = cluster.directory / _BLOCKS_FILE
        program = (sys.executable, "-m", loop_blocks.__name__, str(file))
        own = stack.enter_context(controller.start(cluster, program=program))
        own.wait_until_listed()

        def blocks(since: float) -> Mapping[str, float]:
            with file.open(encoding="ascii") as lines:
                return loop_blocks.longest(loop_blocks.read(lines), since=since)

        yield Served(own, blocks)


def _settings(contender: Contender, frameworks: Sequence[str]) -> kueue_settings.KueueSettings:
    if contender == "ours":
        return kueue_settings.KueueSettings(frameworks=tuple(frameworks))
    return kueue_settings.KueueSettings(
        frameworks=(*frameworks, names.KUEUE_LWS_FRAMEWORK), external_frameworks=()
    )
