"""Objects of Kueue, parsed into what admission depends on.

Only fields that a decision reads are parsed; everything else stays in the JSON that the object
came as. Parsing accepts whatever the CRDs accept.
"""

import dataclasses
import datetime
from collections.abc import Iterable, Mapping
from typing import Any

from lws_kueue.api import facts, names, quantity, requests
from lws_kueue.simulator import codec
from lws_kueue.simulator import nodes as machines

Object = Mapping[str, Any]
FlavorResource = tuple[str, str]
Usage = dict[FlavorResource, int]
# A topology level, and how many pods a slice has that stays in one domain of it.
Constraint = tuple[str, int]


def parse_time(text: str) -> datetime.datetime:
    """Parse an API timestamp."""
    return datetime.datetime.fromisoformat(text)


@dataclasses.dataclass(frozen=True, slots=True)
class PodSet:
    """One pod set of a Workload; ``single`` is what one of its pods requests."""

    name: str
    count: int
    spec: Object
    topology: Object
    single: quantity.Amounts

    @property
    def group(self) -> str | None:
        """The name of the group of pod sets that are placed as a unit."""
        return self.topology.get("podSetGroupName")

    @property
    def wants_topology(self) -> bool:
        """Whether the pod set asks for topology-aware placement by itself."""
        return self.sliced or any(
            self.topology.get(key) is not None for key in ("required", "preferred", "unconstrained")
        )

    @property
    def sliced(self) -> bool:
        """Whether the pod set is to be placed in slices."""
        return bool(self.constraints)

    @property
    def constraints(self) -> tuple[Constraint, ...]:
        """The levels that slices have to stay in, and their sizes, outermost first."""
        layers = self.topology.get("podsetSliceRequiredTopologyConstraints")
        if layers:
            return tuple((layer["topology"], int(layer.get("size") or 0)) for layer in layers)
        level = self.topology.get("podSetSliceRequiredTopology")
        return ((level, int(self.topology.get("podSetSliceSize") or 0)),) if level else ()

    @property
    def levels(self) -> tuple[str, ...]:
        """The node labels that the request names."""
        named = (self.topology.get("required"), self.topology.get("preferred"))
        return (*filter(None, named), *(level for level, _ in self.constraints))

    @classmethod
    def of(cls, obj: Object) -> "PodSet":
        """Parse one item of ``spec.podSets``."""
        spec = (obj.get("template") or {}).get("spec") or {}
        return cls(
            name=obj.get("name", "main"),
            count=int(obj.get("count", 1)),
            spec=spec,
            topology=obj.get("topologyRequest") or {},
            single=requests.of_pod(spec),
        )


def usage_of(admission: Object | None) -> Usage:
    """What an admission reserves, flavor by flavor."""
    total: Usage = {}
    for assignment in (admission or {}).get("podSetAssignments") or ():
        flavors = assignment.get("flavors") or {}
        for resource, used in (assignment.get("resourceUsage") or {}).items():
            if resource in flavors:
                key = (flavors[resource], resource)
                total[key] = total.get(key, 0) + quantity.parse(resource, used)
    return total


def reserved_in(queue: "ClusterQueue") -> Usage:
    """What Kueue says is reserved in a ClusterQueue."""
    return {
        (flavor["name"], one["name"]): quantity.parse(one["name"], one.get("total", 0))
        for flavor in queue.status.get("flavorsReservation") or ()
        for one in flavor.get("resources") or ()
    }


def domains_of(assignment: Object) -> list[codec.Assigned]:
    """The domains of a pod set's assignment in their order; none if it has none.

    One that somebody else wrote and that cannot be read is one without domains.
    """
    encoded = assignment.get("topologyAssignment")
    if not encoded:
        return []
    try:
        return codec.decode(encoded)
    except ValueError:
        return []


