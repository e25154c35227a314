"""Objects with a set's names and without its label are found, kept in sight, and forgotten."""

import asyncio
from typing import Any

import pytest

from lws_kueue.api import names
from lws_kueue.runtime import (
    cache,
    client,
    departures,
    informer,
    keys,
    memory,
    resources,
    unowned,
    work_queue,
)

KEY = keys.SetKey("ns", "set")


def labels(**others: str) -> dict[str, str]:
    return {names.SET_NAME: "set", **others}


def obj(kind: str, name: str, *, uid: str = "", version: int = 5, **more: Any) -> dict[str, Any]:
    metadata = {
        "namespace": "ns",
        "name": name,
        "uid": uid or f"{kind}-{name}",
        "resourceVersion": str(version),
        **more.pop("metadata", {}),
    }
    api_version = {"StatefulSet": "apps/v1", names.LWS_KIND: names.LWS_API_VERSION}.get(kind, "v1")
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **more}


def pod(name: str, **options: Any) -> dict[str, Any]:
    """A pod without labels."""
    return obj("Pod", name, **options)


class Server:
    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.asked: list[str] = []
        self.away = False
        self.broken: set[str] = set()

    async def get(self, _: resources.Resource, *, namespace: str, name: str) -> Any:
        assert namespace == "ns"
        self.asked.append(name)
        if self.away or name in self.broken:
            raise client.ApiError(status=503, reason="", message="", request="get")
        return self.objects.get(name)


class Scene:
    """A set whose leader pods are not known, and whose StatefulSet says that they are not there."""

    def __init__(self, *, replicas: int = 1, made: int = 0) -> None:
        self.server = Server()
        self.store = cache.Cache()
        self.queue: work_queue.WorkQueue[keys.SetKey] = work_queue.WorkQueue(settle=0.0)
        parts: dict[str, Any] = {"api": self.server, "store": self.store, "queue": self.queue}
        departing = departures.Departures(
            store=self.store, memories=memory.Memories(status_interval=1.0)
        )
        self.unowned = unowned.Unowned(**parts)
        self.informer = informer.Informer(departing=departing, **parts)
        template: dict[str, Any] = {"leaderWorkerTemplate": {"workerTemplate": {}}}
        self.store.upsert(resources.SETS, obj(names.LWS_KIND, "set", spec=template))
        owner = {"kind": names.LWS_KIND, "name": "set", "uid": f"{names.LWS_KIND}-set"}
        metadata = {"labels": labels(), "ownerReferences": [{**owner, "controller": True}]}
        leader_set = obj("StatefulSet", "set", metadata=metadata, spec={"replicas": replicas})
        leader_set["status"] = {"replicas": made}
        self.store.upsert(resources.STATEFUL_SETS, leader_set)

    async def woken(self) -> set[keys.SetKey]:
        found = set()
        while len(self.queue):
            key = await self.queue.get()
            await self.queue.done(key)
            found.add(key)
        return found

    @property
    def pods(self) -> list[str]:
        return list(self.store.of_set(KEY, resources.PODS))


def test_who_sits_in_the_place_of_a_pod_that_is_missing_for_two_rounds_is_found() -> None:
    async def scenario() -> None:
        scene = Scene()
        scene.server.objects["set-0"] = pod("set-0")
        await scene.unowned.look()
        assert scene.server.asked == [], "it may just be about to be made"
        await scene.unowned.look()
        assert scene.pods == ["set-0"]
        assert KEY in await scene.woken()

    asyncio.run(scenario())


def test_a_pod_that_is_only_late_to_be_told_of_is_not_asked_for() -> None:
    async def scenario() -> None:
        scene = Scene(made=1)
        scene.server.objects["set-0"] = pod("set-0")
        for _ in range(3):
            await scene.unowned.look()
        assert scene.server.asked == [], "its StatefulSet has made it"

    asyncio.run(scenario())


