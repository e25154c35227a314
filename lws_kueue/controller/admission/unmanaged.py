"""The Workloads of a set that waits for Kueue no longer."""

from datetime import datetime

from lws_kueue.api import actions, facts, kueue, names
from lws_kueue.controller.admission import managed_by
from lws_kueue.controller.observe import scope
from lws_kueue.workload import build, diff, eviction, state


def plan(at: scope.Scope, *, options: build.Options, now: datetime) -> actions.Part:
    """Remove the Workloads of a set that waits for Kueue no longer.

    Each goes when nothing of what was released under it can run any more; what its templates make
    by now runs without it. What Kueue takes back until then is stopped. Those that its MultiKueue
    dispatches where its own integration is on are left to that.
    """
    if not at.seen.workloads:
        return actions.Part()
    given = {
        name: workload
        for name, workload in at.seen.workloads.items()
        if not managed_by.kueue_finalizes(at.seen, workload)
    }
    released = tuple(pod for pod in at.found.pods if names.WORKLOAD in pod.meta.annotations)
    changes = diff.changes(
        at.owner,
        given,
        wanted={},
        # They are told apart by the Workload that they carry, not by their group.
        pods={-1: released},
        classes=build.PriorityClasses(),
        options=options,
        now=now,
    )
    terms = at.seen.terms(options)
    stops = {
        index: eviction.stop(workload, [pod for pod in released if _is_under(workload, pod)], terms)
        for index, workload in diff.serving(at.owner.meta, given.values(), options=options).items()
        if state.admission(workload) is state.Admission.EVICTED
    }
    return changes + actions.Part(
        chains=actions.each_alone(deletion for stop in stops.values() for deletion in stop),
        stopping=frozenset(index for index, stop in stops.items() if stop),
    )


def _is_under(workload: kueue.Workload, pod: facts.Pod) -> bool:
    return pod.meta.annotations.get(names.WORKLOAD) == workload.meta.name
