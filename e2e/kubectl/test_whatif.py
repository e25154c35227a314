"""`kubectl lws whatif` on a cluster: it writes nothing, and what it tells then happens."""

import json
import subprocess
import sys

import pytest
from lws_kueue_lab import sandbox
from lws_kueue_lab.sandbox import audit

from tests.kit.kueue import queued
from tests.kit.live import harness

AGENT = "kubectl-lws/"


@pytest.mark.usefixtures("controller")
def test_what_is_told_happens_and_nothing_is_written_for_it(
    installed: sandbox.Sandbox, namespace: str
) -> None:
    # Room for two groups of two pods of 1 cpu.
    harness.queues(installed, namespace=namespace, cpu="5")
    one = queued.create(
        installed, namespace=namespace, queue="user-queue", replicas=1, size=2, cpu="1"
    )
    one.wait_ready(1)
    since = audit.position(installed)
    program = [sys.executable, "-m", "lws_kueue.kubectl.command", "whatif", one.name]
    where = ["--kubeconfig", str(installed.kubeconfig), "-n", namespace]
    done = subprocess.run(
        [*program, "--replicas", "3", "-o", "json", *where],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    asked = [r for r in audit.requests(installed, since=since) if r.user_agent.startswith(AGENT)]
    assert asked
    assert [request for request in asked if request.is_write] == []
    foretold = {one["index"] for one in told["groups"] if one["then"] == "runs"}
    assert foretold == {0, 1}
    harness.scale(installed, one.name, namespace=namespace, replicas=3)
    one.wait_ready(2)
    admitted = {
        index
        for index in range(3)
        if queued.is_true(
            one.wait_workload(index, queued_told, what="is told whether it has quota"), "Admitted"
        )
    }
    assert len(admitted) == len(foretold)


def queued_told(workload: dict[str, object]) -> bool:
    """Whether Kueue has considered a Workload."""
    status = workload.get("status")
    return isinstance(status, dict) and bool(status.get("conditions"))
