"""The status of a set: counters and conditions (lws-contract 1.4 and 1.5).

Upstream gets to the final conditions over several status writes, one change at a time. Here the
same steps run to their end in one pass, so that one write tells the whole change. What clients can
see stays: messages of False conditions are those of the time when they were True, every condition
carries the generation, and UpdateInProgress does not exist before the first update.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from lws_kueue.api import actions, facts, lws, names
from lws_kueue.api import reasons as told
from lws_kueue.api.reasons import Reason
from lws_kueue.controller import repairs
from lws_kueue.controller.admission import dispatching, waiting
from lws_kueue.controller.observe import groups, observed, scope
from lws_kueue.controller.revision import history, revisions
from lws_kueue.controller.rollout import scaling

AVAILABLE = "Available"
PROGRESSING = "Progressing"
UPDATE_IN_PROGRESS = "UpdateInProgress"

# Reason and message of each type (lws-contract 1.5).
_TEXTS = {
    AVAILABLE: ("AllGroupsReady", "All replicas are ready"),
    PROGRESSING: ("GroupsProgressing", "Replicas are progressing"),
    UPDATE_IN_PROGRESS: ("GroupsUpdating", "Rolling Upgrade is in progress"),
}
_EXCLUSIVE = (
    frozenset({AVAILABLE, PROGRESSING}),
    frozenset({AVAILABLE, UPDATE_IN_PROGRESS}),
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The new status in JSON form and the stored one; ``events`` follow the write of the new one.

    ``ours`` are the types of the conditions that are not somebody else's.
    ``settled`` says that the set is available, ``update_done`` that every group is at the current
    revision and ready, so that obsolete revisions may go.
    """

    status: dict[str, Any]
    stored: dict[str, Any]
    events: tuple[actions.Event, ...]
    ours: frozenset[str]
    changed: bool
    settled: bool
    update_done: bool


@dataclass(frozen=True, slots=True)
class Counts:
    """Numbers of groups. ``current`` to ``settled`` count those from the partition to R only."""

    ready: int = 0
    updated: int = 0
    ready_desired: int = 0
    current: int = 0
    current_updated: int = 0
    settled: int = 0


def count(found: groups.Groups, *, key: str, bounds: scaling.Bounds) -> Counts:
    """Count groups; one that still lacks its worker StatefulSet counts as nothing."""
    ready, updated = found.ready, found.updated(key)
    current = range(bounds.floor, bounds.replicas)
    return Counts(
        ready=len(ready),
        updated=len(updated),
        ready_desired=len(ready.below(bounds.replicas)),
        current=len(found.whole & current),
        current_updated=len(updated & current),
        settled=len(ready & updated & current),
    )


def plan(
    at: scope.Scope,
    reasons: Collection[Reason],
    *,
    kept: int,
    now: datetime,
    placed: lws.Condition | None = None,
) -> actions.Part:
    """Return the write of the status, and the end of revisions that are needed no longer.

    ``reasons`` are those of the pass, of which the conditions tell. So many old revisions are
    ``kept``. ``placed`` is the condition that says in which clusters groups are, None for a set
    that is not dispatched.
    """
    outcome = compute(
        at.owner,
        found=at.found,
        key=at.choice.key,
        leader_set=at.found.leader_set,
        unwritten=at.seen.unwritten,
        now=now,
        own={
            **_own_conditions(at.seen, at.owner, reasons, now=now),
            dispatching.CONDITION: placed,
        },
    )
    return actions.Part(
        status=_write(at.owner, outcome, reasons, awaited=at.managed_by.built_in),
        finish=_obsolete(at, limit=kept) if outcome.update_done else (),
    )


def blocked(
    seen: observed.Observed,
    owner: lws.LeaderWorkerSet,
    reasons: Collection[Reason],
    *,
    now: datetime,
) -> actions.Part:
    """Return the write of the status of a set that has no groups because it can make none."""
    outcome = compute(
        owner,
        found=groups.Groups(None),
        key="",
        leader_set=None,
        unwritten=seen.unwritten,
        now=now,
        own=_own_conditions(seen, owner, reasons, now=now),
    )
    return actions.Part(status=_write(owner, outcome, reasons, awaited=False))


