"""What a queue-managed set needs and does not find is named on it, and heals when it comes."""

import pytest
from lws_kueue_lab import sandbox

from e2e.kueue.conftest import Keep
from lws_kueue.api import names
from tests.kit.kueue import queued
from tests.kit.live import harness
from tests.kit.lws import checks

pytestmark = pytest.mark.usefixtures("controller")

KUEUE = names.KUEUE_API_VERSION


def test_a_missing_flavor_is_named_and_the_groups_start_when_it_comes(
    installed: sandbox.Sandbox, namespace: str, queue: str, keep: Keep
) -> None:
    later = f"{namespace}-later"
    quota = {"name": later, "resources": [{"name": "cpu", "nominalQuota": "5"}]}
    groups = [{"coveredResources": ["cpu"], "flavors": [quota]}]
    body = {"spec": {"resourceGroups": groups}}
    installed.api.patch(KUEUE, "ClusterQueue", namespace, body=body)
    one = queued.create(installed, namespace=namespace, queue=queue)
    one.wait_told("group 0:", f"ClusterQueue {namespace} is not active", later)
    one.wait_warning("ClusterQueueInactive", later)
    one.wait_gated(0, pods=3)
    head = {"apiVersion": KUEUE, "kind": "ResourceFlavor"}
    keep({**head, "metadata": {"name": later}, "spec": {"nodeLabels": queued.ON_DEMAND}})
    one.wait_ready(1)


def test_a_missing_priority_class_is_named_and_the_groups_start_when_it_comes(
    installed: sandbox.Sandbox, namespace: str, queue: str, keep: Keep
) -> None:
    name = f"{namespace}-later"
    one = queued.create(
        installed, namespace=namespace, queue=queue, replicas=2, priority_class=name
    )
    one.wait_told("WorkloadPriorityClass", name, "does not exist")
    for group in (0, 1):
        one.wait_warning("WorkloadPriorityClassNotFound", f"group {group} of lws waits for it")
        one.wait_gated(group, pods=3)
    assert one.workloads() == {}
    keep({"apiVersion": KUEUE, "kind": "WorkloadPriorityClass"} | of_value(name, 700))
    one.wait_ready(2)
    assert {workload["spec"]["priority"] for workload in one.workloads().values()} == {700}


def of_value(name: str, value: int) -> dict[str, object]:
    return {"metadata": {"name": name}, "value": value}


def test_a_new_value_of_a_priority_class_reaches_the_workloads_of_groups_that_run(
    installed: sandbox.Sandbox, namespace: str, queue: str, keep: Keep
) -> None:
    head = {"apiVersion": KUEUE, "kind": "WorkloadPriorityClass"}
    first, second = f"{namespace}-a", f"{namespace}-b"
    keep(head | of_value(first, 100))
    keep(head | of_value(second, 200))
    one = queued.create(
        installed, namespace=namespace, queue=queue, replicas=2, priority_class=first
    )
    one.wait_ready(2)
    before = {group: one.uids_of(group) for group in (0, 1)}
    keep(head | of_value(first, 150))
    one.wait_workloads(
        lambda seen: {w["spec"]["priority"] for w in seen.values()} == {150},
        what="the new value of the class",
    )
    one.label(priority_class=second)
    one.wait_workloads(
        lambda seen: all(
            (w["spec"]["priorityClassRef"]["name"], w["spec"]["priority"]) == (second, 200)
            for w in seen.values()
        ),
        what="the new class",
    )
    assert {group: one.uids_of(group) for group in (0, 1)} == before
    assert all(queued.is_true(w, "Admitted") for w in one.workloads().values())


def test_a_set_moved_to_a_priority_class_that_is_missing_runs_on_and_follows_when_it_comes(
    installed: sandbox.Sandbox, namespace: str, queue: str, keep: Keep
) -> None:
    head = {"apiVersion": KUEUE, "kind": "WorkloadPriorityClass"}
    first, second = f"{namespace}-a", f"{namespace}-b"
    keep(head | of_value(first, 100))
    one = queued.create(installed, namespace=namespace, queue=queue, priority_class=first)
    one.wait_ready(1)
    before = one.uids_of(0)
    one.label(priority_class=second)
    one.wait_warning("WorkloadPriorityClassNotFound", second)
    assert one.workload(0)["spec"]["priority"] == 100
    keep(head | of_value(second, 300))
    one.wait_workload(0, lambda seen: seen["spec"]["priority"] == 300, what="has the new class")
    assert one.uids_of(0) == before
    one.wait_ready(1)


def test_a_missing_local_queue_is_named_and_the_groups_start_when_it_comes(
    installed: sandbox.Sandbox, namespace: str, queue: str
) -> None:
    one = queued.create(installed, namespace=namespace, queue="later")
    one.wait_told("group 0:", "LocalQueue later does not exist")
    one.wait_warning("LocalQueueMissing", "LocalQueue later")
    one.wait_gated(0, pods=3)
    head = {"apiVersion": KUEUE, "kind": "LocalQueue"}
    meta = {"name": "later", "namespace": namespace}
    installed.api.apply({**head, "metadata": meta, "spec": {"clusterQueue": namespace}})
    one.wait_ready(1)


def test_a_missing_cluster_queue_is_named_and_the_groups_start_when_it_comes(
    installed: sandbox.Sandbox, namespace: str
) -> None:
    head = {"apiVersion": KUEUE, "kind": "LocalQueue"}
    meta = {"name": "user-queue", "namespace": namespace}
    installed.api.apply({**head, "metadata": meta, "spec": {"clusterQueue": namespace}})
    one = queued.create(installed, namespace=namespace, queue="user-queue")
    one.wait_told("group 0:", f"ClusterQueue {namespace}", "user-queue", "does not exist")
    one.wait_warning("ClusterQueueMissing", f"ClusterQueue {namespace}")
    one.wait_gated(0, pods=3)
    harness.queues(installed, namespace=namespace, cpu="5")
    one.wait_ready(1)


def test_a_set_that_wants_more_than_there_is_says_so_while_its_other_groups_run(
    installed: sandbox.Sandbox, namespace: str, queue: str
) -> None:
    # Two groups of 2 cpu of five.
    one = queued.create(installed, namespace=namespace, queue=queue, replicas=3, size=2, cpu="1")
    one.wait_ready(2)
    one.wait_told(f"ClusterQueue {namespace}", "cpu")

    def two_run_and_one_waits() -> None:
        held = [pod for pod in one.pods().values() if queued.is_held(pod)]
        assert len(held) == 2
        assert len({pod["metadata"]["labels"][names.GROUP_INDEX] for pod in held}) == 1

    checks.eventually(two_run_and_one_waits)
