"""What one group gets made: its Service, its PodGroup, its worker StatefulSet (lws-contract 5.1).

The order is that of need: pods look each other up through the Service, and Volcano binds none of
them before their PodGroup is there. Everything that stands in a spec comes from the revision of
the group's leader, so a group that is completed during an update gets what its leader has.
"""

from dataclasses import dataclass

from lws_kueue.api import actions, lws
from lws_kueue.controller.objects import exclusive, pod_groups, services, startup, statefulsets
from lws_kueue.controller.observe import groups, scope
from lws_kueue.controller.revision import revisions

# A node that gets the label that it lacked is not noticed, because nodes are not watched.
RECHECK_NODE = 5.0


@dataclass(frozen=True, slots=True)
class Made:
    """What one group gets made, what stands against it, and when to look again in seconds."""

    chain: actions.Chain = ()
    warnings: tuple[actions.Event, ...] = ()
    recheck_after: float | None = None

    def then(self, other: "Made") -> "Made":
        """Return both, ``other`` after this."""
        return Made(
            chain=self.chain + other.chain,
            warnings=self.warnings + other.warnings,
            recheck_after=other.recheck_after or self.recheck_after,
        )


def missing(at: scope.Scope, group: groups.Group) -> Made:
    """Return the creation of everything that a group needs and lacks."""
    start = startup.worker_set(at.owner, group)
    made = _service(at, group).then(Made(warnings=(start.warning,) if start.warning else ()))
    ganged = _needs_pod_group(at, group)
    if ganged and not pod_groups.name_of(group):
        made = made.then(Made(warnings=(pod_groups.missing_name(group),)))
        ganged = False
    if not (ganged or start.create):
        return made
    content = _content(at, group)
    if isinstance(content, actions.Event):
        return made.then(Made(warnings=(content,)))
    if ganged:
        made = made.then(_pod_group(at, group, content=content))
    return made.then(_worker_set(at, group, content=content)) if start.create else made


def _service(at: scope.Scope, group: groups.Group) -> Made:
    leader = group.leader
    unique = at.owner.spec.network_config.subdomain_policy == "UniquePerReplica"
    # A group of an older revision that is made anew during an update to a shared subdomain still
    # looks for its members under its own.
    own = leader.spec.get("subdomain") == leader.meta.name
    if not (unique or own) or group.service is not None or leader.meta.deleting:
        return Made()
    body = services.of_group(at.owner, leader)
    return Made((actions.Create(body, on_failure="FailedCreate"),))


def _needs_pod_group(at: scope.Scope, group: groups.Group) -> bool:
    existing = at.seen.pod_groups
    if existing is None or group.leader.meta.deleting:
        return False
    return pod_groups.name_of(group) not in existing


def _pod_group(at: scope.Scope, group: groups.Group, *, content: lws.LeaderWorkerSet) -> Made:
    try:
        body = pod_groups.of_group(at.owner, group, content=content)
    except ValueError as error:
        text = f"group {group.index} gets no PodGroup: {error}"
        return Made(warnings=(actions.Event("Warning", "FailedCreate", text),))
    return Made((actions.Create(body, on_failure="FailedCreate"),))


def _worker_set(at: scope.Scope, group: groups.Group, *, content: lws.LeaderWorkerSet) -> Made:
    domain = None
    if exclusive.topology_key(at.owner):
        domain = exclusive.domain(at.owner, group.leader, seen=at.seen)
    if isinstance(domain, actions.Event):
        return Made(warnings=(domain,), recheck_after=RECHECK_NODE)
    body = statefulsets.worker(
        at.owner,
        leader_pod=group.leader,
        revision_lws=content,
        queue_gated=at.managed_by.gates,
        topology_value=domain,
    )
    message = f"Created worker statefulset for leader pod {group.leader.meta.name}"
    event = actions.Event("Normal", "GroupsProgressing", message)
    return Made((actions.Create(body, events=(event,), on_failure="FailedCreate"),))


def _content(at: scope.Scope, group: groups.Group) -> lws.LeaderWorkerSet | actions.Event:
    """Return the set as it was at the revision of the group's leader."""
    revision = revisions.find(at.own_revisions, group.key)
    if revision is None and group.key == at.choice.key and at.choice.create is not None:
        return at.owner
    if revision is None:
        message = (
            f"ControllerRevision with key {group.key} is missing, so group {group.index} cannot "
            f"get its workers; delete pod {group.leader.meta.name} to make the group anew"
        )
        return actions.Event("Warning", "FailedCreate", message)
    try:
        return revisions.restore(at.owner, revision)
    except revisions.BrokenRevision as error:
        return actions.Event("Warning", "FailedCreate", str(error))
