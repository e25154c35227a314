"""An API server with one Lease and no network, and a clock that a test moves."""

import asyncio
import copy
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from lws_kueue.manager.leader import election
from lws_kueue.manager.settings import configuration
from lws_kueue.runtime import client, resources

NAMESPACE = "lws-kueue-system"


class Clock:
    """Seconds that pass when a test, or a sleeper, says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


def error(status: int, reason: str = "") -> client.ApiError:
    return client.ApiError(status=status, reason=reason, message=f"no: {status}", request="lease")


class Leases(client.Client):
    """The Lease as an API server keeps it: versions, conflicts, and faults that a test asks for."""

    def __init__(self) -> None:
        self.lease: dict[str, Any] | None = None
        self.version = 0
        self.requests: list[str] = []
        # Called before a request is carried out, and after; what they raise, the client sees.
        self.before: Callable[[str], None] = lambda _: None
        self.after: Callable[[str], None] = lambda _: None

    async def get(
        self, resource: resources.Resource, *, namespace: str = "", name: str
    ) -> dict[str, Any] | None:
        assert (resource, namespace) == (election.LEASES, NAMESPACE)
        self._faulty(self.before, "GET")
        found = copy.deepcopy(self.lease)
        self.after("GET")
        return found

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = "application/json",
    ) -> dict[str, Any]:
        self._faulty(self.before, method)
        if method == "POST" and self.lease is not None:
            raise error(409, "AlreadyExists")
        if method == "PUT":
            if self.lease is None:
                raise error(404)
            if body["metadata"]["resourceVersion"] != self.lease["metadata"]["resourceVersion"]:
                raise error(409, "Conflict")
        self.version += 1
        self.lease = copy.deepcopy(body)
        self.lease["metadata"]["resourceVersion"] = str(self.version)
        answer = copy.deepcopy(self.lease)
        self.after(method)
        return answer

    def _faulty(self, fault: Callable[[str], None], method: str) -> None:
        self.requests.append(method)
        fault(method)

    @property
    def holder(self) -> str:
        assert self.lease is not None
        holder: str = self.lease["spec"]["holderIdentity"]
        return holder

    def hold(self, holder: str, *, seconds: int = 15) -> None:
        """Have another process renew the Lease now."""
        self.version += 1
        self.lease = {
            "metadata": {"resourceVersion": str(self.version)},
            "spec": {
                "holderIdentity": holder,
                "leaseDurationSeconds": seconds,
                "acquireTime": "2026-01-01T00:00:00.000000Z",
                "renewTime": f"2026-01-01T00:00:00.{self.version:06}Z",
                "leaseTransitions": 4,
            },
        }


def candidate(
    name: str,
    *,
    leases: Leases,
    clock: Callable[[], float],
    sleep: Callable[[float], Awaitable[None]] | None = None,
    **more: Any,
) -> election.Election:
    """A process that stands for election; without ``sleep``, the clock moves when it waits."""
    if sleep is None:
        assert isinstance(clock, Clock)
        sleep = clock.sleep
    return election.Election(
        configuration.LeaderElection().model_copy(update={"resource_namespace": NAMESPACE, **more}),
        api=leases,
        identity=name,
        clock=clock,
        sleep=sleep,
    )
