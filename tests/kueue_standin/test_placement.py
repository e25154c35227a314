"""Topology: which domains pods are placed in, and what is said when there is no place."""

from typing import Any

import pytest

from lws_kueue.api import kueue
from lws_kueue.tas import assignment as codec
from tests.kit.standin.world import World, pod_set
from tests.kueue_standin.test_quota import recorded

BLOCK, RACK, HOST = "block", "rack", "kubernetes.io/hostname"


def data_centre(
    *, levels: tuple[str, ...] = (BLOCK, RACK, HOST), racks: int = 2, hosts: int = 2, cpu: str = "4"
) -> World:
    """Two blocks of so many racks of so many hosts of so much cpu; plenty of quota."""
    world = World()
    topology = {"levels": [{"nodeLabel": level} for level in levels]}
    world.add("Topology", "tree", spec=topology)
    world.add("ResourceFlavor", "tas", spec={"topologyName": "tree", "nodeLabels": {"on": "yes"}})
    world.queues(flavors={"tas": {"cpu": "1000"}})
    for index in range(2 * racks * hosts):
        rack = index // hosts
        labels = {BLOCK: f"b{rack // racks}", RACK: f"r{rack}", HOST: f"n{index}", "on": "yes"}
        status = {
            "allocatable": {"cpu": cpu, "pods": "110"},
            "conditions": [{"type": "Ready", "status": "True"}],
        }
        world.add("Node", f"n{index}", labels=labels, status=status)
    return world


def ask(count: int, cpu: str = "1", name: str = "main", **request: Any) -> dict[str, Any]:
    return pod_set(name, count=count, cpu=cpu, topologyRequest=request)


def placed(world: World, workload: str, name: str = "main") -> list[tuple[str, int]]:
    """The lowest values and counts, in the order of the ranks."""
    encoded = world.assignment(workload, name)["topologyAssignment"]
    domains = codec.decode(kueue.TopologyAssignment.model_validate(encoded))
    return [(list(d.values.values())[-1], d.count) for d in domains]


def test_the_recorded_group_is_placed_as_kueue_recorded_it() -> None:
    world = World()
    world.add("Topology", "t", spec={"levels": [{"nodeLabel": r} for r in (BLOCK, RACK, HOST)]})
    rack = "cloud.provider.com/topology-rack"
    levels = [{"nodeLabel": rack}, {"nodeLabel": HOST}]
    world.add("Topology", "t", spec={"levels": levels})
    world.add("ResourceFlavor", "tas", spec={"topologyName": "t"})
    world.queues(flavors={"tas": {"cpu": "10"}})
    world.add("ClusterQueue", "tas-cq", spec=world.get("ClusterQueue", "cq")["spec"])
    world.add("LocalQueue", "tas-user-queue", spec={"clusterQueue": "tas-cq"})
    for index in range(4):
        world.add(
            "Node",
            f"node-{index}",
            labels={rack: f"rack-{index // 2}", HOST: f"node-{index}"},
            status={
                "allocatable": {"cpu": "8", "pods": "110"},
                "conditions": [{"type": "Ready", "status": "True"}],
            },
        )
    for workload in recorded("tas-grouped"):
        name = workload["metadata"]["name"]
        owners = {"ownerReferences": workload["metadata"]["ownerReferences"]}
        world.add("Workload", name, spec=workload["spec"], metadata=owners)
    world.settle()
    for workload in recorded("tas-grouped"):
        found = world.get("Workload", workload["metadata"]["name"])["status"]["admission"]
        assert found == workload["status"]["admission"]


def test_required_pods_stay_in_one_domain_of_the_level() -> None:
    world = data_centre()
    world.workload("w", pod_sets=[ask(8, required=RACK)])
    world.settle()
    assert placed(world, "w") == [("n0", 4), ("n1", 4)]
    world.workload("wide", pod_sets=[ask(9, required=RACK)])
    world.settle()
    assert world.condition("wide", "QuotaReserved") == (
        "False",
        "Pending",
        "couldn't assign flavors to pod set main: "
        'topology "tree" allows to fit only 8 out of 9 pod(s). '
        'Total nodes: 8; excluded: resource "cpu": 2',
    )


