"""Quota in cohorts: what a ClusterQueue may use, of its own and of what others lend.

The arithmetic is Kueue's (``pkg/cache/scheduler/resource_node.go`` of v0.19). What a queue or a
cohort does not lend is its own; what it lends is quota of the cohort above it, and so on up to the
root. Usage goes the same way: what is used beyond one's own counts above.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from lws_kueue.simulator import objects

Kind = objects.FlavorResource
Amounts = Mapping[Kind, int]
# The field, or the cohort, that would have to have more.
Bound = Literal["nominalQuota", "borrowingLimit", "cohort"]

_NONE = objects.Quota(0)


@dataclass(slots=True, eq=False)
class Node:
    """A ClusterQueue or a Cohort: its quota, what is used of it, and who is above and below.

    ``height`` is how many levels there are below, 0 for a queue.
    """

    name: str
    quotas: Mapping[Kind, objects.Quota]
    is_queue: bool
    parent: "Node | None" = None
    children: "list[Node]" = field(default_factory=list)
    height: int = 0
    subtree: dict[Kind, int] = field(default_factory=dict)
    usage: dict[Kind, int] = field(default_factory=dict)

    def quota(self, kind: Kind) -> objects.Quota:
        """Return the quota that stands here itself."""
        return self.quotas.get(kind, _NONE)

    def own(self, kind: Kind) -> int:
        """Return the part of the quota that nobody else may use."""
        lending = self.quota(kind).lending
        return 0 if lending is None else max(0, self.subtree.get(kind, 0) - lending)

    def own_left(self, kind: Kind) -> int:
        """Return what is left of it."""
        return max(0, self.own(kind) - self.usage.get(kind, 0))

    def available(self, kind: Kind) -> int:
        """Return what may be used more; less than nothing if more is used than there is."""
        quota, used = self.subtree.get(kind, 0), self.usage.get(kind, 0)
        if self.parent is None:
            return quota - used
        above = self.parent.available(kind)
        limit = self.quota(kind).borrowing
        if limit is not None:
            above = min(above, self.borrowable(kind, limit))
        return self.own_left(kind) + above

    def borrowable(self, kind: Kind, limit: int) -> int:
        """Return what may be used above with a borrowing limit, by this limit alone."""
        own = self.own(kind)
        used_above = max(0, self.usage.get(kind, 0) - own)
        return self.subtree.get(kind, 0) - own - used_above + limit

    def limited_by(self, kind: Kind) -> Bound:
        """Return what keeps the available from being more."""
        if self.parent is None:
            return "nominalQuota"
        limit = self.quota(kind).borrowing
        if limit is not None and self.borrowable(kind, limit) <= self.parent.available(kind):
            return "borrowingLimit"
        return "cohort"

    def capacity(self, kind: Kind) -> int:
        """Return what may be used at most, with nothing in use."""
        quota = self.subtree.get(kind, 0)
        if self.parent is None:
            return quota
        most = self.own(kind) + self.parent.capacity(kind)
        limit = self.quota(kind).borrowing
        return most if limit is None else min(most, quota + limit)

    def exceeded_by(self, kind: Kind, amount: int) -> bool:
        """Whether more than what stands here and below is used with so much more."""
        return self.subtree.get(kind, 0) < self.usage.get(kind, 0) + amount

    def within(self, kinds: Collection[Kind]) -> bool:
        """Whether nothing is borrowed of these."""
        return not any(self.exceeded_by(kind, 0) for kind in kinds)

    def use(self, amounts: Amounts) -> None:
        """Count usage, here and above."""
        for kind, amount in amounts.items():
            self._use(kind, amount)

    def _use(self, kind: Kind, amount: int) -> None:
        left = self.own_left(kind)
        self.usage[kind] = self.usage.get(kind, 0) + amount
        if self.parent is not None and amount > left:
            self.parent._use(kind, amount - left)

    def free(self, amounts: Amounts) -> None:
        """Take usage back, here and above."""
        for kind, amount in amounts.items():
            self._free(kind, amount)

    def _free(self, kind: Kind, amount: int) -> None:
        above = self.usage.get(kind, 0) - self.own(kind)
        self.usage[kind] = self.usage.get(kind, 0) - amount
        if self.parent is not None and above > 0:
            self.parent._free(kind, min(amount, above))

    def fits(self, wanted: Amounts) -> tuple[bool, dict[Kind, int]]:
        """Whether all that is wanted is here unused, and what of it is to come from above."""
        fitting = not any(self.exceeded_by(kind, amount) for kind, amount in wanted.items())
        return fitting, {k: max(0, amount - self.own_left(k)) for k, amount in wanted.items()}

    def above(self) -> "Iterator[Node]":
        """Yield the cohorts above, up to the root."""
        node = self.parent
        while node is not None:
            yield node
            node = node.parent

    @property
    def root(self) -> "Node":
        """The one above which there is nobody."""
        return [self, *self.above()][-1]

    def borrowing_level(self, kind: Kind, amount: int) -> tuple[int, bool]:
        """Return the height of the lowest cohort in which so much more is there, 0 for the queue.

        And whether there is a cohort above that: then quota that others borrow may be taken back.
        """
        if self.parent is None or not self.exceeded_by(kind, amount):
            return 0, self.parent is not None
        rest = amount - self.own_left(kind)
        for node in self.above():
            if not node.exceeded_by(kind, rest):
                return node.height, node.parent is not None
            rest -= node.own_left(kind)
        return self.root.height, False


class Tree:
    """The ClusterQueues and Cohorts of a cluster.

    ``circular`` are the ClusterQueues below cohorts that are above themselves: Kueue admits nothing
    there, and nothing can be reckoned.
    """

    def __init__(
        self, queues: Mapping[str, objects.ClusterQueue], cohorts: Iterable[objects.Cohort] = ()
    ) -> None:
        given = {one.name: one for one in cohorts}
        self._cohorts: dict[str, Node] = {}
        self.queues = {
            name: Node(name, objects.quotas_of(queue.groups), is_queue=True)
            for name, queue in queues.items()
        }
        above = {one.name: one.parent for one in given.values()}
        self.circular = frozenset(
            name for name, queue in queues.items() if _circular(queue.cohort, above)
        )
        for one in given.values():
            if not _circular(one.name, above):
                self._under(self._cohort(one.name, given), one.parent, given)
        for name, queue in queues.items():
            if name not in self.circular:
                self._under(self.queues[name], queue.cohort, given)
        for node in (*self._cohorts.values(), *self.queues.values()):
            if node.parent is None:
                _add_up(node)

    def _cohort(self, name: str, given: Mapping[str, objects.Cohort]) -> Node:
        # A cohort need not be an object; it is there once somebody names it.
        if name not in self._cohorts:
            groups = given[name].groups if name in given else ()
            self._cohorts[name] = Node(name, objects.quotas_of(groups), is_queue=False)
        return self._cohorts[name]

    def _under(self, node: Node, parent: str, given: Mapping[str, objects.Cohort]) -> None:
        if parent:
            node.parent = self._cohort(parent, given)
            node.parent.children.append(node)


def _circular(name: str, above: Mapping[str, str]) -> bool:
    seen = set()
    while name:
        if name in seen:
            return True
        seen.add(name)
        name = above.get(name, "")
    return False


def _add_up(node: Node) -> None:
    node.subtree = {kind: quota.nominal for kind, quota in node.quotas.items()}
    for child in node.children:
        _add_up(child)
        node.height = max(node.height, 1 + child.height)
        for kind, quota in child.subtree.items():
            node.subtree[kind] = node.subtree.get(kind, 0) + quota - child.own(kind)
