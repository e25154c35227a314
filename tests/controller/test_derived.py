"""What follows from a fact is worked out once, and that changes nothing of what is decided."""

import dataclasses
import datetime
import random
import sys
from collections import Counter
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest
from hypothesis import given as from_strategy
from hypothesis import strategies as st

from lws_kueue.api import actions, kueue, memos, requests
from lws_kueue.controller import contradictions, decide
from lws_kueue.controller.admission import follow, shortages
from lws_kueue.controller.objects import group_objects
from lws_kueue.controller.observe import groups, observed
from lws_kueue.workload import build, diff, recreate, shape, state
from tests.kit.builders import builders
from tests.kit.examples import examples
from tests.kit.memory import cluster_model, scenario_model, scenarios

RANDOM = st.randoms(use_true_random=False, note_method_calls=False)
SIZE = 3
MOST_ANSWERS = 40
# To put a group into the order of the groups, and to look whether all its pods are known.
MOST_CALLS_A_GROUP = 3


class Compared(scenario_model.Model):
    """A model whose every decision is compared with that of a process which remembers nothing."""

    def planned(self, seen: observed.Observed) -> actions.Plan:
        plan = super().planned(seen)
        fresh = self.afresh(scenarios.SET)
        assert seen == fresh, "a decision has changed a fact"
        assert plan == decide.decide(fresh, now=self.now, options=self.options)
        for asks in (decide.nodes_asked, shortages.asked):
            assert asks(seen) == asks(fresh)
        assert decide.complete_members(seen, plan) == decide.complete_members(fresh, plan)
        assert plan == in_pieces(self.afresh(scenarios.SET), now=self.now, options=self.options)
        return plan


class Piece:
    """Says that a piece of a decision is over when a few answers were found out."""

    def __init__(self) -> None:
        self.answers = 0

    def __call__(self) -> bool:
        self.answers += 1
        return self.answers > MOST_ANSWERS


def in_pieces(
    seen: observed.Observed, *, now: datetime.datetime, options: build.Options
) -> actions.Plan:
    """Decide on what was seen in many pieces."""
    decision = object()
    while True:
        try:
            with seen.memo.pieces(decision, Piece()):
                return decide.decide(seen, now=now, options=options)
        except memos.Paused:
            pass


@from_strategy(RANDOM, st.booleans(), st.booleans())
@examples(200)
def test_what_is_remembered_changes_no_plan_and_no_plan_changes_a_fact(
    rng: random.Random, gate: bool, queue: bool
) -> None:
    scenario = scenarios.generate(rng)
    if queue:
        queued = dataclasses.replace(scenario.shape, queue=scenarios.QUEUE)
        scenario = dataclasses.replace(scenario, shape=queued)
    model = Compared(scenario.shape, max_unavailable_gate=gate)
    for _ in scenario_model.play(scenario, model, noise=rng):
        assert model.decide(scenarios.SET).empty


def at_rest(replicas: int, *, queue: bool = True) -> scenario_model.Model:
    model = scenario_model.Model(
        scenarios.Shape(replicas, SIZE, queue=scenarios.QUEUE if queue else "")
    )
    model.rest()
    model.pass_once(scenarios.SET)
    return model


COSTLY: tuple[tuple[Any, str], ...] = (
    (shape, "of"),
    (requests, "of_pod"),
    (groups, "Group"),
    (recreate, "outdated"),
    (follow, "group"),
    (diff, "_one"),
    (group_objects, "missing"),
    (contradictions, "_in_group"),
)


