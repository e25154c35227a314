"""Pods of a group that runs TPU processes, and what they are told of each other."""

from collections.abc import Mapping, Sequence
from typing import Any

from lws_kueue.api import names
from tests.kit.admission import support

Object = dict[str, Any]

LWS_VARIABLES = ["LWS_LEADER_ADDRESS", "LWS_GROUP_SIZE", "LWS_WORKER_INDEX"]
TPU_VARIABLES = [
    "TPU_WORKER_HOSTNAMES",
    "TPU_WORKER_ID",
    "TPU_NAME",
    "TPU_PROCESS_ADDRESSES",
    "TPU_PROCESS_PORT",
]

ASKING = support.tpu_container()
IDLE = {"name": "idle", "image": "image"}


def member(
    pods: support.Pods,
    place: int,
    *,
    size: int = 5,
    subgroup_size: int = 0,
    leader_asks: bool = True,
    containers: Sequence[Object] = (ASKING,),
    init_containers: Sequence[Object] = (),
    annotations: Mapping[str, str] | None = None,
) -> Object:
    """Return a pod of the group `test-sample-1` as its StatefulSet would create it."""
    given = dict(annotations or {})
    if subgroup_size:
        given[names.SUBGROUP_SIZE] = str(subgroup_size)
    spec = {"containers": list(containers), "initContainers": list(init_containers)}
    if place == 0:
        return pods.leader(
            "test-sample-1", lws="test-sample", size=str(size), annotations=given, spec=spec
        )
    if leader_asks:
        given[names.LEADER_REQUESTS_TPUS] = "true"
    return pods.worker(
        f"test-sample-1-{place}", lws="test-sample", size=str(size), annotations=given, spec=spec
    )


def told(container: Mapping[str, Any]) -> dict[str, str | None]:
    """Return the TPU variables of a container."""
    return {name: value for name, value in support.env(container) if name in TPU_VARIABLES}


def hosts(*places: int, subdomain: str = "default") -> str:
    """Return the list of these members' hosts."""
    leader = "test-sample-1"
    return ",".join(
        f"{leader}.{subdomain}" if place == 0 else f"{leader}-{place}.{subdomain}"
        for place in places
    )
