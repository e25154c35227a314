"""What is left to do when a set is deleted: let its Workloads go once their pods are gone.

Everything else is garbage collection. Pods need no release to be deleted: a gated pod has no
node, so nothing has to stop for it.
"""

from lws_kueue.api import actions, facts, kueue, names
from lws_kueue.controller import observed
from lws_kueue.workload import pods as group
from lws_kueue.workload import reconcile


def plan(seen: observed.Observed) -> actions.Plan:
    """Return the removal of the finalizer from every Workload that nothing runs under."""
    chains = (
        reconcile.removal(workload, _pods_of(workload, seen))
        for workload in seen.workloads.values()
        if workload.meta.deleting
    )
    return actions.Plan(chains=tuple(chain for chain in chains if chain))


def _pods_of(workload: kueue.Workload, seen: observed.Observed) -> list[facts.Pod]:
    """Return the pods of the Workload's group, and those that were released under it."""
    index = workload.meta.annotations.get(names.COMPONENT_WORKLOAD_INDEX)
    return [
        pod
        for pod in seen.pods.values()
        if pod.meta.annotations.get(names.WORKLOAD) == workload.meta.name
        or (names.WORKLOAD not in pod.meta.annotations and str(group.group_index(pod)) == index)
    ]
