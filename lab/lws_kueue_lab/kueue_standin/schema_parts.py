"""The building blocks of the schemas: small functions that write structural schemas."""

from collections.abc import Sequence
from typing import Any, Final

from lws_kueue.api import names

Json = dict[str, Any]

# What tells a definition of the stand-in from one of a real Kueue.
ANNOTATION: Final = "lws-kueue.dev/stand-in"

_DNS_NAME: Final = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
LABEL_NAME: Final = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
ANY: Final[Json] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
QUANTITY: Final[Json] = {
    "anyOf": [{"type": "integer"}, {"type": "string"}],
    "x-kubernetes-int-or-string": True,
    "pattern": r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))"
    r"(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$",
}
TIME: Final[Json] = {"type": "string", "format": "date-time"}
BOOLEAN: Final[Json] = {"type": "boolean"}


def text(longest: int | None = None, **more: Any) -> Json:
    """A string of at most ``longest`` characters."""
    return {"type": "string"} | ({"maxLength": longest} if longest else {}) | more


def name(**more: Any) -> Json:
    """The name of an object."""
    return text(253, pattern=_DNS_NAME, **more)


def choice(*values: str, **more: Any) -> Json:
    """One of a few words."""
    return {"type": "string", "enum": list(values)} | more


def integer(least: int | None = None, **more: Any) -> Json:
    """A whole number of 32 bits."""
    bound = {} if least is None else {"minimum": least}
    return {"type": "integer", "format": "int32"} | bound | more


def obj(required: str = "", /, *, rules: Sequence[Json] = (), **properties: Json) -> Json:
    """An object; ``required`` names its required properties, separated by blanks."""
    schema: Json = {"type": "object", "properties": properties}
    if required:
        schema["required"] = required.split()
    if rules:
        schema["x-kubernetes-validations"] = list(rules)
    return schema


def mapping(values: Json | None = None, **more: Any) -> Json:
    """An object with free keys."""
    return {"type": "object", "additionalProperties": values or text()} | more


def array(items: Json, longest: int | None = None, *, keys: str = "", **more: Any) -> Json:
    """A list; with ``keys``, separated by blanks, a list-map."""
    kind: Json = {"x-kubernetes-list-type": "atomic"}
    if keys:
        kind = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": keys.split()}
    bound = {"maxItems": longest} if longest else {}
    return {"type": "array", "items": items} | bound | kind | more


def rule(rule: str, message: str) -> Json:
    """A CEL rule with the message for those who break it."""
    return {"rule": rule, "message": message}


ONE_OF_TWO: Final = rule(
    "has(self.universal) != has(self.individual)",
    "exactly one of universal and individual has to be set",
)
FROZEN: Final = rule("self == oldSelf", "field is immutable")

CONDITIONS: Final = array(
    obj(
        "lastTransitionTime message reason status type",
        lastTransitionTime=TIME,
        message=text(32768),
        observedGeneration={"type": "integer", "format": "int64", "minimum": 0},
        reason=text(1024, minLength=1, pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"),
        status=choice("True", "False", "Unknown"),
        type=text(316),
    ),
    16,
    keys="type",
)
TOLERATIONS: Final = array(
    obj(
        effect=text(),
        key=text(),
        operator=text(),
        tolerationSeconds={"type": "integer", "format": "int64"},
        value=text(),
    ),
    8,
)


def definition(
    kind: str,
    *,
    schema: Json,
    short: Sequence[str],
    plural: str = "",
    namespaced: bool = True,
    status: bool = True,
    columns: Sequence[tuple[str, str, str]] = (),
    selectable: Sequence[str] = (),
) -> Json:
    """A CustomResourceDefinition of Kueue's group, marked as the stand-in's."""
    plural = plural or f"{kind.lower()}s"
    version: Json = {
        "name": names.KUEUE_VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "subresources": {"status": {}} if status else {},
        "additionalPrinterColumns": [
            {"name": name, "type": of, "jsonPath": path} for name, of, path in columns
        ],
    }
    if selectable:
        version["selectableFields"] = [{"jsonPath": path} for path in selectable]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{plural}.{names.KUEUE_GROUP}",
            "annotations": {ANNOTATION: "true"},
        },
        "spec": {
            "group": names.KUEUE_GROUP,
            "names": {
                "kind": kind,
                "listKind": f"{kind}List",
                "plural": plural,
                "singular": kind.lower(),
                "shortNames": list(short),
            },
            "scope": "Namespaced" if namespaced else "Cluster",
            "versions": [version],
        },
    }
