"""Restart policies with a StatefulSet controller at work (lws-contract 5.2; CTL-18 to 22, 43).

Upstream's tests have no StatefulSet controller, so a worker that they delete stays away. Here it
comes back, and what tells is whether its leader stays the same pod.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from lws_kueue_lab import sandbox
from lws_kueue_lab.sandbox import stages

from lws_kueue.api import names
from tests.kit.live import harness
from tests.kit.lws import checks, sample

pytestmark = pytest.mark.usefixtures("controller")

LEADER = "test-sample-0"


# A node label that no node has: pods that ask for it stay Pending.
NOWHERE = "e2e.lws-kueue.dev/nowhere"


@pytest.fixture
def room(installed: sandbox.Sandbox, played: None, namespace: str) -> Iterator[str]:
    """A node label that no node has until the test gives it to one of the sandbox's nodes."""
    yield f"e2e.lws-kueue.dev/{namespace}"
    _label_a_node(installed, f"e2e.lws-kueue.dev/{namespace}", value=None)


def _label_a_node(cluster: sandbox.Sandbox, label: str, *, value: str | None) -> None:
    name = min(node["metadata"]["name"] for node in cluster.api.list("v1", "Node"))
    cluster.api.patch("v1", "Node", name, body={"metadata": {"labels": {label: value}}})


def _phases(one: sample.Sample, *expected: str) -> dict[str, str]:
    """Return the UIDs of the group's pods once their phases are these, the leader's first."""
    found = dict(sorted(one.pods().items()))
    assert [pod["status"]["phase"] for pod in found.values()] == list(expected)
    return {name: pod["metadata"]["uid"] for name, pod in found.items()}


def _replaced(one: sample.Sample, pod: str, before: dict[str, str]) -> None:
    found = one.pods()
    assert pod in found
    assert found[pod]["metadata"]["uid"] != before[pod]


def _recreations(one: sample.Sample) -> list[str]:
    return [text for reason, text in one.events() if reason == "RecreateGroup"]


def _tells_of(one: sample.Sample, worker: str, *, group: int = 0) -> None:
    """Exactly one recreation was told of, and it is that of this worker's group."""
    assert _recreations(one) == [
        f"Worker pod {worker} failed, deleted leader pod test-sample-{group} "
        f"to recreate group {group}"
    ]


def _was_deleting(record: harness.Recording, uid: str) -> bool:
    found = [event["object"]["metadata"] for event in record.events]
    return any(meta["uid"] == uid and "deletionTimestamp" in meta for meta in found)


def _workers_that_need(room: str) -> dict[str, Any]:
    pod = sample.base("any")["spec"]["leaderWorkerTemplate"]["workerTemplate"]
    pod["spec"]["nodeSelector"] = {room: "here"}
    return {"workerTemplate": pod}


@pytest.mark.row("CTL-18")
def test_with_no_policy_only_the_worker_is_replaced(
    installed: sandbox.Sandbox, namespace: str
) -> None:
    empty = sample.Sample(installed, namespace)
    with empty.recording("v1", "Pod") as pods:
        one = sample.create(
            installed, namespace, replicas=2, size=4, template={"restartPolicy": "None"}
        )
        checks.eventually(checks.condition, one, "Available")
        before = checks.eventually(_phases, one, *["Running"] * 8)
        one.delete_pod("test-sample-0-1")
        checks.eventually(_replaced, one, "test-sample-0-1", before)
        # The controller sees this deletion after that of the worker. Once it has made workers for
        # the leader that follows, it has looked at the other group as well, and left it alone.
        one.delete_pod("test-sample-1")
        for replaced in ("test-sample-1", "test-sample-1-1"):
            checks.eventually(_replaced, one, replaced, before)
        after = checks.eventually(_phases, one, *["Running"] * 8)
        checks.eventually(checks.condition, one, "Available")
    kept = {name for name in before if before[name] == after[name]}
    assert kept == {LEADER, "test-sample-0-2", "test-sample-0-3"}
    assert sample.incarnations(pods, LEADER) == [before[LEADER]]
    assert not _was_deleting(pods, before[LEADER])
    assert _recreations(one) == []


@pytest.mark.row("P10")
def test_with_no_policy_a_lost_leader_takes_its_workers_with_it_and_nobody_else(
    installed: sandbox.Sandbox, namespace: str
) -> None:
    one = sample.create(
        installed, namespace, replicas=2, size=3, template={"restartPolicy": "None"}
    )
    checks.eventually(checks.condition, one, "Available")
    before = checks.eventually(_phases, one, *["Running"] * 6)
    one.delete_pod(LEADER)
    for pod in (LEADER, f"{LEADER}-1", f"{LEADER}-2"):
        checks.eventually(_replaced, one, pod, before)
    after = checks.eventually(_phases, one, *["Running"] * 6)
    checks.eventually(checks.condition, one, "Available")
    kept = {name for name in before if before[name] == after[name]}
    assert kept == {name for name in before if name.startswith("test-sample-1")}
    assert _recreations(one) == [], "its owner is gone: nobody had to recreate the group"


