"""Chains that other clusters have a part in go on beside the passes of their set.

So a slow cluster holds up no pass, and no other cluster. Of a group of which something is under way
nothing else is written meanwhile, here or there: it is decided anew when that is over.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from dataclasses import replace

from lws_kueue.api import actions
from lws_kueue.controller.observe import observed
from lws_kueue.dispatch import identity
from lws_kueue.runtime import client, execute, keys, writes

# The group that a write is about, None for what is about none.
GroupOf = Callable[[actions.Action], identity.GroupId | None]
Done = Callable[[keys.SetKey, observed.Observed, writes.Outcome, Collection[str]], Awaitable[None]]

logger = logging.getLogger(__name__)


class Lanes:
    """What is under way, by set and group."""

    def __init__(self, executor: execute.Executor, *, group_of: GroupOf, done: Done) -> None:
        """``done`` is told what came of a chain, and which clusters had a part in it."""
        self._executor = executor
        self._group_of = group_of
        self._done = done
        self._under_way: dict[asyncio.Task[None], frozenset[object]] = {}
        self._ended: dict[keys.SetKey, frozenset[object]] = {}

    def begins(self, key: keys.SetKey) -> None:
        """Take that a set is about to be looked at: what has ended by now will be seen."""
        self._ended.pop(key, None)

    def take(self, key: keys.SetKey, seen: observed.Observed, plan: actions.Plan) -> actions.Plan:
        """Begin the chains that go elsewhere, and return a plan of what is left to do here."""
        # What has ended since the set was looked at is not in what was decided.
        ended = self._ended.get(key, frozenset())
        busy = ended.union(*self._under_way.values())
        kept: list[actions.Chain] = []
        for chain in plan.chains:
            about = frozenset(self._about(action) for action in chain)
            if about & busy:
                continue
            if clusters := _clusters(chain):
                self._begin(key, seen, chain, about, clusters)
            else:
                kept.append(chain)
        return replace(plan, chains=tuple(kept))

    def _about(self, action: actions.Action) -> object:
        """Return what no two writes may be about at a time: a group, or else one object."""
        group = self._group_of(action)
        if group is not None:
            return group
        if isinstance(action, actions.Release):
            return action.workload
        return actions.key_of(action).ref

    def _begin(
        self,
        key: keys.SetKey,
        seen: observed.Observed,
        chain: actions.Chain,
        about: frozenset[object],
        clusters: frozenset[str],
    ) -> None:
        task = asyncio.create_task(self._run(key, seen, chain, clusters), name=f"{key}: elsewhere")
        self._under_way[task] = about
        task.add_done_callback(self._under_way.pop)

    async def _run(
        self,
        key: keys.SetKey,
        seen: observed.Observed,
        chain: actions.Chain,
        clusters: frozenset[str],
    ) -> None:
        outcome = writes.Outcome()
        try:
            outcome = await self._executor.chain(key, regarding=seen.meta, chain=chain)
        except client.ApiError as error:
            outcome.failures.append(error)
        except Exception:
            logger.exception("%s/%s: a write elsewhere failed", key.namespace, key.name)
            outcome.stale = True
        for failure in outcome.failures:
            logger.warning("%s/%s: %s: %s", *key, ", ".join(sorted(clusters)), failure)
        task = asyncio.current_task()
        if task is not None:
            # The pass that this asks for may not find it under way.
            about = self._under_way[task]
            self._under_way[task] = frozenset()
            self._ended[key] = self._ended.get(key, frozenset()) | about
        await self._done(key, seen, outcome, clusters)

    async def close(self) -> None:
        """End what is under way."""
        tasks = tuple(self._under_way)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _clusters(chain: actions.Chain) -> frozenset[str]:
    """Return the clusters that have a part in a chain, beside our own."""
    found = {actions.cluster_of(action) for action in chain}
    for action in chain:
        if isinstance(action, actions.Apply):
            found |= {one.ref.cluster for one in action.expects}
            if action.expects and not action.cluster:
                # What rests on the look at others is sent beside the pass, whoever they are.
                found.add(_OWN)
    return frozenset(found - {""})


_OWN = "its own cluster"
