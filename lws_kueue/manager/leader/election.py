"""Leader election on a Lease: only the leader reconciles, and it knows when it no longer leads.

The election that comes with the Kubernetes client for asyncio is not used: it gives no lease back
at the end, a request that hangs keeps it leading past its deadline, an error of the connection
ends it, and it writes local time as UTC, which the Go manager would read. `lease` has the rules;
here are the requests.
"""

import asyncio
import datetime
import logging
import os
import socket
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, Final

from lws_kueue.manager.leader import lease
from lws_kueue.manager.settings import configuration
from lws_kueue.runtime import client, metrics, resources

LEASES: Final = resources.Resource("coordination.k8s.io/v1", "Lease", "leases")

_RELEASE_SECONDS: Final = 2.0

# Where there is one, a clock that goes on while the machine sleeps: a lease does as well.
_BOOT_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)

logger = logging.getLogger(__name__)


class NoElectionError(Exception):
    """The Lease cannot be had at all; the message says why and what to do."""


class LeaseLostError(Exception):
    """Another process leads, or may lead by now; this one must not write any more."""


def identity() -> str:
    """Return a name that no other process has, and that people can read."""
    return f"{socket.gethostname()}_{os.getpid()}_{uuid.uuid4().hex[:12]}"


def steady_clock() -> float:
    """Return seconds that never go back."""
    return time.clock_gettime(_BOOT_CLOCK)


class Election:
    """One candidate for one Lease."""

    def __init__(
        self,
        settings: configuration.LeaderElection,
        *,
        api: client.Client,
        identity: str,
        alive: Callable[[], bool] = lambda: True,
        clock: Callable[[], float] = steady_clock,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """``api`` has to be one that does not ask this election before it writes.

        ``alive`` says whether this process works: one that does not leads no longer.
        """
        self._settings = settings
        self._namespace = settings.namespace
        self._api = api
        self._alive = alive
        self._clock = clock
        self._sleep = sleep
        self._keeping: asyncio.Task[Any] | None = None
        self._record = lease.Record(
            identity=identity,
            lease_duration=settings.lease_duration,
            renew_deadline=settings.renew_deadline,
        )
        self._told_of = ""
        metrics.leads(settings.resource_name, False)

    @property
    def name(self) -> str:
        """The Lease, for people and for the label of a metric."""
        return f"{self._namespace}/{self._settings.resource_name}"

    def leads(self) -> bool:
        """Whether this process is the leader at this very moment; any thread may ask."""
        return self._record.leads(now=self._clock())

    async def acquire(self) -> None:
        """Wait until this process is the leader.

        Raises:
            NoElectionError: the API server refuses, and will refuse again.
        """
        while not await self._attempt(within=self._settings.renew_deadline, fatal=True):
            if self._record.holder != self._told_of:
                self._told_of = self._record.holder
                logger.info("%s leads; waiting for the Lease %s", self._told_of, self.name)
            await self._sleep(self._settings.retry_period)
        metrics.leads(self._settings.resource_name, True)
        logger.info("This process leads; it holds the Lease %s", self.name)

    async def keep(self) -> None:
        """Renew until that fails; never returns.

        Raises:
            LeaseLostError: always, in the end.
        """
        self._keeping = asyncio.current_task()
        deadline, retry = self._settings.renew_deadline, self._settings.retry_period
        while True:
            await self._sleep(min(retry, self._remaining()))
            if not self._alive():
                self._give_up()
                raise LeaseLostError(
                    f"the Lease {self.name} is not renewed, because nothing moves on here"
                )
            if self.leads():
                # Half of it, so that a request that hangs leaves time for another one.
                await self._attempt(within=min(deadline / 2, self._remaining()))
            if not self.leads():
                holder = self._record.holder
                self._give_up()
                raise LeaseLostError(
                    f"the Lease {self.name} could not be renewed in time"
                    if self._record.mine
                    else f"the Lease {self.name} was lost to {holder or 'nobody'}"
                )

    def _remaining(self) -> float:
        """Return for how many seconds this process leads if nothing happens."""
        return max(0.0, self._record.renewed_at + self._settings.renew_deadline - self._clock())

    async def release(self) -> None:
        """Give the Lease back, so that a successor need not wait; best effort.

        Nothing renews it any more when that begins.
        """
        if self._keeping is not None and self._keeping is not asyncio.current_task():
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
        if not self.leads():
            return
        self._give_up()
        spec = self._record.resignation(wall=datetime.datetime.now(datetime.UTC))
        try:
            async with asyncio.timeout(_RELEASE_SECONDS):
                await self._put(spec)
        except (client.ApiError, TimeoutError) as error:
            logger.info("The Lease %s was not given back: %s", self.name, error)
        else:
            logger.info("The Lease %s was given back", self.name)

    def _give_up(self) -> None:
        self._record.give_up()
        metrics.leads(self._settings.resource_name, False)

    async def _attempt(self, *, within: float, fatal: bool = False) -> bool:
        """Try once to get or renew the Lease; returns whether this process leads."""
        try:
            async with asyncio.timeout(within):
                return await self._try()
        except TimeoutError:
            logger.warning("The Lease %s: no answer in %.0f s", self.name, within)
        except client.ApiError as error:
            if fatal and not client.unreachable(error):
                raise NoElectionError(self._advice(error)) from error
            logger.warning("The Lease %s: %s", self.name, error)
        return False

    def _advice(self, error: client.ApiError) -> str:
        return (
            f"no leader can be elected with the Lease {self.name}: {error.message} "
            "(deploy/manager has the namespace and the Role that are needed; a process that is "
            "alone needs no election: --leader-elect=false)"
        )

    async def _try(self) -> bool:
        """Claim the Lease, from what is known of it if this process holds it, else afresh."""
        if self._record.mine and await self._claim():
            return True
        lease = await self._api.get(
            LEASES, namespace=self._namespace, name=self._settings.resource_name
        )
        self._record.see(lease, now=self._clock())
        if not self._record.mine:
            self._give_up()
        return self._record.free(now=self._clock()) and await self._claim()

    async def _claim(self) -> bool:
        """Write this process into the Lease, unless somebody was faster."""
        sent_at = self._clock()
        spec = self._record.claim(wall=datetime.datetime.now(datetime.UTC))
        try:
            lease = await self._put(spec)
        except client.ApiError as error:
            # 404: somebody removed the Lease. It is looked for, and made again.
            if error.status == 409 or (error.status == 404 and self._record.resource_version):
                return False
            raise
        self._record.written(lease, sent_at=sent_at, now=self._clock())
        return True

    async def _put(self, spec: dict[str, Any]) -> dict[str, Any]:
        """Write the Lease if it is what it was when it was last seen."""
        namespace, name = self._namespace, self._settings.resource_name
        body: dict[str, Any] = {
            "apiVersion": LEASES.api_version,
            "kind": LEASES.kind,
            "metadata": {"name": name, "namespace": namespace},
            "spec": spec,
        }
        if not self._record.resource_version:
            return await self._api.request("POST", LEASES.path(namespace=namespace), body=body)
        body["metadata"]["resourceVersion"] = self._record.resource_version
        return await self._api.request(
            "PUT", LEASES.path(namespace=namespace, name=name), body=body
        )
