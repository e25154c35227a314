"""What the committed definition holds that stored objects and merging depend on (1.1)."""

import json
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tools.crds import openapi

ROOT = Path(__file__).resolve().parents[2]

Schema = dict[str, Any]


@pytest.fixture(scope="module")
def definition() -> Schema:
    text = (ROOT / "crds" / "leaderworkersets.yaml").read_text(encoding="utf-8")
    return typing.cast("Schema", yaml.load(text, Loader=yaml.CSafeLoader))


@pytest.fixture(scope="module")
def template(definition: Schema) -> Schema:
    """The properties of `spec.leaderWorkerTemplate`."""
    (version,) = definition["spec"]["versions"]
    spec = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
    return typing.cast("Schema", spec["properties"]["leaderWorkerTemplate"]["properties"])


def _fields(schema: Schema, path: str = "") -> Iterator[tuple[str, Schema]]:
    """Yield every field below `schema` with its path; entries of lists are marked `[]`."""
    for name, field in schema.get("properties", {}).items():
        yield f"{path}.{name}", field
        yield from _fields(field, f"{path}.{name}")
    if "items" in schema:
        yield from _fields(schema["items"], f"{path}[]")


def _last(path: str, count: int = 2) -> str:
    return ".".join(path.replace("[]", "").split(".")[-count:])


def test_only_the_known_defaults_are_stored_in_pod_templates(template: Schema) -> None:
    found = {
        _last(path): field["default"]
        for path, field in _fields(template["workerTemplate"])
        if "default" in field
    }
    local_references = (
        *("configMapKeyRef", "secretKeyRef", "configMapRef", "secretRef", "configMap", "secret"),
        *("imagePullSecrets", "nodePublishSecretRef"),
    )
    assert found == {
        # The template's own metadata.
        ".metadata": {},
        **{f"{reference}.name": "" for reference in local_references},
        "ports.protocol": "TCP",
        "grpc.service": "",
        "fileKeyRef.optional": False,
        "azureDisk.fsType": "ext4",
        "azureDisk.readOnly": False,
        "iscsi.iscsiInterface": "default",
        "rbd.keyring": "/etc/ceph/keyring",
        "rbd.pool": "rbd",
        "rbd.user": "admin",
        "scaleIO.fsType": "xfs",
        "scaleIO.storageMode": "ThinProvisioned",
    }


def test_lists_are_merged_by_the_keys_that_people_expect(template: Schema) -> None:
    found = {
        _last(path, 1): tuple(field["x-kubernetes-list-map-keys"])
        for path, field in _fields(template["workerTemplate"])
        if field.get("x-kubernetes-list-type") == "map"
    }
    expected = {
        "containers": ("name",),
        "initContainers": ("name",),
        "ephemeralContainers": ("name",),
        "env": ("name",),
        "ports": ("containerPort", "protocol"),
        "volumeMounts": ("mountPath",),
        "volumeDevices": ("devicePath",),
        "volumes": ("name",),
        "imagePullSecrets": ("name",),
        "hostAliases": ("ip",),
        "topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"),
        "schedulingGates": ("name",),
        "claims": ("name",),
        "resourceClaims": ("name",),
    }
    assert found == expected


def test_leaders_and_workers_have_the_same_schema(template: Schema) -> None:
    leader, worker = dict(template["leaderTemplate"]), dict(template["workerTemplate"])
    assert leader.pop("description") != worker.pop("description")
    assert leader == worker


def test_embedded_metadata_is_the_part_that_a_pod_can_take_over(template: Schema) -> None:
    expected = {"annotations", "finalizers", "labels", "name", "namespace"}
    for holder in (template["workerTemplate"], template["volumeClaimTemplates"]["items"]):
        assert set(holder["properties"]["metadata"]["properties"]) == expected


def test_values_of_pod_templates_are_left_to_the_api_that_knows_them(template: Schema) -> None:
    assert not [path for path, field in _fields(template["workerTemplate"]) if "enum" in field]


def test_the_definition_is_small_enough_for_every_way_of_applying_it(definition: Schema) -> None:
    # What an annotation may hold, and client-side apply keeps the whole object in one.
    assert len(json.dumps(definition)) < 256 * 1024


# The generator, on a document of its own -----------------------------------------------------

DOCUMENT = {
    "components": {
        "schemas": {
            "Thing": {
                "type": "object",
                "description": "Not taken over.",
                "required": ["name"],
                "properties": {
                    "name": {"type": "string", "default": ""},
                    "optional": {"type": "string", "default": ""},
                    "mode": {"type": "string", "enum": ["a"], "default": "a"},
                    "part": {"default": {}, "allOf": [{"$ref": openapi.REF_PREFIX + "Part"}]},
                    "parts": {
                        "type": "array",
                        "items": {"default": {}, "allOf": [{"$ref": openapi.REF_PREFIX + "Part"}]},
                        "x-kubernetes-list-type": "map",
                        "x-kubernetes-list-map-keys": ["key"],
                        "x-kubernetes-patch-merge-key": "key",
                    },
                    "amounts": {
                        "type": "object",
                        "additionalProperties": {"$ref": openapi.REF_PREFIX + openapi.QUANTITY},
                    },
                    "metadata": {"$ref": openapi.REF_PREFIX + openapi.OBJECT_META},
                },
                "x-kubernetes-group-version-kind": [{"kind": "Thing"}],
            },
            "Part": {
                "type": "object",
                "required": ["key"],
                "properties": {"key": {"type": "string", "default": ""}},
            },
            openapi.OBJECT_META: {
                "type": "object",
                "properties": {
                    "uid": {"type": "string"},
                    **{field: {"type": "string"} for field in openapi.EMBEDDED_METADATA},
                },
            },
        }
    }
}

PART = {"type": "object", "required": ["key"], "properties": {"key": {"type": "string"}}}


def test_a_schema_is_resolved_and_trimmed() -> None:
    made = openapi.OpenAPI(DOCUMENT).structural("Thing")
    metadata = made["properties"].pop("metadata")
    amounts = made["properties"].pop("amounts")
    assert made == {
        "type": "object",
        "required": ["name"],
        "properties": {
            # The zero value of a required field is no default.
            "name": {"type": "string"},
            "optional": {"type": "string", "default": ""},
            "mode": {"type": "string", "default": "a"},
            "part": PART,
            "parts": {
                "type": "array",
                "items": PART,
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["key"],
            },
        },
    }
    assert set(metadata["properties"]) == set(openapi.EMBEDDED_METADATA)
    assert amounts["additionalProperties"]["x-kubernetes-int-or-string"] is True


def test_a_schema_that_the_document_lacks_is_an_error() -> None:
    with pytest.raises(KeyError):
        openapi.OpenAPI(DOCUMENT).structural("Other")
