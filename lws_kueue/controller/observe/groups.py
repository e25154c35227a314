"""The groups of a set, put together from observed objects by the chain of ownership.

LeaderWorkerSet -> leader StatefulSet -> leader pod -> worker StatefulSet -> worker pods, each link
by UID (lws-contract 3). Names and labels alone would mix a group with what is left of the group
that had its place before, and anyone can edit labels: what a label says never decides who belongs
to a group. What contradicts the chain is reported by ``contradictions``.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import cached_property
from operator import attrgetter
from typing import Final, TypeVar

from lws_kueue.api import derived, facts, lws, memos, names, numbers
from lws_kueue.api.indices import Indices
from lws_kueue.controller.observe import ordinals

# The label by which a pod names the revision of its StatefulSet's template.
MADE_FROM: Final = "controller-revision-hash"

V = TypeVar("V")


class Remote(Enum):
    """What another cluster has of a group that runs there, or is to.

    ``AWAY``: nothing yet. ``OUTDATED``: what it was before its leader here is as it is.
    ``UPDATED``: the same as its leader says, and not ready. ``READY``: that, and ready.
    """

    AWAY = "away"
    OUTDATED = "outdated"
    UPDATED = "updated"
    READY = "ready"


@dataclass(frozen=True)
class Group:
    """One group: its leader pod, its workers by ordinal, their StatefulSet, and its own Service.

    ``size`` is that of the group itself, which during an update may differ from the set's.
    ``foreign_worker_set`` is a StatefulSet that has the name of this group's worker StatefulSet but
    belongs to something else, most often to a leader pod that is gone. ``name_conflicts`` are pods
    that have the names of its workers and belong to something else: what is left of a former group,
    or a worker that its StatefulSet has orphaned because somebody edited its labels.
    ``gated_as_wanted`` says that its pods are made with or without the gate of Kueue's admission,
    as the set wants it now; ``managed_by_kueue`` that they were made for Kueue's built-in
    integration, which gates them itself. ``remote`` is how it is where it runs, None for a group of
    this cluster: of one that runs elsewhere there is a gated leader here, and no more.
    """

    index: int
    size: int
    leader: facts.Pod
    workers: tuple[facts.Pod, ...] = ()
    worker_set: facts.StatefulSet | None = None
    service: facts.Service | None = None
    foreign_worker_set: facts.StatefulSet | None = None
    name_conflicts: tuple[facts.Pod, ...] = ()
    gated_as_wanted: bool = True
    managed_by_kueue: bool = False
    remote: Remote | None = None

    @cached_property
    def key(self) -> str:
        """The revision key of the leader."""
        return self.leader.meta.labels.get(names.REVISION_KEY, "")

    @cached_property
    def pods(self) -> tuple[facts.Pod, ...]:
        """All pods of the group, the leader first."""
        return (self.leader, *self.workers)

    @cached_property
    def whole(self) -> bool:
        """Whether the group has its worker StatefulSet, or needs none."""
        return self.remote is not None or self.size == 1 or self.worker_set is not None

    @cached_property
    def ready(self) -> bool:
        """Whether the leader runs and is ready, and the workers are (lws-contract 4.1)."""
        if self.remote is not None:
            return self.remote is Remote.READY
        if not (self.leader.phase == "Running" and self.leader.ready):
            return False
        if self.size == 1:
            return True
        return self.worker_set is not None and self.worker_set.ready and not self.rescaled

    @cached_property
    def rescaled(self) -> bool:
        """Whether its worker StatefulSet wants another number of pods than the group has places.

        It was made with the right one, so somebody has changed that.
        """
        own = self.worker_set
        return self.size > 1 and own is not None and own.replicas != self.size - 1

    @cached_property
    def marked(self) -> bool:
        """Whether its leader says that we gate it."""
        return is_marked(self.leader.meta.annotations)

    @cached_property
    def staffed(self) -> bool:
        """Whether it has its worker StatefulSet, and that does not say that it lacks pods."""
        return self.worker_set is not None and not self.worker_set.short

    @cached_property
    def disturbed(self) -> bool:
        """Whether one of its pods here is being deleted or has been restarted."""
        return self.remote is None and any(pod.meta.deleting or pod.restarted for pod in self.pods)

    @cached_property
    def gated(self) -> bool:
        """Whether anybody's gate holds one of its pods."""
        return any(pod.gates for pod in self.pods)

    def has_place(self, name: str) -> bool:
        """Whether a pod of that name is one of the group, and not one too many."""
        return ordinals.parent_and_ordinal(name)[1] < self.size or name == self.leader.meta.name

    @cached_property
    def in_queue(self) -> bool:
        """Whether its pods have waited, or wait, for its Workload, whoever gates them."""
        return self.gated_as_wanted or self.managed_by_kueue

    def updated(self, key: str) -> bool:
        """Whether leader and workers are at revision ``key`` and gated as wanted, ready or not."""
        if self.key != key or not self.gated_as_wanted:
            return False
        if self.remote is not None:
            return self.remote is not Remote.OUTDATED
        return self.size == 1 or (
            self.worker_set is not None
            and self.worker_set.meta.labels.get(names.REVISION_KEY) == key
        )


