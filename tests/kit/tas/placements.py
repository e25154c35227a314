"""Scenarios of placement: nodes of their own, a queue over them, and a group to be placed there.

Each scenario has its own nodes, Topology, flavors and queue, told apart by a label, so that all of
them can stand in one cluster at the same time.
"""

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lws_kueue_lab import sandbox
from lws_kueue_lab.sandbox import client

from lws_kueue.api import names
from tests.kit.builders import cluster as build
from tests.kit.builders import sets
from tests.kit.live import harness
from tests.kit.lws.sample import LWS, Object
from tests.kit.tas import trees

BLOCK, RACK, HOST = "placement.test/block", "placement.test/rack", "kubernetes.io/hostname"
_SCENARIO = "placement.test/scenario"
_FLAVOR = "placement.test/flavor"
GPU = "example.com/gpu"
PLENTY = "1000"
GROUP = {names.PODSET_GROUP_NAME: "group"}

Amounts = Mapping[str, str]


@dataclasses.dataclass(frozen=True, slots=True)
class Host:
    """A node: its place, what it offers, and by which flavor. ``used`` is what a pod takes."""

    name: str
    offers: Amounts
    block: str = "b1"
    rack: str = "r1"
    flavor: str = "main"
    used: Amounts | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A leader and workers of a LeaderWorkerSet; the annotations are on both templates."""

    leader: Amounts
    worker: Amounts
    workers: int
    annotations: Mapping[str, str]
    affinity: Mapping[str, Any] | None = None

    def body(self, name: str, *, namespace: str) -> Object:
        """Return the set of one such group."""
        leader = _template("leader", self.leader, annotations=dict(self.annotations))
        worker = _template("worker", self.worker, annotations=dict(self.annotations))
        if self.affinity:
            worker["spec"]["affinity"] = {"nodeAffinity": dict(self.affinity)}
        return sets.leader_worker_set(
            name,
            namespace=namespace,
            replicas=1,
            size=self.workers + 1,
            leader=leader,
            worker=worker,
            queue=name,
        )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PodSets:
    """A Workload written by hand, for what no LeaderWorkerSet asks for."""

    pod_sets: Sequence[Object]

    def body(self, name: str, *, namespace: str) -> Object:
        """Return the Workload."""
        spec = {"queueName": name, "podSets": list(self.pod_sets)}
        return build.kueues("Workload", name, namespace=namespace, **spec)


# A flavor's quota, flavor by flavor, of resources that come from one of them together.
ResourceGroup = Mapping[str, Amounts]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What stands, what is asked for; ``flat`` are flavors without a topology."""

    hosts: Sequence[Host]
    asks: Group | PodSets
    levels: Sequence[str] = (BLOCK, RACK, HOST)
    quota: Sequence[ResourceGroup] = ({"main": {"cpu": PLENTY, GPU: PLENTY}},)
    flat: frozenset[str] = frozenset()


def pod_set(name: str, requests: Amounts, *, count: int = 1, **topology: Any) -> Object:
    """A pod set of a Workload that is written by hand."""
    template = _template(name, requests, annotations={})
    result: Object = {"name": name, "count": count, "template": {"spec": template["spec"]}}
    return result | ({"topologyRequest": topology} if topology else {})


def _template(name: str, requests: Amounts, *, annotations: dict[str, str]) -> Object:
    container: Object = {"name": name, "image": harness.IMAGE}
    if requests:
        # What a node offers besides cpu and memory cannot be overcommitted.
        limits = {key: amount for key, amount in requests.items() if "/" in key}
        container["resources"] = {"requests": dict(requests)} | (
            {"limits": limits} if limits else {}
        )
    spec = {"terminationGracePeriodSeconds": 0, "containers": [container]}
    return {"metadata": {"annotations": annotations}, "spec": spec}


# Making and removing ----------------------------------------------------------------------------


@contextlib.contextmanager
def standing(
    cluster: sandbox.Sandbox, scenarios: Mapping[str, Scenario], *, namespace: str
) -> Iterator[None]:
    """Have the scenarios in the cluster; their nodes and queues go with the context."""
    kept: list[Object] = []

    def make(obj: Object) -> None:
        kept.append(obj)
        cluster.api.create(obj)

    try:
        for name, scenario in scenarios.items():
            for host in scenario.hosts:
                make(_node(name, host))
        _wait_for_nodes(cluster)
        for name, scenario in scenarios.items():
            for obj in _queue(name, scenario):
                make(obj)
            cluster.api.create(build.local_queue(name, namespace=namespace, cluster_queue=name))
            for pod in _fillers(name, scenario, namespace=namespace):
                cluster.api.create(pod)
        for name, scenario in scenarios.items():
            cluster.api.create(scenario.asks.body(name, namespace=namespace))
        yield
    finally:
        _remove(cluster, scenarios, kept, namespace=namespace)


def _remove(
    cluster: sandbox.Sandbox,
    scenarios: Mapping[str, Scenario],
    kept: Sequence[Object],
    *,
    namespace: str,
) -> None:
    for name in scenarios:
        cluster.api.delete(*LWS, name, namespace=namespace, missing_ok=True)
        cluster.api.delete(
            names.KUEUE_API_VERSION, "Workload", name, namespace=namespace, missing_ok=True
        )
    harness.wait_pods(
        cluster,
        lambda seen: all(pod["metadata"]["name"].startswith("filler-") for pod in seen.values()),
        namespace=namespace,
        what="no pods of the scenarios",
    )
    for obj in reversed(kept):
        with contextlib.suppress(client.ApiError):
            name = obj["metadata"]["name"]
            cluster.api.delete(obj["apiVersion"], obj["kind"], name, missing_ok=True)


def node_name(scenario: str, host: str) -> str:
    """The name of a scenario's node."""
    return f"{scenario}-{host}"


def _node(scenario: str, host: Host) -> Object:
    name = node_name(scenario, host.name)
    offers = {"memory": "64Gi", "pods": "10", "cpu": "0"} | dict(host.offers)
    place = {BLOCK: f"{scenario}-{host.block}", RACK: f"{scenario}-{host.rack}"}
    labels = {**place, _SCENARIO: scenario, _FLAVOR: host.flavor}
    return build.node(name, labels=labels, offers=offers)


def _wait_for_nodes(cluster: sandbox.Sandbox) -> None:
    cluster.api.wait_for_all(
        "v1",
        "Node",
        lambda seen: all(trees.ready(node) for node in seen.values()),
        label_selector=_SCENARIO,
        what="the scenarios' nodes are ready",
    )


def _queue(name: str, scenario: Scenario) -> Iterator[Object]:
    yield build.topology(name, scenario.levels)
    for flavor in {flavor for group in scenario.quota for flavor in group}:
        spec: Object = {"nodeLabels": {_SCENARIO: name, _FLAVOR: flavor}}
        if flavor not in scenario.flat:
            spec["topologyName"] = name
        yield build.kueues("ResourceFlavor", f"{name}-{flavor}", **spec)
    groups = [
        {f"{name}-{flavor}": quota for flavor, quota in group.items()} for group in scenario.quota
    ]
    yield build.cluster_queue(name, *groups)


def _fillers(name: str, scenario: Scenario, *, namespace: str) -> Iterator[Object]:
    """The pods of others that take room on the hosts."""
    for host in scenario.hosts:
        if host.used:
            filler = _template("filler", host.used, annotations={})
            filler["spec"]["nodeName"] = node_name(name, host.name)
            metadata = {"name": f"filler-{name}-{host.name}", "namespace": namespace}
            yield {"apiVersion": "v1", "kind": "Pod", **filler, "metadata": metadata}
