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


@dataclasses.dataclass(frozen=True, slots=True)
class _Unit:
    """Pod sets that are placed together in a flavor with a topology.

    ``question`` is what is asked for them, or why that cannot be asked.
    """

    plans: Sequence[flavors.PodSetPlan]
    place: tuple[objects.Flavor, objects.Topology]
    question: placement.Question | placement.UnplacedError


class Finder:
    """Finds places, knowing what is taken so far in this cycle."""

    def __init__(self, observed: objects.Observed) -> None:
        self._observed = observed
        self._places = placement.Places.of(observed)
        self._capacity = placement.Capacity(self._places)
        self._taken: dict[Key, list[placement.Taken]] = {}
        # Those whose places are free in the state that was asked about last.
        self._away: set[Key] = set()
        # Why there is no place where nobody has taken any, "" if there is one.
        self._never: dict[tuple[object, ...], str] = {}

    # Counting ---------------------------------------------------------------------------------

    def take(self, workload: objects.Workload) -> None:
        """Count what an admitted Workload is assigned."""
        self._count(workload.key, [*_taken_by(workload)])

    def keep(self, key: Key, found: flavors.Assignment, assignments: Assignments) -> None:
        """Count what has just been assigned to the Workload with that key."""
        taken: list[placement.Taken] = []
        for plan in found.plans:
            known = self._topology(plan)
            if known is not None and plan.pod_set.name in assignments:
                taken += _as_taken(plan.pod_set, known, assignments[plan.pod_set.name])
        self._count(key, taken)

    def drop(self, key: Key) -> None:
        """Count no more what a Workload was assigned."""
        taken = self._taken.pop(key, ())
        if key in self._away:
            self._away.discard(key)
        else:
            self._capacity.give_back(taken)

    def _count(self, key: Key, taken: list[placement.Taken]) -> None:
        if taken:
            self.drop(key)
            self._taken[key] = taken
            self._capacity.take(taken)

    def _leave_out(self, keys: Iterable[Key]) -> None:
        """Go on to the state in which only the places of these Workloads are free."""
        away = {key for key in keys if key in self._taken}
        for key in self._away - away:
            self._capacity.take(self._taken[key])
        for key in away - self._away:
            self._capacity.give_back(self._taken[key])
        self._away = away

    def encode(self, plan: flavors.PodSetPlan, assignments: Assignments) -> objects.Object | None:
        """The assignment of one pod set in the form of the API, None without one."""
        known = self._topology(plan)
        placed = assignments.get(plan.pod_set.name)
        return _encode(known[1], placed) if known and placed else None

    # Finding ----------------------------------------------------------------------------------

    def asked(self, context: flavors.Context, found: flavors.Assignment) -> "Asked":
        """Return what a Workload asks for in the flavors that were assigned to it."""
        try:
            return Asked(self, found, self._units(context, found))
        except _Failure as failure:
            return Asked(self, found, (), failure)

    def find(self, units: Sequence[_Unit], without: Iterable[Key]) -> Assignments:
        """Return the places once some Workloads are gone.

        Raises:
            _Failure: there are none then.
        """
        self._leave_out(without)
        return _placed(units, self._capacity)

    def never(self, units: Sequence[_Unit]) -> str:
        """Say why there is no place even where nobody has taken any, "" if there is one."""
        key = tuple(_whole(unit) for unit in units)
        if key not in self._never:
            try:
                _placed(units, placement.Capacity(self._places))
                self._never[key] = ""
            except _Failure as failure:
                self._never[key] = _told(failure)
        return self._never[key]

    def replace(self, workload: objects.Workload, node: str) -> dict[str, objects.Object]:
        """Replace a failed node; returns the new assignments of the pod sets that had it.

        Raises:
            UnplacedError: nothing can replace it.
        """
        pod_sets = {pod_set.name: pod_set for pod_set in workload.pod_sets}
        encoded: dict[str, objects.Object] = {}
        self._leave_out(())
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
            wanted = [replacement.request(lost, confined=bool(domain))]
            question = placement.Question(wanted, topology=topology, flavor=flavor, within=domain)
            fresh = self._capacity.place(question)[pod_set.name]
            more = _as_taken(pod_set, known, fresh)
            self._taken.setdefault(workload.key, []).extend(more)
            self._capacity.take(more)
            encoded[pod_set.name] = _encode(topology, replacement.merged(lost.kept, fresh))
        return encoded

    def _units(self, context: flavors.Context, found: flavors.Assignment) -> list[_Unit]:
        """The pod sets to place, grouped; one without pods needs no place."""
        grouped: dict[str, list[flavors.PodSetPlan]] = {}
        for index, plan in enumerate(found.plans):
            if plan.pod_set.count and context.places(plan.pod_set):
                grouped.setdefault(plan.pod_set.group or str(index), []).append(plan)
        return [_unit(plans, self._flavor_of(context, plans)) for plans in grouped.values()]

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


