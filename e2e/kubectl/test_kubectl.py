"""`kubectl lws` on a cluster: what a day asks, the rights that it takes, and what it writes."""

import os
import subprocess
import sys
from pathlib import Path

from lws_kueue_lab import sandbox
from lws_kueue_lab.sandbox import binaries

from e2e.kubectl.conftest import explained, run, said
from lws_kueue.api import names
from tests.kit.kueue import queued
from tests.kit.live import harness


def test_a_set_is_seen_stopped_started_and_updated_and_answers_while_the_controller_is_down(
    installed: sandbox.Sandbox,
    namespace: str,
    viewer: Path,
    controller: harness.ControllerProcess,
) -> None:
    admin = installed.kubeconfig
    harness.queues(installed, namespace=namespace, cpu="5")
    one = queued.create(installed, namespace=namespace, queue="user-queue", replicas=2)
    one.wait_ready(2)
    assert "done: all 2 groups" in said(viewer, "status", one.name, namespace=namespace)
    assert "none waits" in said(viewer, "explain", one.name, namespace=namespace)
    assert "group 1" in said(viewer, "where", one.name, namespace=namespace)
    assert one.name in said(viewer, "usage", "--by", "set", namespace=namespace)
    assert one.name in said(viewer, "get", namespace=namespace)

    refused = run(viewer, "stop", one.name, "--group", "1", namespace=namespace)
    assert refused.status == 1
    assert "you may not do that" in refused.err
    said(admin, "stop", one.name, "--group", "1", namespace=namespace)
    one.wait_given_back(1, "Deactivated")
    found, _ = explained(viewer, one.name, namespace=namespace)
    assert (found["code"], found["groups"]) == ("WorkloadDeactivated", [1])
    said(admin, "start", one.name, "--group", "1", namespace=namespace)
    one.wait_ready(2)

    before = one.uids_of(0)
    said(admin, "rollout", "restart", one.name, namespace=namespace)
    done = said(admin, "rollout", "status", one.name, "--timeout", "60", namespace=namespace)
    assert "done: all 2 groups" in done
    assert not {*before.values()} & {*one.uids_of(0).values()}

    said(admin, "rollout", "pause", one.name, namespace=namespace)
    body = {
        "spec": {"leaderWorkerTemplate": {"workerTemplate": {"metadata": {"labels": {"a": "b"}}}}}
    }
    installed.api.patch(
        names.LWS_API_VERSION, names.LWS_KIND, one.name, namespace=namespace, body=body
    )
    held = one.uids_of(0)
    one.wait_set(lambda _: True, what="the status of the paused set")
    assert "paused" in said(viewer, "status", one.name, namespace=namespace)
    assert one.uids_of(0) == held
    said(admin, "rollout", "resume", one.name, namespace=namespace)
    said(admin, "rollout", "status", one.name, "--timeout", "60", namespace=namespace)
    assert not {*held.values()} & {*one.uids_of(0).values()}

    controller.stop()
    assert "done: all 2 groups" in said(viewer, "status", one.name, namespace=namespace)
    assert "none waits" in said(viewer, "explain", one.name, namespace=namespace)


def test_kubectl_runs_it_as_a_plugin_and_completes_its_names(
    installed: sandbox.Sandbox, namespace: str, tmp_path: Path
) -> None:
    for name, module in (
        ("kubectl-lws", "lws_kueue.kubectl.command"),
        ("kubectl_complete-lws", "lws_kueue.kubectl.completion"),
    ):
        program = tmp_path / name
        call = f"import sys; from {module} import main; sys.argv[0] = '{name}'; main()"
        program.write_text(f"#!{sys.executable}\n{call}\n")
        program.chmod(0o755)
    installed.api.create(harness.leader_worker_set("demo", namespace=namespace, replicas=0, size=1))
    environment = {
        **os.environ,
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "KUBECONFIG": str(installed.kubeconfig),
    }

    def kubectl(*arguments: str) -> str:
        command = [str(binaries.ensure()["kubectl"]), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "demo" in kubectl("lws", "get", "-n", namespace)
    assert "demo\n" in kubectl("__complete", "lws", "status", "-n", namespace, "d")
