import copy
import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given as from_strategy
from hypothesis import settings
from hypothesis import strategies as st

from lws_kueue.api import apply_diff, facts, names
from lws_kueue.controller.objects import statefulsets
from tests.kit.builders import given

POD = {
    "containers": [
        {
            "name": "a",
            "image": "i",
            "args": ["x", "y"],
            "env": [{"name": "A", "value": "1"}, {"name": "B"}],
            "ports": [{"containerPort": 80}, {"containerPort": 80, "protocol": "UDP"}],
            "resources": {"limits": {"cpu": "1000m"}},
        },
        {"name": "b", "image": "i"},
    ],
    "nodeSelector": {"pool": "gpu"},
    "tolerations": [{"key": "k", "operator": "Exists"}],
    "volumes": [{"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}],
}


def desired(**changes: Any) -> dict[str, Any]:
    template = {"metadata": {"finalizers": ["f"]}, "spec": {**POD, **changes}}
    owner = given.an_lws(
        template={
            "leaderTemplate": template,
            "volumeClaimTemplates": [{"metadata": {"name": "d"}, "spec": {"accessModes": ["X"]}}],
        },
        annotations={"note": "x"},
    )
    return statefulsets.leader(owner, key="key", partition=0, replicas=2, queue_gated=False)


def fields_of(value: Any, name: str = "") -> dict[str, Any]:
    """Return the FieldsV1 set of what an apply of ``value`` would own."""
    keys = {"containers": ["name"], "env": ["name"], "volumes": ["name"]}
    keys |= {"ports": ["containerPort", "protocol"], "ownerReferences": ["uid"]}
    if isinstance(value, Mapping) and name not in ("nodeSelector", "selector"):
        return {f"f:{key}": fields_of(item, key) for key, item in value.items()}
    if isinstance(value, list) and name in keys:
        owned = {}
        for item in value:
            identity = {key: item.get(key, "TCP") for key in keys[name]}
            owned["k:" + json.dumps(identity)] = {".": {}, **fields_of(item)}
        return owned
    if isinstance(value, list) and name == "finalizers":
        return {"v:" + json.dumps(item): {} for item in value}
    return {}


def stored(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return a StatefulSet as an API server stores it after the apply of ``body``."""
    applied = {key: body[key] for key in ("metadata", "spec")}
    metadata = {k: v for k, v in body["metadata"].items() if k not in ("name", "namespace")}
    obj: dict[str, Any] = copy.deepcopy(dict(body))
    spec = obj["spec"]
    # With its feature gate off, the server drops the field and nobody owns it.
    del spec["updateStrategy"]["rollingUpdate"]["maxUnavailable"]
    fields = fields_of(applied | {"metadata": metadata})
    del fields["f:spec"]["f:updateStrategy"]["f:rollingUpdate"]["f:maxUnavailable"]
    obj["metadata"]["managedFields"] = [
        {"manager": names.FIELD_MANAGER, "operation": "Apply", "fieldsV1": fields},
        {
            "manager": "kube-controller-manager",
            "operation": "Update",
            "subresource": "status",
            "fieldsV1": {"f:status": {"f:replicas": {}}},
        },
    ]
    spec["revisionHistoryLimit"] = 10
    pod = spec["template"]["spec"]
    pod["dnsPolicy"] = "ClusterFirst"
    for container in pod["containers"]:
        container["imagePullPolicy"] = "IfNotPresent"
        for port in container.get("ports", ()):
            port.setdefault("protocol", "TCP")
    pod["volumes"][0]["projected"]["sources"][0]["serviceAccountToken"]["expirationSeconds"] = 3600
    spec["volumeClaimTemplates"][0]["status"] = {"phase": "Pending"}
    return obj


def covers(obj: Mapping[str, Any], body: Mapping[str, Any]) -> bool:
    return apply_diff.covers(facts.StatefulSet.of(obj), body)


def test_what_was_applied_is_covered_in_spite_of_defaults_and_dropped_fields() -> None:
    assert covers(stored(desired()), desired())


@pytest.mark.row("P1")
def test_a_mark_of_a_tool_that_was_copied_once_is_applied_away_and_no_pod_changes() -> None:
    before, now = desired(), desired()
    before["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"] = "{}"
    assert not covers(stored(before), now)
    assert covers(stored(now), now)
    assert before["spec"] == now["spec"]


def _pod(obj: Mapping[str, Any]) -> dict[str, Any]:
    pod: dict[str, Any] = obj["spec"]["template"]["spec"]
    return pod


def _set(path: str, value: Any) -> Any:
    """Return a change that sets one field; path segments that are digits are list positions."""

    def change(obj: dict[str, Any]) -> None:
        *parents, last = path.split("/")
        at: Any = obj
        for step in parents:
            at = at[int(step)] if step.isdigit() else at.setdefault(step, {})
        at[last] = value

    return change


CONTAINER = "spec/template/spec/containers/0"


@pytest.mark.parametrize(
    "change",
    [
        _set("spec/replicas", 3),
        _set("spec/updateStrategy/rollingUpdate/partition", 1),
        _set("spec/updateStrategy/rollingUpdate/maxUnavailable", 7),
        _set(f"{CONTAINER}/image", "other"),
        _set(f"{CONTAINER}/args", ["x"]),
        _set(f"{CONTAINER}/args", ["y", "x"]),
        _set(f"{CONTAINER}/resources", {}),
        _set(f"{CONTAINER}/env", [{"name": "B"}]),
        _set(f"{CONTAINER}/env", [{"name": "B"}, {"name": "A", "value": "1"}]),
        _set(f"{CONTAINER}/ports", [{"containerPort": 80, "protocol": "UDP"}]),
        _set("spec/template/spec/nodeSelector/extra", "x"),
        _set("spec/template/spec/tolerations", []),
        _set("spec/template/spec/volumes/0/projected", None),
        _set("spec/volumeClaimTemplates", []),
        _set("metadata/annotations/note", "y"),
        _set("metadata/labels", {}),
        _set("metadata/ownerReferences", []),
        _set("metadata/managedFields", []),
    ],
)
def test_a_field_that_an_apply_would_set_is_seen(change: Any) -> None:
    obj = stored(desired())
    change(obj)
    assert not covers(obj, desired())


@pytest.mark.parametrize(
    "change",
    [
        _set("metadata/labels/theirs", "x"),
        _set("metadata/annotations/theirs", "x"),
        _set(f"{CONTAINER}/lifecycle", {}),
        _set("spec/minReadySeconds", 5),
        _set("spec/updateStrategy/rollingUpdate/maxUnavailable", 1),
    ],
)
def test_fields_of_others_are_left_alone(change: Any) -> None:
    obj = stored(desired())
    change(obj)
    assert covers(obj, desired())


@pytest.mark.parametrize(
    ("asked", "kept", "same"),
    [
        ("100u", "1m", True),
        ("1500u", "2m", True),
        ("1m", "1m", True),
        ("100u", "2m", False),
        ("1m", "100m", False),
        ("100u", None, False),
        ("100u", "", False),
    ],
)
@pytest.mark.parametrize("place", ["requests", "limits"])
def test_a_request_that_the_server_rounds_up_to_thousandths_is_covered(
    place: str, asked: str, kept: str | None, same: bool
) -> None:
    body = desired()
    _pod(body)["containers"][0]["resources"] = {place: {"cpu": asked}}
    obj = stored(body)
    _pod(obj)["containers"][0]["resources"] = {place: {"cpu": kept}}
    assert covers(obj, body) is same
    assert bool(apply_diff.changed(obj, body)) is not same


def test_an_item_that_another_manager_added_to_a_list_by_key_is_left_alone() -> None:
    obj = stored(desired())
    _pod(obj)["containers"].insert(1, {"name": "sidecar"})
    _pod(obj)["containers"][0]["env"].append({"name": "Z"})
    assert covers(obj, desired())


def _without(*path: str) -> dict[str, Any]:
    body = copy.deepcopy(desired())
    at: Any = body
    for step in path[:-1]:
        at = at[int(step)] if step.isdigit() else at[step]
    del at[int(path[-1]) if path[-1].isdigit() else path[-1]]
    return body


_TEMPLATE = ("spec", "template", "spec")


@pytest.mark.parametrize(
    "path",
    [
        ("metadata", "annotations", "note"),
        (*_TEMPLATE, "nodeSelector"),
        (*_TEMPLATE, "containers", "1"),
        (*_TEMPLATE, "containers", "0", "args"),
        (*_TEMPLATE, "containers", "0", "env", "1"),
        (*_TEMPLATE, "containers", "0", "env", "0", "value"),
        (*_TEMPLATE, "containers", "0", "ports", "0"),
        (*_TEMPLATE, "containers", "0", "resources", "limits", "cpu"),
        (*_TEMPLATE, "volumes"),
        ("spec", "template", "metadata", "finalizers"),
        ("spec", "template", "metadata", "finalizers", "0"),
        ("spec", "volumeClaimTemplates"),
        ("spec", "replicas"),
    ],
)
def test_a_field_that_an_apply_would_remove_is_seen(path: tuple[str, ...]) -> None:
    assert not covers(stored(desired()), _without(*path))


def of_pods(obj: Mapping[str, Any], body: Mapping[str, Any]) -> tuple[str, ...]:
    return apply_diff.of_pods(facts.StatefulSet.of(obj), body)


@pytest.mark.parametrize(
    ("change", "fields"),
    [
        (lambda _: None, ()),
        (_set("spec/replicas", 3), ()),
        (_set("metadata/annotations/note", "y"), ()),
        (_set("spec/template/spec/theirs", "x"), ()),
        (_set(f"{CONTAINER}/image", "other"), ("spec.template.spec.containers[0].image",)),
        (_set(f"{CONTAINER}/args", ["x"]), ("spec.template.spec.containers[0].args",)),
        (_set("spec/template/spec/nodeSelector/more", "x"), ("spec.template.spec.nodeSelector",)),
    ],
)
def test_fields_of_the_pods_that_an_apply_would_set_are_named(
    change: Any, fields: tuple[str, ...]
) -> None:
    obj = stored(desired())
    change(obj)
    assert of_pods(obj, desired()) == fields


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ((*_TEMPLATE, "nodeSelector"), "nodeSelector"),
        ((*_TEMPLATE, "containers", "1"), "containers[b]"),
        ((*_TEMPLATE, "containers", "0", "args"), "containers[a].args"),
        ((*_TEMPLATE, "containers", "0", "env", "1"), "containers[a].env[B]"),
        ((*_TEMPLATE, "containers", "0", "ports", "0"), "containers[a].ports[80,TCP]"),
    ],
)
def test_fields_of_the_pods_that_an_apply_would_remove_are_named(
    path: tuple[str, ...], field: str
) -> None:
    assert f"spec.template.spec.{field}" in of_pods(stored(desired()), _without(*path))


def test_what_an_apply_would_remove_beside_the_pods_is_not_of_them() -> None:
    assert of_pods(stored(desired()), _without("metadata", "annotations", "note")) == ()


def test_a_null_is_covered_by_what_the_server_makes_of_it() -> None:
    """Seen on a v1.36.3 API server: a null ``grpc.service`` is owned, and stored as ""."""
    probed = [{"name": "a", "image": "i", "readinessProbe": {"grpc": {"port": 80}}}]
    body = desired(containers=probed)
    obj = stored(body)
    for service, covered in (("", True), (None, True), ("other", False)):
        _pod(obj)["containers"][0]["readinessProbe"]["grpc"]["service"] = service
        assert covers(obj, body) is covered


def test_a_set_that_we_never_applied_is_not_covered() -> None:
    obj = stored(desired())
    for changes in ({"manager": "other"}, {"operation": "Update"}, {"subresource": "status"}):
        entry = obj["metadata"]["managedFields"][0]
        changed = {**obj, "metadata": {**obj["metadata"], "managedFields": [entry | changes]}}
        assert not covers(changed, desired())


_NAMES = st.sampled_from(["a", "b", "c"])
_CONTAINERS = st.lists(
    st.fixed_dictionaries(
        {"name": _NAMES, "image": _NAMES},
        optional={
            "args": st.lists(_NAMES, min_size=1, max_size=2),
            "env": st.lists(
                st.fixed_dictionaries({"name": _NAMES}, optional={"value": _NAMES}),
                min_size=1,
                max_size=2,
                unique_by=lambda env: env["name"],
            ),
        },
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda container: container["name"],
)


@from_strategy(_CONTAINERS, _CONTAINERS)
@settings(max_examples=100, deadline=None)
def test_another_body_is_covered_only_if_it_is_the_same(
    before: list[dict[str, Any]], after: list[dict[str, Any]]
) -> None:
    live, body = stored(desired(containers=before)), desired(containers=after)
    assert covers(live, body) == (desired(containers=before) == body)


@pytest.mark.parametrize(
    ("applied", "answered", "said"),
    [
        ({"replicas": 2}, {"replicas": 2, "podManagementPolicy": "Parallel"}, ""),
        ({"replicas": 2}, {"replicas": 1}, "spec.replicas was applied as 2 and became 1"),
        ({"paused": True}, {}, "spec.paused was applied as true and became null"),
        (
            {"containers": [{"name": "a", "image": "x"}]},
            {"containers": [{"name": "a", "image": "y"}]},
            'spec.containers[0].image was applied as "x" and became "y"',
        ),
        (
            {"updateStrategy": {"rollingUpdate": {"partition": 0, "maxUnavailable": 2}}},
            {"updateStrategy": {"rollingUpdate": {"partition": 0}}},
            "",
        ),
        (
            {"template": {"spec": {"nodeSelector": {"a": "b"}}}},
            {"template": {"spec": {"nodeSelector": {"a": "b", "c": "d"}}}},
            'spec.template.spec.nodeSelector was applied as {"a": "b"} and became'
            ' {"a": "b", "c": "d"}',
        ),
        ({str(n): n for n in range(7)}, {}, ", and 2 more"),
    ],
)
def test_what_comes_of_an_apply_instead_is_told_by_field(
    applied: dict[str, Any], answered: dict[str, Any], said: str
) -> None:
    found = apply_diff.changed({"spec": answered}, {"metadata": {}, "spec": applied})
    assert found == said or (said.startswith(",") and found.endswith(said))
