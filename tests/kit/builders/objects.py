"""Objects as an API server stores them, with what the demo reads of them."""

from typing import Any

from lws_kueue_lab.demo import snapshot

from lws_kueue.api import names

RACKS = {"node-0": "rack-0-0", "node-1": "rack-0-0", "node-2": "rack-0-1"}
REASON = "couldn't assign flavors to pod set main: insufficient unused quota for cpu"


def owner(
    *, replicas: int = 2, ready: int = 0, size: int = 3, waiting: str = "", observed: int = 1
) -> dict[str, Any]:
    conditions = [{"type": "Progressing", "status": "True", "reason": "r", "message": "m"}]
    if waiting:
        conditions.append(
            {"type": "WaitingForAdmission", "status": "True", "reason": "r", "message": waiting}
        )
    return {
        "metadata": {"name": "sample", "namespace": "default", "generation": 1},
        "spec": {"replicas": replicas, "leaderWorkerTemplate": {"size": size}},
        "status": {
            "readyReplicas": ready,
            "observedGeneration": observed,
            "conditions": conditions,
        },
    }


def workload(index: int, *, admitted: bool = False, why: str = "", looked: bool = True) -> Any:
    """A Workload that is admitted with 600m of cpu, or waits for as much."""
    status: dict[str, Any] = {"conditions": []}
    if admitted:
        assignments = [
            {"name": "leader", "resourceUsage": {"cpu": "200m"}},
            {"name": "worker", "resourceUsage": {"cpu": "400m"}},
        ]
        status["admission"] = {"clusterQueue": "q", "podSetAssignments": assignments}
        status["conditions"] = [
            {"type": "QuotaReserved", "status": "True", "reason": "r", "message": "m"},
            {"type": "Admitted", "status": "True", "reason": "r", "message": "m"},
        ]
    elif looked:
        status["resourceRequests"] = [{"name": "main", "resources": {"cpu": "600m"}}]
    if why:
        status["conditions"] = [
            {"type": "QuotaReserved", "status": "False", "reason": "r", "message": why}
        ]
    return {
        "metadata": {
            "name": f"leaderworkerset-sample-{index}-ab{index}de",
            "annotations": {names.COMPONENT_WORKLOAD_INDEX: str(index)},
        },
        "spec": {"queueName": "user-queue", "podSets": [{"name": "main", "count": 3}]},
        "status": status,
    }


def pod(
    group: int, worker: int, *, held: bool = False, ready: bool = False, node: str = ""
) -> dict[str, Any]:
    spec: dict[str, Any] = {"nodeName": node} if node else {}
    if held:
        spec["schedulingGates"] = [{"name": names.ADMISSION_GATE}]
    conditions = [{"type": "Ready", "status": "True"}] if ready else []
    return {
        "metadata": {
            "name": f"sample-{group}" + (f"-{worker}" if worker else ""),
            "labels": {names.GROUP_INDEX: str(group), names.WORKER_INDEX: str(worker)},
        },
        "spec": spec,
        "status": {"phase": "Running" if ready else "Pending", "conditions": conditions},
    }


def running(group: int) -> list[dict[str, Any]]:
    return [pod(group, w, ready=True, node=f"node-{w}") for w in range(3)]


def held(group: int) -> list[dict[str, Any]]:
    return [pod(group, w, held=True) for w in range(3)]


def cluster_queue(*, cpu: str = "1800m") -> dict[str, Any]:
    resources = [{"name": "cpu", "nominalQuota": cpu}]
    groups = [{"coveredResources": ["cpu"], "flavors": [{"name": "any", "resources": resources}]}]
    return {"metadata": {"name": "cluster-queue"}, "spec": {"resourceGroups": groups}}


def all_running(groups: int, *, says: int | None = None, waiting: str = "") -> snapshot.Snapshot:
    """``groups`` groups that run; the set says that ``says`` of them are ready."""
    return snapshot.Snapshot(
        owner=owner(replicas=groups, ready=groups if says is None else says, waiting=waiting),
        workloads=[workload(index, admitted=True) for index in range(groups)],
        pods=[p for index in range(groups) for p in running(index)],
        cluster_queue=cluster_queue(),
        racks=RACKS,
    )


def one_waiting(
    *, index: int = 2, why: str = REASON, set_says: str = REASON, says: int = 2
) -> snapshot.Snapshot:
    """Three groups of which two run and the one with that index waits."""
    others = [other for other in range(3) if other != index]
    return snapshot.Snapshot(
        owner=owner(replicas=3, ready=says, waiting=set_says),
        workloads=[
            *(workload(other, admitted=True) for other in others),
            workload(index, why=why),
        ],
        pods=[*(p for other in others for p in running(other)), *held(index)],
        cluster_queue=cluster_queue(),
        racks=RACKS,
    )
