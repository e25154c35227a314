"""Other clusters for the passes of sets: what is known of them, and who writes to them.

`Dispatcher` puts together what `Connections` and their workers know, as a value for one set, and
wakes the sets that something concerns. Nothing of it exists unless worker clusters are switched on.
"""

import asyncio
import datetime
import itertools
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
from lws_kueue.runtime.clusters import connections, lanes, looks, neighbours, pauses

# How often Workloads are looked through for some that are no set's and wait for a check of ours.
OTHERS_INTERVAL: Final = 5.0

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
        self._neighbours = neighbours.Neighbours(store)
        self._looks = looks.Looks(self._read_pods, set_of=self._set_there)
        self._rejecting = pauses.Pauses()
        # Clusters that groups of a set were given to and that nobody knows, and since when.
        self._unknown: dict[keys.SetKey, dict[str, datetime.datetime]] = {}
        to.attach(
            touched=self._wake,
            changed=self._wake_all,
            given_up_after=options.worker_lost_timeout,
            named=self._is_named,
        )

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
        await self._wake(self._neighbours.news(key))
        manager, asks = self._connections.manager, dispatching.asks(seen)
        if manager is None or not self._connections.known:
            self._concerned.add(key)
            if asks or self._connections.has(key):
                raise built_in.NotYetKnown
            return None
        checks = {one for w in seen.workloads.values() for one in _checks(w)}
        configured = self._connections.configured(checks | dispatching.checks_asked(seen))
        if asks:
            await self._seek(key, configured)
        # All of them as they are in one moment.
        seen_there = [
            one.cluster(
                key,
                configured=one.name in configured,
                trouble=self._connections.trouble(one.name),
                anchored=asks,
            )
            for one in self._connections.workers(configured)
        ]
        seen_there += self._not_known(key, seen, {one.name for one in seen_there})
        beside = self._neighbours.of(key, seen.lws)
        found = clusters.Workers(manager, self._options, tuple(seen_there), beside)
        if asks or any(one.workloads or one.sets for one in found.clusters):
            self._concerned.add(key)
        else:
            self._concerned.discard(key)
        return found

    async def pods(
        self, namespace: str, asked: Mapping[str, tuple[str, ...]]
    ) -> Mapping[str, Mapping[str, tuple[facts.Pod, ...]]]:
        """Look up the pods of sets in other clusters; those that cannot be are left out."""
        return await self._looks.of(namespace, asked)

    async def _read_pods(
        self, cluster: str, namespace: str, name: str
    ) -> tuple[facts.Pod, ...] | None:
        worker = self._connections.of(cluster)
        return None if worker is None else await worker.pods_of(namespace, name)

    def _set_there(self, cluster: str, namespace: str, name: str) -> str:
        """Return the UID of a set in a cluster, "" if there is none of ours."""
        worker = self._connections.of(cluster)
        known = worker and worker.store.get(resources.SETS, namespace=namespace, name=name)
        return known.meta.uid if known else ""

    async def _seek(self, key: keys.SetKey, configured: Collection[str]) -> None:
        """Find our Leases in the namespace of a set; a cluster that is slow is not waited for."""
        workers = self._connections.workers(tuple(configured))
        sought = [one.seek(key) for one in workers if one.name in configured]
        if begun := [task for task in sought if task is not None]:
            await asyncio.wait(begun, timeout=looks.PATIENCE)

    def _not_known(
        self, key: keys.SetKey, seen: observed.Observed, known: Collection[str]
    ) -> list[clusters.Cluster]:
        """Return the clusters that groups of a set were given to and that nobody can reach (MK-39).

        There is no MultiKueueCluster of that name, and was none when this process began. They are
        waited for like any that is lost, also when Kueue has evicted the group meanwhile.
        """
        now, timeout = datetime.datetime.now(datetime.UTC), self._options.worker_lost_timeout
        homes = dispatching.homes(seen)
        found = {
            name: since
            for name, since in self._unknown.pop(key, {}).items()
            if name not in known and (name in homes or now - since <= timeout)
        }
        for name in homes.difference(known):
            found.setdefault(name, now)
        if found:
            self._unknown[key] = found
        return [
            clusters.Cluster(name, link=clusters.Link(since), configured=False, gone=True)
            for name, since in sorted(found.items())
        ]

    def _is_named(self, cluster: str) -> bool:
        """Whether a Workload of the manager says that its group is in a cluster."""
        workloads = self._store.all(resources.WORKLOADS)
        return any(one.status.cluster_name == cluster for one in workloads)

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
            await self._looks.close()
            if self._lanes is not None:
                await self._lanes.close()

    async def _reject_others(self) -> None:
        every = self._store.all(resources.ADMISSION_CHECKS)
        checks = activation.ours({one.meta.name: one for one in every})
        if not checks:
            return
        now = datetime.datetime.now(datetime.UTC)
        waiting: set[str] = set()
        for workload in self._store.all(resources.WORKLOADS):
            part = dispatch.reject_others(workload, checks=checks, now=now)
            for write in itertools.chain.from_iterable(part.chains):
                waiting.add(workload.meta.uid)
                if not self._rejecting.left(workload.meta.uid):
                    await self._reject(write, workload.meta.uid)
        self._rejecting.keep(waiting)

    async def _reject(self, write: actions.Action, uid: str) -> None:
        assert isinstance(write, actions.Apply)
        meta = {**write.body["metadata"], "resourceVersion": write.resource_version}
        try:
            await self._home.apply(
                {**write.body, "metadata": meta},
                field_manager=write.field_manager,
                subresource=write.subresource,
            )
        except client.ApiError as error:
            # It is decided on anew when the pause is over.
            wait = self._rejecting.failed(uid, first=OTHERS_INTERVAL)
            text = "Workload %s is not rejected yet, and tried again in %g s: %s"
            logger.info(text, meta["name"], wait, error)
        else:
            self._rejecting.ended(uid)


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
