"""Sets whose children need the same names: who comes second says so, waits, and comes up alone."""

from collections.abc import Callable
from typing import Any

import pytest
from lws_kueue_lab import sandbox

from lws_kueue.api import names
from tests.kit.kueue import queued
from tests.kit.live import harness

pytestmark = [pytest.mark.row("P9"), pytest.mark.usefixtures("controller")]

STATEFUL_SET, SERVICE = ("apps/v1", "StatefulSet"), ("v1", "Service")
CHILDREN = (STATEFUL_SET, SERVICE, ("v1", "Pod"))
UNIQUE = {"subdomainPolicy": "UniquePerReplica"}


def create(cluster: sandbox.Sandbox, name: str, **options: Any) -> queued.Queued:
    body = harness.leader_worker_set(name, **options)
    cluster.api.create(body)
    return queued.Queued(cluster, options["namespace"], name)


def children(one: queued.Queued) -> dict[str, str]:
    """Who everything is that belongs to a set."""
    return {
        f"{kind[1]} {obj['metadata']['name']}": obj["metadata"]["uid"]
        for kind in CHILDREN
        for obj in one.cluster.api.list(
            *kind, namespace=one.namespace, label_selector=f"{names.SET_NAME}={one.name}"
        )
    }


@pytest.mark.parametrize(
    "is_queued",
    [pytest.param(False, id="plain", marks=pytest.mark.long), pytest.param(True, id="queued")],
)
def test_leaders_that_need_the_name_of_another_sets_workers_wait_for_it(
    installed: sandbox.Sandbox, namespace: str, is_queued: bool
) -> None:
    queue = harness.queues(installed, namespace=namespace, cpu="8") if is_queued else None
    options = {"namespace": namespace, "queue": queue, "size": 2, "replicas": 2}
    first = create(installed, "model", **options)
    first.wait_ready(2)
    before = children(first)
    second = create(installed, "model-1", **options)
    second.wait_warning(
        "FailedCreate",
        "StatefulSet model-1 exists and belongs to group 1 of LeaderWorkerSet model; it has the"
        " name that the leader StatefulSet needs. Give this set another name",
    )
    if is_queued:
        second.wait_told("groups 0-1:", "StatefulSet model-1", "group 1 of LeaderWorkerSet model")
        assert second.workloads() == {}, "no quota for pods that cannot be made"
    assert children(first) == before
    harness.scale(installed, "model", namespace=namespace, replicas=1)
    second.wait_ready(2)
    first.wait_ready(1)
    kept = {name: uid for name, uid in before.items() if not name.split()[1].startswith("model-1")}
    assert children(first) == kept


def test_workers_that_need_the_name_of_another_sets_leaders_wait_for_it(
    installed: sandbox.Sandbox, namespace: str
) -> None:
    first = create(installed, "model-1", namespace=namespace, size=2, replicas=1)
    first.wait_ready(1)
    before = children(first)
    second = create(installed, "model", namespace=namespace, size=2, replicas=2)
    second.wait_warning(
        "FailedCreate",
        "StatefulSet model-1 exists and belongs to LeaderWorkerSet model-1. Give this set another",
    )
    second.wait_ready(1)
    assert children(first) == before
    first.delete()
    second.wait_ready(2)


def test_services_of_groups_that_have_the_name_of_another_sets_wait_for_it(
    installed: sandbox.Sandbox, namespace: str
) -> None:
    first = create(installed, "model-1", namespace=namespace, size=1, replicas=1)
    first.wait_ready(1)
    before = children(first)
    second = create(
        installed, "model", namespace=namespace, size=1, replicas=2, networkConfig=UNIQUE
    )
    second.wait_warning(
        "InvalidService",
        "Service model-1: belongs to LeaderWorkerSet model-1 and does not select pod model-1",
    )
    assert children(first) == before
    first.delete()
    installed.api.wait_for(
        *SERVICE, "model-1", of_group_1, namespace=namespace, what="a Service of group 1"
    )


def of_group_1(found: dict[str, Any] | None) -> bool:
    selector = found["spec"].get("selector", {}) if found else {}
    return selector.get(names.GROUP_INDEX) == "1"


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("model", id="leaders"),
        pytest.param("model-1", id="workers", marks=pytest.mark.long),
    ],
)
def test_a_strangers_object_is_named_and_waited_for(
    installed: sandbox.Sandbox, namespace: str, name: str, stranger: Callable[[str, str], None]
) -> None:
    stranger(namespace, name)
    one = create(installed, "model", namespace=namespace, size=2, replicas=2)
    one.wait_warning("FailedCreate", f"StatefulSet {name} exists and has no owner")
    installed.api.delete(*STATEFUL_SET, name, namespace=namespace)
    harness.wait_ready(installed, "model", namespace=namespace, groups=2, timeout=120)


@pytest.fixture
def stranger(installed: sandbox.Sandbox) -> Callable[[str, str], None]:
    """Make a StatefulSet that is nobody's."""

    def make(namespace: str, name: str) -> None:
        labels = {"app": "stranger"}
        container = {"name": "c", "image": harness.IMAGE}
        template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
        installed.api.create(
            {
                "apiVersion": STATEFUL_SET[0],
                "kind": STATEFUL_SET[1],
                "metadata": {"name": name, "namespace": namespace},
                "spec": {
                    "replicas": 0,
                    "selector": {"matchLabels": labels},
                    "serviceName": name,
                    "template": template,
                },
            }
        )

    return make
