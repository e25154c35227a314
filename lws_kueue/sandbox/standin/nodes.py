"""Nodes, and what the pods bound to them take."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from lws_kueue.api import names, quantity, requests

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


@dataclasses.dataclass(frozen=True, slots=True)
class Node:
    """A node that may take pods."""

    name: str
    labels: Mapping[str, str]
    taints: tuple[Object, ...]
    allocatable: quantity.Amounts
    usable: bool

    @classmethod
    def of(cls, obj: Object) -> "Node":
        """Parse a Node."""
        spec = obj.get("spec") or {}
        status = obj.get("status") or {}
        conditions = {c["type"]: c["status"] for c in status.get("conditions") or ()}
        return cls(
            name=obj["metadata"]["name"],
            labels=obj["metadata"].get("labels") or {},
            taints=tuple(spec.get("taints") or ()),
            allocatable=quantity.parse_all(status.get("allocatable")),
            usable=conditions.get("Ready") == "True" and not spec.get("unschedulable"),
        )


@dataclasses.dataclass(frozen=True, slots=True)
class BoundPod:
    """What a pod takes from its node; nothing if its Workload's assignment counts instead."""

    node: str
    requests: quantity.Amounts

    @classmethod
    def of(cls, obj: Object) -> "BoundPod":
        """Parse a Pod."""
        spec = obj.get("spec") or {}
        annotations = obj["metadata"].get("annotations") or {}
        over = (obj.get("status") or {}).get("phase") in ("Succeeded", "Failed")
        if over or any(key in annotations for key in _TOPOLOGY_ANNOTATIONS):
            return cls(node="", requests={})
        return cls(
            node=spec.get("nodeName") or "",
            requests=requests.of_pod(spec) | {requests.PODS: 1},
        )
