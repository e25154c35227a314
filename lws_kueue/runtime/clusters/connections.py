"""All worker clusters: which there are, who is connected, and what is said of it in conditions.

MultiKueueConfigs and MultiKueueClusters are watched here and nowhere else, so that nobody pays for
them who does not dispatch; AdmissionChecks are watched for every set in a queue anyway, and read in
the cache. Two conditions are written, each by an apply of
that one condition, at changes only: `Active` of our checks, and `LWSKueueConnected` of the
clusters, which keeps the time of the first loss across a restart. Kueue's own condition of a
MultiKueueCluster is neither read nor written.
"""

import asyncio
import datetime
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from lws_kueue.api import kueue, names
from lws_kueue.dispatch import check_condition, eligibility, identity
from lws_kueue.runtime import cache, client, keys, metrics, recorder, reflector, resources
from lws_kueue.runtime.clusters import access, connection, link, pauses, probe, worker

# Changes that come together are answered together.
_TOGETHER: Final = 0.05

# How long to wait at first before a condition is written again that was refused, or a kind is asked
# for again that is not served, in seconds.
RETRY: Final = 5.0

# For so many seconds a write to a cluster may be under way that was decided on while it was named.
LINGERS: Final = 20.0

_KINDS: Final = (resources.MULTIKUEUE_CONFIGS, resources.MULTIKUEUE_CLUSTERS)

logger = logging.getLogger(__name__)

_Object = Mapping[str, Any]


