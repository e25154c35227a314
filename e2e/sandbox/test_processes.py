"""The process back end: nothing survives it, several run side by side, faults can be injected."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3.exceptions
from lws_kueue_lab import sandbox
from lws_kueue_lab.sandbox import ports, process

from e2e.conftest import OpenCluster
from tests.kit.builders import pods

pytestmark = pytest.mark.usefixtures("process_only")

# What an end may take on a machine that is busy.
PATIENCE = 60.0
SMALL = sandbox.Options(nodes=1)
COMPONENTS = {"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok"}

# An owner in a process of its own, so that it can be killed in every way.
OWNER = """
import json, signal, sys
from lws_kueue_lab import sandbox
# Started from a background job, these would be ignored from the beginning.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
if sys.argv[1] == "early":
    # Says what it started as soon as the API server runs, then goes on starting.
    from lws_kueue_lab.sandbox import readiness
    original = readiness.populate
    def populate(api, options):
        report()
        signal.pause()
    readiness.populate = populate
    from lws_kueue_lab.sandbox import process
    created = []
    init = process.ProcessSandbox.__init__
    def remember(self, **arguments):
        init(self, **arguments)
        created.append(self)
    process.ProcessSandbox.__init__ = remember
else:
    created = []
def report():
    cluster = created[0]
    print(json.dumps({
        "directory": str(cluster.directory),
        "processes": list(cluster.processes().values()) + [cluster._owned._process.pid],
    }), flush=True)
with sandbox.open(options=sandbox.Options(nodes=1)) as cluster:
    created.append(cluster)
    report()
    if sys.argv[1] == "fail":
        raise RuntimeError("the owner crashes")
    if sys.argv[1] == "wait":
        signal.pause()
"""


@contextlib.contextmanager
def owner(mode: str) -> Iterator[tuple["subprocess.Popen[str]", dict[str, Any]]]:
    started = subprocess.Popen(
        [sys.executable, "-c", OWNER, mode],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    try:
        assert started.stdout is not None
        line = started.stdout.readline()
        assert line, "the owner ended before its sandbox ran"
        yield started, json.loads(line)
    finally:
        started.kill()
        started.communicate()


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    # Whoever inherits an orphan may take its time to collect it.
    return state != "Z"


def assert_nothing_is_left(report: dict[str, Any]) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        alive = [pid for pid in report["processes"] if is_alive(pid)]
        left = Path(report["directory"]).exists()
        if not alive and not left:
            return
        assert time.monotonic() < deadline, f"left: processes {alive}, directory {left}"
        time.sleep(0.05)


@pytest.mark.long
@pytest.mark.parametrize("mode", ["end", "fail"])
def test_nothing_survives_the_end_of_the_owner(mode: str) -> None:
    with owner(mode) as (started, report):
        assert len(report["processes"]) == len(COMPONENTS) + 1
        started.wait(timeout=PATIENCE)
        assert_nothing_is_left(report)


@pytest.mark.parametrize(
    ("number", "mode"),
    [
        (signal.SIGKILL, "wait"),
        (signal.SIGTERM, "early"),
        *(
            pytest.param(number, mode, marks=pytest.mark.long)
            for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
            for mode in ("wait", "early")
            if (number, mode) not in ((signal.SIGKILL, "wait"), (signal.SIGTERM, "early"))
        ),
    ],
)
def test_nothing_survives_a_signal_to_the_owner(mode: str, number: signal.Signals) -> None:
    with owner(mode) as (started, report):
        assert Path(report["directory"]).is_dir()
        assert all(is_alive(pid) for pid in report["processes"])
        started.send_signal(number)
        started.wait(timeout=PATIENCE)
        assert_nothing_is_left(report)


@pytest.mark.long
def test_ctrl_c_reaches_only_the_owner() -> None:
    """A terminal sends SIGINT to the whole foreground group; the components are not in it."""
    with owner("wait") as (started, report):
        assert all(os.getpgid(pid) != os.getpgid(started.pid) for pid in report["processes"])


@pytest.mark.long
def test_nothing_survives_a_killed_supervisor() -> None:
    with sandbox.open(options=SMALL) as cluster:
        assert isinstance(cluster, process.ProcessSandbox)
        processes = cluster.processes()
        os.kill(cluster._owned._process.pid, signal.SIGKILL)
        wait_until(lambda: not any(is_alive(pid) for pid in processes.values()))
        with pytest.raises(sandbox.SandboxError):
            cluster.check()
    assert not cluster.directory.exists()


@pytest.mark.long
def test_sandboxes_run_side_by_side(fresh_cluster: OpenCluster) -> None:
    first, second = (fresh_cluster(sandbox.Options(nodes=n)) for n in (1, 2))
    assert first.api.server != second.api.server
    assert first.directory != second.directory
    assert [len(c.api.list("v1", "Node")) for c in (first, second)] == [1, 2]


@pytest.mark.long
def test_a_taken_port_is_not_used(
    fresh_cluster: OpenCluster, cluster: sandbox.Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The port may be taken between its choice and the start of the API server."""
    taken = int(cluster.api.server.rpartition(":")[2])
    choose = ports.free
    choices = iter([[taken], [taken]])
    monkeypatch.setattr(ports, "free", lambda count: next(choices, None) or choose(count))
    other = fresh_cluster(SMALL)
    assert other.api.server != cluster.api.server
    assert len(other.api.list("v1", "Node")) == 1


