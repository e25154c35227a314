"""A small model of what surrounds a rollout: the leader StatefulSet and its groups.

The StatefulSet controller's part is in ``replace``: it takes down groups from the partition up that
are at another revision, and brings them back at the new one. Readiness is given by the test.
"""

from dataclasses import dataclass, field, replace

from lws_kueue.controller.rollout import planner, scaling
from tests.kit.builders import states


@dataclass(frozen=True, slots=True)
class Group:
    revision: int
    ready: bool


@dataclass
class World:
    """A set at rest with all groups ready; ``stage`` is (partition, replicas, ready, updated)."""

    bounds: scaling.Bounds
    # Upstream's integration tests make surge pods by hand, some with the revision before.
    surge_at_old_revision: bool = False
    revision: int = 1
    applied_revision: int = 1
    desired_then: int = 0
    replicas: int = 0
    partition: int = 0
    groups: dict[int, Group] = field(default_factory=dict)
    targets: list[planner.Target] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.replicas = self.desired_then = self.bounds.replicas
        self.partition = self.bounds.floor
        self.groups = {index: Group(1, True) for index in range(self.replicas)}

    @property
    def states(self) -> tuple[states.GroupState, ...]:
        found = (self.groups.get(index) for index in range(self.replicas))
        return tuple(
            states.GroupState()
            if group is None
            else states.GroupState(ready=group.ready, updated=group.revision == self.revision)
            for group in found
        )

    @property
    def stage(self) -> tuple[int, int, int, int]:
        found = states.of(self.states)
        ready, updated = len(found.ready), len(found.updated)
        return self.partition, self.replicas, ready, updated

    @property
    def available(self) -> bool:
        """Whether the set would be Available (case B of lws-contract 1.5)."""
        desired = self.states[: self.bounds.replicas]
        current = desired[self.bounds.floor :]
        ready = len(desired) == self.bounds.replicas and all(s.ready for s in desired)
        return ready and all(state.updated for state in current)

    def reconcile(self) -> bool:
        """Run one pass and apply its target; return whether that changed anything."""
        updated = self.revision != self.applied_revision
        current = planner.Current(self.replicas, self.partition, self.desired_then)
        found = states.of(self.states)
        target = planner.plan(self.bounds, current=current, states=found, updated=updated)
        self.targets.append(target)
        before = (self.replicas, self.partition, self.desired_then, self.applied_revision)
        self.replicas, self.partition = target.replicas, target.partition
        self.desired_then, self.applied_revision = self.bounds.replicas, self.revision
        after = (self.replicas, self.partition, self.desired_then, self.applied_revision)
        return before != after

    def scale_groups(self) -> None:
        """Remove groups above the replicas and make those that are missing, unready."""
        self.groups = {i: group for i, group in self.groups.items() if i < self.replicas}
        old = self.surge_at_old_revision
        for index in range(self.replicas):
            revision = self.revision - old if index >= self.partition else max(1, self.revision - 1)
            self.groups.setdefault(index, Group(revision, False))

    def settle(self) -> None:
        """Let passes and scaling run until nothing changes."""
        for _ in range(100):
            changed = self.reconcile()
            self.scale_groups()
            if not changed:
                return
        raise AssertionError(f"passes do not come to rest: {self.targets[-5:]}")

    def update(self) -> None:
        self.revision += 1
        self.settle()

    def configure(self, **bounds: int) -> None:
        self.bounds = replace(self.bounds, **bounds)
        self.settle()

    def ready(self, *indices: int) -> None:
        """Bring groups to the current revision and make them ready, one after the other."""
        for index in indices:
            if index in self.groups:
                self.groups[index] = Group(self.revision, True)
            self.settle()

    def unready(self, *indices: int) -> None:
        for index in indices:
            self.groups[index] = replace(self.groups[index], ready=False)
        self.settle()

    def replaceable(self) -> list[int]:
        """Return the groups that the StatefulSet controller would replace now."""
        return [
            index
            for index, group in self.groups.items()
            if index >= self.partition and group.revision != self.applied_revision
        ]

    def replace(self, index: int) -> None:
        self.groups[index] = Group(self.applied_revision, False)
