"""What a log line is about, in fields of its own: for whoever looks for a set in logs of JSON.

A line has `set` and `pass` (a number, by which the lines of one pass are found) if it is written in
a pass, and `kind`, `object`, `group` and `workload` of the object that it is about, if it has them.
The text of a line says the same to people.
"""

import itertools
import logging
from contextvars import ContextVar
from typing import Final

from lws_kueue.api import actions, facts, names

_numbers: Final = itertools.count(1)
_pass: Final[ContextVar[tuple[str, int] | None]] = ContextVar("pass", default=None)


def begin(set_name: str) -> None:
    """Take that a pass over a set begins: what its task and those that it starts log is of it."""
    _pass.set((set_name, next(_numbers)))


def of(ref: actions.Ref, meta: facts.Meta | None) -> dict[str, str]:
    """Return the fields of a line about an object, of which ``meta`` is known or nothing."""
    found = {"kind": ref.kind, "object": ref.name}
    if ref.kind == "Workload":
        found["workload"] = ref.name
    if meta is not None:
        index = meta.labels.get(names.GROUP_INDEX) or meta.annotations.get(
            names.COMPONENT_WORKLOAD_INDEX
        )
        if index:
            found["group"] = index
    return found


class Fields(logging.Filter):
    """Adds the set and the pass to each line; lets all of them through."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the fields."""
        if (of_pass := _pass.get()) is not None:
            record.__dict__["set"], record.__dict__["pass"] = of_pass
        return True
