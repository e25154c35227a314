"""Rules about the subgroups of a LeaderWorkerSet (lws-contract 1.3)."""

from collections.abc import Mapping
from typing import Any

import pytest

from lws_kueue.api import names
from tests.kit.admission import support

SUBGROUPS = "spec.leaderWorkerTemplate.subGroupPolicy"
SUBGROUP_SIZE = f"{SUBGROUPS}.subGroupSize"

Change = Mapping[str, Any]


def row(id_: str, *values: Any) -> Any:
    """Return a parameter set that carries the id of an acceptance row."""
    return pytest.param(*values, marks=pytest.mark.row(id_), id=id_)


def with_subgroups(size: int, **policy: Any) -> Change:
    """Return a change that asks for subgroups."""
    return support.template(size=size, subGroupPolicy=policy)


@pytest.mark.parametrize(
    "change",
    [
        row("VAL-07", with_subgroups(2, subGroupSize=-1)),
        row("VAL-08", with_subgroups(2, subGroupSize=3)),
        row("VAL-09", with_subgroups(4, subGroupSize=2, subGroupPolicyType="LeaderExcluded")),
        pytest.param(with_subgroups(2, subGroupPolicyType="LeaderWorker"), id="no-size"),
        pytest.param(with_subgroups(2, subGroupSize=0), id="size-zero"),
        pytest.param(with_subgroups(6, subGroupSize=4), id="indivisible"),
    ],
)
def test_an_impossible_division_into_subgroups_is_refused_at_its_size(
    sets: support.Sets, change: Change
) -> None:
    with support.refused() as refusal:
        sets.accept(sets.build(change))
    assert SUBGROUP_SIZE in refusal.fields, refusal


@pytest.mark.parametrize(
    ("size", "policy"),
    [
        (4, {"subGroupSize": 2}),
        (5, {"subGroupSize": 2}),
        (5, {"subGroupSize": 2, "subGroupPolicyType": "LeaderExcluded"}),
        (3, {"subGroupSize": 1}),
        (3, {"subGroupSize": 3}),
    ],
)
def test_a_possible_division_into_subgroups_is_accepted(
    sets: support.Sets, size: int, policy: dict[str, Any]
) -> None:
    stored = sets.accept(sets.build(with_subgroups(size, **policy)))
    expected = {"subGroupPolicyType": "LeaderWorker", **policy}
    assert stored["spec"]["leaderWorkerTemplate"]["subGroupPolicy"] == expected


@pytest.mark.parametrize(
    ("stored", "policy", "field"),
    [
        row("VAL-14", with_subgroups(2, subGroupSize=1), {"subGroupSize": 2}, SUBGROUP_SIZE),
        row("VAL-15", {}, {"subGroupSize": 1}, SUBGROUPS),
        row("VAL-16", with_subgroups(2, subGroupSize=1), None, SUBGROUPS),
    ],
)
def test_subgroups_cannot_be_resized_added_or_removed(
    sets: support.Sets, stored: Change, policy: Any, field: str
) -> None:
    sets.store(sets.build(stored))
    with support.refused() as refusal:
        sets.update("test-sample", {"spec": support.template(subGroupPolicy=policy)})
    assert field in refusal.fields, refusal


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"size": 6}, id="indivisible"),
        pytest.param({"size": 3}, id="smaller-than-a-subgroup"),
        pytest.param({"subGroupPolicy": {"subGroupPolicyType": "LeaderExcluded"}}, id="excluded"),
        pytest.param({"subGroupPolicy": {"subGroupSize": None}}, id="no-size"),
        pytest.param({"subGroupPolicy": {"subGroupSize": 0}}, id="size-zero"),
    ],
)
def test_a_stored_division_into_subgroups_cannot_become_impossible(
    sets: support.Sets, change: Change
) -> None:
    sets.store(sets.build(with_subgroups(8, subGroupSize=4)))
    with support.refused() as refusal:
        sets.update("test-sample", {"spec": support.template(**change)})
    assert SUBGROUP_SIZE in refusal.fields, refusal
    sets.update("test-sample", {"spec": support.template(size=12)})


def test_the_type_of_subgroups_may_change(sets: support.Sets) -> None:
    sets.store(sets.build(with_subgroups(5, subGroupSize=2)))
    policy = {"subGroupPolicyType": "LeaderExcluded"}
    after = sets.update("test-sample", {"spec": support.template(subGroupPolicy=policy)})
    expected = {"subGroupSize": 2, "subGroupPolicyType": "LeaderExcluded"}
    assert after["spec"]["leaderWorkerTemplate"]["subGroupPolicy"] == expected


def test_placement_of_subgroups_without_subgroups_is_refused(sets: support.Sets) -> None:
    annotations = {names.SUBGROUP_EXCLUSIVE_TOPOLOGY: "rack"}
    with support.refused() as refusal:
        sets.accept(sets.build(annotations=annotations))
    assert f"metadata.annotations[{names.SUBGROUP_EXCLUSIVE_TOPOLOGY}]" in refusal.message
    assert "'lws-kueue-rules'" in refusal.message
    sets.store(sets.build())
    with support.refused():
        sets.update("test-sample", {"metadata": {"annotations": annotations}})
