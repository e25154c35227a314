"""Whether the groups of a set are dispatched: its ClusterQueue asks for a check of ours.

Where it asks in a way that cannot be served, nothing is offered, and the set and its checks say
what to change (MK-57, MK-66). What runs elsewhere goes on meanwhile.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from lws_kueue.api import kueue, names
from lws_kueue.api.reasons import Reason


@dataclass(frozen=True, slots=True)
class Activation:
    """Whether groups of a set are dispatched; ``refused`` is why none is offered, None if some are.

    ``check`` is the check of ours that the queue asks for, "" for none.
    """

    check: str = ""
    refused: Reason | None = None

    @property
    def dispatches(self) -> bool:
        """Whether the queue asks for a check of ours."""
        return bool(self.check)


def ours(checks: Mapping[str, kueue.AdmissionCheck]) -> frozenset[str]:
    """Return the names of the AdmissionChecks that we serve."""
    return frozenset(
        name for name, check in checks.items() if check.controller_name == names.DISPATCH_CONTROLLER
    )


def of(
    queue: kueue.ClusterQueue | None,
    *,
    checks: Mapping[str, kueue.AdmissionCheck],
    flavors: Mapping[str, kueue.ResourceFlavor],
    built_in: bool,
) -> Activation:
    """Return whether a set in a queue is dispatched; ``built_in``: Kueue itself looks after it."""
    if queue is None:
        return Activation()
    rules = queue.admission_checks_strategy.admission_checks
    served = ours(checks)
    mine = tuple(rule for rule in rules if rule.name in served)
    if not mine:
        return Activation()
    return Activation(mine[0].name, _refused(queue, rules, mine, checks, flavors, built_in))


def _refused(
    queue: kueue.ClusterQueue,
    rules: tuple[kueue.AdmissionCheckRule, ...],
    mine: tuple[kueue.AdmissionCheckRule, ...],
    checks: Mapping[str, kueue.AdmissionCheck],
    flavors: Mapping[str, kueue.ResourceFlavor],
    built_in: bool,
) -> Reason | None:
    where = f"ClusterQueue {queue.meta.name}"
    if built_in:
        return Reason(
            "BuiltInIntegrationOn",
            "Kueue's built-in LeaderWorkerSet integration is on in this cluster",
            f"Switch it off, or use a check of {names.MULTIKUEUE_CONTROLLER}",
        )
    others = [
        rule.name
        for rule in rules
        if (check := checks.get(rule.name)) is not None
        and check.controller_name == names.MULTIKUEUE_CONTROLLER
    ]
    dispatchers = [*(rule.name for rule in mine), *others]
    if len(dispatchers) > 1:
        text = f"{where} asks for more than one check that dispatches: {', '.join(dispatchers)}"
        return Reason("TwoDispatchers", text, "Leave one of them")
    if mine[0].on_flavors:
        text = f"{where} asks for AdmissionCheck {mine[0].name} for some flavors only"
        return Reason("CheckPerFlavor", text, "Ask for it for all of them, without onFlavors")
    placed = sorted(
        quota.name
        for group in queue.resource_groups
        for quota in group.flavors
        if (flavor := flavors.get(quota.name)) is not None and flavor.topology_name
    )
    if placed:
        text = (
            f"flavor {placed[0]} of {where} has a topology, by which groups would be placed on"
            " nodes of this cluster"
        )
        return Reason("ManagerFlavorHasTopology", text, "Give the queue a flavor without topology")
    return None
