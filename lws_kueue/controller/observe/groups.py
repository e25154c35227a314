"""The groups of a set, put together from observed objects by the chain of ownership.

LeaderWorkerSet -> leader StatefulSet -> leader pod -> worker StatefulSet -> worker pods, each link
by UID (lws-contract 3). Names and labels alone would mix a group with what is left of the group
that had its place before, and anyone can edit labels: what a label says never decides who belongs
to a group. What contradicts the chain is reported by ``contradictions``.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from lws_kueue.api import facts, lws, names, numbers
from lws_kueue.controller.observe import ordinals


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
        return self.size == 1 or (self.worker_set is not None and self.worker_set.ready)

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
        former=tuple(pod for pod in others if may_belong(owner.meta.name, pod.meta)),
        unowned=tuple(pod for pod in others if not may_belong(owner.meta.name, pod.meta)),
        foreign=None if ours else named,
    )


def compared(found: Groups, *, gated: bool) -> Groups:
    """Return the groups with ``gated_as_wanted`` said of each: ``gated`` is what the set wants."""
    groups = tuple(
        group
        if _gated_as_wanted(group.leader, found.leader_set, gated=gated)
        else replace(group, gated_as_wanted=False)
        for group in found.groups
    )
    return replace(found, groups=groups)


def _gated_as_wanted(
    leader: facts.Pod, leader_set: facts.StatefulSet | None, *, gated: bool
) -> bool:
    """Whether a leader was made with or without the gate, as the set wants it now.

    Its annotation says so. Where somebody has edited that, the template does that it was made from:
    the newest one, if the StatefulSet controller has seen that and says so.
    """
    if leader_set is None or is_marked(leader.meta.annotations) == gated:
        return True
    made_from = leader.meta.labels.get("controller-revision-hash")
    status = leader_set.status
    seen = status.get("observedGeneration") == leader_set.meta.generation
    newest = made_from is not None and made_from == status.get("updateRevision")
    return seen and newest and is_marked(leader_set.template_annotations) == gated


def is_marked(annotations: facts.Labels) -> bool:
    """Whether annotations of a pod or its template say that we gate it."""
    return _mark(annotations) == names.OUR_SUSPENDING_PARENT


def _mark(annotations: facts.Labels) -> str | None:
    return annotations.get(names.POD_SUSPENDING_PARENT)


def may_belong(set_name: str, pod: facts.Meta) -> bool:
    """Whether a pod may be, or have been, one of a set's: its controller's name, or its own, says.

    Its labels alone do not: anyone may put them on any pod.
    """
    owner = pod.controller
    if owner is not None and owner.kind not in ("StatefulSet", "Pod"):
        return False
    origin = owner.name if owner else ordinals.parent_and_ordinal(pod.name)[0]
    return set_name in (origin, ordinals.parent_and_ordinal(origin)[0])


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


def wanted_pods(found: Groups) -> Iterator[str]:
    """Return the names of all pods that the StatefulSets of a set want, whether they are or not."""
    leader_set = found.leader_set
    if leader_set is None or leader_set.meta.deleting:
        return
    for index in range(leader_set.replicas):
        yield f"{leader_set.meta.name}-{index}"
    for group in found.groups:
        worker_set = group.worker_set
        if worker_set is not None and not worker_set.meta.deleting:
            for ordinal in range(1, worker_set.replicas + 1):
                yield f"{worker_set.meta.name}-{ordinal}"


def by_index(groups: tuple[Group, ...], count: int) -> tuple[Group | None, ...]:
    """Return the groups 0 to ``count`` - 1, None where there is none."""
    found = {group.index: group for group in groups}
    return tuple(found.get(index) for index in range(count))


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
