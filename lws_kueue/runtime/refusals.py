"""Why the API server refuses pods of a StatefulSet, as the StatefulSet controller tells in Events.

They are read while a StatefulSet is short of pods, and at no other time. An answer is good for a
moment, because a set that is busy elsewhere asks with every pass.
"""

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from lws_kueue.api import facts
from lws_kueue.runtime import asking, error_text, resources

KEEP_SECONDS: Final = 10.0

_REASON: Final = "FailedCreate"
# "create Pod NAME in StatefulSet NAME failed error: WHY"
_BEFORE_WHY: Final = "failed error: "

logger = logging.getLogger(__name__)


class Refusals:
    """Reads them."""

    def __init__(
        self, api: asking.Requests, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._api = api
        self._clock = clock
        self._known: dict[str, tuple[float, str]] = {}

    async def of(self, wanted: Iterable[facts.StatefulSet]) -> dict[str, str]:
        """Return what was refused last, by name of the StatefulSet, where an Event says so."""
        now = self._clock()
        self._known = {
            uid: known for uid, known in self._known.items() if now - known[0] < KEEP_SECONDS
        }
        found: dict[str, str] = {}
        for owner in wanted:
            if owner.meta.uid not in self._known and (why := await self._read(owner.meta)):
                self._known[owner.meta.uid] = (now, why)
            if owner.meta.uid in self._known:
                found[owner.meta.name] = self._known[owner.meta.uid][1]
        return found

    async def _read(self, owner: facts.Meta) -> str:
        selector = f"regarding.uid={owner.uid},reason={_REASON}"
        path = resources.EVENTS.path(namespace=owner.namespace)
        try:
            answer = await self._api.request("GET", path, query={"fieldSelector": selector})
        except asking.ApiError as error:
            logger.warning("Reading the events of StatefulSet %s failed: %s", owner.name, error)
            return ""
        events = answer.get("items") or ()
        newest = max((_time(event) for event in events), default="")
        # Several of one second say the same of several pods; the choice has to be the same again.
        notes = sorted(event.get("note") or "" for event in events if _time(event) == newest)
        return _why(notes[0]) if notes else ""


def _time(event: Mapping[str, Any]) -> str:
    """Return when an event was seen last, in whole seconds."""
    seen = (
        (event.get("series") or {}).get("lastObservedTime")
        or event.get("deprecatedLastTimestamp")
        or event.get("eventTime")
        or (event.get("metadata") or {}).get("creationTimestamp")
        or ""
    )
    return str(seen)[: len("2030-01-01T00:00:00")]


def _why(note: str) -> str:
    before, found, why = note.partition(_BEFORE_WHY)
    return error_text.without_values(why if found else before)
