"""kopf tells what it watches, and winds down without harm to the client."""

import asyncio
from typing import Any

from aiohttp import web
from kubernetes.aio import client as kube_client

from lws_kueue.runtime import client, resources, watch

# kopf looks at the last two for itself.
KINDS = (*resources.PLAIN, *resources.KUEUE, resources.NAMESPACES, resources.CRDS)


class Server:
    """Serves the kinds that are watched, all of them empty, and a pod as an event of each watch."""

    def __init__(self) -> None:
        self.closing = asyncio.Event()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        path = request.path
        if path == "/api":
            return web.json_response({"versions": ["v1"]})
        if path == "/apis":
            groups = {(kind.group, kind.version) for kind in KINDS if kind.group}
            served = [
                {
                    "name": group,
                    "versions": [{"version": version}],
                    "preferredVersion": {"version": version},
                }
                for group, version in groups
            ]
            return web.json_response({"groups": served})
        for kind in KINDS:
            if path == kind.path():
                if "watch" in request.query:
                    return await self._watch(request, kind)
                meta = {"resourceVersion": "1"}
                return web.json_response({"metadata": meta, "items": []})
        found = [kind for kind in KINDS if kind.path().rpartition("/")[0] == path]
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
        if kind == resources.PODS:
            meta = b'{"namespace":"ns","name":"p","uid":"u","resourceVersion":"2"}'
            pod = b'{"apiVersion":"v1","kind":"Pod","metadata":' + meta + b"}"
            await response.write(b'{"type":"ADDED","object":' + pod + b"}\n")
        await self.closing.wait()
        return response


def test_kopf_watches_with_a_session_of_its_own_and_the_client_outlasts_it() -> None:
    async def run() -> None:
        server = Server()
        app = web.Application()
        app.router.add_route("*", "/{any:.*}", server.answer)
        runner = web.AppRunner(app, shutdown_timeout=1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        api = client.Client(kube_client.Configuration(host=f"http://{host}:{port}"))
        stop, heard, started = asyncio.Event(), asyncio.Event(), asyncio.Event()
        kinds: list[resources.Resource] = []

        async def sink(kind: resources.Resource, _: str | None, __: dict[str, Any]) -> None:
            kinds.append(kind)
            heard.set()

        watching = asyncio.create_task(
            watch.until(stop, api=api, sink=sink, also=(), started=started.set)
        )
        try:
            async with asyncio.timeout(60):
                await heard.wait()
                stop.set()
                await watching
                assert (await api.list(resources.SETS)).resource_version == "1"
        finally:
            watching.cancel()
            server.closing.set()
            await api.close()
            await runner.cleanup()
        assert started.is_set()
        assert kinds == [resources.PODS]

    asyncio.run(run())
