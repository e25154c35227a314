"""Small HTTP servers of the process: the one for probes and the one for metrics.

aiohttp speaks HTTP/1.1 and nothing later, which is what the Go manager offers as well.
"""

import contextlib
import os
import ssl
from collections.abc import AsyncIterator

from aiohttp import web

from lws_kueue.manager.settings import configuration, go_values


@contextlib.asynccontextmanager
async def serving(
    app: web.Application, *, address: str, what: str, tls: ssl.SSLContext | None = None
) -> AsyncIterator[None]:
    """Serve ``app`` for as long as the context is open.

    Raises:
        ConfigurationError: the address cannot be had.
    """
    where = go_values.address(address)
    assert where is not None
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, where.host, where.port, ssl_context=tls)
        try:
            await site.start()
        except OSError as error:
            # The text of a failed bind repeats the address; its number says the rest.
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise configuration.ConfigurationError(
                f"cannot serve {what} at {address}: {reason}"
            ) from error
        yield
    finally:
        await runner.cleanup()
