"""Topology-aware placement: which domains a pod set's pods go to.

The free capacity of a domain is what its nodes can allocate, less the pods bound there, less
what admitted Workloads are assigned there (kueue-contract 3.5). Pod sets of a group are placed
as a unit (2.2): the larger one, the workers, decides, and the leader goes where it takes none of
the room that they need. `packing` measures and chooses the domains.
"""

import collections
import dataclasses
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from lws_kueue.api import quantity, requests, taints
from lws_kueue.simulator import matching, nodes, objects, packing

HOSTNAME: Final = nodes.HOSTNAME

# Level values of a lowest domain, and what is used there.
Domain = packing.Values
# Pod counts by domain, in the order of the domains' values: the order of the ranks.
Placed = list[tuple[Domain, int]]


@dataclasses.dataclass(frozen=True, slots=True)
class Taken:
    """Pods that a topology assignment put into one lowest domain of a flavor."""

    label: str
    domain: Domain
    count: int
    single: quantity.Amounts
    flavors: frozenset[str] = frozenset()


@dataclasses.dataclass(frozen=True, slots=True)
class Request:
    """One pod set to place."""

    pod_set: objects.PodSet
    count: int

    @property
    def single(self) -> quantity.Amounts:
        """What one pod takes."""
        return self.pod_set.single | {requests.PODS: 1}


class UnplacedError(Exception):
    """There is no place; the message says how much of it there is."""


_Key = tuple[object, ...]
# How many kinds of questions domains are kept measured for; who was asked longest ago goes first.
_MOST_TREES: Final = 128


class Question:
    """Pod sets that are to be placed as a unit, inside the domain ``within``.

    ``kind`` is what it has in common with all questions for which the domains are measured alike.
    """

    def __init__(
        self,
        wanted: Sequence[Request],
        *,
        topology: objects.Topology,
        flavor: objects.Flavor,
        within: Domain = (),
    ) -> None:
        """Read how the pod sets ask.

        Raises:
            UnplacedError: they are no unit, or contradict each other or the topology.
        """
        self.topology = topology
        self.flavor = flavor
        self.within = within
        self.main, self.leader = _members(wanted)
        self.shape = shape_of(self.main, topology, leader=self.leader is not None)
        self.specs = [one.pod_set.spec for one in wanted]
        self.nodes = (topology.name, flavor.name, within, _text([*map(_chooses, self.specs)]))
        self.kind = (self.nodes, _measured(self.main, self.leader, self.shape))

    @property
    def whole(self) -> _Key:
        """All that the answer depends on, apart from what is taken."""
        shape = self.shape
        names = self.main.pod_set.name, self.leader.pod_set.name if self.leader else ""
        return self.kind, names, shape.count, shape.depth, shape.required, shape.lean


def _chooses(spec: objects.Object) -> list[Any]:
    return [spec.get(key) for key in ("nodeSelector", "affinity", "tolerations")]


def _measured(main: Request, leader: Request | None, shape: packing.Shape) -> str:
    singles = [main.single, leader.single if leader else None]
    return _text([singles, shape.slice_size, shape.slice_depth, shape.inner])


def _text(content: Any) -> str:
    return json.dumps(content, sort_keys=True)


@dataclasses.dataclass(frozen=True, slots=True)
class Places:
    """The nodes of the cluster and what pods without an assignment take there, for one pass."""

    nodes: Mapping[str, nodes.Node]
    bound: Mapping[str, quantity.Amounts]
    _free: dict[_Key, Mapping[Domain, quantity.Amounts]] = dataclasses.field(
        default_factory=dict, init=False, compare=False, repr=False
    )

    @classmethod
    def of(cls, observed: objects.Observed) -> "Places":
        """Sum up the bound pods by node."""
        bound: dict[str, quantity.Amounts] = {}
        for pod in observed.pods.values():
            if pod.node and pod.requests:
                bound[pod.node] = quantity.add(bound.get(pod.node, {}), pod.requests)
        return cls(nodes=observed.nodes, bound=bound)

    def leaves(self, topology: objects.Topology, flavor: objects.Flavor) -> set[Domain]:
        """All lowest domains with a node that is up, whether it may take pods or not."""
        return {
            _values(node, topology)
            for node in self.nodes.values()
            if node.usable and _belongs(node, topology, flavor)
        }

    def free(self, question: Question) -> Mapping[Domain, quantity.Amounts]:
        """Return what is free in each lowest domain whose nodes may take the pods."""
        if question.nodes not in self._free:
            self._free[question.nodes] = self._summed_up(question)
        return self._free[question.nodes]

    def _summed_up(self, question: Question) -> Mapping[Domain, quantity.Amounts]:
        within = question.within
        free: dict[Domain, quantity.Amounts] = {}
        for node in self.nodes.values():
            values = _values(node, question.topology)
            if not _belongs(node, question.topology, question.flavor):
                continue
            if values[: len(within)] != within or not _eligible(node, question):
                continue
            used = quantity.times(self.bound.get(node.name, {}), -1)
            free[values] = quantity.add(free.get(values, {}), node.allocatable, used)
        # Nodes are often alike, and `packing` counts once what fits in the same object.
        alike: dict[_Key, quantity.Amounts] = {}
        return {
            values: alike.setdefault(tuple(sorted(amounts.items())), amounts)
            for values, amounts in free.items()
        }


