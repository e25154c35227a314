"""How answers are shown: as tables for people, or as JSON or YAML for programs.

In a pipe there are neither colours nor a width: what is cut there is lost. On a terminal a table
is as wide as that.
"""

import dataclasses
import datetime
import io
import json
import re
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, Literal, TextIO

from rich import console as rich_console
from rich import padding as rich_padding
from rich import table as rich_table
from rich import text as rich_text
from rich import tree as rich_tree

from lws_kueue.api import printable

Format = Literal["table", "wide", "json", "yaml"]

# Wider than any table; what is longer than a terminal is wrapped by that.
_UNBOUNDED: Final = 10_000
# Colours of the words that tell how something is.
_STYLES: Final = {
    **dict.fromkeys(("ready", "admitted", "running", "done"), "green"),
    **dict.fromkeys(("pending", "reserved", "waits", "updating", "starting", "paused"), "yellow"),
    **dict.fromkeys(("evicted", "deactivated", "failed", "unknown"), "red"),
}


@dataclass(frozen=True, slots=True)
class Line:
    """A line of its own."""

    text: str
    style: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A table; columns of which no row says anything are left out."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    indent: int = 0


@dataclass(frozen=True, slots=True)
class Facts:
    """What there is to say about one thing: names, each with its value, "" for nothing."""

    pairs: tuple[tuple[str, str], ...]
    indent: int = 0


@dataclass(frozen=True, slots=True)
class Tree:
    """A line, and what is below it."""

    text: str
    below: "tuple[Tree, ...]" = ()


Block = Line | Table | Facts | Tree


def show(blocks: Iterable[Block], *, out: TextIO | None = None, width: int | None = None) -> None:
    """Write blocks; ``width`` is that of the terminal, None to find out."""
    out = out or sys.stdout
    if out.isatty():
        console = rich_console.Console(file=out, width=width, highlight=False)
        for block in blocks:
            _print(console, block)
        return
    out.write(text(blocks, width=width))
    out.flush()


def text(blocks: Iterable[Block], *, width: int | None = None) -> str:
    """Return blocks as plain text; without a ``width`` no line is wrapped."""
    buffer = io.StringIO()
    console = rich_console.Console(
        file=buffer, width=width or _UNBOUNDED, color_system=None, highlight=False
    )
    for block in blocks:
        _print(console, block)
    return "".join(f"{line.rstrip()}\n" for line in buffer.getvalue().splitlines())


def _print(console: rich_console.Console, block: Block) -> None:
    match block:
        case Line():
            console.print(_plain_text(block.text, style=block.style))
        case Table():
            console.print(_indented(_table(block), block.indent))
        case Facts():
            console.print(_indented(_facts(block), block.indent))
        case Tree():
            console.print(_tree(block))


def _table(block: Table) -> rich_table.Table:
    said = [i for i in range(len(block.head)) if any(row[i] for row in block.rows)]
    kept = said if block.rows else list(range(len(block.head)))
    table = _grid(header=True)
    for index in kept:
        table.add_column(rich_text.Text(block.head[index]), overflow="fold")
    for row in block.rows:
        table.add_row(*(_cell(row[index] or "-") for index in kept))
    return table


def _facts(block: Facts) -> rich_table.Table:
    table = _grid(header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in block.pairs:
        if value:
            table.add_row(_plain_text(name, style="bold"), _cell(value))
    return table


def _grid(*, header: bool) -> rich_table.Table:
    return rich_table.Table(
        box=None, show_header=header, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold"
    )


def _indented(table: rich_table.Table, indent: int) -> rich_padding.Padding:
    return rich_padding.Padding(table, (0, 0, 0, indent), expand=False)


def _cell(value: str) -> rich_text.Text:
    return _plain_text(value, style=_STYLES.get(value.partition(" ")[0], ""))


def _tree(block: Tree) -> rich_tree.Tree:
    def grown(one: Tree, tree: rich_tree.Tree) -> rich_tree.Tree:
        for below in one.below:
            grown(below, tree.add(_plain_text(below.text)))
        return tree

    return grown(block, rich_tree.Tree(_plain_text(block.text), guide_style="dim"))


def _plain_text(text: str, *, style: str = "") -> rich_text.Text:
    """What objects say goes to a terminal, which is not to obey whoever may write them."""
    return rich_text.Text(printable.escaped(text), style=style)


# For programs -------------------------------------------------------------------------------


def dumped(answer: Any, format_: Format) -> str:
    """Return an answer, made of dataclasses, as JSON or YAML; what says nothing is left out."""
    plain = _plain(answer)
    if format_ == "json":
        return json.dumps(plain, indent=2, ensure_ascii=False) + "\n"
    import yaml  # Tables have no use for it.

    return str(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True))


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        pairs = ((one.name, getattr(value, one.name)) for one in dataclasses.fields(value))
        return {_camel(name): _plain(own) for name, own in pairs if _says(own)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime.datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, Mapping):
        return {str(name): _plain(own) for name, own in value.items()}
    if isinstance(value, Collection) and not isinstance(value, str):
        return [_plain(one) for one in value]
    return value


def _says(value: Any) -> bool:
    return not (value is None or (isinstance(value, Collection) and not value))


def _camel(name: str) -> str:
    return re.sub(r"_(\w)", lambda found: found[1].upper(), name)


# Words --------------------------------------------------------------------------------------


def age(since: datetime.datetime | None, now: datetime.datetime) -> str:
    """Return for how long something has been so, as kubectl tells ages: "3m12s", "5d"."""
    if since is None:
        return ""
    seconds = max(0, int((now - since).total_seconds()))
    if seconds < 120:
        return f"{seconds}s"
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if minutes < 10:
        return f"{minutes}m{seconds % 60}s" if seconds % 60 else f"{minutes}m"
    if hours < 3:
        return f"{minutes}m"
    if hours < 8:
        return f"{hours}h{minutes % 60}m" if minutes % 60 else f"{hours}h"
    return f"{hours}h" if hours < 48 else f"{days}d"


def ordinal(number: int) -> str:
    """Return "1st", "2nd", "12th"."""
    last = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{'th' if number % 100 in (11, 12, 13) else last}"


def some(names: Sequence[str], *, most: int) -> str:
    """Return "a, b, +3": at most so many names, and how many are left."""
    more = f", +{len(names) - most}" if len(names) > most else ""
    return ", ".join(names[:most]) + more
