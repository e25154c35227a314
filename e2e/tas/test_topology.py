"""Every group where it belongs, every rank on its node (kueue-contract 1.9, 3.5 and 5.9)."""

import json
from contextlib import suppress

import pytest
from lws_kueue_lab.sandbox import client

from e2e.tas.conftest import Grow
from lws_kueue.api import names
from tests.kit.judge import budget
from tests.kit.kueue import queued
from tests.kit.lws import sets
from tests.kit.tas import trees
from tests.kit.tas.trees import Object

IN_BLOCK = {names.PODSET_REQUIRED_TOPOLOGY: trees.BLOCK}
IN_RACK = {names.PODSET_REQUIRED_TOPOLOGY: trees.RACK}
TOGETHER = {names.PODSET_GROUP_NAME: "one"}


def blocks(tree: trees.Tree) -> list[list[str]]:
    """The hosts of each block, in order."""
    half = len(tree.hosts) // 2
    return [tree.hosts[:half], tree.hosts[half:]]


@pytest.mark.row("T01")
def test_ranks_follow_the_hosts_of_a_block_and_each_group_has_its_own(grow: Grow) -> None:
    tree = grow()
    lws = tree.set(replicas=2, size=3, pod_annotations=IN_BLOCK)
    lws.wait_ready(2)
    found = [trees.place(lws.pods_of(group)) for group in (0, 1)]
    wanted = [dict(enumerate(hosts[:3])) for hosts in blocks(tree)]
    assert sorted(found, key=str) == sorted(wanted, key=str)


@pytest.mark.row("T02")
def test_workers_beside_a_leader_that_is_placed_by_itself_count_from_one(grow: Grow) -> None:
    tree = grow()
    lws = tree.set(replicas=1, size=5, leader=True, pod_annotations=IN_BLOCK)
    lws.wait_ready(1)
    pods = lws.pods_of(0)
    offsets = {
        name: pod["metadata"]["annotations"].get(names.POD_INDEX_OFFSET)
        for name, pod in pods.items()
    }
    assert offsets == {"lws-0": None, **{f"lws-0-{n}": "1" for n in range(1, 5)}}
    workers = {rank: node for rank, node in trees.place(pods).items() if rank > 0}
    assert workers in [dict(enumerate(hosts, start=1)) for hosts in blocks(tree)]


@pytest.mark.row("T03")
def test_leader_and_workers_in_one_group_are_ranked_together(grow: Grow) -> None:
    tree = grow()
    lws = tree.set(replicas=1, size=4, leader=True, pod_annotations=IN_BLOCK | TOGETHER)
    lws.wait_ready(1)
    pods = lws.pods_of(0)
    assert not any(names.POD_INDEX_OFFSET in p["metadata"]["annotations"] for p in pods.values())
    assert trees.place(pods) in [dict(enumerate(hosts)) for hosts in blocks(tree)]


@pytest.mark.row("T04")
def test_a_leader_without_a_gpu_shares_the_host_of_the_first_worker(grow: Grow) -> None:
    def light_leader(body: Object) -> None:
        leader, worker = sets.templates(body)
        trees.take(leader, {"cpu": "1"})
        trees.take(worker, {"cpu": "1", trees.GPU: "1"})

    tree = grow()
    lws = tree.set(
        replicas=2,
        size=4,
        leader=True,
        pod_annotations=IN_BLOCK | TOGETHER,
        change=light_leader,
    )
    lws.wait_ready(2)
    found = [trees.place(lws.pods_of(group)) for group in (0, 1)]
    wanted = [dict(enumerate([hosts[0], *hosts[:3]])) for hosts in blocks(tree)]
    assert sorted(found, key=str) == sorted(wanted, key=str)


@pytest.mark.row("C21")
def test_a_leader_without_a_template_of_its_own_is_in_the_group_with_its_workers(
    grow: Grow,
) -> None:
    tree = grow()
    lws = tree.set(replicas=2, size=2, pod_annotations=IN_RACK | TOGETHER)
    lws.wait_ready(2)
    for group in (0, 1):
        (pod_set,) = lws.workload(group)["spec"]["podSets"]
        assert "podSetGroupName" not in pod_set["topologyRequest"]
        nodes = trees.place(lws.pods_of(group))
        assert nodes[0].rpartition("-")[0] == nodes[1].rpartition("-")[0]


IN_SLICES = {
    "one layer": {
        names.PODSET_SLICE_REQUIRED_TOPOLOGY: trees.RACK,
        names.PODSET_SLICE_SIZE: "2",
    },
    "two layers": {
        names.PODSET_SLICE_CONSTRAINTS: json.dumps(
            [{"topology": trees.BLOCK, "size": 4}, {"topology": trees.RACK, "size": 2}]
        ),
    },
}


@pytest.mark.parametrize("layers", IN_SLICES)
def test_every_subgroup_has_a_rack(grow: Grow, layers: str) -> None:
    def subgroups(body: Object) -> None:
        trees.take_gpus(body)
        body["spec"]["leaderWorkerTemplate"]["subGroupPolicy"] = {"subGroupSize": 2}

    tree = grow(shape=(2, 2, 3))
    lws = tree.set(replicas=2, size=4, pod_annotations=IN_SLICES[layers], change=subgroups)
    lws.wait_ready(2)
    for group in (0, 1):
        pods = lws.pods_of(group)
        racks = [tree.at(node)[:2] for _, node in sorted(trees.place(pods).items())]
        assert racks[0] == racks[1]
        assert racks[2] == racks[3]
        if layers == "two layers":
            assert racks[0][0] == racks[2][0], "the subgroups share a block"
        of = {p["metadata"]["labels"][names.SUBGROUP_INDEX] for p in pods.values()}
        assert of == {"0", "1"}


