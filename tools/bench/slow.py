"""An API server that answers late: what stands before a real one waits with each request."""

import asyncio
import concurrent.futures
import contextlib
import ssl
import threading
from collections.abc import Iterator
from typing import Final

import aiohttp
import yarl
from aiohttp import web
from lws_kueue_lab import sandbox

from tests.kit.multikueue import kubeconfigs, servers

_START_SECONDS: Final = 30.0
# Of one connection, and not of what is asked for; the others are made anew.
_HOP: Final = frozenset({"host", "connection", "content-length", "transfer-encoding"})


class Slow:
    """The way to the API server of a cluster; ``delay`` are seconds, and may change at any time."""

    def __init__(self, cluster: sandbox.Sandbox) -> None:
        self.delay = 0.0
        self.port = 0
        self._target = cluster.api.server
        authority = cluster.api.certificate_authority().decode()
        self._tls = ssl.create_default_context(cadata=authority)
        self._session: aiohttp.ClientSession | None = None

    @property
    def server(self) -> str:
        """Its URL."""
        return f"https://127.0.0.1:{self.port}"

    @property
    def authority(self) -> bytes:
        """The certificate by which it is verified."""
        return kubeconfigs.authority().certificate

    @contextlib.contextmanager
    def serving(self) -> Iterator[None]:
        """Serve in a thread of its own for as long as the context is open."""
        begun: concurrent.futures.Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = (
            concurrent.futures.Future()
        )
        thread = threading.Thread(target=lambda: asyncio.run(self._serve(begun)), daemon=True)
        thread.start()
        loop, over = begun.result(_START_SECONDS)
        try:
            yield
        finally:
            loop.call_soon_threadsafe(over.set)
            thread.join()

    async def _serve(
        self,
        begun: "concurrent.futures.Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]]",
    ) -> None:
        over = asyncio.Event()
        connector = aiohttp.TCPConnector(ssl=self._tls, limit=0)
        # What is compressed goes on as it is, and watches go on for as long as they like.
        async with (
            aiohttp.ClientSession(
                connector=connector,
                auto_decompress=False,
                timeout=aiohttp.ClientTimeout(total=None),
            ) as self._session,
            servers.serving(self._answer, pair=kubeconfigs.signed()) as self.port,
        ):
            begun.set_result((asyncio.get_running_loop(), over))
            await over.wait()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        assert self._session is not None
        body = await request.read()
        await asyncio.sleep(self.delay)
        headers = {k: v for k, v in request.headers.items() if k.lower() not in _HOP}
        url = yarl.URL(self._target + request.raw_path, encoded=True)
        asked = self._session.request(request.method, url, headers=headers, data=body or None)
        async with asked as answer:
            told = {k: v for k, v in answer.headers.items() if k.lower() not in _HOP}
            response = web.StreamResponse(status=answer.status, headers=told)
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
            await response.write_eof()
            return response