@pytest.mark.row("CTL-19")
def test_a_deleted_worker_recreates_its_group_even_while_that_is_pending(
    installed: sandbox.Sandbox, namespace: str
) -> None:
    empty = sample.Sample(installed, namespace)
    with empty.recording("v1", "Pod") as pods:
        one = sample.create(
            installed, namespace, replicas=1, size=4, template=_workers_that_need(NOWHERE)
        )
        before = checks.eventually(_phases, one, "Running", "Pending", "Pending", "Pending")
        one.delete_pod("test-sample-0-1")
        checks.eventually(_replaced, one, LEADER, before)
        checks.eventually(_phases, one, "Running", "Pending", "Pending", "Pending")
        checks.eventually(_replaced, one, "test-sample-0-3", before)
    assert _was_deleting(pods, before[LEADER])
    checks.eventually(_tells_of, one, "test-sample-0-1")


@pytest.mark.parametrize(
    ("policy", "annotations"),
    [
        pytest.param("RecreateGroupAfterStart", {}, marks=pytest.mark.row("CTL-21", "CTL-22")),
        pytest.param(
            "RecreateGroupOnPodRestart",
            {names.RECREATE_GROUP_AFTER_START: "true"},
            marks=pytest.mark.row("CTL-20"),
        ),
    ],
)
def test_after_start_a_group_is_left_alone_until_all_its_pods_run(
    installed: sandbox.Sandbox,
    namespace: str,
    room: str,
    policy: str,
    annotations: dict[str, str],
) -> None:
    empty = sample.Sample(installed, namespace)
    with empty.recording("v1", "Pod") as pods:
        one = sample.create(
            installed,
            namespace,
            replicas=1,
            size=4,
            annotations=annotations,
            template={"restartPolicy": policy, **_workers_that_need(room)},
        )
        before = checks.eventually(_phases, one, "Running", "Pending", "Pending", "Pending")
        one.delete_pod("test-sample-0-1")
        checks.eventually(_replaced, one, "test-sample-0-1", before)
        _label_a_node(installed, room, value="here")
        running = checks.eventually(_phases, one, *["Running"] * 4)
        assert running[LEADER] == before[LEADER]
        # Only the controller's word shows that it has seen them run.
        checks.eventually(checks.condition, one, "Available")
        # The controller sees this deletion after the first, so that one was left alone for good.
        one.delete_pod("test-sample-0-2")
        checks.eventually(_replaced, one, LEADER, before)
    assert _was_deleting(pods, before[LEADER])
    checks.eventually(_tells_of, one, "test-sample-0-2")


@pytest.mark.long
@pytest.mark.usefixtures("played")
@pytest.mark.row("CTL-43")
def test_workers_of_a_replaced_group_do_not_recreate_the_one_in_its_place(
    installed: sandbox.Sandbox, namespace: str
) -> None:
    empty = sample.Sample(installed, namespace)
    worker, leader = "test-sample-3-1", "test-sample-3"
    with empty.recording("v1", "Pod") as pods:
        one = sample.create(installed, namespace, replicas=4, held=True)
        checks.eventually(one.release, 0, 1, 2, 3)
        checks.eventually(checks.condition, one, "Available")
        before = {name: pod["metadata"]["uid"] for name, pod in one.pods().items()}
        one.annotate(worker, {stages.BEHAVIOUR: stages.SLOW_DELETE, stages.SECONDS: "3"})
        one.change_templates("2")

        def the_old_worker_goes_beside_the_new_leader() -> None:
            found = one.pods()
            assert found[leader]["metadata"]["uid"] != before[leader]
            assert found[worker]["metadata"]["uid"] == before[worker]
            assert "deletionTimestamp" in found[worker]["metadata"]

        checks.eventually(the_old_worker_goes_beside_the_new_leader)
        checks.eventually(_replaced, one, worker, before)
        for group in (3, 2, 1, 0):
            checks.eventually(checks.stage, one, expected=(group, 4, 3, 4 - group))
            one.release(group)
        checks.eventually(checks.condition, one, "Available")
        assert len(sample.incarnations(pods, leader)) == 2
        assert _recreations(one) == []
        current = {name: pod["metadata"]["uid"] for name, pod in one.pods().items()}
        one.delete_pod(worker)
        checks.eventually(_tells_of, one, worker, group=3)
        checks.eventually(_replaced, one, leader, current)
    assert sample.incarnations(pods, leader)[:2] == [before[leader], current[leader]]
    assert _was_deleting(pods, current[leader])
