"""Numbers in annotations, which anyone can edit to anything."""

# More digits than any number of pods has; Python refuses to read numbers of several thousand.
_MOST_DIGITS = 10


def natural(text: str) -> int | None:
    """Return a number that is written in digits, or None."""
    readable = text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS
    return int(text) if readable else None


def positive(text: str) -> int | None:
    """Return a number of at least 1 that is written in digits, or None."""
    return natural(text) or None
