"""Connections to worker clusters, against servers that misbehave in every way."""

import asyncio
import contextlib
import datetime
import itertools
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from kubernetes.aio import client as kube_client

from lws_kueue.api import names
from lws_kueue.dispatch import identity
from lws_kueue.runtime import (
    client,
    cluster,
    memory,
    metrics,
    recorder,
    reflector,
    resources,
    work_queue,
)
from lws_kueue.runtime.clusters import access, connection, connections, link
from tests.kit.multikueue import kubeconfigs, servers
from tests.kit.multikueue.kubeconfigs import TOKEN

NEW_TOKEN = "another-t0ken-never-to-be-told"
ALL_USABLE = "all clusters can be used"
CONNECTED = names.CLUSTER_CONNECTED


@dataclass
class Scene:
    """A manager and two workers, with a check that names both."""

    manager: servers.Manager = field(default_factory=servers.Manager)
    workers: dict[str, servers.Worker] = field(
        default_factory=lambda: {name: servers.Worker(name) for name in ("w1", "w2")}
    )
    ports: dict[str, int] = field(default_factory=dict)
    settings: access.Settings = field(default_factory=lambda: access.Settings(interval=0.2))
    home: client.Client | None = None
    now: connections.Connections | None = None

    @property
    def check(self) -> dict[str, Any]:
        return self.manager.condition("admissionchecks", "check", "Active")

    def connected(self, name: str) -> dict[str, Any]:
        return self.manager.condition("multikueueclusters", name, CONNECTED)

    def seen(self, name: str) -> connection.Seen:
        assert self.now is not None
        found = self.now.get(name)
        assert found is not None
        return found.seen

    def kubeconfig(self, name: str, **more: Any) -> bytes:
        server = f"https://127.0.0.1:{self.ports[name]}"
        return kubeconfigs.text(kubeconfigs.kubeconfig(server, **more))

    async def says(self, *texts: str, but: str = "") -> None:
        """Wait until the check says all of these, and nothing of ``but``."""
        await self.manager.until(
            lambda: (
                all(text in self.check.get("message", "") for text in texts)
                and not (but and but in self.check["message"])
            )
        )

    async def all_usable(self) -> None:
        await self.manager.until(lambda: self.check.get("message") == ALL_USABLE)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Connect, as a process does that begins to lead."""
        assert self.home is not None
        home = cluster.Cluster(
            api=self.home,
            queue=work_queue.WorkQueue(observer=metrics.Passes()),
            memories=memory.Memories(status_interval=0.0),
        )
        self.now = connections.Connections(
            home=self.home,
            store=home.store,
            sink=home.informer.on_event,
            settings=self.settings,
            events=recorder.Recorder(self.home),
        )
        # As the watch of all sets does it, which has much more to watch.
        checks = reflector.Reflector(
            resources.ADMISSION_CHECKS,
            api=self.home,
            sink=home.informer.on_event,
            list_anew=home.informer.list_anew,
        )
        tasks = [asyncio.create_task(one.run()) for one in (self.now, checks)]
        try:
            yield
            assert not any(task.done() for task in tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


Play = Callable[[Scene], Awaitable[None]]


def play(scene: Scene, what: Play, *, pair: kubeconfigs.Pair | None = None) -> None:
    """Play with all servers up; ``pair`` is what w1 serves with instead of a good one."""

    async def run() -> None:
        async with contextlib.AsyncExitStack() as stack:
            home = await stack.enter_async_context(servers.serving(scene.manager.answer))
            for name, worker in scene.workers.items():
                chosen = pair if pair is not None and name == "w1" else kubeconfigs.signed()
                serving = servers.serving(worker.answer, pair=chosen)
                scene.ports[name] = await stack.enter_async_context(serving)
                scene.manager.secrets[name] = scene.kubeconfig(name)
                await scene.manager.cluster(name)
            await scene.manager.put("multikueueconfigs", "config", {"clusters": ["w1", "w2"]})
            await scene.manager.check()
            host = f"http://127.0.0.1:{home}"
            scene.home = client.Client(kube_client.Configuration(host=host))
            stack.push_async_callback(scene.home.close)
            await what(scene)

    asyncio.run(run())


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing waits for long, but also on a busy machine nothing is lost by chance."""
    monkeypatch.setattr(connection, "BEAT", 0.05)
    monkeypatch.setattr(connection, "FIRST_PAUSE", 0.05)
    monkeypatch.setattr(connection, "LONGEST_PAUSE", 0.1)
    monkeypatch.setattr(connections, "RETRY", 0.1)
    monkeypatch.setattr(connections, "LINGERS", 0.1)
    monkeypatch.setattr(link, "PATIENCE", datetime.timedelta(seconds=30))


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """What fails is soon lost."""
    monkeypatch.setattr(link, "PATIENCE", datetime.timedelta(seconds=0.3))


