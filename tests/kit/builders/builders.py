"""Objects for the tests of Workloads, in the JSON form in which an API server returns them."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from lws_kueue.api import facts, kueue, lws, names
from lws_kueue.workload import build

NOW = datetime(2030, 1, 1, 12, 0, 0, tzinfo=UTC)
EARLIER = "2030-01-01T11:00:00Z"

BOTH_GATES = (names.ADMISSION_GATE, names.TOPOLOGY_GATE)
Json = dict[str, Any]

NO_CLASSES = build.PriorityClasses()
OPTIONS = build.Options()


def template(*, annotations: Mapping[str, str] | None = None, **spec: Any) -> Json:
    result: Json = {"spec": {"containers": [{"name": "c", "image": "app:1"}], **spec}}
    if annotations:
        result["metadata"] = {"annotations": dict(annotations)}
    return result


def lws_object(
    *,
    name: str = "serve",
    uid: str = "set-uid",
    replicas: int = 1,
    size: int = 3,
    leader: Json | None = None,
    worker: Json | None = None,
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
) -> lws.LeaderWorkerSet:
    group: Json = {"size": size, "workerTemplate": worker or template()}
    if leader is not None:
        group["leaderTemplate"] = leader
    return lws.LeaderWorkerSet.of(
        {
            "metadata": {
                "namespace": "ns",
                "name": name,
                "uid": uid,
                "labels": {names.QUEUE_NAME: "queue"} if labels is None else dict(labels),
                "annotations": dict(annotations or {}),
            },
            "spec": {"replicas": replicas, "leaderWorkerTemplate": group},
        }
    )


def condition(
    type_: str, status: bool, reason: str = "", message: str = "", *, since: str = EARLIER
) -> Json:
    return {
        "type": type_,
        "status": "True" if status else "False",
        "reason": reason or type_,
        "message": message,
        "lastTransitionTime": since,
        "observedGeneration": 1,
    }


RESERVED = condition("QuotaReserved", True, message="Quota reserved in ClusterQueue cq")
ADMITTED = condition("Admitted", True, message="The workload is admitted")


def evicted(reason: str = "Preempted", message: str = "Preempted to make room") -> Json:
    return condition("Evicted", True, reason, message)


def assigned(
    name: str,
    count: int,
    *,
    flavors: Mapping[str, str] | None = None,
    topology: Json | None = None,
) -> Json:
    result: Json = {"name": name, "count": count, "flavors": dict(flavors or {"cpu": "default"})}
    if topology is not None:
        result["topologyAssignment"] = topology
    return result


def stored_workload(
    *,
    name: str = "wl-0",
    index: int = 0,
    uid: str = "wl-uid",
    owner: str = "set-uid",
    conditions: Sequence[Json] = (),
    assignments: Sequence[Json] = (),
    pod_sets: Sequence[Json] | None = None,
    metadata: Json | None = None,
    spec: Json | None = None,
    status: Json | None = None,
) -> Json:
    body: Json = {
        "apiVersion": names.KUEUE_API_VERSION,
        "kind": "Workload",
        "metadata": {
            "namespace": "ns",
            "name": name,
            "uid": uid,
            "resourceVersion": "7",
            "generation": 1,
            "finalizers": [names.WORKLOAD_FINALIZER],
            "annotations": {names.COMPONENT_WORKLOAD_INDEX: str(index)},
            "ownerReferences": [
                {
                    "apiVersion": names.LWS_API_VERSION,
                    "kind": names.LWS_KIND,
                    "name": "serve",
                    "uid": owner,
                }
            ],
            **(metadata or {}),
        },
        "spec": {
            "podSets": list(pod_sets or [{"name": "main", "count": 3}]),
            "queueName": "queue",
            "active": True,
            **(spec or {}),
        },
        "status": {"conditions": list(conditions), **(status or {})},
    }
    if assignments:
        body["status"]["admission"] = {
            "clusterQueue": "cq",
            "podSetAssignments": list(assignments),
        }
    return body


def workload(**given: Any) -> kueue.Workload:
    return kueue.Workload.of(stored_workload(**given))


def admitted(assignments: Sequence[Json] | None = None, **given: Any) -> kueue.Workload:
    conditions = [RESERVED, ADMITTED, *given.pop("conditions", ())]
    return workload(
        conditions=conditions,
        assignments=[assigned("main", 3)] if assignments is None else assignments,
        **given,
    )


def pod(
    index: int = 0,
    *,
    group: int = 0,
    name: str | None = None,
    gates: Sequence[str] = BOTH_GATES,
    phase: str = "Pending",
    ready: bool = False,
    deleted: str | None = None,
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    **spec: Any,
) -> facts.Pod:
    leader = f"serve-{group}"
    own = name or (leader if index == 0 else f"{leader}-{index}")
    metadata: Json = {
        "namespace": "ns",
        "name": own,
        "uid": f"uid-{own}",
        "resourceVersion": "3",
        "labels": {
            names.SET_NAME: "serve",
            names.GROUP_INDEX: str(group),
            names.WORKER_INDEX: str(index),
            **(labels or {}),
        },
        "annotations": dict(annotations or {}),
    }
    if deleted:
        metadata["deletionTimestamp"] = deleted
    return facts.Pod.of(
        {
            "metadata": metadata,
            "spec": {**spec, "schedulingGates": [{"name": gate} for gate in gates]},
            "status": {
                "phase": phase,
                "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
            },
        }
    )


def running(index: int = 0, *, ready: bool = True, **given: Any) -> facts.Pod:
    return pod(index, gates=(), phase="Running", ready=ready, **given)


def flavor(
    name: str = "default",
    *,
    labels: Mapping[str, str] | None = None,
    tolerations: Sequence[Json] = (),
) -> kueue.ResourceFlavor:
    return kueue.ResourceFlavor.of(
        {
            "metadata": {"name": name},
            "spec": {"nodeLabels": dict(labels or {}), "tolerations": list(tolerations)},
        }
    )


def check(name: str, controller: str = "example.com/check") -> kueue.AdmissionCheck:
    return kueue.AdmissionCheck.of(
        {"metadata": {"name": name}, "spec": {"controllerName": controller}}
    )
