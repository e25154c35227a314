"""A group is admitted for flavors that contradict each other: it waits, and the set says why.

Kueue chooses a flavor for each group of resources by itself, so one pod can get two of them.
"""

import pytest
from lws_kueue_lab import sandbox

from e2e.kueue.conftest import Keep
from lws_kueue.api import names
from tests.kit.kueue import queued
from tests.kit.live import harness
from tests.kit.lws.sample import Object

pytestmark = pytest.mark.usefixtures("controller")

KUEUE = names.KUEUE_API_VERSION
OS = "kubernetes.io/os"


def flavor(name: str, system: str) -> Object:
    spec = {"nodeLabels": {OS: system}}
    return {"apiVersion": KUEUE, "kind": "ResourceFlavor", "metadata": {"name": name}} | {
        "spec": spec
    }


def with_memory(obj: Object) -> None:
    spec = obj["spec"]["leaderWorkerTemplate"]["workerTemplate"]["spec"]
    spec["containers"][0]["resources"]["requests"]["memory"] = "16Mi"


@pytest.mark.row("P7")
def test_a_group_with_two_flavors_that_no_node_can_be_stays_gated_and_names_both(
    installed: sandbox.Sandbox, namespace: str, keep: Keep
) -> None:
    cpu, memory = namespace, f"{namespace}-memory"
    keep(flavor(memory, "windows"))
    groups = [
        {
            "coveredResources": [resource],
            "flavors": [{"name": name, "resources": [{"name": resource, "nominalQuota": quota}]}],
        }
        for resource, name, quota in (("cpu", cpu, "5"), ("memory", memory, "1Gi"))
    ]
    queue = harness.queues(
        installed,
        namespace=namespace,
        cpu="5",
        flavor_spec={"nodeLabels": {OS: "linux"}},
        resourceGroups=groups,
    )
    plain = queued.create(installed, "cpu-alone", namespace=namespace, queue=queue, size=2)
    one = queued.create(
        installed, "both", namespace=namespace, queue=queue, size=2, change=with_memory
    )
    conflict = (
        f"ResourceFlavor {memory} (of memory) wants node selector {OS}=windows, but"
        f" ResourceFlavor {cpu} (of cpu) wants linux"
    )
    one.wait_told("group 0:", conflict)
    one.wait_warning("PodSetUpdateConflict", conflict)
    one.wait_gated(0, pods=2)
    plain.wait_ready(1)
    # Whoever corrects a flavor need do nothing else.
    keep(flavor(memory, "linux"))
    one.wait_ready(1)
    assert all(pod["spec"]["nodeSelector"] == {OS: "linux"} for pod in one.pods_of(0).values())
