"""The reconcile loop: one pass observes, decides (pure), carries out, and looks again if it wrote.

Passes of one set never overlap; a set that fails comes back later and holds up no other.
"""

import datetime
import logging

from lws_kueue.api import actions, facts
from lws_kueue.controller import decide
from lws_kueue.controller.observe import observed
from lws_kueue.runtime import cache, client, cluster, keys, memory, metrics, work_queue, writes
from lws_kueue.workload import build

logger = logging.getLogger(__name__)


class Loop:
    """Works through the queue."""

    def __init__(
        self,
        *,
        options: build.Options,
        queue: work_queue.WorkQueue[keys.SetKey],
        memories: memory.Memories,
        home: cluster.Cluster,
    ) -> None:
        """``home`` is the cluster in which the sets are."""
        self._options = options
        self._queue = queue
        self._memories = memories
        self._cluster = home

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
        seen = await self._cluster.observer.of(key)
        if isinstance(seen, cache.InvalidSet):
            message = f"The stored spec is not valid and is left alone: {seen.problem}"
            self._warn(key, seen.meta, (actions.Event("Warning", "InvalidSpec", message),))
            return False
        now = datetime.datetime.now(datetime.UTC)
        plan = decide.decide(seen, now=now, options=self._options)
        plan, held = self._memories.of(key).due(plan)
        outcome = await self._cluster.carry_out(key, seen, plan)
        self._memories.learn(key, seen, plan, outcome)
        if seen.lws is not None:
            self._warn(key, seen.lws.meta, (*plan.warnings, *outcome.warnings))
        for failure in outcome.failures:
            logger.warning("%s/%s: %s", key.namespace, key.name, failure)
        await self._name_rivals(key, seen, plan)
        await self._again(key, plan, outcome=outcome, held=held)
        return outcome.failed

    async def _name_rivals(
        self, key: keys.SetKey, seen: observed.Observed, plan: actions.Plan
    ) -> None:
        """Find out who undoes what is held; the next pass tells of it."""
        unnamed = seen.attempts.unnamed(plan.held)
        for write in unnamed:
            seen.attempts.named(write, await self._cluster.other_writer(write))
        if unnamed:
            await self._queue.add(key)

    async def _again(
        self,
        key: keys.SetKey,
        plan: actions.Plan,
        *,
        outcome: writes.Outcome,
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
        for event in self._memories.of(key).unsent(warnings):
            self._cluster.events.record(regarding, event)
