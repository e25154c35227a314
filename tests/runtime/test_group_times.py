"""How long groups wait, are released and get ready: from what is seen to happen, and only once."""

import datetime
from typing import Any

import pytest

from lws_kueue.api import kueue
from lws_kueue.runtime import cache, group_times, metrics, resources
from tests.kit.builders import builders
from tests.kit.builders.builders import ADMITTED, RESERVED, condition, evicted

BEGAN = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
READY = condition("PodsReady", True, "Started")


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def steady(self) -> float:
        return self.seconds

    def wall(self) -> datetime.datetime:
        return BEGAN + datetime.timedelta(seconds=self.seconds)


class Told:
    """What was measured, by step."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.steps: list[tuple[str, float]] = []
        for step in ("admitted", "released", "ready"):

            def tell(namespace: str, queue: str, seconds: float, step: str = step) -> None:
                assert namespace
                assert queue
                self.steps.append((step, seconds))

            monkeypatch.setattr(metrics, f"group_{step}", tell)


def workload(*conditions: Any) -> kueue.Workload:
    created = {"creationTimestamp": BEGAN.strftime("%Y-%m-%dT%H:%M:%SZ")}
    return builders.workload(conditions=list(conditions), metadata=created)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    return Told(monkeypatch)


def test_each_step_of_a_group_is_measured_from_the_one_before(told: Told) -> None:
    clock = Clock()
    times = group_times.GroupTimes(clock=clock.steady, wall=clock.wall)
    pending, admitted = workload(), workload(RESERVED, ADMITTED)
    clock.seconds = 10
    times.changed(pending, admitted)
    clock.seconds = 12
    times.released(admitted)
    times.released(admitted)
    clock.seconds = 42
    ready = workload(RESERVED, ADMITTED, READY)
    times.changed(admitted, ready)
    times.changed(ready, admitted)
    times.changed(admitted, ready)
    assert told.steps == [("admitted", 10), ("released", 2), ("ready", 30)]


def test_a_group_that_is_evicted_waits_from_then_on(told: Told) -> None:
    clock = Clock()
    times = group_times.GroupTimes(clock=clock.steady, wall=clock.wall)
    admitted, back = workload(RESERVED, ADMITTED), workload(RESERVED, ADMITTED, evicted())
    times.changed(workload(), admitted)
    clock.seconds = 100
    times.changed(admitted, back)
    clock.seconds = 130
    times.changed(back, admitted)
    times.changed(admitted, workload(RESERVED, ADMITTED, READY))
    assert told.steps == [("admitted", 0), ("admitted", 30)]


def test_of_what_happened_while_nobody_looked_nothing_is_told(told: Told) -> None:
    clock = Clock()
    times = group_times.GroupTimes(clock=clock.steady, wall=clock.wall)
    admitted = workload(RESERVED, ADMITTED)
    times.released(admitted)
    times.changed(admitted, workload(RESERVED, ADMITTED, READY))
    # It was evicted before a start, and nobody knows when.
    times.changed(workload(evicted()), workload(RESERVED, ADMITTED, condition("Evicted", False)))
    assert told.steps == []


def test_no_more_groups_are_remembered_than_there_is_room_for(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_times, "MOST_GROUPS", 1)
    times = group_times.GroupTimes()
    first, second = (
        builders.workload(conditions=[RESERVED, ADMITTED], metadata={"uid": uid})
        for uid in ("one", "two")
    )
    for one in (first, second):
        times.changed(builders.workload(metadata={"uid": one.meta.uid}), one)
    times.released(first)
    times.released(second)
    assert [step for step, _ in told.steps].count("released") == 1


def test_the_cache_tells_of_a_workload_that_changes_and_not_of_a_first_sight() -> None:
    store = cache.Cache()
    seen: list[tuple[str, str]] = []
    store.on_workload = lambda was, now: seen.append(
        (was.meta.resource_version, now.meta.resource_version)
    )
    for version in ("1", "2", "2"):
        stored = builders.stored_workload(metadata={"resourceVersion": version})
        store.upsert(resources.WORKLOADS, stored)
    other = builders.stored_workload(metadata={"resourceVersion": "3", "uid": "another"})
    store.upsert(resources.WORKLOADS, other)
    assert seen == [("1", "2")]


def test_queues_beyond_the_bound_share_one_series(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "_queues", set())
    monkeypatch.setattr(metrics, "MOST_QUEUES", 1)
    for queue in ("first", "second", "third"):
        metrics.group_admitted("bounded", queue, 1.0)
    told = metrics.REGISTRY.get_sample_value
    name = "lws_kueue_group_admission_wait_seconds_count"
    assert told(name, {"namespace": "bounded", "local_queue": "first"}) == 1
    assert told(name, {"namespace": "bounded", "local_queue": "second"}) is None
    assert told(name, {"namespace": "", "local_queue": ""}) == 2
