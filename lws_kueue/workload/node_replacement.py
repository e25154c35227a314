"""Pods whose node their Workload's topology assignment names no more (kueue-contract 3.5).

When a node fails, Kueue replaces it in the assignment and leaves the reservation as it is. The pod
that was released onto it is then in nobody's account, and has to make room for one on the new node.
"""

from collections.abc import Iterable, Mapping

from lws_kueue.api import derived, facts, kueue, names
from lws_kueue.tas import assignment
from lws_kueue.workload import pods as group
from lws_kueue.workload import state


def displaced(workload: kueue.Workload | None, pods: Iterable[facts.Pod]) -> tuple[facts.Pod, ...]:
    """Return the pods that were released under ``workload`` onto nodes that it has lost.

    Only an admitted Workload whose assignment goes down to nodes says so; what happens to pods
    without an admission is decided elsewhere.
    """
    if workload is None or state.admission(workload) is not state.Admission.ADMITTED:
        return ()
    nodes = _nodes(workload)
    if not nodes:
        return ()
    return tuple(pod for pod in pods if _is_displaced(pod, workload, nodes))


def is_placed(workload: kueue.Workload) -> bool:
    """Whether a Workload is admitted on nodes that its assignment names."""
    return state.admission(workload) is state.Admission.ADMITTED and bool(_nodes(workload))


def _is_displaced(
    pod: facts.Pod, workload: kueue.Workload, nodes: Mapping[str, frozenset[str]]
) -> bool:
    if not group.could_run(pod) or pod.meta.annotations.get(names.WORKLOAD) != workload.meta.name:
        return False
    mine = nodes.get(pod.meta.labels.get(names.PODSET, ""))
    chosen = (pod.spec.get("nodeSelector") or {}).get(assignment.HOSTNAME)
    return mine is not None and chosen is not None and chosen not in mine


@derived.once
def _nodes(workload: kueue.Workload) -> Mapping[str, frozenset[str]]:
    """Return the host names that each podset is assigned, where assignments go down to nodes."""
    admission = workload.status.admission
    found: dict[str, frozenset[str]] = {}
    for one in admission.pod_set_assignments if admission else ():
        compressed = one.topology_assignment
        if compressed is None or assignment.HOSTNAME not in compressed.levels:
            continue
        try:
            domains = assignment.decode(compressed)
        except assignment.AssignmentError:
            # What cannot be read moves nobody; the release of new pods says what is wrong.
            continue
        found[one.name] = frozenset(domain.node for domain in domains)
    return found
