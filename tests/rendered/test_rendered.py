"""What is made for sets changes between versions only on purpose: an upgrade must not roll them.

`sets/` holds one file for each set of the corpus: the set, and what this version makes for it and
its first group. The pods of a running set are made from such a StatefulSet, so a version that
renders it otherwise replaces all of them.
"""

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from lws_kueue.api import names
from lws_kueue.install import manifests
from tests.rendered import corpus, recording

ROOT = Path(__file__).resolve().parents[2]
SETS = corpus.sets_by_name()
RECORDED = recording.recorded()

Object = dict[str, Any]

MARKS = (
    names.EXCLUSIVE_TOPOLOGY,
    names.SUBGROUP_EXCLUSIVE_TOPOLOGY,
    names.RECREATE_GROUP_AFTER_START,
    names.VOLCANO_QUEUE,
    names.QUEUE_NAME,
    names.PRIORITY_CLASS,
    names.MAX_EXEC_TIME_SECONDS,
    names.PODSET_REQUIRED_TOPOLOGY,
    names.PODSET_PREFERRED_TOPOLOGY,
    names.PODSET_UNCONSTRAINED_TOPOLOGY,
    names.PODSET_SLICE_REQUIRED_TOPOLOGY,
    names.PODSET_SLICE_SIZE,
    names.PODSET_SLICE_CONSTRAINTS,
    names.PODSET_GROUP_NAME,
)


@pytest.mark.parametrize("name", SETS)
def test_a_set_is_rendered_as_it_was_recorded(name: str) -> None:
    now = recording.text([SETS[name], *corpus.rendered(SETS[name])])
    complaint = recording.complaint(name, RECORDED.get(name, "--- {}\n"), now)
    assert not complaint, complaint


def test_every_recording_is_of_a_set_of_the_corpus() -> None:
    assert RECORDED.keys() == SETS.keys()


def test_the_changelog_has_the_number_of_the_recording() -> None:
    number = recording.number(RECORDED)
    versions = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").split("\n## ")
    assert f"`{number}`" in versions[1], (
        f"The newest version in CHANGELOG.md does not say that sets are rendered as `{number}`."
        " Write there which sets are rolled by an upgrade, and this number"
    )


# What the test says when it fails --------------------------------------------------------------


def of_set(objects: list[Object], kind: str, name: str) -> Object:
    return next(obj for obj in objects if corpus.identity(obj) == (kind, name))


def in_a_pod(leaders: Object) -> None:
    leaders["spec"]["template"]["spec"]["enableServiceLinks"] = True


def in_a_label(leaders: Object) -> None:
    leaders["metadata"]["labels"]["new"] = "label"


@pytest.mark.parametrize(
    ("kind", "name", "change", "said"),
    [
        ("StatefulSet", "wide", in_a_pod, recording.ROLLS),
        ("StatefulSet", "wide", in_a_label, recording.STAYS),
        ("StatefulSet", "wide-0", in_a_pod, recording.LATER),
        ("Service", "wide", in_a_label, recording.LATER),
    ],
)
def test_a_change_is_told_with_what_it_costs_and_what_to_do(
    kind: str, name: str, change: Callable[[Object], None], said: str
) -> None:
    objects = list(yaml.safe_load_all(RECORDED["wide"]))
    now = copy.deepcopy(objects)
    obj = of_set(now, kind, name)
    obj["metadata"].setdefault("labels", {})
    change(obj)
    told = recording.complaint("wide", RECORDED["wide"], recording.text(now))
    assert f"- {kind} {name}: {said}\n" in told
    assert [one for one in (recording.ROLLS, recording.STAYS, recording.LATER) if one in told] == [
        said
    ]
    assert "python -m tests.rendered" in told
    assert "CHANGELOG.md" in told


def test_another_workload_is_told_as_one_of_groups_to_come() -> None:
    before = RECORDED["queued-wide"]
    now = before.replace("count: 1", "count: 2")
    told = recording.complaint("queued-wide", before, now)
    assert recording.ASKED in told
    assert recording.ROLLS not in told


def test_another_revision_rolls_every_set_of_its_shape() -> None:
    now = RECORDED["wide"].replace("name: wide-", "name: other-", 1)
    assert recording.ROLLS in recording.complaint("wide", RECORDED["wide"], now)


def test_an_equal_recording_is_no_reason_to_complain() -> None:
    assert recording.complaint("wide", RECORDED["wide"], RECORDED["wide"]) == ""


# What the corpus covers ----------------------------------------------------------------------


def schema() -> Object:
    (definition,) = (
        obj for obj in manifests.api_objects() if obj["kind"] == "CustomResourceDefinition"
    )
    (version,) = definition["spec"]["versions"]
    found: Object = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
    return found


def fields(part: Object, *, path: str = "spec") -> Iterator[tuple[str, list[Any]]]:
    """Yield each field of the API with the values that it may have, if they are few.

    Pod templates and claims are Kubernetes' own.
    """
    yield path, part.get("enum") or []
    if path.endswith(("Template", "Templates")) and path.count(".") > 1:
        return
    for name, field in (part.get("properties") or {}).items():
        yield from fields(field, path=f"{path}.{name}")


def values_of(obj: Object, path: str) -> Any:
    found: Any = obj
    for name in path.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    return found


@pytest.mark.parametrize(("path", "values"), list(fields(schema())))
def test_every_field_of_the_api_and_every_value_of_a_choice_stands_in_a_recorded_set(
    path: str, values: list[Any]
) -> None:
    used = [found for obj in SETS.values() if (found := values_of(obj, path)) is not None]
    assert used, f"no recorded set has {path}"
    assert set(values) <= {value for value in used if isinstance(value, str)}


@pytest.mark.parametrize("mark", MARKS)
def test_every_mark_that_is_acted_on_stands_in_a_recorded_set(mark: str) -> None:
    assert any(json.dumps(mark) in json.dumps(obj) for obj in SETS.values())


@pytest.mark.parametrize("kind", ["ControllerRevision", "StatefulSet", "Service", "Workload"])
def test_every_kind_that_is_made_is_recorded(kind: str) -> None:
    made = {name for name, content in RECORDED.items() if f"\nkind: {kind}\n" in content}
    assert len(made) >= 10
