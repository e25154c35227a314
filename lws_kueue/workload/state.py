"""Where a group's Workload stands, and in one line why the group waits (kueue-contract 2.4, 8.2).

Kueue decides; this only reads. A Workload's conditions overlap (an evicted one still holds its
quota until the pods are stopped), so the order in which they are looked at is the meaning.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final, Literal

from lws_kueue.api import derived, kueue, names
from lws_kueue.api.reasons import Reason
from lws_kueue.workload import naming

QUOTA_RESERVED: Final = "QuotaReserved"
ADMITTED: Final = "Admitted"
EVICTED: Final = "Evicted"
FINISHED: Final = "Finished"
PODS_READY: Final = "PodsReady"
REQUEUED: Final = "Requeued"

_ACTIVE: Final = "Active"

# How much is short changes with everything that runs; what is short is what matters.
_AMOUNT: Final = re.compile(r"\d+(\.\d+)?\w*")

# What Kueue says where a ClusterQueue has no quota of a resource at all: none is ever free.
_NOT_COVERED: Final = "unavailable in ClusterQueue"


class Admission(Enum):
    """The one state of a Workload that its pods follow."""

    PENDING = "pending"
    RESERVED = "reserved"
    ADMITTED = "admitted"
    EVICTED = "evicted"
    DEACTIVATED = "deactivated"
    FINISHED = "finished"
    DELETING = "deleting"


@derived.once
def admission(workload: kueue.Workload) -> Admission:
    """Return the state of a Workload.

    Evicted means evicted and still holding quota: the pods have to stop and the quota has to be
    given back. Once that is done it is pending again, or deactivated.
    """
    reserved = has_quota(workload)
    if workload.meta.deleting:
        return Admission.DELETING
    if workload.is_true(FINISHED):
        return Admission.FINISHED
    if reserved and workload.is_true(EVICTED):
        return Admission.EVICTED
    if not workload.spec.active and not reserved:
        return Admission.DEACTIVATED
    if workload.is_true(ADMITTED) and not workload.is_true(EVICTED):
        return Admission.ADMITTED
    return Admission.RESERVED if reserved else Admission.PENDING


def going(_name: str, workload: kueue.Workload) -> kueue.Workload | None:
    """Return a Workload that is being deleted, None for any other."""
    return workload if workload.meta.deleting else None


def has_quota(workload: kueue.Workload) -> bool:
    """Whether quota is reserved for the Workload."""
    return workload.is_true(QUOTA_RESERVED)


def is_admitted(workload: kueue.Workload) -> bool:
    """Whether Kueue says that it is admitted, evicted since or not; some fields are frozen then."""
    return workload.is_true(ADMITTED)


def runs_elsewhere(workload: kueue.Workload, checks: Mapping[str, kueue.AdmissionCheck]) -> bool:
    """Whether MultiKueue runs the group in another cluster, so that its pods here never start."""
    if workload.status.cluster_name:
        return True
    if not workload.status.admission_checks:
        return False
    found = (checks.get(state.name) for state in workload.status.admission_checks)
    return any(
        check is not None and check.controller_name == names.MULTIKUEUE_CONTROLLER
        for check in found
    )


def may_run(workload: kueue.Workload, checks: Mapping[str, kueue.AdmissionCheck]) -> bool:
    """Whether gated pods of the group may be released now.

    A Workload that was just switched off is not admitted for long, so nothing is started for it.
    """
    return _may_run_somewhere(workload) and not runs_elsewhere(workload, checks)


@derived.once
def _may_run_somewhere(workload: kueue.Workload) -> bool:
    return (
        admission(workload) is Admission.ADMITTED
        and workload.status.admission is not None
        and not workload.unreadable
        and workload.spec.active
    )


def must_stop(workload: kueue.Workload) -> bool:
    """Whether released pods of the group have to go, because no quota stands behind them."""
    return admission(workload) is not Admission.ADMITTED


Support = Literal["served", "missing", "unsupported"]


@dataclass(frozen=True, slots=True)
class Queues:
    """What is known of the queue that a set names.

    ``cluster_queue`` is None when it does not exist or is not known; the LocalQueue's own
    conditions tell the two apart. ``support`` says whether this cluster serves a Kueue API that is
    understood, and ``detail`` in words what is wrong when it does not. ``undispatched`` is an
    AdmissionCheck of Kueue's MultiKueue that the ClusterQueue asks for and that can dispatch no
    set here, "" for none. ``copied`` says that MultiKueue brings the Workloads, with the set.
    """

    queue: str
    local_queue: kueue.LocalQueue | None = None
    cluster_queue: kueue.ClusterQueue | None = None
    support: Support = "served"
    detail: str = ""
    undispatched: str = ""
    copied: bool = False

    @property
    def where(self) -> str:
        """Where somebody could change what is short; "" while nobody knows."""
        return f"ClusterQueue {self.local_queue.cluster_queue}: " if self.local_queue else ""


def why_waiting(
    workload: kueue.Workload | None,
    queues: Queues,
    checks: Mapping[str, kueue.AdmissionCheck],
    *,
    problem: Reason | None = None,
) -> Reason | None:
    """Return why the group waits, naming the object to change; None when it may run.

    ``problem`` is what kept the Workload from being created or its pods from being released.
    """
    if queues.support != "served":
        reason = "KueueMissing" if queues.support == "missing" else "KueueUnsupported"
        what = "Kueue is not installed" if queues.support == "missing" else "Kueue is too old"
        return _waits(reason, queues.detail or what, warns=True)
    if problem is not None:
        return problem.held()
    if workload is None:
        return missing(queues)
    if queues.undispatched and (why := _undispatched_workload(workload, queues, checks)):
        return why
    if (settled := _by_state(workload)) is not None:
        return settled
    if admission(workload) is Admission.ADMITTED:
        return _elsewhere(workload, checks)
    if admission(workload) is Admission.RESERVED:
        return _checks(workload)
    return queue_trouble(queues) or _failed_check(workload) or _pending(workload, queues)


def missing(queues: Queues) -> Reason:
    """Return why a group has no Workload."""
    if queues.copied:
        text = "MultiKueue of the cluster that the set is from has not copied its Workload here"
        return _waits("WorkloadMissing", text)
    return queue_trouble(queues) or _waits("WorkloadMissing", "its Workload is being created")


def unfit_copy(workload: kueue.Workload, what: str) -> Reason:
    """Return why a group waits whose Workload was copied here and is for something else.

    ``what`` says in words what differs. Whoever changed it here would only have MultiKueue remove
    it, and the set with it.
    """
    return Reason(
        "CopyDiffers",
        f"Workload {workload.meta.name}, which MultiKueue has copied here, is not for the group's"
        f" pods: {what} differs",
        fix="Take back what was edited here, and edit the set in the cluster that it is from",
    )


def _by_state(workload: kueue.Workload) -> Reason | None:
    """Explain the states in which no queue can help."""
    name = workload.meta.name
    match admission(workload):
        case Admission.DELETING:
            return _waits("WorkloadDeleting", f"Workload {name} is being deleted")
        case Admission.FINISHED:
            finished = workload.condition(FINISHED)
            why = f" ({finished.reason})" if finished is not None and finished.reason else ""
            text = f"Workload {name} is finished{why}"
            if naming.is_copy(workload.meta):
                return _waits("WorkloadFinished", f"{text}, as MultiKueue will see")
            fix = "delete it to queue the group again"
            return _waits("WorkloadFinished", text, fix=fix, warns=True)
        case Admission.DEACTIVATED:
            fix = f"set its spec.active to true{_cause(workload)}"
            text = f"Workload {name} is deactivated"
            return _waits("WorkloadDeactivated", text, fix=fix, about=text)
        case Admission.EVICTED:
            text = f"Workload {name} is evicted"
            return _waits("WorkloadEvicted", f"{text}{_cause(workload)}", about=text)
    return None


def _cause(workload: kueue.Workload) -> str:
    evicted = workload.condition(EVICTED)
    return f" ({evicted.message})" if evicted is not None and evicted.message else ""


def _elsewhere(
    workload: kueue.Workload, checks: Mapping[str, kueue.AdmissionCheck]
) -> Reason | None:
    if not runs_elsewhere(workload, checks):
        return None
    where = workload.status.cluster_name
    message = f"it runs in cluster {where}" if where else "MultiKueue dispatches it"
    return _waits("RunsElsewhere", message)


def _checks(workload: kueue.Workload) -> Reason:
    for check in workload.status.admission_checks:
        if check.state != "Ready":
            return _check(check)
    admitted = workload.condition(ADMITTED)
    said = f": {admitted.message}" if admitted is not None and admitted.message else ""
    text = f"Workload {workload.meta.name} has quota and waits to be admitted"
    return _waits("WaitingForAdmission", f"{text}{said}", about=text)


def _check(check: kueue.AdmissionCheckState, *, fix: str = "") -> Reason:
    said = f": {check.message}" if check.message else ""
    text = f"AdmissionCheck {check.name} is {check.state}"
    return _waits("AdmissionCheck" + check.state, f"{text}{said}", fix=fix, about=text)


def _failed_check(workload: kueue.Workload) -> Reason | None:
    """Explain a Workload that Kueue passes over because a check has said no before it had quota.

    Only an eviction resets checks, and there is none of what has no quota.
    """
    failed = (c for c in workload.status.admission_checks if c.state in ("Rejected", "Retry"))
    check = next(failed, None)
    if check is None:
        return None
    name = workload.meta.name
    fix = f"Once it can be passed, set spec.active of Workload {name} to false and to true again"
    return _check(check, fix=fix)


def _undispatched_workload(
    workload: kueue.Workload, queues: Queues, checks: Mapping[str, kueue.AdmissionCheck]
) -> Reason | None:
    """Explain a Workload in a queue whose MultiKueue dispatches no set here.

    Kueue answers by deactivating it if it has quota by then, and passes it over otherwise.
    """
    match admission(workload):
        case Admission.PENDING | Admission.RESERVED:
            return _undispatched(queues)
        case Admission.DEACTIVATED:
            then = f", and then set spec.active of Workload {workload.meta.name} to true"
            return _undispatched(queues, then=then)
        case Admission.ADMITTED if runs_elsewhere(workload, checks):
            return None if workload.status.cluster_name else _undispatched(queues)
    return None


def _undispatched(queues: Queues, *, then: str = "") -> Reason:
    of = queues.local_queue.cluster_queue if queues.local_queue else queues.queue
    return _waits(
        "MultiKueueNotPossible",
        f"ClusterQueue {of} asks for AdmissionCheck {queues.undispatched} of"
        f" {names.MULTIKUEUE_CONTROLLER}, which dispatches no LeaderWorkerSets while Kueue's own"
        " integration for them is off in this cluster",
        fix=f"Give the set a queue without that check, or switch {names.KUEUE_LWS_FRAMEWORK} on in"
        f" Kueue's configuration{then}",
        warns=True,
    )


def _waits(code: str, text: str, *, fix: str = "", warns: bool = False, about: str = "") -> Reason:
    """Return why a group's pods are held; to wait for quota is nothing that anybody must repair."""
    return Reason(code, text, fix, waits=True, warns=warns, about=about)


