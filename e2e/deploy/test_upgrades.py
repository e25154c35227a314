"""An upgrade, looked at beforehand: `lws-kueue run --dry-run` with the controller's own rights.

It says what the next version would do, writes nothing, and what it says is what happens.
"""

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from lws_kueue_lab import sandbox
from lws_kueue_lab.sandbox import audit, kueue

from e2e.conftest import OpenCluster, own_cluster
from lws_kueue.api import names
from tests.kit.judge import budget
from tests.kit.kueue import queued
from tests.kit.live import harness
from tests.kit.lws import sets

USER = "system:serviceaccount:{}:{}".format(*harness.SERVICE_ACCOUNT)
MARK = "example.com/of-the-next-version"

# A version that renders the pods of leaders otherwise.
NEXT = f"""
import sys
from lws_kueue import cli
from lws_kueue.controller.objects import statefulsets

now = statefulsets.leader

def leader(*args, **kwargs):
    body = now(*args, **kwargs)
    body["spec"]["template"]["metadata"]["annotations"]["{MARK}"] = "yes"
    return body

statefulsets.leader = leader
sys.exit(cli.main())
"""


@dataclass(frozen=True, slots=True)
class DryRun:
    """What a dry run has printed and ended with, and what it has asked the API server for."""

    status: int
    lines: list[str]
    errors: str
    requests: list[audit.Request]

    @property
    def writes(self) -> list[audit.Request]:
        return [one for one in self.requests if one.is_write]


