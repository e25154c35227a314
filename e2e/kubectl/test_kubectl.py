"""`kubectl lws` on a cluster: many causes side by side, the rights it needs, and what it writes."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from lws_kueue_lab import sandbox
from lws_kueue_lab.sandbox import binaries

from lws_kueue.api import names
from lws_kueue.kubectl import reading
from tests.kit import polling
from tests.kit.builders import cluster as build
from tests.kit.kueue import queued
from tests.kit.live import harness

KUEUE = names.KUEUE_API_VERSION
USER = ("kubectl-lws", "viewer")

Object = dict[str, Any]


@pytest.fixture(scope="module")
def viewer(installed: sandbox.Sandbox) -> Iterator[Path]:
    """A kubeconfig of somebody with the ClusterRole for people, and nothing else."""
    namespace, name = USER
    harness.make_namespace(installed, namespace)
    rbac = "rbac.authorization.k8s.io"
    made = (
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": name, "namespace": namespace},
        },
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "kubectl-lws-viewer"},
            "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": reading.ROLE},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
        },
    )
    for obj in made:
        installed.api.apply(obj)
    yield installed.service_account_kubeconfig(namespace, name)
    installed.api.delete(f"{rbac}/v1", "ClusterRoleBinding", "kubectl-lws-viewer")
    installed.api.delete("v1", "Namespace", namespace)


def run(
    kubeconfig: Path | str, *arguments: str, namespace: str
) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "lws_kueue.kubectl.command", *arguments]
    return subprocess.run(
        [*command, "--kubeconfig", str(kubeconfig), "-n", namespace],
        capture_output=True,
        text=True,
        check=False,
    )


def said(kubeconfig: Path | str, *arguments: str, namespace: str) -> str:
    done = run(kubeconfig, *arguments, namespace=namespace)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    return done.stdout


def explained(kubeconfig: Path, name: str, *, namespace: str) -> Object:
    """What is said of the groups of a set that do not run; nothing if all do."""
    text = said(kubeconfig, "explain", name, "-o", "yaml", namespace=namespace)
    (first, *_) = yaml.safe_load(text).get("explanations") or [{}]
    return dict(first)


def queue(
    cluster: sandbox.Sandbox, namespace: str, name: str, *, cpu: str = "5", **spec: Any
) -> None:
    """Make a queue of its own for one of the causes, with a flavor of its name."""
    own = f"{namespace}-{name}"
    flavor = spec.pop("flavor", {})
    cluster.api.apply(build.kueues("ResourceFlavor", own, **flavor))
    cluster.api.apply(build.cluster_queue(own, {own: {"cpu": cpu}}, **spec))
    cluster.api.apply(build.local_queue(name, namespace=namespace, cluster_queue=own))


@pytest.mark.usefixtures("controller")
def test_a_person_with_the_role_is_told_why_each_of_many_sets_waits(
    installed: sandbox.Sandbox, namespace: str, viewer: Path
) -> None:
    own = f"{namespace}-"
    # By the name of the set: what its queue is, and the code and the texts that are awaited.
    causes: dict[str, tuple[Object | None, str, tuple[str, ...]]] = {
        "quota": ({"cpu": "1m"}, "Pending", (f"nominalQuota of cpu in flavor {own}quota",)),
        "stopped": ({"stopPolicy": "Hold"}, "ClusterQueueStopped", (f"{own}stopped",)),
        "nodes": (
            {"flavor": {"nodeLabels": {"no": "such"}}},
            "FlavorWithoutNodes",
            (f"spec.nodeLabels of ResourceFlavor {own}nodes",),
        ),
        "inactive": ({"missing": True}, "ClusterQueueInactive", (f"{own}gone",)),
        "unserved": (None, "LocalQueueMissing", ("LocalQueue unserved",)),
    }
    for name, (given, _, _) in causes.items():
        if given is not None and given.pop("missing", False):
            spec = build.cluster_queue(f"{own}{name}", {f"{own}gone": {"cpu": "5"}})
            installed.api.apply(spec)
            feeds = build.local_queue(name, namespace=namespace, cluster_queue=f"{own}{name}")
            installed.api.apply(feeds)
        elif given is not None:
            queue(installed, namespace, name, **given)
        installed.api.create(
            harness.leader_worker_set(
                name, namespace=namespace, queue=name, replicas=1, size=2, cpu="100m"
            )
        )
    for name, (_, code, texts) in causes.items():

        def is_told(name: str = name, code: str = code, texts: tuple[str, ...] = texts) -> None:
            found = explained(viewer, name, namespace=namespace)
            assert found.get("code") == code, found
            assert all(text in f"{found['why']} {found.get('change', '')}" for text in texts), found

        polling.trying(timeout=60, every=0.5)(is_told)
    table = said(viewer, "get", namespace=namespace)
    assert all(name in table for name in causes)
    for name in causes:
        installed.api.delete(names.LWS_API_VERSION, names.LWS_KIND, name, namespace=namespace)
    for kind in ("ClusterQueue", "ResourceFlavor"):
        for name in causes:
            installed.api.delete(KUEUE, kind, f"{own}{name}", missing_ok=True)


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

    refused = run(viewer, "stop", one.name, "--group", "1", namespace=namespace)
    assert refused.returncode == 1
    assert "you may not do that" in refused.stderr
    said(admin, "stop", one.name, "--group", "1", namespace=namespace)
    one.wait_given_back(1, "Deactivated")
    found = explained(viewer, one.name, namespace=namespace)
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
