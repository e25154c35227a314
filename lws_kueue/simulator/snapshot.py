"""A scheduler that stands where Kueue stands, out of what the API tells.

Kueue keeps to itself which Workloads it has put aside and for whom it waits; conditions of the
Workloads say so in other words.
"""

import datetime
from typing import Final

from lws_kueue.simulator import matching, objects, scheduler

# How Kueue says that others stop for a Workload.
_STOPPING: Final = "Pending the preemption of"


def taken(observed: objects.Observed, *, now: datetime.datetime) -> scheduler.Scheduler:
    """Return a scheduler with all Workloads of a cluster in their places."""
    active = [name for name, queue in observed.cluster_queues.items() if admits(queue)]
    found = scheduler.Scheduler(observed, active=active)
    for _, workload in sorted(observed.workloads.items()):
        if workload.holds_quota:
            found.hold(workload, evicted=workload.is_true("Evicted"))
    for _, workload in sorted(observed.workloads.items()):
        _, queue = observed.queues_of(workload)
        if queue is None or barrier(observed, workload, now=now):
            continue
        said = workload.conditions.get("QuotaReserved") or {}
        if _STOPPING in str(said.get("message", "")):
            found.keep_turn(workload, queue.meta.name)
        else:
            found.ask(workload, queue.meta.name, refused=bool(said))
    return found


def admits(queue: objects.ClusterQueue) -> bool:
    """Whether a ClusterQueue admits Workloads, as far as Kueue has said."""
    conditions = queue.status.get("conditions") or ()
    return not queue.stopped and not any(
        one["type"] == "Active" and one["status"] == "False" for one in conditions
    )


def barrier(
    observed: objects.Observed, workload: objects.Workload, *, now: datetime.datetime
) -> str:
    """Say why a Workload is not even considered, "" if it is."""
    if workload.holds_quota:
        return "it has quota"
    if workload.is_true("Finished") or workload.meta.deleting or not workload.active:
        return "it is over, or stopped"
    if workload.gated_by:
        return f"{workload.gated_by} holds it back"
    if _backs_off(workload, now):
        return "it backs off"
    return closed(observed, workload)


def closed(observed: objects.Observed, workload: objects.Workload) -> str:
    """Say why the queues of a Workload consider nothing of it, "" if they do."""
    local, queue = observed.queues_of(workload)
    if local is None:
        return f"LocalQueue {workload.queue[1]} does not exist"
    if queue is None:
        return f"ClusterQueue {local.cluster_queue} does not exist, or may not be read"
    if local.stopped:
        return f"LocalQueue {local.meta.name} is stopped"
    if not admits(queue):
        said = queue.status.get("conditions") or ()
        why = next((str(one.get("message", "")) for one in said if one["type"] == "Active"), "")
        return f"ClusterQueue {queue.meta.name} admits nothing" + (f": {why}" if why else "")
    labels = observed.namespaces.get(workload.meta.namespace)
    if labels is not None and not matching.selects(queue.selector, labels):
        return f"ClusterQueue {queue.meta.name} is not for namespace {workload.meta.namespace}"
    return ""


def _backs_off(workload: objects.Workload, now: datetime.datetime) -> bool:
    if workload.conditions.get("Requeued", {}).get("status") == "False":
        return True
    at = (workload.status.get("requeueState") or {}).get("requeueAt")
    return at is not None and objects.parse_time(at) > now
