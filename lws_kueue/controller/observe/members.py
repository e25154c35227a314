"""Who a group consisted of when it was complete, so that nobody can vanish between two looks."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from lws_kueue.api import derived, facts, names
from lws_kueue.controller.observe import groups
from lws_kueue.tas import assignment


@dataclass(frozen=True, slots=True)
class Members:
    """Who a group consisted of when it was complete; ``pending`` if a pod did not run yet.

    ``workers`` are the names of the worker pods by UID; ``unseen`` of those that are known to be
    gone, and of which nobody knows whether the group was complete in their time.
    """

    leader: str
    worker_set: str
    workers: Mapping[str, str]
    pending: bool
    unseen: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Departed:
    """A worker pod that is gone, and whose it was, by UIDs."""

    index: int
    leader: str
    worker_set: str
    uid: str
    name: str


def with_departed(
    remembered: Mapping[int, Members], departed: Iterable[Departed]
) -> dict[int, Members]:
    """Return ``remembered`` with pods that no pass may have seen, because they lived so short."""
    known = dict(remembered)
    for pod in departed:
        before = known.get(pod.index)
        if before is None or (before.leader, before.worker_set) != (pod.leader, pod.worker_set):
            before = Members(pod.leader, pod.worker_set, {}, pending=True)
        known[pod.index] = replace(before, unseen={**before.unseen, pod.uid: pod.name})
    return known


@derived.once
def members(group: groups.Group) -> Members | None:
    """Return who a group consists of, to be kept for ``lost``; None while it is incomplete."""
    if group.worker_set is None or len(group.pods) != group.size:
        return None
    return Members(
        leader=group.leader.meta.uid,
        worker_set=group.worker_set.meta.uid,
        workers={pod.meta.uid: pod.meta.name for pod in group.workers if not never_placed(pod)},
        pending=pending(group),
    )


def never_placed(pod: facts.Pod) -> bool:
    """Whether the pod was released onto a node that Kueue chose, and has not reached it.

    When that node fails meanwhile, Kueue or we remove the pod for one that goes elsewhere. Nothing
    of the group ran on it, so this is no failure: one failing node recreates a group once.
    """
    chosen = assignment.HOSTNAME in (pod.spec.get("nodeSelector") or {})
    return chosen and names.WORKLOAD in pod.meta.annotations and not pod.node


def pending(group: groups.Group) -> bool:
    """Whether a pod of the group is missing or does not run yet."""
    incomplete = len(group.pods) != group.size
    return incomplete or any(pod.phase == "Pending" for pod in group.pods)
