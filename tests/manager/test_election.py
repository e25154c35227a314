"""Leader election: who may lead when, what is written, and every fault on the way."""

import asyncio
import random
import re
from collections.abc import Callable

import pytest
from aiohttp import web
from kubernetes.aio import client as kube_client

from lws_kueue.manager.leader import election
from lws_kueue.manager.settings import configuration
from lws_kueue.runtime import client
from tests.kit.memory.leases import Clock, Leases, candidate, error

MICRO_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def leases() -> Leases:
    return Leases()


def raising(fault: Exception, *methods: str, times: int = 10**6) -> Callable[[str], None]:
    """Fail the next ``times`` requests with one of these methods (all without any)."""
    left = times

    def fail(method: str) -> None:
        nonlocal left
        if left > 0 and (not methods or method in methods):
            left -= 1
            raise fault

    return fail


def test_the_first_candidate_makes_the_lease_and_leads(leases: Leases, clock: Clock) -> None:
    one = candidate("one", leases=leases, clock=clock)
    assert not one.leads()
    asyncio.run(one.acquire())
    assert one.leads()
    assert leases.lease is not None
    assert leases.lease["metadata"]["name"] == "b8b2488c.x-k8s.io"
    spec = leases.lease["spec"]
    assert spec["holderIdentity"] == "one"
    assert spec["leaseDurationSeconds"] == 15
    assert spec["leaseTransitions"] == 0
    assert MICRO_TIME.fullmatch(spec["acquireTime"])
    assert MICRO_TIME.fullmatch(spec["renewTime"])


def test_another_ones_lease_is_waited_for_from_when_it_was_seen_to_change(
    leases: Leases, clock: Clock
) -> None:
    # Its times are of the past, but whose clock said so is not known.
    leases.hold("other", seconds=30)
    start = clock.now
    one = candidate("one", leases=leases, clock=clock)
    asyncio.run(one.acquire())
    assert 30 <= clock.now - start <= 32
    assert leases.holder == "one"
    assert leases.lease is not None
    assert leases.lease["spec"]["leaseTransitions"] == 5


def test_a_lease_that_is_renewed_is_never_taken(leases: Leases, clock: Clock) -> None:
    leases.hold("other")
    end = clock.now + 120

    def renew(_: str) -> None:
        if clock.now < end:
            leases.hold("other")

    leases.before = renew
    one = candidate("one", leases=leases, clock=clock)
    asyncio.run(one.acquire())
    assert clock.now >= end + 13, "15 s after the last renewal, which came up to 2 s before the end"


def test_a_lease_that_was_given_back_is_taken_at_once(leases: Leases, clock: Clock) -> None:
    one = candidate("one", leases=leases, clock=clock)
    asyncio.run(one.acquire())
    asyncio.run(one.release())
    assert not one.leads()
    assert leases.holder == ""
    start = clock.now
    two = candidate("two", leases=leases, clock=clock)
    asyncio.run(two.acquire())
    assert clock.now == start
    assert leases.lease is not None
    assert leases.lease["spec"]["leaseTransitions"] == 1


def test_a_lease_that_is_another_ones_by_now_is_not_given_back(
    leases: Leases, clock: Clock
) -> None:
    one = candidate("one", leases=leases, clock=clock)
    asyncio.run(one.acquire())
    leases.hold("other")
    asyncio.run(one.release())
    assert leases.holder == "other"


def test_whoever_never_led_gives_nothing_back(leases: Leases, clock: Clock) -> None:
    asyncio.run(candidate("one", leases=leases, clock=clock).release())
    assert leases.requests == []


