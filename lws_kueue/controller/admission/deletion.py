"""Workloads whose set is going, is gone, or cannot be worked on now.

Everything else of a set that is deleted is garbage collection. Pods need no release to be deleted:
a gated pod has no node, so nothing has to stop for it. What is left to do is Kueue's side: let a
Workload go once its pods are gone, and stop a group that is evicted meanwhile.
"""

from datetime import datetime

from lws_kueue.api import actions, facts, kueue, names
from lws_kueue.controller.observe import groups, observed
from lws_kueue.workload import diff, eviction, state


def plan(seen: observed.Observed, *, now: datetime) -> actions.Part:
    """Return what to do for the Workloads alone: of a set that is deleted or that has to wait."""
    return actions.joined(_part(seen, workload, now=now) for workload in seen.workloads.values())


def _part(seen: observed.Observed, workload: kueue.Workload, *, now: datetime) -> actions.Part:
    pods = _pods_of(workload, seen)
    if workload.meta.deleting:
        return actions.Part(chains=(diff.removal(workload, pods),))
    if state.admission(workload) is not state.Admission.EVICTED:
        return actions.Part()
    cleared = eviction.clear_admission(workload, pods, now=now)
    return actions.Part(
        chains=actions.each_alone((*eviction.stop(workload, pods), cleared)),
        recheck_after=eviction.stuck_in(pods, now=now),
    )


def former(seen: observed.Observed) -> actions.Part:
    """Return the removal of Workloads of an earlier set of the same name.

    Deleted with that set, they wait for its pods. Kueue leaves their finalizer to the job's side,
    so without this their quota would be held for ever once the set was made again.
    """
    live = seen.lws.meta.uid if seen.lws else ""
    return actions.Part(
        chains=tuple(
            diff.removal(workload, _released_under(workload, seen))
            for workload in seen.workloads.values()
            if workload.meta.deleting
            and workload.meta.owners
            and names.MULTIKUEUE_ORIGIN not in workload.meta.labels
            and all(owner.uid != live for owner in workload.meta.owners)
        )
    )


def _released_under(workload: kueue.Workload, seen: observed.Observed) -> list[facts.Pod]:
    name = workload.meta.name
    return [p for p in seen.pods.values() if p.meta.annotations.get(names.WORKLOAD) == name]


def _pods_of(workload: kueue.Workload, seen: observed.Observed) -> list[facts.Pod]:
    """Return the pods of the Workload's group, and those that were released under it.

    A pod that only has the labels of a group neither is stopped nor holds anything up.
    """
    index = workload.meta.annotations.get(names.COMPONENT_WORKLOAD_INDEX)
    return [
        pod
        for pod in seen.pods.values()
        if pod.meta.annotations.get(names.WORKLOAD) == workload.meta.name
        or (
            names.WORKLOAD not in pod.meta.annotations
            and str(groups.index_of(seen.name, pod)) == index
            and groups.may_belong(seen.name, pod.meta)
        )
    ]
