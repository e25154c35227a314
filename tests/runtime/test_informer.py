"""What is learned of the cluster, and whom it wakes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from lws_kueue.api import names, selectors
from lws_kueue.runtime import (
    built_in,
    cache,
    client,
    departures,
    informer,
    keys,
    memory,
    observe,
    resources,
    work_queue,
)

KEY = keys.SetKey("ns", "set")


def live_set(*, queued: bool = True) -> dict[str, Any]:
    labels = {names.QUEUE_NAME: "q"} if queued else {}
    return {
        "metadata": {
            "namespace": "ns",
            "name": "set",
            "uid": "s",
            "resourceVersion": "1",
            "labels": labels,
        },
        "spec": {"leaderWorkerTemplate": {"workerTemplate": {}}},
    }


def local_queue(*, version: int, pending: int = 0, stop: str = "None") -> dict[str, Any]:
    return {
        "metadata": {"namespace": "ns", "name": "q", "uid": "q", "resourceVersion": str(version)},
        "spec": {"clusterQueue": "cq", "stopPolicy": stop},
        "status": {"pendingWorkloads": pending},
    }


def namespace(*, version: int, **labels: str) -> dict[str, Any]:
    meta = {"name": "ns", "uid": "n", "resourceVersion": str(version), "labels": labels}
    return {"metadata": meta}


QUEUED = selectors.LabelSelector.model_validate({"matchLabels": {"queued": "yes"}})


class Server:
    """Serves lists and discovery; a kind in ``broken`` cannot be listed."""

    def __init__(self) -> None:
        self.lists: dict[resources.Resource, list[dict[str, Any]]] = {}
        self.broken: set[resources.Resource] = set()
        self.objects: dict[tuple[resources.Resource, str], dict[str, Any]] = {}
        self.refused: set[tuple[resources.Resource, str]] = set()
        self.kueue = True
        self.built_in: dict[str, bool | str] = {}
        self.tried: list[str] = []

    async def pages(self, resource: resources.Resource, **_: Any) -> AsyncIterator[client.Page]:
        if resource in self.broken:
            raise client.ApiError(status=503, reason="", message="", request="list")
        yield client.Page(tuple(self.lists.get(resource, ())), "100")

    async def get(
        self, resource: resources.Resource, *, namespace: str = "", name: str
    ) -> dict[str, Any] | None:
        if (resource, name) in self.refused:
            raise client.ApiError(status=403, reason="Forbidden", message="", request="get")
        return self.objects.get((resource, name))

    async def request(self, method: str, path: str, **sent: Any) -> dict[str, Any]:
        if method == "POST":
            return self.dry_run(path, **sent)
        assert method == "GET"
        if not self.kueue:
            raise client.ApiError(status=404, reason="NotFound", message="", request=path)
        if path.endswith(names.KUEUE_VERSION):
            return {"resources": [{"name": "workloads"}]}
        return {"versions": [{"version": names.KUEUE_VERSION}]}

    def dry_run(self, path: str, *, query: dict[str, str], body: dict[str, Any]) -> dict[str, Any]:
        """Answer as Kueue's webhook makes the API server, in each namespace as asked for."""
        assert query["dryRun"] == "All", "nothing is ever made"
        namespace = body["metadata"]["namespace"]
        assert namespace in path
        self.tried.append(namespace)
        match self.built_in.get(namespace, False):
            case "silent":
                raise client.ApiError(status=500, reason="InternalError", message="", request=path)
            case "refused":
                why = f"{body['metadata']['name']} is forbidden: exceeded quota"
                raise client.ApiError(status=403, reason="Forbidden", message=why, request=path)
            case True:
                template = body["spec"]["leaderWorkerTemplate"]["workerTemplate"]
                marks = {names.POD_SUSPENDING_PARENT: names.KUEUE_LWS_FRAMEWORK}
                template["metadata"] = {"annotations": marks}
        return body