@dataclass(frozen=True)
class Groups:
    """The groups of a set by index, and what else there is.

    ``former`` are pods that a former group of the set may have left; ``unowned`` are all others
    that carry the set's labels or have a name that one of its pods needs. ``foreign`` is a
    StatefulSet of the leader StatefulSet's name that another object controls. ``memo`` is what was
    found out about them before.
    """

    leader_set: facts.StatefulSet | None
    groups: tuple[Group, ...] = ()
    former: tuple[facts.Pod, ...] = ()
    unowned: tuple[facts.Pod, ...] = ()
    foreign: facts.StatefulSet | None = None
    memo: memos.Memo = field(default_factory=memos.Memo, compare=False, repr=False)

    @cached_property
    def by_index(self) -> Mapping[int, Group]:
        """The groups by index, in order."""
        by_index = {group.index: group for group in self.groups}
        return self.memo.each("groups", lambda _, group: group, by_index)

    @cached_property
    def indices(self) -> Indices:
        """The indices of the groups that are there."""
        return self.which("there", lambda _: True)

    @cached_property
    def pods(self) -> tuple[facts.Pod, ...]:
        """All pods that are, or may have been, the set's."""
        return (*(pod for group in self.groups for pod in group.pods), *self.former)

    @property
    def outside(self) -> tuple[facts.Pod, ...]:
        """The pods that are in no group."""
        return (*self.former, *self.unowned)

    def each(
        self,
        what: str,
        derive: Callable[[Group], V | None],
        *,
        given: tuple[object, ...] = (),
        anew: bool = False,
    ) -> Mapping[int, V]:
        """Return what ``derive`` says of each group, by index, as ``Memo.each`` does."""
        return self.memo.each(
            what, lambda _, group: derive(group), self.by_index, given=given, anew=anew
        )

    def which(
        self, what: str, holds: Callable[[Group], bool], *, given: tuple[object, ...] = ()
    ) -> Indices:
        """Return the groups of which something holds; ``given`` is what else that depends on."""
        found = self.each(what, lambda group: True if holds(group) else None, given=given)
        return self.memo.whole(what, Indices, found)

    @cached_property
    def whole(self) -> Indices:
        """The groups that have their worker StatefulSet, or need none."""
        return self.which("whole", lambda group: group.whole)

    @cached_property
    def ready(self) -> Indices:
        """The groups that are whole and ready."""
        return self.which("ready", lambda group: group.whole and group.ready)

    @cached_property
    def staying(self) -> Indices:
        """The groups that are whole and ready, and whose leader is not being deleted."""
        return self.which(
            "staying",
            lambda group: group.whole and group.ready and not group.leader.meta.deleting,
        )

    def updated(self, key: str) -> Indices:
        """The groups that are whole and at revision ``key``, ready or not."""
        return self.which("updated", lambda group: group.whole and group.updated(key), given=(key,))


