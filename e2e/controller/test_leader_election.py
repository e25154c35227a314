"""Of several controllers exactly one works, and another one takes over when it ends."""

import datetime
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from lws_kueue_lab import sandbox
from lws_kueue_lab.sandbox import audit

from lws_kueue.api import names
from lws_kueue.manager.leader import election
from tests.kit.live import harness

LWS = (names.LWS_API_VERSION, names.LWS_KIND)
LEASE = (election.LEASES.api_version, election.LEASES.kind, "b8b2488c.x-k8s.io")
NAMESPACE = "lws-kueue-system"
# Long enough to be renewed on a busy machine, and short enough to be waited for.
DURATION = 6.0


def elected(duration: float) -> tuple[str, ...]:
    return (
        "--leader-elect=true",
        f"--leader-elect-lease-duration={duration:g}s",
        f"--leader-elect-renew-deadline={duration - 1:g}s",
        "--leader-elect-retry-period=500ms",
    )


WAITS = "waiting for the Lease"
LEADS = "This process leads"

Start = Callable[..., harness.ControllerProcess]


@pytest.fixture
def start(quiet_cluster: sandbox.Sandbox, tmp_path: Path) -> Iterator[Start]:
    """Start controllers that know each other only by the Lease; they end with the test.

    The commit of each build is its name, so the audit log tells them apart.
    """
    kubeconfig = quiet_cluster.service_account_kubeconfig(*harness.SERVICE_ACCOUNT)
    started: list[harness.ControllerProcess] = []

    def start_one(
        name: str, *, until: str, duration: float = DURATION
    ) -> harness.ControllerProcess:
        process = harness.ControllerProcess(
            kubeconfig=kubeconfig,
            log=tmp_path / f"{name}.log",
            arguments=elected(duration),
            environment={"LWS_KUEUE_GIT_COMMIT": name},
        )
        started.append(process)
        process.start(until=until)
        return process

    yield start_one
    for process in started:
        process.kill()
        print(process.tail())  # Shown by pytest only when the test failed.
    # The next test does not have to wait for this one's leader.
    quiet_cluster.api.delete(*LEASE, namespace=NAMESPACE, missing_ok=True)


def writes(cluster: sandbox.Sandbox, name: str) -> list[audit.Request]:
    """What a controller wrote, but for the Lease."""
    return [
        request
        for request in audit.requests(cluster)
        if request.is_write
        and request.user_agent.endswith(f" {name}")
        and request.resource != "leases"
    ]


def holder(cluster: sandbox.Sandbox) -> str:
    found = cluster.api.get(*LEASE, namespace=NAMESPACE)
    identity: str = found["spec"].get("holderIdentity", "")
    return identity


def a_set(cluster: sandbox.Sandbox, name: str) -> dict[str, Any]:
    body = harness.leader_worker_set(name, namespace="default", replicas=1, size=2)
    return cluster.api.create(body)


def test_one_of_two_works_and_the_other_takes_over_at_once_when_it_ends(
    quiet_cluster: sandbox.Sandbox, start: Start
) -> None:
    cluster = quiet_cluster
    # A Lease that is not given back would be waited for longer than the log is.
    first = start("1111111", until=harness.LISTED, duration=120.0)
    second = start("2222222", until=WAITS, duration=120.0)
    a_set(cluster, "handed-over")
    harness.wait_ready(cluster, "handed-over", namespace="default", groups=1)
    assert writes(cluster, "1111111")
    assert not writes(cluster, "2222222")
    before = harness.pods(cluster, namespace="default")
    assert first.stop() == 0
    second.wait_log(harness.LISTED, patience=60)
    harness.scale(cluster, "handed-over", namespace="default", replicas=2)
    harness.wait_ready(cluster, "handed-over", namespace="default", groups=2)
    after = harness.pods(cluster, namespace="default")
    assert {n: after[n]["metadata"]["uid"] for n in before} == {
        n: p["metadata"]["uid"] for n, p in before.items()
    }
    last_of_first = max(w.received for w in writes(cluster, "1111111"))
    first_of_second = min(w.received for w in writes(cluster, "2222222"))
    assert last_of_first < first_of_second
    assert second.stop() == 0
    assert holder(cluster) == "", "given back"
    cluster.api.delete(*LWS, "handed-over", namespace="default")


