"""Event loops on threads of their own, for what must go on while the work computes.

Deciding holds up its event loop for as long as it takes. The Lease has to be renewed meanwhile, and
probes have to be answered. What runs on a thread shares nothing with the others but what is read
and written in one step.
"""

import asyncio
import contextlib
import logging
import threading
from collections.abc import AsyncIterator, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, TypeVar

# So many seconds the end of a thread is waited for. It is one that does not keep the process.
_END_SECONDS: Final = 2.0

logger = logging.getLogger(__name__)

_T = TypeVar("_T")


class LoopThread:
    """An event loop that turns on a thread of its own."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()

    async def run(self, what: Coroutine[Any, Any, _T]) -> _T:
        """Do something there and return what comes of it; cut short, it is cut short there."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(what, self._loop))

    @contextlib.asynccontextmanager
    async def inside(self, context: AbstractAsyncContextManager[_T]) -> AsyncIterator[_T]:
        """Hold a context open there for as long as this one is open here."""
        value = await self.run(_enter(context))
        try:
            yield value
        finally:
            await self.run(_leave(context))

    async def close(self) -> None:
        """End everything that is done there, and the thread."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_END_SECONDS):
                await self.run(_end_others())
        self._loop.call_soon_threadsafe(self._loop.stop)
        await asyncio.to_thread(self._thread.join, _END_SECONDS)
        if self._thread.is_alive():
            logger.warning("The thread %s does not come to its end", self._thread.name)
        else:
            self._loop.close()


@contextlib.asynccontextmanager
async def running(name: str) -> AsyncIterator[LoopThread]:
    """Have such a thread for as long as the context is open."""
    thread = LoopThread(name)
    try:
        yield thread
    finally:
        await thread.close()


async def _enter(context: AbstractAsyncContextManager[_T]) -> _T:
    return await context.__aenter__()


async def _leave(context: AbstractAsyncContextManager[Any]) -> None:
    await context.__aexit__(None, None, None)


async def _end_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
