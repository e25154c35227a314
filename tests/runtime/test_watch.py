"""All that is watched is told, and kopf winds down without harm to the client."""

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from aiohttp import web
from kubernetes.aio import client as kube_client

from lws_kueue.manager import logs
from lws_kueue.runtime import client, own_tasks, resources, watch

# Of the last two kopf wants to know that they are served; CRDs are watched for the watch itself.
KINDS = (*resources.PLAIN, *resources.KUEUE, resources.NAMESPACES, resources.CRDS)


class Server:
    """Serves the kinds that are watched, all of them empty; an event of each watch is one of them.

    It is a pod, or a set, of which kopf tells: the watch of pods goes on when that begins anew.
    """

    def __init__(self) -> None:
        self.kinds: tuple[resources.Resource, ...] = KINDS
        self.of = resources.PODS
        self.closing = asyncio.Event()
        self.forever = asyncio.Event()
        # A kind that is not served any more: its watch ends, and is refused from then on.
        self.gone: resources.Resource | None = None
        self.goes, self.refused = asyncio.Event(), asyncio.Event()
        self.told: dict[resources.Resource, asyncio.Queue[bytes]] = {
            resources.CRDS: asyncio.Queue()
        }

    async def tell(self, kind: resources.Resource, event: str, obj: dict[str, Any]) -> None:
        """Send an event to whoever watches a kind, now or next."""
        full = {"apiVersion": kind.api_version, "kind": kind.kind, **obj}
        full["metadata"] = {"uid": "c", "resourceVersion": "3", **obj["metadata"]}
        await self.told[kind].put(json.dumps({"type": event, "object": full}).encode() + b"\n")

    async def answer(self, request: web.Request) -> web.StreamResponse:
        path = request.path
        if path == "/api":
            return web.json_response({"versions": ["v1"]})
        if path == "/apis":
            groups = {(kind.group, kind.version) for kind in self.kinds if kind.group}
            served = [
                {
                    "name": group,
                    "versions": [{"version": version}],
                    "preferredVersion": {"version": version},
                }
                for group, version in groups
            ]
            return web.json_response({"groups": served})
        for kind in self.kinds:
            if path == kind.path():
                if kind == self.gone and self.goes.is_set():
                    self.refused.set()
                    return web.json_response({"kind": "Status", "code": 404}, status=404)
                if "watch" in request.query:
                    return await self._watch(request, kind)
                meta = {"resourceVersion": "1"}
                return web.json_response({"metadata": meta, "items": []})
        found = [kind for kind in self.kinds if kind.path().rpartition("/")[0] == path]
        listed = [
            {
                "name": kind.plural,
                "kind": kind.kind,
                "singularName": kind.kind.lower(),
                "namespaced": kind.namespaced,
                "verbs": ["list", "watch", "get", "patch"],
            }
            for kind in found
        ]
        return web.json_response({"resources": listed})

    async def _watch(self, request: web.Request, kind: resources.Resource) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        if kind == self.of:
            meta = b'{"namespace":"ns","name":"p","uid":"u","resourceVersion":"2"}'
            names = f'"apiVersion":"{kind.api_version}","kind":"{kind.kind}"'.encode()
            told = b"{" + names + b',"metadata":' + meta + b"}"
            await response.write(b'{"type":"ADDED","object":' + told + b"}\n")
        while kind in self.told and not self.closing.is_set():
            await response.write(await self.told[kind].get())
        await (self.goes if kind == self.gone else self.closing).wait()
        return response


class Watched:
    """What is told of a server while it is watched."""

    def __init__(self, server: Server, api: client.Client) -> None:
        self.server = server
        self.api = api
        self.stop, self.heard = asyncio.Event(), asyncio.Event()
        self.started: asyncio.Queue[None] = asyncio.Queue()
        self.kinds: list[resources.Resource] = []
        self.lists: asyncio.Queue[resources.Resource] = asyncio.Queue()
        self.created: set[asyncio.Task[Any]] = set()
        self.watching: asyncio.Task[None]

    async def on_event(
        self,
        resource: resources.Resource,
        kind: str | None,
        obj: dict[str, Any],
    ) -> None:
        self.kinds.append(resource)
        self.created.add(asyncio.create_task(self.server.forever.wait()))
        self.heard.set()

    def listed(self, resource: resources.Resource) -> str:
        return ""

    async def list_anew(self, resource: resources.Resource) -> str:
        (page,) = [page async for page in self.api.pages(resource)]
        await self.lists.put(resource)
        return page.resource_version

    async def is_told(self) -> None:
        """Wait for the next event."""
        await self.heard.wait()
        self.heard.clear()


