"""Whether Kueue's built-in LeaderWorkerSet integration is on, found out by trying.

Its configuration is a file, and marks that it has written stay in stored templates when it is
switched off. But its webhook marks each new set that has a queue (kueue-contract 1.2), and a dry
run shows what a new set would become. Kueue's webhooks may be limited to some namespaces, so the
answer counts for one.
"""

import asyncio
import logging
import secrets
from collections.abc import Iterable
from typing import Any, Final

from lws_kueue.api import lws, names
from lws_kueue.controller.admission import managed_by
from lws_kueue.runtime import client, resources

# How many namespaces a round tries. An answer that has changed is a reason to try all of them.
MOST_TRIED: Final = 10

_PROBE: Final = "lws-kueue-probe"

logger = logging.getLogger(__name__)


class BuiltIn:
    """What is known of it, by namespace."""

    def __init__(self, api: client.Client) -> None:
        self._api = api
        self._known: dict[str, bool] = {}
        # Those that were tried last come last.
        self._tried: dict[str, None] = {}
        self._trying = asyncio.Lock()

    async def of(self, namespace: str) -> bool | None:
        """Return whether it is on for sets of a namespace; None while nobody can tell.

        A namespace is tried when it is asked for first, and after that in rounds.
        """
        async with self._trying:
            if namespace not in self._tried:
                await self._try(namespace)
        return self._known.get(namespace)

    async def look(self, namespaces: Iterable[str]) -> frozenset[str]:
        """Try some of these namespaces again; returns those for which the answer has changed."""
        wanted = set(namespaces)
        async with self._trying:
            for left in self._tried.keys() - wanted:
                del self._tried[left]
                self._known.pop(left, None)
            before = dict(self._known)
            due = [*sorted(wanted - self._tried.keys()), *self._tried]
            changed = {one for one in due[:MOST_TRIED] if await self._try(one)}
            if changed & before.keys():
                changed |= {one for one in due[MOST_TRIED:] if await self._try(one)}
        return frozenset(changed)

    def forget(self) -> None:
        """Forget all: Kueue has left."""
        self._known.clear()
        self._tried.clear()

    async def _try(self, namespace: str) -> bool:
        """Try one namespace; returns whether the answer has changed.

        Where there is none (the webhook does not answer, the namespace is going), the last one
        stays: who is on duty does not change because Kueue restarts.
        """
        self._tried.pop(namespace, None)
        self._tried[namespace] = None
        try:
            made = await self._api.request(
                "POST",
                resources.SETS.path(namespace=namespace),
                query={"dryRun": "All", "fieldManager": names.FIELD_MANAGER},
                body=_probe(namespace),
            )
        except client.ApiError as error:
            logger.info("Whether Kueue manages sets of %s itself is unknown: %s", namespace, error)
            return False
        answer = managed_by.is_marked(lws.LeaderWorkerSet.of(made))
        if self._known.get(namespace) == answer:
            return False
        self._known[namespace] = answer
        logger.info(
            "Kueue's own LeaderWorkerSet integration is %s in %s",
            "on" if answer else "off",
            namespace,
        )
        return True


def _probe(namespace: str) -> dict[str, Any]:
    """Return a set that is asked for in a dry run, and never made."""
    container = {"name": "probe", "image": "none"}
    return {
        "apiVersion": names.LWS_API_VERSION,
        "kind": names.LWS_KIND,
        "metadata": {
            "name": f"{_PROBE}-{secrets.token_hex(3)}",
            "namespace": namespace,
            "labels": {names.QUEUE_NAME: _PROBE},
        },
        "spec": {
            "replicas": 0,
            "leaderWorkerTemplate": {
                "size": 1,
                "workerTemplate": {"spec": {"containers": [container]}},
            },
        },
    }
