"""Template annotations become topology requests, or are refused with the field."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from lws_kueue.api import lws, names
from lws_kueue.tas import annotations

REQUIRED = names.PODSET_REQUIRED_TOPOLOGY
PREFERRED = names.PODSET_PREFERRED_TOPOLOGY
UNCONSTRAINED = names.PODSET_UNCONSTRAINED_TOPOLOGY
SLICE = names.PODSET_SLICE_REQUIRED_TOPOLOGY
SIZE = names.PODSET_SLICE_SIZE
LAYERS = names.PODSET_SLICE_CONSTRAINTS
GROUP = names.PODSET_GROUP_NAME
RACK = "cloud.provider.com/topology-rack"
BLOCK = "cloud.provider.com/topology-block"
WORKER_INDEX = names.WORKER_INDEX

Marks = Mapping[str, str]


def template(marks: Marks) -> dict[str, Any]:
    return {"metadata": {"annotations": dict(marks)}, "spec": {"containers": []}}


def errors(*, worker: Marks, leader: Marks | None = None, size: int = 4) -> list[str]:
    group: dict[str, Any] = {"size": size, "workerTemplate": template(worker)}
    if leader is not None:
        group["leaderTemplate"] = template(leader)
    spec = lws.Spec.model_validate({"leaderWorkerTemplate": group})
    prefix = "spec.leaderWorkerTemplate."
    return [
        str(e).removeprefix(prefix).replace("Template.metadata.annotations", "")
        for e in annotations.validate(spec)
    ]


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
def test_annotations_become_a_request(marks: Marks, expected: dict[str, Any] | None) -> None:
    assert annotations.request(marks, pod_index_label=None) == expected
    ranked = annotations.request(marks, pod_index_label=WORKER_INDEX)
    assert ranked == (expected or {}) | {"podIndexLabel": WORKER_INDEX}


@pytest.mark.parametrize("marks", [{UNCONSTRAINED: "yes"}, {SLICE: RACK, SIZE: "x"}, {LAYERS: "["}])
def test_an_annotation_that_cannot_be_read_is_an_error(marks: Marks) -> None:
    with pytest.raises(ValueError):
        annotations.request(marks, pod_index_label=None)


@pytest.mark.row("C06")
@pytest.mark.parametrize("marks", [{REQUIRED: RACK}, {PREFERRED: RACK}, {UNCONSTRAINED: "true"}])
def test_one_placement_on_each_template_is_accepted(marks: Marks) -> None:
    assert errors(leader=marks, worker=marks) == []
    assert errors(worker=marks) == []


@pytest.mark.row("C07")
def test_two_placements_on_a_template_are_refused_on_each() -> None:
    both = {REQUIRED: RACK, PREFERRED: BLOCK}
    found = errors(leader=both, worker=both)
    assert [error.split(":")[0] for error in found] == ["leader", "worker"]


@pytest.mark.row("C08")
def test_a_slice_larger_than_its_podset_is_refused() -> None:
    found = errors(
        size=4,
        leader={REQUIRED: BLOCK, SLICE: RACK, SIZE: "2"},
        worker={REQUIRED: BLOCK, SLICE: RACK, SIZE: "20"},
    )
    assert found == [
        f"leader[{SIZE}]: must not be greater than the 1 pods of the podset",
        f"worker[{SIZE}]: must not be greater than the 3 pods of the podset",
    ]


@pytest.mark.row("C09")
def test_a_slice_size_without_a_topology_is_refused() -> None:
    assert errors(worker={REQUIRED: BLOCK, SIZE: "1"}) == [
        f"worker[{SIZE}]: may not be set when {SLICE} is not set"
    ]


@pytest.mark.row("C10")
def test_a_slice_topology_without_a_size_is_refused() -> None:
    assert errors(worker={REQUIRED: BLOCK, SLICE: RACK}) == [
        f"worker[{SIZE}]: must be set when {SLICE} is set"
    ]


@pytest.mark.row("C11")
def test_a_group_name_together_with_slices_is_refused() -> None:
    sliced = {REQUIRED: BLOCK, SLICE: RACK, SIZE: "1", GROUP: "g"}
    found = errors(leader=sliced, worker=sliced)
    assert found == [
        f"{role}[{GROUP}]: may not be set when {other} is set"
        for role in ("leader", "worker")
        for other in (SIZE, SLICE)
    ]


@pytest.mark.row("C12")
def test_the_same_group_and_placement_on_both_templates_is_accepted() -> None:
    grouped = {REQUIRED: RACK, GROUP: "g"}
    assert errors(leader=grouped, worker=grouped) == []


@pytest.mark.row("C13")
def test_a_group_name_may_not_be_a_number() -> None:
    grouped = {REQUIRED: RACK, GROUP: "1234"}
    assert errors(leader=grouped, worker=grouped) == [
        f"leader[{GROUP}]: must not be a number",
        f"worker[{GROUP}]: must not be a number",
    ]


def roles(found: list[str]) -> set[str]:
    return {error[: len("leader")] for error in found}


@pytest.mark.parametrize(
    ("leader", "worker", "where"),
    [
        pytest.param(
            {REQUIRED: RACK, GROUP: "g"},
            {REQUIRED: RACK},
            {"leader"},
            marks=pytest.mark.row("C14"),
        ),
        pytest.param(
            {REQUIRED: RACK},
            {REQUIRED: RACK, GROUP: "g"},
            {"worker"},
            marks=pytest.mark.row("C15"),
        ),
        pytest.param(
            {REQUIRED: RACK, GROUP: "a"},
            {REQUIRED: RACK, GROUP: "b"},
            {"leader", "worker"},
            marks=pytest.mark.row("C16"),
        ),
        pytest.param(
            {REQUIRED: RACK, GROUP: "g"},
            {REQUIRED: BLOCK, GROUP: "g"},
            {"leader", "worker"},
            marks=pytest.mark.row("C17"),
        ),
        pytest.param(
            {PREFERRED: RACK, GROUP: "g"},
            {PREFERRED: BLOCK, GROUP: "g"},
            {"leader", "worker"},
            marks=pytest.mark.row("C18"),
        ),
        pytest.param(
            {REQUIRED: RACK, GROUP: "g"},
            {PREFERRED: RACK, GROUP: "g"},
            {"leader", "worker"},
            marks=pytest.mark.row("C19"),
        ),
        pytest.param(
            {GROUP: "g"}, {GROUP: "g"}, {"leader", "worker"}, marks=pytest.mark.row("C20")
        ),
        pytest.param(None, {REQUIRED: RACK, GROUP: "g"}, {"worker"}, marks=pytest.mark.row("C21")),
    ],
)
def test_a_group_is_a_leader_and_workers_that_want_the_same(
    leader: Marks | None, worker: Marks, where: set[str]
) -> None:
    assert roles(errors(leader=leader, worker=worker)) == where


@pytest.mark.parametrize(
    ("marks", "problem"),
    [
        ({REQUIRED: "a b"}, f"worker[{REQUIRED}]: 'a b' is not a label key"),
        ({PREFERRED: "/x"}, f"worker[{PREFERRED}]: '/x' is not a label key"),
        ({UNCONSTRAINED: "yes"}, f"worker[{UNCONSTRAINED}]: must be a boolean value"),
        ({SLICE: RACK, SIZE: "0"}, f"worker[{SIZE}]: must be at least 1"),
        ({SLICE: RACK, SIZE: "two"}, f"worker[{SIZE}]: must be a whole number"),
        ({SLICE: "-", SIZE: "1"}, f"worker[{SLICE}]: '-' is not a label key"),
        ({LAYERS: "{}"}, f"worker[{LAYERS}]: must be a JSON list of 1 to 3 objects"),
        ({LAYERS: "[]"}, f"worker[{LAYERS}]: must be a JSON list of 1 to 3 objects"),
        (
            {LAYERS: '[{"topology": "b", "size": 3}, {"topology": "a", "size": 2}]'},
            f"worker[{LAYERS}][1].size: must divide the size 3 of the layer above",
        ),
        (
            {LAYERS: '[{"topology": "b", "size": 4}, {"topology": "b", "size": 2}]'},
            f"worker[{LAYERS}][1].topology: 'b' appears twice",
        ),
        (
            {LAYERS: '[{"topology": "b", "size": 0}]'},
            f"worker[{LAYERS}][0].size: must be at least 1",
        ),
        (
            {LAYERS: '[{"topology": "b", "size": 8}]'},
            f"worker[{LAYERS}][0].size: must not be greater than the 4 pods of the podset",
        ),
        (
            {LAYERS: '[{"topology": "b", "size": 2}]', SLICE: RACK, SIZE: "2"},
            f"worker[{LAYERS}]: may not be set when {SLICE} is set",
        ),
    ],
)
def test_a_bad_annotation_is_refused_with_its_field(marks: Marks, problem: str) -> None:
    found = errors(worker=marks)
    assert problem in found
    if SLICE not in marks or LAYERS not in marks:
        assert len(found) == 1


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
    assert annotations.is_label_key(key) is valid