class Memo(memos.Memo):
    """What the groups of a set were put together from, so that the next look changes that alone.

    What it holds of a set is right for one set only. Facts are never changed, so one that is still
    there says what it said.
    """

    def __init__(self) -> None:
        super().__init__()
        self._filed = _Filed()

    def groups(
        self,
        owner: lws.LeaderWorkerSet,
        leader_set: facts.StatefulSet,
        *,
        stateful_sets: Mapping[str, facts.StatefulSet],
        pods: Mapping[str, facts.Pod],
        services: Mapping[str, facts.Service],
    ) -> tuple[Group, ...]:
        """Return the groups by index; those of which all is as it was are the same objects."""
        # What an error cuts off in the middle is begun anew.
        filed, self._filed = self._filed, _Filed()
        made_for = (owner.meta.name, owner.spec.leader_worker_template.size, leader_set.meta.uid)
        if filed.made_for != made_for:
            filed = _Filed(made_for)
        found = filed.update(owner, stateful_sets=stateful_sets, pods=pods, services=services)
        self._filed = filed
        return found


@dataclass
class _Filed:
    """The objects of a set by what they belong to, and the groups that were made of them.

    ``made_for`` are the name of the set, its size, and the UID of its leader StatefulSet.
    ``children`` are pods by the UID of their controller, ``places`` by the StatefulSet that their
    names say, both by name; a mapping is never changed, but replaced. ``of_uid`` are the names of
    the leaders that own something by a UID, their own or that of their worker StatefulSet.
    """

    made_for: tuple[str, int, str] = ("", 0, "")
    pods: Mapping[str, facts.Pod] = field(default_factory=dict)
    stateful_sets: Mapping[str, facts.StatefulSet] = field(default_factory=dict)
    services: Mapping[str, facts.Service] = field(default_factory=dict)
    children: dict[str, dict[str, facts.Pod]] = field(default_factory=dict)
    places: dict[str, dict[str, facts.Pod]] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    of_uid: dict[str, str] = field(default_factory=dict)

    def update(
        self,
        owner: lws.LeaderWorkerSet,
        *,
        stateful_sets: Mapping[str, facts.StatefulSet],
        pods: Mapping[str, facts.Pod],
        services: Mapping[str, facts.Service],
    ) -> tuple[Group, ...]:
        """Make those groups anew of which anything has changed; return all of them by index."""
        changed = memos.changed(self.pods, pods)
        uids, parents = self._refile(changed, pods)
        concerned = {
            *changed,
            *parents,
            *memos.changed(self.stateful_sets, stateful_sets),
            *memos.changed(self.services, services),
            *(self.of_uid[uid] for uid in uids if uid in self.of_uid),
        }
        self.pods, self.stateful_sets, self.services = pods, stateful_sets, services
        leaders = self.children.get(self.made_for[2], {})
        for name in concerned:
            if (before := self.groups.pop(name, None)) is not None:
                for uid in _uids(before):
                    self.of_uid.pop(uid, None)
            leader = leaders.get(name)
            if leader is None or (made := self._group(owner, leader)) is None:
                continue
            self.groups[name] = made
            self.of_uid.update(dict.fromkeys(_uids(made), name))
        return tuple(sorted(self.groups.values(), key=attrgetter("index")))

    def _refile(
        self, changed: Iterable[str], pods: Mapping[str, facts.Pod]
    ) -> tuple[Iterable[str], Iterable[str]]:
        """File the pods that have changed; return the UIDs and the names that it concerns."""
        children: dict[str, dict[str, facts.Pod]] = {}
        places: dict[str, dict[str, facts.Pod]] = {}
        for name in changed:
            old, new = self.pods.get(name), pods.get(name)
            for pod in (old, new):
                if pod is None:
                    continue
                where = [_entry(places, self.places, ordinals.parent_and_ordinal(name)[0])]
                if pod.meta.controller is not None:
                    where.append(_entry(children, self.children, pod.meta.controller.uid))
                for entry in where:
                    if pod is new:
                        entry[name] = pod
                    else:
                        entry.pop(name, None)
        _replace(self.children, children)
        _replace(self.places, places)
        return children, places

    def _group(self, owner: lws.LeaderWorkerSet, pod: facts.Pod) -> Group | None:
        """Return the group of a leader; None for a pod that only has the owner of one."""
        parent, index = ordinals.parent_and_ordinal(pod.meta.name)
        if parent != owner.meta.name or pod.meta.name != f"{parent}-{index}":
            return None
        same_name = self.stateful_sets.get(pod.meta.name)
        own = same_name is not None and _controls("Pod", pod.meta, same_name.meta)
        worker_set = same_name if own else None
        workers = _workers(pod, worker_set=worker_set, children=self.children)
        here = {worker.meta.uid for worker in workers}
        places = sorted(self.places.get(pod.meta.name, {}).items())
        return Group(
            index=index,
            size=_size(owner, pod, worker_set),
            leader=pod,
            workers=workers,
            worker_set=worker_set,
            service=self.services.get(pod.meta.name),
            foreign_worker_set=None if worker_set else same_name,
            name_conflicts=tuple(p for _, p in places if p.meta.uid not in here),
            managed_by_kueue=_mark(pod.meta.annotations) == names.KUEUE_LWS_FRAMEWORK,
        )


