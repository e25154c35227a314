"""Deletions that somebody's finalizer holds up, told to whoever waits for them.

What is deleted stays for as long as it has a finalizer, and until it is gone nothing is made in its
place: an update, a restart and a stop wait, and nobody says why. Nothing is forced here, because
whoever has put a finalizer there has a reason. It is told once that takes long: when the object is
over, and a minute beyond its grace period has passed.

Not told are finalizers that go by themselves. Garbage collection takes off its own when what the
object owns is gone, which is looked at as well. Ours go when pods have ended: that of a stopped pod
(``admission.stopped``) and that of a Workload (``workload.diff``).
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import chain
from typing import Final

from lws_kueue.api import actions, facts, names, numbers, reasons
from lws_kueue.api.reasons import Reason
from lws_kueue.controller.observe import groups, observed, ordinals
from lws_kueue.workload import conditions

# So many seconds after its grace period a deletion is told: most finalizers go within a few.
PATIENCE: Final = 60.0

HELD: Final = "DeletionHeld"

_GO_BY_THEMSELVES: Final = frozenset(
    {"foregroundDeletion", "orphan", names.STOPPED_FINALIZER, names.WORKLOAD_FINALIZER}
)


@dataclass(frozen=True, slots=True)
class _Going:
    """An object that is deleted; ``group`` is the index of its group, None for all of them."""

    kind: str
    meta: facts.Meta
    group: int | None
    over: bool = True


@dataclass(slots=True)
class _Same:
    """Objects of a kind that the same finalizers hold."""

    names: list[str] = field(default_factory=list)
    groups: set[int] = field(default_factory=set)


def foreign(meta: facts.Meta) -> tuple[str, ...]:
    """Return the finalizers of an object that go only when whoever has put them there acts."""
    return tuple(one for one in meta.finalizers if one not in _GO_BY_THEMSELVES)


def of(seen: observed.Observed, *, wanted: int, waits: bool, now: datetime) -> actions.Part:
    """Return a Warning for each kind of object and finalizer that holds a deletion up.

    ``wanted`` is how many groups there shall be; those that are concerned wait for it if ``waits``
    says that the set tells what its groups wait for.
    """
    found: dict[tuple[str, bool, tuple[str, ...]], _Same] = {}
    due_in: list[float] = []
    for going in _going(seen):
        holding = foreign(going.meta)
        deleted = conditions.moment(going.meta.deleted or "")
        if not (holding and going.over and deleted):
            continue
        # The time of a deletion is when its grace period ends.
        left = (deleted + timedelta(seconds=PATIENCE) - now).total_seconds()
        if left >= 0:
            due_in.append(left + 1)
            continue
        here = range(wanted) if going.group is None else (going.group,)
        for kueues in (False, True):
            same = tuple(one for one in holding if one.startswith(names.KUEUE_PREFIX) == kueues)
            if same:
                told = found.setdefault((going.kind, kueues, same), _Same())
                told.names.append(going.meta.name)
                told.groups |= {index for index in here if index < wanted}
    return actions.Part(
        reasons=tuple(
            _reason(kind, holding, same, kueues=kueues, waits=waits)
            for (kind, kueues, holding), same in sorted(found.items(), key=lambda one: one[0])
        ),
        recheck_after=actions.soonest(due_in),
    )


def explained(held: Collection[Reason], others: Collection[Reason]) -> tuple[Reason, ...]:
    """Return why groups wait: for a deletion that is held up, or else as ``others`` say."""
    waiting = {index for reason in held if reason.waits for index in reason.groups}
    rest = (reasons.without(reason, waiting) for reason in others) if waiting else others
    return (*held, *(one for one in rest if one is not None))


def _reason(
    kind: str, holding: tuple[str, ...], same: _Same, *, kueues: bool, waits: bool
) -> Reason:
    # A number would be another text, and another event, for each object that comes and goes.
    others = ", like others of the set" if len(same.names) > 1 else ""
    text = f"{kind} {min(same.names)}{others}: is being deleted, and "
    if kueues:
        text += f"Kueue has not taken off its finalizer {', '.join(holding)}"
        fix = (
            "See that Kueue runs; if the integration that has put it there is switched off by now,"
            " take it off by hand"
        )
    else:
        text += "stays until whoever has put finalizers on it takes them off: "
        text, fix = text + ", ".join(holding), ""
    about = f"{kind} {min(same.names)}: {'Kueue' if kueues else 'other'} finalizers"
    why = Reason(HELD, text, fix, groups=tuple(sorted(same.groups)), about=about)
    return replace(why, waits=waits and bool(same.groups))


def _going(seen: observed.Observed) -> Iterator[_Going]:
    """Return what of the set is being deleted, and what a former group has left in its place."""
    if seen.lws is None:
        return
    in_groups = seen.found.each("pods that go", lambda group: _deleted(group.pods) or None)
    for pod in (*chain.from_iterable(in_groups.values()), *_deleted(seen.found.former)):
        # One that runs waits for its kubelet, and whoever holds it may wait for that.
        over = pod.finished or not pod.node or pod.meta.grace_seconds == 0
        yield _Going("Pod", pod.meta, groups.index_of(seen.name, pod), over)
    for name, one in seen.stateful_sets_that_go.items():
        owner = one.meta.controller
        if owner is None:
            continue
        parent, index = ordinals.parent_and_ordinal(name)
        if (owner.kind, owner.name, name) == (names.LWS_KIND, seen.name, seen.name):
            yield _Going("StatefulSet", one.meta, None)
        elif (owner.kind, owner.name, parent) == ("Pod", name, seen.name):
            yield _Going("StatefulSet", one.meta, index)
    for workload in seen.workloads_that_go.values():
        meta = workload.meta
        claimed = numbers.natural(meta.annotations.get(names.COMPONENT_WORKLOAD_INDEX, ""))
        owned = any(owner.uid == seen.lws.meta.uid for owner in meta.owners)
        if owned and claimed is not None:
            yield _Going("Workload", meta, claimed)


def _deleted(pods: Iterable[facts.Pod]) -> tuple[facts.Pod, ...]:
    return tuple(pod for pod in pods if pod.meta.deleting)
