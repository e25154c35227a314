"""Kubernetes events on the LeaderWorkerSet, sent beside the work and never in its way.

Events are for people: one that cannot be sent after a while is logged and forgotten. They are sent
in turns (`turns`), and a flood of one namespace takes no room from the others.
"""

import asyncio
import datetime
import logging
import os
import socket
import uuid
from collections import Counter
from typing import Any, Final

from lws_kueue.api import actions, facts, names
from lws_kueue.runtime import client, turns

CONTROLLER: Final = "lws-kueue.dev/controller"
MOST_WAITING: Final = 1000
# For so many of a namespace there is room whatever others have.
RESERVED: Final = 20
NOTE_LENGTH: Final = 1024
PATIENCE: Final = 10.0

logger = logging.getLogger(__name__)


class Recorder:
    """Sends events; those on one set in the order in which they were recorded."""

    def __init__(self, api: client.Client) -> None:
        self._api = api
        self._waiting: turns.Turns[dict[str, Any]] = turns.Turns()
        self._numbers: Counter[str] = Counter()
        self._news, self._idle = asyncio.Event(), asyncio.Event()
        self._idle.set()
        self._instance = f"{socket.gethostname()}-{os.getpid()}"[:128]

    def record(self, regarding: facts.Meta, event: actions.Event) -> bool:
        """Have an event on a set sent; returns whether there was room for it.

        The oldest interest in a flood is the first, so what comes late is dropped.
        """
        namespace = regarding.namespace
        if self._numbers[namespace] >= RESERVED and self._numbers.total() >= MOST_WAITING:
            logger.warning("Too many events are waiting; dropped: %s", event.message)
            return False
        body = self._body(regarding, event)
        self._waiting.put(body, namespace=namespace, name=regarding.name)
        self._numbers[namespace] += 1
        self._news.set()
        self._idle.clear()
        return True

    async def run(self) -> None:
        """Send events until cancelled."""
        while True:
            await self._news.wait()
            body = self._waiting.take()
            self._numbers -= Counter([body["metadata"]["namespace"]])
            if not self._waiting:
                self._news.clear()
            await self._send(body)
            if not self._waiting:
                self._idle.set()

    async def _send(self, body: dict[str, Any]) -> None:
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

    async def flush(self) -> None:
        """Wait until everything that was recorded has been sent."""
        await self._idle.wait()

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
