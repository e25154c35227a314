"""When the status of a set is written: at most once in an interval, and not while it still moves.

A write that only tells of progress would use up the interval, and then the news that people and
scripts wait for, that all is ready, would come late. So progress waits for half an interval whether
more is coming. What was decided meanwhile is not lost: the next decision builds on its conditions,
and its events follow the write that tells it.
"""

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass

from lws_kueue.api import actions, lws


@dataclass(frozen=True, slots=True)
class _Unwritten:
    write: actions.StatusWrite
    since: float


class StatusWrites:
    """Remembers of a set when its status was written, and what is not written yet."""

    def __init__(self, interval: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        """``interval`` in seconds lies at least between two writes."""
        self._interval = interval
        self._clock = clock
        self._written: float | None = None
        self._unwritten: _Unwritten | None = None

    def due(
        self, write: actions.StatusWrite | None
    ) -> tuple[actions.StatusWrite | None, float | None]:
        """Return the write if its time has come, or else for how many seconds it is held back."""
        before, self._unwritten = self._unwritten, None
        if write is None:
            return None, None
        now = self._clock()
        since = now
        if before is not None:
            write = dataclasses.replace(write, events=(*before.write.events, *write.events))
            since = before.since
        self._unwritten = _Unwritten(write, since)
        at = now if write.settled else since + self._interval / 2
        if self._written is not None:
            at = max(at, self._written + self._interval)
        if write.urgent or at <= now:
            return write, None
        return None, at - now

    def conditions(self) -> tuple[lws.Condition, ...] | None:
        """Return the conditions that were decided on and are not written yet, if there are any."""
        if self._unwritten is None:
            return None
        return lws.Status.model_validate(self._unwritten.write.status).conditions

    def written(self) -> None:
        """Note that the write that was due has succeeded."""
        self._written, self._unwritten = self._clock(), None
