import dataclasses
from dataclasses import replace
from typing import Any

import pytest

from lws_kueue.api import actions, lws, names
from lws_kueue.controller import restarts
from lws_kueue.controller.observe import groups, members
from tests.kit.builders import given


def a_group(*, workers: tuple[dict[str, Any], ...] = ({}, {}), **leader: Any) -> groups.Group:
    """Return a group of one leader and as many workers as are described."""
    size = leader.pop("size", len(workers) + 1)
    head = given.a_leader(1, size=size, **leader)
    return groups.Group(
        index=1,
        size=size,
        leader=head,
        workers=tuple(given.a_worker(head, n, **w) for n, w in enumerate(workers, start=1)),
        worker_set=given.a_worker_set(head, replicas=size - 1),
    )


def set_with(policy: str, **options: Any) -> lws.LeaderWorkerSet:
    return given.an_lws(template={"restartPolicy": policy}, **options)


def failed_pods(owner: lws.LeaderWorkerSet, *found: groups.Group, **options: Any) -> list[str]:
    """Return the names of the failed pods that the deletions tell about."""
    deletions = restarts.decide(owner, found, **options)
    return [d.events[0].message.split()[2] for d in deletions]


RECREATE = set_with("RecreateGroupOnPodRestart")
AFTER_START = set_with("RecreateGroupAfterStart")


@pytest.mark.row("UT-22")
def test_a_worker_that_is_deleted_takes_its_leader_along() -> None:
    assert restarts.decide(RECREATE, [a_group(workers=({"deleted": True}, {}))]) == (
        actions.Delete(
            actions.Ref("v1", "Pod", "default", "test-sample-1"),
            "uid-of-test-sample-1",
            propagation="Foreground",
            events=(
                actions.Event(
                    "Normal",
                    "RecreateGroup",
                    "Worker pod test-sample-1-1 failed, deleted leader pod test-sample-1 "
                    "to recreate group 1",
                ),
            ),
        ),
    )


@pytest.mark.parametrize("policy", ["RecreateGroupOnPodRestart", "RecreateGroupAfterStart"])
@pytest.mark.parametrize(
    ("group", "failed"),
    [
        (a_group(workers=({"restarts": 1}, {})), ["test-sample-1-1"]),
        (a_group(restarts=1), ["test-sample-1"]),
        (a_group(workers=({}, {"deleted": True})), ["test-sample-1-2"]),
        (a_group(workers=({"restarts": 2}, {"deleted": True}), restarts=1), ["test-sample-1"]),
        (a_group(), []),
        (a_group(workers=({"phase": "Failed", "restarts": 1}, {})), []),
    ],
)
def test_a_failed_pod_recreates_its_group_once(
    policy: str, group: groups.Group, failed: list[str]
) -> None:
    assert failed_pods(set_with(policy), group) == failed


@pytest.mark.row("CTL-18")
@pytest.mark.parametrize("policy", ["None", "Default"])
def test_without_a_policy_only_the_pod_itself_is_replaced(policy: str) -> None:
    group = a_group(workers=({"deleted": True}, {"restarts": 1}), restarts=1)
    assert failed_pods(set_with(policy), group, lost_pods={1: "test-sample-1-1"}) == []


def test_a_leader_that_is_being_deleted_is_not_deleted_again() -> None:
    group = a_group(workers=({"deleted": True}, {}), deleted=True)
    assert failed_pods(RECREATE, group, lost_pods={1: "test-sample-1-2"}) == []


_STARTING = a_group(workers=({"deleted": True}, {"phase": "Pending", "ready": False}))
_INCOMPLETE = a_group(workers=({"deleted": True},), size=3)


@pytest.mark.row("CTL-19")
@pytest.mark.parametrize("group", [_STARTING, _INCOMPLETE])
def test_a_group_that_is_still_starting_is_recreated_too(group: groups.Group) -> None:
    assert failed_pods(RECREATE, group) == ["test-sample-1-1"]


@pytest.mark.row("CTL-20", "CTL-21")
@pytest.mark.parametrize("group", [_STARTING, _INCOMPLETE])
@pytest.mark.parametrize(
    "owner",
    [
        AFTER_START,
        set_with("RecreateGroupOnPodRestart", annotations={names.RECREATE_GROUP_AFTER_START: ""}),
    ],
)
def test_a_group_that_is_still_starting_is_left_alone_where_asked_for(
    owner: lws.LeaderWorkerSet, group: groups.Group
) -> None:
    assert failed_pods(owner, group) == []


@pytest.mark.row("CTL-22")
def test_after_the_start_a_failure_recreates_the_group() -> None:
    assert failed_pods(AFTER_START, a_group(workers=({"deleted": True}, {}))) == ["test-sample-1-1"]


