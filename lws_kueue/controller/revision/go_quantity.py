"""Kubernetes quantities in the spelling that Go gives them (part of lws-contract 3.5).

A stored quantity is re-spelled whenever a Go program writes it (``0.5`` becomes ``500m``,
``1024Mi`` becomes ``1Gi``), and revision keys are hashes of the re-spelled text.
"""

import re
from decimal import ROUND_UP, Decimal, localcontext

_FORM = re.compile(
    r"(?P<sign>[+-]?)0*(?P<whole>\d*)(?:\.(?P<fraction>\d*))?"
    r"(?P<suffix>[KMGTPE]i|[numkMGTPE]|[eE][+-]?\d+|)"
)
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY_SUFFIX = {exponent: suffix for suffix, exponent in _BINARY.items()} | {0: ""}
_DECIMAL_SUFFIX = {exponent: suffix for suffix, exponent in _DECIMAL.items()}

_LARGEST = Decimal(2**63 - 1)
_SMALLEST_EXPONENT = -9
# A number with at most this many decimal digits fits in an int64 whatever they are.
_SAFE_DIGITS = 18
_SAFE_BINARY_DIGITS = 15


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
    quick = len(digits) <= _SAFE_DIGITS and exponent >= _SMALLEST_EXPONENT
    return quick and exponent % 3 == 0 and not digits.endswith("000") and digits[0] != "0"


def _exponent(suffix: str) -> int:
    return _DECIMAL[suffix] if suffix in _DECIMAL else int(suffix[1:])


def _respell(*, sign: str, digits: str, suffix: str) -> str:
    binary = suffix in _BINARY
    number = Decimal(digits)
    number = number * 2 ** _BINARY[suffix] if binary else number.scaleb(_exponent(suffix))
    # Something is asked for, so something is given: what is too small is rounded up.
    number = number.quantize(Decimal(1).scaleb(_SMALLEST_EXPONENT), rounding=ROUND_UP)
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
