"""The identity of pods (lws-contract 2.3, 5.4 and 6.3)."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import pytest
import yaml

from e2e.admission import support
from lws_kueue.api import names
from lws_kueue.sandbox import client

Object = dict[str, Any]

LWS_VARIABLES = ["LWS_LEADER_ADDRESS", "LWS_GROUP_SIZE", "LWS_WORKER_INDEX"]


def labels(pod: Mapping[str, Any]) -> dict[str, str]:
    """Return the labels of a pod."""
    return dict(pod["metadata"]["labels"])


# Pods created directly -----------------------------------------------------------------------


@pytest.mark.row("POD-01", "POD-27")
def test_a_pod_of_nobody_is_left_alone(pods: support.Pods) -> None:
    given = pods.build("test", labels={"app": "x"})
    stored = pods.accept(given)
    assert stored["metadata"]["labels"] == {"app": "x"}
    assert "annotations" not in stored["metadata"]
    assert stored["spec"]["subdomain"] == "default"
    assert "env" not in stored["spec"]["containers"][0]


@pytest.mark.row("POD-02")
def test_a_worker_gets_its_place_from_its_name(pods: support.Pods) -> None:
    stored = pods.accept(pods.worker("test-1-1"))
    assert labels(stored) == {
        names.SET_NAME: "test",
        names.GROUP_INDEX: "1",
        names.WORKER_INDEX: "1",
    }


def test_a_worker_cannot_claim_another_place(pods: support.Pods) -> None:
    given = pods.worker("test-1-12")
    given["metadata"]["labels"][names.WORKER_INDEX] = "3"
    assert labels(pods.accept(given))[names.WORKER_INDEX] == "12"


@pytest.mark.row("POD-03")
def test_a_leader_gets_its_group_from_its_name(pods: support.Pods) -> None:
    stored = pods.accept(pods.leader("test-1"))
    assert labels(stored) == {
        names.SET_NAME: "test",
        names.WORKER_INDEX: "0",
        names.GROUP_INDEX: "1",
        names.GROUP_KEY: "pod-test-1",
    }


def test_leaders_created_by_hand_have_different_keys_however_long_their_names_are(
    pods: support.Pods,
) -> None:
    keys = {
        labels(pods.accept(pods.leader("n" * 200 + f"-{index}")))[names.GROUP_KEY]
        for index in range(3)
    }
    assert len(keys) == 3
    assert all(len(key) <= 63 for key in keys)


def test_a_leader_of_a_statefulset_has_a_key_of_that_statefulset(pods: support.Pods) -> None:
    given = pods.leader("test-4")
    uid = "12345678-1234-1234-1234-123456789012"
    given["metadata"]["ownerReferences"] = [
        {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "test", "uid": uid}
    ]
    assert labels(pods.accept(given))[names.GROUP_KEY] == f"{uid}-4"


def test_labels_that_a_leader_has_already_are_kept(pods: support.Pods) -> None:
    own = {names.GROUP_KEY: "kept", names.GROUP_INDEX: "7"}
    stored = pods.accept(pods.leader("test-1", labels=own))
    assert labels(stored)[names.GROUP_KEY] == "kept"
    assert labels(stored)[names.GROUP_INDEX] == "7"
    address = ("LWS_LEADER_ADDRESS", f"test-7.default.{pods.namespace}")
    assert support.env(stored["spec"]["containers"][0])[0] == address


def test_leading_zeros_of_an_ordinal_do_not_count(pods: support.Pods) -> None:
    assert labels(pods.accept(pods.leader("test-007")))[names.GROUP_INDEX] == "7"


@pytest.mark.row("POD-08", "POD-09")
def test_pods_that_ask_for_no_tpu_get_no_tpu_variables(pods: support.Pods) -> None:
    for pod in (pods.leader("test-1"), pods.worker("test-1-1")):
        (container,) = pods.accept(pod)["spec"]["containers"]
        assert [name for name, _ in support.env(container)] == LWS_VARIABLES


@pytest.mark.row("POD-11")
def test_a_leader_with_a_subdomain_of_its_own_is_reached_there(pods: support.Pods) -> None:
    given = pods.leader(
        "test-sample-1",
        lws="test-sample",
        annotations={names.SUBDOMAIN_POLICY: "UniquePerReplica"},
    )
    stored = pods.accept(given)
    assert stored["spec"]["subdomain"] == "test-sample-1"
    address = f"test-sample-1.test-sample-1.{pods.namespace}"
    assert support.env(stored["spec"]["containers"][0])[0] == ("LWS_LEADER_ADDRESS", address)


def test_a_shared_subdomain_is_kept(pods: support.Pods) -> None:
    given = pods.leader("test-1", annotations={names.SUBDOMAIN_POLICY: "Shared"})
    assert pods.accept(given)["spec"]["subdomain"] == "default"


@pytest.mark.row("POD-23")
def test_a_leader_without_exclusive_placement_has_no_terms(pods: support.Pods) -> None:
    assert "affinity" not in pods.accept(pods.leader("test-1"))["spec"]


@pytest.mark.row("POD-26")
def test_every_container_has_the_variables_first_and_the_users_after_them(
    pods: support.Pods,
) -> None:
    field = {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}
    own = [
        {"name": "FIRST", "value": "$(LWS_LEADER_ADDRESS)"},
        {"name": "LWS_GROUP_SIZE", "value": "99"},
        {"name": "SECOND", "valueFrom": field},
        {"name": "FIRST", "value": "again"},
        {"name": "EMPTY"},
        {"name": "LWS_LEADER_ADDRESS", "value": "elsewhere"},
    ]
    spec = {
        "subdomain": "test-sample",
        "initContainers": [
            {"name": "i", "image": "image", "env": own},
            {"name": "sidecar", "image": "image", "restartPolicy": "Always"},
        ],
        "containers": [
            {"name": "c", "image": "image", "env": own},
            {"name": "d", "image": "image"},
        ],
    }
    stored = pods.accept(pods.worker("test-sample-1-1", lws="test-sample", spec=spec))["spec"]
    ours = [
        {"name": "LWS_LEADER_ADDRESS", "value": f"test-sample-1.test-sample.{pods.namespace}"},
        {"name": "LWS_GROUP_SIZE", "value": "2"},
        {"name": "LWS_WORKER_INDEX", "value": "1"},
    ]
    theirs = [
        {"name": "FIRST", "value": "$(LWS_LEADER_ADDRESS)"},
        {"name": "SECOND", "valueFrom": field},
        {"name": "EMPTY"},
    ]
    found = [c["env"] for c in (*stored["initContainers"], *stored["containers"])]
    assert found == [ours + theirs, ours, ours + theirs, ours]


def test_a_second_run_changes_nothing(pods: support.Pods) -> None:
    spec = {"containers": [{"name": "c", "image": "image", "env": [{"name": "A", "value": "1"}]}]}
    unique = {names.SUBDOMAIN_POLICY: "UniquePerReplica"}
    for pod in (
        pods.leader("test-1", spec=spec, annotations=unique),
        pods.worker("test-1-2", spec=spec),
    ):
        once = pods.accept(pod)
        for field in ("uid", "creationTimestamp", "managedFields", "generation"):
            once["metadata"].pop(field, None)
        twice = pods.accept(once)
        assert twice["metadata"]["labels"] == once["metadata"]["labels"]
        assert twice["spec"] == once["spec"]


def test_many_containers_with_many_variables_stay_within_the_cost_limit(
    pods: support.Pods,
) -> None:
    own = [{"name": f"VARIABLE_{n}", "value": "v" * 100} for n in range(50)]
    containers = [{"name": f"c{n}", "image": "image", "env": own} for n in range(20)]
    given = pods.worker("test-1-999", size="1000", spec={"containers": containers})
    for container in pods.accept(given)["spec"]["containers"]:
        assert [e["name"] for e in container["env"]] == LWS_VARIABLES + [e["name"] for e in own]
        assert container["env"][1]["value"] == "1000"


def _injector(namespace: str) -> list[Object]:
    """Return a policy that adds a container and a variable to pods that have an identity already.

    It stands for the webhooks of service meshes and clouds, which run after all policies.
    """
    name = f"zz-inject-{namespace}"
    # Policies run in no particular order. If this one comes before the identity, it leaves a note
    # and is called again, because another policy changed the pod after it.
    patches = """
      object.spec.containers.exists(c, c.name == 'mesh') ? [] :
      !object.spec.containers.exists(c, c.?env.orValue([]).size() >= 3) ? [
        JSONPatch{op: "add", path: "/metadata/annotations/mesh", value: "early"}
      ] : [
        JSONPatch{
          op: "add", path: "/spec/containers/-", value: {"name": "mesh", "image": "mesh"}
        },
        JSONPatch{
          op: "add", path: "/spec/containers/0/env/0", value: {"name": "MESH", "value": "1"}
        }
      ]
    """
    policy = {
        "reinvocationPolicy": "IfNeeded",
        "matchConstraints": {
            "resourceRules": [
                {
                    "apiGroups": [""],
                    "apiVersions": ["v1"],
                    "operations": ["CREATE"],
                    "resources": ["pods"],
                }
            ]
        },
        "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": patches}}],
    }
    here = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}
    return [
        {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": kind,
            "metadata": {"name": name},
            "spec": spec,
        }
        for kind, spec in (
            ("MutatingAdmissionPolicy", policy),
            ("MutatingAdmissionPolicyBinding", {"policyName": name, "matchResources": here}),
        )
    ]


def test_what_others_add_to_a_pod_afterwards_is_no_reason_to_refuse_it(pods: support.Pods) -> None:
    injector = _injector(pods.namespace)
    for obj in injector:
        pods.api.apply(obj)
    try:
        seen: list[Object] = []

        def injected() -> bool:
            seen[:] = pods.accept(pods.leader("test-1"))["spec"]["containers"]
            return len(seen) == 2

        support.eventually(injected, what="the other policy is active")
        own, mesh = seen
        assert [name for name, _ in support.env(own)] == ["MESH", *LWS_VARIABLES]
        assert "env" not in mesh
    finally:
        for obj in injector:
            pods.api.delete(obj["apiVersion"], obj["kind"], obj["metadata"]["name"])


# Refusals ------------------------------------------------------------------------------------


def _without(pod: Object, where: str, key: str) -> Object:
    del pod["metadata"][where][key]
    return pod


def test_a_pod_without_the_size_of_its_group_is_refused(pods: support.Pods) -> None:
    for pod in (pods.leader("test-1"), pods.worker("test-1-1")):
        with support.refused() as refusal:
            pods.accept(_without(pod, "annotations", names.SIZE))
        assert f"metadata.annotations[{names.SIZE}]" in refusal.message


@pytest.mark.parametrize("size", ["", "two", "-1", "1.5", "99999999999999999999"])
def test_a_pod_whose_group_size_is_no_number_is_refused(pods: support.Pods, size: str) -> None:
    with support.refused() as refusal:
        pods.accept(pods.leader("test-1", size=size))
    assert f"metadata.annotations[{names.SIZE}]" in refusal.message


@pytest.mark.parametrize("name", ["test", "test-x", "1", "test-1a", "test-99999999999999999999"])
def test_a_pod_whose_name_has_no_ordinal_is_refused(pods: support.Pods, name: str) -> None:
    for pod in (pods.leader(name), pods.worker(name)):
        with support.refused() as refusal:
            pods.accept(pod)
        assert "metadata.name" in refusal.message
        assert "ordinal" in refusal.message


def test_a_worker_without_a_group_is_refused(pods: support.Pods) -> None:
    with support.refused() as refusal:
        pods.accept(_without(pods.worker("test-1-1"), "labels", names.GROUP_INDEX))
    assert f"metadata.labels[{names.GROUP_INDEX}]" in refusal.message


def test_a_pod_that_exists_can_lose_everything_and_be_deleted(pods: support.Pods) -> None:
    pod = pods.worker("test-1-1")
    pods.api.create(pod)
    stripped = {"labels": {names.GROUP_INDEX: None}, "annotations": {names.SIZE: None}}
    pods.api.patch("v1", "Pod", "test-1-1", namespace=pods.namespace, body={"metadata": stripped})
    pods.api.delete("v1", "Pod", "test-1-1", namespace=pods.namespace, grace_seconds=0)
    assert pods.api.find("v1", "Pod", "test-1-1", namespace=pods.namespace) is None


# Pods of real StatefulSets -------------------------------------------------------------------

GOLDEN = support.ROOT / "tests" / "golden"

# What a pod is told from its place. The key is opaque and has another form here, and the revision
# hash of a worker's StatefulSet is computed from a template that contains the key.
NOT_COMPARED = (names.GROUP_KEY, "controller-revision-hash")


@dataclasses.dataclass(frozen=True)
class Recording:
    """What the real controller and Kubernetes made of one set, and how to make it again here."""

    objects: list[Object]
    namespace: str

    @classmethod
    def of(cls, name: str, *, namespace: str) -> "Recording":
        """Load a recording, to be played in `namespace`."""
        text = (GOLDEN / f"{name}.yaml").read_text(encoding="utf-8")
        return cls([document for document in yaml.safe_load_all(text) if document], namespace)

    def pods(self) -> dict[str, Object]:
        """Return the recorded pods by name."""
        return {o["metadata"]["name"]: o for o in self.objects if o["kind"] == "Pod"}

    def statefulsets(self, *, of_leaders: bool) -> list[Object]:
        """Return the recorded StatefulSets as they were created."""
        result = []
        for obj in self.objects:
            is_leaders = names.GROUP_INDEX not in obj["metadata"].get("labels", {})
            if obj["kind"] != "StatefulSet" or is_leaders != of_leaders:
                continue
            kept = {key: obj["metadata"][key] for key in ("name", "labels")}
            result.append(
                {
                    "apiVersion": "apps/v1",
                    "kind": "StatefulSet",
                    "metadata": {**kept, "namespace": self.namespace},
                    "spec": obj["spec"],
                }
            )
        return result


def _with_key(statefulset: Object, key: str) -> Object:
    """Return a workers' StatefulSet with another key of the group, wherever it stands."""
    spec = statefulset["spec"]
    for where in (statefulset["metadata"], spec["template"]["metadata"]):
        where["labels"] = {**where["labels"], names.GROUP_KEY: key}
    matched = spec["selector"]["matchLabels"]
    spec["selector"] = {"matchLabels": {**matched, names.GROUP_KEY: key}}
    return statefulset


