"""Our own watch, against an API server that has all the bad days that one can have."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from kubernetes.aio import client as kube_client

from lws_kueue.api import names
from lws_kueue.manager import logs
from lws_kueue.runtime import client, reflector, resources


def pod(name: str, version: int, **meta: Any) -> dict[str, Any]:
    given = {"namespace": "ns", "name": name, "resourceVersion": str(version), **meta}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": given}


def line(kind: str, obj: Mapping[str, Any]) -> bytes:
    return json.dumps({"type": kind, "object": obj}).encode() + b"\n"


def added(name: str, version: int, **meta: Any) -> bytes:
    return line("ADDED", pod(name, version, **meta))


def error(code: int, message: str = "too old") -> bytes:
    return line("ERROR", {"kind": "Status", "code": code, "message": message, "metadata": {}})


def status(code: int, **headers: str) -> web.Response:
    body = {"kind": "Status", "code": code, "message": "not now"}
    return web.json_response(body, status=code, headers=headers)


class Cut(Exception):
    """The connection is to be cut."""


class Server:
    """Answers the watches one after the other as it is told, and then says nothing more."""

    def __init__(self, *watches: web.Response | tuple[bytes | type[Cut], ...]) -> None:
        self._watches = list(watches)
        self.closing = asyncio.Event()
        self.asked: list[dict[str, str]] = []
        self.at: list[float] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        assert request.path == resources.PODS.path()
        self.asked.append(dict(request.query))
        self.at.append(asyncio.get_running_loop().time())
        what = self._watches.pop(0) if self._watches else None
        if isinstance(what, web.Response):
            return what
        response = web.StreamResponse()
        await response.prepare(request)
        for piece in what or ():
            if isinstance(piece, bytes):
                await response.write(piece)
                continue
            assert request.transport is not None
            request.transport.close()
            return response
        if what is None:
            await self.closing.wait()
        return response

    @property
    def since(self) -> list[str]:
        """From which version on each watch was asked for."""
        return [query["resourceVersion"] for query in self.asked]


class Watched:
    """What is told of pods.

    The end of an object in ``held`` is taken when its event is set; one in ``broken`` is not taken.
    For the first ``away`` lists the kind is not served.
    """

    def __init__(self, server: Server) -> None:
        self.server = server
        self.told: list[str] = []
        self.lists: list[str] = []
        self.held: dict[str, asyncio.Event] = {}
        self.broken: set[str] = set()
        self.away = 0
        self._changed = asyncio.Condition()

    async def sink(self, _: resources.Resource, kind: str | None, obj: dict[str, Any]) -> None:
        name = obj["metadata"]["name"]
        if kind == "DELETED" and name in self.held:
            await self.held[name].wait()
        await self.note(self.told, f"{kind} {name} {obj['metadata']['resourceVersion']}")
        if name in self.broken:
            raise KeyError(name)

    async def list_anew(self, _: resources.Resource) -> str:
        if self.away:
            self.away -= 1
            raise client.ApiError(status=404, reason="NotFound", message="", request="list")
        await self.note(self.lists, version := f"{len(self.lists) + 1}00")
        return version

    async def note(self, where: list[str], what: str) -> None:
        async with self._changed:
            where.append(what)
            self._changed.notify_all()

    async def until(self, reached: Callable[[], bool]) -> None:
        async with self._changed:
            await self._changed.wait_for(reached)

    async def tells(self, *told: str) -> None:
        """Wait for so many events, and compare all."""
        await self.until(lambda: len(self.told) >= len(told))
        assert self.told == list(told)


@asynccontextmanager
async def watching(
    server: Server, *, since: str = "", held: Sequence[str] = (), away: int = 0
) -> AsyncIterator[Watched]:
    app = web.Application()
    app.router.add_route("*", "/{any:.*}", server.answer)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    api = client.Client(kube_client.Configuration(host=f"http://{host}:{port}"), patience=0.1)
    seen = Watched(server)
    seen.away = away
    seen.held = {name: asyncio.Event() for name in held}
    own = reflector.Reflector(
        resources.PODS, api=api, sink=seen.sink, list_anew=seen.list_anew, since=since
    )
    task = asyncio.create_task(own.run())
    try:
        async with asyncio.timeout(60):
            yield seen
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        server.closing.set()
        await api.close()
        await runner.cleanup()


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses are short."""
    monkeypatch.setattr(reflector, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(reflector, "LONGEST_PAUSE", 0.01)


def test_what_was_listed_is_not_listed_again_and_the_server_chooses_by_the_label() -> None:
    async def scenario() -> None:
        async with watching(Server((added("a", 8),)), since="7") as seen:
            await seen.tells("ADDED a 8")
            query = seen.server.asked[0]
            assert 300 <= int(query.pop("timeoutSeconds")) <= 600
            assert query == {
                "watch": "true",
                "allowWatchBookmarks": "true",
                "resourceVersion": "7",
                "labelSelector": names.SET_NAME,
            }
            assert seen.lists == []

    asyncio.run(scenario())


def test_without_a_list_it_begins_with_one_and_an_empty_one_is_no_reason_to_wait() -> None:
    async def scenario() -> None:
        async with watching(Server((added("a", 101),))) as seen:
            await seen.tells("ADDED a 101")
            assert seen.lists == ["100"]
            assert seen.server.since[0] == "100"

    asyncio.run(scenario())


def test_a_watch_that_ends_goes_on_from_the_last_version_and_a_bookmark_is_one() -> None:
    bookmark = line("BOOKMARK", {"kind": "Pod", "metadata": {"resourceVersion": "20"}})

    async def scenario() -> None:
        server = Server((added("a", 8),), (bookmark,), (added("b", 21),))
        async with watching(server, since="7") as seen:
            await seen.tells("ADDED a 8", "ADDED b 21")
            assert seen.server.since[:3] == ["7", "8", "20"]
            assert seen.lists == []

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "gone", [pytest.param((error(410),), id="told"), pytest.param(status(410), id="answered")]
)
def test_a_version_that_the_server_has_forgotten_is_a_reason_for_one_list(gone: Any) -> None:
    async def scenario() -> None:
        async with watching(Server(gone, (added("a", 101),)), since="7") as seen:
            await seen.tells("ADDED a 101")
            assert seen.lists == ["100"]
            assert seen.server.since[:2] == ["7", "100"]

    asyncio.run(scenario())


