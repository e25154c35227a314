"""What was last seen of the cluster, indexed by the set that each object belongs to.

Watch events, authoritative lists and the answers to our own writes all end here, and the newest
resourceVersion wins, so a decision always sees at least its own writes. An object that was deleted
leaves its UID behind for a while, because a late event may still describe it. The cache holds
facts, not JSON: they are parsed once for each version of an object.
"""

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import pydantic

from lws_kueue.api import completion, facts, kueue, lws, names
from lws_kueue.controller.observe import members, ordinals
from lws_kueue.controller.revision import normalise
from lws_kueue.runtime import resources

TOMBSTONE_SECONDS: Final = 600.0

logger = logging.getLogger(__name__)


class SetKey(NamedTuple):
    """Which LeaderWorkerSet."""

    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class InvalidSet:
    """A set whose stored spec breaks the API's rules (it was written past them)."""

    meta: facts.Meta
    problem: str


def parse_set(obj: facts.Object) -> lws.LeaderWorkerSet | InvalidSet:
    """Parse a LeaderWorkerSet; what cannot be parsed is a fact as well, not an error."""
    meta = facts.Meta.of(obj)
    try:
        parsed = lws.LeaderWorkerSet.of(obj)
    except pydantic.ValidationError as error:
        problems = (
            f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}"
            for problem in error.errors()
        )
        return InvalidSet(meta=meta, problem="; ".join(problems))
    # Templates are JSON to the model; they are rendered as what they should be.
    if (where := normalise.mistyped(parsed.stored_spec, "RevisionSpec")) is not None:
        return InvalidSet(meta=meta, problem=f"{where}: is of a wrong type")
    return parsed


