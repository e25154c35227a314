"""Which Kueue a sandbox gets, and a real manager that the environment names.

The tests of a real manager need `LWS_KUEUE_KUEUE_BIN` and `LWS_KUEUE_KUEUE_MANIFESTS`; the
others make do with objects that look like a Kueue.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from lws_kueue_lab import sandbox
from lws_kueue_lab.sandbox import client, kueue, kueue_manager, kueue_settings

from lws_kueue.api import names
from tests.kit.builders import pods

Object = dict[str, Any]
OpenCluster = Callable[[sandbox.Options], sandbox.Sandbox]

ONE_NODE = sandbox.Options(nodes=1, audit_log=False)

# Admitted Workloads whose pods never become ready do not stay so, and pods are managed too.
SETTINGS = kueue_settings.KueueSettings(
    frameworks=("batch/job", "pod"),
    wait_for_pods_ready=kueue_settings.WaitForPodsReady(timeout=3, backoff_base_seconds=1),
)


def crd() -> Object:
    """A Workload CRD without a schema, as good as the real one to whom only asks whether it is."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "workloads.kueue.x-k8s.io", "annotations": approved()},
        "spec": {
            "group": names.KUEUE_GROUP,
            "names": {"kind": "Workload", "plural": "workloads"},
            "scope": "Namespaced",
            "versions": [
                {
                    "name": names.KUEUE_VERSION,
                    "served": True,
                    "storage": True,
                    "schema": {
                        "openAPIV3Schema": {
                            "type": "object",
                            "x-kubernetes-preserve-unknown-fields": True,
                        }
                    },
                }
            ],
        },
    }


def approved() -> dict[str, str]:
    """The API server asks for a review of definitions in groups below k8s.io."""
    return {"api-approved.kubernetes.io": "unapproved, test only"}


def deployment(image: str) -> Object:
    labels = {"app.kubernetes.io/name": "kueue", "control-plane": "controller-manager"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "kueue-controller-manager",
            "namespace": "default",
            "labels": labels,
        },
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "manager", "image": image}]},
            },
        },
    }


def webhook_configuration() -> Object:
    """Refuses every new Workload, because nobody answers."""
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "kueue-validating-webhook-configuration"},
        "webhooks": [
            {
                "name": "vworkload.kb.io",
                "clientConfig": {
                    "service": {"name": "kueue-webhook-service", "namespace": "kueue-system"}
                },
                "rules": [
                    {
                        "apiGroups": [names.KUEUE_GROUP],
                        "apiVersions": ["*"],
                        "operations": ["CREATE"],
                        "resources": ["workloads"],
                    }
                ],
                "sideEffects": "None",
                "admissionReviewVersions": ["v1"],
            }
        ],
    }


def name_in_environment(monkeypatch: pytest.MonkeyPatch, *, binary: Path, manifests: Path) -> None:
    monkeypatch.setenv(kueue_manager.BINARY_VARIABLE, str(binary))
    monkeypatch.setenv(kueue_manager.MANIFESTS_VARIABLE, str(manifests))


