"""What people do to Workloads by hand ends with the group in the queue again, and only it."""

from collections.abc import Callable

import pytest
from lws_kueue_lab import sandbox
from lws_kueue_lab.sandbox import audit

from e2e.kueue.conftest import Keep
from lws_kueue.api import names
from tests.kit.judge import budget
from tests.kit.kueue import evictions, queued
from tests.kit.live import harness
from tests.kit.lws.sample import Object

pytestmark = pytest.mark.usefixtures("controller")

SIZE = 2
# Kueue may take the finalizer off before and after the mark has gone, and it is put back each time.
MOST_FOR_A_MARK = 5


def is_another(uid: str) -> Callable[[Object], bool]:
    """Return whether a Workload is not the one of this UID."""
    return lambda seen: seen["metadata"]["uid"] != uid


def test_a_workload_deleted_by_hand_stops_its_group_and_comes_back_as_a_new_one(
    installed: sandbox.Sandbox, namespace: str, queue: str
) -> None:
    one = queued.create(installed, namespace=namespace, queue=queue, replicas=2, size=SIZE)
    one.wait_ready(2)
    old = one.workload(0)
    before = {group: one.uids_of(group) for group in (0, 1)}
    with evictions.story(one) as told:
        one.delete_workload(0)
        new = one.wait_workload(
            0,
            lambda seen: (
                is_another(old["metadata"]["uid"])(seen) and queued.is_true(seen, "Admitted")
            ),
            what="is another one and admitted",
        )
        one.wait_ready(2)
        one.wait_running(0, pods=SIZE)
    assert new["metadata"]["name"] == old["metadata"]["name"]
    # Kueue's pod integration may look once at what has the name of a Workload that has gone.
    one.wait_workload(0, keeps_its_finalizer, what="has its finalizer")
    evictions.was_stopped_once(told, one, before[0])
    assert one.uids_of(1) == before[1]
    # Until the last pod was let go, the finalizer kept the quota.
    gone = max(_version(e["object"]) for e in told.workloads.events if e["type"] == "DELETED")
    stopped = [
        _version(e["object"])
        for e in told.pods.events
        if e["type"] == "DELETED" and e["object"]["metadata"]["uid"] in before[0].values()
    ]
    assert len(stopped) == SIZE
    assert max(stopped) < gone


def keeps_its_finalizer(workload: Object) -> bool:
    """Whether a Workload has the finalizer that stands for its quota."""
    return bool(workload["metadata"].get("finalizers") == [names.WORKLOAD_FINALIZER])


@pytest.mark.row("WAR-01")
def test_a_workload_of_an_earlier_version_loses_its_mark_of_pod_groups_and_no_war_begins(
    installed: sandbox.Sandbox, namespace: str, queue: str
) -> None:
    """By it Kueue's pod integration takes the finalizer off whenever it sees the Workload."""
    one = queued.create(installed, namespace=namespace, queue=queue, replicas=2, size=SIZE)
    one.wait_ready(2)
    before = {group: one.uids_of(group) for group in (0, 1)}
    mark = audit.position(installed) if installed.audit_log else None
    one.patch_workload(0, {"metadata": {"annotations": {names.IS_GROUP_WORKLOAD: "true"}}})

    def is_ours(workload: Object) -> bool:
        marked = names.IS_GROUP_WORKLOAD in workload["metadata"]["annotations"]
        return not marked and keeps_its_finalizer(workload)

    one.wait_workload(0, is_ours, what="has its finalizer and no mark")
    if mark is not None:
        budget.settled(installed, namespace=namespace)
        # Events, and counters of the queue, may still come from the time before.
        since = [
            write
            for write in budget.of_both(installed, namespace=namespace, since=mark)
            if write.resource.partition("/")[0] == "workloads"
        ]
        assert 1 <= len(since) <= MOST_FOR_A_MARK, budget.summary(since)
    one.wait_workload(0, is_ours, what="has its finalizer and no mark at rest")
    assert {group: one.uids_of(group) for group in (0, 1)} == before


def _version(obj: Object) -> int:
    return int(obj["metadata"]["resourceVersion"])


def test_a_finalizer_removed_by_hand_comes_back_and_the_group_runs_on(
    installed: sandbox.Sandbox, namespace: str, queue: str
) -> None:
    one = queued.create(installed, namespace=namespace, queue=queue, size=SIZE)
    one.wait_ready(1)
    uid, before = one.workload(0)["metadata"]["uid"], one.uids_of(0)
    one.patch_workload(0, {"metadata": {"finalizers": None}})
    found = one.wait_workload(
        0,
        lambda seen: seen["metadata"].get("finalizers") == [names.WORKLOAD_FINALIZER],
        what="has its finalizer",
    )
    assert found["metadata"]["uid"] == uid
    assert one.uids_of(0) == before
    one.wait_ready(1)


