"""Topology assignments written in every form that the API allows, as chance will have it.

The product writes one form only; Kueue may choose any, so the decoder has to read them all.
"""

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from lws_kueue.tas import assignment


@st.composite
def encoded(
    draw: st.DrawFn, levels: Sequence[str], domains: Sequence[assignment.Domain]
) -> dict[str, Any]:
    """The domains in slices of any lengths, each part in any form that can express it."""
    slices = []
    rest = list(domains)
    while rest:
        length = draw(st.integers(1, len(rest)))
        part, rest = rest[:length], rest[length:]
        slices.append(
            {
                "domainCount": length,
                "valuesPerLevel": [
                    _level(draw, [domain.values[level] for domain in part]) for level in levels
                ],
                "podCounts": _counts(draw, [domain.count for domain in part]),
            }
        )
    return {"levels": list(levels), "slices": slices}


def _counts(draw: st.DrawFn, counts: list[int]) -> dict[str, Any]:
    if len(set(counts)) == 1 and draw(st.booleans()):
        return {"universal": counts[0]}
    return {"individual": counts}


def _level(draw: st.DrawFn, values: Sequence[str]) -> dict[str, Any]:
    if len(set(values)) == 1 and draw(st.booleans()):
        return {"universal": values[0]}
    shortest = min(len(value) for value in values)
    prefix = draw(st.integers(0, shortest))
    while any(value[:prefix] != values[0][:prefix] for value in values):
        prefix -= 1
    suffix = draw(st.integers(0, shortest - prefix))
    while any(_end(value, suffix) != _end(values[0], suffix) for value in values):
        suffix -= 1
    individual: dict[str, Any] = {"roots": [v[prefix : len(v) - suffix] for v in values]}
    if prefix:
        individual["prefix"] = values[0][:prefix]
    if suffix:
        individual["suffix"] = _end(values[0], suffix)
    return {"individual": individual}


def _end(value: str, length: int) -> str:
    return value[len(value) - length :]
