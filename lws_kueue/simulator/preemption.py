"""Who has to make room for a Workload: preemption without fair sharing.

The rules are Kueue's (``pkg/scheduler/preemption`` of v0.19). Within its ClusterQueue a Workload
may displace lower priorities; in other queues of its cohorts whoever borrows what is its queue's,
or, if the queue may borrow while it does so, lower priorities too.
"""

import enum
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter

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
    some = _candidates(preemptor, node, holders)
    for may_borrow in _attempts(preemptor, node, some):
        ordered = some.ordered(preemptor)
        found = _attempt(preemptor, tree, ordered, may_borrow=may_borrow, places=places)
        if found:
            return found
    return ()


def _attempts(preemptor: Preemptor, node: hierarchy.Node, some: "_Candidates") -> tuple[bool, ...]:
    """Return in which order it is tried with borrowing and without."""
    forbidden = preemptor.queue.preemption.borrow_within == "Never"
    under = all(node.quota(kind).nominal > node.usage.get(kind, 0) for kind in preemptor.kinds)
    if not (some.reclaimed or some.by_priority) or (forbidden and not under):
        return (True,)
    if forbidden and not some.reclaimed:
        return (False, True)
    return (True, False)


def _attempt(
    preemptor: Preemptor,
    tree: hierarchy.Tree,
    candidates: Iterable[_Candidate],
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


@dataclass(frozen=True, slots=True)
class _Candidates:
    """Who may have to go: in other queues, and in the ``same``; each in the order of their going.

    ``met`` are the cohorts in which the preemptor meets the queues of the others.
    """

    reclaimed: Sequence[Holder]
    by_priority: Sequence[Holder]
    same: Sequence[Holder]
    met: Mapping[str, hierarchy.Node]

    def ordered(self, preemptor: Preemptor) -> Iterator[_Candidate]:
        """Yield them in the order in which they go: those first that are going anyway."""
        for evicted in (True, False):
            for holder in self.reclaimed:
                if holder.evicted is evicted:
                    yield _Candidate(holder, Why.RECLAIMED, self.met[holder.queue])
            for holder in self.by_priority:
                if holder.evicted is evicted:
                    yield _by_priority(holder, preemptor, self.met[holder.queue])
            for holder in self.same:
                if holder.evicted is evicted:
                    yield _Candidate(holder, Why.IN_QUEUE, None)


def _candidates(preemptor: Preemptor, node: hierarchy.Node, holders: Holders) -> _Candidates:
    policy = preemptor.queue.preemption
    reclaimed: list[Holder] = []
    by_priority: list[Holder] = []
    met: dict[str, hierarchy.Node] = {}
    if policy.reclaim != "Never":
        for queue, cohort, advantage in _others(preemptor, node):
            found = reclaimed if advantage else by_priority
            found += _yielding(queue, preemptor, policy.reclaim, holders)
            met[queue] = cohort
    same = _yielding(node.name, preemptor, policy.within, holders)
    return _Candidates(_in_turn(reclaimed), _in_turn(by_priority), _in_turn(same), met)


def _yielding(queue: str, preemptor: Preemptor, policy: str, holders: Holders) -> Iterator[Holder]:
    return (one for one in holders.get(queue, {}).values() if yields(one, preemptor, policy))


def _in_turn(holders: Iterable[Holder]) -> list[Holder]:
    """Sort by priority, the lowest first, then by who has quota for the shortest time."""
    # Sorting is stable, so it begins with what decides last.
    found = sorted(holders, key=attrgetter("uid"))
    found.sort(key=attrgetter("reserved"), reverse=True)
    found.sort(key=attrgetter("priority"))
    return found


def _others(
    preemptor: Preemptor, node: hierarchy.Node
) -> Iterator[tuple[str, hierarchy.Node, bool]]:
    """Yield who borrows: the queue, where it is met, and whether that is the preemptor's quota.

    It is if it would fit into what is nominal quota below the cohort.
    """
    advantage, rest = node.fits(preemptor.usage)
    before: hierarchy.Node | None = None
    for cohort in node.above():
        for queue in _borrowing(cohort, before, node, preemptor.kinds):
            yield queue.name, cohort, advantage
        fits, rest = cohort.fits(rest)
        advantage = advantage or fits
        before = cohort


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


def _by_priority(holder: Holder, preemptor: Preemptor, common: hierarchy.Node) -> _Candidate:
    policy = preemptor.queue.preemption
    above = policy.threshold is not None and holder.priority > policy.threshold
    if policy.borrow_within == "Never" or holder.priority >= preemptor.priority or above:
        return _Candidate(holder, Why.RECLAIMED, common, without_borrowing=True)
    return _Candidate(holder, Why.WHILE_BORROWING, common)


def yields(holder: Holder, preemptor: Preemptor, policy: str) -> bool:
    """Whether a policy lets a Workload be displaced that holds something of what is short."""
    if preemptor.kinds.isdisjoint(holder.usage):
        return False
    lower = holder.priority < preemptor.priority
    if policy == "LowerOrNewerEqualPriority":
        newer = holder.priority == preemptor.priority and preemptor.queued < holder.queued
        return lower or newer
    return policy == "Any" or (policy == "LowerPriority" and lower)
