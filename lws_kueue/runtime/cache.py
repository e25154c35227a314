"""What was last seen of the cluster, indexed by the set that each object belongs to.

Watch events, authoritative lists and the answers to our own writes all end here, and the newest
resourceVersion wins, so a decision always sees at least its own writes. An object that was deleted
leaves its UID behind for a while, because a late event may still describe it. The cache holds
facts, not JSON: they are parsed once for each version of an object.
"""

import itertools
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import pydantic

from lws_kueue.api import completion, facts, kueue, lws, names
from lws_kueue.controller.revision import normalise
from lws_kueue.runtime import alike, keys, resources

TOMBSTONE_SECONDS: Final = 600.0

# So many objects that a list lacks are forgotten at a time.
_MOST_FORGOTTEN: Final = 500

logger = logging.getLogger(__name__)


def parse_set(obj: facts.Object) -> lws.LeaderWorkerSet | lws.InvalidSet:
    """Parse a LeaderWorkerSet; what cannot be parsed is a fact as well, not an error."""
    meta = facts.Meta.of(obj)
    try:
        parsed = lws.LeaderWorkerSet.of(obj)
    except pydantic.ValidationError as error:
        problems = (
            f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}"
            for problem in error.errors()
        )
        return lws.InvalidSet(meta=meta, problem="; ".join(problems))
    # Templates are JSON to the model; they are rendered as what they should be.
    if (where := normalise.mistyped(parsed.stored_spec, "RevisionSpec")) is not None:
        return lws.InvalidSet(meta=meta, problem=f"{where}: is of a wrong type")
    return parsed


_PARSERS: Final[Mapping[resources.Resource, Callable[[facts.Object], Any]]] = {
    resources.SETS: parse_set,
    resources.STATEFUL_SETS: facts.StatefulSet.of,
    resources.REVISIONS: facts.Revision.of,
    resources.PODS: facts.Pod.of,
    resources.SERVICES: facts.Service.of,
    resources.POD_GROUPS: facts.Named.of,
    resources.NAMESPACES: facts.Named.of,
    resources.PRIORITY_CLASSES: kueue.PriorityClass.of,
    resources.LIMIT_RANGES: completion.LimitRange.of,
    resources.RUNTIME_CLASSES: completion.RuntimeClass.of,
    resources.WORKLOADS: kueue.Workload.of,
    resources.LOCAL_QUEUES: kueue.LocalQueue.of,
    resources.CLUSTER_QUEUES: kueue.ClusterQueue.of,
    resources.FLAVORS: kueue.ResourceFlavor.of,
    resources.WORKLOAD_PRIORITY_CLASSES: kueue.WorkloadPriorityClass.of,
    resources.ADMISSION_CHECKS: kueue.AdmissionCheck.of,
}

# What each group has one of, or more, and what is much like that of the next group. Others may be
# nested as deep as anybody likes (revisions).
_SHARING: Final = (resources.PODS, resources.STATEFUL_SETS, resources.WORKLOADS)


def newer(left: str, right: str) -> bool:
    """Whether resourceVersion ``left`` is later than ``right`` (both are decimal numbers)."""
    try:
        return int(left) > int(right)
    except ValueError:
        return left != right


def _without_fields(meta: facts.Object) -> facts.Object:
    """Return metadata that say who has written to an object, and not which fields."""
    writers = meta.get("managedFields") or ()
    kept = [{what: of for what, of in one.items() if what != "fieldsV1"} for one in writers]
    return {**meta, "managedFields": kept}


def _owners(resource: resources.Resource, meta: facts.Meta) -> frozenset[str]:
    """Return the UIDs under which an object is found by its owners."""
    if resource not in (resources.WORKLOADS, resources.SETS):
        return frozenset()
    return frozenset(owner.uid for owner in meta.owners)


@dataclass(slots=True)
class _Entry:
    """``adopted_by`` is the set that the object was filed under by hand, in addition.

    ``owners`` are the UIDs under which it is found by its owners.
    """

    meta: facts.Meta
    fact: Any
    belongs_to: frozenset[keys.SetKey]
    adopted_by: keys.SetKey | None
    owners: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Tombstone:
    version: str | None
    at: float


@dataclass(frozen=True, slots=True)
class Removed:
    """What was known of an object that leaves the cache; ``version`` as for ``Cache.remove``."""

    resource: resources.Resource
    fact: Any
    belongs_to: frozenset[keys.SetKey]
    version: str | None


# The facts of one set, by kind and name.
_Children = dict[resources.Resource, dict[str, Any]]
# Facts by kind, UID of an owner, namespace and name.
_Owned = dict[resources.Resource, dict[str, dict[tuple[str, str], Any]]]