def _entry(
    changed: dict[str, dict[str, facts.Pod]], kept: Mapping[str, dict[str, facts.Pod]], key: str
) -> dict[str, facts.Pod]:
    """Return the entry of a key that is to be changed, which begins as a copy of what is kept."""
    if key not in changed:
        changed[key] = dict(kept.get(key, {}))
    return changed[key]


def _replace(
    kept: dict[str, dict[str, facts.Pod]], changed: Mapping[str, dict[str, facts.Pod]]
) -> None:
    for key, entry in changed.items():
        if entry:
            kept[key] = entry
        else:
            kept.pop(key, None)


def _uids(group: Group) -> tuple[str, ...]:
    """Return the UIDs of what owns pods of a group."""
    leader = group.leader.meta.uid
    return (leader, group.worker_set.meta.uid) if group.worker_set else (leader,)


def observe(
    owner: lws.LeaderWorkerSet,
    *,
    stateful_sets: Mapping[str, facts.StatefulSet],
    pods: Mapping[str, facts.Pod],
    services: Mapping[str, facts.Service],
    known: Memo | None = None,
) -> Groups:
    """Put the objects of a set together. Mappings are by name, of the set's namespace.

    ``known`` is that of the set's last look, and learns what there is now.
    """
    kept = Memo() if known is None else known
    named = stateful_sets.get(owner.meta.name)
    ours = named is not None and _is_ours(owner, named)
    leader_set = named if ours else None
    groups: tuple[Group, ...] = ()
    if leader_set is not None:
        groups = kept.groups(
            owner, leader_set, stateful_sets=stateful_sets, pods=pods, services=services
        )
    others = _others(groups, pods)
    return Groups(
        leader_set=leader_set,
        groups=groups,
        former=tuple(pod for pod in others if may_belong(owner.meta.name, pod)),
        unowned=tuple(pod for pod in others if not may_belong(owner.meta.name, pod)),
        foreign=None if ours else named,
        memo=kept,
    )


def _others(groups: Iterable[Group], pods: Mapping[str, facts.Pod]) -> list[facts.Pod]:
    """Return the pods that are in no group, by name; none is in two."""
    if sum(map(len, map(attrgetter("pods"), groups))) == len(pods):
        return []
    members = {pod.meta.uid for group in groups for pod in group.pods}
    return [pod for _, pod in sorted(pods.items()) if pod.meta.uid not in members]


