"""Admission checks: they hold a group, change its pods, send it back or reject it.

The tests are the controller of the checks: they say that a check is served, and what it says to
each Workload.
"""

from typing import Any

import pytest
from lws_kueue_lab import sandbox

from e2e.kueue.conftest import Keep
from lws_kueue.api import names
from tests.kit import polling
from tests.kit.kueue import evictions, queued
from tests.kit.lws.sample import Object

pytestmark = pytest.mark.usefixtures("controller")

KUEUE = names.KUEUE_API_VERSION
SIZE = 2


@pytest.fixture
def check(installed: sandbox.Sandbox, namespace: str, queue: str, keep: Keep) -> str:
    """A check that is served, which the test's ClusterQueue asks for all Workloads."""
    return required(installed, keep, namespace, f"{namespace}-check")


def required(cluster: sandbox.Sandbox, keep: Keep, namespace: str, *checks: str) -> str:
    """Make checks that are served and that the ClusterQueue asks for; return the first."""
    for name in checks:
        head = {"apiVersion": KUEUE, "kind": "AdmissionCheck", "metadata": {"name": name}}
        keep({**head, "spec": {"controllerName": "e2e.lws-kueue.dev/check"}})
        served = {
            "type": "Active",
            "status": "True",
            "reason": "Served",
            "message": "the test serves it",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
        cluster.api.patch(
            KUEUE,
            "AdmissionCheck",
            name,
            body={"status": {"conditions": [served]}},
            subresource="status",
        )
    strategy = {"admissionChecks": [{"name": name} for name in checks]}
    body = {"spec": {"admissionChecksStrategy": strategy}}
    cluster.api.patch(KUEUE, "ClusterQueue", namespace, body=body)
    return checks[0]


def answer(
    one: queued.Queued, group: int, check: str, state: str, *, message: str = "", **fields: Any
) -> None:
    """Say as the controller of a check what it thinks of a group that has quota."""

    def asked(seen: Object) -> bool:
        status = seen.get("status") or {}
        known = {stored["name"] for stored in status.get("admissionChecks") or ()}
        return queued.is_true(seen, "QuotaReserved") and check in known

    def once() -> None:
        found = one.wait_workload(group, asked, what=f"has quota and asks {check}")
        for stored in found["status"]["admissionChecks"]:
            if stored["name"] == check:
                stored |= {"state": state, "message": message, **fields}
        one.cluster.api.replace(found, subresource="status")

    # Kueue writes as well; its newer version has to be read first.
    polling.over_others()(once)


def test_a_group_waits_for_its_check_and_the_set_names_it(
    installed: sandbox.Sandbox, namespace: str, queue: str, check: str
) -> None:
    one = queued.create(installed, namespace=namespace, queue=queue, replicas=2, size=SIZE)
    answer(one, 1, check, "Ready")
    one.wait_running(1, pods=SIZE)
    answer(one, 0, check, "Pending", message="capacity is on its way")
    one.wait_told("group 0:", f"AdmissionCheck {check} is Pending", "capacity is on its way")
    one.wait_gated(0, pods=SIZE)
    answer(one, 0, check, "Ready")
    one.wait_ready(2)


def test_what_a_check_wants_of_the_pods_reaches_those_of_its_pod_set(
    installed: sandbox.Sandbox, namespace: str, queue: str, check: str
) -> None:
    one = queued.create(installed, namespace=namespace, queue=queue, size=3, leader=True)
    tolerated = {"key": "e2e.lws-kueue.dev/spot", "operator": "Exists", "effect": "NoSchedule"}
    updates = [
        {
            "name": "worker",
            "labels": {"e2e.lws-kueue.dev/label": "a"},
            "annotations": {"e2e.lws-kueue.dev/annotation": "b"},
            "nodeSelector": {"kubernetes.io/arch": "amd64"},
            "tolerations": [tolerated],
        },
        {"name": "leader", "labels": {"e2e.lws-kueue.dev/label": "c"}},
    ]
    answer(one, 0, check, "Ready", podSetUpdates=updates)
    one.wait_ready(1)
    found = one.pods_of(0)
    for name in ("lws-0-1", "lws-0-2"):
        pod = found[name]
        assert pod["metadata"]["labels"]["e2e.lws-kueue.dev/label"] == "a"
        assert pod["metadata"]["annotations"]["e2e.lws-kueue.dev/annotation"] == "b"
        assert pod["spec"]["nodeSelector"] == {"kubernetes.io/arch": "amd64"} | queued.ON_DEMAND
        assert tolerated in pod["spec"]["tolerations"]
    leader = found["lws-0"]
    assert leader["metadata"]["labels"]["e2e.lws-kueue.dev/label"] == "c"
    assert "e2e.lws-kueue.dev/annotation" not in leader["metadata"]["annotations"]
    assert leader["spec"]["nodeSelector"] == queued.ON_DEMAND
    assert tolerated not in leader["spec"].get("tolerations", ())


def test_a_check_that_contradicts_the_flavor_is_named_and_holds_only_its_group(
    installed: sandbox.Sandbox, namespace: str, queue: str, check: str
) -> None:
    one = queued.create(installed, namespace=namespace, queue=queue, replicas=2, size=SIZE)
    elsewhere = [{"name": "main", "nodeSelector": {"instance-type": "spot"}}]
    answer(one, 0, check, "Ready", podSetUpdates=elsewhere)
    answer(one, 1, check, "Ready")
    one.wait_running(1, pods=SIZE)
    conflict = f"AdmissionCheck {check} wants node selector instance-type=spot"
    one.wait_told("group 0:", conflict, "on-demand")
    one.wait_warning("PodSetUpdateConflict", conflict)
    one.wait_gated(0, pods=SIZE)
    before = one.uids_of(1)
    # The check thinks again, which costs the group its quota, and then knows better.
    answer(one, 0, check, "Retry")
    # It may be back in the queue, for another reason then, before anybody looks.
    one.wait_workload(0, lambda seen: any(queued.said(seen, "Requeued")), what="is sent back")
    answer(one, 0, check, "Ready", podSetUpdates=[])
    one.wait_ready(2)
    assert one.uids_of(1) == before


@pytest.mark.row("P7")
def test_two_checks_that_contradict_each_other_hold_only_the_group_and_are_named(
    installed: sandbox.Sandbox, namespace: str, queue: str, keep: Keep
) -> None:
    first, second = f"{namespace}-a", f"{namespace}-b"
    required(installed, keep, namespace, first, second)
    one = queued.create(installed, namespace=namespace, queue=queue, replicas=2, size=SIZE)
    for name, value in ((first, "one"), (second, "two")):
        updates = [{"name": "main", "labels": {"e2e.lws-kueue.dev/label": value}}]
        answer(one, 0, name, "Ready", podSetUpdates=updates)
        answer(one, 1, name, "Ready")
    one.wait_running(1, pods=SIZE)
    conflict = (
        f"AdmissionCheck {second} wants label e2e.lws-kueue.dev/label=two, but AdmissionCheck"
        f" {first} wants one"
    )
    one.wait_told("group 0:", conflict)
    one.wait_warning("PodSetUpdateConflict", conflict)
    one.wait_gated(0, pods=SIZE)


def test_a_check_that_wants_to_retry_takes_the_quota_back_and_may_give_it_again(
    installed: sandbox.Sandbox, namespace: str, queue: str, check: str
) -> None:
    one = queued.create(installed, namespace=namespace, queue=queue, replicas=2, size=SIZE)
    for group in (0, 1):
        answer(one, group, check, "Ready")
    one.wait_ready(2)
    uid = one.workload(0)["metadata"]["uid"]
    before = {group: one.uids_of(group) for group in (0, 1)}
    with evictions.story(one) as told:
        answer(one, 0, check, "Retry", message="the machines went away", requeueAfterSeconds=2)
        found = one.wait_given_back(0, "AdmissionCheck")
        assert found["spec"].get("active", True), "trying again switches nothing off"
        one.wait_gated(0, pods=SIZE)
        one.wait_ready(1)
        answer(one, 0, check, "Ready")
        one.wait_ready(2)
    found = one.workload(0)
    assert queued.said(found, "Requeued") == ("True", "BackoffFinished")
    assert found["metadata"]["uid"] == uid
    evictions.was_given_back_at_once(told, one, uid, reason="AdmissionCheck", requeued=False)
    evictions.was_stopped_once(told, one, before[0])
    assert one.uids_of(1) == before[1]


def test_a_check_that_rejects_a_group_switches_it_off_until_somebody_acts(
    installed: sandbox.Sandbox, namespace: str, queue: str, check: str
) -> None:
    reason = "DeactivatedDueToAdmissionCheck"
    one = queued.create(installed, namespace=namespace, queue=queue, replicas=2, size=SIZE)
    for group in (0, 1):
        answer(one, group, check, "Ready")
    one.wait_ready(2)
    uid = one.workload(0)["metadata"]["uid"]
    before = {group: one.uids_of(group) for group in (0, 1)}
    with evictions.story(one) as told:
        answer(one, 0, check, "Rejected", message="never here")
        found = one.wait_given_back(0, reason)
        one.wait_gated(0, pods=SIZE)
        one.wait_ready(1)
    assert found["spec"]["active"] is False
    one.wait_told("group 0:", found["metadata"]["name"], check, "spec.active")
    evictions.was_given_back_at_once(told, one, uid, reason=reason, requeued=False)
    evictions.was_stopped_once(told, one, before[0])
    assert one.uids_of(1) == before[1]
    # Kueue leaves it out of the queue when its integration takes a group back; here it returns.
    one.switch(0, active=True)
    answer(one, 0, check, "Ready")
    one.wait_ready(2)
    assert one.workload(0)["metadata"]["uid"] == uid
