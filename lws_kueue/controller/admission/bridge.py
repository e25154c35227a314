"""The bridge to Kueue for one set: Workloads, release, stopping, and why a group waits.

Nothing here decides about quota; Kueue's conditions are read and followed.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from itertools import islice

from lws_kueue.api import actions, derived, kueue, reasons
from lws_kueue.api.reasons import Reason
from lws_kueue.controller.admission import admissions, built_in, follow, unmanaged, waiting
from lws_kueue.controller.observe import scope
from lws_kueue.workload import backing, build, diff, state


def plan(
    at: scope.Scope,
    admitted: admissions.Admissions,
    *,
    wanted: int,
    made: int,
    options: build.Options,
    now: datetime,
) -> actions.Part:
    """Return what to do about the Workloads and the pods of a set with ``wanted`` groups.

    Groups are made up to the index ``made`` only, if more would wait than may.
    """
    if at.managed_by.built_in:
        return built_in.plan(at, options=options)
    if not at.managed_by.gates:
        return unmanaged.plan(at, options=options, now=now)
    if at.seen.kueue.support != "served":
        why = waiting.why(at.seen, at.owner, None)
        return actions.Part(reasons=(replace(why, groups=range(wanted)),) if why and wanted else ())
    if at.managed_by is scope.ManagedBy.UNKNOWN:
        return _held(at, admitted, wanted=wanted, options=options, now=now)
    return _bridged(at, admitted, wanted=wanted, made=made, options=options, now=now)


def unadmitted(at: scope.Scope, admitted: admissions.Admissions, *, wanted: int) -> frozenset[int]:
    """Return the groups of which no pod may run now, by index; none where that is not for us."""
    if at.seen.kueue.support != "served":
        return frozenset()
    return frozenset(
        index
        for index in admitted.pods
        if index < wanted
        and admitted.taken_in(index)
        and ((found := admitted.workloads.get(index)) is None or state.must_stop(found))
    )


def _held(
    at: scope.Scope,
    admitted: admissions.Admissions,
    *,
    wanted: int,
    options: build.Options,
    now: datetime,
) -> actions.Part:
    """Let nothing go of a set, and ask for nothing, because that may be Kueue's own to do."""
    scene = follow.Scene(at.seen, at.owner, admitted, terms=_terms(at, options), now=now)
    stops = actions.joined(_steps(scene, wanted=wanted).values())
    why = waiting.manager_unknown(at.seen, wanted=wanted)
    return stops + actions.Part(reasons=(why,) if wanted else ())


def _bridged(
    at: scope.Scope,
    admitted: admissions.Admissions,
    *,
    wanted: int,
    made: int,
    options: build.Options,
    now: datetime,
) -> actions.Part:
    seen, owner = at.seen, at.owner
    pending = len(_pending(admitted, wanted=wanted))
    desired = _desired(admitted, wanted=wanted, free=max(0, options.max_pending - pending))
    classes = build.PriorityClasses(
        workload=seen.kueue.workload_priority_classes, pod=seen.kueue.priority_classes
    )
    changes = diff.changes(
        at.asked,
        seen.workloads.values(),
        wanted={index: admitted.wanted(index) for index in desired},
        pods=admitted.pods,
        classes=seen.memo.same("classes", classes),
        options=options,
        now=now,
    )
    scene = follow.Scene(seen, owner, admitted, terms=_terms(at, options), now=now)
    unchanged = {index: reason for reason in changes.reasons for index in reason.groups}
    steps = _steps(scene, wanted=wanted)
    problems = {
        i: reason for step in steps.values() for reason in step.reasons for i in reason.groups
    }
    problems |= unchanged
    # A change that has to wait is worth a warning, but its group waits for nothing.
    run = admitted.running - (problems.keys() - unchanged.keys())
    held = {
        index: waiting.why(seen, owner, admitted.workloads.get(index), problem=problems.get(index))
        for index in desired
        if index not in run and admitted.taken_in(index)
    }
    at_limit = pending >= options.max_pending
    lacking = waiting.for_pods(seen, owner, admitted, wanted=made, desired=desired)
    if at_limit:
        lacking = {i: why for i, why in lacking.items() if why.code == waiting.REFUSED}
    held |= lacking
    left = waiting.behind_the_limit(
        admitted,
        {*desired, *held},
        later=range(0 if at_limit else made, wanted),
        pending=pending if at_limit else len(admitted.waiting.queued.below(made)),
    )
    explained = (
        *(problem for index, problem in problems.items() if index not in held),
        *reasons.merged(why.of(index) for index, why in held.items() if why is not None),
        *left,
        *waiting.missing_behind(seen, owner, admitted.workloads),
    )
    return replace(actions.joined((changes, *steps.values())), reasons=explained)


