"""Random lives of a set on the model: what must never be never is, and all ends where it has to."""

import dataclasses
import functools
import random
from collections.abc import Iterable

import pytest
from hypothesis import given as from_strategy
from hypothesis import strategies as st

from lws_kueue.api import actions, names
from tests.kit.examples import examples
from tests.kit.memory import scenario_model, scenarios

RANDOM = st.randoms(use_true_random=False, note_method_calls=False)


def ends_well(model: scenario_model.Model, picture: scenarios.Picture) -> None:
    """Look at the end of a scenario without a partition: everything is at the newest revision."""
    shape = model.shape
    content = f"{scenarios.IMAGE.format(shape.version)} size {shape.size}"
    groups = range(shape.replicas)
    members = [f"{scenarios.SET}-{i}-{j}" for i in groups for j in range(1, shape.size)]
    pods = {*members, *(f"{scenarios.SET}-{i}" for i in groups)}
    assert picture.pods == dict.fromkeys(pods, f"{content}, revision of {content}, ready")
    assert set(picture.workers.values()) <= {f"{shape.size - 1} of {content}"}
    assert len(picture.workers) == (shape.replicas if shape.size > 1 else 0)
    assert picture.leaders == f"{shape.replicas} of {content} from 0 on"
    assert picture.revisions == (content,)
    counters = ("replicas", "readyReplicas", "updatedReplicas")
    assert picture.status == f"{dict.fromkeys(counters, shape.replicas)}, seen"
    assert picture.conditions == ("Available",)


@from_strategy(RANDOM, st.booleans())
@examples(500)
def test_whatever_happens_in_whatever_order_a_set_comes_to_the_same_rests(
    rng: random.Random, gate: bool
) -> None:
    scenario = scenarios.generate(rng)
    calm = scenario_model.Model(scenario.shape, max_unavailable_gate=gate)
    expected = list(scenario_model.play(scenario, calm))
    disturbed = scenario_model.Model(scenario.shape, max_unavailable_gate=gate)
    assert list(scenario_model.play(scenario, disturbed, noise=rng)) == expected
    assert disturbed.decide(scenarios.SET).empty
    if calm.shape.partition == 0:
        ends_well(calm, expected[-1])


def a_rollout(rng: random.Random, *, gate: bool, accidents: bool) -> None:
    """Play updates, each perhaps half-way through another, with a rollback now and then."""
    surge = rng.randint(0, 2)
    unavailable = rng.randint(0 if surge else 1, 4)
    shape = scenarios.Shape(rng.randint(1, 6), rng.randint(1, 2), 1, 0, unavailable, surge)
    shape = dataclasses.replace(shape, queue=rng.choice(["", scenarios.QUEUE]) if accidents else "")
    model = scenario_model.Model(shape, max_unavailable_gate=gate)
    model.rest()
    model.quiet = not accidents
    for _ in range(rng.randint(1, 3)):
        model.do(("template", rng.randint(1, 3)))
        for _ in range(rng.randint(0, 30)):
            if accidents and not rng.randint(0, 5):
                model.do(scenarios.accident(rng, model.shape))
            model.disturb(rng, violent=True)
    ends_well(model, model.rest())


@from_strategy(RANDOM, st.booleans())
@examples(150)
def test_while_nothing_breaks_by_itself_never_are_more_unavailable_than_may_be(
    rng: random.Random, gate: bool
) -> None:
    a_rollout(rng, gate=gate, accidents=False)


def test_what_an_update_that_was_taken_back_may_still_replace_is_counted_as_down() -> None:
    """Its StatefulSet controller is late: it goes by the partition from before that."""
    model = scenario_model.Model(scenarios.Shape(2, 1, unavailable=1, surge=1))
    model.rest()
    model.quiet = True
    looks = functools.partial(model.pass_once, scenarios.SET)
    model.do(("template", 2))
    for happens in (looks, model.make_pods, model.run_pods, model.end_and_collect):
        looks()
        happens()
    looks()
    # Half-way through it is taken back, and nothing may be replaced below the partition any more.
    model.do(("template", 1))
    for happens in (model.make_pods, model.run_pods):
        happens()
        looks()
    model.make_pods(late=True)
    model.end_and_collect()
    model.make_pods()
    model.check()
    ends_well(model, model.rest())


@from_strategy(RANDOM)
@examples(150)
def test_what_breaks_during_an_update_leaves_less_to_be_replaced(rng: random.Random) -> None:
    a_rollout(rng, gate=False, accidents=True)


def uids(model: scenario_model.Model) -> dict[str, str]:
    return {name: pod["metadata"]["uid"] for name, pod in model.of_kind("Pod").items()}


def leaders(pods: Iterable[str]) -> list[str]:
    return [name for name in pods if name.count("-") == 1]