@pytest.mark.long
def test_a_group_whose_workload_vanished_while_nobody_watched_makes_room_for_a_higher_one(
    installed: sandbox.Sandbox,
    controller: harness.ControllerProcess,
    namespace: str,
    queue: str,
    keep: Keep,
) -> None:
    high = {"metadata": {"name": f"{namespace}-high"}, "value": 5000}
    keep({"apiVersion": names.KUEUE_API_VERSION, "kind": "WorkloadPriorityClass"} | high)
    one = queued.create(installed, namespace=namespace, queue=queue, size=SIZE, cpu="2")
    one.wait_ready(1)
    before = one.uids_of(0)
    # Nobody is there to put the finalizer back, so the quota is free while the pods run.
    controller.kill()
    one.patch_workload(0, {"metadata": {"finalizers": None}})
    one.delete_workload(0)
    one.wait_workloads(lambda seen: not seen, what="no Workload")
    other = queued.create(
        installed,
        "other",
        namespace=namespace,
        queue=queue,
        size=SIZE,
        cpu="2",
        priority_class=f"{namespace}-high",
    )
    with evictions.story(one) as told:
        controller.start()
        other.wait_ready(1)
        one.wait_gated(0, pods=SIZE)
        other.delete()
        one.wait_ready(1)
        one.wait_running(0, pods=SIZE)
    found = one.workload(0)
    assert found["metadata"]["finalizers"] == [names.WORKLOAD_FINALIZER]
    assert queued.is_true(found, "Admitted")
    # The other one asks for quota when its pods are there. Until then this one may come first.
    evictions.was_stopped_only_while_it_ran(told, one, before)


def test_a_workload_of_a_waiting_group_that_is_deleted_comes_back_and_waits_again(
    installed: sandbox.Sandbox, namespace: str, queue: str
) -> None:
    # Two groups of 2 cpu of five.
    one = queued.create(installed, namespace=namespace, queue=queue, replicas=3, size=SIZE, cpu="1")
    one.wait_ready(2)
    found = one.wait_workloads(lambda seen: len(seen) == 3, what="three Workloads")
    (group,) = [g for g, workload in found.items() if not queued.is_true(workload, "Admitted")]
    others = {other: one.uids_of(other) for other in range(3) if other != group}
    one.delete_workload(group)
    one.wait_workload(
        group,
        lambda seen: (
            is_another(found[group]["metadata"]["uid"])(seen)
            and queued.said(seen, "QuotaReserved")[0] == "False"
        ),
        what="is another one and waits",
    )
    one.wait_gated(group, pods=SIZE)
    assert {other: one.uids_of(other) for other in others} == others


def test_a_pod_whose_gate_somebody_removes_is_stopped_and_comes_back_gated(
    installed: sandbox.Sandbox, namespace: str, queue: str
) -> None:
    # Two groups of 2 cpu of five.
    one = queued.create(installed, namespace=namespace, queue=queue, replicas=3, size=SIZE, cpu="1")
    one.wait_ready(2)
    found = one.wait_workloads(lambda seen: len(seen) == 3, what="three Workloads")
    (group,) = [g for g, workload in found.items() if not queued.is_true(workload, "Admitted")]
    one.wait_gated(group, pods=SIZE)
    before = {each: one.uids_of(each) for each in range(3)}
    worker = f"lws-{group}-1"
    body = {"spec": {"schedulingGates": None}}
    installed.api.patch("v1", "Pod", worker, namespace=namespace, body=body)
    one.wait_pods(
        group,
        lambda seen: worker in seen and seen[worker]["metadata"]["uid"] != before[group][worker],
        what=f"{worker} is another one",
    )
    one.wait_gated(group, pods=SIZE)
    after = {each: one.uids_of(each) for each in range(3)}
    assert after[group] | {worker: before[group][worker]} == before[group]
    assert {each: after[each] for each in after if each != group} == {
        each: before[each] for each in before if each != group
    }
    assert not [text for reason, text in one.events() if reason == "RecreateGroup"]


@pytest.mark.parametrize("reason", ["OutOfSync", "FailedToStart"])
def test_a_workload_that_is_finished_by_mistake_is_made_anew(
    installed: sandbox.Sandbox, namespace: str, queue: str, reason: str
) -> None:
    one = queued.create(installed, namespace=namespace, queue=queue, replicas=2, size=SIZE)
    one.wait_ready(2)
    old, others = one.workload(0), one.uids_of(1)
    finished = {
        "type": "Finished",
        "status": "True",
        "reason": reason,
        "message": "the pods are not those of the Workload",
        "lastTransitionTime": old["metadata"]["creationTimestamp"],
    }
    installed.api.patch(
        *queued.WORKLOAD,
        old["metadata"]["name"],
        namespace=namespace,
        body={"status": {"conditions": [*old["status"]["conditions"], finished]}},
        subresource="status",
    )
    one.wait_workload(
        0,
        lambda seen: is_another(old["metadata"]["uid"])(seen) and queued.is_true(seen, "Admitted"),
        what="is another one and admitted",
    )
    one.wait_ready(2)
    assert one.uids_of(1) == others


def test_a_workload_whose_owner_was_taken_away_does_not_cost_the_group_its_place_for_good(
    installed: sandbox.Sandbox, namespace: str, queue: str
) -> None:
    one = queued.create(installed, namespace=namespace, queue=queue, replicas=2, size=SIZE)
    one.wait_ready(2)
    owner, others = one.workload(0)["metadata"]["ownerReferences"], one.uids_of(1)
    one.patch_workload(0, {"metadata": {"ownerReferences": None}})
    one.wait_workload(
        0,
        lambda seen: (
            seen["metadata"].get("ownerReferences") == owner
            and queued.is_true(seen, "Admitted")
            and not queued.is_true(seen, "Finished")
        ),
        what="belongs to the set and is admitted",
    )
    one.wait_ready(2)
    assert one.uids_of(1) == others
