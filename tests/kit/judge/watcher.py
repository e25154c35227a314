"""A watcher that nobody tells anything: it sees what the API server sends, and nothing is left out.

It keeps two things: the history that is judged when all is over, and every object as it is now, so
that many tests can wait for many things without asking the API server for each of them.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from lws_kueue_lab import sandbox
from lws_kueue_lab.sandbox import client

from lws_kueue.api import names
from tests.kit.judge import history

Object = dict[str, Any]
# An object by its kind and name.
Objects = Mapping[tuple[str, str], Object]

KINDS: Final = (
    ("v1", "Pod"),
    ("apps/v1", "StatefulSet"),
    ("apps/v1", "ControllerRevision"),
    (names.LWS_API_VERSION, names.LWS_KIND),
    (names.KUEUE_API_VERSION, "Workload"),
    (names.KUEUE_API_VERSION, "ClusterQueue"),
)
# A watch ends so often that the watcher can end soon.
_WATCH_SECONDS: Final = 2.0
_END_SECONDS: Final = 15.0
# The kind is being served anew, and what was before is gone.
_FORGOTTEN: Final = (429, 410)
_PAUSE_SECONDS: Final = 0.5


class Watcher:
    """What has been seen of all namespaces since it began."""

    def __init__(self, cluster: sandbox.Sandbox, *, definitions_change: bool = False) -> None:
        """``definitions_change`` says that definitions of kinds may be applied anew meanwhile.

        The API server forgets the past of such a kind. It is listed then, so that nothing is missed
        as long as nobody works on its objects in that moment.
        """
        self._api = cluster.api
        self._definitions_change = definitions_change
        self._facts: list[history.Fact] = []
        self._now: dict[str, dict[tuple[str, str], Object]] = {}
        self._changes: dict[str, int] = {}
        self._changed = threading.Condition()
        self._stopped = threading.Event()
        self._fault: BaseException | None = None

    @contextlib.contextmanager
    def watching(self) -> Iterator["Watcher"]:
        """Watch until the context ends; a gap is an error: the history would prove nothing."""
        threads = []
        for api_version, kind in KINDS:
            version = self._list(api_version, kind)
            threads.append(
                threading.Thread(
                    target=self._follow, args=(api_version, kind, version), daemon=True
                )
            )
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self._stopped.set()
            for thread in threads:
                thread.join(timeout=_END_SECONDS)
        assert not any(thread.is_alive() for thread in threads)
        self._whole()

    def _follow(self, api_version: str, kind: str, version: str) -> None:
        try:
            while not self._stopped.is_set():
                version = self._follow_on(api_version, kind, version)
        except BaseException as fault:
            with self._changed:
                self._fault = fault
                self._changed.notify_all()

    def _follow_on(self, api_version: str, kind: str, version: str) -> str:
        """Watch for a while; returns the version up to which all has been seen."""
        try:
            for event in self._api.watch(
                api_version, kind, resource_version=version, timeout=_WATCH_SECONDS
            ):
                if event["type"] == "ERROR" and self._forgotten(event["object"].get("code")):
                    return self._list(api_version, kind)
                assert event["type"] != "ERROR", event
                version = event["object"]["metadata"]["resourceVersion"]
                self._take(event)
        except client.ApiError as error:
            if not self._forgotten(error.status):
                raise
            self._stopped.wait(_PAUSE_SECONDS)
        return version

    def _forgotten(self, code: object) -> bool:
        return self._definitions_change and code in _FORGOTTEN

    def _list(self, api_version: str, kind: str) -> str:
        objects, version = self._api.list_page(api_version, kind)
        for obj in objects:
            self._take({"type": "MODIFIED", "object": obj})
        return version

    def _take(self, event: Object) -> None:
        obj = event["object"]
        meta = obj["metadata"]
        meta.pop("managedFields", None)
        fact = history.fact(event)
        with self._changed:
            if fact is not None:
                self._facts.append(fact)
            place = self._now.setdefault(meta.get("namespace", ""), {})
            if event["type"] == "DELETED":
                place.pop((obj["kind"], meta["name"]), None)
            else:
                place[obj["kind"], meta["name"]] = obj
            namespace = meta.get("namespace", "")
            self._changes[namespace] = self._changes.get(namespace, 0) + 1
            self._changed.notify_all()

    def _whole(self) -> None:
        if self._fault is not None:
            raise AssertionError("the watcher missed something") from self._fault

    def facts(self, *, namespaces: Callable[[str], bool]) -> list[history.Fact]:
        """The history of some namespaces, and of what is in none."""
        with self._changed:
            self._whole()
            return [f for f in self._facts if not f.namespace or namespaces(f.namespace)]

    def look(self, namespace: str) -> tuple[dict[tuple[str, str], Object], int]:
        """The objects of a namespace, and how often anything in it has changed."""
        with self._changed:
            self._whole()
            return dict(self._now.get(namespace, {})), self._changes.get(namespace, 0)

    def wait_change(self, namespace: str, since: int, *, timeout: float) -> None:
        """Wait until something in a namespace has changed more often than ``since``."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._fault is not None or self._changes.get(namespace, 0) > since, timeout
            )

    def wait(
        self,
        namespace: str,
        predicate: Callable[[Objects], bool],
        *,
        what: Callable[[Objects], str],
        timeout: float,
    ) -> None:
        """Wait until the objects of a namespace are as they have to be; ``what`` tells why not."""
        deadline = time.monotonic() + timeout
        while True:
            seen, changes = self.look(namespace)
            if predicate(seen):
                return
            left = deadline - time.monotonic()
            if left <= 0:
                raise AssertionError(f"{namespace}: not so after {timeout:g} s: {what(seen)}")
            self.wait_change(namespace, changes, timeout=left)