def broken_kueue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Name a manager that ends at once, with complete manifests."""
    binary = tmp_path / "manager"
    binary.write_text("#!/bin/sh\necho no such flag\nexit 3\n")
    binary.chmod(0o755)
    manifests = tmp_path / "manifests"
    manifests.mkdir()
    (manifests / "all.yaml").write_text(yaml.safe_dump_all([crd(), webhook_configuration()]))
    name_in_environment(monkeypatch, binary=binary, manifests=manifests)


def webhook_configurations(cluster: sandbox.Sandbox) -> list[str]:
    return [
        obj["metadata"]["name"]
        for kind in ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")
        for obj in cluster.api.list("admissionregistration.k8s.io/v1", kind)
    ]


def queues() -> list[Object]:
    head = {"apiVersion": names.KUEUE_API_VERSION}
    quota = {"name": "flavor", "resources": [{"name": "cpu", "nominalQuota": 2}]}
    return [
        head | {"kind": "ResourceFlavor", "metadata": {"name": "flavor"}},
        head
        | {
            "kind": "ClusterQueue",
            "metadata": {"name": "cq"},
            "spec": {
                "namespaceSelector": {},
                "resourceGroups": [{"coveredResources": ["cpu"], "flavors": [quota]}],
            },
        },
        head
        | {
            "kind": "LocalQueue",
            "metadata": {"name": "lq", "namespace": "default"},
            "spec": {"clusterQueue": "cq"},
        },
    ]


def workload(name: str, *, cpu: str) -> Object:
    container = {"name": "c", "image": "image", "resources": {"requests": {"cpu": cpu}}}
    return {
        "apiVersion": names.KUEUE_API_VERSION,
        "kind": "Workload",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "queueName": "lq",
            "podSets": [
                {
                    "name": "main",
                    "count": 1,
                    "template": {"spec": {"containers": [container], "restartPolicy": "Always"}},
                }
            ],
        },
    }


def wait_for_workload(
    cluster: sandbox.Sandbox, name: str, condition: str, *, reason: str | None = None
) -> Object:
    def holds(found: Object | None) -> bool:
        seen = pods.condition(found or {}, condition)
        return seen.get("status") == "True" and reason in (None, seen.get("reason"))

    found = cluster.api.wait_for(
        names.KUEUE_API_VERSION, "Workload", name, holds, namespace="default", what=condition
    )
    assert found is not None
    return found


def admits_and_evicts(cluster: sandbox.Sandbox) -> None:
    """Admit a Workload and evict it again, because nobody reports that its pods are ready."""
    for obj in queues():
        cluster.api.apply(obj)
    cluster.api.create(workload("fits", cpu="1500m"))
    admitted = wait_for_workload(cluster, "fits", "Admitted")
    assert admitted["status"]["admission"]["podSetAssignments"][0]["flavors"] == {"cpu": "flavor"}
    wait_for_workload(cluster, "fits", "Evicted", reason="PodsReadyTimeout")
    cluster.api.delete(names.KUEUE_API_VERSION, "Workload", "fits", namespace="default")


def test_a_kueue_of_the_cluster_is_used_and_nothing_beside_it(
    fresh_cluster: OpenCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken_kueue(tmp_path, monkeypatch)
    cluster = fresh_cluster(ONE_NODE)
    assert kueue.find_installed(cluster.api) is None

    cluster.api.create(crd())
    assert kueue.find_installed(cluster.api) is None, "a definition alone is no Kueue"

    cluster.api.create(deployment("registry.example:5000/kueue/kueue:v0.19.2@sha256:0123"))
    with kueue.start(cluster) as info:
        assert (info.kind, info.version) == ("cluster", "v0.19.2")
    modes: tuple[kueue.Mode, ...] = ("manager", "standin")
    for mode in modes:
        with (
            pytest.raises(sandbox.SandboxError, match="has a Kueue already"),
            kueue.start(cluster, mode=mode),
        ):
            pytest.fail("a second Kueue was started")


@pytest.mark.long
def test_a_kueue_is_recognised_by_its_webhooks_too(fresh_cluster: OpenCluster) -> None:
    cluster = fresh_cluster(ONE_NODE)
    cluster.api.create(crd())
    cluster.api.create(webhook_configuration())
    with kueue.start(cluster) as info:
        assert (info.kind, info.version) == ("cluster", "")


def test_a_manager_that_ends_is_an_error_with_its_log_and_leaves_no_webhooks(
    fresh_cluster: OpenCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken_kueue(tmp_path, monkeypatch)
    cluster = fresh_cluster(ONE_NODE)
    with (
        pytest.raises(sandbox.ComponentDiedError, match="no such flag") as raised,
        kueue.start(cluster),
    ):
        pytest.fail("it cannot have started")
    assert raised.value.status == 3
    assert webhook_configurations(cluster) == []


def test_a_manager_that_nobody_named_cannot_be_insisted_on(
    cluster: sandbox.Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(kueue_manager.BINARY_VARIABLE, raising=False)
    monkeypatch.delenv(kueue_manager.MANIFESTS_VARIABLE, raising=False)
    monkeypatch.setenv("LWS_KUEUE_DOWNLOAD", "never")
    # Nor does the cache of whoever runs this have one.
    monkeypatch.setenv("LWS_KUEUE_CACHE", str(tmp_path))
    with (
        pytest.raises(sandbox.SandboxError, match=r"no Kueue manager|has a Kueue already"),
        kueue.start(cluster, mode="manager"),
    ):
        pytest.fail("there is nothing to start")


def test_mode_none_starts_nothing(cluster: sandbox.Sandbox) -> None:
    with kueue.start(cluster, mode="none") as info:
        assert info.kind == "none"


@pytest.mark.long
def test_without_a_real_kueue_a_stand_in_serves_and_says_so(
    fresh_cluster: OpenCluster,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.delenv(kueue_manager.BINARY_VARIABLE, raising=False)
    monkeypatch.delenv(kueue_manager.MANIFESTS_VARIABLE, raising=False)
    cluster = fresh_cluster(ONE_NODE)
    monkeypatch.setenv("LWS_KUEUE_DOWNLOAD", "never")
    monkeypatch.setenv("LWS_KUEUE_CACHE", str(tmp_path))
    with kueue.start(cluster, settings=SETTINGS) as info:
        assert info.kind == "standin"
        assert "a stand-in decides about admission" in caplog.text
        admits_and_evicts(cluster)


# A real manager ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real_kueue() -> None:
    if kueue_manager.from_environment() is None:
        pytest.skip(
            f"no real Kueue: set {kueue_manager.BINARY_VARIABLE} "
            f"and {kueue_manager.MANIFESTS_VARIABLE}"
        )


@pytest.fixture(scope="module")
def managed(real_kueue: None, backend: sandbox.Backend) -> Iterator[sandbox.Sandbox]:
    """A cluster of its own with a real manager."""
    if backend != "process":
        pytest.skip(f"a manager on this machine cannot serve the {backend} back end")
    with (
        sandbox.open("process", options=ONE_NODE) as opened,
        kueue.start(opened, mode="manager", settings=SETTINGS) as opened.kueue,
    ):
        yield opened


def test_the_manager_of_the_environment_says_its_version(managed: sandbox.Sandbox) -> None:
    assert managed.kueue.kind == "manager"
    assert managed.kueue.version.startswith("v")


def test_its_admission_webhooks_answer(managed: sandbox.Sandbox) -> None:
    flavor = {
        "apiVersion": names.KUEUE_API_VERSION,
        "kind": "ResourceFlavor",
        "metadata": {"name": "bad"},
        "spec": {"nodeLabels": {"not a label": "x"}},
    }
    with pytest.raises(client.ApiError) as raised:
        managed.api.create(flavor)
    assert "vresourceflavor.kb.io" in str(raised.value.body)


def test_its_conversion_webhook_answers(managed: sandbox.Sandbox) -> None:
    newer = queues()[-1]
    older = newer | {"apiVersion": "kueue.x-k8s.io/v1beta1"}
    managed.api.apply(older)
    stored = managed.api.get(newer["apiVersion"], "LocalQueue", "lq", namespace="default")
    assert stored["spec"]["clusterQueue"] == "cq"


def test_it_admits_what_fits_and_its_settings_are_in_force(managed: sandbox.Sandbox) -> None:
    admits_and_evicts(managed)


def test_it_manages_the_kinds_that_its_settings_name(managed: sandbox.Sandbox) -> None:
    pod = pods.pod("queued", "default", labels={names.QUEUE_NAME: "lq"})
    gates = managed.api.create(pod, dry_run=True)["spec"]["schedulingGates"]
    assert {"name": names.ADMISSION_GATE} in gates


def test_another_kueue_start_finds_it_instead_of_starting_a_second(
    managed: sandbox.Sandbox,
) -> None:
    with kueue.start(managed, mode="auto") as info:
        assert info.kind == "cluster"


def test_when_it_stops_pods_are_no_longer_sent_to_it(
    real_kueue: None, process_only: None, fresh_cluster: OpenCluster
) -> None:
    cluster = fresh_cluster(ONE_NODE)
    with kueue.start(cluster, mode="manager"):
        assert len(webhook_configurations(cluster)) == 2
    assert webhook_configurations(cluster) == []
    cluster.api.create(pods.pod("after", "default"))
    # A second one takes over what the first left behind.
    with kueue.start(cluster, mode="manager") as info:
        assert info.kind == "manager"
