"""Wires the parts together and runs them until told to stop, or until another process leads.

Every replica answers probes. Only the leader watches, lists and writes: a replica that waits costs
the API server next to nothing, and begins with a list of everything when its turn comes.
"""

import asyncio
import contextlib
import logging
import os
import signal
import sys
import traceback
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from lws_kueue.install import preflight
from lws_kueue.manager import cluster_metrics
from lws_kueue.manager.leader import election
from lws_kueue.manager.serve import health, metrics_server
from lws_kueue.manager.settings import configuration, resolve
from lws_kueue.runtime import client, cluster, keys, loop, memory, metrics, work_queue

STARTUP_PATIENCE = 120.0
LAST_SECONDS = 1.0
CONTROL_PATIENCE = 1.0
UNOWNED_INTERVAL = 10.0

# An API server takes JSON that is nested ten thousand levels deep, from anyone who may create a
# ControllerRevision with our label. Reading it must not end the list or the watch of all others.
DEEPEST_JSON = 25_000

logger = logging.getLogger(__name__)


async def run(
    settings: configuration.Configuration,
    *,
    kubeconfig: str | None = None,
    context: str | None = None,
    stop: asyncio.Event | None = None,
) -> None:
    """Run the controller until ``stop`` is set or the process is signalled.

    ``kubeconfig`` is the path of such a file, None for the pod's own service account; ``context``
    is one of its contexts, None for its current one.

    Raises:
        preflight.Unfit: the cluster lacks something, with the reason.
        client.ApiError: the API server could not be reached at start, or refuses the identity.
        configuration.ConfigurationError: an address to serve at cannot be had.
        election.NoElectionError: no leader can be elected.
        election.LeaseLostError: another process leads, or may lead by now.
    """
    stop = stop or asyncio.Event()
    _heed_signals(stop)
    asyncio.get_running_loop().set_exception_handler(_tell)
    sys.setrecursionlimit(DEEPEST_JSON)
    ready = asyncio.Event()
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(health.serving(settings.health, ready=ready))
        pace = client.pace(
            qps=settings.client_connection.rate, burst=settings.client_connection.at_once
        )
        api = await client.Client.load(kubeconfig=kubeconfig, context=context, pace=pace)
        stack.push_async_callback(api.close)
        # Renewing a lease must not wait behind the work, nor for so long that it is lost.
        control = await client.Client.load(
            kubeconfig=kubeconfig, context=context, patience=CONTROL_PATIENCE
        )
        stack.push_async_callback(control.close)
        await stack.enter_async_context(
            metrics_server.serving(settings.metrics, security=settings.tls, api=control)
        )
        if not await _unless(stop, _patiently(lambda: preflight.check(api))):
            return
        ready.set()
        if not settings.leader_election.leader_elect:
            await _run(settings, api=api, stop=stop)
        else:
            candidate = election.Election(
                settings.leader_election, api=control, identity=election.identity()
            )
            await _run_as_leader(settings, api=api, candidate=candidate, stop=stop)


async def _run_as_leader(
    settings: configuration.Configuration,
    *,
    api: client.Client,
    candidate: election.Election,
    stop: asyncio.Event,
) -> None:
    """Wait to be elected, and work for as long as that lasts."""
    api.may_write = candidate.leads
    if not await _unless(stop, candidate.acquire()):
        return
    keeping = asyncio.create_task(candidate.keep(), name="lease")

    async def resign() -> None:
        await _end(keeping)
        await candidate.release()

    working = asyncio.create_task(_run(settings, api=api, stop=stop, idle=resign), name="leader")
    try:
        await asyncio.wait({working, keeping}, return_when=asyncio.FIRST_COMPLETED)
        if keeping.done() and not keeping.cancelled():
            logger.error("This process ends: %s", keeping.exception())
            # From now on no write gets out. A process that does not come to its end would only keep
            # its replacement from starting.
            asyncio.get_running_loop().call_later(3 * LAST_SECONDS, os._exit, 1)
            stop.set()
            await asyncio.wait({working}, timeout=LAST_SECONDS)
            await keeping
        await working
    finally:
        await _end(working)
        await resign()


def _tell(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log what nobody waits for, but for one thing: it is no fault when a watch is cut off.

    kopf leaves the generator of a watch open that was about to hand on an event when all ended, and
    has a callback that expects to be called in a task, which then it is not.
    """
    frames = traceback.extract_tb(getattr(context.get("exception"), "__traceback__", None))
    if "asyncgen" in context or (frames and frames[-1].name == "request_cancel_callback"):
        logger.debug("%s", context["message"])
    else:
        loop.default_exception_handler(context)


def _heed_signals(stop: asyncio.Event) -> None:
    """End at SIGINT and SIGTERM.

    kopf wants to hear them as well. When it is the one that does, it starts anew instead of ending.
    """
    loop = asyncio.get_running_loop()
    # Only the main thread of a process hears signals; a test may run this in another one.
    with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)


async def _unless(stop: asyncio.Event, action: Coroutine[Any, Any, None]) -> bool:
    """Do something unless it is cut short by ``stop``; returns whether it was done."""
    doing = asyncio.create_task(action)
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({doing, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if doing.done():
            await doing
        return doing.done()
    finally:
        await _end(doing, stopping)


async def _over(task: asyncio.Task[None]) -> None:
    """Wait for a task without ending it when the wait is cut short."""
    await asyncio.wait({task})


async def _end(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _patiently(action: Callable[[], Awaitable[None]]) -> None:
    async for attempt in client.patiently(seconds=STARTUP_PATIENCE):
        with attempt:
            await action()


async def _run(
    settings: configuration.Configuration,
    *,
    api: client.Client,
    stop: asyncio.Event,
    idle: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Work until stopped; ``idle`` is called when nothing writes any more."""
    queue: work_queue.WorkQueue[keys.SetKey] = work_queue.WorkQueue(observer=metrics.Passes())
    own = settings.lws_kueue
    memories = memory.Memories(status_interval=own.status_interval)
    home = cluster.Cluster(
        api=api,
        queue=queue,
        memories=memories,
        gang=settings.gang_scheduling_management is not None,
        unlabelled=own.unlabelled,
    )
    worker = loop.Loop(
        options=resolve.workload_options(own),
        queue=queue,
        memories=memories,
        home=home,
    )
    if not await _unless(stop, _patiently(home.informer.list_all)):
        return
    metrics.workers.set(own.workers)
    cluster_metrics.observe(store=home.store, source=home.informer)
    logger.info("Everything is listed; %d sets are known", len(home.store.known_sets()))
    rounds = (
        (own.resync_interval, home.informer.list_all, "listing"),
        (UNOWNED_INTERVAL, home.unowned.look, "look for strangers"),
        (own.kueue_probe_interval, home.informer.probe_kueue, "probing Kueue"),
    )
    tasks = [
        asyncio.create_task(home.events.run(), name="events"),
        *(
            asyncio.create_task(_every(interval, action, what=what), name=what)
            for interval, action, what in rounds
        ),
        *(asyncio.create_task(worker.work(), name=f"worker-{n}") for n in range(own.workers)),
    ]
    watching = asyncio.create_task(
        home.watch(stop, started=lambda: _heed_signals(stop)), name="watching"
    )
    try:
        await _unless(stop, _over(watching))
        cluster_metrics.observe(store=None, source=None)
        await _end(*tasks)
        if idle is not None:
            await idle()
        # Whoever takes over need not wait for the library that watches to wind down.
        await watching
    finally:
        await _end(watching, *tasks)
        await home.informer.close()


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
