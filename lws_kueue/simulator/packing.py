"""How many pods and whole slices fit where, and which domains get them, by Kueue's rules.

First every domain is measured, from the lowest level upwards: how many pods it holds, how many
whole slices, and how many of each beside the leader of a group (kueue-contract 2.2, 3.5). Then the
domains of the requested level are chosen and shared out, level by level, to as few of the domains
below as possible. Slices are kept whole at their level; levels below it may have slices of their
own, smaller ones.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence

from lws_kueue.api import quantity

# Level values of a domain, the widest level first.
Values = tuple[str, ...]


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


@dataclasses.dataclass(slots=True)
class Domain:
    """A domain: what it contains, how much fits, and what it was given.

    ``beside`` counts what fits beside a leader. Only lowest domains have free capacity.
    """

    values: Values
    children: "dict[str, Domain]" = dataclasses.field(default_factory=dict)
    free: quantity.Amounts = dataclasses.field(default_factory=dict)
    leaders: int = 0
    pods: int = 0
    pods_beside: int = 0
    slices: int = 0
    slices_beside: int = 0
    given: int = 0
    led: bool = False

    def leaves(self) -> "Iterator[Domain]":
        """The lowest domains."""
        if not self.children:
            yield self
        for child in self.children.values():
            yield from child.leaves()

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


_SLICES = _Unit(lambda domain: domain.slices, lambda domain: domain.slices_beside)
_PODS = _Unit(lambda domain: domain.pods, lambda domain: domain.pods_beside)


def fit(free: Mapping[str, int], single: quantity.Amounts) -> int:
    """How many pods of a kind fit in what is free."""
    counts = [free.get(name, 0) // amount for name, amount in single.items() if amount > 0]
    return max(0, min(counts, default=0))


# Measuring ------------------------------------------------------------------------------------


def measure(
    domain: Domain,
    shape: Shape,
    worker: quantity.Amounts,
    leader: quantity.Amounts,
    *,
    depth: int = 0,
    known: "dict[int, _Fits] | None" = None,
) -> None:
    """Count what fits in a domain and in everything below it.

    ``known`` is what was counted already, by the object that is free: many nodes are alike.
    """
    known = {} if known is None else known
    if domain.children:
        for child in domain.children.values():
            measure(child, shape, worker, leader, depth=depth + 1, known=known)
        _sum_up(domain, shape, size=shape.inner.get(depth + 1, 1))
    else:
        if (fits := known.get(id(domain.free))) is None:
            fits = known[id(domain.free)] = _fits(domain.free, shape, worker, leader)
        domain.pods, domain.leaders, domain.pods_beside = fits
    if depth == shape.slice_depth:
        domain.slices = domain.pods // shape.slice_size
        domain.slices_beside = domain.pods_beside // shape.slice_size


# Pods, leaders, and pods beside a leader.
_Fits = tuple[int, int, int]


def _fits(
    free: quantity.Amounts, shape: Shape, worker: quantity.Amounts, leader: quantity.Amounts
) -> _Fits:
    pods = fit(free, worker)
    if not (shape.leader and fit(free, leader)):
        return pods, 0, pods
    return pods, 1, fit(quantity.add(free, quantity.times(leader, -1)), worker)


def _sum_up(domain: Domain, shape: Shape, *, size: int) -> None:
    """Add up the children; the leader costs what it costs where it costs least."""
    children = list(domain.children.values())
    # A child whose pods come in slices holds no part of one.
    pods = {child.values: child.pods // size * size for child in children}
    hosts = [child for child in children if child.leaders or not shape.leader]
    domain.leaders = max(child.leaders for child in children)
    domain.pods = sum(pods.values())
    domain.slices = sum(child.slices for child in children)
    domain.pods_beside = domain.slices_beside = 0
    if hosts:
        domain.pods_beside = domain.pods - min(
            pods[host.values] - host.pods_beside // size * size for host in hosts
        )
        domain.slices_beside = domain.slices - min(
            host.slices - host.slices_beside for host in hosts
        )


# Choosing -------------------------------------------------------------------------------------


def pack(root: Domain, shape: Shape) -> list[Domain]:
    """Return the lowest domains that get something, with what they are given.

    Raises:
        NoRoomError: it does not fit.
    """
    depth, chosen = _choose(root, shape, shape.depth)
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
    children = _ordered(list(domain.children.values()), shape)
    if size > 1:
        for child in children:
            child.slices, child.slices_beside = child.pods // size, child.pods_beside // size
    unit = _SLICES if size > 1 else _PODS
    part = dataclasses.replace(shape, leader=domain.led)
    return _share(children, domain.given // size, part, unit, size=size)


def _choose(root: Domain, shape: Shape, depth: int) -> tuple[int, list[Domain]]:
    """The domains that hold everything together, and their level."""
    domains = sorted(root.at(depth), key=lambda domain: _leader_order(domain, shape))
    if not domains:
        raise NoRoomError(0, depth)
    holding = [d for d in domains if _holds(d, shape)]
    if shape.lean and holding:
        return depth, holding[:1]
    if not shape.lean and _holds(domains[0], shape):
        return depth, [_best(domains, shape.slices, shape.leader, _SLICES)]
    if shape.required:
        raise NoRoomError(domains[0].slices, depth)
    if depth > 1 and not shape.lean:
        return _choose(root, shape, depth - 1)
    return depth, _collect(domains, shape, depth)


def _holds(domain: Domain, shape: Shape) -> bool:
    return domain.slices_beside >= shape.slices and domain.leaders >= shape.leader


def _collect(domains: list[Domain], shape: Shape, depth: int) -> list[Domain]:
    """Several domains of the widest level: the leader's first, then the roomiest."""
    chosen: list[Domain] = []
    left = shape.slices
    if shape.leader:
        domains = _leader_first(domains, left, _SLICES)
        first = domains[0]
        if not first.leaders:
            raise NoRoomError(0, depth)
        if not shape.lean and first.slices_beside >= left:
            first = _best(domains, left, True, _SLICES)
        chosen.append(first)
        left -= first.slices_beside
        domains = _ordered(domains[1:], shape)
    else:
        domains = _ordered(domains, shape)
    for index, domain in enumerate(domains):
        if left <= 0:
            break
        if not shape.lean and domain.slices >= left:
            domain = _best(domains[index:], left, False, _SLICES)
        chosen.append(domain)
        left -= domain.slices
    if left > 0:
        raise NoRoomError(shape.slices - left, depth)
    return chosen