_PARSERS: Final[Mapping[resources.Resource, Callable[[facts.Object], Any]]] = {
    resources.SETS: parse_set,
    resources.STATEFUL_SETS: facts.StatefulSet.of,
    resources.REVISIONS: facts.Revision.of,
    resources.PODS: facts.Pod.of,
    resources.SERVICES: facts.Service.of,
    resources.POD_GROUPS: facts.PodGroup.of,
    resources.NAMESPACES: facts.Namespace.of,
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


def set_of(resource: resources.Resource, meta: facts.Meta) -> SetKey | None:
    """Return the set that an object belongs to, or None."""
    if resource == resources.SETS:
        return SetKey(meta.namespace, meta.name)
    if resource in resources.BY_SET_NAME:
        name = meta.labels.get(names.SET_NAME, "")
        return SetKey(meta.namespace, name) if name else None
    if resource == resources.WORKLOADS:
        owner = next((o.name for o in meta.owners if o.kind == names.LWS_KIND), "")
        gvk = meta.annotations.get(names.JOB_OWNER_GVK)
        if not owner and gvk == names.JOB_OWNER_GVK_VALUE:
            owner = meta.annotations.get(names.JOB_OWNER_NAME, "")
        return SetKey(meta.namespace, owner) if owner else None
    return None


def newer(left: str, right: str) -> bool:
    """Whether resourceVersion ``left`` is later than ``right`` (both are decimal numbers)."""
    try:
        return int(left) > int(right)
    except ValueError:
        return left != right


def sets_of(resource: resources.Resource, meta: facts.Meta) -> frozenset[SetKey]:
    """Return every set that an object concerns.

    That is the one that its label names. Where its owner or its own name say something else, the
    label was edited; then it concerns those as well, so that they see who is in the way.
    """
    labelled = set_of(resource, meta)
    keys = frozenset({labelled} if labelled else ())
    if resource not in resources.BY_SET_NAME:
        return keys
    origins = _origins(resource, meta)
    if labelled and labelled.name in origins:
        return keys
    return keys | {SetKey(meta.namespace, name) for name in origins}


def _origins(resource: resources.Resource, meta: facts.Meta) -> frozenset[str]:
    """Return the names that a set of this object could have, if it is what it looks like."""
    owner = meta.controller
    if owner is not None and owner.kind == names.LWS_KIND:
        return frozenset({owner.name})
    if resource == resources.REVISIONS or (owner and owner.kind not in ("StatefulSet", "Pod")):
        return frozenset()
    name = owner.name if owner else meta.name
    origins = set()
    while name:
        origins.add(name)
        name, _ = ordinals.parent_and_ordinal(name)
    return frozenset(origins)


@dataclass(slots=True)
class _Entry:
    """``adopted_by`` is the set that the object was filed under by hand, in addition."""

    meta: facts.Meta
    fact: Any
    belongs_to: frozenset[SetKey]
    adopted_by: SetKey | None


@dataclass(frozen=True, slots=True)
class _Grave:
    version: str | None
    at: float


# The facts of one set, by kind and name.
_Children = dict[resources.Resource, dict[str, Any]]


def _unlisted(resource: resources.Resource, meta: facts.Meta) -> bool:
    return resource in resources.BY_SET_NAME and names.SET_NAME not in meta.labels


class Cache:
    """The newest known facts."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._entries: dict[resources.Resource, dict[tuple[str, str], _Entry]] = defaultdict(dict)
        self._sets: dict[SetKey, _Children] = defaultdict(lambda: defaultdict(dict))
        self._gone: dict[str, _Grave] = {}
        self._departed: dict[SetKey, dict[str, members.Departed]] = {}
        self._taken_down: dict[str, float] = {}

    # Reading ------------------------------------------------------------------------------

    def of_set(self, key: SetKey, resource: resources.Resource) -> Mapping[str, Any]:
        """Return the facts of one kind that belong to a set, by object name."""
        return self._sets.get(key, {}).get(resource, {})

    def by_name(self, key: SetKey, resource: resources.Resource) -> dict[str, Any]:
        """Return the facts of one kind that belong to a set, or have a name that it needs.

        Those are the set's own name, for its leaders, and those of its leader pods, for their
        groups; the objects may be another set's.
        """
        leaders = (
            name
            for name in self.of_set(key, resources.PODS)
            if ordinals.parent_and_ordinal(name)[0] == key.name
        )
        entries = self._entries[resource]
        needed = {name: entries.get((key.namespace, name)) for name in (key.name, *leaders)}
        found = {name: entry.fact for name, entry in needed.items() if entry is not None}
        return {**found, **self.of_set(key, resource)}

    def get(self, resource: resources.Resource, *, namespace: str = "", name: str) -> Any | None:
        """Return one fact, or None."""
        entry = self._entries[resource].get((namespace, name))
        return entry.fact if entry else None

    def all(self, resource: resources.Resource) -> Iterable[Any]:
        """Return all facts of a kind."""
        return [entry.fact for entry in self._entries[resource].values()]

    def keys(self) -> set[SetKey]:
        """Return every set that exists or that still has objects."""
        return {key for key, children in self._sets.items() if any(children.values())}

    def departed(self, key: SetKey) -> Iterable[members.Departed]:
        """Return the worker pods of a set that are gone and whose StatefulSet stands."""
        noted = self._departed.get(key, {}).values()
        sets = self._entries[resources.STATEFUL_SETS]
        found = []
        for pod in noted:
            parent, _ = ordinals.parent_and_ordinal(pod.name)
            worker_set = sets.get((key.namespace, parent))
            if worker_set is not None and worker_set.meta.uid == pod.worker_set:
                found.append(pod)
        return found

    def strangers(self) -> Iterable[tuple[resources.Resource, facts.Meta]]:
        """Return the objects that no watch and no list tells of, because they lack the label."""
        return [
            (resource, entry.meta)
            for resource in resources.BY_SET_NAME
            for entry in self._entries[resource].values()
            if _unlisted(resource, entry.meta)
        ]

    # Writing ------------------------------------------------------------------------------

    def upsert(
        self,
        resource: resources.Resource,
        obj: facts.Object,
        *,
        belongs_to: SetKey | None = None,
    ) -> set[SetKey] | None:
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
        fact = _PARSERS[resource](obj)
        before = old.adopted_by if old and old.meta.uid == meta.uid else None
        adopted_by = belongs_to or before
        keys = sets_of(resource, meta) | (frozenset({adopted_by}) if adopted_by else frozenset())
        self._unfile(resource, at, old)
        self._entries[resource][at] = _Entry(meta, fact, keys, adopted_by)
        for key in keys:
            self._sets[key][resource][meta.name] = fact
        return set(keys | (old.belongs_to if old else frozenset()))

    def remove(
        self,
        resource: resources.Resource,
        *,
        namespace: str,
        name: str,
        uid: str,
        version: str | None = None,
    ) -> set[SetKey] | None:
        """Forget the object with ``uid``; returns the sets concerned, None when not known.

        ``version`` is the resourceVersion of its disappearance. A watch with a label selector
        also says DELETED when the label goes, and the label may come back in a later version.
        None means that the object is gone for good.
        """
        self._bury(uid, version)
        at = (namespace, name)
        old = self._entries[resource].get(at)
        if old is None or old.meta.uid != uid:
            return None
        if resource == resources.PODS and version is not None:
            self._depart(old)
        self._unfile(resource, at, old)
        del self._entries[resource][at]
        return set(old.belongs_to) | self._waiting_for(resource, at)

    def _waiting_for(self, resource: resources.Resource, at: tuple[str, str]) -> set[SetKey]:
        """Return the sets that need a name which has become free, whosever it was."""
        if resource not in (resources.STATEFUL_SETS, resources.SERVICES):
            return set()
        namespace, name = at
        needing = {name, ordinals.parent_and_ordinal(name)[0]}
        sets = self._entries[resources.SETS]
        return {SetKey(namespace, one) for one in needing if (namespace, one) in sets}

    def take_down(self, uid: str) -> None:
        """Take that we ourselves have asked for the deletion of an object."""
        now = self._clock()
        self._taken_down.pop(uid, None)
        self._taken_down[uid] = now
        # They stand in the order of their times.
        while (oldest := next(iter(self._taken_down.items())))[1] < now - TOMBSTONE_SECONDS:
            del self._taken_down[oldest[0]]

    def dealt_with(self, key: SetKey, departed: Iterable[members.Departed]) -> None:
        """Take that a pass has seen these pods to be gone, and that nothing of it is left to do.

        Noted for longer, they would recreate their group when the set's restart policy changes.
        """
        done = {pod.uid for pod in departed}
        standing = {pod.uid for pod in self.departed(key)}
        noted = self._departed.pop(key, {})
        if left := {uid: pod for uid, pod in noted.items() if uid in standing - done}:
            self._departed[key] = left

    def never_seen(self, resource: resources.Resource, obj: facts.Object) -> set[SetKey]:
        """Take that an object is gone of which nothing was known; returns the sets concerned.

        What comes and goes in quick succession may be told of by its end alone.
        """
        meta = facts.Meta.of(obj)
        if meta.uid in self._gone or resource != resources.PODS:
            return set()
        keys = sets_of(resource, meta)
        self._depart(_Entry(meta, facts.Pod.of(obj), keys, None))
        return set(keys)

    def replace(
        self, resource: resources.Resource, items: Iterable[facts.Object], *, as_of: str
    ) -> set[SetKey]:
        """Take an authoritative list: what it lacks and what is not newer than it is gone."""
        touched: set[SetKey] = set()
        seen: set[tuple[str, str]] = set()
        for obj in items:
            meta = obj["metadata"]
            seen.add((meta.get("namespace", ""), meta["name"]))
            try:
                touched |= self.upsert(resource, obj) or set()
            except Exception:
                # One odd object must not hide the others.
                logger.exception("A %s was not understood: %s", resource.kind, meta["name"])
        for at, entry in list(self._entries[resource].items()):
            if _unlisted(resource, entry.meta):
                continue
            if at not in seen and not newer(entry.meta.resource_version, as_of):
                gone = self.remove(
                    resource, namespace=at[0], name=at[1], uid=entry.meta.uid, version=as_of
                )
                touched |= gone or set()
        return touched

    def forget(self, resource: resources.Resource) -> None:
        """Drop all objects of a kind that is no longer served."""
        for at, entry in list(self._entries[resource].items()):
            self._unfile(resource, at, entry)
            del self._entries[resource][at]

    def _depart(self, entry: _Entry) -> None:
        """Note a worker pod that is gone and was deleted by somebody else.

        The next pass may come only when there is another one in its place.
        """
        meta, owner = entry.meta, entry.meta.controller
        if meta.uid in self._taken_down or entry.fact.gates or owner is None:
            return
        if members.never_placed(entry.fact):
            return
        worker_set = self._entries[resources.STATEFUL_SETS].get((meta.namespace, owner.name))
        leader = worker_set.meta.controller if worker_set else None
        if worker_set is None or worker_set.meta.uid != owner.uid or leader is None:
            return
        if leader.kind != "Pod":
            return
        index = ordinals.parent_and_ordinal(leader.name)[1]
        pod = members.Departed(index, leader.uid, owner.uid, uid=meta.uid, name=meta.name)
        for key in entry.belongs_to:
            others = self._departed.get(key, {}).values()
            kept = {
                other.uid: other
                for other in others
                if other.index != index or other.worker_set == owner.uid
            }
            self._departed[key] = {**kept, meta.uid: pod}

    def _unfile(
        self, resource: resources.Resource, at: tuple[str, str], old: _Entry | None
    ) -> None:
        for key in old.belongs_to if old else ():
            children = self._sets.get(key)
            if children is None:
                continue
            children[resource].pop(at[1], None)
            if not any(children.values()):
                del self._sets[key]
                self._departed.pop(key, None)

    def _is_dead(self, resource: resources.Resource, meta: facts.Meta) -> bool:
        tombstone = self._gone.get(meta.uid)
        if tombstone is None:
            return False
        if tombstone.version is None:
            return True
        # Lists and watches by label speak of no version that lacks the label; this one was read.
        return not _unlisted(resource, meta) and not newer(meta.resource_version, tombstone.version)

    def _bury(self, uid: str, version: str | None) -> None:
        now = self._clock()
        self._gone.pop(uid, None)
        self._gone[uid] = _Grave(version=version, at=now)
        # Graves stand in the order of their times.
        while (oldest := next(iter(self._gone.items())))[1].at < now - TOMBSTONE_SECONDS:
            del self._gone[oldest[0]]
