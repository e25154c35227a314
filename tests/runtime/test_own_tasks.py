"""The tasks of a library are told apart from ours, and end or are left behind."""

import asyncio
import contextlib
import gc
from collections.abc import Coroutine
from typing import Any

import pytest

from lws_kueue.runtime import own_tasks


def played(scene: Coroutine[Any, Any, None]) -> None:
    async def run() -> None:
        async with asyncio.timeout(60):
            with own_tasks.told_apart():
                await scene

    asyncio.run(run())


async def stubborn(*, refusals: int) -> None:
    """Swallow so many cancellations."""
    for _ in range(refusals):
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
    await asyncio.Event().wait()


def test_tasks_that_swallow_a_cancellation_are_cancelled_again_and_so_are_tasks_of_tasks() -> None:
    async def scene() -> None:
        own, stop = own_tasks.OwnTasks(), asyncio.Event()
        started: list[asyncio.Task[None]] = []

        async def inner() -> None:
            started.append(asyncio.create_task(stubborn(refusals=3)))
            stop.set()

        async def work() -> None:
            started.append(asyncio.create_task(inner()))
            await asyncio.Event().wait()

        await own.run(work(), stop=stop)
        assert [task.done() for task in started] == [True, True]

    played(scene())


def test_a_task_that_never_ends_is_left_behind(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(own_tasks, "PATIENCE", 0.3)

    async def scene() -> None:
        own, stop = own_tasks.OwnTasks(), asyncio.Event()
        release = False

        async def never() -> None:
            while not release:
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.Event().wait()

        async def work() -> None:
            kept.append(asyncio.create_task(never()))
            stop.set()
            await asyncio.Event().wait()

        kept: list[asyncio.Task[None]] = []
        await own.run(work(), stop=stop)
        assert not kept[0].done()
        assert "1 tasks do not end" in caplog.text
        release = True  # So that this loop can be closed.

    played(scene())


def test_what_failed_is_raised_when_all_tasks_have_ended() -> None:
    async def scene() -> None:
        own, beside = own_tasks.OwnTasks(), []

        async def work() -> None:
            beside.append(asyncio.create_task(stubborn(refusals=1)))
            await asyncio.sleep(0)
            raise LookupError

        with pytest.raises(LookupError):
            await own.run(work(), stop=asyncio.Event())
        assert beside[0].done()

    played(scene())


def test_tasks_of_ours_are_not_ended_even_those_that_were_created_in_a_call_of_us() -> None:
    async def scene() -> None:
        own, stop, begun = own_tasks.OwnTasks(), asyncio.Event(), asyncio.Event()
        ours: list[asyncio.Task[Any]] = []

        async def work() -> None:
            with own.calling_us():
                ours.append(asyncio.create_task(asyncio.Event().wait()))
            begun.set()
            await asyncio.Event().wait()

        running = asyncio.create_task(own.run(work(), stop=stop))
        await begun.wait()
        ours.append(asyncio.create_task(asyncio.Event().wait()))
        stop.set()
        await running
        assert not any(task.done() for task in ours)
        for task in ours:
            task.cancel()

    played(scene())


def test_a_call_of_us_comes_to_its_end_before_all_are_cancelled() -> None:
    async def scene() -> None:
        own, stop = own_tasks.OwnTasks(), asyncio.Event()
        answer, done = asyncio.Event(), []

        async def work() -> None:
            with own.calling_us():
                stop.set()
                asyncio.get_running_loop().call_later(0.05, answer.set)
                await answer.wait()
                done.append(own.over)
            await asyncio.Event().wait()

        await own.run(work(), stop=stop)
        assert done == [True]

    played(scene())


def test_what_several_of_the_tasks_raise_is_no_news_of_the_loop() -> None:
    told: list[dict[str, Any]] = []

    async def scene() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
        own = own_tasks.OwnTasks()
        kept: list[asyncio.Task[None]] = []

        async def fails() -> None:
            raise ConnectionResetError

        async def work() -> None:
            kept.extend(asyncio.create_task(fails()) for _ in range(3))
            await asyncio.wait(kept)
            await kept[0]

        with pytest.raises(ConnectionResetError):
            await own.run(work(), stop=asyncio.Event())
        kept.clear()

    played(scene())
    gc.collect()
    assert told == []