@pytest.mark.parametrize(
    ("replicas", "unavailable", "surge", "rounds"),
    [
        (12, 4, 0, [4, 4, 4]),
        (10, 4, 0, [4, 4, 2]),
        (4, 9, 0, [4]),
        (4, 2, 2, [2, 2]),
        (6, 0, 2, [2, 2, 2]),
        (3, 1, 0, [1, 1, 1]),
    ],
)
def test_outdated_groups_are_replaced_in_rounds_of_as_many_as_may_be(
    replicas: int, unavailable: int, surge: int, rounds: list[int]
) -> None:
    shape = scenarios.Shape(replicas, 2, 1, 0, unavailable, surge)
    model = scenario_model.Model(shape)
    model.rest()
    model.quiet = True
    model.do(("template", 2))
    found = []
    while True:
        before = uids(model)
        model.rest(starting=False)
        after = uids(model)
        if after == before:
            break
        again = [name for name in leaders(after) if before.get(name, after[name]) != after[name]]
        if again:
            found.append(len(again))
        model.run_pods()
    assert found == rounds
    ends_well(model, model.rest())


def test_a_group_that_is_about_to_be_replaced_gets_no_workers_any_more() -> None:
    model = scenario_model.Model(scenarios.Shape(replicas=3, size=2, unavailable=3))
    model.rest()
    model.do(("template", 2))
    for _ in range(2):
        model.pass_once(scenarios.SET)
        model.make_pods()
    del model.objects["StatefulSet", "demo-0"]
    plan = model.decide(scenarios.SET)
    deleted = [a.ref.name for c in plan.chains for a in c if isinstance(a, actions.Delete)]
    assert deleted == ["demo-1", "demo-0"], "the StatefulSet controller has taken the topmost"
    assert not [a for chain in plan.chains for a in chain if isinstance(a, actions.Create)]


# Rows of lws-contract 6.4 on whole passes.


@pytest.mark.row("CTL-24")
def test_the_first_roll_out_is_no_update() -> None:
    model = scenario_model.Model(scenarios.Shape(replicas=4, size=2, surge=2))
    for starting in (False, True):
        model.rest(starting=starting)
        types = [c["type"] for c in model.live["status"]["conditions"]]
        assert "UpdateInProgress" not in types


def half_way(model: scenario_model.Model, *steps: scenarios.Step) -> scenarios.Picture:
    """Let group 3 be updated but not start, and then group 0 lose its leader."""
    model.rest()
    for step in steps:
        model.do(step)
    model.rest(starting=False)
    assert model.picture().leaders.endswith("from 3 on")
    model.do(("kill", "demo-0", "gracefully"))
    return model.rest(starting=False)


@pytest.mark.row("CTL-41")
def test_a_group_that_is_made_again_below_the_partition_gets_the_old_workers() -> None:
    model = scenario_model.Model(scenarios.Shape(replicas=4, size=2))
    before = model.rest()
    killed = uids(model)["demo-0"]
    after = half_way(model, ("template", 2))
    assert uids(model)["demo-0"] != killed
    old, new = (f"1 of {scenarios.IMAGE.format(version)} size 2" for version in (1, 2))
    assert before.workers == dict.fromkeys(before.workers, old)
    assert after.workers == {**before.workers, "demo-3": new}
    for index in range(4):
        worker_set = model.objects["StatefulSet", f"demo-{index}"]
        leader = model.objects["Pod", f"demo-{index}"]
        keys = {o["metadata"]["labels"][names.REVISION_KEY] for o in (worker_set, leader)}
        assert len(keys) == 1
        template = worker_set["spec"]["template"]["spec"]["containers"][0]["image"]
        assert template == scenarios.IMAGE.format(2 if index == 3 else 1)
    assert len(after.revisions) == 2
    ends_well(model, model.rest())


@pytest.mark.row("CTL-42")
def test_a_group_that_is_made_again_below_the_partition_keeps_its_size() -> None:
    model = scenario_model.Model(scenarios.Shape(replicas=4, size=4))
    after = half_way(model, ("template", 2), ("size", 2))
    old, new = (scenarios.IMAGE.format(version) for version in (1, 2))
    assert after.workers["demo-0"] == f"3 of {old} size 4"
    assert after.workers["demo-3"] == f"1 of {new} size 2"
    template = model.objects["StatefulSet", "demo-0"]["spec"]["template"]
    assert template["metadata"]["annotations"][names.SIZE] == "4"
    assert template["spec"]["containers"][0]["image"] == old
    ends_well(model, model.rest())


def test_a_key_that_somebody_wrote_on_the_leader_statefulset_is_no_endless_rollout() -> None:
    model = scenario_model.Model(scenarios.Shape(replicas=2, size=2))
    model.rest()
    leader_set = model.objects["StatefulSet", "demo"]
    leader_set["metadata"]["labels"][names.REVISION_KEY] = "template-hash"
    model.touch(leader_set)
    ends_well(model, model.rest())
