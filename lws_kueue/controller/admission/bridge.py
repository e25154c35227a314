"""The bridge to Kueue for one set: Workloads, release, stopping, and why a group waits.

Each group stands for itself (kueue-contract 8.2): what one Workload does or lacks never touches
the pods of another. Nothing here decides about quota; Kueue's conditions are read and followed.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Final

from lws_kueue.api import actions, facts, kueue, lws, names
from lws_kueue.controller.admission import admissions, built_in
from lws_kueue.controller.observe import groups, observed, scope
from lws_kueue.workload import build, diff, eviction, fitness, pods, pods_ready, release, state
from lws_kueue.workload.problems import Problem

# Our own condition. It stands only while groups wait, so a set that runs has upstream's status.
WAITING: Final = "WaitingForAdmission"

# How many different explanations one message holds; the Workloads tell the rest.
MOST_EXPLAINED: Final = 5

# How many Workloads one pass makes for a set at most.
MOST_NEW: Final = 500

_BEING_MADE: Final = state.Waiting(
    "PodsMissing", "its pods are being made; it asks for quota when they are there"
)

# Waiting for quota is Kueue's daily business; these are for somebody to repair.
_FOR_PEOPLE: Final = frozenset(
    {
        "KueueMissing",
        "KueueUnsupported",
        "LocalQueueMissing",
        "ClusterQueueMissing",
        "ClusterQueueInactive",
        "WorkloadFinished",
        "QueueNotSet",
    }
)


@dataclass(frozen=True, slots=True)
class Bridged:
    """What the bridge wants; ``stopping`` are the groups whose pods it stops itself."""

    chains: tuple[actions.Chain, ...] = ()
    warnings: tuple[actions.Event, ...] = ()
    waiting: lws.Condition | None = None
    stopping: frozenset[int] = frozenset()
    recheck_after: float | None = None


def plan(
    at: scope.Scope,
    stand: admissions.Admissions,
    *,
    wanted: int,
    options: build.Options,
    now: datetime,
) -> Bridged:
    """Return what to do about the Workloads and the pods of a set with ``wanted`` groups."""
    seen, owner = at.seen, at.owner
    if at.managed_by.built_in:
        return _stood_down(at, options=options)
    if not at.managed_by.gates:
        return _given_up(at, options=options, now=now)
    if seen.kueue.support != "served":
        return _explained(dict.fromkeys(range(wanted), _why(seen, owner, None)))
    desired = _desired(stand, wanted=wanted)
    changes = diff.changes(
        owner,
        seen.workloads.values(),
        wanted={index: stand.wanted(index) for index in desired},
        pods=stand.pods,
        classes=build.PriorityClasses(
            workload=seen.kueue.workload_priority_classes, pod=seen.kueue.priority_classes
        ),
        options=options,
        now=now,
    )
    scene = _Scene(seen, owner, stand, now=now)
    steps = _steps(scene, changes, wanted=wanted)
    problems = {index: step.problem for index, step in steps.items() if step.problem}
    problems |= changes.problems
    explained = _explained(
        {
            index: _why(seen, owner, stand.workloads.get(index), problem=problems.get(index))
            for index in desired
            # A change that has to wait is worth a warning, but its group waits for nothing.
            if stand.taken_in(index)
            and not (index in changes.problems and scene.may_run(stand.workloads.get(index)))
        }
        | _waits_for_pods(seen, owner, stand, wanted=wanted, desired=desired)
    )
    rechecks = (changes.recheck_after, *(step.recheck_after for step in steps.values()))
    return Bridged(
        chains=(*changes.chains, *(chain for step in steps.values() for chain in step.chains)),
        warnings=tuple(
            dict.fromkeys(
                (
                    *(p.event for p in problems.values()),
                    *explained.warnings,
                    *_missing_behind(seen, owner, stand),
                )
            )
        ),
        waiting=explained.waiting,
        stopping=frozenset(index for index, step in steps.items() if step.stopping),
        recheck_after=min((wait for wait in rechecks if wait is not None), default=None),
    )


def _stood_down(at: scope.Scope, *, options: build.Options) -> Bridged:
    """Leave a set to Kueue's built-in integration, but for what that cannot take over."""
    stops = built_in.stops(at, options=options)
    writes: actions.Chain = (
        *built_in.marks(at, options=options),
        *(deletion for stop in stops.values() for deletion in stop),
    )
    return Bridged(
        chains=tuple((write,) for write in writes),
        warnings=built_in.warnings(at.owner),
        stopping=frozenset(stops),
    )


