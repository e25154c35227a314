"""What depends on one fact alone is worked out once, and kept with the fact.

A fact is parsed once for each version of an object and never changed, so what follows from it holds
for as long as it is there. Passes ask the same of the same facts again and again.

What is kept is no part of the fact: two facts that say the same are equal, whatever was asked of
them, and a copy with other fields starts with nothing. A fact must not have slots.
"""

from collections import OrderedDict
from collections.abc import Callable
from functools import wraps
from typing import Any, Final, TypeVar

from pydantic import BaseModel

F = TypeVar("F")
G = TypeVar("G")
P = TypeVar("P")
V = TypeVar("V")
M = TypeVar("M", bound=BaseModel)

# So many parts that facts share are known at a time: sets have few templates each.
_MOST_PARTS: Final = 256

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


def of_part(derive: Callable[[P, G], V]) -> Callable[[P, G], V]:
    """Make a function of a part of facts, and of one more value, work out its value once.

    Facts that are alike share parts that are equal (``runtime.alike``), as the pods of all groups
    do. So this looks for the very object, among the last ones that were asked about; parts are
    never changed either.
    """
    kept: OrderedDict[int, tuple[P, G, V]] = OrderedDict()

    @wraps(derive)
    def derived(part: P, given: G) -> V:
        last = kept.get(id(part))
        # What is kept holds its part, so nothing else has that identity.
        if last is not None and (last[1] is given or last[1] == given):
            return last[2]
        value = derive(part, given)
        kept[id(part)] = (part, given, value)
        if len(kept) > _MOST_PARTS:
            kept.popitem(last=False)
        return value

    return derived


def nothing_yet(copied: M) -> M:
    """Return a copy of a model without what was kept with the original."""
    for kept in copied.__dict__.keys() - type(copied).model_fields.keys():
        del copied.__dict__[kept]
    return copied
