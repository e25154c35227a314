"""ResourceQuotas of objects and pods: what a namespace has no room for is named on the set.

When there is room, what was refused comes up by itself.
"""

from typing import Any

import pytest
from lws_kueue_lab import sandbox
from lws_kueue_lab.sandbox import client

from tests.kit import polling
from tests.kit.kueue import queued
from tests.kit.live import harness, telling

pytestmark = [pytest.mark.usefixtures("controller"), pytest.mark.row("NBR-04")]

Object = dict[str, Any]
SIZE = 2
RESOURCE_QUOTA = ("v1", "ResourceQuota")


def limit(cluster: sandbox.Sandbox, namespace: str, **hard: int | str) -> None:
    """Make a ResourceQuota, or change it; wait until it is counted.

    ``hard`` has `__` in place of slashes and `_` in place of dots.
    """
    named = {key.replace("__", "/").replace("_", "."): str(value) for key, value in hard.items()}
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "quota", "namespace": namespace},
        "spec": {"hard": named},
    }

    def counted(seen: dict[str, Any] | None) -> bool:
        status = (seen or {}).get("status") or {}
        return status.get("hard") == named and status.get("used", {}).keys() >= named.keys()

    def limited() -> None:
        cluster.api.apply(quota)
        try:
            cluster.api.wait_for(
                *RESOURCE_QUOTA,
                "quota",
                counted,
                namespace=namespace,
                timeout=10,
                what=f"a quota of {named}",
            )
        except client.WaitTimeoutError:
            # A kind that is new to the control plane is counted by the quotas that come later.
            cluster.api.delete(*RESOURCE_QUOTA, "quota", namespace=namespace)
            raise

    polling.trying(timeout=180)(limited)


OBJECTS = [
    pytest.param({"count__services": 0}, {"count__services": 2}, "services", id="services"),
    pytest.param(
        # The leaders' own, and that of group 0.
        {"count__statefulsets_apps": 2},
        {"count__statefulsets_apps": 5},
        "statefulsets.apps",
        id="statefulsets",
    ),
    pytest.param(
        {"count__controllerrevisions_apps": 0},
        # StatefulSets have revisions of their own.
        {"count__controllerrevisions_apps": 20},
        "controllerrevisions.apps",
        id="controllerrevisions",
    ),
]


@pytest.mark.parametrize(("short", "enough", "what"), OBJECTS)
@pytest.mark.parametrize("kind", [pytest.param("plain", marks=pytest.mark.long), "queued"])
def test_an_object_for_which_there_is_no_room_is_named_and_made_when_there_is(
    installed: sandbox.Sandbox,
    namespace: str,
    queue: str,
    kind: str,
    short: dict[str, int],
    enough: dict[str, int],
    what: str,
) -> None:
    limit(installed, namespace, **short)
    body = harness.leader_worker_set(
        "one", namespace=namespace, size=SIZE, queue=queue if kind == "queued" else None
    )
    installed.api.create(body)
    telling.wait_said(installed, "one", "exceeded quota", what, namespace=namespace)
    limit(installed, namespace, **enough)
    harness.wait_ready(installed, "one", namespace=namespace, groups=2, timeout=120)


WORKLOADS = "count__workloads_kueue_x-k8s_io"


def test_a_workload_for_which_there_is_no_room_is_named_and_its_group_comes_up_later(
    installed: sandbox.Sandbox, namespace: str, queue: str
) -> None:
    limit(installed, namespace, **{WORKLOADS: 1})
    one = queued.create(installed, namespace=namespace, queue=queue, replicas=2, size=SIZE)
    telling.wait_said(
        installed, one.name, "exceeded quota", "workloads.kueue.x-k8s.io", namespace=namespace
    )
    # The group that has a Workload is none the worse for it.
    one.wait_ready(1)
    limit(installed, namespace, **{WORKLOADS: 2})
    one.wait_ready(2, timeout=120)


PODS = [
    pytest.param({"pods": 1}, {"pods": 4}, "pods=1", id="pods"),
    pytest.param(
        {"requests_cpu": "250m"}, {"requests_cpu": "2"}, "requests.cpu=200m", id="requests-cpu"
    ),
]


@pytest.mark.parametrize(("short", "enough", "what"), PODS)
def test_pods_for_which_there_is_no_room_are_named_and_hold_no_quota_of_kueue(
    installed: sandbox.Sandbox,
    namespace: str,
    queue: str,
    short: dict[str, int | str],
    enough: dict[str, int | str],
    what: str,
) -> None:
    limit(installed, namespace, **short)
    one = queued.create(installed, namespace=namespace, queue=queue, size=SIZE)
    telling.wait_said(installed, one.name, "exceeded quota", what, namespace=namespace)
    one.wait_workloads(
        lambda seen: not any(queued.is_true(w, "QuotaReserved") for w in seen.values()),
        what="nobody holds quota",
    )
    limit(installed, namespace, **enough)
    one.wait_ready(1, timeout=120)


def test_pods_of_a_plain_set_for_which_there_is_no_room_are_named(
    installed: sandbox.Sandbox, namespace: str
) -> None:
    limit(installed, namespace, pods=1)
    installed.api.create(
        harness.leader_worker_set("plain", namespace=namespace, replicas=1, size=SIZE)
    )
    telling.wait_said(installed, "plain", "exceeded quota", "pods=1", namespace=namespace)
    limit(installed, namespace, pods=2)
    harness.wait_ready(installed, "plain", namespace=namespace, groups=1, timeout=120)
