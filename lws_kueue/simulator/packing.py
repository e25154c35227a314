"""How many pods and whole slices fit where, and which domains get them, by Kueue's rules.

First every domain is measured, from the lowest level upwards: how many pods it holds, how many
whole slices, and how many of each beside the leader of a group (kueue-contract 2.2, 3.5). When
other amounts are free in some lowest domains, these are measured again with what is above them, and
nothing else. Then the domains of the requested level are chosen and shared out, level by level, to
as few of the domains below as possible. Slices are kept whole at their level; levels below it may
have slices of their own, smaller ones.
"""

import bisect
import collections
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import attrgetter

from lws_kueue.api import quantity

# Level values of a domain, the widest level first.
Values = tuple[str, ...]
# What domains are sorted by. It ends with their values, so no two have the same.
_Rank = tuple[int | Values, ...]


class NoRoomError(Exception):
    """There is no place for everything.

    ``fits`` is how many slices (or pods) there is room for at the level that was tried last.
    """

    def __init__(self, fits: int, depth: int) -> None:
        super().__init__(f"room for {fits}")
        self.fits = fits
        self.depth = depth


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What is to be placed: so many pods, in slices, with or without a leader beside them.

    Levels are given as depths, 1 for the widest. ``depth`` is the requested level; with
    ``required`` one of its domains has to hold everything, otherwise wider ones may, and several
    of the widest. ``lean`` begins with the domains that have the least room and asks for no
    locality. ``inner`` maps depths below ``slice_depth`` to the size of the slices there.
    """

    count: int
    depth: int
    lowest: int
    leader: bool = False
    required: bool = False
    lean: bool = False
    slice_size: int = 1
    slice_depth: int
    inner: Mapping[int, int] = dataclasses.field(default_factory=dict)

    @property
    def slices(self) -> int:
        """How many whole slices the pods are."""
        return self.count // self.slice_size


@dataclasses.dataclass(slots=True, eq=False)
class Domain:
    """A domain: what it contains, how much fits, and what it was given.

    ``beside`` counts what fits beside a leader. Only lowest domains have free capacity, and
    ``lacking``, the resource that keeps a single pod out.
    """

    values: Values
    above: "Domain | None" = None
    children: "dict[str, Domain]" = dataclasses.field(default_factory=dict)
    free: Mapping[str, int] = dataclasses.field(default_factory=dict)
    lacking: str = ""
    leaders: int = 0
    pods: int = 0
    pods_beside: int = 0
    slices: int = 0
    slices_beside: int = 0
    given: int = 0
    led: bool = False

    @property
    def depth(self) -> int:
        """How many levels there are above, the root's included."""
        return len(self.values)

    @property
    def measured(self) -> tuple[int, int, int, int, int]:
        """What the domain above is measured by."""
        return self.leaders, self.pods, self.pods_beside, self.slices, self.slices_beside

    def at(self, depth: int) -> "Iterator[Domain]":
        """The domains ``depth`` levels further down."""
        if depth == 0:
            yield self
            return
        for child in self.children.values():
            yield from child.at(depth - 1)


@dataclasses.dataclass(frozen=True, slots=True)
class _Unit:
    """What is shared out in one step: slices or single pods."""

    fits: Callable[[Domain], int]
    beside: Callable[[Domain], int]


_SLICES = _Unit(attrgetter("slices"), attrgetter("slices_beside"))
_PODS = _Unit(attrgetter("pods"), attrgetter("pods_beside"))


