"""Stopping a group in a cluster: its set first, then, when no pod can run any more, its Workload.

In the foreground a set goes after its last pod. So a worker never gives quota away under running
pods, and that there is no Workload means that it has stopped (INV-4). A Workload that only was
offered has no pods behind it; that is looked at all the same where it has quota.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from lws_kueue.api import actions, facts
from lws_kueue.api.reasons import Reason
from lws_kueue.dispatch import places, remote_objects
from lws_kueue.workload import diff, eviction
from lws_kueue.workload import pods as members

# No watch tells of a worker's pods, so they are asked for once more after so many seconds.
ASK_AGAIN: Final = 2.0

_NOTHING: Final = actions.Part()


@dataclass(frozen=True, slots=True)
class Stop:
    """What is written to stop a group somewhere; ``done`` says that it is confirmed to have."""

    part: actions.Part = _NOTHING
    done: bool = False


def at(view: places.View, place: places.Place, why: str) -> Stop:
    """Return the next step of stopping a group in one cluster (MK-27, MK-28, MK-41)."""
    if not place.up:
        return _while_lost(view, place)
    if place.run is not None:
        return Stop(_delete_set(view, place, why))
    if places.asks_for_pods(view, place):
        left = still_running(place.pods, now=view.now)
        if left is None or left:
            return Stop(_waits(view, place, left))
    if place.offer is None:
        return Stop(done=True)
    return Stop(actions.Part(chains=(_in(place, diff.removal(place.offer, ())),)))


def everywhere(view: places.View, why: str) -> Stop:
    """Return the next steps of stopping a group in all clusters (INV-3).

    It has stopped when each of them says so. One that has been lost for longer than the time-out
    counts as stopped as well: there is no other way to go on.
    """
    return together(at(view, place, why) for place in view.places)


def elsewhere(view: places.View, place: places.Place, why: str) -> Stop:
    """Return the next steps of stopping a group in all clusters but one that can be asked (INV-5).

    One that is lost may keep a Workload: nothing runs by that alone. What has a set there as well
    is waited for.
    """
    others = [one for one in view.others(place) if one.up or one.run is not None]
    return together(at(view, one, why) for one in others)


def together(stops: Iterable[Stop]) -> Stop:
    """Return several steps as one, which is done when all of them are."""
    found = tuple(stops)
    return Stop(
        actions.joined(one.part for one in found),
        done=all(one.done for one in found),
    )


def still_running(
    pods: tuple[facts.Pod, ...] | None, *, now: datetime
) -> tuple[facts.Pod, ...] | None:
    """Return the pods that can run, None where nobody has looked; stuck ones no longer count."""
    if pods is None:
        return None
    return tuple(pod for pod in pods if members.could_run(pod) and not eviction.stuck(pod, now=now))


def _while_lost(view: places.View, place: places.Place) -> Stop:
    """Wait for a lost cluster until the time-out; whatever is there is removed when it is back."""
    since, timeout = place.cluster.link.lost_since, view.options.worker_lost_timeout
    assert since is not None
    if is_given_up(view, place):
        return Stop(done=True)
    left = (since + timeout - view.now).total_seconds()
    return Stop(actions.Part(recheck_after=max(0.0, left) + 1))


def is_given_up(view: places.View, place: places.Place) -> bool:
    """Whether a cluster has been lost for longer than anybody waits for it."""
    return not place.up and place.cluster.link.lost_for(view.now) > view.options.worker_lost_timeout


def _delete_set(view: places.View, place: places.Place, why: str) -> actions.Part:
    assert place.run is not None
    if place.run.meta.deleting:
        return actions.Part()
    text = f"Stopping group {view.id.index} on cluster {place.name}: {why}"
    delete = actions.Delete(
        remote_objects.set_ref(place.name, view.id.namespace, place.set_name),
        place.run.meta.uid,
        propagation="Foreground",
        events=(actions.Event("Normal", "Stopped", text),),
        because=why,
        stops=True,
    )
    return actions.Part(chains=((delete,),))


def _waits(
    view: places.View, place: places.Place, left: tuple[facts.Pod, ...] | None
) -> actions.Part:
    """Wait for pods whose set somebody else has deleted, and tell who can end them.

    Nothing that could be done to them is ours to do: pods in a worker are that cluster's (INV-6).
    """
    part = actions.Part(recheck_after=ASK_AGAIN)
    lasting = [pod for pod in left or () if not pod.meta.deleting]
    if not lasting:
        return part
    text = (
        f"cluster {place.name}: {len(lasting)} pods of {place.set_name} run, and no set of ours"
        " stands for them"
    )
    return replace(part, reasons=(Reason("RemotePodsLeft", text, "delete them").of(view.id.index),))


def _in(place: places.Place, chain: actions.Chain) -> actions.Chain:
    """Return a chain that was worked out for one cluster as one for another."""
    return tuple(_moved(action, place.name) for action in chain)


def _moved(action: actions.Action, cluster: str) -> actions.Action:
    match action:
        case actions.Delete() | actions.Patch():
            return replace(action, ref=replace(action.ref, cluster=cluster))
        case actions.Create() | actions.Apply():
            return replace(action, cluster=cluster)
    raise ValueError("pods are released in the controller's own cluster only")
