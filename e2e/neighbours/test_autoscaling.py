"""What cluster-autoscaler and Kueue's ProvisioningRequests see of groups, told on the API alone.

cluster-autoscaler makes nodes for pods that the scheduler calls Unschedulable. A gated pod is not
one of them, so a group that waits for quota costs no node. A ProvisioningRequest makes nodes before
its check is passed; pods use them by an annotation that has to be there before they can be placed.
"""

from typing import Any

import pytest
from lws_kueue_lab import sandbox

from e2e.kueue import test_admission_checks
from e2e.kueue.conftest import Keep
from tests.kit.kueue import queued
from tests.kit.live import harness

pytestmark = [pytest.mark.usefixtures("controller"), pytest.mark.row("NBR-06")]

Object = dict[str, Any]
SIZE = 2
CONSUME = "autoscaling.x-k8s.io/consume-provisioning-request"
CLASS = "autoscaling.x-k8s.io/provisioning-class-name"
PROVREQ = "provreq.kueue.x-k8s.io/ValidUntilSeconds"
# More than a node has.
TOO_MUCH = "20"


def scheduled(pod: Object) -> tuple[str, str]:
    """Return what the scheduler says of a pod: status and reason."""
    return queued.said(pod, "PodScheduled")


def test_pods_that_wait_for_quota_are_gated_and_never_unschedulable(
    installed: sandbox.Sandbox, namespace: str
) -> None:
    # No node has so much room, and no quota either.
    queue = harness.queues(installed, namespace=namespace, cpu="1")
    with harness.recording(installed, "v1", "Pod", namespace=namespace) as seen:
        one = queued.create(installed, namespace=namespace, queue=queue, size=SIZE, cpu=TOO_MUCH)
        one.wait_pods(
            0,
            lambda found: (
                len(found) == SIZE
                and {scheduled(pod) for pod in found.values()} == {("False", "SchedulingGated")}
            ),
            what="the scheduler leaves both pods alone",
        )
        one.wait_told("group 0:", "cpu")
    said = {scheduled(event["object"])[1] for event in seen.events}
    assert said <= {"", "SchedulingGated"}


def test_pods_that_have_quota_and_no_room_ask_for_nodes(
    installed: sandbox.Sandbox, namespace: str
) -> None:
    queue = harness.queues(installed, namespace=namespace, cpu="100")
    one = queued.create(installed, namespace=namespace, queue=queue, size=SIZE, cpu=TOO_MUCH)
    one.wait_pods(
        0,
        lambda found: (
            len(found) == SIZE
            and {scheduled(pod) for pod in found.values()} == {("False", "Unschedulable")}
        ),
        what="both pods are what cluster-autoscaler looks for",
    )
    assert queued.is_true(one.workload(0), "Admitted")


def test_the_request_that_made_the_nodes_is_on_the_pods_when_their_gate_falls(
    installed: sandbox.Sandbox, namespace: str, queue: str, keep: Keep
) -> None:
    check = f"{namespace}-prov"
    test_admission_checks.required(installed, keep, namespace, check)
    request = {CONSUME: f"{namespace}-request", CLASS: "check-capacity.autoscaling.x-k8s.io"}

    def asks(body: Object) -> None:
        body["metadata"]["annotations"][PROVREQ] = "600"

    with harness.recording(installed, "v1", "Pod", namespace=namespace) as seen:
        one = queued.create(installed, namespace=namespace, queue=queue, size=SIZE, change=asks)
        one.wait_gated(0, pods=SIZE)
        # Kueue makes the request from the Workload, which says what is asked of it.
        one.wait_workload(
            0,
            lambda seen: seen["metadata"]["annotations"].get(PROVREQ) == "600",
            what="says what is asked of the request",
        )
        test_admission_checks.answer(one, 0, check, "Pending", message="nodes are on their way")
        one.wait_told("group 0:", check, "nodes are on their way")
        one.wait_gated(0, pods=SIZE)
        updates = [{"name": "main", "annotations": request}]
        test_admission_checks.answer(one, 0, check, "Ready", podSetUpdates=updates)
        one.wait_ready(1)
    pods = [event["object"] for event in seen.events if event["type"] != "DELETED"]
    free = [pod for pod in pods if not harness.gates(pod)]
    assert {pod["metadata"]["name"] for pod in free} == {"lws-0", "lws-0-1"}
    for pod in pods:
        annotations = pod["metadata"].get("annotations") or {}
        has = {key: annotations.get(key) for key in request}
        assert has == (dict.fromkeys(request) if harness.gates(pod) else request)


def test_nodes_that_cannot_be_had_are_told_and_cost_no_quota_for_long(
    installed: sandbox.Sandbox, namespace: str, queue: str, keep: Keep
) -> None:
    check = f"{namespace}-prov"
    test_admission_checks.required(installed, keep, namespace, check)
    one = queued.create(installed, namespace=namespace, queue=queue, size=SIZE)
    test_admission_checks.answer(one, 0, check, "Rejected", message="no capacity anywhere")
    one.wait_workload(
        0,
        lambda seen: seen["spec"]["active"] is False and not queued.is_true(seen, "QuotaReserved"),
        what="is switched off and has no quota",
    )
    one.wait_told("group 0:", check, "spec.active")
    one.wait_gated(0, pods=SIZE)