class Connections:
    """The clusters that our AdmissionChecks name."""

    def __init__(
        self,
        *,
        home: client.Client,
        store: cache.Cache,
        sink: reflector.Sink,
        settings: access.Settings,
        events: recorder.Recorder,
    ) -> None:
        """``store`` knows the AdmissionChecks; ``sink`` takes them as they were written."""
        self._events = events
        self._touched: worker.Touched = _nobody
        self._wake: Callable[[], Awaitable[None]] = _nobody_at_all
        self._workers: dict[str, worker.Worker] = {}
        self._known = False
        self._unnamed: dict[str, float] = {}
        self._given_up_after: datetime.timedelta | None = None
        self._named: Callable[[str], bool] = _no
        self._pauses = pauses.Pauses()
        self._later: dict[str, asyncio.TimerHandle] = {}
        self._home = home
        self._store = store
        self._sink = sink
        self._settings = settings
        self._objects: dict[resources.Resource, dict[str, dict[str, Any]]] = {}
        self._unread: dict[resources.Resource, str] = {}
        self._manager = ""
        self._connections: dict[str, connection.Connection] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._watching: dict[str, asyncio.Task[None]] = {}
        self._changed = asyncio.Event()
        store.on_admission_check = self._changed.set

    def attach(
        self,
        *,
        touched: worker.Touched,
        changed: Callable[[], Awaitable[None]],
        given_up_after: datetime.timedelta,
        named: Callable[[str], bool],
    ) -> None:
        """Say who is told of which sets a cluster has something new, and when a cluster changes.

        After ``given_up_after`` nobody waits for a cluster that is lost. ``named`` says whether a
        group was given to a cluster, as the manager has it.
        """
        self._touched, self._wake = touched, changed
        self._given_up_after, self._named = given_up_after, named

    # For those who dispatch ------------------------------------------------------------------

    @property
    def manager(self) -> identity.Manager | None:
        """Who we are to the clusters, None while that is not known."""
        if not self._manager:
            return None
        origin = self._settings.origin or identity.default_origin(self._manager)
        return identity.Manager(self._manager, origin)

    @property
    def known(self) -> bool:
        """Whether all clusters are known in which anything of ours may be."""
        return self._known and not self._unread

    @property
    def known_sets(self) -> set[keys.SetKey]:
        """The sets of which a cluster has something."""
        return {key for one in self._workers.values() for key in one.store.known_sets}

    def has(self, key: keys.SetKey) -> bool:
        """Whether a cluster has something of a set."""
        return key in self.known_sets

    def get(self, name: str) -> connection.Connection | None:
        """Return the connection to a cluster, None if it is not known."""
        return self._connections.get(name)

    def of(self, name: str) -> worker.Worker | None:
        """Return what is known of a cluster by its name, None if nothing is."""
        return self._workers.get(name)

    def workers(self, configured: Sequence[str]) -> tuple[worker.Worker, ...]:
        """Return all clusters that are known, those ``configured`` first and in their order."""
        known = [name for name in self._workers if not self._is_another(name)]
        first = [name for name in configured if name in known]
        others = sorted(name for name in known if name not in first)
        return tuple(self._workers[name] for name in (*first, *others))

    def configured(self, checks: Collection[str]) -> tuple[str, ...]:
        """Return the clusters that the configurations of ``checks`` name, in their order."""
        configs = self._configs()
        own = {check.meta.name: check for check in self._checks()}
        referred = (_parameters(own[name]) for name in sorted(checks) if name in own)
        named = (
            cluster
            for parameters in referred
            if parameters is not None and check_condition.refers(parameters)
            for cluster in configs.get(parameters.name, ())
        )
        existing = self._objects.get(resources.MULTIKUEUE_CLUSTERS, {})
        return tuple(dict.fromkeys(name for name in named if name in existing))

    def trouble(self, name: str) -> str:
        """Return why a cluster can have no groups, "" if it can.

        Only one of which it is stored that we are connected to it is known after a restart.
        """
        stored = self._objects[resources.MULTIKUEUE_CLUSTERS].get(name, {})
        if _condition(stored, names.CLUSTER_CONNECTED) is None:
            return "it is being connected"
        return self._facts(self._connections[name]).problem

    async def run(self) -> None:
        """Connect, and tell of it, until cancelled."""
        watches = [
            asyncio.create_task(self._watch(kind), name=f"watching {kind.plural}")
            for kind in _KINDS
        ]
        try:
            await self._know_the_manager()
            while True:
                await self._changed.wait()
                await asyncio.sleep(_TOGETHER)
                self._changed.clear()
                if not self._all_known():
                    continue
                try:
                    # Of what cannot be read nobody knows what it is by now.
                    if not self._unread:
                        await self._connect()
                        self._known = True
                    for one in self._workers.values():
                        one.changed.set()
                    await self._tell()
                    await self._wake()
                except Exception:
                    logger.exception("What is said of worker clusters could not be written")
                    self._once_more()
        finally:
            everything = [*watches, *self._tasks.values(), *self._watching.values()]
            for task in everything:
                task.cancel()
            await asyncio.gather(*everything, return_exceptions=True)

    async def _know_the_manager(self) -> None:
        """Find out what the manager is known by; nothing can be told before."""
        while not self._manager:
            try:
                self._manager = await probe.uid_of(self._home)
            except client.ApiError as error:
                logger.info("The manager's own cluster is not known yet: %s", error)
            if not self._manager:
                await asyncio.sleep(RETRY)

    # What there is ---------------------------------------------------------------------------

    async def _watch(self, kind: resources.Resource) -> None:
        await reflector.Reflector(kind, api=self._home, sink=self._take, list_anew=self._list).run()

    async def _take(self, kind: resources.Resource, event: str | None, obj: dict[str, Any]) -> None:
        known, name = self._objects.setdefault(kind, {}), obj["metadata"]["name"]
        if event == "DELETED":
            known.pop(name, None)
        elif name not in known or not cache.newer(_version(known[name]), _version(obj)):
            # Otherwise the answer to our own write was here before.
            known[name] = obj
        self._changed.set()

    async def _list(self, kind: resources.Resource) -> str:
        """List a kind; while that is not possible, say why and try again."""
        while True:
            try:
                found, as_of = await self._listed(kind)
            except client.ApiError as error:
                if client.unreachable(error):
                    raise
                if self._unread.get(kind) != (text := _unread(kind, error)):
                    logger.warning("%s cannot be listed: %s", kind.plural, text)
                self._unread[kind] = text
                self._objects[kind] = {}
                self._changed.set()
                await asyncio.sleep(self._settings.interval)
                continue
            self._unread.pop(kind, None)
            self._objects[kind] = found
            self._changed.set()
            return as_of

    async def _listed(self, kind: resources.Resource) -> tuple[dict[str, dict[str, Any]], str]:
        found: dict[str, dict[str, Any]] = {}
        as_of = ""
        async for page in self._home.pages(kind):
            found |= {one["metadata"]["name"]: one for one in page.items}
            as_of = page.resource_version
        return found, as_of

    def _all_known(self) -> bool:
        return all(kind in self._objects for kind in _KINDS)

    def _checks(self) -> list[kueue.AdmissionCheck]:
        """Return the AdmissionChecks that are ours."""
        known: Iterable[kueue.AdmissionCheck] = self._store.all(resources.ADMISSION_CHECKS)
        return [one for one in known if one.controller_name == names.DISPATCH_CONTROLLER]

    def _configs(self) -> dict[str, list[str]]:
        return {
            name: [str(cluster) for cluster in _spec(obj).get("clusters") or ()]
            for name, obj in self._objects[resources.MULTIKUEUE_CONFIGS].items()
        }

    def _wanted(self) -> dict[str, dict[str, Any]]:
        """Return the MultiKueueClusters that a config of a check of ours names."""
        configs = self._configs()
        referred = (_parameters(check) for check in self._checks())
        named = {
            cluster
            for parameters in referred
            if parameters is not None and check_condition.refers(parameters)
            for cluster in configs.get(parameters.name, ())
        }
        known = self._objects[resources.MULTIKUEUE_CLUSTERS]
        # Whoever was connected to one before may have left something there.
        named |= {
            name
            for name, one in known.items()
            if _condition(one, names.CLUSTER_CONNECTED) is not None
            and name not in self._connections
        }
        return {name: known[name] for name in sorted(named) if name in known}

    # Who is connected ------------------------------------------------------------------------

    async def _connect(self) -> None:
        wanted = self._wanted()
        now = asyncio.get_running_loop().time()
        self._unnamed = {
            name: self._unnamed.get(name, now) for name in self._connections if name not in wanted
        }
        for name, since in list(self._unnamed.items()):
            # What nobody names any more is known until nothing of ours is left there, and nothing
            # can be under way any more.
            left = since + LINGERS - now
            if not self._used(name) or self._is_given_up(name):
                await self._disconnect(name)
            elif left > 0:
                asyncio.get_running_loop().call_later(left, self._changed.set)
            elif self._workers[name].done and self._workers[name].leave():
                await self._disconnect(name)
        for name, cluster in wanted.items():
            if name in self._connections:
                self._connections[name].follow(cluster)
                self._workers[name].stay()
            else:
                self._begin(cluster)

    def _begin(self, cluster: dict[str, Any]) -> None:
        one = connection.Connection(
            cluster,
            home=self._home,
            settings=self._settings,
            problems=self._problems,
            changed=self._changed.set,
            before=_remembered(cluster),
        )
        self._connections[one.name] = one
        self._tasks[one.name] = asyncio.create_task(one.run(), name=f"cluster {one.name}")
        manager = self.manager
        assert manager is not None
        self._workers[one.name] = worker.Worker(
            one,
            manager=manager,
            events=self._events,
            touched=self._touched,
            changed=self._changed.set,
        )
        self._watching[one.name] = asyncio.create_task(
            self._workers[one.name].run(), name=f"objects of {one.name}"
        )

    def _is_given_up(self, name: str) -> bool:
        """Whether a cluster is lost for good: nobody waits for it, or could reach it (MK-39).

        Its MultiKueueCluster was deleted while it did not answer. As long as that is there the
        cluster may come back, and has to be cleaned then.
        """
        found, timeout = self._workers[name].link(_now()), self._given_up_after
        if timeout is None or found.up or name in self._objects[resources.MULTIKUEUE_CLUSTERS]:
            return False
        left = (timeout - found.lost_for(_now())).total_seconds()
        if left < 0 and not self._named(name):
            return True
        self._look_again(name, max(left + 1, RETRY))
        return False

    def _look_again(self, what: str, seconds: float) -> None:
        """Look at everything in so many seconds because of one thing, or sooner."""
        before = self._later.get(what)
        if before is None or before.when() <= asyncio.get_running_loop().time():
            later = asyncio.get_running_loop().call_later(seconds, self._changed.set)
            self._later[what] = later

    def _used(self, name: str) -> bool:
        """Whether groups may ever have been offered to a cluster."""
        stored = self._objects[resources.MULTIKUEUE_CLUSTERS].get(name)
        told = stored is None or _condition(stored, names.CLUSTER_CONNECTED) is not None
        return told and not self._is_another(name)

    def _is_another(self, name: str) -> bool:
        """Whether a cluster is the manager's own, or one that is known by another name as well."""
        served = self._connections[name].seen.served
        if served is None or not served.uid:
            return False
        return served.uid == self._manager or served.uid in self._older(name)

    async def _disconnect(self, name: str) -> None:
        logger.info("Cluster %s is named by no AdmissionCheck of ours any more", name)
        tasks = (self._tasks.pop(name), self._watching.pop(name))
        del self._connections[name], self._workers[name]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        metrics.cluster_gone(name)
        left = self._objects[resources.MULTIKUEUE_CLUSTERS].get(name)
        if left is not None and _condition(left, names.CLUSTER_CONNECTED) is not None:
            # Nobody looks any more, so nothing is said.
            await self._write_of_cluster(name, None)

    def _problems(self, name: str, served: eligibility.Served) -> tuple[str, ...]:
        """Say why groups cannot be dispatched to a cluster.

        Of two MultiKueueClusters that are one cluster the older one counts.
        """
        return eligibility.problems(served, manager=self._manager, others=self._older(name))

    def _older(self, name: str) -> dict[str, str]:
        """Return the clusters that count before one, by what they are known by."""
        known = self._objects[resources.MULTIKUEUE_CLUSTERS]
        ranks = {one: (_created(known.get(one, {})), one) for one in self._connections}
        return {
            other.seen.served.uid: other.name
            for other in self._connections.values()
            if other.seen.served is not None and ranks[other.name] < ranks.get(name, ("", name))
        }

    # What is said ----------------------------------------------------------------------------

    async def _tell(self) -> None:
        existing = self._objects[resources.MULTIKUEUE_CLUSTERS]
        there = {name: one for name, one in self._connections.items() if name in existing}
        found = {name: self._facts(one) for name, one in there.items()}
        for name, one in there.items():
            metrics.cluster(name, up=one.seen.link.up, eligible=not found[name].problem)
            await self._tell_of_cluster(one)
        unread = next((self._unread[kind] for kind in _KINDS if kind in self._unread), "")
        for check in self._checks():
            condition = check_condition.condition(
                _parameters(check), configs=self._configs(), clusters=found, unread=unread
            )
            await self._tell_of_check(check, condition)

    def _facts(self, one: connection.Connection) -> check_condition.ClusterFacts:
        served = one.seen.served
        problems = self._problems(one.name, served) if served is not None else ()
        return connection.facts(one.seen, problems)

    async def _tell_of_check(
        self, check: kueue.AdmissionCheck, wanted: check_condition.Condition
    ) -> None:
        name, generation = check.meta.name, check.meta.generation
        before = check.condition(check_condition.TYPE)
        if before is not None and (
            before.status,
            before.reason,
            before.message,
            before.observed_generation,
        ) == (wanted.status, wanted.reason, wanted.message, generation):
            return
        if before is None or before.reason != wanted.reason:
            logger.info("AdmissionCheck %s: %s: %s", name, wanted.reason, wanted.message)
        since = _told(_now())
        if before is not None and before.status == wanted.status:
            since = before.last_transition_time
        written = await self._write(
            resources.ADMISSION_CHECKS,
            name,
            {
                "type": check_condition.TYPE,
                "status": wanted.status,
                "reason": wanted.reason,
                "message": wanted.message,
                "observedGeneration": generation,
                "lastTransitionTime": since,
            },
        )
        if written is not None:
            # As soon as it is known nothing is said twice, whenever the watch tells of it.
            await self._sink(resources.ADMISSION_CHECKS, "MODIFIED", written)

    async def _tell_of_cluster(self, one: connection.Connection) -> None:
        """Keep whether a cluster is connected, and since when it is not; at transitions only."""
        seen, known = one.seen, self._objects[resources.MULTIKUEUE_CLUSTERS]
        before = _condition(known.get(one.name, {}), names.CLUSTER_CONNECTED) or {}
        if not (seen.link.up or seen.link.lost):
            return  # Nobody knows yet.
        status = "True" if seen.link.up else "False"
        if before.get("status") == status or one.name not in known:
            return
        since = _now() if seen.link.up or seen.link.since is None else seen.link.since
        fault = seen.fault
        await self._write_of_cluster(
            one.name,
            {
                "type": names.CLUSTER_CONNECTED,
                "status": status,
                "reason": fault.reason if fault is not None else "Connected",
                "message": fault.text if fault is not None else "lws-kueue reaches it",
                "lastTransitionTime": _told(since),
            },
        )

    async def _write_of_cluster(self, name: str, condition: dict[str, Any] | None) -> None:
        known = self._objects[resources.MULTIKUEUE_CLUSTERS]
        written = await self._write(resources.MULTIKUEUE_CLUSTERS, name, condition)
        if written is not None and name in known:
            known[name] = written

    async def _write(
        self, kind: resources.Resource, name: str, condition: dict[str, Any] | None
    ) -> dict[str, Any] | None:
        """Apply one condition, or give it up; what is refused is tried again.

        Returns the object as it is then, None if nothing was written.
        """
        body = {
            "apiVersion": kind.api_version,
            "kind": kind.kind,
            "metadata": {"name": name},
            "status": {"conditions": [condition] if condition is not None else []},
        }
        of = f"{kind.kind} {name}"
        if left := self._pauses.left(of):
            self._look_again(of, left)
            return None
        try:
            written = await self._home.apply(
                body, field_manager=names.CONNECTIONS_FIELD_MANAGER, subresource="status"
            )
        except client.ApiError as error:
            if error.status == 404:
                self._pauses.ended(of)
                return None
            wait = self._pauses.failed(of, first=RETRY)
            logger.warning("What is to be said of %s is tried again in %g s: %s", of, wait, error)
            self._look_again(of, wait)
            return None
        self._pauses.ended(of)
        return written

    def _once_more(self) -> None:
        asyncio.get_running_loop().call_later(RETRY, self._changed.set)


