"""A webhook sets node selectors on pods, beside those of the flavor or against them."""

from typing import Any

import pytest
from lws_kueue_lab import sandbox

from e2e.neighbours.conftest import Mutate
from tests.kit.kueue import queued
from tests.kit.live import harness
from tests.kit.lws.sample import LWS

pytestmark = [pytest.mark.usefixtures("controller"), pytest.mark.row("NBR-02")]

Object = dict[str, Any]
SIZE = 2
ARCH = {"kubernetes.io/arch": "amd64"}
SPOT = {"instance-type": "spot"}


def selecting(selector: dict[str, str]) -> Any:
    """Give every pod a node selector, unless it says no."""

    def change(pod: Object) -> list[Object]:
        annotations = pod["metadata"].get("annotations") or {}
        if annotations.get("e2e.lws-kueue.dev/selector") == "none":
            return []
        value = {**(pod["spec"].get("nodeSelector") or {}), **selector}
        return [{"op": "add", "path": "/spec/nodeSelector", "value": value}]

    return change


def test_a_selector_beside_that_of_the_flavor_is_kept(
    installed: sandbox.Sandbox, namespace: str, queue: str, mutate: Mutate
) -> None:
    mutate(selecting(ARCH))
    one = queued.create(installed, namespace=namespace, queue=queue, replicas=2, size=SIZE)
    one.wait_ready(2)
    for pod in one.pods().values():
        assert pod["spec"]["nodeSelector"] == ARCH | queued.ON_DEMAND


def test_a_selector_against_that_of_the_flavor_holds_the_group_and_both_are_told(
    installed: sandbox.Sandbox, namespace: str, queue: str, mutate: Mutate
) -> None:
    mutate(selecting(SPOT))
    one = queued.create(installed, namespace=namespace, queue=queue, size=SIZE)
    texts = ("pod lws-0", "instance-type=on-demand", "already spot")
    one.wait_told("group 0:", *texts)
    one.wait_warning("PodConflict", "already spot")
    one.wait_gated(0, pods=SIZE)
    # What the webhook leaves alone goes on.
    template = {"metadata": {"annotations": {"e2e.lws-kueue.dev/selector": "none"}}}
    body = {"spec": {"leaderWorkerTemplate": {"workerTemplate": template}}}
    installed.api.patch(*LWS, one.name, namespace=namespace, body=body)
    one.wait_ready(1)
    assert all(pod["spec"]["nodeSelector"] == queued.ON_DEMAND for pod in one.pods().values())


@pytest.mark.long
def test_the_selector_of_a_plain_set_is_between_the_webhook_and_the_scheduler(
    installed: sandbox.Sandbox, namespace: str, mutate: Mutate
) -> None:
    mutate(selecting(ARCH))
    installed.api.create(harness.leader_worker_set("plain", namespace=namespace, replicas=1))
    harness.wait_ready(installed, "plain", namespace=namespace, groups=1)
    for pod in harness.pods(installed, namespace=namespace).values():
        assert pod["spec"]["nodeSelector"] == ARCH