def _given_up(at: scope.Scope, *, options: build.Options, now: datetime) -> Bridged:
    """Remove the Workloads of a set that waits for Kueue no longer.

    Each goes when nothing of what was released under it can run any more; what its templates make
    by now runs without it. What Kueue takes back until then is stopped.
    """
    if not at.seen.workloads:
        return Bridged()
    released = tuple(pod for pod in at.found.pods if names.WORKLOAD in pod.meta.annotations)
    given = at.seen.workloads.values()
    changes = diff.changes(
        at.owner,
        given,
        wanted={},
        # They are told apart by the Workload that they carry, not by their group.
        pods={-1: released},
        classes=build.PriorityClasses(),
        options=options,
        now=now,
    )
    stops = {
        index: eviction.stop(workload, (pod for pod in released if _is_under(workload, pod)))
        for index, workload in diff.serving(at.owner.meta, given, options=options).items()
        if state.admission(workload) is state.Admission.EVICTED
    }
    return Bridged(
        chains=(*changes.chains, *((deletion,) for stop in stops.values() for deletion in stop)),
        stopping=frozenset(index for index, stop in stops.items() if stop),
    )


def _is_under(workload: kueue.Workload, pod: facts.Pod) -> bool:
    return pod.meta.annotations.get(names.WORKLOAD) == workload.meta.name


def _desired(stand: admissions.Admissions, *, wanted: int) -> tuple[int, ...]:
    """Return the indices of the groups that are to have a Workload after this pass.

    A set that is scaled to a million groups gets them some at a time: all other sets wait while a
    pass decides. Each pass that writes is followed by the next one.
    """
    existing = {index for index in stand.workloads if index < wanted}
    missing = (
        index
        for index in sorted(stand.own)
        if index < wanted and index not in existing and stand.may_ask(index)
    )
    return tuple(sorted({*existing, *islice(missing, MOST_NEW)}))


def _waits_for_pods(
    seen: observed.Observed,
    owner: lws.LeaderWorkerSet,
    stand: admissions.Admissions,
    *,
    wanted: int,
    desired: Collection[int],
) -> dict[int, state.Waiting | None]:
    """Return why groups without a Workload, that get none in this pass, do not ask for quota."""
    known = frozenset(desired)
    waiting = islice((index for index in range(wanted) if index not in known), MOST_NEW)
    trouble = state.queue_trouble(_queues(seen, owner)) or _BEING_MADE
    found: dict[int, state.Waiting | None] = {}
    for index in waiting:
        if not stand.taken_in(index):
            continue
        lack = stand.short.of(index) if stand.short else None
        found[index] = state.Waiting("FailedCreate", lack.message) if lack else trouble
    return found


class _Scene:
    """What the steps for one group may look at."""

    def __init__(
        self,
        seen: observed.Observed,
        owner: lws.LeaderWorkerSet,
        stand: admissions.Admissions,
        *,
        now: datetime,
    ) -> None:
        self.checks = seen.kueue.admission_checks
        self.flavors = seen.kueue.flavors
        self.nodes = seen.nodes
        self.now = now
        self.stand = stand
        self.groups = stand.own
        self.pods = stand.pods
        self._size = owner.spec.leader_worker_template.size

    def size(self, index: int) -> int:
        """How many pods the group has when it is complete."""
        return self.groups[index].size if index in self.groups else self._size

    def may_run(self, workload: kueue.Workload | None) -> bool:
        """Whether pods may be released under the Workload."""
        return workload is not None and state.may_run(workload, self.checks)


def _steps(scene: _Scene, changes: diff.Changes, *, wanted: int) -> dict[int, "_Step"]:
    """Return what each group's Workload asks for.

    What has no Workload and gets none in this pass, or leaves with an evicted one, is only stopped.
    Nothing is done to a group from before the set waited for Kueue: the rollout takes it in when
    its turn comes, and until then it goes on as it did.
    """
    workloads = scene.stand.workloads
    steps = {
        index: _group(scene, index, workload)
        for index, workload in workloads.items()
        if index < wanted and scene.stand.taken_in(index)
    }
    unserved = {
        index: None
        for index in scene.pods
        if index < wanted
        and index not in workloads
        and (
            index in changes.problems
            or scene.stand.wanted(index).content is None
            or not scene.stand.may_ask(index)
        )
        and scene.stand.taken_in(index)
    }
    leaving = {index: w for index, w in workloads.items() if index >= wanted}
    return (
        steps
        | {
            index: _stopped(scene, index, workload)
            for index, workload in {**unserved, **leaving}.items()
        }
        | {
            index: _before_its_turn(scene, index, workload)
            for index, workload in workloads.items()
            if index < wanted and not scene.stand.taken_in(index)
        }
    )