def test_a_line_that_is_cut_is_told_when_it_comes_whole() -> None:
    whole = added("b", 9)

    async def scenario() -> None:
        server = Server((added("a", 8), whole[:20], Cut), (whole[:-1],), (whole,))
        async with watching(server, since="7") as seen:
            await seen.tells("ADDED a 8", "ADDED b 9")
            assert seen.server.since[:3] == ["7", "8", "8"]
            assert seen.lists == []

    asyncio.run(scenario())


def test_a_line_may_be_longer_than_any_buffer_and_come_in_any_pieces() -> None:
    huge = added("huge", 8, annotations={"all": "x" * 6_000_000})
    rest = added("a", 9) + added("b", 10)
    pieces = (huge[:5], huge[5:], *(rest[at : at + 7] for at in range(0, len(rest), 7)))

    async def scenario() -> None:
        async with watching(Server(pieces), since="7") as seen:
            await seen.tells("ADDED huge 8", "ADDED a 9", "ADDED b 10")

    asyncio.run(scenario())


@pytest.mark.parametrize("code", [401, 403, 404, 429, 500, 503])
def test_a_refusal_is_told_in_a_line_and_watching_goes_on_where_it_was(
    code: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        server = Server(status(code), status(code), (error(code),), (added("a", 8),))
        async with watching(server, since="7") as seen:
            await seen.tells("ADDED a 8")
            assert seen.server.since[:4] == ["7"] * 4
            assert seen.lists == []

    asyncio.run(scenario())
    once = logs.OnceAMinute()
    told = [r for r in caplog.records if r.levelno >= logging.WARNING and once.filter(r)]
    assert len(told) == 1
    assert str(code) in told[0].getMessage()
    assert not told[0].exc_info


@pytest.mark.parametrize("code", [429, 503])
def test_a_pause_that_the_server_asks_for_is_kept(code: int) -> None:
    async def scenario() -> None:
        server = Server(status(code, **{"Retry-After": "30"}), (added("a", 8),))
        async with watching(server, since="7") as seen:
            await seen.tells("ADDED a 8")
            # The client of this test has a tenth of a second of patience.
            assert server.at[1] - server.at[0] >= 0.09

    asyncio.run(scenario())


def test_a_kind_that_is_not_served_is_watched_as_soon_as_it_is() -> None:
    async def scenario() -> None:
        async with watching(Server((added("a", 101),)), away=3) as seen:
            await seen.tells("ADDED a 101")
            assert seen.lists == ["100"]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "odd",
    [
        pytest.param(b"<html>\n", id="no-json"),
        pytest.param(b'{"type":"ADDED"}\n', id="no-object"),
        pytest.param(b'["ADDED"]\n', id="no-event"),
        pytest.param(b'{"type":"ADDED","object":{"metadata":{}}}\n', id="no-version"),
    ],
)
def test_what_cannot_be_understood_is_listed(odd: bytes) -> None:
    async def scenario() -> None:
        async with watching(Server((odd,), (added("a", 101),)), since="7") as seen:
            await seen.tells("ADDED a 101")
            assert seen.lists == ["100"]

    asyncio.run(scenario())