class Cache:
    """The newest known facts."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._entries: dict[resources.Resource, dict[tuple[str, str], _Entry]] = defaultdict(dict)
        self._sets: dict[keys.SetKey, _Children] = defaultdict(lambda: defaultdict(dict))
        # By UID of an owner: Workloads, because Kueue admits sets with what they are part of, and
        # the sets that this concerns.
        self._owned: _Owned = defaultdict(lambda: defaultdict(dict))
        self._gone: dict[str, _Tombstone] = {}
        self._alike = alike.Alike()
        self.on_removed: Callable[[Removed], None] = lambda _: None
        """Told of every object that is removed, while its set's other objects are still there."""
        self.on_workload: Callable[[kueue.Workload, kueue.Workload], None] = lambda *_: None
        """Told of every Workload that is known and changes, as it was and as it is."""
        self.on_admission_check: Callable[[], None] = lambda: None
        """Told when an AdmissionCheck has come, changed or gone."""

    # Reading ------------------------------------------------------------------------------

    def of_set(self, key: keys.SetKey, resource: resources.Resource) -> Mapping[str, Any]:
        """Return the facts of one kind that belong to a set, by object name."""
        return self._sets.get(key, {}).get(resource, {})

    def get(self, resource: resources.Resource, *, namespace: str = "", name: str) -> Any | None:
        """Return one fact, or None."""
        entry = self._entries[resource].get((namespace, name))
        return entry.fact if entry else None

    def named(
        self, resource: resources.Resource, names: Iterable[str], *, namespace: str
    ) -> dict[str, Any]:
        """Return those facts of a namespace that have one of these names, by name."""
        entries = self._entries[resource]
        found = ((name, entries.get((namespace, name))) for name in names)
        return {name: entry.fact for name, entry in found if entry is not None}

    def owned_by(self, resource: resources.Resource, uid: str) -> tuple[Any, ...]:
        """Return the Workloads or the sets that name an object as their owner."""
        return tuple(self._owned[resource].get(uid, {}).values())

    def all(self, resource: resources.Resource) -> Iterable[Any]:
        """Return all facts of a kind; any thread may ask."""
        # They are copied in one step, which no other thread can get between.
        return [entry.fact for entry in tuple(self._entries[resource].values())]

    def known_sets(self) -> set[keys.SetKey]:
        """Return every set that exists or that still has objects."""
        return {key for key, children in self._sets.items() if any(children.values())}

    def gone_sets(self) -> set[keys.SetKey]:
        """Return every set that does not exist and still has objects."""
        return {
            key
            for key, children in self._sets.items()
            if not children.get(resources.SETS) and any(children.values())
        }

    def unlabelled(self) -> Iterable[tuple[resources.Resource, facts.Meta]]:
        """Return the objects that no watch and no list tells of, because they lack the label."""
        return [
            (resource, entry.meta)
            for resource in resources.BY_SET_NAME
            for entry in self._entries[resource].values()
            if keys.unlabelled(resource, entry.meta)
        ]

    # Writing ------------------------------------------------------------------------------

    def upsert(
        self,
        resource: resources.Resource,
        obj: facts.Object,
        *,
        belongs_to: keys.SetKey | None = None,
    ) -> set[keys.SetKey] | None:
        """Store an object unless something newer is known.

        ``belongs_to`` is a set that it is filed under besides those that it says (for an object
        that has our name but not our labels), for as long as it lives. Returns the sets
        concerned, or None when nothing changed.
        """
        meta = facts.Meta.of(obj)
        at = (meta.namespace, meta.name)
        old = self._entries[resource].get(at)
        if self._is_dead(resource, meta):
            return None
        if old and not newer(meta.resource_version, old.meta.resource_version):
            return None
        fact = _PARSERS[resource](self._kept(resource, meta, obj))
        # Its maps are those that are shared.
        meta = fact.meta
        before = old.adopted_by if old and old.meta.uid == meta.uid else None
        adopted_by = belongs_to or before
        concerned = keys.sets_of(resource, meta) | ({adopted_by} if adopted_by else set())
        if resource == resources.WORKLOADS and old and old.meta.uid == meta.uid:
            self.on_workload(old.fact, fact)
        self._unfile(resource, at, old)
        owners = _owners(resource, meta)
        self._entries[resource][at] = _Entry(meta, fact, concerned, adopted_by, owners)
        for key in concerned:
            self._sets[key][resource][meta.name] = fact
        for uid in owners:
            self._owned[resource][uid][at] = fact
        self._tell_of_checks(resource)
        before_it = old.belongs_to if old else frozenset()
        return set(concerned | before_it | self._parts(resource, owners))

    def _kept(
        self, resource: resources.Resource, meta: facts.Meta, obj: facts.Object
    ) -> facts.Object:
        """Return an object as facts may keep parts of it, which others like it may have as well."""
        key = keys.set_of(resource, meta)
        if key is None or resource not in _SHARING:
            return obj
        if resource != resources.STATEFUL_SETS:
            obj = {**obj, "metadata": _without_fields(obj["metadata"])}
        leads = meta.labels.get(names.WORKER_INDEX) == "0"
        made_by = meta.controller.kind if meta.controller else ""
        return self._alike.sharing(key, (resource, leads, made_by), obj)

    def remove(
        self,
        resource: resources.Resource,
        *,
        namespace: str,
        name: str,
        uid: str,
        version: str | None = None,
    ) -> set[keys.SetKey] | None:
        """Forget the object with ``uid``; returns the sets concerned, None when not known.

        ``version`` is the resourceVersion of its disappearance. A watch with a label selector
        also says DELETED when the label goes, and the label may come back in a later version.
        None means that the object is gone for good.
        """
        self._entomb(uid, version)
        at = (namespace, name)
        old = self._entries[resource].get(at)
        if old is None or old.meta.uid != uid:
            return None
        self.on_removed(Removed(resource, old.fact, old.belongs_to, version))
        self._unfile(resource, at, old)
        del self._entries[resource][at]
        self._tell_of_checks(resource)
        # Those that need the name, whosever it was.
        needing = keys.needing(resource, namespace=namespace, name=name)
        parts = self._parts(resource, old.owners)
        return set(old.belongs_to) | parts | (needing & self._entries[resources.SETS].keys())

    def renewal(self, resource: resources.Resource) -> "Renewal":
        """Begin to take an authoritative list of a kind."""
        return Renewal(self, resource)

    def listed(self, resource: resources.Resource) -> list[tuple[str, str]]:
        """Return the namespaces and names of what lists of a kind tell of."""
        return [
            at
            for at, entry in self._entries[resource].items()
            if not keys.unlabelled(resource, entry.meta)
        ]

    def remove_unless_newer(
        self, resource: resources.Resource, at: tuple[str, str], *, than: str
    ) -> set[keys.SetKey] | None:
        """Forget what a list lacked that was made as of resourceVersion ``than``."""
        entry = self._entries[resource].get(at)
        if entry is None or newer(entry.meta.resource_version, than):
            return None
        return self.remove(resource, namespace=at[0], name=at[1], uid=entry.meta.uid, version=than)

    def forget(self, resource: resources.Resource) -> None:
        """Drop all objects of a kind that is no longer served."""
        for at, entry in list(self._entries[resource].items()):
            self._unfile(resource, at, entry)
            del self._entries[resource][at]
        self._tell_of_checks(resource)

    def _tell_of_checks(self, resource: resources.Resource) -> None:
        if resource == resources.ADMISSION_CHECKS:
            self.on_admission_check()

    def _parts(self, resource: resources.Resource, owners: frozenset[str]) -> set[keys.SetKey]:
        """Return the sets that are part of what a Workload with these ``owners`` was made for."""
        return {
            keys.SetKey(part.meta.namespace, part.meta.name)
            for uid in owners
            if resource == resources.WORKLOADS
            for part in self.owned_by(resources.SETS, uid)
        }

    def _unfile(
        self, resource: resources.Resource, at: tuple[str, str], old: _Entry | None
    ) -> None:
        if old is None:
            return
        for uid in old.owners:
            owned = self._owned[resource][uid]
            owned.pop(at, None)
            if not owned:
                del self._owned[resource][uid]
        for key in old.belongs_to:
            children = self._sets.get(key)
            if children is None:
                continue
            children[resource].pop(at[1], None)
            if not any(children.values()):
                del self._sets[key]
                self._alike.forget(key)

    def is_gone(self, uid: str) -> bool:
        """Whether an object was removed a while ago or less."""
        return uid in self._gone

    def _is_dead(self, resource: resources.Resource, meta: facts.Meta) -> bool:
        tombstone = self._gone.get(meta.uid)
        if tombstone is None:
            return False
        if tombstone.version is None:
            return True
        # Lists and watches by label speak of no version that lacks the label; this one was read.
        if keys.unlabelled(resource, meta):
            return False
        return not newer(meta.resource_version, tombstone.version)

    def _entomb(self, uid: str, version: str | None) -> None:
        now = self._clock()
        self._gone.pop(uid, None)
        self._gone[uid] = _Tombstone(version=version, at=now)
        # They stand in the order of their times.
        while (oldest := next(iter(self._gone.items())))[1].at < now - TOMBSTONE_SECONDS:
            del self._gone[oldest[0]]


