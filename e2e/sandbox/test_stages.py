"""The switches with which a test makes pods misbehave (`lws_kueue/sandbox/stages.py`)."""

import datetime
import time
from typing import Any

import pytest
from lws_kueue_lab import sandbox
from lws_kueue_lab.sandbox import audit, client, stages

from tests.kit.builders import pods

Pod = dict[str, Any]


@pytest.fixture(autouse=True)
def _nodes_of_the_sandbox(backend: sandbox.Backend) -> None:
    if backend == "kubeconfig":
        pytest.skip("the nodes of a given cluster do not play the stages of the sandbox")


def run(cluster: sandbox.Sandbox, pod: Pod) -> Pod:
    """Create a pod and wait until it has reached phase Running."""
    cluster.api.create(pod)
    return wait(cluster, pod, lambda found: found and found["status"].get("phase") == "Running")


def wait(cluster: sandbox.Sandbox, pod: Pod, predicate: Any, *, timeout: float = 60) -> Pod:
    metadata = pod["metadata"]
    found = cluster.api.wait_for(
        "v1",
        "Pod",
        metadata["name"],
        predicate,
        namespace=metadata["namespace"],
        timeout=timeout,
    )
    return found or {}


def at(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text)


def history(cluster: sandbox.Sandbox, pod: Pod, *, seconds: float) -> list[Pod]:
    """Every state of a pod that is seen for a while, the present one first."""
    events = cluster.api.watch(
        "v1",
        "Pod",
        namespace=pod["metadata"]["namespace"],
        field_selector=f"metadata.name={pod['metadata']['name']}",
        timeout=seconds,
    )
    return [event["object"] for event in events]


def test_a_pod_without_a_switch_runs_and_is_ready_at_once(
    cluster: sandbox.Sandbox, namespace: str
) -> None:
    pod = run(cluster, pods.pod("plain", namespace))
    assert pods.is_ready(pod)
    assert pod["status"]["podIP"]
    statuses = pod["status"]["containerStatuses"]
    assert [status["name"] for status in statuses] == ["main", "side"]
    assert all(status["ready"] and status["restartCount"] == 0 for status in statuses)
    assert pods.condition(pod, "PodScheduled")["status"] == "True"


def test_init_containers_end_and_sidecars_run(cluster: sandbox.Sandbox, namespace: str) -> None:
    pod = pods.pod("init", namespace)
    pod["spec"]["initContainers"] = [
        {"name": "once", "image": "image"},
        {"name": "sidecar", "image": "image", "restartPolicy": "Always"},
    ]
    once, sidecar = run(cluster, pod)["status"]["initContainerStatuses"]
    assert once["state"]["terminated"]["exitCode"] == 0
    assert "running" in sidecar["state"]


def test_never_ready_runs_but_does_not_become_ready(
    cluster: sandbox.Sandbox, namespace: str
) -> None:
    pod = pods.pod("never", namespace, behaviour=stages.NEVER_READY)
    run(cluster, pod)
    seen = history(cluster, pod, seconds=3)
    assert seen
    assert not any(pods.is_ready(state) for state in seen)
    assert all(state["status"]["phase"] == "Running" for state in seen)


def test_a_switch_can_be_changed_while_the_pod_runs(
    cluster: sandbox.Sandbox, namespace: str
) -> None:
    pod = pods.pod("changing", namespace)
    run(cluster, pod)
    for behaviour, expected in ((stages.NEVER_READY, False), (None, True)):
        cluster.api.patch(
            "v1",
            "Pod",
            "changing",
            namespace=namespace,
            body={"metadata": {"annotations": {stages.BEHAVIOUR: behaviour}}},
        )
        wait(cluster, pod, lambda found, want=expected: pods.is_ready(found) is want)


def test_ready_after_becomes_ready_when_the_time_is_over(
    cluster: sandbox.Sandbox, namespace: str
) -> None:
    pod = pods.pod("later", namespace, behaviour=stages.READY_AFTER, seconds=3)
    assert not pods.is_ready(run(cluster, pod))
    # A change of the pod in between must not start the time anew.
    cluster.api.patch(
        "v1", "Pod", "later", namespace=namespace, body={"metadata": {"labels": {"a": "b"}}}
    )
    ready = wait(cluster, pod, pods.is_ready)
    took = at(pods.condition(ready, "Ready")["lastTransitionTime"]) - at(
        pods.condition(ready, "PodScheduled")["lastTransitionTime"]
    )
    assert 3 <= took.total_seconds() <= 6


@pytest.mark.long
def test_restart_restarts_every_container_once(cluster: sandbox.Sandbox, namespace: str) -> None:
    pod = pods.pod("restarting", namespace, behaviour=stages.RESTART, seconds=1)
    first = run(cluster, pod)
    assert [s["restartCount"] for s in first["status"]["containerStatuses"]] == [0, 0]
    restarted = wait(
        cluster,
        pod,
        lambda found: all(s["restartCount"] == 1 for s in found["status"]["containerStatuses"]),
    )
    for status in restarted["status"]["containerStatuses"]:
        assert "running" in status["state"]
        assert status["lastState"]["terminated"]["exitCode"] == 1
    assert restarted["status"]["phase"] == "Running"
    later = history(cluster, pod, seconds=3)[-1]
    assert [s["restartCount"] for s in later["status"]["containerStatuses"]] == [1, 1]


