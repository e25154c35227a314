"""Outdated groups that the partition has opened are replaced together, within the budget."""

import dataclasses
from typing import Any

from hypothesis import given as from_strategy
from hypothesis import strategies as st

from lws_kueue.api import facts, names
from lws_kueue.controller.observe import groups
from lws_kueue.controller.rollout import planner, replacement, scaling
from tests.kit.builders import given
from tests.kit.examples import examples

OLD, NEW = ("old", "revision-1"), ("new", "revision-2")


def leader_set(
    *,
    replicas: int = 6,
    partition: int = 0,
    key: str = NEW[0],
    generation: int = 2,
    observed_generation: int = 2,
    max_unavailable: int | None = None,
) -> facts.StatefulSet:
    """Return a leader StatefulSet at the new template, without ``maxUnavailable`` by default."""
    made = given.a_leader_set(replicas=replicas, partition=partition)
    rolling: dict[str, Any] = {"partition": partition}
    if max_unavailable is not None:
        rolling["maxUnavailable"] = max_unavailable
    return dataclasses.replace(
        made,
        meta=dataclasses.replace(made.meta, generation=generation),
        spec={
            "updateStrategy": {"rollingUpdate": rolling},
            "template": {"metadata": {"labels": {names.REVISION_KEY: key}}},
        },
        status={"observedGeneration": observed_generation, "updateRevision": NEW[1]},
    )


def group(index: int, made: tuple[str, str] = OLD, **options: Any) -> groups.Group:
    """Return a group, ready and outdated unless told otherwise."""
    key, revision = made
    result = given.a_group(index, key=key, **options)
    labels = {**result.leader.meta.labels, "controller-revision-hash": revision}
    meta = dataclasses.replace(result.leader.meta, labels=labels)
    return dataclasses.replace(result, leader=dataclasses.replace(result.leader, meta=meta))


def replaced(
    found: list[groups.Group],
    *,
    unavailable: int = 2,
    surge: int = 0,
    replicas: int | None = None,
    target: planner.Target | None = None,
    leave_alone: set[int] | None = None,
    **live: Any,
) -> list[int]:
    """Return the indices of the groups that are replaced."""
    count = len(found) if replicas is None else replicas
    at = leader_set(**({"replicas": count + surge} | live))
    stage = replacement.Stage(
        scaling.Bounds(replicas=count, unavailable=unavailable, surge=surge),
        leader_set=at,
        target=target or planner.Target(at.partition, at.replicas),
        found=groups.Groups(at, tuple(found)),
        key=NEW[0],
    )
    deletions = replacement.decide(stage, leave_alone=leave_alone or ())
    by_uid = {one.leader.meta.uid: one.index for one in found}
    return [by_uid[deletion.uid] for deletion in deletions]


def six(**changed: groups.Group) -> list[groups.Group]:
    """Return six outdated groups, some of them given by ``g0`` to ``g5``."""
    return [changed.get(f"g{index}", group(index)) for index in range(6)]


def test_as_many_as_the_budget_allows_are_replaced_from_the_top() -> None:
    assert replaced(six(), unavailable=1, surge=0) == []
    assert replaced(six(), unavailable=2) == [5, 4]
    assert replaced(six(), unavailable=9) == [5, 4, 3, 2, 1, 0]


def test_a_deletion_names_the_leader_and_takes_its_workers_along() -> None:
    bounds = scaling.Bounds(replicas=6, unavailable=2)
    found = groups.Groups(leader_set(), tuple(six()))
    stage = replacement.Stage(bounds, leader_set(), planner.Target(0, 6), found, NEW[0])
    (deletion, *_) = replacement.decide(stage)
    assert deletion.ref.kind == "Pod"
    assert deletion.ref.name == "test-sample-5"
    assert deletion.uid == group(5).leader.meta.uid
    assert deletion.propagation == "Foreground"
    assert deletion.events == ()


def test_groups_below_the_partition_are_protected() -> None:
    assert replaced(six(), unavailable=4, partition=4) == [5, 4]


def test_where_the_statefulset_controller_does_it_nothing_is_done_here() -> None:
    assert replaced(six(), unavailable=4, max_unavailable=4) == []
    assert replaced(six(), unavailable=4, max_unavailable=1) == []


def test_nothing_is_replaced_before_the_new_template_was_seen() -> None:
    assert replaced(six(), observed_generation=1) == []
    assert replaced(six(), key=OLD[0]) == []


