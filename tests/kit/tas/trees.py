"""Nodes in blocks, racks and hosts that a test has for itself, with a queue in front of them.

Every host has one GPU, so a rank that asks for one has its host alone.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from lws_kueue_lab import sandbox
from lws_kueue_lab.sandbox import client

from lws_kueue.api import names
from tests.kit.builders import cluster as build
from tests.kit.kueue import queued
from tests.kit.live import harness
from tests.kit.lws import sets

BLOCK = "cloud.provider.com/topology-block"
RACK = "cloud.provider.com/topology-rack"
HOST = "kubernetes.io/hostname"
GPU = "example.com/gpu"
LEVELS = (BLOCK, RACK, HOST)
QUEUE = "user-queue"

# The label that makes nodes those of one tree.
POOL = "pool"

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Tree:
    """Hosts ``NAME-b0-r0-h0`` and so on, by number of blocks, racks in each, hosts in each."""

    cluster: sandbox.Sandbox
    namespace: str
    shape: tuple[int, int, int] = (2, 2, 2)
    capacity: dict[str, str] = field(default_factory=lambda: {GPU: "1", "cpu": "4"})

    @property
    def hosts(self) -> list[str]:
        """All host names in the order of the tree."""
        blocks, racks, hosts = self.shape
        return [
            self.host(block, rack, host)
            for block, rack, host in product(range(blocks), range(racks), range(hosts))
        ]

    def host(self, block: int, rack: int, host: int) -> str:
        """The name of one host."""
        return f"{self.namespace}-b{block}-r{rack}-h{host}"

    def at(self, name: str) -> tuple[int, int, int]:
        """Block, rack and place of a host."""
        block, rack, host = (int(part[1:]) for part in name.rsplit("-", 3)[1:])
        return block, rack, host

    def block_of(self, name: str) -> int:
        """The block of a host."""
        return self.at(name)[0]

    def make_node(self, block: int, rack: int, host: int) -> None:
        """Make a node, also one that was lost before."""
        name = self.host(block, rack, host)
        capacity = {"memory": "16Gi", "pods": "110", **self.capacity}
        in_rack = f"{self.namespace}-b{block}-r{rack}"
        labels = {POOL: self.namespace, BLOCK: f"{self.namespace}-b{block}", RACK: in_rack}
        self.cluster.api.create(build.node(name, labels=labels, offers=capacity))

    def lose_node(self, name: str) -> None:
        """Let a node cease to exist, with all that ran there."""
        self.cluster.api.delete("v1", "Node", name)

    def wait_node(self, name: str) -> None:
        """Wait until a node is ready for pods."""
        self.cluster.api.wait_for("v1", "Node", name, ready, what=f"node {name} is ready")

    def set(
        self,
        name: str = "lws",
        *,
        restart: str = "RecreateGroupOnPodRestart",
        change: Callable[[Object], None] | None = None,
        **options: Any,
    ) -> queued.Queued:
        """Create a set in the queue, one GPU for each pod unless ``change`` says otherwise.

        ``restart`` is its restart policy, ``options`` are of `queued.create`.
        """

        def edit(body: Object) -> None:
            body["spec"]["leaderWorkerTemplate"]["restartPolicy"] = restart
            (change or take_gpus)(body)

        options = {"namespace": self.namespace, "queue": QUEUE, **options}
        return queued.create(self.cluster, name, change=edit, **options)


def take_gpus(body: Object) -> None:
    """Let every pod ask for one GPU and nothing else."""
    for template in sets.templates(body):
        take(template, {GPU: "1"})


def take(template: Object, amounts: dict[str, str]) -> None:
    """Let the pods of a template ask for ``amounts``; there is no overcommitting them."""
    for container in template["spec"]["containers"]:
        container["resources"] = {"requests": dict(amounts), "limits": dict(amounts)}


def place(pods: dict[str, Object]) -> dict[int, str]:
    """The node of every pod of a group, by worker index, 0 for the leader."""
    return {
        int(pod["metadata"]["labels"][names.WORKER_INDEX]): pod["spec"].get("nodeName", "")
        for pod in pods.values()
    }


@contextmanager
def grown(
    cluster: sandbox.Sandbox,
    namespace: str,
    *,
    quota: dict[str, str] | None = None,
    levels: Sequence[str] = LEVELS,
    **options: Any,
) -> Iterator[Tree]:
    """Make the nodes of a tree, a topology, a flavor and queues; ``options`` are of `Tree`."""
    tree = Tree(cluster, namespace, **options)
    blocks, racks, hosts = tree.shape
    for at in product(range(blocks), range(racks), range(hosts)):
        tree.make_node(*at)
    made = _queues(namespace, quota=quota or {GPU: "100", "cpu": "100"}, levels=levels)
    for obj in made:
        cluster.api.apply(obj)
    try:
        for name in tree.hosts:
            tree.wait_node(name)
        yield tree
    finally:
        for name in tree.hosts:
            cluster.api.delete("v1", "Node", name, missing_ok=True)
        cluster.api.delete("v1", "Namespace", namespace, missing_ok=True)
        for obj in reversed(made):
            if "namespace" not in obj["metadata"]:
                with suppress(LookupError, client.ApiError):
                    cluster.api.delete(
                        obj["apiVersion"], obj["kind"], obj["metadata"]["name"], missing_ok=True
                    )


def ready(node: Object | None) -> bool:
    """Whether pods may go to a node; one that is ready has a taint for a moment longer."""
    return node is not None and harness.is_ready(node) and not node["spec"].get("taints")


def _queues(name: str, *, quota: dict[str, str], levels: Sequence[str]) -> list[Object]:
    return [
        build.topology(name, levels),
        build.kueues("ResourceFlavor", name, nodeLabels={POOL: name}, topologyName=name),
        build.cluster_queue(name, {name: quota}),
        build.local_queue(QUEUE, namespace=name, cluster_queue=name),
    ]