def _no(_: str) -> bool:
    """Say that nobody names a cluster."""
    return False


async def _nobody(_: set[keys.SetKey]) -> None:
    """Tell nobody."""


async def _nobody_at_all() -> None:
    """Tell nobody."""


def _unread(kind: resources.Resource, error: client.ApiError) -> str:
    if error.status == 404:
        return f"{kind.kind}s are not served: install Kueue (>= 0.15)"
    if error.status == 403:
        return "the controller has no right to (deploy/multikueue/manager)"
    return f"{error.status} {error.reason}"


def _spec(obj: _Object) -> Mapping[str, Any]:
    return obj.get("spec") or {}


def _parameters(check: kueue.AdmissionCheck) -> check_condition.Parameters | None:
    given = check.parameters
    if given is None:
        return None
    return check_condition.Parameters(group=given.api_group, kind=given.kind, name=given.name)


def _condition(obj: _Object, type_: str) -> Mapping[str, Any] | None:
    conditions = (obj.get("status") or {}).get("conditions") or ()
    return next((one for one in conditions if one.get("type") == type_), None)


def _remembered(cluster: _Object) -> link.Link | None:
    """Return the link that the process before this one has lost, if it had."""
    told = _condition(cluster, names.CLUSTER_CONNECTED)
    if told is None or told.get("status") != "False":
        return None
    try:
        since = datetime.datetime.fromisoformat(str(told.get("lastTransitionTime")))
    except ValueError:
        return None
    return link.Link.remembered(since)


def _version(obj: _Object) -> str:
    return str(obj["metadata"].get("resourceVersion", ""))


def _created(obj: _Object) -> str:
    return str((obj.get("metadata") or {}).get("creationTimestamp") or "")


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def _told(moment: datetime.datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
