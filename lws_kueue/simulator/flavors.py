"""Flavors: which one each resource of a Workload comes from, and whether there is enough.

The rules and the messages are Kueue's (``pkg/scheduler/flavorassigner`` of v0.19): the flavors of a
resource group are tried in order, one flavor serves all resources of its group, and pod sets of
a topology group are one unit (kueue-contract 3.5). Whether the next one is tried where borrowing or
preempting would do is the ClusterQueue's to say.
"""

import dataclasses
import enum
from collections.abc import Callable, Mapping, Sequence

from lws_kueue.api import quantity, requests, taints
from lws_kueue.simulator import hierarchy, matching, objects

Kind = hierarchy.Kind
# The first pod set of a unit, and a resource: how far its flavors have been tried.
Tried = Mapping[tuple[str, str], int]


class Mode(enum.IntEnum):
    """How far an assignment is from admission, worst first.

    The two in the middle are what preemption could do: in the own queue, or in others alone.
    """

    NO_FIT = 0
    NO_CANDIDATES = 1
    PREEMPT = 2
    RECLAIM = 3
    FIT = 4

    @property
    def needs_room(self) -> bool:
        """Whether it would fit if others went."""
        return Mode.NO_FIT < self < Mode.FIT


# Whether others could make room for so much of a kind, and the borrowing level that this leads to.
Oracle = Callable[[Kind, int], tuple[Mode, int]]


@dataclasses.dataclass(frozen=True, slots=True)
class Shortage:
    """What is missing in a flavor: ``amount`` now, ``ever`` if it is more than there can be."""

    flavor: str
    resource: str
    amount: int
    ever: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class PodSetPlan:
    """The flavors of one pod set; ``requests`` are totals over its pods."""

    pod_set: objects.PodSet
    requests: quantity.Amounts
    flavors: Mapping[str, str]


@dataclasses.dataclass(frozen=True, slots=True)
class Assignment:
    """The outcome for a Workload; ``message`` says why it is not FIT.

    ``borrowing`` is the height of the lowest cohort that has what is needed, 0 for none.
    ``short_of`` are the kinds that others would have to make room in, and ``tried`` how far the
    flavors have been tried, where some are left.
    """

    mode: Mode
    plans: tuple[PodSetPlan, ...]
    message: str = ""
    borrowing: int = 0
    short_of: frozenset[Kind] = frozenset()
    shortages: tuple[Shortage, ...] = ()
    tried: Tried = dataclasses.field(default_factory=dict)

    @property
    def usage(self) -> objects.Usage:
        """What it would reserve."""
        total: objects.Usage = {}
        for plan in self.plans:
            for resource, amount in plan.requests.items():
                if resource in plan.flavors:
                    key = (plan.flavors[resource], resource)
                    total[key] = total.get(key, 0) + amount
        return total


@dataclasses.dataclass(frozen=True, slots=True)
class Context:
    """What one assignment is made from; ``node`` is the quota of the ClusterQueue.

    ``tried`` is how far flavors were tried before.
    """

    queue: objects.ClusterQueue
    node: hierarchy.Node
    flavors: Mapping[str, objects.Flavor]
    topologies: Mapping[str, objects.Topology]
    oracle: Oracle
    tried: Tried = dataclasses.field(default_factory=dict)

    @property
    def topology_only(self) -> bool:
        """Whether all flavors have a topology, so that every pod set is placed by it."""
        known = [self.flavors.get(name) for name in self.queue.flavors]
        return bool(known) and all(flavor is not None and flavor.topology for flavor in known)

    def places(self, pod_set: objects.PodSet) -> bool:
        """Whether the pod set needs a topology assignment."""
        return pod_set.wants_topology or self.topology_only


def totals(pod_set: objects.PodSet, queue: objects.ClusterQueue) -> quantity.Amounts:
    """What all pods of a pod set request, ``pods`` included if the queue has quota for it."""
    total = quantity.times(pod_set.single, pod_set.count)
    if queue.group_of(requests.PODS):
        total[requests.PODS] = pod_set.count
    return total


def assign(context: Context, pod_sets: Sequence[objects.PodSet]) -> Assignment:
    """Find flavors for all pod sets."""
    plans: dict[str, PodSetPlan] = {}
    assumed: objects.Usage = {}
    messages: list[str] = []
    whole = _Found()
    tried: dict[tuple[str, str], int] = {}
    for unit in _units(pod_sets):
        found = _assign_unit(context, unit, assumed)
        for pod_set in unit:
            total = totals(pod_set, context.queue)
            flavors = _own_flavors(context, pod_set, total, found.flavors)
            plans[pod_set.name] = PodSetPlan(pod_set, total, flavors)
            for resource, flavor in flavors.items():
                key = (flavor, resource)
                assumed[key] = assumed.get(key, 0) + total.get(resource, 0)
            if found.mode < Mode.FIT:
                because = ", ".join(sorted(found.reasons))
                messages.append(f"couldn't assign flavors to pod set {pod_set.name}: {because}")
        tried |= {(unit[0].name, resource): index for resource, index in found.tried.items()}
        whole.take(found)
        if found.mode == Mode.NO_FIT:
            break
    ordered = tuple(plans[p.name] for p in pod_sets if p.name in plans)
    return Assignment(
        mode=whole.mode,
        plans=ordered,
        message="; ".join(messages),
        borrowing=whole.borrowing,
        short_of=frozenset(whole.short_of),
        shortages=tuple(whole.shortages),
        tried=tried,
    )


