"""The examples that use something of their cluster: node labels, volumes, an autoscaler.

(lws-contract 6.8, 5.5 and 5.6; the others are in `test_samples`.)
"""

from collections.abc import Iterable, Iterator

import pytest
from lws_kueue_lab import sandbox

from lws_kueue.api import names
from tests.kit.live import harness
from tests.kit.lws import checks, sets
from tests.kit.lws.sample import LWS, Object, Sample, first_seen

pytestmark = pytest.mark.usefixtures("controller", "played")

NODE_POOL = "cloud.google.com/gke-nodepool"
RACK = "example.com/rack"

# Exclusive placement ---------------------------------------------------------------------------


class Places:
    """Puts nodes into places, that is, gives them a label; all is taken back at the end."""

    def __init__(self, cluster: sandbox.Sandbox) -> None:
        self.cluster = cluster
        nodes = sorted(node["metadata"]["name"] for node in cluster.api.list("v1", "Node"))
        self.of_node = {name: f"place-{at % 4}" for at, name in enumerate(nodes)}

    def label(self, key: str) -> None:
        for node, place in self.of_node.items():
            self._patch(node, {key: place})

    def remove(self) -> None:
        for node in self.of_node:
            self._patch(node, {NODE_POOL: None, RACK: None})

    def _patch(self, node: str, labels: dict[str, str | None]) -> None:
        self.cluster.api.patch("v1", "Node", node, body={"metadata": {"labels": labels}})

    def of(self, pods: Iterable[Object]) -> set[str]:
        """Return the places in which pods run."""
        return {self.of_node[pod["spec"]["nodeName"]] for pod in pods}


@pytest.fixture
def places(installed: sandbox.Sandbox) -> Iterator[Places]:
    """Four places of two nodes each, which are not labelled yet."""
    found = Places(installed)
    yield found
    found.remove()


@pytest.mark.row("SMP-03")
def test_every_group_has_a_node_pool_for_itself_which_its_leader_finds_first(
    installed: sandbox.Sandbox, namespace: str, places: Places
) -> None:
    empty = Sample(installed, namespace)
    with (
        empty.recording(*sets.POD) as pods,
        empty.recording(*sets.STATEFUL_SET) as stateful_sets,
    ):
        sample = sets.create(
            installed, *sets.example("exclusive-placement.yaml", namespace=namespace)
        )
        # No node is in a pool, so no leader gets one, and workers do not exist before theirs has.
        checks.eventually(leaders_are_unschedulable, sample, count=3)
        checks.no_worker_sets(sample)
        places.label(NODE_POOL)
        sets.wait_available(sample, groups=3)
    checks.leader_set(sample, replicas=3)
    checks.worker_sets(sample)
    placed_at = first_seen(pods, lambda pod: bool(pod["spec"].get("nodeName")))
    made_at = first_seen(stateful_sets)
    taken = [assert_placed(sample, group, places=places) for group in range(3)]
    assert len(set(taken)) == 3
    for group in range(3):
        leader = f"{sample.name}-{group}"
        assert placed_at[leader] < made_at[leader]


def assert_placed(sample: Sample, group: int, *, places: Places) -> str:
    """A whole group is in one node pool, its workers by their node selector; returns the pool."""
    leader = sample.leader(group)
    assert_exclusive_terms(leader)
    (pool,) = places.of([leader])
    selector = sample.worker_sets()[group]["spec"]["template"]["spec"]["nodeSelector"]
    assert selector == {NODE_POOL: pool}
    assert places.of(pod for pod in sample.pods().values() if in_group(pod, group)) == {pool}
    return pool


def leaders_are_unschedulable(sample: Sample, *, count: int) -> None:
    pods = sample.pods()
    assert len(pods) == count
    for pod in pods.values():
        scheduled = harness.condition(pod, "PodScheduled")
        assert scheduled is not None
        assert scheduled["reason"] == "Unschedulable"


def in_group(pod: Object, group: int) -> bool:
    return bool(pod["metadata"]["labels"][names.GROUP_INDEX] == str(group))


def assert_exclusive_terms(pod: Object) -> None:
    """One pair of terms keeps a leader's pool for its group (lws-contract 5.4)."""
    key = pod["metadata"]["labels"][names.GROUP_KEY]
    found = {
        kind: pod["spec"]["affinity"][kind]["requiredDuringSchedulingIgnoredDuringExecution"]
        for kind in ("podAffinity", "podAntiAffinity")
    }
    same = {"key": names.GROUP_KEY, "operator": "In", "values": [key]}
    others = [
        {"key": names.GROUP_KEY, "operator": "Exists"},
        {"key": names.GROUP_KEY, "operator": "NotIn", "values": [key]},
    ]
    expected = {"podAffinity": [same], "podAntiAffinity": others}
    for kind, expressions in expected.items():
        (term,) = found[kind]
        assert term["topologyKey"] == NODE_POOL
        assert term["labelSelector"] == {"matchExpressions": expressions}


