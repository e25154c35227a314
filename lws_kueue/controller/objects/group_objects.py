"""What one group gets made: its Service, its PodGroup, its worker StatefulSet (lws-contract 5.1).

The order is that of need: pods look each other up through the Service, and Volcano binds none of
them before their PodGroup is there. Everything that stands in a spec comes from the revision of
the group's leader, so a group that is completed during an update gets what its leader has.
"""

from lws_kueue.api import actions, lws
from lws_kueue.api.reasons import Reason
from lws_kueue.controller.objects import (
    exclusive,
    foreign,
    pod_groups,
    services,
    startup,
    statefulsets,
)
from lws_kueue.controller.observe import groups, scope
from lws_kueue.controller.revision import normalise, revisions

# A node that gets the label that it lacked is not noticed, because nodes are not watched.
RECHECK_NODE = 5.0


def missing(at: scope.Scope, group: groups.Group) -> actions.Part:
    """Return the creation of everything that a group needs here and lacks."""
    if group.remote is not None:
        return actions.Part()
    start = startup.worker_set(at.owner, group)
    refused = actions.Part(reasons=(start.reason,) if start.reason else ())
    made = _service(at, group) + refused
    ganged = _needs_pod_group(at, group)
    if ganged and not pod_groups.name_of(group):
        made += actions.Part(reasons=(pod_groups.missing_name(group),))
        ganged = False
    if not (ganged or start.create):
        return made
    content = _content(at, group)
    if isinstance(content, Reason):
        return made + actions.Part(reasons=(content,))
    if ganged:
        made += _pod_group(at, group, content=content)
    if start.create:
        made += _worker_set(at, group, content=content)
    return made.in_a_row()


def _service(at: scope.Scope, group: groups.Group) -> actions.Part:
    leader = group.leader
    unique = at.owner.spec.network_config.subdomain_policy == "UniquePerReplica"
    # A group of an older revision that is recreated during an update to a shared subdomain still
    # looks for its members under its own.
    own = leader.spec.get("subdomain") == leader.meta.name
    if not (unique or own) or group.service is not None or leader.meta.deleting:
        return actions.Part()
    body = services.of_group(at.owner, leader)
    return actions.Part(chains=((actions.Create(body, on_failure="FailedCreate"),),))


def _needs_pod_group(at: scope.Scope, group: groups.Group) -> bool:
    existing = at.seen.pod_groups
    if existing is None or group.leader.meta.deleting:
        return False
    return pod_groups.name_of(group) not in existing


def _pod_group(
    at: scope.Scope, group: groups.Group, *, content: lws.LeaderWorkerSet
) -> actions.Part:
    try:
        body = pod_groups.of_group(at.owner, group, content=content)
    except ValueError as error:
        text = f"group {group.index} gets no PodGroup: {error}"
        return actions.Part(reasons=(Reason("FailedCreate", text, groups=(group.index,)),))
    return actions.Part(chains=((actions.Create(body, on_failure="FailedCreate"),),))


def _worker_set(
    at: scope.Scope, group: groups.Group, *, content: lws.LeaderWorkerSet
) -> actions.Part:
    domain = None
    if exclusive.topology_key(at.owner):
        domain = exclusive.domain(at.owner, group.leader, seen=at.seen)
    if isinstance(domain, Reason):
        return actions.Part(reasons=(domain.of(group.index),), recheck_after=RECHECK_NODE)
    body = statefulsets.worker(
        at.owner,
        leader_pod=group.leader,
        revision_lws=content,
        queue_gated=at.managed_by.gates,
        topology_value=domain,
    )
    message = f"Created worker statefulset for leader pod {group.leader.meta.name}"
    event = actions.Event("Normal", "GroupsProgressing", message)
    return actions.Part(
        chains=((actions.Create(body, events=(event,), on_failure="FailedCreate"),),)
    )


def cleared(at: scope.Scope, group: groups.Group) -> actions.Part:
    """Take out of a group's worker StatefulSet what makes its pods request too much."""
    live = group.worker_set
    content = _content(at, group)
    if live is None or live.meta.deleting or isinstance(content, Reason):
        return actions.Part()
    stored = content.spec.leader_worker_template.worker_template
    template = normalise.normalise(stored, "PodTemplateSpec")
    return foreign.put_right(live, template, set_name=at.owner.meta.name)


def _content(at: scope.Scope, group: groups.Group) -> lws.LeaderWorkerSet | Reason:
    """Return the set as it was at the revision of the group's leader."""
    revision = revisions.find(at.own_revisions, group.key)
    if revision is None and group.key == at.choice.key and at.choice.create is not None:
        return at.owner
    if revision is None:
        message = (
            f"ControllerRevision with key {group.key} is missing, so group {group.index} cannot "
            f"get its workers; delete pod {group.leader.meta.name} to make the group anew"
        )
        return Reason("FailedCreate", message, groups=(group.index,))
    try:
        return revisions.restore(at.owner, revision)
    except revisions.BrokenRevision as error:
        return Reason("FailedCreate", str(error), groups=(group.index,))