class _Usage:
    """What assignments take in the lowest domains of one kind, and when that changed last."""

    def __init__(self) -> None:
        self.moment = 0
        self._taken: dict[Domain, quantity.Amounts] = {}
        # In the order of the moments.
        self._changed: dict[Domain, int] = {}

    def add(self, domain: Domain, single: quantity.Amounts, count: int) -> None:
        """Count so many pods in a domain, less than none if they go."""
        taken = self._taken.setdefault(domain, {})
        for name, amount in single.items():
            taken[name] = taken.get(name, 0) + amount * count
        self.moment += 1
        self._changed.pop(domain, None)
        self._changed[domain] = self.moment

    def of(self, domain: Domain) -> quantity.Amounts:
        """What is taken in a domain."""
        return self._taken.get(domain, {})

    def since(self, moment: int) -> Iterator[Domain]:
        """The domains in which that changed after a moment."""
        for domain, changed in reversed(self._changed.items()):
            if changed <= moment:
                return
            yield domain


@dataclasses.dataclass(slots=True)
class _Tree:
    """Domains as they were measured at a ``moment`` of what is taken there.

    ``leaves`` are the lowest ones by the values that an assignment lists, with what is free there
    as long as no assignment takes anything.
    """

    domains: packing.Tree
    usage: _Usage
    leaves: Mapping[Domain, tuple[packing.Domain, quantity.Amounts]]
    moment: int = 0

    def catch_up(self) -> None:
        """Measure again where something else is taken than at that moment."""
        known = ((d, self.leaves[d]) for d in self.usage.since(self.moment) if d in self.leaves)
        self.domains.renew((leaf, _less(free, self.usage.of(d))) for d, (leaf, free) in known)
        self.moment = self.usage.moment


def _less(free: quantity.Amounts, taken: quantity.Amounts) -> quantity.Amounts:
    return quantity.add(free, quantity.times(taken, -1))


class Capacity:
    """What is free on the nodes while assignments come and go.

    It is reckoned on from one question to the next: where nothing changed, nothing is measured.
    """

    def __init__(self, places: Places) -> None:
        self._places = places
        self._usages: collections.defaultdict[_Key, _Usage] = collections.defaultdict(_Usage)
        self._trees: dict[_Key, _Tree] = {}

    def take(self, parts: Iterable[Taken]) -> None:
        """Count what is taken."""
        for part in parts:
            self._count(part, part.count)

    def give_back(self, parts: Iterable[Taken]) -> None:
        """Count no more what was taken."""
        for part in parts:
            self._count(part, -part.count)

    def _count(self, part: Taken, count: int) -> None:
        # A host is the same one in every flavor; another domain is made of the flavor's own nodes.
        for flavor in ("",) if part.label == HOSTNAME else part.flavors:
            self._usages[part.label, flavor].add(part.domain, part.single, count)

    def place(self, question: Question) -> dict[str, Placed]:
        """Return where the pod sets go, by their names.

        Raises:
            UnplacedError: they do not fit.
        """
        tree = self._tree(question)
        tree.catch_up()
        try:
            chosen = packing.pack(tree.domains, question.shape)
        except packing.NoRoomError as error:
            raise UnplacedError(_shortfall(tree.domains, question, error)) from error
        placed = {
            question.main.pod_set.name: sorted((d.values, d.given) for d in chosen if d.given)
        }
        if question.leader:
            placed[question.leader.pod_set.name] = [(d.values, 1) for d in chosen if d.led]
        return placed

    def _tree(self, question: Question) -> _Tree:
        tree = self._trees.pop(question.kind, None) or self._measured(question)
        self._trees[question.kind] = tree
        if len(self._trees) > _MOST_TREES:
            del self._trees[next(iter(self._trees))]
        return tree

    def _measured(self, question: Question) -> _Tree:
        topology, leader = question.topology, question.leader
        free = self._places.free(question)
        domains = packing.Tree(
            free, question.shape, question.main.single, leader.single if leader else {}
        )
        lowest = topology.levels[-1]
        return _Tree(
            domains,
            self._usages[lowest, "" if lowest == HOSTNAME else question.flavor.name],
            {
                assigned_values(topology, leaf.values): (leaf, free[leaf.values])
                for leaf in domains.leaves
            },
        )


def _members(wanted: Sequence[Request]) -> tuple[Request, Request | None]:
    """The pod set that decides, and the leader that goes with it."""
    if len(wanted) == 1:
        return wanted[0], None
    first, second, *more = wanted
    main, leader = (second, first) if second.count > first.count else (first, second)
    if more or leader.count != 1:
        raise UnplacedError("the stand-in for Kueue only groups a pod set with one leader")
    return main, leader


