"""LimitRanges: their defaults count, and what they refuse is named on the set."""

import time
from typing import Any

import pytest
from lws_kueue_lab import sandbox

from lws_kueue.api import quantity
from tests.kit.kueue import queued
from tests.kit.live import harness, telling
from tests.kit.lws import sets
from tests.kit.lws.sample import LWS

pytestmark = [pytest.mark.usefixtures("controller"), pytest.mark.row("NBR-04")]

Object = dict[str, Any]
SIZE = 2


def limit_range(cluster: sandbox.Sandbox, namespace: str, **container: dict[str, str]) -> None:
    """Make a LimitRange for containers, or change it; wait until its defaults are in force."""
    cluster.api.apply(
        {
            "apiVersion": "v1",
            "kind": "LimitRange",
            "metadata": {"name": "limits", "namespace": namespace},
            "spec": {"limits": [{"type": "Container", **container}]},
        }
    )
    probe = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "probe", "namespace": namespace},
        "spec": {"containers": [{"name": "c", "image": harness.IMAGE}]},
    }
    deadline = time.monotonic() + 30
    wanted = container.get("defaultRequest", container.get("default"))
    while _requests(cluster.api.create(probe, dry_run=True)) != wanted:
        assert time.monotonic() < deadline, "the LimitRange is not in force"


def _requests(pod: Object) -> Any:
    return pod["spec"]["containers"][0].get("resources", {}).get("requests")


def without_requests(body: Object) -> None:
    for pod in sets.templates(body):
        for container in pod["spec"]["containers"]:
            container.pop("resources")


def with_limits_alone(body: Object) -> None:
    for pod in sets.templates(body):
        for container in pod["spec"]["containers"]:
            container["resources"] = {"limits": {"cpu": "300m"}}


def admitted_cpu(one: queued.Queued) -> int:
    """What group 0 was admitted with, in thousandths."""
    parts = one.wait_admitted(0)["status"]["admission"]["podSetAssignments"]
    return sum(quantity.parse("cpu", part["resourceUsage"]["cpu"]) for part in parts)


def test_defaults_are_counted_and_the_set_runs(
    installed: sandbox.Sandbox, namespace: str, queue: str
) -> None:
    limit_range(installed, namespace, defaultRequest={"cpu": "150m"}, default={"cpu": "1"})
    one = queued.create(
        installed, namespace=namespace, queue=queue, size=SIZE, change=without_requests
    )
    assert admitted_cpu(one) == 150 * SIZE
    one.wait_ready(1)
    for pod in one.pods().values():
        assert _requests(pod) == {"cpu": "150m"}


def test_a_limit_that_counts_for_less_than_it_becomes_holds_the_group_and_is_told(
    installed: sandbox.Sandbox, namespace: str, queue: str
) -> None:
    # Kueue takes the default request, and the API server the limit.
    limit_range(installed, namespace, defaultRequest={"cpu": "150m"})
    one = queued.create(
        installed, namespace=namespace, queue=queue, size=SIZE, change=with_limits_alone
    )
    assert admitted_cpu(one) == 150 * SIZE
    one.wait_told("group 0:", "300m of cpu instead of 150m")
    one.wait_gated(0, pods=SIZE)
    # Written down, it is what Kueue counts.
    container = {"name": "c", "image": harness.IMAGE}
    resources = {"requests": {"cpu": "300m"}, "limits": {"cpu": "300m"}}
    worker = {"spec": {"containers": [{**container, "resources": resources}]}}
    body = {"spec": {"leaderWorkerTemplate": {"workerTemplate": worker}}}
    installed.api.patch(*LWS, one.name, namespace=namespace, body=body)
    one.wait_ready(1)
    assert admitted_cpu(one) == 300 * SIZE


def test_defaults_that_grow_after_the_admission_hold_new_pods_and_are_told(
    installed: sandbox.Sandbox, namespace: str, queue: str
) -> None:
    limit_range(installed, namespace, defaultRequest={"cpu": "150m"})
    one = queued.create(
        installed, namespace=namespace, queue=queue, size=SIZE, change=without_requests
    )
    one.wait_ready(1)
    limit_range(installed, namespace, defaultRequest={"cpu": "250m"})
    installed.api.delete("v1", "Pod", "lws-0", namespace=namespace)
    one.wait_told("group 0:", "250m of cpu instead of 150m", "delete the Workload")
    one.wait_gated(0, pods=SIZE)
    one.delete_workload(0)
    one.wait_ready(1)
    assert admitted_cpu(one) == 250 * SIZE


@pytest.mark.parametrize("bound", ["max", "min"])
def test_a_queued_set_out_of_bounds_says_so_and_holds_no_quota(
    installed: sandbox.Sandbox, namespace: str, queue: str, bound: str
) -> None:
    amounts = {"max": {"cpu": "150m"}, "min": {"cpu": "250m"}}
    defaults = {"defaultRequest": amounts[bound], "default": amounts[bound]}
    limit_range(installed, namespace, **{bound: amounts[bound]}, **defaults)
    one = queued.create(installed, namespace=namespace, queue=queue, size=SIZE)
    telling.wait_said(installed, one.name, "cpu", amounts[bound]["cpu"], namespace=namespace)
    one.wait_workloads(
        lambda seen: not any(queued.is_true(w, "QuotaReserved") for w in seen.values()),
        what="nobody holds quota",
    )
    installed.api.delete("v1", "LimitRange", "limits", namespace=namespace)
    one.wait_ready(1, timeout=120)


def test_a_plain_set_out_of_bounds_says_so(installed: sandbox.Sandbox, namespace: str) -> None:
    limit_range(installed, namespace, max={"cpu": "50m"}, default={"cpu": "50m"})
    installed.api.create(
        harness.leader_worker_set("plain", namespace=namespace, replicas=1, size=SIZE)
    )
    telling.wait_said(installed, "plain", "cpu", "50m", namespace=namespace)
    installed.api.delete("v1", "LimitRange", "limits", namespace=namespace)
    harness.wait_ready(installed, "plain", namespace=namespace, groups=1, timeout=120)
