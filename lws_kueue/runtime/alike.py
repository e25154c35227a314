"""Objects that are much alike share in memory what they have in common.

The pods of a set differ in names and in a few values. Parsed one by one, each has strings and maps
of its own for all the rest, and that is three quarters of what it takes.
"""

from collections import defaultdict
from collections.abc import Hashable, Mapping
from typing import Any, Final

from lws_kueue.runtime import keys

# What lies on more levels is not looked at: a pod's spec has about ten.
DEEPEST: Final = 30


def shared(new: Any, like: Any, *, levels: int = DEEPEST) -> Any:
    """Return what equals ``new``, made of parts of ``like`` where both are equal; changes neither.

    Both are JSON of one schema: the same field has the same type in both.
    """
    if new == like:
        return like
    if not levels:
        return new
    if isinstance(new, dict) and isinstance(like, dict):
        # The strings that are keys take as much as the values.
        known = {key: key for key in like}
        return {
            known.get(key, key): shared(value, like.get(key), levels=levels - 1)
            for key, value in new.items()
        }
    if isinstance(new, list) and isinstance(like, list):
        return [
            shared(value, like[at] if at < len(like) else None, levels=levels - 1)
            for at, value in enumerate(new)
        ]
    return new


class Alike:
    """The last object of each family, which the next one shares with; families belong to sets."""

    def __init__(self) -> None:
        self._last: dict[keys.SetKey, dict[Hashable, Mapping[str, Any]]] = defaultdict(dict)

    def sharing(
        self, key: keys.SetKey, family: Hashable, obj: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """Return an object that equals ``obj`` and shares with the last one of its family."""
        families = self._last[key]
        result: Mapping[str, Any] = shared(obj, families.get(family))
        families[family] = result
        return result

    def forget(self, key: keys.SetKey) -> None:
        """Take that a set has no objects any more."""
        self._last.pop(key, None)
