"""The status of LocalQueues and ClusterQueues, and whether they admit anything.

Counts and usage follow Kueue: reserving counts every reservation, admitted those that run, and
a Workload that is deactivated counts no more although its pods may still be stopping.
"""

import datetime
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lws_kueue.api import quantity
from lws_kueue.simulator import objects
from lws_kueue_lab.kueue_standin import draft as drafts
from lws_kueue_lab.kueue_standin import watched

Json = dict[str, Any]


def inactive(queue: objects.ClusterQueue, observed: watched.Watched) -> tuple[str, str] | None:
    """Say why a ClusterQueue admits nothing: reason and what is wrong; None if it admits."""
    if queue.meta.deleting:
        return "Terminating", "clusterQueue is terminating"
    problems: list[tuple[str, str]] = []
    if queue.unsupported:
        # Said aloud rather than served wrongly: who comes first would be another.
        needs = ", ".join(queue.unsupported)
        problems.append(("NotSupportedByStandIn", f"the stand-in for Kueue does not serve {needs}"))
    if queue.stopped:
        problems.append(("Stopped", "is stopped"))
    missing = [name for name in queue.flavors if name not in observed.flavors]
    if missing:
        problems.append(
            ("FlavorNotFound", f"references missing ResourceFlavor(s): {','.join(missing)}")
        )
    problems += _check_problems(queue, observed)
    problems += _topology_problems(queue, observed)
    if not problems:
        return None
    return problems[0][0], ", ".join(text for _, text in problems)


def _check_problems(
    queue: objects.ClusterQueue, observed: watched.Watched
) -> list[tuple[str, str]]:
    missing = sorted(name for name in queue.checks if name not in observed.checks)
    idle = sorted(
        name for name in queue.checks if name not in missing and not observed.checks[name].active
    )
    problems = []
    if missing:
        text = f"references missing AdmissionCheck(s): {','.join(missing)}"
        problems.append(("AdmissionCheckNotFound", text))
    if idle:
        text = f"references inactive AdmissionCheck(s): {','.join(idle)}"
        problems.append(("AdmissionCheckInactive", text))
    return problems


def _topology_problems(
    queue: objects.ClusterQueue, observed: watched.Watched
) -> list[tuple[str, str]]:
    problems = []
    for name in queue.flavors:
        flavor = observed.flavors.get(name)
        if flavor is not None and flavor.topology and flavor.topology not in observed.topologies:
            text = f'there is no Topology "{flavor.topology}" for TAS flavor "{name}"'
            problems.append(("TopologyNotFound", text))
    return problems


def explain(problem: tuple[str, str] | None) -> str | None:
    """What to add to a Workload's message, None if the queue admits.

    Kueue adds nothing. What only the stand-in cannot do is worth a word where people look.
    """
    if problem is None:
        return None
    reason, text = problem
    return f": {text}" if reason == "NotSupportedByStandIn" else ""


def cluster_queue_status(
    queue: objects.ClusterQueue,
    *,
    members: Sequence[drafts.Draft],
    problem: tuple[str, str] | None,
    now: datetime.datetime,
) -> Json:
    """The status of a ClusterQueue, from the Workloads that go through it."""
    active = (
        (True, "Ready", "Can admit new workloads")
        if problem is None
        else (False, problem[0], _cannot(problem))
    )
    return _counts(members) | {
        "flavorsReservation": _usage(queue, members, "QuotaReserved", borrowed=True),
        "flavorsUsage": _usage(queue, members, "Admitted", borrowed=True),
        "conditions": [_active(queue.meta.generation, queue.status, active, now)],
    }


def _cannot(problem: tuple[str, str]) -> str:
    if problem[0] == "Terminating":
        return f"Can't admit new workloads; {problem[1]}"
    return f"Can't admit new workloads: {problem[1]}."


def local_queue_status(
    local: objects.LocalQueue,
    queue: objects.ClusterQueue | None,
    *,
    members: Sequence[drafts.Draft],
    problem: tuple[str, str] | None,
    now: datetime.datetime,
) -> Json:
    """The status of a LocalQueue, from the Workloads that go through it."""
    cannot = "Can't submit new workloads to clusterQueue"
    if local.stopped:
        active = (False, "Stopped", "LocalQueue is stopped")
    elif queue is None:
        active = (False, "ClusterQueueDoesNotExist", cannot)
    elif problem is not None:
        active = (False, "ClusterQueueIsInactive", cannot)
    else:
        active = (True, "Ready", "Can submit new workloads to localQueue")
    status = _counts(members)
    if local.stopped:
        status["pendingWorkloads"] = 0
    status["conditions"] = [_active(local.meta.generation, local.status, active, now)]
    if queue is not None:
        status["flavorsReservation"] = _usage(queue, members, "QuotaReserved", borrowed=False)
        status["flavorsUsage"] = _usage(queue, members, "Admitted", borrowed=False)
    return status


def _counts(members: Iterable[drafts.Draft]) -> Json:
    listed = list(members)
    return {
        "pendingWorkloads": sum(_pending(draft) for draft in listed),
        "reservingWorkloads": sum(_holds(draft, "QuotaReserved") for draft in listed),
        "admittedWorkloads": sum(_holds(draft, "Admitted") for draft in listed),
    }


def _pending(draft: drafts.Draft) -> bool:
    waits = not draft.is_true("QuotaReserved") and not draft.is_true("Finished")
    return waits and draft.workload.active and not draft.workload.gated_by


def _holds(draft: drafts.Draft, condition: str) -> bool:
    over = draft.is_true("Finished") or not draft.workload.active
    return draft.is_true("QuotaReserved") and draft.is_true(condition) and not over


def _usage(
    queue: objects.ClusterQueue, members: Iterable[drafts.Draft], condition: str, *, borrowed: bool
) -> list[Json]:
    total: objects.Usage = {}
    for draft in members:
        if _holds(draft, condition):
            for key, amount in _reserved(draft).items():
                total[key] = total.get(key, 0) + amount

    def told(flavor: str, resource: str, quota: objects.Quota) -> Json:
        used = total.get((flavor, resource), 0)
        beyond = quantity.render(resource, max(0, used - quota.nominal) if queue.cohort else 0)
        extra = {"borrowed": beyond} if borrowed else {}
        return {"name": resource, "total": quantity.render(resource, used)} | extra

    return [
        {"name": flavor, "resources": [told(flavor, r, amounts[r]) for r in sorted(amounts)]}
        for group in queue.groups
        for flavor, amounts in group.flavors.items()
    ]


def _reserved(draft: drafts.Draft) -> objects.Usage:
    return objects.usage_of(draft.status.get("admission"))


def _active(
    generation: int,
    status: Mapping[str, Any],
    wanted: tuple[bool, str, str],
    now: datetime.datetime,
) -> Json:
    value, reason, message = wanted
    condition = {
        "type": "Active",
        "status": "True" if value else "False",
        "reason": reason,
        "message": message,
        "observedGeneration": generation,
        "lastTransitionTime": drafts.timestamp(now),
    }
    for old in status.get("conditions") or ():
        if old["type"] == "Active" and old["status"] == condition["status"]:
            condition["lastTransitionTime"] = old["lastTransitionTime"]
    return condition
