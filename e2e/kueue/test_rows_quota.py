"""Quota taken from queue-managed sets and given back (kueue-contract 5.8, S10 to S14, S17)."""

from collections.abc import Callable

import pytest
from lws_kueue_lab import sandbox

from e2e.kueue.conftest import Keep
from lws_kueue.api import names
from tests.kit.kueue import queued
from tests.kit.live import harness
from tests.kit.lws.sample import Object

pytestmark = pytest.mark.usefixtures("controller")


def classes(keep: Keep, namespace: str) -> tuple[str, str]:
    """Make a low and a high WorkloadPriorityClass and return their names."""
    made = []
    for name, value in ((f"{namespace}-low", 1000), (f"{namespace}-high", 5000)):
        kind = {"apiVersion": names.KUEUE_API_VERSION, "kind": "WorkloadPriorityClass"}
        keep({**kind, "metadata": {"name": name}, "value": value})
        made.append(name)
    return made[0], made[1]


def priority(workload: Object) -> tuple[str, int]:
    spec = workload["spec"]
    return spec["priorityClassRef"]["name"], spec["priority"]


def preempted(workload: Object) -> bool:
    return queued.is_true(workload, "Preempted") and queued.said(workload, "Admitted")[0] == "False"


def not_available(obj: Object) -> bool:
    ready = obj["status"].get("readyReplicas", 0)
    return (
        ready == 0
        and queued.is_true(obj, "Progressing")
        and not queued.is_true(obj, "Available")
        and obj["status"].get("observedGeneration") == obj["metadata"]["generation"]
    )


def labelled(*templates: str) -> Callable[[Object], None]:
    """Return an edit that puts the label of a queue on templates of a set."""

    def edit(body: Object) -> None:
        for field in templates:
            meta = body["spec"]["leaderWorkerTemplate"][field]["metadata"]
            meta["labels"] = {names.QUEUE_NAME: "another-queue"}

    return edit


@pytest.mark.row("S10")
def test_a_queue_label_on_the_worker_template_changes_nothing(
    installed: sandbox.Sandbox, namespace: str, queue: str
) -> None:
    one = queued.create(
        installed, namespace=namespace, queue=queue, change=labelled("workerTemplate")
    )
    one.wait_ready(1)
    assert one.wait_admitted()["spec"]["queueName"] == queue
    one.switch(0, active=False)
    one.wait_gated(0, pods=3)
    one.delete_and_leave_nothing()


@pytest.mark.parametrize(
    "templates",
    [
        pytest.param(("leaderTemplate",), marks=pytest.mark.row("S11", "S11a"), id="leader"),
        pytest.param(
            ("leaderTemplate", "workerTemplate"), marks=pytest.mark.row("S11", "S11b"), id="both"
        ),
    ],
)
def test_a_set_with_queue_labels_on_its_templates_is_switched_off_and_on(
    installed: sandbox.Sandbox, namespace: str, queue: str, templates: tuple[str, ...]
) -> None:
    one = queued.create(
        installed,
        namespace=namespace,
        queue=queue,
        size=2,
        leader=True,
        change=labelled(*templates),
    )
    one.wait_ready(1)
    assert one.wait_admitted()["spec"]["queueName"] == queue
    assert not any(harness.gates(pod) for pod in one.pods().values())
    one.switch(0, active=False)
    found = one.wait_given_back(0, "Deactivated")
    assert queued.said(found, "Admitted")[0] == "False"
    assert queued.said(found, "QuotaReserved")[0] == "False"
    one.wait_gated(0, pods=2)
    one.wait_set(not_available, what="nothing ready and not available")
    one.switch(0, active=True)
    one.wait_admitted()
    one.wait_ready(1)
    one.wait_running(0, pods=2)
    one.delete_and_leave_nothing()


