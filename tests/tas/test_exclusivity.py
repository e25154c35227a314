"""Exclusive placement beside requests to Kueue: which of them may contradict each other."""

from collections.abc import Mapping
from typing import Any

import pytest

from lws_kueue.api import lws, names
from lws_kueue.tas import exclusivity
from tests.kit.tables import cases

RACK, BLOCK = cases.RACK, cases.BLOCK
EXCLUSIVE, SUBGROUPS = names.EXCLUSIVE_TOPOLOGY, names.SUBGROUP_EXCLUSIVE_TOPOLOGY
IN_RACK: dict[str, str] = {cases.REQUIRED: RACK}
IN_BLOCK: dict[str, str] = {cases.REQUIRED: BLOCK}
GROUPED = {**IN_RACK, cases.GROUP: "g"}
NEAR = {cases.PREFERRED: RACK, cases.GROUP: "g"}


def slices(size: int, topology: str = RACK) -> dict[str, str]:
    return {cases.SLICE: topology, cases.SIZE: str(size)}


def told(
    worker: Mapping[str, str],
    *,
    leader: Mapping[str, str] | None = None,
    size: int = 4,
    of: int | None = None,
    excluded: bool = False,
    **exclusive: str,
) -> list[str]:
    """What is said of a set; ``exclusive`` are the keys for ``group`` and ``subgroup``."""
    template: dict[str, Any] = cases.Case(
        name="", worker=worker, leader=leader, size=size
    ).template()
    if of is not None:
        kind = "LeaderExcluded" if excluded else "LeaderWorker"
        template["subGroupPolicy"] = {"subGroupSize": of, "subGroupPolicyType": kind}
    keys = {EXCLUSIVE: exclusive.get("group"), SUBGROUPS: exclusive.get("subgroup")}
    owner = {
        "metadata": {"name": "x", "annotations": {k: v for k, v in keys.items() if v}},
        "spec": {"leaderWorkerTemplate": template},
    }
    return list(exclusivity.conflicts(lws.LeaderWorkerSet.of(owner)))


# Groups ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("worker", "more"),
    [
        pytest.param({}, {}, id="no topology asked for"),
        pytest.param(IN_RACK, {}, id="one podset in one rack"),
        pytest.param({**IN_RACK, **slices(2, cases.HOST)}, {}, id="slices within the rack"),
        pytest.param(slices(4), {}, id="one slice"),
        pytest.param(GROUPED, {"leader": GROUPED}, id="leader and workers in one group"),
        pytest.param({cases.PREFERRED: RACK}, {"size": 1}, id="a leader alone"),
        pytest.param({**IN_RACK, cases.SIZE: "1"}, {}, id="a fault that is told as such"),
    ],
)
def test_a_group_that_kueue_keeps_in_one_domain_can_be_exclusive(
    worker: Mapping[str, str], more: dict[str, Any]
) -> None:
    assert told(worker, group=RACK, **more) == []


@pytest.mark.parametrize(
    ("worker", "leader", "asked"),
    [
        ({cases.PREFERRED: RACK}, None, cases.PREFERRED),
        ({cases.UNCONSTRAINED: "true"}, None, cases.UNCONSTRAINED),
        (IN_BLOCK, None, cases.REQUIRED),
        (slices(2), None, cases.SLICE),
        ({}, IN_RACK, cases.REQUIRED),
        # Both in a rack, but not in the same one.
        (IN_RACK, IN_RACK, cases.REQUIRED),
        (NEAR, NEAR, cases.PREFERRED),
    ],
)
def test_a_group_that_kueue_may_spread_is_named_with_both_annotations_and_the_remedy(
    worker: Mapping[str, str], leader: Mapping[str, str] | None, asked: str
) -> None:
    (text,) = told(worker, leader=leader, group=RACK)
    assert text.startswith(
        f"metadata.annotations[{EXCLUSIVE}]: Kueue chooses the domains by {asked}"
    )
    assert f"does not put every group in one {RACK}" in text
    assert f"set {cases.REQUIRED} to the same key" in text
    assert ("on the leader and worker templates" in text) is (leader is not None)
    assert (cases.GROUP in text) is (leader is not None)