def queue_trouble(queues: Queues) -> Reason | None:
    """Return why nothing is admitted through the queue now, naming what to change."""
    if not queues.queue:
        fix = f"give it the label {names.QUEUE_NAME}"
        return _waits("QueueNotSet", "the set names no LocalQueue", fix=fix, warns=True)
    local = queues.local_queue
    if local is None:
        return _waits("LocalQueueMissing", f"LocalQueue {queues.queue} does not exist", warns=True)
    if queues.undispatched:
        return _undispatched(queues)
    if local.stop_policy != "None":
        message = f"LocalQueue {queues.queue} is stopped ({local.stop_policy})"
        return _waits("LocalQueueStopped", message)
    return _cluster_queue_trouble(local, queues.cluster_queue)


def _cluster_queue_trouble(
    local: kueue.LocalQueue, queue: kueue.ClusterQueue | None
) -> Reason | None:
    name = local.cluster_queue
    if queue is not None and queue.stop_policy != "None":
        message = f"ClusterQueue {name} is stopped ({queue.stop_policy})"
        return _waits("ClusterQueueStopped", message)
    active = queue.condition(_ACTIVE) if queue is not None else local.condition(_ACTIVE)
    if active is None or active.status != "False":
        return None
    if queue is None and active.reason == "ClusterQueueDoesNotExist":
        message = f"ClusterQueue {name}, which LocalQueue {local.meta.name} uses, does not exist"
        return _waits("ClusterQueueMissing", message, warns=True)
    said = active.message or active.reason
    text = f"ClusterQueue {name} is not active"
    return _waits("ClusterQueueInactive", f"{text}: {said}", warns=True, about=text)


