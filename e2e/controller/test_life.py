"""Plain sets on the common path: create, scale, delete, status, columns, start-up policies."""

import pytest
from lws_kueue_lab import sandbox

from lws_kueue.api import names
from tests.kit.live import harness
from tests.kit.live.kubectl import kubectl

pytestmark = pytest.mark.usefixtures("controller")

LWS = (names.LWS_API_VERSION, names.LWS_KIND)


def test_a_plain_set_becomes_available_and_says_so(
    installed: sandbox.Sandbox, namespace: str
) -> None:
    cluster = installed
    cluster.api.create(harness.leader_worker_set("plain", namespace=namespace))
    obj = harness.wait_ready(
        cluster, "plain", namespace=namespace, groups=2, updatedReplicas=2, replicas=2
    )
    available = harness.condition(obj, "Available")
    assert available is not None
    assert available["status"] == "True"
    assert available["reason"] == "AllGroupsReady"
    names_of_sets = {
        s["metadata"]["name"]
        for s in cluster.api.list("apps/v1", "StatefulSet", namespace=namespace)
    }
    assert names_of_sets == {"plain", "plain-0", "plain-1"}


@pytest.mark.long
def test_scaling_through_the_scale_subresource_adds_and_removes_groups(
    installed: sandbox.Sandbox, namespace: str
) -> None:
    cluster = installed
    cluster.api.create(harness.leader_worker_set("scaled", namespace=namespace, replicas=1))
    harness.wait_ready(cluster, "scaled", namespace=namespace, groups=1)
    for replicas in (4, 2, 0, 1):
        harness.scale(cluster, "scaled", namespace=namespace, replicas=replicas)
        harness.wait_ready(cluster, "scaled", namespace=namespace, groups=replicas)
        harness.wait_pods(
            cluster,
            lambda seen, n=replicas: len(seen) == 3 * n,  # type: ignore[misc]
            namespace=namespace,
            what=f"the pods of {replicas} groups",
        )


@pytest.mark.parametrize("propagation", ["Background", "Foreground"])
def test_a_deleted_set_leaves_nothing_behind(
    installed: sandbox.Sandbox, namespace: str, propagation: str
) -> None:
    cluster = installed
    queue = harness.queues(cluster, namespace=namespace, cpu="4")
    cluster.api.create(harness.leader_worker_set("bye", namespace=namespace, queue=queue))
    harness.wait_ready(cluster, "bye", namespace=namespace, groups=2)
    cluster.api.delete(*LWS, "bye", namespace=namespace, propagation=propagation)  # type: ignore[arg-type]
    for api_version, kind in (
        LWS,
        ("v1", "Pod"),
        ("apps/v1", "StatefulSet"),
        ("v1", "Service"),
        ("apps/v1", "ControllerRevision"),
        (names.KUEUE_API_VERSION, "Workload"),
    ):
        cluster.api.wait_for_all(
            api_version, kind, lambda seen: not seen, namespace=namespace, what=f"no {kind}"
        )


def test_a_set_of_size_one_has_no_worker_statefulsets(
    installed: sandbox.Sandbox, namespace: str
) -> None:
    cluster = installed
    cluster.api.create(harness.leader_worker_set("solo", namespace=namespace, size=1))
    harness.wait_ready(cluster, "solo", namespace=namespace, groups=2)
    sets = cluster.api.list("apps/v1", "StatefulSet", namespace=namespace)
    assert [s["metadata"]["name"] for s in sets] == ["solo"]


