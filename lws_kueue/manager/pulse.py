"""Whether the event loop of the work turns, as another thread sees it.

One that has not turned for long never will: a decision that does not end, a lock that nobody gives
back. Nothing comes of that process any more, and nobody else works while it holds the Lease. A pass
takes milliseconds, and a list of tens of thousands of objects some seconds.
"""

import asyncio
from typing import Final

# For so many seconds the work may not move on.
DEAD_AFTER: Final = 60.0

_BEAT: Final = 1.0


class Pulse:
    """Beats on one event loop and is felt on another."""

    def __init__(self) -> None:
        self._beats = 0
        self._silent = 0.0

    @property
    def alive(self) -> bool:
        """Whether the work has moved on lately."""
        return self._silent < DEAD_AFTER

    async def beat(self) -> None:
        """Beat for as long as the event loop of the work turns."""
        while True:
            self._beats += 1
            await asyncio.sleep(_BEAT)

    async def feel(self) -> None:
        """Count for how long there was no beat.

        Only the time in which this goes on counts: a process that was stopped is not dead.
        """
        known = self._beats
        while True:
            await asyncio.sleep(_BEAT)
            beats = self._beats
            self._silent = 0.0 if beats != known else self._silent + _BEAT
            known = beats
