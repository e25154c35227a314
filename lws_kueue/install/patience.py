"""Repeats requests to an API server that is slow, busy or away for a moment; all may be repeated.

Whoever installs waits for the answer, and an API server that has just started or is short of memory
may need minutes. So what was not answered, or not in earnest, is asked again after pauses that
grow. How long that takes is counted for all requests together.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from lws_kueue.runtime import client

# Seconds for which it is waited, for all requests together, before it is given up.
LONGEST: Final = 120.0
# Seconds before the first repetition; the next ones are twice as long each, up to the longest.
FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 15.0

# After so many seconds it is told; shorter waits are usual right after a definition was made.
TOLD: Final = 3.0

# What is wrong with the way there is most often wrong for good: a name, a port, a certificate.
_NO_WAY: Final = "ClientConnector"
_RESET: Final = "Connection reset"

_T = TypeVar("_T")


class NoPatienceLeft(Exception):
    """It was waited for long enough; the message says for how long, and what to do."""


def _nobody(_: str) -> None:
    """Tell nobody."""


@dataclass(slots=True)
class Patience:
    """What is left of the patience with one API server.

    ``tell`` is told, in words, what is asked again. ``sleep`` and ``clock`` are in seconds;
    ``waited`` is for how long nothing came of requests, with the pauses between them.
    """

    tell: Callable[[str], None] = _nobody
    longest: float = LONGEST
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    clock: Callable[[], float] = time.monotonic
    waited: float = 0.0
    _answered: bool = False

    async def __call__(self, request: Callable[[], Awaitable[_T]]) -> _T:
        """Send a request until it is answered in earnest; a refusal is such an answer.

        Raises:
            client.ApiError: the API server refuses, or there is no way to it from the beginning.
            NoPatienceLeft: it was waited for long enough.
        """
        pause, attempts = FIRST_PAUSE, 0
        while True:
            begun = self.clock()
            try:
                answer = await request()
            except client.ApiError as error:
                attempts += 1
                if not self._passes(error):
                    self._answered = True
                    raise
                self.waited += self.clock() - begun
                if self.waited + pause > self.longest:
                    raise NoPatienceLeft(self._text(error, attempts)) from error
                if self.waited > TOLD:
                    self.tell(f"{error}; it is asked again in {pause:.0f} s")
            else:
                self._answered = True
                return answer
            await self.sleep(pause)
            self.waited += pause
            pause = min(2 * pause, LONGEST_PAUSE)

    def _passes(self, error: client.ApiError) -> bool:
        """Whether it may be another answer the next time."""
        no_way = error.reason.startswith(_NO_WAY) and _RESET not in error.message
        if error.status == 0 and no_way and not self._answered:
            return False
        return client.unreachable(error) and not client.refuses(error)

    def _text(self, error: client.ApiError, attempts: int) -> str:
        times = "once" if attempts == 1 else f"{attempts} times"
        return (
            f"gave up after {self.waited:.0f} s in which the API server was too slow, too busy or"
            f" away; the last request was sent {times}: {error}. Run the same command again when it"
            " answers: what is applied already stays as it is, and repeating is safe"
        )
