from typing import Any

import pytest
from hypothesis import given as from_strategy
from hypothesis import strategies as st

from lws_kueue.api import names
from lws_kueue.controller.observe import groups
from lws_kueue.controller.rollout import planner, scaling
from tests.kit.builders import given
from tests.kit.builders import states as states_of_groups
from tests.kit.builders.states import GroupState
from tests.kit.examples import examples
from tests.kit.memory.world import World


def world(replicas: int, unavailable: int, surge: int, floor: int = 0, **options: Any) -> World:
    bounds = scaling.Bounds(
        replicas=replicas, unavailable=unavailable, surge=min(surge, replicas), floor=floor
    )
    return World(bounds, **options)


# lws-contract 4.4, row by row. A stage is (partition, replicas, ready, updated).


@pytest.mark.row("CTL-27")
def test_x1_one_group_after_the_other() -> None:
    w = world(4, 1, 0)
    w.update()
    assert w.stage == (3, 4, 4, 0)
    w.ready(3)
    assert w.stage == (2, 4, 4, 1)
    w.ready(1)
    assert w.stage == (2, 4, 4, 2)
    w.unready(3)
    assert w.stage == (2, 4, 3, 2)
    w.ready(3, 2, 0)
    assert w.stage == (0, 4, 4, 4)


@pytest.mark.row("CTL-28")
def test_x2_two_unavailable() -> None:
    w = world(4, 2, 0)
    w.update()
    assert w.stage == (2, 4, 4, 0)
    w.ready(3)
    assert w.stage == (1, 4, 4, 1)
    w.ready(2)
    assert w.stage == (0, 4, 4, 2)
    w.ready(1, 0)
    assert w.stage == (0, 4, 4, 4)


@pytest.mark.row("CTL-29")
def test_x3_more_unavailable_than_there_are() -> None:
    w = world(4, 10, 0)
    w.update()
    assert w.stage == (0, 4, 4, 0)
    w.ready(0, 1, 2, 3)
    assert w.stage == (0, 4, 4, 4)


@pytest.mark.row("CTL-30")
def test_x4_scaling_up_with_an_update() -> None:
    w = world(4, 1, 0, surge_at_old_revision=True)
    w.bounds = scaling.Bounds(replicas=6)
    w.update()
    assert w.stage == (4, 6, 4, 0)
    w.ready(4, 5, 3, 2, 1, 0)
    assert w.stage == (0, 6, 6, 6)


@pytest.mark.row("CTL-31")
def test_x5_scaling_up_during_an_update() -> None:
    w = world(4, 1, 0)
    w.update()
    assert w.stage == (3, 4, 4, 0)
    w.ready(3)
    assert w.stage == (2, 4, 4, 1)
    w.configure(replicas=6)
    w.ready(4, 5)
    assert w.stage == (2, 6, 6, 3)
    w.ready(2, 1, 0)
    assert w.stage == (0, 6, 6, 6)


@pytest.mark.row("CTL-32")
def test_x6_scaling_down_during_an_update() -> None:
    w = world(6, 1, 0)
    w.update()
    assert w.stage == (5, 6, 6, 0)
    before = len(w.targets)
    w.configure(replicas=3)
    assert w.targets[before] == planner.Target(partition=3, replicas=3)
    assert w.stage == (2, 3, 3, 0)
    w.ready(2, 1, 0)
    assert w.stage == (0, 3, 3, 3)


@pytest.mark.row("CTL-33")
def test_x7_surge_alone() -> None:
    w = world(4, 0, 1, surge_at_old_revision=True)
    w.update()
    assert w.stage == (4, 5, 4, 0)
    stages = []
    for index in (4, 3, 2, 1, 0):
        w.ready(index)
        stages.append(w.stage)
    assert stages == [(3, 5, 5, 1), (2, 5, 5, 2), (1, 5, 5, 3), (0, 5, 5, 4), (0, 4, 4, 4)]


