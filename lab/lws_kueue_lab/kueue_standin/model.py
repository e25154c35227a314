"""Observed objects, parsed into what the stand-in decides from.

Only fields that a decision reads are parsed; everything else stays in the JSON that the object
came as. Parsing accepts whatever the CRDs accept.
"""

import dataclasses
import datetime
from collections.abc import Mapping
from typing import Any

from lws_kueue.api import facts, names, quantity, requests
from lws_kueue_lab.kueue_standin import codec
from lws_kueue_lab.kueue_standin import nodes as machines

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
class ResourceGroup:
    """Resources that come from one flavor together; the flavors are tried in order."""

    covered: tuple[str, ...]
    flavors: Mapping[str, quantity.Amounts]


@dataclasses.dataclass(frozen=True, slots=True)
class ClusterQueue:
    """A ClusterQueue; ``checks`` maps an admission check to its flavors, () meaning all."""

    meta: facts.Meta
    selector: Object | None
    groups: tuple[ResourceGroup, ...]
    strict: bool
    stopped: str
    preempts: str
    stops_search_to_preempt: bool
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
        preemption = spec.get("preemption") or {}
        fungibility = spec.get("flavorFungibility") or {}
        return cls(
            meta=facts.Meta.of(obj),
            selector=spec.get("namespaceSelector"),
            groups=tuple(_resource_group(group) for group in spec.get("resourceGroups") or ()),
            strict=spec.get("queueingStrategy") == "StrictFIFO",
            stopped=_stop_policy(spec),
            preempts=preemption.get("withinClusterQueue") or "Never",
            stops_search_to_preempt=fungibility.get("whenCanPreempt") == "MayStopSearch",
            checks={check["name"]: tuple(check.get("onFlavors") or ()) for check in strategy},
            unsupported=_unsupported(spec),
            status=obj.get("status") or {},
        )


def _resource_group(group: Object) -> ResourceGroup:
    return ResourceGroup(
        covered=tuple(group.get("coveredResources") or ()),
        flavors={
            flavor["name"]: {
                r["name"]: quantity.parse(r["name"], r["nominalQuota"])
                for r in flavor.get("resources") or ()
            }
            for flavor in group.get("flavors") or ()
        },
    )


def _unsupported(spec: Object) -> tuple[str, ...]:
    """Name the features in use that only a real Kueue has."""
    scope = (spec.get("admissionScope") or {}).get("admissionMode")
    used = {
        f"cohorts (cohortName {spec.get('cohortName')})": spec.get("cohortName"),
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
class PriorityClass:
    """A WorkloadPriorityClass."""

    name: str
    value: int

    @classmethod
    def of(cls, obj: Object) -> "PriorityClass":
        """Parse a WorkloadPriorityClass."""
        return cls(name=obj["metadata"]["name"], value=int(obj.get("value", 0)))


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
    flavors: Mapping[str, Flavor] = dataclasses.field(default_factory=dict)
    topologies: Mapping[str, Topology] = dataclasses.field(default_factory=dict)
    checks: Mapping[str, AdmissionCheck] = dataclasses.field(default_factory=dict)
    priority_classes: Mapping[str, PriorityClass] = dataclasses.field(default_factory=dict)
    nodes: Mapping[str, machines.Node] = dataclasses.field(default_factory=dict)
    pods: Mapping[tuple[str, str], machines.Pod] = dataclasses.field(default_factory=dict)
    namespaces: Mapping[str, Mapping[str, str]] = dataclasses.field(default_factory=dict)
    limit_ranges: Mapping[tuple[str, str], LimitRange] = dataclasses.field(default_factory=dict)
    runtime_classes: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)

    def queues_of(self, workload: Workload) -> tuple[LocalQueue | None, ClusterQueue | None]:
        """The queues that a Workload goes through, as far as they exist."""
        local = self.local_queues.get(workload.queue)
        return local, self.cluster_queues.get(local.cluster_queue) if local else None
