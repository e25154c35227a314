"""What a worker cluster shows of the objects that this manager has made there, by their sets.

Watches, lists and the answers to our own writes end here, and the newest resourceVersion wins. What
has one of our names and is not ours is not kept; who asks is told that its name is taken.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from lws_kueue.api import facts, kueue, names
from lws_kueue.dispatch import identity, observed
from lws_kueue.runtime import cache, keys, resources

_PARSERS: Final[Mapping[resources.Resource, Callable[[facts.Object], Any]]] = {
    resources.WORKLOADS: kueue.Workload.of,
    resources.SETS: observed.RemoteSet.of,
    resources.LEASES: facts.Named.of,
}

_At = tuple[str, str]


class Store:
    """Of one cluster."""

    def __init__(
        self, manager: identity.Manager, *, taken: Callable[[str, str, str], None]
    ) -> None:
        """``taken`` is told namespace, name and kind of what has a name of ours and is not ours."""
        self._manager = manager
        self._taken = taken
        self._facts: dict[resources.Resource, dict[_At, Any]] = defaultdict(dict)
        self._sets: dict[keys.SetKey, dict[resources.Resource, dict[str, Any]]] = {}

    @property
    def empty(self) -> bool:
        """Whether no group has anything there."""
        return not (self._facts[resources.WORKLOADS] or self._facts[resources.SETS])

    @property
    def namespaces(self) -> set[str]:
        """The namespaces in which a group has something."""
        return {at[0] for kind in (resources.WORKLOADS, resources.SETS) for at in self._facts[kind]}

    @property
    def known_sets(self) -> set[keys.SetKey]:
        """The sets of which there is something."""
        return set(self._sets)

    def get(self, resource: resources.Resource, *, namespace: str = "", name: str) -> Any | None:
        """Return what is known of an object, None if nothing is."""
        return self._facts[resource].get((namespace, name))

    def of_set(self, key: keys.SetKey, resource: resources.Resource) -> Mapping[str, Any]:
        """Return what there is of a set, by name; it is not changed afterwards."""
        return dict(self._sets.get(key, {}).get(resource, {}))

    def upsert(
        self,
        resource: resources.Resource,
        obj: facts.Object,
        *,
        belongs_to: keys.SetKey | None = None,
    ) -> set[keys.SetKey] | None:
        """Take in what an object is by now; returns the sets concerned, None if that is no news."""
        meta = facts.Meta.of(obj)
        at = (meta.namespace, meta.name)
        if not identity.is_ours(meta, self._manager):
            self._taken(meta.namespace, meta.name, resource.kind)
            gone = self.remove(resource, namespace=at[0], name=at[1], uid=meta.uid)
            return (gone or set()) | ({belongs_to} if belongs_to else set())
        old = self._facts[resource].get(at)
        if old is not None and not cache.newer(meta.resource_version, old.meta.resource_version):
            return None
        # What cannot be parsed ends nothing that is known.
        fact = _PARSERS[resource](obj)
        touched = self._unfile(resource, at)
        self._facts[resource][at] = fact
        if (key := _set_of(meta)) is not None:
            self._sets.setdefault(key, {}).setdefault(resource, {})[meta.name] = fact
            touched.add(key)
        return touched

    def remove(
        self,
        resource: resources.Resource,
        *,
        namespace: str,
        name: str,
        uid: str,
    ) -> set[keys.SetKey] | None:
        """Forget an object if it is the one with ``uid``; returns the sets concerned, or None."""
        known = self._facts[resource].get((namespace, name))
        if known is None or known.meta.uid != uid:
            return None
        return self._unfile(resource, (namespace, name))

    def renew(
        self, resource: resources.Resource, items: Iterable[facts.Object], *, as_of: str
    ) -> set[keys.SetKey]:
        """Take a whole list of a kind; returns the sets concerned."""
        touched: set[keys.SetKey] = set()
        listed: set[_At] = set()
        for obj in items:
            meta = obj["metadata"]
            listed.add((meta.get("namespace", ""), meta["name"]))
            touched |= self.upsert(resource, obj) or set()
        for at, fact in list(self._facts[resource].items()):
            if at not in listed and not cache.newer(fact.meta.resource_version, as_of):
                touched |= self._unfile(resource, at)
        return touched

    def _unfile(self, resource: resources.Resource, at: _At) -> set[keys.SetKey]:
        old = self._facts[resource].pop(at, None)
        key = _set_of(old.meta) if old is not None else None
        kinds = self._sets.get(key) if key is not None else None
        if key is None or kinds is None:
            return set()
        kinds.get(resource, {}).pop(at[1], None)
        if not any(kinds.values()):
            del self._sets[key]
        return {key}


def _set_of(meta: facts.Meta) -> keys.SetKey | None:
    """Return the manager's set that an object was made for."""
    name = meta.labels.get(names.ORIGIN_SET, "")
    return keys.SetKey(meta.namespace, name) if name else None
