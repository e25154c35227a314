"""The PodsReady condition: that a group runs, and that it recovers (kueue-contract 1.14).

Kueue waits for it, and evicts a group that is not ready in time. It is written at transitions
only. "Waiting for start" is what its absence means already, so a group that comes up costs one
write; it is written only to take back what an earlier admission left behind.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from lws_kueue.api import actions, facts, kueue, lws, names
from lws_kueue.workload import conditions, state

_READY: Final = "All pods reached readiness and the workload is running"
_NOT_READY: Final = "Not all pods are ready or succeeded"
_RECOVERING: Final = "At least one pod has failed, waiting for recovery"


def condition_write(
    workload: kueue.Workload, pods: Sequence[facts.Pod], *, size: int, now: datetime
) -> actions.Apply | None:
    """Return the write of the group's PodsReady condition, None when it says the truth.

    ``size`` is the number of pods of the group: pods that do not exist yet are not ready.
    """
    return write(workload, ready=all_ready(pods, size=size), now=now)


def write(workload: kueue.Workload, *, ready: bool, now: datetime) -> actions.Apply | None:
    """Return the same for a group of which it is known whether it is ready, wherever it runs."""
    old = workload.condition(state.PODS_READY)
    match state.admission(workload):
        case state.Admission.ADMITTED:
            wanted = _while_admitted(old, ready=ready)
        case state.Admission.PENDING | state.Admission.RESERVED | state.Admission.DEACTIVATED:
            wanted = _while_not_admitted(old)
        case _:
            wanted = None  # It is about to stop or to go.
    if wanted is None:
        return None
    status, reason, message = wanted
    meta = workload.meta
    condition = conditions.updated(workload, state.PODS_READY, status, reason, message, now=now)
    body = {
        "apiVersion": names.KUEUE_API_VERSION,
        "kind": "Workload",
        "metadata": {"namespace": meta.namespace, "name": meta.name, "uid": meta.uid},
        "status": {"conditions": [condition]},
    }
    return actions.Apply(body, names.PODS_READY_FIELD_MANAGER, subresource="status")


def all_ready(pods: Sequence[facts.Pod], *, size: int) -> bool:
    """Whether the group is complete and every pod of it is Ready."""
    live = [pod for pod in pods if not pod.meta.deleting]
    return len(live) >= size and all(pod.ready for pod in live)


def _while_admitted(old: lws.Condition | None, *, ready: bool) -> tuple[bool, str, str] | None:
    was_ready = old is not None and old.status == "True"
    recovering = old is not None and old.reason == "WaitForRecovery"
    if ready:
        if was_ready:
            return None
        return True, "Recovered" if recovering else "Started", _READY
    return (False, "WaitForRecovery", _RECOVERING) if was_ready else None


def _while_not_admitted(old: lws.Condition | None) -> tuple[bool, str, str] | None:
    # Left as it is, Kueue would take the next start for a recovery and time it as one.
    if old is None or (old.status == "False" and old.reason == "WaitForStart"):
        return None
    return False, "WaitForStart", _NOT_READY
