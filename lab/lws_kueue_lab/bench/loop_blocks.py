"""For how long the controller's event loop looked at nothing: `python -m ... FILE run ...`.

As a program it is `lws-kueue` with one thing more: whenever an event loop has not come back for new
events for a while, a line in the file says when, for how long, and how much of that was its own
computing. The rest is others who had the core, or the interpreter's lock.
"""

import dataclasses
import selectors
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, TextIO

from lws_kueue import cli

# What is shorter is not written down.
_SECONDS: Final = 0.01


@dataclasses.dataclass(frozen=True, slots=True)
class Block:
    """One stretch of work of an event loop.

    ``at`` is its end by the steady clock of the machine, ``seconds`` its length, ``cpu`` the CPU
    of its thread in between.
    """

    at: float
    seconds: float
    cpu: float


def read(lines: Iterable[str]) -> list[Block]:
    """Read the blocks of a file; a last line that is half written is left out."""
    fields = (line.split() for line in lines if line.endswith("\n"))
    return [Block(*map(float, numbers)) for numbers in fields]


def longest(blocks: Iterable[Block], *, since: float) -> Mapping[str, float]:
    """Return figures: the longest block from a moment on, and the one that computed for longest.

    Nothing that was too short to be written down is zero.
    """
    later = [block for block in blocks if block.at >= since]
    return {
        "block.wall": max((block.seconds for block in later), default=0.0),
        "block.cpu": max((block.cpu for block in later), default=0.0),
    }


class _Timed(selectors.DefaultSelector):
    """The selector of an event loop, which knows when the loop comes and goes."""

    log: TextIO

    def __init__(self) -> None:
        super().__init__()
        self._left: tuple[float, float] | None = None

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait for events as always; tell how long it took to come back for them."""
        if self._left is not None and threading.current_thread() is threading.main_thread():
            self._tell(*self._left)
        found = super().select(timeout)
        self._left = time.monotonic(), time.thread_time()
        return found

    def _tell(self, wall: float, cpu: float) -> None:
        now = time.monotonic()
        if now - wall >= _SECONDS:
            self.log.write(f"{now:.6f} {now - wall:.6f} {time.thread_time() - cpu:.6f}\n")


def main() -> None:
    """Run the command line of the product, and write down the blocks of its main thread."""
    path, *arguments = sys.argv[1:]
    with Path(path).open("a", buffering=1, encoding="ascii") as log:
        _Timed.log = log
        # What asyncio makes its event loops with.
        patched: Any = selectors
        patched.DefaultSelector = _Timed
        cli.main(args=arguments, prog_name="lws-kueue")


if __name__ == "__main__":
    main()
