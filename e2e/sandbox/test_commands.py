"""`lws-kueue sandbox` as a person uses it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from lws_kueue_lab.sandbox import binaries, client

pytestmark = pytest.mark.usefixtures("process_only")

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-c", "from lws_kueue_lab.sandbox import cli; cli.sandbox_group()"]

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Records of their own, so that a person's sandboxes are left alone."""
    return os.environ | {"XDG_RUNTIME_DIR": str(tmp_path)}


@pytest.fixture
def run(environment: dict[str, str]) -> Run:
    def run_command(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [*COMMAND, *arguments],
            env=environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run_command


def test_a_detached_sandbox_is_found_used_and_stopped(run: Run) -> None:
    try:
        started = run("up", "--detach", "--nodes=2", "--racks=2", "--kueue=none")
        assert started.returncode == 0, started.stderr
        path = Path(run("kubeconfig").stdout.strip())
        assert f"export KUBECONFIG={path}" in started.stdout
        with_it = client.Client(path)
        assert len(with_it.list("v1", "Node")) == 2
        listed = subprocess.run(
            [str(binaries.ensure()["kubectl"]), f"--kubeconfig={path}", "get", "nodes"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert "node-1" in listed.stdout
        again = run("up", "--detach")
        assert again.returncode != 0
        assert "runs already" in again.stderr
    finally:
        stopped = run("down")
    assert stopped.returncode == 0, stopped.stderr
    assert "is gone" in stopped.stdout
    assert not path.exists()
    assert run("kubeconfig").returncode != 0
    assert "no sandbox" in run("down").stdout


@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.long)]
)
def test_a_sandbox_in_the_foreground_ends_with_ctrl_c(
    run: Run, environment: dict[str, str], number: signal.Signals
) -> None:
    started = subprocess.Popen(
        [*COMMAND, "up", "--name=mine", "--nodes=1", "--kueue=none"],
        env=environment,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        deadline = time.monotonic() + 60
        while not (path := run("kubeconfig", "--name=mine").stdout.strip()):
            assert started.poll() is None
            assert time.monotonic() < deadline
        assert Path(path).exists()
        started.send_signal(number)
        output, _ = started.communicate(timeout=60)
    finally:
        started.kill()
    assert started.returncode == 0, output
    assert "sandbox stopped" in output
    assert "Traceback" not in output
    assert not Path(path).exists()
    assert run("kubeconfig", "--name=mine").returncode != 0


@pytest.mark.long
def test_a_killed_owner_leaves_no_record_behind(run: Run, environment: dict[str, str]) -> None:
    started = run("up", "--detach", "--nodes=1", "--kueue=none")
    assert started.returncode == 0, started.stderr
    pid = int(started.stdout.strip().rpartition(" ")[2])
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 60
    while run("kubeconfig").returncode == 0:
        assert time.monotonic() < deadline
    assert "no sandbox" in run("down").stdout


def test_a_bad_name_is_refused(run: Run) -> None:
    refused = run("up", "--name=../elsewhere")
    assert refused.returncode != 0
    assert "is no name for a sandbox" in refused.stderr
