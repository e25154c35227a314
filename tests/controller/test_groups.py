import pytest

from lws_kueue.api import facts, names
from lws_kueue.controller.observe import groups, ordinals
from tests.kit.builders import given


@pytest.mark.row("UT-33")
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("lws-samples-132", ("lws-samples", 132)),
        ("lws-samples-132-u", ("", -1)),
        ("lws-samples-132-", ("", -1)),
        ("lws-samples-0", ("lws-samples", 0)),
        ("lws-samples--1", ("lws-samples-", 1)),
        ("lws-samples1", ("", -1)),
        ("lws-samples-1-0", ("lws-samples-1", 0)),
    ],
)
def test_names_of_pods_are_split_at_the_ordinal(name: str, expected: tuple[str, int]) -> None:
    assert ordinals.parent_and_ordinal(name) == expected


@pytest.mark.row("UT-34")
@pytest.mark.parametrize(
    ("available", "revisions", "ready"),
    [(2, ("a", "a"), True), (1, ("a", "a"), False), (2, ("a", "b"), False), (1, ("a", "b"), False)],
)
def test_a_stateful_set_is_ready_with_all_replicas_on_one_revision(
    available: int, revisions: tuple[str, str], ready: bool
) -> None:
    found = given.a_stateful_set("x", replicas=2, available=available, revisions=revisions)
    assert found.ready is ready


def test_groups_follow_the_chain_of_ownership() -> None:
    leaders = [given.a_leader(10, size=3), given.a_leader(2, size=3)]
    workers = [given.a_worker(leader, n) for leader in leaders for n in (2, 1)]
    sets = [given.a_worker_set(leader, replicas=2) for leader in leaders]
    found = given.observe(
        given.an_lws(size=3),
        stateful_sets=[given.a_leader_set(), *sets],
        pods=[*workers, *leaders],
    )
    assert [group.index for group in found.groups] == [2, 10]
    assert [w.meta.name for w in found.groups[0].workers] == ["test-sample-2-1", "test-sample-2-2"]
    assert found.groups[1].worker_set is sets[0]
    assert (found.former, found.unowned, found.foreign) == ((), (), None)


def test_an_owner_is_known_by_its_kind_too() -> None:
    """Anybody can make a StatefulSet whose owner is a Thing with the UID of a set or a leader."""
    leader = given.a_leader(0)
    forged = given.reference("Thing", leader.meta.name, leader.meta.uid)
    workers = given.a_stateful_set(leader.meta.name, owner=forged)
    found = given.observe(
        given.an_lws(), stateful_sets=[given.a_leader_set(), workers], pods=[leader]
    )
    (group,) = found.groups
    assert (group.worker_set, group.foreign_worker_set) == (None, workers)
    owner = given.an_lws()
    forged = given.reference("Thing", given.NAME, owner.meta.uid)
    leaders = given.a_stateful_set(given.NAME, owner=forged)
    found = given.observe(owner, stateful_sets=[leaders], pods=[])
    assert (found.leader_set, found.foreign) == (None, leaders)


def test_pods_of_a_leader_that_is_gone_are_stale() -> None:
    leader = given.a_leader(0, uid="new-leader")
    old_set = given.a_worker_set(given.a_leader(0, uid="old-leader"), uid="old-set")
    owner = given.reference("StatefulSet", "test-sample-0", "old-set")
    worker = given.a_worker(leader, 1, owner=owner)
    found = given.observe(
        given.an_lws(), stateful_sets=[given.a_leader_set(), old_set], pods=[leader, worker]
    )
    (group,) = found.groups
    assert (group.workers, group.worker_set, group.foreign_worker_set) == ((), None, old_set)
    assert not group.whole
    assert found.former == (worker,)


def test_without_a_leader_set_every_pod_is_stale() -> None:
    leader = given.a_leader(0)
    found = given.observe(given.an_lws(), stateful_sets=[], pods=[leader])
    assert (found.groups, found.former, found.leader_set) == ((), (leader,), None)


