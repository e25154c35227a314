"""What every sandbox promises, whatever back end it runs on."""

import collections
import ssl
import time
import urllib.error
import urllib.request
from typing import Any

import pytest
from lws_kueue_lab import sandbox
from lws_kueue_lab.sandbox import audit, client

from tests.kit.builders import pods


@pytest.fixture
def own_nodes(backend: sandbox.Backend) -> None:
    if backend == "kubeconfig":
        pytest.skip("the nodes of a given cluster are not ours")


@pytest.mark.usefixtures("own_nodes")
def test_nodes_carry_their_place_and_their_capacity(cluster: sandbox.Sandbox) -> None:
    nodes = cluster.api.list("v1", "Node")
    assert len(nodes) == 8
    racks = collections.Counter(
        tuple(node["metadata"]["labels"][key] for key in (sandbox.BLOCK_LABEL, sandbox.RACK_LABEL))
        for node in nodes
    )
    assert racks == {
        ("block-0", "rack-0-0"): 2,
        ("block-0", "rack-0-1"): 2,
        ("block-1", "rack-1-0"): 2,
        ("block-1", "rack-1-1"): 2,
    }
    for node in nodes:
        assert node["metadata"]["labels"][sandbox.HOSTNAME_LABEL] == node["metadata"]["name"]
        assert node["status"]["allocatable"]["nvidia.com/gpu"] == "8"
        assert node["status"]["capacity"]["memory"] == "32Gi"
        assert pods.is_ready(node)


@pytest.mark.usefixtures("own_nodes")
def test_the_scheduler_respects_capacity_and_selectors(
    cluster: sandbox.Sandbox, namespace: str
) -> None:
    fitting = pods.pod("fits", namespace)
    fitting["spec"]["nodeSelector"] = {sandbox.RACK_LABEL: "rack-1-0"}
    fitting["spec"]["containers"][0]["resources"] = {"limits": {"nvidia.com/gpu": "8"}}
    greedy = pods.pod("greedy", namespace)
    greedy["spec"]["containers"][0]["resources"] = {"limits": {"nvidia.com/gpu": "9"}}
    for pod in (fitting, greedy):
        cluster.api.create(pod)
    placed = wait_for_pod(cluster, namespace, "fits", lambda pod: pod["spec"].get("nodeName"))
    assert placed["spec"]["nodeName"] in ("node-4", "node-5")
    waiting = wait_for_pod(
        cluster,
        namespace,
        "greedy",
        lambda pod: pods.condition(pod, "PodScheduled").get("status") == "False",
    )
    assert "Insufficient nvidia.com/gpu" in pods.condition(waiting, "PodScheduled")["message"]


def wait_for_pod(
    cluster: sandbox.Sandbox, namespace: str, name: str, predicate: Any
) -> dict[str, Any]:
    found = cluster.api.wait_for(
        "v1", "Pod", name, lambda pod: pod and predicate(pod), namespace=namespace
    )
    assert found is not None
    return found


def test_stateful_sets_come_up_scale_and_go(cluster: sandbox.Sandbox, namespace: str) -> None:
    labels = {"app": "web"}
    cluster.api.create(
        {
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "metadata": {"name": "web", "namespace": namespace},
            "spec": {
                "replicas": 2,
                "serviceName": "web",
                "podManagementPolicy": "Parallel",
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {
                        "containers": [{"name": "main", "image": "registry.k8s.io/pause:3.10"}]
                    },
                },
            },
        }
    )

    def wait_for_ready(count: int) -> None:
        cluster.api.wait_for(
            "apps/v1",
            "StatefulSet",
            "web",
            lambda found: found and found["status"].get("readyReplicas", 0) == count,
            namespace=namespace,
        )

    wait_for_ready(2)
    cluster.api.patch(
        "apps/v1",
        "StatefulSet",
        "web",
        namespace=namespace,
        body={"spec": {"replicas": 3}},
        subresource="scale",
    )
    wait_for_ready(3)
    cluster.api.delete("apps/v1", "StatefulSet", "web", namespace=namespace)
    cluster.api.wait_for_all(
        "v1", "Pod", lambda found: not found, namespace=namespace, what="pods to be collected"
    )


def test_a_service_account_kubeconfig_is_exactly_that_account(
    cluster: sandbox.Sandbox, namespace: str
) -> None:
    cluster.api.create(
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": "tester", "namespace": namespace},
        }
    )
    path = cluster.service_account_kubeconfig(namespace, "tester")
    assert path.stat().st_mode & 0o077 == 0
    theirs = client.Client(path)
    review = theirs.create(
        {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "SelfSubjectReview",
            "metadata": {"name": "whoami"},
        }
    )
    assert review["status"]["userInfo"]["username"] == f"system:serviceaccount:{namespace}:tester"
    with pytest.raises(client.ApiError) as refused:
        theirs.list("v1", "Secret", namespace=namespace)
    assert refused.value.status == 403


