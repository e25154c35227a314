"""The timing of status writes, with a clock that the tests set."""

from dataclasses import dataclass, field, replace
from itertools import pairwise

import pytest

from lws_kueue.api import actions, names
from lws_kueue.controller import repairs
from lws_kueue.runtime import memory

REF = actions.Ref(names.LWS_API_VERSION, names.LWS_KIND, "ns", "set")
INTERVAL = 1.0


@dataclass
class World:
    """Status writes at a time of their own."""

    now: float = 1000.0
    writes: memory.StatusWrites = field(init=False)

    def __post_init__(self) -> None:
        self.writes = memory.StatusWrites(INTERVAL, clock=lambda: self.now)


def a_write(
    ready: int, *, settled: bool = False, urgent: bool = False, event: str = ""
) -> actions.StatusWrite:
    kind = "Available" if settled else "Progressing"
    condition = {
        "type": kind,
        "status": "True",
        "reason": "R",
        "message": f"{ready} ready",
        "lastTransitionTime": "2024-05-06T07:08:09Z",
        "observedGeneration": 1,
    }
    return actions.StatusWrite(
        ref=REF,
        status={"readyReplicas": ready, "conditions": [condition]},
        resource_version="1",
        settled=settled,
        urgent=urgent,
        events=(actions.Event("Normal", event, event),) if event else (),
    )


def test_what_is_settled_is_told_at_once() -> None:
    write = a_write(2, settled=True)
    assert World().writes.due(write) == (write, None)


def test_progress_is_told_after_half_an_interval() -> None:
    world = World()
    assert world.writes.due(a_write(0)) == (None, INTERVAL / 2)
    world.now += INTERVAL / 4
    assert world.writes.due(a_write(1)) == (None, INTERVAL / 4)
    world.now += INTERVAL / 4
    assert world.writes.due(a_write(2)) == (a_write(2), None)


@pytest.mark.parametrize("settled", [True, False], ids=["settled", "progress"])
def test_between_two_writes_lies_an_interval(settled: bool) -> None:
    world = World()
    world.writes.due(a_write(1, settled=True))
    world.writes.written()
    world.now += INTERVAL / 8
    assert world.writes.due(a_write(2, settled=settled)) == (None, INTERVAL * 7 / 8)
    world.now += INTERVAL * 7 / 8
    assert world.writes.due(a_write(2, settled=settled)) == (a_write(2, settled=settled), None)


def test_what_somebody_waits_for_is_not_held_back() -> None:
    world = World()
    world.writes.due(a_write(1, settled=True))
    world.writes.written()
    write = a_write(2, urgent=True)
    assert world.writes.due(write) == (write, None)


def test_events_of_what_was_held_back_follow_the_write_that_tells_it() -> None:
    world = World()
    world.writes.due(a_write(0, event="GroupsProgressing"))
    due, _ = world.writes.due(a_write(2, settled=True, event="AllGroupsReady"))
    assert due is not None
    assert [event.reason for event in due.events] == ["GroupsProgressing", "AllGroupsReady"]


def test_decisions_build_on_conditions_until_they_are_written() -> None:
    world = World()
    assert world.writes.conditions() is None
    world.writes.due(a_write(0))
    (condition,) = world.writes.conditions() or ()
    assert (condition.type, condition.message) == ("Progressing", "0 ready")
    world.writes.due(a_write(2, settled=True))
    world.writes.written()
    assert world.writes.conditions() is None


def test_a_write_that_failed_is_due_again_with_all_its_events() -> None:
    world = World()
    first, _ = world.writes.due(a_write(2, settled=True, event="AllGroupsReady"))
    assert world.writes.due(a_write(2, settled=True)) == (first, None)


def test_a_status_that_came_true_by_itself_is_forgotten() -> None:
    world = World()
    world.writes.due(a_write(0, event="GroupsProgressing"))
    assert world.writes.due(None) == (None, None)
    assert world.writes.conditions() is None
    assert world.writes.due(a_write(1)) == (None, INTERVAL / 2)


def quoting(value: int, *, ready: int = 1) -> actions.StatusWrite:
    """A write whose texts quote what somebody else writes."""
    write = a_write(ready, settled=True)
    conditions = [{**write.status["conditions"][0], "message": f"it has {value}"}]
    general = {**write.status, "conditions": write.status["conditions"]}
    return replace(write, status={**write.status, "conditions": conditions}, gist=general)


def written_in(world: World, *, seconds: int, ready: bool = False) -> list[float]:
    """Return when a status is written that quotes another value each second."""
    times = []
    for value in range(seconds):
        world.now += 1.0
        write = quoting(value, ready=value if ready else 1)
        if world.writes.due(write)[0] is not None:
            world.writes.written()
            times.append(world.now - 1000.0)
    return times


def test_a_status_that_only_quotes_other_values_is_written_with_growing_pauses() -> None:
    times = written_in(World(), seconds=3600)
    assert 2 <= len([at for at in times if at <= 60]) <= 6
    later = [at for at in times if at > 60]
    assert later
    assert {after - before for before, after in pairwise(later)} == {repairs.LONGEST}


def test_a_status_that_counts_otherwise_is_written_whatever_it_quotes() -> None:
    assert len(written_in(World(), seconds=60, ready=True)) == 60


def test_news_is_not_held_back_by_a_flood_of_values() -> None:
    world = World()
    written_in(world, seconds=120)
    world.now += INTERVAL
    news = quoting(7, ready=2)
    assert world.writes.due(news) == (news, None)


def test_the_last_of_many_values_is_written_when_the_pause_is_over() -> None:
    world = World()
    written_in(world, seconds=45)
    write, held = world.writes.due(quoting(45))
    assert write is None
    assert held is not None
    world.now += held
    assert world.writes.due(quoting(45)) == (quoting(45), None)
