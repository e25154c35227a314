"""The queue and the priority of a set that names none (kueue-contract 1.2 and 5.2)."""

import functools
from collections.abc import Iterator
from typing import Any

import pytest
from lws_kueue_lab import sandbox
from lws_kueue_lab.sandbox import client

from lws_kueue.api import names
from lws_kueue.install import manifests
from tests.kit.admission import support

KUEUE = names.KUEUE_API_VERSION
NAME = "test-sample"

pytestmark = pytest.mark.usefixtures("kueue_info")


@pytest.fixture
def defaulting(installed: client.Client, kueue_info: sandbox.KueueInfo) -> client.Client:
    """The API server with the policies that need Kueue, and the one to be asked for."""
    assert kueue_info.kind != "none"
    for obj in manifests.api_objects(kueue=True, default_priority_class=True):
        if obj["metadata"]["name"].startswith("lws-kueue-default-"):
            installed.apply(obj, field_manager="lws-kueue-install")
    return installed


def labels_of(sets: support.Sets, *, namespace: str = "", **metadata: Any) -> dict[str, str]:
    """Create a set, as a dry run, and return the labels that it would have."""
    given = sets.build(name="new")
    given["metadata"] |= metadata
    if namespace:
        given["metadata"]["namespace"] = namespace
    stored: dict[str, str] = sets.accept(given)["metadata"].get("labels") or {}
    return stored


def has(sets: support.Sets, key: str, value: str | None) -> bool:
    return labels_of(sets).get(key) == value


def local_queue(namespace: str, name: str) -> dict[str, Any]:
    return {
        "apiVersion": KUEUE,
        "kind": "LocalQueue",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"clusterQueue": "some"},
    }


@pytest.fixture
def default_queue(defaulting: client.Client, sets: support.Sets) -> support.Sets:
    """Sets of a namespace that has a default queue."""
    defaulting.create(local_queue(sets.namespace, "default"))
    acts = functools.partial(has, sets, names.QUEUE_NAME, "default")
    support.eventually(acts, what="a set gets the default queue")
    return sets


@pytest.fixture
def default_priority(defaulting: client.Client, sets: support.Sets) -> Iterator[support.Sets]:
    """Sets of a cluster that has a default priority."""
    priority = {
        "apiVersion": KUEUE,
        "kind": "WorkloadPriorityClass",
        "metadata": {"name": "default"},
        "value": 100,
    }
    defaulting.create(priority)
    acts = functools.partial(has, sets, names.PRIORITY_CLASS, "default")
    support.eventually(acts, what="a set gets the default priority")
    yield sets
    defaulting.delete(KUEUE, "WorkloadPriorityClass", "default")
    acts = functools.partial(has, sets, names.PRIORITY_CLASS, None)
    support.eventually(acts, what="there is no default priority any more")


def owner(api_version: str, kind: str, *, controller: bool = True) -> dict[str, Any]:
    uid = "6f1c5a5e-0000-4000-8000-000000000000"
    return {
        "apiVersion": api_version,
        "kind": kind,
        "name": "owner",
        "uid": uid,
        "controller": controller,
    }


# The queue -----------------------------------------------------------------------------------


@pytest.mark.row("D02")
def test_a_new_set_goes_to_the_default_queue(default_queue: support.Sets) -> None:
    default_queue.store(default_queue.build())
    assert default_queue.get(NAME)["metadata"]["labels"] == {names.QUEUE_NAME: "default"}


@pytest.mark.parametrize("given", [{"team": "a"}, {names.QUEUE_NAME: ""}])
def test_other_labels_stay_and_an_empty_queue_is_none(
    default_queue: support.Sets, given: dict[str, str]
) -> None:
    assert labels_of(default_queue, labels=given) == given | {names.QUEUE_NAME: "default"}


