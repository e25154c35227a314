"""What is free in a ClusterQueue, and why, out of ClusterQueues and Cohorts as they are stored.

The arithmetic is Kueue's (pkg/cache/scheduler/resource_node.go of v0.19): what a queue does not
lend is its own; what it lends is its cohort's, and so on up to the root. Usage is what Kueue itself
has written into the status of each ClusterQueue.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from lws_kueue.api import quantity

Object = Mapping[str, Any]
# A flavor and a resource.
Kind = tuple[str, str]

Bound = Literal["nominalQuota", "borrowingLimit", "cohort"]


@dataclass(frozen=True, slots=True)
class Free:
    """What is free of a resource in a flavor for one ClusterQueue, in the unit of quota.

    ``borrowed`` is what it uses beyond its nominal quota, ``lendable`` what others may use of it,
    None if all; ``borrowing_limit`` is None without a limit. ``cohort_free`` is what the cohort has
    left, None without a cohort. ``bound`` is what keeps ``free`` from being more.
    """

    flavor: str
    resource: str
    nominal: int
    used: int
    free: int
    bound: Bound
    borrowed: int = 0
    borrowing_limit: int | None = None
    lendable: int | None = None
    cohort: str = ""
    cohort_free: int | None = None


@dataclass(slots=True)
class _Node:
    """A ClusterQueue or a Cohort: its own quota, what is used below it, and who is above it."""

    nominal: dict[Kind, int] = field(default_factory=dict)
    borrowing: dict[Kind, int] = field(default_factory=dict)
    lending: dict[Kind, int] = field(default_factory=dict)
    used: dict[Kind, int] = field(default_factory=dict)
    parent: str = ""
    children: list["_Node"] = field(default_factory=list)


class Quotas:
    """The quota of all ClusterQueues and Cohorts that may be read."""

    def __init__(self, cluster_queues: Iterable[Object], cohorts: Iterable[Object] = ()) -> None:
        self._queues = {_name(one): _node(one, "cohortName") for one in cluster_queues}
        self._cohorts = {_name(one): _node(one, "parentName") for one in cohorts}
        for node in (*self._queues.values(), *tuple(self._cohorts.values())):
            # A cohort need not be an object; it is there once somebody names it.
            if node.parent:
                self._cohorts.setdefault(node.parent, _Node()).children.append(node)

    def known(self, cluster_queue: str) -> bool:
        """Whether anything can be said of a ClusterQueue."""
        return cluster_queue in self._queues

    def of(self, cluster_queue: str, resources: Iterable[str]) -> tuple[Free, ...]:
        """Return what is free of resources in each flavor of a ClusterQueue, in its own order."""
        node, wanted = self._queues.get(cluster_queue), frozenset(resources)
        if node is None:
            return ()
        return tuple(
            self._free(node, kind, nominal)
            for kind, nominal in node.nominal.items()
            if kind[1] in wanted
        )

    def unlent(self, cluster_queue: str, kind: Kind) -> tuple[tuple[str, int], ...]:
        """Return the other ClusterQueues of its cohort that keep unused quota for themselves.

        Beside each stands how much more it could lend; whoever could lend most comes first.
        """
        node = self._queues.get(cluster_queue)
        if node is None or not node.parent:
            return ()
        found = [
            (name, self._own(other, kind) - min(other.used.get(kind, 0), self._own(other, kind)))
            for name, other in self._queues.items()
            if other is not node and other.parent == node.parent
        ]
        return tuple(sorted((one for one in found if one[1] > 0), key=lambda one: -one[1]))

    def missing(self, cluster_queue: str, resources: Iterable[str]) -> tuple[str, ...]:
        """Return the resources of which a ClusterQueue has no quota at all."""
        node = self._queues.get(cluster_queue)
        covered = {resource for _, resource in node.nominal} if node else set()
        return tuple(one for one in resources if node is not None and one not in covered)

    def _free(self, node: _Node, kind: Kind, nominal: int) -> Free:
        used, own = node.used.get(kind, 0), self._own(node, kind)
        limit = node.borrowing.get(kind)
        free = self._available(node, kind, seen=frozenset())
        above = self._cohorts.get(node.parent)
        left = None if above is None else self._available(above, kind, seen=frozenset())
        return Free(
            flavor=kind[0],
            resource=kind[1],
            nominal=nominal,
            used=used,
            free=max(0, free),
            bound=_bound(nominal, used, own, limit, left),
            borrowed=max(0, used - nominal),
            borrowing_limit=limit if above is not None else None,
            lendable=node.lending.get(kind) if above is not None else None,
            cohort=node.parent,
            cohort_free=None if left is None else max(0, left),
        )

    def _subtree(self, node: _Node, kind: Kind, seen: frozenset[int]) -> int:
        """Return the quota of a node and of what is below it."""
        if id(node) in seen:
            return 0  # Kueue refuses a circle; nothing can be told of one.
        below = seen | {id(node)}
        return node.nominal.get(kind, 0) + sum(
            self._subtree(child, kind, below) - self._own(child, kind, below)
            for child in node.children
        )

    def _own(self, node: _Node, kind: Kind, seen: frozenset[int] = frozenset()) -> int:
        """Return the part of a node's quota that nobody else may use."""
        lending = node.lending.get(kind)
        return 0 if lending is None else max(0, self._subtree(node, kind, seen) - lending)

    def _usage(self, node: _Node, kind: Kind, seen: frozenset[int]) -> int:
        if id(node) in seen:
            return 0
        below = seen | {id(node)}
        return node.used.get(kind, 0) + sum(
            max(0, self._usage(child, kind, below) - self._own(child, kind))
            for child in node.children
        )

    def _available(self, node: _Node, kind: Kind, seen: frozenset[int]) -> int:
        quota = self._subtree(node, kind, frozenset())
        used = self._usage(node, kind, frozenset())
        above = self._cohorts.get(node.parent)
        if above is None or id(node) in seen:
            return quota - used
        own = self._own(node, kind)
        from_above = self._available(above, kind, seen | {id(node)})
        limit = node.borrowing.get(kind)
        if limit is not None:
            lent = quota - own
            from_above = min(from_above, lent - max(0, used - own) + limit)
        return max(0, own - used) + from_above


