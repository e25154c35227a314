"""API servers of a manager and of workers in this process: as good or as bad as a test has them."""

import asyncio
import base64
import contextlib
import json
import ssl
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

from aiohttp import web

from lws_kueue.api import names
from tests.kit.multikueue import kubeconfigs

Object = dict[str, Any]
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]

PATIENCE: Final = 60.0
_NOTHING: Final = {"metadata": {"resourceVersion": "1"}, "items": []}
_KUEUE: Final = f"/apis/{names.KUEUE_API_VERSION}"


@contextlib.asynccontextmanager
async def serving(answer: Answer, *, pair: kubeconfigs.Pair | None = None) -> AsyncIterator[int]:
    """Serve on loopback, with TLS if there is a certificate; gives the port."""
    app = web.Application()
    app.router.add_route("*", "/{any:.*}", answer)
    # What stalls ends with its client or with the server, without waiting for it.
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.01)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=_tls(pair)).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def _tls(pair: kubeconfigs.Pair | None) -> ssl.SSLContext | None:
    if pair is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    with tempfile.NamedTemporaryFile() as file:
        file.write(pair.certificate + pair.key)
        file.flush()
        context.load_cert_chain(file.name)
    return context


def status(code: int, reason: str, message: str) -> web.Response:
    """Answer as an API server does that refuses."""
    body = {"kind": "Status", "code": code, "reason": reason, "message": message}
    return web.json_response(body, status=code)


class Worker:
    """The API server of a worker cluster; ``instead`` answers in its place."""

    def __init__(self, uid: str) -> None:
        self.uid = uid
        self.tokens = {kubeconfigs.TOKEN}
        self.kueue = ["v1beta2"]
        self.sets = True
        self.denied: set[tuple[str, str]] = set()
        self.instead: Answer | None = None
        self.heard: list[str] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.heard.append(f"{request.method} {request.path}")
        if self.instead is not None:
            return await self.instead(request)
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if token not in self.tokens:
            # One that says too much.
            return status(401, "Unauthorized", f"unknown token {token}")
        if "watch" in request.query:
            response = web.StreamResponse()
            await response.prepare(request)
            # Nothing happens there.
            await asyncio.Event().wait()
        return self._good(request, await request.text())

    def _good(self, request: web.Request, body: str) -> web.Response:
        match request.path:
            case "/version":
                return web.json_response({"gitVersion": "v1.36.0"})
            case "/apis/kueue.x-k8s.io" if self.kueue:
                versions = [{"version": version} for version in self.kueue]
                return web.json_response({"kind": "APIGroup", "versions": versions})
            case "/apis/kueue.x-k8s.io/v1beta2" if "v1beta2" in self.kueue:
                return web.json_response({"resources": [{"name": "workloads"}]})
            case "/apis/leaderworkerset.x-k8s.io/v1" if self.sets:
                return web.json_response({"resources": [{"name": "leaderworkersets"}]})
            case "/api/v1/namespaces/kube-system":
                return web.json_response({"metadata": {"uid": self.uid}})
            case "/apis/kueue.x-k8s.io/v1beta2/workloads" if "v1beta2" in self.kueue:
                return web.json_response(_NOTHING)
            case "/apis/leaderworkerset.x-k8s.io/v1/leaderworkersets" if self.sets:
                return web.json_response(_NOTHING)
            case "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews":
                asked = json.loads(body)["spec"]["resourceAttributes"]
                allowed = (asked["resource"], asked["verb"]) not in self.denied
                return web.json_response({"status": {"allowed": allowed}}, status=201)
        return status(404, "NotFound", "not found")


