"""Sets that others want to be beside: where their groups are, and who is woken when they move.

Nothing is kept of sets that name no other one.
"""

from collections import defaultdict
from collections.abc import Mapping

from lws_kueue.api import lws, names
from lws_kueue.dispatch.observed import Neighbour
from lws_kueue.runtime import cache, keys, resources
from lws_kueue.workload import naming


class Neighbours:
    """Who names whom, as the last pass of each set has seen it."""

    def __init__(self, store: cache.Cache) -> None:
        """``store`` is what is known of the sets' own cluster."""
        self._store = store
        self._asked: dict[keys.SetKey, frozenset[keys.SetKey]] = {}
        self._asking: defaultdict[keys.SetKey, set[keys.SetKey]] = defaultdict(set)
        self._told: dict[keys.SetKey, Neighbour | None] = {}

    def of(self, key: keys.SetKey, live: lws.LeaderWorkerSet | None) -> Mapping[str, Neighbour]:
        """Return the sets by name that a set names, those that these name, and so on.

        From now on it is woken when something changes of one of them (``news``).
        """
        name = live.meta.annotations.get(names.SAME_CLUSTER_AS, "") if live is not None else ""
        asked: set[keys.SetKey] = set()
        found: dict[str, Neighbour] = {}
        while name and (at := keys.SetKey(key.namespace, name)) not in asked:
            asked.add(at)
            one = self._look(at)
            if one is None:
                break
            found[name] = one
            name = one.beside
        self._asks(key, frozenset(asked))
        return found

    def _asks(self, key: keys.SetKey, asked: frozenset[keys.SetKey]) -> None:
        before = self._asked.pop(key, frozenset())
        for one in before - asked:
            self._asking[one].discard(key)
            if not self._asking[one]:
                del self._asking[one]
                self._told.pop(one, None)
        if asked:
            self._asked[key] = asked
        for one in asked:
            self._asking[one].add(key)

    def news(self, key: keys.SetKey) -> set[keys.SetKey]:
        """Return the sets that something of a set concerns that has changed since the last time."""
        if key not in self._asking:
            return set()
        now = self._look(key)
        if key in self._told and self._told[key] == now:
            return set()
        self._told[key] = now
        return self._asking[key] - {key}

    def _look(self, key: keys.SetKey) -> Neighbour | None:
        """Return what there is of a set, None where it does not exist."""
        live = self._store.get(resources.SETS, namespace=key.namespace, name=key.name)
        if live is None:
            return None
        workloads = self._store.of_set(key, resources.WORKLOADS).values()
        given = (
            one.status.cluster_name
            for one in workloads
            if any(owner.uid == live.meta.uid for owner in one.meta.owners)
            and not (one.meta.deleting or naming.is_copy(one.meta))
        )
        beside = live.meta.annotations.get(names.SAME_CLUSTER_AS, "")
        return Neighbour(frozenset(name for name in given if name), beside)