def _values(node: nodes.Node, topology: objects.Topology) -> Domain:
    return tuple(node.labels.get(level, "") for level in topology.levels)


def _belongs(node: nodes.Node, topology: objects.Topology, flavor: objects.Flavor) -> bool:
    labelled = all(node.labels.get(key) == value for key, value in flavor.labels.items())
    return labelled and all(_values(node, topology))


def _eligible(node: nodes.Node, question: Question) -> bool:
    if not node.usable:
        return False
    for spec in question.specs:
        tolerations = (*(spec.get("tolerations") or ()), *question.flavor.tolerations)
        if taints.untolerated(node.taints, tolerations) is not None:
            return False
        if not matching.node_affinity(spec, node.labels):
            return False
    return True


def assigned_levels(topology: objects.Topology) -> tuple[str, ...]:
    """The levels that an assignment lists: a hostname says everything (kueue-contract 2.3)."""
    return (HOSTNAME,) if topology.levels[-1] == HOSTNAME else topology.levels


def assigned_values(topology: objects.Topology, domain: Domain) -> Domain:
    """The values that an assignment lists for a domain."""
    return domain[-len(assigned_levels(topology)) :]


# The shape of a request -------------------------------------------------------------------------


def shape_of(main: Request, topology: objects.Topology, *, leader: bool) -> packing.Shape:
    """Translate a request into depths of the topology.

    Raises:
        UnplacedError: its slices contradict each other or the topology.
    """
    asked, lowest = main.pod_set.topology, len(topology.levels)
    constraints = main.pod_set.constraints
    named = asked.get("required") or asked.get("preferred")
    depth = _depth(topology, named) if named else 1 if constraints else lowest
    size, slice_depth = 1, lowest
    if constraints:
        level, size = constraints[0]
        slice_depth = _depth(topology, level)
        if size <= 0:
            raise UnplacedError("slice topology requested, but slice size not provided")
        if depth > slice_depth:
            raise UnplacedError(
                f"podset slice topology {level} is above the podset topology {named}"
            )
    return packing.Shape(
        count=main.count,
        depth=depth,
        lowest=lowest,
        leader=leader,
        required=bool(asked.get("required")),
        lean=not named,
        slice_size=size,
        slice_depth=slice_depth,
        inner=_inner(constraints, topology),
    )


def _depth(topology: objects.Topology, level: str) -> int:
    if level not in topology.levels:
        raise UnplacedError(f"no requested topology level: {level}")
    return topology.levels.index(level) + 1


def _inner(constraints: Sequence[objects.Constraint], topology: objects.Topology) -> dict[int, int]:
    """The sizes of the slices inside slices; the levels between have the size of the next."""
    inner: dict[int, int] = {}
    for (outer, whole), (level, size) in itertools.pairwise(constraints):
        above, depth = _depth(topology, outer), _depth(topology, level)
        if depth <= above:
            raise UnplacedError(
                f"additional slice layer topology {level} must be at a lower level than {outer}"
            )
        if size <= 0 or whole % size:
            raise UnplacedError(
                f"additional slice layer size {size} must evenly divide parent layer size {whole}"
            )
        inner |= dict.fromkeys(range(above + 1, depth + 1), size)
    return inner


# What is said when there is no place ------------------------------------------------------------


def _shortfall(tree: packing.Tree, question: Question, error: packing.NoRoomError) -> str:
    shape = question.shape
    unit = "pod" if shape.slice_size == 1 else "slice"
    if shape.inner:
        found = f"doesn't allow to fit{_by_layer(tree, question, error.depth)}"
    elif error.fits <= 0:
        found = f"doesn't allow to fit any of {shape.slices} {unit}(s)"
    else:
        found = f"allows to fit only {error.fits} out of {shape.slices} {unit}(s)"
    return f'topology "{question.topology.name}" {found}{_full_domains(tree)}'


def _by_layer(tree: packing.Tree, question: Question, depth: int) -> str:
    """How many slices of each size the roomiest domain of the level that was tried holds."""
    domains = sorted(tree.at(depth), key=lambda domain: (-domain.slices, domain.values))
    main, topology = question.main, question.topology
    parts = []
    for level, size in main.pod_set.constraints if domains else ():
        below = domains[0].at(_depth(topology, level) - depth)
        fits = sum(domain.pods // size for domain in below)
        parts.append(f"; {fits}/{main.count // size} slice(s) fit on level {level}")
    return "".join(parts)


def _full_domains(tree: packing.Tree) -> str:
    """Count the lowest domains without room for a single pod, by the resource that lacks."""
    lacking = {name: number for name, number in tree.lacking.items() if name and number}
    if not lacking:
        return ""
    excluded = ", ".join(f'resource "{name}": {lacking[name]}' for name in sorted(lacking))
    return f". Total nodes: {len(tree.leaves)}; excluded: {excluded}"
