"""When workers follow their leader (lws-contract 5.3; CTL-45 and CTL-46)."""

import pytest
from lws_kueue_lab import sandbox

from tests.kit.live import harness
from tests.kit.lws import checks, sample

pytestmark = [pytest.mark.usefixtures("controller"), pytest.mark.usefixtures("played")]


def _has_workers_of(one: sample.Sample, *groups: int) -> None:
    assert sorted(one.worker_sets()) == list(groups)


def _leaders_run(one: sample.Sample, *, count: int) -> None:
    leaders = [one.leader(group) for group in range(count)]
    assert [pod["status"]["phase"] for pod in leaders] == ["Running"] * count
    assert not any(harness.is_ready(pod) for pod in leaders)
    assert one.get()["status"]["replicas"] == count


@pytest.mark.row("CTL-45")
def test_with_leader_ready_each_group_waits_for_its_own_leader(
    installed: sandbox.Sandbox, namespace: str
) -> None:
    empty = sample.Sample(installed, namespace)
    with (
        empty.recording("v1", "Pod") as pods,
        empty.recording("apps/v1", "StatefulSet") as stateful_sets,
    ):
        one = sample.create(
            installed, namespace, replicas=4, held=True, startupPolicy="LeaderReady"
        )
        checks.eventually(_leaders_run, one, count=4)
        checks.no_worker_sets(one)
        # Their readiness is seen after everything that was seen of the other leaders' start. So
        # when their workers exist, those others have been looked at and left without workers.
        one.release(0, 1)
        checks.eventually(_has_workers_of, one, 0, 1)
        one.release(2, 3)
        checks.eventually(_has_workers_of, one, 0, 1, 2, 3)
        checks.eventually(checks.condition, one, "Available")
    checks.worker_sets(one)
    ready_at = sample.first_seen(pods, harness.is_ready)
    made_at = sample.first_seen(stateful_sets)
    for group in range(4):
        name = f"test-sample-{group}"
        assert made_at[name] > ready_at[name]


@pytest.mark.row("CTL-46")
def test_with_leader_created_workers_do_not_wait(
    installed: sandbox.Sandbox, namespace: str
) -> None:
    one = sample.create(installed, namespace, replicas=4, held=True, startupPolicy="LeaderCreated")
    checks.eventually(checks.worker_sets, one)
    _has_workers_of(one, 0, 1, 2, 3)
    assert not any(harness.is_ready(one.leader(group)) for group in range(4))
