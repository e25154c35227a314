"""Which clusters are left to a group by what its set says of where its groups are to be.

By annotations of the set: all in one cluster (MK-12), or where those of another set are (MK-13).
Both are about groups that have no cluster yet; what runs is moved by neither of them.

A group of a set that is to be in one cluster goes where another one is already. Where none is, the
one with the lowest index is offered, and it alone. That is looked at twice: before a cluster is
stored, and before anything is made there. Between the two a process may have ended that had given
another group to another cluster; so nothing is made while any other group may be elsewhere.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from lws_kueue.api import names, reasons
from lws_kueue.api.reasons import Reason
from lws_kueue.dispatch import observed, places, stopping
from lws_kueue.workload import state

ONE_CLUSTER: Final = "one-cluster"

WAITS: Final = "WaitsForHome"
INVALID: Final = "PlacementInvalid"

# So much is told of a value that nobody can make anything of.
_MOST_OF_VALUE: Final = 100


class Together:
    """How the groups of a set depend on where the others are.

    ``home`` is the cluster that the groups of a set are in that are to be in one, "" while none has
    any, or where they need not be. ``reasons`` are those about the set as a whole.
    """

    def __init__(self, seen: observed.Observed, views: Iterable[places.View]) -> None:
        self._front: int | None = None
        annotations = seen.lws.meta.annotations if seen.lws is not None else {}
        placement = annotations.get(names.PLACEMENT)
        self.reasons = () if placement in (None, ONE_CLUSTER) else (_unknown(str(placement)),)
        self._beside = _beside(seen, annotations.get(names.SAME_CLUSTER_AS))
        self.home = ""
        self._one = placement == ONE_CLUSTER
        if not self._one:
            return
        uid = seen.lws.meta.uid if seen.lws is not None else ""
        self._views = tuple(view for view in views if view.id.set_uid == uid)
        self._where = {view.id.index: _may_be(view) for view in self._views}
        named = [view for view in self._views if view.home and view.group.wanted]
        held_by = next((view for view in named if _is_made(view)), next(iter(named), None))
        self.home = held_by.home if held_by is not None else ""
        self._held_by = held_by.id.index if held_by is not None else 0

    def offered(self, view: places.View) -> places.View:
        """Return a group that has no cluster, with the clusters that it may be offered to.

        Groups are asked about in the order of their indices.
        """
        if not self._one:
            return view.within(self._beside)
        if self._front is None:
            self._front = view.id.index
        return view.within(_both(self._room(view), self._beside))

    def _room(self, view: places.View) -> places.Room:
        here = next((one for one in self._views if one.id != view.id and _is_here(one)), None)
        if here is not None:
            return _nowhere(f"{_TOGETHER}, and group {here.id.index} runs in the manager's own")
        if self.home:
            text = f"{_TOGETHER}, and group {self._held_by} has been given to {self.home}"
            return places.Room(frozenset({self.home}), because=text)
        if view.id.index != self._front:
            return _nowhere(f"{_TOGETHER}, and group {self._front} is offered before the others")
        left = self._others(view)
        if not left:
            return places.ANYWHERE
        text = f"{_TOGETHER}, and others have not stopped in {', '.join(sorted(left))}"
        return places.Room(left, because=text) if len(left) == 1 else _nowhere(text)

    def given(self, view: places.View) -> places.View:
        """Return a group that has a cluster, and whether it may be made there.

        One that has been made is left where it is, wherever the others are.
        """
        if not self._one or not view.home or _is_made(view):
            return view
        if self.home and view.home != self.home:
            text = (
                f"it was given to cluster {view.home}, and group {self._held_by} of its set, which"
                f" is to be in one, to {self.home}"
            )
            return view.within(places.Room(apart=text))
        return view.within(places.Room(unsettled=bool(self._unsettled(view))))

    def _unsettled(self, view: places.View) -> frozenset[str]:
        """Return where else others may be, but for those that are known to run elsewhere.

        They were there before somebody wanted the set in one cluster, and stay.
        """
        if not any(one.home == view.home and _is_made(one) for one in self._views):
            return self._others(view) - {view.home}
        named = (one.home for one in self._views if one.home and not _is_made(one))
        return frozenset(named) - {view.home}

    def _others(self, view: places.View) -> frozenset[str]:
        others = (where for index, where in self._where.items() if index != view.id.index)
        return frozenset[str]().union(*others)


_TOGETHER: Final = f"the groups of its set are to be in one cluster ({names.PLACEMENT})"


def _is_made(view: places.View) -> bool:
    """Whether a group has been made in the cluster that it was given to."""
    place = view.at_home
    return place is not None and place.run is not None


def _is_here(view: places.View) -> bool:
    """Whether a group runs in the manager's own cluster, and goes nowhere else."""
    found = view.group.workload
    if found is None or view.home or not view.group.wanted:
        return False
    return state.admission(found) is state.Admission.ADMITTED


