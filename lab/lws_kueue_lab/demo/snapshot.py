"""What the story looks at: the set's objects at one moment, and the questions it asks of them."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lws_kueue.api import facts, kueue, names, quantity
from lws_kueue.workload import state


@dataclass(frozen=True, slots=True)
class Group:
    """One group: its Workload, if it has one yet, and the pods that exist of it."""

    index: int
    size: int
    workload: kueue.Workload | None = None
    pods: tuple[facts.Pod, ...] = ()

    @property
    def admitted(self) -> bool:
        """Whether its Workload is admitted."""
        return self.workload is not None and (
            state.admission(self.workload) is state.Admission.ADMITTED
        )

    @property
    def held(self) -> int:
        """How many of its pods the admission gate holds."""
        return sum(names.ADMISSION_GATE in pod.gates for pod in self.pods)

    @property
    def ready(self) -> int:
        """How many of its pods are ready."""
        return sum(pod.ready and not pod.meta.deleting for pod in self.pods)

    @property
    def runs(self) -> bool:
        """Whether it is admitted and all of its pods are ready."""
        return self.admitted and self.ready == self.size

    @property
    def waits(self) -> bool:
        """Whether all of its pods exist and every one of them is held."""
        return not self.admitted and self.held == self.size


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The objects of one set at one moment, in JSON form; ``racks`` gives the rack of a node."""

    owner: facts.Object | None = None
    workloads: Sequence[facts.Object] = ()
    pods: Sequence[facts.Object] = ()
    cluster_queue: facts.Object | None = None
    racks: Mapping[str, str] = field(default_factory=dict)

    def groups(self) -> tuple[Group, ...]:
        """Return the groups that are wanted and those that still have something, in order."""
        if self.owner is None:
            return ()
        spec = self.owner["spec"]
        workloads = {}
        for workload in map(kueue.Workload.of, self.workloads):
            if (index := number(workload.meta.annotations, names.COMPONENT_WORKLOAD_INDEX)) >= 0:
                workloads[index] = workload
        pods: dict[int, list[facts.Pod]] = {}
        for pod in map(facts.Pod.of, self.pods):
            if (index := number(pod.meta.labels, names.GROUP_INDEX)) >= 0:
                pods.setdefault(index, []).append(pod)
        indices = {*range(spec["replicas"]), *workloads, *pods}
        return tuple(
            Group(
                index=index,
                size=spec["leaderWorkerTemplate"]["size"],
                workload=workloads.get(index),
                pods=tuple(pods.get(index, ())),
            )
            for index in sorted(indices)
        )

    def ready_groups(self) -> int:
        """Return how many groups are ready, as the set says of its present spec; -1 before."""
        if self.owner is None:
            return -1
        status = self.owner.get("status") or {}
        if status.get("observedGeneration") != self.owner["metadata"]["generation"]:
            return -1
        return int(status.get("readyReplicas", 0))

    def why_waiting(self) -> str:
        """Return what the set says about the groups that wait, in one line; "" for nothing."""
        status = (self.owner or {}).get("status") or {}
        for condition in status.get("conditions") or ():
            if condition["type"] == names.WAITING and condition["status"] == "True":
                return " ".join(condition["message"].split())
        return ""


def runs(snapshot: Snapshot, *, groups: int) -> bool:
    """Whether exactly ``groups`` groups exist, all run, and the set says so too."""
    found = snapshot.groups()
    return (
        len(found) == groups
        and all(group.runs for group in found)
        and snapshot.ready_groups() == groups
        and not snapshot.why_waiting()
    )


def all_run_but_one(snapshot: Snapshot, *, groups: int) -> bool:
    """Whether ``groups`` groups exist, one of them waits for a reason of Kueue's, the others run.

    Which one is Kueue's choice, by UID for groups that ask in the same second. That Kueue
    has not considered a group yet, as the set says at first, is no reason.
    """
    found = snapshot.groups()
    waiting = [group for group in found if not group.runs]
    if len(found) != groups or len(waiting) != 1 or snapshot.ready_groups() != groups - 1:
        return False
    workload = waiting[0].workload
    quota = workload.condition(state.QUOTA_RESERVED) if workload else None
    said = " ".join(quota.message.split()) if quota is not None else ""
    return waiting[0].waits and bool(said) and said in snapshot.why_waiting()


def is_owned_by(workload: facts.Object, name: str) -> bool:
    """Whether a Workload is that of a group of the set with this name."""
    owners = workload["metadata"].get("ownerReferences") or ()
    return any(o["kind"] == names.LWS_KIND and o["name"] == name for o in owners)


def reserved(workload: kueue.Workload) -> quantity.Amounts:
    """Return the quota that is reserved for a Workload."""
    admission = workload.stored_status.get("admission") or {}
    parts = admission.get("podSetAssignments") or ()
    return quantity.add(*(quantity.parse_all(part.get("resourceUsage")) for part in parts))


def needed(workload: kueue.Workload) -> quantity.Amounts:
    """Return what Kueue found a pending Workload to need; nothing before it has looked."""
    parts = workload.stored_status.get("resourceRequests") or ()
    return quantity.add(*(quantity.parse_all(part.get("resources")) for part in parts))


def quota(cluster_queue: facts.Object) -> quantity.Amounts:
    """Return the nominal quota of a ClusterQueue, over all of its flavors."""
    return quantity.add(
        *(
            {resource["name"]: quantity.parse(resource["name"], resource["nominalQuota"])}
            for resource in _resources(cluster_queue)
        )
    )


def with_more_quota(cluster_queue: dict[str, Any], *, more: quantity.Amounts) -> dict[str, Any]:
    """Return a copy of a ClusterQueue whose first flavor of each resource has so much more."""
    result = copy.deepcopy(cluster_queue)
    left = dict(more)
    for resource in _resources(result):
        name = resource["name"]
        amount = quantity.parse(name, resource["nominalQuota"]) + left.pop(name, 0)
        resource["nominalQuota"] = quantity.render(name, amount)
    return result


def _resources(cluster_queue: facts.Object) -> Iterator[dict[str, Any]]:
    for group in cluster_queue["spec"].get("resourceGroups") or ():
        for flavor in group["flavors"]:
            yield from flavor["resources"]


def number(texts: Mapping[str, str], key: str) -> int:
    """Return what a label or an annotation says, -1 where that is no number."""
    text = texts.get(key, "")
    return int(text) if text.isdecimal() else -1
