"""Nodes, and what pods take there."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Final

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
class Pod:
    """What a pod takes from its node: nothing if its Workload's assignment counts instead."""

    node: str
    requests: quantity.Amounts

    @classmethod
    def of(cls, obj: Object) -> "Pod | None":
        """Parse a Pod; None if no decision depends on it."""
        meta, spec, status = obj["metadata"], obj.get("spec") or {}, obj.get("status") or {}
        node = spec.get("nodeName") or ""
        over = status.get("phase") in ("Succeeded", "Failed")
        if not node or over or placed_by_topology(meta.get("annotations") or {}):
            return None
        return cls(node, requests.of_pod(spec) | {requests.PODS: 1})


def placed_by_topology(annotations: Mapping[str, str]) -> bool:
    """Whether the place of a pod comes from a topology assignment."""
    return any(key in annotations for key in _TOPOLOGY_ANNOTATIONS)
