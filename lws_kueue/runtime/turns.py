"""Turns: who has much to do waits behind itself, and nobody else behind it.

Namespaces take turns, and so do the sets of one; what is asked for by one set is done in the order
in which it was asked for. So a namespace with one thing to do waits for one of each other namespace
at most, whatever they have: a set of thousands of groups, or thousands of sets.

What is more urgent goes first, in a namespace and among namespaces. It overtakes a few times and no
more (`MOST_OVERTAKEN`), so whatever waits has its turn in the end.
"""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Collection, Hashable
from contextlib import asynccontextmanager
from typing import Final, Generic, TypeVar

Item = TypeVar("Item")

# So often a namespace, or what is less urgent in one, is passed by for what is more urgent.
MOST_OVERTAKEN: Final = 8


class Turns(Generic[Item]):
    """Items that wait for their turn, by namespace, urgency and set."""

    def __init__(self) -> None:
        # The order of a dict is that of the turns: who had one goes to the end.
        self._waiting: dict[Hashable, _Tenant[Item]] = {}

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def put(self, item: Item, *, namespace: Hashable, name: Hashable, urgency: int = 0) -> None:
        """Add an item behind those of the same set; the lowest ``urgency``, 0, goes first."""
        self._waiting.setdefault(namespace, _Tenant()).put(item, name=name, urgency=urgency)

    def take(
        self,
        *,
        but: Collection[Hashable] = (),
        full: Collection[tuple[Hashable, Hashable]] = (),
    ) -> Item:
        """Return the item whose turn it is.

        Namespaces in ``but`` miss theirs, and so do sets in ``full``, by namespace and name.

        Raises:
            LookupError: there is none.
        """
        passed: list[_Tenant[Item]] = []
        chosen: tuple[int, Hashable, int] | None = None
        for namespace, tenant in self._waiting.items():
            urgency = None if namespace in but else tenant.urgency(but=_names(namespace, full))
            if urgency is None:
                continue
            if chosen is None or urgency < chosen[0]:
                chosen = urgency, namespace, len(passed)
            if urgency == 0 or (not passed and tenant.overtaken >= MOST_OVERTAKEN):
                break
            passed.append(tenant)
        if chosen is None:
            raise LookupError("it is nobody's turn")
        _, namespace, before = chosen
        for tenant in passed[:before]:
            tenant.overtaken += 1
        tenant = self._waiting.pop(namespace)
        item = tenant.take(but=_names(namespace, full))
        if tenant:
            self._waiting[namespace] = tenant
        return item


def _names(
    namespace: Hashable, sets: Collection[tuple[Hashable, Hashable]]
) -> Collection[Hashable]:
    return [name for of, name in sets if of == namespace]


class _Tenant(Generic[Item]):
    """What waits in one namespace; ``overtaken`` is how often since its last turn."""

    def __init__(self) -> None:
        self.overtaken = 0
        self._waiting: dict[int, dict[Hashable, deque[Item]]] = {}
        self._overtaken: Counter[int] = Counter()

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def put(self, item: Item, *, name: Hashable, urgency: int) -> None:
        self._waiting.setdefault(urgency, {}).setdefault(name, deque()).append(item)

    def urgency(self, *, but: Collection[Hashable]) -> int | None:
        """Return the highest urgency there is of sets that are not in ``but``, None for none."""
        return min(self._ready(but), default=None)

    def take(self, *, but: Collection[Hashable]) -> Item:
        """Return the item whose turn it is; a set that is not in ``but`` has to have one."""
        ready = self._ready(but)
        urgency = min(ready)
        latest = max(ready, key=self._overtaken.__getitem__)
        if self._overtaken[latest] >= MOST_OVERTAKEN:
            urgency = latest
        self._overtaken.update(one for one in ready if one > urgency)
        del self._overtaken[urgency]
        self.overtaken = 0
        sets = self._waiting[urgency]
        name = next(name for name in sets if name not in but)
        items = sets.pop(name)
        item = items.popleft()
        if items:
            sets[name] = items
        if not sets:
            del self._waiting[urgency]
        return item

    def _ready(self, but: Collection[Hashable]) -> list[int]:
        return [
            urgency
            for urgency, sets in self._waiting.items()
            if any(name not in but for name in sets)
        ]


class Slots:
    """So many at a time, and fewer of one namespace and of one set; they are given in turn."""

    def __init__(
        self, number: int, *, of_namespace: int | None = None, of_set: int | None = None
    ) -> None:
        """``of_namespace`` and ``of_set`` are how many one may have, None for all.

        So whose requests take long holds up nobody else.
        """
        self._free = number
        self._of_namespace = of_namespace or number
        self._of_set = of_set or number
        self._given: Counter[tuple[str, str]] = Counter()
        self._turns: Turns[tuple[tuple[str, str], asyncio.Future[None]]] = Turns()

    @asynccontextmanager
    async def of(self, key: tuple[str, str], *, urgency: int = 0) -> AsyncIterator[None]:
        """Have a slot for a set, given by its namespace and name, once there is one."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        namespace, name = key
        self._turns.put((key, turn), namespace=namespace, name=name, urgency=urgency)
        self._give()
        try:
            await turn
        except asyncio.CancelledError:
            # It may have been given in the moment in which nobody wants it any more.
            if turn.done() and not turn.cancelled():
                self._give_back(key)
            raise
        try:
            yield
        finally:
            self._give_back(key)

    def _give(self) -> None:
        """Give the slots that are free to those whose turn it is."""
        while self._free:
            used: Counter[str] = Counter()
            for (namespace, _), number in self._given.items():
                used[namespace] += number
            but = {namespace for namespace, number in used.items() if number >= self._of_namespace}
            full = {key for key, number in self._given.items() if number >= self._of_set}
            try:
                key, turn = self._turns.take(but=but, full=full)
            except LookupError:
                return
            if not turn.done():
                turn.set_result(None)
                self._free -= 1
                self._given[key] += 1

    def _give_back(self, key: tuple[str, str]) -> None:
        self._free += 1
        self._given -= Counter([key])
        self._give()