def test_pods_of_a_queue_with_topologies_only_are_placed_without_asking(grow: Grow) -> None:
    tree = grow()
    lws = tree.set(replicas=1, size=3, leader=True)
    lws.wait_ready(1)
    assigned = lws.workload(0)["status"]["admission"]["podSetAssignments"]
    assert all("topologyAssignment" in one for one in assigned)
    for pod in lws.pods_of(0).values():
        assert pod["metadata"]["annotations"][names.PODSET_UNCONSTRAINED_TOPOLOGY] == "true"
        assert pod["spec"]["nodeSelector"][trees.HOST] == pod["spec"]["nodeName"]


@pytest.mark.long
def test_what_runs_is_counted_once_so_every_host_can_be_used(grow: Grow) -> None:
    tree = grow()
    lws = tree.set(replicas=1, size=4, leader=True, pod_annotations=IN_BLOCK | TOGETHER)
    lws.wait_ready(1)
    lws.scale(2)
    lws.wait_ready(2)
    nodes = [node for group in (0, 1) for node in trees.place(lws.pods_of(group)).values()]
    assert sorted(nodes) == sorted(tree.hosts)
    lws.scale(3)
    lws.wait_told("group 2")


def test_recreated_pods_get_the_hosts_of_their_ranks_again(grow: Grow) -> None:
    tree = grow()
    lws = tree.set(replicas=1, size=4, pod_annotations=IN_BLOCK, restart="None")
    lws.wait_ready(1)
    before, uids = trees.place(lws.pods_of(0)), lws.uids_of(0)
    for name in ("lws-0-1", "lws-0-3"):
        lws.delete_pod(name)
    changed = {"lws-0-1", "lws-0-3"}

    def made_anew(found: dict[str, Object]) -> bool:
        return len(found) == 4 and all(
            queued.runs(pod) and (pod["metadata"]["uid"] != uids[name]) == (name in changed)
            for name, pod in found.items()
        )

    lws.wait_pods(0, made_anew, what="two of four pods are made anew")
    assert trees.place(lws.pods_of(0)) == before


def test_the_set_tells_where_its_groups_landed(grow: Grow) -> None:
    tree = grow()
    lws = tree.set(replicas=1, size=3, pod_annotations=IN_BLOCK)
    lws.wait_ready(1)
    hosts = [trees.place(lws.pods_of(0))[rank] for rank in range(3)]
    name = lws.workload(0)["metadata"]["name"]
    told = ", ".join(f"{rank} on {host}" for rank, host in enumerate(hosts))
    wanted = ("TopologyAssigned", f"Group 0, Workload {name}: pods {told}")
    lws.wait_event(*wanted)


def test_a_group_that_does_not_fit_tells_level_free_and_needed(grow: Grow) -> None:
    tree = grow()
    lws = tree.set(replicas=1, size=3, pod_annotations=IN_RACK)
    lws.wait_told(
        "group 0", "allows to fit only 2 out of 3", f"main needs 3 pods in one {trees.RACK}"
    )
    lws.wait_gated(0, pods=3)


def test_a_level_that_the_topology_lacks_is_told(grow: Grow) -> None:
    tree = grow()
    unknown = {names.PODSET_REQUIRED_TOPOLOGY: "example.com/no-such-level"}
    lws = tree.set(replicas=1, size=2, pod_annotations=unknown)
    lws.wait_told("group 0", "example.com/no-such-level", names.PODSET_REQUIRED_TOPOLOGY)


def test_nothing_is_stopped_when_the_topology_goes_and_the_set_says_so(grow: Grow) -> None:
    tree = grow()
    lws = tree.set(replicas=1, size=3, pod_annotations=IN_BLOCK)
    lws.wait_ready(1)
    uids = lws.uids_of(0)
    # In use, it has a finalizer that keeps it; somebody insists.
    kind = (names.KUEUE_API_VERSION, "Topology", tree.namespace)
    tree.cluster.api.delete(*kind)
    with suppress(client.ApiError):
        tree.cluster.api.patch(*kind, body={"metadata": {"finalizers": None}})
    lws.wait_warning("ClusterQueueInactive", tree.namespace)
    assert lws.uids_of(0) == uids
    assert all(queued.runs(pod) for pod in lws.pods_of(0).values())
    lws.delete_pod("lws-0-1")
    lws.wait_pods(
        0,
        lambda found: (
            len(found) == 3
            and all(queued.runs(pod) for pod in found.values())
            and found["lws-0-1"]["metadata"]["uid"] != uids["lws-0-1"]
        ),
        what="the group is complete again",
    )


def test_a_placed_group_costs_no_more_writes_than_any_other(grow: Grow) -> None:
    tree = grow()
    lws = tree.set(replicas=2, size=3, pod_annotations=IN_BLOCK)
    lws.wait_ready(2)
    found = budget.settled(tree.cluster, namespace=tree.namespace)
    rest = [write for write in found if write.resource != "leaderworkersets/status"]
    assert len(rest) >= 2 * (3 + 1), budget.summary(found)
    assert len(rest) <= 2 * (3 + 3) + budget.ONCE_A_SET, budget.summary(found)
    # A guard may refuse what Kueue was quicker to write; that costs a write that counts.
    assert {write.status for write in found if write.status >= 400} <= {409}, budget.summary(found)
