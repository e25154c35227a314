"""Nodes that fail under a placed group: replaced inside its reservation, or evicted once.

kueue-contract 3.5. What Kueue does it does by itself; the pods have to follow.
"""

import os
from collections import defaultdict
from collections.abc import Iterable
from itertools import pairwise

import pytest

from e2e.tas.conftest import Grow
from lws_kueue.api import names
from tests.kit.judge import budget
from tests.kit.kueue import queued
from tests.kit.live import harness
from tests.kit.tas import trees
from tests.kit.tas.trees import Object

IN_BLOCK = {names.PODSET_REQUIRED_TOPOLOGY: trees.BLOCK}
IN_RACK = {names.PODSET_REQUIRED_TOPOLOGY: trees.RACK}
TOGETHER = {names.PODSET_GROUP_NAME: "one"}

# How often the test that loses one node after the other does so.
LOSSES = int(os.environ.get("LWS_KUEUE_NODE_LOSSES", "4"))


def wait_complete(lws: queued.Queued, size: int, *, but: Iterable[str], group: int = 0) -> None:
    """Wait until all pods of a group run, none of them on the nodes ``but``."""
    left = frozenset(but)

    def whole(found: dict[str, Object]) -> bool:
        return len(found) == size and all(
            queued.runs(pod) and pod["spec"]["nodeName"] not in left for pod in found.values()
        )

    lws.wait_pods(group, whole, what=f"{size} running pods, none on {sorted(left)}")


def admission(workload: Object) -> tuple[str, str]:
    """Which Workload it is, and since when its quota is reserved."""
    reserved = next(c for c in workload["status"]["conditions"] if c["type"] == "QuotaReserved")
    return workload["metadata"]["uid"], reserved["lastTransitionTime"]


def evictions(record: harness.Recording) -> int:
    """How often the one Workload of the record was evicted because nodes failed.

    Counted are changes from not evicted to evicted: of two nodes that fail together Kueue may tell
    one after the other, as one eviction.
    """
    told = [queued.said(event["object"], "Evicted") for event in record.events]
    states = [one == ("True", "NodeFailures") for one in told]
    return sum(now and not before for before, now in pairwise([False, *states]))


def incarnations(record: harness.Recording) -> dict[str, int]:
    """How many pods of each name there were."""
    uids = defaultdict(set)
    for event in record.events:
        meta = event["object"]["metadata"]
        uids[meta["name"]].add(meta["uid"])
    return {name: len(found) for name, found in sorted(uids.items())}


@pytest.mark.parametrize("grouped", [False, True], ids=["one template", "two templates"])
def test_lost_nodes_are_replaced_one_by_one_and_the_other_pods_stay(
    grow: Grow, grouped: bool
) -> None:
    tree = grow()
    asked = IN_BLOCK | (TOGETHER if grouped else {})
    lws = tree.set(replicas=1, size=3, leader=grouped, pod_annotations=asked, restart="None")
    lws.wait_ready(1)
    reserved = admission(lws.workload(0))
    for loss in range(LOSSES):
        uids, before = lws.uids_of(0), trees.place(lws.pods_of(0))
        rank = 1 + loss % 2
        lost = before[rank]
        tree.lose_node(lost)
        wait_complete(lws, 3, but=[lost])
        after = trees.place(lws.pods_of(0))
        assert {**after, rank: lost} == before, "ranks on other nodes keep theirs"
        assert tree.block_of(after[rank]) == tree.block_of(lost)
        kept = {name for name, uid in lws.uids_of(0).items() if uids[name] == uid}
        assert kept == set(uids) - {f"lws-0-{rank}"}, "pods on other nodes are untouched"
        assert admission(lws.workload(0)) == reserved
        tree.make_node(*tree.at(lost))
        tree.wait_node(lost)


