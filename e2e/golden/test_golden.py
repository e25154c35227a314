"""Our controller makes what the real pair made: recorded objects, compared field by field."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e.controller import harness
from e2e.golden import comparison
from lws_kueue import sandbox
from lws_kueue.api import names
from lws_kueue.controller import revisions

pytestmark = pytest.mark.usefixtures("controller")

FOLDER = Path(__file__).resolve().parents[2] / "tests" / "golden"
COMMON_PATH = (
    "plain-size1",
    "plain-workers",
    "dual-template",
    "unique-subdomain",
    "queued-workers",
    "queued-dual",
)
KINDS = (
    (names.LWS_API_VERSION, names.LWS_KIND),
    ("apps/v1", "StatefulSet"),
    ("v1", "Service"),
    ("apps/v1", "ControllerRevision"),
    ("v1", "Pod"),
)
POOL = {"pool": "gpu"}


def recorded(name: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The set that was applied, and what existed once it had settled."""
    applied, *settled = yaml.safe_load_all((FOLDER / f"{name}.yaml").read_text())
    return applied, settled


def live(cluster: sandbox.Sandbox, *, namespace: str, queued: bool) -> list[dict[str, Any]]:
    kinds = (*KINDS, (names.KUEUE_API_VERSION, "Workload")) if queued else KINDS
    found = [o for kind in kinds for o in cluster.api.list(*kind, namespace=namespace)]
    # StatefulSets keep revisions of their own, which the recordings leave out.
    return [
        obj
        for obj in found
        if obj["kind"] != "ControllerRevision"
        or obj["metadata"]["ownerReferences"][0]["kind"] == names.LWS_KIND
    ]


@pytest.fixture
def queue(installed: sandbox.Sandbox, backend: sandbox.Backend, namespace: str) -> str:
    """The queue of the recordings: ClusterQueue cq, flavor default on nodes of the pool gpu."""
    if backend == "kubeconfig":
        pytest.skip("the recordings name an image that does not exist, and label all nodes")
    for node in installed.api.list("v1", "Node"):
        body = {"metadata": {"labels": POOL}}
        installed.api.patch("v1", "Node", node["metadata"]["name"], body=body)
    flavor: dict[str, Any] = {
        "apiVersion": names.KUEUE_API_VERSION,
        "kind": "ResourceFlavor",
        "metadata": {"name": "default"},
        "spec": {"nodeLabels": POOL},
    }
    quota = [{"name": "cpu", "nominalQuota": "10"}]
    cluster_queue: dict[str, Any] = {
        "apiVersion": names.KUEUE_API_VERSION,
        "kind": "ClusterQueue",
        "metadata": {"name": "cq"},
        "spec": {
            "namespaceSelector": {},
            "resourceGroups": [
                {
                    "coveredResources": ["cpu"],
                    "flavors": [{"name": "default", "resources": quota}],
                }
            ],
        },
    }
    local_queue: dict[str, Any] = {
        "apiVersion": names.KUEUE_API_VERSION,
        "kind": "LocalQueue",
        "metadata": {"name": "user-queue", "namespace": namespace},
        "spec": {"clusterQueue": "cq"},
    }
    for obj in (flavor, cluster_queue, local_queue):
        installed.api.apply(obj)
    return "user-queue"


def settled(
    cluster: sandbox.Sandbox, name: str, *, namespace: str, expected: list[dict[str, Any]]
) -> None:
    """Wait until the set's own status is the recorded one, and Kueue knows that pods are ready."""
    (wanted,) = (obj["status"] for obj in expected if obj["kind"] == names.LWS_KIND)
    groups = wanted["readyReplicas"]
    harness.wait_ready(cluster, name, namespace=namespace, groups=groups)
    cluster.api.wait_for(
        names.LWS_API_VERSION,
        names.LWS_KIND,
        name,
        lambda seen: bool(
            seen
            and (harness.condition(seen, "Available") or {}).get("status") == "True"
            and not harness.condition(seen, "WaitingForAdmission")
        ),
        namespace=namespace,
        what="an available set",
    )
    if any(obj["kind"] == "Workload" for obj in expected):
        cluster.api.wait_for_all(
            names.KUEUE_API_VERSION,
            "Workload",
            lambda seen: all(harness.condition(w, "PodsReady") for w in seen.values()),
            namespace=namespace,
            what="PodsReady on every Workload",
        )


@pytest.mark.parametrize("name", COMMON_PATH)
def test_what_is_made_of_a_set_equals_the_recording(
    installed: sandbox.Sandbox, namespace: str, queue: str, name: str
) -> None:
    cluster = installed
    queued = name.startswith("queued")
    applied, expected = recorded(name)
    assert not queued or applied["metadata"]["labels"][names.QUEUE_NAME] == queue
    applied["metadata"]["namespace"] = namespace
    cluster.api.create(applied)
    settled(cluster, name, namespace=namespace, expected=expected)
    wanted = comparison.symbolic(
        comparison.clean(comparison.in_namespace(expected, namespace), marks=queued),
        queued=queued,
    )
    found = comparison.symbolic(
        comparison.clean(live(cluster, namespace=namespace, queued=queued), marks=queued),
        queued=queued,
    )
    assert sorted(found) == sorted(wanted)
    lines = [
        f"{identity}{line}"
        for identity, obj in wanted.items()
        for line in comparison.differences(obj, found[identity])
    ]
    assert not lines, "\n".join(lines)


@pytest.mark.parametrize("name", [n for n in COMMON_PATH if n.startswith("queued")])
def test_the_key_of_a_queued_set_is_that_of_the_recorded_revision_without_the_marks(
    installed: sandbox.Sandbox, namespace: str, queue: str, name: str
) -> None:
    cluster = installed
    applied, expected = recorded(name)
    assert applied["metadata"]["labels"][names.QUEUE_NAME] == queue
    applied["metadata"]["namespace"] = namespace
    cluster.api.create(applied)
    settled(cluster, name, namespace=namespace, expected=expected)
    (revision,) = comparison.clean(
        [obj for obj in expected if obj["kind"] == "ControllerRevision"], marks=True
    )
    leader_set = cluster.api.get("apps/v1", "StatefulSet", name, namespace=namespace)
    key = leader_set["metadata"]["labels"][names.REVISION_KEY]
    assert key == revisions.key_of(revision["data"])
