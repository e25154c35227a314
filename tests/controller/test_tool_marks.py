"""Marks by which tools know their own objects stay on the set, and go to none of its children."""

from collections.abc import Mapping
from typing import Any

import pytest

from lws_kueue.api import actions, facts, lws, names, tool_marks
from lws_kueue.controller.objects import statefulsets, worker_sets
from lws_kueue.controller.observe import groups
from tests.kit.builders import given

pytestmark = pytest.mark.row("P1")

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
MARKS = (
    LAST_APPLIED,
    "applyset.kubernetes.io/part-of",
    "addonmanager.kubernetes.io/mode",
    "argocd.argoproj.io/tracking-id",
    "argocd.argoproj.io/instance",
    "kustomize.toolkit.fluxcd.io/name",
    "kustomize.toolkit.fluxcd.io/checksum",
    "helm.toolkit.fluxcd.io/namespace",
    "fluxcd.io/sync-gc-mark",
    "meta.helm.sh/release-name",
    "meta.helm.sh/release-namespace",
    "config.k8s.io/owning-inventory",
    "config.kubernetes.io/depends-on",
    "internal.config.kubernetes.io/path",
    "kustomize.config.k8s.io/id",
    "cli-utils.sigs.k8s.io/inventory-id",
    "configsync.gke.io/declared-version",
    "configmanagement.gke.io/managed",
    "kapp.k14s.io/app",
    "kluctl.io/discriminator",
    "tanka.dev/environment",
    "objectset.rio.cattle.io/hash",
    "fleet.cattle.io/bundle-id",
)
OTHERS = (
    "app",
    "app.kubernetes.io/instance",
    "app.kubernetes.io/managed-by",
    "app.kubernetes.io/part-of",
    "kubectl.kubernetes.io/restartedAt",
    "helm.sh/chart",
    "example.com/config.k8s.io",
    "notconfig.k8s.io/x",
    "config.k8s.io",
    names.EXCLUSIVE_TOPOLOGY,
)


def marked(*keys: str) -> lws.LeaderWorkerSet:
    values = dict.fromkeys(keys, "x")
    return given.an_lws(labels=values, annotations=values)


def leader(owner: lws.LeaderWorkerSet) -> dict[str, Any]:
    return statefulsets.leader(owner, key="k", partition=0, replicas=2, queue_gated=False)


def worker(owner: lws.LeaderWorkerSet) -> dict[str, Any]:
    return statefulsets.worker(
        owner, leader_pod=given.a_leader(1), revision_lws=owner, queue_gated=False
    )


@pytest.mark.parametrize("key", MARKS)
def test_the_mark_of_a_tool_goes_to_no_stateful_set(key: str) -> None:
    for render in (leader, worker):
        assert render(marked(key)) == render(marked())


@pytest.mark.parametrize("key", OTHERS)
def test_what_marks_nothing_of_a_tool_is_inherited_as_by_lws(key: str) -> None:
    for render in (leader, worker):
        metadata = render(marked(key))["metadata"]
        assert metadata["labels"][key] == metadata["annotations"][key] == "x"


# StatefulSets of earlier versions and of LWS --------------------------------------------------


def written(keys: Mapping[str, str], *, by: str, operation: str = "Update") -> dict[str, Any]:
    fields: dict[str, Any] = {f"f:{key}": {} for key in keys}
    return {
        "manager": by,
        "operation": operation,
        "fieldsV1": {"f:metadata": {"f:annotations": fields, "f:labels": fields}},
    }


OF_WORKERS = {"ordinals": {"start": 1}}


def stored(keys: Mapping[str, str], *entries: dict[str, Any], **meta: Any) -> facts.StatefulSet:
    metadata = {"name": "s-0", "namespace": "ns", "uid": "u", "resourceVersion": "7", **meta}
    both = {"labels": dict(keys), "annotations": dict(keys), "managedFields": list(entries)}
    return facts.StatefulSet.of({"metadata": {**metadata, **both}, "spec": OF_WORKERS})


COPIED = {LAST_APPLIED: "{}", "argocd.argoproj.io/tracking-id": "a", "team": "x"}


@pytest.mark.parametrize("operation", ["Update", "Apply"])
def test_copied_marks_are_taken_off_and_nothing_else(operation: str) -> None:
    entry = written(COPIED, by=names.FIELD_MANAGER, operation=operation)
    gone = {"argocd.argoproj.io/tracking-id": None, LAST_APPLIED: None}
    assert tool_marks.copied(stored(COPIED, entry)) == {"labels": gone, "annotations": gone}


def test_they_are_taken_off_with_what_else_is_put_right_in_one_guarded_write() -> None:
    head = given.a_leader(0)
    own = stored(COPIED, written(COPIED, by=names.FIELD_MANAGER))
    group = groups.Group(index=0, size=2, leader=head, worker_set=own)
    (patch,) = worker_sets.put_right(group)
    assert isinstance(patch, actions.Patch)
    assert patch.body == {"metadata": tool_marks.copied(own)}
    assert (patch.ref.kind, patch.ref.name, patch.resource_version) == ("StatefulSet", "s-0", "7")


def test_what_carries_no_mark_is_not_written() -> None:
    assert tool_marks.copied(stored({"team": "x"}, written(COPIED, by=names.FIELD_MANAGER))) == {}


def test_a_mark_that_somebody_else_has_written_is_theirs() -> None:
    assert tool_marks.copied(stored(COPIED, written(COPIED, by="argocd-controller"))) == {}


def test_a_stateful_set_on_its_way_out_is_not_written() -> None:
    entry = written(COPIED, by=names.FIELD_MANAGER)
    leaving = stored(COPIED, entry, deletionTimestamp="2030-01-01T00:00:00Z")
    group = groups.Group(index=0, size=2, leader=given.a_leader(0), worker_set=leaving)
    assert worker_sets.put_right(group) == ()