class Renewal:
    """An authoritative list of a kind that is taken page by page.

    Other facts may come in between: of each object the newest counts.
    """

    def __init__(self, store: Cache, resource: resources.Resource) -> None:
        self._cache = store
        self._resource = resource
        self._seen: set[tuple[str, str]] = set()

    def take(self, items: Iterable[facts.Object]) -> set[keys.SetKey]:
        """Take some of what is listed; returns the sets concerned."""
        touched: set[keys.SetKey] = set()
        for obj in items:
            meta = obj["metadata"]
            self._seen.add((meta.get("namespace", ""), meta["name"]))
            try:
                touched |= self._cache.upsert(self._resource, obj) or set()
            except Exception:
                # One odd object must not hide the others.
                logger.exception("A %s was not understood: %s", self._resource.kind, meta["name"])
        return touched

    def gone(self, *, as_of: str) -> Iterator[set[keys.SetKey]]:
        """After the last page, forget what all of them lack and what is not newer than they are.

        Gives the sets concerned, some objects at a time, so that others may have a turn.
        """
        left = (at for at in self._cache.listed(self._resource) if at not in self._seen)
        while some := tuple(itertools.islice(left, _MOST_FORGOTTEN)):
            touched: set[keys.SetKey] = set()
            for at in some:
                gone = self._cache.remove_unless_newer(self._resource, at, than=as_of)
                touched |= gone or set()
            yield touched
