"""One worker cluster: what comes of writes there, and which client is in use."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from lws_kueue.api import actions, facts, names
from lws_kueue.dispatch import identity, remote_objects
from lws_kueue.runtime import cache, client, execute, keys, memory, resources, writes
from lws_kueue.runtime.clusters import connection, link, worker
from tests.kit.builders import dispatched as made

MANAGER = identity.Manager("11111111-2222-3333-4444-555555555555", "lws-kueue-11111111")
STALE = writes.Outcome(stale=True)
GOOD = writes.Outcome(writes=1)


class To:
    """A connection that goes nowhere."""

    def __init__(self) -> None:
        self.name = "w1"
        self.seen = connection.Seen(link.Link())
        self.api: Any = object()


async def nobody(_: object) -> None:
    """Tell nobody."""


def with_a_worker(what: Callable[[worker.Worker, To], None]) -> None:
    async def run() -> None:
        to = To()
        one = worker.Worker(
            to,  # type: ignore[arg-type]
            manager=MANAGER,
            events=None,  # type: ignore[arg-type]
            touched=nobody,
            changed=lambda: None,
        )
        what(one, to)

    asyncio.run(run())


KEY = keys.SetKey("ns", "serve")


class Api:
    """A worker's API server: two kinds that are listed and watched, and Leases."""

    def __init__(self, *objects: dict[str, Any]) -> None:
        self.objects = list(objects)
        self.leases: dict[str, facts.Object] = {}
        self.lists: Counter[str] = Counter()
        self.watches: Counter[str] = Counter()
        self.gone: set[str] = set()
        self.events: dict[str, asyncio.Queue[bytes | None]] = {}
        self.deleted: list[tuple[str, str]] = []
        self.refuses: client.ApiError | None = None
        self.news = asyncio.Condition()

    async def get(self, _: resources.Resource, *, namespace: str, name: str) -> Any:
        if self.refuses is not None:
            raise self.refuses
        return self.leases.get(namespace) if name == identity.anchor_name(MANAGER) else None

    async def apply(self, *_: Any, **__: Any) -> dict[str, Any]:
        raise AssertionError("what a write rests on is not known")

    async def delete(
        self, _: resources.Resource, *, namespace: str, name: str, uid: str
    ) -> dict[str, Any]:
        self.deleted.append((namespace, uid))
        del self.leases[namespace]
        return {"kind": "Status"}

    async def pages(
        self, kind: resources.Resource, *, label_selector: str
    ) -> AsyncIterator[client.Page]:
        assert label_selector == f"{names.MULTIKUEUE_ORIGIN}={MANAGER.origin}"
        self.lists[kind.plural] += 1
        items = [one for one in self.objects if one["kind"] == kind.kind]
        for first in range(0, len(items) or 1, 500):
            yield client.Page(tuple(items[first : first + 500]), "9000")

    @asynccontextmanager
    async def stream(
        self, path: str, *, query: Mapping[str, str], silence: float
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        plural = path.rpartition("/")[2]
        self.watches[plural] += 1
        if plural in self.gone:
            self.gone.discard(plural)
            raise client.ApiError(status=410, reason="Expired", message="old", request=path)
        self.events[plural] = asyncio.Queue()
        async with self.news:
            self.news.notify_all()
        yield self._told(self.events[plural])

    async def _told(self, events: asyncio.Queue[bytes | None]) -> AsyncIterator[bytes]:
        while (chunk := await events.get()) is not None:
            yield chunk

    def tell(self, kind: str, obj: facts.Object) -> None:
        line = json.dumps({"type": kind, "object": obj}).encode() + b"\n"
        self.events["workloads"].put_nowait(line)


def lease(namespace: str, *, manager: str = MANAGER.uid) -> facts.Object:
    body = remote_objects.anchor(MANAGER, namespace)
    body["metadata"] |= {"uid": f"lease-{namespace}", "resourceVersion": "1"}
    body["metadata"]["annotations"] = {names.MANAGER: manager}
    return body


def offer(index: int) -> dict[str, Any]:
    """The Workload of a group in the worker."""
    body = remote_objects.workload(
        MANAGER,
        identity.GroupId("ns", "serve", "set-uid", index),
        source=made.workload(),
        content=made.owner(),
        anchor_uid="lease-ns",
    )
    body["metadata"] |= {"uid": f"offer-{index}", "resourceVersion": str(index + 1)}
    return body


class Scene:
    """A worker over such a server; ``touched`` are the sets that somebody was told of."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.to = To()
        self.to.api, self.to.seen = api, connection.Seen(link.Link(reached=True))
        self.touched: list[set[keys.SetKey]] = []
        self.news = api.news
        self.one = worker.Worker(
            self.to,  # type: ignore[arg-type]
            manager=MANAGER,
            events=None,  # type: ignore[arg-type]
            touched=self._touch,
            changed=lambda: None,
        )

    async def _touch(self, some: set[keys.SetKey]) -> None:
        if some:
            self.touched.append(some)
        async with self.news:
            self.news.notify_all()

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(30), self.news:
            await self.news.wait_for(holds)

    def listed(self) -> worker.Worker:
        """Return it as it is when both kinds are listed, and nothing is watched."""
        self.one._use(self.api)  # type: ignore[arg-type]
        self.one._listed = set(worker._WATCHED)
        return self.one


def play(api: Api, what: Callable[[Scene], Awaitable[None]]) -> None:
    async def run() -> None:
        await what(Scene(api))

    asyncio.run(run())


@pytest.mark.row("MK-47")
def test_two_thousand_objects_are_listed_once_and_told_once_whatever_a_watch_repeats() -> None:
    offers = [offer(index) for index in range(2000)]

    async def scenario(scene: Scene) -> None:
        running = asyncio.create_task(scene.one.run())
        try:
            await scene.until(lambda: scene.one.listed)
            assert len(scene.one.store.of_set(KEY, resources.WORKLOADS)) == 2000
            assert scene.api.lists == {"workloads": 1, "leaderworkersets": 1}
            assert scene.touched == [{KEY}]
            await scene.until(lambda: "workloads" in scene.api.events)
            # Told again it is no news, and what is news is told once.
            newer = {**offers[7], "metadata": {**offers[7]["metadata"], "resourceVersion": "9001"}}
            for obj in (offers[7], offers[7], newer, newer, offers[7]):
                scene.api.tell("MODIFIED", obj)
            await scene.until(lambda: len(scene.touched) == 2)
            assert scene.touched == [{KEY}, {KEY}]
            # A watch that the API server cannot go on with begins with a list of its kind alone.
            scene.api.gone.add("workloads")
            scene.api.events["workloads"].put_nowait(None)
            await scene.until(lambda: scene.api.lists["workloads"] == 2)
            await scene.until(lambda: scene.api.watches["workloads"] == 3)
            assert scene.api.lists == {"workloads": 2, "leaderworkersets": 1}
            assert len(scene.one.store.of_set(KEY, resources.WORKLOADS)) == 2000
            assert scene.touched == [{KEY}, {KEY}]
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    play(Api(*offers), scenario)


def refusal() -> client.ApiError:
    return client.ApiError(status=403, reason="Forbidden", message="no", request="GET")


def test_what_may_not_be_read_before_a_write_is_no_refusal_of_the_write() -> None:
    async def scenario(scene: Scene) -> None:
        one = scene.listed()
        scene.api.refuses = refusal()
        here = writes.Writer(
            api=scene.api,  # type: ignore[arg-type]
            store=cache.Cache(),
            expect=lambda _: None,
            events=None,  # type: ignore[arg-type]
        )
        executor = execute.Executor(here, elsewhere=lambda _: one.writer)
        body = {**offer(0), "apiVersion": names.LWS_API_VERSION, "kind": names.LWS_KIND}
        looks_at = actions.Expect(remote_objects.named_workload("ns", "w", "w1"), uid="u")
        write = actions.Apply(body, "us", expects=(looks_at,), cluster="w1")
        outcome = await executor.chain(KEY, regarding=None, chain=(write,))
        assert outcome.refused == []
        assert outcome.failed
        assert "cannot be read: 403 no" in str(outcome.failures[0])
        # So nothing is said of the name that was to be written, and it is tried again.
        assert one.learn(outcome) > 0
        assert one._refused_in("ns") == {}

    play(Api(), scenario)


def test_our_lease_goes_from_a_namespace_that_has_had_nothing_of_ours_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scenario(scene: Scene) -> None:
        one = scene.listed()
        scene.api.leases = {name: lease(name) for name in ("ns", "other")}
        one.store.upsert(resources.LEASES, lease("ns"))
        one.store.upsert(resources.WORKLOADS, offer(0))
        one._anchors |= {"ns", "other"}
        for namespace in ("ns", "other"):
            key = keys.SetKey(namespace, "serve")
            one.cluster(key, configured=True, trouble="", anchored=True)
        await one.tidy()
        await one.tidy()
        assert scene.api.deleted == []
        monkeypatch.setattr(worker, "EMPTY_FOR", 0.0)
        await one.tidy()
        # There is a Workload of ours in the other one.
        assert scene.api.deleted == [("other", "lease-other")]
        one.store.remove(resources.WORKLOADS, namespace="ns", name=_name(0), uid="offer-0")
        await one.tidy()
        assert scene.api.deleted == [("other", "lease-other")]
        await one.tidy()
        assert scene.api.deleted == [("other", "lease-other"), ("ns", "lease-ns")]
        found = one.cluster(KEY, configured=True, trouble="", anchored=False)
        assert found.anchor == ""
        assert one._anchors == set()

    play(Api(), scenario)


def _name(index: int) -> str:
    return str(offer(index)["metadata"]["name"])


def test_a_lease_of_another_manager_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "EMPTY_FOR", 0.0)

    async def scenario(scene: Scene) -> None:
        one = scene.listed()
        scene.api.leases = {"ns": lease("ns", manager="somebody")}
        one.cluster(KEY, configured=True, trouble="", anchored=True)
        for _ in range(3):
            await one.tidy()
        assert scene.api.deleted == []

    play(Api(), scenario)


def test_all_our_leases_go_from_a_cluster_that_nobody_names_any_more() -> None:
    async def scenario(scene: Scene) -> None:
        one = scene.listed()
        scene.api.leases = {name: lease(name) for name in ("ns", "other")}
        for namespace in ("ns", "other"):
            key = keys.SetKey(namespace, "serve")
            one.cluster(key, configured=True, trouble="", anchored=True)
        assert not one.leave()
        assert one._leaving is not None
        await one._leaving
        assert one.leave()
        assert [namespace for namespace, _ in scene.api.deleted] == ["ns", "other"]

    play(Api(), scenario)


def test_a_lease_that_may_not_be_read_is_asked_for_again_at_growing_pauses() -> None:
    async def scenario(scene: Scene) -> None:
        one = scene.listed()
        scene.api.refuses = refusal()
        for expected in (0.5, 1.0):
            task = one.seek(KEY)
            assert task is not None
            await task
            assert expected - 0.4 < one._pauses.left("ns") <= expected
            found = one.cluster(KEY, configured=True, trouble="", anchored=True)
            assert "cannot be read: Forbidden" in found.trouble
            # Meanwhile nobody asks.
            assert one.seek(KEY) is None
            await scene.until(lambda: not one._pauses.left("ns") and bool(scene.touched))
            scene.touched.clear()
        scene.api.refuses = None
        await asyncio.wait_for(one.seek(KEY) or asyncio.sleep(0), 5)
        found = one.cluster(KEY, configured=True, trouble="", anchored=True)
        assert found.usable

    play(Api(), scenario)


def test_what_is_outdated_time_and_again_is_decided_on_at_a_growing_pause() -> None:
    def scenario(one: worker.Worker, _: To) -> None:
        assert [one.learn(STALE) for _ in range(memory.MOST_FRUITLESS)] == [0, 0, 0]
        assert [one.learn(STALE) for _ in range(3)] == [0.5, 1.0, 2.0]
        assert max(one.learn(STALE) for _ in range(20)) == worker.LONGEST_PAUSE
        assert one.learn(GOOD) == 0
        assert one.learn(STALE) == 0

    with_a_worker(scenario)


def test_nobody_writes_with_a_client_that_was_replaced() -> None:
    def scenario(one: worker.Worker, to: To) -> None:
        one._use(to.api)
        assert one.writer is not None
        to.api = object()
        assert one.writer is None
        with pytest.raises(client.ApiError) as raised:
            one.pods_of("ns", "serve").send(None)
        assert raised.value.reason == "NotConnected"

    with_a_worker(scenario)


def test_a_lease_of_somebody_else_is_read_again_so_that_it_is_told() -> None:
    def scenario(one: worker.Worker, _: To) -> None:
        one._anchors.add("ns")
        meta = {"namespace": "ns", "name": identity.anchor_name(MANAGER), "uid": "u"}
        lease: facts.Object = {"metadata": meta}
        one.store.upsert(resources.LEASES, lease)
        assert one._anchors == set()

    with_a_worker(scenario)
