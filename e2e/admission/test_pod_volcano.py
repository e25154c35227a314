"""The PodGroup that Volcano finds a pod in, where it schedules groups (lws-contract 3.7, 5.4)."""

import secrets
from collections.abc import Iterator

import pytest
from lws_kueue_lab.sandbox import client

from lws_kueue.api import names
from lws_kueue.install import manifests
from tests.kit.admission import support


@pytest.fixture(scope="module")
def ganged(installed: client.Client) -> Iterator[support.Pods]:
    """Pods of a namespace with the policy for Volcano; the rest of the cluster is without."""
    namespace = f"volcano-{secrets.token_hex(3)}"
    installed.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    installed.wait_for(
        "v1", "ServiceAccount", "default", lambda found: found is not None, namespace=namespace
    )
    added = [o for o in manifests.api_objects(gang_scheduling="volcano") if _is_volcanos(o)]
    assert [obj["kind"] for obj in added] == [
        "MutatingAdmissionPolicy",
        "MutatingAdmissionPolicyBinding",
    ]
    for obj in added:
        obj["metadata"]["name"] += f"-{namespace}"
    selector = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    added[1]["spec"] = {
        "policyName": added[0]["metadata"]["name"],
        "matchResources": {"namespaceSelector": selector},
    }
    for obj in added:
        installed.apply(obj)
    pods = support.Pods(installed, namespace)
    support.eventually(
        lambda: group_of(pods, pods.leader("test-0")) is not None, what="the policy is active"
    )
    yield pods
    for obj in reversed(added):
        installed.delete(obj["apiVersion"], obj["kind"], obj["metadata"]["name"])
    installed.delete("v1", "Namespace", namespace)


def _is_volcanos(obj: support.Object) -> bool:
    return bool(obj["metadata"]["name"] == "lws-kueue-volcano")


def group_of(pods: support.Pods, pod: support.Object) -> str | None:
    """Return the name of the PodGroup that a pod is told."""
    found = pods.accept(pod)["metadata"]["annotations"].get(names.POD_GROUP)
    return None if found is None else str(found)


@pytest.mark.row("POD-28")
def test_a_pod_is_told_its_group_by_set_index_and_revision(ganged: support.Pods) -> None:
    labels = {names.GROUP_INDEX: "0", names.REVISION_KEY: "1"}
    assert group_of(ganged, ganged.leader("test-pod-0", labels=labels)) == "test-0-1"
    assert group_of(ganged, ganged.worker("test-pod-0-1", group="0", labels=labels)) == "test-0-1"


def test_a_leader_without_an_index_yet_is_told_the_group_of_its_ordinal(
    ganged: support.Pods,
) -> None:
    key = {names.REVISION_KEY: "5c5fcdfb44"}
    stored = ganged.accept(ganged.leader("test-012", labels=key))
    assert stored["metadata"]["annotations"][names.POD_GROUP] == "test-12-5c5fcdfb44"
    assert support.labels(stored)[names.GROUP_INDEX] == "12"


def test_leader_and_workers_of_a_group_are_told_the_same(ganged: support.Pods) -> None:
    key = {names.REVISION_KEY: "1"}
    annotations = {names.POD_GROUP: "of-somebody"}
    pods = [
        ganged.leader("test-3", size="3", labels=key, annotations=annotations),
        ganged.worker("test-3-1", group="3", size="3", labels=key, annotations=annotations),
        ganged.worker("test-3-2", group="3", size="3", labels=key),
    ]
    assert {group_of(ganged, pod) for pod in pods} == {"test-3-1"}


def test_pods_that_cannot_be_in_a_group_are_refused_as_always(ganged: support.Pods) -> None:
    nameless = ganged.leader("test-x")
    groupless = ganged.worker("test-1-1")
    del groupless["metadata"]["labels"][names.GROUP_INDEX]
    sizeless = ganged.leader("test-1")
    del sizeless["metadata"]["annotations"]
    for pod, where in (
        (nameless, "metadata.name"),
        (groupless, f"metadata.labels[{names.GROUP_INDEX}]"),
        (sizeless, f"metadata.annotations[{names.SIZE}]"),
    ):
        with support.refused() as refusal:
            ganged.accept(pod)
        assert "'lws-kueue-pod-identity-rules'" in refusal.message
        assert where in refusal.message


def test_pods_of_nobody_are_told_nothing(ganged: support.Pods) -> None:
    assert "annotations" not in ganged.accept(ganged.build("x", labels={}))["metadata"]


def test_without_gang_scheduling_no_pod_is_told_a_group(pods: support.Pods) -> None:
    labels = {names.GROUP_INDEX: "0", names.REVISION_KEY: "1"}
    assert group_of(pods, pods.leader("test-pod-0", labels=labels)) is None
