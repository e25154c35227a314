"""Carries out a plan: guarded writes, in the plan's order, their answers fed back to the cache.

What a guard refuses is not a failure: the object is read again and the next pass decides afresh.
A failure in one chain never stops another chain (kueue-contract 5.1, R37).
"""

import asyncio
import functools
import hashlib
import json
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from lws_kueue.api import actions, facts, names
from lws_kueue.controller import repairs
from lws_kueue.runtime import cache, client, keys, recorder, resources
from lws_kueue.workload import state

MOST_PARALLEL: Final = 16
MOST_REMEMBERED: Final = 10_000
# Seconds after which what was read of a Workload is old: pods wait for their turn to be released.
FRESH: Final = 0.1

logger = logging.getLogger(__name__)

_T = TypeVar("_T")

# The digest of what was applied to an object, and which version of the object came of it.
Applied = dict[actions.Ref, tuple[str, str]]


@dataclass(slots=True)
class Outcome:
    """What became of a plan; ``warnings`` are about writes that the API server refused."""

    writes: int = 0
    status_written: bool = False
    stale: bool = False
    failures: list[client.ApiError] = field(default_factory=list)
    made: list[repairs.Write] = field(default_factory=list)
    refused: list[tuple[repairs.Write, str]] = field(default_factory=list)
    warnings: list[actions.Event] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        """Whether a write failed for a reason other than an outdated guard."""
        return bool(self.failures)


class _Stop(Exception):
    """Ends a chain: the rest of it rests on something that did not happen."""


