"""A group that has been given to a cluster: it is made there, kept up to date, or taken back.

The first rule that applies decides; each is a function that says nothing where it does not apply.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from lws_kueue.api import actions, kueue, names
from lws_kueue.api.reasons import Reason
from lws_kueue.dispatch import (
    fitting,
    observed,
    offers,
    placement,
    places,
    remote_objects,
    status_writes,
    stopping,
)
from lws_kueue.workload import conditions, state
from lws_kueue.workload import pods as members


@dataclass(frozen=True)
class Home:
    """A group in the cluster that it has been given to; ``check`` is the name of ours."""

    view: places.View
    place: places.Place
    check: str


Rule = Callable[[Home], actions.Part | None]

# What is told of a group: its cluster does not answer, Kueue there has evicted it, and so on.
_LOST: Final = "ClusterLost"
_DRAINED: Final = "ClusterDrained"
_EVICTED: Final = "GroupEvictedOnWorker"
_TAKEN: Final = "RemoteNameTaken"
_RENEWED: Final = "RemoteWorkloadOutdated"
_UNSERVED: Final = "RemoteGroupNotReleased"

# The pods of a group that nobody seems to serve are looked at again after so many seconds.
_LOOK_AT_UNSERVED: Final = 30.0


def follow(view: places.View, check: str, *, may_drain: bool) -> actions.Part:
    """Return what a group asks for that has a cluster (S5 of the protocol)."""
    place = view.at_home
    if place is None:
        text = f"cluster {view.home} is not known any more"
        return actions.Part(reasons=(Reason(_LOST, text).of(view.id.index).held(),))
    # A group that waits for its turn to move is followed as if its cluster were still named.
    rules = _RULES if may_drain else tuple(rule for rule in _RULES if rule is not _drained)
    found = (rule(Home(view, place, check)) for rule in rules)
    return next((part for part in found if part is not None), actions.Part())


def _lost(home: Home) -> actions.Part | None:
    """Wait for a cluster that does not answer, and take the group back after the time-out.

    Since when it is lost is stored, so a restart does not start the clock anew (MK-32 to MK-36).
    """
    if home.place.up:
        return None
    lost_since = home.place.cluster.link.lost_since
    since = conditions.stamp(lost_since) if lost_since is not None else "an unknown time"
    if not stopping.is_given_up(home.view, home.place):
        # It may well run, so it does not wait for anything.
        why = "does not answer since"
        if home.place.cluster.gone:
            why = "may not be reached: there is no MultiKueueCluster of that name, as was seen at"
        told = Reason(_LOST, f"cluster {home.place.name} {why} {since}")
        deadline = stopping.at(home.view, home.place, "").part
        return deadline + actions.Part(reasons=(told.of(home.view.id.index),))
    seconds = int(home.view.options.worker_lost_timeout.total_seconds())
    text = f"cluster {home.place.name} has not been reachable since {since} (time-out {seconds} s)"
    return _take_back(home, _LOST, text)


def _drained(home: Home) -> actions.Part | None:
    """Stop a group on a cluster that no config names any more, and take it back then (MK-38)."""
    if home.place.cluster.configured:
        return None
    text = f"cluster {home.place.name} was taken out of the configuration"
    stop = stopping.at(home.view, home.place, text)
    return _take_back(home, _DRAINED, text) if stop.done else stop.part


def _workload_lost(home: Home) -> actions.Part | None:
    """Take a group back whose Workload there has lost its quota (MK-27, MK-29, MK-31, MK-55).

    Where nothing of ours is left of it, as when its namespace goes, its pods are waited for first:
    Kueue's eviction clears the name of the cluster, and then nobody knows where to look for them.
    """
    if home.place.admitted:
        return None
    if home.place.empty:
        stop = stopping.at(home.view, home.place, "")
        if not stop.done:
            return stop.part
    return _take_back(home, _EVICTED, f"on cluster {home.place.name}: {_said(home.place.offer)}")


def _misfit(home: Home) -> actions.Part | None:
    """Take a group back that is to be made of what its Workload there was not admitted for.

    One whose Workload here is about to be renewed is not: that stops it as well (MK-20, MK-25).
    """
    assert home.place.offer is not None
    if not fitting.asked(home.view):
        return actions.Part()
    what = fitting.misfit(home.view, home.place.offer)
    if what is None:
        return None
    text = f"on cluster {home.place.name}: its Workload is for another {what}"
    return _take_back(home, _RENEWED, text)


def _name_taken(home: Home) -> actions.Part | None:
    """Take a group back whose set there is not ours any more (MK-54, MK-55)."""
    if home.place.run is not None or home.place.set_name not in home.place.cluster.refused:
        return None
    reason = home.place.cluster.refused[home.place.set_name]
    return _take_back(home, _TAKEN, f"on cluster {home.place.name}: {reason}")


def _apart(home: Home) -> actions.Part | None:
    """Take a group back that was given to another cluster than the others of its set (MK-12)."""
    text = home.view.room.apart
    return _take_back(home, placement.WAITS, text) if text else None


def _others_stop(home: Home) -> actions.Part | None:
    """Stop whatever there is of the group elsewhere, before anything is made here (INV-1, INV-5).

    So a cluster that comes back after the group has moved is cleaned first (MK-34, MK-37).
    """
    others = stopping.elsewhere(home.view, home.place, f"it runs on cluster {home.place.name}")
    return None if others.done else others.part


def _made(home: Home) -> actions.Part | None:
    """Make the group's set, or bring it up to date; then its priority."""
    assert home.place.offer is not None
    follows = remote_objects.follow_priority(home.place.offer, home.view.workload, home.place.name)
    made = _set(home.view, home.place) + actions.Part(chains=(follows,) if follows else ())
    return made + _unserved(home)