class Cluster:
    """A cluster whose controller comes and goes: a plain set and one in a queue at rest."""

    def __init__(self, own: sandbox.Sandbox, folder: Path) -> None:
        self.own = own
        self.kubeconfig = own.service_account_kubeconfig(*harness.SERVICE_ACCOUNT)
        self.controller = harness.ControllerProcess(
            kubeconfig=self.kubeconfig, log=folder / "controller.log"
        )

    def dry_run(
        self, *, program: str = "import sys; from lws_kueue import cli; cli.main()"
    ) -> DryRun:
        """Look, as whoever upgrades does: with the settings of the controller, Lease included."""
        since = audit.position(self.own)
        done = subprocess.run(
            [
                *(sys.executable, "-c", program, "run", "--dry-run"),
                *("--kubeconfig", str(self.kubeconfig)),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        asked = [one for one in audit.requests(self.own, since=since) if one.user == USER]
        assert asked, done.stderr
        return DryRun(done.returncode, done.stdout.splitlines(), done.stderr, asked)

    def pods(self) -> dict[str, str]:
        """The UIDs of all pods by name."""
        return {
            name: uid
            for namespace in ("plain", "queued")
            for name, uid in sets.uids(harness.pods(self.own, namespace=namespace)).items()
        }


@pytest.fixture(scope="module")
def at_rest(
    backend: sandbox.Backend, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    """Two sets that run, and a controller that has ended."""
    with (
        own_cluster(backend, sandbox.Options(nodes=2)) as own,
        kueue.start(own) as own.kueue,
    ):
        harness.install(own)
        made = Cluster(own, tmp_path_factory.mktemp("upgrades"))
        for namespace in ("plain", "queued"):
            harness.make_namespace(own, namespace)
        queue = harness.queues(own, namespace="queued", cpu="4")
        made.controller.start()
        for name, given in (("plain", None), ("queued", queue)):
            own.api.create(
                harness.leader_worker_set(name, namespace=name, replicas=2, size=2, queue=given)
            )
        for name in ("plain", "queued"):
            harness.wait_ready(own, name, namespace=name, groups=2)
            budget.settled(own, namespace=name)
        made.controller.stop()
        yield made
        made.controller.kill()


def refused(run: DryRun) -> list[audit.Request]:
    return [one for one in run.requests if one.status == 403]


def others_than(old: set[str]) -> Callable[[dict[str, dict[str, Any]]], bool]:
    """Whether there are as many pods again, all of them ready, and none of the old ones."""
    return lambda found: (
        len(found) == len(old)
        and not old & set(sets.uids(found).values())
        and all(map(harness.is_ready, found.values()))
    )


def test_at_rest_nothing_would_change_and_nothing_is_written(at_rest: Cluster) -> None:
    run = at_rest.dry_run()
    assert run.lines[-1] == "Nothing would change. Looked at 2 sets.", run.errors
    assert run.status == 0
    assert len(run.lines) == 3
    assert run.writes == []
    assert refused(run) == [], "it needs no more rights than the controller has"
    assert not [one for one in run.requests if one.resource in ("leases", "events")]


def test_policies_of_another_version_are_told_and_are_no_harm_to_pods(at_rest: Cluster) -> None:
    policy = ("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy", "lws-kueue-rules")
    mark = {"annotations": {names.VERSION: "0.0.9"}}
    at_rest.own.api.patch(*policy, body={"metadata": mark, "spec": {"failurePolicy": "Ignore"}})
    run = at_rest.dry_run()
    assert run.status == 0
    assert "`lws-kueue install`" in run.lines[2]
    assert run.lines[3].startswith("  Policies of version 0.0.9, controller of version ")
    assert run.lines[-1] == "Nothing would change. Looked at 2 sets."
    assert run.writes == []
    harness.install(at_rest.own)


def test_pods_that_would_be_stopped_are_told_with_the_reason(at_rest: Cluster) -> None:
    evicted = queued.Queued(at_rest.own, "queued", "queued")
    name = evicted.workload(1)["metadata"]["name"]

    def active(value: bool) -> None:
        body = {"spec": {"active": value}}
        at_rest.own.api.patch(*queued.WORKLOAD, name, namespace="queued", body=body)

    active(False)
    evicted.wait_workload(
        1, lambda one: (harness.condition(one, "Evicted") or {}).get("status") == "True", what="out"
    )
    before = at_rest.pods()
    run = at_rest.dry_run()
    assert run.status == 3, run.lines
    assert run.lines[2] == "queued/queued"
    assert run.lines[3].startswith("  would stop pods queued-1, queued-1-1: Stopping 2 pods: ")
    assert run.lines[-1] == "Pods would be replaced or stopped. Sets: queued/queued."
    assert run.writes == []
    assert at_rest.pods() == before
    active(True)
    at_rest.controller.start()
    harness.wait_ready(at_rest.own, "queued", namespace="queued", groups=2)
    budget.settled(at_rest.own, namespace="queued")
    at_rest.controller.stop()


def test_a_version_that_would_roll_says_which_groups_and_rolls_these(
    at_rest: Cluster, tmp_path: Path
) -> None:
    before = at_rest.pods()
    run = at_rest.dry_run(program=NEXT)
    field = f"spec.template.metadata.annotations.{MARK}"
    assert run.status == 3, run.errors
    assert run.lines[2:] == [
        "plain/plain",
        f"  would replace all pods of groups 0 to 1: StatefulSet plain would change in {field}",
        "  other writes: 1 StatefulSet changed",
        "",
        "queued/queued",
        f"  would replace all pods of groups 0 to 1: StatefulSet queued would change in {field}",
        "  other writes: 1 StatefulSet changed",
        "",
        "Pods would be replaced or stopped. Sets: plain/plain, queued/queued.",
    ]
    assert run.writes == []
    assert refused(run) == []
    assert at_rest.pods() == before
    later = subprocess.Popen(
        [
            *(sys.executable, "-c", NEXT, "run", "--leader-elect=false"),
            *("--metrics-bind-address=0", "--health-probe-bind-address=0"),
            *("--kubeconfig", str(at_rest.kubeconfig)),
        ],
        stderr=(tmp_path / "next.log").open("wb"),
    )
    try:
        for name in ("plain", "queued"):
            harness.wait_pods(
                at_rest.own,
                others_than({uid for pod, uid in before.items() if pod.startswith(name)}),
                namespace=name,
                what="all pods are new ones",
                timeout=120,
            )
    finally:
        later.terminate()
        later.wait()


def test_a_cluster_that_lacks_the_api_is_told_with_another_status(
    fresh_cluster: OpenCluster,
) -> None:
    empty = fresh_cluster(sandbox.Options(nodes=0))
    done = subprocess.run(
        [
            *(sys.executable, "-m", "lws_kueue.cli", "run", "--dry-run"),
            *("--kubeconfig", str(empty.kubeconfig)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "lws-kueue install" in done.stderr
    assert names.LWS_GROUP in done.stderr
    assert done.stdout == ""
