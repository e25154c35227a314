"""The commands of a document: its blocks of shell, and which of them no test runs."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_HEADING: Final = re.compile(r"## +(.+)")
_WHY_NOT: Final = re.compile(r"<!-- not run: (.+) -->")


@dataclass(frozen=True, slots=True)
class Block:
    """Commands that are run together.

    heading: the section that they stand in.
    why_not: why no test runs them, or None if one does.
    """

    heading: str
    text: str
    why_not: str | None


def blocks(document: Path) -> list[Block]:
    """Return the blocks of a document that are marked as shell, in their order.

    A block is run unless the line before it is a comment `not run`, with the reason.
    """
    heading, before = "", ""
    text: list[str] | None = None
    found: list[Block] = []
    for line in document.read_text(encoding="utf-8").splitlines():
        if text is None and (section := _HEADING.fullmatch(line)):
            heading = section[1]
        if text is None and line == "```sh":
            text = []
        elif text is not None and line == "```":
            reason = _WHY_NOT.fullmatch(before)
            found.append(Block(heading, "\n".join(text), reason[1] if reason else None))
            text = None
        elif text is not None:
            text.append(line)
        else:
            before = line
    return found
