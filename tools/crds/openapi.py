"""Turn published OpenAPI v3 schemas into structural schemas for a CRD (lws-contract 1.1).

A CustomResourceDefinition takes no `$ref` and no `allOf` around one, wants quantities and
int-or-strings spelled in its own way, and has to be small enough to be stored and read. The shape
is the one that LeaderWorkerSet's own definition has, because defaults and list types of this
schema decide what is stored, what the revision key is made of and how server-side apply merges.
"""

from typing import Any, Final

Schema = dict[str, Any]

REF_PREFIX: Final = "#/components/schemas/"
OBJECT_META: Final = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
QUANTITY: Final = "io.k8s.apimachinery.pkg.api.resource.Quantity"
INT_OR_STRING: Final = "io.k8s.apimachinery.pkg.util.intstr.IntOrString"

# What may stand in metadata that is embedded in a template; the rest would have no meaning there
# and is pruned.
EMBEDDED_METADATA: Final = ("annotations", "finalizers", "labels", "name", "namespace")

# Sign, number and an SI, binary or exponent suffix: the forms that the API server can parse.
QUANTITY_PATTERN: Final = (
    r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))"
    r"(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$"
)

# Everything that shapes values or merging. Not taken over: descriptions (a megabyte), enums (the
# StatefulSet API knows better which values this very server accepts), and patch and kind marks
# that a custom resource does not have.
KEPT: Final = (
    "type",
    "format",
    "pattern",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "required",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-map-type",
)

# Two defaults that the document knows and LeaderWorkerSet's definition does not: stored, they
# would become part of the revision data and change every key (lws-contract 1.1, 3.5).
NOT_DEFAULTED: Final = {"io.k8s.api.core.v1.AzureDiskVolumeSource": ("cachingMode", "kind")}

# Structs that embed a local object reference inherit its atomicity in LeaderWorkerSet's
# definition. The document does not say so, and server-side apply has to merge the same way.
ATOMIC: Final = (
    "io.k8s.api.core.v1.ConfigMapEnvSource",
    "io.k8s.api.core.v1.ConfigMapProjection",
    "io.k8s.api.core.v1.ConfigMapVolumeSource",
    "io.k8s.api.core.v1.SecretEnvSource",
    "io.k8s.api.core.v1.SecretProjection",
)


class OpenAPI:
    """The `components.schemas` of one OpenAPI v3 document of an API server."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._schemas: dict[str, Schema] = document["components"]["schemas"]

    def structural(self, name: str) -> Schema:
        """Return the schema called `name`, resolved and trimmed for a CRD.

        Raises KeyError when the document has no schema of that name.
        """
        if name == QUANTITY:
            return int_or_string(pattern=QUANTITY_PATTERN)
        if name == INT_OR_STRING:
            return int_or_string()
        if name == OBJECT_META:
            return self._embedded_metadata()
        converted = self._convert(self._schemas[name])
        for field in NOT_DEFAULTED.get(name, ()):
            converted["properties"][field].pop("default", None)
        if name in ATOMIC:
            converted["x-kubernetes-map-type"] = "atomic"
        return converted

    def _embedded_metadata(self) -> Schema:
        properties = self._schemas[OBJECT_META]["properties"]
        kept = {field: {**properties[field]} for field in EMBEDDED_METADATA}
        # Set semantics for finalizers belong to an object of its own; a template has none.
        kept["finalizers"].pop("x-kubernetes-list-type", None)
        return self._convert({"type": "object", "properties": kept})

    def _resolve(self, schema: Schema) -> Schema:
        """Convert a schema that may be a reference, alone or wrapped in an `allOf`."""
        reference = schema.get("$ref")
        for part in schema.get("allOf", ()):
            reference = part.get("$ref", reference)
        if reference is not None:
            return self.structural(str(reference).removeprefix(REF_PREFIX))
        return self._convert(schema)

    def _convert(self, schema: Schema) -> Schema:
        converted: Schema = {key: schema[key] for key in KEPT if key in schema}
        if "properties" in schema:
            required = schema.get("required", ())
            converted["properties"] = {
                name: self._property(field, required=name in required)
                for name, field in schema["properties"].items()
            }
        if "items" in schema:
            converted["items"] = self._resolve(schema["items"])
        if "additionalProperties" in schema:
            converted["additionalProperties"] = self._resolve(schema["additionalProperties"])
        return converted

    def _property(self, schema: Schema, *, required: bool) -> Schema:
        converted = self._resolve(schema)
        default = schema.get("default")
        # The document gives Go's zero value as the default of every required field and of every
        # embedded struct. Taking those over would accept a container without a name.
        if default is not None and default != {} and not required:
            converted["default"] = default
        return converted


def int_or_string(*, pattern: str | None = None) -> Schema:
    """Return the structural schema of a value that is an integer or a string."""
    schema: Schema = {
        "anyOf": [{"type": "integer"}, {"type": "string"}],
        "x-kubernetes-int-or-string": True,
    }
    if pattern is not None:
        schema["pattern"] = pattern
    return schema
