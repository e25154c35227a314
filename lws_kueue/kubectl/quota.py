"""What is free in a ClusterQueue, and why, out of ClusterQueues and Cohorts as they are stored.

It is reckoned as `whatif` reckons it (`lws_kueue.simulator.hierarchy`). Usage is what Kueue itself
has written into the status of each ClusterQueue.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lws_kueue.simulator import hierarchy, objects

Object = Mapping[str, Any]
# A flavor and a resource.
Kind = hierarchy.Kind


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
    bound: hierarchy.Bound
    borrowed: int = 0
    borrowing_limit: int | None = None
    lendable: int | None = None
    cohort: str = ""
    cohort_free: int | None = None


class Quotas:
    """The quota of all ClusterQueues and Cohorts that may be read."""

    def __init__(self, cluster_queues: Iterable[Object], cohorts: Iterable[Object] = ()) -> None:
        queues = [objects.ClusterQueue.of(one) for one in cluster_queues]
        self._cohort = {one.meta.name: one.cohort for one in queues}
        tree = hierarchy.Tree(
            {one.meta.name: one for one in queues}, [objects.Cohort.of(one) for one in cohorts]
        )
        self._queues = tree.queues
        for one in queues:
            self._queues[one.meta.name].use(objects.reserved_in(one))

    def known(self, cluster_queue: str) -> bool:
        """Whether anything can be said of a ClusterQueue."""
        return cluster_queue in self._queues

    def of(self, cluster_queue: str, resources: Iterable[str]) -> tuple[Free, ...]:
        """Return what is free of resources in each flavor of a ClusterQueue, in its own order."""
        node, wanted = self._queues.get(cluster_queue), frozenset(resources)
        if node is None:
            return ()
        cohort = self._cohort[cluster_queue]
        return tuple(_free(node, kind, cohort) for kind in node.quotas if kind[1] in wanted)

    def unlent(self, cluster_queue: str, kind: Kind) -> tuple[tuple[str, int], ...]:
        """Return the other ClusterQueues of its cohort that keep unused quota for themselves.

        Beside each stands how much more it could lend; whoever could lend most comes first.
        """
        node = self._queues.get(cluster_queue)
        if node is None or node.parent is None:
            return ()
        found = [
            (name, other.own_left(kind))
            for name, other in self._queues.items()
            if other is not node and other.parent is node.parent
        ]
        return tuple(sorted((one for one in found if one[1] > 0), key=lambda one: -one[1]))

    def missing(self, cluster_queue: str, resources: Iterable[str]) -> tuple[str, ...]:
        """Return the resources of which a ClusterQueue has no quota at all."""
        node = self._queues.get(cluster_queue)
        covered = {resource for _, resource in node.quotas} if node else set()
        return tuple(one for one in resources if node is not None and one not in covered)


def _free(node: hierarchy.Node, kind: Kind, cohort: str) -> Free:
    quota, used = node.quota(kind), node.usage.get(kind, 0)
    return Free(
        flavor=kind[0],
        resource=kind[1],
        nominal=quota.nominal,
        used=used,
        free=max(0, node.available(kind)),
        bound=node.limited_by(kind),
        borrowed=max(0, used - quota.nominal),
        borrowing_limit=quota.borrowing if node.parent else None,
        lendable=quota.lending if node.parent else None,
        cohort=cohort,
        cohort_free=max(0, node.parent.available(kind)) if node.parent else None,
    )


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
