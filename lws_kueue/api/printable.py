"""What others wrote, made fit for a terminal or a log.

A server, a mirror, or whoever may write an object can send characters that a terminal obeys, or
that hide or turn round what stands beside them, and no end of text.
"""

import unicodedata
from typing import Final

# Control and format characters, halves of characters, and what separates lines or paragraphs.
_OBEYED: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})

#: Enough for a sentence or an address.
MOST: Final = 300


def escaped(text: str) -> str:
    r"""Return a text in which nothing is obeyed but newlines and tabs: ``\x1b`` is seen as that."""
    if text.isprintable():
        return text
    return "".join(one if one in "\n\t" else _seen(one) for one in text)


def brief(text: str, most: int = MOST) -> str:
    """Return a text as a part of a line: newlines are escaped as well, and its length is bounded.

    ``most`` is how many characters of it are told; how many more there are is told instead of them.
    """
    told = "".join(_seen(one) for one in text[:most])
    left = len(text) - most
    return f"{told}… ({left} more characters)" if left > 0 else told


def _seen(one: str) -> str:
    if unicodedata.category(one) not in _OBEYED:
        return one
    return one.encode("unicode_escape").decode("ascii")