@pytest.mark.row("D03")
def test_a_set_stays_in_the_queue_that_it_names(default_queue: support.Sets) -> None:
    given = {names.QUEUE_NAME: "test-queue"}
    assert labels_of(default_queue, labels=given) == given


@pytest.mark.row("D04")
def test_without_a_default_queue_a_set_is_left_as_it_is(
    defaulting: client.Client, default_queue: support.Sets
) -> None:
    defaulting.create(local_queue(default_queue.namespace, "another"))
    # By the namespace that has a default queue the policy is known to act; the other has none.
    assert labels_of(default_queue, namespace="default") == {}
    defaulting.delete(KUEUE, "LocalQueue", "default", namespace=default_queue.namespace)
    acts = functools.partial(has, default_queue, names.QUEUE_NAME, None)
    support.eventually(acts, what="there is no default queue any more")


@pytest.mark.parametrize(
    ("reference", "queue"),
    [
        (owner("batch/v1", "Job"), None),
        (owner("workload.codeflare.dev/v1beta2", "AppWrapper"), None),
        (owner("v1", "Pod"), None),
        (owner("serving.example/v1", "Service"), "default"),
        (owner("apps/v1", "DaemonSet"), "default"),
        (owner("batch/v1", "Job", controller=False), "default"),
    ],
    ids=["job", "app-wrapper", "pod", "stranger", "another-kind", "no-controller"],
)
def test_what_kueue_may_manage_as_a_whole_is_not_queued_a_second_time(
    default_queue: support.Sets, reference: dict[str, Any], queue: str | None
) -> None:
    labels = labels_of(default_queue, ownerReferences=[reference])
    assert labels.get(names.QUEUE_NAME) == queue


def test_an_update_puts_no_set_into_a_queue(defaulting: client.Client, sets: support.Sets) -> None:
    sets.store(sets.build())
    defaulting.create(local_queue(sets.namespace, "default"))

    def acts() -> bool:
        given = sets.build(name="another")
        return bool(sets.accept(given)["metadata"].get("labels") == {names.QUEUE_NAME: "default"})

    support.eventually(acts, what="a new set gets the default queue")
    after = sets.update(NAME, {"spec": {"replicas": 5}})
    assert "labels" not in after["metadata"]


def test_the_clusters_own_namespace_has_no_default_queue(
    defaulting: client.Client, default_queue: support.Sets
) -> None:
    own = "kube-system"
    defaulting.create(local_queue(own, "default"))
    try:
        assert labels_of(default_queue, namespace=own) == {}
    finally:
        defaulting.delete(KUEUE, "LocalQueue", "default", namespace=own)


# The priority --------------------------------------------------------------------------------


def test_a_new_set_has_the_default_priority(default_priority: support.Sets) -> None:
    given = {names.QUEUE_NAME: "test-queue"}
    labels = labels_of(default_priority, labels=given)
    assert labels == given | {names.PRIORITY_CLASS: "default"}


def test_a_set_keeps_the_priority_that_it_names(default_priority: support.Sets) -> None:
    given = {names.QUEUE_NAME: "test-queue", names.PRIORITY_CLASS: "high"}
    assert labels_of(default_priority, labels=given) == given
    in_job = labels_of(default_priority, ownerReferences=[owner("batch/v1", "Job")])
    assert in_job == {}


def test_the_default_queue_and_the_default_priority_come_together(
    default_queue: support.Sets, default_priority: support.Sets
) -> None:
    assert default_queue is default_priority
    assert labels_of(default_queue) == {
        names.QUEUE_NAME: "default",
        names.PRIORITY_CLASS: "default",
    }


def test_groups_that_run_in_a_queue_get_no_other_priority(
    sets: support.Sets, request: pytest.FixtureRequest
) -> None:
    queued = {"metadata": {"labels": {names.QUEUE_NAME: "test-queue"}}}
    sets.store(support.merged(sets.build(), queued))
    status = {"replicas": 2, "readyReplicas": 1}
    sets.update(NAME, {"status": status}, subresource="status")
    request.getfixturevalue("default_priority")
    after = sets.update(NAME, {"spec": {"replicas": 3}})
    assert after["metadata"]["labels"] == {names.QUEUE_NAME: "test-queue"}


