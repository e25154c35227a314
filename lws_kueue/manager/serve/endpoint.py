"""Small HTTP servers of the process: the one for probes and the one for metrics.

aiohttp speaks HTTP/1.1 and nothing later, which is what the Go manager offers as well.
"""

import asyncio
import contextlib
import os
import ssl
from collections.abc import AsyncIterator
from typing import Final

from aiohttp import web

from lws_kueue.manager.settings import configuration, go_values

# So many connections are held by one server. For each one more the oldest is closed: whoever opens
# many keeps out nobody who asks now.
MOST_CONNECTIONS: Final = 100

# For so many seconds a connection may take to agree on TLS, and be kept without a request.
_HANDSHAKE_SECONDS: Final = 10.0
_IDLE_SECONDS: Final = 30.0


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
    runner = web.AppRunner(
        app,
        access_log=None,
        handle_signals=False,
        shutdown_timeout=1.0,
        keepalive_timeout=_IDLE_SECONDS,
    )
    await runner.setup()
    server = runner.server
    assert server is not None

    def accept() -> asyncio.BaseProtocol:
        held = server.connections
        if len(held) >= MOST_CONNECTIONS:
            held[0].force_close()
        return server()

    try:
        try:
            listening = await asyncio.get_running_loop().create_server(
                accept,
                where.host,
                where.port,
                ssl=tls,
                ssl_handshake_timeout=_HANDSHAKE_SECONDS if tls else None,
            )
        except OSError as error:
            # The text of a failed bind repeats the address; its number says the rest.
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise configuration.ConfigurationError(
                f"cannot serve {what} at {address}: {reason}"
            ) from error
        try:
            yield
        finally:
            listening.close()
    finally:
        await runner.cleanup()