@dataclasses.dataclass(frozen=True, slots=True)
class Workload:
    """A Workload as last seen."""

    meta: facts.Meta
    spec: Object
    status: Object
    pod_sets: tuple[PodSet, ...]
    conditions: Mapping[str, Object]

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and name."""
        return self.meta.namespace, self.meta.name

    @property
    def queue(self) -> tuple[str, str]:
        """Namespace and name of the LocalQueue."""
        return self.meta.namespace, self.spec.get("queueName", "")

    @property
    def priority(self) -> int:
        """Higher goes first."""
        return int(self.spec.get("priority") or 0)

    @property
    def active(self) -> bool:
        """Whether a person or Kueue wants it to run."""
        return self.spec.get("active", True) is not False

    @property
    def gated_by(self) -> str:
        """Who holds it back from being considered at all."""
        return self.meta.annotations.get(names.ADMISSION_GATED_BY, "")

    @property
    def admission(self) -> Object | None:
        """Where it reserved quota."""
        return self.status.get("admission")

    @property
    def holds_quota(self) -> bool:
        """Whether its reservation counts. Kueue forgets it once deactivated or finished."""
        return self.is_true("QuotaReserved") and self.active and not self.is_true("Finished")

    def is_true(self, condition: str) -> bool:
        """Whether a condition is True."""
        return self.conditions.get(condition, {}).get("status") == "True"

    def usage(self) -> Usage:
        """What it reserved, flavor by flavor."""
        return usage_of(self.admission)

    @classmethod
    def of(cls, obj: Object) -> "Workload":
        """Parse a Workload."""
        spec = obj.get("spec") or {}
        status = obj.get("status") or {}
        return cls(
            meta=facts.Meta.of(obj),
            spec=spec,
            status=status,
            pod_sets=tuple(PodSet.of(item) for item in spec.get("podSets") or ()),
            conditions={c["type"]: c for c in status.get("conditions") or ()},
        )


@dataclasses.dataclass(frozen=True, slots=True)
class LocalQueue:
    """A LocalQueue."""

    meta: facts.Meta
    cluster_queue: str
    stopped: str
    status: Object

    @classmethod
    def of(cls, obj: Object) -> "LocalQueue":
        """Parse a LocalQueue."""
        spec = obj.get("spec") or {}
        return cls(
            meta=facts.Meta.of(obj),
            cluster_queue=spec.get("clusterQueue", ""),
            stopped=_stop_policy(spec),
            status=obj.get("status") or {},
        )


def _stop_policy(spec: Object) -> str:
    """Return the stop policy, "" when the queue runs."""
    policy = spec.get("stopPolicy") or "None"
    return "" if policy == "None" else str(policy)


@dataclasses.dataclass(frozen=True, slots=True)
class Quota:
    """Quota of a resource in a flavor; the limits are None where there are none.

    ``borrowing`` bounds what is used beyond ``nominal``, ``lending`` what others may use of it.
    Both say nothing outside a cohort.
    """

    nominal: int
    borrowing: int | None = None
    lending: int | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class ResourceGroup:
    """Resources that come from one flavor together; the flavors are tried in order."""

    covered: tuple[str, ...]
    flavors: Mapping[str, Mapping[str, Quota]]


def quotas_of(groups: Iterable[ResourceGroup]) -> dict[FlavorResource, Quota]:
    """Return the quota of each flavor and resource."""
    return {
        (flavor, resource): quota
        for group in groups
        for flavor, amounts in group.flavors.items()
        for resource, quota in amounts.items()
    }


@dataclasses.dataclass(frozen=True, slots=True)
class Preemption:
    """Who may have to make room: policies as the API names them.

    ``borrow_within`` is the policy by which a ClusterQueue takes back while it borrows, and
    ``threshold`` the priority up to which it may, None without a bound.
    """

    within: str = "Never"
    reclaim: str = "Never"
    borrow_within: str = "Never"
    threshold: int | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Fungibility:
    """Whether the next flavor is tried before borrowing, or before preempting, in this one."""

    next_before_borrowing: bool = False
    next_before_preempting: bool = True
    prefers_preemption: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class ClusterQueue:
    """A ClusterQueue; ``checks`` maps an admission check to its flavors, () meaning all."""

    meta: facts.Meta
    selector: Object | None
    groups: tuple[ResourceGroup, ...]
    strict: bool
    stopped: str
    cohort: str
    preemption: Preemption
    fungibility: Fungibility
    checks: Mapping[str, tuple[str, ...]]
    unsupported: tuple[str, ...]
    status: Object

    def group_of(self, resource: str) -> ResourceGroup | None:
        """The resource group that covers a resource."""
        return next((group for group in self.groups if resource in group.covered), None)

    @property
    def flavors(self) -> tuple[str, ...]:
        """All flavors, in order."""
        return tuple(dict.fromkeys(name for group in self.groups for name in group.flavors))

    @classmethod
    def of(cls, obj: Object) -> "ClusterQueue":
        """Parse a ClusterQueue."""
        spec = obj.get("spec") or {}
        strategy = (spec.get("admissionChecksStrategy") or {}).get("admissionChecks") or ()
        return cls(
            meta=facts.Meta.of(obj),
            selector=spec.get("namespaceSelector"),
            groups=tuple(_resource_group(group) for group in spec.get("resourceGroups") or ()),
            strict=spec.get("queueingStrategy") == "StrictFIFO",
            stopped=_stop_policy(spec),
            cohort=spec.get("cohortName") or "",
            preemption=_preemption(spec.get("preemption") or {}),
            fungibility=_fungibility(spec.get("flavorFungibility") or {}),
            checks={check["name"]: tuple(check.get("onFlavors") or ()) for check in strategy},
            unsupported=_unsupported(spec),
            status=obj.get("status") or {},
        )


@dataclasses.dataclass(frozen=True, slots=True)
class Cohort:
    """A Cohort: quota of its own, and the cohort above it."""

    name: str
    parent: str = ""
    groups: tuple[ResourceGroup, ...] = ()

    @classmethod
    def of(cls, obj: Object) -> "Cohort":
        """Parse a Cohort."""
        spec = obj.get("spec") or {}
        return cls(
            name=obj["metadata"]["name"],
            parent=spec.get("parentName") or "",
            groups=tuple(_resource_group(group) for group in spec.get("resourceGroups") or ()),
        )


def _preemption(spec: Object) -> Preemption:
    borrow = spec.get("borrowWithinCohort") or {}
    return Preemption(
        within=spec.get("withinClusterQueue") or "Never",
        reclaim=spec.get("reclaimWithinCohort") or "Never",
        borrow_within=borrow.get("policy") or "Never",
        threshold=borrow.get("maxPriorityThreshold"),
    )


def _fungibility(spec: Object) -> Fungibility:
    return Fungibility(
        next_before_borrowing=spec.get("whenCanBorrow") == "TryNextFlavor",
        next_before_preempting=(spec.get("whenCanPreempt") or "TryNextFlavor") == "TryNextFlavor",
        prefers_preemption=spec.get("preference") == "PreemptionOverBorrowing",
    )


def _resource_group(group: Object) -> ResourceGroup:
    return ResourceGroup(
        covered=tuple(group.get("coveredResources") or ()),
        flavors={
            flavor["name"]: {one["name"]: _quota(one) for one in flavor.get("resources") or ()}
            for flavor in group.get("flavors") or ()
        },
    )


def _quota(one: Object) -> Quota:
    def amount(field: str) -> int | None:
        stored = one.get(field)
        return None if stored is None else quantity.parse(one["name"], stored)

    return Quota(amount("nominalQuota") or 0, amount("borrowingLimit"), amount("lendingLimit"))


def _unsupported(spec: Object) -> tuple[str, ...]:
    """Name the features in use that are not simulated."""
    scope = (spec.get("admissionScope") or {}).get("admissionMode")
    used = {
        "admission fair sharing (admissionScope)": scope == "UsageBasedAdmissionFairSharing",
        "concurrent admission (concurrentAdmissionPolicy)": spec.get("concurrentAdmissionPolicy"),
    }
    return tuple(feature for feature, present in used.items() if present)


@dataclasses.dataclass(frozen=True, slots=True)
class Flavor:
    """A ResourceFlavor."""

    name: str
    labels: Mapping[str, str]
    taints: tuple[Object, ...]
    tolerations: tuple[Object, ...]
    topology: str

    @classmethod
    def of(cls, obj: Object) -> "Flavor":
        """Parse a ResourceFlavor."""
        spec = obj.get("spec") or {}
        return cls(
            name=obj["metadata"]["name"],
            labels=spec.get("nodeLabels") or {},
            taints=tuple(spec.get("nodeTaints") or ()),
            tolerations=tuple(spec.get("tolerations") or ()),
            topology=spec.get("topologyName") or "",
        )


@dataclasses.dataclass(frozen=True, slots=True)
class Topology:
    """A Topology: the node labels of its levels, widest first."""

    name: str
    levels: tuple[str, ...]

    @classmethod
    def of(cls, obj: Object) -> "Topology":
        """Parse a Topology."""
        levels = (obj.get("spec") or {}).get("levels") or ()
        return cls(
            name=obj["metadata"]["name"], levels=tuple(level["nodeLabel"] for level in levels)
        )


@dataclasses.dataclass(frozen=True, slots=True)
class AdmissionCheck:
    """An AdmissionCheck: whether its controller serves it."""

    name: str
    active: bool

    @classmethod
    def of(cls, obj: Object) -> "AdmissionCheck":
        """Parse an AdmissionCheck."""
        conditions = (obj.get("status") or {}).get("conditions") or ()
        active = any(c["type"] == "Active" and c["status"] == "True" for c in conditions)
        return cls(name=obj["metadata"]["name"], active=active)


@dataclasses.dataclass(frozen=True, slots=True)
class Defaults:
    """What a LimitRange gives to a container, or to a pod, that does not say it itself."""

    limits: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    requests: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True)
class LimitRange:
    """A LimitRange, as far as it fills in what templates leave out."""

    container: Defaults = Defaults()
    pod: Defaults = Defaults()

    @classmethod
    def of(cls, obj: Object) -> "LimitRange":
        """Parse a LimitRange; the API server has made default requests of default limits."""
        by_type = {
            item.get("type"): Defaults(item.get("default") or {}, item.get("defaultRequest") or {})
            for item in reversed((obj.get("spec") or {}).get("limits") or ())
        }
        none = Defaults()
        return cls(container=by_type.get("Container", none), pod=by_type.get("Pod", none))


def overhead_of(runtime_class: Object) -> Mapping[str, Any]:
    """What each pod of a RuntimeClass needs besides its containers."""
    overhead: Mapping[str, Any] = (runtime_class.get("overhead") or {}).get("podFixed") or {}
    return overhead


@dataclasses.dataclass(frozen=True, slots=True)
class Observed:
    """Everything that a pass decides from; keys are names, or (namespace, name) if namespaced.

    ``namespaces`` maps a name to its labels.
    """

    workloads: Mapping[tuple[str, str], Workload] = dataclasses.field(default_factory=dict)
    local_queues: Mapping[tuple[str, str], LocalQueue] = dataclasses.field(default_factory=dict)
    cluster_queues: Mapping[str, ClusterQueue] = dataclasses.field(default_factory=dict)
    cohorts: Mapping[str, Cohort] = dataclasses.field(default_factory=dict)
    flavors: Mapping[str, Flavor] = dataclasses.field(default_factory=dict)
    topologies: Mapping[str, Topology] = dataclasses.field(default_factory=dict)
    checks: Mapping[str, AdmissionCheck] = dataclasses.field(default_factory=dict)
    nodes: Mapping[str, machines.Node] = dataclasses.field(default_factory=dict)
    pods: Mapping[tuple[str, str], machines.Pod] = dataclasses.field(default_factory=dict)
    namespaces: Mapping[str, Mapping[str, str]] = dataclasses.field(default_factory=dict)
    limit_ranges: Mapping[tuple[str, str], LimitRange] = dataclasses.field(default_factory=dict)
    runtime_classes: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)

    def queues_of(self, workload: Workload) -> tuple[LocalQueue | None, ClusterQueue | None]:
        """The queues that a Workload goes through, as far as they exist."""
        local = self.local_queues.get(workload.queue)
        return local, self.cluster_queues.get(local.cluster_queue) if local else None
