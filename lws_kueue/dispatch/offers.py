"""To which clusters a group is offered, and which of those that take it gets it.

An offer is a Workload in the worker, where Kueue decides as about any other. It is made only in
clusters that the manager's Workload names already, so that nothing is offered that nobody knows of
after a crash.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from lws_kueue.api import actions
from lws_kueue.api.reasons import Reason
from lws_kueue.dispatch import (
    fitting,
    observed,
    placement,
    places,
    remote_objects,
    settings,
    status_writes,
    stopping,
)
from lws_kueue.workload import conditions, state

# Kueue says why not within a moment; a no that stands for so long is an answer.
_ANSWERED_AFTER: Final = timedelta(seconds=1)


@dataclass
class Load:
    """How much of ours each cluster has: what is offered and waits, and groups of this set.

    Groups are gone through in the order of their indices, and each counts for those after it.
    """

    waiting: Counter[str] = field(default_factory=Counter)
    groups: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, views: tuple[places.View, ...]) -> "Load":
        """Return what is there before anything is decided."""
        found = cls()
        for view in views:
            if view.home:
                found.groups[view.home] += 1
                continue
            if view.group.workload is not None:
                found.waiting.update(view.workload.status.nominated_cluster_names)
        return found

    def rank(self, cluster: observed.Cluster, position: int) -> tuple[int, int, int]:
        """Return where a cluster stands among those that a group may be offered to next."""
        return self.waiting[cluster.name], self.groups[cluster.name], position


def candidates(view: places.View) -> tuple[places.Place, ...]:
    """Return the clusters that may have the group (MK-12, MK-13, MK-40, MK-52, MK-54)."""
    return tuple(
        one
        for one in view.places
        if one.cluster.usable and not one.refusal and view.room.has(one.name)
    )


def nomination(view: places.View, load: Load) -> tuple[str, ...]:
    """Return the clusters that the group is to be offered to (MK-04 to MK-06).

    None of those that it is offered to already is left out, unless it is drained, or its set leaves
    it no more: one that is lost may have taken it.
    """
    given = view.workload.status.nominated_cluster_names
    configured = {one.name for one in view.places if one.cluster.configured}
    kept = tuple(name for name in given if name in configured and view.room.has(name))
    others = [one for one in candidates(view) if one.name not in kept]
    if view.options.mode is settings.Mode.ALL_AT_ONCE:
        return (*kept, *(one.name for one in others))
    if not _is_answered(view, kept):
        return kept
    positions = {one.name: position for position, one in enumerate(view.places)}
    if view.options.order is settings.Order.SPREAD:
        others.sort(key=lambda one: load.rank(one.cluster, positions[one.name]))
    step = tuple(one.name for one in others[: view.options.step_size])
    return (*kept, *step)


def _is_answered(view: places.View, nominated: tuple[str, ...]) -> bool:
    """Whether all offers so far were answered no, or have waited for long enough."""
    offered = [one for one in view.places if one.name in nominated]
    if all(_says_no(view, one) for one in offered):
        return True
    at = _next_round(view, offered)
    return at is not None and at <= view.now


def _says_no(view: places.View, place: places.Place) -> bool:
    if not place.cluster.usable or place.refusal:
        return True
    at = _answered_at(place)
    return at is not None and at <= view.now


def _answered_at(place: places.Place) -> datetime | None:
    """Return when a no of Kueue counts, None where it has not said any."""
    quota = place.offer.condition(state.QUOTA_RESERVED) if place.offer is not None else None
    if quota is None or quota.status != "False":
        return None
    said = conditions.moment(quota.last_transition_time)
    return None if said is None else said + _ANSWERED_AFTER


def _next_round(view: places.View, offered: list[places.Place]) -> datetime | None:
    """Return when an offer is widened although nobody has said no, None before it is made."""
    made = [
        at
        for one in offered
        if one.offer is not None and (at := conditions.moment(one.offer.meta.created)) is not None
    ]
    return max(made) + view.options.round_interval if made else None


def offer(view: places.View, check: str, load: Load) -> actions.Part:
    """Return what offers a group: withdraw what is none of it, nominate, or make what is missing.

    It is nominated in a pass of its own, so that a Workload is in a cluster only after its name is
    stored (MK-42).
    """
    given = view.workload.status.nominated_cluster_names
    withdrawn = stopping.together(
        stopping.at(view, one, "it is not offered there")
        for one in view.places
        if one.up and not one.empty and not _is_offer(view, one)
    )
    wanted = nomination(view, load)
    for name in set(wanted) - set(given):
        load.waiting[name] += 1
    if wanted != given:
        write = status_writes.nominate(view.workload, check, wanted, now=view.now)
        return withdrawn.part + actions.Part(chains=((write,),))
    return withdrawn.part + actions.joined(
        (*_missing(view, given), actions.Part(recheck_after=_look_again(view, given)))
    )


def _is_offer(view: places.View, place: places.Place) -> bool:
    """Whether what is there of a group is the offer that was meant, and nothing beside it."""
    found = place.offer
    return (
        place.run is None
        and found is not None
        and place.name in view.workload.status.nominated_cluster_names
        and place.cluster.configured
        and view.room.has(place.name)
        and found.spec.active
        and not found.is_true(state.FINISHED)
        and found.spec.queue_name == view.workload.spec.queue_name
        and fitting.misfit(view, found) is None
    )


def _missing(view: places.View, nominated: tuple[str, ...]) -> Iterator[actions.Part]:
    """Yield what makes the offers that are not there yet, beside each other."""
    content = view.owner
    if content is None:
        return
    for place in view.places:
        if place.name not in nominated or not place.cluster.usable or not place.empty:
            continue
        if place.refusal:
            continue
        if not place.cluster.anchor:
            body = remote_objects.anchor(view.manager, view.id.namespace)
        else:
            body = remote_objects.workload(
                view.manager,
                view.id,
                source=view.workload,
                content=content,
                anchor_uid=place.cluster.anchor,
            )
        create = actions.Create(body, on_failure="FailedCreate", cluster=place.name)
        yield actions.Part(chains=((create,),))


def _look_again(view: places.View, nominated: tuple[str, ...]) -> float | None:
    """Return in how many seconds an offer may be widened without anything having happened."""
    offered = [one for one in view.places if one.name in nominated]
    moments = [_next_round(view, offered), *(_answered_at(one) for one in offered)]
    return actions.soonest(
        (at - view.now).total_seconds() for at in moments if at is not None and at > view.now
    )


def chosen(view: places.View) -> places.Place | None:
    """Return the cluster that gets the group, of those that have admitted it (MK-04).

    One that has a set already comes first, then who was first.
    """
    nominated = view.workload.status.nominated_cluster_names
    positions = {one.name: position for position, one in enumerate(view.places)}

    def rank(place: places.Place) -> tuple[bool, str, int]:
        admitted = place.offer.condition(state.ADMITTED) if place.offer is not None else None
        since = admitted.last_transition_time if admitted is not None else ""
        return place.run is None, since, positions[place.name]

    able = [
        one
        for one in view.places
        if one.admitted
        and one.cluster.usable
        and one.name in nominated
        and view.room.has(one.name)
        and one.offer is not None
        and one.offer.spec.queue_name == view.workload.spec.queue_name
        and fitting.misfit(view, one.offer) is None
    ]
    return min(able, key=rank, default=None)


def choose(view: places.View, check: str, place: places.Place) -> actions.Part:
    """Return what gives a group to a cluster, once no other one that answers has anything of it.

    The name of the cluster is stored before a set is made there. A process that ends in between
    leaves behind where the group may run: so a cluster that is lost just then is waited for.
    """
    assert place.offer is not None
    others = stopping.elsewhere(view, place, f"it runs on cluster {place.name}")
    if not others.done:
        return others.part
    text = f"runs on cluster {place.name} as {view.id.namespace}/{place.set_name}"
    expects = (
        expect_admitted(place),
        *(
            actions.Expect(_offer_ref(view, one))
            for one in view.others(place)
            if one.up and one.name in view.workload.status.nominated_cluster_names
        ),
    )
    write = status_writes.ready(
        view.workload, check, cluster=place.name, text=text, expects=expects, now=view.now
    )
    return others.part + actions.Part(chains=((write,),))


def expect_admitted(place: places.Place) -> actions.Expect:
    """Return what has to be true of an offer before anything rests on it (MK-45)."""
    assert place.offer is not None
    return actions.Expect(
        remote_objects.workload_ref(place.offer, place.name),
        uid=place.offer.meta.uid,
        true=(state.QUOTA_RESERVED, state.ADMITTED),
        false=(state.EVICTED, state.FINISHED),
    )


def _offer_ref(view: places.View, place: places.Place) -> actions.Ref:
    return remote_objects.named_workload(view.id.namespace, place.workload_name, place.name)


def answers(view: places.View) -> Reason:
    """Return why no cluster has the group: what each of them says (MK-03, MK-12, MK-53)."""
    if view.room.why is not None:
        return view.room.why.of(view.id.index)
    configured = [one for one in view.places if one.cluster.configured]
    if not configured:
        return _held(view, "NoClusterEligible", "no MultiKueueConfig names a cluster")
    left = [one for one in configured if view.room.has(one.name)]
    if not left:
        text = f"{view.room.because}, which no MultiKueueConfig names"
        return _held(view, placement.WAITS, text)
    told = "; ".join(f"{one.name}: {_says(view, one)}" for one in left)
    if view.room.because:
        told = f"{told}; no other cluster is asked: {view.room.because}"
    if not any(one.up for one in left):
        return _held(view, "NoClusterReachable", told)
    if not any(one.cluster.usable for one in left):
        return _held(view, "NoClusterEligible", told)
    return _held(view, "NoClusterAdmits", told)


def refusals(view: places.View) -> tuple[Reason, ...]:
    """Return what a person has to put right where nothing can be made under our names (MK-54)."""
    return tuple(
        Reason("RemoteNameTaken", f"cluster {one.name}: {one.refusal}").of(view.id.index)
        for one in view.places
        if one.refusal
    )


def _says(view: places.View, place: places.Place) -> str:
    """Say why a cluster does not have the group."""
    if not place.up:
        return "it does not answer"
    if place.cluster.trouble or place.refusal:
        return place.cluster.trouble or place.refusal
    if place.offer is None:
        nominated = place.name in view.workload.status.nominated_cluster_names
        return "it is being offered" if nominated else "it is not offered yet"
    quota = place.offer.condition(state.QUOTA_RESERVED)
    if quota is not None and quota.message:
        return quota.message
    return "Kueue there has not answered yet"


def _held(view: places.View, code: str, text: str) -> Reason:
    return Reason(code, text, waits=True, warns=False).of(view.id.index)
