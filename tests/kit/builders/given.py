"""Short ways to say what exists: sets, pods, StatefulSets and whole groups."""

from collections.abc import Iterable, Mapping
from typing import Any

from lws_kueue.api import facts, lws, names
from lws_kueue.controller.observe import groups
from tests.kit.builders import sets

NAMESPACE = "default"
NAME = "test-sample"
UID = "uid-of-the-set"
LEADER_SET_UID = "uid-of-the-leader-set"
CONTAINER = {
    "name": "worker",
    "image": "docker.io/nginxinc/nginx-unprivileged:1.27",
    "ports": [{"containerPort": 8080, "protocol": "TCP"}],
    "resources": {},
}
LEADER_CONTAINER = {
    "name": "leader",
    "image": "docker.io/nginxinc/nginx-unprivileged:1.27",
    "resources": {},
}


def lws_object(
    *,
    replicas: int = 2,
    size: int = 2,
    template: Mapping[str, Any] | None = None,
    rollout: Mapping[str, Any] | None = None,
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    generation: int = 1,
    status: Mapping[str, Any] | None = None,
    **spec: Any,
) -> dict[str, Any]:
    """Return the base object of the contract (lws-contract 6) in stored form."""
    made = sets.leader_worker_set(
        NAME,
        namespace=NAMESPACE,
        replicas=replicas,
        size=size,
        leader={"metadata": {}, "spec": {"containers": [LEADER_CONTAINER]}},
        worker={"metadata": {}, "spec": {"containers": [CONTAINER]}},
        annotations=annotations,
        group={"restartPolicy": "RecreateGroupOnPodRestart", **(template or {})},
        **{
            "rolloutStrategy": sets.rolling(**(rollout or {})),
            "startupPolicy": "LeaderCreated",
            "networkConfig": {"subdomainPolicy": "Shared"},
            **spec,
        },
    )
    made["metadata"] |= {"uid": UID, "generation": generation, "labels": dict(labels or {})}
    return made | {"status": dict(status or {})}


def an_lws(**options: Any) -> lws.LeaderWorkerSet:
    """Return the base set, changed by the options of ``lws_object``."""
    return lws.LeaderWorkerSet.of(lws_object(**options))


def reference(kind: str, name: str, uid: str) -> dict[str, Any]:
    return {"kind": kind, "name": name, "uid": uid, "controller": True}


def a_pod(
    name: str,
    *,
    uid: str = "",
    owner: Mapping[str, Any] | None = None,
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    phase: str = "Running",
    ready: bool = True,
    restarts: int = 0,
    deleted: bool = False,
    node: str = "node-0",
    containers: Iterable[Mapping[str, Any]] = (),
) -> facts.Pod:
    """Return a pod, running and ready unless told otherwise."""
    metadata: dict[str, Any] = {
        "name": name,
        "namespace": NAMESPACE,
        "uid": uid or f"uid-of-{name}",
        "resourceVersion": "1",
        "labels": dict(labels or {}),
        "annotations": dict(annotations or {}),
        "ownerReferences": [dict(owner)] if owner else [],
    }
    if deleted:
        metadata["deletionTimestamp"] = "2024-01-01T00:00:00Z"
    return facts.Pod.of(
        {
            "metadata": metadata,
            "spec": {"nodeName": node, "containers": list(containers)},
            "status": {
                "phase": phase,
                "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
                "containerStatuses": [{"name": "c", "restartCount": restarts}],
            },
        }
    )


