"""The cache: the newest version wins, whatever way it came."""

from collections.abc import Iterable
from typing import Any

import hypothesis
import hypothesis.strategies as st
import pytest

from lws_kueue.api import facts, lws, memos, names
from lws_kueue.runtime import cache, gathered, keys, resources

KEY = keys.SetKey("ns", "set")


def pod(
    name: str = "set-0", *, version: int = 1, uid: str = "u1", node: str = ""
) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "namespace": "ns",
            "name": name,
            "uid": uid,
            "resourceVersion": str(version),
            "labels": {names.SET_NAME: "set"},
        },
        "spec": {"nodeName": node},
    }


def replaced(
    store: cache.Cache,
    resource: resources.Resource,
    items: Iterable[facts.Object],
    *,
    as_of: str,
) -> set[keys.SetKey]:
    """Take a list of one page; returns the sets concerned."""
    renewal = store.renewal(resource)
    return renewal.take(items).union(*renewal.gone(as_of=as_of))


def test_an_object_is_filed_under_the_set_that_its_label_names() -> None:
    store = cache.Cache()
    assert store.upsert(resources.PODS, pod()) == {KEY}
    assert list(store.of_set(KEY, resources.PODS)) == ["set-0"]
    assert store.known_sets() == {KEY}


@pytest.mark.row("UT-18")
@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({}, None),
        ({names.SET_NAME: ""}, None),
        ({names.SET_NAME: "my-lws"}, keys.SetKey("ns", "my-lws")),
    ],
)
def test_a_statefulset_wakes_the_set_that_its_label_names(
    labels: dict[str, str], expected: keys.SetKey | None
) -> None:
    meta = {"namespace": "ns", "name": "x", "uid": "u", "resourceVersion": "1", "labels": labels}
    body = {"metadata": meta, "spec": {}}
    assert keys.set_of(resources.STATEFUL_SETS, facts.Meta.of(body)) == expected
    if expected is not None:
        woken = cache.Cache().upsert(resources.STATEFUL_SETS, body)
        assert woken is not None
        assert expected in woken


def test_an_older_version_does_not_replace_a_newer_one() -> None:
    store = cache.Cache()
    store.upsert(resources.PODS, pod(version=5, node="n"))
    assert store.upsert(resources.PODS, pod(version=4)) is None
    assert store.of_set(KEY, resources.PODS)["set-0"].node == "n"


def test_the_same_version_is_no_news() -> None:
    store = cache.Cache()
    store.upsert(resources.PODS, pod(version=5))
    assert store.upsert(resources.PODS, pod(version=5)) is None


def test_a_late_event_does_not_bring_a_deleted_object_back() -> None:
    store = cache.Cache()
    store.upsert(resources.PODS, pod(version=5))
    store.remove(resources.PODS, namespace="ns", name="set-0", uid="u1")
    assert store.upsert(resources.PODS, pod(version=6)) is None
    assert not store.of_set(KEY, resources.PODS)


def test_an_object_whose_label_comes_back_is_seen_again() -> None:
    store = cache.Cache()
    store.upsert(resources.PODS, pod(version=5))
    store.remove(resources.PODS, namespace="ns", name="set-0", uid="u1", version="6")
    assert store.upsert(resources.PODS, pod(version=6)) is None
    assert store.upsert(resources.PODS, pod(version=7)) == {KEY}


def test_graves_are_forgotten_after_a_while() -> None:
    now = [0.0]
    store = cache.Cache(clock=lambda: now[0])
    store.remove(resources.PODS, namespace="ns", name="set-0", uid="u1")
    now[0] = cache.TOMBSTONE_SECONDS + 1
    store.remove(resources.PODS, namespace="ns", name="other", uid="u2")
    assert store.upsert(resources.PODS, pod()) == {KEY}


def test_one_odd_object_in_a_list_does_not_hide_the_others() -> None:
    store = cache.Cache()
    odd = {
        "metadata": {"name": "odd", "uid": "o", "resourceVersion": "1"},
        "spec": {"nodeLabels": 1},
    }
    even = {"metadata": {"name": "even", "uid": "e", "resourceVersion": "1"}, "spec": {}}
    replaced(store, resources.FLAVORS, [odd, even], as_of="5")
    assert [flavor.meta.name for flavor in store.all(resources.FLAVORS)] == ["even"]


def test_deleting_an_old_object_leaves_its_successor_of_the_same_name() -> None:
    store = cache.Cache()
    store.upsert(resources.PODS, pod(version=9, uid="new"))
    assert store.remove(resources.PODS, namespace="ns", name="set-0", uid="old") is None
    assert "set-0" in store.of_set(KEY, resources.PODS)


def test_a_list_removes_what_it_lacks_but_not_what_is_newer_than_it() -> None:
    store = cache.Cache()
    store.upsert(resources.PODS, pod("set-0", version=3, uid="gone"))
    store.upsert(resources.PODS, pod("set-1", version=30, uid="young"))
    touched = replaced(store, resources.PODS, [pod("set-2", version=7, uid="kept")], as_of="20")
    assert touched == {KEY}
    assert sorted(store.of_set(KEY, resources.PODS)) == ["set-1", "set-2"]