def test_a_leader_set_of_another_owner_is_foreign() -> None:
    owner = given.reference(names.LWS_KIND, given.NAME, "uid-of-a-set-before")
    foreign = given.a_stateful_set(given.NAME, uid=given.LEADER_SET_UID, owner=owner)
    found = given.observe(given.an_lws(), stateful_sets=[foreign], pods=[given.a_leader(0)])
    assert (found.leader_set, found.foreign, found.groups) == (None, foreign, ())


def test_an_orphaned_leader_set_is_taken_back() -> None:
    labels = {names.SET_NAME: given.NAME}
    orphan = given.a_stateful_set(given.NAME, uid=given.LEADER_SET_UID, labels=labels)
    found = given.observe(given.an_lws(), stateful_sets=[orphan], pods=[given.a_leader(0)])
    assert (found.leader_set, found.foreign, len(found.groups)) == (orphan, None, 1)


def test_a_statefulset_without_owner_and_without_our_label_is_foreign() -> None:
    stranger = given.a_stateful_set(given.NAME, uid=given.LEADER_SET_UID)
    found = given.observe(given.an_lws(), stateful_sets=[stranger], pods=[])
    assert (found.leader_set, found.foreign) == (None, stranger)


def test_a_labelled_statefulset_that_selects_other_pods_is_foreign() -> None:
    stranger = given.a_stateful_set(
        given.NAME, labels={names.SET_NAME: given.NAME}, selector={"app": "web"}
    )
    found = given.observe(given.an_lws(), stateful_sets=[stranger], pods=[])
    assert (found.leader_set, found.foreign) == (None, stranger)


def test_workers_that_the_leader_itself_controls_belong_to_its_group() -> None:
    leader = given.a_leader(0)
    owner = given.reference("Pod", leader.meta.name, leader.meta.uid)
    worker = given.a_worker(leader, 1, owner=owner)
    found = given.observe(
        given.an_lws(), stateful_sets=[given.a_leader_set()], pods=[leader, worker]
    )
    assert found.groups[0].workers == (worker,)


def test_a_group_has_the_size_it_was_made_with() -> None:
    leader = given.a_leader(0, size=1)
    found = given.observe(given.an_lws(size=4), stateful_sets=[given.a_leader_set()], pods=[leader])
    (group,) = found.groups
    assert (group.size, group.whole, group.ready, group.updated("key")) == (1, True, True, True)


@pytest.mark.parametrize("phase", ["Pending", "Running", "Succeeded", "Failed", "Unknown"])
def test_only_a_running_leader_makes_a_group_ready(phase: str) -> None:
    assert given.a_group(0, phase=phase).ready is (phase == "Running")


def test_a_group_is_updated_when_leader_and_workers_are() -> None:
    head = given.a_leader(0, key="new")
    old = given.a_worker_set(given.a_leader(0, key="old"))
    group = groups.Group(index=0, size=2, leader=head, worker_set=old)
    assert (group.updated("new"), group.updated("old")) == (False, False)
    assert group.ready


def test_a_group_service_is_found_by_name() -> None:
    service = facts.Service.of({"metadata": {"name": "test-sample-0"}})
    found = given.observe(
        given.an_lws(),
        stateful_sets=[given.a_leader_set()],
        pods=[given.a_leader(0), given.a_leader(1)],
        services=[service],
    )
    assert [group.service for group in found.groups] == [service, None]


@pytest.mark.row("UT-30")
@pytest.mark.parametrize(
    ("phase", "kind", "count", "restarted"),
    [
        ("Running", "initContainerStatuses", 1, True),
        ("Pending", "initContainerStatuses", 1, True),
        ("Running", "containerStatuses", 1, True),
        ("Failed", "containerStatuses", 1, False),
        ("Running", "containerStatuses", 0, False),
        ("Running", "ephemeralContainerStatuses", 1, False),
    ],
)
def test_a_restart_counts_while_the_pod_lives(
    phase: str, kind: str, count: int, restarted: bool
) -> None:
    pod = facts.Pod.of({"status": {"phase": phase, kind: [{"restartCount": count}]}})
    assert pod.restarted is restarted