def test_a_place_that_is_taken_is_waited_for() -> None:
    world = data_centre()
    for index in range(4):
        world.workload(f"w{index}", pod_sets=[ask(6, required=RACK)])
        world.settle()
    racks = {placed(world, f"w{index}")[0][0] for index in range(4)}
    assert len(racks) == 4
    world.workload("late", pod_sets=[ask(6, required=RACK)])
    world.settle()
    assert world.condition("late", "QuotaReserved")[1:] == (
        "Pending",
        "couldn't assign flavors to pod set main: "
        'topology "tree" allows to fit only 2 out of 6 pod(s). '
        'Total nodes: 8; excluded: resource "cpu": 4',
    )
    world.remove("Workload", "w2")
    world.settle()
    assert "late" in world.admitted()


def test_the_tightest_domain_that_holds_the_pods_is_taken() -> None:
    world = data_centre()
    world.workload("first", pod_sets=[ask(5, required=RACK)])
    world.settle()
    world.workload("second", pod_sets=[ask(3, required=RACK)])
    world.settle()
    assert {host for host, _ in placed(world, "second")} <= {"n0", "n1"}


def test_ranks_go_through_the_hosts_in_the_order_of_their_names() -> None:
    world = data_centre(cpu="1")
    world.workload("w", pod_sets=[ask(3, required=BLOCK)])
    world.settle()
    assert placed(world, "w") == [("n0", 1), ("n1", 1), ("n2", 1)]


def test_a_group_shares_its_domain_and_its_members_their_hosts() -> None:
    world = data_centre(cpu="2")
    leader = ask(1, "500m", "leader", required=RACK, podSetGroupName="g")
    workers = ask(3, "1", "worker", required=RACK, podSetGroupName="g")
    world.workload("w", pod_sets=[leader, workers])
    world.settle()
    assert placed(world, "w", "leader") == [("n0", 1)]
    assert placed(world, "w", "worker") == [("n0", 1), ("n1", 2)]


def test_a_leader_without_requests_is_placed_with_its_group() -> None:
    world = data_centre()
    leader = {
        "name": "leader",
        "count": 1,
        "template": {"spec": {"containers": [{"name": "c"}]}},
        "topologyRequest": {"required": RACK, "podSetGroupName": "g"},
    }
    workers = ask(2, name="worker", required=RACK, podSetGroupName="g")
    world.workload("w", pod_sets=[leader, workers])
    world.settle()
    assert placed(world, "w", "leader") == [("n0", 1)]
    assert world.assignment("w", "leader")["flavors"] == {"cpu": "tas"}


def test_preferred_falls_back_to_wider_levels() -> None:
    world = data_centre()
    world.workload("rack", pod_sets=[ask(8, preferred=RACK)])
    world.settle()
    world.workload("anywhere", pod_sets=[ask(20, preferred=RACK)])
    world.settle()
    assert world.admitted() == ["anywhere", "rack"]
    assert sum(count for _, count in placed(world, "anywhere")) == 20


def test_every_pod_set_is_placed_when_all_flavors_have_a_topology() -> None:
    world = data_centre()
    world.workload("w", count=2)
    world.settle()
    assert placed(world, "w") == [("n0", 2)]


def test_all_levels_are_written_when_the_lowest_is_not_the_hostname() -> None:
    world = data_centre(levels=(BLOCK, RACK))
    world.workload("w", pod_sets=[ask(16, required=BLOCK)])
    world.settle()
    assert world.assignment("w")["topologyAssignment"] == {
        "levels": [BLOCK, RACK],
        "slices": [
            {
                "domainCount": 2,
                "valuesPerLevel": [
                    {"universal": "b0"},
                    {"individual": {"prefix": "r", "roots": ["0", "1"]}},
                ],
                "podCounts": {"universal": 8},
            }
        ],
    }
    world.workload("next", pod_sets=[ask(1, required=RACK)])
    world.settle()
    assert placed(world, "next") == [("r2", 1)]