def _pending(workload: kueue.Workload, queues: Queues) -> Reason:
    """Explain a Workload that its queues would take: Kueue says what it waits for."""
    if gates := workload.meta.annotations.get(names.ADMISSION_GATED_BY):
        text = "its admission is gated"
        return _waits("AdmissionGated", f"{text} by {gates}", about=text)
    quota = workload.condition(QUOTA_RESERVED)
    if quota is None or not quota.message:
        message = f"Kueue has not considered Workload {workload.meta.name} yet"
        return _waits("Pending", message)
    of_places = any(word in quota.message for word in ("topology", "level"))
    asked = _topology_asked(workload) if of_places else ""
    # Kueue's message says what is short, but not where somebody could change it.
    text = queues.where + quota.message + asked
    about = queues.where + _AMOUNT.sub("#", quota.message)
    if _NOT_COVERED in quota.message:
        fix = (
            "Waiting does not help: add the resource to spec.resourceGroups of the ClusterQueue, or"
            " give the set another queue"
        )
        return _waits(quota.reason or "Pending", text, fix=fix, warns=True, about=about)
    return _waits(quota.reason or "Pending", text, about=about)


def _topology_asked(workload: kueue.Workload) -> str:
    """Say what placement was asked for; Kueue's message tells only what there is of it."""
    parts = [
        f"{pod_set.name} {part}"
        for pod_set in workload.spec.pod_sets
        if pod_set.topology_request is not None and pod_set.count
        for part in _asked_for(pod_set.topology_request, pod_set.count)
    ]
    return f" ({', '.join(parts)})" if parts else ""


def _asked_for(request: kueue.TopologyRequest, count: int) -> Iterator[str]:
    """Say what a request asks for, and by which annotation of the pod template."""
    pods = "1 pod" if count == 1 else f"{count} pods"
    if request.required is not None:
        by = names.PODSET_REQUIRED_TOPOLOGY
        yield f"needs {pods} in one {request.required} by {by}"
    elif request.preferred is not None:
        by = names.PODSET_PREFERRED_TOPOLOGY
        yield f"prefers {pods} in one {request.preferred} by {by}"
    if request.pod_set_slice_required_topology is not None:
        size, level = request.pod_set_slice_size, request.pod_set_slice_required_topology
        by = names.PODSET_SLICE_REQUIRED_TOPOLOGY
        yield f"needs slices of {size} pods in one {level} by {by}"
    for layer in request.podset_slice_required_topology_constraints:
        by = names.PODSET_SLICE_CONSTRAINTS
        yield f"needs slices of {layer.size} pods in one {layer.topology} by {by}"