class Manager:
    """The API server of the manager: a few kinds, watched and listed, and Secrets."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Object]] = {
            "admissionchecks": {},
            "multikueueconfigs": {},
            "multikueueclusters": {},
        }
        self.secrets: dict[str, bytes] = {}
        self.not_served: web.Response | None = None
        self.writes: list[tuple[str, str, Object]] = []
        self.secret_reads = 0
        self._version = 0
        self._watches: dict[str, list[asyncio.Queue[Object]]] = {}
        self._news = asyncio.Condition()
        self._owned: dict[tuple[str, str], set[str]] = {}

    # What a test does -------------------------------------------------------------------------

    async def put(self, plural: str, name: str, spec: Object, **meta: Any) -> None:
        """Make an object, or change it."""
        before = self.objects[plural].get(name, {})
        generation = before.get("metadata", {}).get("generation", 0) + 1
        created = f"2026-01-01T00:00:{len(self.objects[plural]):02}Z"
        first = {"name": name, "uid": f"{plural}-{name}-{created}", "creationTimestamp": created}
        known = {**first, **before.get("metadata", {}), **meta}
        obj = {**before, "metadata": known | {"generation": generation}, "spec": spec}
        await self._store(plural, obj, "MODIFIED" if before else "ADDED")

    async def delete(self, plural: str, name: str) -> None:
        """Delete an object."""
        obj = self.objects[plural].pop(name)
        obj["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        await self._tell(plural, obj, "DELETED")

    async def check(self, name: str = "check", *, config: str = "config") -> None:
        """Make an AdmissionCheck of ours."""
        parameters = {"apiGroup": names.KUEUE_GROUP, "kind": "MultiKueueConfig", "name": config}
        spec = {"controllerName": names.DISPATCH_CONTROLLER, "parameters": parameters}
        await self.put("admissionchecks", name, spec)

    async def cluster(self, name: str) -> None:
        """Make a MultiKueueCluster with a Secret of the same name."""
        source = {"kubeConfig": {"location": name, "locationType": "Secret"}}
        await self.put("multikueueclusters", name, {"clusterSource": source})

    @property
    def watched(self) -> dict[str, int]:
        """How many watches there are of each kind."""
        return {plural: len(queues) for plural, queues in self._watches.items()}

    def condition(self, plural: str, name: str, type_: str) -> Object:
        """Return a condition as it is stored, empty if there is none."""
        stored = self.objects[plural].get(name, {}).get("status", {}).get("conditions", [])
        return next((one for one in stored if one["type"] == type_), {})

    async def until(self, holds: Callable[[], Any]) -> None:
        """Wait until something holds of what is stored."""
        try:
            async with asyncio.timeout(PATIENCE), self._news:
                await self._news.wait_for(holds)
        except TimeoutError:
            raise AssertionError(json.dumps(self.objects, indent=1)) from None

    # What it answers --------------------------------------------------------------------------

    async def answer(self, request: web.Request) -> web.StreamResponse:
        path = request.path
        if path == "/api/v1/namespaces/kube-system":
            return web.json_response({"metadata": {"uid": "manager"}})
        if path.startswith("/api/v1/namespaces/kueue-system/secrets/"):
            return await self._secret(path.rpartition("/")[2])
        plural, _, rest = path.removeprefix(f"{_KUEUE}/").partition("/")
        if self.not_served is not None and plural.startswith("multikueue"):
            return status(self.not_served.status, "", "no")
        if request.method == "PATCH":
            return await self._apply(plural, rest.removesuffix("/status"), request)
        if "watch" in request.query:
            return await self._watch(plural, request)
        items = list(self.objects[plural].values())
        meta = {"resourceVersion": str(self._version)}
        return web.json_response({"metadata": meta, "items": items})

    async def _secret(self, name: str) -> web.Response:
        self.secret_reads += 1
        async with self._news:
            self._news.notify_all()
        if name not in self.secrets:
            return status(404, "NotFound", "not found")
        data = {"kubeconfig": base64.b64encode(self.secrets[name]).decode()}
        return web.json_response({"metadata": {"name": name}, "data": data})

    async def _apply(self, plural: str, name: str, request: web.Request) -> web.Response:
        given = json.loads(await request.text())
        self.writes.append((plural, name, given))
        if name not in self.objects[plural]:
            return status(404, "NotFound", "not found")
        wanted = {one["type"]: one for one in given["status"]["conditions"]}
        owned = self._owned.get((plural, name), set())
        obj = json.loads(json.dumps(self.objects[plural][name]))
        stored = obj.get("status", {}).get("conditions", [])
        others = [one for one in stored if one["type"] not in owned | wanted.keys()]
        obj["status"] = {"conditions": [*others, *wanted.values()]}
        self._owned[plural, name] = set(wanted)
        await self._store(plural, obj, "MODIFIED")
        return web.json_response(obj)

    async def _store(self, plural: str, obj: Object, event: str) -> None:
        self.objects[plural][obj["metadata"]["name"]] = obj
        await self._tell(plural, obj, event)

    async def _tell(self, plural: str, obj: Object, event: str) -> None:
        self._version += 1
        obj["metadata"]["resourceVersion"] = str(self._version)
        for queue in self._watches.get(plural, ()):
            queue.put_nowait({"type": event, "object": json.loads(json.dumps(obj))})
        async with self._news:
            self._news.notify_all()

    async def _watch(self, plural: str, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        queue: asyncio.Queue[Object] = asyncio.Queue()
        if int(request.query["resourceVersion"]) < self._version:
            # Something has happened since: whoever watches lists again.
            return status(410, "Expired", "too old")
        self._watches.setdefault(plural, []).append(queue)
        try:
            await response.prepare(request)
            while True:
                event = await queue.get()
                await response.write(json.dumps(event).encode() + b"\n")
        finally:
            self._watches[plural].remove(queue)
