"""The bridge to Kueue for one set: Workloads, release, stopping, and why a group waits.

Nothing here decides about quota; Kueue's conditions are read and followed.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from itertools import islice
from typing import Literal

from lws_kueue.api import actions, kueue, reasons
from lws_kueue.api.indices import Indices
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

    Groups are made up to the index ``made`` only, in this pass or when those before them have their
    pods, if more would wait than may.
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
    scene = _scene(at, admitted, options=options, now=now)
    stops = actions.joined(_steps(at, scene, wanted=wanted))
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
    memo = seen.memo
    queued = memo.whole("pending", Indices, memo.each("pending", _pending, admitted.workloads))
    pending = len(queued.below(wanted) - admitted.before)
    free = max(0, options.max_pending - pending)
    asks = waiting.asks(seen, owner)
    desired = _desired(admitted, wanted=wanted, free=free, asks=asks)
    classes = build.PriorityClasses(
        workload=seen.kueue.workload_priority_classes, pod=seen.kueue.priority_classes
    )
    changes = diff.changes(
        at.asked,
        seen.workloads,
        wanted=_wanted(at, admitted, desired),
        pods=admitted.pods,
        classes=memo.same("classes", classes),
        options=options,
        now=now,
        known=memo,
        kept=at.dispatched,
    )
    scene = _scene(at, admitted, options=options, now=now)
    unchanged = {index: reason for reason in changes.reasons for index in reason.groups}
    steps = _steps(at, scene, wanted=wanted)
    problems = {i: reason for step in steps for reason in step.reasons for i in reason.groups}
    problems |= unchanged
    # A change that has to wait is worth a warning, but its group waits for nothing.
    run = admitted.running - (problems.keys() - unchanged.keys())
    held = waiting.whys(seen, owner, admitted, desired - run - admitted.before, problems=problems)
    at_limit = pending >= options.max_pending
    lacking = waiting.for_pods(seen, owner, admitted, wanted=made, desired=desired)
    if at_limit:
        lacking = {i: why for i, why in lacking.items() if why.code == waiting.REFUSED}
    held |= lacking
    left = waiting.behind_the_limit(
        admitted,
        desired,
        held,
        later=range(0 if at_limit else made, wanted),
        pending=pending if at_limit else len(admitted.waiting.queued.below(made)),
    )
    explained = (
        *(problem for index, problem in problems.items() if index not in held),
        *reasons.by_cause(held),
        *left,
        *waiting.missing_behind(seen, owner, admitted.workloads),
    )
    return replace(actions.joined((changes, *steps)), reasons=explained)


def _scene(
    at: scope.Scope, admitted: admissions.Admissions, *, options: build.Options, now: datetime
) -> follow.Scene:
    return follow.Scene(
        at.seen,
        at.owner,
        admitted,
        terms=_terms(at, options),
        now=now,
        alone=not at.dispatched,
        barred=at.barred,
    )


def _terms(at: scope.Scope, options: build.Options) -> backing.Terms:
    return at.seen.memo.same("terms", at.seen.terms(options))


def _desired(admitted: admissions.Admissions, *, wanted: int, free: int, asks: bool) -> Indices:
    """Return the indices of the groups that are to have a Workload after this pass.

    Of those that have none ``free`` may begin to wait, if any ``asks``.
    A set that is scaled to a million groups gets them some at a time: all other sets wait while a
    pass decides, and Kueue keeps every Workload that waits. Each pass that writes is followed by
    the next one. Groups from before the set waited for Kueue run, so they are counted at once.
    """
    missing = [
        index
        for index in sorted(admitted.own.keys() - admitted.workloads.keys())
        if asks and index < wanted and admitted.may_ask(index)
    ]
    waits = islice((index for index in missing if admitted.taken_in(index)), free)
    runs = (index for index in missing if not admitted.taken_in(index))
    new = Indices(islice((*runs, *waits), waiting.MOST_NEW))
    return Indices(admitted.workloads).below(wanted) | new


def _wanted(
    at: scope.Scope, admitted: admissions.Admissions, desired: Indices
) -> Mapping[int, diff.Wanted]:
    """Return what the Workload of each group that is to have one has to be for."""
    known = at.seen.memo.each(
        "wanted",
        lambda index, *_: admitted.wanted(index),
        admitted.workloads,
        admitted.own,
        admitted.outdated,
        admitted.in_vain,
        given=admitted.given,
    )
    if len(desired) == len(known) and (not known or desired.last() == max(known)):
        return known
    wanted = {index: known.get(index) or admitted.wanted(index) for index in desired}
    return at.seen.memo.each("wanted now", lambda _, one: one, wanted)


def _pending(_index: int, workload: kueue.Workload) -> Literal[True] | None:
    """Whether a group waits in a queue."""
    return True if state.admission(workload) is state.Admission.PENDING else None


def _steps(at: scope.Scope, scene: follow.Scene, *, wanted: int) -> tuple[actions.Part, ...]:
    """Return what each group's Workload asks for; those that ask for nothing are remembered.

    A step that asks for nothing does so at any time: what has to wait says for how long. Nor does
    it look at a node then, because it lets no pod go.
    """
    admitted, elsewhere = scene.admitted, at.elsewhere
    steps = at.seen.memo.each(
        "steps",
        lambda index, workload, *_: actions.unless_nothing(
            _step(scene, index, workload, wanted=wanted, elsewhere=elsewhere)
        ),
        admitted.workloads,
        admitted.own,
        admitted.pods,
        admitted.outdated,
        admitted.in_vain,
        given=(wanted, scene.terms, elsewhere, at.barred, *admitted.given),
        anew=True,
    )
    unserved = at.seen.memo.each(
        "unserved",
        lambda index, *_: actions.unless_nothing(_unserved(scene, index, wanted=wanted)),
        admitted.pods,
        admitted.workloads,
        admitted.own,
        given=(wanted, scene.terms),
        anew=True,
    )
    return (*steps.values(), *unserved.values())


def _step(
    scene: follow.Scene, index: int, workload: kueue.Workload, *, wanted: int, elsewhere: Indices
) -> actions.Part:
    """Return what the Workload of one group asks for.

    What goes with an evicted one, or is not wanted, is only stopped. Nothing is done to a group
    from before the set waited for Kueue: the rollout takes it in when its turn comes, and until
    then it goes on as it did.
    """
    if index in elsewhere:
        return follow.elsewhere(scene, index)
    if index >= wanted:
        return follow.stopped(scene, index, workload)
    if not scene.admitted.taken_in(index):
        return follow.before_its_turn(scene, index, workload)
    return _safely(follow.group, scene, index, workload)


def _unserved(scene: follow.Scene, index: int, *, wanted: int) -> actions.Part:
    """Stop what has no Workload, and is not from before the set waited, or not wanted any more."""
    if index in scene.admitted.workloads:
        return actions.Part()
    if index < wanted and not scene.admitted.taken_in(index):
        return actions.Part()
    return follow.stopped(scene, index, None)


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