def test_every_subgroup_has_a_rack_for_itself_and_the_leader_is_in_none(
    installed: sandbox.Sandbox, namespace: str, places: Places
) -> None:
    places.label(RACK)
    sample = sets.create(installed, *sets.example("subgroups.yaml", namespace=namespace))
    sets.wait_available(sample, groups=2)
    pods = sample.pods()
    taken: list[str] = []
    for group in range(2):
        leader = f"{sample.name}-{group}"
        assert names.SUBGROUP_INDEX not in pods[leader]["metadata"]["labels"]
        assert names.SUBGROUP_KEY not in pods[leader]["metadata"]["labels"]
        for index, workers in enumerate(((1, 2), (3, 4))):
            found = [pods[f"{leader}-{worker}"] for worker in workers]
            labels = [pod["metadata"]["labels"] for pod in found]
            assert {of_pod[names.SUBGROUP_INDEX] for of_pod in labels} == {str(index)}
            assert len({of_pod[names.SUBGROUP_KEY] for of_pod in labels}) == 1
            taken += places.of(found)
    assert sorted(taken) == ["place-0", "place-1", "place-2", "place-3"]


# Volumes ---------------------------------------------------------------------------------------


@pytest.fixture
def volumes(installed: sandbox.Sandbox, namespace: str) -> Iterator[None]:
    """Volumes for the claims of four pods: in a sandbox nothing makes them on demand."""
    made = [f"{namespace}-{at}" for at in range(4)]
    for name in made:
        installed.api.create(volume(name))
    yield
    for name in made:
        installed.api.delete("v1", "PersistentVolume", name, missing_ok=True)


def volume(name: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "capacity": {"storage": "1Gi"},
            "persistentVolumeReclaimPolicy": "Retain",
            "hostPath": {"path": f"/var/lib/{name}"},
        },
    }


@pytest.mark.row("SMP-06")
@pytest.mark.usefixtures("volumes")
def test_every_pod_has_its_volume_and_the_users_service_finds_the_leaders(
    installed: sandbox.Sandbox, namespace: str
) -> None:
    sample = sets.create(installed, *sets.example("volume-claims.yaml", namespace=namespace))
    sets.wait_available(sample, groups=2)
    pods = sample.pods()
    claims = {
        claim["metadata"]["name"]: claim
        for claim in installed.api.list("v1", "PersistentVolumeClaim", namespace=namespace)
    }
    assert sorted(pods) == ["volumes-0", "volumes-0-1", "volumes-1", "volumes-1-1"]
    assert claims.keys() == {f"model-cache-{name}" for name in pods}
    for name, pod in pods.items():
        claim = claims[f"model-cache-{name}"]
        assert claim["spec"]["accessModes"] == ["ReadWriteOnce"]
        assert claim["spec"]["resources"] == {"requests": {"storage": "1Gi"}}
        assert claim["status"]["phase"] == "Bound"
        (mounted,) = (v for v in pod["spec"]["volumes"] if v["name"] == "model-cache")
        assert mounted["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    for found in sample.stateful_sets().values():
        retention = found["spec"]["persistentVolumeClaimRetentionPolicy"]
        assert retention == {"whenScaled": "Delete", "whenDeleted": "Retain"}
    checks.eventually(assert_endpoints, installed, "volumes-leaders", namespace=namespace, pods=2)


def assert_endpoints(cluster: sandbox.Sandbox, service: str, *, namespace: str, pods: int) -> None:
    """The ready endpoints of a Service are the leaders of ``pods`` groups."""
    found = cluster.api.list(
        "discovery.k8s.io/v1",
        "EndpointSlice",
        namespace=namespace,
        label_selector=f"kubernetes.io/service-name={service}",
    )
    endpoints = [e for piece in found for e in piece.get("endpoints") or ()]
    assert {e["targetRef"]["name"] for e in endpoints if e["conditions"]["ready"]} == {
        f"volumes-{group}" for group in range(pods)
    }


# Autoscaling -----------------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.row("SMP-07")
def test_an_autoscaler_keeps_the_set_between_its_bounds(
    installed: sandbox.Sandbox, namespace: str
) -> None:
    sample = sets.create(installed, *sets.example("autoscaling.yaml", namespace=namespace))
    # Two are less than the lower bound.
    sets.wait_available(sample, groups=3)
    # It understands the selector that the scale subresource gives it: what it lacks is metrics.
    found = installed.api.wait_for(
        "autoscaling/v2",
        "HorizontalPodAutoscaler",
        "autoscaled",
        lambda seen: bool(seen and harness.condition(seen, "ScalingActive")),
        namespace=namespace,
        what="the autoscaler has looked for metrics",
    )
    assert found is not None
    able, active = (harness.condition(found, kind) for kind in ("AbleToScale", "ScalingActive"))
    assert able is not None
    assert able["status"] == "True"
    assert active is not None
    assert active["reason"] == "FailedGetResourceMetric"
    assert found["status"]["currentReplicas"] == 3
    scale = installed.api.request(
        "GET",
        f"/apis/{LWS[0]}/namespaces/{namespace}/leaderworkersets/{sample.name}/scale",
    )
    assert selected(installed, scale["status"]["selector"], namespace=namespace) == {
        f"autoscaled-{group}" for group in range(3)
    }
    # Six are more than the upper bound.
    harness.scale(installed, sample.name, namespace=namespace, replicas=6)
    sets.wait_available(sample, groups=5)


def selected(cluster: sandbox.Sandbox, selector: str, *, namespace: str) -> set[str]:
    found = cluster.api.list(*sets.POD, namespace=namespace, label_selector=selector)
    return {pod["metadata"]["name"] for pod in found}
