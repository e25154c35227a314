"""The decision: from everything observed of a set to the plan of one pass. Read this first.

A pass is one level-triggered look (lws-contract 3.1 and 5.1, kueue-contract 8.2). It may be cut off
after any write; the next one starts from what is there. The order of a plan matters in two places
only: a revision exists before anything carries its key, and obsolete revisions go last.
"""

import dataclasses
from datetime import datetime

from lws_kueue.api import actions, facts, lws, names
from lws_kueue.controller import contradictions, repairs, restarts, status
from lws_kueue.controller.admission import (
    admissions,
    bridge,
    deletion,
    managed_by,
    node_failures,
    node_fitness,
    shortages,
)
from lws_kueue.controller.objects import (
    apply_diff,
    exclusive,
    group_objects,
    name_claims,
    services,
    statefulsets,
    tool_marks,
)
from lws_kueue.controller.observe import groups, members, observed, scope
from lws_kueue.controller.revision import revisions
from lws_kueue.controller.rollout import planner, replacement, revert, scaling, surge, unadmitted
from lws_kueue.workload import build

# While a leader StatefulSet is on its way out nothing can be made in its place (lws-contract 3).
RECHECK_DELETING = 5.0
# A foreign object in our place may go at any time, and is not watched.
RECHECK_FOREIGN = 30.0

# Of a set that does not wait for Kueue.
UNMANAGED = admissions.Admissions()


def decide(seen: observed.Observed, *, now: datetime, options: build.Options) -> actions.Plan:
    """Return what to do about a set now."""
    plan = _decide(seen, now=now, options=options)
    return repairs.hold(plan, seen.attempts, occasion=seen.attempts.occasion(seen.lws), now=now)


def _decide(seen: observed.Observed, *, now: datetime, options: build.Options) -> actions.Plan:
    owner = seen.lws
    if owner is None or owner.meta.deleting:
        return deletion.plan(seen, now=now)
    manager = managed_by.of(seen, owner)
    found = groups.observe(
        owner,
        stateful_sets=seen.stateful_sets,
        pods=seen.pods,
        services=seen.services,
        queue_gated=manager.gates,
    )
    if found.foreign is not None:
        return _blocked(seen, owner, found.foreign, manager, now=now)
    leader_set = found.leader_set
    if leader_set is not None and leader_set.meta.deleting:
        return deletion.plan(seen, now=now, recheck_after=RECHECK_DELETING)
    mine = revisions.own(owner, seen.revisions.values())
    leader_key = revisions.key_of_set(leader_set, mine)
    at = scope.Scope(
        seen=seen,
        owner=owner,
        found=found,
        own_revisions=mine,
        choice=revisions.choose(owner, revisions=seen.revisions.values(), leader_key=leader_key),
        managed_by=manager,
    )
    return _plan(at, now=now, options=options)


def _plan(at: scope.Scope, *, now: datetime, options: build.Options) -> actions.Plan:
    owner, found = at.owner, at.found
    manages = at.managed_by is scope.ManagedBy.BRIDGE
    short = shortages.Shortages(at, now=now)
    stand = admissions.observe(at, short, options=options, now=now) if manages else UNMANAGED
    target, surge_until = _target(at, stand.waiting, now=now)
    bridged = bridge.plan(
        at, stand, wanted=max(owner.spec.replicas, target.replicas), options=options, now=now
    )
    taken_down = _taken_down(at, stand, target, stopping=bridged.stopping)
    going = {taken.uid for taken in taken_down}
    made = [
        group_objects.missing(at, group)
        for group in found.groups
        if group.leader.meta.uid not in going
    ]
    outcome = _outcome(at, waiting=bridged.waiting, now=now)
    chains = (
        _leader_set(at, target),
        _shared_service(at),
        *(each.chain for each in made),
        *((taken,) for taken in taken_down),
        *(tool_marks.removal(group.worker_set) for group in found.groups if group.worker_set),
        *bridged.chains,
        *deletion.former(at.seen),
    )
    return actions.Plan(
        prepare=(at.choice.create,) if at.choice.create else (),
        chains=tuple(chain for chain in chains if chain),
        status=_status(owner, outcome, awaited=at.managed_by.built_in) if outcome.changed else None,
        finish=_obsolete(at) if outcome.update_done else (),
        warnings=(
            *contradictions.of(at),
            *(warning for each in made for warning in each.warnings),
            *bridged.warnings,
            *short.warnings(now=now),
            *_surge_in_vain(owner, stand.waiting, target),
        ),
        recheck_after=_soonest(
            bridged.recheck_after,
            short.look_again(now=now),
            surge_until,
            stand.look_again if _updating(owner, target) else None,
            *(each.recheck_after for each in made),
        ),
    )


