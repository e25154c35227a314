"""Flags, environment and file: which one counts, and what each of them takes."""

import asyncio
import json
import logging
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from kubernetes.aio import config

import lws_kueue
from lws_kueue import cli
from lws_kueue.manager import logs, process
from lws_kueue.manager.settings import configuration, resolve
from lws_kueue.runtime import build_info, client
from lws_kueue.workload import build, excess

FILE = """
apiVersion: config.lws.x-k8s.io/v1alpha1
kind: Configuration
metrics: {bindAddress: ":1"}
health: {healthProbeBindAddress: ":2"}
leaderElection: {leaseDuration: 60s, resourceName: from-file}
clientConnection: {qps: 50, burst: 100}
"""


def parsed(sections: str) -> configuration.Configuration:
    head = "apiVersion: config.lws.x-k8s.io/v1alpha1\nkind: Configuration\n"
    return configuration.parse(head + sections)


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """The command sets up the log of its process; other tests share this one."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


class Started:
    """What the process would have been started with."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.settings: configuration.Configuration | None = None
        monkeypatch.setattr(process, "run", self._run)
        for name in [*os.environ]:
            if name.startswith("LWS_KUEUE_") or name == "KUBECONFIG":
                monkeypatch.delenv(name)

    async def _run(self, wanted: configuration.Configuration, **_: Any) -> None:
        self.settings = wanted

    def invoke(self, *arguments: str) -> Result:
        self.settings = None
        return CliRunner().invoke(cli.main, ["run", *arguments])

    def with_(self, *arguments: str) -> configuration.Configuration:
        result = self.invoke(*arguments)
        assert result.exit_code == 0, result.output
        assert self.settings is not None
        return self.settings


def limits(found: configuration.Configuration) -> tuple[float | None, int]:
    return found.client_connection.rate, found.client_connection.at_once


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Started:
    return Started(monkeypatch)


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "config.yaml"
    path.write_text(FILE)
    return str(path)


@pytest.mark.row("UT-46")
def test_without_arguments_everything_has_upstreams_defaults(started: Started) -> None:
    found = started.with_()
    election = found.leader_election
    assert (election.lease_duration, election.renew_deadline, election.retry_period) == (15, 10, 2)
    assert election.resource_name == "b8b2488c.x-k8s.io"
    assert election.namespace == "lws-kueue-system"
    assert found.metrics.address == ":8443"
    assert found.health.address == ":8081"
    assert found.health.readiness_endpoint_name == "/readyz"
    assert found.health.liveness_endpoint_name == "/healthz"
    assert limits(found) == (500, 500)
    assert found.gang_scheduling_management is None
    assert found.lws_kueue.workers == 8


@pytest.mark.row("UT-46")
def test_only_flags_that_are_given_replace_what_the_file_says(started: Started, file: str) -> None:
    found = started.with_(f"--config={file}", "--kube-api-qps=7", "--health-probe-bind-address=0")
    assert found.leader_election.lease_duration == 60
    assert found.leader_election.resource_name == "from-file"
    assert found.metrics.address == ":1"
    assert found.health.address is None
    assert limits(found) == (7, 100)


@pytest.mark.row("UT-46")
@pytest.mark.parametrize(
    ("flag", "path", "value"),
    [
        ("--leader-elect=false", "leader_election.leader_elect", False),
        ("--leader-elect=F", "leader_election.leader_elect", False),
        ("--leader-elect", "leader_election.lease_duration", 60.0),
        ("-leader-elect=true", "leader_election.lease_duration", 60.0),
        ("--leader-elect-lease-duration=1m30s", "leader_election.lease_duration", 90.0),
        ("--leader-elect-renew-deadline=11s", "leader_election.renew_deadline", 11.0),
        ("--leader-elect-retry-period=500ms", "leader_election.retry_period", 0.5),
        ("--leader-elect-resource-lock=leases", "leader_election.resource_name", "from-file"),
        ("--leader-elect-resource-name=other", "leader_election.resource_name", "other"),
        ("--metrics-bind-address=127.0.0.1:9", "metrics.address", "127.0.0.1:9"),
        ("--metrics-bind-address=0", "metrics.address", None),
        ("--health-probe-bind-address=:9", "health.address", ":9"),
        ("-health-probe-bind-address=:9", "health.address", ":9"),
        ("--health-probe-bind-address=", "health.address", None),
        ("--kube-api-qps=0.5", "client_connection.rate", 0.5),
        ("--kube-api-qps=-1", "client_connection.rate", None),
        ("--kube-api-qps=0", "client_connection.rate", 5.0),
        ("--kube-api-burst=3", "client_connection.at_once", 3),
        ("--kube-api-burst=0", "client_connection.at_once", 10),
        ("--zap-log-level=2", "lws_kueue.workers", 8),
    ],
)
def test_each_flag_replaces_its_field(
    started: Started, file: str, flag: str, path: str, value: object
) -> None:
    found: Any = started.with_("--config", file, flag)
    for name in path.split("."):
        found = getattr(found, name)
    assert found == value


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--leader-elect=yes", "neither true nor false"),
        ("--leader-elect-lease-duration=15", "not a duration"),
        ("--leader-elect-lease-duration=0s", "not a positive duration"),
        ("--leader-elect-resource-lock=configmaps", "is not 'leases'"),
        ("--metrics-bind-address=8443", "not HOST:PORT"),
        ("--kube-api-qps=many", "not a number"),
        ("--kube-api-qps=nan", "not a number"),
        ("--kube-api-burst=-1", "not in the range"),
        ("--zap-log-level=loud", "not one of debug"),
        ("--zap-log-level=0", "not one of debug"),
        ("--zap-encoder=xml", "xml"),
        ("--liveness-port=8080", "No such option"),
        ("--webhook-port=1", "No such option"),
    ],
)
def test_what_a_flag_does_not_take_is_refused(started: Started, flag: str, message: str) -> None:
    result = started.invoke(flag)
    assert result.exit_code == 2
    assert message in result.output
    assert started.settings is None


