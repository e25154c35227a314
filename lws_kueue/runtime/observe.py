"""Everything that a pass has to know of a set, as the one value that it decides on."""

import asyncio
import dataclasses
import datetime
import logging
from collections.abc import Iterable, Mapping
from typing import Final, Protocol

from lws_kueue.api import facts, lws
from lws_kueue.controller import decide, repairs
from lws_kueue.controller.admission import shortages
from lws_kueue.controller.observe import members, observed
from lws_kueue.dispatch import observed as clusters
from lws_kueue.runtime import (
    cache,
    client,
    departures,
    gathered,
    informer,
    keys,
    memory,
    refusals,
    resources,
)

# So many nodes are read beside each other.
MOST_READ: Final = 8

logger = logging.getLogger(__name__)


class Elsewhere(Protocol):
    """What is known of other clusters."""

    def begins(self, key: keys.SetKey) -> None:
        """Take that a set is about to be looked at."""

    async def of(self, key: keys.SetKey, seen: observed.Observed) -> clusters.Workers | None:
        """Return what other clusters have to do with a set, None while that is not known."""

    async def pods(
        self, namespace: str, asked: Mapping[str, tuple[str, ...]]
    ) -> Mapping[str, Mapping[str, tuple[facts.Pod, ...]]]:
        """Look up the pods of sets in other clusters."""


class Observer:
    """Looks at the sets of one cluster."""

    def __init__(
        self,
        *,
        api: client.Client,
        store: cache.Cache,
        source: informer.Informer,
        departing: departures.Departures,
        memories: memory.Memories,
        gang: bool,
        elsewhere: Elsewhere | None = None,
    ) -> None:
        """``gang`` says that Volcano schedules groups; ``elsewhere`` is None without clusters."""
        self._elsewhere = elsewhere
        self._api = api
        self._cache = store
        self._informer = source
        self._departures = departing
        self._memories = memories
        self._gang = gang
        self._refusals = refusals.Refusals(api)

    async def of(self, key: keys.SetKey) -> observed.Observed:
        """Return everything known of a set.

        Two things are found out before anything else is looked at, because what is decided without
        them cannot be taken back: whether Kueue's own integration manages the set, and whether its
        namespace makes it wait. The mappings are snapshots, so events that arrive while the plan is
        carried out do not show.

        Raises:
            client.ApiError: the namespace could not be read.
            built_in.NotYetKnown: what Kueue does is being found out.
        """
        if self._elsewhere is not None:
            self._elsewhere.begins(key)
        built_in = self._informer.built_in(key)
        takes_unlabelled = await self._informer.takes_unlabelled(key)
        live = self._cache.get(resources.SETS, namespace=key.namespace, name=key.name)
        if isinstance(live, lws.InvalidSet):
            seen = dataclasses.replace(self._gathered(key, None), invalid=live)
        else:
            seen = self._gathered(key, live)
        kueue = dataclasses.replace(
            seen.kueue,
            built_in=built_in,
            built_in_trouble=self._informer.built_in_trouble(key),
            takes_unlabelled=takes_unlabelled,
        )
        found = await self._looked_up(dataclasses.replace(seen, kueue=kueue))
        return found if self._elsewhere is None else await self._with_others(key, found)

    def _gathered(self, key: keys.SetKey, live: lws.LeaderWorkerSet | None) -> observed.Observed:
        """Return what the cache and the memory know of a set."""
        store, remembered = self._cache, self._memories.of(key)
        if remembered.attempts is None:
            now = datetime.datetime.now(datetime.UTC)
            remembered.attempts = repairs.Attempts.of(live, now=now)
        return gathered.of(
            store,
            key,
            live,
            support=self._informer.support,
            detail=self._informer.detail,
            gang=self._gang,
            memo=remembered.memo,
            remembered=members.with_departed(remembered.members, self._departures.lost_pods(key)),
            unwritten=remembered.status.conditions(),
            attempts=remembered.attempts,
        )

    async def _looked_up(self, seen: observed.Observed) -> observed.Observed:
        """Return what is observed with what a decision has to know of it and no watch tells."""
        if asked := decide.nodes_asked(seen):
            seen = seen.looked_up(nodes=await self.nodes(asked))
        if short := shortages.asked(seen):
            seen = seen.looked_up(refusals=await self._refusals.of(short))
        return seen

    async def _with_others(self, key: keys.SetKey, seen: observed.Observed) -> observed.Observed:
        """Return what is observed with what other clusters have of it."""
        assert self._elsewhere is not None
        workers = await self._elsewhere.of(key, seen)
        if workers is None:
            return seen
        seen = seen.looked_up(workers=workers)
        asked = decide.pods_asked(seen, now=datetime.datetime.now(datetime.UTC))
        if not asked:
            return seen
        pods = await self._elsewhere.pods(key.namespace, asked)
        return seen.looked_up(workers=workers.looked_up(pods))

    async def nodes(self, wanted: Iterable[str]) -> dict[str, facts.Node | None]:
        """Read nodes by name, None for one that is not there.

        They change often and hardly ever matter, so they are read when asked for, not watched. One
        that cannot be read is left out, and holds up nothing else of its set.
        """
        found: dict[str, facts.Node | None] = {}
        slots = asyncio.Semaphore(MOST_READ)

        async def read(name: str) -> None:
            try:
                async with slots:
                    node = await self._api.get(resources.NODES, name=name)
            except client.ApiError as error:
                logger.warning("Reading node %s failed: %s", name, error)
                return
            found[name] = facts.Node.of(node) if node else None

        await asyncio.gather(*(read(name) for name in sorted(wanted)))
        return found
