"""What the story looks at: a set of the manager, its groups, and what workers have of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lws_kueue.api import facts, kueue, names
from lws_kueue.workload import state
from lws_kueue_lab.demo import snapshot


@dataclass(frozen=True, slots=True)
class Group:
    """One group: what the manager has of it, and what each worker has, by the worker's name.

    - ``leader``: its pod in the manager, which stands for it.
    - ``offers``: its Workloads in workers; ``pods``: its pods there.
    """

    index: int
    size: int
    workload: kueue.Workload | None = None
    leader: facts.Pod | None = None
    offers: Mapping[str, kueue.Workload] = field(default_factory=dict)
    pods: Mapping[str, tuple[facts.Pod, ...]] = field(default_factory=dict)

    @property
    def cluster(self) -> str:
        """The worker that its Workload names, "" for none."""
        return (self.workload.status.cluster_name or "") if self.workload is not None else ""

    @property
    def offered_to(self) -> tuple[str, ...]:
        """The workers in which a Workload of it is, while none has it."""
        return () if self.cluster else tuple(sorted(self.offers))

    @property
    def there(self) -> tuple[facts.Pod, ...]:
        """Its pods in the worker that has it."""
        return self.pods.get(self.cluster, ())

    @property
    def ready(self) -> int:
        """How many of these are ready."""
        return sum(pod.ready and not pod.meta.deleting for pod in self.there)

    @property
    def held(self) -> bool:
        """Whether its pod in the manager is held by a gate, as it is for ever."""
        return self.leader is not None and bool(self.leader.gates)

    @property
    def runs(self) -> bool:
        """Whether all of its pods are ready in one worker, and the manager says so of its own."""
        elsewhere = any(self.pods[name] for name in self.pods if name != self.cluster)
        told = self.held and self.leader is not None and self.leader.ready
        return bool(self.cluster) and self.ready == self.size and told and not elsewhere

    @property
    def answers(self) -> Mapping[str, str]:
        """Why the workers that it is offered to do not take it, of those that have said so."""
        found = {
            name: offer.condition(state.QUOTA_RESERVED)
            for name, offer in self.offers.items()
            if not self.cluster
        }
        return {
            name: " ".join(said.message.split())
            for name, said in found.items()
            if said is not None and said.status == "False" and said.message
        }


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The objects of one set at one moment: the manager's, and those of the workers by name."""

    manager: snapshot.Snapshot = field(default_factory=snapshot.Snapshot)
    workers: Mapping[str, snapshot.Snapshot] = field(default_factory=dict)

    def groups(self) -> tuple[Group, ...]:
        """Return the groups that are wanted and those of which something is left, in order."""
        there = {name: _Found.of(seen) for name, seen in self.workers.items()}
        return tuple(
            Group(
                index=group.index,
                size=group.size,
                workload=group.workload,
                leader=next(iter(group.pods), None),
                offers={
                    name: found.workloads[group.index]
                    for name, found in there.items()
                    if group.index in found.workloads
                },
                pods={
                    name: tuple(found.pods.get(group.index, ())) for name, found in there.items()
                },
            )
            for group in self.manager.groups()
        )

    def why_waiting(self) -> str:
        """Return what the set says about the groups that wait, in one line; "" for nothing."""
        return self.manager.why_waiting()

    def pods_of(self, groups: int) -> frozenset[str]:
        """Return which pods the first so many groups have, wherever they run."""
        return frozenset(pod.meta.uid for group in self.groups()[:groups] for pod in group.there)


@dataclass(frozen=True, slots=True)
class _Found:
    """What a worker has of the set's groups, by their indices in the manager."""

    workloads: Mapping[int, kueue.Workload]
    pods: Mapping[int, Sequence[facts.Pod]]

    @classmethod
    def of(cls, seen: snapshot.Snapshot) -> "_Found":
        workloads = {}
        for workload in map(kueue.Workload.of, seen.workloads):
            workloads[snapshot.number(workload.meta.labels, names.ORIGIN_GROUP_INDEX)] = workload
        pods: dict[int, list[facts.Pod]] = {}
        for pod in map(facts.Pod.of, seen.pods):
            index = snapshot.number(pod.meta.labels, names.ORIGIN_GROUP_INDEX)
            pods.setdefault(index, []).append(pod)
        return cls(workloads, pods)


def runs(seen: Snapshot, *, groups: int) -> bool:
    """Whether exactly ``groups`` groups exist, all run, and the set says so too."""
    found = seen.groups()
    return (
        len(found) == groups
        and all(group.runs for group in found)
        and seen.manager.ready_groups() == groups
        and not seen.why_waiting()
    )


def all_run_but_one(seen: Snapshot, *, groups: int) -> bool:
    """Whether all groups run but one, which no worker takes, and the set says what each answers."""
    found = seen.groups()
    waiting = [group for group in found if not group.runs]
    if len(found) != groups or len(waiting) != 1 or seen.manager.ready_groups() != groups - 1:
        return False
    answers = waiting[0].answers
    said = seen.why_waiting()
    return set(answers) == set(seen.workers) and all(
        f"{name}: {answer}" in said for name, answer in answers.items()
    )