# What came by default stays -------------------------------------------------------------------


def replaced(sets: support.Sets, **labels: str) -> dict[str, Any]:
    """Replace the whole set by somebody's manifest with these labels, and return what is stored."""
    given = sets.build({"replicas": 7})
    if labels:
        given["metadata"]["labels"] = labels
    version = sets.get(NAME)["metadata"]["resourceVersion"]
    given["metadata"]["resourceVersion"] = version
    return sets.api.replace(given)


@pytest.mark.row("P3")
@pytest.mark.parametrize("labels", [{}, {"team": "a"}, {names.QUEUE_NAME: ""}])
def test_a_replacement_that_knows_nothing_of_the_default_queue_keeps_it(
    default_queue: support.Sets, labels: dict[str, str]
) -> None:
    default_queue.store(default_queue.build())
    stored = replaced(default_queue, **labels)
    assert stored["spec"]["replicas"] == 7
    assert stored["metadata"]["labels"] == labels | {names.QUEUE_NAME: "default"}


@pytest.mark.row("P3")
@pytest.mark.parametrize("ready", [0, 1])
def test_what_came_by_default_stays_when_the_default_is_there_no_more(
    sets: support.Sets, ready: int
) -> None:
    both = {names.QUEUE_NAME: "default", names.PRIORITY_CLASS: "default"}
    sets.store(support.merged(sets.build(), {"metadata": {"labels": both}}))
    status = {"replicas": 2, "readyReplicas": ready}
    sets.update(NAME, {"status": status}, subresource="status")
    stored = replaced(sets)
    assert (stored["spec"]["replicas"], stored["metadata"]["labels"]) == (7, both)


@pytest.mark.row("P3")
def test_one_of_the_two_comes_back_beside_what_the_replacement_names(sets: support.Sets) -> None:
    both = {names.QUEUE_NAME: "some", names.PRIORITY_CLASS: "default"}
    sets.store(support.merged(sets.build(), {"metadata": {"labels": both}}))
    assert replaced(sets, **{names.QUEUE_NAME: "some"})["metadata"]["labels"] == both


@pytest.mark.row("P3")
@pytest.mark.parametrize(
    ("labels", "left"),
    [
        ({names.QUEUE_NAME: "some"}, {}),
        (
            {names.QUEUE_NAME: "default", names.PRIORITY_CLASS: "high"},
            {names.QUEUE_NAME: "default"},
        ),
    ],
    ids=["queue", "priority"],
)
def test_what_the_set_named_itself_cannot_be_taken_away(
    sets: support.Sets, labels: dict[str, str], left: dict[str, str]
) -> None:
    sets.store(support.merged(sets.build(), {"metadata": {"labels": labels}}))
    with support.refused() as refusal:
        replaced(sets, **left)
    missing = next(iter(labels.keys() - left.keys()))
    assert f"metadata.labels[{missing}]" in refusal.message


@pytest.mark.row("P3")
def test_another_queue_can_be_named_instead_of_the_default_one(sets: support.Sets) -> None:
    labels = {names.QUEUE_NAME: "default"}
    sets.store(support.merged(sets.build(), {"metadata": {"labels": labels}}))
    another = {names.QUEUE_NAME: "another"}
    assert replaced(sets, **another)["metadata"]["labels"] == another


@pytest.mark.row("P3")
def test_a_plain_set_may_lose_a_priority_of_that_name(sets: support.Sets) -> None:
    labels = {names.PRIORITY_CLASS: "default"}
    sets.store(support.merged(sets.build(), {"metadata": {"labels": labels}}))
    assert "labels" not in replaced(sets)["metadata"]
