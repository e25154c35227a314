"""The order in which Workloads of a queue are considered (``pkg/workload`` of Kueue v0.19)."""

from collections.abc import Mapping
from typing import Any, Final

# Evicted for these reasons a Workload queues behind those that came meanwhile.
_QUEUED_ANEW: Final = ("PodsReadyTimeout", "AdmissionCheck")


def turn(priority: int, queued: str, uid: str) -> tuple[int, str, str]:
    """Return what a queue is sorted by: higher priority first, then who waits for longer."""
    return -priority, queued, uid


def since(created: str, conditions: Mapping[str, Mapping[str, Any]]) -> str:
    """Return when a Workload with these conditions, by type, took its place in the queue."""
    evicted = conditions.get("Evicted") or {}
    if evicted.get("status") == "True" and evicted.get("reason") in _QUEUED_ANEW:
        return str(evicted.get("lastTransitionTime", ""))
    return created
