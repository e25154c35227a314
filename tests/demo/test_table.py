"""The rows of the table, from objects."""

import dataclasses

from lws_kueue_lab.demo import snapshot, table

from tests.kit.builders import objects


def test_a_group_without_anything_has_a_row_that_says_so() -> None:
    (row,) = table.rows(snapshot.Snapshot(owner=objects.owner(replicas=1)))
    assert row.cells == ("0", "-", "-", "-", "-", "0/3 ready", "-", "-")
    assert row.stage == "waiting"


def test_before_the_set_is_there_the_table_is_empty() -> None:
    assert table.rows(snapshot.Snapshot()) == ()


def test_a_running_group_shows_its_quota_and_where_its_pods_are() -> None:
    row = table.rows(objects.all_running(1))[0]
    assert row.cells == (
        "0",
        "sample-0-ab0de",
        "admitted",
        "has 600m cpu",
        "released 3 of 3",
        "3/3 ready",
        "node-0, node-1, node-2",
        "rack-0-0, rack-0-1",
    )
    assert row.stage == "running"


def test_a_waiting_group_shows_what_it_needs_and_that_all_pods_are_held() -> None:
    row = table.rows(objects.one_waiting())[2]
    assert row.cells == (
        "2",
        "sample-2-ab2de",
        "pending",
        "needs 600m cpu",
        "held 3 of 3",
        "0/3 ready",
        "-",
        "-",
    )
    assert row.stage == "waiting"


def test_a_workload_that_kueue_has_not_looked_at_needs_nothing_known() -> None:
    seen = snapshot.Snapshot(
        owner=objects.owner(replicas=1), workloads=[objects.workload(0, looked=False)]
    )
    assert table.rows(seen)[0].quota == "-"


def test_a_group_that_is_being_released_counts_the_released_pods() -> None:
    seen = snapshot.Snapshot(
        owner=objects.owner(replicas=1),
        workloads=[objects.workload(0, admitted=True)],
        pods=[objects.pod(0, 0, node="node-0"), *objects.held(0)[1:]],
        racks=objects.RACKS,
    )
    (row,) = table.rows(seen)
    assert (row.gate, row.pods, row.nodes) == ("released 1 of 3", "0/3 ready", "node-0")
    assert row.stage == "starting"


def test_pods_that_do_not_exist_yet_are_not_said_to_be_held() -> None:
    seen = snapshot.Snapshot(owner=objects.owner(replicas=1), pods=objects.held(0)[:1])
    assert table.rows(seen)[0].gate == "held 1 of 3"


def test_an_evicted_workload_is_called_so() -> None:
    evicted = objects.workload(0, admitted=True)
    evicted["status"]["conditions"].append(
        {"type": "Evicted", "status": "True", "reason": "r", "message": "m"}
    )
    (row,) = table.rows(snapshot.Snapshot(owner=objects.owner(replicas=1), workloads=[evicted]))
    assert row.state == "evicted"
    assert row.stage == "waiting"


def test_a_group_that_is_no_longer_wanted_stays_until_it_is_gone() -> None:
    seen = dataclasses.replace(objects.all_running(3), owner=objects.owner(replicas=1))
    assert [row.group for row in table.rows(seen)] == ["0", "1", "2"]


def test_a_node_without_a_rack_is_listed_alone() -> None:
    seen = dataclasses.replace(objects.all_running(1), racks={})
    assert table.rows(seen)[0].nodes == "node-0, node-1, node-2"
    assert table.rows(seen)[0].racks == "-"


def test_the_caption_names_the_queue_and_its_quota() -> None:
    assert table.caption(objects.all_running(1)) == "ClusterQueue cluster-queue: quota 1800m cpu"
    assert table.caption(snapshot.Snapshot()) == ""
