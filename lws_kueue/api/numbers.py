"""Numbers and truth values in labels and annotations, which anyone can edit to anything."""

from typing import Final

# More digits than any number of pods has; Python refuses to read numbers of several thousand.
_MOST_DIGITS: Final = 10

_TRUE: Final = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE: Final = frozenset({"0", "f", "F", "FALSE", "false", "False"})


def natural(text: str) -> int | None:
    """Return a number that is written in digits, or None."""
    readable = text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS
    return int(text) if readable else None


def positive(text: str) -> int | None:
    """Return a number of at least 1 that is written in digits, or None."""
    return natural(text) or None


def boolean(text: str) -> bool | None:
    """Return a truth value as Go spells it (``strconv.ParseBool``), or None."""
    return True if text in _TRUE else False if text in _FALSE else None
