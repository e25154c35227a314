"""`lws-kueue sandbox` as a person uses it."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from lws_kueue_lab import manifests
from lws_kueue_lab.sandbox import binaries, client

from tests.kit import commands, polling

pytestmark = pytest.mark.usefixtures("process_only")

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-c", "from lws_kueue_lab.sandbox import cli; cli.sandbox_group()"]

PATIENCE = 180.0

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


@pytest.mark.long
def test_the_lines_of_the_readme_give_a_cluster_with_a_controller_on_it(
    run: Run, environment: dict[str, str], tmp_path: Path
) -> None:
    (block,) = [
        block.text
        for block in commands.blocks(ROOT / "README.md")
        if block.heading == "Try it" and block.why_not is None
    ]
    command = tmp_path / "checkout" / ".venv" / "bin" / "lws-kueue"
    command.parent.mkdir(parents=True)
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m lws_kueue.cli "$@"\n')
    command.chmod(0o755)
    # Other tests may have the ports that a controller takes where it is alone.
    quiet = {"LWS_KUEUE_METRICS_BIND_ADDRESS": "0", "LWS_KUEUE_HEALTH_PROBE_BIND_ADDRESS": "0"}
    log = tmp_path / "log"
    with log.open("wb") as output:
        started = subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", block],
            cwd=tmp_path / "checkout",
            env=environment | quiet,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )

    def works() -> None:
        assert started.poll() is None, log.read_text()
        told = re.search(r"export KUBECONFIG=(\S+)", log.read_text())
        assert told, log.read_text()
        api = client.Client(Path(told[1]))
        (wanted,) = manifests.example("plain.yaml")
        wanted["metadata"]["namespace"] = "default"
        try:
            api.apply(wanted)
        except client.ApiError as error:
            # The API is not installed yet, or not everywhere.
            raise AssertionError(f"{error}; {log.read_text()}") from error
        name = wanted["metadata"]["name"]
        assert api.find("apps/v1", "StatefulSet", name, namespace="default"), log.read_text()

    try:
        polling.trying(timeout=PATIENCE, every=1)(works)
    finally:
        if started.poll() is None:
            os.killpg(started.pid, signal.SIGTERM)
        try:
            started.wait(60)
        finally:
            stopped = run("down")
    assert stopped.returncode == 0, stopped.stderr


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
