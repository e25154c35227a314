"""A recorder of all namespaces that nobody tells anything.

It keeps two things: the history that is judged when all is over, and every object as it is now, so
that many tests can wait for many things without asking the API server for each of them.
"""

import time
from collections.abc import Callable, Mapping
from typing import Final

from lws_kueue_lab import sandbox
from lws_kueue_lab.sandbox import recorder
from lws_kueue_lab.sandbox.recorder import Object

from lws_kueue.api import names
from tests.kit.judge import history

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


class Watcher(recorder.Recorder):
    """What has been seen of all namespaces since it began; of events only the facts."""

    def __init__(self, cluster: sandbox.Sandbox, *, definitions_change: bool = False) -> None:
        super().__init__(cluster, *KINDS, from_list=True, definitions_change=definitions_change)
        self._facts: list[history.Fact] = []
        self._now: dict[str, dict[tuple[str, str], Object]] = {}
        self._changes: dict[str, int] = {}

    def take(self, event: Object) -> None:
        """Keep what an event says, and the object as it is now."""
        obj = event["object"]
        meta = obj["metadata"]
        meta.pop("managedFields", None)
        fact = history.fact(event)
        with self.changed:
            if fact is not None:
                self._facts.append(fact)
            namespace = meta.get("namespace", "")
            place = self._now.setdefault(namespace, {})
            if event["type"] == "DELETED":
                place.pop((obj["kind"], meta["name"]), None)
            else:
                place[obj["kind"], meta["name"]] = obj
            self._changes[namespace] = self._changes.get(namespace, 0) + 1
            self.changed.notify_all()

    def facts(self, *, namespaces: Callable[[str], bool]) -> list[history.Fact]:
        """The history of some namespaces, and of what is in none."""
        with self.changed:
            self.check()
            return [f for f in self._facts if not f.namespace or namespaces(f.namespace)]

    def look(self, namespace: str) -> tuple[dict[tuple[str, str], Object], int]:
        """The objects of a namespace, and how often anything in it has changed."""
        with self.changed:
            self.check()
            return dict(self._now.get(namespace, {})), self._changes.get(namespace, 0)

    def wait_change(self, namespace: str, since: int, *, timeout: float) -> None:
        """Wait until something in a namespace has changed more often than ``since``."""
        with self.changed:
            self.changed.wait_for(
                lambda: self.failed or self._changes.get(namespace, 0) > since, timeout
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
