"""Kubernetes quantities: as whole numbers, in the unit in which quota is counted, and as text.

Like Kueue, cpu is counted in thousandths and everything else in whole units, rounded up, so
that sums are exact and a total is always a multiple of the count (kueue-contract 2.5).

A stored quantity is re-spelled whenever a Go program writes it (``0.5`` becomes ``500m``,
``1024Mi`` becomes ``1Gi``), and revision keys are hashes of the re-spelled text: ``canonical``.
"""

import functools
import math
import re
from collections.abc import Iterable, Mapping
from decimal import ROUND_UP, Decimal, DecimalException, localcontext
from typing import Any, Final

Amounts = dict[str, int]

_MOST_DIGITS: Final = 30

# Powers of two and of ten, the smaller ones first.
_BINARY: Final = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_DECIMAL: Final = {
    "n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18,
}  # fmt: skip

_UNITS: Final[Mapping[str, Decimal]] = {
    **{suffix: Decimal(2) ** power for suffix, power in _BINARY.items()},
    **{suffix: Decimal(10) ** power for suffix, power in _DECIMAL.items()},
}
_LONGEST_FIRST: Final = sorted(_UNITS, key=len, reverse=True)
_SMALLEST_DIGITS: Final = 9

_FORM: Final = re.compile(
    r"(?P<sign>[+-]?)0*(?P<whole>\d*)(?:\.(?P<fraction>\d*))?"
    r"(?P<suffix>[KMGTPE]i|[numkMGTPE]|[eE][+-]?\d+|)"
)
_BINARY_SUFFIX: Final = {power: suffix for suffix, power in _BINARY.items()}
_DECIMAL_SUFFIX: Final = {power: suffix for suffix, power in _DECIMAL.items()}
_LARGEST: Final = Decimal(2**63 - 1)
# A number with at most this many decimal digits fits in an int64 whatever they are.
_SAFE_DIGITS: Final = 18
_SAFE_BINARY_DIGITS: Final = 15


def exact(quantity: Any) -> int:
    """Parse a quantity as thousand millionths, the smallest part that Kubernetes knows.

    Like the API server's, what is smaller is rounded up. ValueError if it is no quantity.
    """
    return _exact(str(quantity).strip())


# Every pass reads the same few texts, for every group.
@functools.lru_cache(maxsize=4096)
def _exact(text: str) -> int:
    suffix = next(s for s in _LONGEST_FIRST if text.endswith(s))
    number = text[: len(text) - len(suffix)]
    try:
        value = Decimal(number) * _UNITS[suffix]
    except DecimalException:
        raise ValueError(f"{text!r} is not a quantity") from None
    # A quantity has at most 63 bits; writing out a larger exponent could take for ever.
    if not value.is_finite() or value.adjusted() > _MOST_DIGITS:
        raise ValueError(f"{text!r} is not a quantity")
    return math.ceil(value.scaleb(_SMALLEST_DIGITS))


def thousandths(quantity: Any) -> int:
    """Parse a quantity in thousandths, rounded up; ValueError if it is none."""
    per_thousandth: int = 10 ** (_SMALLEST_DIGITS - 3)
    return -(-exact(quantity) // per_thousandth)


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
    for suffix, power in reversed((_BINARY if binary else _DECIMAL).items()):
        unit = (2 if binary else 10) ** power
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


def canonical(text: str) -> str:
    """Return the canonical spelling of a quantity; text that is none is returned as it is."""
    match = _FORM.fullmatch(text)
    if match is None or not any(character.isdigit() for character in text):
        return text
    whole, fraction, suffix = match["whole"], match["fraction"] or "", match["suffix"]
    if not whole and not match["fraction"] and "." not in text and not suffix:
        return "0"
    try:
        if _kept_as_written(whole=whole, fraction=fraction, suffix=suffix):
            return text
        with localcontext() as context:
            context.prec = 200
            return _respell(sign=match["sign"], digits=f"{whole or '0'}.{fraction}0", suffix=suffix)
    except (ArithmeticError, ValueError):
        # The definition takes exponents and digits without an end; no Go program reads those.
        return text


def _kept_as_written(*, whole: str, fraction: str, suffix: str) -> bool:
    """Whether Go keeps the text of a number that looks canonical to its quick check.

    The quick check looks at the digits alone, so a leading sign or zero, and trailing zeros that
    do not fill a group of three, survive.
    """
    digits = (whole or "0") + fraction
    if suffix in _BINARY:
        exponent = _BINARY[suffix]
        room = _SAFE_BINARY_DIGITS - len(whole or "0") - exponent * 3 // 10 - 1
        quick = not fraction and room >= 0
        return quick and int(digits) * 2**exponent < 2**63 and int(digits) & 7 != 0
    exponent = _exponent(suffix) - len(fraction)
    quick = len(digits) <= _SAFE_DIGITS and exponent >= -_SMALLEST_DIGITS
    return quick and exponent % 3 == 0 and not digits.endswith("000") and digits[0] != "0"


def _exponent(suffix: str) -> int:
    return _DECIMAL[suffix] if suffix in _DECIMAL else int(suffix[1:])


def _respell(*, sign: str, digits: str, suffix: str) -> str:
    binary = suffix in _BINARY
    number = Decimal(digits)
    number = number * 2 ** _BINARY[suffix] if binary else number.scaleb(_exponent(suffix))
    # Something is asked for, so something is given: what is too small is rounded up.
    number = number.quantize(Decimal(1).scaleb(-_SMALLEST_DIGITS), rounding=ROUND_UP)
    if binary:
        number = min(number, _LARGEST)
    if number == 0:
        return "0"
    minus = "-" if sign == "-" else ""
    if binary and number >= 1024 and number == number.to_integral_value():
        return minus + _spell_binary(int(number))
    return minus + _spell_decimal(number, scientific=suffix not in _DECIMAL and not binary)


def _spell_binary(number: int) -> str:
    exponent = 0
    while number % 1024 == 0:
        number //= 1024
        exponent += 10
    return f"{number}{_BINARY_SUFFIX.get(exponent, '')}"


def _spell_decimal(number: Decimal, *, scientific: bool) -> str:
    exponent = int(number.normalize().as_tuple().exponent)
    exponent -= exponent % 3
    digits = int(number.scaleb(-exponent))
    if scientific:
        return f"{digits}e{exponent}" if exponent else str(digits)
    return f"{digits}{_DECIMAL_SUFFIX.get(exponent, '')}"
