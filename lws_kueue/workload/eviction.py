"""Stopping a group whose quota is taken back, and giving it back (kueue-contract 1.13, 3.2).

Kueue says that a Workload is evicted and waits: the pods run on, and the quota stays reserved,
until the job's side has stopped them and cleared the admission. A pod that was released while no
admitted Workload stands behind it is stopped in the same way, however that came about.
"""

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from lws_kueue.api import actions, facts, kueue, lws, names
from lws_kueue.workload import admission_status, backing, conditions, state
from lws_kueue.workload import pods as group

_DEFAULT_GRACE_SECONDS: Final = 30
# Ten years: the API takes numbers that no date can be reckoned with.
_MOST_GRACE_SECONDS: Final = 315_360_000

# Workloads evicted for these reasons queue again at once; for others Kueue says when.
_REQUEUED_AT_ONCE: Final = frozenset({"Preempted", "NodeFailures"})

# Deactivations by Kueue name their cause: DeactivatedDueToAdmissionCheck and the like.
_DEACTIVATED: Final = "Deactivated"
_OUT_OF_TIME: Final = "DeactivatedDueToMaximumExecutionTimeExceeded"
_DEACTIVATION_TARGET: Final = "DeactivationTarget"


def stop(
    workload: kueue.Workload | None,
    pods: Iterable[facts.Pod],
    terms: backing.Terms,
    *,
    own: Collection[facts.Pod] = (),
) -> tuple[actions.Delete, ...]:
    """Return the deletions of the group's pods that run without an admission behind them.

    Gated pods stay: they are where they have to be. Without a Workload no pod may run either.
    ``own`` are those that the chain of ownership puts into the group.
    """
    running = backing.unbacked(workload, pods, terms, own=own)
    if not running:
        return ()
    admitted = workload is not None and not state.must_stop(workload)
    # Kueue takes back what it gave every day; beyond that somebody has let pods go.
    kind: Literal["Normal", "Warning"] = "Warning" if admitted else "Normal"
    told: dict[str, list[facts.Pod]] = {}
    for pod, why in running:
        told.setdefault(why, []).append(pod)
    # One event tells the story of a group.
    events = {
        same[0].meta.uid: actions.Event(kind, "Stopped", f"Stopping {len(same)} pods: {why}")
        for why, same in told.items()
    }
    return tuple(
        actions.Delete(
            group.ref(pod),
            pod.meta.uid,
            events=(events[pod.meta.uid],) if pod.meta.uid in events else (),
            because=_occasion(workload),
            stops=True,
            keeping_name=_keep_name(pod),
        )
        for pod, _ in running
    )


def _occasion(workload: kueue.Workload | None) -> str:
    """Return what a group is stopped for: under another admission it is stopped for another one."""
    evicted = workload.condition(state.EVICTED) if workload else None
    since = evicted.last_transition_time if evicted and evicted.status == "True" else ""
    return f"{workload.meta.uid if workload else ''} evicted at {since}"


def _keep_name(pod: facts.Pod) -> str:
    """Return the finalizer by which a pod's name stays taken when it is deleted, "" if it has it.

    Its StatefulSet makes none in its place then, as long as that finalizer is there; a kubelet ends
    the pod all the same (the Job controller keeps the pods that it counts in the same way).
    """
    return "" if group.keeps_name(pod) else names.STOPPED_FINALIZER


def free_name(pod: facts.Pod) -> actions.Patch:
    """Return what gives back the name of a pod that was stopped."""
    kept = [one for one in pod.meta.finalizers if one != names.STOPPED_FINALIZER]
    body = {"metadata": {"finalizers": kept or None}}
    return actions.Patch(
        group.ref(pod), body, pod.meta.resource_version, because=f"freed {pod.meta.uid}"
    )


def replace_ungated(leader: facts.Pod) -> actions.Delete:
    """Return the deletion of a group whose worker StatefulSet makes pods without the gate.

    In the foreground the StatefulSet goes first, and makes no pod while it waits for that.
    """
    text = f"Replacing the group of {leader.meta.name}: its workers are made without a gate"
    event = actions.Event("Normal", "Stopped", text)
    return actions.Delete(
        group.ref(leader),
        leader.meta.uid,
        propagation="Foreground",
        events=(event,),
        because="its workers are made ungated",
        stops=True,
        keeping_name=_keep_name(leader),
    )