def test_renewing_costs_one_request_and_keeps_the_time_of_the_start(
    leases: Leases, clock: Clock
) -> None:
    one = candidate("one", leases=leases, clock=clock)
    asyncio.run(one.acquire())
    assert leases.lease is not None
    before = leases.lease["spec"]
    leases.requests.clear()
    end = clock.now + 60

    def stop(_: str) -> None:
        if clock.now > end:
            raise error(403)

    leases.before = stop
    with pytest.raises(election.LeaseLostError, match="could not be renewed in time"):
        asyncio.run(one.keep())
    good = leases.requests[: 60 // 2]
    assert set(good) == {"PUT"}
    after = leases.lease["spec"]
    assert after["acquireTime"] == before["acquireTime"]
    assert after["renewTime"] > before["renewTime"]
    assert after["leaseTransitions"] == 0


@pytest.mark.parametrize("fault", [error(0), error(500), error(403), error(429), TimeoutError()])
def test_a_leader_that_cannot_renew_stops_before_anybody_else_may_start(
    leases: Leases, clock: Clock, fault: Exception
) -> None:
    one = candidate("one", leases=leases, clock=clock)
    two = candidate("two", leases=leases, clock=clock)
    asyncio.run(one.acquire())
    renewed = clock.now
    leases.before = raising(fault)
    with pytest.raises(election.LeaseLostError):
        asyncio.run(one.keep())
    assert clock.now <= renewed + 10
    assert not one.leads()
    leases.before = lambda _: None
    asyncio.run(two.acquire())
    assert clock.now >= renewed + 15


def test_a_few_failures_in_a_row_lose_nothing(leases: Leases, clock: Clock) -> None:
    one = candidate("one", leases=leases, clock=clock)
    asyncio.run(one.acquire())
    end = clock.now + 100
    lasting = raising(error(503), "PUT", times=3)

    def faults(method: str) -> None:
        if clock.now > end:
            raise error(0)
        lasting(method)

    leases.before = faults
    with pytest.raises(election.LeaseLostError):
        asyncio.run(one.keep())
    assert clock.now > end


def test_a_lease_that_somebody_took_is_lost_at_once(leases: Leases, clock: Clock) -> None:
    one = candidate("one", leases=leases, clock=clock)
    asyncio.run(one.acquire())
    leases.hold("thief")
    start = clock.now
    with pytest.raises(election.LeaseLostError, match="lost to thief"):
        asyncio.run(one.keep())
    assert clock.now <= start + 2
    assert not one.leads()
    assert leases.holder == "thief"


def test_a_process_that_was_stopped_for_long_does_not_lead_when_it_goes_on(
    leases: Leases, clock: Clock
) -> None:
    one = candidate("one", leases=leases, clock=clock)
    asyncio.run(one.acquire())
    clock.now += 10
    assert not one.leads()


def test_a_renewal_whose_answer_was_lost_is_recognised(leases: Leases, clock: Clock) -> None:
    one = candidate("one", leases=leases, clock=clock)
    asyncio.run(one.acquire())
    end = clock.now + 60

    def die(_: str) -> None:
        if clock.now > end:
            raise error(0)

    leases.before = die
    leases.after = raising(error(0), "PUT", times=1)
    with pytest.raises(election.LeaseLostError):
        asyncio.run(one.keep())
    assert clock.now > end


def test_a_lease_that_somebody_removed_is_made_again(leases: Leases, clock: Clock) -> None:
    one = candidate("one", leases=leases, clock=clock)
    asyncio.run(one.acquire())
    leases.lease = None
    end = clock.now + 30

    def die(_: str) -> None:
        if clock.now > end:
            raise error(0)

    leases.before = die
    with pytest.raises(election.LeaseLostError):
        asyncio.run(one.keep())
    assert clock.now > end
    assert leases.holder == "one"


def test_two_that_want_a_free_lease_at_once_do_not_both_get_it(
    leases: Leases, clock: Clock
) -> None:
    two = candidate("two", leases=leases, clock=clock)
    end = clock.now + 5

    def overtake(method: str) -> None:
        # Between the look and the write of the other one.
        if method == "POST" and leases.lease is None:
            leases.hold("one")
        if clock.now > end:
            raise error(403)

    leases.before = overtake
    with pytest.raises(election.NoElectionError):
        asyncio.run(two.acquire())
    assert leases.holder == "one"
    assert not two.leads()


@pytest.mark.parametrize("fault", [error(0), error(503), error(429)])
def test_an_api_server_that_is_away_is_waited_for(
    leases: Leases, clock: Clock, fault: client.ApiError
) -> None:
    leases.before = raising(fault, times=50)
    one = candidate("one", leases=leases, clock=clock)
    asyncio.run(one.acquire())
    assert one.leads()


@pytest.mark.parametrize(
    ("method", "fault"), [("GET", error(403)), ("POST", error(403)), ("POST", error(404))]
)
def test_a_refusal_ends_the_election_and_says_what_to_do(
    leases: Leases, clock: Clock, method: str, fault: client.ApiError
) -> None:
    leases.before = raising(fault, method)
    one = candidate("one", leases=leases, clock=clock)
    with pytest.raises(election.NoElectionError, match=r"lws-kueue-system/b8b2488c.*=false"):
        asyncio.run(one.acquire())


def test_a_request_that_hangs_does_not_keep_a_leader_leading(leases: Leases) -> None:
    """With the real clock: an answer that never comes is given up in time."""

    class Hanging(Leases):
        async def request(self, method: str, path: str, **more: object) -> dict[str, object]:
            if method == "PUT":
                await asyncio.Event().wait()
            return await super().request(method, path, **more)  # type: ignore[arg-type]

    real = election.steady_clock
    hanging = Hanging()
    quick = {"lease_duration": 1.0, "renew_deadline": 0.3, "retry_period": 0.05}
    one = candidate("one", leases=hanging, clock=real, sleep=asyncio.sleep, **quick)

    async def run() -> float:
        await one.acquire()
        start = real()
        with pytest.raises(election.LeaseLostError):
            await one.keep()
        return real() - start

    assert asyncio.run(run()) < 0.9
    assert not one.leads()


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_whoever_does_not_lead_sends_no_write(method: str) -> None:
    async def run() -> client.ApiError:
        # Nobody listens at this address; a request that is sent fails otherwise.
        api = client.Client(kube_client.Configuration(host="http://127.0.0.1:9"))
        try:
            with pytest.raises(client.ApiError) as sent:
                await api.request(method, "/x")
            assert sent.value.reason == "ClientConnectorError"
            api.may_write = lambda: False
            with pytest.raises(client.ApiError) as read:
                await api.request("GET", "/x")
            assert read.value.reason == "ClientConnectorError"
            with pytest.raises(client.ApiError) as caught:
                await api.request(method, "/x")
            return caught.value
        finally:
            await api.close()

    refused = asyncio.run(run())
    assert refused.reason == "NotLeading"
    assert client.unreachable(refused), "it is tried again, if there is an again"


@pytest.mark.parametrize("reused", [False, True])
def test_a_lead_that_is_lost_while_a_connection_is_made_stops_the_write(reused: bool) -> None:
    async def run() -> list[str]:
        heard: list[str] = []

        async def answer(request: web.Request) -> web.Response:
            heard.append(request.method)
            return web.json_response({})

        app = web.Application()
        app.router.add_route("*", "/x", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        api = client.Client(kube_client.Configuration(host=f"http://{host}:{port}"))
        try:
            if reused:
                await api.request("GET", "/x")
            answers = iter([True, False])
            api.may_write = lambda: next(answers)
            with pytest.raises(client.ApiError) as caught:
                await api.request("POST", "/x")
            assert caught.value.reason == "NotLeading"
            api.may_write = lambda: True
            await api.request("PATCH", "/x")
        finally:
            await api.close()
            await runner.cleanup()
        return heard

    assert asyncio.run(run()) == [*(["GET"] if reused else []), "PATCH"]


def test_identities_differ() -> None:
    assert election.identity() != election.identity()


PAUSES = (0.0, 2.0, 4.9, 9.5, 15.0)


@pytest.mark.parametrize("seed", range(40))
def test_there_are_never_two_leaders(seed: int) -> None:
    """Whatever is tried, lost on the way or cut off: at every moment at most one leads."""
    chance = random.Random(seed)
    leases, clock = Leases(), Clock()
    candidates = [candidate(f"{n}", leases=leases, clock=clock) for n in range(2)]

    async def play() -> None:
        for step in range(200):
            who = chance.randrange(len(candidates))
            fault = chance.choice(["", "", "before", "after"])
            leases.before = raising(error(0)) if fault == "before" else lambda _: None
            leases.after = raising(error(0)) if fault == "after" else lambda _: None
            match chance.choice(["try", "try", "try", "try", "release", "crash"]):
                case "try":
                    await candidates[who]._attempt(within=5)
                case "release":
                    await candidates[who].release()
                case "crash":
                    candidates[who] = candidate(f"{who}-{step}", leases=leases, clock=clock)
            assert sum(c.leads() for c in candidates) <= 1
            clock.now += chance.choice(PAUSES)

    asyncio.run(play())


def test_without_a_namespace_in_the_file_the_lease_is_in_that_of_the_process() -> None:
    chosen = configuration.LeaderElection()
    one = election.Election(chosen, api=Leases(), identity="one")
    assert chosen.namespace == "lws-kueue-system"
    assert one.name == f"{chosen.namespace}/{chosen.resource_name}"
