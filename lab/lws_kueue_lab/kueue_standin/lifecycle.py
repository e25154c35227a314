"""What happens to a Workload apart from the competition for quota (kueue-contract 1.13, 1.14).

Deactivation, stopped queues, admission checks, time-outs and what lets an evicted Workload
compete again. The stand-in only ever *asks* for an eviction: stopping the pods and giving the
admission back is the job side's, exactly as with Kueue.
"""

import dataclasses
import datetime
from typing import Final

from lws_kueue.api import names
from lws_kueue.simulator import matching, objects
from lws_kueue_lab.kueue_standin import pod_marks, watched
from lws_kueue_lab.kueue_standin.draft import Draft

# Kueue 0.19 uses finer reasons than these two only when asked to by a feature gate that is off
# by default (kueue-contract 2.4 calls these the legacy ones). Nobody may depend on either.
INADMISSIBLE: Final = "Inadmissible"
PENDING: Final = "Pending"
DEACTIVATED: Final = "Deactivated"
GATED: Final = "AdmissionGated"
DRAIN: Final = "HoldAndDrain"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a real Kueue is told in its configuration; times in seconds.

    - `pods_ready_timeout`: how long pods may take to become ready, and to recover; None: for
      ever. Kueue's own default is 30 minutes.
    - `backoff_base`, `backoff_max`: the wait after such an eviction, doubling each time.
    - `backoff_limit`: after so many evictions the Workload is deactivated; None: never.
    - `pods`: what the pod integration does, None if it is off.
    """

    pods_ready_timeout: float | None = 1800.0
    backoff_base: float = 60.0
    backoff_max: float = 3600.0
    backoff_limit: int | None = None
    pods: pod_marks.Integration | None = dataclasses.field(default_factory=pod_marks.Integration)


@dataclasses.dataclass(slots=True)
class Outcome:
    """What `advance` found: whether the Workload competes for quota, and when to look again.

    ``deactivate`` asks to set ``spec.active`` to false, for the reason that the condition
    DeactivationTarget already tells everybody.
    """

    competes: bool = False
    deactivate: bool = False
    recheck_after: float | None = None

    def look_again(self, seconds: float) -> None:
        """Ask for another pass after so many seconds, if not before."""
        if self.recheck_after is None or seconds < self.recheck_after:
            self.recheck_after = seconds


def advance(
    draft: Draft, *, observed: watched.Watched, inactive: str | None, options: Options
) -> Outcome:
    """Move a Workload on as far as it goes without quota.

    ``inactive`` says why its ClusterQueue admits nothing, None if it does.
    """
    workload = draft.workload
    outcome = Outcome()
    if not workload.active:
        _deactivate(draft)
    elif draft.is_true("DeactivationTarget"):
        outcome.deactivate = True
        return outcome
    else:
        _return_to_queue(draft, outcome)
    local, cluster = observed.queues_of(workload)
    _note_restart(draft, local, cluster)
    if cluster is not None and workload.active:
        draft.require_checks(_wanted_checks(draft, cluster))
    if draft.is_true("QuotaReserved"):
        if workload.active:
            _watch_over(draft, outcome, local=local, cluster=cluster, options=options)
        return outcome
    if not workload.active:
        return outcome
    blocker = _blocker(workload, observed, inactive)
    if blocker:
        draft.refuse(*blocker)
    elif draft.is_false("QuotaReserved", GATED):
        draft.refuse(PENDING, "AdmissionGatedBy cleared, waiting for quota reservation")
    outcome.competes = not blocker and not draft.is_false("Requeued") and not _waits(draft)
    draft.sync_admitted()
    return outcome


def _deactivate(draft: Draft) -> None:
    if draft.is_true("Evicted"):
        draft.status.pop("requeueState", None)
        return
    target = draft.condition("DeactivationTarget")
    message = "The workload is deactivated"
    if target is not None:
        draft.status["conditions"].remove(target)
        draft.evict(DEACTIVATED, f"{message} due to {target['message']}", cause=target["reason"])
    else:
        draft.evict(DEACTIVATED, message)
    draft.status.pop("requeueState", None)


def _waits(draft: Draft) -> bool:
    at = (draft.status.get("requeueState") or {}).get("requeueAt")
    return at is not None and objects.parse_time(at) > draft.now


def _return_to_queue(draft: Draft, outcome: Outcome) -> None:
    """End what kept an evicted Workload out of the queue, once its reason is gone.

    The reason is compared exactly: a Workload that was deactivated *for a cause* stays out even
    when it is activated again, as with Kueue.
    """
    if _waits(draft):
        at = objects.parse_time(draft.status["requeueState"]["requeueAt"])
        outcome.look_again((at - draft.now).total_seconds())
        return
    (draft.status.get("requeueState") or {}).pop("requeueAt", None)
    if draft.is_false("Requeued", DEACTIVATED):
        draft.requeue("Reactivated", "The workload was reactivated")
    elif draft.is_false("Requeued", "PodsReadyTimeout", "AdmissionCheck"):
        draft.requeue("BackoffFinished", "The workload backoff was finished")


def _note_restart(
    draft: Draft, local: objects.LocalQueue | None, cluster: objects.ClusterQueue | None
) -> None:
    if local is not None and not local.stopped and draft.is_false("Requeued", "LocalQueueStopped"):
        message = "The LocalQueue was restarted after being stopped"
        draft.requeue("LocalQueueRestarted", message)
    if (
        cluster is not None
        and not cluster.stopped
        and draft.is_false("Requeued", "ClusterQueueStopped")
    ):
        message = "The ClusterQueue was restarted after being stopped"
        draft.requeue("ClusterQueueRestarted", message)


def _wanted_checks(draft: Draft, cluster: objects.ClusterQueue) -> list[str]:
    """The checks of the assigned flavors; before there are any, those that apply to all."""
    admission = draft.status.get("admission")
    if not admission:
        every = set(cluster.flavors)
        return [name for name, on in cluster.checks.items() if not on or every <= set(on)]
    assigned = {
        flavor
        for assignment in admission.get("podSetAssignments") or ()
        for flavor in (assignment.get("flavors") or {}).values()
    }
    return [name for name, on in cluster.checks.items() if not on or assigned & set(on)]


def _blocker(
    workload: objects.Workload, observed: watched.Watched, inactive: str | None
) -> tuple[str, str] | None:
    """Say why a Workload cannot even be considered: reason and message."""
    local, cluster = observed.queues_of(workload)
    queue = workload.queue[1]
    if local is None:
        return INADMISSIBLE, f"LocalQueue {queue} doesn't exist"
    if local.stopped:
        return INADMISSIBLE, f"LocalQueue {queue} is inactive"
    if cluster is None:
        return INADMISSIBLE, f"ClusterQueue {local.cluster_queue} doesn't exist"
    if inactive is not None:
        return INADMISSIBLE, f"ClusterQueue {cluster.meta.name} is inactive{inactive}"
    labels = observed.namespaces.get(workload.meta.namespace, {})
    if not matching.selects(cluster.selector, labels):
        return PENDING, "workload namespace doesn't match ClusterQueue selector"
    if workload.gated_by:
        return GATED, f"Admission is gated by: {workload.gated_by}"
    return None


def _watch_over(
    draft: Draft,
    outcome: Outcome,
    *,
    local: objects.LocalQueue | None,
    cluster: objects.ClusterQueue | None,
    options: Options,
) -> None:
    """Look after a Workload that has quota."""
    if draft.is_true("Evicted"):
        return
    if draft.checks_in("Rejected") or draft.checks_in("Retry"):
        _fail_checks(draft)
        return
    if not draft.is_true("Admitted"):
        stop = _lost_queue(draft.workload, local, cluster)
        if stop:
            # Nothing runs yet, so the reservation can go at once, as Kueue does it.
            draft.refuse(*stop)
            return
        draft.sync_admitted()
    if local is not None and local.stopped == DRAIN:
        draft.evict("LocalQueueStopped", "The LocalQueue is stopped")
    elif cluster is not None and cluster.stopped == DRAIN:
        draft.evict("ClusterQueueStopped", "The ClusterQueue is stopped")
    elif draft.is_true("Admitted"):
        _time_out(draft, outcome, options)


def _lost_queue(
    workload: objects.Workload,
    local: objects.LocalQueue | None,
    cluster: objects.ClusterQueue | None,
) -> tuple[str, str] | None:
    queue = workload.queue[1]
    if local is None or local.meta.deleting:
        return INADMISSIBLE, f"LocalQueue {queue} is terminating or missing"
    if local.stopped:
        return INADMISSIBLE, f"LocalQueue {queue} is stopped"
    if cluster is None or cluster.meta.deleting:
        return INADMISSIBLE, f"ClusterQueue {local.cluster_queue} is terminating or missing"
    if cluster.stopped:
        return INADMISSIBLE, f"ClusterQueue {local.cluster_queue} is stopped"
    return None


def _fail_checks(draft: Draft) -> None:
    rejected, retried = draft.checks_in("Rejected"), draft.checks_in("Retry")
    if rejected:
        message = _describe_checks(rejected, "Rejected")
        draft.set("DeactivationTarget", True, "AdmissionCheck", message)
        return
    wait = max(int(check.get("requeueAfterSeconds") or 0) for check in retried)
    if wait:
        draft.wait_until(draft.now + datetime.timedelta(seconds=wait), count=False)
    draft.evict("AdmissionCheck", f"Evicted due to {_describe_checks(retried, 'Retry')}")


def _describe_checks(checks: list[dict[str, str]], state: str) -> str:
    noun = "AdmissionChecks" if len(checks) > 1 else "AdmissionCheck"
    parts = [
        f'"{check["name"]}" ({check["message"]})' if check["message"] else f'"{check["name"]}"'
        for check in checks
    ]
    return f"{noun} in {state} state: {'; '.join(parts)}"


def _time_out(draft: Draft, outcome: Outcome, options: Options) -> None:
    allowed = draft.workload.spec.get("maximumExecutionTimeSeconds")
    if allowed:
        past = draft.status.get("accumulatedPastExecutionTimeSeconds") or 0
        left = allowed - past - draft.since("Admitted")
        if left <= 0:
            draft.status.pop("accumulatedPastExecutionTimeSeconds", None)
            message = "exceeding the maximum execution time"
            draft.set("DeactivationTarget", True, "MaximumExecutionTimeExceeded", message)
            return
        outcome.look_again(left)
    if options.pods_ready_timeout is None or draft.is_true("PodsReady"):
        return
    recovers = draft.is_false("PodsReady", "WaitForRecovery")
    cause = "WaitForRecovery" if recovers else "WaitForStart"
    left = options.pods_ready_timeout - draft.since("PodsReady" if recovers else "Admitted")
    if left > 0:
        outcome.look_again(left)
    else:
        _evict_unready(draft, cause=cause, options=options)


def _evict_unready(draft: Draft, *, cause: str, options: Options) -> None:
    count = (draft.status.get("requeueState") or {}).get("count", 0)
    if options.backoff_limit is not None and count + 1 > options.backoff_limit:
        message = "exceeding the maximum number of re-queuing retries"
        draft.set("DeactivationTarget", True, "RequeuingLimitExceeded", message)
        return
    wait = min(options.backoff_base * 2**count, options.backoff_max)
    draft.wait_until(draft.now + datetime.timedelta(seconds=wait), count=True)
    namespace, name = draft.workload.key
    message = f"Exceeded the PodsReady timeout {namespace}/{name}"
    draft.evict("PodsReadyTimeout", message, cause=cause)


def orphaned(workload: objects.Workload) -> bool:
    """Whether nobody owns it any more, so that its finalizer is the stand-in's to remove."""
    if workload.meta.owners:
        return False
    return workload.meta.deleting or bool(workload.meta.labels.get(names.JOB_UID))