def _unserved(home: Home) -> actions.Part:
    """Tell of a group that nobody lets go where it is admitted (MK-60).

    Its set is born gated, so nothing runs; but who serves sets there knows nothing of Workloads.
    """
    by = places.served_by(home.view, home.place)
    if by is None:
        return actions.Part()
    if by > home.view.now:
        return actions.Part(recheck_after=(by - home.view.now).total_seconds() + 1)
    asks_again = actions.Part(recheck_after=_LOOK_AT_UNSERVED)
    pods = home.place.pods or ()
    if not pods or not all(members.gated(pod) for pod in pods):
        return asks_again
    text = (
        f"cluster {home.place.name}: the pods of {home.place.set_name} stay gated although their"
        " Workload is admitted: nobody lets groups go there"
    )
    fix = "Install lws-kueue there, or switch Kueue's LeaderWorkerSet integration on"
    told = Reason(_UNSERVED, text, fix).of(home.view.id.index)
    return asks_again + actions.Part(reasons=(told,))


def _set(view: places.View, place: places.Place) -> actions.Part:
    if view.owner is None:
        return actions.Part()
    asked = remote_objects.Asked(view.manager, view.id, view.owner, view.key, view.options)
    if place.run is None:
        return _make(view, place, remote_objects.one_group(asked))
    wanted = remote_objects.to_be(place.run, asked)
    if place.run.meta.deleting or wanted is None:
        return actions.Part()
    # Guarded by its UID: one that somebody has deleted meanwhile is not made anew unseen.
    body = {**wanted, "metadata": {**wanted["metadata"], "uid": place.run.meta.uid}}
    text = f"{place.set_name} on cluster {place.name} is set back to what group {view.id.index} is"
    restored = (actions.Event("Normal", "RemoteObjectRestored", text),)
    return _apply(
        body,
        place,
        because=view.key,
        expects=(_stands(view),),
        events=restored if place.run.key == view.key else (),
        replaces=place.run,
    )


def _make(view: places.View, place: places.Place, wanted: dict[str, object]) -> actions.Part:
    """Make the set where its Workload is admitted, and no pod of an earlier one is left (INV-2).

    It is not forced: whose the object is that has its name all the same is found out, and told.
    """
    if not view.workload.spec.active or view.room.unsettled:
        return actions.Part()
    left = stopping.still_running(place.pods, now=view.now)
    if left is None or left:
        return actions.Part(recheck_after=stopping.ASK_AGAIN)
    absent = actions.Expect(remote_objects.set_ref(place.name, view.id.namespace, place.set_name))
    text = f"Group {view.id.index} runs on cluster {place.name} as {place.set_name}"
    return _apply(
        wanted,
        place,
        because=view.key,
        expects=(_stands(view), offers.expect_admitted(place), absent),
        events=(actions.Event("Normal", "GroupDispatched", text),),
        force=False,
    )


def _stands(view: places.View) -> actions.Expect:
    """Return what has to be true of the manager's Workload before a set is written (MK-44)."""
    return actions.Expect(
        remote_objects.workload_ref(view.workload),
        uid=view.workload.meta.uid,
        true=(state.QUOTA_RESERVED,),
        false=(state.EVICTED,),
    )


def _apply(
    body: dict[str, object],
    place: places.Place,
    *,
    because: str,
    expects: tuple[actions.Expect, ...],
    events: tuple[actions.Event, ...] = (),
    force: bool = True,
    replaces: observed.RemoteSet | None = None,
) -> actions.Part:
    write = actions.Apply(
        body,
        names.DISPATCH_FIELD_MANAGER,
        force=force,
        events=events,
        because=because,
        expects=expects,
        cluster=place.name,
        replaces=replaces,
    )
    return actions.Part(chains=((write,),))


_RULES: Final[tuple[Rule, ...]] = (
    _lost,
    _drained,
    _workload_lost,
    _name_taken,
    _apart,
    _others_stop,
    _misfit,
    _made,
)


def _take_back(home: Home, code: str, text: str) -> actions.Part:
    """Return what has Kueue evict the group: it stops, and is offered anew when it has stopped."""
    write = status_writes.retry(home.view.workload, home.check, text, now=home.view.now)
    told = Reason(code, text).of(home.view.id.index).held()
    return actions.Part(chains=((write,),), reasons=(told,))


def _said(offer: kueue.Workload | None) -> str:
    """Say why a Workload does not hold its quota, in its Kueue's words."""
    if offer is None:
        return "its Workload was deleted"
    for kind in (state.FINISHED, state.EVICTED):
        found = offer.condition(kind)
        if found is not None and found.status == "True":
            return f"{found.reason}: {found.message}"
    if not offer.spec.active:
        return "its Workload was deactivated"
    return "its Workload has no quota"
