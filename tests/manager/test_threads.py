"""What goes on while the work computes: the Lease, the probes, the end of a process that hangs."""

import asyncio
import logging
import os
import socket
import threading
import time

import aiohttp
import pytest

from lws_kueue.manager import loop_thread, process, pulse
from lws_kueue.manager.leader import election
from lws_kueue.manager.serve import endpoint, health
from lws_kueue.manager.settings import configuration
from lws_kueue.runtime import client
from tests.kit.memory import leases


def free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def block(seconds: float) -> None:
    """Compute for so long, as deciding does, without giving up the thread."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


def test_what_runs_on_a_thread_goes_on_while_another_event_loop_is_held_up() -> None:
    async def run() -> None:
        turns, begun = 0, threading.Event()

        async def turn() -> None:
            nonlocal turns
            while True:
                turns += 1
                begun.set()
                await asyncio.sleep(0.01)

        async with loop_thread.running("test") as thread:
            turning = asyncio.create_task(thread.run(turn()))
            assert await asyncio.to_thread(begun.wait, 20)
            before = turns
            block(1.0)
            assert turns - before > 5
            turning.cancel()
            await asyncio.gather(turning, return_exceptions=True)

    asyncio.run(run())


def test_an_error_there_is_an_error_here_and_the_thread_ends() -> None:
    async def fail() -> None:
        raise ValueError("there")

    async def run() -> None:
        async with loop_thread.running("ending") as thread:
            with pytest.raises(ValueError, match="there"):
                await thread.run(fail())

    asyncio.run(run())
    assert "ending" not in {thread.name for thread in threading.enumerate()}


def test_what_is_cut_short_here_is_cut_short_there() -> None:
    ended = threading.Event()

    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def run() -> None:
        async with loop_thread.running("test") as thread:
            waiting = asyncio.create_task(thread.run(wait()))
            await asyncio.sleep(0)
            await thread.run(asyncio.sleep(0))
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            assert await asyncio.to_thread(ended.wait, 10)

    asyncio.run(run())


def test_the_lease_outlives_a_pass_that_is_longer_than_its_deadline() -> None:
    server = leases.Leases()

    async def run() -> None:
        candidate = leases.candidate(
            "one",
            leases=server,
            clock=election.steady_clock,
            sleep=asyncio.sleep,
            lease_duration=1.5,
            renew_deadline=1.0,
            retry_period=0.1,
        )
        async with loop_thread.running("lease") as thread:
            await thread.run(candidate.acquire())
            keeping = asyncio.create_task(thread.run(candidate.keep()))
            await asyncio.sleep(0)
            block(2.5)
            assert candidate.leads()
            await thread.run(candidate.release())
            await asyncio.gather(keeping, return_exceptions=True)
            assert keeping.cancelled()

    asyncio.run(run())
    assert server.holder == "", "given back"


def test_nothing_renews_a_lease_that_is_given_back() -> None:
    server, clock = leases.Leases(), leases.Clock()
    candidate = leases.candidate("one", leases=server, clock=clock)

    async def run() -> None:
        await candidate.acquire()
        keeping = asyncio.create_task(candidate.keep())
        for _ in range(5):
            await asyncio.sleep(0)
        await candidate.release()
        assert keeping.cancelled()

    asyncio.run(run())
    assert server.holder == ""


def test_a_process_whose_work_hangs_does_not_keep_the_lease() -> None:
    server, clock = leases.Leases(), leases.Clock()
    alive = True
    candidate = election.Election(
        configuration.LeaderElection().model_copy(update={"resource_namespace": leases.NAMESPACE}),
        api=server,
        identity="one",
        alive=lambda: alive,
        clock=clock,
        sleep=clock.sleep,
    )

    async def run() -> None:
        nonlocal alive
        await candidate.acquire()
        alive = False
        with pytest.raises(election.LeaseLostError, match="nothing moves on here"):
            await candidate.keep()
        assert not candidate.leads()

    asyncio.run(run())


def test_a_process_that_lost_the_lease_ends_even_if_its_work_never_does(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ended = threading.Event()
    monkeypatch.setattr(process, "LAST_SECONDS", 0.1)
    monkeypatch.setattr(os, "_exit", lambda _: ended.set())
    server, clock = leases.Leases(), leases.Clock()
    candidate = leases.candidate("one", leases=server, clock=clock)

    async def run() -> None:
        async with loop_thread.running("lease") as thread:
            await thread.run(candidate.acquire())
            server.hold("two")
            keeping = asyncio.create_task(thread.run(process._keep(candidate)))
            await asyncio.sleep(0)
            # The work is at something that does not end.
            assert ended.wait(20)
            with pytest.raises(election.LeaseLostError, match="lost to two"):
                await keeping

    with caplog.at_level(logging.ERROR):
        asyncio.run(run())
    assert any("This process ends" in message for message in caplog.messages)


def test_a_process_that_lost_the_lease_writes_nothing_from_that_moment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server, clock = leases.Leases(), leases.Clock()
    candidate = leases.candidate("one", leases=server, clock=clock)
    api = client.Client.__new__(client.Client)
    api.may_write = candidate.leads
    asyncio.run(candidate.acquire())
    api._check_lead("PATCH")
    # Nobody has noticed anything yet: the deadline is over, that is all.
    clock.now += configuration.LeaderElection().renew_deadline
    with pytest.raises(client.ApiError, match="does not lead"):
        api._check_lead("PATCH")


class Sleeps:
    """The seconds that a pulse waits for, one after the other, as fast as they can go by."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(pulse, "asyncio", self)

    async def sleep(self, _: float) -> None:
        await asyncio.sleep(0)


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def test_work_that_does_not_move_on_is_dead_after_a_minute_and_alive_when_it_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Sleeps(monkeypatch)

    async def run() -> None:
        work = pulse.Pulse()
        feeling = asyncio.create_task(work.feel())
        beating = asyncio.create_task(work.beat())
        await turns(500)
        assert work.alive
        await ended(beating)
        await turns(int(pulse.DEAD_AFTER) - 5)
        assert work.alive
        await turns(10)
        assert not work.alive
        beating = asyncio.create_task(work.beat())
        await turns(5)
        assert work.alive
        await ended(beating, feeling)

    asyncio.run(run())


