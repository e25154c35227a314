"""Parts add up to a plan, and what people are told is rendered from reasons."""

import pytest

from lws_kueue.api import actions, reasons
from lws_kueue.api.actions import Part, Plan
from lws_kueue.api.reasons import Reason


def write(name: str) -> actions.Create:
    body = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "n"}}
    return actions.Create(body)


A, B, C = write("a"), write("b"), write("c")
WHY = Reason("Pending", "no quota", waits=True, warns=False)
LOST = Reason("LocalQueueMissing", "LocalQueue q does not exist", waits=True)


def test_the_sum_of_parts_has_their_writes_in_order_and_the_shortest_delay() -> None:
    first = Part(chains=((A,), ()), stopping=frozenset({1}), recheck_after=3.0)
    second = Part(prepare=(C,), chains=((B,),), reasons=(WHY,), stopping=frozenset({2}))
    whole = first + second
    assert whole.chains == ((A,), (B,)), "a chain without a write is none"
    assert whole.prepare == (C,)
    assert whole.reasons == (WHY,)
    assert whole.stopping == {1, 2}
    assert whole.recheck_after == 3.0
    assert Plan.of(first, second) == Plan(
        prepare=(C,), chains=((A,), (B,)), reasons=(WHY,), recheck_after=3.0
    )


def test_a_part_that_asks_for_nothing_changes_no_other() -> None:
    part = Part(chains=((A,),), reasons=(WHY,), recheck_after=1.0)
    assert part + Part() == Part() + part == part
    assert Plan.of() == Plan()


def test_in_a_row_each_write_waits_for_the_one_before() -> None:
    assert Part(chains=((A,), (B, C))).in_a_row().chains == ((A, B, C),)
    assert Part().in_a_row() == Part()


@pytest.mark.parametrize(
    ("delays", "shortest"), [((), None), ((None, None), None), ((None, 2.0, 0.0), 0.0)]
)
def test_the_shortest_delay_is_none_only_if_all_are(
    delays: tuple[float | None, ...], shortest: float | None
) -> None:
    assert actions.soonest(delays) == shortest


def test_a_warning_is_sent_once_and_for_what_people_must_act_on() -> None:
    plan = Plan(reasons=(WHY, LOST.of(0), LOST.of(1)))
    assert plan.warnings == (actions.Event("Warning", LOST.code, LOST.text),)


@pytest.mark.parametrize(
    ("fix", "message"),
    [("", "it broke"), ("mend it", "it broke: mend it"), ("Mend it", "it broke. Mend it")],
)
def test_a_fix_follows_its_text(fix: str, message: str) -> None:
    assert Reason("Broken", "it broke", fix).message == message


def test_groups_that_wait_for_the_same_are_told_together_in_one_condition() -> None:
    merged = reasons.merged([WHY.of(3), LOST.of(1), WHY.of(0), WHY.of(2), WHY.of(5)])
    assert [list(one.groups) for one in merged] == [[0, 2, 3, 5], [1]]
    condition = reasons.condition("Waits", (Reason("Other", "waits for nothing"), *merged))
    assert condition is not None
    assert (condition.type, condition.status, condition.reason) == ("Waits", "True", "Pending")
    assert condition.message == ("groups 0, 2-3, 5: no quota; group 1: LocalQueue q does not exist")


def test_a_reason_warns_if_it_does_for_one_of_its_groups() -> None:
    quiet = Reason("FailedCreate", "refused", waits=True, warns=False)
    (one,) = reasons.merged([quiet.of(0), Reason("FailedCreate", "refused", waits=True).of(1)])
    assert one.warns
    assert tuple(one.groups) == (0, 1)


def test_where_no_group_waits_there_is_no_condition() -> None:
    assert reasons.condition("Waits", ()) is None
    assert reasons.condition("Waits", (Reason("Other", "waits for nothing"),)) is None


def test_a_condition_tells_the_first_reasons_and_counts_the_rest() -> None:
    many = [Reason("R", f"reason {index}", waits=True).of(index) for index in range(7)]
    condition = reasons.condition("Waits", reasons.merged(many))
    assert condition is not None
    assert condition.message.endswith("group 4: reason 4; and 2 more reasons")
