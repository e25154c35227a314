"""Which nodes a decision looks at before pods are released onto them again (``workload/fitness``).

Nodes are not watched, and the first pods of a group are released onto nodes that Kueue has chosen a
moment ago. So only those of pods that come back are read, and only while they are gated.
"""

from collections.abc import Iterator
from typing import Final

from lws_kueue.api import kueue, names, numbers
from lws_kueue.controller.observe import groups, observed
from lws_kueue.tas import assignment
from lws_kueue.workload import backing, excess, fitness, release, state
from lws_kueue.workload import pods as group_pods

# How many are read for one pass. One that was not read keeps nobody off: what is released onto it
# in vain comes back, later each time.
MOST_ASKED: Final = 64


def nodes_asked(seen: observed.Observed) -> frozenset[str]:
    """Return the nodes of pods that are about to be released again."""
    owner = seen.lws
    gated = seen.found.which(
        "gated by us", lambda group: any(group_pods.gated(pod) for pod in group.pods)
    )
    if owner is None or not gated:
        return frozenset()
    placed = seen.memo.each("placed", _placed, seen.workloads)
    workloads = {index: seen.workloads[name] for name, index in placed.items()}
    asked = {
        host
        for index in gated
        if index in workloads
        for host in _hosts(seen, seen.found.by_index[index], workloads[index])
    }
    return frozenset(sorted(asked)[:MOST_ASKED])


def _placed(_name: str, workload: kueue.Workload) -> int | None:
    """Return the index of a Workload's group if its pods are assigned nodes."""
    admission = workload.status.admission
    if admission is None or state.admission(workload) is not state.Admission.ADMITTED:
        return None
    on_nodes = any(
        one.topology_assignment and assignment.HOSTNAME in one.topology_assignment.levels
        for one in admission.pod_set_assignments
    )
    claimed = workload.meta.annotations.get(names.COMPONENT_WORKLOAD_INDEX, "")
    return numbers.natural(claimed) if on_nodes else None


def _hosts(seen: observed.Observed, group: groups.Group, workload: kueue.Workload) -> Iterator[str]:
    back = {
        pod.meta.name
        for pod in group.pods
        if group_pods.gated(pod) and fitness.comes_back(pod, workload)
    }
    if not back:
        return
    # Whether what was injected is held against a pod makes no difference to where it would go.
    terms = backing.Terms(flavors=seen.kueue.flavors, injected_containers=excess.Injected.WARN)
    planned, _ = release.plan_release(workload, group.pods, terms=terms)
    yield from (host for name, host in fitness.hosts(planned).items() if name in back)
