"""Conditions and the events about them (lws-contract 1.5; CTL-15, 16 and 23 to 26)."""

import pytest
from lws_kueue_lab import sandbox

from tests.kit.live import harness
from tests.kit.lws import checks, sample

pytestmark = pytest.mark.usefixtures("controller")


@pytest.mark.usefixtures("played")
@pytest.mark.row("CTL-15", "CTL-16", "CTL-23", "CTL-26", "ACC-5")
def test_conditions_follow_a_set_from_its_start_to_its_growth(
    installed: sandbox.Sandbox, namespace: str
) -> None:
    one = sample.create(installed, namespace, held=True)
    checks.eventually(checks.condition, one, "Progressing")
    starting = "Replicas are progressing, with 0 groups ready of total 2 groups"
    checks.eventually(checks.event, one, "GroupsProgressing", starting)
    assert harness.condition(one.get(), "Available") is None
    checks.eventually(one.release, 0, 1)
    checks.eventually(checks.condition, one, "Available")
    checks.condition(one, "Progressing", status="False")
    ready = "All replicas are ready, with 2 groups ready of total 2 groups"
    checks.eventually(checks.event, one, "AllGroupsReady", ready)
    one.scale(3)
    checks.eventually(checks.condition, one, "Progressing")
    checks.condition(one, "Available", status="False")
    growing = "Replicas are progressing, with 2 groups ready of total 3 groups"
    checks.eventually(checks.event, one, "GroupsProgressing", growing)
    assert harness.condition(one.get(), "UpdateInProgress") is None


@pytest.mark.row("CTL-24")
def test_a_first_start_with_surge_is_no_update(installed: sandbox.Sandbox, namespace: str) -> None:
    strategy = sample.rollout(surge=2)
    empty = sample.Sample(installed, namespace)
    with empty.recording(*sample.LWS) as record:
        one = sample.create(installed, namespace, replicas=4, rolloutStrategy=strategy)
        checks.eventually(checks.condition, one, "Available")
    assert harness.condition(one.get(), "UpdateInProgress") is None
    seen = [harness.condition(event["object"], "Available") for event in record.events]
    assert any(found and found["status"] == "True" for found in seen)
    for event in record.events:
        assert harness.condition(event["object"], "UpdateInProgress") is None


@pytest.mark.usefixtures("played")
@pytest.mark.row("CTL-25")
def test_conditions_that_are_wiped_come_back(installed: sandbox.Sandbox, namespace: str) -> None:
    one = sample.create(installed, namespace, held=True)
    checks.eventually(checks.condition, one, "Progressing")
    body: sample.Object = {"status": {"conditions": []}}
    answer = installed.api.patch(
        *sample.LWS, one.name, namespace=namespace, body=body, subresource="status"
    )
    assert not answer["status"].get("conditions")
    checks.eventually(checks.condition, one, "Progressing")