def _target(
    at: scope.Scope, waiting: unadmitted.Unadmitted, *, now: datetime
) -> tuple[planner.Target, float | None]:
    """Return where the rollout goes next, and when to look again if it goes no further now.

    Taking the gate into the pods' template, or out of it, is an update like that to another
    revision, although the revision stays: its groups are replaced within the same budget.
    """
    owner, found, choice = at.owner, at.found, at.choice
    regated = found.leader_set is not None and (
        groups.is_marked(found.leader_set.template_annotations) != at.managed_by.gates
    )
    return surge.kept(
        planner.decide(
            owner,
            observation=found,
            key=choice.key,
            updated=choice.updated or regated,
            waiting=waiting,
        ),
        leader_set=found.leader_set,
        found=found.groups,
        desired=owner.spec.replicas,
        now=now,
    )


def _updating(owner: lws.LeaderWorkerSet, target: planner.Target) -> bool:
    return target.partition > 0 or target.replicas > owner.spec.replicas


def _surge_in_vain(
    owner: lws.LeaderWorkerSet, waiting: unadmitted.Unadmitted, target: planner.Target
) -> tuple[actions.Event, ...]:
    """Tell that surge groups get no quota, and what the update does instead."""
    surge_unadmitted = waiting.surge_unadmitted(
        desired=owner.spec.replicas, replicas=target.replicas
    )
    if not surge_unadmitted:
        return ()
    text = (
        f"surge groups {', '.join(map(str, surge_unadmitted))} of {owner.meta.name} are not"
        " admitted: the rollout goes on without them and replaces groups in place. The condition"
        f" {bridge.WAITING} says what they wait for; maxSurge: 0 asks for none"
    )
    return (actions.Event("Warning", "SurgeNotAdmitted", text),)


def nodes_asked(seen: observed.Observed) -> frozenset[str]:
    """Return the names of the nodes that the next decision has to know about."""
    return (
        exclusive.nodes_asked(seen)
        | node_failures.nodes_asked(seen)
        | node_fitness.nodes_asked(seen)
    )


def _taken_down(
    at: scope.Scope,
    stand: admissions.Admissions,
    target: planner.Target,
    *,
    stopping: frozenset[int],
) -> tuple[actions.Delete, ...]:
    """Return the deletions of what failed, of what lost its node, and of groups that are outdated.

    ``stopping`` are the indices of groups that the bridge stops; they are nobody else's. What
    becomes of the pods of a group that Kueue has not admitted is no failure.
    """
    moved = node_failures.moved(stand)
    recreated = restarts.decide(
        at.owner,
        at.found.groups,
        leave_alone=stopping | stand.waiting.groups,
        lost_pods=_lost(at),
        moved={pod.meta.uid for pods in moved.values() for pod in pods},
    )
    gone = {taken.uid for taken in recreated}
    restarting = {group.index for group in at.found.groups if group.leader.meta.uid in gone}
    bounds = scaling.bounds(at.owner)
    leave_alone = stopping | restarting
    outdated = replacement.decide(
        bounds,
        leader_set=at.found.leader_set,
        target=target,
        found=at.found.groups,
        key=at.choice.key,
        leave_alone=leave_alone,
        waiting=stand.waiting,
    )
    given_up = revert.decide(
        bounds,
        leader_set=at.found.leader_set,
        target=target,
        found=at.found.groups,
        key=at.choice.key,
        leave_alone=leave_alone,
    )
    displaced = node_failures.deletions(at.seen, stand, moved=moved, leave_alone=leave_alone)
    return (*recreated, *displaced, *outdated, *given_up)


def _outcome(at: scope.Scope, *, waiting: lws.Condition | None, now: datetime) -> status.Outcome:
    return status.compute(
        at.owner,
        found=at.found.groups,
        key=at.choice.key,
        leader_set=at.found.leader_set,
        unwritten=at.seen.unwritten,
        now=now,
        own=_own_conditions(at.seen, at.owner, waiting=waiting, now=now),
    )


def _own_conditions(
    seen: observed.Observed,
    owner: lws.LeaderWorkerSet,
    *,
    waiting: lws.Condition | None,
    now: datetime,
) -> dict[str, lws.Condition | None]:
    """Return the conditions that LWS does not have, by type."""
    return {
        bridge.WAITING: waiting,
        repairs.BACK_OFF: repairs.condition(owner, seen.attempts, now=now),
    }


def _soonest(*delays: float | None) -> float | None:
    """Return the shortest delay in seconds, None if there is none."""
    return min((delay for delay in delays if delay is not None), default=None)


def complete_members(seen: observed.Observed, plan: actions.Plan) -> dict[int, members.Members]:
    """Return the members of every complete group, to be given back as ``remembered``.

    A group with gated pods is not remembered: what Kueue holds or takes back is no failure. Of one
    whose restart the plan holds back, what it was before is what has to be remembered.
    """
    if seen.lws is None:
        return {}
    found = groups.observe(
        seen.lws, stateful_sets=seen.stateful_sets, pods=seen.pods, services=seen.services
    )
    held = {key.ref.name for key in plan.held if key.verb == "delete"}
    return {
        group.index: complete
        for group in found.groups
        if not any(pod.gates for pod in group.pods)
        and group.leader.meta.name not in held
        and (complete := members.members(group)) is not None
    }