def test_a_group_that_restarts_as_a_whole_does_so_once_for_a_lost_node(grow: Grow) -> None:
    tree = grow()
    lws = tree.set(replicas=1, size=3, pod_annotations=IN_BLOCK)
    lws.wait_ready(1)
    uids, before = lws.uids_of(0), trees.place(lws.pods_of(0))
    reserved = admission(lws.workload(0))
    with lws.recording("v1", "Pod") as record:
        tree.lose_node(before[1])
        wait_complete(lws, 3, but=[before[1]])
        # Back at rest, or there would be more to come.
        lws.wait_ready(1)
        budget.settled(tree.cluster, namespace=tree.namespace)
    assert all(lws.uids_of(0)[name] != uid for name, uid in uids.items())
    assert incarnations(record) == dict.fromkeys(sorted(uids), 2), "old and new, no third"
    assert admission(lws.workload(0)) == reserved
    after = trees.place(lws.pods_of(0))
    assert [after[rank] for rank in range(3)] == sorted(after.values()), "ranks follow the hosts"


@pytest.mark.parametrize(
    "restart", [pytest.param("None", marks=pytest.mark.long), "RecreateGroupOnPodRestart"]
)
def test_without_a_spare_the_group_is_evicted_once_and_says_why(grow: Grow, restart: str) -> None:
    tree = grow(shape=(1, 1, 2))
    lws = tree.set(replicas=1, size=2, pod_annotations=IN_RACK, restart=restart)
    lws.wait_ready(1)
    lost = trees.place(lws.pods_of(0))[1]
    with lws.watching() as record:
        tree.lose_node(lost)
        lws.wait_given_back(0, "NodeFailures")
        lws.wait_gated(0, pods=2)
        lws.wait_told("group 0", f"main needs 2 pods in one {trees.RACK}")
        tree.make_node(*tree.at(lost))
        wait_complete(lws, 2, but=[])
        lws.wait_ready(1)
    assert evictions(record) == 1


@pytest.mark.long
def test_two_lost_nodes_evict_the_group_once_and_it_comes_back_elsewhere(grow: Grow) -> None:
    tree = grow(shape=(2, 1, 4))
    lws = tree.set(replicas=1, size=3, pod_annotations=IN_BLOCK)
    lws.wait_ready(1)
    before = trees.place(lws.pods_of(0))
    lost = [before[1], before[2]]
    with lws.watching() as record:
        for node in lost:
            tree.lose_node(node)
        wait_complete(lws, 3, but=lost)
        lws.wait_ready(1)
        budget.settled(tree.cluster, namespace=tree.namespace)
    assert evictions(record) <= 1
    nodes = trees.place(lws.pods_of(0)).values()
    assert len({tree.block_of(node) for node in nodes}) == 1


def test_a_node_that_drives_its_pods_out_is_replaced_as_well(grow: Grow) -> None:
    tree = grow()
    lws = tree.set(replicas=1, size=3, pod_annotations=IN_BLOCK, restart="None")
    lws.wait_ready(1)
    uids, before = lws.uids_of(0), trees.place(lws.pods_of(0))
    reserved = admission(lws.workload(0))
    taint = {"key": "example.com/broken", "effect": "NoExecute"}
    tree.cluster.api.patch("v1", "Node", before[2], body={"spec": {"taints": [taint]}})
    wait_complete(lws, 3, but=[before[2]])
    kept = {name for name, uid in lws.uids_of(0).items() if uids[name] == uid}
    assert kept == {"lws-0", "lws-0-1"}
    assert admission(lws.workload(0)) == reserved


# Nodes that take no pods, but keep those that they have (P5) --------------------------------------

SHARED_NODE = {trees.GPU: "2", "cpu": "4"}

# What a pod may be made anew in vain before it waits: Kueue may end what was on its way.
MOST_ATTEMPTS = 4


def spoil(tree: trees.Tree, node: str, how: str) -> None:
    """Make a node take no more pods."""
    taint = {"key": "example.com/broken", "effect": "NoSchedule"}
    spec: Object = {"unschedulable": True} if how == "cordoned" else {"taints": [taint]}
    tree.cluster.api.patch("v1", "Node", node, body={"spec": spec})


def mend(tree: trees.Tree, node: str) -> None:
    """Make a node take pods again."""
    body = {"spec": {"unschedulable": None, "taints": None}}
    tree.cluster.api.patch("v1", "Node", node, body=body)


