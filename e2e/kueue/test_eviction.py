"""Evictions: the group's pods stop, the quota goes back in one write, and it all begins anew.

Each group for itself (kueue-contract 8.2): every set has a second group that nothing happens to.
"""

import contextlib
from collections.abc import Iterator

import pytest
from lws_kueue_lab import sandbox

from e2e.kueue.conftest import Keep
from lws_kueue.api import names
from tests.kit.kueue import evictions, queued
from tests.kit.lws.sample import Object

pytestmark = pytest.mark.usefixtures("controller")

SIZE = 2
# Enough for a group to become ready on a busy machine before it is over.
EXECUTION_SECONDS = 8


@contextlib.contextmanager
def evicted_alone(
    one: queued.Queued, reason: str, *, group: int = 0, requeued: bool = False
) -> Iterator[str]:
    """Check that the body evicts one group of a set that is ready, gets it back, and no other.

    Gives the UID of the group's Workload. A deactivation with a cause is named with it.
    """
    groups = one.get()["spec"]["replicas"]
    one.wait_ready(groups)
    uid, before = one.workload(group)["metadata"]["uid"], one.uids_of(group)
    others = {other: one.uids_of(other) for other in range(groups) if other != group}
    assert len(before) == SIZE
    with evictions.story(one) as told:
        yield uid
        one.wait_ready(groups)
        one.wait_running(group, pods=SIZE)
    assert one.workload(group)["metadata"]["uid"] == uid
    evictions.was_given_back_at_once(told, one, uid, reason=reason, requeued=requeued)
    evictions.was_stopped_once(told, one, before)
    assert {other: one.uids_of(other) for other in others} == others


def wait_stopped(one: queued.Queued, reason: str, *, group: int = 0) -> Object:
    """Wait until a group has given back its quota and stands gated, and the others run on."""
    found = one.wait_given_back(group, reason)
    one.wait_gated(group, pods=SIZE)
    one.wait_ready(one.get()["spec"]["replicas"] - 1)
    return found


@pytest.mark.long
def test_a_deactivated_group_stops_alone_and_starts_again_when_it_is_activated(
    installed: sandbox.Sandbox, namespace: str, queue: str
) -> None:
    one = queued.create(installed, namespace=namespace, queue=queue, replicas=3, size=SIZE)
    with evicted_alone(one, "Deactivated", group=1):
        one.switch(1, active=False)
        name = wait_stopped(one, "Deactivated", group=1)["metadata"]["name"]
        one.wait_told("group 1:", name, "spec.active")
        one.switch(1, active=True)
    found = one.workload(1)
    assert queued.said(found, "Requeued") == ("True", "Reactivated")
    one.wait_set(
        lambda seen: not queued.is_true(seen, "WaitingForAdmission"), what="waits for nothing"
    )


def test_a_preempted_group_stops_alone_and_queues_again_at_once(
    installed: sandbox.Sandbox, namespace: str, queue: str, keep: Keep
) -> None:
    high = {"metadata": {"name": f"{namespace}-high"}, "value": 5000}
    keep({"apiVersion": names.KUEUE_API_VERSION, "kind": "WorkloadPriorityClass"} | high)
    # 4 of 5 cpu; what comes needs 2, so one group has to go, and either may be it.
    one = queued.create(installed, namespace=namespace, queue=queue, replicas=2, size=SIZE, cpu="1")
    one.wait_ready(2)
    before = {group: one.uids_of(group) for group in (0, 1)}
    with evictions.story(one) as told:
        other = queued.create(
            installed,
            "other",
            namespace=namespace,
            queue=queue,
            size=SIZE,
            cpu="1",
            priority_class=f"{namespace}-high",
        )
        other.wait_ready(1)
        found = one.wait_workloads(
            lambda seen: any(queued.is_true(workload, "Preempted") for workload in seen.values()),
            what="one is preempted",
        )
        (group,) = [g for g, workload in found.items() if queued.is_true(workload, "Preempted")]
        uid = found[group]["metadata"]["uid"]
        wait_stopped(one, "Preempted", group=group)
        one.wait_told(f"group {group}:", f"ClusterQueue {namespace}", "cpu")
        other.delete()
        one.wait_ready(2)
    evictions.was_given_back_at_once(told, one, uid, reason="Preempted", requeued=True)
    evictions.was_stopped_once(told, one, before[group])
    assert one.uids_of(1 - group) == before[1 - group]


@pytest.mark.long
def test_a_group_that_exceeds_its_execution_time_is_switched_off_until_somebody_acts(
    installed: sandbox.Sandbox, namespace: str, queue: str
) -> None:
    one = queued.create(
        installed,
        namespace=namespace,
        queue=queue,
        size=SIZE,
        labels={names.MAX_EXEC_TIME_SECONDS: str(EXECUTION_SECONDS)},
    )
    with evictions.story(one) as told:
        one.wait_ready(1)
        before = one.uids_of(0)
        found = one.wait_given_back(0, "DeactivatedDueToMaximumExecutionTimeExceeded")
        one.wait_gated(0, pods=SIZE)
    assert found["spec"]["active"] is False
    assert found["spec"]["maximumExecutionTimeSeconds"] == EXECUTION_SECONDS
    evictions.was_given_back_at_once(
        told, one, found["metadata"]["uid"], reason=queued.said(found, "Evicted")[1], requeued=False
    )
    evictions.was_stopped_once(told, one, before)
    one.wait_told("group 0:", found["metadata"]["name"], "maximum execution time", "spec.active")
    # Activated again, it has all of its time again.
    one.switch(0, active=True)
    one.wait_ready(1)
