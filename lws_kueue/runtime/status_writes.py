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
from lws_kueue.runtime import keys


@dataclass(frozen=True, slots=True)
class _Unwritten:
    write: actions.StatusWrite
    since: float


class StatusWrites:
    """Remembers for every set when its status was written, and what is not written yet."""

    def __init__(self, interval: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        """``interval`` in seconds lies at least between two writes for one set."""
        self._interval = interval
        self._clock = clock
        self._written: dict[keys.SetKey, float] = {}
        self._unwritten: dict[keys.SetKey, _Unwritten] = {}

    def due(
        self, key: keys.SetKey, write: actions.StatusWrite | None
    ) -> tuple[actions.StatusWrite | None, float | None]:
        """Return the write if its time has come, or else for how many seconds it is held back."""
        before = self._unwritten.pop(key, None)
        if write is None:
            return None, None
        now = self._clock()
        since = now
        if before is not None:
            write = dataclasses.replace(write, events=(*before.write.events, *write.events))
            since = before.since
        self._unwritten[key] = _Unwritten(write, since)
        at = max(
            self._written.get(key, now - self._interval) + self._interval,
            now if write.settled else since + self._interval / 2,
        )
        if write.urgent or at <= now:
            return write, None
        return None, at - now

    def conditions(self, key: keys.SetKey) -> tuple[lws.Condition, ...] | None:
        """Return the conditions that were decided on and are not written yet, if there are any."""
        unwritten = self._unwritten.get(key)
        if unwritten is None:
            return None
        return lws.Status.model_validate(unwritten.write.status).conditions

    def written(self, key: keys.SetKey) -> None:
        """Note that the write that was due has succeeded."""
        self._written[key] = self._clock()
        self._unwritten.pop(key, None)

    def forget(self, key: keys.SetKey) -> None:
        """Forget a set that is gone."""
        self._written.pop(key, None)
        self._unwritten.pop(key, None)
