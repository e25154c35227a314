"""A remedy is not held up by the groups that it is to mend."""

import dataclasses

import pytest

from lws_kueue.api import facts, names
from lws_kueue.controller.observe import groups
from lws_kueue.controller.rollout import planner, replacement, revert, scaling
from tests.kit.builders import given
from tests.kit.memory import scenario_model, scenarios

FIRST, MIDDLE, NEW = ("first", "revision-1"), ("middle", "revision-2"), ("new", "revision-3")


def leader_set(*, partition: int, replicas: int = 5, observed: int = 2) -> facts.StatefulSet:
    made = given.a_leader_set(replicas=replicas, partition=partition)
    return dataclasses.replace(
        made,
        meta=dataclasses.replace(made.meta, generation=2),
        spec={"template": {"metadata": {"labels": {names.REVISION_KEY: NEW[0]}}}},
        status={
            "observedGeneration": observed,
            "currentRevision": FIRST[1],
            "updateRevision": NEW[1],
        },
    )


def group(index: int, made: tuple[str, str], *, ready: bool = True) -> groups.Group:
    key, revision = made
    result = given.a_group(index, key=key, ready=ready)
    labels = {**result.leader.meta.labels, "controller-revision-hash": revision}
    meta = dataclasses.replace(result.leader.meta, labels=labels)
    return dataclasses.replace(result, leader=dataclasses.replace(result.leader, meta=meta))


def sent_back(
    *found: groups.Group,
    partition: int = 5,
    floor: int = 0,
    target: planner.Target | None = None,
    observed: int = 2,
    leave_alone: tuple[int, ...] = (),
) -> list[str]:
    stage = replacement.Stage(
        scaling.Bounds(replicas=4, unavailable=0, surge=1, floor=floor),
        leader_set=leader_set(partition=partition, observed=observed),
        target=target or planner.Target(partition, 5),
        found=groups.Groups(None, found),
        key=NEW[0],
    )
    deletions = revert.decide(stage, leave_alone=leave_alone)
    assert all(deletion.uid for deletion in deletions)
    return [deletion.ref.name for deletion in deletions]


STUCK = (
    group(0, FIRST),
    group(1, FIRST),
    group(2, FIRST),
    group(3, MIDDLE, ready=False),
    group(4, MIDDLE),
)


def test_a_group_that_is_neither_old_nor_new_nor_ready_goes_back() -> None:
    assert sent_back(*STUCK) == [f"{given.NAME}-3"]


def test_one_that_has_come_back_is_left_alone() -> None:
    assert sent_back(*STUCK[:3], group(3, FIRST, ready=False), STUCK[4]) == []


def test_one_that_is_ready_or_going_is_left_alone() -> None:
    assert sent_back(*STUCK[:3], group(3, MIDDLE), STUCK[4]) == []
    assert sent_back(*STUCK, leave_alone=(3,)) == []


def test_while_the_update_goes_on_by_itself_nothing_goes_back() -> None:
    # The partition moves in this pass, or what it has opened is not through yet.
    assert sent_back(*STUCK, target=planner.Target(3, 5)) == []
    assert sent_back(*STUCK, partition=4) == []
    assert sent_back(*STUCK[:4], partition=4) == []
    assert sent_back(*STUCK, observed=1) == []


def test_what_the_partition_has_opened_and_is_through_does_not_count() -> None:
    assert sent_back(*STUCK[:4], group(4, NEW), partition=4) == [f"{given.NAME}-3"]


def test_groups_that_the_user_keeps_back_are_left_alone() -> None:
    assert sent_back(*STUCK, floor=4) == []


@pytest.mark.parametrize(
    ("shape", "broken"),
    [
        (scenarios.Shape(4, 2, 1, 0, 0, 1), {"demo-3"}),
        (scenarios.Shape(4, 2, 1, 0, 1, 1), {"demo-2", "demo-3"}),
        (scenarios.Shape(4, 1, 1, 0, 0, 2), {"demo-2", "demo-3"}),
    ],
)
def test_an_update_that_mends_a_broken_one_comes_to_its_end_within_the_budget(
    shape: scenarios.Shape, broken: set[str]
) -> None:
    model = scenario_model.Model(shape)
    model.rest()
    model.quiet = True

    def starts(name: str) -> bool:
        image = model.objects["Pod", name]["spec"]["containers"][0]["image"]
        return not (name in broken and image == scenarios.IMAGE.format(2))

    def settle() -> None:
        for _ in range(60):
            model.rest(starting=False)
            model.run_pods({name for name in model.of_kind("Pod") if starts(name)})

    model.do(("template", 2))
    settle()
    assert broken == {name for name in model.of_kind("Pod") if not starts(name)}
    model.do(("template", 3))
    settle()
    assert model.live["status"]["readyReplicas"] == model.live["status"]["updatedReplicas"] == 4
    assert len(model.of_kind("ControllerRevision")) == 1