def test_a_variable_goes_before_the_file_and_after_the_flag(
    started: Started, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LWS_KUEUE_CONFIG", file)
    monkeypatch.setenv("LWS_KUEUE_KUBE_API_QPS", "8")
    monkeypatch.setenv("LWS_KUEUE_KUBE_API_BURST", "9")
    monkeypatch.setenv("LWS_KUEUE_LEADER_ELECT", "false")
    found = started.with_("--kube-api-burst=10")
    assert found.metrics.address == ":1"
    assert limits(found) == (8, 10)
    assert not found.leader_election.leader_elect


def test_a_variable_that_is_not_right_is_refused(
    started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LWS_KUEUE_LEADER_ELECT", "maybe")
    assert started.invoke().exit_code == 2


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--leader-elect-renew-deadline=15s"], "leaderElection.renewDeadline: 15 s is not less"),
        (["--leader-elect-retry-period=9s"], "leaderElection.renewDeadline: 10 s is not more"),
        (["--leader-elect-lease-duration=500ms"], "leaderElection.leaseDuration: 0.5 s"),
    ],
)
def test_durations_that_do_not_go_together_are_refused(
    started: Started, flags: list[str], message: str
) -> None:
    result = started.invoke(*flags)
    assert result.exit_code == 1
    assert message in result.output
    assert not started.with_(*flags, "--leader-elect=false").leader_election.leader_elect


def test_two_probes_cannot_have_one_path() -> None:
    file = parsed("health: {livenessEndpointName: /same, readinessEndpointName: same}")
    with pytest.raises(configuration.ConfigurationError, match=r"readinessEndpointName: /same"):
        resolve.resolve(file, given={})


