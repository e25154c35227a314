"""A plain set that runs and gets a queue is taken into it group by group, within its budget."""

import datetime

import pytest
from lws_kueue_lab import sandbox

from lws_kueue.api import names
from tests.kit import polling
from tests.kit.builders import cluster as build
from tests.kit.kueue import queued
from tests.kit.live import harness
from tests.kit.lws import sets
from tests.kit.lws.sample import Object

pytestmark = pytest.mark.usefixtures("controller")

GROUPS, SIZE = 3, 2


def plain(cluster: sandbox.Sandbox, *, namespace: str, name: str) -> queued.Queued:
    """Create a set that no queue has a part in, and wait until it runs."""

    def without_queue(body: Object) -> None:
        body["metadata"]["labels"].pop(names.QUEUE_NAME, None)

    one = queued.create(
        cluster,
        name,
        namespace=namespace,
        queue="none",
        replicas=GROUPS,
        size=SIZE,
        cpu="1",
        change=without_queue,
    )
    one.wait_ready(GROUPS)
    polling.trying()(_is_from_before, one)
    return one


def _is_from_before(one: queued.Queued) -> None:
    """Whether its pods are older than what comes now: nobody believes that of the same second."""
    newest = max(pod["metadata"]["creationTimestamp"] for pod in one.pods().values())
    now = datetime.datetime.now(datetime.UTC)
    assert now - datetime.datetime.fromisoformat(newest) >= datetime.timedelta(seconds=1)


def fewest_ready(record: harness.Recording, one: queued.Queued) -> int:
    """Return how many groups were ready at the worst moment once all had been."""
    counts = sets.ready_groups_over_time(record, one.name, size=SIZE)
    return min(counts[counts.index(GROUPS) :])


def born(record: harness.Recording, *, before: set[str]) -> dict[str, Object]:
    """Return every pod that came while it was recorded, as it came."""
    return {
        event["object"]["metadata"]["uid"]: event["object"]
        for event in record.events
        if event["type"] == "ADDED" and event["object"]["metadata"]["uid"] not in before
    }


def uids(one: queued.Queued) -> set[str]:
    return {pod["metadata"]["uid"] for pod in one.pods().values()}


def test_a_running_set_is_taken_in_one_group_at_a_time_and_every_new_pod_is_gated(
    installed: sandbox.Sandbox, namespace: str, on_demand: None
) -> None:
    queue = harness.queues(installed, namespace=namespace, cpu=str(GROUPS * SIZE))
    with harness.recording(installed, "v1", "Pod", namespace=namespace) as record:
        one = plain(installed, namespace=namespace, name="fits")
        before = uids(one)
        one.label(queue=queue)
        for group in range(GROUPS):
            one.wait_admitted(group)
            one.wait_pods(
                group,
                lambda found: (
                    len(found) == SIZE
                    and all(queued.runs(pod) for pod in found.values())
                    and not before & {pod["metadata"]["uid"] for pod in found.values()}
                ),
                what="runs, made anew",
            )
        one.wait_ready(GROUPS)
    assert fewest_ready(record, one) >= GROUPS - 1
    came = born(record, before=before)
    assert len(came) == GROUPS * SIZE
    assert all(names.ADMISSION_GATE in harness.gates(pod) for pod in came.values())
    assert sorted(one.workloads()) == list(range(GROUPS))


def test_a_group_for_which_there_is_no_quota_waits_in_the_end_and_the_others_run(
    installed: sandbox.Sandbox, namespace: str, on_demand: None
) -> None:
    queue = harness.queues(installed, namespace=namespace, cpu=str((GROUPS - 1) * SIZE))
    one = plain(installed, namespace=namespace, name="short")
    before = uids(one)
    one.label(queue=queue)
    harness.wait_pods(
        installed,
        lambda found: (
            len(found) == GROUPS * SIZE
            and not before & {pod["metadata"]["uid"] for pod in found.values()}
            and sum(map(queued.runs, found.values())) == (GROUPS - 1) * SIZE
            and sum(map(queued.is_held, found.values())) == SIZE
        ),
        namespace=namespace,
        what="all groups but one run, made anew, and one is held",
    )
    # The update by which the set is taken in goes on for as long as a group waits.
    harness.wait_status(
        installed, one.name, namespace=namespace, readyReplicas=GROUPS - 1, what="ready groups"
    )
    assert sum(queued.is_true(w, "Admitted") for w in one.workloads().values()) == GROUPS - 1
    one.wait_told("quota")


def test_a_set_in_a_queue_without_any_quota_of_what_it_asks_for_says_that_waiting_does_not_help(
    installed: sandbox.Sandbox, namespace: str, on_demand: None
) -> None:
    memory = build.resource_group({namespace: {"memory": "1Gi"}})
    queue = harness.queues(installed, namespace=namespace, cpu="0", resourceGroups=[memory])
    one = plain(installed, namespace=namespace, name="lacks")
    one.label(queue=queue)
    one.wait_told("resource cpu unavailable in ClusterQueue", "Waiting does not help: add")