def test_an_object_that_cannot_be_read_holds_up_no_other() -> None:
    async def scenario() -> None:
        scene = Scene(replicas=3)
        scene.server.broken = {"set-0", "set-2"}
        scene.server.objects = {name: pod(name) for name in ("set-0", "set-1", "set-2")}
        for _ in range(2):
            await scene.unowned.look()
        assert scene.pods == ["set-1"]
        scene.server.broken = set()
        await scene.unowned.look()
        assert sorted(scene.pods) == ["set-0", "set-1", "set-2"]

    asyncio.run(scenario())


def test_a_round_reads_so_many_and_the_next_one_goes_on_with_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(unowned, "MOST_READ", 4)

    async def scenario() -> None:
        scene = Scene(replicas=6)
        for index in range(3):
            stray = pod(f"set-{index}")
            scene.store.upsert(resources.PODS, stray, belongs_to=KEY)
            scene.server.objects[f"set-{index}"] = stray
        await scene.unowned.look()
        scene.server.asked.clear()
        wanted = {f"set-{index}" for index in range(6)}
        rounds = []
        for _ in range(3):
            await scene.unowned.look()
            rounds.append(scene.server.asked.copy())
            scene.server.asked.clear()
        assert [len(one) for one in rounds] == [4, 4, 4]
        assert set(rounds[0]) | set(rounds[1]) == wanted
        assert set(rounds[1]) | set(rounds[2]) == wanted

    asyncio.run(scenario())


def test_a_stranger_is_read_again_and_forgotten_once_it_is_gone() -> None:
    async def scenario() -> None:
        scene = Scene()
        stray = pod("set-0")
        scene.store.upsert(resources.PODS, stray, belongs_to=KEY)
        scene.server.objects["set-0"] = stray
        await scene.unowned.look()
        assert not await scene.woken(), "nothing changed"
        scene.server.objects["set-0"] = pod("set-0", version=9)
        await scene.unowned.look()
        assert KEY in await scene.woken()
        del scene.server.objects["set-0"]
        await scene.unowned.look()
        assert KEY in await scene.woken()
        assert scene.pods == []

    asyncio.run(scenario())


def test_a_set_in_order_costs_no_request() -> None:
    async def scenario() -> None:
        scene = Scene()
        scene.store.upsert(resources.PODS, pod("set-0", metadata={"labels": labels()}))
        for _ in range(3):
            await scene.unowned.look()
        assert scene.server.asked == []

    asyncio.run(scenario())


@pytest.mark.parametrize("kind", ["label", "deletion", "successor", "away"])
def test_the_api_server_is_asked_whether_the_object_or_only_its_label_is_gone(kind: str) -> None:
    async def scenario() -> None:
        scene = Scene()
        before = pod("set-0", metadata={"labels": labels()})
        await scene.informer.on_event(resources.PODS, "ADDED", before)
        if kind == "label":
            scene.server.objects["set-0"] = pod("set-0", version=8)
        if kind == "successor":
            scene.server.objects["set-0"] = pod("set-0", uid="new", version=9)
        scene.server.away = kind == "away"
        await scene.informer.on_event(
            resources.PODS, "DELETED", pod("set-0", version=8, metadata={"labels": labels()})
        )
        assert scene.server.asked == ["set-0"]
        assert scene.pods == (["set-0"] if kind == "label" else [])
        assert KEY in await scene.woken()

    asyncio.run(scenario())


def test_a_deletion_that_leaves_a_trace_needs_no_question() -> None:
    async def scenario() -> None:
        scene = Scene()
        going = {"labels": labels(), "deletionTimestamp": "2030-01-01T00:00:00Z"}
        await scene.informer.on_event(resources.PODS, "MODIFIED", pod("set-0", metadata=going))
        await scene.informer.on_event(
            resources.PODS, "DELETED", pod("set-0", version=8, metadata=going)
        )
        assert scene.server.asked == []
        assert scene.pods == []

    asyncio.run(scenario())
