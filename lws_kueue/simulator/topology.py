"""Topology assignments of whole Workloads: asking `placement`, counting what is taken.

A Workload that fits by quota gets its places here, or learns that the topology has none
(kueue-contract 2.2, 2.3 and 3.5).
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

from lws_kueue.api import requests
from lws_kueue.simulator import codec, flavors, objects, placement, replacement
from lws_kueue.simulator.flavors import Mode

Assignments = Mapping[str, placement.Placed]
Key = tuple[str, str]


class _Failure(Exception):
    """A pod set that has no place; ``error`` when no topology could even be asked."""

    def __init__(self, pod_set: str, message: str, *, error: bool = False) -> None:
        super().__init__(message)
        self.pod_set = pod_set
        self.message = message
        self.error = error


class Finder:
    """Finds places, knowing what is taken so far in this cycle."""

    def __init__(self, observed: objects.Observed) -> None:
        self._observed = observed
        self._places = placement.Places.of(observed)
        self._taken: dict[Key, list[placement.Taken]] = {}

    # Counting ---------------------------------------------------------------------------------

    def take(self, workload: objects.Workload) -> None:
        """Count what an admitted Workload is assigned."""
        taken = list(_taken_by(workload))
        if taken:
            self._taken[workload.key] = taken

    def keep(self, key: Key, found: flavors.Assignment, assignments: Assignments) -> None:
        """Count what has just been assigned to the Workload with that key."""
        taken: list[placement.Taken] = []
        for plan in found.plans:
            known = self._topology(plan)
            if known is not None and plan.pod_set.name in assignments:
                taken += _as_taken(plan.pod_set, known, assignments[plan.pod_set.name])
        if taken:
            self._taken[key] = taken

    def drop(self, key: Key) -> None:
        """Count no more what a Workload was assigned."""
        self._taken.pop(key, None)

    def encode(self, plan: flavors.PodSetPlan, assignments: Assignments) -> objects.Object | None:
        """The assignment of one pod set in the form of the API, None without one."""
        known = self._topology(plan)
        placed = assignments.get(plan.pod_set.name)
        return _encode(known[1], placed) if known and placed else None

    # Finding ----------------------------------------------------------------------------------

    def complete(
        self,
        context: flavors.Context,
        found: flavors.Assignment,
        *,
        without: Iterable[Key] = (),
    ) -> tuple[flavors.Assignment, Assignments]:
        """Add the places, or turn a fit by quota into the reason why there are none.

        ``without`` are Workloads whose places are free.
        """
        units = _units(context, found)
        if not units or found.mode is Mode.NO_FIT:
            return found, {}
        if found.mode is Mode.FIT:
            try:
                return found, self._find(context, found, self._all_taken(without))
            except _Failure as failure:
                found = _unplaced(found, failure)
        if found.mode is Mode.NO_FIT:
            return found, {}
        try:
            self._find(context, found, [])
        except _Failure as failure:
            message = found.message or _told(failure)
            return dataclasses.replace(found, mode=Mode.NO_FIT, message=message), {}
        kinds = frozenset(
            (flavor, resource)
            for unit in units
            for plan in unit
            for resource, flavor in plan.flavors.items()
        )
        return dataclasses.replace(found, short_of=found.short_of | kinds), {}

    def needed(self, context: flavors.Context, found: flavors.Assignment) -> bool:
        """Whether there are pod sets to place."""
        return bool(_units(context, found))

    def find(
        self, context: flavors.Context, found: flavors.Assignment, *, without: Iterable[Key] = ()
    ) -> Assignments | None:
        """Return the places once some Workloads are gone, None if there are none then."""
        try:
            return self._find(context, found, self._all_taken(without))
        except _Failure:
            return None

    def replace(self, workload: objects.Workload, node: str) -> dict[str, objects.Object]:
        """Replace a failed node; returns the new assignments of the pod sets that had it.

        Raises:
            UnplacedError: nothing can replace it.
        """
        pod_sets = {pod_set.name: pod_set for pod_set in workload.pod_sets}
        encoded: dict[str, objects.Object] = {}
        counted = self._all_taken()
        for assignment in (workload.admission or {}).get("podSetAssignments") or ():
            pod_set = pod_sets.get(assignment["name"])
            domains = objects.domains_of(assignment)
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
            self._taken.setdefault(workload.key, []).extend(_as_taken(pod_set, known, fresh))
            encoded[pod_set.name] = _encode(topology, replacement.merged(lost.kept, fresh))
        return encoded

    def _all_taken(self, without: Iterable[Key] = ()) -> list[placement.Taken]:
        away = {*without}
        return [t for key, taken in self._taken.items() if key not in away for t in taken]

    def _find(
        self,
        context: flavors.Context,
        found: flavors.Assignment,
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
        self, context: flavors.Context, unit: Sequence[flavors.PodSetPlan]
    ) -> tuple[objects.Flavor, objects.Topology]:
        for plan in unit:
            problem = self._flavor_problem(context, plan)
            if problem:
                raise _Failure(plan.pod_set.name, problem, error=True)
        found = self._topology(unit[0])
        assert found is not None, "a pod set without a problem has a flavor with a topology"
        return found

    def _flavor_problem(self, context: flavors.Context, plan: flavors.PodSetPlan) -> str:
        """Say why no flavor of the plan can place its pods, "" if one can."""
        if not any(self._of_flavors([name]) for name in context.queue.flavors):
            return "workload requires Topology, but there is no TAS cache information"
        names = sorted({name for name in plan.flavors.values() if self._of_flavors([name])})
        if not names:
            return "no TAS flavor assigned"
        if len(names) > 1:
            return f"more than one TAS flavor assigned: {', '.join(names)}"
        return ""

    def _topology(self, plan: flavors.PodSetPlan) -> tuple[objects.Flavor, objects.Topology] | None:
        return self._of_flavors(plan.flavors.values())

    def _of_flavors(self, found: Iterable[str]) -> tuple[objects.Flavor, objects.Topology] | None:
        for name in found:
            flavor = self._observed.flavors.get(name)
            topology = self._observed.topologies.get(flavor.topology) if flavor else None
            if flavor is not None and topology is not None:
                return flavor, topology
        return None


def _told(failure: _Failure) -> str:
    how = "failed to" if failure.error else "couldn't"
    return f"{how} assign flavors to pod set {failure.pod_set}: {failure.message}"


def _unplaced(found: flavors.Assignment, failure: _Failure) -> flavors.Assignment:
    """Tell a place that is taken, for now, from one that cannot even be asked for."""
    mode = Mode.NO_FIT if failure.error else Mode.PREEMPT
    return dataclasses.replace(found, mode=mode, message=_told(failure))


def _units(context: flavors.Context, found: flavors.Assignment) -> list[list[flavors.PodSetPlan]]:
    """The pod sets to place, grouped; one without pods needs no place."""
    units: dict[str, list[flavors.PodSetPlan]] = {}
    for index, plan in enumerate(found.plans):
        if plan.pod_set.count and context.places(plan.pod_set):
            units.setdefault(plan.pod_set.group or str(index), []).append(plan)
    return list(units.values())


def _encode(topology: objects.Topology, placed: placement.Placed) -> objects.Object:
    return codec.encode(
        placement.assigned_levels(topology),
        [(placement.assigned_values(topology, domain), count) for domain, count in placed],
    )


def _as_taken(
    pod_set: objects.PodSet,
    place: tuple[objects.Flavor, objects.Topology],
    placed: placement.Placed,
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


def _taken_by(workload: objects.Workload) -> Iterable[placement.Taken]:
    pod_sets = {pod_set.name: pod_set for pod_set in workload.pod_sets}
    for assignment in (workload.admission or {}).get("podSetAssignments") or ():
        pod_set = pod_sets.get(assignment.get("name", "main"))
        if pod_set is None:
            continue
        for values, count in objects.domains_of(assignment):
            yield placement.Taken(
                label=assignment["topologyAssignment"]["levels"][-1],
                domain=values,
                flavors=frozenset((assignment.get("flavors") or {}).values()),
                count=count,
                single=pod_set.single | {requests.PODS: 1},
            )