class Scene:
    def __init__(self, *, unlabelled: selectors.LabelSelector | None = None) -> None:
        self.server = Server()
        self.store = cache.Cache()
        api: Any = self.server
        memories = memory.Memories(status_interval=1.0)
        departing = departures.Departures(store=self.store, memories=memories)
        self.queue: work_queue.WorkQueue[keys.SetKey] = work_queue.WorkQueue(settle=0.0)
        self.informer = informer.Informer(
            api=api,
            store=self.store,
            departing=departing,
            queue=self.queue,
            also=(resources.NAMESPACES,) if unlabelled else (),
            unlabelled=unlabelled,
        )
        self.observer = observe.Observer(
            api=api,
            store=self.store,
            source=self.informer,
            departing=departing,
            memories=memories,
            gang=False,
        )

    async def woken(self) -> list[keys.SetKey]:
        found = []
        while len(self.queue):
            key = await self.queue.get()
            await self.queue.done(key)
            found.append(key)
        return found


def test_a_counter_in_a_queues_status_wakes_nobody_but_a_stop_policy_does() -> None:
    async def scenario() -> None:
        scene = Scene()
        scene.store.upsert(resources.SETS, live_set())
        event = scene.informer.on_event
        await event(resources.LOCAL_QUEUES, "ADDED", local_queue(version=1))
        assert await scene.woken() == [KEY]
        await event(resources.LOCAL_QUEUES, "MODIFIED", local_queue(version=2, pending=4))
        assert await scene.woken() == []
        await event(resources.LOCAL_QUEUES, "MODIFIED", local_queue(version=3, stop="Hold"))
        assert await scene.woken() == [KEY]
        await event(resources.LOCAL_QUEUES, "DELETED", local_queue(version=4, stop="Hold"))
        assert await scene.woken() == [KEY]

    asyncio.run(scenario())


def test_a_queue_that_a_list_sees_first_wakes_the_sets_that_wait_for_it() -> None:
    async def scenario() -> None:
        scene = Scene()
        scene.server.lists[resources.SETS] = [live_set()]
        await scene.informer.list_all()
        await scene.woken()
        scene.server.lists[resources.LOCAL_QUEUES] = [local_queue(version=7)]
        await scene.informer._list(resources.LOCAL_QUEUES)
        assert await scene.woken() == [KEY]
        scene.server.lists[resources.LOCAL_QUEUES] = []
        await scene.informer._list(resources.LOCAL_QUEUES)
        assert await scene.woken() == [KEY]

    asyncio.run(scenario())


def test_kueue_counts_as_served_only_once_its_objects_are_listed() -> None:
    async def scenario() -> None:
        scene = Scene()
        scene.store.upsert(resources.SETS, live_set())
        scene.server.broken = {resources.WORKLOADS}
        with pytest.raises(client.ApiError):
            await scene.informer.probe_kueue()
        supports = [scene.informer.support]
        scene.server.broken = set()
        await scene.informer.probe_kueue()
        supports.append(scene.informer.support)
        assert supports == ["missing", "served"]
        assert await scene.woken() == [KEY]

    asyncio.run(scenario())


def test_kueue_that_leaves_takes_its_objects_out_of_sight_and_wakes_queued_sets() -> None:
    async def scenario() -> None:
        scene = Scene()
        scene.server.lists = {
            resources.SETS: [live_set()],
            resources.LOCAL_QUEUES: [local_queue(version=1)],
        }
        await scene.informer.list_all()
        await scene.woken()
        scene.server.kueue = False
        await scene.informer.probe_kueue()
        assert scene.informer.support == "missing"
        assert not list(scene.store.all(resources.LOCAL_QUEUES))
        assert await scene.woken() == [KEY]

    asyncio.run(scenario())


async def answers(scene: Scene, *namespaces: str) -> list[bool | None]:
    """Return what is said of sets of these namespaces, once each has been tried."""

    async def answer(key: keys.SetKey) -> bool | None:
        while True:
            with contextlib.suppress(built_in.NotYetKnown):
                return scene.informer.built_in(key)
            await asyncio.sleep(0)

    return [await answer(keys.SetKey(namespace, "set")) for namespace in namespaces]