@pytest.mark.row("CTL-34")
def test_x8_one_unavailable_and_one_more() -> None:
    w = world(4, 1, 1, surge_at_old_revision=True)
    w.update()
    assert w.stage == (3, 5, 4, 0)
    stages = []
    for index in (4, 3, 2, 1, 0):
        w.ready(index)
        stages.append(w.stage)
    # Once one group is left, it fits into what may be unavailable and the surge group goes.
    assert stages == [(2, 5, 5, 1), (1, 5, 5, 2), (0, 5, 5, 3), (0, 4, 4, 3), (0, 4, 4, 4)]


@pytest.mark.row("CTL-35")
def test_x9_two_and_two() -> None:
    w = world(4, 2, 2, surge_at_old_revision=True)
    w.update()
    assert w.stage == (2, 6, 4, 0)
    w.ready(3, 2)
    assert w.stage == (0, 4, 4, 2)
    w.ready(1, 0)
    assert w.stage == (0, 4, 4, 4)


@pytest.mark.row("CTL-36")
def test_x10_scaling_up_with_an_update_and_surge() -> None:
    w = world(2, 1, 2)
    w.bounds = scaling.Bounds(replicas=4, unavailable=1, surge=2)
    w.update()
    assert w.targets[0] == planner.Target(partition=2, replicas=4)
    assert w.stage[:2] == (2, 6)
    w.ready(5, 4, 3, 2, 1, 0)
    assert w.available
    assert w.stage == (0, 4, 4, 4)


@pytest.mark.row("CTL-37")
def test_x11_scaling_down_with_an_update_and_surge() -> None:
    w = world(6, 1, 2)
    w.bounds = scaling.Bounds(replicas=3, unavailable=1, surge=2)
    w.update()
    assert w.stage[:2] == (2, 5)
    w.ready(4, 3, 2, 1, 0)
    assert w.stage == (0, 3, 3, 3)


@pytest.mark.row("CTL-38")
def test_x12_no_more_surge_than_replicas() -> None:
    w = world(2, 1, 4)
    w.update()
    assert w.stage[:2] == (1, 3)
    w.ready(2, 1, 0)
    assert w.available
    assert w.stage == (0, 2, 2, 2)


@pytest.mark.row("CTL-39")
def test_x13_scaling_up_and_down_during_an_update_with_surge() -> None:
    w = world(4, 1, 2, surge_at_old_revision=True)
    w.update()
    assert w.stage == (3, 6, 4, 0)
    w.surge_at_old_revision = False
    w.configure(replicas=6)
    assert w.stage == (3, 8, 4, 2)
    w.ready(7, 6)
    assert w.stage == (3, 8, 6, 2)
    w.surge_at_old_revision = True
    w.configure(replicas=2)
    assert w.stage == (1, 3, 3, 0)
    w.ready(2)
    assert w.stage == (0, 3, 3, 1)
    w.ready(1)
    assert w.stage == (0, 2, 2, 1)
    w.ready(0)
    assert w.stage == (0, 2, 2, 2)


@pytest.mark.row("CTL-40")
def test_x14_a_second_update_half_way() -> None:
    w = world(4, 1, 2, surge_at_old_revision=True)
    w.update()
    assert w.stage == (3, 6, 4, 0)
    w.ready(5, 4)
    assert w.stage == (1, 6, 6, 2)
    w.update()
    assert w.stage == (3, 6, 6, 0)
    w.ready(5, 4, 3, 2, 1, 0)
    assert w.stage == (0, 4, 4, 4)


@pytest.mark.row("CTL-47")
def test_x15_what_is_broken_already_eats_the_budget() -> None:
    w = world(4, 2, 0)
    w.unready(1)
    w.update()
    assert w.stage == (3, 4, 3, 0)
    w.ready(3, 2, 1, 0)
    assert w.stage == (0, 4, 4, 4)


@pytest.mark.row("CTL-48")
def test_x16_an_update_of_groups_that_are_all_broken() -> None:
    w = world(2, 1, 0)
    w.unready(0, 1)
    w.update()
    assert w.stage == (1, 2, 0, 0)
    w.ready(1)
    assert w.partition == 0
    w.ready(0)
    assert w.available


