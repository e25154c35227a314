"""The tasks of a library that does not end when it is told to, told apart from all others.

A task belongs to those in whose context it was created, and so do the tasks that it creates. So
all of them can be cancelled, as often as it takes, and none of ours with them.
"""

import asyncio
import contextlib
import contextvars
import logging
import weakref
from collections.abc import Coroutine, Iterator
from typing import Any, Final

# Seconds for calls of us to end, for all tasks to end, and after which those are cancelled again
# that have not.
_GRACE: Final = 1.0
PATIENCE: Final = 3.0
_ROUND: Final = 0.1

logger = logging.getLogger(__name__)

_creator: contextvars.ContextVar["OwnTasks | None"] = contextvars.ContextVar(
    "creator", default=None
)

# Those that did not end. Taken down as garbage, they would run their handlers once more.
_left_behind: list[set[asyncio.Future[Any]]] = []


@contextlib.contextmanager
def told_apart() -> Iterator[None]:
    """While this is open, the running loop notes whose each new task is."""
    loop = asyncio.get_running_loop()
    before = loop.get_task_factory()

    def create(
        loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, Any], **how: Any
    ) -> asyncio.Future[Any]:
        made = before(loop, coro, **how) if before else asyncio.Task(coro, loop=loop, **how)
        owner = _creator.get()
        if owner is not None:
            owner.add(made)
        return made

    loop.set_task_factory(create)  # type: ignore[arg-type]
    try:
        yield
    finally:
        loop.set_task_factory(before)


@contextlib.contextmanager
def _created_by(owner: "OwnTasks | None") -> Iterator[None]:
    token = _creator.set(owner)
    try:
        yield
    finally:
        _creator.reset(token)


class OwnTasks:
    """The tasks of one run of the library; needs `told_apart`."""

    def __init__(self) -> None:
        self._tasks: weakref.WeakSet[asyncio.Future[Any]] = weakref.WeakSet()
        self.over = False
        """Whether they are to end: what still comes of them comes too late."""
        self._calls = 0
        self._no_calls = asyncio.Event()
        self._no_calls.set()

    def add(self, task: asyncio.Future[Any]) -> None:
        """Note that a task is one of these."""
        self._tasks.add(task)

    @contextlib.contextmanager
    def calling_us(self) -> Iterator[None]:
        """While this is open in one of the tasks, those that it creates are not among them.

        It is given a moment to come to its end before all are cancelled.
        """
        self._calls += 1
        self._no_calls.clear()
        try:
            with _created_by(None):
                yield
        finally:
            self._calls -= 1
            if not self._calls:
                self._no_calls.set()

    async def run(self, work: Coroutine[Any, Any, None], *, stop: asyncio.Event) -> None:
        """Work until stopped, or until that has ended, and end all tasks; raises what it raised."""
        with _created_by(self):
            working = asyncio.create_task(work)
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            await self._end()
        if working.done() and not working.cancelled():
            await working

    async def _end(self) -> None:
        """Cancel all tasks, and those that they start meanwhile, until none is left.

        What else than the first of them has raised is of no interest: it has told itself.
        """
        self.over = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GRACE):
                await self._no_calls.wait()
        loop = asyncio.get_running_loop()
        give_up = loop.time() + PATIENCE
        while left := {task for task in self._tasks if not task.done()}:
            if loop.time() > give_up:
                logger.error("%d tasks do not end; they are left behind", len(left))
                _left_behind.append(left)
                return
            for task in left:
                task.cancel()
            await asyncio.wait(left, timeout=_ROUND)
        for task in self._tasks:
            if not task.cancelled():
                # Otherwise the loop tells of it, with a traceback, when the task is taken down.
                task.exception()
