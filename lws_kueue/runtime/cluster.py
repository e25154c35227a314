"""One cluster: its client, what is known of it, what watches it, and what writes to it."""

import asyncio
from collections.abc import Callable

from lws_kueue.api import actions, selectors
from lws_kueue.controller.observe import observed
from lws_kueue.dispatch import settings
from lws_kueue.runtime import (
    cache,
    client,
    departures,
    execute,
    group_times,
    informer,
    keys,
    memory,
    observe,
    recorder,
    resources,
    unowned,
    watch,
    work_queue,
    writes,
)
from lws_kueue.runtime.clusters import access, connections, dispatcher


def _nowhere(_: str) -> writes.Writer | None:
    return None


class Cluster:
    """All that concerns one API server; ``store`` is what was last seen of it."""

    def __init__(
        self,
        *,
        api: client.Client,
        queue: work_queue.WorkQueue[keys.SetKey],
        memories: memory.Memories,
        gang: bool = False,
        unlabelled: selectors.LabelSelector | None = None,
        clusters: access.Settings | None = None,
        dispatch: settings.Settings | None = None,
    ) -> None:
        """``gang`` says that Volcano schedules groups.

        ``clusters`` says how worker clusters are connected, and ``dispatch`` how groups go there,
        None where there are none.

        ``unlabelled`` selects the namespaces in which sets without a queue wait for Kueue, None for
        nowhere.
        """
        volcano = (resources.POD_GROUPS,) if gang else ()
        namespaces = (resources.NAMESPACES,) if unlabelled is not None else ()
        self._api = api
        self._also = (*volcano, *namespaces)
        self._memories = memories
        self.store = cache.Cache()
        self.events = recorder.Recorder(api)
        self._departures = departures.Departures(store=self.store, memories=memories)
        self.informer = informer.Informer(
            api=api,
            store=self.store,
            departing=self._departures,
            queue=queue,
            also=self._also,
            unlabelled=unlabelled,
        )
        self.unowned = unowned.Unowned(api=api, store=self.store, queue=queue)
        self.elsewhere: dispatcher.Dispatcher | None = None
        if clusters is not None:
            self.elsewhere = dispatcher.Dispatcher(
                connections.Connections(
                    home=api,
                    store=self.store,
                    sink=self.informer.on_event,
                    settings=clusters,
                    events=self.events,
                ),
                options=dispatch or settings.Settings(),
                store=self.store,
                home=api,
                queue=queue,
                memories=memories,
            )
        self.observer = observe.Observer(
            api=api,
            store=self.store,
            source=self.informer,
            departing=self._departures,
            memories=memories,
            gang=gang,
            elsewhere=self.elsewhere,
        )
        writer = writes.Writer(
            api=api, store=self.store, expect=self._departures.expect, events=self.events
        )
        times = group_times.GroupTimes()
        self.store.on_workload = times.changed
        other = self.elsewhere.writer if self.elsewhere is not None else _nowhere
        self._executor = execute.Executor(writer, released=times.released, elsewhere=other)
        if self.elsewhere is not None:
            self.elsewhere.begin(self._executor)

    async def watch(self, stop: asyncio.Event, *, started: Callable[[], None]) -> None:
        """Take what the API server tells until stopped; ``started`` is called each time it begins.

        Sets are woken by it in the queue.
        """
        await watch.until(
            stop, api=self._api, source=self.informer, also=self._also, started=started
        )

    async def carry_out(
        self,
        key: keys.SetKey,
        seen: observed.Observed,
        plan: actions.Plan,
        *,
        gives_way: writes.GivesWay = writes.never,
    ) -> writes.Outcome:
        """Do what was decided on what was ``seen`` of a set, until it ``gives_way``."""
        if self.elsewhere is not None:
            plan = self.elsewhere.take(key, seen, plan)
        outcome = await self._executor.run(key, regarding=seen.meta, plan=plan, gives_way=gives_way)
        if not outcome.failed and not outcome.stale and not plan.held:
            unseen = (uid for each in seen.remembered.values() for uid in each.unseen)
            self._departures.dealt_with(key, unseen)
        return outcome

    async def other_writer(self, key: keys.SetKey, write: actions.WriteKey) -> str:
        """Say who beside us writes to an object of a set; "" if nobody can tell."""
        return await self._executor.other_writer(key, write)