def _play(api: client.Client, recording: Recording) -> dict[str, Object]:
    """Create the recorded StatefulSets, leaders first, and return the pods that appear."""
    for statefulset in recording.statefulsets(of_leaders=True):
        api.create(statefulset)
    workers = recording.statefulsets(of_leaders=False)
    leader_names = {n for n, p in recording.pods().items() if _place(p) == "0"}
    leaders = _wait_for_pods(api, recording, leader_names)
    for statefulset in workers:
        key = labels(leaders[statefulset["metadata"]["name"]])[names.GROUP_KEY]
        api.create(_with_key(statefulset, key))
    return _wait_for_pods(api, recording, set(recording.pods()))


def _wait_for_pods(api: client.Client, recording: Recording, wanted: set[str]) -> dict[str, Object]:
    return api.wait_for_all(
        "v1",
        "Pod",
        lambda seen: wanted <= set(seen),
        namespace=recording.namespace,
        what=f"pods {sorted(wanted)}",
    )


def _place(pod: Object) -> str:
    return labels(pod)[names.WORKER_INDEX]


def _identity(pod: Object) -> Object:
    spec = pod["spec"]
    return {
        "labels": {k: v for k, v in labels(pod).items() if k not in NOT_COMPARED},
        "annotations": pod["metadata"].get("annotations"),
        "hostname": spec["hostname"],
        "subdomain": spec["subdomain"],
        "env": [support.env(container) for container in spec["containers"]],
    }


