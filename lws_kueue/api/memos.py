"""What a pass has found out is kept for the next one, which looks at what has changed.

A pass asks the same of each group of a set, of each Workload, of each StatefulSet, and most often
one of them has changed. So what is found out about the facts of a mapping is kept by their keys,
and asked again of those alone that are not the same objects any more (``each``). What is made of
all of them together is kept for as long as they are equal (``whole``).

Nothing depends on what is kept: with an empty memory the same is found. For that two things have to
hold. What is asked has to follow from the facts and from what else is ``given``, and from nothing
besides; and a mapping that was handed over, or is answered, is never changed afterwards.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Final, TypeVar

K = TypeVar("K")
V = TypeVar("V")

# Revisions come and go: so many values are kept for comparison, and then it begins anew.
MOST_SAME: Final = 32

# So many differences of two mappings are kept: a pass compares the same ones again and again.
_MOST_DIFFERENCES: Final = 16

_NOTHING: Final[Mapping[Any, Any]] = {}


class Paused(Exception):
    """A piece of a decision is over: whoever asks again goes on from there (``Memo.pieces``)."""


@dataclass(frozen=True, slots=True)
class _Each:
    """What was found out of each fact: with what, of which facts, and what.

    ``left`` are the keys that have yet to be asked, ``decision`` is the one in which the others
    were.
    """

    given: tuple[object, ...]
    facts: tuple[Mapping[Any, Any], ...]
    found: dict[Any, Any]
    left: tuple[Any, ...] = ()
    decision: object = None


class Memo:
    """Of one set."""

    def __init__(self) -> None:
        self._same: dict[str, Any] = {}
        self._each: dict[str, _Each] = {}
        self._whole: dict[str, tuple[tuple[object, ...], Any]] = {}
        self._once: dict[str, tuple[object, Any]] = {}
        self._decision: object = None
        self._over: Callable[[], bool] = _never
        self._differences: deque[tuple[Mapping[Any, Any], Mapping[Any, Any], tuple[Any, ...]]] = (
            deque(maxlen=_MOST_DIFFERENCES)
        )

    @contextmanager
    def pieces(self, decision: object, over: Callable[[], bool]) -> Iterator[None]:
        """Make a decision in pieces: it raises ``Paused`` when a piece is ``over``.

        That is asked after each answer that was not known, so each piece gets further. All pieces
        of one ``decision`` have to look at the same, the time included.
        """
        self._decision, self._over = decision, over
        try:
            yield
        finally:
            self._decision, self._over = None, _never

    def same(self, what: str, value: V) -> V:
        """Return ``value``, as the very object of the last time if it was equal then.

        So what depends on it and was kept is found by identity, and not compared at length.
        """
        kept: V | None = self._same.get(what)
        if kept is not None and (kept is value or kept == value):
            return kept
        if len(self._same) >= MOST_SAME:
            self._same.clear()
        self._same[what] = value
        return value

    def whole(self, what: str, derive: Callable[..., V], *given: object) -> V:
        """Return what ``derive`` makes of what is ``given``, which is asked when that changes."""
        kept = self._whole.get(what)
        if kept is not None and kept[0] == given:
            value: V = kept[1]
            return value
        value = derive(*given)
        self._whole[what] = (given, value)
        return value

    def once(self, what: str, derive: Callable[[], V]) -> V:
        """Return what ``derive`` says, which is asked once in all pieces of a decision.

        It may depend on the time, and on all else that the pieces have in common.
        """
        if self._decision is None:
            return derive()
        kept = self._once.get(what)
        if kept is not None and kept[0] is self._decision:
            value: V = kept[1]
            return value
        value = derive()
        self._once[what] = (self._decision, value)
        return value

    def each(
        self,
        what: str,
        derive: Callable[..., V | None],
        facts: Mapping[K, Any],
        *others: Mapping[K, Any],
        given: tuple[object, ...] = (),
        anew: bool = False,
    ) -> Mapping[K, V]:
        """Return what ``derive`` says of each of ``facts``, by key and in the order of the keys.

        It is given the key, the fact, and what ``others`` have under the same key, None where they
        have nothing. Those of which it says None are left out. With ``anew`` this is all that is
        kept: what it says something of is asked again each time, and may then depend on the time
        and on anything else.

        While nothing changes the answer is the same object.
        """
        every: tuple[Mapping[K, Any], ...] = (facts, *others)
        # What an error cuts off in the middle is begun anew.
        kept = self._each.pop(what, None)
        if kept is None or len(kept.facts) != len(every) or kept.given != given:
            kept = _Each(given, (_NOTHING,) * len(every), {})
        asked: dict[K, None] = dict.fromkeys(kept.left)
        for before, now in zip(kept.facts, every, strict=True):
            if before is not now:
                asked.update(dict.fromkeys(self._difference(before, now)))
        if anew and (self._decision is None or kept.decision is not self._decision):
            asked.update(dict.fromkeys(kept.found))
        found, left = _answered(kept.found, asked, derive, every, self._over)
        self._each[what] = _Each(given, every, found, left, self._decision)
        if left:
            raise Paused
        return found

    def _difference(self, before: Mapping[Any, Any], now: Mapping[Any, Any]) -> tuple[Any, ...]:
        """Return the keys under which two mappings do not have the same object."""
        for one, other, keys in self._differences:
            if one is before and other is now:
                return keys
        keys = tuple(changed(before, now))
        self._differences.append((before, now, keys))
        return keys


def _answered(
    kept: dict[Any, Any],
    asked: Iterable[Any],
    derive: Callable[..., Any],
    every: tuple[Mapping[Any, Any], ...],
    over: Callable[[], bool],
) -> tuple[dict[Any, Any], tuple[Any, ...]]:
    """Return what is kept with those answers anew that are ``asked``; nothing is changed.

    The second value is what has not been asked by the time that is ``over``.
    """
    facts, *others = every
    found = kept
    more = False
    left = iter(asked)
    for key in left:
        fact = facts.get(key)
        value = None if fact is None else derive(key, fact, *[one.get(key) for one in others])
        before = kept.get(key)
        if value is not before and (before is None or value != before):
            if found is kept:
                found = dict(kept)
            if value is None:
                del found[key]
            else:
                more |= key not in found
                found[key] = value
        if over():
            break
    return (dict(sorted(found.items(), key=itemgetter(0))) if more else found), tuple(left)


def _never() -> bool:
    return False


def changed(before: Mapping[K, Any], now: Mapping[K, Any]) -> list[K]:
    """Return the keys under which there is not the same object as before."""
    keys = [key for key, fact in now.items() if before.get(key) is not fact]
    if keys or len(before) != len(now):
        keys += [key for key in before if key not in now]
    return keys
