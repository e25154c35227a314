"""Every manifest of `examples/` is accepted as it is and does what its first lines say."""

import json
import pathlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from lws_kueue_lab import manifests

from e2e.examples.conftest import Kubectl
from lws_kueue.api import names
from tests.kit.live import harness, selection

QUEUES = "queues.yaml"
HOSTNAME = "kubernetes.io/hostname"
MAY_CONFLICT = "ExclusiveTopologyMayConflict"

# Volcano schedules its pods, which no cluster of these tests has. What the controller does for it
# is tested in `e2e/lws/test_gang.py`.
NEEDS_VOLCANO = "gang-scheduling.yaml"

# KServe makes the set, so what is tested is a set such as it makes of this.
NEEDS_KSERVE = "kserve.yaml"

# File, and of each set in it the pods in a group, and how many of its groups become ready.
SETS: dict[str, list[tuple[str, int, int]]] = {
    "all-fields.yaml": [("all-fields", 4, 3)],
    # It asks for two, and its autoscaler for three at least.
    "autoscaling.yaml": [("autoscaled", 2, 3)],
    "exclusive-placement.yaml": [("exclusive", 4, 3)],
    "keda.yaml": [("by-queue-depth", 2, 1)],
    "leader-ready.yaml": [("leader-ready", 3, 1)],
    "leaderworkerset.yaml": [("sample", 3, 2)],
    "minimal.yaml": [("minimal", 4, 3)],
    "multi-template.yaml": [("multi-template", 4, 3)],
    "plain.yaml": [("plain", 3, 2)],
    "prefill-decode.yaml": [("prefill", 1, 2), ("decode", 2, 1)],
    "priority.yaml": [("urgent", 2, 1)],
    "restart-policy.yaml": [("restart-policy", 3, 2)],
    "rollout-strategy.yaml": [("rollout-strategy", 2, 4)],
    "sglang.yaml": [("sglang", 2, 1)],
    "shared-worker-template.yaml": [("shared-template", 4, 1)],
    "subgroups.yaml": [("subgroups", 5, 2)],
    "topology.yaml": [("topology", 4, 2)],
    "tpu.yaml": [("tpu", 4, 2)],
    "unique-per-replica.yaml": [("unique", 2, 2)],
    "vllm.yaml": [("vllm", 2, 1)],
    "volume-claims.yaml": [("volumes", 2, 2)],
}


def path(file: str) -> str:
    return str(manifests.EXAMPLES / file)


def workloads(kubectl: Kubectl) -> list[dict[str, Any]]:
    return kubectl.cluster.api.list(names.KUEUE_API_VERSION, "Workload", namespace="default")


def is_queued(file: str) -> bool:
    sets = [obj for obj in manifests.example(file) if obj["kind"] == names.LWS_KIND]
    (queued,) = {names.QUEUE_NAME in live["metadata"].get("labels", {}) for live in sets}
    return queued


# The queue has room for one of them; an exclusive group is beside no group of any other set.
ALONE = [file for file in SETS if is_queued(file) or file == "exclusive-placement.yaml"]
TOGETHER = [file for file in SETS if file not in ALONE]


