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
from collections.abc import Iterable, Mapping
from typing import Any, Final

from lws_kueue.api import kueue, names
from lws_kueue.dispatch import check_condition, eligibility
from lws_kueue.runtime import cache, client, metrics, reflector, resources
from lws_kueue.runtime.clusters import access, connection, link, probe

# Changes that come together are answered together.
_TOGETHER: Final = 0.05

# How long to wait before a condition is written again that was refused, or a kind is asked for
# again that is not served, in seconds.
RETRY: Final = 5.0

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
    ) -> None:
        """``store`` knows the AdmissionChecks; ``sink`` takes them as they were written."""
        self._home = home
        self._store = store
        self._sink = sink
        self._settings = settings
        self._objects: dict[resources.Resource, dict[str, dict[str, Any]]] = {}
        self._unread: dict[resources.Resource, str] = {}
        self._manager = ""
        self._connections: dict[str, connection.Connection] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._changed = asyncio.Event()
        store.on_admission_check = self._changed.set

    def get(self, name: str) -> connection.Connection | None:
        """Return the connection to a cluster, None if no check of ours names it."""
        return self._connections.get(name)

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
                    await self._connect()
                    await self._tell()
                except Exception:
                    logger.exception("What is said of worker clusters could not be written")
                    self._once_more()
        finally:
            everything = [*watches, *self._tasks.values()]
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
        return {name: known[name] for name in sorted(named) if name in known}

    # Who is connected ------------------------------------------------------------------------

    async def _connect(self) -> None:
        wanted = self._wanted()
        for name in [name for name in self._connections if name not in wanted]:
            await self._disconnect(name)
        for name, cluster in wanted.items():
            if name in self._connections:
                self._connections[name].follow(cluster)
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

    async def _disconnect(self, name: str) -> None:
        logger.info("Cluster %s is named by no AdmissionCheck of ours any more", name)
        task = self._tasks.pop(name)
        del self._connections[name]
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        metrics.cluster_gone(name)
        left = self._objects[resources.MULTIKUEUE_CLUSTERS].get(name)
        if left is not None and _condition(left, names.CLUSTER_CONNECTED) is not None:
            # Nobody looks any more, so nothing is said.
            await self._write_of_cluster(name, None)

    def _problems(self, name: str, served: eligibility.Served) -> tuple[str, ...]:
        """Say why groups cannot be dispatched to a cluster.

        Of two MultiKueueClusters that are one cluster the older one counts.
        """
        known = self._objects[resources.MULTIKUEUE_CLUSTERS]
        ranks = {one: (_created(known.get(one, {})), one) for one in self._connections}
        others = {
            other.seen.served.uid: other.name
            for other in self._connections.values()
            if other.seen.served is not None and ranks[other.name] < ranks.get(name, ("", name))
        }
        return eligibility.problems(served, manager=self._manager, others=others)

    # What is said ----------------------------------------------------------------------------

    async def _tell(self) -> None:
        found = {name: self._facts(one) for name, one in self._connections.items()}
        for name, one in self._connections.items():
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
        try:
            return await self._home.apply(
                body, field_manager=names.CONNECTIONS_FIELD_MANAGER, subresource="status"
            )
        except client.ApiError as error:
            if error.status != 404:
                logger.warning("What is to be said of %s %s: %s", kind.kind, name, error)
                self._once_more()
            return None

    def _once_more(self) -> None:
        asyncio.get_running_loop().call_later(RETRY, self._changed.set)


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
