"""The probes of Kubernetes: is the process alive, and is it ready (lws-contract 9.3).

Every replica answers, whether it leads or not, from a thread of its own. Alive means that the event
loop of the work turns. Ready means that the cluster has been found fit and all admission policies
are in force, so that this replica can take over: a new version that cannot work does not replace
one that can.
"""

import contextlib
import logging
from collections.abc import AsyncIterator

from aiohttp import web

from lws_kueue.manager import pulse
from lws_kueue.manager.serve import endpoint
from lws_kueue.manager.settings import configuration

logger = logging.getLogger(__name__)


class Readiness:
    """Whether this replica could take over: ``problem`` says what keeps it from that, "" nothing.

    One thread tells, another one asks.
    """

    def __init__(self) -> None:
        self.problem = "the cluster has not been found fit yet; the log says why"


def application(
    settings: configuration.Health, *, ready: Readiness, work: pulse.Pulse
) -> web.Application:
    """Return the server of both probes."""

    async def liveness(_: web.Request) -> web.Response:
        if work.alive:
            return web.Response(text="ok")
        text = f"the work has not moved on for {pulse.DEAD_AFTER:.0f} s"
        return web.Response(status=503, text=text)

    async def readiness(_: web.Request) -> web.Response:
        # Once: it may change between two looks.
        problem = ready.problem
        return web.Response(status=503, text=problem) if problem else web.Response(text="ok")

    app = web.Application()
    app.router.add_get(settings.liveness_endpoint_name, liveness)
    app.router.add_get(settings.readiness_endpoint_name, readiness)
    return app


@contextlib.asynccontextmanager
async def serving(
    settings: configuration.Health, *, ready: Readiness, work: pulse.Pulse
) -> AsyncIterator[None]:
    """Answer probes for as long as the context is open, if an address is set."""
    if settings.address is None:
        yield
        return
    app = application(settings, ready=ready, work=work)
    async with endpoint.serving(app, address=settings.address, what="probes"):
        logger.info("Probes are answered at %s", settings.address)
        yield
