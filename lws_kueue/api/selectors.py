"""Label selectors as Kubernetes has them: the model of one, its checks, and what it matches."""

import re
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator
from pydantic.alias_generators import to_camel

from lws_kueue.api import facts

_NAME: Final = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_PART: Final = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN: Final = re.compile(rf"(?=.{{1,253}}$){_PART}(\.{_PART})*")

_OF_A_LIST: Final = ("In", "NotIn")


def is_key(text: str) -> bool:
    """Whether the text can be the key of a label: an optional DNS prefix, a slash, a name."""
    return key_problem(text) is None


def is_value(text: str) -> bool:
    """Whether the text can be the value of a label, and is not empty."""
    return _NAME.fullmatch(text) is not None


def key_problem(key: str) -> str | None:
    """Return what keeps a text from being the key of a label or an annotation."""
    prefix, slash, name = key.rpartition("/")
    if (slash and not _SUBDOMAIN.fullmatch(prefix)) or not _NAME.fullmatch(name):
        return f"{key!r} is not the key of a label"
    return None


def checked_key(key: str) -> str:
    """Return the key of a label.

    Raises:
        ValueError: it is none.
    """
    if problem := key_problem(key):
        raise ValueError(problem)
    return key


def _checked_value(value: str) -> str:
    if value and not is_value(value):
        raise ValueError(f"{value!r} is not the value of a label")
    return value


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, alias_generator=to_camel)

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        known = {field.alias for field in cls.model_fields.values()}
        return {k: v for k, v in given.items() if v is not None or k not in known}


class Requirement(_Strict):
    """One of ``matchExpressions``."""

    key: str
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    values: tuple[str, ...] = Field(default=(), strict=False, validate_default=True)

    @field_validator("key")
    @classmethod
    def _a_key(cls, key: str) -> str:
        return checked_key(key)

    @field_validator("values")
    @classmethod
    def _values_of_the_operator(
        cls, values: tuple[str, ...], info: ValidationInfo
    ) -> tuple[str, ...]:
        operator = info.data.get("operator")
        if operator in _OF_A_LIST and not values:
            raise ValueError(f"operator {operator} needs at least one")
        if operator in ("Exists", "DoesNotExist") and values:
            raise ValueError(f"operator {operator} takes none")
        return tuple(_checked_value(value) for value in values)

    def matches(self, labels: facts.Labels) -> bool:
        """Whether labels are as this asks; what is absent is in no list."""
        match self.operator:
            case "In":
                return labels.get(self.key) in self.values
            case "NotIn":
                return labels.get(self.key) not in self.values
            case "Exists":
                return self.key in labels
        return self.key not in labels


class LabelSelector(_Strict):
    """A selector; one that asks for nothing matches everything."""

    match_labels: dict[str, str] = Field(default_factory=dict)
    match_expressions: tuple[Requirement, ...] = Field(default=(), strict=False)

    @field_validator("match_labels")
    @classmethod
    def _labels(cls, given: dict[str, str]) -> dict[str, str]:
        return {checked_key(key): _checked_value(value) for key, value in given.items()}

    def matches(self, labels: facts.Labels) -> bool:
        """Whether labels fulfil everything that is asked for."""
        return all(labels.get(key) == value for key, value in self.match_labels.items()) and all(
            requirement.matches(labels) for requirement in self.match_expressions
        )
