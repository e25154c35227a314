"""Pod sets come from the user's templates, without what belongs to a controller."""

from typing import Any

import pytest

from lws_kueue.api import names
from lws_kueue.workload import podsets
from tests.kit.builders import builders


def pod_sets(**given: Any) -> list[dict[str, Any]]:
    topology = given.pop("topology", True)
    owner = builders.lws_object(**given)
    return podsets.pod_sets(owner.spec.leader_worker_template, topology=topology)


def shape(sets: list[dict[str, Any]]) -> list[tuple[str, int]]:
    return [(one["name"], one["count"]) for one in sets]


@pytest.mark.row("R01")
def test_one_template_is_one_podset_of_the_whole_group() -> None:
    assert shape(pod_sets(size=3)) == [("main", 3)]


@pytest.mark.row("R02")
def test_a_leader_template_is_a_podset_before_the_workers() -> None:
    leader = builders.template()
    assert shape(pod_sets(size=3, leader=leader)) == [("leader", 1), ("worker", 2)]
    assert shape(pod_sets(size=1, leader=leader)) == [("leader", 1), ("worker", 0)]


@pytest.mark.row("R04")
def test_metadata_of_the_user_stays_and_that_of_controllers_goes() -> None:
    worker = builders.template()
    worker["metadata"] = {
        "name": "ignored",
        "labels": {
            "team": "x",
            names.SET_NAME: "serve",
            names.WORKER_INDEX: "4",
            names.QUEUE_NAME: "other",
            names.PRIORITY_CLASS: "high",
            names.MANAGED: "true",
        },
        "annotations": {
            "note": "y",
            names.SIZE: "3",
            "leaderworkerset.sigs.k8s.io.example.com/x": "z",
            names.POD_SUSPENDING_PARENT: "someone",
            names.POD_GROUP_SERVING: "true",
            names.POD_INDEX_OFFSET: "1",
            names.ROLE_HASH: "main",
        },
    }
    assert pod_sets(worker=worker)[0]["template"]["metadata"] == {
        "labels": {"team": "x", names.SET_NAME: "serve"},
        "annotations": {"note": "y"},
    }


def test_the_last_of_several_variables_of_one_name_wins_in_the_place_of_the_first() -> None:
    env = [{"name": "A", "value": "1"}, {"name": "B"}, {"name": "A", "value": "2"}]
    worker = builders.template(
        containers=[{"name": "c", "env": env}, {"name": "d", "env": []}],
        initContainers=[{"name": "i", "env": [{"name": "X"}, {"name": "X", "value": "1"}]}],
    )
    spec = pod_sets(worker=worker)[0]["template"]["spec"]
    assert spec["containers"] == [
        {"name": "c", "env": [{"name": "A", "value": "2"}, {"name": "B"}]},
        {"name": "d"},
    ]
    assert spec["initContainers"][0]["env"] == [{"name": "X", "value": "1"}]
    assert len(env) == 3  # The stored template is never changed.


REQUIRED = {names.PODSET_REQUIRED_TOPOLOGY: "rack"}


@pytest.mark.row("R05")
def test_topology_is_asked_for_on_both_podsets_and_ranks_only_on_workers() -> None:
    marked = builders.template(annotations=REQUIRED)
    leader, worker = pod_sets(leader=marked, worker=marked)
    assert leader["topologyRequest"] == {"required": "rack"}
    assert worker["topologyRequest"] == {"required": "rack", "podIndexLabel": names.WORKER_INDEX}


@pytest.mark.row("R06")
def test_without_topology_scheduling_only_the_annotations_stay() -> None:
    marked = builders.template(annotations=REQUIRED)
    for one in pod_sets(leader=marked, worker=marked, topology=False):
        assert "topologyRequest" not in one
        assert one["template"]["metadata"]["annotations"] == REQUIRED


def test_ranks_are_asked_for_even_where_no_topology_is() -> None:
    leader, worker = pod_sets(leader=builders.template())
    assert "topologyRequest" not in leader
    assert worker["topologyRequest"] == {"podIndexLabel": names.WORKER_INDEX}


GROUPED = {**REQUIRED, names.PODSET_GROUP_NAME: "g"}


@pytest.mark.row("C12")
def test_leader_and_workers_of_a_group_name_it_both() -> None:
    marked = builders.template(annotations=GROUPED)
    for one in pod_sets(leader=marked, worker=marked):
        assert one["topologyRequest"]["podSetGroupName"] == "g"


@pytest.mark.row("C21")
def test_a_group_of_one_podset_is_none_for_kueue() -> None:
    (main,) = pod_sets(worker=builders.template(annotations=GROUPED))
    assert main["topologyRequest"] == {"required": "rack", "podIndexLabel": names.WORKER_INDEX}
    assert main["template"]["metadata"]["annotations"] == GROUPED