@pytest.fixture
def volumes(served: Kubectl) -> Iterator[None]:
    """Volumes for the claims of `volume-claims.yaml`: nothing here makes them on demand."""
    made = [f"volume-{at}" for at in range(4)]
    for name in made:
        served.cluster.api.create(
            {
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
        )
    yield
    for name in made:
        served.cluster.api.delete("v1", "PersistentVolume", name, missing_ok=True)


@pytest.fixture
def queues(served: Kubectl) -> Iterator[None]:
    served("apply", "-f", path(QUEUES))
    yield
    served("delete", "--wait", "-f", path(QUEUES))


def assert_own_service(kubectl: Kubectl, name: str) -> None:
    """Nothing else in the example has taken the name of the set's headless Service."""
    service = kubectl.cluster.api.find("v1", "Service", name, namespace="default")
    if service is not None:
        assert service["spec"]["clusterIP"] == "None"
        assert [owner["name"] for owner in service["metadata"]["ownerReferences"]] == [name]


def gone(kubectl: Kubectl) -> None:
    """Wait until no pod and no Workload of the set is left."""
    api = kubectl.cluster.api
    for api_version, kind in (("v1", "Pod"), (names.KUEUE_API_VERSION, "Workload")):
        api.wait_for_all(
            api_version,
            kind,
            lambda found: not found,
            namespace="default",
            timeout=60,
            what=f"every {kind} is gone",
        )


def test_no_example_is_left_out() -> None:
    there = {file.name for file in manifests.EXAMPLES.iterdir()}
    assert there == {*SETS, QUEUES, NEEDS_VOLCANO, NEEDS_KSERVE}


def test_an_example_has_no_field_that_the_api_does_not_know(served: Kubectl) -> None:
    files = [QUEUES, NEEDS_VOLCANO, NEEDS_KSERVE, *SETS]
    strictly = ("--server-side", "--dry-run=server", "--validate=strict")
    served("apply", *strictly, *(argument for file in files for argument in ("-f", path(file))))


@pytest.mark.usefixtures("queues")
@selection.parametrize("file", ALONE, few={"leaderworkerset.yaml", "leader-ready.yaml"})
def test_the_set_of_an_example_becomes_ready_and_leaves_nothing(served: Kubectl, file: str) -> None:
    served("apply", "-f", path(file))
    expected: Counter[str] = Counter()
    for name, size, groups in SETS[file]:
        harness.wait_ready(served.cluster, name, namespace="default", groups=groups)
        expected[name] = size * groups
    pods = harness.pods(served.cluster, namespace="default").values()
    assert Counter(pod["metadata"]["labels"][names.SET_NAME] for pod in pods) == expected
    assert all(pod["spec"].get("nodeName") for pod in pods)
    asked_for = sum(groups for _, _, groups in SETS[file]) if is_queued(file) else 0
    assert len(workloads(served)) == asked_for
    for name, _, _ in SETS[file]:
        assert_own_service(served, name)
    served("delete", "--wait", "-f", path(file))
    gone(served)


@pytest.mark.usefixtures("volumes")
def test_the_sets_without_a_queue_become_ready_beside_each_other(served: Kubectl) -> None:
    served("apply", *(argument for file in TOGETHER for argument in ("-f", path(file))))
    expected: Counter[str] = Counter()
    for name, size, groups in (one for file in TOGETHER for one in SETS[file]):
        harness.wait_ready(served.cluster, name, namespace="default", groups=groups)
        assert_own_service(served, name)
        expected[name] = size * groups
    pods = harness.pods(served.cluster, namespace="default").values()
    assert Counter(pod["metadata"]["labels"][names.SET_NAME] for pod in pods) == expected
    assert all(pod["spec"].get("nodeName") for pod in pods)
    assert not workloads(served)
    served("delete", "--wait", *(argument for file in TOGETHER for argument in ("-f", path(file))))
    gone(served)


@pytest.mark.usefixtures("queues")
def test_the_queue_has_room_for_exactly_three_groups_of_the_sample(served: Kubectl) -> None:
    served("apply", "-f", path("leaderworkerset.yaml"))
    harness.wait_ready(served.cluster, "sample", namespace="default", groups=2)
    served("scale", "leaderworkerset", "sample", "--replicas=4")
    harness.wait_ready(served.cluster, "sample", namespace="default", groups=3)
    # Which of the two new groups comes first is Kueue's affair: their Workloads are equally old.
    held = {
        frozenset({f"sample-{index}", f"sample-{index}-1", f"sample-{index}-2"}): index
        for index in (2, 3)
    }

    def without_node(pods: dict[str, dict[str, Any]]) -> frozenset[str]:
        return frozenset(name for name, pod in pods.items() if not pod["spec"].get("nodeName"))

    pods = harness.wait_pods(
        served.cluster,
        lambda pods: without_node(pods) in held,
        namespace="default",
        what="exactly one group is held",
    )
    told = f"group {held[without_node(pods)]}: "
    harness.wait_status(
        served.cluster,
        "sample",
        lambda seen: (
            (c := harness.condition(seen, "WaitingForAdmission")) and c["message"].startswith(told)
        ),
        namespace="default",
        what=f"the set says that {told} waits",
        readyReplicas=3,
    )
    served("delete", "--wait", "-f", path("leaderworkerset.yaml"))
    gone(served)


@pytest.mark.usefixtures("queues")
def test_the_priority_of_the_example_arrives_in_its_workload(served: Kubectl) -> None:
    served("apply", "-f", path("priority.yaml"))
    harness.wait_ready(served.cluster, "urgent", namespace="default", groups=1)
    (workload,) = workloads(served)
    assert workload["spec"]["priority"] == 10000
    assert workload["spec"]["priorityClassRef"]["name"] == "urgent"
    served("delete", "--wait", "-f", path("priority.yaml"))
    gone(served)


def racks(kubectl: Kubectl) -> dict[str, set[str]]:
    """The racks in which the pods of each group are, every pod on the node that Kueue chose."""
    nodes = {node["metadata"]["name"]: node for node in kubectl.cluster.api.list("v1", "Node")}
    found: dict[str, set[str]] = {}
    for pod in harness.pods(kubectl.cluster, namespace="default").values():
        assert pod["spec"]["nodeSelector"][HOSTNAME] == pod["spec"]["nodeName"]
        rack = nodes[pod["spec"]["nodeName"]]["metadata"]["labels"]["example.com/rack"]
        found.setdefault(pod["metadata"]["labels"][names.GROUP_INDEX], set()).add(rack)
    return found


def test_every_group_of_the_topology_example_is_in_one_rack(served: Kubectl) -> None:
    served("apply", "-f", path("topology.yaml"))
    harness.wait_ready(served.cluster, "topology", namespace="default", groups=2)
    found = racks(served)
    assert [len(found[index]) for index in ("0", "1")] == [1, 1]
    served("delete", "--wait", "-f", path("topology.yaml"))
    gone(served)


@pytest.mark.long
def test_groups_that_fill_more_than_half_of_a_rack_can_be_exclusive_as_well(
    served: Kubectl, tmp_path: pathlib.Path
) -> None:
    objects = {obj["kind"]: obj for obj in manifests.example("topology.yaml")}
    (group,) = objects["ClusterQueue"]["spec"]["resourceGroups"]
    group["flavors"][0]["resources"][0]["nominalQuota"] = 20
    live = objects[names.LWS_KIND]
    live["metadata"]["annotations"] = {names.EXCLUSIVE_TOPOLOGY: "example.com/rack"}
    worker = live["spec"]["leaderWorkerTemplate"]["workerTemplate"]["spec"]["containers"][0]
    worker["resources"]["requests"]["cpu"] = "3"
    file = tmp_path / "exclusive.json"
    file.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": [*objects.values()]}))
    served("apply", "-f", str(file))
    harness.wait_ready(served.cluster, "topology", namespace="default", groups=2)
    found = racks(served)
    assert [len(found[index]) for index in ("0", "1")] == [1, 1]
    assert found["0"] != found["1"]
    events = served.cluster.api.list("v1", "Event", namespace="default")
    assert MAY_CONFLICT not in {event["reason"] for event in events}
    # A node for each group is what Kueue was not asked for.
    served("annotate", "--overwrite", "lws/topology", f"{names.EXCLUSIVE_TOPOLOGY}={HOSTNAME}")
    served.cluster.api.wait_for_all(
        "v1",
        "Event",
        lambda seen: any(event["reason"] == MAY_CONFLICT for event in seen.values()),
        namespace="default",
        what="the set says that its placements may contradict each other",
    )
    served("delete", "--wait", "-f", str(file))
    gone(served)


def test_the_services_of_unique_per_replica_are_one_for_each_group(served: Kubectl) -> None:
    served("apply", "-f", path("unique-per-replica.yaml"))
    harness.wait_ready(served.cluster, "unique", namespace="default", groups=2)
    services = served.cluster.api.list("v1", "Service", namespace="default")
    assert {s["metadata"]["name"] for s in services} == {"kubernetes", "unique-0", "unique-1"}
    served("delete", "--wait", "-f", path("unique-per-replica.yaml"))
    gone(served)


def test_keda_scales_the_set_beside_it_and_up_to_the_quota() -> None:
    live, scaled = manifests.example("keda.yaml")
    target = scaled["spec"]["scaleTargetRef"]
    assert (target["apiVersion"], target["kind"]) == (live["apiVersion"], live["kind"])
    assert target["name"] == live["metadata"]["name"]
    worker = live["spec"]["leaderWorkerTemplate"]
    (container,) = worker["workerTemplate"]["spec"]["containers"]
    group = worker["size"] * int(container["resources"]["requests"]["cpu"].removesuffix("m"))
    (queue,) = (obj for obj in manifests.example(QUEUES) if obj["kind"] == "ClusterQueue")
    (flavor,) = queue["spec"]["resourceGroups"][0]["flavors"]
    quota = 1000 * int(flavor["resources"][0]["nominalQuota"])
    assert scaled["spec"]["maxReplicaCount"] * group == quota


@pytest.mark.long
@pytest.mark.usefixtures("queues")
def test_groups_follow_an_autoscaler_that_counts_waiting_requests(served: Kubectl) -> None:
    """KEDA's autoscaler writes the scale subresource, which is all that it needs of a set."""
    served("apply", "-f", path("keda.yaml"))
    harness.wait_ready(served.cluster, "by-queue-depth", namespace="default", groups=1)
    for groups in (6, 1):
        served("scale", "lws", "by-queue-depth", f"--replicas={groups}")
        harness.wait_ready(served.cluster, "by-queue-depth", namespace="default", groups=groups)
    served("delete", "--wait", "-f", path("keda.yaml"))
    gone(served)


def made_by_kserve(service: dict[str, Any]) -> dict[str, Any]:
    """The set that KServe 0.20 makes of a service, as far as Kueue is concerned.

    It copies labels of Kueue to the set and to both templates, and the size of a group is the
    number of ranks by that of a pod.
    """
    spec, labels = service["spec"], service["metadata"]["labels"]
    parallelism = spec["parallelism"]

    def template(pod: dict[str, Any]) -> dict[str, Any]:
        image = "registry.k8s.io/pause:3.10"
        containers = [{"image": image, **container} for container in pod["containers"]]
        return {"metadata": {"labels": labels}, "spec": {**pod, "containers": containers}}

    return {
        "apiVersion": names.LWS_API_VERSION,
        "kind": names.LWS_KIND,
        "metadata": {
            "name": f"{service['metadata']['name']}-kserve-mn",
            "namespace": service["metadata"]["namespace"],
            "labels": labels,
        },
        "spec": {
            "replicas": spec["replicas"],
            "leaderWorkerTemplate": {
                "size": parallelism["data"] // parallelism["dataLocal"],
                "restartPolicy": "RecreateGroupOnPodRestart",
                "leaderTemplate": template(spec["template"]),
                "workerTemplate": template(spec["worker"]),
            },
        },
    }


@pytest.mark.long
def test_a_set_such_as_kserve_makes_is_admitted_by_one_workload_for_each_group(
    served: Kubectl, tmp_path: pathlib.Path
) -> None:
    (service,) = manifests.example(NEEDS_KSERVE)
    # The queue is that of the example for vLLM.
    queues = [obj for obj in manifests.example("vllm.yaml") if "kueue" in obj["apiVersion"]]
    live = made_by_kserve(service)
    file = tmp_path / "made.json"
    file.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": [*queues, live]}))
    served("apply", "-f", path(NEEDS_KSERVE), "-f", str(file))
    name = live["metadata"]["name"]
    harness.wait_ready(served.cluster, name, namespace="default", groups=1)
    (workload,) = workloads(served)
    assert [owner["name"] for owner in workload["metadata"]["ownerReferences"]] == [name]
    assert len(harness.pods(served.cluster, namespace="default")) == 2
    served("delete", "--wait", "-f", str(file), "-f", path(NEEDS_KSERVE))
    gone(served)
