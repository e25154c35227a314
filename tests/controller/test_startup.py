from typing import Any

import pytest

from lws_kueue.api import names
from lws_kueue.controller.objects import startup
from lws_kueue.controller.observe import groups
from tests.kit.builders import given


def lone(**leader: Any) -> groups.Group:
    """Return a group that has its leader and nothing else."""
    head = given.a_leader(0, **leader)
    return groups.Group(index=0, size=int(head.meta.annotations.get(names.SIZE, 2)), leader=head)


def test_workers_follow_as_soon_as_the_leader_exists() -> None:
    group = lone(phase="Pending", ready=False, node="")
    assert startup.worker_set(given.an_lws(), group) == startup.Startup(create=True)


def test_a_group_of_one_gets_no_workers() -> None:
    assert not startup.worker_set(given.an_lws(size=4), lone(size=1)).create


def test_the_groups_own_size_decides_and_not_the_sets() -> None:
    assert startup.worker_set(given.an_lws(size=1), lone(size=2)).create


@pytest.mark.parametrize("ready", [True, False])
def test_with_leader_ready_the_workers_wait_for_the_leader(ready: bool) -> None:
    owner = given.an_lws(startupPolicy="LeaderReady")
    assert startup.worker_set(owner, lone(ready=ready)).create is ready


def test_a_leader_that_is_being_deleted_gets_no_workers() -> None:
    assert startup.worker_set(given.an_lws(), lone(deleted=True)) == startup.Startup(create=False)


def test_an_existing_worker_set_is_left_as_it_is() -> None:
    assert not startup.worker_set(given.an_lws(size=4), given.a_group(0)).create


def test_a_leader_that_was_made_as_a_worker_is_refused() -> None:
    found = startup.worker_set(
        given.an_lws(), lone(annotations={names.SIZE: "2", names.LEADER_NAME: "test-sample"})
    )
    assert not found.create
    assert found.reason is not None
    assert (found.reason.warns, found.reason.code) == (True, "FailedCreate")
    assert names.LEADER_NAME in found.reason.message


@pytest.mark.parametrize(
    ("topology", "node", "create"),
    [("rack", "", False), ("rack", "node-1", True), ("", "", True)],
)
def test_exclusive_workers_wait_for_the_leaders_node(
    topology: str, node: str, create: bool
) -> None:
    owner = given.an_lws(annotations={names.EXCLUSIVE_TOPOLOGY: topology})
    assert startup.worker_set(owner, lone(node=node)).create is create


def test_a_leader_without_identity_gets_no_workers() -> None:
    pod = given.a_pod("test-sample-0", annotations={names.SIZE: "2"})
    found = startup.worker_set(given.an_lws(), groups.Group(index=0, size=2, leader=pod))
    assert not found.create
    assert found.reason is not None
    assert names.GROUP_KEY in found.reason.message


def test_what_garbage_collection_will_remove_is_waited_for() -> None:
    before = given.a_worker_set(given.a_leader(0, uid="before"))
    group = groups.Group(index=0, size=2, leader=given.a_leader(0), foreign_worker_set=before)
    assert startup.worker_set(given.an_lws(), group) == startup.Startup(create=False)


def test_a_strangers_stateful_set_of_that_name_is_reported() -> None:
    stranger = given.a_stateful_set("test-sample-0")
    group = groups.Group(index=0, size=2, leader=given.a_leader(0), foreign_worker_set=stranger)
    found = startup.worker_set(given.an_lws(), group)
    assert not found.create
    assert found.reason is not None
    assert found.reason.message.startswith(
        "Failed to create worker statefulset for leader pod test-sample-0"
    )