def test_pods_bound_by_others_take_room_and_finished_ones_do_not() -> None:
    world = data_centre(racks=1, hosts=1)
    container = {"name": "c", "resources": {"requests": {"cpu": "3"}}}
    spec = {"nodeName": "n0", "containers": [container]}
    world.add("Pod", "foreign", spec=spec, status={"phase": "Running"})
    world.add("Pod", "over", spec=spec | {"nodeName": "n1"}, status={"phase": "Succeeded"})
    world.workload("w", pod_sets=[ask(2, required=HOST)])
    world.settle()
    assert placed(world, "w") == [("n1", 2)]


def test_pods_of_an_assignment_are_not_counted_twice() -> None:
    world = data_centre(racks=1, hosts=1)
    world.workload("w", pod_sets=[ask(2, required=HOST)])
    world.settle()
    for index in range(2):
        spec = {"nodeName": "n0"} | world.get("Workload", "w")["spec"]["podSets"][0]["template"][
            "spec"
        ]
        annotations = {"kueue.x-k8s.io/podset-required-topology": HOST}
        world.add("Pod", f"p{index}", spec=spec, annotations=annotations)
    world.workload("next", pod_sets=[ask(2, required=HOST)])
    world.settle()
    assert placed(world, "next") == [("n0", 2)]


@pytest.mark.parametrize(
    "change",
    [
        {"status": {"conditions": [{"type": "Ready", "status": "False"}]}},
        {"spec": {"unschedulable": True}},
        {"spec": {"taints": [{"key": "x", "effect": "NoSchedule"}]}},
        {"labels": {BLOCK: "b0", RACK: "r0", "on": "yes"}},
        {"labels": {BLOCK: "b0", RACK: "r0", HOST: "n0", "on": "no"}},
    ],
    ids=["not ready", "cordoned", "tainted", "without a level", "of another flavor"],
)
def test_a_node_that_cannot_take_the_pods_is_left_out(change: dict[str, Any]) -> None:
    world = data_centre(racks=1, hosts=1)
    node = world.get("Node", "n0")
    node["status"].update(change.get("status", {}))
    node["spec"].update(change.get("spec", {}))
    node["metadata"]["labels"] = change.get("labels", node["metadata"]["labels"])
    world.workload("w", pod_sets=[ask(1, required=HOST)])
    world.settle()
    assert placed(world, "w") == [("n1", 1)]


def test_a_level_that_the_topology_lacks_is_a_mismatch() -> None:
    world = data_centre()
    world.workload("w", pod_sets=[ask(1, required="zone")])
    world.settle()
    assert world.condition("w", "QuotaReserved")[1:] == (
        "Pending",
        'couldn\'t assign flavors to pod set main: Flavor "tas" does not contain the requested '
        "level",
    )


def test_a_topology_request_needs_a_flavor_with_a_topology() -> None:
    world = World()
    world.queues({"cpu": "9"})
    world.workload("w", pod_sets=[ask(1, required=RACK)])
    world.settle()
    assert world.condition("w", "QuotaReserved")[2] == (
        'couldn\'t assign flavors to pod set main: Flavor "default" does not support '
        "TopologyAwareScheduling"
    )


def test_preemption_makes_room_in_the_topology() -> None:
    world = data_centre(racks=1, hosts=1)
    world.edit("ClusterQueue", "cq", preemption={"withinClusterQueue": "LowerPriority"})
    world.workload("a", pod_sets=[ask(3, required=HOST)], priority=1)
    world.workload("b", pod_sets=[ask(3, required=HOST)], priority=2)
    world.settle()
    world.workload("high", pod_sets=[ask(4, required=HOST)], priority=9)
    world.settle()
    assert world.condition("a", "Evicted")[1] == "Preempted"
    assert "Evicted" not in world.conditions("b")
    host = placed(world, "a")[0][0]
    world.stop_pods("a")
    world.settle()
    assert placed(world, "high") == [(host, 4)]


