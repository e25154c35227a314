"""Faults around the controller: what is missing, what goes away, what comes back."""

from pathlib import Path

import pytest
from lws_kueue_lab import sandbox
from lws_kueue_lab.sandbox import kueue

from e2e.conftest import OpenCluster
from lws_kueue.api import names
from tests.kit.live import harness


def own_controller(cluster: sandbox.Sandbox, folder: Path) -> harness.ControllerProcess:
    harness.install(cluster)
    kubeconfig = cluster.service_account_kubeconfig(*harness.SERVICE_ACCOUNT)
    return harness.ControllerProcess(kubeconfig=kubeconfig, log=folder / "controller.log")


@pytest.mark.long
def test_without_kueue_plain_sets_work_and_queued_ones_wait_until_it_is_installed(
    fresh_cluster: OpenCluster, tmp_path: Path
) -> None:
    cluster = fresh_cluster(sandbox.Options(nodes=2))
    controller = own_controller(cluster, tmp_path)
    controller.start()
    try:
        cluster.api.create(harness.leader_worker_set("plain", namespace="default"))
        cluster.api.create(
            harness.leader_worker_set("queued", namespace="default", queue="user-queue")
        )
        harness.wait_ready(cluster, "plain", namespace="default", groups=2)
        harness.wait_status(
            cluster,
            "queued",
            lambda seen: (
                (c := harness.condition(seen, "WaitingForAdmission"))
                and c["reason"] == "KueueMissing"
                and "Kueue is not installed" in c["message"]
            ),
            namespace="default",
            what="a condition that says why",
        )
        for name, pod in harness.pods(cluster, namespace="default").items():
            expected = [names.ADMISSION_GATE] if name.startswith("queued") else []
            assert harness.gates(pod) == expected, name
        with kueue.start(cluster, mode="auto"):
            harness.queues(cluster, namespace="default", cpu="4")
            # It is looked for every 15 seconds.
            harness.wait_ready(cluster, "queued", namespace="default", groups=2, timeout=60)
    finally:
        controller.kill()


@pytest.mark.long
def test_an_api_server_that_goes_away_and_comes_back_loses_nothing(
    fresh_cluster: OpenCluster, process_only: None, tmp_path: Path
) -> None:
    cluster = fresh_cluster(sandbox.Options(nodes=2))
    with kueue.start(cluster, mode="auto"):
        controller = own_controller(cluster, tmp_path)
        controller.start()
        try:
            queue = harness.queues(cluster, namespace="default", cpu="4")
            body = harness.leader_worker_set("kept", namespace="default", queue=queue)
            cluster.api.create(body)
            harness.wait_ready(cluster, "kept", namespace="default", groups=2)
            before = {
                name: pod["metadata"]["uid"]
                for name, pod in harness.pods(cluster, namespace="default").items()
            }
            # It goes away while a third group is being made, and nobody knows how far that is.
            harness.scale(cluster, "kept", namespace="default", replicas=3)
            cluster.stop_api_server()
            cluster.start_api_server()
            harness.wait_ready(cluster, "kept", namespace="default", groups=3, timeout=90)
            assert controller.running
            after = harness.pods(cluster, namespace="default")
            assert before.items() <= {n: p["metadata"]["uid"] for n, p in after.items()}.items()
            assert len(after) == 9
        finally:
            controller.kill()


@pytest.mark.long
def test_a_controller_killed_at_any_moment_finishes_after_a_restart(
    installed: sandbox.Sandbox, controller: harness.ControllerProcess, namespace: str
) -> None:
    cluster = installed
    queue = harness.queues(cluster, namespace=namespace, cpu="4")
    cluster.api.create(
        harness.leader_worker_set("killed", namespace=namespace, queue=queue, replicas=3)
    )
    # Killed once per stage: Workloads made, pods released, and while scaling down.
    cluster.api.wait_for_all(
        names.KUEUE_API_VERSION, "Workload", bool, namespace=namespace, what="a Workload"
    )
    controller.kill()
    controller.start()
    harness.wait_pods(
        cluster,
        lambda seen: any(not harness.gates(pod) for pod in seen.values()),
        namespace=namespace,
        what="a released pod",
    )
    controller.kill()
    controller.start()
    harness.wait_ready(cluster, "killed", namespace=namespace, groups=3)
    harness.scale(cluster, "killed", namespace=namespace, replicas=1)
    controller.kill()
    controller.start()
    cluster.api.wait_for_all(
        names.KUEUE_API_VERSION,
        "Workload",
        lambda seen: len(seen) == 1,
        namespace=namespace,
        what="one Workload",
    )
    harness.wait_ready(cluster, "killed", namespace=namespace, groups=1)


def test_a_foreign_statefulset_of_the_sets_name_is_left_alone_and_named(
    installed: sandbox.Sandbox, controller: harness.ControllerProcess, namespace: str
) -> None:
    cluster = installed
    assert controller.running
    labels = {"app": "somebody-else"}
    foreign = {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "taken", "namespace": namespace},
        "spec": {
            "replicas": 0,
            "serviceName": "taken",
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "c", "image": harness.IMAGE}]},
            },
        },
    }
    before = cluster.api.create(foreign)
    cluster.api.create(harness.leader_worker_set("taken", namespace=namespace))
    cluster.api.create(harness.leader_worker_set("other", namespace=namespace))
    cluster.api.wait_for_all(
        "events.k8s.io/v1",
        "Event",
        lambda seen: any(
            e["type"] == "Warning" and "StatefulSet taken" in e["note"] for e in seen.values()
        ),
        namespace=namespace,
        what="a Warning that names the StatefulSet",
    )
    harness.wait_ready(cluster, "other", namespace=namespace, groups=2)
    after = cluster.api.get("apps/v1", "StatefulSet", "taken", namespace=namespace)
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["spec"]["replicas"] == 0
    assert not after["metadata"].get("ownerReferences")
