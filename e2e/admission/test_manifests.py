"""The files of `crds` and `deploy/api`: what they are made from, and how they are applied."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from lws_kueue_lab.sandbox import Sandbox, binaries, client

from lws_kueue.api import names, probes
from lws_kueue.install import manifests
from tests.kit.admission import support
from tools.crds import definition

Object = dict[str, Any]

POLICY_KINDS = (
    "MutatingAdmissionPolicy",
    "MutatingAdmissionPolicyBinding",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
)
ADMISSION = "admissionregistration.k8s.io/v1"


@pytest.fixture(scope="session")
def kubectl(cluster: Sandbox) -> list[str]:
    """The kubectl that belongs to the sandbox."""
    program = str(binaries.ensure()["kubectl"])
    return [program, "--kubeconfig", str(cluster.kubeconfig)]


def _apply(kubectl: list[str]) -> None:
    folder = support.ROOT / "deploy" / "api"
    command = [*kubectl, "apply", "--server-side", "--force-conflicts", "-k", str(folder)]
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)


def _stored(api: client.Client, obj: Object) -> Object:
    """Return what is stored of an installed object, once its status is settled."""
    name = obj["metadata"]["name"]
    if obj["kind"] != "ValidatingAdmissionPolicy":
        return api.get(obj["apiVersion"], obj["kind"], name)
    # The controller manager checks types some time after every change.
    found = api.wait_for(
        obj["apiVersion"],
        obj["kind"],
        name,
        lambda policy: (
            policy
            and policy.get("status", {}).get("observedGeneration")
            == policy["metadata"]["generation"]
        ),
    )
    assert found is not None
    return found


def _versions(api: client.Client) -> dict[tuple[str, str], str]:
    """Return resourceVersions of everything that is installed."""
    return {
        (obj["kind"], obj["metadata"]["name"]): _stored(api, obj)["metadata"]["resourceVersion"]
        for obj in support.api_objects()
    }


def test_the_committed_definition_is_what_the_generator_makes_of_this_api_server(
    cluster: Sandbox,
) -> None:
    document = cluster.api.request("GET", "/openapi/v3/apis/apps/v1")
    committed = support.ROOT / "crds" / "leaderworkersets.yaml"
    assert definition.render(document) == committed.read_text(encoding="utf-8")


def test_kubectl_applies_the_same_objects_and_a_second_time_changes_nothing(
    installed: client.Client, kubectl: list[str]
) -> None:
    _apply(kubectl)
    first = _versions(installed)
    _apply(kubectl)
    assert _versions(installed) == first
    support.wait_until_policies_are_active(installed)


OPTIONAL: dict[str, list[dict[str, Any]]] = {
    "kueue": manifests.api_objects(kueue=True),
    "default-priority-class": manifests.api_objects(kueue=True, default_priority_class=True),
    **{name: manifests.api_objects(gang_scheduling=name) for name in manifests.GANG_SCHEDULERS},
}


@pytest.mark.parametrize("folder", OPTIONAL)
def test_kubectl_makes_the_same_optional_objects(kubectl: list[str], folder: str) -> None:
    def identity(obj: Object) -> tuple[str, str]:
        return obj["kind"], obj["metadata"]["name"]

    command = [kubectl[0], "kustomize", str(support.ROOT / "deploy" / folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    rendered = [obj for obj in yaml.safe_load_all(done.stdout) if obj]
    always = set(map(identity, support.api_objects()))
    if folder == "default-priority-class":
        always |= set(map(identity, OPTIONAL["kueue"]))
    added = [o for o in OPTIONAL[folder] if identity(o) not in always]
    assert len(added) >= 2
    assert sorted(rendered, key=identity) == sorted(added, key=identity)


@pytest.mark.parametrize("folder", OPTIONAL)
def test_every_policy_is_ours_by_name_and_label_and_is_bound(folder: str) -> None:
    objects = [obj for obj in OPTIONAL[folder] if obj["kind"] in POLICY_KINDS]
    for obj in objects:
        assert obj["metadata"]["name"].startswith("lws-kueue-")
        assert obj["metadata"]["labels"]["app.kubernetes.io/part-of"] == "lws-kueue"
        assert obj["apiVersion"] == ADMISSION
    bound = {o["spec"]["policyName"] for o in objects if o["kind"].endswith("Binding")}
    assert bound == {o["metadata"]["name"] for o in objects if not o["kind"].endswith("Binding")}


@pytest.mark.parametrize("gang_scheduling", [None, *manifests.GANG_SCHEDULERS])
def test_every_policy_that_acts_on_new_objects_has_a_probe(
    gang_scheduling: manifests.GangScheduling | None,
) -> None:
    # A probe creates, as a dry run; what only looks at changes would need an object to change, what
    # has parameters would need these, and what binds the controller a token of its.
    policies = {
        obj["metadata"]["name"]
        for obj in manifests.api_objects(gang_scheduling=gang_scheduling)
        if obj["kind"] in ("MutatingAdmissionPolicy", "ValidatingAdmissionPolicy")
        and not obj["metadata"]["name"].startswith("lws-kueue-own-")
        and any(
            "CREATE" in rule["operations"]
            for rule in obj["spec"]["matchConstraints"]["resourceRules"]
        )
    }
    found = probes.probes(gang_scheduling=gang_scheduling)
    assert {probe.policy for probe in found} == policies


@pytest.mark.parametrize("probe", probes.probes(), ids=lambda probe: probe.policy)
def test_a_probe_stores_nothing(installed: client.Client, probe: probes.Probe) -> None:
    assert support.is_active(installed, probe)
    kind, version = probe.body["kind"], probe.body["apiVersion"]
    assert (
        installed.find(version, kind, probe.body["metadata"]["name"], namespace="default") is None
    )


def test_the_api_server_finds_no_type_errors_in_the_policies(installed: client.Client) -> None:
    for obj in support.api_objects():
        if obj["kind"] != "ValidatingAdmissionPolicy":
            continue
        checked = _stored(installed, obj)
        assert not checked["status"].get("typeChecking", {}).get("expressionWarnings"), checked


def test_the_definition_is_structural_and_has_no_webhook(installed: client.Client) -> None:
    name = f"{names.LWS_PLURAL}.{names.LWS_GROUP}"
    stored = installed.get("apiextensions.k8s.io/v1", "CustomResourceDefinition", name)
    conditions = {c["type"]: c["status"] for c in stored["status"]["conditions"]}
    assert conditions["Established"] == "True"
    assert conditions.get("NonStructuralSchema", "False") == "False"
    assert stored["spec"]["conversion"]["strategy"] == "None"


def test_nothing_that_is_installed_is_a_webhook(installed: client.Client) -> None:
    assert {obj["kind"] for obj in support.api_objects()} == {
        "ClusterRole",
        "CustomResourceDefinition",
        *POLICY_KINDS,
    }


def test_people_see_groups_in_a_table(sets: support.Sets) -> None:
    queued = sets.build()
    queued["metadata"]["labels"] = {names.QUEUE_NAME: "user-queue"}
    sets.store(queued)
    why = "group 2: LocalQueue user-queue does not exist"
    waits = {
        "type": "WaitingForAdmission",
        "status": "True",
        "reason": "LocalQueueMissing",
        "message": why,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    counts = {"replicas": 3, "readyReplicas": 1, "updatedReplicas": 2}
    status = {**counts, "conditions": [waits]}
    sets.update("test-sample", {"status": status}, subresource="status")
    path = sets.api.resource(names.LWS_API_VERSION, names.LWS_KIND).path(
        namespace=sets.namespace, name="test-sample"
    )
    accept = "application/json;as=Table;v=v1;g=meta.k8s.io"
    columns, cells = _table(sets.api, path, accept)
    assert columns[:5] == ["Name", "Ready", "Desired", "Up-to-date", "Age"]
    assert cells[:4] == ["test-sample", 1, 2, 2]
    # Those of `-o wide`, behind what everybody sees.
    assert columns[5:8] == ["Size", "Queue", "Waiting"]
    assert cells[5:8] == [2, "user-queue", why]


def _table(api: client.Client, path: str, accept: str) -> tuple[list[str], list[Any]]:
    response = api.api_client.call_api(
        "GET", api.server + path, {**_authorization(api, path), "Accept": accept}
    )
    table = yaml.safe_load(response.read())
    return [column["name"] for column in table["columnDefinitions"]], table["rows"][0]["cells"]


def _authorization(api: client.Client, path: str) -> dict[str, str]:
    headers: dict[str, str] = {}
    api.api_client.update_params_for_auth(headers, [], ["BearerToken"], path, "GET", None)
    return headers


def test_the_scale_subresource_shows_and_changes_the_number_of_groups(
    sets: support.Sets,
) -> None:
    sets.store(sets.build())
    selector = f"{names.SET_NAME}=test-sample,{names.WORKER_INDEX}=0"
    status = {"replicas": 2, "hpaPodSelector": selector}
    sets.update("test-sample", {"status": status}, subresource="status")
    scale = sets.update("test-sample", {"spec": {"replicas": 5}}, subresource="scale")
    assert scale["spec"] == {"replicas": 5}
    assert scale["status"] == {"replicas": 2, "selector": selector}
    assert sets.get("test-sample")["spec"]["replicas"] == 5


def test_a_status_write_leaves_the_spec_and_a_spec_write_the_status(sets: support.Sets) -> None:
    before = sets.store(sets.build())
    change = {"spec": {"replicas": 9}, "status": {"replicas": 1}}
    after = sets.update("test-sample", change, subresource="status")
    assert after["spec"] == before["spec"]
    after = sets.update("test-sample", {"spec": {"replicas": 3}, "status": {"replicas": 7}})
    assert after["status"] == {"replicas": 1}


def test_appliers_of_single_list_entries_do_not_undo_each_other(sets: support.Sets) -> None:
    def applied(manager: str, container: Object) -> None:
        template = {"spec": {"containers": [container]}}
        obj = {
            "apiVersion": names.LWS_API_VERSION,
            "kind": names.LWS_KIND,
            "metadata": {"name": "shared", "namespace": sets.namespace},
            "spec": {"leaderWorkerTemplate": {"workerTemplate": template}},
        }
        sets.api.apply(obj, field_manager=manager)

    applied("one", {"name": "c", "image": "i", "env": [{"name": "A", "value": "1"}]})
    applied("two", {"name": "c", "env": [{"name": "B", "value": "2"}]})
    applied("two", {"name": "c", "ports": [{"containerPort": 80}]})
    applied("three", {"name": "d", "image": "j"})
    spec = sets.get("shared")["spec"]["leaderWorkerTemplate"]["workerTemplate"]["spec"]
    assert spec["containers"] == [
        {
            "name": "c",
            "image": "i",
            "env": [{"name": "A", "value": "1"}],
            "ports": [{"containerPort": 80, "protocol": "TCP"}],
        },
        {"name": "d", "image": "j"},
    ]


def test_kubectl_finds_sets_by_their_short_name(kubectl: list[str], sets: support.Sets) -> None:
    sets.store(sets.build())
    command = [*kubectl, "get", "lws", "-n", sets.namespace, "-o", "name"]
    output = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
    assert output.strip() == f"leaderworkerset.{names.LWS_GROUP}/test-sample"


def test_the_folder_of_the_definition_can_be_applied_as_it_is() -> None:
    # `kubectl apply -f` takes every .yaml, .yml and .json of a folder.
    files = {path.name for path in Path(support.ROOT / "crds").iterdir()}
    assert files == {"leaderworkersets.yaml", "Kustomization"}
