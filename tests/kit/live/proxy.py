"""A reverse proxy on loopback that plays a bad day of an API server: slow, busy and failing.

It stands between the controller and the API server. Watches go through it as they are.
"""

import asyncio
import base64
import contextlib
import itertools
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from aiohttp import web

WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})

_HOP = frozenset({"host", "connection", "transfer-encoding", "content-length", "keep-alive"})


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to one request.

    It reaches the API server ``delay`` seconds late. With a ``status`` that is what is answered:
    instead of asking the API server, or ``afterwards``, which nobody can tell apart. ``pause`` is
    for how many seconds the client is asked to hold back.
    """

    delay: float = 0.0
    status: int = 0
    afterwards: bool = False
    pause: int = 0


@dataclass(frozen=True, slots=True)
class Heard:
    """A request as it came: when, by the clock of the proxy's loop, and what became of it."""

    at: float
    method: str
    path: str
    fault: Fault | None


FaultOf = Callable[[int, web.Request], Fault | None]


@dataclass
class Proxy:
    """Faults by the number of the write, and everything that was heard."""

    fault_of: FaultOf
    upstream: str
    context: ssl.SSLContext
    heard: list[Heard] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        fault = None
        if request.method in WRITES:
            fault = self.fault_of(next(self._numbers), request)
        now = asyncio.get_running_loop().time()
        self.heard.append(Heard(now, request.method, request.path, fault))
        if fault is None:
            return await self._forward(request)
        await asyncio.sleep(fault.delay)
        if fault.status == 0:
            return await self._forward(request)
        if fault.afterwards:
            await self._forward(request, answer=False)
        return _failure(fault)

    async def _forward(self, request: web.Request, *, answer: bool = True) -> web.StreamResponse:
        session: aiohttp.ClientSession = request.app[_SESSION]
        headers = {key: value for key, value in request.headers.items() if key.lower() not in _HOP}
        async with session.request(
            request.method,
            self.upstream + request.raw_path,
            headers=headers,
            data=await request.read() or None,
            skip_auto_headers=("Content-Type",),
            ssl=self.context,
        ) as found:
            kept = {key: value for key, value in found.headers.items() if key.lower() not in _HOP}
            kept.pop("Content-Encoding", None)
            response = web.StreamResponse(status=found.status, headers=kept)
            if not answer:
                await found.read()
                return response
            # A client that leaves a watch is no fault.
            with contextlib.suppress(aiohttp.ClientConnectionResetError):
                await response.prepare(request)
                # A watch goes on for minutes; what arrives is handed on at once.
                async for chunk in found.content.iter_any():
                    await response.write(chunk)
                await response.write_eof()
            return response


_SESSION: web.AppKey[aiohttp.ClientSession] = web.AppKey("session", aiohttp.ClientSession)


_REASONS = {404: "NotFound", 409: "AlreadyExists", 429: "TooManyRequests"}


def _failure(fault: Fault) -> web.Response:
    reason = _REASONS.get(fault.status, "InternalError")
    status: dict[str, Any] = {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "reason": reason,
        "message": "a bad day",
        "code": fault.status,
    }
    headers = {"Retry-After": str(fault.pause)} if fault.pause else {}
    return web.Response(
        status=fault.status,
        headers=headers,
        body=json.dumps(status).encode(),
        content_type="application/json",
    )


@contextlib.contextmanager
def between(kubeconfig: Path, folder: Path, *, fault_of: FaultOf) -> Iterator[tuple[Path, Proxy]]:
    """Run the proxy; gives the kubeconfig of the same identity that leads through it."""
    config = yaml.safe_load(kubeconfig.read_text())
    (cluster,) = (entry["cluster"] for entry in config["clusters"])
    context = ssl.create_default_context(
        cadata=_authority(cluster), cafile=cluster.get("certificate-authority")
    )
    proxy = Proxy(fault_of=fault_of, upstream=cluster["server"], context=context)
    started = threading.Event()
    loop = asyncio.new_event_loop()
    ports: list[int] = []
    stop = asyncio.Event()

    async def serve() -> None:
        app = web.Application(client_max_size=2**26)
        app.router.add_route("*", "/{any:.*}", proxy.handle)
        connector = aiohttp.TCPConnector(limit=0)
        timeout = aiohttp.ClientTimeout(total=None)
        async with aiohttp.ClientSession(
            connector=connector, timeout=timeout, auto_decompress=True
        ) as session:
            app[_SESSION] = session
            runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=1)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            ports.append(runner.addresses[0][1])
            started.set()
            await stop.wait()
            await runner.cleanup()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), daemon=True)
    thread.start()
    assert started.wait(30), "the proxy does not start"
    for key in ("certificate-authority", "certificate-authority-data"):
        cluster.pop(key, None)
    cluster["server"] = f"http://127.0.0.1:{ports[0]}"
    path = folder / "proxied.kubeconfig"
    path.write_text(yaml.safe_dump(config))
    try:
        yield path, proxy
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(timeout=20)
        assert not thread.is_alive()
        loop.close()


def _authority(cluster: dict[str, Any]) -> str | None:
    data = cluster.get("certificate-authority-data")
    return base64.b64decode(data).decode() if data else None
