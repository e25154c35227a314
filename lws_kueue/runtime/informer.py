"""Everything that is learned of the cluster: watch events, lists, and Kueue coming or going.

What arrives goes into the cache, and the sets it concerns into the queue. A change of something
that many sets share (a queue, a flavor, a priority class) concerns every queue-managed set, but
only when it is a change that a decision can see: the counters in a queue's status are not.
"""

import asyncio
import logging
from collections.abc import Iterable
from typing import Any, Final

from lws_kueue.api import facts, lws, names, selectors
from lws_kueue.controller.admission import managed_by
from lws_kueue.controller.observe import observed
from lws_kueue.runtime import (
    built_in,
    cache,
    client,
    departures,
    keys,
    kueue_support,
    resources,
    work_queue,
)

SHARED: Final = frozenset(
    {
        *resources.KUEUE,
        resources.PRIORITY_CLASSES,
        resources.NAMESPACES,
        resources.LIMIT_RANGES,
        resources.RUNTIME_CLASSES,
    }
    - {resources.WORKLOADS}
)

# Kueue was seen to replace list items in bursts after a reconnect; one list answers them all.
RELIST_DELAY: Final = 1.0

# So many objects of a list are taken before others have a turn.
_TAKEN: Final = 50

# How often a list is begun that takes too long for the API server.
_LISTS: Final = 3

logger = logging.getLogger(__name__)


def _fingerprint(resource: resources.Resource, obj: facts.Object) -> tuple[Any, ...]:
    """Return what decisions can see of a shared object."""
    if resource == resources.NAMESPACES:
        return (obj["metadata"].get("uid"), obj["metadata"].get("labels"))
    conditions = (obj.get("status") or {}).get("conditions") or ()
    return (
        obj["metadata"].get("uid"),
        obj.get("spec"),
        obj.get("value"),
        obj.get("globalDefault"),
        obj.get("overhead"),
        [(c.get("type"), c.get("status"), c.get("message")) for c in conditions],
    )


