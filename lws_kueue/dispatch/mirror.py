"""What the manager's own objects say of a group that runs elsewhere: its leader pod, and PodsReady.

A leader's pod on the manager is gated for ever. Its status follows the group: the StatefulSet
controller rolls an update, and completes it, over ready pods only. Kueue's pod integration does the
same to the pods that it dispatches.
"""

from datetime import timedelta
from typing import Any, Final

from lws_kueue.api import actions
from lws_kueue.dispatch import places
from lws_kueue.workload import conditions, pods_ready
from lws_kueue.workload import pods as members

REASON: Final = "RunsElsewhere"
# For so long a cluster that was lost counts as it was seen last (MK-33).
_TRUSTED_FOR: Final = timedelta(seconds=30)


def ready(view: places.View) -> bool:
    """Whether the group is ready where it runs, with what it is to be made from."""
    place = view.at_home
    if place is None or place.run is None or not place.admitted:
        return False
    return _is_trusted(view, place) and not place.run.meta.deleting and place.run.ready(view.key)


def untold(view: places.View) -> bool:
    """Whether it is not known yet how the group is: this process has not listed its cluster.

    For as long as one that is lost is trusted, it counts as it was told last (MK-73).
    """
    place = view.at_home
    if place is None or place.up or place.run is not None:
        return False
    return _is_trusted(view, place)


def _is_trusted(view: places.View, place: places.Place) -> bool:
    return place.up or place.cluster.link.lost_for(view.now) <= _TRUSTED_FOR


def updated(view: places.View) -> bool:
    """Whether the group's pods where it runs are those of its leader's revision."""
    place = view.at_home
    return place is not None and place.run is not None and place.run.updated(view.key)


def plan(view: places.View) -> actions.Part:
    """Return the writes that have the manager say how the group is (MK-11, MK-17, MK-33)."""
    is_ready = ready(view)
    reports = (_leader(view, is_ready=is_ready), _pods_ready(view, is_ready=is_ready))
    return actions.Part(
        chains=actions.each_alone(reports), recheck_after=_distrust_in(view, is_ready=is_ready)
    )


def _leader(view: places.View, *, is_ready: bool) -> actions.Patch | None:
    """Return the patch of the leader's status; one that never was ready is left as it is."""
    leader = view.group.leader
    if leader is None or leader.meta.deleting or not members.gated(leader) or untold(view):
        return None
    is_mirrored = leader.phase == "Running"
    if leader.ready == is_ready and (is_mirrored or not is_ready):
        return None
    place = view.at_home
    where = f"runs on cluster {place.name} as {place.set_name}" if place is not None else ""
    told = "True" if is_ready else "False"
    at = conditions.stamp(view.now)
    status: dict[str, Any] = {
        "phase": "Running",
        "reason": REASON,
        "message": where,
        "conditions": [
            _condition("PodScheduled", "False", "SchedulingGated", at),
            _condition("ContainersReady", told, REASON, at),
            _condition("Ready", told, REASON, at),
        ],
    }
    return actions.Patch(
        members.ref(leader),
        {"status": status},
        leader.meta.resource_version,
        subresource="status",
        because=told,
    )


def _condition(kind: str, status: str, reason: str, at: str) -> dict[str, str]:
    return {"type": kind, "status": status, "reason": reason, "lastTransitionTime": at}


def _pods_ready(view: places.View, *, is_ready: bool) -> actions.Apply | None:
    """Return the write of PodsReady, None while its cluster is lost: nobody knows then."""
    place = view.at_home
    if place is not None and not place.up:
        return None
    return pods_ready.write(view.workload, ready=is_ready, now=view.now)


def _distrust_in(view: places.View, *, is_ready: bool) -> float | None:
    """Return in how many seconds a group counts as not ready because its cluster is lost."""
    place = view.at_home
    if not (is_ready or untold(view)) or place is None or place.up:
        return None
    left = _TRUSTED_FOR - place.cluster.link.lost_for(view.now)
    return max(0.0, left.total_seconds()) + 1
