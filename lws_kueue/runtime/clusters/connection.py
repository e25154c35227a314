"""The connection to one worker cluster: its kubeconfig is followed, and it is asked how it does.

Other bytes in the Secret make another client. That has to answer before it takes the place of the
one that answers now; until then, and where it never does, that one goes on and the condition says
so. Whether the cluster is lost is for its answers alone to say.
"""

import asyncio
import contextlib
import dataclasses
import datetime
import logging
import random
from collections.abc import Callable, Mapping
from typing import Any, Final

from lws_kueue.dispatch import check_condition, eligibility, kubeconfig
from lws_kueue.runtime import client
from lws_kueue.runtime.clusters import access, link, probe

# How often a cluster that answers is asked whether it does, in seconds.
BEAT: Final = 5.0

# Pauses between attempts grow from the first to the second of these, in seconds.
FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 60.0
_LEAST: Final = 0.05

# Says why groups cannot be dispatched to the cluster of a name that has been seen to serve this.
Problems = Callable[[str, eligibility.Served], tuple[str, ...]]

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class Seen:
    """What is known of a cluster.

    - ``fault``: why it does not answer, None if it does.
    - ``served``: what it served when it was last looked at.
    - ``refused``: why the kubeconfig that there is now is not the one in use, "" if it is.
    """

    link: link.Link
    fault: probe.Fault | None = None
    served: eligibility.Served | None = None
    refused: str = ""


def facts(seen: Seen, problems: tuple[str, ...]) -> check_condition.ClusterFacts:
    """Say what that is to the AdmissionChecks that name the cluster."""
    note = f"{seen.refused}; the kubeconfig before it goes on" if seen.refused else ""
    if seen.link.lost and seen.fault is not None and seen.fault.reason != "BadKubeConfig":
        since = f"{seen.link.since:%Y-%m-%dT%H:%M:%SZ}"
        text = f"{seen.fault.text}; lost since {since}"
        return check_condition.ClusterFacts(f"{seen.refused}; {text}" if seen.refused else text)
    if seen.fault is not None and not seen.link.reached:
        return check_condition.ClusterFacts(seen.fault.text)
    if seen.served is None:
        return check_condition.ClusterFacts("it is being connected")
    problem = "; ".join((*problems, *((note,) if note else ()))) if problems else ""
    return check_condition.ClusterFacts(problem, note)


class _Pause:
    """A pause that grows with each attempt in vain."""

    def __init__(self) -> None:
        self._attempts = 0
        self.until = 0.0

    def grow(self, now: float) -> None:
        seconds = min(LONGEST_PAUSE, FIRST_PAUSE * 2**self._attempts)
        self._attempts = min(self._attempts + 1, 10)
        # Clusters that were lost together are not asked together.
        self.until = now + seconds * random.uniform(0.8, 1.2)  # noqa: S311 - it is no secret

    def end(self) -> None:
        self._attempts, self.until = 0, 0.0


class _Access:
    """A client, and the kubeconfig that it is made of."""

    def __init__(
        self, endpoint: kubeconfig.Endpoint, settings: access.Settings, home: client.Client
    ) -> None:
        self.endpoint = endpoint
        self.api = access.client_of(endpoint, settings=settings)
        # Whoever may write here may write there.
        self.api.may_write = lambda: home.may_write()
        self.pause = _Pause()


