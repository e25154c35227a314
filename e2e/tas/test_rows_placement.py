"""Where groups are placed, and why they wait (kueue-contract 5.6, O21 to O33 and O35 to O37).

The scenarios are those of Kueue's own tests of its scheduler, asked for through its API: by sets,
and by a Workload written by hand where no LeaderWorkerSet asks for such a thing.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from lws_kueue_lab import sandbox

from lws_kueue.api import kueue, names
from lws_kueue.tas import assignment
from tests.kit.kueue import queued
from tests.kit.live import harness
from tests.kit.lws.sample import Object
from tests.kit.tas import placements
from tests.kit.tas.placements import (
    BLOCK,
    GPU,
    GROUP,
    HOST,
    RACK,
    Amounts,
    Group,
    Host,
    PodSets,
    Scenario,
)

NAMESPACE = "placement-rows"


def required(level: str) -> dict[str, str]:
    return {names.PODSET_REQUIRED_TOPOLOGY: level, **GROUP}


def preferred(level: str) -> dict[str, str]:
    return {names.PODSET_PREFERRED_TOPOLOGY: level, **GROUP}


def by_hand(
    leader: Amounts, worker: Amounts, count: int, *, slice_of: tuple[str, int], **request: Any
) -> PodSets:
    """A group with workers in slices, which a LeaderWorkerSet may not have both."""
    level, size = slice_of
    sliced: dict[str, Any] = {"podSetSliceRequiredTopology": level, "podSetSliceSize": size}
    return PodSets(
        pod_sets=[
            placements.pod_set("leader", leader, podSetGroupName="g", **request),
            placements.pod_set(
                "worker", worker, count=count, podSetGroupName="g", **request, **sliced
            ),
        ]
    )


def both(cpu: str, gpu: str) -> dict[str, str]:
    return {"cpu": cpu, GPU: gpu}


CPU = {"cpu": "1"}
ONE = both("1", "1")
# What a leader says that requests nothing: Kueue 0.19.2 finds a flavor for one that says nothing
# at all, but never admits it.
NO_CPU, NO_MEMORY = {"cpu": "0"}, {"memory": "0"}
GPUS = {"example.com/gpu-a": "1"}, {"example.com/gpu-b": "1"}
GPU_HOST = Host("h", {"example.com/gpu-a": "4", "example.com/gpu-b": "4"}, flavor="a")
A_AND_B = ({"a": {"example.com/gpu-a": "4"}}, {"b": {"example.com/gpu-b": "4"}})

SMALL_USED = Host("small-used", {"cpu": "2800m"}, rack="small", used={"cpu": "2500m"})
SMALL_AND_LARGE = (
    SMALL_USED,
    Host("small-free", {"cpu": "2800m"}, rack="small"),
    Host("large-free", {"cpu": "6"}, rack="large"),
)
UNEVEN = (Host("h1", {"cpu": "2"}), Host("h2", {"cpu": "4"}), Host("h3", {"cpu": "3"}))

SCENARIOS = {
    "o21": Scenario(
        hosts=[GPU_HOST, Host("z", CPU, flavor="z")],
        quota=(
            {
                "z": {"example.com/gpu-a": "0", "cpu": "8"},
                "a": {"example.com/gpu-a": "4", "cpu": "8"},
            },
        ),
        asks=Group(leader=NO_CPU, worker=GPUS[0], workers=1, annotations=required(HOST)),
    ),
    "o22": Scenario(
        hosts=[GPU_HOST],
        quota=({"a": {"example.com/gpu-a": "4"}},),
        asks=Group(
            leader={},
            worker=GPUS[0],
            workers=1,
            annotations={names.PODSET_REQUIRED_TOPOLOGY: HOST},
        ),
    ),
    # A group of a LeaderWorkerSet has two pod sets, not three.
    "o23": Scenario(
        hosts=[GPU_HOST],
        quota=A_AND_B,
        asks=PodSets(
            pod_sets=[
                placements.pod_set("leader", {}, required=HOST, podSetGroupName="g"),
                placements.pod_set("worker-a", GPUS[0], required=HOST, podSetGroupName="g"),
                placements.pod_set("worker-b", GPUS[1], required=HOST, podSetGroupName="g"),
            ]
        ),
    ),
    # A Workload of a LeaderWorkerSet is one group.
    "o24": Scenario(
        hosts=[GPU_HOST, Host("i", dict(GPU_HOST.offers), flavor="b")],
        quota=(
            {"a": {"example.com/gpu-a": "4", "cpu": "8"}},
            {"b": {"example.com/gpu-b": "4", "memory": "8Gi"}},
        ),
        asks=PodSets(
            pod_sets=[
                placements.pod_set("leader1", NO_CPU, required=HOST, podSetGroupName="g1"),
                placements.pod_set("worker1", GPUS[0], required=HOST, podSetGroupName="g1"),
                placements.pod_set("leader2", NO_MEMORY, required=HOST, podSetGroupName="g2"),
                placements.pod_set("worker2", GPUS[1], required=HOST, podSetGroupName="g2"),
            ]
        ),
    ),
    # Both templates of a LeaderWorkerSet name the level, or neither.
    "o25": Scenario(
        hosts=[GPU_HOST],
        quota=({"a": {"example.com/gpu-a": "4"}},),
        flat=frozenset({"a"}),
        asks=PodSets(
            pod_sets=[
                placements.pod_set("leader", {}, required=HOST, podSetGroupName="g"),
                placements.pod_set("worker", GPUS[0], podSetGroupName="g"),
            ]
        ),
    ),
    "o26": Scenario(
        hosts=[Host("x", {"cpu": "16"}, flavor="one"), Host("y", {"cpu": "16"}, flavor="two")],
        quota=({"one": {"cpu": "4"}, "two": {"cpu": "9"}},),
        asks=Group(leader=CPU, worker={"cpu": "2"}, workers=4, annotations=required(HOST)),
    ),
    "o27": Scenario(
        hosts=[
            Host("x", both("16", "0"), flavor="one"),
            Host("y", both("16", "16"), flavor="two"),
        ],
        quota=({"one": both("10", "0"), "two": both("5", "4")},),
        asks=Group(leader=CPU, worker=ONE, workers=4, annotations=required(HOST)),
    ),
    "o28": Scenario(
        hosts=[
            Host("x", both("16", "16"), flavor="one"),
            Host("y", both("16", "16"), flavor="two"),
        ],
        quota=({"one": both("4", "4"), "two": both("5", "0")},),
        asks=Group(leader=CPU, worker=ONE, workers=4, annotations=required(HOST)),
    ),
    "o29": Scenario(
        hosts=[
            Host("b1", both("2", "2"), block="b1"),
            Host("b2", both("5", "4"), block="b2"),
            Host("b3", both("2", "2"), block="b3"),
        ],
        levels=(BLOCK,),
        asks=Group(leader=CPU, worker=ONE, workers=4, annotations=required(BLOCK)),
    ),
    "o30-plain": Scenario(
        hosts=UNEVEN,
        levels=(RACK, HOST),
        asks=Group(leader=CPU, worker={"cpu": "2"}, workers=4, annotations=required(RACK)),
    ),
    "o30-sliced": Scenario(
        hosts=UNEVEN,
        levels=(RACK, HOST),
        asks=by_hand(CPU, CPU, 8, slice_of=(HOST, 2), required=RACK),
    ),
    "o30-preferred": Scenario(
        hosts=[Host("h1", {"cpu": "8"}), Host("h2", {"cpu": "3"})],
        levels=(HOST,),
        asks=Group(leader=CPU, worker={"cpu": "2"}, workers=5, annotations=preferred(HOST)),
    ),
    "o30-below": Scenario(
        hosts=[Host("leads", CPU), Host("works", {GPU: "1"})],
        levels=(RACK, HOST),
        asks=by_hand(CPU, {GPU: "1"}, 1, slice_of=(RACK, 1), required=RACK),
    ),
    "o31-tight": Scenario(
        hosts=[
            Host("b1", both("2", "2"), block="b1"),
            Host("b2", both("8", "8"), block="b2"),
            Host("b3", both("2", "2"), block="b3"),
        ],
        levels=(BLOCK,),
        asks=Group(leader=CPU, worker=both("1", "2"), workers=4, annotations=required(BLOCK)),
    ),
    "o31-skipped": Scenario(
        hosts=SMALL_AND_LARGE,
        asks=Group(
            leader={"cpu": "2500m"},
            worker={"cpu": "2500m"},
            workers=1,
            annotations=required(RACK),
        ),
    ),
    "o31-mixed": Scenario(
        hosts=SMALL_AND_LARGE,
        asks=Group(
            leader={"cpu": "2500m"},
            worker={"cpu": "500m"},
            workers=2,
            annotations=required(RACK),
        ),
    ),
    "o31-kept": Scenario(
        hosts=SMALL_AND_LARGE,
        asks=Group(leader=CPU, worker=CPU, workers=1, annotations=required(RACK)),
    ),
    "o32-none": Scenario(
        hosts=[Host("b1", {"cpu": "1"}, block="b1"), Host("b2", both("4", "4"), block="b2")],
        levels=(BLOCK,),
        asks=Group(leader=CPU, worker=ONE, workers=4, annotations=required(BLOCK)),
    ),
    "o32-leader": Scenario(
        hosts=[Host("b1", both("4", "4"), block="b1"), Host("b2", both("4", "4"), block="b2")],
        levels=(BLOCK,),
        asks=Group(leader={"cpu": "10"}, worker=ONE, workers=4, annotations=required(BLOCK)),
    ),
    "o33-hosts": Scenario(
        hosts=[
            Host("x3", both("2", "1")),
            Host("x5", both("2", "1")),
            Host("x1", both("2", "1")),
            Host("x6", ONE, block="b2", rack="r4"),
            Host("x2", both("2", "1"), block="b2", rack="r5"),
            Host("x4", both("2", "1"), block="b2", rack="r6"),
        ],
        asks=Group(leader={"cpu": "2"}, worker=ONE, workers=2, annotations=required(BLOCK)),
    ),
    "o33-rack": Scenario(
        hosts=[
            Host("x3", ONE, rack="r1"),
            Host("x5", ONE, rack="r1"),
            Host("x1", ONE, rack="r2"),
            Host("x6", ONE, rack="r2"),
            Host("x2", ONE, block="b2", rack="r3"),
            Host("x4", ONE, block="b2", rack="r3"),
            Host("x7", ONE, block="b2", rack="r4"),
            Host("x8", ONE, block="b2", rack="r4"),
        ],
        asks=Group(leader=ONE, worker=ONE, workers=2, annotations=required(BLOCK)),
    ),
    "o33-spread": Scenario(
        hosts=[
            Host("x1", both("20", "4")),
            Host("x2", both("20", "2")),
            Host("x3", both("20", "2")),
            Host("x4", both("20", "2")),
        ],
        asks=by_hand(CPU, ONE, 6, slice_of=(HOST, 2), preferred=BLOCK),
    ),
    # A LeaderWorkerSet has no groups of pods that are placed without constraints.
    "o33-lean": Scenario(
        hosts=[Host("h1", CPU), Host("h2", {GPU: "1"})],
        levels=(HOST,),
        asks=PodSets(
            pod_sets=[
                placements.pod_set("leader", CPU, unconstrained=True, podSetGroupName="g"),
                placements.pod_set("worker", {GPU: "1"}, unconstrained=True, podSetGroupName="g"),
            ]
        ),
    ),
    "o33-best": Scenario(
        hosts=[Host("b1", both("11", "8"), block="b1"), Host("b2", both("4", "4"), block="b2")],
        levels=(BLOCK,),
        asks=Group(leader=CPU, worker=ONE, workers=4, annotations=required(BLOCK)),
    ),
    "o35": Scenario(
        hosts=[
            Host("west-1", both("8", "8"), block="west"),
            Host("west-2", both("8", "8"), block="west"),
            Host("east-1", {"cpu": "32"}, block="east"),
        ],
        levels=(BLOCK, HOST),
        asks=Group(
            leader={"cpu": "16"},
            worker=both("4", "8"),
            workers=2,
            annotations=preferred(BLOCK),
            affinity={
                "preferredDuringSchedulingIgnoredDuringExecution": [
                    {
                        "weight": 10,
                        "preference": {
                            "matchExpressions": [
                                {"key": BLOCK, "operator": "In", "values": ["o35-west"]}
                            ]
                        },
                    }
                ]
            },
        ),
    ),
    "o36": Scenario(
        hosts=[
            Host("dom1", {"cpu": "10"}, block="dom1", rack="rack1"),
            Host("dom2", {"cpu": "6"}, block="dom2", rack="rack2"),
        ],
        asks=Group(leader=CPU, worker=CPU, workers=5, annotations=required(BLOCK)),
    ),
    "o37-count": Scenario(
        hosts=[
            Host("roomy", {GPU: "10"}, block="a"),
            Host("leads", both("1", "1"), block="b"),
        ],
        levels=(BLOCK, HOST),
        asks=Group(leader=CPU, worker={GPU: "1"}, workers=1, annotations=required(BLOCK)),
    ),
    "o37-affinity": Scenario(
        hosts=[
            Host("liked", {GPU: "10"}, block="a"),
            Host("leads", both("1", "10"), block="b"),
        ],
        levels=(BLOCK, HOST),
        asks=Group(
            leader=CPU,
            worker={GPU: "1"},
            workers=2,
            annotations=required(BLOCK),
            affinity={
                "preferredDuringSchedulingIgnoredDuringExecution": [
                    {
                        "weight": 10,
                        "preference": {
                            "matchExpressions": [
                                {"key": BLOCK, "operator": "In", "values": ["o37-affinity-a"]}
                            ]
                        },
                    }
                ]
            },
        ),
    ),
}


@pytest.fixture(scope="module", autouse=True)
def placed(
    installed: sandbox.Sandbox,
    shared_controller: harness.ControllerProcess,
    backend: sandbox.Backend,
) -> Iterator[None]:
    """All scenarios at once: none of them disturbs another one."""
    if backend == "kubeconfig":
        pytest.skip("makes nodes, which only a sandbox plays")
    if not shared_controller.running:
        shared_controller.start()
    with (
        harness.own_namespace(installed, NAMESPACE),
        placements.standing(installed, SCENARIOS, namespace=NAMESPACE),
    ):
        yield


def wait_hosts(cluster: sandbox.Sandbox, name: str) -> list[str]:
    """Wait until a group has its places; returns the hosts by rank, the leader's first.

    Those of a set's pods as they run there, those of a Workload written by hand as assigned.
    """
    asked = SCENARIOS[name].asks
    if isinstance(asked, PodSets):
        places = assigned(wait_workload(cluster, name, admitted), name)
        return [*places["leader"], *places["worker"]]
    expected = [f"{name}-0", *(f"{name}-0-{index}" for index in range(1, asked.workers + 1))]
    found = harness.wait_pods(
        cluster,
        lambda seen: all(pod in seen and harness.is_ready(seen[pod]) for pod in expected),
        namespace=NAMESPACE,
        what=f"the pods of {name} are ready",
    )
    prefix = placements.node_name(name, "")
    return [found[pod]["spec"]["nodeName"].removeprefix(prefix) for pod in expected]


def wait_workload(cluster: sandbox.Sandbox, name: str, holds: Callable[[Object], bool]) -> Object:
    """Wait until something holds for the Workload of a scenario."""

    def its(obj: Object) -> bool:
        return str(obj["spec"].get("queueName")) == name

    found = cluster.api.wait_for_all(
        *queued.WORKLOAD,
        lambda seen: any(its(obj) and holds(obj) for obj in seen.values()),
        namespace=NAMESPACE,
        what=f"the Workload of {name}",
    )
    return next(obj for obj in found.values() if its(obj))


def wait_refused(cluster: sandbox.Sandbox, name: str, *texts: str) -> None:
    """Wait until the Workload of a scenario waits, and says all ``texts``."""

    def told(obj: Object) -> bool:
        said = harness.condition(obj, "QuotaReserved") or {}
        return said.get("status") == "False" and all(text in said["message"] for text in texts)

    found = wait_workload(cluster, name, told)
    assert not queued.is_true(found, "Admitted")


def flavors(workload: Object, scenario: str) -> dict[str, set[str]]:
    """The flavors of each pod set."""
    return {
        each["name"]: {
            flavor.removeprefix(f"{scenario}-") for flavor in (each.get("flavors") or {}).values()
        }
        for each in workload["status"]["admission"]["podSetAssignments"]
    }


def assigned(workload: Object, scenario: str) -> dict[str, list[str]]:
    """The hosts of each pod set, by rank."""
    prefix = placements.node_name(scenario, "")
    return {
        each["name"]: [
            domain.node.removeprefix(prefix)
            for domain in assignment.decode(
                kueue.TopologyAssignment.model_validate(each["topologyAssignment"])
            )
            for _ in range(domain.count)
        ]
        for each in workload["status"]["admission"]["podSetAssignments"]
    }


def admitted(obj: Object) -> bool:
    return queued.is_true(obj, "Admitted")


@pytest.mark.row("O21")
def test_a_leader_that_requests_nothing_goes_with_the_flavor_of_its_group(
    installed: sandbox.Sandbox,
) -> None:
    assert wait_hosts(installed, "o21") == ["h", "h"]
    found = wait_workload(installed, "o21", admitted)
    assert flavors(found, "o21") == {"leader": {"a"}, "worker": {"a"}}


@pytest.mark.row("O22")
def test_a_leader_that_requests_nothing_and_has_no_group_has_no_flavor(
    installed: sandbox.Sandbox,
) -> None:
    wait_refused(installed, "o22", "pod set leader", "no TAS flavor assigned")


@pytest.mark.row("O23")
def test_the_leader_of_peers_on_two_flavors_is_refused(installed: sandbox.Sandbox) -> None:
    wait_refused(
        installed, "o23", "pod set leader", "more than one TAS flavor assigned: o23-a, o23-b"
    )


@pytest.mark.row("O24")
def test_each_leader_of_two_groups_has_the_flavor_of_its_own(installed: sandbox.Sandbox) -> None:
    found = wait_workload(installed, "o24", admitted)
    assert flavors(found, "o24") == {
        "leader1": {"a"},
        "worker1": {"a"},
        "leader2": {"b"},
        "worker2": {"b"},
    }
    assert assigned(found, "o24") == {
        "leader1": ["h"],
        "worker1": ["h"],
        "leader2": ["i"],
        "worker2": ["i"],
    }


@pytest.mark.row("O25")
def test_a_leader_whose_peer_has_a_flavor_without_topology_is_refused(
    installed: sandbox.Sandbox,
) -> None:
    wait_refused(installed, "o25", "pod set leader", "there is no TAS cache information")


@pytest.mark.row("O26")
def test_a_group_gets_one_flavor_that_holds_all_of_it(installed: sandbox.Sandbox) -> None:
    assert wait_hosts(installed, "o26") == ["y"] * 5


@pytest.mark.row("O27")
def test_a_leader_that_could_use_a_flavor_before_it_goes_with_the_workers(
    installed: sandbox.Sandbox,
) -> None:
    assert wait_hosts(installed, "o27") == ["y"] * 5
    found = wait_workload(installed, "o27", admitted)
    assert flavors(found, "o27") == {"leader": {"two"}, "worker": {"two"}}


@pytest.mark.row("O28")
def test_a_group_that_would_only_fit_apart_waits(installed: sandbox.Sandbox) -> None:
    wait_refused(
        installed,
        "o28",
        "insufficient quota for cpu in flavor o28-one",
        f"insufficient quota for {GPU} in flavor o28-two",
    )


@pytest.mark.row("O29")
def test_leader_and_workers_share_the_one_domain_that_holds_both(
    installed: sandbox.Sandbox,
) -> None:
    assert wait_hosts(installed, "o29") == ["b2"] * 5


@pytest.mark.row("O30")
@pytest.mark.parametrize(
    ("name", "hosts"),
    [
        ("o30-plain", ["h3", "h1", "h2", "h2", "h3"]),
        ("o30-sliced", ["h3", "h1", "h1", *["h2"] * 4, "h3", "h3"]),
        ("o30-preferred", ["h2", *["h1"] * 4, "h2"]),
        ("o30-below", ["leads", "works"]),
    ],
)
def test_a_leader_takes_no_room_that_the_workers_need(
    installed: sandbox.Sandbox, name: str, hosts: list[str]
) -> None:
    assert wait_hosts(installed, name) == hosts


@pytest.mark.row("O31")
@pytest.mark.parametrize(
    ("name", "host"),
    [
        ("o31-tight", "b2"),
        ("o31-skipped", "large-free"),
        ("o31-mixed", "large-free"),
        ("o31-kept", "small-free"),
    ],
)
def test_the_tightest_domain_that_holds_leader_and_workers_is_taken(
    installed: sandbox.Sandbox, name: str, host: str
) -> None:
    assert set(wait_hosts(installed, name)) == {host}


@pytest.mark.row("O32")
@pytest.mark.parametrize("name", ["o32-none", "o32-leader"])
def test_workers_that_fit_without_their_leader_wait(installed: sandbox.Sandbox, name: str) -> None:
    wait_refused(installed, name, f'topology "{name}" allows to fit only 4 out of 4 pod(s)')


@pytest.mark.row("O33")
@pytest.mark.parametrize(
    ("name", "hosts"),
    [
        ("o33-hosts", ["x1", "x3", "x5"]),
        # Ranks follow the racks, not the names of the hosts.
        ("o33-rack", ["x3", "x5", "x1"]),
        ("o33-spread", ["x1", *["x1"] * 4, "x2", "x2"]),
        # Without constraints it is spread: this group fits only so.
        ("o33-lean", ["h1", "h2"]),
        ("o33-best", ["b1"] * 5),
    ],
)
def test_a_group_goes_to_the_hosts_that_fit_it_best(
    installed: sandbox.Sandbox, name: str, hosts: list[str]
) -> None:
    assert wait_hosts(installed, name) == hosts


@pytest.mark.row("O35")
def test_a_leader_that_the_preferred_zone_cannot_hold_goes_to_another_one(
    installed: sandbox.Sandbox,
) -> None:
    assert wait_hosts(installed, "o35") == ["east-1", "west-1", "west-2"]


@pytest.mark.row("O36")
def test_the_smallest_sufficient_domain_is_taken_for_the_whole_group(
    installed: sandbox.Sandbox,
) -> None:
    assert wait_hosts(installed, "o36") == ["dom2"] * 6


@pytest.mark.row("O37")
@pytest.mark.parametrize(
    ("name", "hosts"), [("o37-count", ["leads"] * 2), ("o37-affinity", ["leads"] * 3)]
)
def test_a_domain_that_can_hold_the_leader_goes_before_one_that_has_more_room_or_is_preferred(
    installed: sandbox.Sandbox, name: str, hosts: list[str]
) -> None:
    assert wait_hosts(installed, name) == hosts
