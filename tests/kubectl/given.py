"""A set in a queue, as somebody reads it, with whatever surrounds it changed by a test."""

import copy
import dataclasses
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from lws_kueue.api import names
from lws_kueue.kubectl import look
from lws_kueue.runtime import keys, resources
from tests.controller import test_decide as passes
from tests.kit.builders import cluster as build
from tests.kit.memory import kubernetes_model

Object = dict[str, Any]
NAMESPACE = kubernetes_model.NAMESPACE
KEY = keys.SetKey(NAMESPACE, passes.SET)
RACK = "example.com/rack"

_KINDS = {
    "StatefulSet": resources.STATEFUL_SETS,
    "Pod": resources.PODS,
    "Service": resources.SERVICES,
    "ControllerRevision": resources.REVISIONS,
    "Workload": resources.WORKLOADS,
}


class Given:
    """A set of groups of three pods, of which some are admitted, and its queue with 3 cpu.

    ``change`` what is there, and then ``seen`` is a look at it.
    """

    def __init__(
        self, *, replicas: int = 2, admitted: int = 0, queue: str | None = "queue"
    ) -> None:
        self.model = passes.cluster(replicas=replicas, queue=queue)
        containers = self.live["spec"]["leaderWorkerTemplate"]["workerTemplate"]["spec"]
        containers["containers"][0]["resources"] = {"requests": {"cpu": "500m"}}
        passes.settle(self.model, admit=False)
        for name in self.model.pending()[:admitted]:
            self.model.admit(name)
        passes.settle(self.model, admit=False)
        self.model.now += timedelta(minutes=10)
        self.flavors = [build.kueues("ResourceFlavor", "default", nodeLabels={"gpu": "a"})]
        self.local_queues = [build.local_queue("queue", namespace=NAMESPACE, cluster_queue="cq")]
        self.cluster_queues = [build.cluster_queue("cq", {"default": {"cpu": "3"}})]
        self.cohorts: list[Object] = []
        self.checks: list[Object] = []
        self.classes: list[Object] = []
        self.topologies = [build.topology("t", [RACK, build.HOST])]
        self.others: list[Object] = []
        self.nodes = [_node(f"node-{n}", f"rack-{n // 2}") for n in range(4)]
        self.nodes += [_node("node", "rack-9")]
        self.support: Any = "served"
        self.pending: list[Object] | None = None
        self.refused: dict[str, str] = {}
        self.built_in: bool | None = None
        self.lacking: tuple[resources.Resource, ...] = ()
        for index in range(replicas):
            if index < admitted:
                self.hold(index)
            elif queue:
                self.says(index, "couldn't assign flavors to pod set main")

    @property
    def live(self) -> Object:
        """The set."""
        return self.model.objects[names.LWS_KIND, passes.SET]

    def workload(self, index: int) -> Object:
        """The Workload of a group."""
        return next(
            one
            for one in self.model.of_kind("Workload").values()
            if one["metadata"]["annotations"][names.COMPONENT_WORKLOAD_INDEX] == str(index)
        )

    def pods(self, index: int) -> list[Object]:
        """The pods of a group."""
        return [
            one
            for one in self.model.of_kind("Pod").values()
            if one["metadata"]["labels"][names.GROUP_INDEX] == str(index)
        ]

    def says(self, index: int, message: str, reason: str = "Pending", **requests: str) -> None:
        """Let Kueue say why a group waits, and what it asks for."""
        workload = self.workload(index)
        told = condition("QuotaReserved", "False", reason, message)
        asked = [{"name": "main", "resources": requests or {"cpu": "1500m"}}]
        workload["status"] = {"conditions": [told], "resourceRequests": asked}
        self.model.touch(workload)

    def hold(self, index: int) -> None:
        """Let a group hold its quota."""
        workload = self.workload(index)
        (part,) = workload["status"]["admission"]["podSetAssignments"]
        part["resourceUsage"] = {"cpu": "1500m"}
        self.model.touch(workload)

    def used(self, queue: str, cpu: str, *, flavor: str = "default") -> None:
        """Let a ClusterQueue have used some quota."""
        found = next(one for one in self.cluster_queues if one["metadata"]["name"] == queue)
        usage = [{"name": flavor, "resources": [{"name": "cpu", "total": cpu}]}]
        found["status"] = {"flavorsReservation": usage}

    def other(self, name: str, *, priority: int = 0, cpu: str = "1", holds: bool = False) -> None:
        """Let another Workload wait in the queue, or hold quota of it."""
        workload: Object = {
            "metadata": {
                "namespace": NAMESPACE,
                "name": name,
                "uid": name,
                "creationTimestamp": "2029-12-31T00:00:00Z",
            },
            "spec": {"queueName": "queue", "priority": priority, "podSets": []},
            "status": {"resourceRequests": [{"name": "main", "resources": {"cpu": cpu}}]},
        }
        if holds:
            part = {"name": "main", "flavors": {"cpu": "default"}, "resourceUsage": {"cpu": cpu}}
            workload["status"] |= {
                "conditions": [condition("QuotaReserved", "True"), condition("Admitted", "True")],
                "admission": {"clusterQueue": "cq", "podSetAssignments": [part]},
            }
        self.others.append(workload)

    def seen(self) -> look.Seen:
        """Look at it."""
        kept = [*self.model.kept_templates().values()]
        stored = {
            resource: [*map(copy.deepcopy, self.model.of_kind(kind).values())]
            for kind, resource in _KINDS.items()
        }
        stored[resources.REVISIONS] += kept
        stored[resources.WORKLOADS] += self.others
        stored |= {
            resources.FLAVORS: self.flavors,
            resources.LOCAL_QUEUES: self.local_queues,
            resources.CLUSTER_QUEUES: self.cluster_queues,
            resources.ADMISSION_CHECKS: self.checks,
            resources.WORKLOAD_PRIORITY_CLASSES: self.classes,
            look.COHORTS: self.cohorts,
            look.TOPOLOGIES: self.topologies,
        }
        for objects in stored.values():
            for one in objects:
                one["metadata"].setdefault("resourceVersion", "1")
                one["metadata"].setdefault("uid", one["metadata"]["name"])
        found = look.of(
            copy.deepcopy(self.live),
            stored,
            key=KEY,
            support=self.support,
            detail="" if self.support == "served" else "Kueue is not installed",
            nodes=self.nodes,
            now=self.model.now,
        )
        told = dataclasses.replace(found.observed.kueue, built_in=self.built_in)
        observed = dataclasses.replace(found.observed, kueue=told)
        return dataclasses.replace(
            found,
            observed=observed.looked_up(refusals=self.refused),
            pending=self.pending,
            lacking=self.lacking,
        )


Change = Callable[[Given], None]


def condition(kind: str, status: str, reason: str = "", message: str = "") -> Object:
    """Return a condition as it is stored."""
    return {
        "type": kind,
        "status": status,
        "reason": reason or kind,
        "message": message,
        "lastTransitionTime": "2030-01-01T00:00:00Z",
    }


def _node(name: str, rack: str) -> Object:
    made = build.node(name, labels={RACK: rack, "gpu": "a"}, offers={"cpu": "8"})
    made["status"]["conditions"] = [{"type": "Ready", "status": "True"}]
    return made