@pytest.mark.row("CTL-50")
def test_x17_the_partition_as_a_canary() -> None:
    w = world(6, 1, 0, floor=4)
    w.settle()
    assert w.partition == 4
    w.update()
    assert w.stage == (5, 6, 6, 0)
    w.ready(5)
    assert w.stage == (4, 6, 6, 1)
    w.ready(4)
    assert w.stage == (4, 6, 6, 2)
    assert w.available
    w.configure(floor=2)
    assert w.stage == (3, 6, 6, 2)
    w.ready(3)
    assert w.stage == (2, 6, 6, 3)
    w.ready(2)
    assert w.stage == (2, 6, 6, 4)
    assert w.available


@pytest.mark.row("CTL-51")
def test_x18_surge_is_kept_while_the_partition_holds() -> None:
    w = world(3, 1, 1, floor=2, surge_at_old_revision=True)
    w.settle()
    assert w.stage == (2, 3, 3, 3)
    w.update()
    assert w.stage == (2, 4, 3, 0)
    w.ready(3, 2)
    assert w.stage == (2, 4, 4, 2)
    assert w.available
    w.configure(floor=0)
    assert w.stage == (0, 4, 4, 2)
    w.ready(1, 0)
    assert w.stage == (0, 3, 3, 3)


def test_x19_surge_makes_up_only_for_what_may_not_be_unavailable() -> None:
    w = world(4, 1, 4)
    w.update()
    assert w.replicas == 7


def test_x20_the_documented_example() -> None:
    w = world(4, 2, 2)
    w.revision += 1
    w.reconcile()
    assert (w.partition, w.replicas) == (4, 6)
    w.scale_groups()
    w.settle()
    assert (w.partition, w.replicas) == (2, 6)
    w.ready(4, 5)
    assert (w.partition, w.replicas) == (0, 6)
    w.ready(2, 3)
    assert (w.partition, w.replicas) == (0, 4)


def test_a_rollback_leaves_groups_alone_that_never_moved() -> None:
    w = world(4, 1, 0)
    w.update()
    w.ready(3, 2)
    w.revision = 1
    w.settle()
    assert w.stage == (3, 4, 4, 2)
    w.ready(3)
    assert w.stage == (2, 4, 4, 3)
    w.ready(2)
    assert w.stage == (0, 4, 4, 4)


@pytest.mark.row("UT-12")
@pytest.mark.parametrize(
    ("replicas", "surge", "unavailable", "unready", "expected"),
    [
        (1, 1, 0, 1, 2),
        (4, 2, 1, 2, 5),
        (2, 2, 1, 2, 3),
        (1, 1, 0, 0, 1),
        (1, 1, 1, 1, 1),
        (3, 0, 0, 1, 3),
    ],
)
def test_surge_is_reclaimed_as_unready_groups_fit_into_the_budget(
    replicas: int, surge: int, unavailable: int, unready: int, expected: int
) -> None:
    bounds = scaling.Bounds(replicas=replicas, unavailable=unavailable, surge=surge)
    assert planner.reclaim(bounds, unready) == expected


@pytest.mark.parametrize(
    ("bounds", "updated", "expected"),
    [
        pytest.param((3, 0, 1), False, (0, 3), marks=pytest.mark.row("UT-13")),
        pytest.param((3, 0, 1), True, (2, 3), marks=pytest.mark.row("UT-14")),
        pytest.param((2, 1, 2), True, (2, 3), marks=pytest.mark.row("UT-15")),
    ],
)
def test_the_first_step_from_rest(
    bounds: tuple[int, int, int], updated: bool, expected: tuple[int, int]
) -> None:
    replicas, unavailable, surge = bounds
    target = planner.plan(
        scaling.Bounds(replicas=replicas, unavailable=unavailable, surge=surge),
        current=planner.Current(replicas=2, partition=0, desired_then=2),
        states=states_of_groups.of((GroupState(ready=True, updated=True),) * 2),
        updated=updated,
    )
    assert (target.partition, target.replicas) == expected


