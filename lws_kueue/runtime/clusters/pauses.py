"""Pauses before a write is tried again that was refused: each is twice as long as the one before.

What is refused for want of a right is refused the next time as well, until somebody gives it.
"""

import asyncio
from collections.abc import Collection, Hashable
from typing import Final

# No pause is longer, so that what somebody has put right is seen within a minute.
LONGEST: Final = 60.0
_MOST_DOUBLED: Final = 10


class Pauses:
    """By what is written."""

    def __init__(self) -> None:
        self._vain: dict[Hashable, tuple[int, float]] = {}

    def left(self, of: Hashable) -> float:
        """Return in how many seconds something may be written, 0 for now."""
        _, until = self._vain.get(of, (0, 0.0))
        return max(0.0, until - _clock())

    def failed(self, of: Hashable, *, first: float) -> float:
        """Note that a write was refused; returns in how many seconds it may be tried again.

        ``first`` is for how many it waits the first time.
        """
        times, _ = self._vain.get(of, (0, 0.0))
        seconds = min(LONGEST, first * float(2**times))
        self._vain[of] = (min(times + 1, _MOST_DOUBLED), _clock() + seconds)
        return seconds

    def ended(self, of: Hashable) -> None:
        """Note that it was written, or that nobody wants it any more."""
        self._vain.pop(of, None)

    def keep(self, wanted: Collection[Hashable]) -> None:
        """Forget all that is not wanted any more."""
        self._vain = {of: one for of, one in self._vain.items() if of in wanted}


def _clock() -> float:
    return asyncio.get_running_loop().time()
