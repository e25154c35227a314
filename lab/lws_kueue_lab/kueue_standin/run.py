"""The shell of the stand-in: watch everything, decide, write, repeat.

One thread watches each kind; one loop decides and writes. Nothing is remembered between passes
but the objects themselves, so losing a request, the API server or this process loses nothing.
"""

import contextlib
import datetime
import functools
import logging
import threading
import time
from pathlib import Path
from typing import Final

import urllib3.exceptions

import lws_kueue
from lws_kueue.api import actions
from lws_kueue_lab.kueue_standin import decide, installation, lifecycle, pod_marks, store, webhook
from lws_kueue_lab.sandbox import client

USER_AGENT: Final = f"lws-kueue-standin/{lws_kueue.__version__}"

_log = logging.getLogger(__name__)

# Changes come in bursts; a pass a burst is enough and keeps admission well under 100 ms.
_DEBOUNCE_SECONDS: Final = 0.01
_WATCH_SECONDS: Final = 300.0
_RETRY_SECONDS: Final = 1.0
_RECONNECT_SECONDS: Final = 0.3
_UNREACHABLE: Final = (urllib3.exceptions.HTTPError, OSError)
_KINDS: Final = {kind.kind: kind for kind in store.KINDS}


class Runner:
    """Runs the stand-in against one cluster until `stop`."""

    def __init__(self, kubeconfig: Path, options: lifecycle.Options) -> None:
        self._api = client.Client(kubeconfig, user_agent=USER_AGENT)
        self._options = options
        self._changed = threading.Event()
        self._stopped = threading.Event()
        self._store = store.Store(self._changed.set)
        self._listed = {kind.kind: threading.Event() for kind in store.KINDS}

    def stop(self) -> None:
        """End `run` soon; may be called from a signal handler or another thread."""
        self._stopped.set()
        self._changed.set()

    def run(self, on_ready: threading.Event | None = None) -> None:
        """Serve until stopped.

        Raises:
            ForeignKueueError: the cluster has a real Kueue.
        """
        installation.check(self._api)
        for kind in store.KINDS:
            threading.Thread(
                target=self._watch, args=(kind,), name=f"watch-{kind.kind}", daemon=True
            ).start()
        for listed in self._listed.values():
            while not listed.wait(0.1):
                if self._stopped.is_set():
                    return
        if self._options.pods is not None:
            webhook.serve(self._api, functools.partial(self._marked, self._options.pods))
        if on_ready is not None:
            on_ready.set()
        while not self._stopped.is_set():
            self._changed.clear()
            wait = self._pass()
            self._changed.wait(wait)
            time.sleep(_DEBOUNCE_SECONDS)

    # Reading ----------------------------------------------------------------------------------

    def _watch(self, kind: store.Kind) -> None:
        while not self._stopped.is_set():
            try:
                self._watch_once(kind)
            except (client.ApiError, LookupError, *_UNREACHABLE) as error:
                _log.info("watch of %s: %s", kind.kind, error)
                self._stopped.wait(_RECONNECT_SECONDS)

    def _watch_once(self, kind: store.Kind) -> None:
        items, version = self._api.list_page(kind.api_version, kind.kind)
        self._store.replace(kind, items, int(version))
        self._listed[kind.kind].set()
        events = self._api.watch(
            kind.api_version,
            kind.kind,
            resource_version=version,
            timeout=_WATCH_SECONDS,
        )
        for event in events:
            if event["type"] == "DELETED":
                self._store.remove(kind, event["object"])
            elif event["type"] in ("ADDED", "MODIFIED"):
                self._store.put(kind, event["object"])
            else:
                _log.info("watch of %s: %s", kind.kind, event["object"].get("message"))
                return
            if self._stopped.is_set():
                return

    # Answering ----------------------------------------------------------------------------------

    def _marked(
        self, integration: pod_marks.Integration, pod: client.Object, namespace: str
    ) -> client.Object:
        around = pod_marks.Surroundings(find=self._find, has_default_queue=self._has_default_queue)
        return pod_marks.marked(pod, namespace=namespace, integration=integration, around=around)

    def _find(self, api_version: str, kind: str, namespace: str, name: str) -> client.Object | None:
        try:
            return self._api.find(api_version, kind, name, namespace=namespace)
        except LookupError:
            return None

    def _has_default_queue(self, namespace: str) -> bool:
        return self._store.has("LocalQueue", namespace=namespace, name=pod_marks.DEFAULT_QUEUE)

    # Deciding and writing -----------------------------------------------------------------------

    def _pass(self) -> float | None:
        """Decide once and write; returns after how many seconds to do so again, if ever."""
        decision = decide.decide(
            self._store.observed(), now=datetime.datetime.now(datetime.UTC), options=self._options
        )
        failed = [write for write in decision.writes if not self._write(write)]
        if failed:
            return min(_RETRY_SECONDS, decision.recheck_after or _RETRY_SECONDS)
        return decision.recheck_after

    def _write(self, write: decide.Write) -> bool:
        """Send one write; False if it has to be tried again without a new event."""
        try:
            answer = self._send(write)
        except client.ApiError as error:
            if error.status in (404, 409):
                # The object is newer than the decision; the watch will tell.
                return True
            _log.warning("%s: %s", _describe(write), error.body or error)
            return False
        except _UNREACHABLE as error:
            _log.info("%s: %s", _describe(write), error)
            return False
        _log.info("%s", _describe(write))
        self._store.put(_KINDS[answer["kind"]], answer)
        return True

    def _send(self, write: decide.Write) -> client.Object:
        if isinstance(write, actions.Apply):
            return self._api.apply(
                dict(write.body), field_manager=write.field_manager, subresource=write.subresource
            )
        metadata = {"resourceVersion": write.resource_version} | write.body.get("metadata", {})
        return self._api.patch(
            write.ref.api_version,
            write.ref.kind,
            write.ref.name,
            namespace=write.ref.namespace,
            body={**write.body, "metadata": metadata},
            subresource=write.subresource,
        )

    def close(self) -> None:
        """Give the connections back."""
        with contextlib.suppress(*_UNREACHABLE):
            self._api.close()


def _describe(write: decide.Write) -> str:
    if isinstance(write, actions.Patch):
        return f"{write.ref.kind} {write.ref.namespace}/{write.ref.name}: {dict(write.body)}"
    body = write.body
    conditions = ", ".join(
        f"{c['type']}={c['status']} ({c['reason']}: {c['message']})"
        for c in body["status"].get("conditions", ())
    )
    metadata = body["metadata"]
    return f"{body['kind']} {metadata.get('namespace', '')}/{metadata['name']}: {conditions}"