def test_failed_reaches_the_phase_failed(cluster: sandbox.Sandbox, namespace: str) -> None:
    pod = pods.pod("failing", namespace, behaviour=stages.FAILED, seconds=1)
    assert pods.is_ready(run(cluster, pod))
    failed = wait(cluster, pod, lambda found: found["status"]["phase"] == "Failed")
    assert not pods.is_ready(failed)
    for status in failed["status"]["containerStatuses"]:
        assert status["state"]["terminated"]["exitCode"] == 1


def test_deleted_pods_go_at_once_in_spite_of_their_grace_period(
    cluster: sandbox.Sandbox, namespace: str
) -> None:
    pod = pods.pod("brief", namespace)
    pod["spec"]["terminationGracePeriodSeconds"] = 300
    run(cluster, pod)
    cluster.api.delete("v1", "Pod", "brief", namespace=namespace)
    wait(cluster, pod, lambda found: found is None)


def test_kwok_asks_for_the_deletion_of_a_pod_once(cluster: sandbox.Sandbox, namespace: str) -> None:
    # It does so by name alone: a second time it could meet another pod of that name.
    if cluster.audit_log is None:
        pytest.skip("this cluster has no audit log")
    since = audit.position(cluster)
    names = [f"once-{index}" for index in range(8)]
    for name in names:
        pod = pods.pod(name, namespace)
        run(cluster, pod)
        cluster.api.delete("v1", "Pod", name, namespace=namespace)
        wait(cluster, pod, lambda found: found is None)
    asked = [
        request.name
        for request in audit.requests(cluster, since=since)
        if (request.verb, request.resource, request.namespace) == ("delete", "pods", namespace)
        and request.user_agent.startswith("kwok")
    ]
    # What is asked for too often comes within milliseconds, before the next pod is gone.
    assert asked == names


def test_slow_delete_keeps_the_pod_for_the_given_time(
    cluster: sandbox.Sandbox, namespace: str
) -> None:
    pod = pods.pod("slow", namespace, behaviour=stages.SLOW_DELETE, seconds=3)
    run(cluster, pod)
    cluster.api.delete("v1", "Pod", "slow", namespace=namespace)
    started = time.monotonic()
    deleting = cluster.api.get("v1", "Pod", "slow", namespace=namespace)
    assert deleting["metadata"]["deletionTimestamp"]
    assert pods.is_ready(deleting)
    wait(cluster, pod, lambda found: found is None)
    assert time.monotonic() - started >= 2.9


def test_a_finalizer_keeps_a_deleted_pod_that_is_seen_to_be_over(
    cluster: sandbox.Sandbox, namespace: str
) -> None:
    pod = pods.pod("kept", namespace, finalizers=["example.com/keep"])
    run(cluster, pod)
    cluster.api.delete("v1", "Pod", "kept", namespace=namespace)
    over = wait(cluster, pod, lambda found: found["status"]["phase"] == "Succeeded")
    assert not pods.is_ready(over)
    states = history(cluster, pod, seconds=2)
    assert len(states) <= 2, "the deletion is repeated without end"
    cluster.api.patch(
        "v1", "Pod", "kept", namespace=namespace, body={"metadata": {"finalizers": None}}
    )
    wait(cluster, pod, lambda found: found is None)


def test_a_status_is_never_given_to_another_pod_of_the_same_name(
    cluster: sandbox.Sandbox, namespace: str
) -> None:
    patches = [stage["spec"]["steps"][0]["patch"] for stage in stages.all_stages()]
    assert all(patch["template"].startswith("metadata:\n  uid: ") for patch in patches)
    # What such a patch comes to when it is late: it names the pod that was before.
    pod = pods.pod("same", namespace)
    before = run(cluster, pod)["metadata"]["uid"]
    cluster.api.delete("v1", "Pod", "same", namespace=namespace)
    wait(cluster, pod, lambda found: found is None)
    after = run(cluster, pod)
    assert after["metadata"]["uid"] != before
    with pytest.raises(client.ApiError, match="immutable") as refused:
        cluster.api.patch(
            "v1",
            "Pod",
            "same",
            namespace=namespace,
            subresource="status",
            body={"metadata": {"uid": before}, "status": {"phase": "Succeeded"}},
        )
    assert refused.value.status == 422


def test_a_node_can_stop_being_ready_and_come_back(cluster: sandbox.Sandbox) -> None:
    def is_out(node: Pod | None) -> bool:
        return node is not None and not pods.is_ready(node) and bool(node["spec"].get("taints"))

    def is_back(node: Pod | None) -> bool:
        return node is not None and pods.is_ready(node) and not node["spec"].get("taints")

    for behaviour, expected in ((stages.NOT_READY, is_out), (None, is_back)):
        annotations = {stages.BEHAVIOUR: behaviour}
        cluster.api.patch("v1", "Node", "node-7", body={"metadata": {"annotations": annotations}})
        cluster.api.wait_for("v1", "Node", "node-7", expected)
