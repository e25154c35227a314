"""A queue that asks for Kueue's MultiKueue in a manager where Kueue's integration is off."""

import pytest
from lws_kueue_lab import sandbox

from e2e.kueue.conftest import Keep
from lws_kueue.api import names
from tests.kit.builders import cluster as build
from tests.kit.kueue import clusters, queued
from tests.kit.live import harness

pytestmark = pytest.mark.usefixtures("controller")

SIZE = 2
GROUP_CPU = 200
REASON = "MultiKueueNotPossible"
CLUSTER_QUEUE = (names.KUEUE_API_VERSION, "ClusterQueue")


@pytest.fixture
def check(namespace: str, keep: Keep) -> str:
    """A check of Kueue's MultiKueue."""
    name = f"{namespace}-check"
    keep(build.kueues("AdmissionCheck", name, controllerName=names.MULTIKUEUE_CONTROLLER))
    return name


def ask(cluster: sandbox.Sandbox, queue: str, *checks: str) -> None:
    """Have a ClusterQueue ask for these checks."""
    body = {"spec": {"admissionChecksStrategy": clusters.asking(*checks) if checks else None}}
    cluster.api.patch(*CLUSTER_QUEUE, queue, body=body)


@pytest.mark.row("MK-65")
def test_a_set_is_told_that_its_queue_cannot_dispatch_it_before_anything_is_asked_of_kueue(
    installed: sandbox.Sandbox, namespace: str, check: str
) -> None:
    cpu = f"{2 * GROUP_CPU}m"
    queue = harness.queues(
        installed, namespace=namespace, cpu=cpu, admissionChecksStrategy=clusters.asking(check)
    )
    with harness.recording(installed, *queued.WORKLOAD, namespace=namespace) as recorded:
        one = queued.create(
            installed, namespace=namespace, queue=queue, replicas=2, size=SIZE, cpu="100m"
        )
        one.wait_told("groups 0-1", f"asks for AdmissionCheck {check}")
        one.wait_warning(REASON, names.KUEUE_LWS_FRAMEWORK)
        for group in (0, 1):
            one.wait_gated(group, pods=SIZE)
    assert recorded.of_kind("Workload") == []
    ask(installed, namespace)
    one.wait_ready(2)
