"""What depends on one fact alone is worked out once, and kept with the fact.

A fact is parsed once for each version of an object and never changed, so what follows from it holds
for as long as it is there. Passes ask the same of the same facts again and again.

What is kept is no part of the fact: two facts that say the same are equal, whatever was asked of
them, and a copy with other fields starts with nothing. A fact must not have slots.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from pydantic import BaseModel

F = TypeVar("F")
G = TypeVar("G")
V = TypeVar("V")
M = TypeVar("M", bound=BaseModel)

# Where it is kept among the attributes of a fact.
_KEPT = "kept with the fact"


class _Kept(dict[str, Any]):
    """What is kept with one fact, by what it is; it makes no difference between two facts."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Kept)


def _kept(fact: object) -> _Kept:
    attributes = fact.__dict__
    if _KEPT not in attributes:
        attributes[_KEPT] = _Kept()
    kept: _Kept = attributes[_KEPT]
    return kept


def once(derive: Callable[[F], V]) -> Callable[[F], V]:
    """Make a function of one fact work out its value once for each fact.

    The value is shared by all who ask, so it must not be changed either. What raises an error is
    worked out anew.
    """
    name = f"{derive.__module__}.{derive.__qualname__}"

    @wraps(derive)
    def derived(fact: F) -> V:
        try:
            value: V = fact.__dict__[_KEPT][name]
        except KeyError:
            value = _kept(fact)[name] = derive(fact)
        return value

    return derived


def once_given(derive: Callable[[F, G], V]) -> Callable[[F, G], V]:
    """Make a function of a fact and of one more value work it out again only for another value.

    The value is what is true of the whole set or cluster, and stays the same for a long time. The
    last one counts, and is compared by equality.
    """
    name = f"{derive.__module__}.{derive.__qualname__}"

    @wraps(derive)
    def derived(fact: F, given: G) -> V:
        kept: tuple[G, V] | None = _kept(fact).get(name)
        if kept is not None and (kept[0] is given or kept[0] == given):
            return kept[1]
        value = derive(fact, given)
        _kept(fact)[name] = (given, value)
        return value

    return derived


def settle(fact: object, what: str, given: tuple[object, ...]) -> None:
    """Note that ``what`` asks for nothing of a fact, as long as it is given the same."""
    _kept(fact)[what] = given


def settled(fact: object, what: str, given: tuple[object, ...]) -> bool:
    """Whether ``what`` is known to ask for nothing of a fact, given this."""
    return bool(_kept(fact).get(what) == given)


def nothing_yet(copied: M) -> M:
    """Return a copy of a model without what was kept with the original."""
    for kept in copied.__dict__.keys() - type(copied).model_fields.keys():
        del copied.__dict__[kept]
    return copied
