"""Nodes that fail under admitted Workloads (kueue-contract 3.5, "Node failure / replacement").

A failed node of an assignment is noted in ``unhealthyNodes``, and the scheduler's second pass
replaces it (`replacement`); a second one in the meantime means eviction. A node that is gone fails
at once, one that is only not ready, or tainted, when no pod of the Workload is staying there.
"""

import enum
from collections.abc import Iterable, Mapping
from typing import Any, Final

from lws_kueue.api import actions, taints
from lws_kueue.simulator import nodes, objects
from lws_kueue_lab.kueue_standin import draft as drafts
from lws_kueue_lab.kueue_standin import nodes as machines
from lws_kueue_lab.kueue_standin import watched

Json = dict[str, Any]

REASON: Final = "NodeFailures"

_ENDED: Final = {
    "type": "TerminatedByKueue",
    "status": "True",
    "reason": "UnschedulableOnAssignedNode",
    "message": "Pod terminated by Kueue NodeController due to node taint",
}


class _Health(enum.Enum):
    WELL = enum.auto()
    SUSPECT = enum.auto()  # Failed as soon as no pod is staying there.
    GONE = enum.auto()


class Watch:
    """Looks at the nodes of Workloads during one pass."""

    def __init__(self, observed: watched.Watched) -> None:
        self._observed = observed
        self._pods: dict[tuple[str, str], list[machines.Pod]] = {}
        for (namespace, _), pod in observed.pods.items():
            if pod.workload:
                self._pods.setdefault((namespace, pod.workload), []).append(pod)

    def examine(self, draft: drafts.Draft) -> list[actions.Patch]:
        """Note the failed nodes of a Workload; returns how its pods that wait in vain end."""
        if draft.is_true("Evicted"):
            return []
        admitted = draft.is_true("Admitted")
        assigned = hosts_of(draft.status.get("admission")) if admitted else {}
        health = {host: self._health(host, draft, sets) for host, sets in assigned.items()}
        suspects = {host for host, found in health.items() if found is _Health.SUSPECT}
        busy = {pod.node for pod in self._pods_of(draft) if pod.staying}
        gone = {host for host, found in health.items() if found is _Health.GONE}
        _note(draft, gone | (suspects - busy))
        if draft.is_true("Evicted"):
            return []
        aims = [pod.aim for pod in self._pods_of(draft) if pod.aim is not None]
        return [
            _end(aim, draft)
            for aim in aims
            if aim.host in suspects or (aim.host not in assigned and self._is_known(aim.host))
        ]

    def _pods_of(self, draft: drafts.Draft) -> list[machines.Pod]:
        return self._pods.get(draft.workload.key, [])

    def _is_known(self, host: str) -> bool:
        node = self._observed.nodes.get(host)
        return node is not None and node.ready is not None

    def _health(self, host: str, draft: drafts.Draft, sets: Iterable[Json]) -> _Health:
        node = self._observed.nodes.get(host)
        if node is None or node.ready is None:
            return _Health.GONE
        if not node.ready:
            return _Health.SUSPECT
        pod_sets = {pod_set.name: pod_set for pod_set in draft.workload.pod_sets}
        for assignment in sets:
            pod_set = pod_sets.get(assignment.get("name", "main"))
            tolerations = self._lasting(assignment, pod_set)
            if taints.untolerated(node.taints, tolerations) is not None:
                return _Health.SUSPECT
        return _Health.WELL

    def _lasting(self, assignment: Json, pod_set: objects.PodSet | None) -> list[objects.Object]:
        """The tolerations that do not end after some time."""
        flavors = [
            self._observed.flavors[name]
            for name in (assignment.get("flavors") or {}).values()
            if name in self._observed.flavors
        ]
        known = [*((pod_set.spec.get("tolerations") or ()) if pod_set else ())]
        known += [toleration for flavor in flavors for toleration in flavor.tolerations]
        return [each for each in known if each.get("tolerationSeconds") is None]


def hosts_of(admission: Mapping[str, Any] | None) -> dict[str, list[Json]]:
    """The hosts of an admission, each with the pod sets' assignments that use it."""
    found: dict[str, list[Json]] = {}
    for assignment in (admission or {}).get("podSetAssignments") or ():
        for values, count in objects.domains_of(assignment):
            if assignment["topologyAssignment"]["levels"][-1] == nodes.HOSTNAME and count:
                found.setdefault(values[-1], []).append(assignment)
    return found


def _note(draft: drafts.Draft, failed: set[str]) -> None:
    """Bring ``unhealthyNodes`` up to date; a second failed node means eviction."""
    known = [node["name"] for node in draft.status.get("unhealthyNodes") or ()]
    listed = [name for name in known if name in failed]
    for name in sorted(failed - set(listed)):
        if listed:
            message = (
                "Workload eviction triggered due to multiple TAS assigned node failures, including:"
                f" {', '.join([*listed, name])}"
            )
            draft.evict(REASON, message)
            return
        listed.append(name)
    if listed != known:
        draft.status["unhealthyNodes"] = [{"name": name} for name in listed]


def _end(aim: machines.Aim, draft: drafts.Draft) -> actions.Patch:
    condition = _ENDED | {"lastTransitionTime": drafts.timestamp(draft.now)}
    return actions.Patch(
        ref=actions.Ref("v1", "Pod", aim.meta.namespace, aim.meta.name),
        body={"status": {"phase": "Failed", "conditions": [*aim.conditions, condition]}},
        resource_version=aim.meta.resource_version,
        subresource="status",
    )


def unhealthy(draft: drafts.Draft) -> str:
    """The node that the second pass is to replace, "" if there is none.

    What this pass has noted is for the next one, which sees that it was written.
    """
    noted = [node["name"] for node in draft.status.get("unhealthyNodes") or ()]
    written = draft.workload.status.get("unhealthyNodes") or ()
    if not draft.is_true("Admitted") or draft.is_true("Evicted"):
        return ""
    return next((node["name"] for node in written if node["name"] in noted), "")
