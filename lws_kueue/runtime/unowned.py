"""Objects that no watch tells of: they have the names of a set's objects and lack its label.

Somebody took the label away, or made something of that name. The set has to know, because the
object is in the way of one that it needs, and the controller may have been away when it happened.
"""

import itertools
import logging
from collections.abc import Iterable
from typing import Final

from lws_kueue.api import facts, lws, names
from lws_kueue.controller.observe import groups
from lws_kueue.runtime import cache, client, keys, resources, work_queue

# So many missing pods of a set are looked for at a time.
MOST_PROBED: Final = 10

logger = logging.getLogger(__name__)


class Unowned:
    """Looks for them, round by round."""

    def __init__(
        self,
        *,
        api: client.Client,
        store: cache.Cache,
        queue: work_queue.WorkQueue[keys.SetKey],
    ) -> None:
        self._api = api
        self._cache = store
        self._queue = queue
        self._missed: dict[keys.SetKey, frozenset[str]] = {}

    async def look(self) -> None:
        """Read those again that are known, and look who sits where a pod has long been missing.

        A pod that is missing in two rounds is not just about to be made.
        """
        for resource, meta in self._cache.unlabelled():
            await self._again(resource, meta)
        known = self._cache.known_sets()
        vacant = {key: missing for key in known if (missing := self._vacant(key))}
        for key, missing in vacant.items():
            for name in sorted(missing & self._missed.get(key, frozenset())):
                live = await self._api.get(resources.PODS, namespace=key.namespace, name=name)
                if live is not None:
                    logger.info("%s/%s: pod %s is there, and no watch has told of it", *key, name)
                    await self._wake(self._cache.upsert(resources.PODS, live, belongs_to=key))
        self._missed = vacant

    async def _again(self, resource: resources.Resource, meta: facts.Meta) -> None:
        live = await self._api.get(resource, namespace=meta.namespace, name=meta.name)
        now = facts.Meta.of(live) if live is not None else None
        if now is None or now.uid != meta.uid:
            gone = self._cache.remove(
                resource, namespace=meta.namespace, name=meta.name, uid=meta.uid
            )
            await self._wake(gone)
        elif live is not None and names.SET_NAME not in now.labels:
            await self._wake(self._cache.upsert(resource, live))
        # One that has a label again is told of by its watch.

    async def _wake(self, concerned: Iterable[keys.SetKey] | None) -> None:
        for key in concerned or ():
            await self._queue.add(key)

    def _vacant(self, key: keys.SetKey) -> frozenset[str]:
        """Return names of pods that a set's StatefulSets want and that nobody is known to have."""
        owner = self._cache.get(resources.SETS, namespace=key.namespace, name=key.name)
        if not isinstance(owner, lws.LeaderWorkerSet):
            return frozenset()
        pods = self._cache.of_set(key, resources.PODS)
        found = groups.observe(
            owner,
            stateful_sets=self._cache.of_set(key, resources.STATEFUL_SETS),
            pods=pods,
            services={},
        )
        wanted = (name for name in groups.wanted_pods(found) if name not in pods)
        return frozenset(itertools.islice(wanted, MOST_PROBED))