def test_a_pod_that_is_given_another_sets_label_concerns_both_and_stays_with_its_own() -> None:
    store = cache.Cache()
    store.upsert(resources.PODS, pod(version=1))
    moved = pod(version=2)
    moved["metadata"]["labels"] = {names.SET_NAME: "other"}
    other = keys.SetKey("ns", "other")
    assert {KEY, other} <= (store.upsert(resources.PODS, moved) or set())
    for key in (KEY, other):
        assert store.of_set(key, resources.PODS)["set-0"].meta.labels[names.SET_NAME] == "other"
    assert {KEY, other} <= (store.upsert(resources.PODS, pod(version=3)) or set())
    assert not store.of_set(other, resources.PODS)


@pytest.mark.parametrize(
    ("resource", "name", "owner", "expected"),
    [
        (resources.STATEFUL_SETS, "x", (names.LWS_KIND, "set"), {"set"}),
        (resources.STATEFUL_SETS, "set-0", ("Pod", "set-0"), {"set", "set-0"}),
        (resources.PODS, "x", ("StatefulSet", "set-0"), {"set", "set-0"}),
        (resources.PODS, "set-0-1", None, {"set", "set-0", "set-0-1"}),
        (resources.PODS, "set-0", ("Job", "set"), set()),
        (resources.SERVICES, "set-1", None, {"set", "set-1"}),
        (resources.REVISIONS, "set-7f-1", None, set()),
        (resources.REVISIONS, "x", (names.LWS_KIND, "set"), {"set"}),
    ],
)
def test_an_object_whose_label_names_no_set_of_its_concerns_those_that_it_could_be_of(
    resource: resources.Resource, name: str, owner: tuple[str, str] | None, expected: set[str]
) -> None:
    reference = (
        {"kind": owner[0], "name": owner[1], "uid": "o", "controller": True} if owner else {}
    )
    meta = {"namespace": "ns", "name": name, "ownerReferences": [reference] if owner else []}
    for label in ("", "other"):
        labelled = {"metadata": {**meta, "labels": {names.SET_NAME: label} if label else {}}}
        found = keys.sets_of(resource, facts.Meta.of(labelled))
        assert {key.name for key in found} == expected | ({label} if label else set())
    labelled = {"metadata": {**meta, "labels": {names.SET_NAME: "set"}}}
    assert {key.name for key in keys.sets_of(resource, facts.Meta.of(labelled))} == {"set"}


def test_a_list_by_label_says_nothing_of_what_lacks_the_label() -> None:
    store = cache.Cache()
    stray = pod(version=3)
    stray["metadata"]["labels"] = {}
    store.upsert(resources.PODS, stray, belongs_to=KEY)
    replaced(store, resources.PODS, [], as_of="20")
    assert list(store.of_set(KEY, resources.PODS)) == ["set-0"]
    assert [(r.kind, meta.name) for r, meta in store.unlabelled()] == [("Pod", "set-0")]


def test_a_set_whose_template_no_api_server_would_take_is_invalid() -> None:
    template = {"spec": {"containers": "none"}}
    body = {
        "metadata": {"namespace": "ns", "name": "set", "uid": "s", "resourceVersion": "1"},
        "spec": {"leaderWorkerTemplate": {"workerTemplate": template}},
    }
    found = cache.parse_set(body)
    assert isinstance(found, lws.InvalidSet)
    assert found.problem.startswith("leaderWorkerTemplate.workerTemplate.spec.containers: ")


def test_an_object_of_our_name_without_our_labels_can_be_filed_under_the_set() -> None:
    store = cache.Cache()
    foreign = {
        "metadata": {"namespace": "ns", "name": "set", "uid": "f", "resourceVersion": "1"},
        "spec": {},
    }
    store.upsert(resources.STATEFUL_SETS, foreign, belongs_to=KEY)
    assert "set" in store.of_set(KEY, resources.STATEFUL_SETS)


def test_a_set_whose_spec_breaks_the_rules_is_a_fact_and_not_an_error() -> None:
    broken = {
        "metadata": {"namespace": "ns", "name": "set", "uid": "s", "resourceVersion": "1"},
        "spec": {"replicas": "many", "leaderWorkerTemplate": {"workerTemplate": {}}},
    }
    store = cache.Cache()
    store.upsert(resources.SETS, broken)
    found = store.get(resources.SETS, namespace="ns", name="set")
    assert isinstance(found, lws.InvalidSet)
    assert "replicas" in found.problem


@pytest.mark.parametrize(
    ("owner_kind", "annotations", "expected"),
    [
        (names.LWS_KIND, {}, keys.SetKey("ns", "owner")),
        (
            "Pod",
            {names.JOB_OWNER_GVK: names.JOB_OWNER_GVK_VALUE, names.JOB_OWNER_NAME: "by-mark"},
            keys.SetKey("ns", "by-mark"),
        ),
        ("Job", {}, None),
    ],
)
def test_a_workload_belongs_to_the_set_that_owns_it(
    owner_kind: str, annotations: dict[str, str], expected: keys.SetKey | None
) -> None:
    workload = {
        "metadata": {
            "namespace": "ns",
            "name": "w",
            "uid": "w",
            "resourceVersion": "1",
            "annotations": annotations,
            "ownerReferences": [{"kind": owner_kind, "name": "owner", "uid": "o"}],
        },
    }
    assert keys.set_of(resources.WORKLOADS, facts.Meta.of(workload)) == expected


