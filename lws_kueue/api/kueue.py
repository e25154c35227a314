"""pydantic models of what is read and written of Kueue v1beta2 (kueue-contract 2).

Only the fields that decisions need are named; the others are kept as they came, because a status
that is written back has to be complete (kueue-contract 2.7). Pod templates stay JSON. A missing
optional field means what the API says it means: a Workload without ``active`` is active.
"""

import contextlib
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from lws_kueue.api import derived, facts
from lws_kueue.api.lws import Condition


class _Model(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, frozen=True, extra="allow"
    )


def _readable(stored: Any) -> tuple[Condition, ...]:
    """Return the conditions that can be read."""
    found: list[Condition] = []
    for one in stored if isinstance(stored, list) else ():
        with contextlib.suppress(ValidationError):
            found.append(Condition.model_validate(one))
    return tuple(found)


def _find(conditions: Iterable[Condition], type_: str) -> Condition | None:
    return next((condition for condition in conditions if condition.type == type_), None)


def _writers(obj: facts.Object) -> tuple[str, ...]:
    """Return the field managers that own something of an object beside its status."""
    entries = (obj.get("metadata") or {}).get("managedFields") or ()
    found = {str(e.get("manager") or "") for e in entries if not e.get("subresource")}
    return tuple(sorted(found - {""}))


class SliceConstraint(_Model):
    """One layer of a multi-layer slice request."""

    topology: str = ""
    size: int = 0


class TopologyRequest(_Model):
    """Where the pods of a podset have to be, relative to each other (kueue-contract 2.2)."""

    required: str | None = None
    preferred: str | None = None
    unconstrained: bool | None = None
    pod_index_label: str | None = None
    pod_set_group_name: str | None = None
    pod_set_slice_required_topology: str | None = None
    pod_set_slice_size: int | None = None
    podset_slice_required_topology_constraints: tuple[SliceConstraint, ...] = ()

    @property
    def explicit(self) -> bool:
        """Whether the user asked for a placement of the podset as a whole."""
        return not (self.required is None and self.preferred is None and self.unconstrained is None)

    @property
    def sliced(self) -> bool:
        """Whether the user asked for slices of the podset to be placed."""
        return (
            self.pod_set_slice_size is not None
            or self.pod_set_slice_required_topology is not None
            or bool(self.podset_slice_required_topology_constraints)
        )


class PodSet(_Model):
    """Pods of one shape in a Workload."""

    name: str = "main"
    template: dict[str, Any] = Field(default_factory=dict)
    count: int = 1
    topology_request: TopologyRequest | None = None


class PriorityClassRef(_Model):
    """Which class the priority of a Workload comes from."""

    group: str = ""
    kind: str = ""
    name: str = ""


class WorkloadSpec(_Model):
    """What a group asks of Kueue."""

    pod_sets: tuple[PodSet, ...] = ()
    queue_name: str = ""
    priority_class_ref: PriorityClassRef | None = None
    priority: int | None = None
    active: bool = True
    maximum_execution_time_seconds: int | None = None


class IndividualValues(_Model):
    """Values that differ from domain to domain: ``prefix + roots[i] + suffix``."""

    prefix: str = ""
    suffix: str = ""
    roots: tuple[str, ...] = ()


class LevelValues(_Model):
    """The values of one topology level in a slice: one for all domains, or one each."""

    universal: str | None = None
    individual: IndividualValues | None = None


class PodCounts(_Model):
    """Pods per domain of a slice: one number for all domains, or one each."""

    universal: int | None = None
    individual: tuple[int, ...] = ()


class AssignmentSlice(_Model):
    """A run of domains that are encoded together."""

    domain_count: int = 0
    values_per_level: tuple[LevelValues, ...] = ()
    pod_counts: PodCounts = PodCounts()


class TopologyAssignment(_Model):
    """The domains a podset got, compressed (kueue-contract 2.3)."""

    levels: tuple[str, ...] = ()
    slices: tuple[AssignmentSlice, ...] = ()


class PodSetAssignment(_Model):
    """What a podset was admitted with; ``resource_usage`` is that of all its pods."""

    name: str
    flavors: dict[str, str] = Field(default_factory=dict)
    resource_usage: dict[str, Any] = Field(default_factory=dict)
    count: int | None = None
    topology_assignment: TopologyAssignment | None = None


class Admission(_Model):
    """The quota reservation of a Workload."""

    cluster_queue: str
    pod_set_assignments: tuple[PodSetAssignment, ...] = ()


class PodSetUpdate(_Model):
    """What an admission check wants on the pods of a podset."""

    name: str
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    node_selector: dict[str, str] = Field(default_factory=dict)
    tolerations: tuple[dict[str, Any], ...] = ()


class AdmissionCheckState(_Model):
    """The state of one admission check of a Workload."""

    name: str
    state: str = "Pending"
    message: str = ""
    pod_set_updates: tuple[PodSetUpdate, ...] = ()
    retry_count: int = 0


class UnhealthyNode(_Model):
    """A node of the assignment that waits for its replacement."""

    name: str


class WorkloadStatus(_Model):
    """What Kueue decided, and whether the pods run."""

    conditions: tuple[Condition, ...] = ()
    admission: Admission | None = None
    admission_checks: tuple[AdmissionCheckState, ...] = ()
    cluster_name: str | None = None
    nominated_cluster_names: tuple[str, ...] = ()
    unhealthy_nodes: tuple[UnhealthyNode, ...] = ()
    accumulated_past_execution_time_seconds: int | None = None


