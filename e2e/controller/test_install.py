"""`lws-kueue install` and `lws-kueue run` as commands."""

import subprocess
import sys
from pathlib import Path

import pytest
from lws_kueue_lab import sandbox
from lws_kueue_lab.sandbox import audit

from e2e.conftest import OpenCluster
from tests.kit.judge import budget
from tests.kit.live import harness


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "lws_kueue.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_installing_twice_changes_nothing_the_second_time_and_says_so(
    installed: sandbox.Sandbox,
) -> None:
    # Other tests may have asked for more on the shared cluster, which the first time takes away.
    for _ in range(2):
        done = command("install", "--kubeconfig", installed.kubeconfig)
        assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()[1:]]
    assert len(rows) >= 7
    assert {row[-1] for row in rows} == {"unchanged"}
    assert any(row[0] == "CustomResourceDefinition" for row in rows)


@pytest.mark.long
def test_every_request_of_install_carries_the_user_agent(installed: sandbox.Sandbox) -> None:
    if installed.audit_log is None:
        pytest.skip("this cluster shows no audit log")
    start = audit.position(installed)
    done = command("install", "--kubeconfig", installed.kubeconfig)
    assert done.returncode == 0, done.stderr
    # Nobody else touches what is installed.
    kinds = (
        *("admissionpolicies", "admissionpolicybindings"),
        *("clusterroles", "customresourcedefinitions"),
    )
    requests = [
        request
        for request in audit.requests(installed, since=start)
        if request.resource.endswith(kinds) and request.verb in ("get", "patch")
    ]
    assert len([request for request in requests if request.verb == "patch"]) >= 7
    assert {request.user_agent for request in requests} == {budget.USER_AGENT}


def test_running_without_an_installation_is_refused_with_what_to_do(
    fresh_cluster: OpenCluster,
) -> None:
    cluster = fresh_cluster(sandbox.Options(nodes=0))
    done = command(*harness.RUN[3:], "--kubeconfig", cluster.kubeconfig)
    assert done.returncode == 1
    assert "lws-kueue install" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.long
def test_installing_says_what_was_created_and_what_was_changed(fresh_cluster: OpenCluster) -> None:
    cluster = fresh_cluster(sandbox.Options(nodes=0))

    def changes() -> dict[str, str]:
        done = command("install", "--kubeconfig", cluster.kubeconfig)
        assert done.returncode == 0, done.stderr
        rows = [line.split() for line in done.stdout.splitlines()[1:]]
        return {f"{kind} {name}": change for kind, name, change in rows}

    assert set(changes().values()) == {"created"}
    kind, name = "ValidatingAdmissionPolicy", "lws-kueue-rules"
    cluster.api.patch(
        "admissionregistration.k8s.io/v1", kind, name, body={"spec": {"failurePolicy": "Ignore"}}
    )
    again = changes()
    assert again.pop(f"{kind} {name}") == "changed"
    assert set(again.values()) == {"unchanged"}


def test_a_kubeconfig_that_does_not_exist_is_refused_by_name(tmp_path: Path) -> None:
    done = command("run", "--kubeconfig", tmp_path / "nowhere")
    assert done.returncode == 2
    assert "nowhere" in done.stderr
