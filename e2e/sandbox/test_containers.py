"""The container back end: no container survives its owner."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from lws_kueue_lab import sandbox
from lws_kueue_lab.sandbox import engine

OWNER = """
import signal
from lws_kueue_lab import sandbox
with sandbox.open("container", options=sandbox.Options(nodes=1)) as cluster:
    print(cluster.directory, flush=True)
    signal.pause()
"""


@pytest.fixture(autouse=True)
def _container_only(backend: sandbox.Backend) -> None:
    if backend != "container":
        pytest.skip(f"about containers, which the {backend} back end does not start")
    if problem := engine.problem():
        pytest.skip(f"no container back end: {problem}")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_container_survives_its_owner(number: signal.Signals) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    try:
        assert owner.stdout is not None
        directory = Path(owner.stdout.readline().strip())
        assert directory.is_dir()
        assert len(containers_of(directory)) == 5
        owner.send_signal(number)
        owner.wait(timeout=30)
    finally:
        owner.kill()
        owner.communicate()
    deadline = time.monotonic() + 30
    while containers_of(directory) or directory.exists():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_a_container_that_dies_is_named_with_the_end_of_its_log() -> None:
    with sandbox.open("container", options=sandbox.Options(nodes=1)) as own:
        own.check()
        with pytest.raises(sandbox.UnsupportedError):
            own.stop_api_server()
        scheduler = next(
            line
            for line in containers_of(own.directory, "{{.ID}} {{.Command}}")
            if "/kube-scheduler" in line
        )
        subprocess.run(["docker", "stop", scheduler.split()[0]], check=True, capture_output=True)
        with pytest.raises(sandbox.ComponentDiedError, match="kube-scheduler ended with status"):
            own.check()


def containers_of(directory: Path, shape: str = "{{.ID}}") -> list[str]:
    listed = subprocess.run(
        [
            *("docker", "ps", "--all", "--no-trunc", f"--format={shape}"),
            f"--filter=label=dev.lws-kueue.sandbox={directory.name}",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    return listed.stdout.splitlines()
