"""The loop with all its parts, against an API server that remembers what it is asked, in order."""

import asyncio
import copy
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from lws_kueue.api import names, selectors
from lws_kueue.runtime import client, cluster, keys, loop, memory, resources, work_queue
from lws_kueue.workload import build

KEY = keys.SetKey("ns", "set")


def live_set(**labels: str) -> dict[str, Any]:
    """A set of one group of two pods."""
    template = {"spec": {"containers": [{"name": "main", "image": "pause"}]}}
    return {
        "apiVersion": names.LWS_API_VERSION,
        "kind": names.LWS_KIND,
        "metadata": {
            "namespace": "ns",
            "name": "set",
            "uid": "s",
            "resourceVersion": "1",
            "generation": 1,
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": labels,
        },
        "spec": {"replicas": 1, "leaderWorkerTemplate": {"size": 2, "workerTemplate": template}},
    }


class Server:
    """Keeps objects, and all that is asked of it in ``asked``; what is in ``held`` waits."""

    def __init__(self, *objects: dict[str, Any]) -> None:
        self.objects = {self._at(obj): obj for obj in objects}
        self.asked: list[str] = []
        self.held: dict[str, asyncio.Event] = {}
        self.built_in = False
        self.written: list[dict[str, Any]] = []
        self._version = 100
        self._changed = asyncio.Condition()

    @staticmethod
    def _at(obj: Mapping[str, Any]) -> tuple[str, str]:
        return obj["kind"], obj["metadata"]["name"]

    async def _ask(self, what: str) -> None:
        self.asked.append(what)
        await self._tell()
        if what in self.held:
            await self.held[what].wait()

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def until(self, reached: Callable[[], bool]) -> None:
        """Wait until something is so of what was asked or written."""
        async with asyncio.timeout(30), self._changed:
            await self._changed.wait_for(reached)

    async def get(
        self, resource: resources.Resource, *, namespace: str = "", name: str
    ) -> dict[str, Any] | None:
        await self._ask(f"get {resource.kind}")
        return copy.deepcopy(self.objects.get((resource.kind, name)))

    async def request(self, method: str, path: str, **sent: Any) -> dict[str, Any]:
        if method == "POST":
            assert sent["query"]["dryRun"] == "All", "all other writes have methods of their own"
            await self._ask("dry run")
            body = copy.deepcopy(sent["body"])
            if self.built_in:
                marks = {names.POD_SUSPENDING_PARENT: names.KUEUE_LWS_FRAMEWORK}
                template = body["spec"]["leaderWorkerTemplate"]["workerTemplate"]
                template["metadata"] = {"annotations": marks}
            return dict(body)
        if path.endswith(names.KUEUE_VERSION):
            return {"resources": [{"name": "workloads"}]}
        return {"versions": [{"version": names.KUEUE_VERSION}]}

    async def _write(self, verb: str, body: Mapping[str, Any]) -> dict[str, Any]:
        await self._ask(f"{verb} {body['kind']}")
        self.written.append(dict(body))
        self._version += 1
        before = self.objects.get(self._at(body), {})
        given = {"uid": f"u{self._version}", **before.get("metadata", {}), **body["metadata"]}
        obj = {**before, **body, "metadata": {**given, "resourceVersion": str(self._version)}}
        self.objects[self._at(body)] = obj
        await self._tell()
        return copy.deepcopy(obj)

    async def create(self, body: Mapping[str, Any], **_: Any) -> dict[str, Any]:
        return await self._write("create", body)

    async def apply(self, body: Mapping[str, Any], **_: Any) -> dict[str, Any]:
        return await self._write("apply", body)

    async def merge_patch(
        self, resource: resources.Resource, *, namespace: str, name: str, body: Any, **_: Any
    ) -> dict[str, Any]:
        kind = {"apiVersion": resource.api_version, "kind": resource.kind}
        meta = {**body.get("metadata", {}), "namespace": namespace, "name": name}
        return await self._write("patch", {**kind, **body, "metadata": meta})

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        """What was written of a kind, in order."""
        return [body for body in self.written if body["kind"] == kind]

    async def pages(self, resource: resources.Resource, **_: Any) -> AsyncIterator[client.Page]:
        found = (obj for (kind, _), obj in self.objects.items() if kind == resource.kind)
        yield client.Page(tuple(copy.deepcopy(obj) for obj in found), str(self._version))


class Engine:
    """A cluster and the loop, on a server."""

    def __init__(
        self, server: Server, *, unlabelled: selectors.LabelSelector | None = None
    ) -> None:
        self.server = server
        queue: work_queue.WorkQueue[keys.SetKey] = work_queue.WorkQueue(settle=0.0)
        memories = memory.Memories(status_interval=1.0)
        api: Any = server
        home = cluster.Cluster(api=api, queue=queue, memories=memories, unlabelled=unlabelled)
        self.informer = home.informer
        self.loop = loop.Loop(options=build.Options(), queue=queue, memories=memories, home=home)

    async def until(self, reached: Callable[[], bool]) -> None:
        """Let the loop work until something is so."""
        working = asyncio.create_task(self.loop.work())
        try:
            await self.server.until(reached)
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
