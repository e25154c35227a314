"""A watch of our own, of one kind, for what comes in thousands: it costs a fraction of kopf's.

As client-go's of that name, a reflector goes on from the version that it has seen last, and lists
anew only when the API server has forgotten that version. Events are handed on in the order in which
they come. Only when an object is out of sight without a deletion time, somebody has to ask whether
that was its end: then what comes of that object waits, and all others go on.
"""

import asyncio
import json
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Final

from lws_kueue.runtime import client, resources

Sink = Callable[[resources.Resource, str | None, dict[str, Any]], Awaitable[None]]
# Lists a kind, and returns as of which version that is.
Lister = Callable[[resources.Resource], Awaitable[str]]

# Pauses between attempts grow from the first to the second of these, in seconds.
FIRST_PAUSE: Final = 0.2
LONGEST_PAUSE: Final = 5.0

# The API server is asked to end a watch after so many seconds, as client-go asks it. It sends a
# bookmark about once a minute: a connection without anything for so long is lost.
_LASTS: Final = (300, 600)
SILENCE: Final = 150.0

# After so many seconds of work others have a turn, however much there is to read.
_TURN: Final = 0.01

# So many events may wait at a time for what has been asked.
_MOST_ASIDE: Final = 32

logger = logging.getLogger(__name__)


class _GoneError(Exception):
    """The API server does not know any more what has happened since the version asked for."""


class Reflector:
    """Hands on what becomes of the objects of one kind."""

    def __init__(
        self,
        resource: resources.Resource,
        *,
        api: client.Client,
        sink: Sink,
        list_anew: Lister,
        since: str = "",
        selector: str | None = None,
        works: Callable[[bool], None] = lambda _: None,
    ) -> None:
        """``since`` is the version as of which the kind was listed, "" if it has not been.

        ``list_anew`` is called where something may have happened that no watch can tell any more.
        ``selector`` chooses by labels, None for those that concern us in our own cluster. ``works``
        is told when a watch has begun, and when it could not.
        """
        self._selector = resources.label_selector(resource) if selector is None else selector
        self._works = works
        self._resource = resource
        self._api = api
        self._sink = sink
        self._list_anew = list_anew
        self._since = since
        self._pause = 0.0
        self._aside: set[asyncio.Task[None]] = set()
        # The last event of an object that is aside, by namespace and name.
        self._last: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._turn_began = 0.0

    async def run(self) -> None:
        """Watch until cancelled."""
        try:
            while True:
                await asyncio.sleep(self._pause * _scattered(0.8, 1.2))
                # It begins again at 0 with whatever is told.
                self._pause = min(max(FIRST_PAUSE, 2 * self._pause), LONGEST_PAUSE)
                await self._try()
        finally:
            for task in self._aside:
                task.cancel()

    async def _try(self) -> None:
        """Watch until that ends, and say why if it ought not to have."""
        name = self._resource.plural
        try:
            await self._watch()
        except _GoneError:
            self._since = ""
        except client.ApiError as error:
            self._works(False)
            # One line a minute of all kinds gets into the log (`manager.logs`).
            logger.warning("Watching %s begins again in %.1f s: %s", name, self._pause, error)
        except Exception:
            self._works(False)
            logger.exception("What the API server tells of %s was not understood", name)
            self._since = ""

    async def _watch(self) -> None:
        """Watch until the API server ends it; begins with a list if need be."""
        if not self._since:
            self._since = await self._list_anew(self._resource)
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._since,
            "timeoutSeconds": f"{_scattered(*_LASTS):.0f}",
        }
        if self._selector:
            query["labelSelector"] = self._selector
        path = self._resource.path()
        try:
            async with self._api.stream(path, query=query, silence=SILENCE) as chunks:
                self._works(True)
                async for line in lines(chunks):
                    await self._take(line)
        except client.ApiError as error:
            if error.status == 410:
                raise _GoneError from error
            raise

    async def _take(self, line: bytes) -> None:
        try:
            event = json.loads(line)
        except RecursionError:
            # Anybody may nest an object so deep; it must not end the watch of all others.
            logger.error("A %s is nested too deep to be read", self._resource.kind)
            return
        kind, obj = event["type"], event["object"]
        if kind == "ERROR":
            raise _error(obj, request=f"WATCH {self._resource.path()}")
        self._since = obj["metadata"]["resourceVersion"]
        self._pause = 0.0
        if kind in ("ADDED", "MODIFIED", "DELETED"):
            await self._hand_on(kind, obj)
        await self._give_way()

    async def _hand_on(self, kind: str, obj: dict[str, Any]) -> None:
        meta = obj["metadata"]
        at = (meta.get("namespace", ""), meta["name"])
        before = self._last.get(at)
        if before is None and (kind != "DELETED" or "deletionTimestamp" in meta):
            await self._tell(kind, obj)
            return
        while len(self._aside) >= _MOST_ASIDE:
            await asyncio.wait(self._aside, return_when=asyncio.FIRST_COMPLETED)

        async def in_turn() -> None:
            if before is not None:
                await asyncio.wait({before})
            await self._tell(kind, obj)

        def over(task: asyncio.Task[None]) -> None:
            self._aside.discard(task)
            if self._last.get(at) is task:
                del self._last[at]

        task = asyncio.create_task(in_turn(), name=f"{kind} {self._resource.kind}")
        self._aside.add(task)
        self._last[at] = task
        task.add_done_callback(over)

    async def _tell(self, kind: str, obj: dict[str, Any]) -> None:
        try:
            await self._sink(self._resource, kind, obj)
        except Exception:
            # It must not end the watch of all others.
            logger.exception("An event of a %s was not understood", self._resource.kind)

    async def _give_way(self) -> None:
        """Let others have a turn if there was none for a while: what can be read never waits."""
        loop = asyncio.get_running_loop()
        if loop.time() - self._turn_began > _TURN:
            await asyncio.sleep(0)
            self._turn_began = loop.time()


async def lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Give the lines of what comes in pieces; one that never ends is left out.

    A line may be as long as it likes: an object has a megabyte and more.
    """
    begun: list[bytes] = []
    async for chunk in chunks:
        *whole, rest = chunk.split(b"\n")
        for line in whole:
            yield b"".join((*begun, line))
            begun = []
        if rest:
            begun.append(rest)


def _scattered(least: float, most: float) -> float:
    """Return a number in between: not all shall come to the API server at one time."""
    return random.uniform(least, most)  # noqa: S311 - it is no secret


def _error(status: Mapping[str, Any], *, request: str) -> client.ApiError:
    """Return what ended a watch whose answer had begun well."""
    return client.ApiError(
        status=int(status.get("code") or 0),
        reason=str(status.get("reason") or ""),
        message=str(status.get("message") or ""),
        request=request,
        answer=status,
    )
