"""Kubernetes quantities as whole numbers, in the unit in which quota is counted.

Like Kueue, cpu is counted in thousandths and everything else in whole units, rounded up, so
that sums are exact and a total is always a multiple of the count (kueue-contract 2.5).
"""

import decimal
import functools
import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

Amounts = dict[str, int]

_MOST_DIGITS: Final = 30

_SUFFIXES: Final[Mapping[str, decimal.Decimal]] = {
    **{
        suffix: decimal.Decimal(1024) ** power
        for power, suffix in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), start=1)
    },
    **{
        suffix: decimal.Decimal(10) ** exponent
        for suffix, exponent in {
            "n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18,
        }.items()
    },
}  # fmt: skip

_LONGEST_FIRST: Final = sorted(_SUFFIXES, key=len, reverse=True)
_SMALLEST_DIGITS: Final = 9

_BINARY: Final = (("Ei", 60), ("Pi", 50), ("Ti", 40), ("Gi", 30), ("Mi", 20), ("Ki", 10))
_DECIMAL: Final = (("E", 18), ("P", 15), ("T", 12), ("G", 9), ("M", 6), ("k", 3))


def exact(quantity: Any) -> int:
    """Parse a quantity as thousand millionths, the smallest part that Kubernetes knows.

    Like the API server's, what is smaller is rounded up. ValueError if it is no quantity.
    """
    return _exact(str(quantity).strip())


# Every pass reads the same few texts, for every group.
@functools.lru_cache(maxsize=4096)
def _exact(text: str) -> int:
    suffix = next((s for s in _LONGEST_FIRST if text.endswith(s)), "")
    number = text[: len(text) - len(suffix)]
    try:
        value = decimal.Decimal(number) * _SUFFIXES.get(suffix, decimal.Decimal(1))
    except decimal.DecimalException:
        raise ValueError(f"{text!r} is not a quantity") from None
    # A quantity has at most 63 bits; writing out a larger exponent could take for ever.
    if not value.is_finite() or value.adjusted() > _MOST_DIGITS:
        raise ValueError(f"{text!r} is not a quantity")
    return math.ceil(value.scaleb(_SMALLEST_DIGITS))


def rounded(resource: str, parts: int) -> int:
    """Return an amount of ``exact`` in the unit in which quota is counted, rounded up."""
    per_unit: int = 10**_SMALLEST_DIGITS
    return -(-parts * 1000 // per_unit) if resource == "cpu" else -(-parts // per_unit)


def parse(resource: str, quantity: Any) -> int:
    """Parse a quantity of ``resource``; ValueError if it is none."""
    return rounded(resource, exact(quantity))


def parse_all(quantities: Mapping[str, Any] | None) -> Amounts:
    """Parse a resource list."""
    return {name: parse(name, quantity) for name, quantity in (quantities or {}).items()}


def exact_all(quantities: Mapping[str, Any] | None) -> Amounts:
    """Parse a resource list as ``exact`` does, so that sums are rounded once."""
    return {name: exact(quantity) for name, quantity in (quantities or {}).items()}


def render(resource: str, amount: int) -> str:
    """Write an amount the way the API server would: largest exact suffix."""
    if resource == "cpu":
        whole, rest = divmod(amount, 1000)
        return f"{amount}m" if rest else _with_suffix(whole, binary=False)
    byte_like = resource in ("memory", "ephemeral-storage") or resource.startswith("hugepages-")
    return _with_suffix(amount, binary=byte_like)


def render_all(amounts: Mapping[str, int]) -> dict[str, str]:
    """Write a resource list, sorted by name."""
    return {name: render(name, amounts[name]) for name in sorted(amounts)}


def _with_suffix(value: int, *, binary: bool) -> str:
    if value == 0:
        return "0"
    for suffix, power in _BINARY if binary else _DECIMAL:
        unit = 2**power if binary else 10**power
        if value % unit == 0:
            return f"{value // unit}{suffix}"
    return str(value)


def add(*parts: Mapping[str, int]) -> Amounts:
    """Sum resource by resource."""
    return _combine(parts, lambda left, right: left + right)


def largest(*parts: Mapping[str, int]) -> Amounts:
    """Take the maximum resource by resource."""
    return _combine(parts, max)


def times(amounts: Mapping[str, int], factor: int) -> Amounts:
    """Multiply every amount."""
    return {name: amount * factor for name, amount in amounts.items()}


def _combine(parts: Iterable[Mapping[str, int]], operation: Any) -> Amounts:
    total: Amounts = {}
    for part in parts:
        for name, amount in part.items():
            total[name] = operation(total[name], amount) if name in total else amount
    return total
