"""What is left to do for a set that Kueue's built-in integration looks after (kueue-contract 8.1).

The integration adopts pods that wait, by marking them. It cannot adopt those that the bridge has
released before: Kueue's own webhook refuses the marks on a pod that runs, and without them an
eviction stops nothing and the quota is never given back. So the bridge stops these, and no others;
what comes in their place waits, and is the integration's, which gives the quota back. Workloads
that the bridge has made lack the annotation without which it adopts none, and get it.
"""

from collections.abc import Mapping

from lws_kueue.api import actions, facts, kueue, lws, names, reasons
from lws_kueue.api.reasons import Reason
from lws_kueue.controller.admission import waiting
from lws_kueue.controller.observe import groups, scope
from lws_kueue.controller.rollout import scaling
from lws_kueue.workload import backing, build, diff, eviction, group_mark, state


def plan(at: scope.Scope, *, options: build.Options) -> actions.Part:
    """Leave a set to Kueue's built-in integration, but for what that cannot take over."""
    serving = diff.serving(at.owner.meta, at.seen.workloads.values(), options=options)
    stops = _stops(at, serving, at.seen.terms(options))
    # After these writes the integration adopts the groups' Workloads.
    marks = group_mark.given(at.owner.meta, serving.values())
    deletions = (deletion for stop in stops.values() for deletion in stop)
    return actions.Part(
        chains=actions.each_alone((*marks, *deletions)),
        reasons=(*_surge_in_percent(at.owner), *_switched_off(at, serving)),
        stopping=frozenset(stops),
    )


def _stops(
    at: scope.Scope, workloads: Mapping[int, kueue.Workload], terms: backing.Terms
) -> Mapping[int, tuple[actions.Delete, ...]]:
    """Return the deletions of pods that only the bridge can stop, by the index of their group."""
    left: dict[int, list[facts.Pod]] = {}
    for pod in at.found.pods:
        place = groups.index_of(at.owner.meta.name, pod)
        if place is not None and _not_adopted(pod):
            left.setdefault(place, []).append(pod)
    found = {
        index: eviction.stop(workloads[index], pods, terms)
        for index, pods in left.items()
        if index in workloads and state.must_stop(workloads[index])
    }
    return {index: deletions for index, deletions in found.items() if deletions}


def _not_adopted(pod: facts.Pod) -> bool:
    """Whether the bridge has released a pod: only then it names a Workload and lacks the mark."""
    return names.WORKLOAD in pod.meta.annotations and names.MANAGED not in pod.meta.labels


def _switched_off(at: scope.Scope, workloads: Mapping[int, kueue.Workload]) -> tuple[Reason, ...]:
    """Say which groups wait until somebody activates their Workloads; Kueue says it nowhere else.

    For what all others wait stands in their Workloads, and ends without anybody.
    """
    return reasons.merged(
        why.of(index)
        for index, workload in workloads.items()
        if index in range(at.owner.spec.replicas)
        and state.admission(workload) is state.Admission.DEACTIVATED
        and (why := waiting.why(at.seen, at.owner, workload)) is not None
    )


def _surge_in_percent(owner: lws.LeaderWorkerSet) -> tuple[Reason, ...]:
    """Warn of what the built-in integration is known to wait for in vain (kueue-contract 7.2)."""
    surge = owner.spec.rollout_strategy.rolling_update_configuration.max_surge
    if not (isinstance(surge, str) and scaling.bounds(owner).surge > 0):
        return ()
    text = (
        f"Kueue's built-in integration manages the groups of {owner.meta.name}, and makes no"
        f" Workloads for surge groups of maxSurge {surge}: updates may wait for them for ever"
    )
    return (Reason("SurgeNotAdmitted", text, fix="Set maxSurge to a number"),)
