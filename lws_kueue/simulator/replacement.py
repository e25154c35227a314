"""Which place replaces a failed node of an assignment (kueue-contract 3.5).

The pods of the failed node are placed anew, by themselves: each pod set without regard to the
others of its group, as Kueue does it. Required domains and broken slices say where they may go.
What stays keeps its place, and the whole is in the order of the domains' values again.
"""

import collections
import dataclasses
from collections.abc import Mapping, Sequence

from lws_kueue.simulator import objects, placement


@dataclasses.dataclass(frozen=True, slots=True)
class Loss:
    """What a pod set lost with a node, and what it ``kept``, by the domains' full values."""

    pod_set: objects.PodSet
    count: int
    kept: placement.Placed


def loss(
    pod_set: objects.PodSet,
    domains: Sequence[tuple[placement.Domain, int]],
    node: str,
    leaves: Mapping[placement.Domain, placement.Domain],
) -> Loss:
    """Take the node out of the assigned ``domains``; ``leaves`` gives their full values.

    Raises:
        UnplacedError: another domain of the assignment has no node that is up.
    """
    lost = sum(count for values, count in domains if values[-1] == node)
    kept: placement.Placed = []
    for values, count in domains:
        if values[-1] == node:
            continue
        if values not in leaves:
            raise placement.UnplacedError(
                "Cannot replace the node, because the existing topologyAssignment is invalid, as "
                f"it contains the stale domain {values[-1]}"
            )
        kept.append((leaves[values], count))
    return Loss(pod_set, lost, kept)


def within(found: Loss, topology: objects.Topology) -> placement.Domain:
    """The domain that the replacement has to be in, () if any will do."""
    if not found.kept:
        return ()
    broken = _broken(found)
    if broken is not None:
        return _incomplete(found, topology, broken)
    required = found.pod_set.topology.get("required")
    return _ancestor(found.kept[0][0], topology, required) if required else ()


def request(found: Loss, *, confined: bool) -> placement.Request:
    """What to ask for: whole slices, or those that the lost pods can still be put in."""
    pod_set = found.pod_set
    if confined and _broken(found) is not None:
        dividing = [c for c in pod_set.constraints if c[1] and found.count % c[1] == 0]
        asked = {
            key: value
            for key, value in pod_set.topology.items()
            if not key.lower().startswith("podsetslice")
        }
        if dividing:
            level, size = dividing[-1]
            asked |= {"podSetSliceRequiredTopology": level, "podSetSliceSize": size}
        pod_set = dataclasses.replace(pod_set, topology=asked)
    return placement.Request(pod_set, found.count)


def merged(kept: placement.Placed, fresh: placement.Placed) -> placement.Placed:
    """Both in the order of their values, the order of the ranks; one domain is listed once."""
    counts: collections.Counter[placement.Domain] = collections.Counter()
    for values, count in (*kept, *fresh):
        counts[values] += count
    return sorted(counts.items(), key=lambda item: ",".join(item[0]))


def _broken(found: Loss) -> objects.Constraint | None:
    """The innermost slices that the loss broke, if it broke whole ones at all."""
    constraints = found.pod_set.constraints
    if not constraints or not constraints[0][1] or found.count % constraints[0][1] == 0:
        return None
    return next(c for c in reversed(constraints) if c[1] and found.count % c[1])


def _incomplete(
    found: Loss, topology: objects.Topology, broken: objects.Constraint
) -> placement.Domain:
    """The domain where the lost pods make its slices whole again."""
    level, size = broken
    held: collections.Counter[placement.Domain] = collections.Counter()
    for values, count in found.kept:
        held[_ancestor(values, topology, level)] += count
    fitting = [domain for domain, count in held.items() if (count + found.count) % size == 0]
    return min(fitting, default=())


def _ancestor(values: placement.Domain, topology: objects.Topology, level: str) -> placement.Domain:
    return values[: topology.levels.index(level) + 1] if level in topology.levels else ()
