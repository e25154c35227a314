"""Objects that no watch tells of: they have the names of a set's objects and lack its label.

Somebody took the label away, or made something of that name. The set has to know, because the
object is in the way of one that it needs, and the controller may have been away when it happened.
"""

import asyncio
import itertools
import logging
from collections.abc import Iterable
from typing import Final, NamedTuple

from lws_kueue.api import facts, lws, names
from lws_kueue.controller.observe import groups
from lws_kueue.runtime import cache, client, keys, resources, work_queue

# So many missing pods of a set are looked for at a time, so many objects are read in a round, and
# so many beside each other: passes need the same connections. What has to wait is first next time.
MOST_PROBED: Final = 10
MOST_READ: Final = 100
MOST_AT_ONCE: Final = 8

logger = logging.getLogger(__name__)


class _Asked(NamedTuple):
    """What is to be read: what is known of ``uid``, or with "" who sits in a place of the set."""

    resource: resources.Resource
    namespace: str
    name: str
    uid: str = ""
    missed_by: keys.SetKey | None = None


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
        # Those that were read last come last.
        self._read_before: dict[_Asked, None] = {}

    async def look(self) -> None:
        """Read those again that are known, and look who sits where a pod has long been missing.

        A pod that is missing in two rounds is not just about to be made.
        """
        again = [
            _Asked(resource, meta.namespace, meta.name, uid=meta.uid)
            for resource, meta in self._cache.unlabelled()
        ]
        vacant = {
            key: missing for key in self._cache.known_sets() if (missing := self._vacant(key))
        }
        missed = [
            _Asked(resources.PODS, key.namespace, name, missed_by=key)
            for key, missing in vacant.items()
            for name in sorted(missing & self._missed.get(key, frozenset()))
        ]
        self._missed = vacant
        slots = asyncio.Semaphore(MOST_AT_ONCE)
        await asyncio.gather(*(self._read(one, slots) for one in self._next((*again, *missed))))

    def _next(self, wanted: Iterable[_Asked]) -> tuple[_Asked, ...]:
        """Return what is read in this round."""
        due = dict.fromkeys(wanted)
        before = [one for one in self._read_before if one in due]
        new = [one for one in due if one not in self._read_before]
        now = (*new, *before)[:MOST_READ]
        self._read_before = dict.fromkeys((*before[max(0, MOST_READ - len(new)) :], *now))
        return now

    async def _read(self, asked: _Asked, slots: asyncio.Semaphore) -> None:
        """Read one object; what is wrong with it is no matter of the others."""
        try:
            async with slots:
                live = await self._api.get(
                    asked.resource, namespace=asked.namespace, name=asked.name
                )
        except client.ApiError as error:
            what = f"{asked.resource.kind} {asked.namespace}/{asked.name}"
            logger.warning("Whether %s is there is unknown: %s", what, error)
            return
        if asked.missed_by is None:
            await self._again(asked, live)
        elif live is not None:
            logger.info(
                "%s/%s: pod %s is there, and no watch has told of it", *asked.missed_by, asked.name
            )
            await self._wake(self._cache.upsert(asked.resource, live, belongs_to=asked.missed_by))

    async def _again(self, asked: _Asked, live: facts.Object | None) -> None:
        now = facts.Meta.of(live) if live is not None else None
        if now is None or now.uid != asked.uid:
            gone = self._cache.remove(
                asked.resource, namespace=asked.namespace, name=asked.name, uid=asked.uid
            )
            await self._wake(gone)
        elif live is not None and names.SET_NAME not in now.labels:
            await self._wake(self._cache.upsert(asked.resource, live))
        # One that has a label again is told of by its watch.

    async def _wake(self, concerned: Iterable[keys.SetKey] | None) -> None:
        for key in concerned or ():
            await self._queue.add(key)

    def _vacant(self, key: keys.SetKey) -> frozenset[str]:
        """Return names of pods that StatefulSets of a set cannot make, and that are not known."""
        owner = self._cache.get(resources.SETS, namespace=key.namespace, name=key.name)
        if not isinstance(owner, lws.LeaderWorkerSet):
            return frozenset()
        stateful_sets = self._cache.of_set(key, resources.STATEFUL_SETS)
        if not any(one.short for one in stateful_sets.values()):
            return frozenset()
        pods = self._cache.of_set(key, resources.PODS)
        found = groups.observe(
            owner,
            stateful_sets=stateful_sets,
            pods=pods,
            services={},
        )
        wanted = (name for name in groups.missed_pods(found) if name not in pods)
        return frozenset(itertools.islice(wanted, MOST_PROBED))