def _bound(nominal: int, used: int, own: int, limit: int | None, left: int | None) -> Bound:
    if left is None:
        return "nominalQuota"
    if limit is not None and (nominal - own) - max(0, used - own) + limit <= left:
        return "borrowingLimit"
    return "cohort"


def _name(obj: Object) -> str:
    return str(obj["metadata"]["name"])


def _node(obj: Object, parent: str) -> _Node:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    node = _Node(parent=spec.get(parent) or "")
    for group in spec.get("resourceGroups") or ():
        for flavor in group.get("flavors") or ():
            for one in flavor.get("resources") or ():
                kind = (flavor["name"], one["name"])
                for field_, amounts in (
                    ("nominalQuota", node.nominal),
                    ("borrowingLimit", node.borrowing),
                    ("lendingLimit", node.lending),
                ):
                    if one.get(field_) is not None:
                        amounts[kind] = quantity.parse(one["name"], one[field_])
    for flavor in status.get("flavorsReservation") or ():
        for one in flavor.get("resources") or ():
            amount = quantity.parse(one["name"], one.get("total", 0))
            node.used[flavor["name"], one["name"]] = amount
    return node


def lacking(free: Sequence[Free], needs: Mapping[str, int]) -> dict[str, tuple[Free, int]]:
    """Return by resource the flavor in which least of it is missing, and how much; "" for none.

    A resource that fits into a flavor is not among them.
    """
    found: dict[str, tuple[Free, int]] = {}
    for resource, wanted in needs.items():
        short = [(wanted - one.free, one) for one in free if one.resource == resource]
        if short and min(amount for amount, _ in short) > 0:
            amount, one = min(short, key=lambda pair: pair[0])
            found[resource] = (one, amount)
    return found
