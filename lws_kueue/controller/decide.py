"""The decision: from everything observed of a set to the plan of one pass. Read this first.

A pass is one level-triggered look (lws-contract 3.1 and 5.1, kueue-contract 8.2). It may be cut off
after any write; the next one starts from what is there. The order of a plan matters in two places
only: a revision exists before anything carries its key, and obsolete revisions go last.
"""

from datetime import datetime

from lws_kueue.api import actions, facts, lws, names
from lws_kueue.controller import (
    bridge,
    contradictions,
    group_objects,
    groups,
    leaving,
    observed,
    ownership,
    replacement,
    restarts,
    revisions,
    rollout,
    scaling,
    services,
    situation,
    statefulsets,
    status,
    surge,
)
from lws_kueue.workload import build

# While a leader StatefulSet is on its way out nothing can be made in its place (lws-contract 3).
RECHECK_DELETING = 5.0
# A foreign object in our place may go at any time, and is not watched.
RECHECK_FOREIGN = 30.0


def decide(seen: observed.Observed, *, now: datetime, options: build.Options) -> actions.Plan:
    """Return what to do about a set now."""
    owner = seen.lws
    if owner is None or owner.meta.deleting:
        return leaving.plan(seen, now=now)
    found = groups.observe(
        owner, stateful_sets=seen.stateful_sets, pods=seen.pods, services=seen.services
    )
    if found.foreign is not None:
        return _blocked(seen, found.foreign, now=now)
    leader_set = found.leader_set
    if leader_set is not None and leader_set.meta.deleting:
        return leaving.plan(seen, now=now, recheck_after=RECHECK_DELETING)
    mine = revisions.own(owner, seen.revisions.values())
    leader_key = revisions.key_of_set(leader_set, mine)
    at = situation.Situation(
        seen=seen,
        owner=owner,
        found=found,
        own_revisions=mine,
        choice=revisions.choose(owner, revisions=seen.revisions.values(), leader_key=leader_key),
        queue_gated=bridge.manages(owner),
    )
    return _plan(at, now=now, options=options)


def _plan(at: situation.Situation, *, now: datetime, options: build.Options) -> actions.Plan:
    owner, found, choice = at.owner, at.found, at.choice
    target = rollout.decide(owner, observation=found, key=choice.key, updated=choice.updated)
    target, until = surge.kept(
        target,
        leader_set=found.leader_set,
        found=found.groups,
        desired=owner.spec.replicas,
        now=now,
    )
    bridged = bridge.plan(
        at.seen,
        owner,
        found,
        wanted=max(owner.spec.replicas, target.replicas),
        options=options,
        now=now,
    )
    recreated = restarts.decide(
        owner,
        found.groups,
        leave_alone=bridged.stopping,
        lost_pods=_lost(at),
    )
    replaced = _replaced(at, target, stopping=bridged.stopping, recreated=recreated)
    made = [group_objects.missing(at, group) for group in found.groups]
    outcome = status.compute(
        owner,
        found=found.groups,
        key=choice.key,
        leader_set=found.leader_set,
        now=now,
        waiting_type=bridge.WAITING,
        waiting=bridged.waiting,
    )
    chains = (
        _leader_set(at, target),
        _shared_service(at),
        *(made_group.chain for made_group in made),
        *((deletion,) for deletion in (*recreated, *replaced)),
        *bridged.chains,
        *leaving.former(at.seen),
    )
    return actions.Plan(
        prepare=(choice.create,) if choice.create else (),
        chains=tuple(chain for chain in chains if chain),
        status=_status(owner, outcome) if outcome.changed else None,
        finish=_obsolete(at) if outcome.update_done else (),
        warnings=(
            *contradictions.of(at),
            *(warning for made_group in made for warning in made_group.warnings),
            *bridged.warnings,
        ),
        recheck_after=_soonest(
            bridged.recheck_after, until, *(made_group.recheck_after for made_group in made)
        ),
    )


def _replaced(
    at: situation.Situation,
    target: rollout.Target,
    *,
    stopping: frozenset[int],
    recreated: tuple[actions.Delete, ...],
) -> tuple[actions.Delete, ...]:
    """Return the deletions that bring outdated groups to the current revision."""
    gone = {deletion.uid for deletion in recreated}
    restarting = {group.index for group in at.found.groups if group.leader.meta.uid in gone}
    return replacement.decide(
        scaling.bounds(at.owner),
        leader_set=at.found.leader_set,
        target=target,
        found=at.found.groups,
        key=at.choice.key,
        leave_alone=stopping | restarting,
    )


