"""What of a set's own objects is missing, or is not what it should be.

The leader StatefulSet comes first, then what each group gets made.
"""

from collections.abc import Collection, Iterable

from lws_kueue.api import actions, derived, names
from lws_kueue.controller.objects import (
    apply_diff,
    foreign,
    group_objects,
    services,
    statefulsets,
    worker_sets,
)
from lws_kueue.controller.observe import groups, scope
from lws_kueue.controller.rollout import planner


def plan(
    at: scope.Scope,
    target: planner.Target,
    *,
    going: Collection[str],
    exceeding: Collection[int] = (),
) -> actions.Part:
    """Return the writes of a set's objects; groups whose leaders are ``going`` get nothing.

    Pods of the groups ``exceeding`` request more than was admitted.
    """
    staying = [group for group in at.found.groups if group.leader.meta.uid not in going]
    made = _made(at, staying)
    kept = actions.Part(chains=tuple(worker_sets.put_right(group) for group in staying))
    cleared = (group_objects.cleared(at, group) for group in staying if group.index in exceeding)
    revision = actions.Part(prepare=(at.choice.create,) if at.choice.create else ())
    leaders = _leader_set(at, target, exceeding=bool(exceeding))
    service = actions.Part(chains=(_shared_service(at),))
    return actions.joined((revision, leaders, service, *made, kept, *cleared))


def _made(at: scope.Scope, staying: Iterable[groups.Group]) -> list[actions.Part]:
    """Return what the groups lack; that one lacks nothing is remembered of it."""
    given = (at.asked, at.seen.memo.same("PodGroups", at.seen.pod_groups))
    found = []
    for group in staying:
        if derived.settled(group, __name__, given):
            continue
        part = group_objects.missing(at, group)
        if part.nothing:
            derived.settle(group, __name__, given)
        found.append(part)
    return found


def _leader_set(at: scope.Scope, target: planner.Target, *, exceeding: bool) -> actions.Part:
    """Return the apply of the leader StatefulSet; one that would change nothing is left out."""
    owner, live = at.owner, at.found.leader_set
    desired = statefulsets.leader(
        owner,
        key=at.choice.key,
        partition=target.partition,
        replicas=target.replicas,
        queue_gated=at.managed_by.gates,
    )
    if live is not None and apply_diff.covers(live, desired):
        kept = foreign.leaders(live, set_name=owner.meta.name)
        if exceeding and not kept.chains:
            template = desired["spec"]["template"]
            return foreign.put_right(live, template, set_name=owner.meta.name)
        return kept
    if live is None:
        created = f"Created leader statefulset {owner.meta.name}"
        events: tuple[actions.Event, ...] = (actions.Event("Normal", "GroupsProgressing", created),)
    else:
        events = planner.events(owner, live=live, target=target, updated=at.choice.updated)
    apply = actions.Apply(
        desired,
        field_manager=names.FIELD_MANAGER,
        # A request that is answered late must not set back what another leader has done since.
        resource_version=live.meta.resource_version if live is not None else "",
        force=live is not None,
        events=events,
        on_failure="FailedCreate" if live is None else "FailedUpdate",
    )
    return actions.Part(chains=((apply,),))


def _shared_service(at: scope.Scope) -> actions.Chain:
    owner = at.owner
    policy = owner.spec.network_config.subdomain_policy
    if policy != "Shared" or owner.meta.name in at.seen.services:
        return ()
    return (actions.Create(services.shared(owner), on_failure="FailedCreate"),)
