"""What others leave on objects of a set holds it up: it is set back, or told and waited for."""

import pytest
from lws_kueue_lab import sandbox

from lws_kueue.api import names
from tests.kit.kueue import queued
from tests.kit.live import harness
from tests.kit.live.rivals import STATEFUL_SET

pytestmark = pytest.mark.usefixtures("controller")

POD = ("v1", "Pod")
KEEP = "example.com/keep"


@pytest.fixture
def one(installed: sandbox.Sandbox, namespace: str) -> queued.Queued:
    """A set of two groups of two that are ready."""
    queue = harness.queues(installed, namespace=namespace, cpu="8")
    made = queued.create(installed, namespace=namespace, queue=queue, replicas=2, size=2)
    made.wait_ready(2)
    return made


@pytest.mark.row("WAR-08")
def test_min_ready_seconds_that_somebody_applies_are_set_back_and_told(one: queued.Queued) -> None:
    leaders, workers = one.name, f"{one.name}-0"
    for name in (leaders, workers):
        one.cluster.api.apply(
            {
                "apiVersion": STATEFUL_SET[0],
                "kind": STATEFUL_SET[1],
                "metadata": {"name": name, "namespace": one.namespace},
                "spec": {"minReadySeconds": 3600},
            },
            field_manager="tuner",
        )
    for name in (leaders, workers):
        text = f"StatefulSet {name}: spec.minReadySeconds was set to 3600 by field manager tuner"
        one.wait_warning("InvalidStatefulSet", text)
        one.cluster.api.wait_for(
            *STATEFUL_SET,
            name,
            lambda seen: seen is not None and not seen["spec"].get("minReadySeconds"),
            namespace=one.namespace,
            what=f"{name} has no minReadySeconds",
        )
    one.wait_ready(2)


# A minute has to pass before it is told.
@pytest.mark.long
@pytest.mark.row("HLD-01")
def test_deletions_that_a_finalizer_holds_up_are_told_by_the_groups_that_wait(
    one: queued.Queued,
) -> None:
    worker = f"{one.name}-0-1"
    workload = one.workload(1)["metadata"]["name"]
    api = one.cluster.api
    try:
        api.patch(*POD, worker, namespace=one.namespace, body={"metadata": {"finalizers": [KEEP]}})
        one.patch_workload(1, {"metadata": {"finalizers": [names.WORKLOAD_FINALIZER, KEEP]}})
        api.delete(*POD, worker, namespace=one.namespace)
        api.delete(*queued.WORKLOAD, workload, namespace=one.namespace)
        one.wait_told(f"group 0: Pod {worker}: ", f"group 1: Workload {workload}: ", KEEP)
        one.wait_warning("DeletionHeld", f"Pod {worker}: is being deleted, and stays until")
        one.wait_warning("DeletionHeld", f"Workload {workload}: is being deleted, and stays until")
        assert worker in one.pods(), "nothing is forced"
    finally:
        for kind, name in ((POD, worker), (queued.WORKLOAD, workload)):
            found = api.find(*kind, name, namespace=one.namespace)
            if found and KEEP in found["metadata"].get("finalizers", ()):
                kept = [f for f in found["metadata"]["finalizers"] if f != KEEP]
                body = {"metadata": {"finalizers": kept or None}}
                api.patch(*kind, name, namespace=one.namespace, body=body)
    one.wait_ready(2)