@dataclass(frozen=True, slots=True)
class Past:
    """What tells whether a set can have pods from before it waited for Kueue.

    ``made`` is when the set was, ``asked`` the first time of which a Workload of it or its status
    says that it waits for Kueue, or that it is deleted, "" for none; ``served`` says that it has a
    status at all. None of this can be written by who may edit sets, pods and StatefulSets.
    """

    made: str = ""
    asked: str = ""
    served: bool = True


def compared(
    found: Groups, *, gated: bool, past: Past, revisions: Iterable[facts.Revision] = ()
) -> Groups:
    """Return the groups with ``gated_as_wanted`` said of each: ``gated`` is what the set wants.

    ``revisions`` are those of the namespace that the StatefulSet controller keeps of templates.
    """
    leader_set = found.leader_set
    doubtful = found.which("marked", lambda group: group.marked != gated, given=(gated,))
    if leader_set is None or not doubtful:
        return found
    templates = _Templates(leader_set, revisions, past)
    groups = tuple(
        _otherwise(group)
        if group.marked != gated and templates.otherwise(group, gated=gated)
        else group
        for group in found.groups
    )
    return replace(found, groups=groups)


@derived.once
def _otherwise(group: Group) -> Group:
    """Return a group as one that is not gated as the set wants it now."""
    return replace(group, gated_as_wanted=False)


def located(found: Groups, remotes: Mapping[int, Remote]) -> Groups:
    """Return the groups with what other clusters have of those that run there, by index."""
    if not remotes:
        return found
    # The same object for as long as nothing changes, as any other group is.
    groups = found.memo.each(
        "located",
        lambda _, group, remote: group if remote is None else replace(group, remote=remote),
        {group.index: group for group in found.groups},
        remotes,
    )
    return replace(found, groups=tuple(groups.values()))


class _Templates:
    """What the leaders of a set have been made from, as the StatefulSet controller has kept it.

    A user may write annotations and labels of pods and the template of the StatefulSet, and make
    another one in its place, but cannot write what was kept of its earlier templates.
    """

    def __init__(
        self, leader_set: facts.StatefulSet, revisions: Iterable[facts.Revision], past: Past
    ) -> None:
        self._leader_set = leader_set
        self._past = past
        self._kept = {
            revision.meta.name: revision
            for revision in revisions
            if _controls("StatefulSet", leader_set.meta, revision.meta)
        }
        self._first_gated = min(
            (one.meta.created for one in self._kept.values() if _is_gated(one)), default=None
        )

    def otherwise(self, group: Group, *, gated: bool) -> bool:
        """Whether a group, whose mark says so, is from before the set has had the gate it wants.

        A group that is not gated is only believed to be from before the set waited for Kueue if its
        template and its leader are older than the first template with the gate: below a partition
        the StatefulSet controller goes on making leaders from the old one, and those are new. What
        nobody knows is not from before.
        """
        leader = group.leader
        if not gated:
            return not self._edited(leader)
        if not (group.managed_by_kueue or self._unasked(leader)):
            return False
        first, made_from = self._first_gated, self._kept.get(leader.meta.labels.get(MADE_FROM, ""))
        if made_from is None:
            return first is None and not is_marked(self._leader_set.template_annotations)
        if first is None:
            return not _is_gated(made_from)
        # Times are whole seconds; in the same one the new template has come first.
        older = made_from.meta.created < first and leader.meta.created < first
        return not _is_gated(made_from) and older

    def _unasked(self, leader: facts.Pod) -> bool:
        """Whether the set can have made a leader when it asked for no quota yet.

        One that has asked made neither a leader nor their StatefulSet without the gate since, and a
        StatefulSet that is older than the set, or that nobody owns, was not made for it at all.
        """
        own, past = self._leader_set.meta, self._past
        if own.controller is None or own.created < past.made or not past.served:
            return False
        return not past.asked or max(own.created, leader.meta.created) < past.asked

    def _edited(self, leader: facts.Pod) -> bool:
        """Whether a leader was made without the gate, and somebody has given it the mark."""
        made_from = leader.meta.labels.get(MADE_FROM)
        status = self._leader_set.status
        seen = status.get("observedGeneration") == self._leader_set.meta.generation
        newest = made_from is not None and made_from == status.get("updateRevision")
        return seen and newest and not is_marked(self._leader_set.template_annotations)