def test_nothing_is_replaced_in_a_pass_that_moves_the_partition_or_scales() -> None:
    assert replaced(six(), partition=4, target=planner.Target(2, 6)) == []
    assert replaced(six(), target=planner.Target(0, 5)) == []


def test_without_a_leader_statefulset_nothing_is_replaced() -> None:
    bounds = scaling.Bounds(replicas=2, unavailable=2)
    found = groups.Groups(None, (group(0), group(1)))
    stage = replacement.Stage(bounds, None, planner.Target(0, 2), found, NEW[0])
    assert replacement.decide(stage) == ()


def test_groups_that_are_down_already_leave_less_of_the_budget() -> None:
    updated = group(5, NEW, ready=False)
    assert replaced(six(g5=updated), unavailable=2) == [4]
    assert replaced(six(g5=updated, g4=group(4, NEW, ready=False)), unavailable=2) == []


def test_an_outdated_group_that_is_not_ready_costs_nothing() -> None:
    broken = {"g1": group(1, ready=False), "g3": group(3, ready=False)}
    assert replaced(six(**broken), unavailable=2) == [3, 1]
    assert replaced(six(**broken), unavailable=3) == [5, 3, 1]


def test_a_group_without_its_worker_statefulset_is_not_ready() -> None:
    lone = dataclasses.replace(group(2), worker_set=None, workers=())
    assert replaced(six(g2=lone), unavailable=2) == [5, 2]


def test_a_group_that_is_being_deleted_is_down_and_not_deleted_again() -> None:
    going = group(5, deleted=True)
    assert replaced(six(g5=going), unavailable=2) == [4]


def test_groups_that_somebody_else_takes_down_are_left_to_them() -> None:
    assert replaced(six(), unavailable=2, leave_alone={5}) == [4]
    assert replaced(six(), unavailable=2, leave_alone={0, 1}) == []


def test_surge_groups_stand_in_for_those_that_are_replaced() -> None:
    found = [group(0), group(1), group(2), group(3, NEW), group(4, NEW)]
    assert replaced(found, replicas=3, unavailable=0, surge=2) == [2, 1]
    found[4] = group(4, NEW, ready=False)
    assert replaced(found, replicas=3, unavailable=0, surge=2) == [2]


def test_a_group_that_is_scaled_away_counts_for_nothing() -> None:
    assert replaced([group(index) for index in range(6)], replicas=4, unavailable=2) == [3, 2]


def test_a_label_that_somebody_edited_does_not_replace_a_group_for_ever() -> None:
    assert replaced(six(g5=group(5, (OLD[0], NEW[1]))), unavailable=2) == [4, 3]


_GROUPS = st.lists(
    st.tuples(st.sampled_from([OLD, NEW]), st.booleans(), st.booleans()), min_size=1, max_size=8
)


@from_strategy(
    _GROUPS, st.integers(0, 9), st.integers(0, 3), st.integers(0, 8), st.sets(st.integers(0, 7))
)
@examples(300)
def test_together_with_the_statefulset_controller_the_budget_is_kept(
    made: list[tuple[tuple[str, str], bool, bool]],
    unavailable: int,
    surge: int,
    partition: int,
    stopped: set[int],
) -> None:
    found = [
        group(index, key, ready=ready, deleted=deleted)
        for index, (key, ready, deleted) in enumerate(made)
    ]
    replicas = max(0, len(found) - surge)
    ready = {
        one.index
        for one in found
        if one.ready and not one.leader.meta.deleting and one.index not in stopped
    }
    taken = replaced(
        found,
        replicas=replicas,
        unavailable=unavailable,
        surge=len(found) - replicas,
        partition=partition,
        leave_alone=stopped,
    )
    needed = replicas - unavailable
    assert len(ready - set(taken)) >= min(needed, len(ready))
    assert all(found[index].key == OLD[0] and index >= partition for index in taken)
    assert not stopped & set(taken)
    # The one that the StatefulSet controller would take now is the first that is taken here.
    candidates = [
        one.index
        for one in found
        if one.key == OLD[0] and not one.leader.meta.deleting and one.index >= partition
    ]
    if taken and max(candidates) not in stopped and max(candidates) in ready:
        assert (ready & set(taken) == set()) or max(candidates) in taken
