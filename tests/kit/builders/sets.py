"""LeaderWorkerSets, their pod templates and pods, to be created."""

from collections.abc import Mapping
from typing import Any

from lws_kueue.api import names

Object = dict[str, Any]
Strings = Mapping[str, str]


def leader_worker_set(
    name: str,
    *,
    namespace: str,
    replicas: int,
    size: int,
    worker: Object,
    leader: Object | None = None,
    queue: str | None = None,
    annotations: Strings | None = None,
    group: Mapping[str, Any] | None = None,
    **spec: Any,
) -> Object:
    """Return a set; ``group`` adds to its group template, and ``spec`` to its spec."""
    templates = {"workerTemplate": worker} | ({"leaderTemplate": leader} if leader else {})
    body: Object = {
        "apiVersion": names.LWS_API_VERSION,
        "kind": names.LWS_KIND,
        "metadata": {"name": name, "namespace": namespace, "annotations": dict(annotations or {})},
        "spec": {
            "replicas": replicas,
            "leaderWorkerTemplate": {"size": size, **templates, **(group or {})},
            **spec,
        },
    }
    if queue:
        body["metadata"]["labels"] = {names.QUEUE_NAME: queue}
    return body


def rolling(
    *, unavailable: int | str = 1, surge: int | str = 0, partition: int = 0, **more: Any
) -> Object:
    """Return a rollout strategy."""
    configuration = {"partition": partition, "maxUnavailable": unavailable, "maxSurge": surge}
    return {"type": "RollingUpdate", "rollingUpdateConfiguration": {**configuration, **more}}


def pod_template(container: Object, *, annotations: Strings | None = None, **spec: Any) -> Object:
    """Return a pod template with one container."""
    return {
        "metadata": {"annotations": dict(annotations or {})},
        "spec": {"containers": [container], **spec},
    }


def container(name: str, image: str, *, requests: Strings | None = None, **more: Any) -> Object:
    """Return a container; without ``requests`` it has none."""
    resources = {"resources": {"requests": dict(requests)}} if requests else {}
    return {"name": name, "image": image, **resources, **more}