def counted(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count calls of what is costly for a group or a Workload."""
    calls: Counter[str] = Counter()

    def counting(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            calls[name] += 1
            return function(*args, **options)

        return call

    for module, name in COSTLY:
        function = getattr(module, name)
        monkeypatch.setattr(module, name, counting(name, function))
    return calls


@pytest.mark.parametrize("queue", [True, False])
def test_a_pass_over_what_is_unchanged_derives_nothing(
    monkeypatch: pytest.MonkeyPatch, queue: bool
) -> None:
    model = at_rest(6, queue=queue)
    calls = counted(monkeypatch)
    assert model.decide(scenarios.SET).empty
    assert not calls


@pytest.mark.parametrize("queue", [True, False])
def test_a_pass_after_one_pod_has_changed_derives_what_follows_from_that_pod(
    monkeypatch: pytest.MonkeyPatch, queue: bool
) -> None:
    model = at_rest(6, queue=queue)
    model.touch(model.objects["Pod", f"{scenarios.SET}-2-1"])
    calls = counted(monkeypatch)
    assert model.decide(scenarios.SET).empty
    assert calls["Group"] == 1
    assert max(calls.values()) == 1


def test_a_first_pass_derives_each_thing_once_for_what_it_is_about(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    replicas = 6
    model = at_rest(replicas)
    seen = model.afresh(scenarios.SET)
    calls = counted(monkeypatch)
    assert decide.decide(seen, now=model.now, options=build.Options()).empty
    pods = replicas * SIZE
    # One more is for what the revision asks for.
    most = {"of": replicas + 1, "of_pod": pods + 2 * replicas + 2}
    assert all(count <= most.get(name, replicas) for name, count in calls.items()), calls


def steps(seen: observed.Observed) -> int:
    """Return how many functions a decision calls, which unlike seconds is always the same."""
    count = 0

    def profile(_frame: FrameType, event: str, _arg: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(profile)
    try:
        decide.decide(seen, now=cluster_model.NOW, options=build.Options())
    finally:
        sys.setprofile(None)
    return count


def test_what_a_pass_costs_grows_with_the_set_and_no_faster() -> None:
    few, many = at_rest(10), at_rest(30)
    first = [steps(model.afresh(scenarios.SET)) for model in (few, many)]
    again = [steps(model.observe(scenarios.SET)) for model in (few, many)]
    assert first[1] < 3 * first[0]
    assert again[1] < 3 * again[0]
    assert again[1] < first[1] / 4


def calls_in(seen: observed.Observed) -> int:
    """Return how many functions of ours a decision and what belongs to it call."""
    count = 0

    def profile(frame: FrameType, event: str, _arg: object) -> None:
        nonlocal count
        count += event == "call" and "lws_kueue" in frame.f_code.co_filename

    sys.setprofile(profile)
    try:
        plan = decide.decide(seen, now=cluster_model.NOW, options=build.Options())
        decide.complete_members(seen, plan)
        decide.nodes_asked(seen)
        shortages.asked(seen)
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("queue", [True, False])
def test_a_pass_after_one_pod_has_changed_calls_as_much_however_many_groups_there_are(
    queue: bool,
) -> None:
    found = []
    for replicas in (4, 24):
        model = at_rest(replicas, queue=queue)
        for _ in range(2):
            model.touch(model.objects["Pod", f"{scenarios.SET}-2-1"])
            seen = model.observe(scenarios.SET)
            count = calls_in(seen)
        found.append(count)
    few, many = found
    # A handful of calls beside each other are made for each group, all others for one.
    assert many - few < 20 * MOST_CALLS_A_GROUP


def a_workload(**options: Any) -> kueue.Workload:
    return builders.admitted(**options)


def test_a_copy_with_other_fields_keeps_nothing_of_what_followed_from_the_original() -> None:
    workload = a_workload()
    assert state.admission(workload) is state.Admission.ADMITTED
    meta = dataclasses.replace(workload.meta, deleted=builders.EARLIER)
    going = workload.model_copy(update={"meta": meta})
    assert state.admission(going) is state.Admission.DELETING
    assert state.admission(workload) is state.Admission.ADMITTED


def test_what_is_kept_with_a_fact_is_no_part_of_it() -> None:
    asked, other = a_workload(), a_workload()
    state.admission(asked)
    assert asked == other