def test_a_file_that_is_not_right_ends_the_program_in_words(
    started: Started, tmp_path: Path
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(FILE + "metrics: {}\n")
    for wrong, message in ((path, "metrics: the key stands twice"), (tmp_path, "a directory")):
        result = started.invoke("--config", str(wrong))
        assert result.exit_code == 1
        assert message in result.output
        assert "Traceback" not in result.output


def test_what_has_no_effect_is_said_once_and_only_when_it_was_given(
    started: Started, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    webhooks = tmp_path / "webhooks.yaml"
    webhooks.write_text(FILE + "webhook: {port: 1}\ninternalCertManagement: {enable: true}\n")
    told = started.invoke("--config", str(webhooks)).output
    (line,) = (line for line in told.splitlines() if "Without effect" in line)
    assert "webhook of the configuration" in line
    assert "internalCertManagement of the configuration" in line
    assert "Without effect" not in started.invoke("--config", file).output
    monkeypatch.setenv("ENABLE_WEBHOOKS", "false")
    assert "ENABLE_WEBHOOKS" in started.invoke("--config", file).output


def test_the_namespace_of_the_lease_is_the_pods_own_unless_the_file_names_one(
    tmp_path: Path,
) -> None:
    own = tmp_path / "namespace"
    assert configuration.own_namespace(own) == "lws-kueue-system"
    own.write_text("team-a\n")
    assert configuration.own_namespace(own) == "team-a"
    found = resolve.resolve(parsed("leaderElection: {resourceNamespace: chosen}"), given={})
    assert found.leader_election.resource_namespace == "chosen"


def test_our_own_section_reaches_the_settings() -> None:
    file = parsed(
        "lwsKueue: {workers: 3, statusInterval: 2s, shortWorkloadNames: true}\n"
        "gangSchedulingManagement: {schedulerProvider: volcano}\n"
    )
    found = resolve.resolve(file, given={})
    own = found.lws_kueue
    assert (own.workers, own.status_interval, own.short_workload_names) == (3, 2.0, True)
    assert found.gang_scheduling_management is not None
    assert found.gang_scheduling_management.scheduler_provider == "volcano"


@pytest.mark.parametrize("command", [["run", "--version"], ["--version"], ["run", "-version"]])
def test_the_version_comes_with_date_and_commit(
    command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LWS_KUEUE_GIT_COMMIT", "0123456789abcdef")
    monkeypatch.setenv("LWS_KUEUE_BUILD_DATE", "2026-01-02T03:04:05Z")
    result = CliRunner().invoke(cli.main, command)
    assert result.exit_code == 0
    assert result.output.splitlines() == [
        f"Version: {lws_kueue.__version__}",
        "Build Date: 2026-01-02T03:04:05Z",
        "Git Commit: 0123456789abcdef",
    ]


@pytest.mark.filterwarnings("ignore:kube_config_path not provided")
@pytest.mark.parametrize("given", [None, "{}", "["], ids=["nothing", "no-kubeconfig", "no-yaml"])
@pytest.mark.parametrize(
    "command",
    [["install"], ["run", *("--health-probe-bind-address=0", "--metrics-bind-address=0")]],
)
def test_without_a_server_to_reach_one_line_says_what_to_give(
    command: list[str], given: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(config, "KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "absent"))
    file = tmp_path / "file"
    if given is not None:
        file.write_text(given)
        command = [*command, "--kubeconfig", str(file)]
    result = CliRunner().invoke(cli.main, command)
    assert result.exit_code == 1
    said = result.stderr.splitlines()[-1]
    assert said.startswith("lws-kueue: give --kubeconfig or KUBECONFIG: "), result.stderr
    assert given is None or str(file) in said


@pytest.mark.row("UT-49")
@pytest.mark.parametrize(
    ("commit", "shown"), [("0123456789abcdef", "0123456"), ("abc", "abc"), ("", "unknown")]
)
def test_the_user_agent_names_version_machine_and_commit(
    commit: str, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LWS_KUEUE_GIT_COMMIT", commit)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    expected = f"lws-kueue/{lws_kueue.__version__} (linux/amd64) {shown}"
    assert build_info.user_agent() == expected


@pytest.mark.row("UT-46")
def test_requests_are_sent_at_the_pace_that_was_set() -> None:
    async def seconds_for(requests: int) -> float:
        pace = client.pace(qps=50, burst=10)
        assert pace is not None
        start = time.monotonic()
        for _ in range(requests):
            await pace.acquire()
        return time.monotonic() - start

    # Ten at once, the others a fiftieth of a second apart.
    assert asyncio.run(seconds_for(20)) > 0.19


def test_no_limit_is_no_pace() -> None:
    assert client.pace(qps=None, burst=1) is None


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ("debug", logging.DEBUG),
        ("info", logging.INFO),
        ("error", logging.ERROR),
        ("panic", logging.CRITICAL),
        ("1", logging.INFO),
        ("2", logging.INFO),
        ("3", logging.INFO),
        ("4", logging.DEBUG),
        ("10", logging.DEBUG),
    ],
)
def test_levels_are_words_or_verbosities(text: str, level: int) -> None:
    assert logs.level(text) == level


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("epoch", "1700000000.123456"),
        ("millis", "1700000000123.456"),
        ("iso8601", "2023-11-14T22:13:20.123Z"),
        ("rfc3339", "2023-11-14T22:13:20Z"),
        ("rfc3339nano", "2023-11-14T22:13:20.123456Z"),
    ],
)
def test_times_are_encoded_as_asked(encoding: logs.TimeEncoding, text: str) -> None:
    assert logs.moment(1700000000.123456, encoding) == text


def test_a_log_of_json_has_one_object_on_each_line() -> None:
    code = """
import logging
from lws_kueue.manager import logs
logs.set_up(encoder="json")
logging.getLogger("some.where").warning("first\\nline %s", 1)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    (line,) = done.stderr.splitlines()
    content = json.loads(line)
    assert content.pop("ts").endswith("Z")
    assert content == {"level": "WARNING", "logger": "some.where", "msg": "first\nline 1"}


def test_what_a_file_says_about_workloads_reaches_them() -> None:
    file = parsed(
        "lwsKueue: {shortWorkloadNames: true, maxPendingWorkloads: 7, injectedContainers: Warn,"
        " revisionHistoryLimit: 5,"
        " labelKeysToCopy: [team], annotationKeysToCopy: [a/b],"
        " managedJobsNamespaceSelector: {matchLabels: {queued: y}}}"
    )
    found = resolve.resolve(file, given={})
    assert resolve.workload_options(found.lws_kueue) == build.Options(
        label_keys_to_copy=frozenset({"team"}),
        annotation_keys_to_copy=frozenset({"a/b"}),
        short_names=True,
        max_pending=7,
        injected_containers=excess.Injected.WARN,
        revision_history_limit=5,
    )
    assert found.lws_kueue.managed_jobs_namespace_selector.match_labels == {"queued": "y"}
