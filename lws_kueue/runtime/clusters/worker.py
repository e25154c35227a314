"""One worker cluster for those who dispatch: what is there of ours, and who writes to it.

Two watches, of Workloads and of sets with our origin, begin with a list each time the cluster has
been lost. The cluster counts as up while it answers and both watches hold a whole list.
"""

import asyncio
import datetime
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Any, Final

from lws_kueue.api import actions, facts, names
from lws_kueue.dispatch import eligibility, identity, observed
from lws_kueue.runtime import client, keys, memory, recorder, reflector, resources, writes
from lws_kueue.runtime.clusters import connection, link, pauses
from lws_kueue.runtime.clusters.store import Store

# A name that somebody else has is tried again after so many seconds, and what an API server
# refuses after so many.
TAKEN_FOR: Final = 300.0
REFUSED_FOR: Final = 30.0

# After a write that failed the next one to the cluster is decided on after so many seconds, at
# first and at most.
FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 30.0

# Our Lease in a namespace where nothing of ours is goes after so many seconds; how often that is
# looked at.
EMPTY_FOR: Final = 600.0
TIDIED_EVERY: Final = 60.0

_MAY_LOOK: Final = eligibility.Right("", "pods", "list")

_WATCHED: Final = (resources.WORKLOADS, resources.SETS)

Touched = Callable[[set[keys.SetKey]], Awaitable[None]]

logger = logging.getLogger(__name__)


class _Writer(writes.Writer):
    """Writes to a worker; that something may not be read there says nothing of a write."""

    async def get(self, ref: actions.Ref) -> dict[str, Any] | None:
        try:
            return await super().get(ref)
        except client.ApiError as error:
            if not client.refuses(error):
                raise
            told = f"{ref.kind} {ref.name} cannot be read: {error.status} {error.message}"
            raise client.ApiError(status=0, reason="NotRead", message=told, request="GET") from None


