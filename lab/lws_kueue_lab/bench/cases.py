"""What is measured: the objects of each case, which are the same for everybody who serves them."""

import dataclasses
from typing import Any, Final, Literal

from lws_kueue.api import names
from lws_kueue_lab import sandbox

Object = dict[str, Any]
Case = Literal["floor", "plain", "queue-managed", "topology"]

# In this order they are told of.
CASES: Final[tuple[Case, ...]] = ("floor", "plain", "queue-managed", "topology")
QUEUED: Final[tuple[Case, ...]] = ("queue-managed", "topology")

NAMESPACE: Final = "bench"
SET: Final = "bench"
_QUEUE: Final = "bench"
# Far more than any case needs: what is measured is not who has to wait for quota.
_QUOTA: Final = "10000"
_IMAGE: Final = "registry.k8s.io/pause:3.10"

# Tells pods of one template from those of the next; a roll counts it up.
ROUND: Final = "bench.lws-kueue.dev/round"


@dataclasses.dataclass(frozen=True, slots=True, order=True)
class Shape:
    """How many groups a set has, and how many pods a group."""

    groups: int
    size: int

    @property
    def pods(self) -> int:
        """All pods of the set."""
        return self.groups * self.size

    def __str__(self) -> str:
        return f"{self.groups} x {self.size}"


def objects(case: Case, shape: Shape) -> list[Object]:
    """Return what a case applies when the clock starts, in its order."""
    return floor(shape) if case == "floor" else [leader_worker_set(case, shape)]


def leader_worker_set(case: Case, shape: Shape) -> Object:
    """Return the set of a case; a tenth of its groups may be away during a roll."""
    annotations = {ROUND: "1"}
    if case == "topology":
        annotations[names.PODSET_REQUIRED_TOPOLOGY] = sandbox.RACK_LABEL
    labels = {names.QUEUE_NAME: _QUEUE} if case in QUEUED else {}
    unavailable = {"maxUnavailable": tenth(shape.groups), "maxSurge": 0}
    return {
        "apiVersion": names.LWS_API_VERSION,
        "kind": names.LWS_KIND,
        "metadata": {"name": SET, "namespace": NAMESPACE, "labels": labels},
        "spec": {
            "replicas": shape.groups,
            "leaderWorkerTemplate": {
                "size": shape.size,
                "workerTemplate": {
                    "metadata": {"annotations": annotations},
                    "spec": _pod_spec(),
                },
            },
            "rolloutStrategy": {
                "type": "RollingUpdate",
                "rollingUpdateConfiguration": unavailable,
            },
        },
    }


def tenth(groups: int) -> int:
    """Return a tenth of the groups, and at least one."""
    return max(1, groups // 10)


def roll(number: int) -> Object:
    """Return the patch that makes a set's pods those of another round."""
    metadata = {"annotations": {ROUND: str(number)}}
    return {"spec": {"leaderWorkerTemplate": {"workerTemplate": {"metadata": metadata}}}}


def floor(shape: Shape) -> list[Object]:
    """Return the StatefulSets that a set of this shape consists of, with nobody in between.

    One has the leaders, and each group has one with its workers; the Service is that of the set.
    All create their pods at once.
    """
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": SET, "namespace": NAMESPACE},
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": {"app": SET},
        },
    }
    leaders = _stateful_set(SET, role="leaders", replicas=shape.groups, start=0)
    workers = [
        _stateful_set(f"{SET}-{index}", role=f"workers-{index}", replicas=shape.size - 1, start=1)
        for index in range(shape.groups if shape.size > 1 else 0)
    ]
    return [service, leaders, *workers]


def _stateful_set(name: str, *, role: str, replicas: int, start: int) -> Object:
    labels = {"app": SET, "role": role}
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "replicas": replicas,
            "serviceName": SET,
            "podManagementPolicy": "Parallel",
            "ordinals": {"start": start},
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels, "annotations": {ROUND: "1"}},
                "spec": _pod_spec(),
            },
        },
    }


def _pod_spec() -> Object:
    container = {"name": "c", "image": _IMAGE, "resources": {"requests": {"cpu": "1m"}}}
    return {"terminationGracePeriodSeconds": 0, "containers": [container]}


def queues(case: Case) -> list[Object]:
    """Return the queues of a case, with room for everything; none where Kueue has no part."""
    if case not in QUEUED:
        return []
    levels = (sandbox.BLOCK_LABEL, sandbox.RACK_LABEL, sandbox.HOSTNAME_LABEL)
    topology = _kueues("Topology", levels=[{"nodeLabel": level} for level in levels])
    placed = {"topologyName": _QUEUE, "nodeLabels": {"kubernetes.io/os": "linux"}}
    cpu = {"name": "cpu", "nominalQuota": _QUOTA}
    groups = {"coveredResources": ["cpu"], "flavors": [{"name": _QUEUE, "resources": [cpu]}]}
    local = _kueues("LocalQueue", clusterQueue=_QUEUE)
    local["metadata"]["namespace"] = NAMESPACE
    return [
        *([topology] if case == "topology" else ()),
        _kueues("ResourceFlavor", **(placed if case == "topology" else {})),
        _kueues("ClusterQueue", namespaceSelector={}, resourceGroups=[groups]),
        local,
    ]


def _kueues(kind: str, **spec: Any) -> Object:
    return {
        "apiVersion": names.KUEUE_API_VERSION,
        "kind": kind,
        "metadata": {"name": _QUEUE},
        "spec": spec,
    }
