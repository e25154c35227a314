"""Workloads whose set is going, is gone, or cannot be worked on now.

Everything else of a set that is deleted is garbage collection. Pods need no release to be deleted:
a gated pod has no node, so nothing has to stop for it. What is left to do is Kueue's side: let a
Workload go once its pods are gone, and stop a group that is evicted meanwhile.
"""

from collections.abc import Iterator
from datetime import datetime

from lws_kueue.api import actions, facts, kueue, names
from lws_kueue.controller.observe import groups, observed
from lws_kueue.workload import diff, eviction, state


def plan(
    seen: observed.Observed,
    *,
    now: datetime,
    warnings: tuple[actions.Event, ...] = (),
    recheck_after: float | None = None,
) -> actions.Plan:
    """Return what to do for the Workloads alone: of a set that leaves or that has to wait."""
    stuck: list[float] = []
    chains: list[actions.Chain] = []
    for workload in seen.workloads.values():
        pods = _pods_of(workload, seen)
        if workload.meta.deleting:
            chains.append(diff.removal(workload, pods))
        elif state.admission(workload) is state.Admission.EVICTED:
            chains += [(deletion,) for deletion in eviction.stop(workload, pods)]
            if (cleared := eviction.clear_admission(workload, pods, now=now)) is not None:
                chains.append((cleared,))
            if (seconds := eviction.stuck_in(pods, now=now)) is not None:
                stuck.append(seconds)
    waits = [*stuck, *([recheck_after] if recheck_after is not None else [])]
    return actions.Plan(
        chains=tuple(chain for chain in chains if chain),
        warnings=warnings,
        recheck_after=min(waits, default=None),
    )


def former(seen: observed.Observed) -> Iterator[actions.Chain]:
    """Return the removal of Workloads of an earlier set of the same name.

    Deleted with that set, they wait for its pods. Kueue leaves their finalizer to the job's side,
    so without this their quota would be held for ever once the set was made again.
    """
    live = seen.lws.meta.uid if seen.lws else ""
    for workload in seen.workloads.values():
        meta = workload.meta
        if (
            meta.deleting
            and meta.owners
            and names.MULTIKUEUE_ORIGIN not in meta.labels
            and all(owner.uid != live for owner in meta.owners)
        ):
            released = [
                pod
                for pod in seen.pods.values()
                if pod.meta.annotations.get(names.WORKLOAD) == meta.name
            ]
            if chain := diff.removal(workload, released):
                yield chain


def _pods_of(workload: kueue.Workload, seen: observed.Observed) -> list[facts.Pod]:
    """Return the pods of the Workload's group, and those that were released under it.

    A stranger that only has the labels of a group neither is stopped nor holds anything up.
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
