"""A template change replaces as many groups at once as the set allows, and never more.

The gate MaxUnavailableStatefulSet is off by default, and the StatefulSet controller would take one
group after the other. The last test has it on.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from lws_kueue_lab import sandbox
from lws_kueue_lab.sandbox import audit, stages

from e2e.conftest import OpenCluster
from lws_kueue.api import names
from tests.kit.live import harness

LWS = (names.LWS_API_VERSION, names.LWS_KIND)
WORKLOAD = (names.KUEUE_API_VERSION, "Workload")
NEW_IMAGE = "registry.k8s.io/pause:3.9"

GROUPS, SIZE, MOST_UNAVAILABLE = 12, 2, 4
# Long enough that groups which are replaced together are seen to be down together.
START_SECONDS = 1


def rolling(name: str, *, namespace: str, most_unavailable: int, **given: Any) -> dict[str, Any]:
    """A set whose pods take a moment to become ready."""
    return harness.leader_worker_set(
        name,
        namespace=namespace,
        size=SIZE,
        pod_annotations={
            stages.BEHAVIOUR: stages.READY_AFTER,
            stages.SECONDS: str(START_SECONDS),
        },
        rolloutStrategy={
            "type": "RollingUpdate",
            "rollingUpdateConfiguration": {"maxUnavailable": most_unavailable},
        },
        **given,
    )


def change_image(cluster: sandbox.Sandbox, name: str, *, namespace: str) -> None:
    obj = cluster.api.get(*LWS, name, namespace=namespace)
    template = obj["spec"]["leaderWorkerTemplate"]["workerTemplate"]
    containers = template["spec"]["containers"]
    containers[0]["image"] = NEW_IMAGE
    # A patch, because the status may be written at any time.
    change = {"leaderWorkerTemplate": {"workerTemplate": {"spec": {"containers": containers}}}}
    cluster.api.patch(*LWS, name, namespace=namespace, body={"spec": change})


def wait_updated(cluster: sandbox.Sandbox, *, namespace: str, groups: int) -> None:
    harness.wait_pods(
        cluster,
        lambda seen: (
            len(seen) == groups * SIZE
            and all(harness.is_ready(pod) for pod in seen.values())
            and {pod["spec"]["containers"][0]["image"] for pod in seen.values()} == {NEW_IMAGE}
        ),
        namespace=namespace,
        what=f"{groups} ready groups of the new image",
        timeout=120,
    )


def unavailable_groups(
    first: Iterable[dict[str, Any]], events: Iterable[dict[str, Any]], *, groups: int
) -> Iterator[set[str]]:
    """Replay the history of pods; yield after each event the groups that are not available."""
    pods = {pod["metadata"]["name"]: pod for pod in first}
    for event in events:
        pod = event["object"]
        if event["type"] == "DELETED":
            pods.pop(pod["metadata"]["name"], None)
        else:
            pods[pod["metadata"]["name"]] = pod
        up: dict[str, int] = {}
        for living in pods.values():
            if harness.is_ready(living) and not living["metadata"].get("deletionTimestamp"):
                index = living["metadata"]["labels"][names.GROUP_INDEX]
                up[index] = up.get(index, 0) + 1
        yield {str(index) for index in range(groups) if up.get(str(index), 0) < SIZE}


@pytest.mark.long
@pytest.mark.usefixtures("controller")
def test_four_of_twelve_groups_are_replaced_at_a_time(
    installed: sandbox.Sandbox, namespace: str
) -> None:
    cluster = installed
    cluster.api.create(
        rolling("fast", namespace=namespace, replicas=GROUPS, most_unavailable=MOST_UNAVAILABLE)
    )
    harness.wait_ready(cluster, "fast", namespace=namespace, groups=GROUPS)
    live = cluster.api.get("apps/v1", "StatefulSet", "fast", namespace=namespace)
    if "maxUnavailable" in live["spec"]["updateStrategy"]["rollingUpdate"]:
        pytest.skip("this API server keeps maxUnavailable: its StatefulSet controller does it")
    first = list(harness.pods(cluster, namespace=namespace).values())
    with harness.recording(cluster, "v1", "Pod", namespace=namespace) as history:
        change_image(cluster, "fast", namespace=namespace)
        wait_updated(cluster, namespace=namespace, groups=GROUPS)
    counts = [len(down) for down in unavailable_groups(first, history.events, groups=GROUPS)]
    assert max(counts) == MOST_UNAVAILABLE
    harness.wait_ready(cluster, "fast", namespace=namespace, groups=GROUPS, updatedReplicas=GROUPS)


@pytest.mark.long
@pytest.mark.usefixtures("controller")
def test_groups_that_are_replaced_together_keep_their_admission(
    installed: sandbox.Sandbox, namespace: str
) -> None:
    cluster = installed
    queue = harness.queues(cluster, namespace=namespace, cpu="1")
    # Ten pods of 0.1: there is no quota for more, so a group cannot hold it twice.
    cluster.api.create(
        rolling("kept", namespace=namespace, replicas=5, most_unavailable=3, queue=queue)
    )
    harness.wait_ready(cluster, "kept", namespace=namespace, groups=5)

    def workloads() -> dict[str, tuple[str, bool]]:
        found = cluster.api.list(*WORKLOAD, namespace=namespace)
        return {
            w["metadata"]["name"]: (
                w["metadata"]["uid"],
                (harness.condition(w, "Admitted") or {}).get("status") == "True",
            )
            for w in found
        }

    before = workloads()
    assert [admitted for _, admitted in before.values()] == [True] * 5
    first = list(harness.pods(cluster, namespace=namespace).values())
    with (
        harness.recording(cluster, "v1", "Pod", namespace=namespace) as pods,
        harness.recording(cluster, *WORKLOAD, namespace=namespace) as history,
    ):
        change_image(cluster, "kept", namespace=namespace)
        wait_updated(cluster, namespace=namespace, groups=5)
    assert workloads() == before
    for event in history.events:
        assert event["type"] == "MODIFIED"
        assert (harness.condition(event["object"], "Admitted") or {}).get("status") == "True"
    counts = [len(down) for down in unavailable_groups(first, pods.events, groups=5)]
    assert max(counts) == 3
    # Born gated, every one, and released under the Workload that its group had before.
    added = [e["object"] for e in pods.events if e["type"] == "ADDED"]
    assert {pod["metadata"]["name"] for pod in added} == {p["metadata"]["name"] for p in first}
    assert all(names.ADMISSION_GATE in harness.gates(pod) for pod in added)


@pytest.mark.long
def test_where_the_statefulset_controller_keeps_to_the_budget_it_is_left_to_it(
    fresh_cluster: OpenCluster, tmp_path: Path
) -> None:
    gates = {"MaxUnavailableStatefulSet": True}
    cluster = fresh_cluster(sandbox.Options(nodes=2, feature_gates=gates))
    harness.install(cluster)
    account = cluster.service_account_kubeconfig(*harness.SERVICE_ACCOUNT)
    controller = harness.ControllerProcess(kubeconfig=account, log=tmp_path / "controller.log")
    controller.start()
    try:
        cluster.api.create(rolling("left", namespace="default", replicas=6, most_unavailable=3))
        harness.wait_ready(cluster, "left", namespace="default", groups=6)
        live = cluster.api.get("apps/v1", "StatefulSet", "left", namespace="default")
        assert live["spec"]["updateStrategy"]["rollingUpdate"]["maxUnavailable"] == 3
        first = list(harness.pods(cluster, namespace="default").values())
        mark = audit.position(cluster)
        with harness.recording(cluster, "v1", "Pod", namespace="default") as history:
            change_image(cluster, "left", namespace="default")
            wait_updated(cluster, namespace="default", groups=6)
    finally:
        controller.kill()
    counts = [len(down) for down in unavailable_groups(first, history.events, groups=6)]
    assert max(counts) == 3
    deleted = {
        request.user
        for request in audit.requests(cluster, since=mark)
        if request.verb == "delete" and request.resource == "pods" and request.status == 200
    }
    assert "system:serviceaccount:kube-system:statefulset-controller" in deleted
    assert f"system:serviceaccount:{':'.join(harness.SERVICE_ACCOUNT)}" not in deleted
