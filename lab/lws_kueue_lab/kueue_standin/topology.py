"""Topology assignments of whole Workloads: asking `placement`, counting what is taken.

A Workload that fits by quota gets its places here, or learns that the topology has none
(kueue-contract 2.2, 2.3 and 3.5).
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

from lws_kueue.api import requests
from lws_kueue_lab.kueue_standin import codec, model, placement, quota, replacement
from lws_kueue_lab.kueue_standin.quota import Mode

Assignments = Mapping[str, placement.Placed]


class _Failure(Exception):
    """A pod set that has no place; ``error`` when no topology could even be asked."""

    def __init__(self, pod_set: str, message: str, *, error: bool = False) -> None:
        super().__init__(message)
        self.pod_set = pod_set
        self.message = message
        self.error = error


class Finder:
    """Finds places, knowing what is taken so far in this cycle."""

    def __init__(self, observed: model.Observed) -> None:
        self._observed = observed
        self._places = placement.Places.of(observed)
        self._taken: dict[tuple[str, str], list[placement.Taken]] = {}
        self._kept: list[placement.Taken] = []

    # Counting ---------------------------------------------------------------------------------

    def take(self, workload: model.Workload) -> None:
        """Count what an admitted Workload is assigned."""
        taken = list(_taken_by(workload))
        if taken:
            self._taken[workload.key] = taken

    def keep(self, found: quota.Assignment, assignments: Assignments) -> None:
        """Count what this cycle has just assigned."""
        for plan in found.plans:
            known = self._topology(plan)
            if known is not None and plan.pod_set.name in assignments:
                placed = assignments[plan.pod_set.name]
                self._kept += _as_taken(plan.pod_set, known, placed)

    def encode(self, plan: quota.PodSetPlan, assignments: Assignments) -> model.Object | None:
        """The assignment of one pod set in the form of the API, None without one."""
        known = self._topology(plan)
        placed = assignments.get(plan.pod_set.name)
        return _encode(known[1], placed) if known and placed else None

    # Finding ----------------------------------------------------------------------------------

    def complete(
        self, context: quota.Context, found: quota.Assignment
    ) -> tuple[quota.Assignment, Assignments]:
        """Add the places, or turn a fit by quota into the reason why there are none."""
        try:
            return found, self._find(context, found, self._all_taken())
        except _Failure as failure:
            return self._explain(context, found, failure), {}

    def fits(
        self, context: quota.Context, found: quota.Assignment, gone: Sequence[model.Workload]
    ) -> bool:
        """Whether there are places once some Workloads are gone."""
        away = {workload.key for workload in gone}
        left = [t for key, taken in self._taken.items() if key not in away for t in taken]
        try:
            self._find(context, found, [*left, *self._kept])
        except _Failure:
            return False
        return True

    def replace(self, workload: model.Workload, node: str) -> dict[str, model.Object]:
        """Replace a failed node; returns the new assignments of the pod sets that had it.

        Raises:
            UnplacedError: nothing can replace it.
        """
        pod_sets = {pod_set.name: pod_set for pod_set in workload.pod_sets}
        encoded: dict[str, model.Object] = {}
        counted = self._all_taken()
        for assignment in (workload.admission or {}).get("podSetAssignments") or ():
            pod_set = pod_sets.get(assignment["name"])
            domains = model.domains_of(assignment)
            if pod_set is None or not any(values[-1] == node for values, _ in domains):
                continue
            known = self._of_flavors((assignment.get("flavors") or {}).values())
            if known is None:
                raise placement.UnplacedError("no TAS flavor assigned")
            flavor, topology = known
            leaves = {
                placement.assigned_values(topology, leaf): leaf
                for leaf in self._places.leaves(topology, flavor)
            }
            lost = replacement.loss(pod_set, domains, node, leaves)
            domain = replacement.within(lost, topology)
            fresh = self._places.place(
                [replacement.request(lost, confined=bool(domain))],
                topology=topology,
                flavor=flavor,
                taken=counted,
                within=domain,
            )[pod_set.name]
            counted += _as_taken(pod_set, known, fresh)
            self._kept += _as_taken(pod_set, known, fresh)
            encoded[pod_set.name] = _encode(topology, replacement.merged(lost.kept, fresh))
        return encoded

    def _explain(
        self, context: quota.Context, found: quota.Assignment, failure: _Failure
    ) -> quota.Assignment:
        """Tell a place that is taken from one that does not exist."""
        if failure.error:
            message = f"failed to assign flavors to pod set {failure.pod_set}: {failure.message}"
            return dataclasses.replace(found, mode=Mode.NO_FIT, message=message)
        message = f"couldn't assign flavors to pod set {failure.pod_set}: {failure.message}"
        try:
            self._find(context, found, [])
        except _Failure:
            mode = Mode.NO_FIT
        else:
            mode = Mode.PREEMPT
        return dataclasses.replace(found, mode=mode, message=message)

    def _all_taken(self) -> list[placement.Taken]:
        return [*(t for taken in self._taken.values() for t in taken), *self._kept]

    def _find(
        self,
        context: quota.Context,
        found: quota.Assignment,
        taken: Iterable[placement.Taken],
    ) -> Assignments:
        assignments: dict[str, placement.Placed] = {}
        counted = list(taken)
        units = _units(context, found)
        # What can never be placed is told before what does not fit now.
        known = [self._flavor_of(context, unit) for unit in units]
        for unit, place in zip(units, known, strict=True):
            flavor, topology = place
            wanted = [placement.Request(plan.pod_set, plan.pod_set.count) for plan in unit]
            try:
                placed = self._places.place(wanted, topology=topology, flavor=flavor, taken=counted)
            except placement.UnplacedError as error:
                raise _Failure(unit[-1].pod_set.name, str(error)) from error
            assignments |= placed
            for plan in unit:
                counted += _as_taken(plan.pod_set, place, placed[plan.pod_set.name])
        return assignments

    def _flavor_of(
        self, context: quota.Context, unit: Sequence[quota.PodSetPlan]
    ) -> tuple[model.Flavor, model.Topology]:
        for plan in unit:
            problem = self._flavor_problem(context, plan)
            if problem:
                raise _Failure(plan.pod_set.name, problem, error=True)
        found = self._topology(unit[0])
        assert found is not None, "a pod set without a problem has a flavor with a topology"
        return found

    def _flavor_problem(self, context: quota.Context, plan: quota.PodSetPlan) -> str:
        """Say why no flavor of the plan can place its pods, "" if one can."""
        if not any(self._of_flavors([name]) for name in context.queue.flavors):
            return "workload requires Topology, but there is no TAS cache information"
        names = sorted({name for name in plan.flavors.values() if self._of_flavors([name])})
        if not names:
            return "no TAS flavor assigned"
        if len(names) > 1:
            return f"more than one TAS flavor assigned: {', '.join(names)}"
        return ""

    def _topology(self, plan: quota.PodSetPlan) -> tuple[model.Flavor, model.Topology] | None:
        return self._of_flavors(plan.flavors.values())

    def _of_flavors(self, found: Iterable[str]) -> tuple[model.Flavor, model.Topology] | None:
        for name in found:
            flavor = self._observed.flavors.get(name)
            topology = self._observed.topologies.get(flavor.topology) if flavor else None
            if flavor is not None and topology is not None:
                return flavor, topology
        return None


def _units(context: quota.Context, found: quota.Assignment) -> list[list[quota.PodSetPlan]]:
    """The pod sets to place, grouped; one without pods needs no place."""
    units: dict[str, list[quota.PodSetPlan]] = {}
    for index, plan in enumerate(found.plans):
        if plan.pod_set.count and context.places(plan.pod_set):
            units.setdefault(plan.pod_set.group or str(index), []).append(plan)
    return list(units.values())


def _encode(topology: model.Topology, placed: placement.Placed) -> model.Object:
    return codec.encode(
        placement.assigned_levels(topology),
        [(placement.assigned_values(topology, domain), count) for domain, count in placed],
    )


def _as_taken(
    pod_set: model.PodSet, place: tuple[model.Flavor, model.Topology], placed: placement.Placed
) -> list[placement.Taken]:
    flavor, topology = place
    return [
        placement.Taken(
            label=topology.levels[-1],
            domain=placement.assigned_values(topology, domain),
            flavors=frozenset({flavor.name}),
            count=count,
            single=pod_set.single | {requests.PODS: 1},
        )
        for domain, count in placed
    ]


def _taken_by(workload: model.Workload) -> Iterable[placement.Taken]:
    pod_sets = {pod_set.name: pod_set for pod_set in workload.pod_sets}
    for assignment in (workload.admission or {}).get("podSetAssignments") or ():
        pod_set = pod_sets.get(assignment.get("name", "main"))
        if pod_set is None:
            continue
        for values, count in model.domains_of(assignment):
            yield placement.Taken(
                label=assignment["topologyAssignment"]["levels"][-1],
                domain=values,
                flavors=frozenset((assignment.get("flavors") or {}).values()),
                count=count,
                single=pod_set.single | {requests.PODS: 1},
            )
