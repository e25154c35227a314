"""What watches: raw events of every kind of interest, handed to one function.

What comes in thousands (`resources.MANY`) has watches of our own (`reflector`); kopf has all other
kinds. Only ``on.event`` handlers exist, so kopf never writes to an object: no annotation, no
finalizer (design decision 8). Deletions that happen while a watch is down are not synthesised by
kopf; what it lists again after a reconnect arrives with event type None and is the sign to list
ourselves.

When kopf gives up it does not always end, and in ending it would cancel every task of the process
that is younger than itself. So its tasks are told apart from ours and ended by ourselves
(`own_tasks`). Nor does it survive that a kind goes: it waits for ever for the watch to end, and
watches nothing that comes afterwards. So it begins anew when a kind comes or goes (`definitions`).
Our own watches go on meanwhile; those of kinds that may go begin anew when it does, with a list.
"""

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from typing import Any, Final, Protocol

import aiohttp
import kopf

from lws_kueue.runtime import client, definitions, own_tasks, reflector, resources

Sink = reflector.Sink
Login = Callable[..., Awaitable[kopf.AiohttpSession]]

# Seconds after which kopf starts again.
PAUSE: Final = 3.0

logger = logging.getLogger(__name__)


class Source(Protocol):
    """Whoever takes what is watched, and lists what watches cannot tell."""

    async def on_event(
        self, resource: resources.Resource, kind: str | None, obj: dict[str, Any]
    ) -> None:
        """Take an event; ``kind`` None says that kopf has listed anew."""

    def listed(self, resource: resources.Resource) -> str:
        """Return as of which version a kind was last listed, "" if it has not been."""

    async def list_anew(self, resource: resources.Resource) -> str:
        """List a kind; returns as of which version that is."""


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
    source: Source,
    also: Iterable[resources.Resource],
    started: Callable[[], None],
) -> None:
    """Watch until stopped; ``started`` is called whenever kopf has begun.

    kopf starts anew when a kind comes or goes, or when it ended on an answer of an API server that
    only means "not now", and what was missed meanwhile is listed. ``also`` are kinds that only some
    settings ask for.
    """
    kinds = (*resources.PLAIN, *resources.KUEUE, *also)
    kopfs = tuple(kind for kind in kinds if kind not in resources.MANY)
    many = _Many((kind for kind in kinds if kind in resources.MANY), api=api, source=source)
    with own_tasks.told_apart():
        try:
            while not stop.is_set():
                try:
                    async with contextlib.AsyncExitStack() as at_the_end:
                        before = await definitions.served(api, kinds)
                        many.begin(before)
                        own = own_tasks.OwnTasks()
                        defined = definitions.Definitions(kinds, before=before)
                        handlers = registry(
                            login=_login(api, at_the_end),
                            sink=_while_it_lasts(own, _with(defined, source.on_event)),
                            kinds=(*kopfs, resources.CRDS),
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
        finally:
            await many.end()


class _Many:
    """Our own watches, one of each kind that is served."""

    def __init__(
        self, kinds: Iterable[resources.Resource], *, api: client.Client, source: Source
    ) -> None:
        self._kinds = tuple(kinds)
        self._api = api
        self._source = source
        self._watches: dict[resources.Resource, asyncio.Task[None]] = {}
        self._before: set[resources.Resource] = set()

    def begin(self, served: frozenset[str]) -> None:
        """Watch what is served; what may have gone and come back is begun anew, with a list.

        The watch of a kind that goes does not always end.
        """
        for kind in self._kinds:
            running = self._watches.get(kind)
            if running is not None and not definitions.may_go(kind):
                continue
            if running is not None:
                running.cancel()
                del self._watches[kind]
            if not definitions.may_go(kind) or definitions.name(kind) in served:
                watch = self._watch(kind)
                self._watches[kind] = asyncio.create_task(watch, name=f"watching {kind.plural}")

    def _watch(self, kind: resources.Resource) -> Coroutine[Any, Any, None]:
        since = "" if kind in self._before else self._source.listed(kind)
        self._before.add(kind)
        return reflector.Reflector(
            kind,
            api=self._api,
            sink=self._source.on_event,
            list_anew=self._source.list_anew,
            since=since,
        ).run()

    async def end(self) -> None:
        """Watch nothing any more."""
        for task in self._watches.values():
            task.cancel()
        await asyncio.gather(*self._watches.values(), return_exceptions=True)


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