async def ended(*tasks: "asyncio.Task[None]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def test_probes_say_that_the_work_is_dead_and_are_answered_while_it_is_busy() -> None:
    address = free_address()
    work = pulse.Pulse()
    asked = configuration.Health.model_validate({"healthProbeBindAddress": address})

    async def status() -> int:
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            return answer.status

    url = f"http://{address}/healthz"

    def while_busy(loop_of_probe: list[int]) -> None:
        loop_of_probe.append(asyncio.run(status()))

    async def run() -> None:
        async with loop_thread.running("servers") as thread:
            serving = health.serving(asked, ready=health.Readiness(), work=work)
            async with thread.inside(serving):
                answers: list[int] = []
                prober = threading.Thread(target=while_busy, args=(answers,))
                prober.start()
                until = time.monotonic() + 20
                while not answers and time.monotonic() < until:
                    block(0.1)
                assert answers == [200], "answered, although this event loop never turned"
                work._silent = pulse.DEAD_AFTER
                assert await status() == 503

    asyncio.run(run())


def test_who_asks_now_gets_an_answer_however_many_connections_are_held(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(endpoint, "MOST_CONNECTIONS", 5)
    address = free_address()
    host, _, port = address.rpartition(":")
    app = health.application(configuration.Health(), ready=health.Readiness(), work=pulse.Pulse())

    async def connect() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(host, int(port))

    async def run() -> None:
        async with endpoint.serving(app, address=address, what="x"):
            held = [await connect() for _ in range(12)]
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"http://{address}/healthz") as answer,
            ):
                assert answer.status == 200
            # The oldest were closed, and as many as may be are held.
            for reader, _ in held[:6]:
                assert await asyncio.wait_for(closed(reader), timeout=20)
            for _, writer in held:
                writer.close()

    asyncio.run(run())


async def closed(reader: asyncio.StreamReader) -> bool:
    try:
        return await reader.read() == b""
    except ConnectionError:
        return True
