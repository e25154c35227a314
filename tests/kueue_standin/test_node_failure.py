"""Nodes that fail under admitted Workloads: noted, replaced inside the reservation, or evicted."""

from typing import Any

import pytest

from lws_kueue.api import names
from tests.kit.standin.world import World
from tests.kueue_standin.test_placement import BLOCK, HOST, RACK, ask, data_centre, placed

REQUIRED = names.PODSET_REQUIRED_TOPOLOGY
TAINT = {"key": "broken", "effect": "NoSchedule"}


def running(world: World, name: str, *, host: str, workload: str = "w", **more: Any) -> None:
    """A pod of a Workload that runs on its node."""
    spec = {"nodeName": host, "nodeSelector": {HOST: host}, "containers": []}
    annotations = {names.WORKLOAD: workload, REQUIRED: RACK}
    world.add("Pod", name, spec=spec, annotations=annotations, status={"phase": "Running"}, **more)


def pending(world: World, name: str, *, host: str, **spec: Any) -> None:
    """A pod that may only go to one host and is not there yet."""
    annotations = {names.WORKLOAD: "w", REQUIRED: RACK}
    scheduled = {"type": "PodScheduled", "status": "False"}
    world.add(
        "Pod",
        name,
        spec={"nodeSelector": {HOST: host}, "containers": []} | spec,
        annotations=annotations,
        status={"phase": "Pending", "conditions": [scheduled]},
    )


def admitted(count: int = 3, **request: Any) -> World:
    """Racks of four hosts of one cpu each, and a group that is admitted in one of them."""
    world = data_centre(racks=2, hosts=4, cpu="1")
    world.workload("w", pod_sets=[ask(count, **(request or {"required": RACK}))])
    world.settle()
    assert world.admitted() == ["w"]
    return world


def set_ready(world: World, node: str, status: str | None) -> None:
    conditions = [] if status is None else [{"type": "Ready", "status": status}]
    world.get("Node", node)["status"]["conditions"] = conditions


def step(world: World) -> None:
    """Decide and write once."""
    for write in world.decide().writes:
        world._write(write)


def noted(world: World) -> list[str]:
    nodes = world.get("Workload", "w")["status"].get("unhealthyNodes") or ()
    return [node["name"] for node in nodes]


def test_a_node_that_is_gone_is_noted_at_once_and_replaced_in_its_rack() -> None:
    world = admitted()
    before = world.get("Workload", "w")["status"]["admission"]["podSetAssignments"][0]
    running(world, "p1", host="n1")
    world.remove("Node", "n1")
    step(world)
    assert noted(world) == ["n1"]
    assert placed(world, "w") == [("n0", 1), ("n1", 1), ("n2", 1)]
    world.settle()
    assert noted(world) == []
    assert placed(world, "w") == [("n0", 1), ("n2", 1), ("n3", 1)]
    after = world.assignment("w")
    assert {k: v for k, v in after.items() if k != "topologyAssignment"} == {
        k: v for k, v in before.items() if k != "topologyAssignment"
    }
    assert world.admitted() == ["w"]
    assert "Evicted" not in world.conditions("w")


def test_a_node_whose_readiness_nobody_tells_is_as_one_that_is_gone() -> None:
    world = admitted()
    running(world, "p1", host="n1")
    set_ready(world, "n1", None)
    world.settle()
    assert placed(world, "w") == [("n0", 1), ("n2", 1), ("n3", 1)]


def test_a_spare_that_comes_first_in_order_takes_the_first_place() -> None:
    world = admitted(2)
    world.add("Node", "n00", **_like(world, "n0"))
    world.remove("Node", "n1")
    world.settle()
    # Merged in the order of the values, not put where the failed one was.
    assert placed(world, "w") == [("n0", 1), ("n00", 1)]


def _like(world: World, name: str) -> dict[str, Any]:
    node = world.get("Node", name)
    labels = node["metadata"]["labels"] | {HOST: "n00"}
    return {"labels": labels, "status": node["status"]}