class Workload(_Model):
    """A Workload as it is stored, with its metadata as facts.

    ``stored_status`` is the JSON the API server stores, for writes that must be complete.
    ``unreadable`` says what of it a later Kueue writes in another way, "" for nothing: then only
    its conditions are known, because what stops pods must be followed all the same. ``writers`` are
    the field managers that own something of it beside its status.
    """

    meta: facts.Meta
    spec: WorkloadSpec
    status: WorkloadStatus = WorkloadStatus()
    stored_status: Mapping[str, Any] = Field(default_factory=dict)
    unreadable: str = ""
    writers: tuple[str, ...] = ()

    @classmethod
    def of(cls, obj: facts.Object) -> "Workload":
        """Parse a stored Workload."""
        stored = obj.get("status") or {}
        writers = _writers(obj)
        try:
            return cls(
                meta=facts.Meta.of(obj),
                spec=WorkloadSpec.model_validate(obj.get("spec") or {}),
                status=WorkloadStatus.model_validate(stored),
                stored_status=stored,
                writers=writers,
            )
        except ValidationError as error:
            first = error.errors()[0]
            return cls(
                meta=facts.Meta.of(obj),
                spec=WorkloadSpec(),
                status=WorkloadStatus(conditions=_readable(stored.get("conditions"))),
                stored_status=stored,
                writers=writers,
                unreadable=f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}",
            )

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy with other fields, which keeps nothing of what followed from these."""
        return derived.nothing_yet(super().model_copy(update=update, deep=deep))

    @cached_property
    def _conditions(self) -> Mapping[str, Condition]:
        """The conditions by type: they are asked for many times while the Workload is as it is."""
        return {one.type: one for one in reversed(self.status.conditions)}

    def condition(self, type_: str) -> Condition | None:
        """Return the condition of that type, if there is one."""
        return self._conditions.get(type_)

    def is_true(self, type_: str) -> bool:
        """Whether the condition of that type exists with status True."""
        condition = self.condition(type_)
        return condition is not None and condition.status == "True"


class _Stored(_Model):
    """A kind of which a few fields of the spec are read; a null says what a missing field says."""

    model_config = ConfigDict(extra="ignore")

    meta: facts.Meta

    @classmethod
    def of(cls, obj: facts.Object) -> Self:
        """Parse a stored object."""
        conditions = (obj.get("status") or {}).get("conditions")
        return cls._parsed(obj, {**(obj.get("spec") or {}), "conditions": conditions})

    @classmethod
    def _parsed(cls, obj: facts.Object, fields: facts.Object) -> Self:
        told = {name: value for name, value in fields.items() if value is not None}
        return cls.model_validate({**told, "meta": facts.Meta.of(obj)})


class ResourceFlavor(_Stored):
    """A kind of nodes: what a pod needs in order to land on them."""

    node_labels: dict[str, str] = Field(default_factory=dict)
    node_taints: tuple[dict[str, Any], ...] = ()
    tolerations: tuple[dict[str, Any], ...] = ()
    topology_name: str = ""


class _Class(_Stored):
    """A kind whose fields stand beside its metadata, not in a spec."""

    value: int = 0

    @classmethod
    def of(cls, obj: facts.Object) -> Self:
        """Parse a stored object."""
        return cls._parsed(obj, obj)


class WorkloadPriorityClass(_Class):
    """A priority that orders Workloads and nothing else."""


class PriorityClass(_Class):
    """A scheduling.k8s.io PriorityClass."""

    global_default: bool = False


class _WithConditions(_Stored):
    conditions: tuple[Condition, ...] = ()

    def condition(self, type_: str) -> Condition | None:
        """Return the condition of that type, if there is one."""
        return _find(self.conditions, type_)


class _Queue(_WithConditions):
    stop_policy: str = "None"


class AdmissionCheckRule(_Model):
    """An admission check that a ClusterQueue asks for, of some flavors or, with none, of all."""

    name: str = ""
    on_flavors: tuple[str, ...] = ()


class AdmissionChecksStrategy(_Model):
    """The admission checks that a ClusterQueue asks for."""

    admission_checks: tuple[AdmissionCheckRule, ...] = ()


class FlavorQuotas(_Model):
    """A flavor that a ClusterQueue has quota of; how much is Kueue's own business."""

    model_config = ConfigDict(extra="ignore")

    name: str = ""


class ResourceGroup(_Model):
    """Flavors of which a ClusterQueue gives one."""

    model_config = ConfigDict(extra="ignore")

    flavors: tuple[FlavorQuotas, ...] = ()


class ClusterQueue(_Queue):
    """The queue that holds the quota; its state is read, its flavors, and its checks."""

    admission_checks_strategy: AdmissionChecksStrategy = AdmissionChecksStrategy()
    resource_groups: tuple[ResourceGroup, ...] = ()


class LocalQueue(_Queue):
    """The namespaced queue that a set names."""

    cluster_queue: str = ""


class AdmissionCheckParameters(_Model):
    """The object that configures an admission check."""

    api_group: str = ""
    kind: str = ""
    name: str = ""


class AdmissionCheck(_WithConditions):
    """An admission check; which controller serves it decides whether pods run here."""

    controller_name: str = ""
    parameters: AdmissionCheckParameters | None = None
