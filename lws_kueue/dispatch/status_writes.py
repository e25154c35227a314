"""The writes by which the manager's Workload learns where its group goes.

Each is one apply of all that Kueue's field manager has, with one part changed, guarded by the
version that it was worked out from. Whoever reads it once more after a conflict decides afresh.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from lws_kueue.api import actions, kueue, reasons
from lws_kueue.workload import admission_status, conditions

# From so many retries on each waits before it is queued again, for so many seconds at first.
_PATIENT_FROM: Final = 2
_FIRST_WAIT: Final = 5
_MOST_WAIT: Final = 300


def nominate(
    workload: kueue.Workload, check: str, clusters: Sequence[str], *, now: datetime
) -> actions.Apply:
    """Return the write that names the clusters a group is offered to, before it is."""
    status = admission_status.as_it_stands(workload)
    status["nominatedClusterNames"] = list(clusters)
    text = f"offered to {', '.join(clusters)}" if clusters else "offered to no cluster"
    _change(status, check, "Pending", text, now=now)
    return admission_status.apply(workload, status, because=text)


def ready(
    workload: kueue.Workload,
    check: str,
    *,
    cluster: str,
    text: str,
    expects: tuple[actions.Expect, ...],
    now: datetime,
) -> actions.Apply:
    """Return the write that gives a group to a cluster, for good until it is evicted."""
    status = admission_status.as_it_stands(workload)
    status.pop("nominatedClusterNames", None)
    status["clusterName"] = cluster
    _change(status, check, "Ready", text, now=now)
    return replace(admission_status.apply(workload, status, because=text), expects=expects)


def stays(workload: kueue.Workload, check: str, text: str, *, now: datetime) -> actions.Apply:
    """Return the write that leaves a group in the manager's own cluster."""
    status = admission_status.as_it_stands(workload)
    status.pop("nominatedClusterNames", None)
    _change(status, check, "Ready", text, now=now)
    return admission_status.apply(workload, status, because=text)


def retry(workload: kueue.Workload, check: str, text: str, *, now: datetime) -> actions.Apply:
    """Return the write after which Kueue evicts the group, and queues it again when it stopped.

    One that comes back again and again waits before it is queued, longer each time.
    """
    status = admission_status.as_it_stands(workload)
    one = _change(status, check, "Retry", text, now=now)
    tried = int(one.get("retryCount") or 0)
    if tried >= _PATIENT_FROM:
        doubled = min(tried - _PATIENT_FROM, _MOST_WAIT.bit_length())
        one["requeueAfterSeconds"] = min(_MOST_WAIT, _FIRST_WAIT * 2**doubled)
    return admission_status.apply(workload, status, because=text)


def reject(workload: kueue.Workload, check: str, text: str, *, now: datetime) -> actions.Apply:
    """Return the write that says that a Workload can never be dispatched."""
    status = admission_status.as_it_stands(workload)
    _change(status, check, "Rejected", text, now=now)
    return admission_status.apply(workload, status, because=text)


def explain(
    workload: kueue.Workload, check: str, text: str, *, now: datetime
) -> actions.Apply | None:
    """Return the write that says why nothing is offered, None where it stands there."""
    said = next(one for one in workload.status.admission_checks if one.name == check)
    if said.message == reasons.shortened(text, most=reasons.MOST_MESSAGE):
        return None
    status = admission_status.as_it_stands(workload)
    _change(status, check, said.state, text, now=now)
    return admission_status.apply(workload, status, because=text)


def _change(
    status: dict[str, Any], check: str, state: str, text: str, *, now: datetime
) -> dict[str, Any]:
    """Change one check in a status, which the others stand beside as they are."""
    states = [dict(one) for one in status.get("admissionChecks") or ()]
    one = next(one for one in states if one["name"] == check)
    if one.get("state") != state:
        one["lastTransitionTime"] = conditions.stamp(now)
    one["state"] = state
    one["message"] = reasons.shortened(text, most=reasons.MOST_MESSAGE)
    status["admissionChecks"] = states
    return one
