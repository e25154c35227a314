"""A rollout and the groups that wait for Kueue, as arithmetic."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lws_kueue.api.indices import Indices
from lws_kueue.controller.rollout import planner, scaling, unadmitted
from lws_kueue.controller.rollout.planner import Current, Target
from lws_kueue.controller.rollout.unadmitted import NOBODY, Unadmitted
from tests.kit.builders import states as group_states
from tests.kit.builders.states import GroupState
from tests.kit.examples import examples

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


def limited(bounds: scaling.Bounds, queued: Indices, *, most: int, replicas: int) -> scaling.Bounds:
    waiting = Unadmitted(groups=queued, queued=queued, most_queued=most)
    return waiting.limited(bounds, replicas=replicas)


@pytest.mark.parametrize(
    ("what", "queued", "replicas", "made"),
    [
        ("a new set", range(10), 0, 3),
        ("some are admitted", range(4, 10), 3, 7),
        ("those that are admitted have holes", {0, 2, *range(4, 10)}, 5, 5),
        ("one is admitted far above", {*range(8), 9}, 0, 9),
        ("what was admitted is evicted", range(10), 8, 8),
        ("it was there before anybody counted", range(10), 10, 10),
        ("no more wait than may", range(7, 10), 7, 10),
        ("nothing waits", (), 10, 10),
        ("more is there than is wanted", range(12), 12, 10),
    ],
)
def test_as_many_groups_are_made_as_may_wait_beside_those_that_do_not(
    what: str, queued: tuple[int, ...], replicas: int, made: int
) -> None:
    found = limited(scaling.Bounds(10), Indices(queued), most=3, replicas=replicas)
    assert found.replicas == made, what


def test_no_more_surge_groups_are_made_than_may_wait() -> None:
    bounds = scaling.Bounds(4, unavailable=0, surge=4)
    assert limited(bounds, Indices(), most=2, replicas=4).burst == 6
    assert limited(bounds, Indices({4, 5}), most=2, replicas=6).burst == 6
    assert limited(bounds, Indices({5}), most=2, replicas=6).burst == 7
    assert limited(bounds, Indices(), most=4, replicas=4) == bounds


def test_where_nobody_counts_any_number_of_groups_is_made() -> None:
    bounds = scaling.Bounds(1_000_000, surge=1_000_000)
    assert NOBODY.limited(bounds, replicas=0) == bounds


@pytest.mark.parametrize(
    ("what", "queued", "replicas", "may_wait", "made"),
    [
        ("a new set", range(10), 0, 100, 3),
        ("more are there", range(10), 5, 100, 5),
        ("one is admitted far above", {*range(6), *range(7, 10)}, 0, 100, 7),
        ("fewer may wait", range(1, 10), 1, 1, 2),
    ],
)
def test_no_more_groups_are_made_at_a_time_than_get_their_pods_soon(
    what: str, queued: tuple[int, ...], replicas: int, may_wait: int, made: int
) -> None:
    waiting = Unadmitted(queued=Indices(queued), most_queued=may_wait, most_made=3)
    assert waiting.paced(scaling.Bounds(10), replicas=replicas).burst == made, what


def test_surge_groups_come_at_once() -> None:
    bounds = scaling.Bounds(10, surge=4)
    waiting = Unadmitted(queued=Indices(range(11)), most_queued=100, most_made=10)
    assert waiting.paced(bounds, replicas=10) == bounds
    # But not while groups of the set itself are to come yet.
    assert waiting.paced(scaling.Bounds(11, surge=4), replicas=9).burst == 10


def test_a_set_grows_by_a_step_when_fewer_than_a_step_lack_pods() -> None:
    sizes = [unadmitted.paced(range(asked)) for asked in range(10 * unadmitted.STEP)]
    assert sizes[0] == 2 * unadmitted.STEP
    for asked, size in enumerate(sizes):
        assert unadmitted.STEP < size - asked <= 2 * unadmitted.STEP
    assert len(set(sizes)) == 10, "and not at each group, because that is a write"


def test_a_rollout_goes_on_with_the_groups_that_are_made() -> None:
    """They are all that the budget is about, though the set is to have more."""
    bounds = limited(scaling.Bounds(9, unavailable=1), Indices(range(3, 9)), most=2, replicas=5)
    waiting = waits(*range(3, 9))
    states = (OLD, OLD, OLD, DOWN, COMING)
    assert target(bounds, *states, partition=5, waiting=waiting) == (3, 5)
    states = (OLD, OLD, OLD, COMING, COMING)
    assert target(bounds, *states, partition=3, waiting=waiting) == (2, 5)
    # And one that has none to be down, and no surge while others wait, takes one at a time.
    bounds = limited(
        scaling.Bounds(9, unavailable=0, surge=2), Indices(range(3, 9)), most=2, replicas=5
    )
    assert target(bounds, *states, partition=3, waiting=waiting) == (2, 5)


def test_groups_that_were_asked_for_and_never_made_are_no_surge_when_fewer_are_wanted() -> None:
    """A set of nine, of which five were made, is scaled to three."""
    bounds = scaling.Bounds(3, unavailable=0, surge=3)
    states = (NEW, NEW, NEW, COMING, COMING)
    found = target(bounds, *states, partition=0, waiting=waits(3, 4), desired_then=5)
    assert found == (0, 3)


COUNTS = st.integers(min_value=0, max_value=12)


@examples(1_000)
@given(
    desired=COUNTS,
    surge=COUNTS,
    there=COUNTS,
    queued=st.sets(COUNTS),
    most=st.integers(min_value=1, max_value=12),
)
def test_the_limit_only_ever_keeps_a_set_from_growing(
    desired: int, surge: int, there: int, queued: set[int], most: int
) -> None:
    bounds = scaling.Bounds(desired, surge=surge)
    # What is neither there nor wanted is in no queue, and what is wanted and not there may be.
    queued &= set(range(max(desired, there)))
    found = limited(bounds, Indices(queued), most=most, replicas=there)
    waiting = queued.union(range(max(desired, there), bounds.burst)) & set(range(bounds.burst))
    for made, wanted in ((found.replicas, bounds.replicas), (found.burst, bounds.burst)):
        assert min(wanted, there) <= made <= wanted
        stays = set(range(wanted)) - waiting
        assert stays <= set(range(made)), "what is admitted keeps its place"
        first = {index for index in range(wanted) if len(waiting & set(range(index))) < most}
        assert first <= set(range(made)), "as many as may wait are made"
        needed = {*first, *range(there), *range(max(stays, default=-1) + 1)}
        assert made == len(needed & set(range(wanted))), "and no others"
    if len(waiting) <= most:
        assert found == bounds