@pytest.fixture(autouse=True)
def nothing_secret_is_told(caplog: pytest.LogCaptureFixture) -> Any:
    """Whatever happens, no log has a token or a key."""
    with caplog.at_level(logging.DEBUG, logger="lws_kueue"):
        yield
    for secret in (TOKEN, NEW_TOKEN, "PRIVATE KEY"):
        assert secret not in caplog.text


def nothing_secret_is_written(scene: Scene) -> None:
    for secret in (TOKEN, NEW_TOKEN, "PRIVATE KEY"):
        assert secret not in str(scene.manager.writes)


def test_good_clusters_are_connected_and_told_of_once() -> None:
    async def scenario(scene: Scene) -> None:
        async with scene.running():
            await scene.all_usable()
            assert (scene.check["status"], scene.check["reason"]) == ("True", "Active")
            assert scene.check["observedGeneration"] == 1
            await scene.manager.until(lambda: scene.connected("w2").get("status") == "True")
            await scene.manager.until(lambda: scene.connected("w1").get("status") == "True")
            written = len(scene.manager.writes)
            # Several rounds in which nothing changes.
            reads = scene.manager.secret_reads
            await scene.manager.until(lambda: scene.manager.secret_reads > reads + 6)
            assert len(scene.manager.writes) == written
        for plural, _, body in scene.manager.writes:
            assert plural in ("admissionchecks", "multikueueclusters")
            assert body["status"].keys() == {"conditions"}
            assert len(body["status"]["conditions"]) == 1

    play(Scene(), scenario)


# Faults of w1 ------------------------------------------------------------------------------------


async def html(_: web.Request) -> web.Response:
    return web.Response(text="<html>welcome</html>", content_type="text/html")


async def html_404(_: web.Request) -> web.Response:
    return web.Response(text="<html>welcome</html>", content_type="text/html", status=404)


async def wrong_json(_: web.Request) -> web.Response:
    return web.json_response({"status": "ok"})


async def a_list(_: web.Request) -> web.Response:
    return web.json_response(["ok"])


async def odd_shape(request: web.Request) -> web.Response:
    answer: Any = {"gitVersion": "v1"} if request.path == "/version" else {"resources": ["a"]}
    return web.json_response(answer)


async def redirect(request: web.Request) -> web.Response:
    raise web.HTTPFound("https://127.0.0.1:1/" if request.path != "/" else "/")


async def endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(status=404)
    await response.prepare(request)
    while True:
        await response.write(b"welcome " * 4096)
        # Whoever reads is on the same loop, and a write that finds room does not give way.
        await asyncio.sleep(0)


async def forbidden(_: web.Request) -> web.Response:
    return servers.status(403, "Forbidden", "no anonymous access")


async def failing(_: web.Request) -> web.Response:
    return servers.status(500, "InternalError", "etcd is away")


async def bad_gateway(_: web.Request) -> web.Response:
    return web.Response(text=f"<html>{TOKEN}</html>", content_type="text/html", status=502)


async def cut(request: web.Request) -> web.Response:
    assert request.transport is not None
    request.transport.close()
    return web.Response()


