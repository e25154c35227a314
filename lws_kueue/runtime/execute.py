"""Carries out a plan: its writes in their order (``writes``), and pods released at the last look.

All chains are begun, the most urgent first, and each write waits for a slot, which it gets by its
urgency. A plan of thousands of writes takes long. What is decided meanwhile may be more urgent than
what it has yet to make, so a pass gives way (``Executor.run``).

A failure in one chain never stops another chain (kueue-contract 5.1, R37).
"""

import asyncio
import itertools
import logging
import math
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from lws_kueue.api import actions, facts, kueue
from lws_kueue.controller import rivals
from lws_kueue.runtime import client, keys, writes
from lws_kueue.workload import state

# Seconds after which what was read of a Workload is old: pods wait for their turn to be released.
FRESH: Final = 0.1

# So many chains are begun before others have a turn on the event loop.
AT_ONCE: Final = 32

logger = logging.getLogger(__name__)

_T = TypeVar("_T")


# Gives who writes to the cluster of a name, None where that is not connected.
WriterOf = Callable[[str], writes.Writer | None]


class Executor:
    """Executes plans against one API server, and chains of them against those of other clusters."""

    def __init__(
        self,
        writer: writes.Writer,
        *,
        clock: Callable[[], float] = time.monotonic,
        released: Callable[[kueue.Workload], None] = lambda _: None,
        elsewhere: WriterOf = lambda _: None,
    ) -> None:
        """``released`` is told of each Workload whose pods were let go.

        ``elsewhere`` gives who writes to another cluster, by its name; None where nobody can.
        """
        self._elsewhere = elsewhere
        self._writer = writer
        self._released = released
        self._clock = clock

    async def run(
        self,
        key: keys.SetKey,
        *,
        regarding: facts.Meta | None,
        plan: actions.Plan,
        gives_way: writes.GivesWay = writes.never,
    ) -> writes.Outcome:
        """Carry out ``plan`` for the set ``key``; events are reported on ``regarding``.

        ``gives_way`` is told how many writes there have been. Where it says that something may be
        more urgent by now, what is not there yet is left to the next pass.
        """
        run = writes.Run(
            key=key, regarding=regarding, outcome=writes.Outcome(), gives_way=gives_way
        )
        prepared = asyncio.ensure_future(self._chain(run, plan.prepare))
        chains = (
            self._chain(run, chain, prepared=prepared) for chain in actions.in_order(plan.chains)
        )
        await _all(itertools.chain((prepared,), chains))
        if plan.status:
            chain = (_status_patch(plan.status),)
            run.outcome.status_written = await self._chain(run, chain)
            run.outcome.made = [
                plan.status if write is chain[0] else write for write in run.outcome.made
            ]
        if prepared.result() and run.outcome.whole:
            await self._chain(run, plan.finish)
        return run.outcome

    async def other_writer(self, key: keys.SetKey, write: actions.WriteKey) -> str:
        """Say who beside us writes to an object of a set; "" if nobody can tell."""
        writer = self._writer_to(write.ref.cluster)
        if writer is None:
            return ""
        obj = await writer.read(key, write.ref, urgency=actions.Urgency.STATUS)
        return rivals.other_writer(obj, write) if obj is not None else ""

    async def chain(
        self, key: keys.SetKey, *, regarding: facts.Meta | None, chain: actions.Chain
    ) -> writes.Outcome:
        """Carry out one chain by itself; events are reported on ``regarding``."""
        run = writes.Run(key=key, regarding=regarding, outcome=writes.Outcome())
        await self._chain(run, chain)
        return run.outcome

    def _writer_to(self, cluster: str) -> writes.Writer | None:
        return self._elsewhere(cluster) if cluster else self._writer

    async def _chain(
        self, run: writes.Run, chain: actions.Chain, *, prepared: Awaitable[bool] | None = None
    ) -> bool:
        """Carry out actions in order; returns whether all of them happened.

        What has pods made waits until all is ``prepared``, and does not happen where it is not.
        """
        try:
            for action in chain:
                if prepared is not None and actions.makes_pods(action) and not await prepared:
                    return False
                await self._act(run, action)
        except writes.Stop:
            return False
        return True

    async def _act(self, run: writes.Run, action: actions.Action) -> None:
        writer = self._writer_to(actions.cluster_of(action))
        if writer is None:
            # Whether a cluster is lost is told by who is connected to it.
            run.outcome.stale = True
            raise writes.Stop
        try:
            match action:
                case actions.Create():
                    await writer.create(run, action)
                case actions.Apply():
                    await self._apply(run, action, writer)
                case actions.Patch():
                    await writer.patch(run, action)
                case actions.Delete():
                    await writer.delete(run, action)
                case actions.Release():
                    await self._release(run, action)
        except client.ApiError as error:
            self._failed(run, action, error)
            raise writes.Stop from error

    async def _apply(self, run: writes.Run, action: actions.Apply, writer: writes.Writer) -> None:
        """Apply an object if what is expected of others holds, as their API servers say now.

        Of what rests on slow clusters no slot of our own is held meanwhile.
        """

        async def allowed() -> bool:
            for one in action.expects:
                if not await self._holds(one):
                    run.outcome.stale = True
                    return False
            return True

        if not action.expects:
            await writer.apply(run, action)
        elif action.cluster:
            await writer.apply(run, action, allowed=allowed)
        elif await allowed():
            await writer.apply(run, action)
        else:
            raise writes.Stop

    async def _holds(self, expected: actions.Expect) -> bool:
        """Whether something is true of an object, as its API server says now."""
        writer = self._writer_to(expected.ref.cluster)
        if writer is None:
            return False
        found = await writer.get(expected.ref)
        if found is None or not expected.uid:
            return found is None and not expected.uid
        meta = facts.Meta.of(found)
        told = {
            one.get("type"): one.get("status")
            for one in (found.get("status") or {}).get("conditions") or ()
        }
        return (
            meta.uid == expected.uid
            and expected.resource_version in ("", meta.resource_version)
            and all(told.get(kind) == "True" for kind in expected.true)
            and all(told.get(kind) != "True" for kind in expected.false)
        )

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
        look = _Look()
        patches = (self._release_one(run, action, patch, look) for patch in action.patches)
        if any(await _all(patches)):
            self._writer.emit(run, action.events)
            if (workload := self._writer.cached(action.workload)) is not None:
                self._released(workload)

    async def _release_one(
        self, run: writes.Run, release: actions.Release, patch: actions.Patch, look: "_Look"
    ) -> bool:
        """Release one pod, unless its admission was taken back while it waited for its turn.

        Returns whether it was released.
        """

        async def allowed() -> bool:
            stands = await self._stands(run, release, look)
            run.outcome.stale |= not stands
            return stands

        try:
            await self._writer.patch(run, patch, urgency=actions.Urgency.RELEASE, allowed=allowed)
        except client.ApiError as error:
            self._failed(run, patch, error)
            return False
        except writes.Stop:
            return False
        return True

    async def _stands(self, run: writes.Run, release: actions.Release, look: "_Look") -> bool:
        """Whether a Workload still is admitted for what it was when its release was decided.

        It is read by the first pod that asks, and again where that is long ago: by one of those
        that ask together, for all of them. Whoever asks has a slot.
        """
        async with look.one:
            if not look.over and self._clock() - look.at > FRESH:
                fresh = await self._writer.get(release.workload)
                look.over = fresh is None or not look.is_of(fresh, release)
                look.at = self._clock()
                if fresh is not None:
                    self._writer.learn(run, fresh)
        cached = self._writer.cached(release.workload)
        return (
            not look.over
            and cached is not None
            and cached.meta.uid == release.uid
            and cached.spec.active
            and state.admission(cached) is state.Admission.ADMITTED
        )