def test_ready_surge_is_kept_while_another_surge_group_is_not_ready() -> None:
    w = world(4, 2, 3)
    w.update()
    w.ready(6, 5)
    for index in range(4):
        w.replace(index)
    assert w.stage == (0, 7, 2, 7)
    w.ready(0)
    # With groups 0 and 4 alone there would be one ready group where two have to be.
    assert w.stage == (0, 6, 2, 6)
    w.ready(1)
    assert w.stage == (0, 4, 2, 4)


def test_broken_groups_among_those_to_open_eat_the_budget_too() -> None:
    w = world(4, 2, 0)
    w.unready(1, 2)
    w.update()
    assert w.partition == 4
    w.unready(3)
    assert w.partition == 2


def test_a_second_update_keeps_the_surge_that_stands_in_for_groups_of_the_first() -> None:
    w = world(4, 1, 2)
    w.update()
    w.ready(5, 4)
    assert w.partition == 1
    for index in (1, 2, 3):
        w.replace(index)
    w.update()
    assert w.stage == (6, 6, 3, 0)
    w.groups[3] = type(w.groups[3])(2, True)
    w.settle()
    assert w.partition == 5


@pytest.mark.parametrize(("surge", "unavailable"), [(1, 0), (2, 0), (2, 1)])
def test_scaling_down_at_rest_opens_no_surge_for_broken_groups(
    surge: int, unavailable: int
) -> None:
    w = world(4, unavailable, surge)
    w.unready(0, 1, 2, 3)
    w.configure(replicas=3)
    assert w.stage[:2] == (0, 3)


@pytest.mark.parametrize("floor", [0, 3, 9])
def test_a_new_set_starts_with_all_its_groups(floor: int) -> None:
    bounds = scaling.Bounds(replicas=3, surge=2, floor=floor)
    target = planner.plan(bounds, current=None, states=planner.States(), updated=False)
    assert target == planner.Target(partition=floor, replicas=3)


def test_a_set_of_no_groups_updates_at_once() -> None:
    w = world(0, 1, 0)
    w.update()
    assert w.stage == (0, 0, 0, 0)
    w.configure(replicas=2)
    assert w.stage == (0, 2, 0, 2)


def test_scaling_to_nothing_ends_an_update() -> None:
    w = world(4, 1, 0)
    w.update()
    w.configure(replicas=0, surge=0)
    assert w.stage == (0, 0, 0, 0)
    w.configure(replicas=4)
    assert w.stage[:2] == (0, 4)


def test_the_partition_that_the_user_raises_is_followed() -> None:
    w = world(6, 1, 0)
    w.update()
    w.ready(5, 4)
    assert w.partition == 3
    w.configure(floor=5)
    assert w.partition == 5


# The same from observed objects.


def decide(*, key: str = "key", updated: bool = False, **leader_set: Any) -> planner.Target:
    found = [given.a_group(index, key="key") for index in range(4)]
    observation = given.observe(
        given.an_lws(replicas=4),
        stateful_sets=[
            given.a_leader_set(**({"replicas": 4} | leader_set)),
            *(group.worker_set for group in found if group.worker_set),
        ],
        pods=[pod for group in found for pod in group.pods],
    )
    return planner.decide(
        given.an_lws(replicas=4), observation=observation, key=key, updated=updated
    )


def test_a_set_is_decided_from_its_objects() -> None:
    annotations = {names.REPLICAS: "4"}
    assert decide(annotations=annotations) == planner.Target(0, 4)
    assert decide(annotations=annotations, key="new", updated=True) == planner.Target(4, 4)
    assert decide(annotations=annotations, key="new", partition=4) == planner.Target(3, 4)
    assert decide(annotations=annotations, partition=4) == planner.Target(0, 4)


@pytest.mark.parametrize("written", ["", "many", "-1", "²"])
def test_an_annotation_that_is_no_number_does_not_stop_an_update(written: str) -> None:
    target = decide(annotations={names.REPLICAS: written}, key="new", partition=4)
    assert target == planner.Target(3, 4)


