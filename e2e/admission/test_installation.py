"""`lws-kueue install`: what it adds when asked to, and what it takes away."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from lws_kueue_lab.kueue_standin import installation
from lws_kueue_lab.sandbox import Options, Sandbox, client

from lws_kueue.api import names
from lws_kueue.install import manifests
from tests.kit.admission import support

Object = dict[str, Any]

ADMISSION = "admissionregistration.k8s.io/v1"
VOLCANO = {
    "MutatingAdmissionPolicy lws-kueue-volcano",
    "MutatingAdmissionPolicyBinding lws-kueue-volcano",
}


def policy(name: str) -> set[str]:
    """A mutating policy and its binding, as the command names them."""
    return {f"MutatingAdmissionPolicy{suffix} {name}" for suffix in ("", "Binding")}


DEFAULTS = (
    policy("lws-kueue-default-queue")
    | policy("lws-kueue-plain-pods")
    | policy("lws-kueue-plain-statefulsets")
)
PRIORITY = policy("lws-kueue-default-priority")


def install(cluster: Sandbox, *arguments: str) -> dict[str, str]:
    """Run the command and return what it says that it changed."""
    command = [sys.executable, "-m", "lws_kueue.cli", "install", *arguments]
    done = subprocess.run(
        [*command, "--kubeconfig", str(cluster.kubeconfig)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()[1:]]
    assert len(rows) >= len(support.api_objects())
    return {f"{kind} {name}": change for kind, name, change in rows if change != "unchanged"}


@pytest.fixture(autouse=True)
def _settled(request: pytest.FixtureRequest, cluster: Sandbox) -> None:
    """What another test may have made possible since, such as Kueue, is installed already."""
    if "fresh_cluster" not in request.fixturenames:
        install(cluster)


@pytest.mark.long
def test_volcanos_policy_comes_when_asked_for_and_goes_when_not(
    cluster: Sandbox, pods: support.Pods
) -> None:
    def group() -> Any:
        given = pods.leader("test-1", labels={names.REVISION_KEY: "k"})
        return pods.accept(given)["metadata"]["annotations"].get(names.POD_GROUP)

    try:
        assert install(cluster, "--gang-scheduling", "volcano") == dict.fromkeys(VOLCANO, "created")
        # The command has waited for the policy.
        assert group() == "test-1-k"
    finally:
        removed = install(cluster)
    assert removed == dict.fromkeys(VOLCANO, "removed")
    support.eventually(lambda: group() is None, what="the policy is gone")


@pytest.mark.long
@pytest.mark.row("P8")
@pytest.mark.usefixtures("kueue_info")
def test_a_class_that_is_called_default_is_the_default_only_where_that_is_asked_for(
    cluster: Sandbox, sets: support.Sets
) -> None:
    def priority() -> Any:
        stored = sets.accept(sets.build())
        return (stored["metadata"].get("labels") or {}).get(names.PRIORITY_CLASS)

    install(cluster)
    made = cluster.api.create(
        {
            "apiVersion": names.KUEUE_API_VERSION,
            "kind": "WorkloadPriorityClass",
            "metadata": {"name": "default"},
            "value": 1000,
        }
    )
    try:
        assert priority() is None
        asked = install(cluster, "--default-priority-class")
        assert asked == dict.fromkeys(PRIORITY, "created")
        support.eventually(lambda: priority() == "default", what="the policy acts")
    finally:
        removed = install(cluster)
        cluster.api.delete(made["apiVersion"], made["kind"], "default")
    assert removed == dict.fromkeys(PRIORITY, "removed")
    support.eventually(lambda: priority() is None, what="the policy is gone")


def retired(*, ours: bool) -> list[Object]:
    """Return the policy of an earlier version, made to match nothing, and its binding."""
    name = "lws-kueue-served-features"
    labels = {"app.kubernetes.io/part-of": "lws-kueue" if ours else "another"}
    rule = {
        "apiGroups": ["nothing.example"],
        "apiVersions": ["v1"],
        "operations": ["CREATE"],
        "resources": ["nothing"],
    }
    specs = {
        "ValidatingAdmissionPolicy": {
            "matchConstraints": {"resourceRules": [rule]},
            "validations": [{"expression": "false"}],
        },
        "ValidatingAdmissionPolicyBinding": {"policyName": name, "validationActions": ["Deny"]},
    }
    return [
        {
            "apiVersion": ADMISSION,
            "kind": kind,
            "metadata": {"name": name, "labels": labels},
            "spec": spec,
        }
        for kind, spec in specs.items()
    ]


@pytest.fixture
def leftovers(installed: client.Client) -> Iterator[client.Client]:
    """An API server that is left without objects of an earlier version."""
    yield installed
    for obj in retired(ours=True):
        installed.delete(obj["apiVersion"], obj["kind"], obj["metadata"]["name"], missing_ok=True)


def test_what_only_an_earlier_version_had_is_removed(
    cluster: Sandbox, leftovers: client.Client
) -> None:
    left = retired(ours=True)
    for obj in left:
        leftovers.apply(obj)
    changes = install(cluster)
    # The binding goes first: a binding without its policy is a fault.
    assert list(changes.items()) == [
        ("ValidatingAdmissionPolicyBinding lws-kueue-served-features", "removed"),
        ("ValidatingAdmissionPolicy lws-kueue-served-features", "removed"),
    ]
    for obj in left:
        assert leftovers.find(obj["apiVersion"], obj["kind"], obj["metadata"]["name"]) is None


def test_what_has_such_a_name_and_is_not_ours_is_left_alone(
    cluster: Sandbox, leftovers: client.Client
) -> None:
    foreign = retired(ours=False)
    for obj in foreign:
        leftovers.apply(obj)
    assert install(cluster) == {}
    for obj in foreign:
        assert leftovers.find(obj["apiVersion"], obj["kind"], obj["metadata"]["name"])


@pytest.mark.long
def test_the_default_queue_comes_and_goes_with_kueue(
    fresh_cluster: Callable[[Options], Sandbox],
) -> None:
    cluster = fresh_cluster(Options(nodes=1))
    sets = support.Sets(cluster.api, "default")

    def queue() -> Any:
        stored = sets.accept(sets.build())
        return (stored["metadata"].get("labels") or {}).get(names.QUEUE_NAME)

    without = install(cluster, "--default-priority-class")
    assert not (DEFAULTS | PRIORITY) & without.keys()
    assert queue() is None
    # The policies may be there before Kueue is, and after.
    always = {obj["metadata"]["name"] for obj in manifests.api_objects()}
    for obj in manifests.api_objects(kueue=True, default_priority_class=True):
        if obj["metadata"]["name"] not in always:
            cluster.api.apply(obj, field_manager="lws-kueue-install")
    assert queue() is None
    assert install(cluster) == dict.fromkeys(DEFAULTS | PRIORITY, "removed")

    installation.install(cluster.api)
    assert install(cluster) == dict.fromkeys(DEFAULTS, "created")
    local_queue = {"name": "default", "namespace": "default"}
    cluster.api.create(
        {
            "apiVersion": names.KUEUE_API_VERSION,
            "kind": "LocalQueue",
            "metadata": local_queue,
            "spec": {"clusterQueue": "c"},
        }
    )
    support.eventually(lambda: queue() == "default", what="a set gets the default queue")

    for obj in cluster.api.list("apiextensions.k8s.io/v1", "CustomResourceDefinition"):
        if obj["spec"]["group"] == names.KUEUE_GROUP:
            cluster.api.delete(obj["apiVersion"], obj["kind"], obj["metadata"]["name"])
    support.eventually(lambda: queue() is None, what="a set is created as it was given")