NO_KUBERNETES = "is no Kubernetes API server"
FAULTS: dict[str, tuple[servers.Answer, str, str]] = {
    "html": (html, "NotKubernetes", f"what answers {NO_KUBERNETES}"),
    "html-404": (html_404, "NotKubernetes", f"what answers (404) {NO_KUBERNETES}"),
    "wrong-json": (wrong_json, "NotKubernetes", f"what answers {NO_KUBERNETES}"),
    "a-list": (a_list, "NotKubernetes", f"what answers {NO_KUBERNETES}"),
    "odd-shape": (odd_shape, "NotKubernetes", f"what answers {NO_KUBERNETES}"),
    "redirect": (redirect, "NotKubernetes", "a redirect (302), which is not followed"),
    "endless": (endless, "NotKubernetes", f"what answers (404) {NO_KUBERNETES}"),
    "forbidden": (forbidden, "Forbidden", "(403): no anonymous access"),
    "failing": (failing, "Unreachable", "its API server fails (500): etcd is away"),
    "bad-gateway": (bad_gateway, "Unreachable", "its API server fails (502)"),
    "cut": (cut, "Unreachable", "its API server cannot be reached: "),
}


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize(("instead", "reason", "told"), FAULTS.values(), ids=FAULTS)
@pytest.mark.row("MK-49")
def test_what_is_wrong_with_one_cluster_is_told_and_the_other_is_usable(
    instead: servers.Answer, reason: str, told: str
) -> None:
    scene = Scene()
    scene.workers["w1"].instead = instead

    async def scenario(scene: Scene) -> None:
        async with scene.running():
            await scene.says("usable: w2; w1: ", told, "; lost since ")
            await scene.manager.until(lambda: scene.connected("w1").get("status") == "False")
            assert scene.connected("w1")["reason"] == reason
            # Once it is well it is used, without a restart.
            scene.workers["w1"].instead = None
            await scene.all_usable()
        nothing_secret_is_written(scene)

    play(scene, scenario)


@pytest.mark.parametrize(
    "pair",
    [kubeconfigs.signed(by="another"), kubeconfigs.signed(address="127.0.0.2")],
    ids=["unknown-authority", "certificate-of-another-host"],
)
@pytest.mark.row("MK-49")
def test_a_server_that_cannot_prove_itself_gets_no_token(pair: kubeconfigs.Pair) -> None:
    async def scenario(scene: Scene) -> None:
        async with scene.running():
            await scene.says("usable: w2; w1: its API server cannot be reached", "CERTIFICATE")
        assert scene.workers["w1"].heard == []

    play(Scene(), scenario, pair=pair)


def test_a_redirect_takes_the_credentials_nowhere() -> None:
    scene = Scene()

    async def to_the_other(_: web.Request) -> web.Response:
        raise web.HTTPTemporaryRedirect(f"https://127.0.0.1:{scene.ports['w2']}/stolen")

    scene.workers["w1"].instead = to_the_other

    async def scenario(scene: Scene) -> None:
        async with scene.running():
            await scene.says("w1: it answers with a redirect (307), which is not followed")
        assert "GET /stolen" not in scene.workers["w2"].heard

    play(scene, scenario)


