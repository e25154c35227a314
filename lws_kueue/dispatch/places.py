"""One group in each of the clusters: what is there under its names.

A place is looked at by the names that are computed for the group, so the objects of another group,
or of a set that had the name before, are never taken for its own (INV-8).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Self

from lws_kueue.api import facts, kueue, lws
from lws_kueue.api.reasons import Reason
from lws_kueue.dispatch import identity, observed, settings
from lws_kueue.workload import conditions, state

# After so long somebody has let a group's pods go where it is admitted, if anybody does there.
SERVED_WITHIN: Final = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Place:
    """What a cluster has of a group: the Workload that is offered there, and the set that runs it.

    ``pods`` are those with the name of that set, None where nobody has looked.
    """

    cluster: observed.Cluster
    set_name: str
    workload_name: str
    offer: kueue.Workload | None
    run: observed.RemoteSet | None
    pods: tuple[facts.Pod, ...] | None

    @property
    def name(self) -> str:
        """The name of the cluster."""
        return self.cluster.name

    @property
    def up(self) -> bool:
        """Whether the cluster answers."""
        return self.cluster.link.up

    @property
    def empty(self) -> bool:
        """Whether there is nothing of the group."""
        return self.offer is None and self.run is None

    @property
    def admitted(self) -> bool:
        """Whether Kueue there has admitted the group."""
        return self.offer is not None and (
            state.admission(self.offer) is state.Admission.ADMITTED and self.offer.spec.active
        )

    @property
    def refusal(self) -> str:
        """Why nothing can be made under the group's names there, "" if it can."""
        refused = self.cluster.refused
        return refused.get(self.workload_name) or refused.get(self.set_name) or ""


@dataclass(frozen=True, slots=True)
class Room:
    """What a group's set leaves of the clusters to it (``placement``).

    Of one that has no cluster: ``clusters`` are those that it may be offered to, None for all, and
    ``because`` says why no others; where there are none, ``why`` is what it waits for. Of one that
    has: ``apart`` says why it is to be taken back before it is made, and ``unsettled`` that it is
    not to be made yet, because others may be elsewhere.
    """

    clusters: frozenset[str] | None = None
    because: str = ""
    why: Reason | None = None
    apart: str = ""
    unsettled: bool = False

    def has(self, cluster: str) -> bool:
        """Whether a cluster is left."""
        return self.clusters is None or cluster in self.clusters


ANYWHERE: Final = Room()


@dataclass(frozen=True)
class View:
    """A group, its places, and all that is decided by beside them."""

    seen: observed.Observed
    id: identity.GroupId
    group: observed.Group
    places: tuple[Place, ...]
    options: settings.Settings
    now: datetime
    room: Room = ANYWHERE

    @property
    def manager(self) -> identity.Manager:
        """The manager's cluster."""
        return self.seen.manager

    @property
    def workload(self) -> kueue.Workload:
        """The group's Workload on the manager; only asked for where there is one."""
        assert self.group.workload is not None
        return self.group.workload

    @property
    def home(self) -> str:
        """The cluster that the group has been given to, "" for none."""
        found = self.group.workload
        return (found.status.cluster_name or "") if found is not None else ""

    @property
    def check(self) -> kueue.AdmissionCheckState | None:
        """The state of our check of the Workload, None if it has none of ours."""
        states = self.workload.status.admission_checks
        return next((one for one in states if one.name in self.seen.checks), None)

    @property
    def key(self) -> str:
        """The revision key of what the group is to be, "" where nobody knows."""
        return self.group.content.key if self.group.content is not None else ""

    @property
    def owner(self) -> lws.LeaderWorkerSet | None:
        """The set as the group is to be made from it."""
        return self.group.content.owner if self.group.content is not None else None

    @property
    def at_home(self) -> Place | None:
        """The place in the cluster that it has been given to, None if that is not known."""
        return self.place(self.home) if self.home else None

    def place(self, cluster: str) -> Place | None:
        """Return the group's place in a cluster, None if the cluster is not known."""
        return next((one for one in self.places if one.name == cluster), None)

    def others(self, place: Place) -> tuple[Place, ...]:
        """Return all other places."""
        return tuple(one for one in self.places if one.name != place.name)

    def within(self, room: Room) -> Self:
        """Return the group with what its set leaves to it."""
        return self if room is self.room else replace(self, room=room)


