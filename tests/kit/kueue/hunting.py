"""Lives of sets that go on while the controller is killed in the middle of their steps.

What plays the steps of a life and knows their ends is a lane; `lanes` has those of one cluster.
"""

import collections
import concurrent.futures
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from tests.kit.kueue import killing

# While all that takes part is killed again and again, a step may take long.
PATIENCE: Final = 120.0
# So long nothing has happened to a set that has settled.
QUIET: Final = 1.5
_LOOK_SECONDS: Final = 0.02


class Lane(Protocol):
    """A set with the steps of its life, each with a kind, a deed (``do``) and an end."""

    @property
    def namespace(self) -> str:
        """Where the set is."""

    @property
    def steps(self) -> Sequence[Any]:
        """What is done to it, in order."""

    def settles(self, step: Any, *, quiet: float, timeout: float) -> Any:
        """Wait until a step is over, and return how it ended."""

    def comes_to(self, step: Any, expected: Any, *, timeout: float) -> None:
        """Wait until a step has ended like that, or fail."""


@dataclass(slots=True)
class Player:
    """A lane, the kind of the step that it is in the middle of, and how many are over."""

    lane: Lane
    patience: float = PATIENCE
    doing: str = ""
    ended: int = 0
    ends: list[Any] = field(default_factory=list)

    @property
    def lives(self) -> int:
        """How often all steps were played while the controller was hunted."""
        return self.ended // len(self.lane.steps)

    def calmly(self) -> None:
        """Play all steps once, and remember how each ended."""
        for step in self.lane.steps:
            step.do(self.lane)
            self.ends.append(self.lane.settles(step, quiet=QUIET, timeout=self.patience))

    def hunted(self, over: threading.Event) -> None:
        """Play all steps again and again, and once that is ``over`` the rest of them."""
        while not over.is_set():
            for step, expected in zip(self.lane.steps, self.ends, strict=True):
                self.doing = step.kind
                step.do(self.lane)
                self.lane.comes_to(step, expected, timeout=self.patience)
                self.doing, self.ended = "", self.ended + 1


@dataclass(slots=True)
class Hunt:
    """What came of it: how often each kind of step was met, and what went wrong."""

    runs: int = 0
    seconds: float = 0.0
    met: collections.Counter[str] = field(default_factory=collections.Counter)
    failures: list[str] = field(default_factory=list)


def all_calmly(players: Sequence[Player]) -> None:
    """Play all lives once, side by side, while nobody is killed."""
    with concurrent.futures.ThreadPoolExecutor(len(players)) as pool:
        list(pool.map(Player.calmly, players))


def hunt(
    mortal: killing.Mortal,
    players: Sequence[Player],
    *,
    runs: int,
    seed: int,
    await_moment: Callable[[random.Random], object],
) -> Hunt:
    """Kill the controller so many times in the middle of something, and start it again at once.

    A kill meets every set that is in the middle of a step. The next one comes when half of those
    steps have come to their ends, so that a long step is met more than once, and what repairs it as
    well. ``await_moment`` waits for the moment at which the next one comes.
    """
    result, over = Hunt(), threading.Event()
    began = time.monotonic()
    rng = random.Random(seed)
    with concurrent.futures.ThreadPoolExecutor(len(players)) as pool:
        playing = [pool.submit(player.hunted, over) for player in players]
        try:
            while result.runs < runs and not any(each.done() for each in playing):
                await_moment(rng)
                met = [(each, each.ended, each.doing) for each in players if each.doing]
                mortal.kill()
                mortal.start()
                result.runs += bool(met)
                result.met.update({kind for _, _, kind in met})
                while 2 * sum(player.ended > ended for player, ended, _ in met) < len(met):
                    if any(each.done() for each in playing):
                        break
                    time.sleep(_LOOK_SECONDS)
        finally:
            over.set()
    result.seconds = time.monotonic() - began
    faults = (each.exception() for each in playing)
    result.failures += [str(fault) for fault in faults if fault is not None]
    return result
