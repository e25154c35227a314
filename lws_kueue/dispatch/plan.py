"""What is to be done about the groups of a set that run in other clusters: read this first.

``plan`` goes through the groups, and for each through the states of the protocol
(docs/multikueue.md): the first that applies decides, and each pass starts anew from what is stored
and what the clusters show. Nothing is remembered. Before it is asked, the pods that ``asked`` names
are to be looked up.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from lws_kueue.api import actions, kueue, names
from lws_kueue.api.reasons import Reason
from lws_kueue.dispatch import (
    fitting,
    mirror,
    observed,
    offers,
    placement,
    places,
    running,
    settings,
    status_writes,
    stopping,
)
from lws_kueue.workload import diff, eviction, recreate, state


@dataclass(frozen=True)
class _Turn:
    """A group, and what it shares with the others of one pass.

    That is how loaded clusters are, which of them its set leaves to it, and whether it is its turn
    to move off one that is drained.
    """

    view: places.View
    load: offers.Load
    together: placement.Together
    may_drain: bool


State = Callable[[_Turn], actions.Part | None]


def plan(seen: observed.Observed, views: tuple[places.View, ...]) -> actions.Part:
    """Return the writes for all groups of a set (``views_of``), in all clusters.

    A chain is of one group, and its writes are in the order in which they may happen. Chains are
    independent of each other, so a slow cluster holds up nobody.
    """
    load, together = offers.Load.of(views), placement.Together(seen, views)
    moving = _may_drain(views, together.home)
    parts = tuple(_group(_Turn(view, load, together, view.id.index in moving)) for view in views)
    whole = actions.joined((*parts, actions.Part(reasons=together.reasons)))
    # Groups of one pass need the same anchor.
    return replace(whole, chains=tuple(_unique(whole.chains)))


def views_of(
    seen: observed.Observed, *, options: settings.Settings, now: datetime
) -> tuple[places.View, ...]:
    """Return all groups with their places, in the order of their indices."""
    found = places.groups(seen)
    ordered = sorted(found, key=lambda one: (one.index, one.set_uid))
    return tuple(places.view(seen, one, found[one], options=options, now=now) for one in ordered)


def _unique(chains: tuple[actions.Chain, ...]) -> list[actions.Chain]:
    kept: list[actions.Chain] = []
    for chain in chains:
        if not (isinstance(chain[0], actions.Create) and chain in kept):
            kept.append(chain)
    return kept


def reject_others(
    workload: kueue.Workload, *, checks: frozenset[str], now: datetime
) -> actions.Part:
    """Return what is said of a Workload of another kind that waits for a check of ours (MK-56)."""
    gvk = workload.meta.annotations.get(names.JOB_OWNER_GVK, "")
    owned = any(one.kind == names.LWS_KIND for one in workload.meta.owners)
    waits = (one for one in workload.status.admission_checks if one.name in checks)
    check = next((one for one in waits if one.state == "Pending"), None)
    if check is None or owned or gvk == names.JOB_OWNER_GVK_VALUE:
        return actions.Part()
    text = "lws-kueue dispatches LeaderWorkerSets only"
    return _chain((status_writes.reject(workload, check.name, text, now=now),))


def may_run_here(view: places.View) -> bool:
    """Whether a group may be released in the manager's own cluster (S6; MK-61, MK-68).

    That is one whose check is Ready without a cluster: it ran here before there was a check, or
    somebody has set it so by hand. One without a check of ours has a queue that does not dispatch.
    No cluster may have anything of it, or be lost.
    """
    if view.group.workload is None or view.home:
        return False
    if view.check is not None and view.check.state != "Ready":
        return False
    return all(
        place.empty if place.up else stopping.is_given_up(view, place) for place in view.places
    )


def belongs_here(view: places.View) -> bool:
    """Whether a group that has been admitted runs in the manager's own cluster, if anywhere (S6).

    One that was admitted before its queue asked for a check of ours stays (MK-68).
    """
    if view.group.workload is None or view.home:
        return False
    ready = view.check is not None and view.check.state == "Ready"
    return ready or state.admission(view.workload) is state.Admission.ADMITTED


def _group(turn: _Turn) -> actions.Part:
    """Return what one group asks for; where that cannot be told, the error, and nothing is done.

    What is written into one group must not keep the others from where they go (INV-8).
    """
    try:
        found = (one(turn) for one in _STATES)
        return next((part for part in found if part is not None), actions.Part())
    except Exception as fault:
        index = turn.view.id.index
        text = (
            f"an error in the controller ({type(fault).__name__}) keeps it from deciding about"
            f" group {index}"
        )
        why = Reason("InternalError", text).of(index).held()
        return actions.Part(reasons=(why,), faults=(fault,))


# The states -------------------------------------------------------------------------------------


def _unwanted(turn: _Turn) -> actions.Part | None:
    """S1: a group that is scaled away, or whose set or Workload goes, stops and is let go.

    Whatever a worker has of a group that nobody knows is left over, and goes in the same way
    (MK-03, MK-15, MK-37, MK-48).
    """
    workload = turn.view.group.workload
    if workload is not None and turn.view.group.wanted and not workload.meta.deleting:
        return None
    stop = stopping.everywhere(turn.view, "it is not wanted any more")
    if workload is None or not stop.done:
        return stop.part
    return stop.part + _chain(diff.removal(workload, turn.view.group.pods))


def _finished(turn: _Turn) -> actions.Part | None:
    """S2: a group whose Workload is finished stops; one that is so by mistake begins anew."""
    workload = turn.view.workload
    if not workload.is_true(state.FINISHED):
        return None
    stop = stopping.everywhere(turn.view, "its Workload is finished")
    if not stop.done or not recreate.repaired(workload):
        return stop.part
    wait = recreate.repair_in(workload, turn.view.group.pods, now=turn.view.now)
    if wait > 0:
        return stop.part + actions.Part(recheck_after=wait)
    return stop.part + _chain(diff.removal(workload, turn.view.group.pods))


def _evicted(turn: _Turn) -> actions.Part | None:
    """S3: an evicted group stops everywhere; only then is its quota given back (MK-27, MK-28)."""
    workload = turn.view.workload
    if state.admission(workload) is not state.Admission.EVICTED:
        return None
    evicted = workload.condition(state.EVICTED)
    said = f"evicted ({evicted.message})" if evicted is not None else "evicted"
    stop = stopping.everywhere(turn.view, said)
    if not stop.done:
        return stop.part + mirror.plan(turn.view)
    clear = eviction.clear_admission(workload, turn.view.group.pods, now=turn.view.now)
    wait = actions.Part(recheck_after=eviction.stuck_in(turn.view.group.pods, now=turn.view.now))
    return stop.part + wait + _chain((clear,) if clear is not None else ())


def _without_quota(turn: _Turn) -> actions.Part | None:
    """S4: without quota on the manager nothing is offered, and nothing runs (MK-26, MK-29)."""
    if state.has_quota(turn.view.workload):
        return None
    stop = stopping.everywhere(turn.view, "it has no quota on the manager")
    return stop.part + mirror.plan(turn.view)


def _given(turn: _Turn) -> actions.Part | None:
    """S5: a group that has a cluster is followed there, on duty or not (MK-66, MK-68)."""
    if not turn.view.home:
        return None
    check = turn.view.check
    part = mirror.plan(turn.view)
    if check is None:
        # Nobody can take it back by a check that is gone; it runs on until it is evicted.
        return part
    if check.state in ("Retry", "Rejected"):
        return part
    view = turn.together.given(turn.view)
    return part + running.follow(view, check.name, may_drain=turn.may_drain)


def _here(turn: _Turn) -> actions.Part | None:
    """S6: a group that runs in this cluster has nothing in any other one (MK-61, MK-68)."""
    check = turn.view.check
    if check is not None and check.state != "Ready":
        return None
    return stopping.everywhere(turn.view, "it runs in its own cluster").part


def _stays(turn: _Turn) -> actions.Part | None:
    """S6: a group that was admitted before its queue asked for our check runs on here (MK-68)."""
    check = turn.view.check
    if check is None or check.state != "Pending" or not belongs_here(turn.view):
        return None
    text = "runs in this cluster, where it was admitted before this check was asked for"
    return _chain((status_writes.stays(turn.view.workload, check.name, text, now=turn.view.now),))


def _waits_for_eviction(turn: _Turn) -> actions.Part | None:
    """S10: after Retry nothing is done until Kueue has evicted the group."""
    check = turn.view.check
    return actions.Part() if check is not None and check.state == "Retry" else None


def _rejected(turn: _Turn) -> actions.Part | None:
    """S11: what is offered of a group that can never be dispatched is withdrawn."""
    check = turn.view.check
    if check is None or check.state != "Rejected":
        return None
    return stopping.everywhere(turn.view, "its check is rejected").part


def _off_duty(turn: _Turn) -> actions.Part | None:
    """S0: where the set cannot be dispatched, offers are withdrawn, and its checks say why.

    (MK-57, MK-65, MK-66)
    """
    why, check = turn.view.seen.refused, turn.view.check
    if why is None or check is None:
        return None
    told = status_writes.explain(turn.view.workload, check.name, why.message, now=turn.view.now)
    stop = stopping.everywhere(turn.view, why.text)
    held = actions.Part(reasons=(why.of(turn.view.id.index).held(),))
    return stop.part + held + _chain((told,) if told is not None else ())


def _other_checks(turn: _Turn) -> actions.Part | None:
    """S7: nothing is offered before all other checks are Ready (MK-10)."""
    check = turn.view.check
    others = (one for one in turn.view.workload.status.admission_checks if one != check)
    if all(one.state == "Ready" for one in others):
        return None
    return stopping.everywhere(turn.view, "another check is not Ready").part


def _to_be_renewed(turn: _Turn) -> actions.Part | None:
    """Nothing new rests on a Workload that is switched off, or asks for other pods."""
    if turn.view.workload.spec.active and fitting.asked(turn.view):
        return None
    return stopping.everywhere(turn.view, "its Workload is for another one").part


def _chosen(turn: _Turn) -> actions.Part | None:
    """S8: one of the clusters that have admitted the group gets it (MK-04)."""
    view, check = turn.together.offered(turn.view), turn.view.check
    place = offers.chosen(view)
    if place is None or check is None:
        return None
    turn.load.groups[place.name] += 1
    return offers.choose(view, check.name, place)


def _offered(turn: _Turn) -> actions.Part | None:
    """S9: the group is offered (MK-01, MK-05, MK-07)."""
    view, check = turn.together.offered(turn.view), turn.view.check
    if check is None:
        return None
    told = actions.Part(reasons=(offers.answers(view), *offers.refusals(view)))
    return told + mirror.plan(view) + offers.offer(view, check.name, turn.load)


_STATES: Final[tuple[State, ...]] = (
    _unwanted,
    _finished,
    _evicted,
    _without_quota,
    _given,
    _here,
    _stays,
    _waits_for_eviction,
    _rejected,
    _off_duty,
    _other_checks,
    _to_be_renewed,
    _chosen,
    _offered,
)


def _chain(chain: actions.Chain) -> actions.Part:
    return actions.Part(chains=(chain,) if chain else ())


# A drain ----------------------------------------------------------------------------------------


def _may_drain(views: tuple[places.View, ...], home: str) -> frozenset[int]:
    """Return the groups that may be moved off a cluster that no config names any more (MK-38).

    So many move at a time as may be unavailable, those that move already among them. Those of a set
    that is to be in one cluster leave their ``home`` as a whole: the first that has left would wait
    for the last (MK-12).
    """
    wanted = [view for view in views if view.group.wanted and view.group.workload is not None]
    leaving = [view for view in wanted if _on_drained(view)]
    begun = [view for view in leaving if _moves(view)]
    moving = [view for view in wanted if not _on_drained(view) and _is_on_its_way(view)]
    budget = max(1, views[0].seen.max_unavailable) if views else 1
    free = max(0, budget - len(begun) - len(moving))
    still = [view for view in leaving if view not in begun]
    whole = [view for view in leaving if view.home == home]
    return frozenset(view.id.index for view in (*begun, *whole, *still[:free]))


def _on_drained(view: places.View) -> bool:
    place = view.at_home
    return place is not None and place.up and not place.cluster.configured


def _moves(view: places.View) -> bool:
    place = view.at_home
    return place is not None and (place.run is None or place.run.meta.deleting)


def _is_on_its_way(view: places.View) -> bool:
    """Whether a group that has, or had, quota is not ready: it may be one that has been moved."""
    had = state.has_quota(view.workload) or view.workload.is_true(state.EVICTED)
    return had and not mirror.ready(view)
