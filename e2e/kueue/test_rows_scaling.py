"""Queue-managed sets start, grow and shrink (kueue-contract 5.8, S01 to S07)."""

import pytest
from lws_kueue_lab import sandbox

from lws_kueue.api import names
from tests.kit.kueue import queued
from tests.kit.live import harness
from tests.kit.lws import checks
from tests.kit.lws.sample import Object

pytestmark = pytest.mark.usefixtures("controller")


def startup_policies(row: str) -> pytest.MarkDecorator:
    """Both variants of a row, a and b."""
    return pytest.mark.parametrize(
        "startup",
        [
            pytest.param("LeaderCreated", marks=pytest.mark.row(row, f"{row}a")),
            pytest.param("LeaderReady", marks=[pytest.mark.row(row, f"{row}b"), pytest.mark.long]),
        ],
    )


@pytest.mark.parametrize(
    ("replicas", "size"),
    [
        pytest.param(1, 1, marks=pytest.mark.row("S01"), id="one pod"),
        pytest.param(1, 3, marks=pytest.mark.row("S02"), id="one group of three"),
        pytest.param(2, 3, marks=pytest.mark.row("S03"), id="two groups of three"),
    ],
)
def test_a_set_becomes_available_and_has_a_workload_for_each_group(
    installed: sandbox.Sandbox, namespace: str, queue: str, replicas: int, size: int
) -> None:
    one = queued.create(installed, namespace=namespace, queue=queue, replicas=replicas, size=size)
    obj = one.wait_ready(replicas)
    assert queued.said(obj, "Available") == ("True", "AllGroupsReady")
    found = one.workloads()
    assert sorted(found) == list(range(replicas))
    for workload in found.values():
        assert workload["metadata"]["labels"][names.JOB_UID] == obj["metadata"]["uid"]
    labelled = {
        node["metadata"]["name"]
        for node in installed.api.list("v1", "Node", label_selector="instance-type=on-demand")
    }
    assert {pod["spec"]["nodeName"] for pod in one.pods().values()} <= labelled
    one.delete_and_leave_nothing()


@startup_policies("S04")
def test_scaling_up_adds_a_workload_and_keeps_the_first(
    installed: sandbox.Sandbox, namespace: str, queue: str, startup: str
) -> None:
    one = queued.create(installed, namespace=namespace, queue=queue, startupPolicy=startup)
    one.wait_ready(1)
    first, pods = one.workload(0)["metadata"]["uid"], one.uids_of(0)
    one.scale(2)
    one.wait_ready(2)
    found = one.workloads()
    assert sorted(found) == [0, 1]
    assert found[0]["metadata"]["uid"] == first
    assert one.uids_of(0) == pods
    one.delete_and_leave_nothing()


@startup_policies("S05")
def test_scaling_down_takes_the_last_workload_and_keeps_the_first(
    installed: sandbox.Sandbox, namespace: str, queue: str, startup: str
) -> None:
    one = queued.create(
        installed, namespace=namespace, queue=queue, replicas=2, startupPolicy=startup
    )
    one.wait_ready(2)
    first, pods = one.workload(0)["metadata"]["uid"], one.uids_of(0)
    one.scale(1)
    found = one.wait_workloads(lambda seen: len(seen) == 1, what="one Workload is left")
    assert found[0]["metadata"]["uid"] == first
    one.wait_ready(1)
    assert one.uids_of(0) == pods
    one.delete_and_leave_nothing()


@startup_policies("S06")
def test_scaling_up_and_down_at_once_leaves_the_first_group_alone(
    installed: sandbox.Sandbox, namespace: str, queue: str, startup: str
) -> None:
    one = queued.create(installed, namespace=namespace, queue=queue, startupPolicy=startup)
    one.wait_ready(1)
    first, pods = one.workload(0)["metadata"]["uid"], one.uids_of(0)
    with one.watching() as workloads:
        one.scale(2)
        # Deleted is only what was there.
        one.wait_workloads(lambda seen: len(seen) == 2, what="a second Workload")
        one.scale(1)
        one.wait_workloads(lambda seen: len(seen) == 1, what="one Workload is left")
    deleted = [e["object"] for e in workloads.events if e["type"] == "DELETED"]
    assert [w["metadata"]["annotations"][names.COMPONENT_WORKLOAD_INDEX] for w in deleted] == ["1"]
    one.wait_ready(1)
    assert one.workload(0)["metadata"]["uid"] == first
    checks.eventually(lambda: _only(one, pods))
    one.delete_and_leave_nothing()


def _only(one: queued.Queued, pods: dict[str, str]) -> None:
    assert {name: pod["metadata"]["uid"] for name, pod in one.pods().items()} == pods


@startup_policies("S07")
def test_leader_and_workers_have_pod_sets_with_requests_of_their_own(
    installed: sandbox.Sandbox, namespace: str, queue: str, startup: str
) -> None:
    def lighter_leader(body: Object) -> None:
        leader = body["spec"]["leaderWorkerTemplate"]["leaderTemplate"]
        leader["spec"]["containers"][0]["resources"]["requests"]["cpu"] = "150m"

    one = queued.create(
        installed,
        namespace=namespace,
        queue=queue,
        replicas=2,
        leader=True,
        startupPolicy=startup,
        change=lighter_leader,
    )
    one.wait_ready(2)
    found = one.workloads()
    assert sorted(found) == [0, 1]
    for workload in found.values():
        usage = {
            part["name"]: (part["count"], part["resourceUsage"]["cpu"])
            for part in workload["status"]["admission"]["podSetAssignments"]
        }
        assert usage == {"leader": (1, "150m"), "worker": (2, "400m")}
    assert all(queued.runs(pod) for pod in harness.pods(installed, namespace=namespace).values())
    one.delete_and_leave_nothing()
