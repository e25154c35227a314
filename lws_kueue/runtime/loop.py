"""The reconcile loop: one pass gathers, decides (pure), executes, and looks again if it wrote.

Passes of one set never overlap; a set that fails comes back later and holds up no other.
"""

import dataclasses
import datetime
import logging

from lws_kueue.api import actions, facts
from lws_kueue.controller import decide, repairs
from lws_kueue.controller.observe import members, observed
from lws_kueue.runtime import (
    cache,
    client,
    departures,
    execute,
    informer,
    keys,
    metrics,
    observe,
    recorder,
    status_writes,
    work_queue,
)
from lws_kueue.workload import build

logger = logging.getLogger(__name__)


class Loop:
    """Works through the queue."""

    def __init__(
        self,
        *,
        options: build.Options,
        status_interval: float,
        gang: bool,
        store: cache.Cache,
        departing: departures.Departures,
        queue: work_queue.WorkQueue[keys.SetKey],
        source: informer.Informer,
        executor: execute.Executor,
        events: recorder.Recorder,
    ) -> None:
        self._options = options
        self._gang = gang
        self._cache = store
        self._departures = departing
        self._queue = queue
        self._inflow = source
        self._executor = executor
        self._events = events
        self._status_writes = status_writes.StatusWrites(status_interval)
        self._warned: dict[keys.SetKey, frozenset[actions.Event]] = {}
        self._members: dict[keys.SetKey, dict[int, members.Members]] = {}
        self._attempts: dict[keys.SetKey, repairs.Attempts] = {}

    async def work(self) -> None:
        """Take keys and pass over their sets until cancelled."""
        while True:
            key = await self._queue.get()
            failed = True
            try:
                failed = await self._pass(key)
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
        lost_pods = self._departures.lost_pods(key)
        situation = observe.gather(
            self._cache,
            key,
            support=self._inflow.support,
            detail=self._inflow.detail,
            built_in=await self._inflow.built_in(key),
            remembered=members.with_departed(self._members.get(key, {}), lost_pods),
            unwritten=self._status_writes.conditions(key),
            attempts=self._attempts.get(key),
            gang=self._gang,
            takes_unlabelled=await self._inflow.takes_unlabelled(key),
        )
        if isinstance(situation, cache.InvalidSet):
            message = f"The stored spec is not valid and is left alone: {situation.problem}"
            self._warn(key, situation.meta, (actions.Event("Warning", "InvalidSpec", message),))
            return False
        situation = await self._inflow.looked_up(situation)
        now = datetime.datetime.now(datetime.UTC)
        situation = self._with_attempts(key, situation, now=now)
        plan = decide.decide(situation, now=now, options=self._options)
        regarding = situation.lws.meta if situation.lws else None
        # What is forgotten by a restart is only that a pod went unseen while nobody looked.
        self._members.setdefault(key, {}).update(decide.complete_members(situation, plan))
        due, held = self._status_writes.due(key, plan.status)
        plan = dataclasses.replace(plan, status=due)
        outcome = await self._executor.run(key, regarding=regarding, plan=plan)
        if await self._remember(situation, plan, outcome):
            await self._queue.add(key)
        if not outcome.failed and not outcome.stale and not plan.held:
            self._departures.dealt_with(key, (pod.uid for pod in lost_pods))
        if regarding is None:
            self._forget(key)
            if plan.empty and not plan.held:
                self._attempts.pop(key, None)
        else:
            self._warn(key, regarding, (*plan.warnings, *outcome.warnings))
        for failure in outcome.failures:
            logger.warning("%s/%s: %s", key.namespace, key.name, failure)
        if outcome.status_written:
            self._status_writes.written(key)
        await self._again(key, plan, outcome=outcome, held=held)
        return outcome.failed

    def _with_attempts(
        self, key: keys.SetKey, seen: observed.Observed, *, now: datetime.datetime
    ) -> observed.Observed:
        """Begin to remember writes for a set that is seen for the first time."""
        if key in self._attempts:
            return seen
        attempts = self._attempts[key] = repairs.Attempts.of(seen.lws, now=now)
        return dataclasses.replace(seen, attempts=attempts)

    async def _remember(
        self, seen: observed.Observed, plan: actions.Plan, outcome: execute.Outcome
    ) -> bool:
        """Remember what was written; returns whether it was found out who undoes what is held."""
        occasion = seen.attempts.occasion(seen.lws)
        now = datetime.datetime.now(datetime.UTC)
        for write, message in outcome.refused:
            seen.attempts.refused(write, message, now=now)
        for write in outcome.made:
            if seen.attempts.made(write, occasion=occasion, now=now):
                key = actions.key_of(write)
                metrics.repeated(kind=key.ref.kind, verb=key.verb)
        unnamed = seen.attempts.unnamed(plan.held)
        for key in unnamed:
            seen.attempts.named(key, await self._executor.other_writer(key))
        return bool(unnamed)

    async def _again(
        self,
        key: keys.SetKey,
        plan: actions.Plan,
        *,
        outcome: execute.Outcome,
        held: float | None,
    ) -> None:
        """Ask for the next pass: at once after a write, later where time has to go by.

        After a failure the queue asks for it by itself, but a status that is held back does not
        wait until whatever failed is tried again.
        """
        if held is not None:
            await self._queue.add(key, after=held)
        if outcome.failed:
            return
        if outcome.writes or outcome.stale:
            await self._queue.add(key)
        if plan.recheck_after is not None:
            await self._queue.add(key, after=plan.recheck_after)

    def _warn(
        self, key: keys.SetKey, regarding: facts.Meta, warnings: tuple[actions.Event, ...]
    ) -> None:
        """Send each warning once for as long as its cause lasts."""
        before = self._warned.get(key, frozenset())
        for event in warnings:
            if event not in before:
                self._events.record(regarding, event)
        if warnings or before:
            self._warned[key] = frozenset(warnings)

    def _forget(self, key: keys.SetKey) -> None:
        self._status_writes.forget(key)
        self._warned.pop(key, None)
        self._members.pop(key, None)
