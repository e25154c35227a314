"""Nodes, and the pods that take room there or wait to."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Final

from lws_kueue.api import facts, names, quantity, requests
from lws_kueue_lab.kueue_standin import pod_marks

Object = Mapping[str, Any]

# Annotations that mark a pod as one whose place comes from a topology assignment; its use of
# a node is counted through its Workload (kueue-contract 3.5).
_TOPOLOGY_ANNOTATIONS = (
    names.PODSET_REQUIRED_TOPOLOGY,
    names.PODSET_PREFERRED_TOPOLOGY,
    names.PODSET_UNCONSTRAINED_TOPOLOGY,
    names.PODSET_SLICE_REQUIRED_TOPOLOGY,
    names.PODSET_SLICE_CONSTRAINTS,
)


HOSTNAME: Final = "kubernetes.io/hostname"


@dataclasses.dataclass(frozen=True, slots=True)
class Node:
    """A node that may take pods; ``ready`` is None as long as nobody said whether it is."""

    name: str
    labels: Mapping[str, str]
    taints: tuple[Object, ...]
    allocatable: quantity.Amounts
    ready: bool | None
    usable: bool

    @classmethod
    def of(cls, obj: Object) -> "Node":
        """Parse a Node."""
        spec = obj.get("spec") or {}
        status = obj.get("status") or {}
        conditions = {c["type"]: c["status"] for c in status.get("conditions") or ()}
        ready = conditions["Ready"] == "True" if "Ready" in conditions else None
        return cls(
            name=obj["metadata"]["name"],
            labels=obj["metadata"].get("labels") or {},
            taints=tuple(spec.get("taints") or ()),
            allocatable=quantity.parse_all(status.get("allocatable")),
            ready=ready,
            usable=bool(ready) and not spec.get("unschedulable"),
        )


@dataclasses.dataclass(frozen=True, slots=True)
class Aim:
    """That a pod may only go to one host and is not there yet; ``conditions`` are its own."""

    host: str
    meta: facts.Meta
    conditions: tuple[Object, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Pod:
    """A pod on its node, or one that waits for the host that it aims at.

    It takes nothing from its node if its Workload's assignment counts instead. ``workload`` is
    the name of that Workload, ``staying`` whether the pod is not on its way out, ``group`` the pod
    group that it names, ``held`` what it is known by if it is over and Kueue's finalizer keeps it.
    """

    node: str
    requests: quantity.Amounts
    workload: str
    staying: bool
    aim: Aim | None = None
    group: str = ""
    held: facts.Meta | None = None

    @classmethod
    def of(cls, obj: Object) -> "Pod | None":
        """Parse a Pod; None if no decision depends on it."""
        meta, spec = obj["metadata"], obj.get("spec") or {}
        annotations = meta.get("annotations") or {}
        phase = (obj.get("status") or {}).get("phase")
        counted = any(key in annotations for key in _TOPOLOGY_ANNOTATIONS)
        over = phase in ("Succeeded", "Failed")
        kept = pod_marks.FINALIZER in (meta.get("finalizers") or ())
        held = facts.Meta.of(obj) if kept and (over or "deletionTimestamp" in meta) else None
        group = pod_marks.group_of(meta)
        if over:
            return cls("", {}, "", False, group=group, held=held) if held or group else None
        aim = _aim(obj) if counted else None
        node = spec.get("nodeName") or ""
        if not node and aim is None and not group and held is None:
            return None
        return cls(
            node=node,
            requests={} if counted else requests.of_pod(spec) | {requests.PODS: 1},
            workload=annotations.get(names.WORKLOAD, ""),
            staying="deletionTimestamp" not in meta,
            aim=aim,
            group=group,
            held=held,
        )


def _aim(obj: Object) -> Aim | None:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    host = (spec.get("nodeSelector") or {}).get(HOSTNAME)
    gates = [gate["name"] for gate in spec.get("schedulingGates") or ()]
    waits = not spec.get("nodeName") and status.get("phase") == "Pending"
    if not host or not waits or names.TOPOLOGY_GATE in gates:
        return None
    return Aim(host, facts.Meta.of(obj), tuple(status.get("conditions") or ()))