class Asked:
    """The places that a Workload asks for, in the flavors that were assigned to it."""

    def __init__(
        self,
        finder: Finder,
        found: flavors.Assignment,
        units: Sequence[_Unit],
        failure: _Failure | None = None,
    ) -> None:
        self._finder = finder
        self._found = found
        self._units = units
        self._failure = failure

    @property
    def needed(self) -> bool:
        """Whether there are pod sets to place."""
        return bool(self._units) or self._failure is not None

    def complete(self) -> tuple[flavors.Assignment, Assignments]:
        """Add the places, or turn a fit by quota into the reason why there are none."""
        found = self._found
        if not self.needed or found.mode is Mode.NO_FIT:
            return found, {}
        if self._failure is not None:
            # What cannot even be asked for is no place that is taken, for now.
            message = found.message or _told(self._failure)
            return dataclasses.replace(found, mode=Mode.NO_FIT, message=message), {}
        if found.mode is Mode.FIT:
            try:
                return found, self._finder.find(self._units, ())
            except _Failure as failure:
                found = dataclasses.replace(found, mode=Mode.PREEMPT, message=_told(failure))
        if never := self._finder.never(self._units):
            message = found.message or never
            return dataclasses.replace(found, mode=Mode.NO_FIT, message=message), {}
        kinds = frozenset(
            (flavor, resource)
            for unit in self._units
            for plan in unit.plans
            for resource, flavor in plan.flavors.items()
        )
        return dataclasses.replace(found, short_of=found.short_of | kinds), {}

    def find(self, *, without: Iterable[Key] = ()) -> Assignments | None:
        """Return the places once some Workloads are gone, None if there are none then."""
        if self._failure is not None:
            return None
        try:
            return self._finder.find(self._units, without)
        except _Failure:
            return None


def _unit(
    plans: Sequence[flavors.PodSetPlan], place: tuple[objects.Flavor, objects.Topology]
) -> _Unit:
    flavor, topology = place
    wanted = [placement.Request(plan.pod_set, plan.pod_set.count) for plan in plans]
    try:
        question = placement.Question(wanted, topology=topology, flavor=flavor)
    except placement.UnplacedError as error:
        return _Unit(plans, place, error)
    return _Unit(plans, place, question)


def _whole(unit: _Unit) -> tuple[object, ...]:
    """What the answer depends on, apart from what is taken, and who is told to have no place."""
    asked = unit.question
    known = asked.whole if isinstance(asked, placement.Question) else (str(asked),)
    return unit.plans[-1].pod_set.name, known


def _placed(units: Sequence[_Unit], capacity: placement.Capacity) -> Assignments:
    """Place one unit after the other; in the end the capacity is what it was."""
    assignments: dict[str, placement.Placed] = {}
    before: list[placement.Taken] = []
    try:
        for index, unit in enumerate(units):
            placed = _place(unit, capacity)
            assignments |= placed
            if index < len(units) - 1:
                taken = [
                    part
                    for plan in unit.plans
                    for part in _as_taken(plan.pod_set, unit.place, placed[plan.pod_set.name])
                ]
                capacity.take(taken)
                before += taken
    finally:
        capacity.give_back(before)
    return assignments


def _place(unit: _Unit, capacity: placement.Capacity) -> dict[str, placement.Placed]:
    try:
        if isinstance(unit.question, placement.UnplacedError):
            raise placement.UnplacedError(str(unit.question))
        return capacity.place(unit.question)
    except placement.UnplacedError as error:
        raise _Failure(unit.plans[-1].pod_set.name, str(error)) from error


def _told(failure: _Failure) -> str:
    how = "failed to" if failure.error else "couldn't"
    return f"{how} assign flavors to pod set {failure.pod_set}: {failure.message}"


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
