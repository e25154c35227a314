"""The groups of a set, put together from observed objects by the chain of ownership.

LeaderWorkerSet -> leader StatefulSet -> leader pod -> worker StatefulSet -> worker pods, each link
by UID (lws-contract 3). Names and labels alone would mix a group with what is left of the group
that had its place before, and anyone can edit labels: what a label says never decides who belongs
to a group. What contradicts the chain is reported by ``contradictions``.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from lws_kueue.api import facts, lws, names, numbers
from lws_kueue.controller.observe import ordinals

# The label by which a pod names the revision of its StatefulSet's template.
MADE_FROM: Final = "controller-revision-hash"


@dataclass(frozen=True, slots=True)
class Group:
    """One group: its leader pod, its workers by ordinal, their StatefulSet, and its own Service.

    ``size`` is that of the group itself, which during an update may differ from the set's.
    ``foreign_worker_set`` is a StatefulSet that has the name of this group's worker StatefulSet but
    belongs to something else, most often to a leader pod that is gone. ``name_conflicts`` are pods
    that have the names of its workers and belong to something else: what is left of a former group,
    or a worker that its StatefulSet has orphaned because somebody edited its labels.
    ``gated_as_wanted`` says that its pods are made with or without the gate of Kueue's admission,
    as the set wants it now; ``managed_by_kueue`` that they were made for Kueue's built-in
    integration, which gates them itself.
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

    @property
    def key(self) -> str:
        """The revision key of the leader."""
        return self.leader.meta.labels.get(names.REVISION_KEY, "")

    @property
    def pods(self) -> tuple[facts.Pod, ...]:
        """All pods of the group, the leader first."""
        return (self.leader, *self.workers)

    @property
    def whole(self) -> bool:
        """Whether the group has its worker StatefulSet, or needs none."""
        return self.size == 1 or self.worker_set is not None

    @property
    def ready(self) -> bool:
        """Whether the leader runs and is ready, and the workers are (lws-contract 4.1)."""
        if not (self.leader.phase == "Running" and self.leader.ready):
            return False
        if self.size == 1:
            return True
        return self.worker_set is not None and self.worker_set.ready and not self.rescaled

    @property
    def rescaled(self) -> bool:
        """Whether its worker StatefulSet wants another number of pods than the group has places.

        It was made with the right one, so somebody has changed that.
        """
        own = self.worker_set
        return self.size > 1 and own is not None and own.replicas != self.size - 1

    def has_place(self, name: str) -> bool:
        """Whether a pod of that name is one of the group, and not one too many."""
        return ordinals.parent_and_ordinal(name)[1] < self.size or name == self.leader.meta.name

    @property
    def in_queue(self) -> bool:
        """Whether its pods have waited, or wait, for its Workload, whoever gates them."""
        return self.gated_as_wanted or self.managed_by_kueue

    def updated(self, key: str) -> bool:
        """Whether leader and workers are at revision ``key`` and gated as wanted, ready or not."""
        if self.key != key or not self.gated_as_wanted:
            return False
        return self.size == 1 or (
            self.worker_set is not None
            and self.worker_set.meta.labels.get(names.REVISION_KEY) == key
        )


@dataclass(frozen=True, slots=True)
class Groups:
    """The groups of a set by index, and what else there is.

    ``former`` are pods that a former group of the set may have left; ``unowned`` are all others
    that carry the set's labels or have a name that one of its pods needs. ``foreign`` is a
    StatefulSet of the leader StatefulSet's name that another object controls.
    """

    leader_set: facts.StatefulSet | None
    groups: tuple[Group, ...] = ()
    former: tuple[facts.Pod, ...] = ()
    unowned: tuple[facts.Pod, ...] = ()
    foreign: facts.StatefulSet | None = None

    @property
    def pods(self) -> tuple[facts.Pod, ...]:
        """All pods that are, or may have been, the set's."""
        return (*(pod for group in self.groups for pod in group.pods), *self.former)


def observe(
    owner: lws.LeaderWorkerSet,
    *,
    stateful_sets: Mapping[str, facts.StatefulSet],
    pods: Mapping[str, facts.Pod],
    services: Mapping[str, facts.Service],
) -> Groups:
    """Put the objects of a set together. Mappings are by name, of the set's namespace."""
    named = stateful_sets.get(owner.meta.name)
    ours = named is not None and _is_ours(owner, named)
    leader_set = named if ours else None
    children = _by_controller(pods)
    places = _by_parent(pods)
    groups = []
    for pod in children.get(leader_set.meta.uid, ()) if leader_set else ():
        parent, index = ordinals.parent_and_ordinal(pod.meta.name)
        if parent != owner.meta.name or pod.meta.name != f"{parent}-{index}":
            continue
        same_name = stateful_sets.get(pod.meta.name)
        worker_set = same_name if same_name and _controls(pod.meta, same_name.meta) else None
        workers = _workers(pod, worker_set=worker_set, children=children)
        here = {worker.meta.uid for worker in workers}
        groups.append(
            Group(
                index=index,
                size=_size(owner, pod, worker_set),
                leader=pod,
                workers=workers,
                worker_set=worker_set,
                service=services.get(pod.meta.name),
                foreign_worker_set=None if worker_set else same_name,
                name_conflicts=tuple(
                    p for p in places.get(pod.meta.name, ()) if p.meta.uid not in here
                ),
                managed_by_kueue=_mark(pod.meta.annotations) == names.KUEUE_LWS_FRAMEWORK,
            )
        )
    groups.sort(key=lambda group: group.index)
    members = {pod.meta.uid for group in groups for pod in group.pods}
    others = [pod for _, pod in sorted(pods.items()) if pod.meta.uid not in members]
    return Groups(
        leader_set=leader_set,
        groups=tuple(groups),
        former=tuple(pod for pod in others if may_belong(owner.meta.name, pod)),
        unowned=tuple(pod for pod in others if not may_belong(owner.meta.name, pod)),
        foreign=None if ours else named,
    )