@contextlib.asynccontextmanager
async def watched(
    *,
    gone: resources.Resource | None = None,
    of: resources.Resource = resources.PODS,
    also: Sequence[resources.Resource] = (),
) -> AsyncIterator[Watched]:
    server = Server()
    server.gone, server.of = gone, of
    app = web.Application()
    app.router.add_route("*", "/{any:.*}", server.answer)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    api = client.Client(kube_client.Configuration(host=f"http://{host}:{port}"))
    seen = Watched(server, api)
    seen.watching = asyncio.create_task(
        watch.until(
            seen.stop,
            api=api,
            source=seen,
            also=also,
            started=lambda: seen.started.put_nowait(None),
        )
    )
    try:
        async with asyncio.timeout(60):
            yield seen
    finally:
        for task in (seen.watching, *seen.created):
            task.cancel()
        server.closing.set()
        await api.close()
        await runner.cleanup()


def test_kopf_watches_with_a_session_of_its_own_and_the_client_outlasts_it() -> None:
    async def run() -> None:
        async with watched() as seen:
            await seen.is_told()
            await seen.started.get()
            seen.started.put_nowait(None)
            seen.stop.set()
            await seen.watching
            assert await seen.list_anew(resources.SETS) == "1"
            assert seen.started.qsize() == 1
            assert seen.kinds == [resources.PODS]

    asyncio.run(run())


def test_a_kind_that_goes_and_comes_back_is_watched_again_and_no_task_of_ours_is_cancelled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watch, "PAUSE", 0.1)

    async def run() -> None:
        async with watched(gone=resources.FLAVORS, of=resources.SETS) as seen:
            await seen.started.get()
            await seen.is_told()
            seen.server.goes.set()
            await seen.server.refused.wait()
            seen.server.gone = None
            await seen.started.get()
            await seen.is_told()
            assert not any(task.done() for task in seen.created)
            seen.stop.set()
            await seen.watching
            assert not any(task.done() for task in seen.created)

    asyncio.run(run())


def test_a_kind_that_is_deleted_and_made_anew_is_watched_again_although_its_watch_never_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watch, "PAUSE", 0.1)

    async def run() -> None:
        async with watched(of=resources.SETS) as seen:
            await seen.started.get()
            await seen.is_told()
            name = f"{resources.FLAVORS.plural}.{resources.FLAVORS.group}"
            await seen.server.tell(resources.CRDS, "DELETED", {"metadata": {"name": name}})
            await seen.started.get()
            await seen.is_told()
            assert resources.CRDS not in seen.kinds, "what is watched for the watch itself"
            seen.stop.set()
            await seen.watching

    asyncio.run(run())


def test_of_what_we_watch_ourselves_only_kinds_that_may_go_are_listed_when_one_has_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watch, "PAUSE", 0.1)
    # Nobody has installed Volcano in this cluster.
    served = [kind for kind in resources.MANY if kind != resources.POD_GROUPS]

    async def run() -> None:
        async with watched(also=(resources.POD_GROUPS,)) as seen:
            await seen.started.get()
            assert {await seen.lists.get() for _ in served} == set(served)
            seen.server.kinds = (*KINDS, resources.POD_GROUPS)
            name = f"{resources.FLAVORS.plural}.{resources.FLAVORS.group}"
            await seen.server.tell(resources.CRDS, "DELETED", {"metadata": {"name": name}})
            come = {await seen.lists.get(), await seen.lists.get()}
            assert come == {resources.WORKLOADS, resources.POD_GROUPS}
            seen.stop.set()
            await seen.watching
            assert seen.lists.empty()

    asyncio.run(run())


def test_a_watch_that_the_api_server_ends_with_an_error_begins_anew_and_is_told_in_a_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(watch, "PAUSE", 0.1)
    caplog.set_level(logging.WARNING)

    async def run() -> None:
        async with watched(of=resources.SETS) as seen:
            await seen.started.get()
            await seen.is_told()
            status = {"kind": "Status", "metadata": {}, "code": 500, "message": "no leader"}
            await seen.server.tell(resources.CRDS, "ERROR", status)
            await seen.started.get()
            await seen.is_told()
            seen.stop.set()
            await seen.watching

    asyncio.run(run())
    once = logs.OnceAMinute()
    told = [record for record in caplog.records if once.filter(record)]
    assert any("no leader" in record.getMessage() for record in told)
    assert not [record.getMessage() for record in told if record.exc_info]


def test_an_event_of_a_watch_that_is_over_is_dropped() -> None:
    async def run() -> None:
        own, taken = own_tasks.OwnTasks(), []

        async def sink(_: resources.Resource, kind: str | None, __: dict[str, Any]) -> None:
            taken.append(kind)

        take = watch._while_it_lasts(own, sink)
        await take(resources.PODS, "ADDED", {})
        own.over = True
        await take(resources.PODS, "DELETED", {})
        assert taken == ["ADDED"]

    asyncio.run(run())
