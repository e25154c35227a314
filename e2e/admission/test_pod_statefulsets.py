"""Pods that real StatefulSets create have the identity that was recorded (lws-contract 5.4)."""

import dataclasses
from typing import Any

import pytest
import yaml
from lws_kueue_lab.sandbox import client

from lws_kueue.api import names
from tests.kit.admission import support

Object = dict[str, Any]

GOLDEN = support.ROOT / "tests" / "golden"

# What a pod is told from its place. The keys are opaque and have another form here, and the
# revision hash of a worker's StatefulSet is computed from a template that contains the key.
NOT_COMPARED = (names.GROUP_KEY, names.SUBGROUP_KEY, "controller-revision-hash")


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
        key = support.labels(leaders[statefulset["metadata"]["name"]])[names.GROUP_KEY]
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
    return support.labels(pod)[names.WORKER_INDEX]


def _identity(pod: Object) -> Object:
    spec = pod["spec"]
    return {
        "labels": {k: v for k, v in support.labels(pod).items() if k not in NOT_COMPARED},
        "annotations": pod["metadata"].get("annotations"),
        "hostname": spec["hostname"],
        "subdomain": spec["subdomain"],
        "env": [support.env(container) for container in spec["containers"]],
        "affinity": _with_names_of_keys(spec.get("affinity"), support.labels(pod)),
    }


def _with_names_of_keys(node: Any, own: dict[str, str]) -> Any:
    """Return terms with the name of the label where the value of this pod's own label stands."""
    if isinstance(node, dict):
        return {key: _with_names_of_keys(value, own) for key, value in node.items()}
    if isinstance(node, list):
        return [_with_names_of_keys(value, own) for value in node]
    keys = {own[name]: name for name in (names.GROUP_KEY, names.SUBGROUP_KEY) if name in own}
    return keys.get(node, node)


def _in_namespace(identity: Object, namespace: str) -> Object:
    """Return a recorded identity with the addresses of another namespace."""
    env = [
        [
            (n, v.removesuffix("default") + namespace if n == "LWS_LEADER_ADDRESS" else v)
            for n, v in c
        ]
        for c in identity["env"]
    ]
    return {**identity, "env": env}


@pytest.mark.parametrize(
    "name",
    [
        "plain-size1",
        "plain-workers",
        "dual-template",
        "unique-subdomain",
        "exclusive",
        "subgroup",
        "tpu",
        "claims",
    ],
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
        group = support.labels(pod)[names.GROUP_INDEX]
        key = support.labels(pod)[names.GROUP_KEY]
        assert key == f"{uid}-{group}"
        if subgroup := support.labels(pod).get(names.SUBGROUP_INDEX):
            assert support.labels(pod)[names.SUBGROUP_KEY] == f"{key}-{subgroup}"


def test_a_pod_that_is_made_again_is_who_it_was(installed: client.Client, namespace: str) -> None:
    before = _play(installed, Recording.of("plain-workers", namespace=namespace))
    for name in ("plain-workers-1", "plain-workers-0-2"):
        old = before[name]
        installed.delete("v1", "Pod", name, namespace=namespace, grace_seconds=0)
        new = _wait_for_successor(installed, old)
        assert support.labels(new) == support.labels(old)
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