class Informer:
    """Feeds the cache and the queue."""

    def __init__(
        self,
        *,
        api: client.Client,
        store: cache.Cache,
        departing: departures.Departures,
        queue: work_queue.WorkQueue[keys.SetKey],
        also: Iterable[resources.Resource] = (),
        unlabelled: selectors.LabelSelector | None = None,
    ) -> None:
        """``also`` are kinds that only some settings ask for.

        ``unlabelled`` selects the namespaces in which sets without a queue wait for Kueue, None for
        nowhere; with it, namespaces have to be among ``also``.
        """
        self._api = api
        self._cache = store
        self._departures = departing
        self._queue = queue
        self._also = tuple(also)
        self._unlabelled = unlabelled
        self._fingerprints: dict[tuple[resources.Resource, str, str], tuple[Any, ...]] = {}
        self._relists: dict[resources.Resource, asyncio.Task[None]] = {}
        self._listed: dict[resources.Resource, str] = {}
        self.support: observed.Support = "missing"
        self.detail = ""
        self._built_in = built_in.BuiltIn(api)

    async def on_event(
        self, resource: resources.Resource, kind: str | None, obj: dict[str, Any]
    ) -> None:
        """Take one watch event; ``kind`` None says that a watch (re)started with a list."""
        if kind == "DELETED":
            touched = await self._gone(resource, obj)
        else:
            touched = self._cache.upsert(resource, obj)
        if kind is None:
            # A gap in one watch is most often one in all, and an empty list makes no event. Our own
            # watches know of their gaps, and list by themselves.
            for each in self._watched():
                if each not in resources.MANY:
                    self._relist_soon(each)
        await self._enqueue(touched or set())
        if resource in SHARED and touched is not None:
            await self._on_shared(resource, obj, deleted=kind == "DELETED")

    async def _gone(
        self, resource: resources.Resource, obj: dict[str, Any]
    ) -> set[keys.SetKey] | None:
        """Take that a watch has seen the last of an object.

        A watch by label says so as well when only the label went. That is rare, and so is a
        deletion without a trace of a deletion time, so the API server is asked which of both it is:
        a pod that only lost its label is not lost to its group.
        """
        meta = facts.Meta.of(obj)
        if resource in resources.BY_SET_NAME and not meta.deleting:
            try:
                live = await self._api.get(resource, namespace=meta.namespace, name=meta.name)
            except client.ApiError as error:
                logger.info("%s %s is taken to be gone: %s", resource.kind, meta.name, error)
                live = None
            if live is not None and facts.Meta.of(live).uid == meta.uid:
                return self._cache.upsert(resource, live, belongs_to=keys.set_of(resource, meta))
        known = self._cache.get(resource, namespace=meta.namespace, name=meta.name)
        news: frozenset[keys.SetKey] = frozenset()
        if known is None or known.meta.uid != meta.uid:
            news = self._departures.never_seen(resource, obj)
        gone = self._cache.remove(
            resource,
            namespace=meta.namespace,
            name=meta.name,
            uid=meta.uid,
            version=meta.resource_version,
        )
        return (set(news) or None) if gone is None else gone

    async def _on_shared(
        self, resource: resources.Resource, obj: facts.Object, *, deleted: bool
    ) -> None:
        meta = obj["metadata"]
        at = (resource, meta.get("namespace", ""), meta["name"])
        fingerprint = None if deleted else _fingerprint(resource, obj)
        if self._fingerprints.get(at) == fingerprint:
            return
        if fingerprint is None:
            self._fingerprints.pop(at, None)
        else:
            self._fingerprints[at] = fingerprint
        namespace = at[2] if resource == resources.NAMESPACES else at[1]
        await self._enqueue(self._queue_managed(namespace=namespace))

    def _queue_managed(self, *, namespace: str = "") -> set[keys.SetKey]:
        """Return the sets of a namespace that may be queue-managed, or of all with "".

        Where those without a queue may be, a pass finds out which of them are.
        """
        live_sets = {
            keys.SetKey(live.meta.namespace, live.meta.name)
            for live in self._cache.all(resources.SETS)
            if self._may_wait(live)
        }
        gone = {key for key in self._cache.gone_sets() if self._waited(key)}
        return {key for key in live_sets | gone if namespace in ("", key.namespace)}

    def _waited(self, key: keys.SetKey) -> bool:
        """Whether Workloads are left of a set that is gone: who lets them go has to be known."""
        return bool(self._cache.of_set(key, resources.WORKLOADS))

    def _may_wait(self, live: Any) -> bool:
        return isinstance(live, lws.LeaderWorkerSet) and (
            names.QUEUE_NAME in live.meta.labels
            or self._unlabelled is not None
            or managed_by.is_marked(live)
        )

    async def _enqueue(self, concerned: set[keys.SetKey]) -> None:
        for key in concerned:
            await self._queue.add(key)

    def _watched(self) -> tuple[resources.Resource, ...]:
        kueue = resources.KUEUE if self.support == "served" else ()
        return (*self._also, *resources.PLAIN, *kueue)

    # Lists --------------------------------------------------------------------------------

    def _relist_soon(self, resource: resources.Resource) -> None:
        """List a kind once the burst of initial events is over: deletions may have been missed."""
        running = self._relists.get(resource)
        if running and not running.done():
            return
        self._relists[resource] = asyncio.create_task(self._relist_later(resource))

    async def _relist_later(self, resource: resources.Resource) -> None:
        await asyncio.sleep(RELIST_DELAY)
        try:
            await self._enqueue(await self._list(resource))
        except client.ApiError as error:
            # The periodic list comes anyway.
            logger.warning("Listing %s failed: %s", resource.plural, error)
        except Exception:
            logger.exception("Listing %s failed", resource.plural)

    async def _list(self, resource: resources.Resource) -> set[keys.SetKey]:
        """Take a list of a kind; returns the sets concerned."""
        try:
            touched, as_of = await self._renew(resource)
        except client.ApiError as error:
            if resource != resources.POD_GROUPS or error.status != 404:
                raise
            # Creating one says so on the set; what does not need Volcano goes on.
            logger.warning("PodGroups are not served: Volcano is not installed")
            self._cache.forget(resource)
            return set()
        self._listed[resource] = as_of
        return touched

    async def _renew(self, resource: resources.Resource) -> tuple[set[keys.SetKey], str]:
        """List a kind page by page; returns the sets concerned, and as of which version that is."""
        for _ in range(_LISTS):
            try:
                return await self._renew_once(resource)
            except client.ApiError as error:
                # The API server has forgotten how a long list began.
                if error.status != 410:
                    raise
                forgotten = error
        raise forgotten

    async def _renew_once(self, resource: resources.Resource) -> tuple[set[keys.SetKey], str]:
        renewal, touched, as_of = self._cache.renewal(resource), set[keys.SetKey](), ""
        shared: list[facts.Object] = []
        pages = self._api.pages(resource, label_selector=resources.label_selector(resource))
        async for page in pages:
            for at in range(0, len(page.items), _TAKEN):
                touched |= renewal.take(page.items[at : at + _TAKEN])
                await asyncio.sleep(0)
            as_of = page.resource_version
            if resource in SHARED:
                shared.extend(page.items)
        for some in renewal.gone(as_of=as_of):
            touched |= some
            await asyncio.sleep(0)
        if resource in SHARED:
            await self._compare_shared(resource, shared)
        return touched, as_of

    def listed(self, resource: resources.Resource) -> str:
        """Return as of which version a kind was last listed, "" if it has not been."""
        return self._listed.get(resource, "")

    async def list_anew(self, resource: resources.Resource) -> str:
        """List a kind because its watch has a gap; returns as of which version that is.

        Raises:
            client.ApiError: it could not be listed.
        """
        touched, as_of = await self._renew(resource)
        await self._enqueue(touched)
        return as_of

    async def _compare_shared(
        self, resource: resources.Resource, items: Iterable[facts.Object]
    ) -> None:
        """Notice what changed among shared objects, whichever of list and watch saw it first."""
        seen = set()
        for obj in items:
            meta = obj["metadata"]
            seen.add((resource, meta.get("namespace", ""), meta["name"]))
            await self._on_shared(resource, obj, deleted=False)
        for at in [at for at in self._fingerprints if at[0] == resource and at not in seen]:
            gone = {"metadata": {"namespace": at[1], "name": at[2]}}
            await self._on_shared(resource, gone, deleted=True)

    async def list_all(self) -> None:
        """List every kind and ask for a pass over every set."""
        await self.probe_kueue()
        for resource in self._watched():
            await self._list(resource)
        await self._enqueue(self._cache.known_sets())

    async def probe_kueue(self) -> None:
        """Look what Kueue is; a change concerns the queue-managed sets."""
        await self._probe_support()
        if self.support != "served":
            self._built_in.forget()
            return
        for namespace in await self._built_in.look(
            {key.namespace for key in self._queue_managed()}
        ):
            await self._enqueue(self._queue_managed(namespace=namespace))

    def built_in(self, key: keys.SetKey) -> bool | None:
        """Return whether Kueue's own integration manages a set, if anybody knows or has to.

        Raises:
            built_in.NotYetKnown: its namespace has not been tried; the pass comes when it has been.
        """
        live = self._cache.get(resources.SETS, namespace=key.namespace, name=key.name)
        matters = self._waited(key) if live is None else self._may_wait(live)
        if self.support != "served" or not matters:
            return None
        if not self._built_in.tried(key.namespace):

            async def wake() -> None:
                await self._enqueue(self._queue_managed(namespace=key.namespace))

            self._built_in.first_look(key.namespace, wake)
            raise built_in.NotYetKnown
        return self._built_in.of(key.namespace)

    def built_in_trouble(self, key: keys.SetKey) -> str:
        """Return why nobody could tell that when the namespace was last tried, "" if it worked."""
        return self._built_in.trouble(key.namespace)

    async def _probe_support(self) -> None:
        support, detail = await kueue_support.probe(self._api)
        if (support, detail) == (self.support, self.detail):
            return
        logger.info("Kueue is %s. %s", support, detail)
        if support == "served":
            # Before it counts as served: a set must not be judged by Workloads not yet listed.
            for resource in resources.KUEUE:
                await self._list(resource)
        elif self.support == "served":
            for resource in resources.KUEUE:
                self._cache.forget(resource)
        self.support, self.detail = support, detail
        await self._enqueue(self._queue_managed())

    async def takes_unlabelled(self, key: keys.SetKey) -> bool:
        """Whether a set without a queue waits for Kueue in the namespace of this one.

        Before its first pod is made, the namespace is read: a watch may not have told yet of labels
        that it had when the set was created, and what has started cannot be held back any more.
        """
        if self._unlabelled is None:
            return False
        if not self._cache.of_set(key, resources.STATEFUL_SETS):
            live = await self._api.get(resources.NAMESPACES, name=key.namespace)
            if live is not None:
                await self.on_event(resources.NAMESPACES, "MODIFIED", live)
        known = self._cache.get(resources.NAMESPACES, name=key.namespace)
        return known is not None and self._unlabelled.matches(known.meta.labels)

    async def close(self) -> None:
        """Stop lists that are still to come."""
        for task in self._relists.values():
            task.cancel()
        await asyncio.gather(*self._relists.values(), return_exceptions=True)
        await self._built_in.close()
