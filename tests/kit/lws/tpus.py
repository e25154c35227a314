"""The composite check ACC-8: what a pod's containers know of the TPU hosts of their group.

(lws-contract 6.0 and 2.5.)
"""

from collections.abc import Sequence
from typing import Any

from tests.kit.lws.sample import Object

RESOURCE = "google.com/tpu"
FIRST_PORT = 8476
VARIABLES = frozenset(
    f"TPU_{name}"
    for name in ("WORKER_HOSTNAMES", "WORKER_ID", "NAME", "PROCESS_ADDRESSES", "PROCESS_PORT")
)


def request(obj: Object, *, chips: int = 1) -> None:
    """Let every container of a pod template ask for TPU chips."""
    for container in obj["spec"]["containers"]:
        container["resources"] = {"limits": {RESOURCE: str(chips)}}


def variables(container: Object) -> dict[str, Any]:
    """Return the TPU variables of a container."""
    env = {entry["name"]: entry.get("value") for entry in container.get("env") or ()}
    return {name: value for name, value in env.items() if name in VARIABLES}


def pod(found: Object, *, members: Sequence[str], first: int, leader: str, domain: str) -> None:
    """ACC-8: the containers of a pod know the hosts ``members``, pods of ``domain``, and their ids.

    ``first`` is the id of the pod's first container that asks for TPUs.
    """
    containers = [c for c in found["spec"]["containers"] if _asks(c)]
    ports = [FIRST_PORT + at for at in range(len(containers))]
    hosts = [f"{member}.{domain}" for member in members]
    names = [host for host in hosts for _ in containers]
    addresses = [f"{host}:{port}" for host in hosts for port in ports]
    assert containers, f"{found['metadata']['name']} asks for no TPUs"
    for at, container in enumerate(containers):
        assert variables(container) == {
            "TPU_WORKER_HOSTNAMES": ",".join(names),
            "TPU_WORKER_ID": str(first + at),
            "TPU_NAME": leader,
            "TPU_PROCESS_ADDRESSES": ",".join(addresses),
            "TPU_PROCESS_PORT": str(ports[at]),
        }, found["metadata"]["name"]


def none(found: Object) -> None:
    """No container of a pod has a TPU variable."""
    for container in found["spec"]["containers"]:
        assert not variables(container), found["metadata"]["name"]


def _asks(container: Object) -> bool:
    return RESOURCE in (container.get("resources") or {}).get("limits", {})