def _units(pod_sets: Sequence[objects.PodSet]) -> list[list[objects.PodSet]]:
    units: dict[str, list[objects.PodSet]] = {}
    for index, pod_set in enumerate(pod_sets):
        units.setdefault(pod_set.group or str(index), []).append(pod_set)
    return list(units.values())


def _own_flavors(
    context: Context,
    pod_set: objects.PodSet,
    total: quantity.Amounts,
    flavors: Mapping[str, str],
) -> dict[str, str]:
    """Take from the unit's flavors those of the resources that this pod set requests.

    A member of a group that requests nothing gets the flavor with the topology, else it could
    not be placed.
    """
    if total:
        return {resource: flavors[resource] for resource in total if resource in flavors}
    if pod_set.group is None:
        return {}
    return {r: f for r, f in flavors.items() if context.flavors[f].topology}


@dataclasses.dataclass(slots=True)
class _Found:
    """The outcome of a unit, or of one flavor for it.

    ``short_of`` are the kinds that do not fit as things are, ``tried`` the index of the flavor that
    was tried last, by resource, -1 for the last one of all.
    """

    mode: Mode = Mode.FIT
    borrowing: int = 0
    flavors: dict[str, str] = dataclasses.field(default_factory=dict)
    reasons: list[str] = dataclasses.field(default_factory=list)
    short_of: set[Kind] = dataclasses.field(default_factory=set)
    shortages: list[Shortage] = dataclasses.field(default_factory=list)
    tried: dict[str, int] = dataclasses.field(default_factory=dict)
    # The borrowing level of the worst resource, which is what flavors are compared by.
    level: int = 0

    def take(self, other: "_Found") -> None:
        """Add another resource group, or another unit."""
        self.flavors |= other.flavors
        self.reasons += other.reasons
        self.short_of |= other.short_of
        self.shortages += other.shortages
        self.tried |= other.tried
        self.mode = min(self.mode, other.mode)
        self.borrowing = max(self.borrowing, other.borrowing)


def _assign_unit(
    context: Context, unit: Sequence[objects.PodSet], assumed: Mapping[Kind, int]
) -> _Found:
    wanted = quantity.add(*(totals(pod_set, context.queue) for pod_set in unit))
    result = _Found()
    for resource in sorted(wanted):
        group = context.queue.group_of(resource)
        if resource in result.flavors or (group is None and wanted[resource] == 0):
            continue
        if group is None:
            return _Found(Mode.NO_FIT, reasons=[f"resource {resource} unavailable in ClusterQueue"])
        needed = {name: wanted[name] for name in group.covered if name in wanted}
        start = context.tried.get((unit[0].name, resource), -1) + 1
        best = _best_flavor(context, unit, group=group, needed=needed, assumed=assumed, start=start)
        if best.mode == Mode.NO_FIT:
            return best
        result.take(best)
    return result


def _best_flavor(
    context: Context,
    unit: Sequence[objects.PodSet],
    *,
    group: objects.ResourceGroup,
    needed: quantity.Amounts,
    assumed: Mapping[Kind, int],
    start: int,
) -> _Found:
    """Try the flavors of a group in order; the reasons of all that do not fit are kept."""
    best = _Found(Mode.NO_FIT)
    reasons: list[str] = []
    shortages: list[Shortage] = []
    left = list(group.flavors)[start:]
    while left:
        name = left.pop(0)
        mismatch = _mismatch(context, name, unit, group=group)
        if mismatch:
            reasons.append(mismatch)
            continue
        found = _try_flavor(context, name, needed=needed, assumed=assumed)
        reasons += found.reasons
        shortages += found.shortages
        if not _next_is_tried(found, context.queue.fungibility):
            best = found
            break
        if _preferred(found, best, context.queue.fungibility):
            best = found
    last = len(group.flavors) - len(left) - 1 if left else -1
    best.tried = dict.fromkeys(best.flavors, last)
    best.reasons = [] if best.mode is Mode.FIT else reasons
    best.shortages = [] if best.mode is Mode.FIT else shortages
    return best