def made_for_kueue(leader_set: facts.StatefulSet, revisions: Iterable[facts.Revision]) -> bool:
    """Whether a leader StatefulSet makes pods for Kueue's built-in integration, as it always has.

    ``revisions`` are those of the namespace. What was kept of an earlier template with our gate
    says that somebody has edited the one that is there.
    """
    kept = (one for one in revisions if _controls("StatefulSet", leader_set.meta, one.meta))
    marked = _mark(leader_set.template_annotations) == names.KUEUE_LWS_FRAMEWORK
    return marked and not any(_is_gated(one) for one in kept)


def _is_gated(revision: facts.Revision) -> bool:
    """Whether a StatefulSet's revision makes pods that wait for us."""
    template = (revision.data.get("spec") or {}).get("template") or {}
    return is_marked((template.get("metadata") or {}).get("annotations") or {})


def is_marked(annotations: facts.Labels) -> bool:
    """Whether annotations of a pod or its template say that we gate it."""
    return _mark(annotations) == names.OUR_SUSPENDING_PARENT


def _mark(annotations: facts.Labels) -> str | None:
    return annotations.get(names.POD_SUSPENDING_PARENT)


def may_belong(set_name: str, pod: facts.Pod) -> bool:
    """Whether a pod may be, or have been, one of a set's.

    Its controller's name, or its own, has to say so, and something in it that it was made for the
    set. Labels alone do not: anyone may put them on any pod. A name alone does not either: anyone
    may make a set that would give its pods the names of others.
    """
    owner = pod.meta.controller
    if owner is not None and owner.kind not in ("StatefulSet", "Pod"):
        return False
    origin = owner.name if owner else ordinals.parent_and_ordinal(pod.meta.name)[0]
    named = set_name in (origin, ordinals.parent_and_ordinal(origin)[0])
    return named and _made_for(set_name, pod)


def _made_for(set_name: str, pod: facts.Pod) -> bool:
    """Whether a pod says that it was made for a set.

    Every pod of a set is told where its leader is, and that can never be taken out of it. Of one
    that was not, because no policy saw it, labels and annotations are all there is.
    """
    if (leader := _leader_told(pod)) is not None:
        return ordinals.parent_and_ordinal(leader)[0] == set_name
    meta = pod.meta
    return (
        meta.labels.get(names.SET_NAME) == set_name
        or any(key.startswith(names.LWS_PREFIX) for key in meta.annotations)
        or is_marked(meta.annotations)
    )


def _leader_told(pod: facts.Pod) -> str | None:
    """Return the name of the leader pod that the containers of a pod are told."""
    for container in pod.spec.get("containers") or ():
        for variable in container.get("env") or ():
            if variable.get("name") == names.LEADER_ADDRESS:
                return str(variable.get("value") or "").split(".")[0]
    return None


def index_of(set_name: str, pod: facts.Pod) -> int | None:
    """Return the index of the group in which a pod has its place, or had it; None if it has none.

    Its name says so and can never change. Its label is asked only where the name says nothing: a
    pod whose labels were edited is orphaned by its StatefulSet, and runs on all the same.
    """
    parent, ordinal = ordinals.parent_and_ordinal(pod.meta.name)
    if parent == set_name:
        return ordinal
    origin, index = ordinals.parent_and_ordinal(parent)
    if origin == set_name:
        return index
    return numbers.natural(pod.meta.labels.get(names.GROUP_INDEX, ""))


