"""Random clusters on a Kueue that decides: all side by side, each step when the last has settled.

Workloads are made by hand and nobody runs pods. Whoever is evicted has stopped at once, and its
quota is given back as the controller does it. A step waits until nothing has happened for a while,
because Kueue considers again in batches what did not fit, and says nothing of what does not change.
"""

import contextlib
import threading
import time
from collections.abc import Iterable, Sequence
from concurrent import futures
from datetime import UTC, datetime
from typing import Any, Final

import urllib3.exceptions
from lws_kueue_lab import sandbox
from lws_kueue_lab.sandbox import client

from lws_kueue.api import kueue, names
from lws_kueue.workload import eviction
from tests.kit import polling
from tests.kit.live import harness
from tests.kit.whatif import clusters, recorded

Object = dict[str, Any]

WORKLOAD: Final = (names.KUEUE_API_VERSION, "Workload")
# Kueue's batches are of one second; creation times have whole seconds as well.
QUIET_SECONDS: Final = 2.5
# Of who is like one that was refused nothing is ever told, so that is waited for in vain.
PATIENCE_SECONDS: Final = 5.0
_MOST_SECONDS: Final = 60.0
_WRITERS: Final = 16


class Watched:
    """The Workloads of the namespace as they are, and when what counts of each has changed last.

    Messages do not count: Kueue tries the flavors of the head of a strict queue one after the
    other for ever, and says each time what that one lacks.
    """

    def __init__(self, api: client.Client) -> None:
        self._api = api
        self.objects: dict[str, Object] = {}
        self.changed: dict[str, float] = {}
        self._lock = threading.Lock()
        self._over = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while not self._over.wait(1):
            # The first ones may come before the API server has opened the storage of the kind.
            with contextlib.suppress(client.ApiError, urllib3.exceptions.HTTPError, OSError):
                self._follow()

    def close(self) -> None:
        """Watch no longer."""
        self._over.set()

    def _follow(self) -> None:
        events = self._api.watch(*WORKLOAD, namespace=clusters.NAMESPACE, timeout=3600)
        for event in events:
            name = event["object"]["metadata"]["name"]
            with self._lock:
                before = self.objects.pop(name, None)
                if event["type"] != "DELETED":
                    self.objects[name] = event["object"]
                if before is None or _state(before) != _state(event["object"]):
                    self.changed[name] = time.monotonic()

    def taken(self) -> dict[str, Object]:
        """Return what is there now."""
        with self._lock:
            return dict(self.objects)

    def restless(self, seconds: float) -> set[str]:
        """Return what has changed in the last seconds."""
        now = time.monotonic()
        with self._lock:
            return {name for name, at in self.changed.items() if now - at < seconds}