def _in_namespace(identity: Object, namespace: str) -> Object:
    """Return a recorded identity with the addresses of another namespace."""
    env = [
        [(n, v.removesuffix("default") + namespace if n == LWS_VARIABLES[0] else v) for n, v in c]
        for c in identity["env"]
    ]
    return {**identity, "env": env}


@pytest.mark.parametrize(
    "name", ["plain-size1", "plain-workers", "dual-template", "unique-subdomain"]
)
def test_pods_of_statefulsets_get_the_recorded_identity(
    installed: client.Client, namespace: str, name: str
) -> None:
    recording = Recording.of(name, namespace=namespace)
    found = _play(installed, recording)
    expected = {
        pod_name: _in_namespace(_identity(pod), namespace)
        for pod_name, pod in recording.pods().items()
    }
    assert {pod_name: _identity(pod) for pod_name, pod in found.items()} == expected
    (leaders,) = recording.statefulsets(of_leaders=True)
    uid = installed.get("apps/v1", "StatefulSet", leaders["metadata"]["name"], namespace=namespace)[
        "metadata"
    ]["uid"]
    for pod in found.values():
        group = labels(pod)[names.GROUP_INDEX]
        assert labels(pod)[names.GROUP_KEY] == f"{uid}-{group}"


def test_a_pod_that_is_made_again_is_who_it_was(installed: client.Client, namespace: str) -> None:
    before = _play(installed, Recording.of("plain-workers", namespace=namespace))
    for name in ("plain-workers-1", "plain-workers-0-2"):
        old = before[name]
        installed.delete("v1", "Pod", name, namespace=namespace, grace_seconds=0)
        new = _wait_for_successor(installed, old)
        assert labels(new) == labels(old)
        assert _identity(new) == _identity(old)


def _wait_for_successor(api: client.Client, old: Object) -> Object:
    uid, name = old["metadata"]["uid"], old["metadata"]["name"]
    new = api.wait_for(
        "v1",
        "Pod",
        name,
        lambda pod: pod and pod["metadata"]["uid"] != uid,
        namespace=old["metadata"]["namespace"],
    )
    assert new is not None
    return new