def _controls(kind: str, controller: facts.Meta, child: facts.Meta) -> bool:
    """Whether an object of a ``kind`` controls another one.

    Anybody may write a reference with its UID and a made-up kind, which no policy can see through.
    """
    found = child.controller
    return found is not None and (found.kind, found.uid) == (kind, controller.uid)


def _is_ours(owner: lws.LeaderWorkerSet, found: facts.StatefulSet) -> bool:
    """Whether a StatefulSet of the set's name is its leader StatefulSet.

    One without a controller is, if it has our label and can be what it has to be: the set was
    deleted without its children and made again. Otherwise it is somebody else's, and is never taken
    over.
    """
    if found.meta.controller is not None:
        return _controls(names.LWS_KIND, owner.meta, found.meta)
    labelled = found.meta.labels.get(names.SET_NAME) == owner.meta.name
    return labelled and not never_fits(found)


def never_fits(leader_set: facts.StatefulSet) -> tuple[str, ...]:
    """Return the fields by which a StatefulSet can never make the leaders of the set of its name.

    They are fixed when it is made. What is not there is not compared.
    """
    name, spec = leader_set.meta.name, leader_set.spec
    fixed = {
        "serviceName": (spec.get("serviceName"), name),
        "podManagementPolicy": (spec.get("podManagementPolicy"), "Parallel"),
        "selector": (leader_set.selector, {names.SET_NAME: name, names.WORKER_INDEX: "0"}),
    }
    return tuple(field for field, (has, needs) in fixed.items() if has and has != needs)


def places_of(stateful_set: facts.StatefulSet, *, start: int) -> Iterator[str]:
    """Return the names of the pods that a StatefulSet wants; ``start`` is the first ordinal."""
    for ordinal in range(start, start + stateful_set.replicas):
        yield f"{stateful_set.meta.name}-{ordinal}"


def missed_pods(found: Groups) -> Iterator[str]:
    """Return the names of all pods of the StatefulSets that cannot make some of them.

    Only its controller knows that of a StatefulSet: what is merely late is about to be made.
    """
    if found.leader_set is not None and found.leader_set.short:
        yield from places_of(found.leader_set, start=0)
    short = found.each("short", lambda group: _short(group.worker_set))
    for worker_set in short.values():
        yield from places_of(worker_set, start=1)


def _short(stateful_set: facts.StatefulSet | None) -> facts.StatefulSet | None:
    return stateful_set if stateful_set is not None and stateful_set.short else None


def _workers(
    leader: facts.Pod,
    *,
    worker_set: facts.StatefulSet | None,
    children: Mapping[str, Mapping[str, facts.Pod]],
) -> tuple[facts.Pod, ...]:
    """Return a group's workers: pods of the worker StatefulSet, or of the leader itself."""
    workers = [
        *(children.get(worker_set.meta.uid, {}).values() if worker_set else ()),
        *children.get(leader.meta.uid, {}).values(),
    ]
    placed = {
        ordinal: pod
        for pod in workers
        if (ordinal := ordinals.parent_and_ordinal(pod.meta.name)[1]) > 0
        and pod.meta.name == f"{leader.meta.name}-{ordinal}"
    }
    return tuple(placed[ordinal] for ordinal in sorted(placed))


def _size(
    owner: lws.LeaderWorkerSet, leader: facts.Pod, worker_set: facts.StatefulSet | None
) -> int:
    """Return the size that a group was made with, which the templates of both kinds carry.

    The template of the workers is asked first: the annotation of a pod is edited more easily.
    """
    written = leader.meta.annotations.get(names.SIZE, "")
    made_with = worker_set.template_annotations.get(names.SIZE, "") if worker_set else ""
    own = owner.spec.leader_worker_template.size
    return numbers.positive(made_with) or numbers.positive(written) or own
