"""The servers of the process, on loopback: probes, and metrics over TLS."""

import asyncio
import contextlib
import datetime
import os
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from lws_kueue.manager import pulse
from lws_kueue.manager.serve import authorization, endpoint, health, metrics_server
from lws_kueue.manager.settings import configuration
from lws_kueue.runtime import metrics, work_queue
from tests.manager.test_authorization import Reviews


@pytest.fixture
def address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return f"127.0.0.1:{port}"


@contextlib.asynccontextmanager
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened


async def status(url: str, *, token: str = "", accept: str = "") -> tuple[int, str, str]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    if accept:
        headers["Accept"] = accept
    async with session() as opened, opened.get(url, headers=headers, ssl=False) as answer:
        return answer.status, await answer.text(), answer.headers["Content-Type"]


def health_at(address: str, **more: str) -> configuration.Health:
    return configuration.Health.model_validate({"healthProbeBindAddress": address, **more})


def metrics_at(
    address: str, *, security: dict[str, Any] | None = None, certificates: Path | None = None
) -> AbstractAsyncContextManager[None]:
    return metrics_server.serving(
        configuration.Metrics.model_validate({"bindAddress": address}),
        security=configuration.Tls.model_validate(security or {}),
        api=Reviews(),
        certificates=certificates,
    )


def test_probes_are_answered_before_and_after_the_cluster_was_found_fit(address: str) -> None:
    async def run() -> None:
        ready = health.Readiness()
        asked = health_at(address, readinessEndpointName="/r", livenessEndpointName="/l")
        async with health.serving(asked, ready=ready, work=pulse.Pulse()):
            assert (await status(f"http://{address}/l"))[0] == 200
            assert (await status(f"http://{address}/r"))[0] == 503
            ready.problem = "a policy is missing"
            assert (await status(f"http://{address}/r"))[:2] == (503, "a policy is missing")
            ready.problem = ""
            assert (await status(f"http://{address}/r"))[:2] == (200, "ok")
            assert (await status(f"http://{address}/healthz"))[0] == 404

    asyncio.run(run())


def test_without_an_address_nothing_is_served() -> None:
    async def run() -> None:
        async with (
            health.serving(health_at("0"), ready=health.Readiness(), work=pulse.Pulse()),
            metrics_at("0"),
        ):
            pass

    asyncio.run(run())


def test_a_port_that_is_taken_is_named(address: str) -> None:
    async def run() -> None:
        asked = health_at(address)
        async with health.serving(asked, ready=health.Readiness(), work=pulse.Pulse()):
            with pytest.raises(configuration.ConfigurationError, match="Address already in use"):
                async with metrics_at(address):
                    pass

    asyncio.run(run())


def test_an_address_that_does_not_exist_is_named() -> None:
    async def run() -> None:
        app = health.application(
            configuration.Health(), ready=health.Readiness(), work=pulse.Pulse()
        )
        with pytest.raises(
            configuration.ConfigurationError, match=r"cannot serve x at no\.invalid:1"
        ):
            async with endpoint.serving(app, address="no.invalid:1", what="x"):
                pass

    asyncio.run(run())


def test_metrics_are_for_readers_only(address: str) -> None:
    async def run() -> None:
        async with metrics_at(address):
            url = f"https://{address}/metrics"
            assert (await status(url))[0] == 401
            assert (await status(url, token="stranger"))[0] == 401
            assert (await status(url, token="somebody"))[0] == 403
            found, text, kind = await status(url, token="reader")
            assert found == 200
            assert kind.startswith("text/plain")
            for name in (
                'controller_runtime_reconcile_total{controller="leaderworkerset",result="success"}',
                'controller_runtime_reconcile_errors_total{controller="leaderworkerset"}',
                "controller_runtime_reconcile_time_seconds_bucket",
                "controller_runtime_active_workers",
                "controller_runtime_max_concurrent_reconciles",
                "workqueue_depth",
                "workqueue_adds_total",
                "process_resident_memory_bytes",
                "python_info",
            ):
                assert name in text, name
            # Others are not told which paths exist.
            assert (await status(f"https://{address}/other"))[0] == 401
            assert (await status(f"https://{address}/other", token="reader"))[0] == 404
            openmetrics = await status(url, token="reader", accept="application/openmetrics-text")
            assert openmetrics[2].startswith("application/openmetrics-text")

    asyncio.run(run())


def agreed(address: str, context: ssl.SSLContext) -> tuple[str | None, str | None, bytes | None]:
    """The TLS version, the protocol and the certificate that a client gets."""
    host, _, port = address.rpartition(":")
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2", "http/1.1"])
    with (
        socket.create_connection((host, int(port))) as plain,
        context.wrap_socket(plain) as wrapped,
    ):
        return (
            wrapped.version(),
            wrapped.selected_alpn_protocol(),
            wrapped.getpeercert(binary_form=True),
        )


