import pytest

from lws_kueue.controller.rollout import scaling
from tests.kit.builders import given


@pytest.mark.parametrize(
    ("value", "total", "down", "up"),
    [
        (3, 10, 3, 3),
        (0, 10, 0, 0),
        (-1, 10, 0, 0),
        ("25%", 2, 0, 1),
        ("50%", 3, 1, 2),
        ("100%", 7, 7, 7),
        ("0%", 7, 0, 0),
        ("10%", 0, 0, 0),
        ("3", 7, 0, 0),
        ("many%", 7, 0, 0),
    ],
)
def test_percentages_are_rounded_in_the_direction_asked_for(
    value: int | str, total: int, down: int, up: int
) -> None:
    assert scaling.scaled(value, total, up=False) == down
    assert scaling.scaled(value, total, up=True) == up


def test_the_surge_is_capped_at_the_replicas() -> None:
    found = scaling.bounds(given.an_lws(replicas=2, rollout={"maxSurge": 4, "partition": 9}))
    assert found == scaling.Bounds(replicas=2, unavailable=1, surge=2, floor=9)
    assert found.burst == 4


def test_an_update_can_always_go_on_even_if_scaling_rounded_its_budget_to_nothing() -> None:
    rounded = given.an_lws(replicas=3, rollout={"maxUnavailable": "25%"})
    assert scaling.bounds(rounded).unavailable == 1
    with_surge = given.an_lws(replicas=3, rollout={"maxUnavailable": "25%", "maxSurge": 1})
    assert scaling.bounds(with_surge).unavailable == 0