def _next_is_tried(found: _Found, fungibility: objects.Fungibility) -> bool:
    if found.mode <= Mode.NO_CANDIDATES:
        return True
    preempts = found.mode < Mode.FIT
    if preempts and fungibility.next_before_preempting:
        return True
    return found.level > 0 and fungibility.next_before_borrowing


def _preferred(one: _Found, other: _Found, fungibility: objects.Fungibility) -> bool:
    """Whether a flavor is the better one, or of two resources the one that is nearer."""
    if Mode.NO_FIT in (one.mode, other.mode):
        return one.mode > Mode.NO_FIT
    hopeless = (one.mode is Mode.NO_CANDIDATES, other.mode is Mode.NO_CANDIDATES)
    if hopeless[0] != hopeless[1]:
        return hopeless[1]
    if fungibility.prefers_preemption:
        return (-one.level, one.mode) > (-other.level, other.mode)
    return (one.mode, -one.level) > (other.mode, -other.level)


def _try_flavor(
    context: Context, flavor: str, *, needed: quantity.Amounts, assumed: Mapping[Kind, int]
) -> _Found:
    result = _Found()
    for resource, amount in needed.items():
        one = _try_resource(context, (flavor, resource), amount, assumed.get((flavor, resource), 0))
        result.reasons += one.reasons
        result.shortages += one.shortages
        if _preferred(result, one, context.queue.fungibility):
            result.mode, result.level = one.mode, one.level
        if result.mode is Mode.NO_FIT:
            continue
        result.flavors[resource] = flavor
        result.short_of |= one.short_of
        result.borrowing = max(result.borrowing, one.level)
    if result.mode is Mode.NO_FIT:
        result.flavors, result.short_of = {}, set()
    return result


def _try_resource(context: Context, kind: Kind, amount: int, before: int) -> _Found:
    """Look at one resource of a flavor, of which pod sets before want so much already."""
    flavor, resource = kind
    total, most = before + amount, context.node.capacity(kind)
    if total > most:
        reason = (
            f"insufficient quota for {resource} in flavor {flavor}, previously considered "
            f"podsets requests ({quantity.render(resource, before)}) + current podset request "
            f"({quantity.render(resource, amount)}) > maximum capacity "
            f"({quantity.render(resource, most)})"
        )
        short = Shortage(flavor, resource, total - most, ever=True)
        return _Found(Mode.NO_FIT, reasons=[reason], shortages=[short])
    level, reclaims = context.node.borrowing_level(kind, total)
    free = max(0, context.node.available(kind))
    if total <= free:
        return _Found(Mode.FIT, level=level)
    reason = (
        f"insufficient unused quota for {resource} in flavor {flavor}, "
        f"{quantity.render(resource, total - free)} more needed"
    )
    mode = Mode.NO_FIT
    queue = context.queue.preemption
    nominal = context.node.quota(kind).nominal
    if nominal >= total or reclaims or queue.borrow_within != "Never":
        mode, level = context.oracle(kind, total)
    short = Shortage(flavor, resource, total - free)
    return _Found(mode, reasons=[reason], shortages=[short], short_of={kind}, level=level)


def _mismatch(
    context: Context, name: str, unit: Sequence[objects.PodSet], *, group: objects.ResourceGroup
) -> str:
    """Say why a flavor cannot serve these pods at all, "" if it can."""
    flavor = context.flavors.get(name)
    if flavor is None:
        return f"flavor {name} not found"
    for pod_set in unit:
        problem = _topology_mismatch(context, flavor, pod_set, group=group)
        if problem:
            return problem
        tolerations = (*(pod_set.spec.get("tolerations") or ()), *flavor.tolerations)
        taint = taints.untolerated(flavor.taints, tolerations)
        if taint is not None:
            return f"untolerated taint {matching.describe_taint(taint)} in flavor {name}"
        if not matching.flavor_affinity(pod_set.spec, flavor.labels):
            return f"flavor {name} doesn't match node affinity"
    return ""


def _topology_mismatch(
    context: Context,
    flavor: objects.Flavor,
    pod_set: objects.PodSet,
    *,
    group: objects.ResourceGroup,
) -> str:
    if not context.places(pod_set):
        only = f'Flavor "{flavor.name}" supports only TopologyAwareScheduling'
        return only if flavor.topology else ""
    if not pod_set.wants_topology:
        return ""
    if not flavor.topology:
        # A flavor without a topology may still serve resources that the pods do not request.
        overlaps = any(resource in group.covered for resource in pod_set.single)
        problem = f'Flavor "{flavor.name}" does not support TopologyAwareScheduling'
        return problem if overlaps else ""
    topology = context.topologies.get(flavor.topology)
    if topology is None:
        return f'Flavor "{flavor.name}" information missing in TAS cache'
    if any(level not in topology.levels for level in pod_set.levels):
        return f'Flavor "{flavor.name}" does not contain the requested level'
    return ""
