"""Observed objects, reduced to the facts that decisions are made from.

A fact is parsed once, when an event arrives, and never changed, so what follows from it is kept
with it (``derived``). Labels, annotations and specs are shared with the parsed JSON and must be
treated as read-only. Parsing never fails on an object that an API server accepted: what is missing
gets the value the API defines for it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

Object = Mapping[str, Any]
Labels = Mapping[str, str]

# A pod template in a revision has about twenty levels.
MOST_NESTED = 100


@dataclass(frozen=True, slots=True)
class Owner:
    """An owner reference, reduced to what identifies the owner."""

    kind: str
    name: str
    uid: str
    controller: bool
    group: str = ""


@dataclass(frozen=True)
class Meta:
    """The parts of ``metadata`` that decisions need."""

    namespace: str
    name: str
    uid: str
    resource_version: str
    generation: int
    labels: Labels
    annotations: Labels
    owners: tuple[Owner, ...]
    finalizers: tuple[str, ...]
    created: str
    deleted: str | None
    grace_seconds: int | None

    @cached_property
    def deleting(self) -> bool:
        """Whether the object has a deletion timestamp."""
        return self.deleted is not None

    @cached_property
    def controller(self) -> Owner | None:
        """The owner reference with ``controller: true``, if there is one."""
        return next((owner for owner in self.owners if owner.controller), None)

    @classmethod
    def of(cls, obj: Object) -> "Meta":
        """Parse the metadata of any object."""
        meta = obj.get("metadata") or {}
        owners = tuple(
            Owner(
                kind=ref.get("kind", ""),
                name=ref.get("name", ""),
                uid=ref.get("uid", ""),
                controller=bool(ref.get("controller")),
                group=ref.get("apiVersion", "").rpartition("/")[0],
            )
            for ref in meta.get("ownerReferences") or ()
        )
        return cls(
            namespace=meta.get("namespace", ""),
            name=meta.get("name", ""),
            uid=meta.get("uid", ""),
            resource_version=meta.get("resourceVersion", ""),
            generation=int(meta.get("generation", 0)),
            labels=meta.get("labels") or {},
            annotations=meta.get("annotations") or {},
            owners=owners,
            finalizers=tuple(meta.get("finalizers") or ()),
            created=meta.get("creationTimestamp", ""),
            deleted=meta.get("deletionTimestamp"),
            grace_seconds=meta.get("deletionGracePeriodSeconds"),
        )


@dataclass(frozen=True, slots=True)
class Unscheduled:
    """That the scheduler has found no node for a pod: since when, and what it says."""

    since: str
    message: str


@dataclass(frozen=True)
class Pod:
    """A pod of a group, leader or worker.

    ``ready_since`` is the time at which it became ready or stopped being so, "" for never.
    """

    meta: Meta
    phase: str
    ready: bool
    restarted: bool
    node: str
    gates: tuple[str, ...]
    spec: Object
    ready_since: str = ""
    unscheduled: Unscheduled | None = None

    @property
    def finished(self) -> bool:
        """Whether the pod has terminated (phase Succeeded or Failed)."""
        return self.phase in ("Succeeded", "Failed")

    @classmethod
    def of(cls, obj: Object) -> "Pod":
        """Parse a pod."""
        spec = obj.get("spec") or {}
        status = obj.get("status") or {}
        phase = status.get("phase", "Pending")
        conditions = {c.get("type"): c for c in status.get("conditions") or ()}
        ready = conditions.get("Ready") or {}
        return cls(
            meta=Meta.of(obj),
            phase=phase,
            ready=ready.get("status") == "True",
            restarted=_restarted(phase=phase, status=status),
            node=spec.get("nodeName") or "",
            gates=tuple(gate["name"] for gate in spec.get("schedulingGates") or ()),
            spec=spec,
            ready_since=ready.get("lastTransitionTime") or "",
            unscheduled=_unscheduled(conditions.get("PodScheduled") or {}),
        )


def _unscheduled(condition: Object) -> Unscheduled | None:
    """Return what the scheduler says about a pod that has no node; a gated one is none of its."""
    if condition.get("status") != "False" or condition.get("reason") != "Unschedulable":
        return None
    return Unscheduled(condition.get("lastTransitionTime") or "", condition.get("message") or "")


def _restarted(*, phase: str, status: Object) -> bool:
    """Whether a container or init container restarted, as lws-contract 5.2 defines it."""
    if phase not in ("Running", "Pending"):
        return False
    containers = (
        *(status.get("containerStatuses") or ()),
        *(status.get("initContainerStatuses") or ()),
    )
    return any(container.get("restartCount", 0) > 0 for container in containers)


@dataclass(frozen=True, slots=True)
class StatefulSet:
    """A leader or worker StatefulSet."""

    meta: Meta
    replicas: int
    partition: int
    spec: Object
    status: Object
    managed_fields: tuple[Object, ...]

    @property
    def settled(self) -> bool:
        """Whether its controller makes pods of its newest template only."""
        return self.seen and self._on_one_revision

    @property
    def short(self) -> bool:
        """Whether its controller says that it has fewer pods than it wants.

        It makes all that are missing before it says anything, so some cannot be made, or were made
        in that very turn and are counted in the next. One that is being deleted makes none.
        """
        if self.meta.deleting:
            return False
        return self.seen and self.status.get("replicas", 0) < self.replicas

    @property
    def status_since(self) -> str:
        """The time of the last change of its status, which the API server keeps; "" for none."""
        times = (e.get("time") for e in self.managed_fields if e.get("subresource") == "status")
        return max((time for time in times if time), default="")

    @property
    def seen(self) -> bool:
        """Whether its status is about the StatefulSet as it is now."""
        return bool(self.status.get("observedGeneration", 0) == self.meta.generation)

    @property
    def ready(self) -> bool:
        """Whether all replicas are available on one revision (lws-contract 4.1)."""
        available = self.status.get("availableReplicas", 0)
        return self._on_one_revision and bool(self.replicas == available)

    @property
    def _on_one_revision(self) -> bool:
        status = self.status
        return bool(status.get("currentRevision", "") == status.get("updateRevision", ""))

    @property
    def template_labels(self) -> Labels:
        """The labels that its pods are made with."""
        return self._template_metadata.get("labels") or {}

    @property
    def template_annotations(self) -> Labels:
        """The annotations that its pods are made with."""
        return self._template_metadata.get("annotations") or {}

    @property
    def selector(self) -> Labels:
        """The labels by which it tells its pods; they can never change."""
        return (self.spec.get("selector") or {}).get("matchLabels") or {}

    @property
    def _template_metadata(self) -> Object:
        return (self.spec.get("template") or {}).get("metadata") or {}

    @classmethod
    def of(cls, obj: Object) -> "StatefulSet":
        """Parse a StatefulSet."""
        spec = obj.get("spec") or {}
        rolling = (spec.get("updateStrategy") or {}).get("rollingUpdate") or {}
        replicas = spec.get("replicas")
        return cls(
            meta=Meta.of(obj),
            replicas=1 if replicas is None else int(replicas),
            partition=int(rolling.get("partition") or 0),
            spec=spec,
            status=obj.get("status") or {},
            managed_fields=tuple((obj.get("metadata") or {}).get("managedFields") or ()),
        )


@dataclass(frozen=True, slots=True)
class Service:
    """A headless Service of a set or of a group; anything else of its name is one as well.

    ``selector`` None means that somebody else fills in its endpoints.
    """

    meta: Meta
    headless: bool
    publishes_not_ready: bool
    selector: Labels | None

    @classmethod
    def of(cls, obj: Object) -> "Service":
        """Parse a Service."""
        spec = obj.get("spec") or {}
        return cls(
            meta=Meta.of(obj),
            headless=spec.get("clusterIP") == "None",
            publishes_not_ready=bool(spec.get("publishNotReadyAddresses")),
            selector=spec.get("selector") or None,
        )


@dataclass(frozen=True, slots=True)
class Named:
    """An object of which only the metadata matters.

    It is a PodGroup of Volcano, or a namespace, whose labels say whether sets without a queue are
    taken there.
    """

    meta: Meta

    @classmethod
    def of(cls, obj: Object) -> "Named":
        """Parse any object."""
        return cls(meta=Meta.of(obj))


@dataclass(frozen=True, slots=True)
class Node:
    """A node: the labels that place it in topology domains, and whether it takes pods.

    ``unschedulable`` says that it is cordoned, ``ready`` that its kubelet answers.
    """

    meta: Meta
    unschedulable: bool = False
    ready: bool = True
    taints: tuple[Object, ...] = ()

    @classmethod
    def of(cls, obj: Object) -> "Node":
        """Parse a node."""
        spec = obj.get("spec") or {}
        told = (obj.get("status") or {}).get("conditions") or ()
        return cls(
            meta=Meta.of(obj),
            unschedulable=bool(spec.get("unschedulable")),
            ready=any(c.get("type") == "Ready" and c.get("status") == "True" for c in told),
            taints=tuple(spec.get("taints") or ()),
        )


@dataclass(frozen=True)
class Revision:
    """An apps/v1 ControllerRevision that carries the set's name label."""

    meta: Meta
    number: int
    data: Object

    @classmethod
    def of(cls, obj: Object) -> "Revision":
        """Parse a ControllerRevision.

        Data that are nested deeper than any set can be are left out: an API server takes ten
        thousand levels from anybody, and hashing or comparing them would exhaust the stack.
        """
        data = obj.get("data") or {}
        return cls(
            meta=Meta.of(obj),
            number=int(obj.get("revision") or 0),
            data={} if _deeper(data, than=MOST_NESTED) else data,
        )


def _deeper(value: Any, *, than: int) -> bool:
    """Whether lists and maps stand in each other on more than so many levels."""
    level = [value]
    for _ in range(than):
        level = [inner for outer in level for inner in _inside(outer)]
        if not level:
            return False
    return True


def _inside(value: Any) -> tuple[Any, ...]:
    if isinstance(value, Mapping):
        return tuple(value.values())
    return tuple(value) if isinstance(value, list | tuple) else ()
