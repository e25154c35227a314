"""Kubernetes events on the LeaderWorkerSet, sent beside the work and never in its way.

Events are for people: one that cannot be sent after a while is logged and forgotten.
"""

import asyncio
import datetime
import logging
import os
import socket
import uuid
from typing import Any, Final

from lws_kueue.api import actions, facts, names
from lws_kueue.runtime import client

CONTROLLER: Final = "lws-kueue.dev/controller"
MOST_WAITING: Final = 1000
NOTE_LENGTH: Final = 1024
PATIENCE: Final = 10.0

logger = logging.getLogger(__name__)


class Recorder:
    """Sends events in the order they were recorded."""

    def __init__(self, api: client.Client) -> None:
        self._api = api
        self._queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue(maxsize=MOST_WAITING)
        self._instance = f"{socket.gethostname()}-{os.getpid()}"[:128]

    def record(self, regarding: facts.Meta, event: actions.Event) -> None:
        """Queue an event on a set; the oldest interest in a flood is the first, so drop late."""
        try:
            self._queue.put_nowait(self._body(regarding, event))
        except asyncio.QueueFull:
            logger.warning("Too many events are waiting; dropped: %s", event.message)

    async def run(self) -> None:
        """Send events until cancelled."""
        while True:
            body = await self._queue.get()
            try:
                # Its name makes it the same event, however often it is sent.
                async for attempt in client.patiently(seconds=PATIENCE):
                    with attempt:
                        await self._api.create(body, field_manager=names.FIELD_MANAGER)
            except client.ApiError as error:
                # A namespace that is going away takes no events.
                level = logging.DEBUG if client.namespace_leaves(error) else logging.INFO
                logger.log(level, "An event was not recorded: %s", error)
            except Exception:
                logger.exception("An event was not recorded")
            finally:
                self._queue.task_done()

    async def flush(self) -> None:
        """Wait until everything that was recorded has been sent."""
        await self._queue.join()

    def _body(self, regarding: facts.Meta, event: actions.Event) -> dict[str, Any]:
        now = datetime.datetime.now(datetime.UTC)
        return {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {
                "namespace": regarding.namespace,
                "name": f"{regarding.name[:220]}.{uuid.uuid4().hex[:16]}",
            },
            "eventTime": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "type": event.type,
            "reason": event.reason,
            "note": event.message[:NOTE_LENGTH],
            "action": "Reconcile",
            "regarding": {
                "apiVersion": names.LWS_API_VERSION,
                "kind": names.LWS_KIND,
                "namespace": regarding.namespace,
                "name": regarding.name,
                "uid": regarding.uid,
                "resourceVersion": regarding.resource_version,
            },
            "reportingController": CONTROLLER,
            "reportingInstance": self._instance,
        }