def test_a_request_without_credentials_is_refused(cluster: sandbox.Sandbox) -> None:
    context = ssl.create_default_context(cadata=cluster.api.certificate_authority().decode())
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(cluster.api.server + "/api/v1/secrets", context=context)
    assert refused.value.code in (401, 403)


def test_mutating_admission_policies_are_served_and_work(
    cluster: sandbox.Sandbox, namespace: str
) -> None:
    version = "admissionregistration.k8s.io/v1"
    policy = {
        "apiVersion": version,
        "kind": "MutatingAdmissionPolicy",
        "metadata": {"name": namespace},
        "spec": {
            "matchConstraints": {
                "resourceRules": [
                    {
                        "apiGroups": [""],
                        "apiVersions": ["v1"],
                        "operations": ["CREATE"],
                        "resources": ["configmaps"],
                    }
                ],
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
            },
            "failurePolicy": "Fail",
            "reinvocationPolicy": "Never",
            "mutations": [
                {
                    "patchType": "ApplyConfiguration",
                    "applyConfiguration": {
                        "expression": 'Object{metadata: Object.metadata{labels: {"seen": "yes"}}}'
                    },
                }
            ],
        },
    }
    binding = {
        "apiVersion": version,
        "kind": "MutatingAdmissionPolicyBinding",
        "metadata": {"name": namespace},
        "spec": {"policyName": namespace},
    }
    config_map = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "probe", "namespace": namespace},
    }
    try:
        cluster.api.create(policy)
        cluster.api.create(binding)
        # The API server learns of a policy from a watch of its own, which nothing reports.
        for _ in range(100):
            labels = cluster.api.create(config_map, dry_run=True)["metadata"].get("labels", {})
            if labels.get("seen") == "yes":
                return
            time.sleep(0.1)
        pytest.fail("the policy never took effect")
    finally:
        for kind in ("MutatingAdmissionPolicyBinding", "MutatingAdmissionPolicy"):
            cluster.api.delete(version, kind, namespace, missing_ok=True)


def test_the_audit_log_tells_who_did_what(cluster: sandbox.Sandbox, namespace: str) -> None:
    if cluster.audit_log is None:
        pytest.skip("this cluster has no audit log that can be read")
    start = audit.position(cluster)
    cluster.api.create(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "seen", "namespace": namespace},
        }
    )
    with pytest.raises(client.ApiError):
        cluster.api.get("v1", "ConfigMap", "absent", namespace=namespace)
    mine = [
        request
        for request in audit.requests(cluster, since=start)
        if request.namespace == namespace and request.user_agent == client.USER_AGENT
    ]
    assert [(r.verb, r.resource, r.name, r.status, r.is_write) for r in mine] == [
        ("create", "configmaps", "seen", 201, True),
        ("get", "configmaps", "absent", 404, False),
    ]
    assert {request.user for request in mine} == {"sandbox-admin"}
    found, end = audit.so_far(cluster, since=start)
    assert set(mine) <= set(found)
    assert not set(mine) & set(audit.so_far(cluster, since=end)[0]), "each request is told once"


def test_a_wait_that_fails_says_what_was_seen(cluster: sandbox.Sandbox, namespace: str) -> None:
    cluster.api.create(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "seen", "namespace": namespace, "labels": {"colour": "green"}},
        }
    )
    with pytest.raises(client.WaitTimeoutError, match=r"(?s)the moon to rise.*green"):
        cluster.api.wait_for(
            "v1",
            "ConfigMap",
            "seen",
            lambda found: False,
            namespace=namespace,
            timeout=1,
            what="the moon to rise",
        )


def test_a_watch_from_a_version_gives_only_what_came_later(
    cluster: sandbox.Sandbox, namespace: str
) -> None:
    def config_map(name: str) -> dict[str, Any]:
        return {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": namespace, "labels": {"mine": "yes"}},
        }

    cluster.api.create(config_map("before"))
    _, version = cluster.api.list_page("v1", "ConfigMap", namespace=namespace)
    cluster.api.create(config_map("after"))
    cluster.api.delete("v1", "ConfigMap", "before", namespace=namespace)
    events = cluster.api.watch(
        "v1",
        "ConfigMap",
        namespace=namespace,
        label_selector="mine=yes",
        resource_version=version,
        timeout=2,
    )
    assert [(e["type"], e["object"]["metadata"]["name"]) for e in events] == [
        ("ADDED", "after"),
        ("DELETED", "before"),
    ]


def test_a_description_names_the_server_and_the_kubeconfig(cluster: sandbox.Sandbox) -> None:
    described = cluster.describe()
    assert described["server"] == cluster.api.server
    assert described["kubeconfig"] == str(cluster.kubeconfig)
    assert described["version"].startswith("v1.")
