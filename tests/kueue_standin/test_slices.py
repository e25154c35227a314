"""Slices: they stay whole at their level, and slices inside them at theirs."""

from typing import Any

import pytest

from tests.kueue_standin.test_placement import BLOCK, HOST, RACK, ask, data_centre, placed


def layers(*constraints: tuple[str, int]) -> list[dict[str, Any]]:
    return [{"topology": level, "size": size} for level, size in constraints]


def test_a_slice_stays_in_one_domain_of_its_level() -> None:
    # Racks of six cpu hold one slice of four pods; a block holds twelve pods but only two slices.
    world = data_centre(cpu="3")
    slices = ask(8, required=BLOCK, podSetSliceRequiredTopology=RACK, podSetSliceSize=4)
    world.workload("w", pod_sets=[slices])
    world.settle()
    assert placed(world, "w") == [("n0", 3), ("n1", 1), ("n2", 3), ("n3", 1)]


def test_a_set_that_fits_but_for_its_slices_waits() -> None:
    world = data_centre(cpu="3")
    slices = ask(12, required=BLOCK, podSetSliceRequiredTopology=RACK, podSetSliceSize=4)
    world.workload("w", pod_sets=[slices])
    world.settle()
    assert world.condition("w", "QuotaReserved") == (
        "False",
        "Pending",
        "couldn't assign flavors to pod set main: "
        'topology "tree" allows to fit only 2 out of 3 slice(s)',
    )


def test_slices_alone_may_go_to_several_of_the_widest_domains() -> None:
    world = data_centre(cpu="1")
    world.workload("w", pod_sets=[ask(8, podSetSliceRequiredTopology=RACK, podSetSliceSize=2)])
    world.settle()
    assert placed(world, "w") == [(f"n{index}", 1) for index in range(8)]


def test_slices_inside_slices_stay_whole_at_their_own_level() -> None:
    # Hosts of three cpu hold one pair each, so a rack holds four pods in pairs and not six.
    world = data_centre(cpu="3")
    nested = layers((RACK, 4), (HOST, 2))
    world.workload(
        "w", pod_sets=[ask(8, required=BLOCK, podsetSliceRequiredTopologyConstraints=nested)]
    )
    world.settle()
    assert placed(world, "w") == [("n0", 2), ("n1", 2), ("n2", 2), ("n3", 2)]


def test_what_is_missing_is_told_for_every_layer() -> None:
    world = data_centre(cpu="3")
    nested = layers((RACK, 4), (HOST, 2))
    world.workload(
        "w", pod_sets=[ask(12, required=BLOCK, podsetSliceRequiredTopologyConstraints=nested)]
    )
    world.settle()
    assert world.condition("w", "QuotaReserved")[2] == (
        "couldn't assign flavors to pod set main: topology \"tree\" doesn't allow to fit"
        f"; 2/3 slice(s) fit on level {RACK}; 4/6 slice(s) fit on level {HOST}"
    )


def test_a_leader_takes_no_room_that_a_slice_needs() -> None:
    # Only the host with an odd amount of cpu has something left beside its slices.
    world = data_centre(racks=1, hosts=3, cpu="4")
    for host, cpu in (("n0", "2"), ("n1", "4"), ("n2", "3")):
        world.get("Node", host)["status"]["allocatable"]["cpu"] = cpu
    slices: dict[str, Any] = {"podSetSliceRequiredTopology": HOST, "podSetSliceSize": 2}
    leader = ask(1, name="leader", required=RACK, podSetGroupName="g")
    workers = ask(8, name="worker", required=RACK, podSetGroupName="g", **slices)
    for index in range(3, 6):
        world.remove("Node", f"n{index}")
    world.workload("w", pod_sets=[leader, workers])
    world.settle()
    assert placed(world, "w", "leader") == [("n2", 1)]
    assert placed(world, "w", "worker") == [("n0", 2), ("n1", 4), ("n2", 2)]


@pytest.mark.parametrize(
    ("request_", "problem"),
    [
        (
            {"required": HOST, "podSetSliceRequiredTopology": RACK, "podSetSliceSize": 2},
            f"podset slice topology {RACK} is above the podset topology {HOST}",
        ),
        (
            {"required": BLOCK, "podSetSliceRequiredTopology": RACK},
            "slice topology requested, but slice size not provided",
        ),
        (
            {"podsetSliceRequiredTopologyConstraints": layers((RACK, 4), (HOST, 3))},
            "additional slice layer size 3 must evenly divide parent layer size 4",
        ),
        (
            {"podsetSliceRequiredTopologyConstraints": layers((HOST, 4), (RACK, 2))},
            f"additional slice layer topology {RACK} must be at a lower level than {HOST}",
        ),
    ],
    ids=["above the pods' level", "without a size", "a size that does not divide", "upside down"],
)
def test_slices_that_contradict_themselves_are_told(request_: dict[str, Any], problem: str) -> None:
    world = data_centre()
    world.workload("w", pod_sets=[ask(4, **request_)])
    world.settle()
    message = world.condition("w", "QuotaReserved")[2]
    assert message == f"couldn't assign flavors to pod set main: {problem}"


def test_a_level_that_only_slices_name_has_to_be_one_of_the_topology() -> None:
    world = data_centre()
    slices: dict[str, Any] = {"podSetSliceRequiredTopology": "zone", "podSetSliceSize": 2}
    world.workload("w", pod_sets=[ask(4, required=BLOCK, **slices)])
    world.settle()
    assert world.condition("w", "QuotaReserved")[2].endswith("does not contain the requested level")
