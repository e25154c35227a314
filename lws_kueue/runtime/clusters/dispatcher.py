"""Other clusters for the passes of sets: what is known of them, and who writes to them.

`Dispatcher` puts together what `Connections` and their workers know, as a value for one set, and
wakes the sets that something concerns. Nothing of it exists unless worker clusters are switched on.
"""

import asyncio
import datetime
import logging
from collections.abc import Collection, Mapping
from typing import Final

from lws_kueue.api import actions, facts, kueue, names, numbers
from lws_kueue.controller.admission import dispatching
from lws_kueue.controller.observe import observed
from lws_kueue.dispatch import activation, identity, settings
from lws_kueue.dispatch import observed as clusters
from lws_kueue.dispatch import plan as dispatch
from lws_kueue.runtime import (
    built_in,
    cache,
    client,
    execute,
    keys,
    memory,
    resources,
    work_queue,
    writes,
)
from lws_kueue.runtime.clusters import connections, lanes

# How often Workloads are looked through for some that are no set's and wait for a check of ours.
OTHERS_INTERVAL: Final = 5.0

# So many pods are looked up beside each other.
_AT_ONCE: Final = 8

logger = logging.getLogger(__name__)


class Dispatcher:
    """The clusters of one manager."""

    def __init__(
        self,
        to: connections.Connections,
        *,
        options: settings.Settings,
        store: cache.Cache,
        home: client.Client,
        queue: work_queue.WorkQueue[keys.SetKey],
        memories: memory.Memories,
    ) -> None:
        """``store`` is what is known of the manager's own cluster, whose client is ``home``."""
        self._connections = to
        self._options = options
        self._store = store
        self._home = home
        self._queue = queue
        self._memories = memories
        self._concerned: set[keys.SetKey] = set()
        self._lanes: lanes.Lanes | None = None
        to.attach(touched=self._wake, changed=self._wake_all)

    # What is known ---------------------------------------------------------------------------

    def begins(self, key: keys.SetKey) -> None:
        """Take that a set is about to be looked at."""
        if self._lanes is not None:
            self._lanes.begins(key)

    async def of(self, key: keys.SetKey, seen: observed.Observed) -> clusters.Workers | None:
        """Return what other clusters have to do with a set, None while that is not known.

        Raises:
            built_in.NotYetKnown: they have, and it is not known which there are; the pass comes
                when it is.
        """
        manager, asks = self._connections.manager, dispatching.asks(seen)
        if manager is None or not self._connections.known:
            self._concerned.add(key)
            if asks or self._connections.has(key):
                raise built_in.NotYetKnown
            return None
        checks = {one for w in seen.workloads.values() for one in _checks(w)}
        configured = self._connections.configured(checks | dispatching.checks_asked(seen))
        # All of them as they are in one moment: others come and go while one of them is asked.
        known = [
            (one, one.name in configured, self._connections.trouble(one.name))
            for one in self._connections.workers(configured)
        ]
        seen_there = [
            await one.cluster(key, configured=named, trouble=trouble, anchored=asks)
            for one, named, trouble in known
        ]
        found = clusters.Workers(manager, self._options, tuple(seen_there))
        if asks or any(one.workloads or one.sets for one in found.clusters):
            self._concerned.add(key)
        else:
            self._concerned.discard(key)
        return found

    async def pods(
        self, namespace: str, asked: Mapping[str, tuple[str, ...]]
    ) -> Mapping[str, Mapping[str, tuple[facts.Pod, ...]]]:
        """Look up the pods of sets in other clusters; those that cannot be are left out."""
        slots = asyncio.Semaphore(_AT_ONCE)
        found: dict[str, dict[str, tuple[facts.Pod, ...]]] = {}

        async def look(cluster: str, name: str) -> None:
            worker = self._connections.of(cluster)
            if worker is None:
                return
            try:
                async with slots:
                    pods = await worker.pods_of(namespace, name)
            except client.ApiError as error:
                logger.info("Pods of %s in %s are not known: %s", name, cluster, error)
                return
            found.setdefault(cluster, {})[name] = pods

        await asyncio.gather(
            *(look(cluster, name) for cluster, some in asked.items() for name in some)
        )
        return found

    # Writing ---------------------------------------------------------------------------------

    def writer(self, cluster: str) -> writes.Writer | None:
        """Return who writes to a cluster, None where it is not connected."""
        worker = self._connections.of(cluster)
        return worker.writer if worker is not None else None

    def begin(self, executor: execute.Executor) -> None:
        """Have chains that go elsewhere carried out by ``executor``."""
        self._lanes = lanes.Lanes(executor, group_of=self._group_of, done=self._done)

    def take(self, key: keys.SetKey, seen: observed.Observed, plan: actions.Plan) -> actions.Plan:
        """Begin what goes to other clusters; returns what is left to do in our own."""
        return plan if self._lanes is None else self._lanes.take(key, seen, plan)

    async def _done(
        self,
        key: keys.SetKey,
        seen: observed.Observed,
        outcome: writes.Outcome,
        names_of: Collection[str],
    ) -> None:
        self._memories.of(key).made(seen, outcome)
        pause = 0.0
        for name in names_of:
            if (worker := self._connections.of(name)) is not None:
                pause = max(pause, worker.learn(outcome))
        await self._queue.add(key, after=pause)

    def _group_of(self, action: actions.Action) -> identity.GroupId | None:
        """Return the group that a write is about, as the objects say."""
        if isinstance(action, actions.Release):
            workload = self._store.get(
                resources.WORKLOADS,
                namespace=action.workload.namespace,
                name=action.workload.name,
            )
            return _group_here(workload)
        ref = actions.key_of(action).ref
        if ref.cluster:
            if isinstance(action, actions.Create | actions.Apply):
                return identity.group_of(facts.Meta.of(action.body))
            worker = self._connections.of(ref.cluster)
            kind = resources.of(ref.api_version, ref.kind)
            known = worker and worker.store.get(kind, namespace=ref.namespace, name=ref.name)
            return identity.group_of(known.meta) if known else None
        if ref.kind != resources.WORKLOADS.kind:
            return None
        return _group_here(
            self._store.get(resources.WORKLOADS, namespace=ref.namespace, name=ref.name)
        )

    # Waking ----------------------------------------------------------------------------------

    async def _wake(self, touched: set[keys.SetKey]) -> None:
        for key in touched:
            await self._queue.add(key)

    async def _wake_all(self) -> None:
        """Have all sets looked at that other clusters concern: there is news of one of those."""
        await self._wake(self._concerned | self._connections.known_sets)

    # Workloads of other kinds ----------------------------------------------------------------

    async def run(self) -> None:
        """Connect, and answer for Workloads that are no set's, until cancelled."""
        connecting = asyncio.create_task(self._connections.run(), name="connections")
        try:
            while not connecting.done():
                await asyncio.wait({connecting}, timeout=OTHERS_INTERVAL)
                await self._reject_others()
            await connecting
        finally:
            connecting.cancel()
            await asyncio.gather(connecting, return_exceptions=True)
            if self._lanes is not None:
                await self._lanes.close()

    async def _reject_others(self) -> None:
        every = self._store.all(resources.ADMISSION_CHECKS)
        checks = activation.ours({one.meta.name: one for one in every})
        if not checks:
            return
        now = datetime.datetime.now(datetime.UTC)
        for workload in self._store.all(resources.WORKLOADS):
            part = dispatch.reject_others(workload, checks=checks, now=now)
            for chain in part.chains:
                for write in chain:
                    await self._reject(write)

    async def _reject(self, write: actions.Action) -> None:
        assert isinstance(write, actions.Apply)
        meta = {**write.body["metadata"], "resourceVersion": write.resource_version}
        try:
            await self._home.apply(
                {**write.body, "metadata": meta},
                field_manager=write.field_manager,
                subresource=write.subresource,
            )
        except client.ApiError as error:
            # It is decided on anew in the next round.
            logger.info("Workload %s is not rejected yet: %s", meta["name"], error)


def _checks(workload: kueue.Workload) -> tuple[str, ...]:
    return tuple(one.name for one in workload.status.admission_checks)


def _group_here(workload: kueue.Workload | None) -> identity.GroupId | None:
    """Return the group of a Workload in our own cluster."""
    if workload is None:
        return None
    meta = workload.meta
    index = numbers.natural(meta.annotations.get(names.COMPONENT_WORKLOAD_INDEX, ""))
    owner = next((one for one in meta.owners if one.kind == names.LWS_KIND), None)
    if index is None or owner is None:
        return None
    return identity.GroupId(meta.namespace, owner.name, owner.uid, index)
