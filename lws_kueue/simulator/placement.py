"""Topology-aware placement: which domains a pod set's pods go to.

The free capacity of a domain is what its nodes can allocate, less the pods bound there, less
what admitted Workloads are assigned there (kueue-contract 3.5). Pod sets of a group are placed
as a unit (2.2): the larger one, the workers, decides, and the leader goes where it takes none of
the room that they need. `packing` chooses the domains.
"""

import collections
import dataclasses
import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

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


@dataclasses.dataclass(frozen=True, slots=True)
class _Answer:
    """Where pod sets were placed while so much was ``taken``, or the ``problem``."""

    taken: tuple[Taken, ...]
    placed: dict[str, Placed]
    problem: str = ""


class _Known:
    """What was found out about the nodes, which are the same for all that is asked.

    Many Workloads ask for the same, one look after the other. Answers are known by the very objects
    that were taken, which they keep.
    """

    def __init__(self) -> None:
        self.leaves: dict[_Key, Mapping[Domain, quantity.Amounts]] = {}
        self.answers: dict[tuple[_Key, frozenset[int]], _Answer] = {}
        self._texts: dict[int, tuple[objects.PodSet, str]] = {}

    def key(
        self,
        wanted: Sequence[Request],
        topology: objects.Topology,
        flavor: objects.Flavor,
        within: Domain,
    ) -> _Key:
        """Return what a question is, apart from what is taken."""
        pods = tuple((one.pod_set.name, one.count, self._text(one.pod_set)) for one in wanted)
        return pods, topology.name, flavor.name, within

    def _text(self, pod_set: objects.PodSet) -> str:
        """Return a pod set's content; who has the same content asks for the same."""
        kept = self._texts.get(id(pod_set))
        if kept is None:
            content = [pod_set.spec, pod_set.topology, pod_set.single]
            kept = self._texts[id(pod_set)] = (pod_set, json.dumps(content, sort_keys=True))
        return kept[1]


@dataclasses.dataclass(frozen=True, slots=True)
class Places:
    """The nodes of the cluster and what is taken on them, for one pass."""

    nodes: Mapping[str, nodes.Node]
    bound: Mapping[str, quantity.Amounts]
    known: _Known = dataclasses.field(default_factory=_Known, compare=False, repr=False)

    @classmethod
    def of(cls, observed: objects.Observed) -> "Places":
        """Sum up the bound pods by node."""
        bound: dict[str, quantity.Amounts] = {}
        for pod in observed.pods.values():
            if pod.node and pod.requests:
                bound[pod.node] = quantity.add(bound.get(pod.node, {}), pod.requests)
        return cls(nodes=observed.nodes, bound=bound)

    def place(
        self,
        wanted: Sequence[Request],
        *,
        topology: objects.Topology,
        flavor: objects.Flavor,
        taken: Iterable[Taken],
        within: Domain = (),
    ) -> dict[str, Placed]:
        """Place pod sets as a unit, inside the domain ``within``.

        Raises:
            UnplacedError: they do not fit.
        """
        taken = tuple(taken)
        key = self.known.key(wanted, topology, flavor, within)
        asked = (key, frozenset(map(id, taken)))
        if (answer := self.known.answers.get(asked)) is None:
            try:
                answer = _Answer(taken, self._placed(wanted, topology, flavor, taken, within, key))
            except UnplacedError as error:
                answer = _Answer(taken, {}, str(error))
            self.known.answers[asked] = answer
        if answer.problem:
            raise UnplacedError(answer.problem)
        return dict(answer.placed)

    def _placed(
        self,
        wanted: Sequence[Request],
        topology: objects.Topology,
        flavor: objects.Flavor,
        taken: Iterable[Taken],
        within: Domain,
        key: _Key,
    ) -> dict[str, Placed]:
        main, leader = _members(wanted)
        shape = shape_of(main, topology, leader=leader is not None)
        if (leaves := self.known.leaves.get(key)) is None:
            leaves = self._eligible_leaves(wanted, topology, flavor, within)
            self.known.leaves[key] = leaves
        tree = _tree(leaves)
        _subtract(tree, topology, flavor, taken)
        packing.measure(tree, shape, main.single, leader.single if leader else {})
        try:
            chosen = packing.pack(tree, shape)
        except packing.NoRoomError as error:
            message = _shortfall(tree, main, topology, shape, error)
            raise UnplacedError(message) from error
        placed = {main.pod_set.name: sorted((d.values, d.given) for d in chosen if d.given)}
        if leader:
            placed[leader.pod_set.name] = [(d.values, 1) for d in chosen if d.led]
        return placed

    def leaves(self, topology: objects.Topology, flavor: objects.Flavor) -> set[Domain]:
        """All lowest domains with a node that is up, whether it may take pods or not."""
        return {
            _values(node, topology)
            for node in self.nodes.values()
            if node.usable and _belongs(node, topology, flavor)
        }

    def _eligible_leaves(
        self,
        wanted: Sequence[Request],
        topology: objects.Topology,
        flavor: objects.Flavor,
        within: Domain,
    ) -> Mapping[Domain, quantity.Amounts]:
        """Return what is free in each lowest domain whose nodes may take the pods."""
        free: dict[Domain, quantity.Amounts] = {}
        for node in self.nodes.values():
            values = _values(node, topology)
            if not _belongs(node, topology, flavor) or values[: len(within)] != within:
                continue
            if not _eligible(node, wanted, flavor):
                continue
            used = quantity.times(self.bound.get(node.name, {}), -1)
            free[values] = quantity.add(free.get(values, {}), node.allocatable, used)
        # Nodes are often alike, and `packing` counts once what fits in the same object.
        alike: dict[_Key, quantity.Amounts] = {}
        return {
            values: alike.setdefault(tuple(sorted(amounts.items())), amounts)
            for values, amounts in free.items()
        }