def _own_conditions(
    seen: observed.Observed,
    owner: lws.LeaderWorkerSet,
    reasons: Collection[Reason],
    *,
    now: datetime,
) -> dict[str, lws.Condition | None]:
    """Return the conditions that LWS does not have, by type."""
    return {
        names.WAITING: waiting.condition(reasons),
        repairs.BACK_OFF: repairs.condition(owner, seen.attempts, now=now),
    }


def _write(
    owner: lws.LeaderWorkerSet, outcome: Outcome, reasons: Collection[Reason], *, awaited: bool
) -> actions.StatusWrite | None:
    """Return the write of a status, if it has changed.

    ``awaited`` says that Kueue's built-in integration reads it. That makes Workloads for surge
    groups when the status tells of them, and only while not as many groups as desired are updated
    (kueue-contract 1.6).
    """
    if not outcome.changed:
        return None
    replicas = outcome.status["replicas"]
    surging = replicas > owner.spec.replicas and replicas > owner.status.replicas
    ref = actions.Ref(names.LWS_API_VERSION, names.LWS_KIND, owner.meta.namespace, owner.meta.name)
    return actions.StatusWrite(
        ref=ref,
        status=outcome.status,
        replaces=outcome.stored,
        resource_version=owner.meta.resource_version,
        events=outcome.events,
        settled=outcome.settled,
        urgent=awaited and surging,
        gist=_gist(outcome, reasons),
    )


def _gist(outcome: Outcome, reasons: Collection[Reason]) -> dict[str, Any] | None:
    """Return what of a status is ours, with the values left out that ``reasons`` quote in it.

    None if they quote none.
    """
    general = told.quoting(reasons)
    waits = waiting.condition(general) if general else None
    if waits is None:
        return None
    conditions = [
        {**one, "message": waits.message} if one["type"] == names.WAITING else one
        for one in outcome.status["conditions"]
        if one["type"] in outcome.ours
    ]
    return {**outcome.status, "conditions": conditions}


def _obsolete(at: scope.Scope, *, limit: int) -> actions.Chain:
    """Return the end of revisions that no group is at any more, of which ``limit`` are kept.

    After a scaling down a group that goes may still be at one, and come to stay after all when the
    set is scaled up again. And until the StatefulSet controller has settled, it may make leaders of
    the revision that it came from.
    """
    leader_set = at.found.leader_set
    if leader_set is not None:
        makes = leader_set.template_labels.get(names.REVISION_KEY)
        if makes != at.choice.key or not leader_set.settled:
            return ()
    obsolete = revisions.obsolete(at.own_revisions, at.choice.key)
    if not obsolete and not at.kept_revisions:
        return ()
    used = {group.key for group in at.found.groups if not group.leader.meta.deleting}
    own = {one.meta.name for one in (*at.own_revisions, *at.kept_revisions)}
    return history.retired(
        at.owner,
        [one for one in obsolete if revisions.key_label(one) not in used - {at.choice.key}],
        current=at.choice.stored,
        kept=at.kept_revisions,
        taken=at.seen.revisions.keys() - own,
        limit=limit,
    )


def compute(
    owner: lws.LeaderWorkerSet,
    *,
    found: groups.Groups,
    key: str,
    leader_set: facts.StatefulSet | None,
    unwritten: tuple[lws.Condition, ...] | None = None,
    now: datetime,
    own: Mapping[str, lws.Condition | None],
) -> Outcome:
    """Compute the status of a set whose current revision is ``key``.

    ``own`` are the conditions that LWS does not have, by type: each stands while there is a reason
    for it, and None removes it. ``unwritten`` are conditions that an earlier pass decided on and
    that are not stored yet: transitions start from them. Those of others in it are what stood there
    at that time, so they are left out.
    """
    bounds = scaling.bounds(owner)
    counts = count(found, key=key, bounds=bounds)
    wanted = _wanted(counts, replicas=bounds.replicas)
    time = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    generation = owner.meta.generation
    ours = frozenset(own.keys() | _TEXTS.keys())
    last = owner.status.conditions if unwritten is None else unwritten
    before = tuple(c for c in last if c.type in _TEXTS)
    settled = _settled(before, wanted, generation=generation, time=time)
    events = () if settled == before else (_event(wanted[0], counts, bounds),)
    added = tuple(_own(owner, one, time=time) for one in own.values() if one is not None)
    conditions = _beside_others(owner.status.conditions, settled, added, ours=ours)
    old = owner.status.model_dump(by_alias=True, exclude_none=True, mode="json")
    status = {
        **old,
        "readyReplicas": counts.ready,
        "updatedReplicas": counts.updated,
        "replicas": int(leader_set.status.get("replicas") or 0) if leader_set else 0,
        "hpaPodSelector": owner.status.hpa_pod_selector or _selector(owner),
        "observedGeneration": generation,
        "conditions": [c.model_dump(by_alias=True, exclude_none=True) for c in conditions],
    }
    return Outcome(
        status=status,
        stored=old,
        events=events,
        ours=ours,
        changed=status != old,
        settled=wanted == (AVAILABLE,),
        update_done=bounds.floor == 0 and counts.settled == bounds.replicas,
    )


