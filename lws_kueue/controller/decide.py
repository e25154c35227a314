"""The decision: from everything observed of a set to the plan of one pass. Read this first.

A pass is one level-triggered look (lws-contract 3.1 and 5.1, kueue-contract 8.2). It may be cut off
after any write; the next one starts from what is there. The order of a plan matters in two places
only: a revision exists before anything carries its key, and obsolete revisions go last.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime

from lws_kueue.api import actions, facts, lws, names
from lws_kueue.api.reasons import Reason
from lws_kueue.controller import (
    contradictions,
    finalizers,
    postponed,
    refusals,
    repairs,
    restarts,
    status,
)
from lws_kueue.controller.admission import (
    admissions,
    bridge,
    deletion,
    dispatching,
    managed_by,
    node_failures,
    node_fitness,
    shortages,
    stopped,
    waiting,
)
from lws_kueue.controller.objects import exclusive, name_claims
from lws_kueue.controller.objects import plan as objects
from lws_kueue.controller.observe import groups, members, observed, scope
from lws_kueue.controller.revision import revisions
from lws_kueue.controller.rollout import planner, replacement, revert
from lws_kueue.controller.rollout import target as rollout
from lws_kueue.workload import build, excess

# While a leader StatefulSet is on its way out nothing can be made in its place (lws-contract 3).
RECHECK_DELETING = 5.0
# A foreign object in our place may go at any time, and is not watched.
RECHECK_FOREIGN = 30.0
# An error may quote what it is about.
_MOST_OF_FAULT = 200


def decide(seen: observed.Observed, *, now: datetime, options: build.Options) -> actions.Plan:
    """Return what to do about a set now."""
    plan = refusals.told(_decide(seen, now=now, options=options), seen.attempts)
    return repairs.hold(plan, seen.attempts, occasion=seen.attempts.occasion(seen.lws), now=now)


def _decide(seen: observed.Observed, *, now: datetime, options: build.Options) -> actions.Plan:
    owner = seen.lws
    if owner is None or owner.meta.deleting:
        return _without_spec(seen, now=now, options=options)
    found = seen.found
    if found.foreign is not None:
        return _blocked(seen, owner, found.foreign, options=options, now=now)
    if found.leader_set is not None and found.leader_set.meta.deleting:
        return _until_deleted(seen, options=options, now=now)
    at = _scope(seen, owner)
    elsewhere = dispatching.of(at, options=options, now=now)
    return _plan(
        dispatching.located(at, elsewhere),
        elsewhere,
        now=now,
        options=dispatching.asked_for(options, elsewhere),
    )


def undecided(
    seen: observed.Observed, fault: Exception, *, now: datetime, options: build.Options
) -> actions.Plan:
    """Return what to do about a set of which the decision has failed with an error."""
    why = Reason(
        "InternalError",
        f"What to do about {seen.name} cannot be decided, because of an error in the controller"
        f" ({type(fault).__name__}: {str(fault)[:_MOST_OF_FAULT]}); pods that are not admitted are"
        " stopped, and nothing else is done",
        about=f"the decision: {type(fault).__name__}",
    )
    plan = _without_spec(seen, now=now, options=options)
    return replace(plan, reasons=(*plan.reasons, why), faults=(fault,))


def _without_spec(
    seen: observed.Observed, *, now: datetime, options: build.Options
) -> actions.Plan:
    """Return what to do about a set that is going, is gone or cannot be read."""
    reasons: tuple[Reason, ...] = ()
    if seen.invalid is not None:
        text = f"The stored spec is not valid and is left alone: {seen.invalid.problem}"
        reasons = (Reason("InvalidSpec", text),)
    admissions_alone = deletion.plan(seen, options=options, now=now)
    held = finalizers.of(seen, wanted=0, waits=False, now=now)
    elsewhere = dispatching.alone(seen, now=now)
    return actions.Plan.of(admissions_alone, elsewhere, held, actions.Part(reasons=reasons))


def _plan(
    at: scope.Scope,
    elsewhere: dispatching.Dispatching | None,
    *,
    now: datetime,
    options: build.Options,
) -> actions.Plan:
    """Return what to do about a live set that has its name to itself.

    ``elsewhere`` is what other clusters have to do with it, None for most sets.
    """
    short = shortages.Shortages(at, now=now)
    admitted = admissions.of(at, short, options=options, now=now)
    target, surge_until = rollout.next_target(at, admitted.waiting, now=now)
    wanted = max(at.owner.spec.replicas, target.replicas)
    soon = planner.may_wait(at.owner, leader_set=at.found.leader_set, waiting=admitted.waiting)
    soon = max(target.replicas, soon)
    bridged = bridge.plan(at, admitted, wanted=wanted, made=soon, options=options, now=now)
    taken_down = _takedowns(at, admitted, target, stopping=bridged.stopping)
    going = {taken.uid for taken in taken_down}
    rechecks = (surge_until, admitted.look_again)
    exceeding = frozenset(
        index for why in bridged.reasons if why.code == excess.EXCEEDS for index in why.groups
    )
    made = objects.plan(at, target, going=going, exceeding=exceeding)
    down = actions.each_alone(taken_down)
    whys = refusals.explained(at, admitted, bridged, others=(made, actions.Part(chains=down)))
    whys = postponed.explained(whys, bridged, seen=at.seen, now=now)
    held = finalizers.of(at.seen, wanted=wanted, waits=at.managed_by.stops, now=now)
    whys = finalizers.explained(held.reasons, whys)
    remote = elsewhere.plan(wanted=wanted) if elsewhere else actions.Part()
    if elsewhere:
        whys = dispatching.explained(remote, whys)
    placed = dispatching.condition(elsewhere, wanted=at.owner.spec.replicas)
    return actions.Plan.of(
        made,
        actions.Part(chains=down),
        replace(bridged, reasons=whys),
        replace(remote, reasons=()),
        _freed(at, admitted, wanted=wanted, now=now),
        deletion.former(at.seen),
        rollout.plan(at.owner, admitted.waiting, target, rechecks=rechecks),
        short.part(now=now),
        actions.Part(recheck_after=held.recheck_after),
        status.plan(at, whys, kept=options.revision_history_limit, now=now, placed=placed),
        actions.Part(reasons=contradictions.of(at)),
    )


def _freed(
    at: scope.Scope, admitted: admissions.Admissions, *, wanted: int, now: datetime
) -> actions.Part:
    """Give back names of pods that were stopped; most often none is kept."""
    kept = at.found.which(
        "finalizers", lambda group: any(pod.meta.finalizers for pod in group.pods)
    )
    if not kept and not any(pod.meta.finalizers for pod in at.found.outside):
        return actions.Part()
    waiting = bridge.unadmitted(at, admitted, wanted=wanted)
    return stopped.freed(at.seen, waiting=waiting, now=now)


def _scope(seen: observed.Observed, owner: lws.LeaderWorkerSet) -> scope.Scope:
    """Return what there is of a live set: who manages it, its groups, its revision."""
    manager = managed_by.of(seen, owner)
    found = groups.compared(
        seen.found, gated=manager.gates, past=seen.past, revisions=seen.revisions.values()
    )
    mine = _own_revisions(seen, owner)
    kept = _kept_revisions(seen, owner)
    leader_key = revisions.key_of_set(found.leader_set, mine)
    return scope.Scope(
        seen=seen,
        owner=owner,
        asked=seen.memo.same("set", owner.asked),
        found=found,
        own_revisions=mine,
        kept_revisions=kept,
        choice=revisions.choose(
            owner, revisions=mine, leader_key=leader_key, taken=seen.revisions.keys(), kept=kept
        ),
        managed_by=manager,
    )


def _own_revisions(
    seen: observed.Observed, owner: lws.LeaderWorkerSet
) -> tuple[facts.Revision, ...]:
    """Return the revisions of a set; each of its StatefulSets has some of its own beside them."""
    own = seen.memo.each(
        "own revisions",
        lambda _, revision: revision if revisions.is_own(owner, revision.meta) else None,
        seen.revisions,
        given=(owner.meta.uid, owner.meta.name),
    )
    return tuple(own.values())


def _kept_revisions(
    seen: observed.Observed, owner: lws.LeaderWorkerSet
) -> tuple[facts.Revision, ...]:
    """Return the revisions of a set that are kept to go back to."""
    kept = seen.memo.each(
        "kept revisions",
        lambda _, revision: revision if revisions.is_kept_of(owner, revision.meta) else None,
        seen.revisions,
        given=(owner.meta.uid,),
    )
    return tuple(kept.values())


Takedown = Callable[[frozenset[int]], tuple[actions.Delete, ...]]


def _takedowns(
    at: scope.Scope,
    admitted: admissions.Admissions,
    target: planner.Target,
    *,
    stopping: frozenset[int],
) -> tuple[actions.Delete, ...]:
    """Return the deletions of what failed, of what lost its node, and of groups that are outdated.

    Their precedence is their order here. A group that one of them takes down as a whole is nobody
    else's, and first of all those are not that the bridge stops (``stopping``). A pod that lost its
    node is not its group, which may be outdated as well.
    """
    taken: list[actions.Delete] = []
    alone = stopping
    moved = node_failures.moved(at.seen, admitted)
    for takedown in (
        _restarts(at, admitted, moved),
        _displaced(at, admitted, moved),
        *_outdated(at, admitted, target),
    ):
        deletions = takedown(alone)
        taken += deletions
        whole = {one.uid for one in deletions if one.propagation == "Foreground"}
        if whole:
            alone |= {g.index for g in at.found.groups if g.leader.meta.uid in whole}
    return tuple(taken)


def _restarts(
    at: scope.Scope, admitted: admissions.Admissions, moved: node_failures.Moved
) -> Takedown:
    """Restart groups in which a pod failed; what becomes of those not admitted is no failure."""
    lost = _lost(at)
    disturbed = at.found.which("disturbed", lambda group: group.disturbed)
    concerned = sorted({*lost, *moved, *disturbed})
    return lambda alone: restarts.decide(
        at.owner,
        [at.found.by_index[index] for index in concerned],
        leave_alone=alone | admitted.waiting.groups,
        lost_pods=lost,
        moved={pod.meta.uid for pods in moved.values() for pod in pods},
    )


def _displaced(
    at: scope.Scope, admitted: admissions.Admissions, moved: node_failures.Moved
) -> Takedown:
    return lambda alone: node_failures.deletions(at.seen, admitted, moved=moved, leave_alone=alone)


def _outdated(
    at: scope.Scope, admitted: admissions.Admissions, target: planner.Target
) -> tuple[Takedown, ...]:
    """Replace groups that an update has reached, and take back those of one that was given up."""
    leader_set = at.found.leader_set
    bounds = planner.bounds_of(at.owner, leader_set=leader_set, waiting=admitted.waiting)
    stage = replacement.Stage(bounds, leader_set, target, at.found, at.choice.key)
    return (
        lambda alone: replacement.decide(stage, leave_alone=alone, waiting=admitted.waiting),
        lambda alone: revert.decide(stage, leave_alone=alone),
    )


def _lost(at: scope.Scope) -> Mapping[int, str]:
    """Return the worker pods that vanished between two looks, by group index."""
    return at.seen.memo.each(
        "lost",
        lambda _, group, before: (
            None
            if before is None or before is members.members(group)
            else restarts.lost(at.owner, before=before, group=group)
        ),
        at.found.by_index,
        at.seen.remembered,
        given=(at.asked,),
    )


def _until_deleted(
    seen: observed.Observed, *, options: build.Options, now: datetime
) -> actions.Plan:
    """Wait for a leader StatefulSet that is on its way out, and garbage collection to free it."""
    wait = actions.Part(recheck_after=RECHECK_DELETING)
    held = finalizers.of(seen, wanted=0, waits=False, now=now)
    elsewhere = dispatching.alone(seen, now=now)
    return actions.Plan.of(deletion.plan(seen, options=options, now=now), elsewhere, held, wait)


def _blocked(
    seen: observed.Observed,
    owner: lws.LeaderWorkerSet,
    foreign: facts.StatefulSet,
    *,
    options: build.Options,
    now: datetime,
) -> actions.Plan:
    """Wait for the name: garbage collection frees that of a former set, another's a person."""
    holder = foreign.meta.controller
    if holder is not None and (holder.kind, holder.name) == (names.LWS_KIND, seen.name):
        return _until_deleted(seen, options=options, now=now)
    taken = Reason(
        "FailedCreate",
        f"StatefulSet {foreign.meta.name} exists and {name_claims.holder(foreign.meta)}; it has the"
        " name that the leader StatefulSet needs",
        fix=name_claims.remedy(foreign.meta),
        about=f"the name of StatefulSet {foreign.meta.name}",
    )
    blocked = deletion.plan(seen, options=options, now=now) + actions.Part(
        reasons=(taken,), recheck_after=RECHECK_FOREIGN
    )
    if managed_by.of(seen, owner).stops and owner.spec.replicas:
        held = waiting.name_taken(owner, taken)
        blocked += actions.Part(reasons=(held,)) + status.blocked(seen, owner, (held,), now=now)
    return actions.Plan.of(blocked, dispatching.alone(seen, now=now))


def nodes_asked(seen: observed.Observed) -> frozenset[str]:
    """Return the names of the nodes that the next decision has to know about."""
    return (
        exclusive.nodes_asked(seen)
        | node_failures.nodes_asked(seen)
        | node_fitness.nodes_asked(seen)
    )


def pods_asked(seen: observed.Observed, *, now: datetime) -> Mapping[str, tuple[str, ...]]:
    """Return the sets in other clusters, by cluster, whose pods the next decision needs."""
    return dispatching.pods_asked(seen, now=now)


def complete_members(seen: observed.Observed, plan: actions.Plan) -> Mapping[int, members.Members]:
    """Return the members of every complete group, to be given back as ``remembered``.

    A group with gated pods is not remembered: what Kueue holds or takes back is no failure. Of one
    whose restart the plan holds back, what it was before is what has to be remembered.
    """
    complete = seen.found.each(
        "members", lambda group: None if group.gated else members.members(group)
    )
    held = {key.ref.name for key in plan.held if key.verb == "delete"}
    if not held:
        return complete
    by_index = seen.found.by_index
    return {i: one for i, one in complete.items() if by_index[i].leader.meta.name not in held}
