"""Pods of groups in other clusters, which no watch tells: looked up beside the passes that ask.

A pass waits for a moment, which is enough for a cluster that is well. What a slow one has answered
meanwhile is there for the next pass, which comes by itself because it could not decide. An answer
is used once, and not long after it came: later on it says nothing about what is there.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from lws_kueue.api import facts
from lws_kueue.runtime import client

# So many seconds a pass waits for all clusters together, and so long an answer is good.
PATIENCE: Final = 0.25
GOOD_FOR: Final = 5.0

# So many requests at a time to one cluster.
_AT_ONCE: Final = 8

_Pods = tuple[facts.Pod, ...]
_At = tuple[str, str, str]
# Reads the pods of a set: cluster, namespace, name; None where nobody can.
Read = Callable[[str, str, str], Awaitable[_Pods | None]]
# Returns the UID of the set of that name there, "" if there is none.
SetOf = Callable[[str, str, str], str]
_Answer = tuple[_Pods | None, float, str]

logger = logging.getLogger(__name__)


class Looks:
    """What is being looked up."""

    def __init__(self, read: Read, *, set_of: SetOf) -> None:
        """``set_of`` tells what stands for the pods: an answer from before is none."""
        self._read = read
        self._set_of = set_of
        self._begun: dict[_At, asyncio.Task[_Answer]] = {}
        self._slots: dict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(_AT_ONCE))

    async def of(
        self, namespace: str, asked: Mapping[str, tuple[str, ...]]
    ) -> Mapping[str, Mapping[str, _Pods]]:
        """Return the pods of sets, by cluster and name; what is not known yet is left out."""
        wanted = [(cluster, namespace, name) for cluster, some in asked.items() for name in some]
        if not wanted:
            return {}
        self._drop_old()
        await asyncio.wait([self._task(at) for at in wanted], timeout=PATIENCE)
        found: dict[str, dict[str, _Pods]] = {}
        for at in wanted:
            if (pods := self._answer(at)) is not None:
                found.setdefault(at[0], {})[at[2]] = pods
        return found

    def _task(self, at: _At) -> asyncio.Task[_Answer]:
        if at not in self._begun:
            self._begun[at] = asyncio.create_task(self._look(at), name=f"pods of {at[2]}")
        return self._begun[at]

    async def _look(self, at: _At) -> _Answer:
        pods: _Pods | None = None
        uid = self._set_of(*at)
        try:
            async with self._slots[at[0]]:
                pods = await self._read(*at)
        except client.ApiError as error:
            logger.info("Pods of %s in %s are not known: %s", at[2], at[0], error)
        except Exception:
            # Whoever waits decides without it, and asks again.
            logger.exception("Pods of %s in %s were not understood", at[2], at[0])
        return pods, _clock(), uid

    def _answer(self, at: _At) -> _Pods | None:
        task = self._begun.get(at)
        if task is None or not task.done():
            return None
        del self._begun[at]
        pods, _, uid = task.result()
        return pods if uid == self._set_of(*at) else None

    def _drop_old(self) -> None:
        """Forget answers for which nobody has come in time."""
        now = _clock()
        for at, task in list(self._begun.items()):
            if task.done() and now - task.result()[1] > GOOD_FOR:
                del self._begun[at]

    async def close(self) -> None:
        """End what is being looked up."""
        tasks = tuple(self._begun.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _clock() -> float:
    return asyncio.get_running_loop().time()
