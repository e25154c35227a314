"""Holding back while the API server asks for it: 429, or an error, with ``Retry-After``.

An overloaded API server answers like that for each level of its priorities, so what one request is
told goes for all of a client. client-go waits and sends the same request again. Here that goes for
reads alone: a write that has waited may rest on what is no longer so, such as an admission that
was taken back meanwhile. So it waits, fails, and is decided on anew.
"""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, Final

# The API server asks for a second at first, and for up to 32 when that does not help.
LONGEST: Final = 32.0

logger = logging.getLogger(__name__)


def asked_for(*, status: int, headers: Mapping[str, str], answer: Mapping[str, Any]) -> float:
    """Return for how many seconds an answer asks not to be asked again, 0 if it does not."""
    if status != 429 and status < 500:
        return 0.0
    details = answer.get("details") or {}
    for given in (headers.get("Retry-After"), details.get("retryAfterSeconds")):
        text = str(given or "")
        # In seconds: no API server sends a date.
        if text.isascii() and text.isdecimal() and len(text) < 10:
            return float(text)
    return 0.0


class Pause:
    """When the next request may be sent."""

    def __init__(self, *, longest: float = LONGEST) -> None:
        """``longest`` seconds are waited at one time at most, whatever is asked for."""
        self._longest = longest
        self._until = 0.0

    def begin(self, seconds: float) -> None:
        """Hold back for so many seconds from now."""
        now = asyncio.get_running_loop().time()
        until = now + min(seconds, self._longest)
        if until > self._until:
            if self._until <= now:
                logger.info("The API server asks for a pause of %g s", seconds)
            self._until = until

    async def over(self) -> bool:
        """Wait until it is over; returns whether there was anything to wait for."""
        waited = False
        while (left := self._until - asyncio.get_running_loop().time()) > 0:
            waited = True
            await asyncio.sleep(left)
        return waited
