"""The topology assignment of a pod set as the API stores it (`kueue.x-k8s.io/v1beta2`), both ways.

It stands for an ordered list of domains, each with its number of pods: ranks are given out in this
order. `levels` names the node labels, topmost first. A slice describes `domainCount` domains that
follow each other: `valuesPerLevel` has for every level one value that all of them have, or their
roots between a common prefix and a common suffix; `podCounts` has one number for all, or one each.

The product has its own reader. This is none of it, because the stand-in is there to test that.
"""

import itertools
from collections.abc import Sequence
from typing import Any

Object = dict[str, Any]

# The values of a domain, one for each level, and how many pods it takes.
Assigned = tuple[tuple[str, ...], int]


def decode(stored: Object) -> list[Assigned]:
    """Return the domains in their order.

    Raises:
        ValueError: a slice has not as many values or counts as it has domains and levels.
    """
    try:
        levels = len(stored["levels"])
        return [one for part in stored.get("slices") or () for one in _domains(part, levels)]
    except (AttributeError, LookupError, TypeError) as error:
        raise ValueError(f"not a topology assignment: {error!r}") from error


def _domains(part: Object, levels: int) -> list[Assigned]:
    number, stored = part["domainCount"], part["valuesPerLevel"]
    if len(stored) != levels:
        raise ValueError(f"{len(stored)} level values for {levels} levels")
    pods = part["podCounts"]
    counts = [pods["universal"]] * number if "universal" in pods else pods["individual"]
    columns = [_values(level, number) for level in stored]
    rows = zip(range(number), counts, *columns, strict=True)
    return [(tuple(values), count) for _, count, *values in rows]


def _values(level: Object, number: int) -> list[str]:
    if "universal" in level:
        return [level["universal"]] * number
    individual = level["individual"]
    before, after = individual.get("prefix", ""), individual.get("suffix", "")
    return [f"{before}{root}{after}" for root in individual["roots"]]


def encode(levels: Sequence[str], domains: Sequence[Assigned]) -> Object:
    """Return what is stored: one slice, with all that its domains share written once."""
    counts = [count for _, count in domains]
    part = {
        "domainCount": len(domains),
        "valuesPerLevel": [
            _level([values[depth] for values, _ in domains]) for depth in range(len(levels))
        ],
        "podCounts": {"universal": counts[0]} if len(set(counts)) == 1 else {"individual": counts},
    }
    return {"levels": list(levels), "slices": [part]}


def _level(values: Sequence[str]) -> Object:
    if len(set(values)) == 1:
        return {"universal": values[0]}
    prefix = _shared_start(values)
    # What the prefix has is gone: in "ababa" and "aba" the two must not share a letter.
    rests = [value.removeprefix(prefix) for value in values]
    suffix = _shared_start([rest[::-1] for rest in rests])[::-1]
    individual = {"prefix": prefix, "suffix": suffix}
    return {
        "individual": {key: value for key, value in individual.items() if value}
        | {"roots": [rest.removesuffix(suffix) for rest in rests]}
    }


def _shared_start(values: Sequence[str]) -> str:
    letters = map(set, zip(*values, strict=False))
    return "".join(
        letter.pop() for letter in itertools.takewhile(lambda one: len(one) == 1, letters)
    )
