"""A webhook injects a container with requests into the pods, after Kueue has counted the template.

Kueue's own integration lets such pods go, so they use more than was admitted (its role hash is the
name of the pod set). Here they stay gated, and the set says by how much.
"""

from typing import Any

import pytest
from lws_kueue_lab import sandbox

from e2e.neighbours.conftest import Mutate
from tests.kit.kueue import queued
from tests.kit.live import harness, telling
from tests.kit.lws import sets
from tests.kit.lws.sample import LWS

pytestmark = [pytest.mark.usefixtures("controller"), pytest.mark.row("NBR-01")]

Object = dict[str, Any]
SIZE = 2
OPT_OUT = "sidecar.e2e.lws-kueue.dev/inject"


def sidecar(pod: Object, *, cpu: str | None = "100m") -> list[Object]:
    """Add a container beside those of a pod, as service meshes do, unless it says no."""
    if (pod["metadata"].get("annotations") or {}).get(OPT_OUT) == "false":
        return []
    proxy: Object = {"name": "proxy", "image": harness.IMAGE}
    if cpu:
        proxy["resources"] = {"requests": {"cpu": cpu}}
    return [{"op": "add", "path": "/spec/containers/-", "value": proxy}]


def init_sidecar(pod: Object) -> list[Object]:
    """Add it among the init containers, as newer meshes do."""
    (change,) = sidecar(pod)
    proxy = change["value"] | {"restartPolicy": "Always"}
    return [{"op": "add", "path": "/spec/initContainers", "value": [proxy]}]


def has_proxy(pod: Object) -> bool:
    containers = (*pod["spec"]["containers"], *(pod["spec"].get("initContainers") or ()))
    return any(one["name"] == "proxy" for one in containers)


@pytest.mark.parametrize("inject", [sidecar, init_sidecar])
def test_pods_that_ask_for_more_than_was_admitted_are_held_and_both_amounts_told(
    installed: sandbox.Sandbox, namespace: str, queue: str, mutate: Mutate, inject: Any
) -> None:
    mutate(inject)
    one = queued.create(installed, namespace=namespace, queue=queue, size=SIZE)
    amounts = "300m of cpu instead of 200m"
    one.wait_told("group 0:", "pod lws-0", amounts, "into the pod template")
    one.wait_warning("PodExceedsAdmission", amounts)
    one.wait_gated(0, pods=SIZE)
    assert all(has_proxy(pod) for pod in one.pods_of(0).values())
    workload = one.workload(0)
    assert queued.is_true(workload, "Admitted")
    assert workload["metadata"]["name"] in one.wait_told(amounts)


def test_pods_that_the_webhook_leaves_alone_run_after_an_edit_of_the_set(
    installed: sandbox.Sandbox, namespace: str, queue: str, mutate: Mutate
) -> None:
    mutate(sidecar)
    one = queued.create(installed, namespace=namespace, queue=queue, replicas=2, size=SIZE)
    one.wait_told("300m of cpu instead of 200m")
    uids = {group: one.workload(group)["metadata"]["uid"] for group in (0, 1)}
    template = {"metadata": {"annotations": {OPT_OUT: "false"}}}
    body = {"spec": {"leaderWorkerTemplate": {"workerTemplate": template}}}
    installed.api.patch(*LWS, one.name, namespace=namespace, body=body)
    one.wait_ready(2)
    one.wait_set(
        lambda seen: harness.condition(seen, "WaitingForAdmission") is None, what="nothing waits"
    )
    assert not any(has_proxy(pod) for pod in one.pods().values())
    # Annotations are none of what Kueue admits.
    assert {group: one.workload(group)["metadata"]["uid"] for group in (0, 1)} == uids


def test_pod_level_requests_have_room_for_what_is_injected(
    installed: sandbox.Sandbox, namespace: str, queue: str, mutate: Mutate
) -> None:
    mutate(sidecar)

    def whole(body: Object) -> None:
        for pod in sets.templates(body):
            pod["spec"]["resources"] = {"requests": {"cpu": "300m"}}

    one = queued.create(installed, namespace=namespace, queue=queue, size=SIZE, change=whole)
    one.wait_ready(1)
    assert all(has_proxy(pod) for pod in one.pods().values())
    admission = one.workload(0)["status"]["admission"]["podSetAssignments"]
    assert [part["resourceUsage"]["cpu"] for part in admission] == ["600m"]


def test_a_container_without_requests_and_pods_of_a_plain_set_are_nobodys_business(
    installed: sandbox.Sandbox, namespace: str, queue: str, mutate: Mutate
) -> None:
    mutate(lambda pod: sidecar(pod, cpu=None if pod["metadata"]["name"] < "p" else "1"))
    one = queued.create(installed, namespace=namespace, queue=queue, size=SIZE)
    plain = harness.leader_worker_set("plain", namespace=namespace, replicas=1, size=SIZE)
    installed.api.create(plain)
    one.wait_ready(1)
    harness.wait_ready(installed, "plain", namespace=namespace, groups=1)
    found = harness.pods(installed, namespace=namespace)
    assert len(found) == 2 * SIZE
    assert all(has_proxy(pod) for pod in found.values())
    for name in (one.name, "plain"):
        assert telling.warnings(installed, name, namespace=namespace) == []
