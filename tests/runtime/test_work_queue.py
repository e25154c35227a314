"""The work queue: one pass per key at a time, none missed, none twice."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from lws_kueue.runtime import work_queue


def run(scenario: Coroutine[Any, Any, None]) -> None:
    """Run a scenario; one that hangs fails instead."""
    asyncio.run(asyncio.wait_for(scenario, timeout=5))


def test_a_key_added_many_times_is_passed_once() -> None:
    async def scenario() -> None:
        queue: work_queue.WorkQueue[str] = work_queue.WorkQueue(settle=0.01)
        for _ in range(100):
            await queue.add("a")
        assert await queue.get() == "a"
        await queue.done("a")
        assert len(queue) == 0

    run(scenario())


def test_during_a_pass_it_is_known_whether_the_next_one_is_due() -> None:
    async def scenario() -> None:
        queue: work_queue.WorkQueue[str] = work_queue.WorkQueue(settle=0.0)
        assert not queue.asked("a")
        await queue.add("a")
        await queue.get()
        assert not queue.asked("a"), "it has been taken"
        await queue.add("a", after=100.0)
        assert not queue.asked("a"), "it is not due"
        await queue.add("a")
        assert queue.asked("a")
        await queue.done("a")

    run(scenario())


def test_a_key_added_during_its_pass_is_passed_again_afterwards() -> None:
    async def scenario() -> None:
        queue: work_queue.WorkQueue[str] = work_queue.WorkQueue(settle=0.0)
        await queue.add("a")
        await queue.get()
        await queue.add("a")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(queue.get(), timeout=0.05)
        await queue.done("a")
        assert await queue.get() == "a"

    run(scenario())


def test_an_earlier_request_for_a_key_overtakes_a_later_one() -> None:
    async def scenario() -> None:
        queue: work_queue.WorkQueue[str] = work_queue.WorkQueue(settle=0.0)
        await queue.add("a", after=60)
        await queue.add("a")
        assert await queue.get() == "a"
        await queue.done("a")
        assert len(queue) == 0

    run(scenario())


def test_a_later_request_does_not_delay_an_earlier_one() -> None:
    async def scenario() -> None:
        queue: work_queue.WorkQueue[str] = work_queue.WorkQueue(settle=0.0)
        await queue.add("a")
        await queue.add("a", after=60)
        assert await queue.get() == "a"

    run(scenario())


def test_two_keys_are_worked_on_at_the_same_time() -> None:
    async def scenario() -> None:
        queue: work_queue.WorkQueue[str] = work_queue.WorkQueue(settle=0.0)
        await queue.add("a")
        await queue.add("b")
        assert {await queue.get(), await queue.get()} == {"a", "b"}

    run(scenario())


def test_failures_come_back_later_and_later_until_a_success() -> None:
    async def scenario() -> None:
        queue: work_queue.WorkQueue[str] = work_queue.WorkQueue(settle=0.0)
        delays = []
        for _ in range(12):
            await queue.add("a")
            await queue.get()
            delays.append(await queue.done("a", failed=True))
        first, *_, last = delays
        assert delays == sorted(delays, key=float)  # type: ignore[arg-type]
        assert first == work_queue.FIRST_BACKOFF
        assert last == work_queue.MOST_BACKOFF
        await queue.add("a")
        await queue.get()
        assert await queue.done("a") is None
        await queue.add("a")
        await queue.get()
        assert await queue.done("a", failed=True) == work_queue.FIRST_BACKOFF

    run(scenario())


def test_a_failing_key_does_not_hold_up_another() -> None:
    async def scenario() -> None:
        queue: work_queue.WorkQueue[str] = work_queue.WorkQueue(settle=0.0)
        await queue.add("bad")
        await queue.get()
        await queue.done("bad", failed=True)
        await queue.add("good")
        assert await queue.get() == "good"

    run(scenario())


@pytest.mark.parametrize("moment", range(10))
def test_workers_that_are_cancelled_at_any_moment_do_not_keep_the_queue_locked(
    moment: int,
) -> None:
    async def work(queue: work_queue.WorkQueue[str]) -> None:
        while True:
            key = await queue.get()
            try:
                await asyncio.sleep(0.0001 * (moment % 7))
            finally:
                await queue.done(key, failed=moment % 2 == 0)

    async def scenario() -> None:
        for _ in range(10):
            queue: work_queue.WorkQueue[str] = work_queue.WorkQueue(settle=0.0)
            workers = [asyncio.create_task(work(queue)) for _ in range(8)]
            for number in range(20):
                await queue.add(f"{number % 5}", after=0.0005 * (number % 3))
            await asyncio.sleep(0.0007 * moment)
            for worker in workers:
                worker.cancel()
            _, running = await asyncio.wait(workers, timeout=5)
            assert not running
            async with asyncio.timeout(5):
                await queue.add("x")

    run(scenario())


def test_requests_for_later_that_are_overtaken_again_and_again_do_not_pile_up() -> None:
    async def scenario() -> None:
        queue: work_queue.WorkQueue[str] = work_queue.WorkQueue(settle=0.0)
        await queue.add("other", after=60)
        for _ in range(1000):
            await queue.add("a")
            assert await queue.get() == "a"
            await queue.done("a")
            await queue.add("a", after=60)
        assert len(queue._heap) < 200
        assert len(queue) == 2

    run(scenario())


def test_a_tenant_with_one_key_does_not_wait_until_all_keys_of_another_are_done() -> None:
    async def scenario() -> None:
        queue: work_queue.WorkQueue[str] = work_queue.WorkQueue(
            settle=0.0, tenant=lambda key: key.split("/")[0]
        )
        for number in range(1000):
            await queue.add(f"hostile/{number}")
        first = await queue.get()
        await queue.add("quiet/set")
        assert [await queue.get() for _ in range(2)] == ["hostile/1", "quiet/set"]
        # What comes back waits its turn like all others.
        await queue.done(first)
        await queue.done("quiet/set")
        await queue.add("quiet/set")
        assert [await queue.get() for _ in range(2)] == ["hostile/2", "quiet/set"]

    run(scenario())


def test_not_all_workers_work_for_one_tenant() -> None:
    async def scenario() -> None:
        queue: work_queue.WorkQueue[str] = work_queue.WorkQueue(
            settle=0.0, tenant=lambda key: key.split("/")[0], most=2
        )
        for number in range(4):
            await queue.add(f"hostile/{number}")
        taken = [await queue.get() for _ in range(2)]
        waiting = asyncio.create_task(queue.get())
        await queue.add("quiet/set")
        assert await waiting == "quiet/set", "its turn comes although others were there before"
        waiting = asyncio.create_task(queue.get())
        await asyncio.sleep(0)
        assert not waiting.done()
        await queue.done(taken[0])
        assert await waiting == "hostile/2"

    run(scenario())


def test_a_key_that_was_asked_for_later_before_its_pass_was_over_has_one_more_pass() -> None:
    async def scenario() -> None:
        queue: work_queue.WorkQueue[str] = work_queue.WorkQueue(settle=0.0)
        await queue.add("a")
        await queue.get()
        await queue.add("a", after=0.02)
        await queue.done("a")
        assert await queue.get() == "a"
        await queue.done("a")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(queue.get(), timeout=0.05)

    run(scenario())