def compared(found: Groups, *, gated: bool, revisions: Iterable[facts.Revision] = ()) -> Groups:
    """Return the groups with ``gated_as_wanted`` said of each: ``gated`` is what the set wants.

    ``revisions`` are those of the namespace that the StatefulSet controller keeps of templates.
    """
    leader_set = found.leader_set
    if leader_set is None:
        return found
    templates = _Templates(leader_set, revisions)
    groups = tuple(
        group
        if is_marked(group.leader.meta.annotations) == gated
        or not templates.otherwise(group.leader, gated=gated)
        else replace(group, gated_as_wanted=False)
        for group in found.groups
    )
    return replace(found, groups=groups)


class _Templates:
    """What the leaders of a set have been made from, as the StatefulSet controller has kept it.

    A user may write annotations and labels of pods and the template of the StatefulSet, but not
    what was kept of its earlier templates.
    """

    def __init__(self, leader_set: facts.StatefulSet, revisions: Iterable[facts.Revision]) -> None:
        self._leader_set = leader_set
        self._kept = {
            revision.meta.name: revision
            for revision in revisions
            if _controls(leader_set.meta, revision.meta)
        }
        self._first_gated = min(
            (one.meta.created for one in self._kept.values() if _is_gated(one)), default=None
        )

    def otherwise(self, leader: facts.Pod, *, gated: bool) -> bool:
        """Whether a leader, whose mark says so, is from before the set has had the gate it wants.

        A group that is not gated is only believed to be from before the set waited for Kueue if its
        template and its leader are older than the first template with the gate: below a partition
        the StatefulSet controller goes on making leaders from the old one, and those are new. What
        nobody knows is not from before.
        """
        if not gated:
            return not self._edited(leader)
        first, made_from = self._first_gated, self._kept.get(leader.meta.labels.get(MADE_FROM, ""))
        if made_from is None:
            return first is None and not is_marked(self._leader_set.template_annotations)
        if first is None:
            return not _is_gated(made_from)
        # Times are whole seconds; in the same one the new template has come first.
        older = made_from.meta.created < first and leader.meta.created < first
        return not _is_gated(made_from) and older

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
    kept = (one for one in revisions if _controls(leader_set.meta, one.meta))
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


def _controls(controller: facts.Meta, child: facts.Meta) -> bool:
    return child.controller is not None and child.controller.uid == controller.uid


def _is_ours(owner: lws.LeaderWorkerSet, found: facts.StatefulSet) -> bool:
    """Whether a StatefulSet of the set's name is its leader StatefulSet.

    One without a controller is, if it has our label and selects our leaders: the set was deleted
    without its children and made again. Otherwise it is somebody else's, and is never taken over.
    """
    if found.meta.controller is not None:
        return found.meta.controller.uid == owner.meta.uid
    leaders = {names.SET_NAME: owner.meta.name, names.WORKER_INDEX: "0"}
    labelled = found.meta.labels.get(names.SET_NAME) == owner.meta.name
    return labelled and found.selector in ({}, leaders)


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
    for group in found.groups:
        if group.worker_set is not None and group.worker_set.short:
            yield from places_of(group.worker_set, start=1)


def _by_controller(pods: Mapping[str, facts.Pod]) -> dict[str, list[facts.Pod]]:
    children: dict[str, list[facts.Pod]] = {}
    for pod in pods.values():
        if pod.meta.controller is not None:
            children.setdefault(pod.meta.controller.uid, []).append(pod)
    return children


def _by_parent(pods: Mapping[str, facts.Pod]) -> dict[str, list[facts.Pod]]:
    """Return the pods whose names make them workers of a leader, by its name."""
    places: dict[str, list[facts.Pod]] = {}
    for name, pod in sorted(pods.items()):
        places.setdefault(ordinals.parent_and_ordinal(name)[0], []).append(pod)
    return places


def _workers(
    leader: facts.Pod,
    *,
    worker_set: facts.StatefulSet | None,
    children: Mapping[str, list[facts.Pod]],
) -> tuple[facts.Pod, ...]:
    """Return a group's workers: pods of the worker StatefulSet, or of the leader itself."""
    workers = [
        *(children.get(worker_set.meta.uid, ()) if worker_set else ()),
        *children.get(leader.meta.uid, ()),
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
