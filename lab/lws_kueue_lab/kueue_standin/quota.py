"""Quota: which flavor each resource of a Workload comes from, and whether there is enough.

The rules and the messages are Kueue's for a ClusterQueue without a cohort: the flavors of a
resource group are tried in order, one flavor serves all resources of its group, and pod sets of
a topology group are one unit (kueue-contract 3.5).
"""

import dataclasses
import enum
from collections.abc import Callable, Mapping, Sequence

from lws_kueue.api import quantity, requests, taints
from lws_kueue_lab.kueue_standin import matching, model

# Whether evicting others could free so much of a flavor's resource.
Preemptible = Callable[[model.FlavorResource, int], bool]


class Mode(enum.IntEnum):
    """How far an assignment is from admission, worst first."""

    NO_FIT = 0
    NO_CANDIDATES = 1
    PREEMPT = 2
    FIT = 3


@dataclasses.dataclass(frozen=True, slots=True)
class PodSetPlan:
    """The flavors of one pod set; ``requests`` are totals over its pods."""

    pod_set: model.PodSet
    requests: quantity.Amounts
    flavors: Mapping[str, str]


@dataclasses.dataclass(frozen=True, slots=True)
class Assignment:
    """The outcome for a Workload; ``message`` says why it is not FIT."""

    mode: Mode
    plans: tuple[PodSetPlan, ...]
    message: str = ""

    @property
    def usage(self) -> model.Usage:
        """What it would reserve."""
        total: model.Usage = {}
        for plan in self.plans:
            for resource, amount in plan.requests.items():
                if resource in plan.flavors:
                    key = (plan.flavors[resource], resource)
                    total[key] = total.get(key, 0) + amount
        return total


@dataclasses.dataclass(frozen=True, slots=True)
class Context:
    """What one assignment is made from; ``used`` is the usage of the ClusterQueue now."""

    queue: model.ClusterQueue
    flavors: Mapping[str, model.Flavor]
    topologies: Mapping[str, model.Topology]
    used: Mapping[model.FlavorResource, int]
    preemptible: Preemptible

    @property
    def topology_only(self) -> bool:
        """Whether all flavors have a topology, so that every pod set is placed by it."""
        known = [self.flavors.get(name) for name in self.queue.flavors]
        return bool(known) and all(flavor is not None and flavor.topology for flavor in known)

    def places(self, pod_set: model.PodSet) -> bool:
        """Whether the pod set needs a topology assignment."""
        return pod_set.wants_topology or self.topology_only


def totals(pod_set: model.PodSet, queue: model.ClusterQueue) -> quantity.Amounts:
    """What all pods of a pod set request, ``pods`` included if the queue has quota for it."""
    total = quantity.times(pod_set.single, pod_set.count)
    if queue.group_of(requests.PODS):
        total[requests.PODS] = pod_set.count
    return total


def assign(context: Context, pod_sets: Sequence[model.PodSet]) -> Assignment:
    """Find flavors for all pod sets."""
    plans: dict[str, PodSetPlan] = {}
    assumed: model.Usage = {}
    messages: list[str] = []
    mode = Mode.FIT
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
        mode = min(mode, found.mode)
        if found.mode == Mode.NO_FIT:
            break
    ordered = tuple(plans[p.name] for p in pod_sets if p.name in plans)
    return Assignment(mode=mode, plans=ordered, message="; ".join(messages))


def _units(pod_sets: Sequence[model.PodSet]) -> list[list[model.PodSet]]:
    units: dict[str, list[model.PodSet]] = {}
    for index, pod_set in enumerate(pod_sets):
        units.setdefault(pod_set.group or str(index), []).append(pod_set)
    return list(units.values())


def _own_flavors(
    context: Context,
    pod_set: model.PodSet,
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
    """The outcome of a unit, or of one flavor for it."""

    mode: Mode = Mode.FIT
    flavors: dict[str, str] = dataclasses.field(default_factory=dict)
    reasons: list[str] = dataclasses.field(default_factory=list)


def _assign_unit(
    context: Context, unit: Sequence[model.PodSet], assumed: Mapping[model.FlavorResource, int]
) -> _Found:
    wanted = quantity.add(*(totals(pod_set, context.queue) for pod_set in unit))
    result = _Found()
    for resource in sorted(wanted):
        group = context.queue.group_of(resource)
        if resource in result.flavors or (group is None and wanted[resource] == 0):
            continue
        if group is None:
            return _Found(Mode.NO_FIT, {}, [f"resource {resource} unavailable in ClusterQueue"])
        needed = {name: wanted[name] for name in group.covered if name in wanted}
        best = _best_flavor(context, unit, group=group, needed=needed, assumed=assumed)
        if best.mode == Mode.NO_FIT:
            return best
        result.flavors |= best.flavors
        result.reasons += best.reasons
        result.mode = min(result.mode, best.mode)
    return result


def _best_flavor(
    context: Context,
    unit: Sequence[model.PodSet],
    *,
    group: model.ResourceGroup,
    needed: quantity.Amounts,
    assumed: Mapping[model.FlavorResource, int],
) -> _Found:
    """Try the flavors of a group in order; the reasons of all that do not fit are kept."""
    best = _Found(Mode.NO_FIT)
    reasons: list[str] = []
    for name, nominal in group.flavors.items():
        mismatch = _mismatch(context, name, unit, group=group)
        if mismatch:
            reasons.append(mismatch)
            continue
        tried = _try_flavor(context, name, nominal=nominal, needed=needed, assumed=assumed)
        reasons += tried.reasons
        if tried.mode == Mode.FIT:
            return tried
        if tried.mode > best.mode:
            best = tried
        if tried.mode == Mode.PREEMPT and context.queue.stops_search_to_preempt:
            break
    best.reasons = reasons
    return best


def _try_flavor(
    context: Context,
    flavor: str,
    *,
    nominal: Mapping[str, int],
    needed: quantity.Amounts,
    assumed: Mapping[model.FlavorResource, int],
) -> _Found:
    result = _Found()
    for resource, amount in needed.items():
        key = (flavor, resource)
        before, most = assumed.get(key, 0), nominal.get(resource, 0)
        total, free = before + amount, most - context.used.get(key, 0)
        if total > most:
            result.reasons.append(
                f"insufficient quota for {resource} in flavor {flavor}, previously considered "
                f"podsets requests ({quantity.render(resource, before)}) + current podset request "
                f"({quantity.render(resource, amount)}) > maximum capacity "
                f"({quantity.render(resource, most)})"
            )
            result.mode = Mode.NO_FIT
            continue
        result.flavors[resource] = flavor
        if total > free:
            result.reasons.append(
                f"insufficient unused quota for {resource} in flavor {flavor}, "
                f"{quantity.render(resource, total - free)} more needed"
            )
            possible = result.mode > Mode.NO_FIT and context.preemptible(key, total)
            result.mode = min(result.mode, Mode.PREEMPT if possible else Mode.NO_CANDIDATES)
    return result


def _mismatch(
    context: Context, name: str, unit: Sequence[model.PodSet], *, group: model.ResourceGroup
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
    context: Context, flavor: model.Flavor, pod_set: model.PodSet, *, group: model.ResourceGroup
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
