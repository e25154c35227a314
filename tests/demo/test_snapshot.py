"""When a step of the story is over, and what the story computes."""

import dataclasses

import pytest
from lws_kueue_lab.demo import snapshot

from lws_kueue.api import kueue
from tests.kit.builders import objects


def test_a_step_is_over_when_all_groups_run_and_the_set_says_so() -> None:
    assert snapshot.runs(objects.all_running(2), groups=2)


@pytest.mark.parametrize(
    "seen",
    [
        pytest.param(snapshot.Snapshot(), id="no set"),
        pytest.param(objects.all_running(3), id="another number of groups"),
        pytest.param(objects.all_running(2, says=1), id="the set counts fewer"),
        pytest.param(objects.all_running(2, waiting="group 1: x"), id="the set says one waits"),
        pytest.param(
            dataclasses.replace(objects.all_running(2), pods=objects.running(0)), id="pods missing"
        ),
        pytest.param(
            dataclasses.replace(
                objects.all_running(2), workloads=[objects.workload(0, admitted=True)]
            ),
            id="pods that run without a Workload",
        ),
        pytest.param(
            dataclasses.replace(objects.all_running(2), owner=objects.owner(ready=2, observed=0)),
            id="a status from before the last change",
        ),
    ],
)
def test_a_step_is_not_over_before(seen: snapshot.Snapshot) -> None:
    assert not snapshot.runs(seen, groups=2)


@pytest.mark.parametrize("index", [0, 1, 2])
def test_any_one_group_may_be_the_one_that_waits(index: int) -> None:
    assert snapshot.all_run_but_one(objects.one_waiting(index=index), groups=3)


@pytest.mark.parametrize(
    "seen",
    [
        pytest.param(objects.all_running(3), id="all run"),
        pytest.param(objects.one_waiting(why=""), id="Kueue gave no reason"),
        pytest.param(objects.one_waiting(set_says=""), id="the set says nothing"),
        pytest.param(objects.one_waiting(set_says="not considered yet"), id="the set says less"),
        pytest.param(objects.one_waiting(says=1), id="the set counts fewer"),
        pytest.param(
            dataclasses.replace(objects.one_waiting(), pods=objects.one_waiting().pods[:-1]),
            id="a pod of the waiting group is missing",
        ),
        pytest.param(
            dataclasses.replace(objects.one_waiting(), pods=objects.one_waiting().pods[1:]),
            id="another group does not run",
        ),
    ],
)
def test_it_is_not_said_too_early_that_one_waits(seen: snapshot.Snapshot) -> None:
    assert not snapshot.all_run_but_one(seen, groups=3)


def test_the_reason_is_told_in_one_line() -> None:
    seen = objects.all_running(1, waiting="group 1: too\n  little")
    assert seen.why_waiting() == "group 1: too little"


def test_what_a_group_has_is_the_sum_over_its_pod_sets() -> None:
    admitted = kueue.Workload.of(objects.workload(0, admitted=True))
    assert snapshot.reserved(admitted) == {"cpu": 600}
    assert snapshot.needed(admitted) == {}


def test_more_quota_is_added_to_the_queue_as_it_was() -> None:
    before = objects.cluster_queue(cpu="1800m")
    after = snapshot.with_more_quota(before, more={"cpu": 600, "memory": 1})
    assert snapshot.quota(after) == {"cpu": 2400}
    assert snapshot.quota(before) == {"cpu": 1800}
    assert after["spec"]["resourceGroups"][0]["flavors"][0]["resources"] == [
        {"name": "cpu", "nominalQuota": "2400m"}
    ]


def test_more_quota_goes_to_one_flavor_alone() -> None:
    before = objects.cluster_queue()
    group = before["spec"]["resourceGroups"][0]
    group["flavors"].append({"name": "other", "resources": [{"name": "cpu", "nominalQuota": "1"}]})
    after = snapshot.with_more_quota(before, more={"cpu": 600})
    assert snapshot.quota(after) == {"cpu": 1800 + 1000 + 600}
