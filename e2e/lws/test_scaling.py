"""Groups come and go with the number of replicas (lws-contract 6.4, CTL-01 to CTL-06)."""

import pytest
from lws_kueue_lab import sandbox

from tests.kit.lws import checks, sample

pytestmark = pytest.mark.usefixtures("controller")


def _has(one: sample.Sample, *, groups: int) -> None:
    checks.eventually(checks.leader_set, one, replicas=groups)
    checks.eventually(checks.worker_sets, one)
    checks.eventually(checks.pods, one)


@pytest.mark.row("CTL-01", "ACC-1", "ACC-2")
def test_scaling_up_adds_a_group(installed: sandbox.Sandbox, namespace: str) -> None:
    one = sample.create(installed, namespace, replicas=2)
    _has(one, groups=2)
    one.scale(3)
    _has(one, groups=3)


@pytest.mark.row("CTL-02")
def test_scaling_down_takes_the_highest_group(installed: sandbox.Sandbox, namespace: str) -> None:
    one = sample.create(installed, namespace, replicas=4)
    _has(one, groups=4)
    before = {name: pod["metadata"]["uid"] for name, pod in one.pods().items()}
    one.scale(3)
    _has(one, groups=3)

    def only_the_highest_is_gone() -> None:
        after = {name: pod["metadata"]["uid"] for name, pod in one.pods().items()}
        kept = {name: uid for name, uid in before.items() if "test-sample-3" not in name}
        assert after == kept

    checks.eventually(only_the_highest_is_gone)


@pytest.mark.row("CTL-03", "CTL-04")
def test_a_set_scales_to_nothing_and_back(installed: sandbox.Sandbox, namespace: str) -> None:
    one = sample.create(installed, namespace, replicas=2)
    _has(one, groups=2)
    one.scale(0)
    _has(one, groups=0)
    checks.eventually(checks.condition, one, "Available")
    one.scale(3)
    _has(one, groups=3)


@pytest.mark.row("CTL-06")
def test_a_set_may_be_created_with_no_groups(installed: sandbox.Sandbox, namespace: str) -> None:
    one = sample.create(installed, namespace, replicas=0)
    _has(one, groups=0)
    checks.eventually(checks.condition, one, "Available")
