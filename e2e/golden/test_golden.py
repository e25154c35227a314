"""Our controller makes what the real pair made: recorded objects, compared field by field."""

import secrets
from collections.abc import Iterator

import pytest
from lws_kueue_lab import sandbox

from lws_kueue.api import names
from lws_kueue.controller.revision import revisions
from tests.kit import golden
from tests.kit.live import harness
from tests.kit.takeover import comparison, settling, surroundings

pytestmark = pytest.mark.usefixtures("controller")

QUEUED = tuple(name for name in golden.NAMES if golden.load(name).of_kind("Workload"))


@pytest.fixture(scope="module")
def namespaces(
    installed: sandbox.Sandbox,
    shared_controller: harness.ControllerProcess,
    backend: sandbox.Backend,
) -> Iterator[dict[str, str]]:
    """All recorded sets, made at once, each in a namespace of its own."""
    if backend == "kubeconfig":
        pytest.skip("the recordings name an image that does not exist, and label all nodes")
    if not shared_controller.running:
        shared_controller.start()
    cluster = installed
    surroundings.label_nodes(cluster)
    made: dict[str, str] = {}
    for name in golden.NAMES:
        namespace = f"golden-{name}-{secrets.token_hex(3)}"
        made[name] = namespace
        meta = {"name": namespace}
        cluster.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": meta})
        applied = golden.load(name).applied
        surroundings.make_queue(cluster, applied, namespace=namespace)
        meta = applied["metadata"] | {"namespace": namespace}
        cluster.api.create(applied | {"metadata": meta})
    yield made
    for namespace in made.values():
        cluster.api.delete("v1", "Namespace", namespace, missing_ok=True)
    surroundings.remove_queues(cluster)


@pytest.fixture
def namespace(namespaces: dict[str, str], request: pytest.FixtureRequest) -> str:
    """Where the recorded set of this test was made."""
    return namespaces[request.getfixturevalue("name")]


@pytest.mark.parametrize("name", golden.NAMES)
def test_what_is_made_of_a_set_equals_the_recording(
    installed: sandbox.Sandbox, namespace: str, name: str
) -> None:
    settling.settled(installed, name, namespace=namespace)


@pytest.mark.parametrize("name", QUEUED)
def test_the_key_of_a_queued_set_is_that_of_the_recorded_revision_without_the_marks(
    installed: sandbox.Sandbox, namespace: str, name: str
) -> None:
    settling.settled(installed, name, namespace=namespace)
    recorded = golden.load(name).of_kind("ControllerRevision")
    (revision,) = comparison.clean(recorded, marks=True)
    leader_set = installed.api.get("apps/v1", "StatefulSet", name, namespace=namespace)
    key = leader_set["metadata"]["labels"][names.REVISION_KEY]
    assert key == revisions.key_of(revision["data"])


@pytest.mark.parametrize("name", ["exclusive"])
def test_an_exclusive_group_is_in_the_rack_of_its_leader_alone(
    installed: sandbox.Sandbox, namespace: str, name: str
) -> None:
    now = settling.settled(installed, name, namespace=namespace)
    racks: dict[str, set[str]] = {}
    for pod in (obj for obj in now if obj["kind"] == "Pod"):
        node = installed.api.get("v1", "Node", pod["spec"]["nodeName"])
        group = pod["metadata"]["labels"][names.GROUP_INDEX]
        racks.setdefault(group, set()).add(node["metadata"]["labels"][comparison.RACK])
    assert sorted(racks) == ["0", "1"]
    assert all(len(rack) == 1 for rack in racks.values())
    assert racks["0"] != racks["1"]


@pytest.mark.parametrize("name", ["tas-grouped"])
def test_pods_with_a_topology_run_on_the_host_that_their_workload_was_given(
    installed: sandbox.Sandbox, namespace: str, name: str
) -> None:
    now = settling.settled(installed, name, namespace=namespace)
    hosts = {
        (workload["metadata"]["annotations"][names.COMPONENT_WORKLOAD_INDEX], given["name"]): {
            level["universal"]
            for part in given["topologyAssignment"]["slices"]
            for level in part["valuesPerLevel"]
        }
        for workload in now
        if workload["kind"] == "Workload"
        for given in workload["status"]["admission"]["podSetAssignments"]
    }
    pods = [obj for obj in now if obj["kind"] == "Pod"]
    assert len(pods) == 8
    for pod in pods:
        labels = pod["metadata"]["labels"]
        given = hosts[labels[names.GROUP_INDEX], labels[names.PODSET]]
        assert {pod["spec"]["nodeName"]} == given
        assert pod["spec"]["nodeSelector"][comparison.HOSTNAME] in given


def test_all_recordings_are_compared() -> None:
    assert len(golden.NAMES) == 12
    assert QUEUED == ("queued-dual", "queued-workers", "tas-grouped")