class Executor:
    """Executes plans against one API server."""

    def __init__(
        self,
        *,
        api: client.Client,
        store: cache.Cache,
        expect: Callable[[str], None],
        events: recorder.Recorder,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``expect`` is told the UID of each object that is about to be deleted."""
        self._api = api
        self._cache = store
        self._expect = expect
        self._events = events
        self._clock = clock
        self._slots = asyncio.Semaphore(MOST_PARALLEL)

    async def run(
        self,
        key: keys.SetKey,
        *,
        regarding: facts.Meta | None,
        plan: actions.Plan,
        applied: Applied,
    ) -> Outcome:
        """Carry out ``plan`` for the set ``key``; events are reported on ``regarding``.

        ``applied`` is what came of earlier applies for the set, and is kept up.
        """
        run = _Run(key=key, regarding=regarding, applied=applied, outcome=Outcome())
        if not await self._chain(run, plan.prepare):
            return run.outcome
        await _all(self._chain(run, chain) for chain in plan.chains)
        if plan.status:
            chain = (_status_patch(plan.status),)
            run.outcome.status_written = await self._chain(run, chain)
            run.outcome.made = [
                plan.status if write is chain[0] else write for write in run.outcome.made
            ]
        if not run.outcome.failed and not run.outcome.stale:
            await self._chain(run, plan.finish)
        return run.outcome

    async def other_writer(self, key: actions.WriteKey) -> str:
        """Say who beside us writes to an object; "" if nobody can tell."""
        async with self._slots:
            obj = await self._get(key.ref)
        return repairs.other_writer(obj, key) if obj is not None else ""

    async def _chain(self, run: "_Run", chain: actions.Chain) -> bool:
        """Carry out actions in order; returns whether all of them happened."""
        try:
            for action in chain:
                await self._act(run, action)
        except _Stop:
            return False
        return True

    async def _act(self, run: "_Run", action: actions.Action) -> None:
        try:
            match action:
                case actions.Create():
                    await self._create(run, action)
                case actions.Apply():
                    await self._apply(run, action)
                case actions.Patch():
                    await self._patch(run, action)
                case actions.Delete():
                    await self._delete(run, action)
                case actions.Release():
                    await self._release(run, action)
        except client.ApiError as error:
            self._failed(run, action, error)
            raise _Stop from error

    def _failed(self, run: "_Run", action: actions.Action, error: client.ApiError) -> None:
        if client.namespace_leaves(error):
            logger.debug("%s: its namespace is going away: %s", run.name, error)
            return
        run.outcome.failures.append(error)
        if not client.unreachable(error) and not isinstance(action, actions.Release):
            run.outcome.refused.append((action, error.message))
        reason = getattr(action, "on_failure", "")
        if reason and not client.unreachable(error):
            run.outcome.warnings.append(actions.Event("Warning", reason, error.message))

    def _emit(self, run: "_Run", events: tuple[actions.Event, ...]) -> None:
        if run.regarding is not None:
            for event in events:
                self._events.record(run.regarding, event)

    async def _write(
        self, run: "_Run", request: "_Request", *, allowed: "_Allowed | None" = None
    ) -> dict[str, Any]:
        """Send a request when a slot is free, unless it is no longer ``allowed`` by then."""
        async with self._slots:
            if allowed is not None and not await allowed():
                run.outcome.stale = True
                raise _Stop
            answer = await request()
        run.outcome.writes += 1
        return answer

    async def _guarded(
        self,
        run: "_Run",
        ref: actions.Ref,
        request: "_Request",
        *,
        adopt: bool = False,
        allowed: "_Allowed | None" = None,
    ) -> dict[str, Any]:
        """Write; where a guard refuses, learn what the object is by now and end the chain."""
        known = self._cached(ref) is not None
        try:
            return await self._write(run, request, allowed=allowed)
        except client.ApiError as error:
            if error.status not in (404, 409) or client.namespace_leaves(error):
                raise
            if adopt and known:
                raise  # Reading it once more would decide the same: this is for the backoff.
            await self._reread(run, ref, adopt=adopt)
            raise _Stop from error

    def _cached(self, ref: actions.Ref) -> Any | None:
        return self._cache.get(_resource(ref), namespace=ref.namespace, name=ref.name)

    async def _get(self, ref: actions.Ref) -> dict[str, Any] | None:
        """Read an object from the API server, None if there is none; the caller has a slot."""
        return await self._api.get(_resource(ref), namespace=ref.namespace, name=ref.name)

    def _forget(self, ref: actions.Ref, uid: str) -> None:
        self._cache.remove(_resource(ref), namespace=ref.namespace, name=ref.name, uid=uid)

    async def _create(self, run: "_Run", action: actions.Create) -> None:
        ref = actions.ref_of(action.body)
        logger.info("%s: create %s %s", run.name, ref.kind, ref.name)
        request = functools.partial(
            self._api.create, action.body, field_manager=names.FIELD_MANAGER
        )
        known = self._cached(ref) is not None
        try:
            answer = await self._write(run, request)
        except client.ApiError as error:
            if error.reason != "AlreadyExists" or known:
                raise
            await self._reread(run, ref, adopt=True)
            return
        self._made(run, action, answer)

    async def _apply(self, run: "_Run", action: actions.Apply) -> None:
        ref = actions.ref_of(action.body)
        if self._in_vain(run, ref, action):
            return
        if not action.force and await self._stands_there(run, ref):
            raise _Stop
        logger.info("%s: apply %s %s %s", run.name, ref.kind, ref.name, action.subresource)
        body: Mapping[str, Any] = action.body
        if action.resource_version:
            meta = {**body["metadata"], "resourceVersion": action.resource_version}
            body = {**body, "metadata": meta}
        request = functools.partial(
            self._api.apply,
            body,
            field_manager=action.field_manager,
            subresource=action.subresource,
            force=action.force,
        )
        answer = await self._guarded(run, ref, request, adopt=not action.force)
        version = answer["metadata"]["resourceVersion"]
        run.applied[ref] = (_fingerprint(action), version)
        self._made(run, action, answer)

    async def _stands_there(self, run: "_Run", ref: actions.Ref) -> bool:
        """Whether an object that is believed not to exist does, because it lost its label.

        Applied as if it were new it would lose the state that a rollout keeps on it; the next
        pass decides with it.
        """
        if self._cached(ref) is not None:
            return False
        async with self._slots:
            obj = await self._get(ref)
        if obj is None:
            return False
        self._cache.upsert(_resource(ref), obj, belongs_to=run.key)
        run.outcome.stale = True
        return True

    def _in_vain(self, run: "_Run", ref: actions.Ref, action: actions.Apply) -> bool:
        """Whether the same was applied before and the object is still what came of it.

        An API server may drop a field (a feature gate), so that an object never becomes what is
        applied. Once is enough then.
        """
        before, cached = run.applied.get(ref), self._cached(ref)
        if len(run.applied) > MOST_REMEMBERED:
            run.applied.clear()  # Forgetting costs one write that changes nothing.
        return (
            before is not None
            and cached is not None
            and before == (_fingerprint(action), cached.meta.resource_version)
        )

    async def _patch(
        self, run: "_Run", action: actions.Patch, *, allowed: "_Allowed | None" = None
    ) -> None:
        ref = action.ref
        logger.info("%s: patch %s %s %s", run.name, ref.kind, ref.name, action.subresource)
        meta = {
            **action.body.get("metadata", {}),
            "resourceVersion": action.resource_version,
        }
        request = functools.partial(
            self._api.merge_patch,
            _resource(ref),
            namespace=ref.namespace,
            name=ref.name,
            body={**action.body, "metadata": meta},
            subresource=action.subresource,
            field_manager=names.FIELD_MANAGER,
        )
        answer = await self._guarded(run, ref, request, allowed=allowed)
        self._made(run, action, answer)

    async def _delete(self, run: "_Run", action: actions.Delete) -> None:
        ref = action.ref
        logger.info("%s: delete %s %s", run.name, ref.kind, ref.name)
        request = functools.partial(
            self._api.delete,
            _resource(ref),
            namespace=ref.namespace,
            name=ref.name,
            uid=action.uid,
            propagation=action.propagation,
            grace_seconds=action.grace_seconds,
        )
        # Before the request: its end may be seen before its answer.
        self._expect(action.uid)
        try:
            answer = await self._write(run, request)
        except client.ApiError as error:
            if error.status not in (404, 409):
                raise
            # Gone already, or another object of that name: either way not ours to delete.
            await self._reread(run, ref)
            return
        if (answer.get("metadata") or {}).get("deletionTimestamp"):
            self._learn(run, answer)
        elif answer.get("kind") == "Status":
            self._forget(ref, action.uid)
        self._made(run, action)

    async def _release(self, run: "_Run", action: actions.Release) -> None:
        """Release pods, if their Workload still is exactly what the decision was made on.

        The cache may lag behind an eviction by a moment; the reads before the patches close that
        gap as far as the API allows (kueue-contract 8.3 item 1).
        """
        async with self._slots:
            fresh = await self._get(action.workload)
        meta = facts.Meta.of(fresh) if fresh else None
        if meta is None or (meta.uid, meta.resource_version) != (
            action.uid,
            action.resource_version,
        ):
            if fresh:
                self._learn(run, fresh)
            run.outcome.stale = True
            return
        look = _Look(_given(fresh), self._clock())
        patches = (self._release_one(run, action, patch, look) for patch in action.patches)
        if any(await _all(patches)):
            self._emit(run, action.events)

    async def _release_one(
        self, run: "_Run", release: actions.Release, patch: actions.Patch, look: "_Look"
    ) -> bool:
        """Release one pod, unless its admission was taken back while it waited for its turn.

        Returns whether it was released.
        """

        async def allowed() -> bool:
            if self._clock() - look.at > FRESH:
                fresh = await self._get(release.workload)
                look.at = self._clock()
                if fresh is None or _given(fresh) != look.given:
                    return False
                self._learn(run, fresh)
            cached = self._cached(release.workload)
            return (
                cached is not None
                and cached.meta.uid == release.uid
                and cached.spec.active
                and state.admission(cached) is state.Admission.ADMITTED
            )

        try:
            await self._patch(run, patch, allowed=allowed)
        except client.ApiError as error:
            self._failed(run, patch, error)
            return False
        except _Stop:
            return False
        return True

    def _made(
        self, run: "_Run", action: repairs.Write, answer: Mapping[str, Any] | None = None
    ) -> None:
        """Note that a write has succeeded; ``answer`` is what the object is by now."""
        run.outcome.made.append(action)
        if answer is not None:
            self._learn(run, answer)
        self._emit(run, action.events)

    def _learn(self, run: "_Run", obj: Mapping[str, Any]) -> None:
        resource = resources.of(obj["apiVersion"], obj["kind"])
        self._cache.upsert(resource, obj, belongs_to=run.adopting(obj))

    async def _reread(self, run: "_Run", ref: actions.Ref, *, adopt: bool = False) -> None:
        """Learn what an object is by now; with ``adopt`` file it under this set in any case."""
        run.outcome.stale = True
        async with self._slots:
            # Before the request: one that is recreated meanwhile may be told of before its answer.
            cached = self._cached(ref)
            obj = await self._get(ref)
        if obj is not None:
            self._cache.upsert(_resource(ref), obj, belongs_to=run.key if adopt else None)
        elif cached is not None:
            self._forget(ref, cached.meta.uid)


_Request = Callable[[], Awaitable[dict[str, Any]]]
_Allowed = Callable[[], Awaitable[bool]]


@dataclass(slots=True)
class _Look:
    """What a Workload had been given when its release was begun, and when it was last read."""

    given: Any
    at: float


def _given(workload: Mapping[str, Any] | None) -> Any:
    """Return the admission in a Workload as it was read, and whose it is."""
    if workload is None:
        return None
    return workload["metadata"]["uid"], (workload.get("status") or {}).get("admission")


def _resource(ref: actions.Ref) -> resources.Resource:
    return resources.of(ref.api_version, ref.kind)


async def _all(steps: Iterable[Awaitable[_T]]) -> list[_T]:
    """Wait for all, whatever becomes of one; a pass must be over when it ends."""
    results: list[_T] = []
    for result in await asyncio.gather(*steps, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result
        results.append(result)
    return results


@dataclass(slots=True)
class _Run:
    """One execution of one plan."""

    key: keys.SetKey
    regarding: facts.Meta | None
    applied: Applied
    outcome: Outcome

    @property
    def name(self) -> str:
        """The set, for log lines."""
        return f"{self.key.namespace}/{self.key.name}"

    def adopting(self, obj: Mapping[str, Any]) -> keys.SetKey | None:
        """What we wrote for this set belongs to it, unless its own marks say otherwise."""
        resource = resources.of(obj["apiVersion"], obj["kind"])
        return None if keys.sets_of(resource, facts.Meta.of(obj)) else self.key


def _fingerprint(action: actions.Apply) -> str:
    text = json.dumps([action.body, action.field_manager, action.subresource], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _status_patch(write: actions.StatusWrite) -> actions.Patch:
    return actions.Patch(
        ref=write.ref,
        body={"status": write.status},
        resource_version=write.resource_version,
        subresource="status",
        events=write.events,
    )