class Worker:
    """The objects of ours in one cluster."""

    def __init__(
        self,
        to: connection.Connection,
        *,
        manager: identity.Manager,
        events: recorder.Recorder,
        touched: Touched,
        changed: Callable[[], None],
    ) -> None:
        """``touched`` is told the sets of which something has changed there.

        ``changed`` is called when the cluster comes to be known as it is, or may not be any more.
        """
        self.name = to.name
        self.connection = to
        self.changed = asyncio.Event()
        self._manager = manager
        self._events = events
        self._touched = touched
        self._tell = changed
        self._refused: dict[tuple[str, str], tuple[str, float]] = {}
        self._troubles: dict[str, tuple[str, float]] = {}
        self._anchors: set[str] = set()
        self._seeking: dict[str, asyncio.Task[None]] = {}
        self._seekers: dict[str, set[keys.SetKey]] = defaultdict(set)
        self._unread: dict[str, str] = {}
        self._pauses = pauses.Pauses()
        self._empty_since: dict[str, float | None] = {}
        self._leaving: asyncio.Task[None] | None = None
        self._waking: set[asyncio.Task[None]] = set()
        self._failures = 0
        self._fruitless = 0
        self.store = Store(manager, taken=self._taken)
        self._writer: writes.Writer | None = None
        self._api: client.Client | None = None
        self._unlisted_since: datetime.datetime | None = to.seen.link.since or _now()
        self._listed: set[resources.Resource] = set()
        self._down: dict[resources.Resource, datetime.datetime] = {}

    # What is known ---------------------------------------------------------------------------

    @property
    def listed(self) -> bool:
        """Whether all of ours there has been seen since the cluster was connected."""
        return len(self._listed) == len(_WATCHED)

    @property
    def done(self) -> bool:
        """Whether nothing of ours is left there, as far as anybody can know."""
        return self.link(_now()).up and self.store.empty

    def link(self, now: datetime.datetime) -> observed.Link:
        """Return whether what is known of the cluster is whole, or since when it is not."""
        seen = self.connection.seen.link
        if not seen.up:
            return observed.Link(seen.since or self._unlisted_since or now)
        if not self.listed:
            return observed.Link(self._unlisted_since or now)
        since = min(self._down.values(), default=None)
        if since is not None and now - since >= link.PATIENCE:
            return observed.Link(since)
        return observed.Link()

    def cluster(
        self, key: keys.SetKey, *, configured: bool, trouble: str, anchored: bool
    ) -> observed.Cluster:
        """Return the cluster as far as it concerns a set.

        ``trouble`` is why it can have no groups, "" if it can; ``anchored`` says that it may need
        our Lease in the namespace (`seek`).
        """
        found = self.link(_now())
        usable = found.up and configured and not trouble
        if anchored and usable:
            # Something may be made there.
            self._empty_since[key.namespace] = None
            if key.namespace not in self._anchors:
                trouble = self._unread.get(key.namespace) or "its Lease there is being read"
        served = self.connection.seen.served
        anchor = self._anchor(key.namespace)
        return observed.Cluster(
            name=self.name,
            link=found,
            configured=configured,
            trouble=trouble or self._trouble_in(key.namespace),
            may_look=served is None or _MAY_LOOK not in served.denied,
            anchor=anchor.meta.uid if anchor is not None else "",
            workloads=self.store.of_set(key, resources.WORKLOADS),
            sets=self.store.of_set(key, resources.SETS),
            refused=self._refused_in(key.namespace),
        )

    async def pods_of(self, namespace: str, set_name: str) -> tuple[facts.Pod, ...]:
        """Return the pods of a set there, which no watch tells.

        Raises:
            client.ApiError: they could not be listed.
        """
        if self._api is None or not self._current:
            raise client.ApiError(status=0, reason="NotConnected", message=self.name, request="")
        path = resources.PODS.path(namespace=namespace)
        query = {"labelSelector": f"{names.SET_NAME}={set_name}"}
        answer = await self._api.request("GET", path, query=query)
        return tuple(facts.Pod.of(pod) for pod in answer.get("items") or ())

    # Writing ---------------------------------------------------------------------------------

    @property
    def writer(self) -> writes.Writer | None:
        """Who writes there, None while nobody can."""
        return self._writer if self._current else None

    @property
    def _current(self) -> bool:
        """Whether the client is the one in use: one that was replaced is closed."""
        return self._api is not None and self._api is self.connection.api

    def learn(self, outcome: writes.Outcome) -> float:
        """Take what came of writes there; returns in how many seconds to decide anew.

        What was outdated before it was written is decided on anew at once, but not without end: a
        watch that is silent tells nothing better.
        """
        for write, why in outcome.refused:
            ref = actions.key_of(write).ref
            if ref.cluster != self.name:
                continue
            until = _clock() + REFUSED_FOR
            if ref.kind == resources.LEASES.kind:
                self._troubles[ref.namespace] = (why, until)
            else:
                self._refused[ref.namespace, ref.name] = (why, until)
        self._fruitless = self._fruitless + 1 if outcome.fruitless else 0
        if not outcome.failed and self._fruitless <= memory.MOST_FRUITLESS:
            self._failures = 0
            return 0.0
        pause: float = min(LONGEST_PAUSE, FIRST_PAUSE * 2**self._failures)
        self._failures = min(self._failures + 1, 10)
        return pause

    def _taken(self, namespace: str, name: str, kind: str) -> None:
        text = f"{kind} {name} exists that this manager did not make"
        self._refused[namespace, name] = (text, _clock() + TAKEN_FOR)
        if kind == resources.LEASES.kind:
            # Whose it is has to be told.
            self._anchors.discard(namespace)

    def _refused_in(self, namespace: str) -> dict[str, str]:
        now = _clock()
        for at in [at for at, (_, until) in self._refused.items() if until <= now]:
            del self._refused[at]
        return {name: text for (of, name), (text, _) in self._refused.items() if of == namespace}

    def _trouble_in(self, namespace: str) -> str:
        text, until = self._troubles.get(namespace, ("", 0.0))
        return text if until > _clock() else ""

    # The anchor ------------------------------------------------------------------------------

    def _anchor(self, namespace: str) -> Any | None:
        name = identity.anchor_name(self._manager)
        return self.store.get(resources.LEASES, namespace=namespace, name=name)

    def seek(self, key: keys.SetKey) -> asyncio.Task[None] | None:
        """Begin to read our Lease in the namespace of a set, which is told when it is known.

        Returns what can be waited for, None where there is nothing to wait for.
        """
        namespace = key.namespace
        if namespace in self._anchors or not self.link(_now()).up:
            return None
        self._seekers[namespace].add(key)
        if namespace not in self._seeking and not self._pauses.left(namespace):
            self._seeking[namespace] = task = asyncio.create_task(
                self._seek(namespace), name=f"Lease in {namespace} of {self.name}"
            )
            task.add_done_callback(lambda _: self._seeking.pop(namespace, None))
        return self._seeking.get(namespace)

    async def _seek(self, namespace: str) -> None:
        try:
            why = await self._find_anchor(namespace)
        except Exception:
            logger.exception("What %s answers of our Lease was not understood", self.name)
            why = "what it answers of our Lease there was not understood"
        wait = self._pauses.failed(namespace, first=FIRST_PAUSE) if why else 0.0
        if why:
            self._unread[namespace] = why
        else:
            self._unread.pop(namespace, None)
            self._pauses.ended(namespace)
        asyncio.get_running_loop().call_later(wait, self._tell_seekers, namespace)

    def _tell_seekers(self, namespace: str) -> None:
        if seekers := self._seekers.pop(namespace, set()):
            task = asyncio.create_task(self._wake(seekers))
            self._waking.add(task)
            task.add_done_callback(self._waking.discard)

    async def _wake(self, sets: set[keys.SetKey]) -> None:
        await self._touched(sets)

    async def _find_anchor(self, namespace: str) -> str:
        """Read our Lease in a namespace; returns why that has to be another one, "" if not."""
        if self._api is None or not self._current:
            return "it is being connected"
        name = identity.anchor_name(self._manager)
        try:
            found = await self._api.get(resources.LEASES, namespace=namespace, name=name)
        except client.ApiError as error:
            return f"Lease {name} cannot be read: {error.reason}"
        known = self._anchor(namespace)
        if known is not None and (found is None or facts.Meta.of(found).uid != known.meta.uid):
            self.store.remove(resources.LEASES, namespace=namespace, name=name, uid=known.meta.uid)
        if found is not None:
            if not identity.is_ours(facts.Meta.of(found), self._manager):
                return f"Lease {namespace}/{name} is that of another manager with the same origin"
            self.store.upsert(resources.LEASES, found)
        self._anchors.add(namespace)
        return ""

    async def _tidy(self) -> None:
        """Remove our Leases from namespaces in which nothing of ours has been for long."""
        while True:
            await asyncio.sleep(TIDIED_EVERY)
            await self.tidy()

    async def tidy(self) -> None:
        """Remove our Lease from each namespace in which nothing of ours has been for long enough.

        Whatever is made there later has another one made first.
        """
        if not self.listed:
            return
        now, used = _clock(), self.store.namespaces
        self._empty_since |= dict.fromkeys(used)
        for namespace, since in list(self._empty_since.items()):
            if namespace in used:
                continue
            if since is None:
                self._empty_since[namespace] = now
            elif now - since >= EMPTY_FOR:
                await self._remove_anchor(namespace)

    def leave(self) -> bool:
        """Remove all our Leases from a cluster that nobody names any more; returns when that is so.

        It is tried once: what refuses that refuses it again.
        """
        if self._leaving is None:
            self._leaving = asyncio.create_task(self._leave(), name=f"leaving {self.name}")
            self._leaving.add_done_callback(lambda _: self._tell())
        return self._leaving.done()

    def stay(self) -> None:
        """Take that the cluster is named, again."""
        self._leaving = None

    async def _leave(self) -> None:
        for namespace in list(self._empty_since):
            await self._remove_anchor(namespace)

    async def _remove_anchor(self, namespace: str) -> None:
        if self._api is None or not self._current:
            return
        name = identity.anchor_name(self._manager)
        try:
            found = await self._api.get(resources.LEASES, namespace=namespace, name=name)
            meta = facts.Meta.of(found) if found is not None else None
            if meta is not None and identity.is_ours(meta, self._manager):
                # Whoever decides by it from now on has it made anew.
                self._forget_anchor(namespace, meta.uid)
                logger.info("%s: nothing is left in %s; its Lease goes", self.name, namespace)
                await self._api.delete(
                    resources.LEASES, namespace=namespace, name=name, uid=meta.uid
                )
        except client.ApiError as error:
            if error.status not in (404, 409):
                logger.info("Lease %s in %s of %s stays: %s", name, namespace, self.name, error)
                return
        self._empty_since.pop(namespace, None)

    def _forget_anchor(self, namespace: str, uid: str) -> None:
        name = identity.anchor_name(self._manager)
        self.store.remove(resources.LEASES, namespace=namespace, name=name, uid=uid)
        self._anchors.discard(namespace)

    # Watching --------------------------------------------------------------------------------

    async def run(self) -> None:
        """Watch whenever the cluster can be reached, until cancelled."""
        tidying = asyncio.create_task(self._tidy(), name=f"tidying {self.name}")
        try:
            while True:
                self.changed.clear()
                api = self.connection.api
                if api is None or not self.connection.seen.link.up:
                    await self.changed.wait()
                    continue
                await self._watch(api)
        finally:
            tasks = [tidying, *self._seeking.values(), *self._waking]
            tasks += [self._leaving] if self._leaving is not None else []
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _watch(self, api: client.Client) -> None:
        """Watch with a client for as long as it is in use and the cluster answers."""
        self._use(api)
        selector = f"{names.MULTIKUEUE_ORIGIN}={self._manager.origin}"
        watches = [
            asyncio.create_task(
                reflector.Reflector(
                    kind,
                    api=api,
                    sink=self._take,
                    list_anew=self._list,
                    selector=selector,
                    works=self._works(kind),
                ).run(),
                name=f"watching {kind.plural} of {self.name}",
            )
            for kind in _WATCHED
        ]
        try:
            while self.connection.api is api and self.connection.seen.link.up:
                self.changed.clear()
                await self.changed.wait()
        finally:
            for task in watches:
                task.cancel()
            await asyncio.gather(*watches, return_exceptions=True)
            if not self.connection.seen.link.up:
                self._unlisted_since = self.connection.seen.link.since or _now()
                self._listed.clear()
                self._anchors.clear()
            self._down.clear()
            self._tell()

    def _use(self, api: client.Client) -> None:
        self._api = api
        self._writer = _Writer(
            api=api, store=self.store, expect=lambda _: None, events=self._events
        )

    def _works(self, kind: resources.Resource) -> Callable[[bool], None]:
        def told(well: bool) -> None:
            if well:
                if self._down.pop(kind, None) is not None:
                    self._tell()
            elif kind not in self._down:
                self._down[kind] = _now()
                # It may have to be told that it is lost.
                asyncio.get_running_loop().call_later(link.PATIENCE.total_seconds() + 1, self._tell)

        return told

    async def _list(self, kind: resources.Resource) -> str:
        """List a kind; what is there of it is known from then on."""
        assert self._api is not None
        selector = f"{names.MULTIKUEUE_ORIGIN}={self._manager.origin}"
        items: list[dict[str, Any]] = []
        as_of = ""
        async for page in self._api.pages(kind, label_selector=selector):
            items += page.items
            as_of = page.resource_version
        try:
            touched = self.store.renew(kind, items, as_of=as_of)
        except Exception as fault:
            raise self._illegible(kind, fault) from None
        self._listed.add(kind)
        self._empty_since |= dict.fromkeys(self.store.namespaces)
        if self.listed and self._unlisted_since is not None:
            self._unlisted_since = None
            self._tell()
        await self._touched(touched)
        return as_of

    async def _take(self, kind: resources.Resource, event: str | None, obj: dict[str, Any]) -> None:
        try:
            meta = facts.Meta.of(obj)
            touched = self.store.upsert(kind, obj) if event != "DELETED" else None
        except Exception as fault:
            logger.error("%s", self._illegible(kind, fault).message)
            return
        if event != "DELETED":
            await self._touched(touched or set())
            return
        if not meta.deleting:
            await self._out_of_sight(kind, meta)
        if kind == resources.WORKLOADS:
            # Garbage collection takes it when the Lease is gone that owns it.
            self._anchors.discard(meta.namespace)
        gone = self.store.remove(kind, namespace=meta.namespace, name=meta.name, uid=meta.uid)
        await self._touched(gone or set())

    def _illegible(self, kind: resources.Resource, fault: Exception) -> client.ApiError:
        """Say what was not understood without its words, which an error of that kind quotes."""
        text = f"a {kind.kind} of {self.name} cannot be read ({type(fault).__name__})"
        return client.ApiError(status=0, reason="NotLegible", message=text, request=kind.plural)

    async def _out_of_sight(self, kind: resources.Resource, meta: facts.Meta) -> None:
        """Find out whether an object is gone, or has only lost the label by which it is watched."""
        if self._api is None:
            return
        try:
            live = await self._api.get(kind, namespace=meta.namespace, name=meta.name)
        except client.ApiError as error:
            logger.info(
                "%s %s of %s is taken to be gone: %s", kind.kind, meta.name, self.name, error
            )
            return
        if live is not None and not identity.is_ours(facts.Meta.of(live), self._manager):
            self._taken(meta.namespace, meta.name, kind.kind)


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def _clock() -> float:
    return asyncio.get_running_loop().time()