def _terms(at: scope.Scope, options: build.Options) -> backing.Terms:
    return at.seen.memo.same("terms", at.seen.terms(options))


def _desired(admitted: admissions.Admissions, *, wanted: int, free: int) -> tuple[int, ...]:
    """Return the indices of the groups that are to have a Workload after this pass.

    Of those that have none ``free`` may begin to wait.
    A set that is scaled to a million groups gets them some at a time: all other sets wait while a
    pass decides, and Kueue keeps every Workload that waits. Each pass that writes is followed by
    the next one. Groups from before the set waited for Kueue run, so they are counted at once.
    """
    existing = {index for index in admitted.workloads if index < wanted}
    missing = [
        index
        for index in sorted(admitted.own)
        if index < wanted and index not in existing and admitted.may_ask(index)
    ]
    waits = islice((index for index in missing if admitted.taken_in(index)), free)
    runs = (index for index in missing if not admitted.taken_in(index))
    return tuple(sorted({*existing, *islice((*runs, *waits), waiting.MOST_NEW)}))


def _pending(admitted: admissions.Admissions, *, wanted: int) -> list[int]:
    """Return the groups that wait in a queue."""
    return [
        index
        for index, workload in admitted.workloads.items()
        if index < wanted
        and state.admission(workload) is state.Admission.PENDING
        and admitted.taken_in(index)
    ]


def _steps(scene: follow.Scene, *, wanted: int) -> dict[int, actions.Part]:
    """Return what each group's Workload asks for.

    What has no Workload, or goes with an evicted one, is only stopped.
    Nothing is done to a group from before the set waited for Kueue: the rollout takes it in when
    its turn comes, and until then it goes on as it did.
    """
    workloads = scene.admitted.workloads
    steps = {
        index: step
        for index, workload in workloads.items()
        if index < wanted and scene.admitted.taken_in(index)
        if (step := _step(scene, index, workload)) is not None
    }
    unserved = {
        index: None
        for index in scene.pods
        if index not in workloads and scene.admitted.taken_in(index)
    }
    surplus = {index: w for index, w in workloads.items() if index >= wanted}
    return (
        steps
        | {
            index: follow.stopped(scene, index, workload)
            for index, workload in {**unserved, **surplus}.items()
        }
        | {
            index: follow.before_its_turn(scene, index, workload)
            for index, workload in workloads.items()
            if index < wanted and not scene.admitted.taken_in(index)
        }
    )


def _step(scene: follow.Scene, index: int, workload: kueue.Workload) -> actions.Part | None:
    """Return what one group asks for; None for nothing, which is remembered."""
    given = scene.given(index)
    if derived.settled(workload, follow.__name__, given):
        return None
    step = _safely(follow.group, scene, index, workload)
    if step.nothing:
        derived.settle(workload, follow.__name__, given)
        return None
    return step


def _safely(
    step: Callable[[follow.Scene, int, kueue.Workload], actions.Part],
    scene: follow.Scene,
    index: int,
    workload: kueue.Workload,
) -> actions.Part:
    """Return what one group asks for; where that cannot be told, what stops it, and the error.

    What is written into one group must not keep the others from what they are admitted for.
    """
    try:
        return step(scene, index, workload)
    except Exception as fault:
        why = Reason(
            "InternalError",
            f"an error in the controller ({type(fault).__name__}) keeps it from deciding about"
            f" group {index}",
        )
        stop = follow.stopped(scene, index, workload)
        return stop + actions.Part(reasons=(why.of(index),), faults=(fault,))
