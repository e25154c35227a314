"""What the pods of a group mean to its Workload: gated or released, and of which podset."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from lws_kueue.api import actions, derived, facts, kueue, names, numbers
from lws_kueue.workload import podsets

# What holds a pod until its group is admitted, and goes when it is released.
ADMISSION_GATES: Final = frozenset(
    {names.ADMISSION_GATE, names.TOPOLOGY_GATE, names.DISPATCHED_GATE}
)


def gated(pod: facts.Pod) -> bool:
    """Whether a gate holds the pod that goes with an admission, so that it cannot run before."""
    return any(gate in ADMISSION_GATES for gate in pod.gates)


@derived.once
def could_run(pod: facts.Pod) -> bool:
    """Whether the pod runs or can still come to run: released, and not over."""
    return not (gated(pod) or pod.finished or _kept_as_over(pod))


def keeps_name(pod: facts.Pod) -> bool:
    """Whether a pod was stopped so that its name stays taken (``eviction``)."""
    return names.STOPPED_FINALIZER in pod.meta.finalizers


def _kept_as_over(pod: facts.Pod) -> bool:
    """Whether only the finalizer keeps a pod that is being deleted.

    It has no grace left then: the kubelet says so of what it has ended, and the API server of what
    never had a node and gets none any more.
    """
    gone = pod.meta.deleting and (not pod.node or pod.meta.grace_seconds == 0)
    return gone and keeps_name(pod)


@derived.once
def worker_index(pod: facts.Pod) -> int | None:
    """Return the pod's place in its group, 0 for the leader, None when it carries none."""
    return numbers.natural(pod.meta.labels.get(names.WORKER_INDEX, ""))


def by_workload(pods: Iterable[facts.Pod]) -> dict[str, list[facts.Pod]]:
    """Return the pods that were released, by the name of the Workload that they say."""
    released: dict[str, list[facts.Pod]] = {}
    for pod in pods:
        if (name := pod.meta.annotations.get(names.WORKLOAD)) is not None:
            released.setdefault(name, []).append(pod)
    return released


def podset_of(pod: facts.Pod, assignments: Mapping[str, kueue.PodSetAssignment]) -> str:
    """Return the name of the podset that the pod belongs to.

    The admitted Workload decides about the shape: without a podset for leaders, all pods are one.
    """
    if podsets.LEADER not in assignments:
        return podsets.MAIN
    return podsets.LEADER if worker_index(pod) == 0 else podsets.WORKER


def in_order(pods: Iterable[facts.Pod]) -> Sequence[facts.Pod]:
    """Return the pods from the leader on."""
    return sorted(pods, key=_place)


@derived.once
def _place(pod: facts.Pod) -> tuple[bool, int, str]:
    index = worker_index(pod)
    return (index is None, index or 0, pod.meta.name)


def ref(pod: facts.Pod) -> actions.Ref:
    """Return the reference of the pod."""
    return actions.Ref("v1", "Pod", pod.meta.namespace, pod.meta.name)


def workload_ref(workload: kueue.Workload) -> actions.Ref:
    """Return the reference of a Workload."""
    meta = workload.meta
    return actions.Ref(names.KUEUE_API_VERSION, "Workload", meta.namespace, meta.name)