@dataclass(frozen=True, slots=True)
class _Step:
    """What one group's Workload asks for."""

    chains: tuple[actions.Chain, ...] = ()
    problem: Problem | None = None
    stopping: bool = False
    recheck_after: float | None = None


def _group(scene: _Scene, index: int, workload: kueue.Workload) -> _Step:
    """Follow one Workload: release, report readiness, or stop.

    Only pods that the chain of ownership puts into the group are ever released; what merely had
    its place there is stopped with it.
    """
    group = scene.groups.get(index)
    own = group.pods if group else ()
    report = pods_ready.condition_write(workload, own, size=scene.size(index), now=scene.now)
    reported: tuple[actions.Chain, ...] = ((report,),) if report else ()
    if state.must_stop(workload):
        return _stop(scene, index, workload, reported=reported)
    if not scene.may_run(workload):
        return _Step(chains=reported)
    if (problem := _unfit(scene, index, workload)) is not None:
        return _Step(chains=reported, problem=problem)
    return _let_go(scene, workload, own, reported=reported)


def _let_go(
    scene: _Scene,
    workload: kueue.Workload,
    own: tuple[facts.Pod, ...],
    *,
    reported: tuple[actions.Chain, ...],
) -> _Step:
    """Release the gated pods of an admitted group, but for those that no node takes now."""
    planned, problems = release.plan_release(workload, own, flavors=scene.flavors)
    released, unfit = fitness.keep_off(planned, own, nodes=scene.nodes, now=scene.now)
    waiting, again = fitness.told_waiting(own, workload, now=scene.now)
    chains: tuple[actions.Chain, ...] = ((released,),) if released else ()
    return _Step(
        chains=(*chains, *reported),
        problem=next(iter((*problems, *((unfit,) if unfit else ()), *waiting)), None),
        recheck_after=fitness.LOOK_AGAIN if unfit else again,
    )


def _unfit(scene: _Scene, index: int, workload: kueue.Workload) -> Problem | None:
    """Return why the pods of a group may not run on the admission that its Workload has."""
    if (what := scene.stand.outdated.get(index)) is not None:
        message = (
            f"Workload {workload.meta.name} was admitted for something else: {what} changed;"
            " the group waits for another admission"
        )
        return Problem("WorkloadOutdated", message)
    if (why := scene.stand.in_vain.get(index)) is not None:
        return Problem("FailedCreate", why)
    content = scene.stand.wanted(index).content
    if content is not None and content.shape is not None:
        return None
    if not any(pods.gated(pod) for pod in scene.pods.get(index, ())):
        return None
    message = (
        f"nobody can tell whether Workload {workload.meta.name} is for the pods of group {index}:"
        " their ControllerRevision is missing or cannot be used, or their topology annotations are"
        " invalid"
    )
    return Problem("RevisionUnknown", message)


def _before_its_turn(scene: _Scene, index: int, workload: kueue.Workload) -> "_Step":
    """Follow the Workload of a group that is not taken in yet: none of its pods runs under it."""
    if state.must_stop(workload):
        cleared = eviction.clear_admission(workload, (), now=scene.now)
        return _Step(chains=((cleared,),) if cleared else ())
    own = scene.groups[index].pods
    report = pods_ready.condition_write(workload, own, size=scene.size(index), now=scene.now)
    return _Step(chains=((report,),) if report else ())


def _stopped(scene: _Scene, index: int, workload: kueue.Workload | None) -> _Step:
    """Stop the pods that were let go and that no admission stands behind any more.

    A worker StatefulSet without the gate, which somebody has taken out of it, would make the
    workers anew, ungated. It goes with its leader: in the foreground, so that it makes none while
    it waits for garbage collection.
    """
    if workload is not None and not state.must_stop(workload):
        return _Step()
    group = scene.groups.get(index)
    if group is not None and _makes_ungated(group):
        if group.leader.meta.deleting:
            return _Step(stopping=True)
        return _Step(chains=((eviction.replace_ungated(group.leader),),), stopping=True)
    deletions = eviction.stop(workload, scene.pods.get(index, ()))
    return _Step(chains=tuple((deletion,) for deletion in deletions), stopping=bool(deletions))


