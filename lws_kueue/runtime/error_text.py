"""What an API server says of a refusal, without the values that it quotes.

It names the field and what is wrong with it, and between the two what stands there: a variable of a
container, or the difference between two pods with all that they have. That goes into logs, Events
and conditions, which others may read than those who may read the object. What it says stays whole
otherwise: the text of an admission policy or a webhook is written for people.
"""

import re
from typing import Final

# How field errors begin. Other kinds, such as Forbidden, quote nothing, or like Not found the name
# of another object or of another part of this one, without which nobody could tell what is meant.
_QUOTES: Final = re.compile(r"\b(?:Invalid|Duplicate|Unsupported) value: ")
_TEXT: Final = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_STRUCTURE: Final = re.compile(r"&?[\w.*\[\]]*[{\[]")

# Below the line on which a change is forbidden stands what was to be changed.
_DIFFERENCE: Final = re.compile(r"(: Forbidden: [^\n]*)\n.*", re.DOTALL)

_OPEN: Final = "{[("
_CLOSE: Final = "}])"


def without_values(message: str) -> str:
    """Return a message of an API server without the values of fields; numbers stay."""
    if "denied" not in message:
        message = _DIFFERENCE.sub(r"\1", message)
    parts: list[str] = []
    at = 0
    while (found := _QUOTES.search(message, at)) is not None:
        end = _end(message, found.end())
        parts.append(message[at : found.end()])
        at = found.end()
        if end > at:
            # Without its value, what introduced it leads to the reason, or ends.
            at = end + 2 if message.startswith(": ", end) else end
            if at == end:
                parts[-1] = parts[-1].removesuffix(": ")
    return "".join([*parts, message[at:]])


def _end(message: str, start: int) -> int:
    """Return where the value that begins at ``start`` ends; there if it is a number or a word."""
    text = _TEXT.match(message, start)
    if text is not None:
        return text.end()
    if message.startswith('"', start):
        return len(message)  # It was cut off.
    structure = _STRUCTURE.match(message, start)
    if structure is None:
        return start
    at, depth = structure.end(), 1
    while at < len(message) and depth:
        if (inner := _TEXT.match(message, at)) is not None:
            at = inner.end()
            continue
        depth += (message[at] in _OPEN) - (message[at] in _CLOSE)
        at += 1
    return at
