"""What a screen is given to show: a table in words, with the stage that each row is in."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

Stage = Literal["waiting", "starting", "running"]


class Row(Protocol):
    """One group in words."""

    @property
    def cells(self) -> tuple[str, ...]:
        """The texts of the columns."""

    @property
    def stage(self) -> Stage:
        """How far the group has come."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A table, and what all of its rows share in one line."""

    columns: Sequence[str]
    rows: Sequence[Row]
    caption: str = ""

    @property
    def content(self) -> tuple[tuple[str, ...], ...]:
        """All that a reader of the table can see of its rows."""
        return tuple(row.cells for row in self.rows)