@pytest.mark.long
def test_with_leader_ready_the_workers_start_after_their_leader_is_ready(
    installed: sandbox.Sandbox, namespace: str
) -> None:
    cluster = installed
    body = harness.leader_worker_set(
        "patient", namespace=namespace, replicas=1, leader=True, startupPolicy="LeaderReady"
    )
    leader = body["spec"]["leaderWorkerTemplate"]["leaderTemplate"]
    leader["metadata"]["annotations"] = {
        "sandbox.lws-kueue.dev/behaviour": "ready-after",
        "sandbox.lws-kueue.dev/seconds": "3",
    }
    with harness.recording(cluster, "v1", "Pod", namespace=namespace) as pods:
        cluster.api.create(body)
        harness.wait_ready(cluster, "patient", namespace=namespace, groups=1)
    ready_at = min(
        int(e["object"]["metadata"]["resourceVersion"])
        for e in pods.events
        if e["object"]["metadata"]["name"] == "patient-0"
        and (harness.condition(e["object"], "Ready") or {}).get("status") == "True"
    )
    workers = [
        int(e["object"]["metadata"]["resourceVersion"])
        for e in pods.events
        if e["type"] == "ADDED" and e["object"]["metadata"]["name"] != "patient-0"
    ]
    assert len(workers) == 2
    assert all(created > ready_at for created in workers)


def test_unique_per_replica_gives_every_group_its_own_service_and_subdomain(
    installed: sandbox.Sandbox, namespace: str
) -> None:
    cluster = installed
    cluster.api.create(
        harness.leader_worker_set(
            "unique", namespace=namespace, networkConfig={"subdomainPolicy": "UniquePerReplica"}
        )
    )
    harness.wait_ready(cluster, "unique", namespace=namespace, groups=2)
    services = {
        s["metadata"]["name"] for s in cluster.api.list("v1", "Service", namespace=namespace)
    }
    assert services == {"unique-0", "unique-1"}
    for name, pod in harness.pods(cluster, namespace=namespace).items():
        group = "-".join(name.split("-")[:2])
        assert pod["spec"]["subdomain"] == group
        (address,) = [
            e["value"]
            for e in pod["spec"]["containers"][0]["env"]
            if e["name"] == "LWS_LEADER_ADDRESS"
        ]
        assert address == f"{group}.{group}.{namespace}"


def delete_and_await_another(
    cluster: sandbox.Sandbox, api_version: str, kind: str, name: str, *, namespace: str
) -> None:
    """Delete an object and wait for one of the same name that is not it."""
    old = cluster.api.get(api_version, kind, name, namespace=namespace)["metadata"]["uid"]
    cluster.api.delete(api_version, kind, name, namespace=namespace)
    cluster.api.wait_for(
        api_version,
        kind,
        name,
        lambda seen: bool(seen and seen["metadata"]["uid"] != old),
        namespace=namespace,
        what=f"a new {kind} {name}",
    )


@pytest.mark.row("CTL-10")
def test_a_deleted_service_comes_back(installed: sandbox.Sandbox, namespace: str) -> None:
    cluster = installed
    cluster.api.create(harness.leader_worker_set("net", namespace=namespace, replicas=1))
    harness.wait_ready(cluster, "net", namespace=namespace, groups=1)
    delete_and_await_another(cluster, "v1", "Service", "net", namespace=namespace)


@pytest.mark.row("CTL-08")
def test_a_deleted_worker_statefulset_comes_back(
    installed: sandbox.Sandbox, namespace: str
) -> None:
    cluster = installed
    cluster.api.create(harness.leader_worker_set("back", namespace=namespace, replicas=1))
    harness.wait_ready(cluster, "back", namespace=namespace, groups=1)
    delete_and_await_another(cluster, "apps/v1", "StatefulSet", "back-0", namespace=namespace)


@pytest.mark.row("CTL-12")
def test_a_deleted_leader_statefulset_comes_back(
    installed: sandbox.Sandbox, namespace: str
) -> None:
    cluster = installed
    cluster.api.create(harness.leader_worker_set("again", namespace=namespace))
    harness.wait_ready(cluster, "again", namespace=namespace, groups=2)
    delete_and_await_another(cluster, "apps/v1", "StatefulSet", "again", namespace=namespace)
    harness.wait_ready(cluster, "again", namespace=namespace, groups=2)


