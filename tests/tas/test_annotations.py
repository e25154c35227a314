"""Template annotations become topology requests, or are refused with the field."""

import json
from typing import Any

import pytest

from lws_kueue.api import lws, names, selectors
from lws_kueue.tas import annotations
from tests.kit.tables import cases

REQUIRED = cases.REQUIRED
PREFERRED = cases.PREFERRED
UNCONSTRAINED = cases.UNCONSTRAINED
SLICE = cases.SLICE
SIZE = cases.SIZE
LAYERS = cases.LAYERS
GROUP = cases.GROUP
RACK = cases.RACK
BLOCK = cases.BLOCK
WORKER_INDEX = names.WORKER_INDEX


@pytest.mark.parametrize(
    ("marks", "expected"),
    [
        ({}, None),
        ({REQUIRED: RACK, PREFERRED: BLOCK, UNCONSTRAINED: "true"}, {"required": RACK}),
        ({PREFERRED: BLOCK, UNCONSTRAINED: "true"}, {"preferred": BLOCK}),
        ({UNCONSTRAINED: "T"}, {"unconstrained": True}),
        ({UNCONSTRAINED: "false"}, {"unconstrained": False}),
        (
            {SLICE: RACK, SIZE: "2"},
            {"podSetSliceRequiredTopology": RACK, "podSetSliceSize": 2},
        ),
        ({SLICE: RACK}, None),
        (
            {REQUIRED: BLOCK, LAYERS: json.dumps([{"topology": RACK, "size": 4}]), SIZE: "2"},
            {
                "required": BLOCK,
                "podsetSliceRequiredTopologyConstraints": [{"topology": RACK, "size": 4}],
            },
        ),
        ({REQUIRED: RACK, GROUP: "g"}, {"required": RACK, "podSetGroupName": "g"}),
        ({PREFERRED: RACK, GROUP: "g"}, {"preferred": RACK, "podSetGroupName": "g"}),
        ({UNCONSTRAINED: "true", GROUP: "g"}, {"unconstrained": True}),
        ({GROUP: "g"}, None),
    ],
)
def test_annotations_become_a_request(marks: cases.Marks, expected: dict[str, Any] | None) -> None:
    assert annotations.request(marks, pod_index_label=None, groupable=True) == expected
    ranked = annotations.request(marks, pod_index_label=WORKER_INDEX, groupable=True)
    assert ranked == (expected or {}) | {"podIndexLabel": WORKER_INDEX}


@pytest.mark.parametrize("marks", [{UNCONSTRAINED: "yes"}, {SLICE: RACK, SIZE: "x"}, {LAYERS: "["}])
def test_an_annotation_that_cannot_be_read_is_an_error(marks: cases.Marks) -> None:
    with pytest.raises(ValueError):
        annotations.request(marks, pod_index_label=None, groupable=True)


@pytest.mark.row("C21")
def test_a_group_name_asks_for_nothing_where_there_is_nothing_to_group() -> None:
    marks = {REQUIRED: RACK, GROUP: "g"}
    alone = annotations.request(marks, pod_index_label=WORKER_INDEX, groupable=False)
    assert alone == {"required": RACK, "podIndexLabel": WORKER_INDEX}


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=case.name, marks=[pytest.mark.row(row) for row in case.rows])
        for case in cases.CASES
    ],
)
def test_what_is_wrong_is_told_with_its_field(case: cases.Case) -> None:
    spec = lws.Spec.model_validate({"leaderWorkerTemplate": case.template()})
    assert sorted(map(str, annotations.validate(spec))) == case.texts()


@pytest.mark.parametrize(
    ("key", "valid"),
    [
        ("kubernetes.io/hostname", True),
        ("rack", True),
        ("a" * 63, True),
        ("a" * 64, False),
        ("Example.com/x", False),
        ("x/", False),
        ("", False),
        ("a/b/c", False),
    ],
)
def test_a_level_is_a_label_key(key: str, valid: bool) -> None:
    assert selectors.is_key(key) is valid
