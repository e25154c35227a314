"""The cluster that the recorded sets were in: labels of its nodes, and its queues."""

from typing import Any

from lws_kueue_lab import sandbox

from lws_kueue.api import names
from tests.kit.takeover import comparison

POOL = {"pool": "gpu"}

# The racks of the recordings; those of a sandbox are numbered in the same order.
RACKS = {"rack-0-0": "b0-r0", "rack-0-1": "b0-r1", "rack-1-0": "b1-r0", "rack-1-1": "b1-r1"}


def label_nodes(cluster: sandbox.Sandbox) -> None:
    """Give the nodes the pool and the racks that the recorded sets ask for."""
    for node in cluster.api.list("v1", "Node"):
        rack = RACKS[node["metadata"]["labels"][sandbox.RACK_LABEL]]
        labels = POOL | {comparison.RACK: rack}
        body = {"metadata": {"labels": labels}}
        cluster.api.patch("v1", "Node", node["metadata"]["name"], body=body)


def make_queue(cluster: sandbox.Sandbox, applied: dict[str, Any], *, namespace: str) -> None:
    """Make the queue that a recorded set names, if it names one, and what is behind it."""
    queue = applied["metadata"].get("labels", {}).get(names.QUEUE_NAME)
    for obj in _OF_QUEUE.get(queue, ()):
        cluster.api.apply(obj)
    if queue is not None:
        cluster_queue = _OF_QUEUE[queue][-1]["metadata"]["name"]
        local = _object("LocalQueue", queue, spec={"clusterQueue": cluster_queue})
        local["metadata"]["namespace"] = namespace
        cluster.api.apply(local)


def remove_queues(cluster: sandbox.Sandbox) -> None:
    """Ask for the deletion of everything behind the queues; the local ones go with namespaces."""
    for objects in _OF_QUEUE.values():
        for obj in reversed(objects):
            kind, name = obj["kind"], obj["metadata"]["name"]
            cluster.api.delete(names.KUEUE_API_VERSION, kind, name, missing_ok=True)


def _object(kind: str, name: str, *, spec: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": names.KUEUE_API_VERSION,
        "kind": kind,
        "metadata": {"name": name},
        "spec": spec,
    }


def _cluster_queue(name: str, *, flavor: str) -> dict[str, Any]:
    flavors = [{"name": flavor, "resources": [{"name": "cpu", "nominalQuota": "10"}]}]
    groups = [{"coveredResources": ["cpu"], "flavors": flavors}]
    return _object("ClusterQueue", name, spec={"namespaceSelector": {}, "resourceGroups": groups})


_LEVELS = [{"nodeLabel": comparison.RACK}, {"nodeLabel": comparison.HOSTNAME}]
_OF_QUEUE = {
    "user-queue": (
        _object("ResourceFlavor", "default", spec={"nodeLabels": POOL}),
        _cluster_queue("cq", flavor="default"),
    ),
    "tas-user-queue": (
        _object("Topology", "racks", spec={"levels": _LEVELS}),
        _object("ResourceFlavor", "tas", spec={"nodeLabels": POOL, "topologyName": "racks"}),
        _cluster_queue("tas-cq", flavor="tas"),
    ),
}