def test_a_namespace_that_is_tried_for_the_first_time_holds_up_no_pass() -> None:
    async def scenario() -> None:
        scene = Scene()
        scene.server.lists[resources.SETS] = [live_set()]
        await scene.informer.list_all()
        assert await answers(scene, "ns") == [False]
        await scene.woken()
        asked, answered = asyncio.Event(), asyncio.Event()

        async def hangs(*_: Any, **sent: Any) -> dict[str, Any]:
            asked.set()
            await answered.wait()
            return dict(sent["body"])

        other = live_set()
        other["metadata"] |= {"namespace": "new", "uid": "another"}
        await scene.informer.on_event(resources.SETS, "ADDED", other)
        await scene.woken()
        request, scene.server.request = scene.server.request, hangs  # type: ignore[method-assign]
        new = keys.SetKey("new", KEY.name)
        for _ in range(2):
            with pytest.raises(built_in.NotYetKnown):
                scene.informer.built_in(new)
        await asyncio.wait_for(asked.wait(), 10)
        assert await answers(scene, "ns") == [False], "what is known is answered meanwhile"
        answered.set()
        scene.server.request = request  # type: ignore[method-assign]
        assert await asyncio.wait_for(scene.queue.get(), 10) == new, "then its pass comes"
        assert scene.informer.built_in(new) is False
        await scene.informer.close()

    asyncio.run(scenario())


def test_nobody_waits_for_a_webhook_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(built_in, "TIMEOUT", 0.01)

    class Hangs(Server):
        async def request(self, method: str, path: str, **sent: Any) -> dict[str, Any]:
            await asyncio.Event().wait()
            return {}

    async def scenario() -> None:
        tries = built_in.BuiltIn(Hangs())
        assert await asyncio.wait_for(tries.look(["ns"]), 30) == frozenset()
        assert tries.tried("ns")
        assert tries.of("ns") is None

    asyncio.run(scenario())


def test_whether_kueue_manages_sets_itself_is_tried_where_there_are_queued_sets() -> None:
    async def scenario() -> None:
        scene = Scene()
        scene.server.lists[resources.SETS] = [live_set()]
        scene.server.built_in = {"ns": True}
        await scene.informer.list_all()
        assert await answers(scene, "ns", "elsewhere", "ns") == [True, None, True]
        assert scene.server.tried == ["ns"], "it is tried once, and again in rounds"
        scene.server.built_in = {"ns": False}
        await scene.woken()
        await scene.informer.probe_kueue()
        assert scene.server.tried == ["ns", "ns"]
        assert await answers(scene, "ns") == [False]
        assert await scene.woken() == [KEY]
        await scene.informer.probe_kueue()
        assert await scene.woken() == [], "an answer that stays the same wakes nobody"

    asyncio.run(scenario())


def test_it_is_tried_for_sets_that_are_gone_while_workloads_of_them_are_left() -> None:
    owner = {"kind": names.LWS_KIND, "name": "set", "uid": "s", "apiVersion": "v1"}
    meta = {"namespace": "ns", "name": "w", "uid": "w", "resourceVersion": "2"}
    left = {"metadata": meta | {"ownerReferences": [owner]}, "spec": {"podSets": []}}

    async def scenario() -> None:
        scene = Scene()
        scene.server.lists[resources.WORKLOADS] = [left]
        scene.server.built_in = {"ns": True}
        await scene.informer.list_all()
        assert await answers(scene, "ns") == [True]
        await scene.woken()
        scene.server.built_in = {"ns": False}
        await scene.informer.probe_kueue()
        assert await answers(scene, "ns") == [False]
        assert await scene.woken() == [KEY], "who lets them go may be another one by now"

    asyncio.run(scenario())


def test_while_kueues_webhook_does_not_answer_the_last_answer_stays() -> None:
    async def scenario() -> None:
        scene = Scene()
        scene.server.lists[resources.SETS] = [live_set()]
        scene.server.built_in = {"ns": "silent"}
        await scene.informer.list_all()
        assert await answers(scene, "ns") == [None], "nobody knows"
        scene.server.built_in = {"ns": True}
        await scene.informer.probe_kueue()
        assert await answers(scene, "ns") == [True]
        scene.server.built_in = {"ns": "silent"}
        await scene.informer.probe_kueue()
        assert await answers(scene, "ns") == [True]

    asyncio.run(scenario())