def _may_be(view: places.View) -> frozenset[str]:
    """Return the clusters in which something of a group is, or cannot be ruled out.

    Kueue's eviction takes away the name of the cluster, so a group that is evicted may be in any
    in which it is not confirmed to have stopped.
    """
    found = {view.home} if view.home else set()
    leaves = not view.home and _leaves(view)
    for place in view.places:
        is_made = place.run is not None and not stopping.is_given_up(view, place)
        if is_made or (leaves and not stopping.at(view, place, "").done):
            found.add(place.name)
    return frozenset(found)


def _leaves(view: places.View) -> bool:
    """Whether a group that has quota is on its way out of wherever it is."""
    workload = view.group.workload
    if workload is None or not state.has_quota(workload):
        return False
    evicted = state.admission(workload) is state.Admission.EVICTED
    goes = workload.meta.deleting or workload.is_true(state.FINISHED)
    return evicted or goes or not view.group.wanted


def _both(one: places.Room, other: places.Room) -> places.Room:
    """Return what two rules leave of the clusters, and which of them is told."""
    for room in (other, one):
        if room.why is not None:
            return room
    if one.clusters is None or other.clusters is None:
        return other if one.clusters is None else one
    left = one.clusters & other.clusters
    if left:
        return places.Room(left, because=f"{one.because}; {other.because}")
    return _nowhere(f"{one.because}, but {other.because}")


def _nowhere(text: str) -> places.Room:
    return places.Room(frozenset(), why=Reason(WAITS, text, waits=True, warns=False))


# Beside another set ------------------------------------------------------------------------------


def _beside(seen: observed.Observed, name: str | None) -> places.Room:
    """Return the clusters in which the groups of another set are, all for no other set."""
    if name is None:
        return places.ANYWHERE
    where = _field(names.SAME_CLUSTER_AS, name)
    if name == seen.name:
        return _refused(f"{where}: this is the set itself", "Name another one")
    if around := _cycle(seen.name, name, seen.neighbours):
        text = f"{where}: sets {reasons.some(around, most=5)} wait for each other"
        return _refused(text, "Take the annotation off one of them")
    other = seen.neighbours.get(name)
    if other is None:
        text = f"{where}: there is no such set in namespace {seen.namespace}"
        return _refused(text, "Make it, or name another one", code=WAITS)
    beside = f"its groups are to be where those of set {name} are"
    if not other.clusters:
        return _nowhere(f"{beside} ({names.SAME_CLUSTER_AS}), and none of them has a cluster")
    at = ", ".join(sorted(other.clusters))
    return places.Room(other.clusters, because=f"{beside} ({names.SAME_CLUSTER_AS}), in {at}")


def _cycle(own: str, name: str, sets: Mapping[str, observed.Neighbour]) -> tuple[str, ...]:
    """Return the sets that want to be beside each other in turn, this one first; () for none."""
    around = [own]
    while name in sets and name not in around:
        around.append(name)
        name = sets[name].beside
    return tuple(around) if name == own else ()


def _refused(text: str, fix: str, *, code: str = INVALID) -> places.Room:
    return places.Room(frozenset(), why=Reason(code, text, fix, waits=True))


def _unknown(value: str) -> Reason:
    text = f"{_field(names.PLACEMENT, value)}: unsupported value, which is without effect"
    return Reason(INVALID, text, f'Supported is "{ONE_CLUSTER}"')


def _field(annotation: str, value: str) -> str:
    return f'metadata.annotations[{annotation}]: "{reasons.shortened(value, most=_MOST_OF_VALUE)}"'
