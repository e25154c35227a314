"""Turns: who has much to do waits behind itself, and nobody else behind it.

Namespaces take turns, and so do the sets of one; what is asked for by one set is done in the order
in which it was asked for. So a namespace with one thing to do waits for one of each other namespace
at most, whatever they have: a set of thousands of groups, or thousands of sets.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Collection, Hashable
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Turns(Generic[Item]):
    """Items that wait for their turn, by namespace and set."""

    def __init__(self) -> None:
        # The order of a dict is that of the turns: who had one goes to the end.
        self._waiting: dict[Hashable, dict[Hashable, deque[Item]]] = {}

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def put(self, item: Item, *, namespace: Hashable, name: Hashable) -> None:
        """Add an item behind those of the same set."""
        self._waiting.setdefault(namespace, {}).setdefault(name, deque()).append(item)

    def take(self, *, but: Collection[Hashable] = ()) -> Item:
        """Return the item whose turn it is; namespaces in ``but`` miss theirs.

        Raises:
            LookupError: there is none.
        """
        for namespace in self._waiting:
            if namespace not in but:
                break
        else:
            raise LookupError("it is nobody's turn")
        sets = self._waiting.pop(namespace)
        name = next(iter(sets))
        items = sets.pop(name)
        item = items.popleft()
        if items:
            sets[name] = items
        if sets:
            self._waiting[namespace] = sets
        return item


class Slots:
    """So many at a time; who waits for one gets it in turn."""

    def __init__(self, number: int) -> None:
        self._free = number
        self._turns: Turns[asyncio.Future[None]] = Turns()

    @asynccontextmanager
    async def of(self, key: tuple[str, str]) -> AsyncIterator[None]:
        """Have a slot for a set, given by its namespace and name, once there is one."""
        if self._free:
            self._free -= 1
        else:
            turn = asyncio.get_running_loop().create_future()
            namespace, name = key
            self._turns.put(turn, namespace=namespace, name=name)
            try:
                await turn
            except asyncio.CancelledError:
                # It may have been given in the moment in which nobody wants it any more.
                if turn.done() and not turn.cancelled():
                    self._give_back()
                raise
        try:
            yield
        finally:
            self._give_back()

    def _give_back(self) -> None:
        """Hand a slot on to whoever's turn it is, or keep it."""
        while self._turns:
            turn = self._turns.take()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1