class Connection:
    """One cluster, from a MultiKueueCluster of that name."""

    def __init__(
        self,
        cluster: Mapping[str, Any],
        *,
        home: client.Client,
        settings: access.Settings,
        problems: Problems,
        changed: Callable[[], None],
        before: link.Link | None = None,
    ) -> None:
        """``changed`` is called whenever `seen` is another one.

        ``before`` is the link as another process has left it.
        """
        self.name = str(cluster["metadata"]["name"])
        self.seen = Seen(before or link.Link())
        self._cluster = cluster
        self._home = home
        self._settings = settings
        self._problems = problems
        self._changed = changed
        self._used: _Access | None = None
        self._next: _Access | None = None
        self._look_at = 0.0
        self._full_at = 0.0
        self._woken = asyncio.Event()

    @property
    def api(self) -> client.Client | None:
        """The client in use; None as long as there was no kubeconfig that could be used."""
        return self._used.api if self._used is not None else None

    def follow(self, cluster: Mapping[str, Any]) -> None:
        """Take the MultiKueueCluster as it is now."""
        before, self._cluster = self._cluster, cluster
        if before.get("spec") != cluster.get("spec"):
            self._look_at = 0.0
            self._woken.set()

    async def run(self) -> None:
        """Be connected until cancelled."""
        try:
            while True:
                before = self.seen
                try:
                    await self._turn()
                except Exception:
                    logger.exception("Cluster %s: what it answers was not understood", self.name)
                    self._failed(
                        _now(), probe.Fault("NotKubernetes", "its answers are not legible")
                    )
                if self.seen != before:
                    self._log(before)
                    self._changed()
                await self._rest()
        finally:
            for one in (self._used, self._next):
                if one is not None:
                    await one.api.close()

    def _log(self, before: Seen) -> None:
        seen = self.seen
        if seen.link.up and not before.link.up:
            logger.info("Cluster %s is connected", self.name)
        if seen.link.lost and not before.link.lost:
            text = seen.fault.text if seen.fault is not None else ""
            logger.warning("Cluster %s is lost: %s", self.name, text)
        if seen.refused and seen.refused != before.refused:
            logger.warning("Cluster %s: %s", self.name, seen.refused)

    async def _turn(self) -> None:
        if self._time() >= self._look_at:
            await self._look()
        if self._next is not None and self._time() >= self._next.pause.until:
            await self._prove()
        if self._used is not None and self._time() >= self._used.pause.until:
            await self._ask(self._used)
        self.seen = dataclasses.replace(self.seen, link=self.seen.link.by(_now()))

    async def _rest(self) -> None:
        """Wait until something is due, or has changed."""
        now = self._time()
        due = [self._look_at - now]
        if self._next is not None:
            due.append(self._next.pause.until - now)
        if self._used is not None:
            paused = self._used.pause.until - now
            due.append(paused if paused > 0 else BEAT)
        if left := self.seen.link.left(_now()):
            # It may have to be told that it is lost.
            due.append(left)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(_LEAST, min(due))):
                await self._woken.wait()
        self._woken.clear()

    # Its kubeconfig --------------------------------------------------------------------------

    async def _look(self) -> None:
        """Read the kubeconfig; one that is another one has to prove itself, or is the first."""
        begun = _now()
        self._look_at = self._time() + self._settings.interval
        try:
            source = access.Source.of(self._cluster)
            endpoint = await access.endpoint_of(source, home=self._home, settings=self._settings)
            if self._used is not None and endpoint == self._used.endpoint:
                await self._drop_next()
                self._see(refused="")
                return
            if self._next is not None and endpoint == self._next.endpoint:
                return
            found = _Access(endpoint, self._settings, self._home)
        except kubeconfig.Refused as error:
            await self._drop_next()
            await self._refuse(begun, str(error))
            return
        except client.ApiError as error:
            logger.info("The kubeconfig of cluster %s is not known: %s", self.name, error)
            return
        await self._drop_next()
        if self._used is not None and self.seen.link.reached:
            self._next = found
        else:
            await self._use(found)

    async def _drop_next(self) -> None:
        if self._next is not None:
            await self._next.api.close()
            self._next = None

    async def _refuse(self, begun: datetime.datetime, why: str) -> None:
        """Go on with the client in use, if it has ever been of use."""
        if self.seen.link.reached:
            self._see(refused=why)
            return
        if self._used is not None:
            await self._used.api.close()
            self._used = None
        self._failed(begun, probe.Fault("BadKubeConfig", why))

    async def _use(self, found: _Access) -> None:
        """Go on with another client."""
        before, self._used = self._used, found
        self._changed()
        self._full_at = 0.0
        self._see(refused="")
        if before is not None:
            logger.info("Cluster %s: its new kubeconfig is in use", self.name)
            await before.api.close()

    async def _prove(self) -> None:
        """Put the next client into the place of the one in use, if it is as good."""
        found = self._next
        assert found is not None
        try:
            served = await probe.served(found.api)
        except client.ApiError as error:
            problems: tuple[str, ...] = (probe.fault_of(error, found.endpoint).text,)
        else:
            problems = self._problems(self.name, served)
            if not problems or not self._usable():
                self._next = None
                await self._use(found)
                self._answered(served)
                return
        found.pause.grow(self._time())
        what = access.Source.of(self._cluster).told(self._settings)
        self._see(refused=f"{what} does not work: {'; '.join(problems)}")

    def _usable(self) -> bool:
        """Whether groups can be dispatched with the client in use."""
        served = self.seen.served
        up = self.seen.fault is None and served is not None
        return up and not (served and self._problems(self.name, served))

    # How it does -----------------------------------------------------------------------------

    async def _ask(self, used: _Access) -> None:
        """Ask the cluster whether it answers, and from time to time what it serves."""
        begun = _now()
        full = self.seen.fault is not None or self._time() >= self._full_at
        try:
            if full:
                self._answered(await probe.served(used.api))
            else:
                await probe.beat(used.api)
                self._answered(self.seen.served)
        except client.ApiError as error:
            fault = probe.fault_of(error, used.endpoint)
            used.pause.grow(self._time())
            if fault.final:
                # Perhaps it has been replaced, and nobody has looked.
                await self._look()
                if self._next is not None:
                    await self._prove()
                if self._used is not used:
                    return
            self._failed(begun, fault)

    def _answered(self, served: eligibility.Served | None) -> None:
        if self._used is not None:
            self._used.pause.end()
        if served is not self.seen.served:
            self._full_at = self._time() + self._settings.interval
        answered = self.seen.link.answered()
        self.seen = dataclasses.replace(self.seen, link=answered, fault=None, served=served)

    def _failed(self, begun: datetime.datetime, fault: probe.Fault) -> None:
        failed = self.seen.link.failed(begun=begun, now=_now(), for_good=fault.final)
        self.seen = dataclasses.replace(self.seen, link=failed, fault=fault)

    def _see(self, *, refused: str) -> None:
        self.seen = dataclasses.replace(self.seen, refused=refused)

    def _time(self) -> float:
        return asyncio.get_running_loop().time()


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