@pytest.mark.row("CTL-13", "CTL-14")
def test_the_scale_subresource_shows_replicas_and_the_selector_of_leaders(
    installed: sandbox.Sandbox, namespace: str
) -> None:
    cluster = installed
    cluster.api.create(harness.leader_worker_set("hpa", namespace=namespace))
    harness.wait_ready(cluster, "hpa", namespace=namespace, groups=2, replicas=2)
    path = f"/apis/{names.LWS_API_VERSION}/namespaces/{namespace}/leaderworkersets/hpa/scale"
    scale = cluster.api.request("GET", path)
    assert scale["spec"]["replicas"] == 2
    assert scale["status"]["replicas"] == 2
    assert scale["status"]["selector"] == (f"{names.SET_NAME}=hpa,{names.WORKER_INDEX}=0")
    scale["spec"]["replicas"] = 3
    cluster.api.request("PUT", path, body=scale)
    obj = cluster.api.get(*LWS, "hpa", namespace=namespace)
    assert obj["spec"]["replicas"] == 3


def test_kubectl_get_lws_shows_ready_desired_and_up_to_date(
    installed: sandbox.Sandbox, namespace: str
) -> None:
    cluster = installed
    cluster.api.create(harness.leader_worker_set("shown", namespace=namespace))
    harness.wait_ready(cluster, "shown", namespace=namespace, groups=2, updatedReplicas=2)
    header, row = kubectl(cluster, "-n", namespace, "get", "lws").splitlines()
    assert header.split() == ["NAME", "READY", "DESIRED", "UP-TO-DATE", "AGE"]
    assert row.split()[:4] == ["shown", "2", "2", "2"]


def test_a_new_image_rolls_out_group_by_group_under_the_same_workloads(
    installed: sandbox.Sandbox, namespace: str
) -> None:
    cluster = installed
    queue = harness.queues(cluster, namespace=namespace, cpu="4")
    cluster.api.create(harness.leader_worker_set("roll", namespace=namespace, queue=queue))
    harness.wait_ready(cluster, "roll", namespace=namespace, groups=2)

    def workloads() -> dict[str, str]:
        found = cluster.api.list(names.KUEUE_API_VERSION, "Workload", namespace=namespace)
        return {w["metadata"]["name"]: w["metadata"]["uid"] for w in found}

    before = workloads()
    image = "registry.k8s.io/pause:3.9"
    obj = cluster.api.get(*LWS, "roll", namespace=namespace)
    template = obj["spec"]["leaderWorkerTemplate"]["workerTemplate"]
    template["spec"]["containers"][0]["image"] = image
    cluster.api.replace(obj)
    harness.wait_pods(
        cluster,
        lambda seen: (
            len(seen) == 6
            and all(harness.is_ready(pod) for pod in seen.values())
            and {pod["spec"]["containers"][0]["image"] for pod in seen.values()} == {image}
        ),
        namespace=namespace,
        what="six ready pods of the new image",
    )
    # The status follows, and may be that of a moment at which one group was left.
    harness.wait_ready(cluster, "roll", namespace=namespace, groups=2, updatedReplicas=2)
    assert workloads() == before


@pytest.mark.row("E2E-16")
def test_a_deleted_worker_recreates_its_whole_group_and_no_other(
    installed: sandbox.Sandbox, namespace: str
) -> None:
    cluster = installed
    cluster.api.create(harness.leader_worker_set("whole", namespace=namespace))
    harness.wait_ready(cluster, "whole", namespace=namespace, groups=2)

    def uids() -> dict[str, str]:
        found = harness.pods(cluster, namespace=namespace)
        return {name: pod["metadata"]["uid"] for name, pod in found.items()}

    before = uids()
    cluster.api.delete("v1", "Pod", "whole-0-1", namespace=namespace)
    harness.wait_pods(
        cluster,
        lambda seen: (
            len(seen) == 6
            and all(harness.is_ready(pod) for pod in seen.values())
            and all(
                seen[name]["metadata"]["uid"] != before[name]
                for name in ("whole-0", "whole-0-1", "whole-0-2")
            )
        ),
        namespace=namespace,
        what="three new pods of group 0",
    )
    after = uids()
    assert {n: u for n, u in after.items() if n.startswith("whole-1")} == {
        n: u for n, u in before.items() if n.startswith("whole-1")
    }