@pytest.mark.parametrize("trouble", ["not ready", "unknown", "tainted"])
def test_a_node_in_trouble_is_kept_while_pods_stay_there(trouble: str) -> None:
    world = admitted()
    running(world, "p1", host="n1")
    if trouble == "tainted":
        world.get("Node", "n1")["spec"]["taints"] = [TAINT]
    else:
        set_ready(world, "n1", "False" if trouble == "not ready" else "Unknown")
    world.settle()
    assert noted(world) == []
    world.get("Pod", "p1")["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    step(world)
    assert noted(world) == ["n1"]
    world.settle()
    assert placed(world, "w") == [("n0", 1), ("n2", 1), ("n3", 1)]


@pytest.mark.parametrize(
    ("taint", "tolerated"),
    [
        (TAINT, {"key": "broken", "operator": "Exists"}),
        (TAINT | {"effect": "PreferNoSchedule"}, {"key": "other", "operator": "Exists"}),
    ],
    ids=["tolerated", "only preferred"],
)
def test_a_taint_that_keeps_no_pod_away_is_no_failure(
    taint: dict[str, str], tolerated: dict[str, str]
) -> None:
    world = data_centre()
    world.workload("w", pod_sets=[ask(2, required=HOST)])
    world.get("Workload", "w")["spec"]["podSets"][0]["template"]["spec"]["tolerations"] = [
        tolerated
    ]
    world.settle()
    world.get("Node", "n0")["spec"]["taints"] = [taint]
    world.settle()
    assert noted(world) == []
    assert placed(world, "w") == [("n0", 2)]


def test_a_toleration_that_ends_does_not_save_a_node_without_pods() -> None:
    world = data_centre()
    world.workload("w", pod_sets=[ask(2, required=HOST)])
    template = world.get("Workload", "w")["spec"]["podSets"][0]["template"]
    template["spec"]["tolerations"] = [
        {"key": "broken", "operator": "Exists", "tolerationSeconds": 300}
    ]
    world.settle()
    world.get("Node", "n0")["spec"]["taints"] = [TAINT]
    step(world)
    assert noted(world) == ["n0"]


def test_a_node_that_recovers_before_its_replacement_is_taken_off_the_list() -> None:
    world = admitted()
    set_ready(world, "n1", "False")
    step(world)
    assert noted(world) == ["n1"]
    set_ready(world, "n1", "True")
    world.settle()
    assert noted(world) == []
    assert placed(world, "w") == [("n0", 1), ("n1", 1), ("n2", 1)]


def test_without_a_spare_in_the_required_domain_the_group_is_evicted() -> None:
    world = admitted(4)
    world.remove("Node", "n3")
    world.settle()
    assert world.condition("w", "Evicted") == (
        "True",
        "NodeFailures",
        "Workload was evicted as there was no replacement for unhealthy node(s): n3",
    )
    assert noted(world) == []
    world.stop_pods("w")
    world.settle()
    assert placed(world, "w") == [("n4", 1), ("n5", 1), ("n6", 1), ("n7", 1)]


def test_a_second_node_that_fails_means_eviction() -> None:
    world = admitted()
    world.remove("Node", "n0")
    world.remove("Node", "n2")
    world.settle()
    assert world.condition("w", "Evicted") == (
        "True",
        "NodeFailures",
        "Workload eviction triggered due to multiple TAS assigned node failures, including: n0, n2",
    )


def test_another_node_that_is_down_leaves_nothing_to_build_on() -> None:
    world = admitted()
    running(world, "p2", host="n2")
    set_ready(world, "n2", "False")
    world.settle()
    world.remove("Node", "n1")
    world.settle()
    assert world.condition("w", "Evicted")[1:] == (
        "NodeFailures",
        "Workload was evicted as there was no replacement for unhealthy node(s): n1",
    )


def test_several_pods_of_a_node_may_go_to_several_nodes_and_join_others_there() -> None:
    world = data_centre(racks=1, hosts=3, cpu="2")
    world.workload("w", pod_sets=[ask(3, required=BLOCK)])
    world.settle()
    assert placed(world, "w") == [("n0", 2), ("n1", 1)]
    world.get("Node", "n2")["status"]["allocatable"]["cpu"] = "1"
    world.remove("Node", "n0")
    world.settle()
    assert placed(world, "w") == [("n1", 2), ("n2", 1)]


def test_each_member_of_a_group_that_was_on_the_node_is_replaced() -> None:
    world = data_centre(racks=1, hosts=3, cpu="2")
    leader = ask(1, name="leader", required=BLOCK, podSetGroupName="g")
    workers = ask(3, name="worker", required=BLOCK, podSetGroupName="g")
    world.workload("w", pod_sets=[leader, workers])
    world.settle()
    assert placed(world, "w", "leader") == [("n0", 1)]
    assert placed(world, "w", "worker") == [("n0", 1), ("n1", 2)]
    world.remove("Node", "n0")
    world.settle()
    # Counted one after the other: the worker's room is not given to the leader as well.
    assert placed(world, "w", "worker") == [("n1", 2), ("n2", 1)]
    assert placed(world, "w", "leader") == [("n2", 1)]


def test_a_slice_that_a_failed_node_broke_is_made_whole_in_its_own_domain() -> None:
    world = data_centre(racks=2, hosts=3, cpu="1")
    slices: dict[str, Any] = {"podSetSliceRequiredTopology": RACK, "podSetSliceSize": 2}
    world.workload("w", pod_sets=[ask(4, required=BLOCK, **slices)])
    world.settle()
    assert placed(world, "w") == [("n0", 1), ("n1", 1), ("n3", 1), ("n4", 1)]
    world.remove("Node", "n3")
    world.settle()
    assert placed(world, "w") == [("n0", 1), ("n1", 1), ("n4", 1), ("n5", 1)]


def test_a_whole_slice_that_was_lost_may_go_anywhere_in_the_required_domain() -> None:
    world = data_centre(racks=3, hosts=1, cpu="2")
    slices: dict[str, Any] = {"podSetSliceRequiredTopology": RACK, "podSetSliceSize": 2}
    world.workload("w", pod_sets=[ask(4, required=BLOCK, **slices)])
    world.settle()
    assert placed(world, "w") == [("n0", 2), ("n1", 2)]
    world.remove("Node", "n0")
    world.settle()
    assert placed(world, "w") == [("n1", 2), ("n2", 2)]


def test_pods_that_wait_for_a_node_in_trouble_are_ended() -> None:
    world = admitted()
    running(world, "p0", host="n0")
    pending(world, "p1", host="n1")
    set_ready(world, "n1", "False")
    step(world)
    status = world.get("Pod", "p1")["status"]
    assert status["phase"] == "Failed"
    assert [(c["type"], c["status"]) for c in status["conditions"]] == [
        ("PodScheduled", "False"),
        ("TerminatedByKueue", "True"),
    ]
    assert status["conditions"][1]["reason"] == "UnschedulableOnAssignedNode"
    assert noted(world) == ["n1"]


def test_pods_that_wait_for_a_node_outside_of_the_assignment_are_ended() -> None:
    world = admitted()
    pending(world, "p3", host="n3")
    world.settle()
    assert world.get("Pod", "p3")["status"]["phase"] == "Failed"


@pytest.mark.parametrize(
    ("host", "spec"),
    [
        ("n1", {}),
        ("n3", {"schedulingGates": [{"name": names.TOPOLOGY_GATE}]}),
        ("n3", {"nodeName": "n3"}),
        ("no-such-node", {}),
    ],
    ids=["its node is well", "gated", "there already", "the node is gone"],
)
def test_other_pods_are_left_alone(host: str, spec: dict[str, Any]) -> None:
    world = admitted()
    pending(world, "p", host=host, **spec)
    world.settle()
    assert world.get("Pod", "p")["status"]["phase"] == "Pending"


def test_pods_of_an_evicted_group_are_left_to_who_stops_it() -> None:
    world = admitted()
    pending(world, "p1", host="n1")
    pending(world, "p3", host="n3")
    world.edit("Workload", "w", active=False)
    set_ready(world, "n1", "False")
    world.settle()
    assert world.get("Pod", "p1")["status"]["phase"] == "Pending"
    assert world.get("Pod", "p3")["status"]["phase"] == "Pending"
    assert noted(world) == []


def test_a_topology_without_hosts_knows_no_failed_nodes() -> None:
    world = data_centre(levels=(BLOCK, RACK))
    world.workload("w", pod_sets=[ask(8, required=RACK)])
    world.settle()
    world.remove("Node", "n0")
    world.settle()
    assert noted(world) == []
    assert world.admitted() == ["w"]


def test_a_replacement_goes_before_everybody_who_waits() -> None:
    world = admitted()
    for index in range(4, 16):
        world.remove("Node", f"n{index}")
    world.remove("Node", "n0")
    step(world)
    world.workload("late", pod_sets=[ask(1, required=RACK)], priority=9)
    world.settle()
    assert placed(world, "w") == [("n1", 1), ("n2", 1), ("n3", 1)]
    assert world.admitted() == ["w"]