def a_stateful_set(
    name: str,
    *,
    uid: str = "",
    owner: Mapping[str, Any] | None = None,
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    replicas: int = 1,
    available: int | None = None,
    partition: int = 0,
    revisions: tuple[str, str] = ("r", "r"),
    status_replicas: int | None = None,
    selector: Mapping[str, str] | None = None,
    template: Mapping[str, Any] | None = None,
    **spec: Any,
) -> facts.StatefulSet:
    """Return a StatefulSet, ready unless told otherwise; ``template`` is its pods' metadata.

    ``spec`` are more fields of its spec.
    """
    return facts.StatefulSet.of(
        {
            "metadata": {
                "name": name,
                "namespace": NAMESPACE,
                "uid": uid or f"uid-of-set-{name}",
                "labels": dict(labels or {}),
                "annotations": dict(annotations or {}),
                "ownerReferences": [dict(owner)] if owner else [],
            },
            "spec": {
                "replicas": replicas,
                "updateStrategy": {"rollingUpdate": {"partition": partition}},
                **({"selector": {"matchLabels": dict(selector)}} if selector else {}),
                **({"template": {"metadata": dict(template)}} if template else {}),
                **spec,
            },
            "status": {
                "availableReplicas": replicas if available is None else available,
                "currentRevision": revisions[0],
                "updateRevision": revisions[1],
                "replicas": replicas if status_replicas is None else status_replicas,
            },
        }
    )


def a_leader_set(**options: Any) -> facts.StatefulSet:
    """Return the leader StatefulSet of the base set."""
    owner = reference(names.LWS_KIND, NAME, UID)
    return a_stateful_set(NAME, uid=LEADER_SET_UID, owner=owner, **options)


def a_leader(index: int, *, key: str = "key", size: int = 2, **options: Any) -> facts.Pod:
    """Return the leader pod of a group of the base set."""
    labels = {
        names.SET_NAME: NAME,
        names.WORKER_INDEX: "0",
        names.GROUP_INDEX: str(index),
        names.GROUP_KEY: f"group-key-{index}",
        names.REVISION_KEY: key,
    }
    given = {
        "owner": reference("StatefulSet", NAME, LEADER_SET_UID),
        "annotations": {names.SIZE: str(size)},
    }
    return a_pod(f"{NAME}-{index}", labels=labels, **(given | options))


def a_worker(leader: facts.Pod, ordinal: int, **options: Any) -> facts.Pod:
    """Return a worker pod of the worker StatefulSet that ``a_group`` gives to a leader."""
    name = leader.meta.name
    labels = {
        names.SET_NAME: NAME,
        names.WORKER_INDEX: str(ordinal),
        names.GROUP_INDEX: leader.meta.labels[names.GROUP_INDEX],
        names.GROUP_KEY: leader.meta.labels[names.GROUP_KEY],
        names.REVISION_KEY: leader.meta.labels[names.REVISION_KEY],
    }
    owner = reference("StatefulSet", name, f"uid-of-set-{name}")
    return a_pod(f"{name}-{ordinal}", **({"labels": labels, "owner": owner} | options))


def a_worker_set(leader: facts.Pod, **options: Any) -> facts.StatefulSet:
    """Return the worker StatefulSet of a leader."""
    name = leader.meta.name
    given: dict[str, Any] = {
        "owner": reference("Pod", name, leader.meta.uid),
        "labels": {k: v for k, v in leader.meta.labels.items() if k != names.WORKER_INDEX},
        "ordinals": {"start": 1},
    }
    return a_stateful_set(name, **(given | options))


def a_group(
    index: int, *, key: str = "key", size: int = 2, ready: bool = True, **leader: Any
) -> groups.Group:
    """Return a whole group with all its pods."""
    head = a_leader(index, key=key, size=size, ready=ready, **leader)
    return groups.Group(
        index=index,
        size=size,
        leader=head,
        workers=tuple(a_worker(head, ordinal) for ordinal in range(1, size)),
        worker_set=a_worker_set(head, replicas=size - 1) if size > 1 else None,
    )


def observe(
    owner: lws.LeaderWorkerSet,
    *,
    stateful_sets: Iterable[facts.StatefulSet],
    pods: Iterable[facts.Pod],
    services: Iterable[facts.Service] = (),
) -> groups.Groups:
    """Observe objects that are given as lists."""
    return groups.observe(
        owner,
        stateful_sets={s.meta.name: s for s in stateful_sets},
        pods={p.meta.name: p for p in pods},
        services={s.meta.name: s for s in services},
    )
