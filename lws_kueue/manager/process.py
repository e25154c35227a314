"""Wires the parts together and runs them until told to stop, or until another process leads.

Every replica answers probes. Only the leader watches, lists and writes: a replica that waits costs
the API server next to nothing, and begins with a list of everything when its turn comes.

There are three event loops, each on a thread: that of the work, which deciding holds up, that of
the servers, which anybody may ask, and that of the Lease, which nobody else uses.
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

from lws_kueue.install import in_force, preflight
from lws_kueue.manager import cluster_metrics, loop_thread, pulse
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
    ready, work = health.Readiness(), pulse.Pulse()
    async with contextlib.AsyncExitStack() as stack:
        servers = await stack.enter_async_context(loop_thread.running("servers"))
        _beside(stack, work.beat(), name="pulse")
        _beside(stack, servers.run(work.feel()), name="feeling the pulse")
        probes = health.serving(settings.health, ready=ready, work=work)
        await stack.enter_async_context(servers.inside(probes))
        api = await working_client(settings, kubeconfig=kubeconfig, context=context)
        stack.push_async_callback(api.close)

        async def control(thread: loop_thread.LoopThread) -> client.Client:
            """Return a client for a thread, which waits neither behind the work nor for long."""
            loading = client.Client.load(
                kubeconfig=kubeconfig, context=context, patience=CONTROL_PATIENCE
            )
            loaded = await thread.run(loading)
            stack.push_async_callback(lambda: thread.run(loaded.close()))
            return loaded

        asking = await control(servers)
        metered = metrics_server.serving(settings.metrics, security=settings.tls, api=asking)
        await stack.enter_async_context(servers.inside(metered))
        if not await _unless(stop, patiently(lambda: preflight.check(api))):
            return
        ready.problem = ""
        interval = settings.lws_kueue.kueue_probe_interval
        looking = _keep_looking(in_force.Watch(asking), ready, interval=interval)
        _beside(stack, servers.run(looking), name="policies")
        if not settings.leader_election.leader_elect:
            await _run(settings, api=api, stop=stop)
        else:
            lease = await stack.enter_async_context(loop_thread.running("lease"))
            candidate = election.Election(
                settings.leader_election,
                api=await control(lease),
                identity=election.identity(),
                alive=lambda: work.alive,
            )
            await _run_as_leader(settings, api=api, candidate=candidate, lease=lease, stop=stop)


async def working_client(
    settings: configuration.Configuration, *, kubeconfig: str | None, context: str | None
) -> client.Client:
    """Connect as the work does, at the pace of the settings.

    Raises:
        client.NoServerError: nothing says where the API server is.
    """
    connection = settings.client_connection
    pace = client.pace(qps=connection.rate, burst=connection.at_once)
    return await client.Client.load(kubeconfig=kubeconfig, context=context, pace=pace)


def _beside(
    stack: contextlib.AsyncExitStack, what: Coroutine[Any, Any, None], *, name: str
) -> None:
    """Do something for as long as a stack of contexts is open."""
    stack.push_async_callback(_end, asyncio.create_task(what, name=name))


async def _run_as_leader(
    settings: configuration.Configuration,
    *,
    api: client.Client,
    candidate: election.Election,
    lease: loop_thread.LoopThread,
    stop: asyncio.Event,
) -> None:
    """Wait to be elected, and work for as long as that lasts; the thread ``lease`` sees to both."""
    api.may_write = candidate.leads
    if not await _unless(stop, lease.run(candidate.acquire())):
        return
    keeping = asyncio.create_task(lease.run(_keep(candidate)), name="lease")

    async def resign() -> None:
        await lease.run(candidate.release())
        await _end(keeping)

    working = asyncio.create_task(_run(settings, api=api, stop=stop, idle=resign), name="leader")
    try:
        await asyncio.wait({working, keeping}, return_when=asyncio.FIRST_COMPLETED)
        if keeping.done() and not keeping.cancelled():
            stop.set()
            await asyncio.wait({working}, timeout=LAST_SECONDS)
            await keeping
        await working
    finally:
        await _end(working)
        await resign()


async def _keep(candidate: election.Election) -> None:
    """Keep the Lease; when it is lost, this process ends, whatever its work does.

    From then on no write gets out. A process that does not come to its end would only keep its
    replacement from starting.
    """
    try:
        await candidate.keep()
    except election.LeaseLostError as error:
        logger.error("This process ends: %s", error)
        asyncio.get_running_loop().call_later(3 * LAST_SECONDS, os._exit, 1)
        raise


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


async def patiently(action: Callable[[], Awaitable[None]]) -> None:
    """Repeat what needs the API server until that can be reached; say at once that it cannot.

    It is said again after twice as many attempts each time.

    Raises:
        client.ApiError: it cannot be reached for long, or refuses.
    """
    async for attempt in client.patiently(seconds=STARTUP_PATIENCE):
        with attempt:
            await action()
        tried, outcome = attempt.retry_state.attempt_number, attempt.retry_state.outcome
        error = outcome.exception() if outcome is not None else None
        if error is not None and client.unreachable(error) and tried.bit_count() == 1:
            logger.warning("The API server cannot be reached, and is tried again: %s", error)


def assembled(
    settings: configuration.Configuration,
    *,
    api: client.Client,
    queue: work_queue.WorkQueue[keys.SetKey],
    connects: bool = True,
) -> tuple[cluster.Cluster, loop.Loop]:
    """Return the cluster that is worked on, and the loop that works through its ``queue``.

    ``connects`` says that worker clusters are connected where the settings say so.
    """
    own = settings.lws_kueue
    memories = memory.Memories(status_interval=own.status_interval)
    home = cluster.Cluster(
        api=api,
        queue=queue,
        memories=memories,
        gang=settings.gang_scheduling_management is not None,
        unlabelled=own.unlabelled,
        clusters=resolve.cluster_settings(own) if connects else None,
        dispatch=resolve.dispatch_settings(own),
    )
    options = resolve.workload_options(own)
    return home, loop.Loop(options=options, queue=queue, memories=memories, home=home)


async def _run(
    settings: configuration.Configuration,
    *,
    api: client.Client,
    stop: asyncio.Event,
    idle: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Work until stopped; ``idle`` is called when nothing writes any more."""
    own = settings.lws_kueue
    queue: work_queue.WorkQueue[keys.SetKey] = work_queue.WorkQueue(
        observer=metrics.Passes(),
        tenant=lambda key: key.namespace,
        # A pass may take seconds where it writes much.
        most=max(1, own.workers * 3 // 4),
    )
    home, worker = assembled(settings, api=api, queue=queue)
    if not await _unless(stop, patiently(home.informer.list_all)):
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
    if home.elsewhere is not None:
        tasks.append(asyncio.create_task(home.elsewhere.run(), name="worker clusters"))
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


async def _keep_looking(
    policies: in_force.Watch, ready: health.Readiness, *, interval: float
) -> None:
    """Be ready for as long as all admission policies are in force."""
    while True:
        try:
            await policies.look()
        except client.ApiError as error:
            logger.warning("Whether the admission policies are in force is not known: %s", error)
        else:
            ready.problem = ". ".join((*policies.faults, in_force.FIX)) if policies.faults else ""
        await asyncio.sleep(interval)


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
