"""When a group gets its worker StatefulSet (lws-contract 5.1 and 5.3)."""

from dataclasses import dataclass

from lws_kueue.api import facts, lws, names
from lws_kueue.api.reasons import Reason
from lws_kueue.controller.objects import name_claims
from lws_kueue.controller.observe import groups


@dataclass(frozen=True, slots=True)
class Startup:
    """Whether a group's worker StatefulSet is to be created now, and what stands against it."""

    create: bool
    reason: Reason | None = None


_LATER = Startup(create=False)


def worker_set(owner: lws.LeaderWorkerSet, group: groups.Group) -> Startup:
    """Decide whether to create the worker StatefulSet of a group."""
    leader = group.leader
    if leader.meta.deleting or group.remote is not None:
        return _LATER
    if leader.meta.annotations.get(names.LEADER_NAME):
        # A leader that was made from a worker template would get workers of its own, and those
        # again: the API server ignored spec.ordinals.
        return _refused(
            group,
            f"leader pod {leader.meta.namespace}/{leader.meta.name} carries the annotation "
            f"{names.LEADER_NAME}, which only workers have: the API server does not support "
            "StatefulSet start ordinals, or somebody put it there; remove it",
        )
    if group.worker_set is not None:
        return _LATER
    if group.size == 1 or not _started(owner, group):
        return _LATER
    missing = [
        label
        for label in (names.GROUP_KEY, names.REVISION_KEY)
        if not leader.meta.labels.get(label)
    ]
    if missing:
        return _refused(
            group,
            f"leader pod {leader.meta.name} has no label {' and no label '.join(missing)}, "
            "so its workers could not be told from those of other groups",
        )
    if group.foreign_worker_set is not None:
        return _blocked(owner, group, group.foreign_worker_set.meta)
    return Startup(create=True)


def follows(owner: lws.LeaderWorkerSet) -> bool:
    """Whether workers are made only after their leader runs, and so after their group is admitted.

    An empty annotation asks for no topology.
    """
    exclusive = bool(owner.meta.annotations.get(names.EXCLUSIVE_TOPOLOGY))
    return owner.spec.startup_policy == "LeaderReady" or exclusive


def _started(owner: lws.LeaderWorkerSet, group: groups.Group) -> bool:
    """Whether the startup policy and exclusive placement let the workers follow."""
    if owner.spec.startup_policy == "LeaderReady" and not group.leader.ready:
        return False
    # Workers are pinned to the leader's domain, which is known once the leader has a node. An
    # empty annotation asks for no topology.
    return not owner.meta.annotations.get(names.EXCLUSIVE_TOPOLOGY) or bool(group.leader.node)


def _blocked(owner: lws.LeaderWorkerSet, group: groups.Group, left: facts.Meta) -> Startup:
    """Decide about a name that is taken: garbage collection frees it, a foreign object does not."""
    controller = left.controller
    if controller is not None and (controller.kind, controller.name) == (
        "Pod",
        group.leader.meta.name,
    ):
        return _LATER
    failed = f"Failed to create worker statefulset for leader pod {group.leader.meta.name}: "
    if controller is None and left.labels.get(names.SET_NAME) == owner.meta.name:
        return _refused(
            group,
            f"{failed}StatefulSet {left.name} of the set has no owner any more: a leader was"
            " deleted without what it owned",
            fix=f"Delete StatefulSet {left.name}; its pods go with it, and the group is made anew",
        )
    return _refused(
        group,
        f"{failed}StatefulSet {left.name} exists and {name_claims.holder(left)}",
        fix=name_claims.remedy(left),
    )


def _refused(group: groups.Group, text: str, *, fix: str = "") -> Startup:
    about = f"worker StatefulSet of pod {group.leader.meta.name}"
    why = Reason("FailedCreate", text, fix, groups=(group.index,), about=about)
    return Startup(create=False, reason=why)
