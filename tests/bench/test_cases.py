"""What is measured is the same for everybody."""

from typing import Any

import pytest
from lws_kueue_lab.bench import cases

from lws_kueue.api import names

Object = dict[str, Any]

SHAPES = (cases.Shape(1, 1), cases.Shape(3, 2), cases.Shape(50, 4), cases.Shape(64, 32))


def stateful_sets(shape: cases.Shape) -> list[Object]:
    return [obj for obj in cases.floor(shape) if obj["kind"] == "StatefulSet"]


def pods(stateful_set: Object) -> set[str]:
    spec = stateful_set["spec"]
    begin = spec["ordinals"]["start"]
    name = stateful_set["metadata"]["name"]
    return {f"{name}-{begin + ordinal}" for ordinal in range(spec["replicas"])}


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_floor_has_the_pods_of_a_set_of_the_same_shape(shape: cases.Shape) -> None:
    names_of_pods = [name for one in stateful_sets(shape) for name in pods(one)]
    expected = {f"bench-{group}" for group in range(shape.groups)} | {
        f"bench-{group}-{worker}"
        for group in range(shape.groups)
        for worker in range(1, shape.size)
    }
    assert len(names_of_pods) == len(expected) == shape.pods
    assert set(names_of_pods) == expected


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_no_two_stateful_sets_of_the_floor_select_the_same_pods(shape: cases.Shape) -> None:
    selectors = [str(one["spec"]["selector"]) for one in stateful_sets(shape)]
    assert len(set(selectors)) == len(selectors)
    for one in stateful_sets(shape):
        assert (
            one["spec"]["selector"]["matchLabels"] == one["spec"]["template"]["metadata"]["labels"]
        )
        assert one["spec"]["podManagementPolicy"] == "Parallel"


@pytest.mark.parametrize("case", ["plain", "queue-managed", "topology"])
def test_a_set_has_the_pod_spec_of_the_floor(case: cases.Case) -> None:
    shape = cases.Shape(3, 2)
    (made,) = cases.objects(case, shape)
    template = made["spec"]["leaderWorkerTemplate"]["workerTemplate"]
    assert all(one["spec"]["template"]["spec"] == template["spec"] for one in stateful_sets(shape))
    assert made["spec"]["replicas"] == 3
    assert made["spec"]["leaderWorkerTemplate"]["size"] == 2


@pytest.mark.parametrize(
    ("case", "kinds", "labelled", "placed"),
    [
        ("floor", [], False, False),
        ("plain", [], False, False),
        ("queue-managed", ["ResourceFlavor", "ClusterQueue", "LocalQueue"], True, False),
        (
            "topology",
            ["Topology", "ResourceFlavor", "ClusterQueue", "LocalQueue"],
            True,
            True,
        ),
    ],
)
def test_queues_and_topology_are_there_where_they_are_measured(
    case: cases.Case, kinds: list[str], labelled: bool, placed: bool
) -> None:
    assert [obj["kind"] for obj in cases.queues(case)] == kinds
    made = cases.leader_worker_set(case, cases.Shape(3, 2))
    assert (names.QUEUE_NAME in made["metadata"]["labels"]) is labelled
    template = made["spec"]["leaderWorkerTemplate"]["workerTemplate"]
    assert (names.PODSET_REQUIRED_TOPOLOGY in template["metadata"]["annotations"]) is placed


@pytest.mark.parametrize(("groups", "tenth"), [(1, 1), (9, 1), (50, 5), (1000, 100)])
def test_a_tenth_is_at_least_one_group(groups: int, tenth: int) -> None:
    assert cases.tenth(groups) == tenth
