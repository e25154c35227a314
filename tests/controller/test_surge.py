from datetime import UTC, datetime, timedelta

import pytest

from lws_kueue.api import facts, names
from lws_kueue.controller.observe import groups
from lws_kueue.controller.rollout import planner, surge
from tests.kit.builders import given

NOW = datetime(2030, 1, 1, 12, 0, 10, tzinfo=UTC)


def born(index: int, *, ago: float) -> groups.Group:
    """A group whose leader was created so many seconds ago, by the clock of the API server."""
    created = (NOW - timedelta(seconds=ago)).strftime("%Y-%m-%dT%H:%M:%SZ")
    pod = given.a_leader(index)
    leader = facts.Pod.of(
        {
            "metadata": {"name": pod.meta.name, "creationTimestamp": created},
            "spec": {},
            "status": {},
        }
    )
    return groups.Group(index=index, size=1, leader=leader)


def leader_set(*, replicas: int, desired: int = 2) -> facts.StatefulSet:
    return given.a_leader_set(replicas=replicas, annotations={names.REPLICAS: str(desired)})


def kept(
    target: int, *found: groups.Group, replicas: int = 4, applied: int = 2
) -> tuple[int, float | None]:
    """How many groups stay, and in how many seconds to look again, to the millisecond."""
    result, wait = surge.kept(
        planner.Target(partition=1, replicas=target),
        leader_set=leader_set(replicas=replicas, desired=applied),
        found={group.index: group for group in found},
        desired=2,
        now=NOW,
    )
    assert result.partition == 1
    return result.replicas, None if wait is None else round(wait, 3)


def test_a_surge_that_has_been_there_for_a_while_goes() -> None:
    assert kept(2, born(2, ago=60), born(3, ago=60)) == (2, None)


def test_a_surge_group_of_this_moment_stays_and_is_looked_at_again() -> None:
    assert kept(3, born(2, ago=60), born(3, ago=0)) == (4, 1.6)
    assert kept(3, born(2, ago=60), born(3, ago=1)) == (4, 0.6)


def test_the_youngest_of_those_that_would_go_decides() -> None:
    assert kept(2, born(2, ago=1), born(3, ago=0)) == (4, 1.6)
    # The one that stays anyway does not.
    assert kept(3, born(2, ago=0), born(3, ago=60)) == (3, None)


def test_scaling_down_is_not_held_up() -> None:
    assert kept(2, born(2, ago=0), born(3, ago=0), applied=4) == (2, None)
    assert kept(1, born(2, ago=0), born(3, ago=0)) == (1, None)


def test_a_surge_that_has_no_pods_yet_goes() -> None:
    assert kept(2) == (2, None)


def test_clocks_that_differ_hold_nothing_up() -> None:
    assert kept(2, born(2, ago=-30), born(3, ago=-30)) == (2, None)


@pytest.mark.parametrize("replicas", [4, 5])
def test_a_target_that_takes_nothing_back_is_left_as_it_is(replicas: int) -> None:
    assert kept(replicas, born(2, ago=0), born(3, ago=0)) == (replicas, None)


def test_without_a_leader_statefulset_there_is_no_surge() -> None:
    target = planner.Target(partition=0, replicas=2)
    assert surge.kept(target, leader_set=None, found={}, desired=2, now=NOW) == (target, None)
