"""What happens in a manager and its workers, seen from outside, and what is judged of it (INV-1 to
INV-9).

Nothing here asks the controller: it is what the API servers told, and their audit logs.
"""

import collections
import contextlib
import datetime
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from lws_kueue_lab import sandbox
from lws_kueue_lab.sandbox import audit
from lws_kueue_lab.sandbox.recorder import Object

from lws_kueue.api import names
from tests.kit.judge import fleet, watcher

JUDGED: Final = frozenset({"Pod", "Workload", names.LWS_KIND})

# The objects of a namespace in each cluster; "" is the manager.
Everywhere = Mapping[str, watcher.Objects]


class _Watcher(watcher.Watcher):
    """A watcher of one cluster that keeps when it was told what; all share one condition."""

    def __init__(self, cluster: sandbox.Sandbox, changed: threading.Condition) -> None:
        super().__init__(cluster)
        self.changed = changed
        self.seen: list[fleet.Seen] = []

    def take(self, event: Object) -> None:
        at = datetime.datetime.now(datetime.UTC)
        super().take(event)
        if event["object"]["kind"] in JUDGED:
            with self.changed:
                self.seen.append(fleet.Seen(at, event))


class Watch:
    """What is there in a manager and its workers, and all that was there."""

    def __init__(self, manager: sandbox.Sandbox, workers: Mapping[str, sandbox.Sandbox]) -> None:
        self._changed = threading.Condition()
        clusters = {"": manager, **workers}
        self._watchers = {name: _Watcher(one, self._changed) for name, one in clusters.items()}

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Watch until the context ends."""
        with contextlib.ExitStack() as stack:
            for one in self._watchers.values():
                stack.enter_context(one.watching())
            yield

    def seen(self, cluster: str, *, namespace: str) -> list[fleet.Seen]:
        """Return what was told of a namespace of a cluster."""
        with self._changed:
            told = list(self._watchers[cluster].seen)
        return [one for one in told if one.event["object"]["metadata"]["namespace"] == namespace]

    def look(self, namespace: str) -> tuple[dict[str, watcher.Objects], int]:
        """Return what is there, and how often anything of it has changed."""
        with self._changed:
            looks = {name: one.look(namespace) for name, one in self._watchers.items()}
        return {name: objects for name, (objects, _) in looks.items()}, sum(
            changes for _, changes in looks.values()
        )

    def wait_change(self, namespace: str, since: int, *, timeout: float) -> None:
        """Wait until something has changed more often than ``since``."""

        def changed() -> bool:
            failed = any(one.failed for one in self._watchers.values())
            return failed or self.look(namespace)[1] > since

        with self._changed:
            self._changed.wait_for(changed, timeout)

    def wait(
        self,
        namespace: str,
        holds: Callable[[Everywhere], bool],
        *,
        what: Callable[[Everywhere], str],
        timeout: float,
    ) -> None:
        """Wait until something holds; ``what`` tells why it does not."""
        deadline = time.monotonic() + timeout
        while True:
            seen, changes = self.look(namespace)
            if holds(seen):
                return
            left = deadline - time.monotonic()
            assert left > 0, f"{namespace}: not so after {timeout:g} s: {what(seen)}"
            self.wait_change(namespace, changes, timeout=left)


def removals(cluster: sandbox.Sandbox) -> fleet.Removals:
    """Return when the removal of what was asked for, as the audit log of a worker has it."""
    found: dict[tuple[str, str, str], list[datetime.datetime]] = collections.defaultdict(list)
    for one in audit.requests(cluster):
        if one.verb == "delete" and 200 <= one.status < 300:
            at = datetime.datetime.fromisoformat(one.received)
            found[one.resource, one.namespace, one.name].append(at)
    return found


def broken(
    watch: Watch,
    workers: Mapping[str, sandbox.Sandbox],
    *,
    namespace: str,
    quota: Mapping[str, int],
) -> list[str]:
    """Return what is wrong with what was seen of a namespace in all clusters, once it is over.

    ``quota`` is how many pods of it may run in each worker at a time; groups may move.
    """
    seen = {name: watch.seen(name, namespace=namespace) for name in workers}
    events = {name: [one.event for one in some] for name, some in seen.items()}
    wrong = fleet.broken(events, quota=quota, moves=True)
    spans = [
        span
        for name, some in seen.items()
        for span in fleet.spans(name, some, removals(workers[name]))
    ]
    wrong += fleet.moved(spans, watch.seen("", namespace=namespace))
    for name, some in events.items():
        wrong += [f"INV-6: {one} in {name} has no mark" for one in fleet.strangers(some)]
    return wrong
