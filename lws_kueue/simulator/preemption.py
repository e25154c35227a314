"""Who has to make room for a Workload: preemption without fair sharing.

The rules are Kueue's (``pkg/scheduler/preemption`` of v0.19). Within its ClusterQueue a Workload
may displace lower priorities; in other queues of its cohorts whoever borrows what is its queue's,
or, if the queue may borrow while it does so, lower priorities too.
"""

import enum
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from lws_kueue.simulator import hierarchy, objects

Kind = hierarchy.Kind
# Queue order: higher priority first, then the time of queueing.
Turn = tuple[int, str]


class Why(enum.Enum):
    """On what ground a Workload is displaced; the value is Kueue's reason."""

    IN_QUEUE = "InClusterQueue"
    RECLAIMED = "InCohortReclamation"
    WHILE_BORROWING = "InCohortReclaimWhileBorrowing"


@dataclass(frozen=True, slots=True)
class Holder:
    """A Workload that holds quota in a ClusterQueue.

    ``reserved`` sorts by when it got it; ``evicted`` says that it gives it back already.
    """

    key: tuple[str, str]
    queue: str
    usage: hierarchy.Amounts
    priority: int
    queued: str
    reserved: tuple[str, int]
    uid: str
    evicted: bool = False


@dataclass(frozen=True, slots=True)
class Preemptor:
    """Who needs room: for ``usage``, and who has to go holds some of ``kinds``."""

    queue: objects.ClusterQueue
    priority: int
    queued: str
    usage: Mapping[Kind, int]
    kinds: frozenset[Kind]


@dataclass(frozen=True, slots=True)
class Target:
    """Who has to go, and why."""

    holder: Holder
    why: Why


@dataclass(frozen=True, slots=True)
class _Candidate:
    """``common`` is the cohort in which preemptor and holder meet, None in one queue.

    ``variant`` decides whether the preemptor may borrow meanwhile.
    """

    holder: Holder
    why: Why
    common: hierarchy.Node | None
    without_borrowing: bool = False


Holders = Mapping[str, Mapping[tuple[str, str], Holder]]
# Whether topology has room once some are gone.
Places = Callable[[Sequence[Holder]], bool]


def targets(
    preemptor: Preemptor, tree: hierarchy.Tree, holders: Holders, *, places: Places
) -> tuple[Target, ...]:
    """Return the fewest Workloads, in Kueue's order, whose going makes room; none if that is none.

    ``holders`` are those that hold quota, by ClusterQueue. The tree is left as it was.
    """
    node = tree.queues[preemptor.queue.meta.name]
    same = _in_queue(preemptor, holders)
    reclaimed, by_priority = _in_cohorts(preemptor, node, holders)
    ordered = _ordered(reclaimed, by_priority, same)
    for may_borrow in _attempts(preemptor, node, reclaimed, by_priority):
        found = _attempt(preemptor, tree, ordered, may_borrow=may_borrow, places=places)
        if found:
            return found
    return ()


def _attempts(
    preemptor: Preemptor,
    node: hierarchy.Node,
    reclaimed: Sequence[_Candidate],
    by_priority: Sequence[_Candidate],
) -> tuple[bool, ...]:
    """Return in which order it is tried with borrowing and without."""
    forbidden = preemptor.queue.preemption.borrow_within == "Never"
    under = all(node.quota(kind).nominal > node.usage.get(kind, 0) for kind in preemptor.kinds)
    if not (reclaimed or by_priority) or (forbidden and not under):
        return (True,)
    if forbidden and not reclaimed:
        return (False, True)
    return (True, False)


def _attempt(
    preemptor: Preemptor,
    tree: hierarchy.Tree,
    candidates: Sequence[_Candidate],
    *,
    may_borrow: bool,
    places: Places,
) -> tuple[Target, ...]:
    node = tree.queues[preemptor.queue.meta.name]
    gone: list[_Candidate] = []

    def fits() -> bool:
        for kind, amount in preemptor.usage.items():
            if not may_borrow and node.exceeded_by(kind, amount):
                return False
            if amount > max(0, node.available(kind)):
                return False
        return places([one.holder for one in gone])

    try:
        for candidate in candidates:
            if not _counts(candidate, preemptor, tree, may_borrow=may_borrow):
                continue
            tree.queues[candidate.holder.queue].free(candidate.holder.usage)
            gone.append(candidate)
            if fits():
                _spare(gone, tree, fits)
                return tuple(Target(one.holder, one.why) for one in gone)
        return ()
    finally:
        for one in gone:
            tree.queues[one.holder.queue].use(one.holder.usage)