def view(
    seen: observed.Observed,
    group_id: identity.GroupId,
    group: observed.Group,
    *,
    options: settings.Settings,
    now: datetime,
) -> View:
    """Return a group with its places."""
    set_name = identity.set_name(seen.manager, group_id)
    workload_name = identity.workload_name(seen.manager, group_id)
    places = tuple(
        Place(
            cluster=cluster,
            set_name=set_name,
            workload_name=workload_name,
            offer=_ours(seen.manager, cluster.workloads.get(workload_name)),
            run=_ours_set(seen.manager, cluster.sets.get(set_name)),
            pods=cluster.pods.get(set_name),
        )
        for cluster in seen.clusters
    )
    return View(seen, group_id, group, places, options, now)


def _ours(manager: identity.Manager, found: kueue.Workload | None) -> kueue.Workload | None:
    return found if found is not None and identity.is_ours(found.meta, manager) else None


def _ours_set(
    manager: identity.Manager, found: observed.RemoteSet | None
) -> observed.RemoteSet | None:
    return found if found is not None and identity.is_ours(found.meta, manager) else None


def groups(seen: observed.Observed) -> Mapping[identity.GroupId, observed.Group]:
    """Return all groups that there is anything of: the set's, and what was left of others.

    A group of a set that is gone, or that had the name before, has no Workload here: whatever there
    is of it in a worker is left over (INV-7).
    """
    uid = seen.lws.meta.uid if seen.lws is not None else ""
    found: dict[identity.GroupId, observed.Group] = {
        _id(seen, group, uid): group for group in seen.groups
    }
    for cluster in seen.clusters:
        offers = (one.meta for one in cluster.workloads.values())
        sets = (one.meta for one in cluster.sets.values())
        for meta in (*offers, *sets):
            left = identity.group_of(meta)
            if left is not None and identity.is_ours(meta, seen.manager):
                found.setdefault(left, observed.Group(left.index, wanted=False))
    return found


def _id(seen: observed.Observed, group: observed.Group, uid: str) -> identity.GroupId:
    """Return the id of a group; that of a set that is gone is known from its Workload's owner."""
    if group.workload is not None and group.workload.meta.owners:
        uid = group.workload.meta.owners[0].uid
    return identity.GroupId(seen.namespace, seen.name, uid, group.index)


def asks_for_pods(view: View, place: Place) -> bool:
    """Whether pods have to be looked for by name before anything is decided about a place.

    That is where no set stands for them, and some may be left all the same: somebody may have
    deleted it in the background, and a Workload with quota lets pods go.
    """
    if not place.up or place.run is not None:
        return False
    has_quota = place.offer is not None and state.has_quota(place.offer)
    taken = place.set_name in place.cluster.refused
    return has_quota or place.name == view.home or taken or _last_look(view, place)


def _last_look(view: View, place: Place) -> bool:
    """Whether pods alone may be left of an evicted group, anywhere (MK-28).

    Kueue's eviction clears the name of its cluster, and what it had there may be gone altogether,
    as with a namespace. It is looked for once all else is gone, which costs each cluster a request.
    Where nobody may look nothing was ever offered.
    """
    workload = view.group.workload
    if workload is None or not (state.has_quota(workload) and workload.is_true(state.EVICTED)):
        return False
    return place.cluster.may_look and all(one.empty for one in view.places if one.up)


def served_by(view: View, place: Place) -> datetime | None:
    """Return by when a group ought to run where it is admitted, None where that is plain (MK-60).

    Whoever lets groups go in a cluster reports PodsReady of one that runs; of one that comes up
    nothing tells whether anybody has seen it but its pods.
    """
    run, offer = place.run, place.offer
    if run is None or offer is None or place.name != view.home or not place.admitted:
        return None
    ready = int(run.status.get("readyReplicas") or 0) >= 1
    if ready or run.meta.deleting or offer.condition(state.PODS_READY) is not None:
        return None
    admitted = offer.condition(state.ADMITTED)
    moments = (
        conditions.moment(run.meta.created),
        conditions.moment(admitted.last_transition_time if admitted is not None else ""),
    )
    known = [one for one in moments if one is not None]
    return max(known) + SERVED_WITHIN if known else None


def asked(
    seen: observed.Observed, *, options: settings.Settings, now: datetime
) -> Mapping[str, tuple[str, ...]]:
    """Return the sets, by cluster, whose pods a decision needs to know of (``looked_up``).

    Of groups that nobody seems to serve one a cluster is enough: others fare as that does.
    """
    found: dict[str, list[str]] = {}
    unserved: set[str] = set()
    for group_id, group in groups(seen).items():
        one = view(seen, group_id, group, options=options, now=now)
        for place in one.places:
            by = served_by(one, place)
            tells = by is not None and by <= now and place.up and place.name not in unserved
            if tells:
                unserved.add(place.name)
            if tells or asks_for_pods(one, place):
                found.setdefault(place.name, []).append(place.set_name)
    return {cluster: tuple(names) for cluster, names in found.items()}
