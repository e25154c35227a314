"""The probes of Kubernetes: is the process alive, and is it ready (lws-contract 9.3).

Every replica answers, whether it leads or not. Alive means that the event loop turns. Ready means
that the cluster has been found fit, so that this replica can take over: a new version that cannot
work does not replace one that can.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

from aiohttp import web

from lws_kueue.manager.serve import endpoint
from lws_kueue.manager.settings import configuration

logger = logging.getLogger(__name__)


def application(settings: configuration.Health, *, ready: asyncio.Event) -> web.Application:
    """Return the server of both probes."""

    async def liveness(_: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def readiness(_: web.Request) -> web.Response:
        if ready.is_set():
            return web.Response(text="ok")
        return web.Response(status=503, text="the cluster has not been found fit yet")

    app = web.Application()
    app.router.add_get(settings.liveness_endpoint_name, liveness)
    app.router.add_get(settings.readiness_endpoint_name, readiness)
    return app


@contextlib.asynccontextmanager
async def serving(settings: configuration.Health, *, ready: asyncio.Event) -> AsyncIterator[None]:
    """Answer probes for as long as the context is open, if an address is set."""
    if settings.address is None:
        yield
        return
    app = application(settings, ready=ready)
    async with endpoint.serving(app, address=settings.address, what="probes"):
        logger.info("Probes are answered at %s", settings.address)
        yield