def clear_admission(
    workload: kueue.Workload, pods: Iterable[facts.Pod], *, now: datetime
) -> actions.Apply | None:
    """Return the one write that gives back the quota of an evicted group, once it has stopped.

    None while a pod of the group can still run, and for a Workload that has nothing to give back.
    """
    evicted = workload.condition(state.EVICTED)
    if state.admission(workload) is not state.Admission.EVICTED or evicted is None:
        return None
    if any(group.could_run(pod) and not stuck(pod, now=now) for pod in pods):
        return None
    status = admission_status.without_admission(workload)
    status["conditions"] = _cleared_conditions(workload, evicted, now=now)
    if (seconds := _execution_seconds(workload, now=now)) is not None:
        status["accumulatedPastExecutionTimeSeconds"] = seconds
    return admission_status.apply(
        workload, status, because=f"evicted at {evicted.last_transition_time}"
    )


def stuck(pod: facts.Pod, *, now: datetime) -> bool:
    """Whether a pod is still there long after it should have ended, as on a lost node."""
    at = _stuck_at(pod)
    return at is not None and now > at


def stuck_in(pods: Iterable[facts.Pod], *, now: datetime) -> float | None:
    """Return the seconds until the next terminating pod counts as stuck, None without one."""
    ends = (_stuck_at(pod) for pod in pods if group.could_run(pod))
    waits = ((at - now).total_seconds() for at in ends if at is not None and at >= now)
    # The time itself does not count as after it.
    return actions.soonest(wait + 1 for wait in waits)


def _stuck_at(pod: facts.Pod) -> datetime | None:
    """Return the time after which a pod that is being deleted counts as stuck.

    Its deletion time is when its grace period ends; as Kueue does, it is given as long again.
    """
    ends = conditions.moment(pod.meta.deleted or "")
    grace = pod.spec.get("terminationGracePeriodSeconds")
    seconds = _DEFAULT_GRACE_SECONDS if grace is None else min(int(grace), _MOST_GRACE_SECONDS)
    return None if ends is None else ends + timedelta(seconds=seconds)


def _cleared_conditions(
    workload: kueue.Workload, evicted: lws.Condition, *, now: datetime
) -> list[dict[str, Any]]:
    stored = {one["type"]: one for one in workload.stored_status.get("conditions") or ()}
    changed = {
        state.QUOTA_RESERVED: (False, "Pending", evicted.message),
        state.ADMITTED: (False, "NoReservation", "The workload has no reservation"),
        state.REQUEUED: (
            evicted.reason in _REQUEUED_AT_ONCE,
            _requeue_reason(evicted.reason),
            evicted.message,
        ),
    }
    if state.ADMITTED not in stored:
        del changed[state.ADMITTED]
    if not workload.spec.active:
        # It has been done. Kueue may say so again while the group stops, and then would deactivate
        # the Workload whenever somebody activates it.
        stored.pop(_DEACTIVATION_TARGET, None)
    result: list[dict[str, Any]] = []
    for type_ in admission_status.CONDITIONS:
        if type_ in changed:
            status, reason, message = changed[type_]
            result.append(conditions.updated(workload, type_, status, reason, message, now=now))
        elif type_ in stored:
            result.append(stored[type_])
    return result


def _requeue_reason(evicted: str) -> str:
    """Return the reason by which Kueue knows when to requeue: the eviction's.

    Kueue lets a Workload that is activated again back into the queue for the bare reason only. With
    the cause in it, setting spec.active to true would be without effect for ever.
    """
    return _DEACTIVATED if evicted.startswith(_DEACTIVATED) else evicted


def _execution_seconds(workload: kueue.Workload, *, now: datetime) -> int | None:
    """Return the seconds the group was admitted in all, None when it never was.

    A group that used up its time begins anew when somebody activates it: Kueue has dropped the
    sum by then, and what was added to nothing would end the next start at once.
    """
    evicted = workload.condition(state.EVICTED)
    if evicted is not None and evicted.reason == _OUT_OF_TIME:
        return None
    past = workload.status.accumulated_past_execution_time_seconds
    admitted = workload.condition(state.ADMITTED)
    if admitted is None or admitted.status != "True":
        return past
    since = conditions.moment(admitted.last_transition_time)
    if since is None:
        return past
    return (past or 0) + max(0, int((now - since).total_seconds()))
