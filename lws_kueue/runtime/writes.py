"""Single guarded writes, and what comes of them: their answers are fed back to the cache.

What a guard refuses is not a failure: the object is read again and the next pass decides afresh.
But where the object is what the guard said, it was no guard that refused: an admission webhook, or
whatever else answers like that, would do so again at once, and that is a failure like any other.
A write that was not answered in time may have happened, so the same is done about it.
"""

import functools
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from lws_kueue.api import actions, apply_diff, facts, names
from lws_kueue.controller import repairs
from lws_kueue.runtime import client, keys, log_fields, recorder, resources, turns

# So many requests at a time: of all sets, of those of a namespace, of one set.
MOST_PARALLEL: Final = 32
MOST_OF_NAMESPACE: Final = 24
MOST_OF_SET: Final = 16

logger = logging.getLogger(__name__)

# Asked when a write has its turn: whether it is still right.
Allowed = Callable[[], Awaitable[bool]]
# Asked when something is about to be made, with the number of writes so far: whether it is left.
GivesWay = Callable[[int], bool]
_Request = Callable[[], Awaitable[dict[str, Any]]]


def never(_: int) -> bool:
    """Give way to nothing."""
    return False


@dataclass(slots=True)
class Outcome:
    """What became of a plan; ``refused`` are writes that the API server does not take, and why.

    ``changed`` says of what was made what the API server made of it instead; ``left`` that some of
    it has been left to the next pass.
    """

    writes: int = 0
    status_written: bool = False
    stale: bool = False
    left: bool = False
    failures: list[client.ApiError] = field(default_factory=list)
    made: list[repairs.Write] = field(default_factory=list)
    changed: list[tuple[repairs.Write, str]] = field(default_factory=list)
    refused: list[tuple[repairs.Write, str]] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        """Whether a write failed for a reason other than an outdated guard."""
        return bool(self.failures)

    @property
    def whole(self) -> bool:
        """Whether everything has happened."""
        return not (self.failed or self.stale or self.left)

    @property
    def fruitless(self) -> bool:
        """Whether guards were outdated and nothing was written."""
        return self.stale and not self.writes


@dataclass(slots=True)
class Run:
    """One execution of one plan."""

    key: keys.SetKey
    regarding: facts.Meta | None
    outcome: Outcome
    gives_way: GivesWay = never

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


class Store(Protocol):
    """What is known of a cluster, which learns what comes of writes."""

    def get(self, resource: resources.Resource, *, namespace: str = "", name: str) -> Any | None:
        """Return what is known of an object, None if nothing is."""

    def upsert(
        self,
        resource: resources.Resource,
        obj: facts.Object,
        *,
        belongs_to: keys.SetKey | None = None,
    ) -> set[keys.SetKey] | None:
        """Take in what an object is by now."""

    def remove(
        self,
        resource: resources.Resource,
        *,
        namespace: str,
        name: str,
        uid: str,
    ) -> set[keys.SetKey] | None:
        """Take in that an object is gone."""


