"""Two orders of the first pass over a set that are safety: what has started cannot be held back.

And how long a pass goes on.
"""

import asyncio

import pytest

from lws_kueue.api import names, selectors
from lws_kueue.runtime import loop, resources, writes
from tests.runtime import engine

QUEUED = selectors.LabelSelector.model_validate({"matchLabels": {"queued": "yes"}})
TURNS = 200


def namespace(*, version: int, **labels: str) -> dict[str, object]:
    meta = {"name": "ns", "uid": "n", "resourceVersion": str(version), "labels": labels}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": meta}


def labelled(name: str) -> dict[str, object]:
    """Return a StatefulSet of which it has to be found out that it is none of the set's."""
    labels = {names.SET_NAME: engine.KEY.name}
    meta = {"name": name, "uid": name, "resourceVersion": "1", "labels": labels}
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {**meta, "namespace": engine.KEY.namespace},
        "spec": {"replicas": 1},
    }


def gated(leader_set: dict[str, object]) -> bool:
    return names.OUR_SUSPENDING_PARENT in str(leader_set)


async def settled(server: engine.Server, asked: str) -> None:
    """Give whatever runs beside a question many turns to get ahead of its answer."""
    await server.until(lambda: asked in server.asked)
    for _ in range(TURNS):
        await asyncio.sleep(0)


@pytest.mark.parametrize("built_in", [False, True])
def test_nothing_is_written_for_a_queued_set_before_it_is_known_who_manages_it(
    built_in: bool,
) -> None:
    async def scenario() -> None:
        # Marked when it was made: that says who managed it then, and not who does now.
        marked = engine.live_set(**{names.QUEUE_NAME: "q"})
        marked["spec"]["leaderWorkerTemplate"]["workerTemplate"]["metadata"] = {
            "annotations": {names.POD_SUSPENDING_PARENT: names.KUEUE_LWS_FRAMEWORK}
        }
        server = engine.Server(marked)
        server.built_in = built_in
        made = engine.Engine(server)
        answer = server.held["dry run"] = asyncio.Event()
        # A set that comes between two rounds: nobody has tried its namespace yet.
        await made.informer.probe_kueue()
        (page,) = [page async for page in server.pages(resources.SETS)]
        (live,) = page.items
        await made.informer.on_event(resources.SETS, "ADDED", live)
        working = asyncio.create_task(made.until(lambda: bool(server.of_kind("StatefulSet"))))
        await settled(server, "dry run")
        assert server.written == [], "nobody knows yet whose the set is"
        answer.set()
        await working
        assert server.asked.count("dry run") == 1
        (leader_set,) = server.of_kind("StatefulSet")
        assert gated(leader_set) is not built_in, "by the bridge, where it manages the set"

    asyncio.run(scenario())


def test_the_namespace_is_read_before_the_first_stateful_set_of_a_set_is_decided() -> None:
    async def scenario() -> None:
        server = engine.Server(engine.live_set(), namespace(version=1))
        made = engine.Engine(server, unlabelled=QUEUED)
        await made.informer.list_all()
        # No watch has told of the label yet.
        server.objects["Namespace", "ns"] = namespace(version=2, queued="yes")
        answer = server.held["get Namespace"] = asyncio.Event()
        working = asyncio.create_task(made.until(lambda: bool(server.of_kind("StatefulSet"))))
        await settled(server, "get Namespace")
        assert server.written == [], "its pods could start, and nobody could hold them back"
        answer.set()
        await working
        assert gated(server.of_kind("StatefulSet")[0])

    asyncio.run(scenario())


def test_the_namespace_of_a_set_that_has_a_stateful_set_is_not_read_again() -> None:
    async def scenario() -> None:
        server = engine.Server(engine.live_set(), namespace(version=1, queued="yes"))
        made = engine.Engine(server, unlabelled=QUEUED)
        await made.informer.list_all()
        await made.until(lambda: bool(server.of_kind(names.LWS_KIND)))
        reads = server.asked[server.asked.index("apply StatefulSet") :].count("get Namespace")
        assert reads == 0

    asyncio.run(scenario())


def test_a_pass_gives_way_where_there_is_news_and_it_has_gone_on_for_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scenario() -> None:
        made = engine.Engine(engine.Server())
        now = [0.0]
        monkeypatch.setattr(made.loop, "_clock", lambda: now[0])
        enough, deciding = writes.MOST_OF_SET, loop.LEAST_SECONDS
        until = loop.LEAST_SHARE * deciding
        gives_way = made.loop._gives_way(engine.KEY, deciding=deciding)
        now[0] = until
        assert not gives_way(enough), "nothing has happened"
        await made.loop._queue.add(engine.KEY)
        assert gives_way(enough)
        assert not gives_way(enough - 1), "each pass gets on"
        now[0] = until - 0.01
        assert not gives_way(enough), "deciding would be most of the work"
        soon = made.loop._gives_way(engine.KEY, deciding=0.0)
        now[0] += loop.LEAST_SECONDS - 0.01
        assert not soon(enough)

    asyncio.run(scenario())


def test_between_the_pieces_of_a_long_decision_others_have_a_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def turns_during(piece: float) -> int:
        monkeypatch.setattr(loop, "PIECE_SECONDS", piece)
        made = engine.Engine(engine.Server(engine.live_set(), *map(labelled, "abc")))
        await made.informer.list_all()
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        working = asyncio.create_task(others())
        _, plan = await made.loop.planned(engine.KEY)
        working.cancel()
        assert plan.chains, "it comes to its end all the same"
        return turns

    at_once = asyncio.run(turns_during(3600.0))
    assert asyncio.run(turns_during(-1.0)) > at_once
