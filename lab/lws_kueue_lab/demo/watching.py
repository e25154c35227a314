"""Keeps what a story looks at up to date by watches, and waits for what is to happen."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Generic, TypeVar

import urllib3.exceptions

from lws_kueue.api import names
from lws_kueue_lab import sandbox
from lws_kueue_lab.demo import snapshot
from lws_kueue_lab.sandbox import client

_WATCH_SECONDS: Final = 300.0
_RETRY_SECONDS: Final = 0.5
# How often the health of the processes is looked at while nothing happens in the cluster.
_CHECK_SECONDS: Final = 0.5

# What happens to a request when the API server goes away.
_LOST: Final = (client.ApiError, urllib3.exceptions.HTTPError, OSError)

Seen = TypeVar("Seen")
# The objects of a cluster by kind, as they were seen last.
Objects = Mapping[str, Sequence[dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class Kind:
    """One collection to watch."""

    api_version: str
    kind: str
    namespace: str | None = None
    label_selector: str = ""
    field_selector: str = ""


class NotSoError(Exception, Generic[Seen]):
    """What was waited for did not happen in time; ``seen`` is how things were then."""

    def __init__(self, what: str, *, seconds: float, seen: Seen) -> None:
        self.seen = seen
        super().__init__(f"{what}: not so after {seconds:.0f} s")


class Watcher(Generic[Seen]):
    """Watches kinds of objects in one cluster or in several, in the background.

    It is a context: the watches end with it.
    """

    def __init__(
        self,
        clusters: Mapping[str, tuple[Path, Sequence[Kind]]],
        summed: Callable[[Mapping[str, Objects]], Seen],
    ) -> None:
        """``clusters`` are kubeconfigs by name, and what is watched there.

        ``summed`` makes of the objects of all of them what the story looks at.
        """
        self._summed = summed
        self._clusters = {
            name: (client.Client(kubeconfig), kinds)
            for name, (kubeconfig, kinds) in clusters.items()
        }
        self._stopped = threading.Event()
        self._news = threading.Condition()
        self._changes = 0
        self._objects: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}

    def __enter__(self) -> "Watcher[Seen]":
        for name, (api, kinds) in self._clusters.items():
            for kind in kinds:
                arguments = (name, api, kind)
                threading.Thread(target=self._follow, args=arguments, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # A watch that is idle ends when its connection does, at the latest with the cluster.
        self._stopped.set()
        for api, _ in self._clusters.values():
            api.close()

    def now(self) -> Seen:
        """Return how things are now."""
        with self._news:
            seen = {
                name: {
                    kind.kind: list(self._objects.get((name, kind.kind), {}).values())
                    for kind in kinds
                }
                for name, (_, kinds) in self._clusters.items()
            }
        return self._summed(seen)

    def until(
        self,
        done: Callable[[Seen], bool],
        *,
        what: str,
        seconds: float,
        changed: Callable[[Seen], None],
        check: Callable[[], None],
    ) -> Seen:
        """Wait until ``done`` holds and return how things were then.

        Every change is handed to ``changed``; ``check`` may raise when a process has died.
        Raises NotSoError after ``seconds``.
        """
        deadline = time.monotonic() + seconds
        while True:
            before = self._changes
            seen = self.now()
            changed(seen)
            if done(seen):
                return seen
            check()
            left = deadline - time.monotonic()
            if left <= 0:
                raise NotSoError(what, seconds=seconds, seen=seen)
            with self._news:
                if before == self._changes:
                    self._news.wait(min(left, _CHECK_SECONDS))

    def _follow(self, name: str, api: client.Client, kind: Kind) -> None:
        """List and watch again and again: watches end, and an API server may be away."""
        while not self._stopped.is_set():
            try:
                self._follow_once(name, api, kind)
            except _LOST:
                self._stopped.wait(_RETRY_SECONDS)

    def _follow_once(self, name: str, api: client.Client, kind: Kind) -> None:
        items, version = api.list_page(
            kind.api_version,
            kind.kind,
            namespace=kind.namespace,
            label_selector=kind.label_selector,
            field_selector=kind.field_selector,
        )
        with self._news:
            self._objects[name, kind.kind] = {item["metadata"]["name"]: item for item in items}
            self._announce()
        events = api.watch(
            kind.api_version,
            kind.kind,
            namespace=kind.namespace,
            label_selector=kind.label_selector,
            field_selector=kind.field_selector,
            resource_version=version,
            timeout=_WATCH_SECONDS,
        )
        for event in events:
            if self._stopped.is_set() or event["type"] == "ERROR":
                return
            self._take(self._objects[name, kind.kind], event)

    def _take(self, objects: dict[str, dict[str, Any]], event: dict[str, Any]) -> None:
        name = event["object"]["metadata"]["name"]
        with self._news:
            if event["type"] == "DELETED":
                objects.pop(name, None)
            else:
                objects[name] = event["object"]
            self._announce()

    def _announce(self) -> None:
        self._changes += 1
        self._news.notify_all()


def of_set(
    kubeconfig: Path, *, namespace: str, name: str, cluster_queue: str
) -> Watcher[snapshot.Snapshot]:
    """Watch a set, its pods and Workloads, its ClusterQueue and the nodes."""
    kinds = (*kinds_of_set(namespace, name, cluster_queue), Kind("v1", "Node"))

    def summed(clusters: Mapping[str, Objects]) -> snapshot.Snapshot:
        seen = clusters[""]
        labels = {n["metadata"]["name"]: n["metadata"].get("labels") or {} for n in seen["Node"]}
        return snapshot.Snapshot(
            owner=next(iter(seen[names.LWS_KIND]), None),
            workloads=[w for w in seen["Workload"] if snapshot.is_owned_by(w, name)],
            pods=seen["Pod"],
            cluster_queue=next(iter(seen["ClusterQueue"]), None),
            racks={
                node: of[sandbox.RACK_LABEL]
                for node, of in labels.items()
                if sandbox.RACK_LABEL in of
            },
        )

    return Watcher({"": (kubeconfig, kinds)}, summed)


def kinds_of_set(namespace: str, name: str, cluster_queue: str) -> tuple[Kind, ...]:
    """Return what tells of a set where it was applied."""
    return (
        Kind(names.LWS_API_VERSION, names.LWS_KIND, namespace, "", f"metadata.name={name}"),
        Kind("v1", "Pod", namespace, f"{names.SET_NAME}={name}"),
        Kind(names.KUEUE_API_VERSION, "Workload", namespace),
        queue_kind(cluster_queue),
    )


def queue_kind(name: str) -> Kind:
    """Return what tells of one ClusterQueue."""
    return Kind(names.KUEUE_API_VERSION, "ClusterQueue", field_selector=f"metadata.name={name}")
