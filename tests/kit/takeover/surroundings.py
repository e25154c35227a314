"""The cluster that the recorded sets were in: labels of its nodes, and its queues."""

from typing import Any

from lws_kueue_lab import sandbox

from lws_kueue.api import names
from tests.kit.builders import cluster as build
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
        cluster.api.apply(
            build.local_queue(queue, namespace=namespace, cluster_queue=cluster_queue)
        )


def remove_queues(cluster: sandbox.Sandbox) -> None:
    """Ask for the deletion of everything behind the queues; the local ones go with namespaces."""
    for objects in _OF_QUEUE.values():
        for obj in reversed(objects):
            kind, name = obj["kind"], obj["metadata"]["name"]
            cluster.api.delete(names.KUEUE_API_VERSION, kind, name, missing_ok=True)


_LEVELS = (comparison.RACK, comparison.HOSTNAME)
_OF_QUEUE = {
    "user-queue": (
        build.kueues("ResourceFlavor", "default", nodeLabels=POOL),
        build.cluster_queue("cq", {"default": {"cpu": "10"}}),
    ),
    "tas-user-queue": (
        build.topology("racks", _LEVELS),
        build.kueues("ResourceFlavor", "tas", nodeLabels=POOL, topologyName="racks"),
        build.cluster_queue("tas-cq", {"tas": {"cpu": "10"}}),
    ),
}