def test_http_2_is_not_offered_and_old_tls_is_not_spoken(address: str) -> None:
    async def run() -> None:
        async with metrics_at(address, security={"minVersion": "VersionTLS13"}):
            client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            version, protocol, _ = await asyncio.to_thread(agreed, address, client)
            assert (version, protocol) == ("TLSv1.3", "http/1.1")
            client.maximum_version = ssl.TLSVersion.TLSv1_2
            with pytest.raises(ssl.SSLError):
                await asyncio.to_thread(agreed, address, client)

    asyncio.run(run())


def test_a_chosen_suite_of_tls_1_2_works_with_the_own_certificate(address: str) -> None:
    async def run() -> None:
        suites = ["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"]
        async with metrics_at(address, security={"cipherSuites": suites}):
            client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            client.maximum_version = ssl.TLSVersion.TLSv1_2
            assert (await asyncio.to_thread(agreed, address, client))[0] == "TLSv1.2"

    asyncio.run(run())


def put_certificate(folder: Path) -> bytes:
    """Lay a new certificate where a cert-manager would, and return it as a client sees it."""
    certificate, key = metrics_server._self_signed()
    (folder / "tls.crt").write_bytes(certificate)
    (folder / "tls.key").write_bytes(key)
    later = datetime.datetime.now().timestamp() + len(list(folder.iterdir()))
    for name in ("tls.crt", "tls.key"):
        os.utime(folder / name, (later, later))
    return ssl.PEM_cert_to_DER_cert(certificate.decode())


def test_a_certificate_from_files_is_used_and_followed(
    address: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def seen() -> bytes | None:
        client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        return (await asyncio.to_thread(agreed, address, client))[2]

    async def run() -> None:
        first = put_certificate(tmp_path)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        metrics_server._load(context, tmp_path)
        app = metrics_server.application(authorization.Access(Reviews()))
        following = asyncio.create_task(metrics_server._follow(context, tmp_path, interval=0.01))
        async with endpoint.serving(app, address=address, what="metrics", tls=context):
            assert await seen() == first
            (tmp_path / "tls.crt").write_text("half a renewal")
            async with asyncio.timeout(5):
                while "cannot be used" not in caplog.text:
                    assert await seen() == first
            (tmp_path / "extra").touch()
            second = put_certificate(tmp_path)
            async with asyncio.timeout(5):
                while await seen() != second:
                    pass
        following.cancel()

    asyncio.run(run())


def test_a_certificate_that_cannot_be_read_is_named(address: str, tmp_path: Path) -> None:
    for name in ("tls.crt", "tls.key"):
        (tmp_path / name).write_text("nonsense")

    async def run() -> None:
        with pytest.raises(configuration.ConfigurationError, match=str(tmp_path)):
            async with metrics_at(address, certificates=tmp_path):
                pass

    asyncio.run(run())


def value(name: str, **labels: str) -> float:
    return metrics.REGISTRY.get_sample_value(name, labels) or 0.0


def test_passes_over_sets_are_counted_by_their_result() -> None:
    controller = {"controller": metrics.CONTROLLER}
    before = {
        result: value("controller_runtime_reconcile_total", result=result, **controller)
        for result in ("success", "error")
    }
    passes = metrics.Passes()
    passes.added(waiting=1)
    passes.taken(waiting=0, late=0.01)
    assert value("controller_runtime_active_workers", **controller) == 1
    passes.finished(seconds=0.2, failed=False)
    passes.taken(waiting=0, late=0)
    passes.finished(seconds=0.1, failed=True)
    assert value("controller_runtime_active_workers", **controller) == 0
    for result in ("success", "error"):
        after = value("controller_runtime_reconcile_total", result=result, **controller)
        assert after == before[result] + 1


def test_a_work_queue_tells_what_happens_to_its_keys() -> None:
    told: list[str] = []

    class Told:
        def added(self, *, waiting: int) -> None:
            told.append(f"added, {waiting} wait")

        def taken(self, *, waiting: int, late: float) -> None:
            assert 0 <= late < 5
            told.append(f"taken, {waiting} wait")

        def finished(self, *, seconds: float, failed: bool) -> None:
            assert 0 <= seconds < 5
            told.append("failed" if failed else "finished")

    async def run() -> None:
        queue: work_queue.WorkQueue[str] = work_queue.WorkQueue(settle=0, observer=Told())
        await queue.add("a")
        await queue.add("a")
        assert await queue.get() == "a"
        await queue.done("a")
        await queue.add("b")
        await queue.done(await queue.get(), failed=True)

    asyncio.run(run())
    assert told == [
        *("added, 1 wait", "taken, 0 wait", "finished"),
        # What failed is asked for again.
        *("added, 1 wait", "taken, 0 wait", "failed", "added, 1 wait"),
    ]
