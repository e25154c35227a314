"""The bridge to Kueue for one set: Workloads, release, stopping, and why a group waits.

Nothing here decides about quota; Kueue's conditions are read and followed.
"""

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime
from itertools import islice

from lws_kueue.api import actions, reasons
from lws_kueue.controller.admission import admissions, built_in, follow, unmanaged, waiting
from lws_kueue.controller.observe import scope
from lws_kueue.workload import build, diff


def plan(
    at: scope.Scope,
    admitted: admissions.Admissions,
    *,
    wanted: int,
    options: build.Options,
    now: datetime,
) -> actions.Part:
    """Return what to do about the Workloads and the pods of a set with ``wanted`` groups."""
    if at.managed_by.built_in:
        return built_in.plan(at, options=options)
    if not at.managed_by.gates:
        return unmanaged.plan(at, options=options, now=now)
    if at.seen.kueue.support != "served":
        why = waiting.why(at.seen, at.owner, None)
        return actions.Part(reasons=(replace(why, groups=range(wanted)),) if why and wanted else ())
    return _bridged(at, admitted, wanted=wanted, options=options, now=now)


def _bridged(
    at: scope.Scope,
    admitted: admissions.Admissions,
    *,
    wanted: int,
    options: build.Options,
    now: datetime,
) -> actions.Part:
    seen, owner = at.seen, at.owner
    desired = _desired(admitted, wanted=wanted)
    changes = diff.changes(
        owner,
        seen.workloads.values(),
        wanted={index: admitted.wanted(index) for index in desired},
        pods=admitted.pods,
        classes=build.PriorityClasses(
            workload=seen.kueue.workload_priority_classes, pod=seen.kueue.priority_classes
        ),
        options=options,
        now=now,
    )
    scene = follow.Scene(seen, owner, admitted, now=now)
    unchanged = {index: reason for reason in changes.reasons for index in reason.groups}
    steps = _steps(scene, unchanged, wanted=wanted)
    problems = {
        i: reason for step in steps.values() for reason in step.reasons for i in reason.groups
    }
    problems |= unchanged
    held = {
        index: waiting.why(seen, owner, admitted.workloads.get(index), problem=problems.get(index))
        for index in desired
        # A change that has to wait is worth a warning, but its group waits for nothing.
        if admitted.taken_in(index)
        and not (index in unchanged and scene.may_run(admitted.workloads.get(index)))
    } | waiting.for_pods(seen, owner, admitted, wanted=wanted, desired=desired)
    explained = (
        *(problem for index, problem in problems.items() if index not in held),
        *reasons.merged(why.of(index) for index, why in held.items() if why is not None),
        *waiting.missing_behind(seen, owner, admitted.workloads),
    )
    return replace(actions.joined((changes, *steps.values())), reasons=explained)


def _desired(admitted: admissions.Admissions, *, wanted: int) -> tuple[int, ...]:
    """Return the indices of the groups that are to have a Workload after this pass.

    A set that is scaled to a million groups gets them some at a time: all other sets wait while a
    pass decides. Each pass that writes is followed by the next one.
    """
    existing = {index for index in admitted.workloads if index < wanted}
    missing = (
        index
        for index in sorted(admitted.own)
        if index < wanted and index not in existing and admitted.may_ask(index)
    )
    return tuple(sorted({*existing, *islice(missing, waiting.MOST_NEW)}))


def _steps(
    scene: follow.Scene, problems: Collection[int], *, wanted: int
) -> dict[int, actions.Part]:
    """Return what each group's Workload asks for.

    What has no Workload and gets none in this pass, or goes with an evicted one, is only stopped.
    Nothing is done to a group from before the set waited for Kueue: the rollout takes it in when
    its turn comes, and until then it goes on as it did.
    """
    workloads = scene.admitted.workloads
    steps = {
        index: follow.group(scene, index, workload)
        for index, workload in workloads.items()
        if index < wanted and scene.admitted.taken_in(index)
    }
    unserved = {
        index: None
        for index in scene.pods
        if index < wanted
        and index not in workloads
        and (
            index in problems
            or scene.admitted.wanted(index).content is None
            or not scene.admitted.may_ask(index)
        )
        and scene.admitted.taken_in(index)
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