def _tree(leaves: Mapping[Domain, quantity.Amounts]) -> packing.Domain:
    root = packing.Domain(values=())
    for values, free in leaves.items():
        leaf = root
        for depth, value in enumerate(values, start=1):
            if (child := leaf.children.get(value)) is None:
                child = leaf.children[value] = packing.Domain(values=values[:depth])
            leaf = child
        leaf.free = free
    return root


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


def _eligible(node: nodes.Node, wanted: Sequence[Request], flavor: objects.Flavor) -> bool:
    if not node.usable:
        return False
    for request in wanted:
        spec = request.pod_set.spec
        tolerations = (*(spec.get("tolerations") or ()), *flavor.tolerations)
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


def _subtract(
    tree: packing.Domain, topology: objects.Topology, flavor: objects.Flavor, taken: Iterable[Taken]
) -> None:
    leaves = {assigned_values(topology, leaf.values): leaf for leaf in tree.leaves()}
    lowest = topology.levels[-1]
    for part in taken:
        # A host is the same one in every flavor; another domain is made of the flavor's own nodes.
        same = part.label == lowest and (lowest == HOSTNAME or flavor.name in part.flavors)
        leaf = leaves.get(part.domain) if same else None
        if leaf is not None:
            leaf.free = quantity.add(leaf.free, quantity.times(part.single, -part.count))


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


def _shortfall(
    tree: packing.Domain,
    main: Request,
    topology: objects.Topology,
    shape: packing.Shape,
    error: packing.NoRoomError,
) -> str:
    unit = "pod" if shape.slice_size == 1 else "slice"
    if shape.inner:
        found = f"doesn't allow to fit{_by_layer(tree, main, topology, error.depth)}"
    elif error.fits <= 0:
        found = f"doesn't allow to fit any of {shape.slices} {unit}(s)"
    else:
        found = f"allows to fit only {error.fits} out of {shape.slices} {unit}(s)"
    return f'topology "{topology.name}" {found}{_full_domains(tree, main.single)}'


def _by_layer(tree: packing.Domain, main: Request, topology: objects.Topology, depth: int) -> str:
    """How many slices of each size the roomiest domain of the level that was tried holds."""
    domains = sorted(tree.at(depth), key=lambda domain: (-domain.slices, domain.values))
    parts = []
    for level, size in main.pod_set.constraints if domains else ():
        below = domains[0].at(_depth(topology, level) - depth)
        fits = sum(domain.pods // size for domain in below)
        parts.append(f"; {fits}/{main.count // size} slice(s) fit on level {level}")
    return "".join(parts)


def _full_domains(tree: packing.Domain, single: quantity.Amounts) -> str:
    """Count the lowest domains without room for a single pod, by the resource that lacks."""
    leaves = list(tree.leaves()) if tree.children else []
    lacking = collections.Counter(
        min(single, key=lambda name: (leaf.free.get(name, 0) / max(single[name], 1), name))
        for leaf in leaves
        if packing.fit(leaf.free, single) == 0
    )
    if not lacking:
        return ""
    excluded = ", ".join(f'resource "{name}": {lacking[name]}' for name in sorted(lacking))
    return f". Total nodes: {len(leaves)}; excluded: {excluded}"
