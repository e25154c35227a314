"""Topology-aware placement: which domains a pod set's pods go to.

The free capacity of a domain is what its nodes can allocate, less the pods bound there, less
what admitted Workloads are assigned there (kueue-contract 3.5). Pod sets of a group are placed
as a unit (2.2), the smaller one, the leader, first. At the requested level the tightest domain
that holds everything is taken; below it as few domains as possible are used, fullest last.
"""

import collections
import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from lws_kueue.api import quantity, requests, taints
from lws_kueue.sandbox.standin import matching, model
from lws_kueue.sandbox.standin import nodes as machines

HOSTNAME: Final = "kubernetes.io/hostname"

# Level values of a lowest domain, and what is used there.
Domain = tuple[str, ...]
# Pod counts by domain, in the order of the domains' values: the order of the ranks.
Placed = list[tuple[Domain, int]]


@dataclasses.dataclass(frozen=True, slots=True)
class Taken:
    """Pods that a topology assignment put into one lowest domain."""

    label: str
    domain: Domain
    count: int
    single: quantity.Amounts


@dataclasses.dataclass(frozen=True, slots=True)
class Request:
    """One pod set to place."""

    pod_set: model.PodSet
    count: int

    @property
    def single(self) -> quantity.Amounts:
        """What one pod takes."""
        return self.pod_set.single | {requests.PODS: 1}


class UnplacedError(Exception):
    """There is no place; the message says how much of it there is."""


@dataclasses.dataclass(slots=True)
class _Tree:
    """A domain with what it contains; only lowest domains have free capacity of their own."""

    values: Domain
    children: dict[str, "_Tree"] = dataclasses.field(default_factory=dict)
    free: quantity.Amounts = dataclasses.field(default_factory=dict)

    def leaves(self) -> Iterator["_Tree"]:
        if not self.children:
            yield self
        for child in self.children.values():
            yield from child.leaves()

    def at(self, depth: int) -> Iterator["_Tree"]:
        """The domains ``depth`` levels further down."""
        if depth == 0:
            yield self
            return
        for child in self.children.values():
            yield from child.at(depth - 1)

    def holds(self, single: quantity.Amounts) -> int:
        """How many such pods fit, domain by domain."""
        return sum(_fit(leaf.free, single) for leaf in self.leaves())


