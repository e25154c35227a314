"""Where a group landed is told once it is complete, in one line."""

import pytest

from lws_kueue.api import actions, facts, kueue, names
from lws_kueue.simulator import codec
from lws_kueue.tas import assignment
from lws_kueue.workload import backing, release
from tests.kit.builders import builders
from tests.kit.builders.builders import admitted, assigned, pod, running

HOST = assignment.HOSTNAME
FLAVORS = {"default": builders.flavor()}


def topology(*domains: tuple[str, int]) -> builders.Json:
    return codec.encode([HOST], [((n,), c) for n, c in domains])


def told(workload: kueue.Workload, *pods: facts.Pod) -> list[str]:
    planned, _ = release.plan_release(workload, pods, terms=backing.Terms(flavors=FLAVORS))
    assert planned is not None
    assert all(event.type == "Normal" for event in planned.events)
    assert all(event.reason == "TopologyAssigned" for event in planned.events)
    return [event.message for event in planned.events]


THREE = admitted([assigned("main", 3, topology=topology(("a", 2), ("b", 1)))])


def test_pods_are_told_by_rank_and_host() -> None:
    assert told(THREE, pod(0), pod(1), pod(2)) == ["Group 0, Workload wl-0: pods 0-1 on a, 2 on b"]


def test_a_group_that_is_not_complete_is_told_later() -> None:
    assert told(THREE, pod(0), pod(2)) == []
    placed = running(0, nodeSelector={HOST: "a"}), running(2, nodeSelector={HOST: "b"})
    assert told(THREE, *placed, pod(1)) == ["Group 0, Workload wl-0: pods 0-1 on a, 2 on b"]


def test_a_pod_that_stays_gated_is_waited_for() -> None:
    waits = admitted(
        [assigned("main", 2, topology=topology(("a", 1), ("b", 1)))],
        status={"unhealthyNodes": [{"name": "b"}]},
    )
    assert told(waits, pod(0), pod(1)) == []


def test_leader_and_workers_are_told_together() -> None:
    workload = admitted(
        [
            assigned("leader", 1, topology=topology(("a", 1))),
            assigned("worker", 2, topology=topology(("a", 1), ("b", 1))),
        ],
        pod_sets=[{"name": "leader", "count": 1}, {"name": "worker", "count": 2}],
    )
    assert told(workload, pod(0), pod(1), pod(2)) == [
        "Group 0, Workload wl-0: pods 0-1 on a, 2 on b"
    ]


def test_domains_above_hosts_are_told_by_all_their_levels() -> None:
    encoded = codec.encode(["block", "rack"], [(("b1", "r1"), 1), (("b1", "r2"), 1)])
    workload = admitted([assigned("main", 2, topology=encoded)])
    assert told(workload, pod(0), pod(1)) == ["Group 0, Workload wl-0: pods 0 on b1/r1, 1 on b1/r2"]


def test_a_large_group_is_told_in_one_message_that_fits() -> None:
    domains = [(f"node-{n:04}", 1) for n in range(1000)]
    workload = admitted([assigned("main", 1000, topology=topology(*domains))])
    (message,) = told(workload, *(pod(n) for n in range(1000)))
    assert message.endswith(", 11 on node-0011, 988 more domains")
    assert len(message) < 1024


def test_a_group_without_a_topology_is_not_told_of() -> None:
    assert told(admitted([assigned("main", 2)]), pod(0), pod(1)) == []


@pytest.mark.parametrize("index", [None, "7"])
def test_the_group_is_named_if_the_workload_says_which_it_is(index: str | None) -> None:
    annotations = {} if index is None else {names.COMPONENT_WORKLOAD_INDEX: index}
    workload = admitted(
        [assigned("main", 1, topology=topology(("a", 1)))], metadata={"annotations": annotations}
    )
    start = "Group 7, " if index else ""
    assert told(workload, pod(0)) == [f"{start}Workload wl-0: pods 0 on a"]


def test_events_are_part_of_a_release_that_compares_as_a_value() -> None:
    one, _ = release.plan_release(
        THREE, [pod(0), pod(1), pod(2)], terms=backing.Terms(flavors=FLAVORS)
    )
    two, _ = release.plan_release(
        THREE, [pod(2), pod(1), pod(0)], terms=backing.Terms(flavors=FLAVORS)
    )
    assert isinstance(one, actions.Release)
    assert one == two