def _lost(at: scope.Scope) -> dict[int, str]:
    """Return the worker pods that vanished between two looks, by group index."""
    remembered = at.seen.remembered
    lost = {
        group.index: restarts.lost(at.owner, before=remembered[group.index], group=group)
        for group in at.found.groups
        if group.index in remembered
    }
    return {index: name for index, name in lost.items() if name is not None}


def _blocked(
    seen: observed.Observed,
    owner: lws.LeaderWorkerSet,
    foreign: facts.StatefulSet,
    manager: scope.ManagedBy,
    *,
    now: datetime,
) -> actions.Plan:
    """Wait for the name: garbage collection frees that of a former set, a stranger's a person."""
    holder = foreign.meta.controller
    if holder is not None and (holder.kind, holder.name) == (names.LWS_KIND, seen.name):
        return deletion.plan(seen, now=now, recheck_after=RECHECK_DELETING)
    message = (
        f"StatefulSet {foreign.meta.name} exists and {name_claims.holder(foreign.meta)}; it has the"
        f" name that the leader StatefulSet needs. {name_claims.remedy(foreign.meta)}"
    )
    warning = actions.Event("Warning", "FailedCreate", message)
    plan = deletion.plan(seen, now=now, warnings=(warning,), recheck_after=RECHECK_FOREIGN)
    if manager is not scope.ManagedBy.BRIDGE or owner.spec.replicas == 0:
        return plan
    waiting = bridge.name_taken(owner, message)
    outcome = status.compute(
        owner,
        found=(),
        key="",
        leader_set=None,
        unwritten=seen.unwritten,
        now=now,
        own=_own_conditions(seen, owner, waiting=waiting, now=now),
    )
    return dataclasses.replace(plan, status=_status(owner, outcome) if outcome.changed else None)


def _leader_set(at: scope.Scope, target: planner.Target) -> actions.Chain:
    """Return the apply of the leader StatefulSet, unless it would change nothing."""
    owner, live = at.owner, at.found.leader_set
    desired = statefulsets.leader(
        owner,
        key=at.choice.key,
        partition=target.partition,
        replicas=target.replicas,
        queue_gated=at.managed_by.gates,
    )
    if live is not None and apply_diff.covers(live, desired):
        return ()
    if live is None:
        created = f"Created leader statefulset {owner.meta.name}"
        events: tuple[actions.Event, ...] = (actions.Event("Normal", "GroupsProgressing", created),)
    else:
        events = planner.events(owner, live=live, target=target, updated=at.choice.updated)
    return (
        actions.Apply(
            desired,
            field_manager=names.FIELD_MANAGER,
            force=live is not None,
            events=events,
            on_failure="FailedCreate" if live is None else "FailedUpdate",
        ),
    )


def _shared_service(at: scope.Scope) -> actions.Chain:
    owner = at.owner
    policy = owner.spec.network_config.subdomain_policy
    if policy != "Shared" or owner.meta.name in at.seen.services:
        return ()
    return (actions.Create(services.shared(owner), on_failure="FailedCreate"),)


def _status(
    owner: lws.LeaderWorkerSet, outcome: status.Outcome, *, awaited: bool = False
) -> actions.StatusWrite:
    """Return the write of a status; ``awaited`` says that Kueue's built-in integration reads it.

    That makes Workloads for surge groups when the status tells of them, and only while not as many
    groups as desired are updated (kueue-contract 1.6).
    """
    told = outcome.status["replicas"]
    surging = told > owner.spec.replicas and told > owner.status.replicas
    ref = actions.Ref(names.LWS_API_VERSION, names.LWS_KIND, owner.meta.namespace, owner.meta.name)
    return actions.StatusWrite(
        ref=ref,
        status=outcome.status,
        replaces=outcome.stored,
        resource_version=owner.meta.resource_version,
        events=outcome.events,
        settled=outcome.settled,
        urgent=awaited and surging,
    )


def _obsolete(at: scope.Scope) -> actions.Chain:
    """Return the deletion of revisions that no group is at any more.

    After a scaling down a group that goes may still be at one, and come to stay after all when the
    set is scaled up again. And until the StatefulSet controller has settled, it may make leaders of
    the revision that it came from.
    """
    leader_set = at.found.leader_set
    if leader_set is not None:
        makes = leader_set.template_labels.get(names.REVISION_KEY)
        if makes != at.choice.key or not leader_set.settled:
            return ()
    used = {group.key for group in at.found.groups if not group.leader.meta.deleting}
    return tuple(
        actions.Delete(
            actions.Ref(
                "apps/v1", "ControllerRevision", revision.meta.namespace, revision.meta.name
            ),
            revision.meta.uid,
        )
        for revision in revisions.obsolete(at.own_revisions, at.choice.key)
        if revisions.key_label(revision) not in used - {at.choice.key}
    )
