"""Why groups of a set wait, from what is known of its queue, its Workloads and its pods."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from itertools import islice
from typing import Final, Literal

from lws_kueue.api import kueue, lws, names, reasons
from lws_kueue.api.indices import Indices
from lws_kueue.api.reasons import Reason
from lws_kueue.controller.admission import admissions
from lws_kueue.controller.observe import groups, observed
from lws_kueue.workload import naming, state
from lws_kueue.workload.pods import keeps_name

# How many groups without a Workload are looked at, and how many get one, in one pass.
MOST_NEW: Final = 500

REFUSED: Final = "FailedCreate"

_BEING_MADE: Final = Reason(
    "PodsMissing",
    "its pods are being made; it asks for quota when they are there",
    waits=True,
    warns=False,
)

_KEPT: Final = Reason(
    "PodsMissing",
    "a pod of it was stopped again and again, and none is made in its place for a while",
    waits=True,
    warns=False,
)


def condition(found: Collection[Reason]) -> lws.Condition | None:
    """Return the condition that says what groups wait for."""
    return reasons.condition(names.WAITING, found)


def why(
    seen: observed.Observed,
    owner: lws.LeaderWorkerSet,
    workload: kueue.Workload | None,
    *,
    problem: Reason | None = None,
) -> Reason | None:
    """Return why a group waits, None if it may run; ``problem`` is what keeps it from going on."""
    checks = seen.kueue.admission_checks
    return state.why_waiting(workload, _queues(seen, owner), checks, problem=problem)


def whys(
    seen: observed.Observed,
    owner: lws.LeaderWorkerSet,
    admitted: admissions.Admissions,
    held: Indices,
    *,
    problems: Mapping[int, Reason],
) -> dict[int, Reason | None]:
    """Return why the groups ``held`` wait, by index; ``problems`` keep some of them."""
    if not held:
        return {}
    queues, checks = _queues(seen, owner), seen.kueue.admission_checks
    # A queue counts what waits in it, so it changes all the time: this is what matters of it.
    of_queue = (queues.support, queues.detail, state.queue_trouble(queues), queues.where)
    known = seen.memo.each(
        "why",
        lambda _, workload: state.why_waiting(workload, queues, checks),
        admitted.workloads,
        given=(of_queue, checks),
    )
    return {
        index: known.get(index)
        if index in admitted.workloads and index not in problems
        else why(seen, owner, admitted.workloads.get(index), problem=problems.get(index))
        for index in held
    }


def for_pods(
    seen: observed.Observed,
    owner: lws.LeaderWorkerSet,
    admitted: admissions.Admissions,
    *,
    wanted: int,
    desired: Indices,
) -> dict[int, Reason]:
    """Return why groups without a Workload, that get none in this pass, do not ask for quota."""
    missing = tuple(islice(Indices(range(wanted)) - desired, MOST_NEW))
    if not missing:
        return {}
    queues = _queues(seen, owner)
    trouble = state.missing(queues) if queues.copied else state.queue_trouble(queues) or _BEING_MADE
    stopped = {
        groups.index_of(seen.name, pod): _KEPT for pod in seen.pods.values() if keeps_name(pod)
    }
    found: dict[int, Reason] = {}
    for index in missing:
        if not admitted.taken_in(index):
            continue
        lack = admitted.short.of(index) if admitted.short else None
        refused = lack and Reason(REFUSED, lack.message, waits=True, warns=False, about=lack.about)
        found[index] = refused or stopped.get(index) or trouble
    return found


def behind_the_limit(
    admitted: admissions.Admissions,
    desired: Indices,
    held: Iterable[int],
    *,
    later: range,
    pending: int,
) -> tuple[Reason, ...]:
    """Tell that as many groups wait as may, and how many ``later`` ones are not asked for yet."""
    others = Indices(later) - desired - admitted.before - held
    if not others:
        return ()
    text = (
        f"{pending} groups wait; {len(others)} more are not asked for until some of"
        " them are admitted (setting maxPendingWorkloads)"
    )
    return (Reason("PendingLimit", text, groups=others, waits=True, warns=False),)


def missing_behind(
    seen: observed.Observed, owner: lws.LeaderWorkerSet, workloads: Mapping[int, kueue.Workload]
) -> tuple[Reason, ...]:
    """Tell a set whose groups run that something its queue needs has gone, such as a flavor.

    Nothing happens to what runs, so nothing else would tell before the next group has to wait.
    """
    if not seen.memo.each("admitted", _is_admitted, workloads):
        return ()
    trouble = state.queue_trouble(_queues(seen, owner))
    if trouble is None or not trouble.warns:
        return ()
    return (replace(trouble, waits=False),)


def _is_admitted(_index: int, workload: kueue.Workload) -> Literal[True] | None:
    return True if state.is_admitted(workload) else None


def name_taken(owner: lws.LeaderWorkerSet, taken: Reason) -> Reason:
    """Return why all groups wait of a set whose leader StatefulSet cannot be made."""
    groups = range(owner.spec.replicas)
    return replace(taken, code="StatefulSetNameTaken", groups=groups, waits=True, warns=False)


def manager_unknown(seen: observed.Observed, *, wanted: int) -> Reason:
    """Return why all groups wait of a set of which nobody knows whether it is Kueue's own."""
    failed = f": {trouble}" if (trouble := seen.kueue.built_in_trouble) else ""
    return Reason(
        "ManagerUnknown",
        "the set has the mark of Kueue's own LeaderWorkerSet integration, and nobody knows whether"
        f" that is on in namespace {seen.namespace}, because the dry run fails that would show"
        f" it{failed}",
        fix="Let one more LeaderWorkerSet be created there, or take the annotation"
        f" {names.POD_SUSPENDING_PARENT} out of spec.leaderWorkerTemplate.workerTemplate",
        groups=range(wanted),
        waits=True,
    )


def asks(seen: observed.Observed, owner: lws.LeaderWorkerSet) -> bool:
    """Whether groups of a set may ask for quota in its queue.

    Not where MultiKueue would have to dispatch them and cannot: it has Kueue deactivate whatever
    asks, for good, while a group that has not asked goes on by itself once its queue is another.
    """
    return not _queues(seen, owner).undispatched


def dispatcher(seen: observed.Observed, owner: lws.LeaderWorkerSet) -> str:
    """Return a check of a set's queue by which MultiKueue is to dispatch it, "" for none."""
    local = seen.kueue.local_queues.get(owner.queue_name)
    queue = seen.kueue.cluster_queues.get(local.cluster_queue) if local else None
    if queue is None:
        return ""
    asked = (rule.name for rule in queue.admission_checks_strategy.admission_checks)
    found = (seen.kueue.admission_checks.get(name) for name in asked)
    dispatchers = (
        check.meta.name
        for check in found
        if check is not None and check.controller_name == names.MULTIKUEUE_CONTROLLER
    )
    return next(dispatchers, "")


def _queues(seen: observed.Observed, owner: lws.LeaderWorkerSet) -> state.Queues:
    local = seen.kueue.local_queues.get(owner.queue_name)
    return state.Queues(
        queue=owner.queue_name,
        local_queue=local,
        cluster_queue=seen.kueue.cluster_queues.get(local.cluster_queue) if local else None,
        support=seen.kueue.support,
        detail=seen.kueue.detail,
        # It can where Kueue's own integration is on, and maybe where nobody knows.
        undispatched=dispatcher(seen, owner) if seen.kueue.built_in is False else "",
        copied=naming.is_copy(owner.meta),
    )
