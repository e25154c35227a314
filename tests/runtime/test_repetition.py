"""Whoever writes one value after another has each of them told with growing pauses."""

from itertools import pairwise

import pytest
from hypothesis import given as from_strategy
from hypothesis import strategies as st

from lws_kueue.api import actions
from lws_kueue.controller import repairs
from lws_kueue.runtime import repetition
from tests.kit.examples import examples


class World:
    """Warnings of one set at a time of their own."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.warnings = repetition.Warnings(lambda: self.now)
        self.sent: list[tuple[float, actions.Event]] = []

    def sees(self, *warnings: actions.Event) -> float | None:
        """Pass once; returns in how many seconds to look again."""
        due, again = self.warnings.due(warnings)
        self.sent += [(self.now - 1000.0, event) for event in due]
        return again


def a_warning(
    value: object, *, about: str = "StatefulSet s: spec.minReadySeconds"
) -> actions.Event:
    return actions.Event("Warning", "InvalidStatefulSet", f"{about} is {value}", about)


@pytest.mark.parametrize("every", [0.2, 1.0, 7.0, 61.0])
def test_a_flood_of_values_is_a_few_warnings_at_first_and_then_one_in_five_minutes(
    every: float,
) -> None:
    world = World()
    for value in range(int(3600 / every)):
        world.now = 1000.0 + value * every
        world.sees(a_warning(value))
    times = [at for at, _ in world.sent]
    assert 1 <= len([at for at in times if at < 60]) <= 6
    later = [at for at in times if at > 600]
    assert later, "a flood does not silence what it is about"
    gaps = [after - before for before, after in pairwise(later)]
    assert min(gaps) >= repairs.LONGEST
    assert max(gaps) < repairs.LONGEST + 2 * every


def test_the_last_value_of_a_flood_is_told_when_the_pause_is_over() -> None:
    world = World()
    again = None
    for value in range(30):
        world.now += 1.0
        again = world.sees(a_warning(value))
    assert again is not None
    assert world.sent[-1][1] != a_warning(29)
    world.now += again
    assert world.sees(a_warning(29)) is None
    assert world.sent[-1][1] == a_warning(29)


def test_a_warning_about_another_object_or_field_is_not_held_back_by_a_flood() -> None:
    world = World()
    for value in range(100):
        world.now += 1.0
        world.sees(a_warning(value))
    other = a_warning(1, about="StatefulSet t: spec.minReadySeconds")
    world.sees(a_warning(100), other)
    assert world.sent[-1] == (100.0, other)


def test_what_was_told_a_while_ago_is_told_at_once_again() -> None:
    world = World()
    for value in range(100):
        world.now += 1.0
        world.sees(a_warning(value))
    world.now += repairs.LONGEST + repairs.FORGOTTEN + 1
    world.sees(a_warning("new"))
    assert world.sent[-1] == (world.now - 1000.0, a_warning("new"))


def test_a_text_that_comes_and_goes_is_told_with_growing_pauses_too() -> None:
    world = World()
    for _ in range(60):
        world.now += repetition.AWAY
        world.sees(a_warning("same"))
        world.now += 1.0
        world.sees()
    assert len(world.sent) <= 6 + 60 * (repetition.AWAY + 1) / repairs.LONGEST


@examples(100)
@from_strategy(st.lists(st.tuples(st.floats(0, 400), st.integers(0, 4), st.booleans())))
def test_two_warnings_about_the_same_have_the_pause_between_them_that_belongs_there(
    steps: list[tuple[float, int, bool]],
) -> None:
    world = World()
    for seconds, value, seen in steps:
        world.now += seconds
        world.sees(*[a_warning(value)] if seen else [])
    times = [at for at, _ in world.sent]
    pauses = iter(repairs.PAUSES)
    for before, after in pairwise(times):
        if after - before > repairs.FORGOTTEN:
            pauses = iter(repairs.PAUSES)
        else:
            assert after - before >= next(pauses, repairs.LONGEST) - 1e-6
