"""Wires the parts together and runs them until told to stop."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

import kopf

from lws_kueue.runtime import (
    cache,
    client,
    execute,
    health,
    inflow,
    loop,
    preflight,
    recorder,
    watch,
    work_queue,
)
from lws_kueue.runtime import settings as runtime_settings

STARTUP_PATIENCE = 120.0
WATCH_PAUSE = 3.0

logger = logging.getLogger(__name__)


async def run(settings: runtime_settings.Settings, *, stop: asyncio.Event | None = None) -> None:
    """Run the controller until ``stop`` is set or the process is signalled.

    Raises:
        preflight.Unfit: the cluster lacks something, with the reason.
        client.ApiError: the API server could not be reached at start, or refuses the identity.
    """
    ready = asyncio.Event()
    async with health.serving(settings.health, ready=ready):
        api = await client.Client.load(
            kubeconfig=settings.kubeconfig,
            context=settings.context,
            pace=client.pace(qps=settings.qps, burst=settings.burst),
        )
        try:
            async for attempt in client.patiently(seconds=STARTUP_PATIENCE):
                with attempt:
                    await preflight.check(api)
            ready.set()
            await _run(settings, api=api, stop=stop or asyncio.Event())
        finally:
            await api.close()


async def _run(
    settings: runtime_settings.Settings, *, api: client.Client, stop: asyncio.Event
) -> None:
    store = cache.Cache()
    queue: work_queue.WorkQueue[cache.SetKey] = work_queue.WorkQueue()
    events = recorder.Recorder(api)
    gang = settings.gang_scheduler is not None
    source = inflow.Inflow(api=api, store=store, queue=queue, gang=gang)
    executor = execute.Executor(api=api, store=store, events=events)
    worker = loop.Loop(
        settings=settings,
        store=store,
        queue=queue,
        source=source,
        executor=executor,
        events=events,
    )
    async for attempt in client.patiently(seconds=STARTUP_PATIENCE):
        with attempt:
            await source.list_all()
    logger.info("Everything is listed; %d sets are known", len(store.keys()))
    tasks = [
        asyncio.create_task(events.run(), name="events"),
        asyncio.create_task(
            _every(settings.resync_interval, source.list_all, what="listing"), name="resync"
        ),
        asyncio.create_task(
            _every(settings.kueue_probe_interval, source.probe_kueue, what="probing Kueue"),
            name="kueue",
        ),
        *(asyncio.create_task(worker.work(), name=f"worker-{n}") for n in range(settings.workers)),
    ]
    try:
        await _watch(settings, api=api, source=source, stop=stop)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await source.close()


async def _watch(
    settings: runtime_settings.Settings,
    *,
    api: client.Client,
    source: inflow.Inflow,
    stop: asyncio.Event,
) -> None:
    """Let kopf watch until stopped; kopf also handles SIGINT and SIGTERM.

    kopf ends on some answers of an API server that only mean "not now" (a kind whose definition
    was just deleted). Then it starts anew, and what was missed meanwhile is listed.
    """
    while True:
        try:
            await kopf.operator(
                registry=watch.registry(
                    api=api,
                    sink=source.on_event,
                    gang=settings.gang_scheduler is not None,
                ),
                settings=watch.settings(),
                clusterwide=True,
                standalone=True,
                stop_flag=stop,
            )
            return
        except Exception:
            logger.exception("Watching ended; it starts again in %s s", WATCH_PAUSE)
        await asyncio.sleep(WATCH_PAUSE)


async def _every(interval: float, action: Callable[[], Awaitable[None]], *, what: str) -> None:
    """Do something again and again; a failure is only a reason to try again."""
    while True:
        await asyncio.sleep(interval)
        try:
            await action()
        except client.ApiError as error:
            logger.warning("The periodic %s failed: %s", what, error)
        except Exception:
            logger.exception("The periodic %s failed", what)
