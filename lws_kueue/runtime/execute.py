"""Carries out a plan: its writes in their order (``writes``), and pods released at the last look.

A failure in one chain never stops another chain (kueue-contract 5.1, R37).
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from lws_kueue.api import actions, facts
from lws_kueue.controller import rivals
from lws_kueue.runtime import client, keys, writes
from lws_kueue.workload import state

# Seconds after which what was read of a Workload is old: pods wait for their turn to be released.
FRESH: Final = 0.1

logger = logging.getLogger(__name__)

_T = TypeVar("_T")


class Executor:
    """Executes plans against one API server."""

    def __init__(
        self, writer: writes.Writer, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._writer = writer
        self._clock = clock

    async def run(
        self,
        key: keys.SetKey,
        *,
        regarding: facts.Meta | None,
        plan: actions.Plan,
    ) -> writes.Outcome:
        """Carry out ``plan`` for the set ``key``; events are reported on ``regarding``."""
        run = writes.Run(key=key, regarding=regarding, outcome=writes.Outcome())
        prepared = await self._chain(run, plan.prepare)
        chains = plan.chains if prepared else map(actions.without_pods, plan.chains)
        await _all(self._chain(run, chain) for chain in chains)
        if plan.status:
            chain = (_status_patch(plan.status),)
            run.outcome.status_written = await self._chain(run, chain)
            run.outcome.made = [
                plan.status if write is chain[0] else write for write in run.outcome.made
            ]
        if prepared and not run.outcome.failed and not run.outcome.stale:
            await self._chain(run, plan.finish)
        return run.outcome

    async def other_writer(self, key: keys.SetKey, write: actions.WriteKey) -> str:
        """Say who beside us writes to an object of a set; "" if nobody can tell."""
        obj = await self._writer.read(key, write.ref)
        return rivals.other_writer(obj, write) if obj is not None else ""

    async def _chain(self, run: writes.Run, chain: actions.Chain) -> bool:
        """Carry out actions in order; returns whether all of them happened."""
        try:
            for action in chain:
                await self._act(run, action)
        except writes.Stop:
            return False
        return True

    async def _act(self, run: writes.Run, action: actions.Action) -> None:
        try:
            match action:
                case actions.Create():
                    await self._writer.create(run, action)
                case actions.Apply():
                    await self._writer.apply(run, action)
                case actions.Patch():
                    await self._writer.patch(run, action)
                case actions.Delete():
                    await self._writer.delete(run, action)
                case actions.Release():
                    await self._release(run, action)
        except client.ApiError as error:
            self._failed(run, action, error)
            raise writes.Stop from error

    def _failed(self, run: writes.Run, action: actions.Action, error: client.ApiError) -> None:
        if client.refuses(error) and not isinstance(action, actions.Release):
            run.outcome.refused.append((action, error.message))
        if client.namespace_leaves(error):
            logger.debug("%s: its namespace is going away: %s", run.name, error)
            return
        run.outcome.failures.append(error)

    async def _release(self, run: writes.Run, action: actions.Release) -> None:
        """Release pods, if their Workload still is exactly what the decision was made on.

        The cache may lag behind an eviction by a moment; the reads before the patches close that
        gap as far as the API allows (kueue-contract 8.3 item 1).
        """
        fresh = await self._writer.read(run.key, action.workload)
        if fresh is None or _version(fresh) != (action.uid, action.resource_version):
            if fresh is not None:
                self._writer.learn(run, fresh)
            run.outcome.stale = True
            return
        look = _Look(_given(fresh), self._clock())
        patches = (self._release_one(run, action, patch, look) for patch in action.patches)
        if any(await _all(patches)):
            self._writer.emit(run, action.events)

    async def _release_one(
        self, run: writes.Run, release: actions.Release, patch: actions.Patch, look: "_Look"
    ) -> bool:
        """Release one pod, unless its admission was taken back while it waited for its turn.

        Returns whether it was released.
        """

        async def allowed() -> bool:
            if self._clock() - look.at > FRESH:
                fresh = await self._writer.get(release.workload)
                # What no longer stands stays old: whoever comes next does not rely on it.
                if fresh is None or _given(fresh) != look.given:
                    return False
                look.at = self._clock()
                self._writer.learn(run, fresh)
            cached = self._writer.cached(release.workload)
            return (
                cached is not None
                and cached.meta.uid == release.uid
                and cached.spec.active
                and state.admission(cached) is state.Admission.ADMITTED
            )

        try:
            await self._writer.patch(run, patch, allowed=allowed)
        except client.ApiError as error:
            self._failed(run, patch, error)
            return False
        except writes.Stop:
            return False
        return True


@dataclass(slots=True)
class _Look:
    """What a Workload had been given when its release was begun, and when it was last read."""

    given: Any
    at: float


def _version(workload: Mapping[str, Any]) -> tuple[str, str]:
    meta = facts.Meta.of(workload)
    return meta.uid, meta.resource_version


def _given(workload: Mapping[str, Any]) -> Any:
    """Return the admission in a Workload as it was read, and whose it is."""
    return workload["metadata"]["uid"], (workload.get("status") or {}).get("admission")


async def _all(steps: Iterable[Awaitable[_T]]) -> list[_T]:
    """Wait for all, whatever becomes of one; a pass must be over when it ends."""
    results: list[_T] = []
    for result in await asyncio.gather(*steps, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result
        results.append(result)
    return results


def _status_patch(write: actions.StatusWrite) -> actions.Patch:
    return actions.Patch(
        ref=write.ref,
        body={"status": write.status},
        resource_version=write.resource_version,
        subresource="status",
        events=write.events,
    )
