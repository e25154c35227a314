"""`kubectl apply --server-side -k deploy` on an empty cluster gives what the README promises."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from lws_kueue_lab import sandbox

from lws_kueue.api import names
from lws_kueue.install import manifests
from tests.kit.live import selection
from tests.kit.live.kubectl import kubectl

ROOT = Path(__file__).resolve().parents[2]
CONTROLLER = "system:serviceaccount:lws-kueue-system:lws-kueue"


@pytest.fixture(scope="module")
def deployed(cluster: sandbox.Sandbox, backend: sandbox.Backend) -> Iterator[sandbox.Sandbox]:
    """A cluster with everything of `deploy/`, and nothing else.

    kwok only pretends to run the controller's pod. The shared cluster is asked for first: where
    none can be had, that one says why.
    """
    if backend == "kubeconfig":
        pytest.skip("a second controller must not run in a cluster that may have one")
    with sandbox.open(backend, options=sandbox.Options(nodes=1)) as own:
        kubectl(own, "apply", "--server-side", "-k", str(ROOT / "deploy"))
        kubectl(own, "wait", "--for=condition=Established", "crd", "--all", "--timeout=120s")
        yield own


def may(cluster: sandbox.Sandbox, user: str, verb: str, resource: str, namespace: str = "") -> bool:
    """Ask the API server whether a user may do something; `resource` is GROUP/RESOURCE[/SUB]."""
    group, _, rest = resource.partition("/")
    plural, _, subresource = rest.partition("/")
    review = cluster.api.request(
        "POST",
        "/apis/authorization.k8s.io/v1/subjectaccessreviews",
        body={
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {
                "user": user,
                "resourceAttributes": {
                    "verb": verb,
                    "group": group,
                    "resource": plural,
                    "subresource": subresource,
                    "namespace": namespace,
                },
            },
        },
    )
    allowed: bool = review["status"]["allowed"]
    return allowed


@selection.parametrize("folder", ["crds", "deploy", "deploy/api", "deploy/manager"], few={"deploy"})
def test_a_kustomization_renders(cluster: sandbox.Sandbox, folder: str) -> None:
    rendered = list(yaml.safe_load_all(kubectl(cluster, "kustomize", str(ROOT / folder))))
    assert rendered
    assert len({(obj["kind"], obj["metadata"]["name"]) for obj in rendered}) == len(rendered)


def test_the_api_folder_holds_the_same_objects_as_the_install_command(
    cluster: sandbox.Sandbox,
) -> None:
    rendered = list(yaml.safe_load_all(kubectl(cluster, "kustomize", str(ROOT / "deploy/api"))))

    def by_name(objects: list[dict[str, Any]]) -> dict[tuple[str, str], str]:
        return {
            (obj["kind"], obj["metadata"]["name"]): json.dumps(obj, sort_keys=True)
            for obj in objects
        }

    assert by_name(rendered) == by_name(manifests.api_objects())


def test_applying_everything_a_second_time_changes_nothing(deployed: sandbox.Sandbox) -> None:
    # Its status moves on by itself, so the Deployment is compared by its generation.
    columns = "KIND:.kind,NAME:.metadata.name,SPEC:.metadata.generation"
    command = ("get", "-k", str(ROOT / "deploy"), "-o", f"custom-columns={columns}")
    before = kubectl(deployed, *command)
    kubectl(deployed, "apply", "--server-side", "-k", str(ROOT / "deploy"))
    assert kubectl(deployed, *command) == before


def test_the_deployment_becomes_available_in_its_restricted_namespace(
    deployed: sandbox.Sandbox,
) -> None:
    kubectl(
        deployed,
        *("--namespace", "lws-kueue-system"),
        *("rollout", "status", "deployment/lws-kueue", "--timeout=120s"),
    )


@pytest.mark.parametrize(
    ("verb", "resource"),
    [
        ("list", "leaderworkerset.x-k8s.io/leaderworkersets"),
        ("patch", "leaderworkerset.x-k8s.io/leaderworkersets/status"),
        ("patch", "/pods"),
        ("delete", "/pods"),
        ("create", "apps/statefulsets"),
        ("create", "kueue.x-k8s.io/workloads"),
        ("patch", "kueue.x-k8s.io/workloads/status"),
        ("watch", "kueue.x-k8s.io/clusterqueues"),
        ("create", "events.k8s.io/events"),
    ],
)
def test_the_controller_may_do_its_work(
    deployed: sandbox.Sandbox, verb: str, resource: str
) -> None:
    assert may(deployed, CONTROLLER, verb, resource)


@pytest.mark.parametrize(
    ("verb", "resource"),
    [
        ("create", "/pods"),
        ("get", "/secrets"),
        ("update", "leaderworkerset.x-k8s.io/leaderworkersets"),
        ("patch", "leaderworkerset.x-k8s.io/leaderworkersets"),
        ("delete", "apps/statefulsets"),
        ("update", "kueue.x-k8s.io/workloads/status"),
        ("patch", "kueue.x-k8s.io/clusterqueues"),
        ("create", "admissionregistration.k8s.io/mutatingadmissionpolicies"),
        ("patch", "apiextensions.k8s.io/customresourcedefinitions"),
        ("bind", "rbac.authorization.k8s.io/clusterroles"),
    ],
)
def test_the_controller_may_not_do_more(
    deployed: sandbox.Sandbox, verb: str, resource: str
) -> None:
    assert not may(deployed, CONTROLLER, verb, resource)


def test_an_editor_of_a_namespace_may_change_sets_there_and_a_viewer_may_look(
    deployed: sandbox.Sandbox,
) -> None:
    for role in ("edit", "view"):
        kubectl(deployed, "create", "rolebinding", role, f"--clusterrole={role}", f"--user={role}")
    sets = f"{names.LWS_GROUP}/{names.LWS_PLURAL}"

    def answers(user: str, namespace: str) -> dict[str, bool]:
        return {
            "get": may(deployed, user, "get", sets, namespace),
            "create": may(deployed, user, "create", sets, namespace),
            "scale": may(deployed, user, "patch", f"{sets}/scale", namespace),
            "status": may(deployed, user, "patch", f"{sets}/status", namespace),
        }

    everything = {"get": True, "create": True, "scale": True, "status": False}
    nothing = dict.fromkeys(everything, False)
    # Aggregation is the work of a controller, so it takes a moment.
    deployed.api.wait_for(
        "rbac.authorization.k8s.io/v1",
        "ClusterRole",
        "edit",
        lambda role: role is not None and names.LWS_GROUP in json.dumps(role.get("rules")),
    )
    assert answers("edit", "default") == everything
    assert answers("view", "default") == nothing | {"get": True}
    assert answers("edit", "kube-system") == nothing
