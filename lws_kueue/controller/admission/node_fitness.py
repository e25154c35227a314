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
    gated = any(group_pods.gated(pod) for pod in seen.pods.values())
    placed = dict(_placed(seen)) if gated else {}
    if owner is None or not placed:
        return frozenset()
    asked = {
        host
        for group in seen.found.groups
        if group.index in placed
        for host in _hosts(seen, group, placed[group.index])
    }
    return frozenset(sorted(asked)[:MOST_ASKED])


def _placed(seen: observed.Observed) -> Iterator[tuple[int, kueue.Workload]]:
    """Return the Workloads whose pods are assigned nodes, by group."""
    for workload in seen.workloads.values():
        claimed = workload.meta.annotations.get(names.COMPONENT_WORKLOAD_INDEX, "")
        index = numbers.natural(claimed)
        admission = workload.status.admission
        if index is None or admission is None:
            continue
        if state.admission(workload) is state.Admission.ADMITTED and any(
            one.topology_assignment and assignment.HOSTNAME in one.topology_assignment.levels
            for one in admission.pod_set_assignments
        ):
            yield index, workload


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
