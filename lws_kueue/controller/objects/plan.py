"""What of a set's own objects is missing, or is not what it should be.

The leader StatefulSet comes first, then what each group gets made.
"""

from collections.abc import Collection

from lws_kueue.api import actions, names
from lws_kueue.controller.objects import (
    apply_diff,
    group_objects,
    services,
    statefulsets,
    tool_marks,
)
from lws_kueue.controller.observe import scope
from lws_kueue.controller.rollout import planner


def plan(at: scope.Scope, target: planner.Target, *, going: Collection[str]) -> actions.Part:
    """Return the writes of a set's objects; groups whose leaders are ``going`` get nothing."""
    made = (
        group_objects.missing(at, group)
        for group in at.found.groups
        if group.leader.meta.uid not in going
    )
    own = actions.Part(
        prepare=(at.choice.create,) if at.choice.create else (),
        chains=(_leader_set(at, target), _shared_service(at)),
    )
    worker_sets = (group.worker_set for group in at.found.groups if group.worker_set)
    marks = actions.Part(chains=tuple(tool_marks.removal(each) for each in worker_sets))
    return actions.joined((own, *made, marks))


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
