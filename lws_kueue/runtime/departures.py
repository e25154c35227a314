"""Worker pods that were lost: gone, and deleted by somebody else.

The next pass may come only when there is another one in the place of such a pod. What we delete
ourselves is expected, and lost to nobody.
"""

import time
from collections.abc import Callable, Iterable
from typing import Final

from lws_kueue.api import facts
from lws_kueue.controller.observe import members, ordinals
from lws_kueue.runtime import cache, keys, memory, resources

# For so many seconds the end of a pod that we have deleted may be told of.
EXPECTED_SECONDS: Final = 600.0


class Departures:
    """Listens to what leaves the cache."""

    def __init__(
        self,
        *,
        store: cache.Cache,
        memories: memory.Memories,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cache = store
        self._clock = clock
        self._memories = memories
        self._expected_deletions: dict[str, float] = {}
        store.on_removed = self._removed

    def expect(self, uid: str) -> None:
        """Take that we ourselves have asked for the deletion of an object."""
        now = self._clock()
        self._expected_deletions.pop(uid, None)
        self._expected_deletions[uid] = now
        # They stand in the order of their times.
        while (oldest := next(iter(self._expected_deletions.items())))[1] < now - EXPECTED_SECONDS:
            del self._expected_deletions[oldest[0]]

    def lost_pods(self, key: keys.SetKey) -> tuple[members.Departed, ...]:
        """Return the worker pods of a set that are lost and whose StatefulSet stands."""
        return tuple(
            pod for pod in self._memories.of(key).lost_pods.values() if self._stands(key, pod)
        )

    def _stands(self, key: keys.SetKey, pod: members.Departed) -> bool:
        parent, _ = ordinals.parent_and_ordinal(pod.name)
        worker_set = self._cache.get(resources.STATEFUL_SETS, namespace=key.namespace, name=parent)
        return worker_set is not None and worker_set.meta.uid == pod.worker_set

    def dealt_with(self, key: keys.SetKey, uids: Iterable[str]) -> None:
        """Take that a pass has seen these pods to be gone, and that nothing of it is left to do.

        Noted for longer, they would recreate their group when the set's restart policy changes.
        """
        done = set(uids)
        left = {pod.uid: pod for pod in self.lost_pods(key) if pod.uid not in done}
        self._memories.of(key).lost_pods = left

    def never_seen(self, resource: resources.Resource, obj: facts.Object) -> frozenset[keys.SetKey]:
        """Take that an object is gone of which nothing was known; returns the sets concerned.

        What comes and goes in quick succession may be told of by its end alone.
        """
        meta = facts.Meta.of(obj)
        if resource != resources.PODS or self._cache.is_gone(meta.uid):
            return frozenset()
        concerned = keys.sets_of(resource, meta)
        self._note(facts.Pod.of(obj), concerned)
        return concerned

    def _removed(self, removed: cache.Removed) -> None:
        if removed.resource == resources.PODS and removed.version is not None:
            self._note(removed.fact, removed.belongs_to)

    def _note(self, pod: facts.Pod, concerned: Iterable[keys.SetKey]) -> None:
        meta, owner = pod.meta, pod.meta.controller
        if meta.uid in self._expected_deletions or pod.gates or owner is None:
            return
        if members.never_placed(pod):
            return
        worker_set = self._cache.get(
            resources.STATEFUL_SETS, namespace=meta.namespace, name=owner.name
        )
        leader = worker_set.meta.controller if worker_set else None
        if worker_set is None or worker_set.meta.uid != owner.uid or leader is None:
            return
        if leader.kind != "Pod":
            return
        index = ordinals.parent_and_ordinal(leader.name)[1]
        lost = members.Departed(index, leader.uid, owner.uid, uid=meta.uid, name=meta.name)
        for key in concerned:
            known = self._memories.of(key)
            kept = {
                other.uid: other
                for other in known.lost_pods.values()
                if other.index != index or other.worker_set == owner.uid
            }
            known.lost_pods = {**kept, meta.uid: lost}
