"""The groups of a set, put together from observed objects by the chain of ownership.

LeaderWorkerSet -> leader StatefulSet -> leader pod -> worker StatefulSet -> worker pods, each link
by UID (lws-contract 3). Names and labels alone would mix a group with what is left of the group
that had its place before, and anyone can edit labels: what a label says is only compared with what
the chain says, and a difference is a problem that is reported, never an error.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from lws_kueue.api import actions, facts, lws, names
from lws_kueue.controller import ordinals


@dataclass(frozen=True, slots=True)
class Group:
    """One group: its leader pod, its workers by ordinal, their StatefulSet, and its own Service.

    ``size`` is that of the group itself, which during an update may differ from the set's.
    ``leftover`` is a StatefulSet that has the name of this group's worker StatefulSet but belongs
    to something else, most often to a leader pod that is gone.
    """

    index: int
    size: int
    leader: facts.Pod
    workers: tuple[facts.Pod, ...] = ()
    worker_set: facts.StatefulSet | None = None
    service: facts.Service | None = None
    leftover: facts.StatefulSet | None = None

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

    def updated(self, key: str) -> bool:
        """Whether leader and workers are at revision ``key``, ready or not."""
        if self.key != key:
            return False
        return self.size == 1 or (
            self.worker_set is not None
            and self.worker_set.meta.labels.get(names.REVISION_KEY) == key
        )


@dataclass(frozen=True, slots=True)
class Observation:
    """The groups of a set by index, and what carries its labels without belonging to it.

    ``foreign`` is a StatefulSet of the leader StatefulSet's name that another object controls.
    """

    leader_set: facts.StatefulSet | None
    groups: tuple[Group, ...] = ()
    stale: tuple[facts.Pod, ...] = ()
    problems: tuple[actions.Event, ...] = ()
    foreign: facts.StatefulSet | None = None


def observe(
    owner: lws.LeaderWorkerSet,
    *,
    stateful_sets: Mapping[str, facts.StatefulSet],
    pods: Mapping[str, facts.Pod],
    services: Mapping[str, facts.Service],
) -> Observation:
    """Put the objects of a set together. Mappings are by name, of the set's namespace."""
    named = stateful_sets.get(owner.meta.name)
    ours = named is not None and _is_ours(owner, named.meta)
    leader_set = named if ours else None
    children = _by_controller(pods)
    sets = {s.meta.controller.uid: s for s in stateful_sets.values() if s.meta.controller}
    groups = []
    for pod in children.get(leader_set.meta.uid, ()) if leader_set else ():
        parent, index = ordinals.parent_and_ordinal(pod.meta.name)
        if parent != owner.meta.name:
            continue
        worker_set = sets.get(pod.meta.uid)
        same_name = stateful_sets.get(pod.meta.name)
        groups.append(
            Group(
                index=index,
                size=_size(owner, pod),
                leader=pod,
                workers=_workers(pod, worker_set=worker_set, children=children),
                worker_set=worker_set,
                service=services.get(pod.meta.name),
                leftover=None if same_name is worker_set else same_name,
            )
        )
    groups.sort(key=lambda group: group.index)
    members = {pod.meta.uid for group in groups for pod in group.pods}
    stale = (pod for _, pod in sorted(pods.items()) if pod.meta.uid not in members)
    return Observation(
        leader_set=leader_set,
        groups=tuple(groups),
        stale=tuple(stale),
        problems=_problems(groups),
        foreign=None if ours else named,
    )


def _is_ours(owner: lws.LeaderWorkerSet, meta: facts.Meta) -> bool:
    """Whether a StatefulSet of the set's name is its leader StatefulSet.

    One without a controller is, if it carries our label: the set was deleted without its children
    and made again. Without the label it is somebody else's, and is never taken over.
    """
    if meta.controller is None:
        return meta.labels.get(names.SET_NAME) == owner.meta.name
    return meta.controller.uid == owner.meta.uid


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
    return tuple(sorted(workers, key=lambda pod: _ordinal(pod)))


def _ordinal(pod: facts.Pod) -> tuple[int, str]:
    return ordinals.parent_and_ordinal(pod.meta.name)[1], pod.meta.name


def _size(owner: lws.LeaderWorkerSet, leader: facts.Pod) -> int:
    """Return the size that a group was made with: the leader's template carries it."""
    written = leader.meta.annotations.get(names.SIZE, "")
    size = int(written) if written.isascii() and written.isdigit() else 0
    return size or owner.spec.leader_worker_template.size


def _problems(groups: list[Group]) -> tuple[actions.Event, ...]:
    """Return a warning for every pod whose labels or annotations contradict its place."""
    problems = []
    for group in groups:
        expected = {
            (group.leader.meta.name, names.GROUP_INDEX): str(group.index),
            (group.leader.meta.name, names.WORKER_INDEX): "0",
        }
        for pod in group.workers:
            expected[pod.meta.name, names.GROUP_INDEX] = str(group.index)
            expected[pod.meta.name, names.WORKER_INDEX] = str(_ordinal(pod)[0])
        labels = {pod.meta.name: pod.meta.labels for pod in group.pods}
        for (pod_name, label), value in expected.items():
            found = labels[pod_name].get(label)
            if found != value:
                text = f"Pod {pod_name}: label {label} should be {value!r} and is {found!r}"
                problems.append(actions.Event("Warning", "InvalidPod", text))
        size = group.leader.meta.annotations.get(names.SIZE)
        if size != str(group.size):
            name = group.leader.meta.name
            text = (
                f"Pod {name}: annotation {names.SIZE} should be a positive number and is {size!r}"
            )
            problems.append(actions.Event("Warning", "InvalidPod", text))
    return tuple(problems)
