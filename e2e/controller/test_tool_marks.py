"""Tools that delete what has left their manifests leave the StatefulSets of a set alone."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from lws_kueue_lab import sandbox

from lws_kueue.api import names
from tests.kit.live import harness
from tests.kit.live import kubectl as tool

pytestmark = [pytest.mark.row("P1"), pytest.mark.usefixtures("controller")]

STATEFUL_SET = ("apps/v1", "StatefulSet")
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
TRACKING = "argocd.argoproj.io/tracking-id"
MARKS = frozenset({LAST_APPLIED, TRACKING})
NAME = "inventory"
CHILDREN = {NAME, f"{NAME}-0", f"{NAME}-1"}


def manifest(namespace: str) -> dict[str, Any]:
    body = harness.leader_worker_set(NAME, namespace=namespace)
    body["metadata"]["labels"] = {**body["metadata"].get("labels", {}), "app": NAME}
    body["metadata"]["annotations"] = {TRACKING: f"app:{NAME}"}
    return body


def uids(cluster: sandbox.Sandbox, namespace: str) -> dict[str, str]:
    """Who the StatefulSets and the pods of the namespace are."""
    return {
        f"{kind} {obj['metadata']['name']}": obj["metadata"]["uid"]
        for version, kind in (STATEFUL_SET, ("v1", "Pod"))
        for obj in cluster.api.list(version, kind, namespace=namespace)
    }


def marks_of(obj: dict[str, Any]) -> set[str]:
    return set(obj["metadata"].get("annotations") or {}) & MARKS


@pytest.mark.long
def test_pruning_by_label_with_an_unchanged_set_deletes_nothing(
    installed: sandbox.Sandbox, namespace: str, tmp_path: Path
) -> None:
    file = tmp_path / "set.json"
    file.write_text(json.dumps(manifest(namespace)), encoding="utf-8")
    apply = ("apply", "--prune", "-l", f"app={NAME}", "-n", namespace, "-f", str(file))
    tool.kubectl(installed, *apply)
    harness.wait_ready(installed, NAME, namespace=namespace, groups=2)
    owner = installed.api.get(names.LWS_API_VERSION, names.LWS_KIND, NAME, namespace=namespace)
    assert marks_of(owner) == MARKS, "kubectl has left its mark on the set"
    before = uids(installed, namespace)
    labelled = installed.api.list(*STATEFUL_SET, namespace=namespace, label_selector=f"app={NAME}")
    assert {obj["metadata"]["name"] for obj in labelled} == CHILDREN, "kubectl has seen them all"
    assert not any(marks_of(obj) for obj in labelled)
    for _ in range(2):
        assert "pruned" not in tool.kubectl(installed, *apply)
    assert uids(installed, namespace) == before


def test_marks_that_were_copied_before_go_in_one_write_each_and_no_pod_does(
    installed: sandbox.Sandbox, namespace: str
) -> None:
    cluster = installed
    cluster.api.create(manifest(namespace))
    harness.wait_ready(cluster, NAME, namespace=namespace, groups=2)
    before = uids(cluster, namespace)
    with harness.recording(cluster, *STATEFUL_SET, namespace=namespace) as record:
        for name in sorted(CHILDREN):
            as_copied(cluster, name, namespace=namespace)
        cluster.api.wait_for_all(
            *STATEFUL_SET,
            lambda seen: not any(marks_of(obj) for obj in seen.values()),
            namespace=namespace,
            what="StatefulSets without marks of tools",
        )
    for name in CHILDREN:
        seen = [e["object"] for e in record.events if e["object"]["metadata"]["name"] == name]
        marked = [bool(marks_of(obj)) for obj in seen]
        assert True in marked, f"{name} had a mark"
        first_without = marked.index(False, marked.index(True))
        assert not any(marked[first_without:])
        assert len({obj["metadata"]["generation"] for obj in seen}) == 1, "no spec has changed"
    assert uids(cluster, namespace) == before


def as_copied(cluster: sandbox.Sandbox, name: str, *, namespace: str) -> None:
    """Put a mark on a StatefulSet as LWS, and this controller, once did: as their own field."""
    live = copy.deepcopy(cluster.api.get(*STATEFUL_SET, name, namespace=namespace))
    meta = live["metadata"]
    kept = {key: meta[key] for key in ("name", "namespace", "labels", "ownerReferences")}
    annotations = {**(meta.get("annotations") or {}), LAST_APPLIED: "{}"}
    body = {key: live[key] for key in ("apiVersion", "kind", "spec")}
    cluster.api.apply(
        {**body, "metadata": {**kept, "annotations": annotations}},
        field_manager=names.FIELD_MANAGER,
    )
