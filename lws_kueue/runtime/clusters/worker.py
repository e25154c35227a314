"""One worker cluster for those who dispatch: what is there of ours, and who writes to it.

Two watches, of Workloads and of sets with our origin, begin with a list each time the cluster has
been lost. The cluster counts as up while it answers and both watches hold a whole list.
"""

import asyncio
import datetime
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

from lws_kueue.api import actions, facts, names
from lws_kueue.dispatch import identity, observed
from lws_kueue.runtime import client, keys, memory, recorder, reflector, resources, writes
from lws_kueue.runtime.clusters import connection, link
from lws_kueue.runtime.clusters.store import Store

# A name that somebody else has is tried again after so many seconds, and what an API server
# refuses after so many.
TAKEN_FOR: Final = 300.0
REFUSED_FOR: Final = 30.0

# After a write that failed the next one to the cluster is decided on after so many seconds, at
# first and at most.
FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 30.0

_WATCHED: Final = (resources.WORKLOADS, resources.SETS)

Touched = Callable[[set[keys.SetKey]], Awaitable[None]]

logger = logging.getLogger(__name__)


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

    async def cluster(
        self, key: keys.SetKey, *, configured: bool, trouble: str, anchored: bool
    ) -> observed.Cluster:
        """Return the cluster as far as it concerns a set.

        ``trouble`` is why it can have no groups, "" if it can; ``anchored`` asks for our Lease in
        the namespace, which is read where it is not known.
        """
        found = self.link(_now())
        usable = found.up and configured and not trouble
        if anchored and usable and key.namespace not in self._anchors:
            trouble = await self._find_anchor(key.namespace)
        anchor = self._anchor(key.namespace)
        return observed.Cluster(
            name=self.name,
            link=found,
            configured=configured,
            trouble=trouble or self._trouble_in(key.namespace),
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

    # Watching --------------------------------------------------------------------------------

    async def run(self) -> None:
        """Watch whenever the cluster can be reached, until cancelled."""
        while True:
            self.changed.clear()
            api = self.connection.api
            if api is None or not self.connection.seen.link.up:
                await self.changed.wait()
                continue
            await self._watch(api)

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
        self._writer = writes.Writer(
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
        touched = self.store.renew(kind, items, as_of=as_of)
        self._listed.add(kind)
        if self.listed and self._unlisted_since is not None:
            self._unlisted_since = None
            self._tell()
        await self._touched(touched)
        return as_of

    async def _take(self, kind: resources.Resource, event: str | None, obj: dict[str, Any]) -> None:
        meta = facts.Meta.of(obj)
        if event != "DELETED":
            await self._touched(self.store.upsert(kind, obj) or set())
            return
        if not meta.deleting:
            await self._out_of_sight(kind, meta)
        if kind == resources.WORKLOADS:
            # Garbage collection takes it when the Lease is gone that owns it.
            self._anchors.discard(meta.namespace)
        gone = self.store.remove(kind, namespace=meta.namespace, name=meta.name, uid=meta.uid)
        await self._touched(gone or set())

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