def test_a_cluster_that_stalls_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    # Longer than the test has patience.
    monkeypatch.setattr(access, "TIMEOUT", aiohttp.ClientTimeout(total=3600))
    scene = Scene()

    async def stalls(_: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    scene.workers["w1"].instead = stalls

    async def scenario(scene: Scene) -> None:
        async with scene.running():
            await scene.says("usable: w2; w1: it is being connected")

    play(scene, scenario)


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("how", ["refused", "in the middle"])
def test_what_a_worker_tells_a_watch_is_logged_without_the_token(
    how: str, caplog: pytest.LogCaptureFixture
) -> None:
    scene = Scene()
    worker, watched = scene.workers["w1"], 0

    async def tells_too_much(request: web.Request) -> web.StreamResponse:
        nonlocal watched
        if "watch" not in request.query:
            return worker._good(request, await request.text())
        watched += 1
        text = f"you are {request.headers['Authorization']}"
        if how == "refused":
            return servers.status(403, "Forbidden", text)
        response = web.StreamResponse()
        await response.prepare(request)
        error = {"kind": "Status", "code": 500, "reason": "InternalError", "message": text}
        await response.write(json.dumps({"type": "ERROR", "object": error}).encode() + b"\n")
        return response

    worker.instead = tells_too_much

    async def scenario(scene: Scene) -> None:
        async with scene.running():
            await scene.manager.until(lambda: watched >= 4)
        # That it is not told is looked at for every test.
        assert "you are Bearer (token)" in caplog.text

    play(scene, scenario)


class Refusing(servers.Manager):
    """A manager that lets nobody answer for AdmissionChecks."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[float] = []

    async def _apply(self, plural: str, name: str, request: web.Request) -> web.Response:
        if plural != "admissionchecks":
            return await super()._apply(plural, name, request)
        self.asked.append(asyncio.get_running_loop().time())
        async with self._news:
            self._news.notify_all()
        return servers.status(403, "Forbidden", "no")


def test_a_condition_that_is_refused_is_written_again_at_growing_pauses() -> None:
    manager = Refusing()

    async def scenario(scene: Scene) -> None:
        async with scene.running():
            await manager.until(lambda: len(manager.asked) >= 5)
        pauses = [b - a for a, b in itertools.pairwise(manager.asked)]
        # Whatever happens meanwhile, of which there is much.
        for times, pause in enumerate(pauses[:4]):
            assert pause >= 0.95 * connections.RETRY * 2**times

    play(Scene(manager=manager), scenario)


# Kubeconfigs -------------------------------------------------------------------------------------


@pytest.mark.row("MK-49")
def test_a_secret_that_is_missing_or_bad_is_told_of_and_heals_by_itself() -> None:
    async def scenario(scene: Scene) -> None:
        good = scene.manager.secrets.pop("w1")
        async with scene.running():
            await scene.says("usable: w2; w1: Secret kueue-system/w1 does not exist")
            scene.manager.secrets["w1"] = TOKEN.encode()
            await scene.says("w1: Secret kueue-system/w1: the kubeconfig is not a mapping")
            scene.manager.secrets["w1"] = good.replace(b"https", b"http")
            await scene.says(
                "w1: Secret kueue-system/w1: clusters[0].cluster.server does not begin"
            )
            scene.manager.secrets["w1"] = good
            await scene.all_usable()
        nothing_secret_is_written(scene)

    play(Scene(), scenario)


@pytest.mark.row("MK-50")
def test_a_kubeconfig_is_rotated_without_a_loss_also_by_way_of_garbage() -> None:
    async def scenario(scene: Scene) -> None:
        worker = scene.workers["w1"]
        async with scene.running():
            await scene.all_usable()
            scene.manager.secrets["w1"] = NEW_TOKEN.encode()
            note = "not a mapping; the kubeconfig before it goes on"
            await scene.says("all clusters can be used; w1: Secret kueue-system/w1: ", note)
            # One that is good to look at and that the cluster does not know yet.
            scene.manager.secrets["w1"] = scene.kubeconfig("w1", token=NEW_TOKEN)
            note = "does not work: its API server refuses the credentials (401)"
            await scene.says("all clusters can be used; w1: Secret kueue-system/w1 ", note)
            assert "unknown token (token)" in scene.check["message"]
            worker.tokens.add(NEW_TOKEN)
            await scene.all_usable()
            worker.tokens = {NEW_TOKEN}
            beats = worker.heard.count("GET /version")
            reads = scene.manager.secret_reads
            await scene.manager.until(lambda: scene.manager.secret_reads > reads + 6)
            assert worker.heard.count("GET /version") > beats
            assert scene.seen("w1").link == link.Link(reached=True)
        told = [
            body["status"]["conditions"][0]["status"]
            for plural, name, body in scene.manager.writes
            if (plural, name) == ("multikueueclusters", "w1")
        ]
        assert told == ["True"]
        nothing_secret_is_written(scene)

    play(Scene(), scenario)


@pytest.mark.row("MK-50")
def test_a_new_kubeconfig_with_fewer_rights_does_not_replace_one_that_works() -> None:
    async def scenario(scene: Scene) -> None:
        worker, good = scene.workers["w1"], scene.workers["w1"].denied
        async with scene.running():
            await scene.all_usable()
            old = scene.manager.secrets["w1"]
            worker.tokens.add(NEW_TOKEN)

            async def by_token(request: web.Request) -> web.StreamResponse:
                new = NEW_TOKEN in request.headers["Authorization"]
                worker.denied = {("pods", "list")} if new else good
                return worker._good(request, await request.text())

            worker.instead = by_token
            scene.manager.secrets["w1"] = scene.kubeconfig("w1", token=NEW_TOKEN)
            await scene.says(
                "all clusters can be used; ", "does not work: its role lacks list of pods"
            )
            scene.manager.secrets["w1"] = old
            await scene.all_usable()

    play(Scene(), scenario)


@pytest.mark.row("MK-50")
def test_the_secret_is_read_again_at_once_when_the_credentials_are_refused() -> None:
    # Otherwise nobody would look at it before the test is over.
    scene = Scene(settings=access.Settings(interval=3600))

    async def scenario(scene: Scene) -> None:
        worker = scene.workers["w1"]
        async with scene.running():
            await scene.all_usable()
            # By this is seen what the new kubeconfig has led to.
            worker.uid = "w2"
            scene.manager.secrets["w1"] = scene.kubeconfig("w1", token=NEW_TOKEN)
            worker.tokens = {NEW_TOKEN}
            await scene.says("usable: w1; w2: it is the same cluster as w1")
            assert scene.seen("w1").link == link.Link(reached=True)

    play(scene, scenario)


def test_credentials_that_are_refused_are_a_loss_at_once() -> None:
    async def scenario(scene: Scene) -> None:
        async with scene.running():
            await scene.all_usable()
            scene.workers["w1"].tokens = set()
            await scene.says("w1: its API server refuses the credentials (401)", "; lost since ")
            await scene.manager.until(lambda: scene.connected("w1")["reason"] == "Unauthorized")
        nothing_secret_is_written(scene)

    play(Scene(), scenario)


def test_a_file_is_read_below_the_directory_that_is_set_and_nowhere_else(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    inside.mkdir()
    outside.mkdir()
    scene = Scene(settings=access.Settings(interval=0.2, directory=inside))

    async def scenario(scene: Scene) -> None:
        async def source(path: Path | str) -> None:
            given = {"location": str(path), "locationType": "Path"}
            spec = {"clusterSource": {"kubeConfig": given}}
            await scene.manager.put("multikueueclusters", "w1", spec)

        (outside / "w1").write_bytes(scene.manager.secrets["w1"])
        (inside / "link").symlink_to(outside / "w1")
        at = "w1: spec.clusterSource.kubeConfig.location names a file "
        await source(outside / "w1")
        async with scene.running():
            await scene.says(at + "that is not below lwsKueue.multiKueue.kubeconfigDirectory")
            await source("w1")
            await scene.says(at + "by a path that is not absolute")
            await source(inside / "link")
            await scene.says(at + "that is not below lwsKueue.multiKueue.kubeconfigDirectory")
            await source(inside / "missing")
            await scene.says(at + "that does not exist")
            (inside / "w1").write_bytes(scene.manager.secrets["w1"])
            await source(inside / "w1")
            await scene.all_usable()

    play(scene, scenario)


SOURCES: dict[str, tuple[dict[str, Any], str]] = {
    "path": (
        {"kubeConfig": {"location": "/x", "locationType": "Path"}},
        "locationType Path is not",
    ),
    "profile": (
        {"clusterProfileRef": {"name": "p"}},
        "ClusterProfile is not supported by lws-kueue; use a Secret",
    ),
    "nothing": ({}, "spec.clusterSource.kubeConfig.location is missing"),
}


@pytest.mark.parametrize(("source", "told"), SOURCES.values(), ids=SOURCES)
@pytest.mark.row("MK-49")
def test_other_sources_of_a_kubeconfig_are_refused_in_words(
    source: dict[str, Any], told: str
) -> None:
    async def scenario(scene: Scene) -> None:
        await scene.manager.put("multikueueclusters", "w1", {"clusterSource": source})
        async with scene.running():
            await scene.says("usable: w2; w1: ", told)

    play(Scene(), scenario)


# Loss and return ---------------------------------------------------------------------------------


@pytest.mark.usefixtures("hasty")
def test_a_loss_begins_with_the_first_failure_and_a_restart_does_not_begin_it_anew() -> None:
    async def scenario(scene: Scene) -> None:
        worker = scene.workers["w1"]
        async with scene.running():
            await scene.all_usable()
            await scene.manager.until(lambda: scene.connected("w1").get("status") == "True")
            before = datetime.datetime.now(datetime.UTC)
            worker.instead = cut
            await scene.says("w1: its API server cannot be reached", "; lost since ")
            await scene.manager.until(lambda: scene.connected("w1")["status"] == "False")
            since = scene.seen("w1").link.since
            assert since is not None
            # The pause is measured by a clock that runs on evenly, the moment by one that is set.
            clocks = datetime.timedelta(milliseconds=100)
            assert before <= since <= datetime.datetime.now(datetime.UTC) - link.PATIENCE + clocks
            told = scene.connected("w1")["lastTransitionTime"]
            assert told == f"{since:%Y-%m-%dT%H:%M:%SZ}"
        writes = len(scene.manager.writes)
        async with scene.running():
            reads = scene.manager.secret_reads
            await scene.manager.until(lambda: scene.manager.secret_reads > reads + 4)
            assert scene.seen("w1").link.lost
            assert f"{scene.seen('w1').link.since:%Y-%m-%dT%H:%M:%SZ}" == told
            assert [w for w in scene.manager.writes[writes:] if w[1] == "w1"] == []
            worker.instead = None
            await scene.all_usable()
            await scene.manager.until(lambda: scene.connected("w1")["status"] == "True")

    play(Scene(), scenario)


def test_a_short_failure_is_no_loss_and_is_not_told() -> None:
    async def scenario(scene: Scene) -> None:
        worker = scene.workers["w1"]
        async with scene.running():
            await scene.all_usable()
            await scene.manager.until(lambda: scene.connected("w1").get("status") == "True")
            await scene.manager.until(lambda: scene.connected("w2").get("status") == "True")
            writes, failures = len(scene.manager.writes), asyncio.Event()

            async def once(request: web.Request) -> web.Response:
                worker.instead = None
                failures.set()
                return await cut(request)

            worker.instead = once
            async with asyncio.timeout(servers.PATIENCE):
                await failures.wait()
            reads = scene.manager.secret_reads
            await scene.manager.until(lambda: scene.manager.secret_reads > reads + 6)
            assert scene.seen("w1").link == link.Link(reached=True)
            assert len(scene.manager.writes) == writes

    play(Scene(), scenario)


@pytest.mark.usefixtures("hasty")
@pytest.mark.row("MK-39")
def test_a_cluster_that_was_deleted_while_it_is_lost_is_forgotten_when_no_group_waits_for_it() -> (
    None
):
    async def scenario(scene: Scene) -> None:
        async with scene.running():
            assert scene.now is not None
            named = True
            scene.now.attach(
                touched=connections._nobody,
                changed=connections._nobody_at_all,
                given_up_after=datetime.timedelta(seconds=0.5),
                named=lambda name: named and name == "w1",
            )
            await scene.all_usable()
            await scene.manager.until(lambda: scene.connected("w1").get("status") == "True")
            await scene.manager.until(lambda: _listed(scene, "w1"))
            # With nothing of ours there it would be known to be over.
            _has_a_group(scene, "w1")
            scene.workers["w1"].instead = cut
            await scene.manager.delete("multikueueclusters", "w1")
            await scene.manager.until(lambda: scene.seen("w1").link.lost)
            # A group is there, as the manager has it.
            reads = scene.manager.secret_reads
            await scene.manager.until(lambda: scene.manager.secret_reads > reads + 12)
            assert scene.now.get("w1") is not None
            named = False
            await scene.manager.until(lambda: scene.now and scene.now.get("w1") is None)
            assert scene.now.of("w1") is None
            assert scene.now.get("w2") is not None

    play(Scene(), scenario)


def _listed(scene: Scene, name: str) -> bool:
    assert scene.now is not None
    found = scene.now.of(name)
    return found is not None and found.listed


def _has_a_group(scene: Scene, name: str) -> None:
    assert scene.now is not None
    manager, found = scene.now.manager, scene.now.of(name)
    assert manager is not None
    assert found is not None
    group = identity.GroupId("ns", "serve", "u", 0)
    meta = {
        "namespace": "ns",
        "name": identity.workload_name(manager, group),
        "uid": "offer",
        "resourceVersion": "1",
        "labels": identity.labels(manager, group),
        "annotations": identity.annotations(manager, group),
    }
    spec: dict[str, Any] = {"podSets": []}
    found.store.upsert(resources.WORKLOADS, {"metadata": meta, "spec": spec})


# Which clusters there are ------------------------------------------------------------------------


@pytest.mark.row("MK-52")
def test_the_manager_is_no_worker_and_one_cluster_is_not_two() -> None:
    scene = Scene()
    scene.workers["w1"].uid = "manager"

    async def scenario(scene: Scene) -> None:
        async with scene.running():
            await scene.says("usable: w2; w1: it is the manager's own cluster")
            scene.workers["w1"].uid = "w2"
            # The older one of the two counts.
            await scene.says("usable: w1; w2: it is the same cluster as w1")
            scene.workers["w1"].uid = "w1"
            await scene.all_usable()

    play(scene, scenario)


@pytest.mark.row("MK-52")
def test_what_a_cluster_lacks_is_told_and_seen_when_it_comes() -> None:
    scene = Scene()
    worker = scene.workers["w1"]
    worker.kueue, worker.sets = [], False

    async def scenario(scene: Scene) -> None:
        async with scene.running():
            await scene.says("w1: Kueue is not installed", "LeaderWorkerSets are not served")
            worker.kueue = ["v1beta1"]
            await scene.says("w1: Kueue serves kueue.x-k8s.io v1beta1 and not v1beta2")
            worker.kueue, worker.sets = ["v1beta1", "v1beta2"], True
            await scene.all_usable()
            worker.denied = {("leaderworkersets", "patch"), ("leases", "delete")}
            await scene.says(
                "usable: w2; w1: its role lacks patch of leaderworkersets.leaderworkerset.x-k8s.io",
                "delete of leases.coordination.k8s.io",
            )
            # What it lacks is no matter of the link.
            assert scene.seen("w1").link.up
            worker.denied = set()
            await scene.all_usable()

    play(scene, scenario)


@pytest.mark.row("MK-51")
def test_checks_and_configs_are_followed_as_they_change() -> None:
    async def scenario(scene: Scene) -> None:
        manager = scene.manager
        async with scene.running():
            await scene.all_usable()
            await manager.put("multikueueconfigs", "config", {"clusters": ["w2", "w3"]})
            await scene.says("usable: w2; w3: there is no such MultiKueueCluster")
            # Nobody looks at w1 any more, so nothing is said of it.
            await manager.until(lambda: scene.connected("w1") == {})
            assert scene.now is not None
            assert scene.now.get("w1") is None
            await manager.delete("multikueueconfigs", "config")
            await scene.says("MultiKueueConfig config does not exist")
            assert scene.check["reason"] == "BadConfig"
            await manager.put("multikueueconfigs", "config", {"clusters": ["w1", "w2"]})
            await scene.all_usable()
            await manager.delete("multikueueclusters", "w1")
            await scene.says("usable: w2; w1: there is no such MultiKueueCluster")
            spec = {"controllerName": names.DISPATCH_CONTROLLER}
            await manager.put("admissionchecks", "check", spec)
            await scene.says("spec.parameters is missing")

    play(Scene(), scenario)


def test_each_kind_is_watched_once() -> None:
    async def scenario(scene: Scene) -> None:
        async with scene.running():
            await scene.all_usable()
            # The one of checks is that of all sets, whatever is connected.
            assert scene.manager.watched == dict.fromkeys(scene.manager.objects, 1)

    play(Scene(), scenario)


def test_checks_of_others_are_left_alone_and_cost_nothing() -> None:
    async def scenario(scene: Scene) -> None:
        check = scene.manager.objects["admissionchecks"]["check"]
        spec = {**check["spec"], "controllerName": names.MULTIKUEUE_CONTROLLER}
        await scene.manager.put("admissionchecks", "check", spec)
        async with scene.running():
            await scene.manager.check("ours", config="other")
            ours = ("admissionchecks", "ours", "Active")
            await scene.manager.until(lambda: scene.manager.condition(*ours))
        assert {name for _, name, _ in scene.manager.writes} == {"ours"}
        assert scene.manager.secret_reads == 0
        assert scene.workers["w1"].heard == []

    play(Scene(), scenario)


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (404, "MultiKueueConfigs are not served: install Kueue (>= 0.15)"),
        (403, "the controller has no right to (deploy/multikueue/manager)"),
    ],
    ids=["not-served", "no-right"],
)
def test_what_cannot_be_read_is_told_and_read_as_soon_as_it_can_be(code: int, told: str) -> None:
    scene = Scene()
    scene.manager.not_served = web.Response(status=code)

    async def scenario(scene: Scene) -> None:
        async with scene.running():
            await scene.says("MultiKueueConfig config cannot be read: ", told)
            scene.manager.not_served = None
            await scene.all_usable()

    play(scene, scenario)