@pytest.mark.long
def test_after_a_crash_another_one_takes_over_when_the_lease_is_over(
    quiet_cluster: sandbox.Sandbox, start: Start
) -> None:
    cluster = quiet_cluster
    first = start("3333333", until=harness.LISTED)
    second = start("4444444", until=WAITS)
    first.kill()
    left = cluster.api.get(*LEASE, namespace=NAMESPACE)["spec"]
    second.wait_log(LEADS)
    taken = cluster.api.get(*LEASE, namespace=NAMESPACE)["spec"]
    assert taken["holderIdentity"] not in ("", left["holderIdentity"])
    # Not before its time, which another one counts from when it has seen the last renewal.
    renewed, acquired = left["renewTime"], taken["acquireTime"]
    waited = datetime.datetime.fromisoformat(acquired) - datetime.datetime.fromisoformat(renewed)
    assert waited >= datetime.timedelta(seconds=DURATION)
    second.wait_log(harness.LISTED)
    a_set(cluster, "inherited")
    harness.wait_ready(cluster, "inherited", namespace="default", groups=1)
    assert not writes(cluster, "3333333")
    cluster.api.delete(*LWS, "inherited", namespace="default")


@pytest.mark.long
def test_a_leader_that_slept_through_its_lease_ends_and_writes_nothing(
    quiet_cluster: sandbox.Sandbox, start: Start
) -> None:
    cluster = quiet_cluster
    first = start("5555555", until=harness.LISTED)
    second = start("6666666", until=WAITS)
    a_set(cluster, "awake")
    harness.wait_ready(cluster, "awake", namespace="default", groups=1)
    stopped = datetime.datetime.now(datetime.UTC).isoformat()
    first.signal(signal.SIGSTOP)
    second.wait_log(harness.LISTED)
    # It finds work when it wakes: sets that it has never seen, and one that was changed.
    for n in range(3):
        a_set(cluster, f"unseen-{n}")
    harness.scale(cluster, "awake", namespace="default", replicas=2)
    harness.wait_ready(cluster, "awake", namespace="default", groups=2)
    known = writes(cluster, "5555555")
    first.signal(signal.SIGCONT)
    assert first.wait() == 1
    assert "could not be renewed in time" in first.tail()
    assert "Traceback" not in first.log.read_text()
    late = writes(cluster, "5555555")[len(known) :]
    assert not late, (stopped, [(w.verb, w.resource, w.name, w.status, w.received) for w in late])
    for name in ("awake", *(f"unseen-{n}" for n in range(3))):
        cluster.api.delete(*LWS, name, namespace="default")


def test_a_leader_whose_lease_is_taken_ends_at_once(
    quiet_cluster: sandbox.Sandbox, start: Start
) -> None:
    """The Go manager, for example, has a Lease of the same name."""
    cluster = quiet_cluster
    first = start("7777777", until=harness.LISTED)
    cluster.api.patch(
        *LEASE, namespace=NAMESPACE, body={"spec": {"holderIdentity": "lws-controller-manager-x"}}
    )
    assert first.wait() == 1
    assert "was lost to lws-controller-manager-x" in first.tail()
    a_set(cluster, "nobodys")
    assert not writes(cluster, "7777777")
    cluster.api.delete(*LWS, "nobodys", namespace="default")


def test_where_no_lease_can_be_written_it_says_so(
    quiet_cluster: sandbox.Sandbox, tmp_path: Path
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(
        "apiVersion: config.lws.x-k8s.io/v1alpha1\n"
        "kind: Configuration\n"
        "leaderElection: {resourceNamespace: nowhere}\n"
    )
    reasons = {
        quiet_cluster.kubeconfig: 'namespaces "nowhere" not found',
        quiet_cluster.service_account_kubeconfig(*harness.SERVICE_ACCOUNT): "forbidden",
    }
    for number, (kubeconfig, reason) in enumerate(reasons.items()):
        process = harness.ControllerProcess(
            kubeconfig=kubeconfig,
            log=tmp_path / f"{number}.log",
            arguments=(*elected(DURATION), "--config", str(config)),
        )
        process.start(until="no leader can be elected")
        assert process.wait() == 1
        assert reason in process.tail()
        assert "--leader-elect=false" in process.tail()
