"""A node fails under a group: Kueue replaces it in the assignment, and here the pods follow.

The Workload stays admitted and keeps its quota (kueue-contract 3.5). The pod on the lost node is
deleted; the one in its place comes gated and is released to the new node, like any other. Whether
the rest of the group stays is for its restart policy to say (``restarts``).

A pod on a node that does not exist has nobody who could confirm its end, and Kubernetes removes it
after a minute. It is known to be over, so it is deleted without grace. That is why such a node is
asked for, and only then.
"""

from collections.abc import Collection, Mapping
from typing import Final, Literal

from lws_kueue.api import actions, facts, kueue, names
from lws_kueue.controller.admission import admissions
from lws_kueue.controller.observe import observed
from lws_kueue.workload import node_replacement, state
from lws_kueue.workload import pods as group_pods

# How many nodes are read for one pass; more fail seldom at once, and the next pass reads those.
MOST_ASKED: Final = 8

_NODE_FAILURES: Final = "NodeFailures"

# The pods of each group whose node is not theirs any more.
Moved = Mapping[int, tuple[facts.Pod, ...]]


def nodes_asked(seen: observed.Observed) -> frozenset[str]:
    """Return the nodes of pods that Kueue has moved away, or evicted, because a node failed."""
    doubtful = seen.memo.each("loses nodes", _may_lose_nodes, seen.workloads)
    if not doubtful:
        return frozenset()
    by_workload: dict[str, list[facts.Pod]] = {}
    for pod in seen.pods.values():
        name = pod.meta.annotations.get(names.WORKLOAD, "")
        if pod.node and name in doubtful:
            by_workload.setdefault(name, []).append(pod)
    asked = {
        pod.node
        for name, pods in by_workload.items()
        for pod in (
            *node_replacement.displaced(seen.workloads[name], pods),
            *_ending(seen.workloads[name], pods),
        )
    }
    return frozenset(sorted(asked)[:MOST_ASKED])


def _may_lose_nodes(_name: str, workload: kueue.Workload) -> Literal[True] | None:
    return True if node_replacement.is_placed(workload) or _is_over_nodes(workload) else None


def _is_over_nodes(workload: kueue.Workload) -> bool:
    """Whether an admission is taken back because nodes failed."""
    if state.admission(workload) is not state.Admission.EVICTED:
        return False
    evicted = workload.condition(state.EVICTED)
    return evicted is not None and evicted.reason == _NODE_FAILURES


def _ending(workload: kueue.Workload, pods: Collection[facts.Pod]) -> tuple[facts.Pod, ...]:
    """Return the pods that end because nodes failed under an admission that is taken back."""
    if not _is_over_nodes(workload):
        return ()
    return tuple(pod for pod in pods if pod.meta.deleting and group_pods.could_run(pod))


def moved(seen: observed.Observed, admitted: admissions.Admissions) -> Moved:
    """Return the pods of each group whose node is not theirs any more."""
    return seen.memo.each(
        "moved",
        lambda _, group, workload: node_replacement.displaced(workload, group.pods) or None,
        admitted.own,
        admitted.workloads,
    )


def deletions(
    seen: observed.Observed,
    admitted: admissions.Admissions,
    *,
    moved: Moved,
    leave_alone: Collection[int],
) -> tuple[actions.Delete, ...]:
    """Return the deletions of pods that have to leave, or cannot, because their node failed.

    ``moved`` is what the function of that name returned, ``leave_alone`` are groups that are taken
    down anyway.
    """
    ended = seen.memo.each(
        "ending",
        lambda _, workload, pods: _ending(workload, pods or ()) or None,
        admitted.workloads,
        admitted.pods,
    )
    ending = (
        *(pod for pods in moved.values() for pod in pods if pod.meta.deleting),
        *(pod for pods in ended.values() for pod in pods),
    )
    return (
        *(
            _replaced(seen, admitted.workloads[index], pod)
            for index, pods in moved.items()
            for pod in pods
            if index not in leave_alone and not pod.meta.deleting
        ),
        *(
            actions.Delete(
                group_pods.ref(pod), pod.meta.uid, grace_seconds=0, because=f"{pod.node} is gone"
            )
            for pod in ending
            if _is_over(seen, pod) and pod.meta.grace_seconds != 0
        ),
    )


def _replaced(seen: observed.Observed, workload: kueue.Workload, pod: facts.Pod) -> actions.Delete:
    text = (
        f"Kueue has replaced the node of pod {pod.meta.name} in the topology assignment of"
        f" Workload {workload.meta.name}: the pod is made anew on the new one"
    )
    return actions.Delete(
        group_pods.ref(pod),
        pod.meta.uid,
        grace_seconds=0 if _is_over(seen, pod) else None,
        events=(actions.Event("Normal", "NodeReplaced", text),),
        because=f"node {pod.node} replaced",
    )


def _is_over(seen: observed.Observed, pod: facts.Pod) -> bool:
    """Whether the pod's node is known not to exist."""
    return pod.node in seen.nodes and seen.nodes[pod.node] is None
