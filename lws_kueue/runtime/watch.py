"""kopf as the watcher: raw events of every kind of interest, handed to one function.

Only ``on.event`` handlers exist, so kopf never writes to an object: no annotation, no finalizer
(design decision 8). Deletions that happen while a watch is down are not synthesised by kopf; what
it lists again after a reconnect arrives with event type None and is the sign to list ourselves.
"""

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any, Final

import kopf

from lws_kueue.api import names
from lws_kueue.runtime import client, resources

Sink = Callable[[resources.Resource, str | None, dict[str, Any]], Awaitable[None]]

# Seconds after which watching starts again.
PAUSE: Final = 3.0

logger = logging.getLogger(__name__)


class _NoDiffBase(kopf.DiffBaseStorage):
    """Keeps nothing on objects and computes nothing: there are no change handlers."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        return kopf.BodyEssence({})

    def fetch(self, **_: Any) -> kopf.BodyEssence | None:
        return None

    def store(self, **_: Any) -> None:
        return None


class _NoProgress(kopf.ProgressStorage):
    """Keeps nothing on objects: raw event handlers have no progress."""

    def fetch(self, **_: Any) -> Any:
        return None

    def store(self, **_: Any) -> None:
        return None

    def purge(self, **_: Any) -> None:
        return None

    def touch(self, **_: Any) -> None:
        return None

    def clear(self, *, essence: kopf.BodyEssence) -> kopf.BodyEssence:
        return essence


class _Forever:
    """Pauses between attempts, in seconds, without an end: an API server may be away for long."""

    FIRST: Final = (0.2, 0.5, 1.0, 2.0)
    THEN: Final = 3.0

    def __iter__(self) -> Iterator[float]:
        return itertools.chain(self.FIRST, itertools.repeat(self.THEN))


def settings() -> kopf.OperatorSettings:
    """Return the settings under which kopf only watches."""
    result = kopf.OperatorSettings()
    result.persistence.diffbase_storage = _NoDiffBase()
    result.persistence.progress_storage = _NoProgress()
    result.posting.enabled = False
    result.networking.error_backoffs = _Forever()
    result.watching.chunk_size = 500
    for resource in resources.BY_SET_NAME:
        selector = (resource.group, resource.version, resource.plural)
        result.watching.label_selectors[selector] = names.SET_NAME
    return result


def registry(
    *, api: client.Client, sink: Sink, also: Iterable[resources.Resource] = ()
) -> kopf.OperatorRegistry:
    """Return handlers that pass every event of every watched kind to ``sink``.

    ``also`` are kinds that only some settings ask for.
    """
    result = kopf.OperatorRegistry()

    async def login(**_: Any) -> kopf.AiohttpSession:
        return kopf.AiohttpSession(server=api.server, aiohttp_session=await api.session())

    kopf.on.login(registry=result)(login)
    for resource in (*resources.PLAIN, *resources.KUEUE, *also):
        _register(result, resource=resource, sink=sink)
    return result


async def until(
    stop: asyncio.Event,
    *,
    api: client.Client,
    sink: Sink,
    also: Iterable[resources.Resource],
    started: Callable[[], None],
) -> None:
    """Let kopf watch until stopped; ``started`` is called whenever it has begun.

    kopf ends on some answers of an API server that only mean "not now" (a kind whose definition
    was just deleted). Then it starts anew, and what was missed meanwhile is listed.
    """
    while not stop.is_set():
        try:
            others = asyncio.all_tasks()
            tasks = await kopf.spawn_tasks(
                registry=registry(api=api, sink=sink, also=also),
                settings=settings(),
                clusterwide=True,
                standalone=True,
                stop_flag=stop,
            )
            started()
            await kopf.run_tasks(tasks, ignored=others)
            return
        except Exception:
            logger.exception("Watching ended; it starts again in %s s", PAUSE)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PAUSE):
                await stop.wait()


def _register(into: kopf.OperatorRegistry, *, resource: resources.Resource, sink: Sink) -> None:
    async def on_event(event: kopf.RawEvent, **_: Any) -> None:
        # An exception here would make kopf ignore the object for a while.
        try:
            await sink(resource, event["type"], dict(event["object"]))
        except Exception:
            logger.exception("An event of a %s was not understood", resource.kind)

    decorate = kopf.on.event(
        resource.group,
        resource.version,
        resource.plural,
        registry=into,
        id=f"{resource.kind}-event",
    )
    decorate(on_event)
