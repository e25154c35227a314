"""`kubectl drain` of nodes with pods of groups, and what a PodDisruptionBudget has to say to it."""

import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from lws_kueue_lab import sandbox
from lws_kueue_lab.sandbox import binaries

from lws_kueue.api import names
from tests.kit.kueue import queued
from tests.kit.live import harness, kubectl
from tests.kit.lws.sample import Sample

pytestmark = [pytest.mark.usefixtures("controller"), pytest.mark.row("NBR-05")]

Object = dict[str, Any]
GROUPS, SIZE = 3, 2
Drain = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def drain(installed: sandbox.Sandbox) -> Iterator[Drain]:
    """Drain a node as a person does; it takes pods again when the test is over."""
    drained: list[str] = []

    def run(node: str, *, seconds: int) -> subprocess.CompletedProcess[str]:
        drained.append(node)
        command = [
            str(binaries.ensure()["kubectl"]),
            f"--kubeconfig={installed.kubeconfig}",
            f"--cache-dir={installed.directory}/kubectl",
            *("drain", node, "--ignore-daemonsets", f"--timeout={seconds}s"),
        ]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    yield run
    for node in drained:
        kubectl.kubectl(installed, "uncordon", node)


def budget(cluster: sandbox.Sandbox, one: Sample, **spec: int) -> None:
    """Give the pods of a set a budget, and wait until it counts them."""
    selector = {"matchLabels": {names.SET_NAME: one.name}}
    cluster.api.create(
        {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": {"name": one.name, "namespace": one.namespace},
            "spec": {"selector": selector, **spec},
        }
    )
    cluster.api.wait_for(
        "policy/v1",
        "PodDisruptionBudget",
        one.name,
        lambda seen: bool(
            seen and (seen.get("status") or {}).get("currentHealthy") == GROUPS * SIZE
        ),
        namespace=one.namespace,
        what="a budget that counts all pods",
    )


def create(cluster: sandbox.Sandbox, kind: str, *, namespace: str, queue: str) -> queued.Queued:
    """Make a set that runs, in a queue or not."""
    body = harness.leader_worker_set(
        "one",
        namespace=namespace,
        queue=queue if kind == "queued" else None,
        replicas=GROUPS,
        size=SIZE,
    )
    cluster.api.create(body)
    one = queued.Queued(cluster, namespace, "one")
    one.wait_ready(GROUPS)
    return one


@pytest.mark.parametrize("kind", [pytest.param("plain", marks=pytest.mark.long), "queued"])
def test_a_drain_goes_through_group_by_group_and_all_groups_come_back(
    installed: sandbox.Sandbox, namespace: str, queue: str, drain: Drain, kind: str
) -> None:
    one = create(installed, kind, namespace=namespace, queue=queue)
    budget(installed, one, maxUnavailable=SIZE)
    before = {group: seen["metadata"]["uid"] for group, seen in one.workloads().items()}
    node = one.leader(0)["spec"]["nodeName"]
    done = drain(node, seconds=120)
    assert done.returncode == 0, done.stdout + done.stderr
    # The status may still tell of the time before the drain, so the pods themselves are awaited.
    harness.wait_pods(
        installed,
        lambda seen: (
            len(seen) == GROUPS * SIZE
            and all(
                harness.is_ready(p) and p["spec"].get("nodeName") != node for p in seen.values()
            )
        ),
        namespace=namespace,
        what="all pods are back on other nodes",
        timeout=120,
    )
    one.wait_ready(GROUPS)
    # An eviction by Kubernetes is none of Kueue's: the admission stays.
    after = one.workloads()
    assert {group: seen["metadata"]["uid"] for group, seen in after.items()} == before
    assert all(queued.is_true(seen, "Admitted") for seen in after.values())
    assert len(before) == (GROUPS if kind == "queued" else 0)


@pytest.mark.parametrize("kind", [pytest.param("plain", marks=pytest.mark.long), "queued"])
def test_a_budget_that_allows_nothing_is_kept_and_no_pod_is_touched(
    installed: sandbox.Sandbox, namespace: str, queue: str, drain: Drain, kind: str
) -> None:
    one = create(installed, kind, namespace=namespace, queue=queue)
    budget(installed, one, maxUnavailable=0)
    before = {name: pod["metadata"]["uid"] for name, pod in one.pods().items()}
    done = drain(one.leader(0)["spec"]["nodeName"], seconds=3)
    assert done.returncode != 0
    assert "disruption budget" in done.stdout + done.stderr
    assert {name: pod["metadata"]["uid"] for name, pod in one.pods().items()} == before
    assert one.wait_ready(GROUPS)


def test_a_group_that_waits_is_no_obstacle_and_stays_where_it_is(
    installed: sandbox.Sandbox, namespace: str, drain: Drain
) -> None:
    queue = harness.queues(installed, namespace=namespace, cpu="400m")
    one = queued.create(installed, namespace=namespace, queue=queue, replicas=2, size=SIZE)
    one.wait_ready(1)
    (runs,) = (g for g, w in one.workloads().items() if queued.is_true(w, "Admitted"))
    waits = 1 - runs
    one.wait_gated(waits, pods=SIZE)
    held = one.uids_of(waits)
    node = one.leader(runs)["spec"]["nodeName"]
    done = drain(node, seconds=60)
    assert done.returncode == 0, done.stdout + done.stderr
    one.wait_running(runs, pods=SIZE)
    assert one.uids_of(waits) == held
    one.wait_gated(waits, pods=SIZE)
