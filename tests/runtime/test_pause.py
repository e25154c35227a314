"""An API server that asks for a pause gets one, from all requests of a client."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from kubernetes.aio import client as kube_client

from lws_kueue.runtime import client, pause

Answers = Callable[[int, web.Request], web.Response]


class Server:
    """Answers by the number of the request, and knows when each came."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self.heard: list[tuple[str, float]] = []

    async def answer(self, request: web.Request) -> web.Response:
        self.heard.append((request.method, asyncio.get_running_loop().time()))
        return self._answers(len(self.heard), request)

    @property
    def methods(self) -> list[str]:
        return [method for method, _ in self.heard]

    @property
    def gaps(self) -> list[float]:
        times = [at for _, at in self.heard]
        return [later - earlier for earlier, later in itertools.pairwise(times)]


@asynccontextmanager
async def served(server: Server, **options: Any) -> AsyncIterator[client.Client]:
    app = web.Application()
    app.router.add_route("*", "/{any:.*}", server.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    api = client.Client(kube_client.Configuration(host=f"http://{host}:{port}"), **options)
    try:
        yield api
    finally:
        await api.close()
        await runner.cleanup()


def busy(seconds: str = "1", *, status: int = 429) -> web.Response:
    return web.Response(status=status, headers={"Retry-After": seconds}, text="too many requests")


def once(first: web.Response) -> Answers:
    return lambda number, _: first if number == 1 else web.json_response({"n": number})


def play(server: Server, do: Callable[[client.Client], Awaitable[Any]], **options: Any) -> Any:
    async def run() -> Any:
        async with served(server, **options) as api:
            return await do(api)

    return asyncio.run(run())


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_read_is_sent_again_when_the_pause_is_over(status: int) -> None:
    server = Server(once(busy(status=status)))
    assert play(server, lambda api: api.request("GET", "/x")) == {"n": 2}
    assert server.gaps[0] >= 0.99


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_a_write_is_never_sent_again_but_fails_when_the_pause_is_over(method: str) -> None:
    server = Server(once(busy()))

    async def do(api: client.Client) -> float:
        start = asyncio.get_running_loop().time()
        with pytest.raises(client.ApiError) as caught:
            await api.request(method, "/x")
        assert caught.value.status == 429
        assert client.unreachable(caught.value), "nobody is told that it was refused"
        return asyncio.get_running_loop().time() - start

    assert play(server, do) >= 0.99
    assert server.methods == [method]


def test_what_one_request_is_told_goes_for_all_others_of_the_client(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = Server(once(busy()))

    async def do(api: client.Client) -> None:
        began, begin = asyncio.Event(), api._pause.begin

        def begun(seconds: float) -> None:
            begin(seconds)
            began.set()

        monkeypatch.setattr(api._pause, "begin", begun)
        first = asyncio.create_task(api.request("PATCH", "/x"))
        await began.wait()
        others = [api.request("PATCH", "/y"), api.request("GET", "/y"), api.request("POST", "/y")]
        patched, read, posted = await asyncio.gather(*others, return_exceptions=True)
        for refused in (patched, posted):
            assert isinstance(refused, client.ApiError)
            assert (refused.status, refused.reason) == (429, "Paused")
        assert read == {"n": 2}
        with pytest.raises(client.ApiError):
            await first
        assert await api.request("PATCH", "/y") == {"n": 3}

    play(server, do)
    assert server.methods == ["PATCH", "GET", "PATCH"]
    assert server.gaps[0] >= 0.99


def test_a_pause_is_not_kept_for_longer_than_the_patience_of_the_client() -> None:
    server = Server(once(busy("3600")))
    assert play(server, lambda api: api.request("GET", "/x"), patience=0.1) == {"n": 2}
    assert server.gaps[0] >= 0.09


def test_a_read_that_is_put_off_again_and_again_fails_in_the_end() -> None:
    server = Server(lambda _, __: busy())

    async def do(api: client.Client) -> None:
        with pytest.raises(client.ApiError, match="429"):
            await api.request("GET", "/x")

    play(server, do, patience=0.01)
    assert len(server.heard) == client._READS


def test_an_error_that_asks_for_no_pause_fails_at_once_and_pauses_nothing() -> None:
    server = Server(once(web.Response(status=500, text="sorry")))

    async def do(api: client.Client) -> Any:
        with pytest.raises(client.ApiError, match="500"):
            await api.request("GET", "/x")
        return await api.request("PATCH", "/x")

    assert play(server, do) == {"n": 2}


@pytest.mark.parametrize(
    ("status", "headers", "answer", "seconds"),
    [
        (429, {"Retry-After": "7"}, {}, 7.0),
        (503, {"Retry-After": "7"}, {}, 7.0),
        (429, {}, {"details": {"retryAfterSeconds": 3}}, 3.0),
        (429, {}, {}, 0.0),
        (409, {"Retry-After": "7"}, {}, 0.0),
        (429, {"Retry-After": "Sat, 28 Nov 2026 17:00:00 GMT"}, {}, 0.0),
        (429, {"Retry-After": "-1"}, {}, 0.0),
        (429, {"Retry-After": "0"}, {}, 0.0),
    ],
)
def test_how_long_an_answer_asks_to_wait(
    status: int, headers: Mapping[str, str], answer: Mapping[str, Any], seconds: float
) -> None:
    assert pause.asked_for(status=status, headers=headers, answer=answer) == seconds