def _fit(free: Mapping[str, int], single: quantity.Amounts) -> int:
    counts = [free.get(name, 0) // amount for name, amount in single.items() if amount > 0]
    return max(0, min(counts, default=0))


@dataclasses.dataclass(frozen=True, slots=True)
class Places:
    """The nodes of the cluster and what is taken on them, for one pass."""

    nodes: Mapping[str, machines.Node]
    bound: Mapping[str, quantity.Amounts]

    @classmethod
    def of(cls, observed: model.Observed) -> "Places":
        """Sum up the bound pods by node."""
        bound: dict[str, quantity.Amounts] = {}
        for pod in observed.pods.values():
            if pod.node:
                bound[pod.node] = quantity.add(bound.get(pod.node, {}), pod.requests)
        return cls(nodes=observed.nodes, bound=bound)

    def place(
        self,
        wanted: Sequence[Request],
        *,
        topology: model.Topology,
        flavor: model.Flavor,
        taken: Iterable[Taken],
    ) -> dict[str, Placed]:
        """Place pod sets as a unit; UnplacedError if they do not fit."""
        tree = self._tree(wanted, topology=topology, flavor=flavor)
        _subtract(tree, topology, taken)
        ordered = sorted(wanted, key=lambda request: request.count)
        asked = ordered[-1].pod_set.topology
        for depth in _depths(asked, topology):
            found = _tightest(list(tree.at(depth)), ordered)
            if found is not None:
                return {name: sorted(placed) for name, placed in found.items()}
        raise UnplacedError(_shortfall(tree, ordered[-1], topology, asked))

    def _tree(
        self, wanted: Sequence[Request], *, topology: model.Topology, flavor: model.Flavor
    ) -> _Tree:
        root = _Tree(values=())
        for node in self.nodes.values():
            values = tuple(node.labels.get(level, "") for level in topology.levels)
            if not all(values) or not _eligible(node, wanted, flavor):
                continue
            leaf = root
            for depth, value in enumerate(values, start=1):
                leaf = leaf.children.setdefault(value, _Tree(values=values[:depth]))
            used = quantity.times(self.bound.get(node.name, {}), -1)
            leaf.free = quantity.add(leaf.free, node.allocatable, used)
        return root


def _eligible(node: machines.Node, wanted: Sequence[Request], flavor: model.Flavor) -> bool:
    if not node.usable:
        return False
    if any(node.labels.get(key) != value for key, value in flavor.labels.items()):
        return False
    for request in wanted:
        spec = request.pod_set.spec
        tolerations = (*(spec.get("tolerations") or ()), *flavor.tolerations)
        if taints.untolerated(node.taints, tolerations) is not None:
            return False
        if not matching.node_affinity(spec, node.labels):
            return False
    return True


def assigned_levels(topology: model.Topology) -> tuple[str, ...]:
    """The levels that an assignment lists: a hostname says everything (kueue-contract 2.3)."""
    return (HOSTNAME,) if topology.levels[-1] == HOSTNAME else topology.levels


def assigned_values(topology: model.Topology, domain: Domain) -> Domain:
    """The values that an assignment lists for a domain."""
    return domain[-len(assigned_levels(topology)) :]


def _subtract(tree: _Tree, topology: model.Topology, taken: Iterable[Taken]) -> None:
    leaves = {assigned_values(topology, leaf.values): leaf for leaf in tree.leaves()}
    for part in taken:
        leaf = leaves.get(part.domain)
        if leaf is not None and part.label == topology.levels[-1]:
            leaf.free = quantity.add(leaf.free, quantity.times(part.single, -part.count))


def _depths(asked: model.Object, topology: model.Topology) -> list[int]:
    """The levels to try, as depths below the root; preferred falls up to anywhere."""
    if asked.get("required"):
        return [topology.levels.index(asked["required"]) + 1]
    if asked.get("preferred"):
        return list(range(topology.levels.index(asked["preferred"]) + 1, -1, -1))
    return [0]


def _tightest(domains: Sequence[_Tree], wanted: Sequence[Request]) -> dict[str, Placed] | None:
    """Place everything in the domain with the least room to spare that holds it."""
    main = wanted[-1]
    roomy = [(domain.holds(main.single), domain.values, domain) for domain in domains]
    for room, _, domain in sorted(roomy, key=lambda item: item[:2]):
        if room >= main.count:
            placed, missing = _pack(domain, wanted)
            if not missing:
                return placed
    return None


def _pack(domain: _Tree, wanted: Sequence[Request]) -> tuple[dict[str, Placed], Sequence[Request]]:
    """Place as much as fits; returns it and what is left."""
    if not domain.children:
        return _fill(domain, wanted)
    placed: dict[str, Placed] = {}
    rest: Sequence[Request] = wanted
    children = list(domain.children.values())
    while rest and children:
        child = _next_child(children, rest)
        children.remove(child)
        part, rest = _pack(child, rest)
        for name, domains in part.items():
            placed.setdefault(name, []).extend(domains)
    return placed, rest


def _next_child(children: Sequence[_Tree], rest: Sequence[Request]) -> _Tree:
    main = rest[-1]
    room = {child.values: child.holds(main.single) for child in children}
    enough = [c for c in children if room[c.values] >= main.count and not _pack(c, rest)[1]]
    if enough:
        return min(enough, key=lambda child: (room[child.values], child.values))
    return min(children, key=lambda child: (-room[child.values], child.values))


def _fill(leaf: _Tree, wanted: Sequence[Request]) -> tuple[dict[str, Placed], list[Request]]:
    free = dict(leaf.free)
    placed: dict[str, Placed] = {}
    rest: list[Request] = []
    for request in wanted:
        count = min(request.count, _fit(free, request.single))
        if count:
            placed[request.pod_set.name] = [(leaf.values, count)]
            free = quantity.add(free, quantity.times(request.single, -count))
        if count < request.count:
            rest.append(dataclasses.replace(request, count=request.count - count))
    return placed, rest


def _shortfall(tree: _Tree, main: Request, topology: model.Topology, asked: model.Object) -> str:
    depth = _depths(asked, topology)[-1]
    most = max((domain.holds(main.single) for domain in tree.at(depth)), default=0)
    # With a group it can be the other pod set that is short.
    most = min(most, main.count - 1)
    if most <= 0:
        found = f"doesn't allow to fit any of {main.count} pod(s)"
    else:
        found = f"allows to fit only {most} out of {main.count} pod(s)"
    return f'topology "{topology.name}" {found}{_full_domains(tree, main.single)}'


def _full_domains(tree: _Tree, single: quantity.Amounts) -> str:
    """Count the lowest domains without room for a single pod, by the resource that lacks."""
    leaves = list(tree.leaves()) if tree.children else []
    lacking = collections.Counter(
        min(single, key=lambda name: (leaf.free.get(name, 0) / max(single[name], 1), name))
        for leaf in leaves
        if _fit(leaf.free, single) == 0
    )
    if not lacking:
        return ""
    excluded = ", ".join(f'resource "{name}": {lacking[name]}' for name in sorted(lacking))
    return f". Total nodes: {len(leaves)}; excluded: {excluded}"
