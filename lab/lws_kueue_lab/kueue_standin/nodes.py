"""Pods that take room on nodes, or wait to."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from lws_kueue.api import facts, names, requests
from lws_kueue.simulator import nodes
from lws_kueue_lab.kueue_standin import pod_marks

Object = Mapping[str, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class Aim:
    """That a pod may only go to one host and is not there yet; ``conditions`` are its own."""

    host: str
    meta: facts.Meta
    conditions: tuple[Object, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Pod(nodes.Pod):
    """A pod on its node, or one that waits for the host that it aims at.

    It takes nothing from its node if its Workload's assignment counts instead. ``workload`` is
    the name of that Workload, ``staying`` whether the pod is not on its way out, ``group`` the pod
    group that it names, ``held`` what it is known by if it is over and Kueue's finalizer keeps it.
    """

    workload: str = ""
    staying: bool = False
    aim: Aim | None = None
    group: str = ""
    held: facts.Meta | None = None

    @classmethod
    def of(cls, obj: Object) -> "Pod | None":
        """Parse a Pod; None if no decision depends on it."""
        meta, spec = obj["metadata"], obj.get("spec") or {}
        annotations = meta.get("annotations") or {}
        phase = (obj.get("status") or {}).get("phase")
        counted = nodes.placed_by_topology(annotations)
        over = phase in ("Succeeded", "Failed")
        kept = pod_marks.FINALIZER in (meta.get("finalizers") or ())
        held = facts.Meta.of(obj) if kept and (over or "deletionTimestamp" in meta) else None
        group = pod_marks.group_of(meta)
        if over:
            return cls("", {}, group=group, held=held) if held or group else None
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
    host = (spec.get("nodeSelector") or {}).get(nodes.HOSTNAME)
    gates = [gate["name"] for gate in spec.get("schedulingGates") or ()]
    waits = not spec.get("nodeName") and status.get("phase") == "Pending"
    if not host or not waits or names.TOPOLOGY_GATE in gates:
        return None
    return Aim(host, facts.Meta.of(obj), tuple(status.get("conditions") or ()))
