"""Who has to make room for a Workload: preemption without fair sharing.

The rules are Kueue's (``pkg/scheduler/preemption`` of v0.19). Within its ClusterQueue a Workload
may displace lower priorities; in other queues of its cohorts whoever borrows what is its queue's,
or, if the queue may borrow while it does so, lower priorities too.
"""

import enum
import functools
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
    """``common`` is the cohort in which preemptor and holder meet, None in one queue."""

    holder: Holder
    why: Why
    common: hierarchy.Node | None


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
    some = _Candidates(preemptor, node, holders)
    for may_borrow in _attempts(preemptor, node, some):
        ordered = some.ordered(may_borrow=may_borrow)
        found = _attempt(preemptor, tree, ordered, may_borrow=may_borrow, places=places)
        if found:
            return found
    return ()


def _attempts(preemptor: Preemptor, node: hierarchy.Node, some: "_Candidates") -> tuple[bool, ...]:
    """Return in which order it is tried with borrowing and without."""
    forbidden = preemptor.queue.preemption.borrow_within == "Never"
    under = all(node.quota(kind).nominal > node.usage.get(kind, 0) for kind in preemptor.kinds)
    if (forbidden and not under) or not (some.reclaimed or some.by_priority):
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
            if not _counts(candidate, preemptor, tree):
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


def _counts(candidate: _Candidate, preemptor: Preemptor, tree: hierarchy.Tree) -> bool:
    """Whether a candidate may still be displaced, after those before it."""
    if candidate.common is None:
        return True
    node = tree.queues[candidate.holder.queue]
    if node.within(preemptor.kinds):
        return False
    for above in node.above():
        if above is candidate.common:
            return True
        if above.within(preemptor.kinds):
            return False
    return True


class _Candidates:
    """Who may have to go, each list in the order of their going.

    A list is made when somebody reads it: who borrows displaces nobody for priority alone, and
    many look in vain for others.
    """

    def __init__(self, preemptor: Preemptor, node: hierarchy.Node, holders: Holders) -> None:
        self._preemptor = preemptor
        self._policy = preemptor.queue.preemption
        self._holders = holders
        self._own = node.name
        reclaims = self._policy.reclaim != "Never"
        self._others = [*_others(preemptor, node)] if reclaims else []
        self._met = {queue: cohort for queue, cohort, _ in self._others}

    @functools.cached_property
    def reclaimed(self) -> list[Holder]:
        """Who borrows what is the preemptor's."""
        queues = [queue for queue, _, advantage in self._others if advantage]
        return self._yielding(queues, self._policy.reclaim)

    @functools.cached_property
    def by_priority(self) -> list[Holder]:
        """Who else borrows."""
        queues = [queue for queue, _, advantage in self._others if not advantage]
        return self._yielding(queues, self._policy.reclaim)

    @functools.cached_property
    def same(self) -> list[Holder]:
        """Who is in the preemptor's queue."""
        return self._yielding([self._own], self._policy.within)

    def _yielding(self, queues: Iterable[str], policy: str) -> list[Holder]:
        """Those of some queues, the lowest priority first, then who came last."""
        some = (one for queue in queues for one in self._holders.get(queue, {}).values())
        # Sorting is stable, so it begins with what decides last.
        found = [one for one in some if yields(one, self._preemptor, policy)]
        found.sort(key=attrgetter("uid"))
        found.sort(key=attrgetter("reserved"), reverse=True)
        found.sort(key=attrgetter("priority"))
        return found

    def ordered(self, *, may_borrow: bool) -> Iterator[_Candidate]:
        """Yield them in the order in which they go: those first that are going anyway."""
        for evicted in (True, False):
            for holder in self.reclaimed:
                if holder.evicted is evicted:
                    yield _Candidate(holder, Why.RECLAIMED, self._met[holder.queue])
            if not may_borrow or self._policy.borrow_within != "Never":
                for holder in self.by_priority:
                    if holder.evicted is evicted:
                        yield from self._of_priority(holder, may_borrow=may_borrow)
            for holder in self.same:
                if holder.evicted is evicted:
                    yield _Candidate(holder, Why.IN_QUEUE, None)

    def _of_priority(self, holder: Holder, *, may_borrow: bool) -> Iterator[_Candidate]:
        policy, common = self._policy, self._met[holder.queue]
        above = policy.threshold is not None and holder.priority > policy.threshold
        lower = holder.priority < self._preemptor.priority
        if policy.borrow_within != "Never" and lower and not above:
            yield _Candidate(holder, Why.WHILE_BORROWING, common)
        elif not may_borrow:
            yield _Candidate(holder, Why.RECLAIMED, common)


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


def yields(holder: Holder, preemptor: Preemptor, policy: str) -> bool:
    """Whether a policy lets a Workload be displaced that holds something of what is short."""
    if preemptor.kinds.isdisjoint(holder.usage):
        return False
    lower = holder.priority < preemptor.priority
    if policy == "LowerOrNewerEqualPriority":
        newer = holder.priority == preemptor.priority and preemptor.queued < holder.queued
        return lower or newer
    return policy == "Any" or (policy == "LowerPriority" and lower)