def test_the_api_server_can_go_away_and_come_back(fresh_cluster: OpenCluster) -> None:
    cluster = opened(fresh_cluster, SMALL)
    server = cluster.api.server
    config_map = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "kept", "namespace": "default"},
    }
    cluster.api.create(config_map)
    cluster.stop_api_server()
    assert "kube-apiserver" not in cluster.processes()
    cluster.check()  # What was stopped on purpose did not die.
    with pytest.raises(urllib3.exceptions.HTTPError):
        cluster.api.version()
    cluster.start_api_server()
    assert cluster.api.server == server
    assert cluster.api.find("v1", "ConfigMap", "kept", namespace="default") is not None
    # The other components find it again.
    cluster.api.create(pods.pod("after", "default"))
    cluster.api.wait_for("v1", "Pod", "after", pods.is_ready, namespace="default", timeout=60)


def test_a_component_that_dies_is_named_with_the_end_of_its_log(
    fresh_cluster: OpenCluster,
) -> None:
    cluster = opened(fresh_cluster, SMALL)
    cluster.check()
    pid = cluster.processes()["kube-scheduler"]
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: "kube-scheduler" not in cluster.processes())
    with pytest.raises(sandbox.ComponentDiedError) as died:
        cluster.check()
    assert died.value.name == "kube-scheduler"
    assert "kube-scheduler ended with status" in str(died.value)
    assert 1 <= len(died.value.log_tail.splitlines()) <= 20


def test_a_component_that_cannot_start_ends_the_start() -> None:
    """At once, with the reason, and not after the time-out of what it should have done."""
    code = """
from lws_kueue_lab import sandbox
sandbox_options = sandbox.Options(nodes=1)
from lws_kueue_lab.sandbox import components
def broken(layout):
    return components.Component("kwok", ("--no-such-flag",))
components.kwok = broken
with sandbox.open(options=sandbox_options):
    pass
"""
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        timeout=60,
        check=False,
    )
    assert result.returncode != 0
    assert "kwok ended with status" in result.stderr
    assert "no-such-flag" in result.stderr


@pytest.mark.long
def test_a_cluster_without_an_audit_log_writes_none(fresh_cluster: OpenCluster) -> None:
    cluster = fresh_cluster(sandbox.Options(nodes=0, audit_log=False))
    assert cluster.audit_log is None
    assert not list(cluster.directory.glob("*audit*.log"))
    assert cluster.api.list("v1", "Node") == []


def opened(fresh_cluster: OpenCluster, options: sandbox.Options) -> process.ProcessSandbox:
    cluster = fresh_cluster(options)
    assert isinstance(cluster, process.ProcessSandbox)
    return cluster


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
