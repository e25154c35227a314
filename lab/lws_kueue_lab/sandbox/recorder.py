"""The recorder: every version of objects that the API server sends, and nothing is left out."""

import contextlib
import threading
from collections.abc import Iterator
from typing import Any, Final, Self

from lws_kueue_lab import sandbox
from lws_kueue_lab.sandbox import client

Object = dict[str, Any]
# The API version and the name of a kind.
Kind = tuple[str, str]

# A watch ends so often that the recorder can end soon.
_WATCH_SECONDS: Final = 2.0
_END_SECONDS: Final = 60.0
# The kind is being served anew, and what was before is gone.
_FORGOTTEN: Final = (429, 410)
_PAUSE_SECONDS: Final = 0.5


class Recorder:
    """Watches kinds from the moment on in which its context begins, and keeps the events."""

    def __init__(
        self,
        cluster: sandbox.Sandbox,
        *kinds: Kind,
        namespace: str | None = None,
        from_list: bool = False,
        definitions_change: bool = False,
    ) -> None:
        """``from_list`` says that what is there at the beginning is taken for an event.

        ``definitions_change`` says that definitions of kinds may be applied anew meanwhile. The API
        server forgets the past of such a kind. It is listed then, so that nothing is missed as long
        as nobody works on its objects in that moment.
        """
        self.events: list[Object] = []
        self.changed = threading.Condition()
        self._api = cluster.api
        self._kinds = kinds
        self._namespace = namespace
        self._from_list = from_list
        self._definitions_change = definitions_change
        self._stopped = threading.Event()
        self._latest: dict[Kind, dict[str, int]] = {kind: {} for kind in kinds}
        self._ended: set[str] = set()
        self._fault: BaseException | None = None

    @contextlib.contextmanager
    def watching(self) -> Iterator[Self]:
        """Watch until the context ends; a gap is an error: the history would prove nothing."""
        begun = [(kind, self._list(kind, take=self._from_list)) for kind in self._kinds]
        threads = [
            threading.Thread(target=self._follow, args=(kind, version), daemon=True)
            for kind, version in begun
        ]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self._stopped.set()
            for thread in threads:
                thread.join(timeout=_END_SECONDS)
        assert not any(thread.is_alive() for thread in threads)
        self.check()

    def check(self) -> None:
        """Fail if anything may have been missed."""
        if self._fault is not None:
            raise AssertionError("the recorder missed something") from self._fault

    @property
    def failed(self) -> bool:
        """Whether a watch has ended for good."""
        return self._fault is not None

    def take(self, event: Object) -> None:
        """Keep an event."""
        with self.changed:
            self.events.append(event)

    def of_kind(self, kind: str) -> list[Object]:
        """Return the events of one of the kinds."""
        with self.changed:
            return [event for event in self.events if event["object"]["kind"] == kind]

    def _follow(self, kind: Kind, version: str) -> None:
        try:
            while not self._stopped.is_set():
                version = self._follow_on(kind, version)
            # A watch may lag behind what is there at the end; what comes after it does not matter.
            objects, end = self._api.list_page(*kind, namespace=self._namespace)
            while not self._has_seen(kind, _versions(objects), int(end)):
                version = self._follow_on(kind, version)
        except BaseException as fault:
            with self.changed:
                self._fault = fault
                self.changed.notify_all()

    def _follow_on(self, kind: Kind, version: str) -> str:
        """Watch for a while; returns the version up to which all has been seen."""
        where: dict[str, Any] = {"namespace": self._namespace, "timeout": _WATCH_SECONDS}
        try:
            for event in self._api.watch(*kind, resource_version=version, **where):
                if event["type"] == "ERROR" and self._forgotten(event["object"].get("code")):
                    return self._list(kind, take=True)
                assert event["type"] != "ERROR", event
                version = event["object"]["metadata"]["resourceVersion"]
                self._saw(kind, event)
                self.take(event)
        except client.ApiError as error:
            if not self._forgotten(error.status):
                raise
            self._stopped.wait(_PAUSE_SECONDS)
        return version

    def _saw(self, kind: Kind, event: Object) -> None:
        meta = event["object"]["metadata"]
        if event["type"] == "DELETED":
            self._latest[kind].pop(meta["uid"], None)
            self._ended.add(meta["uid"])
        else:
            self._latest[kind][meta["uid"]] = int(meta["resourceVersion"])

    def _has_seen(self, kind: Kind, listed: dict[str, int], end: int) -> bool:
        """Whether all has been seen that a list of a version shows, and the end of all else."""
        latest = self._latest[kind]
        shown = all(uid in self._ended or latest.get(uid, 0) >= at for uid, at in listed.items())
        return shown and all(uid in listed or at > end for uid, at in latest.items())

    def _forgotten(self, code: object) -> bool:
        return self._definitions_change and code in _FORGOTTEN

    def _list(self, kind: Kind, *, take: bool) -> str:
        objects, version = self._api.list_page(*kind, namespace=self._namespace)
        listed = _versions(objects)
        self._ended |= self._latest[kind].keys() - listed.keys()
        self._latest[kind] = listed
        for obj in objects if take else ():
            self.take({"type": "MODIFIED", "object": obj})
        return version


def _versions(objects: list[Object]) -> dict[str, int]:
    return {o["metadata"]["uid"]: int(o["metadata"]["resourceVersion"]) for o in objects}