@pytest.mark.row("P5")
@pytest.mark.parametrize(
    ("how", "end"),
    [
        ("tainted", "deleted"),
        pytest.param("cordoned", "failed", marks=pytest.mark.long),
        pytest.param("tainted", "failed", marks=pytest.mark.long),
        pytest.param("cordoned", "deleted", marks=pytest.mark.long),
    ],
)
def test_a_pod_whose_node_takes_none_waits_gated_and_its_neighbour_there_stays(
    grow: Grow, how: str, end: str
) -> None:
    tree = grow(shape=(1, 1, 2), capacity=SHARED_NODE)
    lws = tree.set(replicas=1, size=2, pod_annotations=IN_RACK, restart="None")
    lws.wait_ready(1)
    where = trees.place(lws.pods_of(0))
    assert where[0] == where[1], "both on one node, which Kueue fills first"
    reserved, uids = admission(lws.workload(0)), lws.uids_of(0)
    spoil(tree, where[1], how)
    with lws.recording("v1", "Pod") as record:
        if end == "deleted":
            tree.cluster.api.delete("v1", "Pod", "lws-0-1", namespace=tree.namespace)
        else:
            fail(tree, "lws-0-1")
        lws.wait_told("pod lws-0-1", f"node {where[1]}")
        lws.wait_warning("NodeUnfit", f"node {where[1]}")
        budget.settled(tree.cluster, namespace=tree.namespace)
    made = incarnations(record)
    assert made.get("lws-0-1", 0) <= 1 + MOST_ATTEMPTS
    assert queued.is_held(lws.pods_of(0)["lws-0-1"])
    assert lws.uids_of(0)["lws-0"] == uids["lws-0"]
    mend(tree, where[1])
    wait_complete(lws, 2, but=[])
    assert admission(lws.workload(0)) == reserved
    lws.wait_ready(1)


def fail(tree: trees.Tree, pod: str) -> None:
    """Let a pod fail, as a kubelet does that has to evict it."""
    body = {"status": {"phase": "Failed", "reason": "Evicted"}}
    tree.cluster.api.patch(
        "v1", "Pod", pod, namespace=tree.namespace, body=body, subresource="status"
    )


@pytest.mark.row("P5")
def test_the_last_pod_of_a_group_on_a_cordoned_node_comes_back_on_another(grow: Grow) -> None:
    tree = grow(shape=(1, 1, 3))
    lws = tree.set(replicas=1, size=2, pod_annotations=IN_RACK, restart="None")
    lws.wait_ready(1)
    where, uids = trees.place(lws.pods_of(0)), lws.uids_of(0)
    spoil(tree, where[1], "cordoned")
    tree.cluster.api.delete("v1", "Pod", "lws-0-1", namespace=tree.namespace)
    wait_complete(lws, 2, but=[where[1]])
    assert lws.uids_of(0)["lws-0"] == uids["lws-0"]


@pytest.mark.long
@pytest.mark.row("P5")
def test_a_pod_whose_node_others_have_filled_waits_there_and_the_set_says_so(grow: Grow) -> None:
    tree = grow(shape=(1, 1, 1), capacity={trees.GPU: "2", "cpu": "4"})
    lws = tree.set(replicas=1, size=2, pod_annotations=IN_RACK, restart="None")
    lws.wait_ready(1)
    (node,) = tree.hosts
    with lws.recording("v1", "Pod") as record:
        tree.cluster.api.create(filler(tree, node))
        tree.cluster.api.delete("v1", "Pod", "lws-0-1", namespace=tree.namespace)
        lws.wait_warning("PodUnschedulable", f"node {node}")
        budget.settled(tree.cluster, namespace=tree.namespace)
    assert incarnations(record)["lws-0-1"] <= 2
    tree.cluster.api.delete("v1", "Pod", "filler", namespace=tree.namespace)
    wait_complete(lws, 2, but=[])


def filler(tree: trees.Tree, node: str) -> Object:
    """A pod that takes a GPU of a node, whether one is left or not."""
    container = {"name": "c", "image": harness.IMAGE}
    template: Object = {"spec": {"containers": [container]}}
    trees.take(template, {trees.GPU: "1"})
    spec = {
        **template["spec"],
        "nodeName": node,
        "terminationGracePeriodSeconds": 0,
        "tolerations": [{"operator": "Exists"}],
    }
    meta = {"name": "filler", "namespace": tree.namespace}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}
