"""What of a set's own objects is missing, or is not what it should be.

The leader StatefulSet comes first, then what each group gets made.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Any

from lws_kueue.api import actions, apply_diff, facts, lws, names
from lws_kueue.api.reasons import Reason
from lws_kueue.controller.objects import (
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
    made = at.found.each(
        "made",
        lambda group: actions.unless_nothing(group_objects.missing(at, group)),
        given=(at.asked, at.seen.memo.same("PodGroups", at.seen.pod_groups)),
        anew=True,
    )
    put_right = at.found.each("put right", lambda group: worker_sets.put_right(group) or None)
    stays = _staying(at, going)
    cleared = [
        group_objects.cleared(at, at.found.by_index[index])
        for index in sorted(exceeding)
        if stays(index) and index in at.found.by_index
    ]
    kept = actions.Part(chains=tuple(put_right[index] for index in put_right if stays(index)))
    revision = actions.Part(prepare=(at.choice.create,) if at.choice.create else ())
    leaders = _leader_set(at, target, exceeding=bool(exceeding))
    service = actions.Part(chains=(_shared_service(at),))
    missing = (made[index] for index in made if stays(index))
    return actions.joined((revision, leaders, service, *missing, kept, *cleared))


def _staying(at: scope.Scope, going: Collection[str]) -> Callable[[int], bool]:
    """Return what says of a group whether its leader stays."""
    by_index = at.found.by_index
    return lambda index: by_index[index].leader.meta.uid not in going


def _rendered(at: scope.Scope, target: planner.Target) -> dict[str, Any]:
    """Return the leader StatefulSet as it should be; while that is the same, the same object."""

    def render(
        owner: lws.LeaderWorkerSet, key: str, at: planner.Target, gated: bool, dispatched: bool
    ) -> Any:
        return statefulsets.leader(
            owner,
            key=key,
            partition=at.partition,
            replicas=at.replicas,
            queue_gated=gated,
            dispatched=dispatched,
        )

    gates = at.managed_by.gates
    second = gates and _second_gate(at)
    return at.seen.memo.whole("leaders", render, at.asked, at.choice.key, target, gates, second)


def _second_gate(at: scope.Scope) -> bool:
    """Whether leaders are made with a gate that nobody but us takes off.

    So no change of Kueue's configuration starts leaders of groups that run elsewhere. The gate
    alone rolls no leader: it comes and goes with another revision.
    """
    live = at.found.leader_set
    if live is None or live.template_labels.get(names.REVISION_KEY) != at.choice.key:
        return at.dispatches
    spec = (live.spec.get("template") or {}).get("spec") or {}
    return any(
        one.get("name") == names.DISPATCHED_GATE for one in spec.get("schedulingGates") or ()
    )


def _leader_set(at: scope.Scope, target: planner.Target, *, exceeding: bool) -> actions.Part:
    """Return the apply of the leader StatefulSet; one that would change nothing is left out."""
    live, desired = at.found.leader_set, _rendered(at, target)
    if live is not None and (fields := groups.never_fits(live)):
        # All else of it can be put right, the gate first of all.
        fitting = {name: it for name, it in desired["spec"].items() if name not in fields}
        told = actions.Part(reasons=(_told(live, fields),))
        return told + _applied(at, target, {**desired, "spec": fitting}, exceeding=exceeding)
    return _applied(at, target, desired, exceeding=exceeding)


def _applied(
    at: scope.Scope, target: planner.Target, desired: dict[str, Any], *, exceeding: bool
) -> actions.Part:
    owner, live = at.owner, at.found.leader_set
    if live is not None and at.seen.memo.whole("covers", apply_diff.covers, live, desired):
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
        replaces=live,
    )
    return actions.Part(chains=((apply,),))


def _told(live: facts.StatefulSet, fields: Sequence[str]) -> Reason:
    """Return that somebody made the leader StatefulSet, who can make it the right one by hand."""
    what = ", ".join(f"spec.{field}" for field in fields)
    text = (
        f"StatefulSet {live.meta.name} was made by somebody else: {what} is not what the set needs"
        " and can never be changed, so its pods do not find each other"
    )
    return Reason(
        "InvalidStatefulSet", text, f"Delete StatefulSet {live.meta.name}: it is made anew"
    )


def _shared_service(at: scope.Scope) -> actions.Chain:
    owner = at.owner
    policy = owner.spec.network_config.subdomain_policy
    if policy != "Shared" or owner.meta.name in at.seen.services:
        return ()
    return (actions.Create(services.shared(owner), on_failure="FailedCreate"),)