# Subgroups ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("worker", "more"),
    [
        pytest.param({}, {"of": 2}, id="no topology asked for"),
        pytest.param(slices(2), {"of": 2}, id="slices are the subgroups"),
        pytest.param({**IN_BLOCK, **slices(2)}, {"of": 2}, id="in one block"),
        pytest.param(
            slices(2), {"of": 2, "size": 5, "excluded": True, "leader": {}}, id="a leader in none"
        ),
        pytest.param(IN_RACK, {"of": 4}, id="one subgroup"),
        pytest.param(GROUPED, {"of": 4, "leader": GROUPED}, id="one subgroup with its leader"),
        pytest.param(
            IN_RACK, {"of": 3, "excluded": True, "leader": {}}, id="one subgroup without its leader"
        ),
        pytest.param(IN_BLOCK, {"of": 1}, id="subgroups of one pod"),
        pytest.param(IN_BLOCK, {"of": 1, "leader": {}}, id="subgroups of one pod beside a leader"),
        pytest.param(IN_BLOCK, {}, id="no subgroups"),
    ],
)
def test_subgroups_that_kueue_can_part_can_be_exclusive(
    worker: Mapping[str, str], more: dict[str, Any]
) -> None:
    assert told(worker, subgroup=RACK, **more) == []


WITHOUT = "; without a leader template, set "
EXCLUDED = "; with a leader template and subGroupPolicyType LeaderExcluded, set "


@pytest.mark.parametrize(
    ("worker", "more", "how"),
    [
        pytest.param(IN_BLOCK, {"of": 2}, WITHOUT, id="spread in a block"),
        pytest.param(IN_RACK, {"of": 2}, WITHOUT, id="two in one rack"),
        pytest.param({**IN_RACK, **slices(2)}, {"of": 2}, WITHOUT, id="slices in one rack"),
        pytest.param(slices(4), {"of": 2}, WITHOUT, id="two in one slice"),
        pytest.param(slices(2, cases.HOST), {"of": 2}, WITHOUT, id="slices of another level"),
        pytest.param(slices(1), {"of": 2, "leader": {}}, WITHOUT, id="a leader elsewhere"),
        pytest.param(
            slices(2), {"of": 2, "leader": {}, "size": 5}, EXCLUDED, id="one pod more in the first"
        ),
        pytest.param(
            slices(5), {"of": 2, "size": 5, "excluded": True}, EXCLUDED, id="a leader in a slice"
        ),
        pytest.param(IN_RACK, {"of": 1}, WITHOUT, id="single pods in one rack"),
    ],
)
def test_subgroups_that_kueue_cannot_keep_apart_are_named_with_the_remedy(
    worker: Mapping[str, str], more: dict[str, Any], how: str
) -> None:
    (text,) = told(worker, subgroup=RACK, **more)
    assert text.startswith(f"metadata.annotations[{SUBGROUPS}]: ")
    assert f"does not put every subgroup in a {RACK} of its own" in text
    assert how + cases.SLICE in text
    assert f"{cases.SIZE} to {more['of']} on the worker template" in text


def test_the_remedy_for_subgroups_is_one() -> None:
    assert told({**IN_RACK}, of=2, subgroup=RACK)
    assert told({**slices(2)}, of=2, subgroup=RACK) == []
    assert told({**IN_RACK}, of=2, size=5, subgroup=RACK)
    assert told({**slices(2)}, of=2, size=5, excluded=True, leader={}, subgroup=RACK) == []


def test_groups_and_subgroups_are_judged_each_by_itself() -> None:
    assert told({**IN_BLOCK, **slices(2)}, of=2, group=BLOCK, subgroup=RACK) == []
    assert len(told({cases.PREFERRED: BLOCK}, of=2, group=BLOCK, subgroup=RACK)) == 2