def test_pods_without_constraints_fill_what_is_nearly_full_first() -> None:
    world = data_centre()
    world.workload("first", pod_sets=[ask(3, unconstrained=True)])
    world.settle()
    world.workload("small", pod_sets=[ask(1, unconstrained=True)])
    world.settle()
    assert placed(world, "first") == [("n0", 3)]
    assert placed(world, "small") == [("n0", 1)]


def two_flavors(*, topologies: tuple[str, str]) -> World:
    """A queue with two resources, each from a flavor of its own, with these topologies."""
    world = data_centre()
    for name, topology in zip(("tas", "other"), topologies, strict=True):
        spec = {"topologyName": topology} if topology else {}
        world.add("ResourceFlavor", name, spec=spec)
    groups = [
        {
            "coveredResources": [resource],
            "flavors": [
                {"name": name, "resources": [{"name": resource, "nominalQuota": "9"}]},
            ],
        }
        for resource, name in (("cpu", "tas"), ("memory", "other"))
    ]
    world.edit("ClusterQueue", "cq", resourceGroups=groups)
    return world


def greedy(name: str, **request: Any) -> dict[str, Any]:
    """A pod set of one pod that requests both resources."""
    found = ask(1, name=name, **request)
    container = found["template"]["spec"]["containers"][0]
    container["resources"]["requests"]["memory"] = "1"
    return found


def test_pods_with_resources_of_two_topologies_cannot_be_placed() -> None:
    world = two_flavors(topologies=("tree", "tree"))
    world.workload("w", pod_sets=[greedy("main", required=RACK)])
    world.settle()
    assert world.condition("w", "QuotaReserved")[2] == (
        "failed to assign flavors to pod set main: more than one TAS flavor assigned: other, tas"
    )


def test_a_leader_that_requests_nothing_has_no_flavor_without_a_group() -> None:
    world = data_centre()
    leader = {
        "name": "leader",
        "count": 1,
        "template": {"spec": {"containers": [{"name": "c"}]}},
        "topologyRequest": {"required": RACK},
    }
    world.workload("w", pod_sets=[leader, ask(1, name="worker", required=RACK)])
    world.settle()
    assert world.condition("w", "QuotaReserved")[2] == (
        "failed to assign flavors to pod set leader: no TAS flavor assigned"
    )


def test_a_queue_without_topologies_places_nobody() -> None:
    world = two_flavors(topologies=("", ""))
    leader = {
        "name": "leader",
        "count": 1,
        "template": {"spec": {"containers": [{"name": "c"}]}},
        "topologyRequest": {"required": RACK, "podSetGroupName": "g"},
    }
    worker = ask(1, name="worker", podSetGroupName="g")
    world.workload("w", pod_sets=[leader, worker])
    world.settle()
    assert world.condition("w", "QuotaReserved")[2] == (
        "failed to assign flavors to pod set leader: workload requires Topology, but there is no "
        "TAS cache information"
    )


def test_domains_of_one_name_are_not_the_same_in_flavors_with_other_nodes() -> None:
    world = data_centre(levels=(BLOCK, RACK), racks=1, hosts=1)
    world.add("ResourceFlavor", "far", spec={"topologyName": "tree", "nodeLabels": {"on": "far"}})
    for name in ("n0", "n1"):
        labels = world.get("Node", name)["metadata"]["labels"]
        status = world.get("Node", name)["status"]
        world.add("Node", f"far-{name}", labels=labels | {"on": "far"}, status=status)
    world.queues(flavors={"tas": {"cpu": "4"}, "far": {"cpu": "4"}})
    for name in ("first", "second"):
        world.workload(name, pod_sets=[ask(4, required=RACK)])
        world.settle()
    assert world.admitted() == ["first", "second"]
    assert placed(world, "first") == placed(world, "second") == [("r0", 4)]
