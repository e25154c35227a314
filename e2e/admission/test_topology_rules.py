"""Topology annotations of both templates: the policy says what the controller would say.

The cases are those of the controller's own check (kueue-contract 1.3 and 5.3).
"""

from typing import Any

import pytest

from lws_kueue.api import names
from tests.kit.admission import support
from tests.kit.tables import cases

POLICY = "lws-kueue-topology-rules"
NAME = "test-sample"


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=case.name, marks=[pytest.mark.row(row) for row in case.rows])
        for case in cases.CASES
    ],
)
def test_the_policy_tells_all_that_the_controller_would(
    sets: support.Sets, case: cases.Case
) -> None:
    obj = sets.build({"leaderWorkerTemplate": case.template()})
    if case.unread or not case.faults:
        sets.accept(obj)
        return
    with support.refused() as refusal:
        sets.accept(obj)
    prefix, _, told = refusal.message.partition("denied request: ")
    assert f"'{POLICY}'" in prefix
    assert refusal.status == 422
    assert sorted(told.split("; ")) == case.texts()


def test_more_faults_than_a_message_holds_are_told_in_short(sets: support.Sets) -> None:
    every = dict.fromkeys((*cases.ROWS[0].worker, cases.PREFERRED, cases.UNCONSTRAINED), "a b")
    every |= {cases.SLICE: "-", cases.SIZE: "0", cases.GROUP: "1"}
    every[cases.LAYERS] = '[{"topology":"-","size":9},{"topology":"-","size":0}]'
    case = cases.Case(name="all", worker=every, leader={**every, cases.GROUP: "2"})
    with support.refused() as refusal:
        sets.accept(sets.build({"leaderWorkerTemplate": case.template()}))
    assert f"'{POLICY}'" in refusal.message
    assert "break more rules than a message can hold" in refusal.message


def annotations(**marks: str) -> dict[str, Any]:
    """Return a change of the worker template's annotations."""
    return {"spec": support.template(workerTemplate={"metadata": {"annotations": marks}})}


@pytest.mark.row("U21")
def test_topology_annotations_may_be_added_to_a_plain_set(sets: support.Sets) -> None:
    sets.store(sets.build())
    after = sets.update(NAME, annotations(**{cases.REQUIRED: cases.RACK}))
    template = after["spec"]["leaderWorkerTemplate"]["workerTemplate"]
    assert template["metadata"]["annotations"] == {cases.REQUIRED: cases.RACK}


@pytest.mark.row("U22")
def test_contradicting_annotations_cannot_be_added(sets: support.Sets) -> None:
    sets.store(sets.build())
    with support.refused() as refusal:
        sets.update(NAME, annotations(**{cases.REQUIRED: cases.RACK, cases.PREFERRED: cases.RACK}))
    assert "workerTemplate.metadata.annotations: at most one of" in refusal.message


def test_a_smaller_group_is_judged_by_its_slices(sets: support.Sets) -> None:
    sliced = {cases.REQUIRED: cases.BLOCK, cases.SLICE: cases.RACK, cases.SIZE: "3"}
    sets.store(sets.build(support.merged(support.template(size=4), annotations(**sliced)["spec"])))
    with support.refused() as refusal:
        sets.update(NAME, {"spec": support.template(size=3)})
    assert f"[{names.PODSET_SLICE_SIZE}]: must not be greater than the 2 pods" in refusal.message


def test_a_set_that_is_being_deleted_loses_its_finalizers_and_breaks_no_rule(
    sets: support.Sets,
) -> None:
    given = sets.build()
    given["metadata"]["finalizers"] = ["example.com/hold"]
    sets.store(given)
    sets.delete(NAME)
    with support.refused():
        sets.update(NAME, annotations(**{cases.UNCONSTRAINED: "x"}))
    sets.update(NAME, {"metadata": {"finalizers": None}})