def _makes_ungated(group: groups.Group) -> bool:
    if group.worker_set is None:
        return False
    template = group.worker_set.spec.get("template") or {}
    gates = [gate.get("name") for gate in (template.get("spec") or {}).get("schedulingGates") or ()]
    # Those that Kueue has marked get the gate from the policy that gives pods their identity.
    labels = (template.get("metadata") or {}).get("labels") or {}
    marked = group.managed_by_kueue and names.QUEUE_NAME in labels
    return names.ADMISSION_GATE not in gates and not marked


def _stop(
    scene: _Scene, index: int, workload: kueue.Workload, *, reported: tuple[actions.Chain, ...]
) -> _Step:
    """Stop every pod that runs without quota, then give the quota back."""
    members = scene.pods.get(index, ())
    stopped = _stopped(scene, index, workload)
    cleared = eviction.clear_admission(workload, members, now=scene.now)
    chains = (*stopped.chains, *(((cleared,),) if cleared else ()))
    return _Step(
        chains=chains or reported,
        stopping=stopped.stopping or any(pods.could_run(pod) for pod in members),
        recheck_after=eviction.stuck_in(members, now=scene.now),
    )


def _why(
    seen: observed.Observed,
    owner: lws.LeaderWorkerSet,
    workload: kueue.Workload | None,
    *,
    problem: Problem | None = None,
) -> state.Waiting | None:
    queues = _queues(seen, owner)
    return state.why_waiting(workload, queues, seen.kueue.admission_checks, problem=problem)


def _queues(seen: observed.Observed, owner: lws.LeaderWorkerSet) -> state.Queues:
    local = seen.kueue.local_queues.get(owner.queue_name)
    return state.Queues(
        queue=owner.queue_name,
        local_queue=local,
        cluster_queue=seen.kueue.cluster_queues.get(local.cluster_queue) if local else None,
        support=seen.kueue.support,
        detail=seen.kueue.detail,
    )


def _missing_behind(
    seen: observed.Observed, owner: lws.LeaderWorkerSet, stand: admissions.Admissions
) -> tuple[actions.Event, ...]:
    """Tell a set whose groups run that something its queue needs has gone, such as a flavor.

    Nothing happens to what runs, so nothing else would tell before the next group has to wait.
    """
    if not any(state.is_admitted(workload) for workload in stand.workloads.values()):
        return ()
    trouble = state.queue_trouble(_queues(seen, owner))
    if trouble is None or trouble.reason not in _FOR_PEOPLE:
        return ()
    return (actions.Event("Warning", trouble.reason, trouble.message),)


def _explained(whys: Mapping[int, state.Waiting | None]) -> Bridged:
    """Put what the groups wait for into one condition, and what people must repair into events."""
    by_cause: dict[state.Waiting, list[int]] = {}
    for index, why in sorted(whys.items()):
        if why is not None:
            by_cause.setdefault(why, []).append(index)
    if not by_cause:
        return Bridged()
    parts = [
        f"{_numbered(indices)}: {why.message}"
        for why, indices in list(by_cause.items())[:MOST_EXPLAINED]
    ]
    if len(by_cause) > MOST_EXPLAINED:
        parts.append(f"and {len(by_cause) - MOST_EXPLAINED} more reasons")
    first = next(iter(by_cause))
    condition = lws.Condition(
        type=WAITING, status="True", reason=first.reason, message="; ".join(parts)
    )
    warnings = tuple(
        actions.Event("Warning", why.reason, why.message)
        for why in by_cause
        if why.reason in _FOR_PEOPLE
    )
    return Bridged(warnings=warnings, waiting=condition)


def name_taken(owner: lws.LeaderWorkerSet, message: str) -> lws.Condition:
    """Return the condition of a set whose leader StatefulSet cannot be made, so that all wait."""
    waiting = f"{_numbered(list(range(owner.spec.replicas)))}: {message}"
    return lws.Condition(
        type=WAITING, status="True", reason="StatefulSetNameTaken", message=waiting
    )


def _numbered(indices: list[int]) -> str:
    """Return "group 3" or "groups 0, 2-4"."""
    runs: list[list[int]] = []
    for index in indices:
        if runs and index == runs[-1][-1] + 1:
            runs[-1].append(index)
        else:
            runs.append([index])
    parts = [str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs]
    return f"{'group' if len(indices) == 1 else 'groups'} {', '.join(parts)}"
