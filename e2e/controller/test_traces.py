"""What the controller must not leave behind, and what has to work while it is away."""

from typing import Any

import pytest
from lws_kueue_lab import sandbox
from lws_kueue_lab.sandbox import audit

from lws_kueue.api import names
from tests.kit.judge import budget
from tests.kit.live import harness

LWS = (names.LWS_API_VERSION, names.LWS_KIND)


def everything(cluster: sandbox.Sandbox, *, namespace: str) -> list[dict[str, Any]]:
    kinds = (
        LWS,
        ("apps/v1", "StatefulSet"),
        ("apps/v1", "ControllerRevision"),
        ("v1", "Pod"),
        ("v1", "Service"),
        (names.KUEUE_API_VERSION, "Workload"),
        (names.KUEUE_API_VERSION, "LocalQueue"),
    )
    shared = (
        ("v1", "Namespace"),
        ("v1", "Node"),
        ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
        (names.KUEUE_API_VERSION, "ClusterQueue"),
        (names.KUEUE_API_VERSION, "ResourceFlavor"),
    )
    return [
        *(obj for kind in kinds for obj in cluster.api.list(*kind, namespace=namespace)),
        *(obj for kind in shared for obj in cluster.api.list(*kind)),
    ]


def test_kopf_writes_no_annotation_and_no_finalizer_on_any_object(
    installed: sandbox.Sandbox, controller: harness.ControllerProcess, namespace: str
) -> None:
    cluster = installed
    assert controller.running
    queue = harness.queues(cluster, namespace=namespace, cpu="4")
    cluster.api.create(harness.leader_worker_set("traces", namespace=namespace, queue=queue))
    harness.wait_ready(cluster, "traces", namespace=namespace, groups=2)
    harness.scale(cluster, "traces", namespace=namespace, replicas=3)
    harness.wait_ready(cluster, "traces", namespace=namespace, groups=3)
    found = everything(cluster, namespace=namespace)
    assert len(found) >= 3 * 3 + 3 + 4
    for obj in found:
        meta = obj["metadata"]
        identity = f"{obj['kind']} {meta['name']}"
        keys = [*(meta.get("annotations") or {}), *(meta.get("labels") or {})]
        assert not [k for k in keys if "kopf" in k or "zalando" in k], identity
        finalizers = [f for f in meta.get("finalizers") or () if "kopf" in f or "zalando" in f]
        assert not finalizers, identity
        managers = {entry["manager"] for entry in meta.get("managedFields") or ()}
        assert not [m for m in managers if "kopf" in m], identity


def test_no_webhook_configuration_exists_that_is_ours(
    installed: sandbox.Sandbox, controller: harness.ControllerProcess
) -> None:
    assert controller.running
    for kind in ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"):
        for obj in installed.api.list("admissionregistration.k8s.io/v1", kind):
            # A real Kueue brings its own; there is nothing else.
            assert "kueue" in obj["metadata"]["name"], obj["metadata"]["name"]
            assert "lws" not in obj["metadata"]["name"], obj["metadata"]["name"]


def identity(pod: dict[str, Any]) -> dict[str, Any]:
    """What makes a pod this member of its group, whoever created it."""
    labels = pod["metadata"]["labels"]
    kept = (names.SET_NAME, names.GROUP_INDEX, names.WORKER_INDEX, names.REVISION_KEY)
    return {
        **{key: labels[key] for key in kept},
        "env": pod["spec"]["containers"][0]["env"],
        "subdomain": pod["spec"]["subdomain"],
        "size": pod["metadata"]["annotations"][names.SIZE],
    }


def test_with_the_controller_stopped_deleted_pods_come_back_with_their_identity(
    installed: sandbox.Sandbox, controller: harness.ControllerProcess, namespace: str
) -> None:
    cluster = installed
    queue = harness.queues(cluster, namespace=namespace, cpu="4")
    for body in (
        harness.leader_worker_set("queued", namespace=namespace, replicas=1, queue=queue),
        harness.leader_worker_set("plain", namespace=namespace, replicas=1),
    ):
        cluster.api.create(body)
        harness.wait_ready(cluster, body["metadata"]["name"], namespace=namespace, groups=1)
    before = harness.pods(cluster, namespace=namespace)
    controller.stop()
    # The leader last: with it goes the worker StatefulSet, which only the controller makes.
    for pod in ("queued-0-1", "plain-0-1", "queued-0", "plain-0"):
        uid = before[pod]["metadata"]["uid"]
        cluster.api.delete("v1", "Pod", pod, namespace=namespace)
        after = cluster.api.wait_for(
            "v1",
            "Pod",
            pod,
            lambda seen, old=uid: bool(seen and seen["metadata"]["uid"] != old),  # type: ignore[misc]
            namespace=namespace,
            what=f"a new pod {pod}",
        )
        assert after is not None
        assert identity(after) == identity(before[pod])
        is_queued = pod.startswith("queued")
        assert harness.is_gated(after) == is_queued
        group_key = after["metadata"]["labels"][names.GROUP_KEY]
        assert group_key == before[pod]["metadata"]["labels"][names.GROUP_KEY]
    controller.start()
    harness.wait_pods(
        cluster,
        lambda seen: len(seen) == 6 and all(harness.is_ready(pod) for pod in seen.values()),
        namespace=namespace,
        what="both groups complete and ready again",
    )


def test_every_request_of_the_controller_carries_its_user_agent(
    installed: sandbox.Sandbox, controller: harness.ControllerProcess
) -> None:
    if installed.audit_log is None:
        pytest.skip("this cluster shows no audit log")
    start = audit.position(installed)
    # A restart makes requests of every kind: lists, discovery, probes, and watches that end.
    controller.stop()
    controller.start()
    user = "system:serviceaccount:" + ":".join(harness.SERVICE_ACCOUNT)
    requests = [r for r in audit.requests(installed, since=start) if r.user == user]
    assert {"list", "get"} <= {request.verb for request in requests}
    assert {request.user_agent for request in requests} == {budget.USER_AGENT}