def test_why_nobody_knows_is_told_in_the_same_words_at_every_try() -> None:
    async def scenario() -> None:
        scene = Scene()
        scene.server.lists[resources.SETS] = [live_set()]
        scene.server.built_in = {"ns": "refused"}
        await scene.informer.list_all()
        assert await answers(scene, "ns") == [None]
        told = scene.informer.built_in_trouble(KEY)
        assert "lws-kueue-probe is forbidden: exceeded quota" in told
        await scene.informer.probe_kueue()
        assert scene.informer.built_in_trouble(KEY) == told
        scene.server.built_in = {"ns": False}
        await scene.informer.probe_kueue()
        assert scene.informer.built_in_trouble(KEY) == ""

    asyncio.run(scenario())


def test_without_kueue_nothing_is_tried_and_nothing_remembered() -> None:
    async def scenario() -> None:
        scene = Scene()
        scene.server.lists[resources.SETS] = [live_set()]
        scene.server.built_in = {"ns": True}
        await scene.informer.list_all()
        assert await answers(scene, "ns") == [True]
        scene.server.kueue = False
        await scene.informer.probe_kueue()
        assert await answers(scene, "ns") == [None]
        assert scene.server.tried == ["ns"]

    asyncio.run(scenario())


def test_an_answer_that_changes_in_one_namespace_is_asked_for_in_all() -> None:
    async def scenario() -> None:
        server = Server()
        tries = built_in.BuiltIn(server)
        rooms = [f"ns-{number}" for number in range(3 * built_in.MOST_TRIED)]
        for _ in range(3):
            await tries.look(rooms)
        assert sorted(server.tried) == sorted(rooms), "some at a time"
        await tries.look(rooms)
        assert len(server.tried) == 4 * built_in.MOST_TRIED
        server.built_in = dict.fromkeys(rooms, True)
        assert await tries.look(rooms) == frozenset(rooms)

    asyncio.run(scenario())


def test_a_deletion_that_no_watch_saw_is_noticed_by_the_list() -> None:
    async def scenario() -> None:
        scene = Scene()
        scene.server.lists[resources.SETS] = [live_set(queued=False)]
        await scene.informer.list_all()
        await scene.woken()
        scene.server.lists[resources.SETS] = []
        assert await scene.informer._list(resources.SETS) == {KEY}
        assert scene.store.get(resources.SETS, namespace="ns", name="set") is None

    asyncio.run(scenario())


def listed_pod(name: str, version: int) -> dict[str, Any]:
    meta = {"namespace": "ns", "name": name, "uid": name, "resourceVersion": str(version)}
    return {"metadata": {**meta, "labels": {names.SET_NAME: "set"}}, "spec": {}}


def test_a_list_of_which_the_server_forgets_the_beginning_is_begun_again() -> None:
    async def scenario() -> None:
        scene = Scene()
        begun = 0

        async def pages(*_: Any, **__: Any) -> AsyncIterator[client.Page]:
            nonlocal begun
            begun += 1
            yield client.Page((listed_pod(f"of-{begun}", begun),), str(begun))
            if begun < 3:
                raise client.ApiError(status=410, reason="Expired", message="", request="list")
            yield client.Page((listed_pod("last", 2),), "3")

        scene.server.pages = pages  # type: ignore[method-assign]
        assert await scene.informer.list_anew(resources.PODS) == "3"
        assert KEY in await scene.woken()
        pods = scene.store.of_set(KEY, resources.PODS)
        assert set(pods) == {"of-3", "last"}, "what only a list tells that was not finished is gone"

        begun = -9
        with pytest.raises(client.ApiError):
            await scene.informer.list_anew(resources.PODS)

    asyncio.run(scenario())