@dataclass(slots=True)
class _Look:
    """What the pods that are released together know of their Workload.

    ``given`` is the admission that it had when it was first read, ``at`` when it was last read;
    ``over``: it was no longer what the release was decided on, and what is left of it is off.
    """

    given: Any = None
    at: float = -math.inf
    over: bool = False
    one: asyncio.Lock = field(default_factory=asyncio.Lock)

    def is_of(self, fresh: Mapping[str, Any], release: actions.Release) -> bool:
        """Whether a Workload as it was just read is what ``release`` was decided on.

        At first that is the very version. Our own writes and Kueue's make later ones of the same
        admission while its pods are released.
        """
        if self.given is None:
            self.given = _given(fresh)
            return _version(fresh) == (release.uid, release.resource_version)
        return bool(_given(fresh) == self.given)


def _version(workload: Mapping[str, Any]) -> tuple[str, str]:
    meta = facts.Meta.of(workload)
    return meta.uid, meta.resource_version


def _given(workload: Mapping[str, Any]) -> Any:
    """Return the admission in a Workload as it was read, and whose it is."""
    return workload["metadata"]["uid"], (workload.get("status") or {}).get("admission")


async def _all(steps: Iterable[Awaitable[_T]]) -> list[_T]:
    """Wait for all, whatever becomes of one; a pass must be over when it ends.

    They are begun some at a time, so that thousands of them do not keep everybody else waiting.
    """
    begun: list[asyncio.Future[_T]] = []
    try:
        for step in steps:
            begun.append(asyncio.ensure_future(step))
            if len(begun) % AT_ONCE == 0:
                await asyncio.sleep(0)
        found = await asyncio.gather(*begun, return_exceptions=True)
    finally:
        for one in begun:
            one.cancel()
    results: list[_T] = []
    for result in found:
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
