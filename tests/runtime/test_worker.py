"""One worker cluster: what comes of writes there, and which client is in use."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from lws_kueue.api import facts
from lws_kueue.dispatch import identity
from lws_kueue.runtime import client, memory, resources, writes
from lws_kueue.runtime.clusters import connection, link, worker

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