@pytest.mark.row("CTL-43")
def test_a_worker_of_another_revision_than_its_leader_is_ignored() -> None:
    old = {"labels": {names.REVISION_KEY: "old"}, "deleted": True}
    assert failed_pods(RECREATE, a_group(workers=(old, {}))) == []


@pytest.mark.row("UT-22")
def test_a_worker_of_a_stale_stateful_set_is_ignored() -> None:
    leader = given.a_leader(0)
    stale_owner = given.reference("StatefulSet", "test-sample-0", "uid-of-the-set-before")
    observation = given.observe(
        RECREATE,
        stateful_sets=[given.a_leader_set(), given.a_worker_set(leader)],
        pods=[leader, given.a_worker(leader, 1, owner=stale_owner, deleted=True)],
    )
    assert failed_pods(RECREATE, *observation.groups) == []


def test_groups_whose_pods_are_stopped_on_purpose_are_left_alone() -> None:
    group = a_group(workers=({"deleted": True}, {}))
    options = {"leave_alone": {1}, "lost_pods": {1: "test-sample-1-2"}}
    assert failed_pods(RECREATE, group, **options) == []
    assert failed_pods(RECREATE, group, leave_alone={0, 2}) == ["test-sample-1-1"]


def test_each_group_stands_for_itself() -> None:
    well = given.a_group(0)
    assert failed_pods(RECREATE, well, a_group(restarts=1)) == ["test-sample-1"]


# Pods that vanish between two looks.


def without(group: groups.Group, name: str) -> groups.Group:
    kept = tuple(pod for pod in group.workers if pod.meta.name != name)
    return dataclasses.replace(group, workers=kept)


def lost(owner: lws.LeaderWorkerSet, before: groups.Group, after: groups.Group) -> str | None:
    kept = members.members(before)
    assert kept is not None
    return restarts.lost(owner, before=kept, group=after)


def test_a_pod_that_vanished_unseen_recreates_its_group() -> None:
    group = a_group()
    gone = lost(RECREATE, group, without(group, "test-sample-1-2"))
    assert gone == "test-sample-1-2"
    assert failed_pods(RECREATE, group, lost_pods={1: gone}) == ["test-sample-1-2"]


def test_a_replacement_under_the_same_name_does_not_hide_the_loss() -> None:
    replaced = a_group(workers=({"uid": "new", "phase": "Pending"}, {}))
    assert lost(RECREATE, a_group(), replaced) == "test-sample-1-1"
    assert lost(AFTER_START, a_group(), replaced) == "test-sample-1-1"


def test_nothing_is_lost_while_all_are_there() -> None:
    assert lost(RECREATE, a_group(), a_group(workers=({"deleted": True}, {}))) is None


def test_a_new_incarnation_of_the_group_has_lost_nothing() -> None:
    before = a_group()
    assert lost(RECREATE, before, without(a_group(uid="new-leader"), "test-sample-1-1")) is None
    new_set = given.a_worker_set(before.leader, uid="new-set")
    emptied = dataclasses.replace(before, worker_set=new_set, workers=())
    assert lost(RECREATE, before, emptied) is None
    assert lost(RECREATE, before, dataclasses.replace(emptied, worker_set=None)) is None


def test_a_loss_while_the_group_starts_counts_only_where_starting_counts() -> None:
    before = a_group(workers=({"phase": "Pending"}, {}))
    after = without(before, "test-sample-1-1")
    assert lost(RECREATE, before, after) == "test-sample-1-1"
    assert lost(AFTER_START, before, after) is None


@pytest.mark.parametrize(
    "group",
    [a_group(workers=({},), size=3), dataclasses.replace(a_group(), worker_set=None)],
)
def test_an_incomplete_group_has_no_members_to_keep(group: groups.Group) -> None:
    assert members.members(group) is None


def test_a_worker_that_no_pass_has_seen_is_lost_as_well_unless_its_group_may_be_starting() -> None:
    group = given.a_group(0, size=3)
    assert group.worker_set is not None
    incarnation = (group.leader.meta.uid, group.worker_set.meta.uid)
    gone = members.Departed(0, *incarnation, uid="short-lived", name="test-sample-0-1")
    before = members.members(group)
    assert before is not None
    for known in ({}, {0: before}, {0: replace(before, leader="former")}):
        (memory,) = members.with_departed(known, [gone]).values()
        assert restarts.lost(given.an_lws(size=3), before=memory, group=group) == gone.name
    after_start = given.an_lws(size=3, template={"restartPolicy": "RecreateGroupAfterStart"})
    for known in ({}, {0: before}):
        (memory,) = members.with_departed(known, [gone]).values()
        assert restarts.lost(after_start, before=memory, group=group) is None
