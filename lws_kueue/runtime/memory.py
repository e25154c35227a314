"""What is remembered of a set from one pass to the next: seven things, all in one place.

None of it is stored: a restart forgets it, and `docs/design.md` says of each what that costs.
"""

import datetime
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from lws_kueue.api import actions, lws
from lws_kueue.controller import decide, refusals, repairs
from lws_kueue.controller.observe import groups, observed
from lws_kueue.controller.observe import members as group_members
from lws_kueue.runtime import keys, metrics, repetition, writes

# So many passes in a row may find that what they rest on is outdated, and be repeated at once.
MOST_FRUITLESS: Final = 3


@dataclass(frozen=True, slots=True)
class _Unwritten:
    write: actions.StatusWrite
    since: float


class StatusWrites:
    """When the status of a set is written: not too often, and not while it still moves.

    A write that only tells of progress would use up the interval, and then the news that people and
    scripts wait for, that all is ready, would come late. So progress waits for half an interval
    whether more is coming. What was decided meanwhile is not lost: the next decision builds on its
    conditions, and its events follow the write that tells it.

    Whatever is only told with other values than the last time has a pause that grows, like repairs.
    """

    def __init__(self, interval: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        """``interval`` in seconds lies at least between two writes."""
        self._interval = interval
        self._clock = clock
        self._written: float | None = None
        self._unwritten: _Unwritten | None = None
        self._gist: Mapping[str, Any] | None = None
        self._pace: repetition.Pace | None = None

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
            write = replace(write, events=(*before.write.events, *write.events))
            since = before.since
        self._unwritten = _Unwritten(write, since)
        at = now if write.settled else since + self._interval / 2
        if self._written is not None:
            at = max(at, self._written + self._interval)
        if self._pace is not None and self._repeats(write):
            at = max(at, now + self._pace.left(now))
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
        now, unwritten = self._clock(), self._unwritten
        if unwritten is not None:
            if self._pace is not None and self._repeats(unwritten.write):
                self._pace.again(now)
            else:
                self._gist, self._pace = unwritten.write.gist, repetition.Pace(now)
        self._written, self._unwritten = now, None

    def _repeats(self, write: actions.StatusWrite) -> bool:
        """Whether a write tells nothing but other values than the last one."""
        return write.gist is not None and write.gist == self._gist


@dataclass(slots=True)
class Memory:
    """Of one set.

    ``members`` are those of each complete group, by index; ``lost_pods``, by UID, went while no
    pass looked; ``attempts`` are the writes of the last minutes, None before the first pass;
    ``warnings`` are those that were sent; ``fruitless`` is how many passes in a row found outdated
    what they were decided on, and wrote nothing; ``status`` is when the status was written, and
    what is held back of it; ``memo`` is what the set was put together from, which saves work and
    decides nothing.
    """

    status: StatusWrites
    warnings: repetition.Warnings
    members: dict[int, group_members.Members] = field(default_factory=dict)
    lost_pods: dict[str, group_members.Departed] = field(default_factory=dict)
    attempts: repairs.Attempts | None = None
    fruitless: int = 0
    memo: groups.Memo = field(default_factory=groups.Memo)

    def due(self, plan: actions.Plan) -> tuple[actions.Plan, float | None]:
        """Return a plan with its status write if its time has come.

        If it has not, the second value is for how many seconds the write is held back.
        """
        write, held = self.status.due(plan.status)
        return replace(plan, status=write), held

    def learn(self, seen: observed.Observed, plan: actions.Plan, outcome: writes.Outcome) -> bool:
        """Take what a pass saw, what it wanted, and what became of that.

        Returns whether something was refused of which the next pass has to tell.
        """
        # What is forgotten by a restart is only that a pod went unseen while nobody looked.
        complete = decide.complete_members(seen, plan)
        there = seen.found.by_index.keys()
        left = self.members
        if not left.keys() <= there:
            left = {index: one for index, one in left.items() if index in there}
        self.members = {**left, **complete}
        now = datetime.datetime.now(datetime.UTC)
        seen.attempts.wants(refusals.keys(plan), now=now)
        news = [seen.attempts.refused(write, why, now=now) for write, why in outcome.refused]
        self.fruitless = self.fruitless + 1 if outcome.fruitless else 0
        self.made(seen, outcome)
        if outcome.status_written:
            self.status.written()
        return any(news)

    def made(self, seen: observed.Observed, outcome: writes.Outcome) -> None:
        """Take what was written on what was ``seen``, so that nobody repeats it without a pause."""
        occasion = seen.attempts.occasion(seen.lws)
        now = datetime.datetime.now(datetime.UTC)
        for write in outcome.made:
            if seen.attempts.made(write, occasion=occasion, now=now):
                key = actions.key_of(write)
                metrics.repeated(kind=key.ref.kind, verb=key.verb)
        for write, what in outcome.changed:
            seen.attempts.changed(write, what)

    @property
    def lags(self) -> bool:
        """Whether what is decided on has been outdated too often for a cache that lags."""
        return self.fruitless >= MOST_FRUITLESS


class Memories:
    """The memory of every set, by its key."""

    def __init__(
        self, *, status_interval: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """``status_interval`` in seconds lies at least between two status writes for one set."""
        self._by_set: dict[keys.SetKey, Memory] = defaultdict(
            lambda: Memory(StatusWrites(status_interval, clock=clock), repetition.Warnings(clock))
        )

    def of(self, key: keys.SetKey) -> Memory:
        """Return the memory of a set; one that is new remembers nothing."""
        return self._by_set[key]

    def learn(
        self,
        key: keys.SetKey,
        seen: observed.Observed,
        plan: actions.Plan,
        outcome: writes.Outcome,
    ) -> bool:
        """Take what a pass over a set saw, what it wanted, and what became of that.

        Returns whether something was refused of which the next pass has to tell.
        """
        news = self.of(key).learn(seen, plan, outcome)
        if seen.gone:
            self._forget(key, over=plan.empty and not plan.held)
        return news

    def _forget(self, key: keys.SetKey, *, over: bool) -> None:
        """Forget a set that is gone.

        Until all is ``over``, because nothing of it is left to do either, its writes stay
        remembered, and so do pods that went in this very pass.
        """
        before = self._by_set.pop(key, None)
        if before is None or (over and not before.lost_pods):
            return
        left = self._by_set[key]
        left.lost_pods = before.lost_pods
        if not over:
            left.attempts = before.attempts
