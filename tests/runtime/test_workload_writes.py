"""Writes to Workloads that the API server refuses: what is left undone, and what goes on."""

import pytest

from lws_kueue.api import actions, kueue, names
from lws_kueue.runtime import client
from lws_kueue.workload import build, diff, naming, recreate
from tests.kit.builders import builders
from tests.runtime import test_execute as scripted

HUNDRED = kueue.WorkloadPriorityClass.of({"metadata": {"name": "class"}, "value": 100})


def name(index: int) -> str:
    return naming.workload_name("serve", index, "set-uid")


def planned(
    *existing: kueue.Workload,
    labels: dict[str, str] | None = None,
    annotations: dict[str, str] | None = None,
) -> actions.Plan:
    """The writes for a set that wants one group, of index 0."""
    owner = builders.lws_object(labels=labels, annotations=annotations)
    content = recreate.content(owner, "key", options=builders.OPTIONS)
    found = diff.changes(
        owner,
        {one.meta.name: one for one in existing},
        wanted={0: diff.Wanted(content)},
        pods={},
        classes=build.PriorityClasses(workload={"class": HUNDRED}),
        options=builders.OPTIONS,
        now=builders.NOW,
    )
    assert not found.reasons
    return actions.Plan(chains=found.chains)


@pytest.mark.row("R13")
def test_when_the_write_of_queue_and_gate_is_refused_neither_is_changed_and_it_is_tried_again() -> (
    None
):
    stored = builders.workload(name=name(0), spec={"queueName": "old"})
    plan = planned(stored, annotations={names.ADMISSION_GATED_BY: "example.com/a"})
    api = scripted.ScriptedApi({f"patch {name(0)}": scripted.refusal(500, "InternalError")})
    outcome, events, _ = scripted.carry_out(plan, api)
    assert api.calls == [f"patch {name(0)}"], "there is no second write that could get through"
    assert outcome.failed
    assert events.sent == []


@pytest.mark.row("R37")
@pytest.mark.parametrize(
    "refused", [scripted.refusal(500, "InternalError"), scripted.refusal(403, "Forbidden")], ids=str
)
def test_a_deletion_that_fails_does_not_keep_a_missing_workload_from_being_made(
    refused: client.ApiError,
) -> None:
    extra = builders.workload(name=name(7), index=7)
    plan = planned(extra, labels={names.QUEUE_NAME: "queue", names.PRIORITY_CLASS: "class"})
    api = scripted.ScriptedApi({f"delete {name(7)}": refused})
    outcome, events, _ = scripted.carry_out(plan, api)
    assert set(api.calls) == {f"delete {name(7)}", f"create {name(0)}"}
    (created,) = (chain[0] for chain in plan.chains if isinstance(chain[0], actions.Create))
    assert created.body["spec"]["priority"] == 100
    assert outcome.failed
    assert [event.reason for event in events.sent] == ["CreatedWorkload"]