def test_without_a_leader_set_everything_is_made() -> None:
    observation = given.observe(given.an_lws(), stateful_sets=[], pods=[])
    target = planner.decide(given.an_lws(), observation=observation, key="key", updated=False)
    assert target == planner.Target(0, 2)


def test_incomplete_groups_are_neither_ready_nor_updated() -> None:
    lone = given.observe(
        given.an_lws(), stateful_sets=[given.a_leader_set()], pods=[given.a_leader(1)]
    )
    whole = given.a_group(0)
    states = planner.states_of(groups.Groups(None, (whole, *lone.groups)), count=3, key="key")
    assert states == states_of_groups.of(
        (GroupState(ready=True, updated=True), GroupState(), GroupState())
    )


@pytest.mark.row("UT-35")
def test_groups_stand_at_their_index_with_gaps_and_without_overflow() -> None:
    two, five = given.a_group(2), given.a_group(5)
    found = planner.states_of(groups.Groups(None, (two, five)), count=4, key="key")
    assert (found.count, list(found.ready), list(found.updated)) == (4, [2], [2])
    assert planner.states_of(groups.Groups(None), count=2, key="key") == planner.States(2)


def test_a_group_whose_leader_is_being_deleted_is_no_longer_ready() -> None:
    going = given.a_group(0, deleted=True)
    assert going.ready, "its conditions say so for a moment"
    states = planner.states_of(groups.Groups(None, (going,)), count=1, key="key")
    assert states == states_of_groups.of((GroupState(ready=False, updated=True),))


@pytest.mark.parametrize(
    ("live", "target", "updated", "expected"),
    [
        ((4, 4), (3, 4), False, ["Updating replica 3"]),
        ((4, 6), (0, 6), False, ["Updating replicas 0 to 3 (inclusive)"]),
        ((4, 6), (4, 5), False, ["deleting surge replica test-sample-5"]),
        ((0, 6), (0, 4), False, ["deleting surge replicas from test-sample-4 to test-sample-5"]),
        ((2, 5), (1, 4), False, ["deleting surge replica test-sample-4", "Updating replica 1"]),
        ((4, 4), (2, 6), True, []),
        ((2, 4), (4, 4), False, []),
        ((0, 4), (0, 4), False, []),
    ],
)
def test_a_step_is_told_by_events(
    live: tuple[int, int], target: tuple[int, int], updated: bool, expected: list[str]
) -> None:
    found = planner.events(
        given.an_lws(),
        live=given.a_leader_set(partition=live[0], replicas=live[1]),
        target=planner.Target(*target),
        updated=updated,
    )
    assert [event.message for event in found] == expected


# Whole rollouts at random.

_BOUNDS = st.builds(
    lambda replicas, unavailable, surge: scaling.Bounds(
        replicas=replicas,
        unavailable=unavailable if unavailable or min(surge, replicas) else 1,
        surge=min(surge, replicas),
    ),
    st.integers(0, 6),
    st.integers(0, 4),
    st.integers(0, 4),
)


def finish(w: World, pick: Any = None) -> None:
    """Let a rollout run to its end, with the next step chosen by ``pick``."""
    for _ in range(400):
        changed = w.reconcile()
        w.scale_groups()
        steps = [("replace", index) for index in w.replaceable()]
        steps += [("ready", index) for index, group in w.groups.items() if not group.ready]
        if not steps:
            if not changed:
                return
            continue
        step, index = pick(steps) if pick else steps[0]
        if step == "replace":
            w.replace(index)
        else:
            w.groups[index] = type(w.groups[index])(w.groups[index].revision, True)
        assert w.replicas <= w.bounds.burst
        assert w.partition >= w.bounds.floor
    raise AssertionError(f"the rollout does not end: {w}")


