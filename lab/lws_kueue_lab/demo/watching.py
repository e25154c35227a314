"""Keeps a snapshot of one set up to date by watches, and waits for what is to happen."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final

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


@dataclass(frozen=True, slots=True)
class _Kind:
    """One collection to watch."""

    api_version: str
    kind: str
    namespace: str | None = None
    label_selector: str = ""
    field_selector: str = ""


class NotSoError(Exception):
    """What was waited for did not happen in time; ``seen`` is how things were then."""

    def __init__(self, what: str, *, seconds: float, seen: snapshot.Snapshot) -> None:
        self.seen = seen
        super().__init__(f"{what}: not so after {seconds:.0f} s")


class Watcher:
    """Watches a set, its pods and Workloads, its ClusterQueue and the nodes, in the background.

    It is a context: the watches end with it.
    """

    def __init__(self, kubeconfig: Path, *, namespace: str, name: str, cluster_queue: str) -> None:
        self._api = client.Client(kubeconfig)
        self._name = name
        self._stopped = threading.Event()
        self._news = threading.Condition()
        self._changes = 0
        self._objects: dict[str, dict[str, dict[str, Any]]] = {}
        by_set = f"{names.SET_NAME}={name}"
        self._kinds = (
            _Kind(names.LWS_API_VERSION, names.LWS_KIND, namespace, "", f"metadata.name={name}"),
            _Kind("v1", "Pod", namespace, by_set),
            _Kind(names.KUEUE_API_VERSION, "Workload", namespace),
            _Kind(
                names.KUEUE_API_VERSION,
                "ClusterQueue",
                field_selector=f"metadata.name={cluster_queue}",
            ),
            _Kind("v1", "Node"),
        )

    def __enter__(self) -> "Watcher":
        for kind in self._kinds:
            threading.Thread(target=self._follow, args=(kind,), daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # A watch that is idle ends when its connection does, at the latest with the cluster.
        self._stopped.set()
        self._api.close()

    def now(self) -> snapshot.Snapshot:
        """Return how things are now."""
        with self._news:
            seen = {kind: list(objects.values()) for kind, objects in self._objects.items()}
        nodes = seen.get("Node", ())
        labels = {n["metadata"]["name"]: n["metadata"].get("labels") or {} for n in nodes}
        return snapshot.Snapshot(
            owner=next(iter(seen.get(names.LWS_KIND, ())), None),
            workloads=[w for w in seen.get("Workload", ()) if self._owns(w)],
            pods=seen.get("Pod", ()),
            cluster_queue=next(iter(seen.get("ClusterQueue", ())), None),
            racks={
                name: of[sandbox.RACK_LABEL]
                for name, of in labels.items()
                if sandbox.RACK_LABEL in of
            },
        )

    def until(
        self,
        done: Callable[[snapshot.Snapshot], bool],
        *,
        what: str,
        seconds: float,
        changed: Callable[[snapshot.Snapshot], None],
        check: Callable[[], None],
    ) -> snapshot.Snapshot:
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

    def _owns(self, workload: dict[str, Any]) -> bool:
        owners = workload["metadata"].get("ownerReferences") or ()
        return any(o["kind"] == names.LWS_KIND and o["name"] == self._name for o in owners)

    def _follow(self, kind: _Kind) -> None:
        """List and watch again and again: watches end, and an API server may be away."""
        while not self._stopped.is_set():
            try:
                self._follow_once(kind)
            except _LOST:
                self._stopped.wait(_RETRY_SECONDS)

    def _follow_once(self, kind: _Kind) -> None:
        items, version = self._api.list_page(
            kind.api_version,
            kind.kind,
            namespace=kind.namespace,
            label_selector=kind.label_selector,
            field_selector=kind.field_selector,
        )
        with self._news:
            self._objects[kind.kind] = {item["metadata"]["name"]: item for item in items}
            self._announce()
        events = self._api.watch(
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
            self._take(kind, event)

    def _take(self, kind: _Kind, event: dict[str, Any]) -> None:
        name = event["object"]["metadata"]["name"]
        with self._news:
            if event["type"] == "DELETED":
                self._objects[kind.kind].pop(name, None)
            else:
                self._objects[kind.kind][name] = event["object"]
            self._announce()

    def _announce(self) -> None:
        self._changes += 1
        self._news.notify_all()
