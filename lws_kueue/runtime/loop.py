"""The reconcile loop: one pass observes, decides (pure), carries out, and looks again if it wrote.

Passes of one set never overlap; a set that fails comes back later and holds up no other.
"""

import asyncio
import datetime
import logging
import time
from collections.abc import Callable
from typing import Final

from lws_kueue.api import actions, facts, memos
from lws_kueue.controller import decide
from lws_kueue.controller.observe import observed
from lws_kueue.runtime import (
    built_in,
    client,
    cluster,
    keys,
    log_fields,
    memory,
    metrics,
    work_queue,
    writes,
)
from lws_kueue.workload import build

# For how long a pass goes on at least before it gives way: in seconds, and how many times as long
# as deciding took.
LEAST_SECONDS: Final = 0.5
LEAST_SHARE: Final = 4

# For so long a decision works out what it did not know before it lets others have a turn.
PIECE_SECONDS: Final = 0.03

logger = logging.getLogger(__name__)


class _Piece:
    """Says when a piece of a decision is over; what was known before it is none of it."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._until: float | None = None

    def __call__(self) -> bool:
        now = self._clock()
        if self._until is None:
            self._until = now + PIECE_SECONDS
        return now > self._until


class Loop:
    """Works through the queue."""

    def __init__(
        self,
        *,
        options: build.Options,
        queue: work_queue.WorkQueue[keys.SetKey],
        memories: memory.Memories,
        home: cluster.Cluster,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``home`` is the cluster in which the sets are."""
        self._options = options
        self._queue = queue
        self._memories = memories
        self._cluster = home
        self._clock = clock

    async def work(self) -> None:
        """Take keys and pass over their sets until cancelled."""
        while True:
            key = await self._queue.get()
            log_fields.begin(f"{key.namespace}/{key.name}")
            failed = True
            try:
                failed = await self._pass(key)
            except built_in.NotYetKnown:
                failed = False
            except client.ApiError as error:
                logger.warning("%s/%s: %s", key.namespace, key.name, error)
            except Exception:
                metrics.panics.inc()
                logger.exception("%s/%s: the pass failed", key.namespace, key.name)
            finally:
                delay = await self._queue.done(key, failed=failed)
            if delay is not None:
                logger.info("%s/%s: looked at again in %.1f s", key.namespace, key.name, delay)

    async def _pass(self, key: keys.SetKey) -> bool:
        """Pass over one set once; returns whether something failed."""
        began = self._clock()
        seen, plan = await self.planned(key)
        plan, held = self._memories.of(key).due(plan)
        gives_way = self._gives_way(key, deciding=self._clock() - began)
        outcome = await self._cluster.carry_out(key, seen, plan, gives_way=gives_way)
        news = self._memories.learn(key, seen, plan, outcome)
        if seen.meta is not None:
            held = actions.soonest((held, self._warn(key, seen.meta, plan.warnings)))
        for failure in outcome.failures:
            logger.warning("%s/%s: %s", key.namespace, key.name, failure)
        await self._name_rivals(key, seen, plan)
        failed = outcome.failed or bool(plan.faults) or self._memories.of(key).lags
        await self._again(key, plan, outcome=outcome, failed=failed, news=news, held=held)
        return failed

    def _gives_way(self, key: keys.SetKey, *, deciding: float) -> writes.GivesWay:
        """Return what says that a pass leaves the rest of what it makes to the next one.

        It does where there is news of its set, which may be that groups are complete or admitted,
        and it has gone on for a while by then: for long enough that deciding, which took so many
        seconds, stays the smaller part.
        """
        until = self._clock() + max(LEAST_SECONDS, LEAST_SHARE * deciding)

        def gives_way(written: int) -> bool:
            late = written >= writes.MOST_OF_SET and self._clock() >= until
            return late and self._queue.asked(key)

        return gives_way

    async def planned(self, key: keys.SetKey) -> tuple[observed.Observed, actions.Plan]:
        """Look at a set and decide about it, and do nothing.

        Raises:
            client.ApiError: something that has to be known could not be read.
            built_in.NotYetKnown: what Kueue does is being found out; the queue gives the set again.
        """
        seen = await self._cluster.observer.of(key)
        return seen, await self._decide(key, seen)

    async def _decide(self, key: keys.SetKey, seen: observed.Observed) -> actions.Plan:
        """Decide about a set, in pieces between which others have a turn.

        What was seen and the time are the same in all of them, and so is what comes of it.
        """
        now = datetime.datetime.now(datetime.UTC)
        decision = object()
        while True:
            try:
                with seen.memo.pieces(decision, _Piece(self._clock)):
                    plan = self._decided(seen, now=now)
                break
            except memos.Paused:
                await asyncio.sleep(0)
        for fault in plan.faults:
            metrics.panics.inc()
            logger.error("%s/%s: an error in deciding", key.namespace, key.name, exc_info=fault)
        return plan

    def _decided(self, seen: observed.Observed, *, now: datetime.datetime) -> actions.Plan:
        """Decide about a set; an error in that costs neither other sets nor what has to stop."""
        try:
            return decide.decide(seen, now=now, options=self._options)
        except memos.Paused:
            raise
        except Exception as error:
            return decide.undecided(seen, error, now=now, options=self._options)

    async def _name_rivals(
        self, key: keys.SetKey, seen: observed.Observed, plan: actions.Plan
    ) -> None:
        """Find out who undoes what is held; the next pass tells of it."""
        unnamed = seen.attempts.unnamed(plan.held)
        for write in unnamed:
            seen.attempts.named(write, await self._cluster.other_writer(key, write))
        if unnamed:
            await self._queue.add(key)

    async def _again(
        self,
        key: keys.SetKey,
        plan: actions.Plan,
        *,
        outcome: writes.Outcome,
        failed: bool,
        news: bool,
        held: float | None,
    ) -> None:
        """Ask for the next pass: at once after a write, later where time has to go by.

        After a failure the queue asks for it by itself, but a status or a Warning that is held back
        does not wait until whatever failed is tried again.
        """
        if held is not None:
            await self._queue.add(key, after=held)
        if failed:
            return
        if outcome.writes or outcome.stale or outcome.left or news:
            await self._queue.add(key)
        if plan.recheck_after is not None:
            await self._queue.add(key, after=plan.recheck_after)

    def _warn(
        self, key: keys.SetKey, regarding: facts.Meta, warnings: tuple[actions.Event, ...]
    ) -> float | None:
        """Send each warning once for as long as its cause lasts.

        Returns in how many seconds another one is to be sent, None if none is held back.
        """
        remembered = self._memories.of(key).warnings
        due, held = remembered.due(warnings)
        for event in due:
            if not self._cluster.events.record(regarding, event):
                remembered.not_sent(event)
        return held