def test_kopf_that_begins_anew_makes_those_kinds_be_listed_that_it_watches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(informer, "RELIST_DELAY", 0.0)

    async def scenario() -> None:
        scene = Scene()
        listed = []
        pages = scene.server.pages

        def told(resource: resources.Resource, **how: Any) -> AsyncIterator[client.Page]:
            listed.append(resource)
            return pages(resource, **how)

        scene.server.pages = told  # type: ignore[method-assign]
        await scene.informer.on_event(resources.SETS, None, live_set())
        await asyncio.gather(*scene.informer._relists.values())
        own = set(resources.MANY)
        assert set(listed) == {kind for kind in resources.PLAIN if kind not in own}

    asyncio.run(scenario())


def test_a_node_that_is_not_there_is_none_and_one_that_cannot_be_read_is_left_out() -> None:
    async def scenario() -> None:
        scene = Scene()
        metadata = {"name": "here", "labels": {"rack": "r1"}}
        scene.server.objects[resources.NODES, "here"] = {"metadata": metadata}
        scene.server.refused.add((resources.NODES, "secret"))
        found = await scene.observer.nodes({"here", "away", "secret"})
        assert set(found) == {"here", "away"}
        assert found["away"] is None
        here = found["here"]
        assert here is not None
        assert here.meta.labels == {"rack": "r1"}

    asyncio.run(scenario())


def test_sets_without_a_queue_are_taken_where_the_namespaces_labels_say_so() -> None:
    async def scenario() -> None:
        scene = Scene(unlabelled=QUEUED)
        scene.server.lists[resources.SETS] = [live_set(queued=False)]
        scene.server.lists[resources.NAMESPACES] = [namespace(version=1)]
        await scene.informer.list_all()
        await scene.woken()
        scene.store.upsert(resources.STATEFUL_SETS, leader_set())
        assert not await scene.informer.takes_unlabelled(KEY)
        event = scene.informer.on_event
        await event(resources.NAMESPACES, "MODIFIED", namespace(version=2, queued="yes"))
        assert await scene.woken() == [KEY]
        assert await scene.informer.takes_unlabelled(KEY)
        await event(resources.NAMESPACES, "MODIFIED", namespace(version=3, queued="yes"))
        assert await scene.woken() == []
        await event(resources.NAMESPACES, "MODIFIED", namespace(version=4, queued="no"))
        assert await scene.woken() == [KEY]
        assert not await scene.informer.takes_unlabelled(KEY)

    asyncio.run(scenario())


def leader_set() -> dict[str, Any]:
    labels = {names.SET_NAME: "set"}
    meta = {"namespace": "ns", "name": "set", "uid": "l", "resourceVersion": "1", "labels": labels}
    return {"metadata": meta, "spec": {}}


def test_before_the_first_pod_a_namespace_is_read_and_others_in_it_hear_of_its_labels() -> None:
    async def scenario() -> None:
        scene = Scene(unlabelled=QUEUED)
        scene.server.lists[resources.SETS] = [live_set(queued=False)]
        scene.server.lists[resources.NAMESPACES] = [namespace(version=1)]
        await scene.informer.list_all()
        await scene.woken()
        # The watch has not told of the label yet.
        scene.server.objects[resources.NAMESPACES, "ns"] = namespace(version=2, queued="yes")
        other = keys.SetKey("ns", "new")
        assert await scene.informer.takes_unlabelled(other)
        assert await scene.woken() == [KEY]

    asyncio.run(scenario())


def test_a_namespace_that_cannot_be_read_fails_the_pass_instead_of_starting_pods() -> None:
    async def scenario() -> None:
        scene = Scene(unlabelled=QUEUED)
        scene.server.refused.add((resources.NAMESPACES, "ns"))
        with pytest.raises(client.ApiError):
            await scene.informer.takes_unlabelled(KEY)

    asyncio.run(scenario())


def test_without_the_setting_no_namespace_is_read() -> None:
    async def scenario() -> None:
        scene = Scene()
        scene.server.refused.add((resources.NAMESPACES, "ns"))
        assert not await scene.informer.takes_unlabelled(KEY)

    asyncio.run(scenario())