class Court:
    """A cluster on which random clusters are played."""

    def __init__(self, cluster: sandbox.Sandbox) -> None:
        self._api = cluster.api
        harness.make_namespace(cluster, clusters.NAMESPACE)
        self._all(clusters.priority_classes())
        meta = {"name": clusters.OWNER, "namespace": clusters.NAMESPACE}
        owner = cluster.api.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta})
        self._uid = str(owner["metadata"]["uid"])
        self._strict: frozenset[str] = frozenset()
        self._watched = Watched(cluster.api)

    def close(self) -> None:
        """Look no longer."""
        self._watched.close()

    def play(self, seeds: Iterable[int]) -> list[recorded.Row]:
        """Return what was there before each change, and which groups had quota after it.

        Clusters of all kinds are played side by side. Those that do not settle are left out.
        """
        games = [
            clusters.cluster(seed, kind, uid=self._uid)
            for seed in seeds
            for kind in clusters.KINDS.values()
        ]
        self._prepare([one for game in games for one in game.around])
        self._rounds([game.steps for game in games])
        rows = self._changed(games)
        self._clear()
        return rows

    def _prepare(self, around: Sequence[Object]) -> None:
        """Make what surrounds Workloads, and wait until Kueue can know of all."""
        machines = [one for one in around if one["kind"] == "Node"]
        self._all(machines)
        self._await_nodes()
        self._all(one for one in around if one["kind"] != "Node")
        self._strict = frozenset(
            one["metadata"]["name"]
            for one in around
            if one["spec"].get("queueingStrategy") == "StrictFIFO"
        )
        self._await_active()

    def _clear(self) -> None:
        """Take away Workloads and then their nodes: who loses a node moves, and nodes cost."""
        self._delete_all(*WORKLOAD, namespace=clusters.NAMESPACE)
        for attempt in polling.trying(timeout=120, every=0.5):
            with attempt:
                assert not self._watched.taken(), "Workloads of the last clusters are still there"
        self._delete_all("v1", "Pod", namespace=clusters.NAMESPACE)
        self._delete_all("v1", "Node", label_selector=clusters.PART)
        for attempt in polling.trying(timeout=120, every=0.5):
            with attempt:
                left = self._api.list("v1", "Node", label_selector=clusters.PART)
                assert not left, f"{len(left)} nodes are still there"

    def _changed(self, games: Sequence[clusters.Cluster]) -> list[recorded.Row]:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        before = self._stored()
        for game in games:
            for (queue, flavor, resource), amount in game.quotas.items():
                self._requote(queue, flavor, resource, amount)
        self._settle()
        self._rounds([game.later for game in games])
        restless = {_prefix(name) for name in self._watched.restless(QUIET_SECONDS)}
        after = self._watched.taken()
        rows = []
        for game in games:
            if game.name in restless:
                continue
            stored = {
                kind: [recorded.trimmed(one) for one in recorded.own(game.name, found)]
                for kind, found in before.items()
            }
            names_ = [
                clusters.group(game.manifest, index)["metadata"]["name"]
                for index in range(game.wanted)
            ]
            admitted = tuple(i for i, name in enumerate(names_) if _has_quota(after[name]))
            rows.append(recorded.Row(game, now, stored, admitted))
        return rows

    def _rounds(self, steps: Sequence[Sequence[Object]]) -> None:
        for turn in range(max(map(len, steps), default=0)):
            self._all(some[turn] for some in steps if turn < len(some))
            self._settle()

    def _all(self, objects: Iterable[Object]) -> None:
        with futures.ThreadPoolExecutor(_WRITERS) as writers:
            list(writers.map(self._api.create, objects))

    def _delete_all(
        self, api_version: str, kind: str, *, namespace: str | None = None, label_selector: str = ""
    ) -> None:
        path = self._api.resource(api_version, kind).path(namespace=namespace)
        query = {"labelSelector": label_selector} if label_selector else {}
        self._api.request("DELETE", path, query=query, body={"gracePeriodSeconds": 0})

    def _await_nodes(self) -> None:
        for attempt in polling.trying(timeout=120, every=1):
            with attempt:
                found = self._api.list("v1", "Node", label_selector=clusters.PART)
                idle = [one["metadata"]["name"] for one in found if not _is_ready(one)]
                assert not idle, idle

    def _await_active(self) -> None:
        for attempt in polling.trying(timeout=120, every=1):
            with attempt:
                queues = self._api.list(names.KUEUE_API_VERSION, "ClusterQueue")
                idle = [one["metadata"]["name"] for one in queues if not _active(one)]
                assert not idle, idle

    def _settle(self) -> None:
        """Wait until nothing has happened for a while; whoever is evicted stops at once."""
        deadline = time.monotonic() + _MOST_SECONDS
        start = time.monotonic()
        while time.monotonic() < deadline:
            self._stop_evicted()
            enough = PATIENCE_SECONDS if self._unconsidered() else QUIET_SECONDS
            if time.monotonic() - start >= enough and not self._watched.restless(enough):
                return
            time.sleep(0.1)

    def _unconsidered(self) -> bool:
        """Whether Kueue has not looked at all yet; in strict queues it looks at the head alone."""
        return any(
            obj["spec"]["queueName"] not in self._strict and not _told(obj)
            for obj in self._watched.taken().values()
        )

    def _stop_evicted(self) -> None:
        for obj in self._watched.taken().values():
            workload = kueue.Workload.of(obj)
            write = eviction.clear_admission(workload, (), now=datetime.now(UTC))
            if write is None:
                continue
            meta = {**write.body["metadata"], "resourceVersion": write.resource_version}
            body = {**write.body, "metadata": meta}
            try:
                self._api.apply(body, field_manager=write.field_manager, subresource="status")
            except client.ApiError as error:
                if error.status != 409:  # The watch brings what it is by now.
                    raise

    def _requote(self, queue: str, flavor: str, resource: str, amount: str) -> None:
        live = self._api.get(names.KUEUE_API_VERSION, "ClusterQueue", queue)
        for group in live["spec"]["resourceGroups"]:
            for one in group["flavors"]:
                for quota in one["resources"]:
                    if (one["name"], quota["name"]) == (flavor, resource):
                        quota["nominalQuota"] = amount
        self._api.patch(names.KUEUE_API_VERSION, "ClusterQueue", queue, body={"spec": live["spec"]})

    def _stored(self) -> dict[str, list[Object]]:
        return {
            kind: self._api.list(one.api_version, one.kind) for kind, one in recorded.KINDS.items()
        }


def _state(workload: Object) -> Any:
    status = workload.get("status") or {}
    conditions = {one["type"]: one["status"] for one in status.get("conditions") or ()}
    return conditions, status.get("admission"), workload["spec"]


def _prefix(name: str) -> str:
    return name.removeprefix("leaderworkerset-").partition("-")[0]


def _active(queue: Object) -> bool:
    conditions = (queue.get("status") or {}).get("conditions") or ()
    return any(one["type"] == "Active" and one["status"] == "True" for one in conditions)


def _is_ready(node: Object) -> bool:
    conditions = (node.get("status") or {}).get("conditions") or ()
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def _told(workload: Object) -> bool:
    conditions = (workload.get("status") or {}).get("conditions") or ()
    return any(one["type"] == "QuotaReserved" for one in conditions)


def _has_quota(workload: Object) -> bool:
    conditions = (workload.get("status") or {}).get("conditions") or ()
    return any(one["type"] == "QuotaReserved" and one["status"] == "True" for one in conditions)
