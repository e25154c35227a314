"""What is told again with other values in it: with the pauses of repairs, and not each time.

A text that quotes what somebody else writes is another text as often as that one writes. Each of
them may be news, so the first few follow at once; whoever goes on and on gets the pauses that
repairs have (``controller.repairs``), and so do those who would have to read it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from lws_kueue.api import actions
from lws_kueue.controller import repairs

# Seconds for which the cause of a Warning has to be away before it is told again: while objects
# come and go, one pass may not see what those before and after it see.
AWAY: Final = 60.0


@dataclass(slots=True)
class Pace:
    """That something was told ``times`` times in a row, the last time ``at``, in seconds."""

    at: float
    times: int = 1

    def is_over(self, now: float) -> bool:
        """Whether that is so long ago that the next time is the first."""
        return now - self.at > repairs.FORGOTTEN

    def left(self, now: float) -> float:
        """Return for how many seconds it is not told again."""
        if self.is_over(now):
            return 0.0
        return max(0.0, repairs.pause_after(self.times - 1) - (now - self.at))

    def again(self, now: float) -> None:
        """Note that it is told again."""
        self.at, self.times = now, 1 if self.is_over(now) else self.times + 1


class Warnings:
    """The Warnings that were sent for a set, each once for as long as its cause lasts."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        # Those that were sent, and since when their cause is away.
        self._sent: dict[actions.Event, float | None] = {}
        self._paces: dict[tuple[str, str], Pace] = {}

    def due(self, warnings: tuple[actions.Event, ...]) -> tuple[list[actions.Event], float | None]:
        """Return those of the Warnings of a pass that are to be sent now.

        The second value is in how many seconds another one of them is, None if none is held back.
        """
        now = self._clock()
        lasting = {
            event: since
            for event, since in self._sent.items()
            if since is None or now - since < AWAY
        }
        self._sent = {event: now if since is None else since for event, since in lasting.items()}
        self._paces = {of: pace for of, pace in self._paces.items() if not pace.is_over(now)}
        due: list[actions.Event] = []
        waits: list[float] = []
        for event in warnings:
            if event in lasting:
                self._sent[event] = None
            elif (left := self._left(event, now)) > 0:
                waits.append(left)
            else:
                self._begin(event, now)
                due.append(event)
        return due, actions.soonest(waits)

    def not_sent(self, event: actions.Event) -> None:
        """Note that a Warning could not be sent after all; a later pass tries again."""
        del self._sent[event]
        pace = self._paces[event.subject]
        pace.times -= 1
        if not pace.times:
            del self._paces[event.subject]

    def _left(self, event: actions.Event, now: float) -> float:
        pace = self._paces.get(event.subject)
        return pace.left(now) if pace is not None else 0.0

    def _begin(self, event: actions.Event, now: float) -> None:
        self._sent[event] = None
        if (pace := self._paces.get(event.subject)) is not None:
            pace.again(now)
        else:
            self._paces[event.subject] = Pace(now)
