"""The model of LeaderWorkerSet, and that it says the same as the definition in `crds`."""

import typing
from pathlib import Path
from typing import Any

import pydantic
import pytest
import yaml
from pydantic.fields import FieldInfo

from lws_kueue.api import lws

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = sorted((ROOT / "tests" / "golden").glob("*.yaml"))

Schema = dict[str, Any]


@pytest.fixture(scope="module")
def schema() -> Schema:
    text = (ROOT / "crds" / "leaderworkersets.yaml").read_text(encoding="utf-8")
    (version,) = yaml.load(text, Loader=yaml.CSafeLoader)["spec"]["versions"]
    return typing.cast("Schema", version["schema"]["openAPIV3Schema"])


def _at(schema: Schema, path: str) -> Schema:
    for name in path.split("."):
        schema = schema["properties"][name]
    return schema


MODELS = [
    ("spec", lws.Spec),
    ("spec.leaderWorkerTemplate", lws.LeaderWorkerTemplate),
    ("spec.leaderWorkerTemplate.subGroupPolicy", lws.SubGroupPolicy),
    ("spec.rolloutStrategy", lws.RolloutStrategy),
    ("spec.rolloutStrategy.rollingUpdateConfiguration", lws.RollingUpdateConfiguration),
    ("spec.networkConfig", lws.NetworkConfig),
    ("status", lws.Status),
]


def _fields(model: type[pydantic.BaseModel]) -> dict[str, FieldInfo]:
    return {field.alias or name: field for name, field in model.model_fields.items()}


@pytest.mark.parametrize(("path", "model"), MODELS, ids=[path for path, _ in MODELS])
def test_the_model_has_the_fields_of_the_definition(
    schema: Schema, path: str, model: type[pydantic.BaseModel]
) -> None:
    assert set(_fields(model)) == set(_at(schema, path)["properties"])


@pytest.mark.parametrize(("path", "model"), MODELS, ids=[path for path, _ in MODELS])
def test_the_model_has_the_defaults_of_the_definition(
    schema: Schema, path: str, model: type[pydantic.BaseModel]
) -> None:
    fields = _fields(model)
    for name, field in _at(schema, path)["properties"].items():
        if "default" not in field:
            continue
        default = fields[name].get_default()
        if isinstance(default, pydantic.BaseModel):
            # An object's own defaults are compared on their own; here only that it has them all.
            assert default == type(default)()
        else:
            assert default == field["default"], name


@pytest.mark.parametrize(("path", "model"), MODELS, ids=[path for path, _ in MODELS])
def test_the_model_knows_the_values_of_the_definition(
    schema: Schema, path: str, model: type[pydantic.BaseModel]
) -> None:
    fields = _fields(model)
    for name, field in _at(schema, path)["properties"].items():
        if "enum" in field:
            assert set(typing.get_args(fields[name].annotation)) == set(field["enum"]), name


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_recorded_sets_parse_before_and_after_they_were_stored(path: Path) -> None:
    documents = yaml.load_all(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    given, stored = (d for d in documents if d and d["kind"] == "LeaderWorkerSet")
    first, second = lws.LeaderWorkerSet.of(given), lws.LeaderWorkerSet.of(stored)
    # What is passed on as JSON came back with empty objects of Go types in it.
    raw = {"leader_template", "worker_template", "volume_claim_templates"}
    exclude = {"leader_worker_template": raw}
    assert first.spec.model_dump(exclude=exclude) == second.spec.model_dump(exclude=exclude)
    assert second.stored_spec == stored["spec"]
    assert second.status.replicas == stored["status"]["replicas"]
    assert {c.type for c in second.status.conditions} >= {"Progressing"}


def test_null_means_absent_everywhere() -> None:
    given: dict[str, Any] = {
        "replicas": None,
        "startupPolicy": None,
        "networkConfig": {"subdomainPolicy": None},
        "rolloutStrategy": {"type": None, "rollingUpdateConfiguration": None},
        "leaderWorkerTemplate": {
            "size": None,
            "restartPolicy": None,
            "leaderTemplate": None,
            "volumeClaimTemplates": None,
            "workerTemplate": {},
        },
    }
    nothing: dict[str, Any] = {"leaderWorkerTemplate": {"workerTemplate": {}}}
    assert lws.Spec.model_validate(given) == lws.Spec.model_validate(nothing)


def test_templates_stay_as_they_are_even_where_they_hold_null() -> None:
    template = {"spec": {"containers": [{"name": "c", "env": None}]}}
    spec = lws.Spec.model_validate({"leaderWorkerTemplate": {"workerTemplate": template}})
    assert spec.leader_worker_template.worker_template == template


@pytest.mark.parametrize(
    ("spec", "where"),
    [
        ({}, ("leaderWorkerTemplate",)),
        ({"leaderWorkerTemplate": {}}, ("leaderWorkerTemplate", "workerTemplate")),
        (
            {"leaderWorkerTemplate": {"workerTemplate": {}}, "startupPolicy": "bogus"},
            ("startupPolicy",),
        ),
    ],
)
def test_a_spec_past_the_rules_of_the_api_is_refused_with_the_field(
    spec: dict[str, Any], where: tuple[str, ...]
) -> None:
    with pytest.raises(pydantic.ValidationError) as caught:
        lws.Spec.model_validate(spec)
    assert [error["loc"] for error in caught.value.errors()] == [where]
