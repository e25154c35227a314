"""How the story is shown: a live table below it on a terminal, tables between lines in a log.

A log gets no control character and no name that is cut to fit a width; a table is repeated there
only when something in it changed, and while things change quickly only now and then.
"""

import abc
import contextlib
import io
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import IO, Final

import rich.box
import rich.console
import rich.live
import rich.table
import rich.text

from lws_kueue_lab.demo import picture

# Wide enough for any row: in a log nothing is cut.
_LOG_WIDTH: Final = 1000
_LOG_INDENT: Final = "            "
# Longer than a step takes, so that a table in between is a sign that it takes long.
_LOG_EVERY_SECONDS: Final = 5.0

# How long a person may look at what a step ended with, before the next one changes it.
_READING_SECONDS: Final = 3.0

_STYLES: Final = {"waiting": "yellow", "starting": "cyan", "running": "green"}


class Screen(abc.ABC):
    """Where the story is told."""

    #: How long each step's outcome stays, in seconds.
    reading_seconds: float = 0.0

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._started = clock()

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning."""
        return self._clock() - self._started

    def say(self, text: str) -> None:
        """Say one thing, with the time it happened."""
        self.line(f"[{self.elapsed:5.1f} s] {text}")

    @abc.abstractmethod
    def line(self, text: str) -> None:
        """Write text as it is."""

    @abc.abstractmethod
    def show(self, seen: picture.Picture) -> None:
        """Show how things are; it may be called as often as things change."""

    @abc.abstractmethod
    def settle(self, seen: picture.Picture) -> None:
        """Show how things are at the end of a step."""


class Log(Screen):
    """Plain lines for a pipe, a file or a terminal that can do no more."""

    def __init__(self, output: IO[str], *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(clock=clock)
        self._output = output
        self._shown: tuple[tuple[str, ...], ...] = ()
        self._written_at = 0.0
        self._after_table = False

    def line(self, text: str) -> None:
        """Write text as it is."""
        print(text, file=self._output, flush=True)
        self._written_at = self.elapsed
        self._after_table = False

    def show(self, seen: picture.Picture) -> None:
        """Print the table if it changed and the last line is not of a moment ago."""
        if self.elapsed - self._written_at >= _LOG_EVERY_SECONDS:
            self.settle(seen)

    def settle(self, seen: picture.Picture) -> None:
        """Print the table if it changed."""
        if seen.content == self._shown:
            return
        self._shown = seen.content
        above = () if self._after_table else ("",)
        self.line("\n".join((*above, *plain(seen), "")))
        self._after_table = True


class Terminal(Screen):
    """A live table below the lines."""

    reading_seconds = _READING_SECONDS

    def __init__(self, console: rich.console.Console) -> None:
        super().__init__()
        self._console = console
        self._live: rich.live.Live | None = None

    def line(self, text: str) -> None:
        """Write text as it is, above the table."""
        self._console.print(rich.text.Text(text))

    def show(self, seen: picture.Picture) -> None:
        """Bring the table up to date."""
        grid = _coloured(seen)
        if self._live is None:
            self._live = rich.live.Live(grid, console=self._console, refresh_per_second=10)
            self._live.start()
        self._live.update(grid)

    def settle(self, seen: picture.Picture) -> None:
        """Bring the table up to date."""
        self.show(seen)

    def close(self) -> None:
        """Leave the last table where it is and give the terminal back."""
        if self._live is not None:
            self._live.stop()


@contextlib.contextmanager
def open() -> Iterator[Screen]:
    """Give the screen that standard output is good for."""
    if not sys.stdout.isatty() or os.environ.get("TERM", "dumb") in ("dumb", "unknown"):
        yield Log(sys.stdout)
        return
    with contextlib.closing(Terminal(rich.console.Console(highlight=False))) as terminal:
        yield terminal


def plain(seen: picture.Picture) -> list[str]:
    """Return the lines of a table for a log."""
    grid = rich.table.Table(*seen.columns, box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for row in seen.rows:
        grid.add_row(*(rich.text.Text(cell) for cell in row.cells))
    output = io.StringIO()
    console = rich.console.Console(
        file=output, width=_LOG_WIDTH, color_system=None, force_terminal=False
    )
    console.print(grid)
    return [_LOG_INDENT + line.rstrip() for line in output.getvalue().splitlines()]


def _coloured(seen: picture.Picture) -> rich.table.Table:
    grid = rich.table.Table(
        box=rich.box.ROUNDED,
        title=rich.text.Text(seen.caption),
        title_justify="left",
        title_style="bold",
    )
    for column in seen.columns:
        # A narrow terminal gets more lines, not shorter names.
        grid.add_column(column, overflow="fold")
    for row in seen.rows:
        style = _STYLES[row.stage]
        grid.add_row(*(rich.text.Text(cell, style=style) for cell in row.cells))
    return grid