class Writer:
    """Writes to one API server, so many requests at a time, for which sets take turns."""

    def __init__(
        self,
        *,
        api: client.Client,
        store: Store,
        expect: Callable[[str], None],
        events: recorder.Recorder,
    ) -> None:
        """``expect`` is told the UID of each object that is about to be deleted."""
        self._api = api
        self._cache = store
        self._expect = expect
        self._events = events
        self._slots = turns.Slots(MOST_PARALLEL, of_namespace=MOST_OF_NAMESPACE, of_set=MOST_OF_SET)

    async def create(self, run: Run, action: actions.Create) -> None:
        """Create an object, or learn what the one is that has its name already.

        It is left to the next pass where the run gives way.
        """
        ref = actions.ref_of(action.body)
        request = functools.partial(
            self._api.create, action.body, field_manager=names.FIELD_MANAGER
        )
        known = self.cached(ref) is not None
        urgency = actions.urgency(action)

        async def allowed() -> bool:
            run.outcome.left |= run.gives_way(run.outcome.writes)
            if not run.outcome.left:
                _tell(run, "create", ref, facts.Meta.of(action.body))
            return not run.outcome.left

        try:
            answer = await self._write(run, request, urgency=urgency, allowed=allowed)
        except client.ApiError as error:
            if not client.unknown(error) and (error.reason != "AlreadyExists" or known):
                raise
            if await self._reread(run, ref, urgency=urgency, expected=None, adopt=True):
                raise
            return
        self._made(run, action, answer)

    async def apply(
        self, run: Run, action: actions.Apply, *, allowed: Allowed | None = None
    ) -> None:
        """Apply an object, unless it turns out to exist; what came of it is compared.

        It is not sent where it is no longer ``allowed`` when there is a slot for it.
        """
        ref = actions.ref_of(action.body)
        urgency = actions.urgency(action)
        if not action.force and await self._stands_there(run, ref, urgency=urgency):
            raise Stop
        _tell(run, "apply", ref, self._meta(ref), action.subresource)
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
        answer = await self._guarded(
            run,
            ref,
            request,
            urgency=urgency,
            guard=action.resource_version,
            adopt=not action.force,
            allowed=allowed,
        )
        self._made(run, action, answer)
        if what := apply_diff.changed(answer, action.body):
            run.outcome.changed.append((action, what))

    async def _stands_there(self, run: Run, ref: actions.Ref, *, urgency: actions.Urgency) -> bool:
        """Whether an object that is believed not to exist does, because it lost its label.

        Applied as if it were new it would lose the state that a rollout keeps on it; the next
        pass decides with it.
        """
        if self.cached(ref) is not None:
            return False
        obj = await self.read(run.key, ref, urgency=urgency)
        if obj is None:
            return False
        self._cache.upsert(_resource(ref), obj, belongs_to=run.key)
        run.outcome.stale = True
        return True

    async def patch(
        self,
        run: Run,
        action: actions.Patch,
        *,
        urgency: actions.Urgency | None = None,
        allowed: Allowed | None = None,
    ) -> None:
        """Patch an object, if that is still ``allowed`` when there is a slot for it.

        ``urgency`` is None for that of the patch by itself.
        """
        ref = action.ref
        _tell(run, "patch", ref, self._meta(ref), action.subresource)
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
        known = self.cached(ref)
        if known is not None and "finalizers" in meta:
            self._expect(known.meta.uid)  # The last one that goes may end the object.
        answer = await self._guarded(
            run,
            ref,
            request,
            urgency=actions.urgency(action) if urgency is None else urgency,
            guard=action.resource_version,
            allowed=allowed,
        )
        self._made(run, action, answer)

    async def delete(self, run: Run, action: actions.Delete) -> None:
        """Delete an object; one that is gone, or another one of its name, is no failure."""
        ref = action.ref
        if action.keeping_name:
            await self._keep_name(run, action)
        _tell(run, "delete", ref, self._meta(ref))
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
            answer = await self._write(run, request, urgency=actions.urgency(action))
        except client.ApiError as error:
            if error.status not in (404, 409) and not client.unknown(error):
                raise
            # Gone already, or another object of that name: either way not ours to delete.
            if await self._reread(
                run, ref, urgency=actions.urgency(action), expected=(action.uid, "")
            ):
                raise
            return
        if (answer.get("metadata") or {}).get("deletionTimestamp"):
            self.learn(run, answer)
        elif answer.get("kind") == "Status":
            self._forget(ref, action.uid)
        self._made(run, action)

    async def _keep_name(self, run: Run, stop: actions.Delete) -> None:
        """Have the name of an object stay taken when it is deleted; the deletion waits for nothing.

        It is applied, because what was read of the object may be old: a pod that can run is written
        to by many. If that fails, it is tried again with the next object of the name.
        """
        ref = stop.ref
        _tell(run, "keep the name of", ref, self._meta(ref))
        meta = {"name": ref.name, "namespace": ref.namespace, "uid": stop.uid}
        body = {
            "apiVersion": ref.api_version,
            "kind": ref.kind,
            "metadata": {**meta, "finalizers": [stop.keeping_name]},
        }
        request = functools.partial(
            self._api.apply, body, field_manager=names.FIELD_MANAGER, force=True
        )
        try:
            self.learn(run, await self._write(run, request, urgency=actions.Urgency.STOP))
        except client.ApiError as error:
            logger.warning("%s: the name of %s is not kept: %s", run.name, ref.name, error)

    def _meta(self, ref: actions.Ref) -> facts.Meta | None:
        known = self.cached(ref)
        return known.meta if known is not None else None

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

    async def _reread(
        self,
        run: Run,
        ref: actions.Ref,
        *,
        urgency: actions.Urgency,
        expected: "_Expected",
        adopt: bool = False,
    ) -> bool:
        """Learn what an object is by now; with ``adopt`` file it under this set in any case.

        Returns whether it is as ``expected``: then no guard was outdated.
        """
        async with self._slots.of(run.key, urgency=urgency):
            # Before the request: one that is recreated meanwhile may be told of before its answer.
            cached = self.cached(ref)
            obj = await self.get(ref)
        if obj is not None:
            self._cache.upsert(_resource(ref), obj, belongs_to=run.key if adopt else None)
        elif cached is not None:
            self._forget(ref, cached.meta.uid)
        same = _is(obj, expected)
        run.outcome.stale |= not same
        return same

    def emit(self, run: Run, events: tuple[actions.Event, ...]) -> None:
        """Report events on what the run is about."""
        if run.regarding is not None:
            for event in events:
                self._events.record(run.regarding, event)

    async def _write(
        self,
        run: Run,
        request: _Request,
        *,
        urgency: actions.Urgency,
        allowed: Allowed | None = None,
    ) -> dict[str, Any]:
        """Send a request when a slot is free, unless it is no longer ``allowed`` by then."""
        async with self._slots.of(run.key, urgency=urgency):
            if allowed is not None and not await allowed():
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
        urgency: actions.Urgency,
        guard: str,
        adopt: bool = False,
        allowed: Allowed | None = None,
    ) -> dict[str, Any]:
        """Write; where a guard refuses, learn what the object is by now and end the chain.

        The same goes for a write of which nobody can tell whether it has happened. Without a
        ``guard``, a resourceVersion, the object is guarded by what was known of it.
        """
        known = self.cached(ref)
        version = guard or (known.meta.resource_version if known is not None else "")
        expected = ("", version) if version else None
        try:
            return await self._write(run, request, urgency=urgency, allowed=allowed)
        except client.ApiError as error:
            guarded = error.status in (404, 409) and not client.namespace_leaves(error)
            if not guarded and not client.unknown(error):
                raise
            if guarded and adopt and known is not None:
                raise  # Reading it once more would decide the same: this is for the backoff.
            if await self._reread(run, ref, urgency=urgency, expected=expected, adopt=adopt):
                raise
            raise Stop from error

    async def read(
        self, key: keys.SetKey, ref: actions.Ref, *, urgency: actions.Urgency
    ) -> dict[str, Any] | None:
        """Read an object for a set when there is a slot for it; None if there is none."""
        async with self._slots.of(key, urgency=urgency):
            return await self.get(ref)

    async def get(self, ref: actions.Ref) -> dict[str, Any] | None:
        """Read an object from the API server, None if there is none; the caller has a slot."""
        return await self._api.get(_resource(ref), namespace=ref.namespace, name=ref.name)

    def cached(self, ref: actions.Ref) -> Any | None:
        """Return what is known of an object, None if nothing is."""
        return self._cache.get(_resource(ref), namespace=ref.namespace, name=ref.name)

    def _forget(self, ref: actions.Ref, uid: str) -> None:
        self._cache.remove(_resource(ref), namespace=ref.namespace, name=ref.name, uid=uid)


def _tell(
    run: Run, what: str, ref: actions.Ref, meta: facts.Meta | None, subresource: str = ""
) -> None:
    """Log that something is about to be done to an object."""
    if logger.isEnabledFor(logging.INFO):
        text = f"{what} {ref.kind} {ref.name} {subresource}".rstrip()
        logger.info("%s: %s", run.name, text, extra=log_fields.of(ref, meta))


# What an object is by UID and resourceVersion, "" for any; None if there is to be none.
_Expected = tuple[str, str] | None


def _is(obj: Mapping[str, Any] | None, expected: _Expected) -> bool:
    if obj is None or expected is None:
        return obj is None and expected is None
    meta = facts.Meta.of(obj)
    found = (meta.uid, meta.resource_version)
    return all(one in ("", is_) for one, is_ in zip(expected, found, strict=True))


def _resource(ref: actions.Ref) -> resources.Resource:
    return resources.of(ref.api_version, ref.kind)
