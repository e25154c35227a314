"""Writes of what Kueue itself writes of a Workload's status (kueue-contract 2.7).

Kueue writes it by server-side apply under one field manager, and what that manager leaves out of an
apply goes: an apply without ``admission`` gives back the quota. So whoever changes a part of it
under that name says all of the rest as it stands, guarded by the version it was read in. Under any
other name it would stay when Kueue takes it away.
"""

from collections.abc import Mapping
from typing import Any, Final

from lws_kueue.api import actions, kueue, names
from lws_kueue.workload import state

# The order is that of Kueue's own writes.
CONDITIONS: Final = (
    state.QUOTA_RESERVED,
    "BlockedOnPreemptionGates",
    state.EVICTED,
    state.ADMITTED,
    "Preempted",
    state.REQUEUED,
    "DeactivationTarget",
    state.FINISHED,
    state.PODS_READY,
)
_FIELDS: Final = (
    "resourceRequests",
    "schedulingStats",
    "clusterName",
    "nominatedClusterNames",
    "unhealthyNodes",
    "preemptionGates",
    "admissionChecks",
)
# Left out where they say nothing.
_FIELDS_IF_SET: Final = ("requeueState",)


def without_admission(workload: kueue.Workload) -> dict[str, Any]:
    """Return the status as it stands, but for conditions, quota and the time that was used."""
    stored = workload.stored_status
    return {key: stored[key] for key in _FIELDS if key in stored} | {
        key: stored[key] for key in _FIELDS_IF_SET if stored.get(key)
    }


def as_it_stands(workload: kueue.Workload) -> dict[str, Any]:
    """Return all of the status that Kueue's field manager has, for one part to be changed."""
    stored = workload.stored_status
    told = {one["type"]: one for one in stored.get("conditions") or ()}
    return {
        "conditions": [told[type_] for type_ in CONDITIONS if type_ in told],
        **without_admission(workload),
        **{
            key: stored[key]
            for key in ("admission", "accumulatedPastExecutionTimeSeconds")
            if stored.get(key) is not None
        },
    }


def apply(
    workload: kueue.Workload, status: Mapping[str, Any], *, because: str = ""
) -> actions.Apply:
    """Return the write of a status that was worked out from this very version of a Workload."""
    meta = workload.meta
    body = {
        "apiVersion": names.KUEUE_API_VERSION,
        "kind": "Workload",
        "metadata": {"namespace": meta.namespace, "name": meta.name, "uid": meta.uid},
        "status": status,
    }
    return actions.Apply(
        body,
        names.ADMISSION_FIELD_MANAGER,
        subresource="status",
        resource_version=meta.resource_version,
        because=because,
    )
