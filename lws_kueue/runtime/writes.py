"""Single guarded writes, and what comes of them: their answers are fed back to the cache.

What a guard refuses is not a failure: the object is read again and the next pass decides afresh.
"""

import asyncio
import functools
import hashlib
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from lws_kueue.api import actions, facts, names
from lws_kueue.controller import repairs
from lws_kueue.runtime import cache, client, keys, recorder, resources

MOST_PARALLEL: Final = 16
MOST_REMEMBERED: Final = 10_000

logger = logging.getLogger(__name__)

# The digest of what was applied to an object, and which version of the object came of it.
Applied = dict[actions.Ref, tuple[str, str]]

# Asked when a write has its turn: whether it is still right.
Allowed = Callable[[], Awaitable[bool]]
_Request = Callable[[], Awaitable[dict[str, Any]]]


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


@dataclass(slots=True)
class Run:
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


class Stop(Exception):
    """Ends a chain: the rest of it rests on something that did not happen."""


class Writer:
    """Writes to one API server, so many requests at a time."""

    def __init__(
        self,
        *,
        api: client.Client,
        store: cache.Cache,
        expect: Callable[[str], None],
        events: recorder.Recorder,
    ) -> None:
        """``expect`` is told the UID of each object that is about to be deleted."""
        self._api = api
        self._cache = store
        self._expect = expect
        self._events = events
        self._slots = asyncio.Semaphore(MOST_PARALLEL)

    async def create(self, run: Run, action: actions.Create) -> None:
        """Create an object, or learn what the one is that has its name already."""
        ref = actions.ref_of(action.body)
        logger.info("%s: create %s %s", run.name, ref.kind, ref.name)
        request = functools.partial(
            self._api.create, action.body, field_manager=names.FIELD_MANAGER
        )
        known = self.cached(ref) is not None
        try:
            answer = await self._write(run, request)
        except client.ApiError as error:
            if error.reason != "AlreadyExists" or known:
                raise
            await self._reread(run, ref, adopt=True)
            return
        self._made(run, action, answer)

    async def apply(self, run: Run, action: actions.Apply) -> None:
        """Apply an object, unless that is known to be in vain or it turns out to exist."""
        ref = actions.ref_of(action.body)
        if self._in_vain(run, ref, action):
            return
        if not action.force and await self._stands_there(run, ref):
            raise Stop
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

    async def _stands_there(self, run: Run, ref: actions.Ref) -> bool:
        """Whether an object that is believed not to exist does, because it lost its label.

        Applied as if it were new it would lose the state that a rollout keeps on it; the next
        pass decides with it.
        """
        if self.cached(ref) is not None:
            return False
        obj = await self.read(ref)
        if obj is None:
            return False
        self._cache.upsert(_resource(ref), obj, belongs_to=run.key)
        run.outcome.stale = True
        return True

    def _in_vain(self, run: Run, ref: actions.Ref, action: actions.Apply) -> bool:
        """Whether the same was applied before and the object is still what came of it.

        An API server may drop a field (a feature gate), so that an object never becomes what is
        applied. Once is enough then.
        """
        before, cached = run.applied.get(ref), self.cached(ref)
        if len(run.applied) > MOST_REMEMBERED:
            run.applied.clear()  # Forgetting costs one write that changes nothing.
        return (
            before is not None
            and cached is not None
            and before == (_fingerprint(action), cached.meta.resource_version)
        )

    async def patch(
        self, run: Run, action: actions.Patch, *, allowed: Allowed | None = None
    ) -> None:
        """Patch an object, if that is still ``allowed`` when there is a slot for it."""
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

    async def delete(self, run: Run, action: actions.Delete) -> None:
        """Delete an object; one that is gone, or another one of its name, is no failure."""
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
            self.learn(run, answer)
        elif answer.get("kind") == "Status":
            self._forget(ref, action.uid)
        self._made(run, action)

    def _made(
        self, run: Run, action: repairs.Write, answer: Mapping[str, Any] | None = None
    ) -> None:
        """Note that a write has succeeded; ``answer`` is what the object is by now."""
        run.outcome.made.append(action)
        if answer is not None:
            self.learn(run, answer)
        self.emit(run, action.events)

    def learn(self, run: Run, obj: Mapping[str, Any]) -> None:
        """Take in what an object is by now."""
        resource = resources.of(obj["apiVersion"], obj["kind"])
        self._cache.upsert(resource, obj, belongs_to=run.adopting(obj))

    async def _reread(self, run: Run, ref: actions.Ref, *, adopt: bool = False) -> None:
        """Learn what an object is by now; with ``adopt`` file it under this set in any case."""
        run.outcome.stale = True
        async with self._slots:
            # Before the request: one that is recreated meanwhile may be told of before its answer.
            cached = self.cached(ref)
            obj = await self.get(ref)
        if obj is not None:
            self._cache.upsert(_resource(ref), obj, belongs_to=run.key if adopt else None)
        elif cached is not None:
            self._forget(ref, cached.meta.uid)

    def emit(self, run: Run, events: tuple[actions.Event, ...]) -> None:
        """Report events on what the run is about."""
        if run.regarding is not None:
            for event in events:
                self._events.record(run.regarding, event)

    async def _write(
        self, run: Run, request: _Request, *, allowed: Allowed | None = None
    ) -> dict[str, Any]:
        """Send a request when a slot is free, unless it is no longer ``allowed`` by then."""
        async with self._slots:
            if allowed is not None and not await allowed():
                run.outcome.stale = True
                raise Stop
            answer = await request()
        run.outcome.writes += 1
        return answer

    async def _guarded(
        self,
        run: Run,
        ref: actions.Ref,
        request: _Request,
        *,
        adopt: bool = False,
        allowed: Allowed | None = None,
    ) -> dict[str, Any]:
        """Write; where a guard refuses, learn what the object is by now and end the chain."""
        known = self.cached(ref) is not None
        try:
            return await self._write(run, request, allowed=allowed)
        except client.ApiError as error:
            if error.status not in (404, 409) or client.namespace_leaves(error):
                raise
            if adopt and known:
                raise  # Reading it once more would decide the same: this is for the backoff.
            await self._reread(run, ref, adopt=adopt)
            raise Stop from error

    async def read(self, ref: actions.Ref) -> dict[str, Any] | None:
        """Read an object from the API server when a slot is free; None if there is none."""
        async with self._slots:
            return await self.get(ref)

    async def get(self, ref: actions.Ref) -> dict[str, Any] | None:
        """Read an object from the API server, None if there is none; the caller has a slot."""
        return await self._api.get(_resource(ref), namespace=ref.namespace, name=ref.name)

    def cached(self, ref: actions.Ref) -> Any | None:
        """Return what is known of an object, None if nothing is."""
        return self._cache.get(_resource(ref), namespace=ref.namespace, name=ref.name)

    def _forget(self, ref: actions.Ref, uid: str) -> None:
        self._cache.remove(_resource(ref), namespace=ref.namespace, name=ref.name, uid=uid)


def _resource(ref: actions.Ref) -> resources.Resource:
    return resources.of(ref.api_version, ref.kind)


def _fingerprint(action: actions.Apply) -> str:
    text = json.dumps([action.body, action.field_manager, action.subresource], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
