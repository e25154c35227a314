"""What goes over the wire: bodies in our encoding, under one identity."""

import asyncio
from pathlib import Path
from typing import Any
from urllib import parse

import aiohttp
import pytest
from aiohttp import web
from kubernetes.aio import client as kube_client

from lws_kueue.api import names
from lws_kueue.runtime import client, encoding, resources


class Server:
    """Keeps the bodies that it got, and who sent them."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.agents: set[str] = set()
        self.hosts: list[str] = []
        self.passwords: list[str | None] = []

    async def answer(self, request: web.Request) -> web.Response:
        if "limit" in request.query:
            return self.page(request)
        self.agents.add(request.headers["User-Agent"])
        self.hosts.append(request.host)
        self.passwords.append(request.headers.get("Authorization"))
        self.heard.append(await request.text())
        return web.json_response({})

    def page(self, request: web.Request) -> web.Response:
        """Answer with one of three pages; the second one is empty."""
        self.heard.append(request.query_string)
        at = int(request.query.get("continue", "0"))
        following = {"continue": str(at + 1)} if at < 2 else {}
        items = [] if at == 1 else [{"metadata": {"name": str(at)}}]
        meta = {"resourceVersion": "7", **following}
        return web.json_response({"metadata": meta, "items": items or None})


def play(server: Server, scenario: Any, *, host: str = "") -> None:
    """Let ``scenario`` ask a ``server``, or another ``host`` that is reached through it."""

    async def run() -> None:
        app = web.Application()
        app.router.add_route("*", "/{any:.*}", server.answer)
        runner = web.AppRunner(app, handler_cancellation=True)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        at = "http://{}:{}".format(*runner.addresses[0][:2])
        with pytest.MonkeyPatch.context() as patch:
            if host:
                patch.setenv("HTTP_PROXY", at)
            api = client.Client(kube_client.Configuration(host=host or at))
        try:
            await scenario(api)
        finally:
            await api.close()
            await runner.cleanup()

    asyncio.run(run())


def test_bodies_are_sent_in_our_encoding() -> None:
    server = Server()
    revision = {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {"namespace": "ns", "name": "r"},
        "data": {"b": "<&>", "a": 1},
        "revision": 1,
    }
    play(server, lambda api: api.create(revision, field_manager="f"))
    assert server.heard == [encoding.dumps(revision)]
    assert "\\u003c" in server.heard[0]


def test_who_watches_has_the_same_identity_and_may_close_its_session() -> None:
    server = Server()

    async def scenario(api: client.Client) -> None:
        await api.request("GET", "/one")
        async with await api.session() as session:
            response = await session.get(f"{api.server}/two")
            await response.read()
        await api.request("GET", "/three")

    play(server, scenario)
    assert len(server.heard) == 3
    assert server.agents == {client.USER_AGENT}


async def ask_twice(api: client.Client) -> None:
    """Ask as we do, and as the library that watches does."""
    await api.request("GET", "/one")
    async with await api.session() as session:
        response = await session.get(f"{api.server}/two")
        await response.read()


def test_the_api_server_is_asked_through_the_proxy_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NO_PROXY", "localhost,127.0.0.1")
    proxy = Server()
    play(proxy, ask_twice, host="http://api.example.com")
    assert proxy.hosts == 2 * ["api.example.com"]


@pytest.mark.parametrize(
    ("server", "proxy"),
    [
        ("https://api.example.com:6443", "http://proxy:3128"),
        ("http://api.example.com", None),
        ("https://here.example.com:6443", None),
        ("https://10.0.0.1:6443", None),
        ("https://10.0.0.1:443", "http://proxy:3128"),
    ],
)
def test_no_proxy_names_servers_that_are_asked_directly(
    server: str, proxy: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    monkeypatch.setenv("NO_PROXY", "here.example.com,10.0.0.1:6443")
    assert client._proxy_for(server) == proxy


def test_nothing_is_taken_from_the_passwords_of_other_programs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "netrc").write_text("default login somebody password secret\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    server = Server()
    play(server, ask_twice)
    assert server.passwords == [None, None]


def test_a_write_that_is_not_answered_in_time_may_have_happened(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert client._WRITE_TIMEOUT.total == 10
    monkeypatch.setattr(client, "_WRITE_TIMEOUT", aiohttp.ClientTimeout(total=0.05))

    class Late(Server):
        """Answers a write when it has been given up, and a read after as long."""

        async def answer(self, request: web.Request) -> web.Response:
            if request.method == "GET":
                await asyncio.sleep(0.2)
                return await super().answer(request)
            await asyncio.Event().wait()
            raise AssertionError

    async def scenario(api: client.Client) -> None:
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            with pytest.raises(client.ApiError) as caught:
                await api.request(method, "/x", body={})
            assert client.unknown(caught.value)
            assert client.unreachable(caught.value)
            assert not client.refuses(caught.value)
        assert await api.request("GET", "/x") == {}

    play(Late(), scenario)


def test_what_is_refused_or_never_arrived_is_known_not_to_have_happened() -> None:
    for status, reason in ((0, "ClientConnectorError"), (409, "Conflict"), (500, "InternalError")):
        error = client.ApiError(status=status, reason=reason, message="", request="test")
        assert not client.unknown(error)


def test_a_list_comes_page_by_page_as_of_one_moment_and_each_item_says_what_it_is() -> None:
    server = Server()
    pages: list[client.Page] = []

    async def scenario(api: client.Client) -> None:
        selector = resources.label_selector(resources.PODS)
        pages.extend([page async for page in api.pages(resources.PODS, label_selector=selector)])

    play(server, scenario)
    assert [page.resource_version for page in pages] == ["7"] * 3
    assert [[item["metadata"]["name"] for item in page.items] for page in pages] == [
        ["0"],
        [],
        ["2"],
    ]
    assert {(item["apiVersion"], item["kind"]) for page in pages for item in page.items} == {
        ("v1", "Pod")
    }
    asked = [dict(parse.parse_qsl(query)) for query in server.heard]
    assert [query.pop("continue", None) for query in asked] == [None, "1", "2"]
    assert all(query == {"limit": "500", "labelSelector": names.SET_NAME} for query in asked)
