"""What a pass over a set is told of other clusters, and Workloads that are no set's."""

import asyncio
import datetime
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from lws_kueue.api import facts, kueue, names
from lws_kueue.controller.observe import observed
from lws_kueue.dispatch import identity, settings
from lws_kueue.runtime import cache, client, keys, resources
from lws_kueue.runtime.clusters import connection, dispatcher, link, looks, worker
from tests.kit.builders import builders
from tests.kit.builders import dispatched as made
from tests.kit.builders.dispatched import ADMITTED, EVICTED, RESERVED

KEY = keys.SetKey("ns", "serve")
CHECKS = {made.CHECK: builders.check(made.CHECK, names.DISPATCH_CONTROLLER)}
TIMEOUT = datetime.timedelta(minutes=15)


class To:
    """Connections to clusters that are as they are."""

    def __init__(self, *workers: worker.Worker) -> None:
        self.manager = made.MANAGER
        self.known = True
        self.all = {one.name: one for one in workers}

    def attach(self, **_: Any) -> None:
        pass

    def has(self, _: keys.SetKey) -> bool:
        return False

    def configured(self, _: object) -> tuple[str, ...]:
        return tuple(self.all)

    def trouble(self, _: str) -> str:
        return ""

    def workers(self, _: Sequence[str]) -> tuple[worker.Worker, ...]:
        return tuple(self.all.values())

    def of(self, name: str) -> worker.Worker | None:
        return self.all.get(name)


class Home:
    """The manager's API server, which refuses."""

    def __init__(self) -> None:
        self.asked = 0

    async def apply(self, *_: Any, **__: Any) -> None:
        self.asked += 1
        raise client.ApiError(status=403, reason="Forbidden", message="no", request="PATCH")


class Slow:
    """A worker's API server that never answers; or, when it may, at once."""

    def __init__(self) -> None:
        self.go = asyncio.Event()

    async def get(self, _: resources.Resource, *, namespace: str, name: str) -> Any:
        await self.go.wait()
        meta = {
            "namespace": namespace,
            "name": name,
            "uid": "lease",
            "resourceVersion": "1",
            "labels": {names.MULTIKUEUE_ORIGIN: made.MANAGER.origin},
            "annotations": {names.MANAGER: made.MANAGER.uid},
        }
        return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta}


class Connected:
    """A connection that is well."""

    def __init__(self, name: str, api: Any) -> None:
        self.name = name
        self.api = api
        self.seen = connection.Seen(link.Link(reached=True))


class Touched:
    """The sets that somebody was told of."""

    def __init__(self) -> None:
        self.sets: list[set[keys.SetKey]] = []
        self.news = asyncio.Event()

    async def __call__(self, some: set[keys.SetKey]) -> None:
        self.sets.append(some)
        self.news.set()


def listed(name: str, api: Any, touched: Touched | None = None) -> worker.Worker:

    one = worker.Worker(
        Connected(name, api),  # type: ignore[arg-type]
        manager=made.MANAGER,
        events=None,  # type: ignore[arg-type]
        touched=touched or Touched(),
        changed=lambda: None,
    )
    one._use(api)
    one._listed = set(worker._WATCHED)
    return one


def dispatching(to: To, home: Home | None = None) -> dispatcher.Dispatcher:
    return dispatcher.Dispatcher(
        to,  # type: ignore[arg-type]
        options=settings.Settings(worker_lost_timeout=TIMEOUT),
        store=cache.Cache(),
        home=home,  # type: ignore[arg-type]
        queue=None,  # type: ignore[arg-type]
        memories=None,  # type: ignore[arg-type]
    )


def seen(workload: kueue.Workload) -> observed.Observed:
    found = observed.Kueue("served", admission_checks=CHECKS)
    return replace(
        observed.Observed("ns", "serve", None, found), workloads={workload.meta.name: workload}
    )


def run(what: Callable[[], Awaitable[None]]) -> None:
    async def all_of_it() -> None:
        await what()

    asyncio.run(all_of_it())


AT_W1 = made.workload(RESERVED, ADMITTED, cluster="w1", check="Ready")
GONE = made.workload(RESERVED, ADMITTED, EVICTED)


