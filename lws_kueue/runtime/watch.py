"""kopf as the watcher: raw events of every kind of interest, handed to one function.

Only ``on.event`` handlers exist, so kopf never writes to an object: no annotation, no finalizer
(design decision 8). Deletions that happen while a watch is down are not synthesised by kopf; what
it lists again after a reconnect arrives with event type None and is the sign to list ourselves.

When kopf gives up it does not always end, and in ending it would cancel every task of the process
that is younger than itself. So its tasks are told apart from ours and ended by ourselves
(`own_tasks`). Nor does it survive that a kind goes: it waits for ever for the watch to end, and
watches nothing that comes afterwards. So it begins anew when a kind comes or goes (`definitions`).
"""

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any, Final

import aiohttp
import kopf

from lws_kueue.api import names
from lws_kueue.runtime import client, definitions, own_tasks, resources

Sink = Callable[[resources.Resource, str | None, dict[str, Any]], Awaitable[None]]
Login = Callable[..., Awaitable[kopf.AiohttpSession]]

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
    # kopf would kill the process so long after it has ended, also if that has started anew.
    result.process.ultimate_exiting_timeout = None
    # Which kinds there are is watched by ourselves.
    result.scanning.disabled = True
    result.networking.error_backoffs = _Forever()
    result.watching.chunk_size = 500
    for resource in resources.BY_SET_NAME:
        selector = (resource.group, resource.version, resource.plural)
        result.watching.label_selectors[selector] = names.SET_NAME
    return result


def registry(
    *, login: Login, sink: Sink, kinds: Iterable[resources.Resource]
) -> kopf.OperatorRegistry:
    """Return handlers that pass every event of every one of the kinds to ``sink``.

    ``login`` tells how the API server is reached.
    """
    result = kopf.OperatorRegistry()
    kopf.on.login(registry=result)(login)
    for resource in kinds:
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

    It starts anew when a kind comes or goes, or when it ended on an answer of an API server that
    only means "not now", and what was missed meanwhile is listed. ``also`` are kinds that only some
    settings ask for.
    """
    kinds = (*resources.PLAIN, *resources.KUEUE, *also)
    with own_tasks.told_apart():
        while not stop.is_set():
            try:
                async with contextlib.AsyncExitStack() as at_the_end:
                    own = own_tasks.OwnTasks()
                    defined = definitions.Definitions(
                        kinds, before=await definitions.served(api, kinds)
                    )
                    handlers = registry(
                        login=_login(api, at_the_end),
                        sink=_while_it_lasts(own, _with(defined, sink)),
                        kinds=(*kinds, resources.CRDS),
                    )
                    await own.run(_watch(handlers, started, defined.changed), stop=stop)
            except Exception as error:
                # Of what is to be expected a line tells all; a traceback is for faults of ours.
                logger.warning(
                    "Watching ended; it starts again in %s s: %s: %s",
                    PAUSE,
                    type(error).__name__,
                    error,
                    exc_info=None if out_of_reach(error) else error,
                )
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PAUSE):
                    await stop.wait()


def out_of_reach(error: BaseException) -> bool:
    """Whether an error comes of an API server that is away, hangs, or answers "not now".

    It may be one of ours, of the HTTP client, or of the library that watches.
    """
    librarys = type(error).__module__.startswith("kopf._cogs.clients.")
    ours = isinstance(error, client.ApiError | aiohttp.ClientError | TimeoutError | OSError)
    return librarys or ours


def _login(api: client.Client, at_the_end: contextlib.AsyncExitStack) -> Login:
    async def login(**_: Any) -> kopf.AiohttpSession:
        session = await api.session()
        at_the_end.push_async_callback(session.close)
        return kopf.AiohttpSession(server=api.server, aiohttp_session=session)

    return login


def _while_it_lasts(own: own_tasks.OwnTasks, sink: Sink) -> Sink:
    """Drop what comes when all is over, and keep tasks that the sink creates."""

    async def take(resource: resources.Resource, kind: str | None, obj: dict[str, Any]) -> None:
        if not own.over:
            with own.calling_us():
                await sink(resource, kind, obj)

    return take


def _with(defined: definitions.Definitions, sink: Sink) -> Sink:
    """Keep what is told of definitions: it is for the watch itself."""

    async def take(resource: resources.Resource, kind: str | None, obj: dict[str, Any]) -> None:
        if resource == resources.CRDS:
            defined.tell(kind, obj)
        else:
            await sink(resource, kind, obj)

    return take


async def _watch(
    handlers: kopf.OperatorRegistry, started: Callable[[], None], changed: asyncio.Event
) -> None:
    """Watch until cancelled, until kopf has given up, or until it has to begin anew.

    In the end its tasks are still there.
    """
    tasks = await kopf.spawn_tasks(
        registry=handlers, settings=settings(), clusterwide=True, standalone=True
    )
    started()
    renewed = asyncio.create_task(changed.wait())
    done, _ = await asyncio.wait({*tasks, renewed}, return_when=asyncio.FIRST_COMPLETED)
    if renewed in done:
        logger.info("A kind of the API has come or gone; watching starts anew in %s s", PAUSE)
        return
    for task in done:
        await task


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
