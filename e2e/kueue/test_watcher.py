"""The watcher that other tests rely on sees what must not be, on a real control plane."""

import pytest
from lws_kueue_lab import sandbox

from tests.kit.judge import history, watcher
from tests.kit.live import harness


@pytest.mark.long
def test_a_pod_that_somebody_let_go_by_hand_is_found_and_stopped(
    installed: sandbox.Sandbox, controller: harness.ControllerProcess, namespace: str
) -> None:
    cluster = installed
    # Quota for one of two groups: the pods of the other one wait.
    queue = harness.queues(cluster, namespace=namespace, cpu="100m")
    with watcher.Watcher(cluster).watching() as seen:
        cluster.api.create(
            harness.leader_worker_set("forced", namespace=namespace, queue=queue, size=1)
        )
        harness.wait_ready(cluster, "forced", namespace=namespace, groups=1)
        pods = harness.wait_pods(
            cluster, lambda pods: len(pods) == 2, namespace=namespace, what="two pods"
        )
        waiting = next(name for name, pod in pods.items() if harness.gates(pod))
        controller.kill()
        cluster.api.patch(
            *("v1", "Pod", waiting),
            namespace=namespace,
            body={"spec": {"schedulingGates": None}},
        )
        harness.wait_pods(
            cluster,
            lambda pods: bool(pods[waiting]["spec"].get("nodeName")),
            namespace=namespace,
            what="a node for the pod that was let go",
        )
        controller.start()
        harness.wait_pods(
            cluster,
            lambda pods: waiting in pods and harness.is_gated(pods[waiting]),
            namespace=namespace,
            what="a pod in its place that waits",
        )
    verdict = history.judge(seen.facts(namespaces=lambda name: name == namespace))
    found = [one for one in verdict.violations if f"pod {namespace}/{waiting}" in one]
    assert list(verdict.violations) == found
    assert len(found) == 2, found
    assert "was let go without an admitted Workload" in found[0]
    assert "got node" in found[1]
