"""A queue of keys to look at: de-duplicated, one pass per key at a time, with delays.

The shape is that of the work queues of Kubernetes controllers. A key that is added while it is
being worked on is worked on once more afterwards, so no change is ever missed; adding it a
hundred times in a moment costs one pass. A failing key comes back with exponential delay. Of keys
that are due, tenants take turns (`turns`), so nobody waits until all keys of another one are done;
and not all workers work for one of them, so nobody waits until a long pass of another one is over.
"""

import asyncio
import contextlib
import heapq
from collections import Counter
from collections.abc import Callable, Hashable
from typing import Generic, Protocol, TypeVar

from lws_kueue.runtime import turns

Key = TypeVar("Key", bound=Hashable)

FIRST_BACKOFF = 0.2
MOST_BACKOFF = 60.0
# Requests that earlier ones have overtaken stay until they are due, as long as they are so few.
_MOST_STALE = 100


class Observer(Protocol):
    """Is told what happens; for metrics."""

    def added(self, *, waiting: int) -> None:
        """A pass was asked for."""

    def taken(self, *, waiting: int, late: float) -> None:
        """A pass begins, ``late`` seconds after it was due."""

    def finished(self, *, seconds: float, failed: bool) -> None:
        """A pass is over."""


class WorkQueue(Generic[Key]):
    """Keys with the earliest moment each is due; times are those of the event loop."""

    def __init__(
        self,
        *,
        settle: float = 0.03,
        observer: Observer | None = None,
        tenant: Callable[[Key], Hashable] = lambda _: None,
        most: int | None = None,
    ) -> None:
        """``settle`` seconds pass before a key is worked on, so that bursts become one pass.

        ``tenant`` says of a key with whose keys it waits; by default all are of one. ``most`` keys
        of one tenant are worked on at the same time, None for any number.
        """
        self._settle = settle
        self._observer = observer
        self._tenant = tenant
        self._most = most
        self._due: dict[Key, float] = {}
        self._heap: list[tuple[float, int, Key]] = []
        self._turns: turns.Turns[Key] = turns.Turns()
        # Those that are in there: what is asked for twice has one turn.
        self._up: set[Key] = set()
        self._busy: dict[Key, float] = {}
        self._failures: dict[Key, int] = {}
        self._sequence = 0
        self._changed = asyncio.Condition()

    def __len__(self) -> int:
        return len(self._due)

    async def add(self, key: Key, *, after: float = 0.0) -> None:
        """Ask for a pass in ``after`` seconds; an earlier request for the key stands."""
        now = asyncio.get_running_loop().time()
        due = now + max(after, self._settle)
        async with self._changed:
            if key in self._due and self._due[key] <= due:
                return
            self._due[key] = due
            self._push(due, key)
            self._changed.notify_all()
        if self._observer:
            self._observer.added(waiting=len(self))

    def _push(self, due: float, key: Key) -> None:
        if len(self._heap) > _MOST_STALE + 2 * len(self._due):
            self._heap = [entry for entry in self._heap if self._due.get(entry[2]) == entry[0]]
            heapq.heapify(self._heap)
        self._sequence += 1
        heapq.heappush(self._heap, (due, self._sequence, key))

    async def get(self) -> Key:
        """Wait for the next key that is due and that nobody works on; call ``done`` with it."""
        async with self._changed:
            while True:
                key, wait = self._next()
                if key is not None:
                    now = asyncio.get_running_loop().time()
                    self._busy[key] = now
                    late = now - self._due.pop(key)
                    if self._observer:
                        self._observer.taken(waiting=len(self), late=late)
                    return key
                # Not wait_for: it waits in a task of its own, and that one keeps the lock for ever
                # when this one is cancelled in the moment in which the time is up.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        await self._changed.wait()

    def _next(self) -> tuple[Key | None, float | None]:
        """Return a key to work on, or how long to wait for one (None: until something changes)."""
        now = asyncio.get_running_loop().time()
        while self._heap and self._heap[0][0] <= now:
            due, _, key = heapq.heappop(self._heap)
            # A busy key is pushed again by ``done``.
            if self._due.get(key) == due and key not in self._busy and key not in self._up:
                self._turns.put(key, namespace=self._tenant(key), name=key)
                self._up.add(key)
        try:
            key = self._turns.take(but=self._full())
        except LookupError:
            return None, self._heap[0][0] - now if self._heap else None
        self._up.remove(key)
        return key, None

    def _full(self) -> set[Hashable]:
        """Return the tenants of which no more keys are worked on for now."""
        if self._most is None:
            return set()
        busy = Counter(map(self._tenant, self._busy))
        return {tenant for tenant, number in busy.items() if number >= self._most}

    def asked(self, key: Key) -> bool:
        """Whether a pass over a key is due, whoever works on it now."""
        due = self._due.get(key)
        return due is not None and due <= asyncio.get_running_loop().time()

    async def done(self, key: Key, *, failed: bool = False) -> float | None:
        """Finish the pass over ``key``; after a failure return the delay before the next one."""
        delay: float | None = None
        if failed:
            count = self._failures.get(key, 0)
            self._failures[key] = count + 1
            delay = min(MOST_BACKOFF, FIRST_BACKOFF * 2.0**count)
        else:
            self._failures.pop(key, None)
        async with self._changed:
            began = self._busy.pop(key, None)
            if self._observer and began is not None:
                seconds = asyncio.get_running_loop().time() - began
                self._observer.finished(seconds=seconds, failed=failed)
            if key in self._due:
                self._push(self._due[key], key)
            self._changed.notify_all()
        if delay is not None:
            await self.add(key, after=delay)
        return delay