@from_strategy(_BOUNDS, st.data())
@examples(200)
def test_a_rollout_ends_within_its_budget_and_moves_one_way(
    bounds: scaling.Bounds, data: st.DataObject
) -> None:
    w = World(bounds)
    w.revision += 1
    lowest = bounds.replicas

    def pick(steps: list[tuple[str, int]]) -> tuple[str, int]:
        # Groups that were all ready stay so unless we have them replaced.
        assert w.stage[2] >= max(0, bounds.replicas - bounds.unavailable)
        return data.draw(st.sampled_from(steps))

    finish(w, pick)
    for target in w.targets:
        assert target.partition <= lowest
        lowest = target.partition
        assert bounds.replicas <= target.replicas <= bounds.burst
    assert w.stage == (0, bounds.replicas, bounds.replicas, bounds.replicas)


_STATES = st.lists(st.builds(GroupState, st.booleans(), st.booleans()), max_size=12)


@from_strategy(_BOUNDS, _STATES, st.integers(0, 12), st.integers(0, 8), st.booleans())
@examples(1000)
def test_no_pass_takes_more_than_the_budget_whatever_it_finds(
    bounds: scaling.Bounds,
    states: list[GroupState],
    partition: int,
    desired_then: int,
    updated: bool,
) -> None:
    current = planner.Current(len(states), partition, desired_then)
    target = planner.plan(
        bounds, current=current, states=states_of_groups.of(states), updated=updated
    )
    assert bounds.replicas <= target.replicas <= bounds.burst
    at_rest = partition == 0 and desired_then == len(states)
    if len(states) > bounds.burst or (at_rest and not updated):
        # Groups that the user does not want any more go, whatever their state is.
        return

    def staying(now: planner.Target) -> int:
        below = states[: now.replicas]
        return sum(s.ready and (s.updated or i < now.partition) for i, s in enumerate(below))

    opened = len(states) if updated else partition
    before = staying(planner.Target(opened, len(states)))
    assert staying(target) >= min(bounds.replicas - bounds.unavailable, before)
    assert target.partition <= max(opened, bounds.floor)


_EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("update"), st.just(0)),
        st.tuples(st.just("rollback"), st.just(0)),
        st.tuples(st.just("scale"), st.integers(0, 6)),
        st.tuples(st.just("break"), st.integers(0, 9)),
        st.tuples(st.just("floor"), st.integers(0, 7)),
        st.tuples(st.just("run"), st.integers(1, 6)),
    ),
    max_size=12,
)


def disturb(w: World, kind: str, value: int) -> None:
    """Do one thing that users, nodes and time do to a set."""
    if kind == "update":
        w.revision += 1
    elif kind == "rollback":
        w.revision = max(1, w.revision - 1)
    elif kind == "scale":
        surge = min(w.bounds.surge, value)
        unavailable = w.bounds.unavailable if surge or w.bounds.unavailable else 1
        w.bounds = scaling.Bounds(
            replicas=value, unavailable=unavailable, surge=surge, floor=w.bounds.floor
        )
    elif kind == "break" and value in w.groups:
        w.groups[value] = type(w.groups[value])(w.groups[value].revision, False)
    elif kind == "floor":
        w.bounds = scaling.Bounds(
            replicas=w.bounds.replicas,
            unavailable=w.bounds.unavailable,
            surge=w.bounds.surge,
            floor=value,
        )
    elif kind == "run":
        for _ in range(value):
            w.reconcile()
            w.scale_groups()
            for index in w.replaceable()[:1]:
                w.replace(index)


@from_strategy(_BOUNDS, _EVENTS, st.data())
@examples(200)
def test_whatever_happens_the_set_ends_at_its_newest_revision(
    bounds: scaling.Bounds, events: list[tuple[str, int]], data: st.DataObject
) -> None:
    w = World(bounds)
    for kind, value in events:
        disturb(w, kind, value)
    w.bounds = scaling.Bounds(
        replicas=w.bounds.replicas, unavailable=w.bounds.unavailable, surge=w.bounds.surge
    )
    finish(w, lambda steps: data.draw(st.sampled_from(steps)))
    replicas = w.bounds.replicas
    assert w.stage == (0, replicas, replicas, replicas)
    assert w.available