def test_an_object_that_is_nested_too_deep_and_one_that_is_taken_ill_cost_no_other() -> None:
    deep = b'{"type":"ADDED","object":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}\n"

    async def scenario() -> None:
        server = Server((deep, added("ill", 8), line("STRANGE", pod("x", 9)), added("a", 10)))
        async with watching(server, since="7") as seen:
            seen.broken = {"ill"}
            await seen.tells("ADDED ill 8", "ADDED a 10")
            assert seen.lists == []

    asyncio.run(scenario())


def test_who_has_to_ask_whether_an_object_has_ended_holds_up_that_object_alone() -> None:
    async def scenario() -> None:
        events = (
            line("DELETED", pod("a", 8)),
            added("a", 9),
            line("MODIFIED", pod("a", 10)),
            added("b", 11),
            line("DELETED", pod("c", 12, deletionTimestamp="2026-01-01T00:00:00Z")),
            added("c", 13),
        )
        async with watching(Server(events), since="7", held="a") as seen:
            await seen.until(lambda: "ADDED c 13" in seen.told)
            others = ["ADDED b 11", "DELETED c 12", "ADDED c 13"]
            assert seen.told == others
            seen.held["a"].set()
            await seen.tells(*others, "DELETED a 8", "ADDED a 9", "MODIFIED a 10")

    asyncio.run(scenario())


def test_what_is_asked_at_a_time_is_bounded_and_nothing_is_lost() -> None:
    count = 5 * reflector._MOST_ASIDE

    async def scenario() -> None:
        events = tuple(line("DELETED", pod(f"p{n}", n)) for n in range(count))
        async with watching(Server(events), since="7") as seen:
            await seen.until(lambda: len(seen.told) == count)
            assert len(set(seen.told)) == count

    asyncio.run(scenario())


def test_others_have_their_turn_while_there_is_much_to_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reflector, "_TURN", -1.0)
    events = (b"".join(added(f"p{n}", n) for n in range(1000)),)

    async def scenario() -> None:
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        async with watching(Server(events), since="7") as seen:
            task = asyncio.create_task(others())
            await seen.until(lambda: len(seen.told) == 1000)
            task.cancel()
            assert turns >= 1000

    asyncio.run(scenario())
