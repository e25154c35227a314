"""The pod integration finalizes Workloads of pod groups without pods, and pods that are over."""

import pytest
from lws_kueue_lab.kueue_standin import pod_marks

from lws_kueue.api import names
from tests.kit.standin.world import World

GROUP = {names.IS_GROUP_WORKLOAD: "true"}
FINALIZERS = ["example.com/other", names.WORKLOAD_FINALIZER]
LATER = "2026-01-01T00:00:00Z"


def finalizers(world: World, kind: str, name: str) -> list[str]:
    found: list[str] = world.get(kind, name)["metadata"]["finalizers"]
    return found


@pytest.mark.row("WAR-01")
def test_a_workload_of_a_pod_group_without_pods_loses_its_finalizer_however_often() -> None:
    world = World()
    world.queues()
    world.workload("w", made={"annotations": GROUP, "finalizers": FINALIZERS})
    world.settle()
    assert world.admitted() == ["w"]
    assert finalizers(world, "Workload", "w") == FINALIZERS[:1]
    world.get("Workload", "w")["metadata"]["finalizers"] = FINALIZERS
    world.settle()
    assert finalizers(world, "Workload", "w") == FINALIZERS[:1]


@pytest.mark.parametrize("field", ["labels", "annotations"])
def test_a_workload_whose_pod_group_has_a_pod_keeps_it(field: str) -> None:
    world = World()
    world.queues()
    world.workload("w", made={"annotations": GROUP, "finalizers": FINALIZERS})
    world.add("Pod", "p", spec={"containers": []}, **{field: {names.POD_GROUP_NAME: "w"}})
    world.settle()
    assert finalizers(world, "Workload", "w") == FINALIZERS
    world.remove("Pod", "p")
    world.settle()
    assert finalizers(world, "Workload", "w") == FINALIZERS[:1]


def test_a_workload_that_is_no_pod_groups_keeps_it() -> None:
    world = World()
    world.queues({"cpu": "2"})
    world.workload("plain", made={"finalizers": FINALIZERS})
    world.settle()
    assert finalizers(world, "Workload", "plain") == FINALIZERS


def test_with_the_integration_off_nothing_is_finalized() -> None:
    world = World(pods=None)
    world.queues()
    world.workload("w", made={"annotations": GROUP, "finalizers": FINALIZERS})
    world.settle()
    assert finalizers(world, "Workload", "w") == FINALIZERS


@pytest.mark.parametrize(
    ("metadata", "phase", "goes"),
    [
        ({"deletionTimestamp": LATER}, "Pending", True),
        ({}, "Succeeded", True),
        ({}, "Failed", True),
        ({}, "Pending", False),
        ({}, "Running", False),
    ],
)
def test_a_pod_that_is_over_is_let_go(metadata: dict[str, str], phase: str, goes: bool) -> None:
    world = World()
    held = {"finalizers": [pod_marks.FINALIZER], **metadata}
    world.add("Pod", "p", spec={"containers": []}, metadata=held, status={"phase": phase})
    world.settle()
    assert (finalizers(world, "Pod", "p") == []) is goes
