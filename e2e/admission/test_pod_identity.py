"""The identity that every pod gets: labels, subdomain, LWS variables (lws-contract 2.3, 5.4, 6.3).

Subgroups, exclusive placement, TPU variables, and pods of real StatefulSets have their own modules.
"""

from typing import Any

import pytest

from lws_kueue.api import names
from tests.kit.admission import support

Object = dict[str, Any]

LWS_VARIABLES = ["LWS_LEADER_ADDRESS", "LWS_GROUP_SIZE", "LWS_WORKER_INDEX"]


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
    assert support.labels(stored) == {
        names.SET_NAME: "test",
        names.GROUP_INDEX: "1",
        names.WORKER_INDEX: "1",
    }


def test_a_worker_cannot_claim_another_place(pods: support.Pods) -> None:
    given = pods.worker("test-1-12")
    given["metadata"]["labels"][names.WORKER_INDEX] = "3"
    assert support.labels(pods.accept(given))[names.WORKER_INDEX] == "12"


@pytest.mark.row("POD-03")
def test_a_leader_gets_its_group_from_its_name(pods: support.Pods) -> None:
    stored = pods.accept(pods.leader("test-1"))
    assert support.labels(stored) == {
        names.SET_NAME: "test",
        names.WORKER_INDEX: "0",
        names.GROUP_INDEX: "1",
        names.GROUP_KEY: "pod-test-1",
    }


def test_leaders_created_by_hand_have_different_keys_however_long_their_names_are(
    pods: support.Pods,
) -> None:
    keys = {
        support.labels(pods.accept(pods.leader("n" * 200 + f"-{index}")))[names.GROUP_KEY]
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
    assert support.labels(pods.accept(given))[names.GROUP_KEY] == f"{uid}-4"


def test_labels_that_a_leader_has_already_are_kept(pods: support.Pods) -> None:
    own = {names.GROUP_KEY: "kept", names.GROUP_INDEX: "7"}
    stored = pods.accept(pods.leader("test-1", labels=own))
    assert support.labels(stored)[names.GROUP_KEY] == "kept"
    assert support.labels(stored)[names.GROUP_INDEX] == "7"
    address = ("LWS_LEADER_ADDRESS", f"test-7.default.{pods.namespace}")
    assert support.env(stored["spec"]["containers"][0])[0] == address


def test_leading_zeros_of_an_ordinal_do_not_count(pods: support.Pods) -> None:
    assert support.labels(pods.accept(pods.leader("test-007")))[names.GROUP_INDEX] == "7"


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


@pytest.mark.row("UT-31")
@pytest.mark.parametrize("namespace_of_its_own", [False, True])
@pytest.mark.parametrize("group", [0, 1])
def test_the_address_of_the_leader_names_group_and_namespace(
    pods: support.Pods, group: int, namespace_of_its_own: bool
) -> None:
    here = pods if namespace_of_its_own else support.Pods(pods.api, "default")
    spec = {"subdomain": "test-sample"}
    leader = here.leader(f"test-sample-{group}", lws="test-sample", size="3", spec=spec)
    worker = here.worker(
        f"test-sample-{group}-2", lws="test-sample", group=str(group), size="3", spec=spec
    )
    for pod, index in ((leader, "0"), (worker, "2")):
        (container,) = here.accept(pod)["spec"]["containers"]
        assert support.env(container) == [
            ("LWS_LEADER_ADDRESS", f"test-sample-{group}.test-sample.{here.namespace}"),
            ("LWS_GROUP_SIZE", "3"),
            ("LWS_WORKER_INDEX", index),
        ]


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


def test_a_pod_that_exists_can_lose_everything_and_be_deleted(own_pods: support.Pods) -> None:
    pods = own_pods
    pod = pods.worker("test-1-1")
    pods.api.create(pod)
    stripped = {"labels": {names.GROUP_INDEX: None}, "annotations": {names.SIZE: None}}
    pods.api.patch("v1", "Pod", "test-1-1", namespace=pods.namespace, body={"metadata": stripped})
    pods.api.delete("v1", "Pod", "test-1-1", namespace=pods.namespace, grace_seconds=0)
    assert pods.api.find("v1", "Pod", "test-1-1", namespace=pods.namespace) is None


# The mark of Kueue's built-in integration -------------------------------------------------------


def marked(
    pods: support.Pods, *, mark: str = names.KUEUE_LWS_FRAMEWORK, queue: str = "queue", gates: Any
) -> Object:
    """Return a leader whose template Kueue's built-in integration has marked."""
    given = pods.leader("test-1", labels={names.QUEUE_NAME: queue} if queue else {})
    given["metadata"]["annotations"][names.POD_SUSPENDING_PARENT] = mark
    given["spec"]["schedulingGates"] = [{"name": name} for name in gates]
    return given


@pytest.mark.parametrize("gates", [[], ["mine"], [names.ADMISSION_GATE], ["mine", "yours"]])
def test_a_pod_that_kueue_has_marked_waits_even_when_kueue_does_not_see_it(
    pods: support.Pods, gates: list[str]
) -> None:
    stored = pods.accept(marked(pods, gates=gates))
    found = [gate["name"] for gate in stored["spec"]["schedulingGates"]]
    others = [gate for gate in gates if gate != names.ADMISSION_GATE]
    assert found == [names.ADMISSION_GATE, *others]


def test_a_pod_with_our_mark_waits_whatever_its_template_says(pods: support.Pods) -> None:
    for queue in ("queue", ""):
        given = marked(pods, mark=names.OUR_SUSPENDING_PARENT, queue=queue, gates=["mine"])
        stored = pods.accept(given)
        found = [gate["name"] for gate in stored["spec"]["schedulingGates"]]
        assert found == [names.ADMISSION_GATE, "mine"]


def test_a_pod_that_nobody_would_let_go_is_not_held_back(pods: support.Pods) -> None:
    stored = pods.accept(marked(pods, queue="", gates=["mine"]))
    assert stored["spec"]["schedulingGates"] == [{"name": "mine"}]