def _beside_others(
    stored: tuple[lws.Condition, ...],
    settled: tuple[lws.Condition, ...],
    added: tuple[lws.Condition, ...],
    *,
    ours: Collection[str],
) -> tuple[lws.Condition, ...]:
    """Return ``settled`` conditions with those of others that are ``stored``, then the ``added``.

    ``ours`` are the types that are nobody else's. Who writes one beside ours may have an order of
    its own, which says nothing: if nothing else differs, all stays in the order in which it stands.
    """
    by_type = {condition.type: condition for condition in settled}
    there = tuple(by_type.pop(c.type, c) for c in stored if c.type in by_type or c.type not in ours)
    conditions = (*there, *by_type.values(), *added)
    same = {c.type: c for c in conditions} == {c.type: c for c in stored}
    return stored if same and len(conditions) == len(stored) else conditions


def _wanted(counts: Counts, *, replicas: int) -> tuple[str, ...]:
    """Return the types of the conditions that have to be True (cases A, B and C)."""
    if counts.current_updated < counts.current:
        return (UPDATE_IN_PROGRESS, PROGRESSING)
    if counts.ready_desired == replicas and counts.settled == counts.current:
        return (AVAILABLE,)
    return (PROGRESSING,)


def _settled(
    conditions: tuple[lws.Condition, ...], wanted: tuple[str, ...], *, generation: int, time: str
) -> tuple[lws.Condition, ...]:
    """Repeat upstream's single steps until nothing changes any more."""
    while True:
        after = conditions
        for kind in wanted:
            after = _with_true(after, kind, generation=generation, time=time)
            if after != conditions:
                break
        after = tuple(c.model_copy(update={"observed_generation": generation}) for c in after)
        if after == conditions:
            return conditions
        conditions = after


def _with_true(
    conditions: tuple[lws.Condition, ...], kind: str, *, generation: int, time: str
) -> tuple[lws.Condition, ...]:
    """Set one condition True, and False those that exclude it."""
    reason, message = _TEXTS[kind]
    new = lws.Condition(
        type=kind,
        status="True",
        reason=reason,
        message=message,
        last_transition_time=time,
        observed_generation=generation,
    )
    after = []
    for condition in conditions:
        if condition.type == kind:
            same = condition.status == "True" and condition.observed_generation == generation
            after.append(condition if same else new)
        elif condition.status == "True" and exclusive(condition.type, kind):
            update = {"status": "False", "last_transition_time": time}
            after.append(condition.model_copy(update=update))
        else:
            after.append(condition)
    if all(condition.type != kind for condition in conditions):
        after.append(new)
    return tuple(after)


def exclusive(one: str, other: str) -> bool:
    """Whether two types of conditions are never True together."""
    return frozenset({one, other}) in _EXCLUSIVE


def _event(kind: str, counts: Counts, bounds: scaling.Bounds) -> actions.Event:
    reason, message = _TEXTS[kind]
    ready, total = counts.ready, bounds.replicas
    text = f"{message}, with {ready} groups ready of total {total} groups"
    return actions.Event("Normal", reason, text)


def _own(owner: lws.LeaderWorkerSet, condition: lws.Condition, *, time: str) -> lws.Condition:
    """Return a condition of our own; its time is that of the last change of its status."""
    old = next((c for c in owner.status.conditions if c.type == condition.type), None)
    unchanged = old is not None and old.status == condition.status
    since = old.last_transition_time if old is not None and unchanged else time
    generation = owner.meta.generation
    update = {"last_transition_time": since, "observed_generation": generation}
    return condition.model_copy(update=update)


def _selector(owner: lws.LeaderWorkerSet) -> str:
    """Return the selector of the leaders, which autoscalers count."""
    return f"{names.SET_NAME}={owner.meta.name},{names.WORKER_INDEX}=0"
