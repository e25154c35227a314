"""A rollout and the groups that wait for Kueue, as arithmetic."""

import pytest

from lws_kueue.api.indices import Indices
from lws_kueue.controller.rollout import planner, scaling
from lws_kueue.controller.rollout.planner import Current, Target
from lws_kueue.controller.rollout.unadmitted import NOBODY, Unadmitted
from tests.kit.builders import states as group_states
from tests.kit.builders.states import GroupState

OLD, NEW = GroupState(ready=True), GroupState(ready=True, updated=True)
DOWN, COMING = GroupState(), GroupState(updated=True)


def target(
    bounds: scaling.Bounds,
    *states: GroupState,
    partition: int,
    waiting: Unadmitted = NOBODY,
    desired_then: int | None = None,
) -> tuple[int, int]:
    then = bounds.replicas if desired_then is None else desired_then
    found = planner.under_quota(
        bounds,
        current=Current(len(states), partition, then),
        states=group_states.of(states),
        updated=False,
        waiting=waiting,
    )
    return found.partition, found.replicas


def waits(*groups: int, reshaping: bool = False, give_way: bool = False) -> Unadmitted:
    """Groups that have waited for a while."""
    every = Indices(groups)
    return Unadmitted(groups=every, patient=every, reshaping=reshaping, give_way=give_way)


SURGE = scaling.Bounds(3, unavailable=0, surge=1)


def test_a_surge_group_that_may_still_be_admitted_is_waited_for() -> None:
    fresh = Unadmitted(groups=Indices({3}))
    assert target(SURGE, OLD, OLD, OLD, COMING, partition=3, waiting=fresh) == (3, 4)


def test_without_quota_for_the_surge_groups_are_replaced_in_place_one_at_a_time() -> None:
    assert target(SURGE, OLD, OLD, OLD, COMING, partition=3, waiting=waits(3)) == (2, 4)
    assert target(SURGE, OLD, OLD, COMING, COMING, partition=2, waiting=waits(3)) == (2, 4)
    assert target(SURGE, OLD, OLD, NEW, COMING, partition=2, waiting=waits(3)) == (1, 4)


def test_a_surge_group_that_nobody_counts_on_goes_when_the_last_group_was_opened() -> None:
    assert target(SURGE, OLD, NEW, NEW, COMING, partition=1, waiting=waits(3)) == (0, 3)


def test_a_ready_surge_group_stays_above_one_that_nobody_counts_on() -> None:
    bounds = scaling.Bounds(4, unavailable=1, surge=2)
    states = (OLD, COMING, NEW, NEW, COMING, NEW)
    assert target(bounds, *states, partition=1, waiting=waits(4))[1] == 6


def test_scaling_down_takes_surge_groups_that_wait_as_well() -> None:
    found = target(
        SURGE, OLD, OLD, OLD, COMING, COMING, partition=3, waiting=waits(3, 4), desired_then=4
    )
    assert found[1] <= 4


def test_a_group_that_waits_for_reasons_of_its_own_is_passed_by() -> None:
    bounds = scaling.Bounds(3, unavailable=1)
    assert target(bounds, OLD, OLD, COMING, partition=2, waiting=waits(2)) == (1, 3)
    # But for it one more would be down.
    assert target(bounds, OLD, OLD, COMING, partition=2) == (2, 3)


def test_a_group_that_waits_for_what_the_update_asks_is_down_by_our_doing() -> None:
    bounds = scaling.Bounds(3, unavailable=1)
    reshaping = waits(2, reshaping=True)
    assert target(bounds, OLD, OLD, COMING, partition=2, waiting=reshaping) == (2, 3)


def test_what_may_be_down_beside_a_group_that_waits_is_used() -> None:
    bounds = scaling.Bounds(4, unavailable=2)
    reshaping = waits(3, reshaping=True)
    # One waits, one starts: that is all the set allows.
    assert target(bounds, OLD, OLD, COMING, COMING, partition=2, waiting=reshaping) == (2, 4)
    assert target(bounds, OLD, OLD, NEW, COMING, partition=2, waiting=reshaping) == (1, 4)
    # Broken by itself, it is one of the two as well.
    assert target(bounds, DOWN, OLD, NEW, COMING, partition=2, waiting=reshaping) == (2, 4)
    two = waits(2, 3, reshaping=True)
    assert target(bounds, OLD, OLD, COMING, COMING, partition=2, waiting=two) == (2, 4)


def test_a_group_that_is_overdue_in_an_update_that_asks_for_less_is_passed_by() -> None:
    bounds = scaling.Bounds(3, unavailable=1)
    overdue = Unadmitted(groups=Indices({2}), reshaping=True, overdue=Indices({2}))
    assert target(bounds, OLD, OLD, COMING, partition=2, waiting=overdue) == (1, 3)


def test_no_surge_group_is_opened_while_a_desired_one_waits() -> None:
    found = target(SURGE, OLD, OLD, COMING, partition=2, waiting=waits(2, reshaping=True))
    assert found[1] == 3


def test_a_ready_surge_group_gives_way_to_a_desired_one_that_waits() -> None:
    patient = waits(0, reshaping=True, give_way=True)
    assert target(SURGE, COMING, NEW, NEW, NEW, partition=0, waiting=patient) == (0, 3)
    # Not if too few would be ready then.
    assert target(SURGE, COMING, DOWN, NEW, NEW, partition=0, waiting=patient) == (0, 4)


def test_a_ready_surge_group_does_not_go_for_one_that_is_passed_by() -> None:
    bounds = scaling.Bounds(4, unavailable=1, surge=1)
    states = (COMING, COMING, NEW, NEW, NEW)
    assert target(bounds, *states, partition=0, waiting=Unadmitted(Indices({0, 1})))[1] == 5


@pytest.mark.parametrize(
    ("waiting", "updated", "expected"),
    [
        (NOBODY, False, (1, 2)),
        (Unadmitted(Indices({5})), False, (1, 2)),
        (waits(4), False, (1, 1)),
        (waits(4, 5), False, (1, 0)),
        (Unadmitted(reshaping=True), True, (1, 2)),
    ],
)
def test_what_a_rollout_can_keep_to(
    waiting: Unadmitted, updated: bool, expected: tuple[int, int]
) -> None:
    bounds = scaling.Bounds(4, unavailable=1, surge=2)
    found = waiting.effective(bounds, replicas=6, updated=updated)
    assert (found.unavailable, found.surge) == expected


def test_at_rest_nothing_moves_whoever_waits() -> None:
    bounds = scaling.Bounds(2, unavailable=1)
    found = planner.under_quota(
        bounds,
        current=Current(2, 0, 2),
        states=group_states.of((NEW, COMING)),
        updated=False,
        waiting=waits(1),
    )
    assert found == Target(partition=0, replicas=2)