def _soonest(*delays: float | None) -> float | None:
    """Return the shortest delay in seconds, None if there is none."""
    return min((delay for delay in delays if delay is not None), default=None)


def members(seen: observed.Observed) -> dict[int, restarts.Members]:
    """Return the members of every complete group, to be given back as ``remembered``.

    A group with gated pods is not remembered: what Kueue holds or takes back is no failure.
    """
    if seen.lws is None:
        return {}
    found = groups.observe(
        seen.lws, stateful_sets=seen.stateful_sets, pods=seen.pods, services=seen.services
    )
    return {
        group.index: complete
        for group in found.groups
        if not any(pod.gates for pod in group.pods)
        and (complete := restarts.members(group)) is not None
    }


def _lost(at: situation.Situation) -> dict[int, str]:
    """Return the worker pods that vanished between two looks, by group index."""
    remembered = at.seen.remembered
    lost = {
        group.index: restarts.lost(at.owner, before=remembered[group.index], group=group)
        for group in at.found.groups
        if group.index in remembered
    }
    return {index: name for index, name in lost.items() if name is not None}


def _blocked(seen: observed.Observed, foreign: facts.StatefulSet, *, now: datetime) -> actions.Plan:
    """Wait for the name: garbage collection frees that of a former set, a stranger's a person."""
    holder = foreign.meta.controller
    if holder is not None and (holder.kind, holder.name) == (names.LWS_KIND, seen.name):
        return leaving.plan(seen, now=now, recheck_after=RECHECK_DELETING)
    message = (
        f"StatefulSet {foreign.meta.name} exists and belongs to something else; it has the name "
        "that the leader StatefulSet needs. Delete or rename it, or give the set another name"
    )
    warning = actions.Event("Warning", "FailedCreate", message)
    return leaving.plan(seen, now=now, warnings=(warning,), recheck_after=RECHECK_FOREIGN)


def _leader_set(at: situation.Situation, target: rollout.Target) -> actions.Chain:
    """Return the apply of the leader StatefulSet, unless it would change nothing."""
    owner, live = at.owner, at.found.leader_set
    desired = statefulsets.leader(
        owner,
        key=at.choice.key,
        partition=target.partition,
        replicas=target.replicas,
        queue_gated=at.queue_gated,
    )
    if live is not None and ownership.covers(live, desired):
        return ()
    if live is None:
        created = f"Created leader statefulset {owner.meta.name}"
        events: tuple[actions.Event, ...] = (actions.Event("Normal", "GroupsProgressing", created),)
    else:
        events = rollout.events(owner, live=live, target=target, updated=at.choice.updated)
    return (
        actions.Apply(
            desired,
            field_manager=names.FIELD_MANAGER,
            force=live is not None,
            events=events,
            on_failure="FailedCreate" if live is None else "FailedUpdate",
        ),
    )


def _shared_service(at: situation.Situation) -> actions.Chain:
    owner = at.owner
    policy = owner.spec.network_config.subdomain_policy
    if policy != "Shared" or owner.meta.name in at.seen.services:
        return ()
    return (actions.Create(services.shared(owner), on_failure="FailedCreate"),)


def _status(owner: lws.LeaderWorkerSet, outcome: status.Outcome) -> actions.StatusWrite:
    ref = actions.Ref(names.LWS_API_VERSION, names.LWS_KIND, owner.meta.namespace, owner.meta.name)
    return actions.StatusWrite(
        ref=ref,
        status=outcome.status,
        resource_version=owner.meta.resource_version,
        events=outcome.events,
    )


def _obsolete(at: situation.Situation) -> actions.Chain:
    """Return the deletion of revisions that no group is at any more."""
    return tuple(
        actions.Delete(
            actions.Ref(
                "apps/v1", "ControllerRevision", revision.meta.namespace, revision.meta.name
            ),
            revision.meta.uid,
        )
        for revision in revisions.obsolete(at.own_revisions, at.choice.key)
    )
