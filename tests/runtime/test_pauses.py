"""Writes that are refused are tried again after pauses that grow."""

import asyncio

from lws_kueue.runtime.clusters import pauses


def test_each_pause_is_twice_as_long_as_the_one_before_and_none_is_longer_than_a_minute() -> None:
    async def run() -> None:
        found = pauses.Pauses()
        assert found.left("a") == 0
        assert [found.failed("a", first=5.0) for _ in range(6)] == [5, 10, 20, 40, 60, 60]
        assert 59 < found.left("a") <= 60
        # What is another one has pauses of its own, and what was written begins anew.
        assert found.left("b") == 0
        found.ended("a")
        assert found.left("a") == 0
        assert found.failed("a", first=5.0) == 5

    asyncio.run(run())


def test_what_nobody_wants_any_more_is_forgotten() -> None:
    async def run() -> None:
        found = pauses.Pauses()
        found.failed("a", first=5.0)
        found.failed("b", first=5.0)
        found.keep({"b"})
        assert found.left("a") == 0
        assert found.left("b") > 0

    asyncio.run(run())