@pytest.mark.row("MK-39")
def test_a_cluster_of_a_group_that_nobody_knows_is_one_that_is_lost() -> None:
    async def scenario() -> None:
        before = datetime.datetime.now(datetime.UTC)
        found = dispatching(To())
        workers = await found.of(KEY, seen(AT_W1))
        assert workers is not None
        (one,) = workers.clusters
        assert (one.name, one.gone, one.configured, one.link.up) == ("w1", True, False, False)
        since = one.link.lost_since
        assert since is not None
        assert since >= before
        # The eviction clears its name, and it is waited for all the same.
        workers = await found.of(KEY, seen(GONE))
        assert workers is not None
        assert [each.link.lost_since for each in workers.clusters] == [since]
        # Not for ever.
        found._unknown[KEY]["w1"] = before - TIMEOUT
        workers = await found.of(KEY, seen(GONE))
        assert workers is not None
        assert workers.clusters == ()

    run(scenario)


@pytest.mark.row("MK-39")
def test_a_cluster_that_comes_to_be_known_is_what_it_is() -> None:
    async def scenario() -> None:
        to = To()
        found = dispatching(to)
        await found.of(KEY, seen(AT_W1))
        to.all["w1"] = listed("w1", Slow())
        workers = await found.of(KEY, seen(AT_W1))
        assert workers is not None
        (one,) = workers.clusters
        assert (one.gone, one.link.up) == (False, True)

    run(scenario)


@pytest.mark.row("MK-67")
def test_a_cluster_that_kueues_own_multikueue_has_chosen_is_none_of_ours() -> None:
    async def scenario() -> None:
        theirs = made.workload(RESERVED, cluster="w9", check="", others={"mk": "Ready"})
        checks = {**CHECKS, "mk": builders.check("mk", names.MULTIKUEUE_CONTROLLER)}
        known = seen(theirs)
        known = replace(known, kueue=replace(known.kueue, admission_checks=checks))
        workers = await dispatching(To()).of(KEY, known)
        assert workers is not None
        assert workers.clusters == ()

    run(scenario)


@pytest.mark.row("MK-72")
def test_a_pass_does_not_wait_until_a_slow_cluster_tells_of_our_lease(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(looks, "PATIENCE", 0.05)

    async def scenario() -> None:
        api, touched = Slow(), Touched()
        one = listed("w1", api, touched)
        found = dispatching(To(one))
        async with asyncio.timeout(5):
            workers = await found.of(KEY, seen(made.workload(RESERVED)))
        assert workers is not None
        (cluster,) = workers.clusters
        assert (cluster.usable, cluster.anchor) == (False, "")
        # When it is known the set is looked at again.
        api.go.set()
        async with asyncio.timeout(5):
            await touched.news.wait()
        assert touched.sets == [{KEY}]
        workers = await found.of(KEY, seen(made.workload(RESERVED)))
        assert workers is not None
        (cluster,) = workers.clusters
        assert (cluster.usable, cluster.anchor) == (True, "lease")

    run(scenario)


@pytest.mark.row("MK-56")
def test_an_answer_to_a_workload_of_another_kind_that_is_refused_is_not_repeated_at_once() -> None:
    async def scenario() -> None:
        home = Home()
        found = dispatching(To(), home)
        check: facts.Object = {
            "apiVersion": names.KUEUE_API_VERSION,
            "kind": "AdmissionCheck",
            "metadata": {"name": made.CHECK, "uid": "c", "resourceVersion": "1"},
            "spec": {"controllerName": names.DISPATCH_CONTROLLER},
        }
        found._store.upsert(resources.ADMISSION_CHECKS, check)
        body = made.made()
        body["metadata"] |= {"uid": "other", "resourceVersion": "2"}
        body["metadata"].pop("ownerReferences")
        body["metadata"]["annotations"].pop(names.JOB_OWNER_GVK, None)
        body["status"] = {"admissionChecks": [{"name": made.CHECK, "state": "Pending"}]}
        found._store.upsert(resources.WORKLOADS, body)
        for _ in range(3):
            await found._reject_others()
        assert home.asked == 1
        assert found._rejecting.left("other") > 0

    run(scenario)


def test_the_origin_of_a_manager_is_its_own() -> None:
    assert identity.default_origin(made.MANAGER.uid) == made.MANAGER.origin