def fit(free: Mapping[str, int], single: quantity.Amounts) -> int:
    """How many pods of a kind fit in what is free."""
    counts = [free.get(name, 0) // amount for name, amount in single.items() if amount > 0]
    return max(0, min(counts, default=0))


# Measuring ------------------------------------------------------------------------------------


class Tree:
    """The domains of a topology, measured for pods of one kind.

    Of the ``shape`` counts how slices are made and whether there is a leader; how many pods there
    are, and how close they have to be, makes no difference here. ``lacking`` counts the lowest
    domains by the resource that keeps a single pod out, and those with room for one under "".
    """

    def __init__(
        self,
        free: Mapping[Values, Mapping[str, int]],
        shape: Shape,
        worker: quantity.Amounts,
        leader: quantity.Amounts,
    ) -> None:
        self.lacking: collections.Counter[str] = collections.Counter()
        self._shape = shape
        self._worker = worker
        self._leader = leader
        self._levels = _levels(free)
        self._orders: dict[int, dict[Callable[[Domain], _Rank], _Order]] = {}
        # Many nodes are alike, and then the same object says what is free there.
        known: dict[int, _Fits] = {}
        for leaf in self.leaves:
            if (fits := known.get(id(leaf.free))) is None:
                fits = known[id(leaf.free)] = self._fits(leaf.free)
            self._put(leaf, fits)
        for level in reversed(self._levels[:-1]):
            for domain in level:
                self._sum_up(domain)

    @property
    def leaves(self) -> Sequence[Domain]:
        """The lowest domains; the root is none."""
        return self._levels[-1] if len(self._levels) > 1 else ()

    def at(self, depth: int) -> Sequence[Domain]:
        """The domains of a level."""
        return self._levels[depth] if depth < len(self._levels) else ()

    def ordered(self, depth: int, rank: Callable[[Domain], _Rank]) -> Sequence[Domain]:
        """The domains of a level, in the order of their ranks."""
        orders = self._orders.setdefault(depth, {})
        if rank not in orders:
            orders[rank] = _Order(self.at(depth), rank)
        return orders[rank].domains

    def renew(self, free: Iterable[tuple[Domain, Mapping[str, int]]]) -> None:
        """Say what is free now in some lowest domains, and measure again what depends on that."""
        stale: dict[Domain, None] = {}
        for leaf, amounts in free:
            leaf.free = amounts
            before = leaf.measured
            self.lacking[leaf.lacking] -= 1
            self._put(leaf, self._fits(amounts))
            self._propagate(leaf, before, stale)
        while stale:
            level, stale = stale, {}
            for domain in level:
                before = domain.measured
                self._sum_up(domain)
                self._propagate(domain, before, stale)

    def _propagate(
        self, domain: Domain, before: tuple[int, ...], stale: dict[Domain, None]
    ) -> None:
        """Where a domain is measured otherwise than before, the one above is stale."""
        if domain.measured == before:
            return
        for order in self._orders.get(domain.depth, {}).values():
            order.renew(domain)
        if domain.above is not None:
            stale[domain.above] = None

    def _fits(self, free: Mapping[str, int]) -> "_Fits":
        pods = fit(free, self._worker)
        lacking = "" if pods else _lacking(free, self._worker)
        if not (self._shape.leader and fit(free, self._leader)):
            return pods, 0, pods, lacking
        beside = {name: amount - self._leader.get(name, 0) for name, amount in free.items()}
        return pods, 1, fit(beside, self._worker), lacking

    def _put(self, leaf: Domain, fits: "_Fits") -> None:
        leaf.pods, leaf.leaders, leaf.pods_beside, leaf.lacking = fits
        self.lacking[leaf.lacking] += 1
        self._slice(leaf)

    def _sum_up(self, domain: Domain) -> None:
        """Add up the children; the leader costs what it costs where it costs least."""
        # A child whose pods come in slices holds no part of one.
        size = self._shape.inner.get(domain.depth + 1, 1)
        children = domain.children.values()
        domain.pods = domain.pods_beside = sum([child.pods // size for child in children]) * size
        domain.slices = domain.slices_beside = sum([child.slices for child in children])
        if self._shape.leader:
            hosts = [child for child in children if child.leaders]
            domain.leaders = 1 if hosts else 0
            pods = [child.pods // size - child.pods_beside // size for child in hosts]
            slices = [child.slices - child.slices_beside for child in hosts]
            # Where the leader has no place, nothing is beside it.
            domain.pods_beside -= min(pods, default=domain.pods // size) * size
            domain.slices_beside -= min(slices, default=domain.slices)
        self._slice(domain)

    def _slice(self, domain: Domain) -> None:
        if domain.depth == self._shape.slice_depth:
            domain.slices = domain.pods // self._shape.slice_size
            domain.slices_beside = domain.pods_beside // self._shape.slice_size


# Pods, leaders, pods beside a leader, and the resource that keeps a single pod out.
_Fits = tuple[int, int, int, str]


def _levels(free: Mapping[Values, Mapping[str, int]]) -> list[list[Domain]]:
    """Return the domains of each level, of which the first is the root alone."""
    root = Domain(values=())
    for values, amounts in free.items():
        leaf = root
        for depth, value in enumerate(values, start=1):
            if (child := leaf.children.get(value)) is None:
                child = leaf.children[value] = Domain(values=values[:depth], above=leaf)
            leaf = child
        leaf.free = amounts
    levels = [[root]]
    while below := [child for domain in levels[-1] for child in domain.children.values()]:
        levels.append(below)
    return levels


def _lacking(free: Mapping[str, int], single: quantity.Amounts) -> str:
    return min(single, key=lambda name: (free.get(name, 0) / max(single[name], 1), name))


class _Order:
    """Domains in the order of their ranks, which is kept while they are measured again."""

    def __init__(self, domains: Iterable[Domain], rank: Callable[[Domain], _Rank]) -> None:
        self.domains = sorted(domains, key=rank)
        self._rank = rank
        self._ranks = [rank(domain) for domain in self.domains]
        self._known = dict(zip(self.domains, self._ranks, strict=True))

    def renew(self, domain: Domain) -> None:
        """Put a domain where it belongs now."""
        at = bisect.bisect_left(self._ranks, self._known[domain])
        del self._ranks[at], self.domains[at]
        rank = self._known[domain] = self._rank(domain)
        at = bisect.bisect_left(self._ranks, rank)
        self._ranks.insert(at, rank)
        self.domains.insert(at, domain)


# Choosing -------------------------------------------------------------------------------------


def pack(tree: Tree, shape: Shape) -> list[Domain]:
    """Return the lowest domains that get something, with what they are given.

    Raises:
        NoRoomError: it does not fit.
    """
    depth, chosen = _choose(tree, shape, shape.depth)
    chosen = _share(chosen, shape.slices, shape, _SLICES, size=shape.slice_size)
    while depth < min(shape.lowest, shape.slice_depth):
        # Above the level of the slices all domains below the chosen ones are one pool.
        depth += 1
        pool = _ordered([c for domain in chosen for c in domain.children.values()], shape)
        chosen = _share(pool, shape.slices, shape, _SLICES, size=shape.slice_size)
    while depth < shape.lowest:
        depth += 1
        chosen = [part for domain in chosen for part in _share_below(domain, shape, depth)]
    return chosen


def _share_below(domain: Domain, shape: Shape, depth: int) -> list[Domain]:
    """Share out what a domain was given to its children, at ``depth``."""
    size = shape.inner.get(depth, 1)
    children = _ordered(domain.children.values(), shape)
    unit = _PODS if size == 1 else _in_slices(size)
    part = dataclasses.replace(shape, leader=domain.led)
    return _share(children, domain.given // size, part, unit, size=size)


def _in_slices(size: int) -> _Unit:
    """Return slices of a size that is not that of the whole."""
    return _Unit(lambda domain: domain.pods // size, lambda domain: domain.pods_beside // size)


def _choose(tree: Tree, shape: Shape, depth: int) -> tuple[int, list[Domain]]:
    """The domains that hold everything together, and their level."""
    domains = tree.ordered(depth, _leader_leanest if shape.lean else _leader_roomiest)
    if not domains:
        raise NoRoomError(0, depth)
    if shape.lean:
        holding = next((domain for domain in domains if _holds(domain, shape)), None)
        if holding is not None:
            return depth, [holding]
    elif _holds(domains[0], shape):
        return depth, [_best(domains, shape.slices, shape.leader, _SLICES)]
    if shape.required:
        raise NoRoomError(domains[0].slices, depth)
    if depth > 1 and not shape.lean:
        return _choose(tree, shape, depth - 1)
    return depth, _collect(tree, domains, shape, depth)


def _holds(domain: Domain, shape: Shape) -> bool:
    return domain.slices_beside >= shape.slices and domain.leaders >= shape.leader


def _collect(tree: Tree, domains: Sequence[Domain], shape: Shape, depth: int) -> list[Domain]:
    """Several domains of the widest level: the leader's first, then the roomiest."""
    chosen: list[Domain] = []
    left = shape.slices
    rest = tree.ordered(depth, _leanest if shape.lean else _roomiest)
    if shape.leader:
        domains = _leader_first(domains, left, _SLICES)
        first = domains[0]
        if not first.leaders:
            raise NoRoomError(0, depth)
        rest = [domain for domain in rest if domain is not first]
        if not shape.lean and first.slices_beside >= left:
            first = _best(domains, left, True, _SLICES)
        chosen.append(first)
        left -= first.slices_beside
    for index, domain in enumerate(rest):
        if left <= 0:
            break
        if not shape.lean and domain.slices >= left:
            domain = _best(rest[index:], left, False, _SLICES)
        chosen.append(domain)
        left -= domain.slices
    if left > 0:
        raise NoRoomError(shape.slices - left, depth)
    return chosen


def _leader_roomiest(domain: Domain) -> _Rank:
    return -domain.leaders, -domain.slices_beside, domain.pods_beside, domain.values


def _leader_leanest(domain: Domain) -> _Rank:
    return -domain.leaders, domain.slices_beside, domain.pods_beside, domain.values


def _roomiest(domain: Domain) -> _Rank:
    """Roomiest first; a smaller remainder before a larger one."""
    return -domain.slices, domain.pods, domain.values


def _leanest(domain: Domain) -> _Rank:
    return domain.slices, domain.pods, domain.values


def _ordered(domains: Iterable[Domain], shape: Shape) -> list[Domain]:
    return sorted(domains, key=_leanest if shape.lean else _roomiest)


def _best(domains: Sequence[Domain], need: int, leader: bool, unit: _Unit) -> Domain:
    """The first of the smallest domains that hold what is needed; the first if none does."""
    room = unit.beside if leader else unit.fits
    enough = [d for d in domains if room(d) >= need and (d.leaders or not leader)]
    return min(enough, key=room, default=domains[0])


def _leader_first(domains: Sequence[Domain], need: int, unit: _Unit) -> Sequence[Domain]:
    """Put a domain in front that the leader can go to without the rest becoming too small."""
    spare = sum(unit.fits(domain) for domain in domains) - need
    for domain in domains:
        if domain.leaders and unit.fits(domain) - unit.beside(domain) <= spare:
            return [domain, *(other for other in domains if other is not domain)]
    return domains


def _share(
    domains: Sequence[Domain], need: int, shape: Shape, unit: _Unit, *, size: int
) -> list[Domain]:
    """Give units of ``size`` pods to domains in order; the last is the one that fits best."""
    leader, left = shape.leader, need
    if leader and len(domains) > 1:
        domains = _leader_first(domains, need, unit)
    chosen: list[Domain] = []
    for index, domain in enumerate(domains):
        room = unit.beside if leader else unit.fits
        ends = room(domain) >= left and bool(domain.leaders or not leader)
        if ends and not shape.lean:
            domain = _best(domains[index:], left, leader, unit)
        taken = min(room(domain), left)
        domain.given, domain.led = taken * size, leader and bool(domain.leaders)
        chosen.append(domain)
        left -= taken
        leader = leader and not domain.led
        if left == 0 and not leader:
            return chosen
    raise NoRoomError(need - left, shape.depth)