def _leader_order(domain: Domain, shape: Shape) -> tuple[int, int, int, Values]:
    sign = 1 if shape.lean else -1
    return -domain.leaders, sign * domain.slices_beside, domain.pods_beside, domain.values


def _ordered(domains: Sequence[Domain], shape: Shape) -> list[Domain]:
    """Roomiest first, the leanest first if so asked; a smaller remainder before a larger one."""
    sign = 1 if shape.lean else -1
    return sorted(domains, key=lambda d: (sign * d.slices, d.pods, d.values))


def _best(domains: Sequence[Domain], need: int, leader: bool, unit: _Unit) -> Domain:
    """The first of the smallest domains that hold what is needed; the first if none does."""
    room = unit.beside if leader else unit.fits
    enough = [d for d in domains if room(d) >= need and (d.leaders or not leader)]
    return min(enough, key=room, default=domains[0])


def _leader_first(domains: list[Domain], need: int, unit: _Unit) -> list[Domain]:
    """Put a domain in front that the leader can go to without the rest becoming too small."""
    spare = sum(unit.fits(domain) for domain in domains) - need
    for domain in domains:
        if domain.leaders and unit.fits(domain) - unit.beside(domain) <= spare:
            return [domain, *(other for other in domains if other is not domain)]
    return domains


def _share(
    domains: list[Domain], need: int, shape: Shape, unit: _Unit, *, size: int
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