@hypothesis.given(st.permutations(list(range(1, 8))))
def test_events_in_any_order_end_in_the_newest_version(versions: list[int]) -> None:
    store = cache.Cache()
    for version in versions:
        store.upsert(resources.PODS, pod(version=version, node=f"n{version}"))
    assert store.of_set(KEY, resources.PODS)["set-0"].node == "n7"


def test_what_lost_its_label_while_nobody_watched_is_filed_when_it_is_read() -> None:
    store = cache.Cache()
    store.upsert(resources.PODS, pod(version=3))
    replaced(store, resources.PODS, [], as_of="20")
    stray = pod(version=10)
    stray["metadata"]["labels"] = {}
    assert KEY in (store.upsert(resources.PODS, stray, belongs_to=KEY) or ())
    store.remove(resources.PODS, namespace="ns", name="set-0", uid="u1")
    assert store.upsert(resources.PODS, stray, belongs_to=KEY) is None, "it is gone for good"


# Names that two sets need ---------------------------------------------------------------------


def a_set(name: str) -> dict[str, Any]:
    return {
        "metadata": {"namespace": "ns", "name": name, "uid": f"u-{name}", "resourceVersion": "1"},
        "spec": {"leaderWorkerTemplate": {"workerTemplate": {"spec": {"containers": []}}}},
    }


def of_set(name: str, label: str) -> dict[str, Any]:
    meta = {"namespace": "ns", "name": name, "uid": f"u-{name}-{label}", "resourceVersion": "1"}
    return {"metadata": {**meta, "labels": {names.SET_NAME: label}}, "spec": {}}


@pytest.mark.row("P9")
@pytest.mark.parametrize("resource", [resources.STATEFUL_SETS, resources.SERVICES])
def test_a_set_sees_whoever_has_a_name_that_it_needs_and_is_woken_when_that_goes(
    resource: resources.Resource,
) -> None:
    store = cache.Cache()
    first, second = keys.SetKey("ns", "model"), keys.SetKey("ns", "model-1")
    for key in (first, second):
        store.upsert(resources.SETS, a_set(key.name))
    store.upsert(resource, of_set("model-1", "model"))
    assert list(store.of_set(second, resource)) == []
    assert list(gathered.by_name(store, second, resource, leaders=())) == ["model-1"]
    gone = store.remove(resource, namespace="ns", name="model-1", uid="u-model-1-model")
    assert gone == {first, second}


@pytest.mark.row("P9")
def test_a_group_sees_whoever_has_the_name_of_its_leader() -> None:
    store = cache.Cache()
    first = keys.SetKey("ns", "model")
    leader = of_set("model-1", "model")
    store.upsert(resources.PODS, leader)
    store.upsert(resources.STATEFUL_SETS, of_set("model-1", "model-1"))
    store.upsert(resources.STATEFUL_SETS, of_set("model-2", "model-2"))
    pods = store.of_set(first, resources.PODS)
    leaders = gathered.leaders_in(pods, first, memo=memos.Memo())
    found = gathered.by_name(store, first, resources.STATEFUL_SETS, leaders=leaders)
    assert list(found) == ["model-1"]


def part_of(uid: str) -> dict[str, Any]:
    """Return a set that another object controls."""
    holder = {"apiVersion": "v1", "kind": "Pod", "name": "holder", "uid": uid, "controller": True}
    return {**a_set("set"), "metadata": {**a_set("set")["metadata"], "ownerReferences": [holder]}}


def test_a_set_is_woken_by_the_workload_of_what_it_is_part_of() -> None:
    holder = {"apiVersion": "v1", "kind": "Pod", "name": "holder", "uid": "h"}
    meta = {"namespace": "ns", "name": "w", "uid": "w", "resourceVersion": "1"}
    workload = {"metadata": {**meta, "ownerReferences": [holder]}}
    store = cache.Cache()
    assert store.upsert(resources.WORKLOADS, workload) == set()
    store.upsert(resources.SETS, part_of("h"))
    assert [one.meta.name for one in store.owned_by(resources.WORKLOADS, "h")] == ["w"]
    assert store.owned_by(resources.WORKLOADS, "another") == ()
    admitted = {"metadata": {**workload["metadata"], "resourceVersion": "2"}}
    assert store.upsert(resources.WORKLOADS, admitted) == {KEY}
    assert len(store.owned_by(resources.WORKLOADS, "h")) == 1
    gone = store.remove(resources.WORKLOADS, namespace="ns", name="w", uid="w")
    assert gone == {KEY}
    assert store.owned_by(resources.WORKLOADS, "h") == ()
    store.upsert(
        resources.SETS,
        {**part_of("h"), "metadata": {**part_of("other")["metadata"], "resourceVersion": "9"}},
    )
    assert store.owned_by(resources.SETS, "h") == ()
