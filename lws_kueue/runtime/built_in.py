"""Whether Kueue's built-in LeaderWorkerSet integration is on, found out by trying.

Its configuration is a file, and marks that it has written stay in stored templates when it is
switched off. But its webhook marks each new set that has a queue (kueue-contract 1.2), and a dry
run shows what a new set would become. Kueue's webhooks may be limited to some namespaces, so the
answer counts for one.
"""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

from lws_kueue.api import lws, names, probes
from lws_kueue.controller.admission import managed_by
from lws_kueue.runtime import asking, resources

# How many namespaces a round tries. An answer that has changed is a reason to try all of them.
MOST_TRIED: Final = 10
# So many are tried beside each other, and for so many seconds an answer is waited for: where a
# webhook hangs, nobody else's work does.
MOST_AT_ONCE: Final = 32
TIMEOUT: Final = 2.0

_PROBE: Final = "lws-kueue-probe"

logger = logging.getLogger(__name__)


class NotYetKnown(Exception):
    """A namespace is being tried for the first time; its sets are asked for when that is over."""


class BuiltIn:
    """What is known of it, by namespace."""

    def __init__(self, api: asking.Requests) -> None:
        self._api = api
        self._known: dict[str, bool] = {}
        self._troubles: dict[str, str] = {}
        # Those that were tried last come last.
        self._tried: dict[str, None] = {}
        self._slots = asyncio.Semaphore(MOST_AT_ONCE)
        self._first: dict[str, asyncio.Task[None]] = {}

    def of(self, namespace: str) -> bool | None:
        """Return whether it is on for sets of a namespace; None while nobody can tell."""
        return self._known.get(namespace)

    def trouble(self, namespace: str) -> str:
        """Return why the last try of a namespace gave no answer, "" if it gave one."""
        return self._troubles.get(namespace, "")

    def tried(self, namespace: str) -> bool:
        """Whether a namespace has been tried, even if nobody answered."""
        return namespace in self._tried

    def first_look(self, namespace: str, then: Callable[[], Awaitable[None]]) -> None:
        """Try a namespace beside all other work, and go on with ``then``; once at a time."""
        if namespace in self._first:
            return

        async def look() -> None:
            try:
                await self._try(namespace)
            finally:
                self._first.pop(namespace, None)
            await then()

        self._first[namespace] = asyncio.create_task(look(), name=f"built-in {namespace}")

    async def close(self) -> None:
        """Give up what is being tried for the first time."""
        looks = list(self._first.values())
        for look in looks:
            look.cancel()
        await asyncio.gather(*looks, return_exceptions=True)

    async def look(self, namespaces: Iterable[str]) -> frozenset[str]:
        """Try some of these namespaces again; returns those for which the answer has changed."""
        wanted = set(namespaces)
        for left in self._tried.keys() - wanted:
            del self._tried[left]
            self._known.pop(left, None)
            self._troubles.pop(left, None)
        before = set(self._known)
        due = [*sorted(wanted - self._tried.keys()), *self._tried]
        changed = await self._try_all(due[:MOST_TRIED])
        if changed & before:
            changed |= await self._try_all(due[MOST_TRIED:])
        return changed

    async def _try_all(self, namespaces: list[str]) -> frozenset[str]:
        answers = await asyncio.gather(*(self._try(one) for one in namespaces))
        pairs = zip(namespaces, answers, strict=True)
        return frozenset(one for one, changed in pairs if changed)

    def forget(self) -> None:
        """Forget all: Kueue has left."""
        self._known.clear()
        self._troubles.clear()
        self._tried.clear()

    async def _try(self, namespace: str) -> bool:
        """Try one namespace; returns whether the answer has changed.

        Where there is none (the webhook does not answer, the namespace is going), the last one
        stays: who is on duty does not change because Kueue restarts.
        """
        probe = _probe(namespace)
        try:
            async with self._slots, asyncio.timeout(TIMEOUT):
                made = await self._api.request(
                    "POST",
                    resources.SETS.path(namespace=namespace),
                    query={"dryRun": "All", "fieldManager": names.FIELD_MANAGER},
                    body=probe,
                )
        except (asking.ApiError, TimeoutError) as error:
            why = error if isinstance(error, asking.ApiError) else f"no answer in {TIMEOUT:.0f} s"
            logger.info("Whether Kueue manages sets of %s itself is unknown: %s", namespace, why)
            # Sets tell it, so it has to stay the same as long as the cause does.
            self._troubles[namespace] = str(why).replace(probe["metadata"]["name"], _PROBE)
            return False
        finally:
            self._tried.pop(namespace, None)
            self._tried[namespace] = None
        self._troubles.pop(namespace, None)
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
                "workerTemplate": {"spec": probes.pod_spec()},
            },
        },
    }
