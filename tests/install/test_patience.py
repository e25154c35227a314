"""An installation against an API server that is slow, busy or away for a moment, or for good."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib import parse

import aiohttp
import pytest
import yaml
from aiohttp import web
from click.testing import CliRunner
from kubernetes.aio import client as kube_client

from lws_kueue import cli
from lws_kueue.api import probes
from lws_kueue.install import install, manifests
from lws_kueue.install.patience import LONGEST, LONGEST_PAUSE, NoPatienceLeft, Patience
from lws_kueue.runtime import client

CRD = "customresourcedefinitions"


def failure(status: int, reason: str, message: str = "a bad day") -> client.ApiError:
    return client.ApiError(status=status, reason=reason, message=message, request="PATCH /x")


NO_ANSWER = failure(0, "Timeout", "no answer in time")

PASSES = {
    "no answer in time": NO_ANSWER,
    "a connection that is reset": failure(0, "ServerDisconnectedError", "Server disconnected"),
    "a reset on the way": failure(0, "ClientConnectorError", "[Connection reset by peer]"),
    "too many requests": failure(429, "TooManyRequests"),
    "an internal error": failure(500, "InternalError"),
    "no backend": failure(503, "ServiceUnavailable"),
    "a gateway": failure(504, "Timeout"),
}
LASTS = {
    "no right": failure(403, "Forbidden"),
    "a conflict": failure(409, "Conflict"),
    "an invalid object": failure(422, "Invalid"),
    "a webhook that does not answer": failure(500, "InternalError", "failed calling webhook x"),
    "no such host": failure(0, "ClientConnectorDNSError", "Cannot connect to host x"),
    "nobody who listens": failure(0, "ClientConnectorError", "Connect call failed"),
    "a certificate of somebody else": failure(0, "ClientConnectorCertificateError", "x"),
}


class Time:
    """A clock that goes on only while somebody sleeps, or a request takes ``each`` seconds."""

    def __init__(self, each: float = 0.0) -> None:
        self.now = 0.0
        self.each = each
        self.pauses: list[float] = []
        self.told: list[str] = []

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.pauses.append(seconds)

    def patience(self) -> Patience:
        return Patience(tell=self.told.append, sleep=self.sleep, clock=lambda: self.now)

    def ask(self, patience: Patience, *answers: client.ApiError | str) -> str:
        """Send a request that is answered like that, the last for ever."""
        left: Iterator[client.ApiError | str] = iter(answers)

        async def request() -> str:
            self.now += self.each
            answer = next(left, answers[-1])
            if isinstance(answer, client.ApiError):
                raise answer
            return answer

        async def run() -> str:
            return await patience(request)

        return asyncio.run(run())


@pytest.mark.parametrize("why", PASSES)
def test_what_may_pass_is_asked_again(why: str) -> None:
    time = Time()
    assert time.ask(time.patience(), PASSES[why], PASSES[why], "done") == "done"
    assert time.pauses == [1, 2]


@pytest.mark.parametrize("why", LASTS)
def test_what_would_be_the_same_the_next_time_is_not_asked_again(why: str) -> None:
    time = Time()
    with pytest.raises(client.ApiError) as raised:
        time.ask(time.patience(), LASTS[why])
    assert raised.value is LASTS[why]
    assert time.pauses == []


def test_an_api_server_that_was_there_and_does_not_listen_any_more_begins_anew() -> None:
    time = Time()
    patience = time.patience()
    assert time.ask(patience, "done") == "done"
    assert time.ask(patience, LASTS["nobody who listens"], "done") == "done"


def test_the_pauses_grow_and_all_is_over_after_two_minutes() -> None:
    time = Time(each=10.0)
    with pytest.raises(NoPatienceLeft) as raised:
        time.ask(time.patience(), NO_ANSWER)
    assert time.pauses == [1, 2, 4, 8, 15, 15]
    assert LONGEST - LONGEST_PAUSE <= time.now <= LONGEST
    said = str(raised.value)
    assert said.startswith(f"gave up after {time.now:.0f} s")
    assert "PATCH /x: Timeout: no answer in time" in said
    assert "Run the same command again" in said
    assert "sent 7 times" in said


def test_what_was_waited_for_one_request_is_missing_for_the_next() -> None:
    time = Time(each=10.0)
    patience = time.patience()
    time.ask(patience, NO_ANSWER, NO_ANSWER, NO_ANSWER, NO_ANSWER, "done")
    with pytest.raises(NoPatienceLeft):
        time.ask(patience, NO_ANSWER)
    assert time.now <= LONGEST + 10


def test_it_is_told_that_it_is_waited_and_a_moment_is_not_told() -> None:
    slow, quick = Time(each=10.0), Time()
    slow.ask(slow.patience(), NO_ANSWER, "done")
    quick.ask(quick.patience(), failure(429, "TooManyRequests"), "done")
    assert slow.told == ["PATCH /x: Timeout: no answer in time; it is asked again in 1 s"]
    assert quick.told == []


def test_an_error_without_an_answer_has_no_status_in_its_text() -> None:
    assert str(NO_ANSWER) == "PATCH /x: Timeout: no answer in time"
    assert str(failure(503, "Busy")) == "PATCH /x: 503 Busy: a bad day"


# A whole installation ----------------------------------------------------------------------------


class Server:
    """An API server as far as an installation needs one.

    ``faults`` are what happens to the first writes, one after another: "late" is answered when
    nobody waits any more, "reset" cuts the connection, both after the write has happened; a number
    is answered instead of writing.
    """

    def __init__(self, *faults: str | int) -> None:
        self.faults = list(faults)
        self.objects: dict[str, Any] = {}
        self.asked: list[str] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(f"{request.method} {request.path}")
        if request.method == "GET":
            return self._read(request.path)
        if request.method == "POST":
            return self._probe(request.path, await request.json())
        fault = self.faults.pop(0) if self.faults else None
        if isinstance(fault, int):
            return web.json_response({"kind": "Status", "message": "a bad day"}, status=fault)
        body = json.loads(await request.text())
        meta = {**body["metadata"], "generation": 1}
        self.objects[request.path] = {**body, "metadata": meta}
        if fault == "late":
            await asyncio.sleep(30)
        if fault == "reset":
            assert request.transport is not None
            request.transport.abort()
        return web.json_response(self.objects[request.path])

    def _read(self, path: str) -> web.Response:
        answers = {
            "/version": {"major": "1", "minor": "36"},
            "/apis/admissionregistration.k8s.io/v1": {
                "resources": [{"name": "mutatingadmissionpolicies"}]
            },
            **self.objects,
        }
        if path not in answers:
            return web.json_response({"kind": "Status", "reason": "NotFound"}, status=404)
        return web.json_response(answers[path])

    def _probe(self, path: str, body: Any) -> web.Response:
        """Answer as the policy does that a request is meant for."""
        (probe,) = (
            one
            for one in probes.probes()
            if parse.urlsplit(one.path).path == path and one.body == body
        )
        if probe.changed is None:
            return web.json_response({"message": f"policy '{probe.policy}' denied"}, status=422)
        (*places, last), value = probe.changed
        answer: dict[str, Any] = {}
        inner = answer
        for place in places:
            inner = inner.setdefault(place, {})
        inner[last] = value
        return web.json_response(answer)


def installed(server: Server, *, patience: Patience) -> list[install.Installed]:
    async def run() -> list[install.Installed]:
        app = web.Application()
        app.router.add_route("*", "/{any:.*}", server.answer)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        api = client.Client(
            kube_client.Configuration(host=f"http://{host}:{port}"),
            timeout=aiohttp.ClientTimeout(total=0.5),
            patience=0.0,
        )
        try:
            return await install.install(api, patience=patience)
        finally:
            await api.close()
            await runner.cleanup()

    return asyncio.run(run())


def test_an_installation_goes_on_where_an_api_server_is_slow_busy_and_cuts_connections() -> None:
    time, server = Time(), Server("late", "reset", 503, 429, 504)
    results = installed(server, patience=time.patience())
    assert {result.change for result in results} == {"created"}, "what it was before is not lost"
    assert len(results) == len(manifests.api_objects())
    assert len([asked for asked in server.asked if CRD in asked and "PATCH" in asked]) == 6
    assert time.pauses == [1, 2, 4, 8, 15]


def test_an_installation_that_was_given_up_is_finished_by_the_next_one() -> None:
    time, server = Time(), Server(*[503] * 20)
    with pytest.raises(NoPatienceLeft, match=f"{CRD}/.*: 503 .*Run the same command again"):
        installed(server, patience=time.patience())
    server.faults.clear()
    assert len(installed(server, patience=Time().patience())) == len(manifests.api_objects())


def test_the_command_says_in_words_that_it_gave_up(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cluster = {"name": "c", "cluster": {"server": "http://127.0.0.1:9"}}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [cluster],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "users": [{"name": "u", "user": {}}],
        "current-context": "c",
    }
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(config))

    async def never(*_: Any, patience: Patience, **__: Any) -> list[install.Installed]:
        async def request() -> None:
            raise NO_ANSWER

        patience.longest = 0.5
        await patience(request)
        raise AssertionError("that does not come to an end")

    monkeypatch.setattr(install, "install", never)
    result = CliRunner().invoke(cli.main, ["install", "--kubeconfig", str(path)])
    assert result.exit_code == 1
    assert result.stderr.startswith("lws-kueue: gave up after 0 s")
    assert "Traceback" not in result.output