def _spare(gone: list[_Candidate], tree: hierarchy.Tree, fits: Callable[[], bool]) -> None:
    """Take out who need not go after all; the last one found is always needed."""
    for index in range(len(gone) - 2, -1, -1):
        one = gone[index]
        node = tree.queues[one.holder.queue]
        node.use(one.holder.usage)
        # The last one takes the place of who is spared, as in Kueue: that decides the next order.
        kept = [*gone]
        gone[index] = gone[-1]
        gone.pop()
        if not fits():
            gone[:] = kept
            node.free(one.holder.usage)


def _counts(
    candidate: _Candidate, preemptor: Preemptor, tree: hierarchy.Tree, *, may_borrow: bool
) -> bool:
    """Whether a candidate may still be displaced, after those before it."""
    if candidate.common is None:
        return True
    if may_borrow and candidate.without_borrowing:
        return False
    node = tree.queues[candidate.holder.queue]
    if node.within(preemptor.kinds):
        return False
    for above in node.above():
        if above is candidate.common:
            return True
        if above.within(preemptor.kinds):
            return False
    return True


def _ordered(
    reclaimed: Sequence[_Candidate],
    by_priority: Sequence[_Candidate],
    same: Sequence[_Candidate],
) -> list[_Candidate]:
    """Return the candidates in the order in which they go: those first that are going anyway."""
    lists = [sorted(some, key=_order) for some in (reclaimed, by_priority, same)]
    going = [one for some in lists for one in some if one.holder.evicted]
    staying = [one for some in lists for one in some if not one.holder.evicted]
    return going + staying


def _order(one: _Candidate) -> tuple[int, int, "_Latest", str]:
    # All of a list are in the preemptor's queue, or none is.
    holder = one.holder
    return (0 if holder.evicted else 1, holder.priority, _Latest(holder.reserved), holder.uid)


class _Latest:
    """Sorts what is later before what is earlier."""

    def __init__(self, moment: tuple[str, int]) -> None:
        self.moment = moment

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Latest) and self.moment == other.moment

    def __lt__(self, other: "_Latest") -> bool:
        return self.moment > other.moment

    __hash__ = None  # type: ignore[assignment]


def _in_queue(preemptor: Preemptor, holders: Holders) -> list[_Candidate]:
    policy, queue = preemptor.queue.preemption.within, preemptor.queue.meta.name
    return [
        _Candidate(one, Why.IN_QUEUE, None)
        for one in holders.get(queue, {}).values()
        if yields(one, preemptor, policy)
    ]


def _in_cohorts(
    preemptor: Preemptor, node: hierarchy.Node, holders: Holders
) -> tuple[list[_Candidate], list[_Candidate]]:
    """Return who borrows what is the queue's, or a cohort's of it, and the others."""
    reclaimed: list[_Candidate] = []
    by_priority: list[_Candidate] = []
    if preemptor.queue.preemption.reclaim == "Never":
        return reclaimed, by_priority
    advantage, rest = node.fits(preemptor.usage)
    before: hierarchy.Node | None = None
    for cohort in node.above():
        found = reclaimed if advantage else by_priority
        for queue in _borrowing(cohort, before, node, preemptor.kinds):
            for holder in holders.get(queue.name, {}).values():
                if yields(holder, preemptor, preemptor.queue.preemption.reclaim):
                    found.append(_candidate(holder, preemptor, cohort, advantage=advantage))
        fits, rest = cohort.fits(rest)
        advantage = advantage or fits
        before = cohort
    return reclaimed, by_priority


def _borrowing(
    cohort: hierarchy.Node,
    without: hierarchy.Node | None,
    own: hierarchy.Node,
    kinds: frozenset[Kind],
) -> Iterator[hierarchy.Node]:
    """Yield the queues below a cohort that borrow, in parts of it that do."""
    for child in cohort.children:
        if child in (without, own) or child.within(kinds):
            continue
        if child.is_queue:
            yield child
        else:
            yield from _borrowing(child, without, own, kinds)


def _candidate(
    holder: Holder, preemptor: Preemptor, common: hierarchy.Node, *, advantage: bool
) -> _Candidate:
    if advantage:
        return _Candidate(holder, Why.RECLAIMED, common)
    policy = preemptor.queue.preemption
    above = policy.threshold is not None and holder.priority > policy.threshold
    if policy.borrow_within == "Never" or holder.priority >= preemptor.priority or above:
        return _Candidate(holder, Why.RECLAIMED, common, without_borrowing=True)
    return _Candidate(holder, Why.WHILE_BORROWING, common)


def yields(holder: Holder, preemptor: Preemptor, policy: str) -> bool:
    """Whether a policy lets a Workload be displaced that holds something of what is short."""
    if not any(kind in preemptor.kinds for kind in holder.usage):
        return False
    lower = holder.priority < preemptor.priority
    if policy == "LowerOrNewerEqualPriority":
        newer = holder.priority == preemptor.priority and preemptor.queued < holder.queued
        return lower or newer
    return policy == "Any" or (policy == "LowerPriority" and lower)
