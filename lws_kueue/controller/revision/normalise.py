"""Objects in the form in which Go programs write them (lws-contract 3.5).

Two stored objects that mean the same may differ in explicit nulls, zero values and spellings.
Upstream computes revision keys from what its Go types write, so the same has to come out here;
StatefulSets are rendered from the same form, so that they equal upstream's.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from lws_kueue.api import quantity
from lws_kueue.controller.revision import go_schema

_ZERO: dict[str, Any] = {"string": "", "bool": False, "int": 0, "intstr": 0, "quantity": "0"}

_JSON: dict[str, Any] = {
    "string": str,
    "bool": bool,
    "int": int | float,
    "intstr": int | str,
    "quantity": int | float | str,
    "time": str,
}

# Go reads JSON numbers as float64 on the way to a revision; larger integers lose digits there.
_EXACT = 2**53


def normalise(value: Any, kind: str) -> Any:
    """Return ``value`` as Go writes a ``kind``: a type of the schema table, or a scalar.

    Fields that the type does not have are left out. Values of a wrong JSON type, which an API
    server refuses, are passed through.
    """
    fields = go_schema.types().get(kind)
    if fields is None:
        return _scalar(value, kind)
    if value is not None and not isinstance(value, Mapping):
        return value
    struct = value or {}
    written = {field.name: _member(struct.get(field.name), field) for field in fields}
    return {
        field.name: written[field.name]
        for field in fields
        if field.always or not _left_out(written[field.name], field)
    }


def mistyped(value: Any, kind: str, *, at: str = "") -> str | None:
    """Return the path of the first part of ``value`` that no ``kind`` can have, None if all fit.

    An API server checks what it stores by the definition of the day; the content of a revision it
    does not check at all.
    """
    if value is None:
        return None
    fields = go_schema.types().get(kind)
    if fields is None:
        fits = isinstance(value, _JSON[kind]) and not _too_large(value)
        return None if fits else at
    if not isinstance(value, Mapping):
        return at
    inside = (_mistyped_in(value.get(f.name), f, at=f"{at}.{f.name}".lstrip(".")) for f in fields)
    return next((path for path in inside if path is not None), None)


def _mistyped_in(value: Any, field: go_schema.Field, *, at: str) -> str | None:
    if value is None or field.shape not in ("[]", "{}"):
        return mistyped(value, field.of, at=at)
    if not isinstance(value, Mapping if field.shape == "{}" else list | tuple):
        return at
    items = value.items() if isinstance(value, Mapping) else enumerate(value)
    # A field may be null, which means absent; an item of a list or map may not.
    inside = (
        mistyped(item, field.of, at=f"{at}[{key}]") if item is not None else f"{at}[{key}]"
        for key, item in items
    )
    return next((path for path in inside if path is not None), None)


def _too_large(value: Any) -> bool:
    return isinstance(value, int) and not -(2**63) <= value < 2**63


def _member(value: Any, field: go_schema.Field) -> Any:
    if value is None and field.shape:
        return None
    if field.shape == "[]" and isinstance(value, list | tuple):
        return [normalise(item, field.of) for item in value]
    if field.shape == "{}" and isinstance(value, Mapping):
        return {key: normalise(item, field.of) for key, item in value.items()}
    return normalise(value, field.of)


def _left_out(value: Any, field: go_schema.Field) -> bool:
    """Whether an optional field with this value is not written."""
    if field.shape == "*":
        return value is None
    if field.shape:
        return not value
    if field.of in ("string", "bool", "int"):
        return not value
    # Structs, and quantities and times, which are structs too, have no empty value.
    return False


def _scalar(value: Any, kind: str) -> Any:
    if value is None:
        return _ZERO.get(kind)
    if kind == "quantity":
        return quantity.canonical(str(value).strip())
    if isinstance(value, int) and abs(value) >= _EXACT:
        return int(Decimal(repr(float(value))))
    return value