@pytest.mark.row("S12")
def test_a_set_in_a_queue_that_is_missing_waits_and_moves_to_one_that_is_there(
    installed: sandbox.Sandbox, namespace: str, queue: str
) -> None:
    one = queued.create(installed, namespace=namespace, queue="no-such-queue")
    one.wait_workload(
        0,
        lambda seen: queued.said(seen, "QuotaReserved")[0] == "False",
        what="is refused",
    )
    one.wait_gated(0, pods=3)
    assert (one.get().get("status") or {}).get("readyReplicas", 0) == 0
    one.label(queue=queue)
    one.wait_ready(1)
    assert one.wait_admitted()["spec"]["queueName"] == queue
    one.delete_and_leave_nothing()


@pytest.mark.row("S13")
def test_a_set_of_a_higher_class_takes_the_quota_of_a_lower_one(
    installed: sandbox.Sandbox, namespace: str, queue: str, keep: Keep
) -> None:
    low, high = classes(keep, namespace)
    given = queued.create(
        installed, "low", namespace=namespace, queue=queue, cpu="1", priority_class=low
    )
    given.wait_ready(1)
    taken = queued.create(
        installed, "high", namespace=namespace, queue=queue, cpu="1", priority_class=high
    )
    taken.wait_ready(1)
    assert priority(given.workload(0)) == (low, 1000)
    assert priority(taken.workload(0)) == (high, 5000)
    given.wait_set(not_available, what="nothing ready, progressing, not available")
    assert preempted(given.workload(0))
    given.wait_gated(0, pods=3)
    # What it needs is free again.
    taken.delete_and_leave_nothing()
    given.wait_ready(1)
    given.delete_and_leave_nothing()


@pytest.mark.long
@pytest.mark.row("S14")
def test_a_waiting_set_that_gets_a_higher_class_takes_the_quota_of_the_one_that_runs(
    installed: sandbox.Sandbox, namespace: str, queue: str, keep: Keep
) -> None:
    low, high = classes(keep, namespace)
    first = queued.create(
        installed, "first", namespace=namespace, queue=queue, cpu="1", priority_class=low
    )
    first.wait_ready(1)
    second = queued.create(
        installed, "second", namespace=namespace, queue=queue, cpu="1", priority_class=low
    )
    second.wait_workload(
        0,
        lambda seen: queued.said(seen, "QuotaReserved")[0] == "False",
        what="waits for quota",
    )
    assert priority(second.workload(0)) == (low, 1000)
    second.label(priority_class=high)
    second.wait_workload(0, lambda seen: priority(seen) == (high, 5000), what="has the new class")
    first.wait_workload(0, preempted, what="is preempted")
    first.wait_set(not_available, what="nothing ready, progressing, not available")
    second.wait_admitted()
    second.wait_ready(1)
    second.delete_and_leave_nothing()
    first.delete_and_leave_nothing()


@pytest.mark.row("S17")
def test_a_group_that_is_switched_off_stays_so_until_it_is_switched_on(
    installed: sandbox.Sandbox, namespace: str, queue: str
) -> None:
    one = queued.create(installed, namespace=namespace, queue=queue)
    one.wait_ready(1)
    uid = one.workload(0)["metadata"]["uid"]
    with one.watching() as workloads:
        one.switch(0, active=False)
        one.wait_ready(0)
        one.wait_gated(0, pods=3)
        # Long enough for another set to come, run and go.
        other = queued.create(installed, "other", namespace=namespace, queue=queue)
        other.wait_ready(1)
        other.delete_and_leave_nothing()
    versions = [e["object"] for e in workloads.events if e["object"]["metadata"]["uid"] == uid]
    assert versions
    assert not any(version["spec"]["active"] for version in versions)
    assert {event["type"] for event in workloads.events if event["object"] in versions} == {
        "MODIFIED"
    }
    one.wait_gated(0, pods=3)
    one.switch(0, active=True)
    one.wait_ready(1)
    assert one.wait_admitted()["metadata"]["uid"] == uid
    one.delete_and_leave_nothing()
