"""Scheduling cycles: which Workloads get quota, one head of each queue at a time.

As in Kueue (``pkg/scheduler/scheduler.go`` and ``pkg/cache/queue`` of v0.19) a cycle looks at the
first Workload of every ClusterQueue against one picture of the quota, and then goes through them:
those first that borrow least, then by priority and age, each against what is left. Who does not fit
steps aside, so that the next one of its queue is the head, until quota becomes free; in a
StrictFIFO queue it stays the head. Who waits for others to stop keeps its turn.
"""

import dataclasses
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from lws_kueue.simulator import flavors, hierarchy, objects, preemption, topology, turns
from lws_kueue.simulator.flavors import Mode

Key = tuple[str, str]

# After any moment that the API tells.
_NOW: Final = "9999"
# Who has to go, by the kinds that are short and the usage that is asked for.
_Asked = dict[
    tuple[frozenset[hierarchy.Kind], tuple[tuple[hierarchy.Kind, int], ...]],
    tuple[preemption.Target, ...],
]

_OVERLAPPING: Final = "Workload has overlapping preemption targets with another workload"
_TOO_LATE: Final = "Workload no longer fits after processing another workload"
# How often Workloads may displace each other before nothing more is said.
_MOST_ROUNDS: Final = 100


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the last cycle found out about a Workload.

    With ``admitted`` it has quota as in ``found`` and the places; otherwise ``message`` says why
    not, in Kueue's words, and ``targets`` are those that stop for it.
    """

    admitted: bool
    found: flavors.Assignment
    places: topology.Assignments = field(default_factory=dict)
    targets: tuple[preemption.Target, ...] = ()
    skipped: str = ""

    @property
    def message(self) -> str:
        """Why it waits."""
        return self.skipped or self.found.message


@dataclass(slots=True, eq=False)
class _Waiting:
    """A Workload in a queue; ``tried`` is how far its flavors were tried, in the ``cycle``.

    Its ``turn``: higher priority first, then who waits for longer.
    """

    workload: objects.Workload
    queue: str
    queued: str
    shape: str
    turn: tuple[int, str, str]
    tried: flavors.Tried = field(default_factory=dict)
    cycle: int = 0
    generation: int = 0


@dataclass(slots=True, eq=False)
class _Line:
    """The queue of a ClusterQueue.

    ``aside`` are those that did not fit, ``alike`` the shapes of which that is known, ``sticky``
    is who waits for others to stop. ``generation`` counts how often quota became free.
    """

    ready: dict[Key, _Waiting] = field(default_factory=dict)
    aside: dict[Key, _Waiting] = field(default_factory=dict)
    alike: dict[str, flavors.Assignment | None] = field(default_factory=dict)
    sticky: Key | None = None
    generation: int = 0

    def pop(self) -> _Waiting | None:
        """Take out the head, None if nobody is there."""
        if not self.ready:
            return None
        head = min(self.ready, key=lambda key: (key != self.sticky, self.ready[key].turn))
        return self.ready.pop(head)


@dataclass(slots=True, eq=False)
class _Entry:
    """The head of a queue in a cycle."""

    waiting: _Waiting
    found: flavors.Assignment
    wanted: topology.Asked
    places: topology.Assignments
    targets: tuple[preemption.Target, ...]

    @property
    def turn(self) -> tuple[int, int, str, str]:
        """Who borrows least is first."""
        return self.found.borrowing, *self.waiting.turn


class Scheduler:
    """A cluster in which Workloads come, wait, get quota and lose it.

    ``active`` names the ClusterQueues that admit. ``verdicts`` is what was found out, and
    ``displaced`` who had to go, by whom that was for.
    """

    def __init__(self, observed: objects.Observed, *, active: Collection[str]) -> None:
        self.tree = hierarchy.Tree(observed.cluster_queues, observed.cohorts.values())
        self.places = topology.Finder(observed)
        self.verdicts: dict[Key, Verdict] = {}
        self.displaced: dict[Key, list[Key]] = {}
        self._observed = observed
        self._active = {*active} - self.tree.circular
        self._lines = {name: _Line() for name in observed.cluster_queues}
        self._holders: dict[str, dict[Key, preemption.Holder]] = {}
        self._workloads: dict[Key, objects.Workload] = {}
        self._freed: set[str] = set()
        self._cycle_number = 0
        self._admissions = 0

    # What is there ------------------------------------------------------------------------------

    def hold(self, workload: objects.Workload, *, evicted: bool = False) -> None:
        """Count a Workload that has quota; ``evicted`` if it gives that back."""
        queue = str((workload.admission or {}).get("clusterQueue", ""))
        if queue not in self._lines:
            return
        reserved = workload.conditions.get("QuotaReserved", {}).get("lastTransitionTime", "")
        self._count(workload, queue, workload.usage(), (str(reserved), 0), evicted=evicted)
        self.places.take(workload)

    def _count(
        self,
        workload: objects.Workload,
        queue: str,
        usage: hierarchy.Amounts,
        reserved: tuple[str, int],
        *,
        evicted: bool = False,
    ) -> None:
        self._workloads[workload.key] = workload
        self._holders.setdefault(queue, {})[workload.key] = preemption.Holder(
            key=workload.key,
            queue=queue,
            usage=usage,
            priority=workload.priority,
            queued=queued_since(workload),
            reserved=reserved,
            uid=workload.meta.uid,
            evicted=evicted,
        )
        self.tree.queues[queue].use(usage)

    def ask(self, workload: objects.Workload, queue: str, *, refused: bool = False) -> None:
        """Let a Workload wait in a ClusterQueue; ``refused`` if it is known not to fit."""
        waiting = _waiting(workload, queue)
        line = self._lines[queue]
        # The head of a strict queue is considered again and again.
        if refused and not self._strict(queue):
            line.aside[workload.key] = waiting
            line.alike.setdefault(waiting.shape, None)
        else:
            self._push(waiting)

    def keep_turn(self, workload: objects.Workload, queue: str) -> None:
        """Let a Workload wait at the head, because others stop for it."""
        self.ask(workload, queue)
        if not self._strict(queue):
            self._lines[queue].sticky = workload.key

    def release(self, key: Key) -> None:
        """Take a Workload away, with its quota or its place in the queue."""
        self.verdicts.pop(key, None)
        for queue, holders in self._holders.items():
            if key in holders:
                self._give_back(holders.pop(key))
                self._freed.add(queue)
        for line in self._lines.values():
            line.ready.pop(key, None)
            line.aside.pop(key, None)
            if line.sticky == key:
                line.sticky = None

    def look_again(self, queue: str) -> None:
        """Let all that wait in a ClusterQueue, and in its cohorts, be considered again."""
        self._freed.add(queue)

    def admitted(self, key: Key) -> bool:
        """Whether a Workload has quota and nobody has displaced it."""
        return any(
            key in holders and not holders[key].evicted for holders in self._holders.values()
        )

    def holders(self) -> Iterator[preemption.Holder]:
        """Yield those that have quota."""
        for some in self._holders.values():
            yield from some.values()

    def refusal(self, key: Key) -> Verdict | None:
        """Return why a Workload waits, as things are; None if it does not wait here."""
        for line in self._lines.values():
            waiting = line.ready.get(key) or line.aside.get(key)
            if waiting is not None:
                known = self.verdicts.get(key)
                if known is None or known.admitted:
                    known = Verdict(admitted=False, found=self._nominate(waiting).found)
                return known
        return None

    # What happens -------------------------------------------------------------------------------

    def run(self) -> None:
        """Go through cycles until they change nothing; who is displaced still has its quota."""
        longest = max((len(q.flavors) for q in self._observed.cluster_queues.values()), default=0)
        idle = 0
        # A head that stays may try its other flavors one after the other.
        while idle <= longest:
            idle = 0 if self._cycle() else idle + 1

    def settle(self) -> bool:
        """Go on until nothing changes any more; whoever is displaced stops at once.

        It queues again then. Returns whether it came to rest.
        """
        for _ in range(_MOST_ROUNDS):
            self.run()
            going = [one for one in self.holders() if one.evicted]
            if going:
                for one in going:
                    self._requeue(one)
            elif self._freed:
                self._move_back()
            else:
                return True
        return False

    def _requeue(self, holder: preemption.Holder) -> None:
        del self._holders[holder.queue][holder.key]
        self._give_back(holder)
        self._freed.add(holder.queue)
        workload = self._workloads[holder.key]
        _, queue = self._observed.queues_of(workload)
        if queue is not None and workload.active and not workload.meta.deleting:
            self._push(_waiting(workload, queue.meta.name))

    def _give_back(self, holder: preemption.Holder) -> None:
        self.tree.queues[holder.queue].free(holder.usage)
        self.places.drop(holder.key)
        self._lines[holder.queue].generation += 1

    def _move_back(self) -> None:
        """Consider those again that did not fit, in all queues that share what became free."""
        roots = {self.tree.queues[name].root for name in self._freed}
        self._freed.clear()
        for name, line in self._lines.items():
            if self.tree.queues[name].root in roots:
                line.ready |= line.aside
                line.aside = {}
                line.alike = {}

    def _push(self, waiting: _Waiting) -> None:
        line, key = self._lines[waiting.queue], waiting.workload.key
        if not self._strict(waiting.queue) and waiting.shape in line.alike:
            line.aside[key] = waiting
            known = line.alike[waiting.shape]
            if known is None:
                known = line.alike[waiting.shape] = self._nominate(waiting).found
            self.verdicts[key] = Verdict(admitted=False, found=known)
        else:
            line.ready[key] = waiting

    def _strict(self, queue: str) -> bool:
        return self._observed.cluster_queues[queue].strict

    # One cycle ----------------------------------------------------------------------------------

    def _cycle(self) -> bool:
        """Consider the heads of all queues; returns whether that has changed anything."""
        self._cycle_number += 1
        heads = [line.pop() for name, line in self._lines.items() if name in self._active]
        entries = [self._nominate(head) for head in heads if head is not None]
        going: dict[Key, preemption.Holder] = {}
        reserved: list[tuple[hierarchy.Node, hierarchy.Amounts]] = []
        placed: list[Key] = []
        changed = False
        for entry in sorted(entries, key=lambda one: one.turn):
            changed |= self._process(entry, going, reserved, placed)
        for node, usage in reserved:
            node.free(usage)
        for key in placed:
            self.places.drop(key)
        return changed

    def _nominate(self, waiting: _Waiting) -> _Entry:
        asked: _Asked = {}
        context = self._context(waiting, asked)
        workload = waiting.workload
        found = flavors.assign(context, workload.pod_sets)
        wanted = self.places.asked(context, found)
        found, places = wanted.complete()
        targets: tuple[preemption.Target, ...] = ()
        if found.mode.needs_room:
            preemptor = self._preemptor(waiting, found.usage, found.short_of)
            if not wanted.needed:
                targets = self._targets(preemptor, asked)
            else:
                targets = preemption.targets(
                    preemptor,
                    self.tree,
                    self._holders,
                    places=lambda gone: _find(wanted, gone) is not None,
                )
                gone = [target.holder for target in targets]
                places = (_find(wanted, gone) or {}) if targets else {}
        return _Entry(waiting, found, wanted, places, targets)

    def _targets(
        self, preemptor: preemption.Preemptor, asked: _Asked
    ) -> tuple[preemption.Target, ...]:
        """Return who has to go for quota alone; of one resource that has been asked before."""
        key = preemptor.kinds, tuple(sorted(preemptor.usage.items()))
        if key not in asked:
            asked[key] = preemption.targets(
                preemptor, self.tree, self._holders, places=lambda _: True
            )
        return asked[key]

    def _context(self, waiting: _Waiting, asked: _Asked) -> flavors.Context:
        queue = self._observed.cluster_queues[waiting.queue]
        node = self.tree.queues[waiting.queue]
        # What was found out one cycle ago holds; what is older, as long as nothing became free.
        recent = self._cycle_number - waiting.cycle <= 1
        known = recent or self._lines[waiting.queue].generation <= waiting.generation

        def oracle(kind: hierarchy.Kind, amount: int) -> tuple[Mode, int]:
            preemptor = self._preemptor(waiting, {kind: amount}, frozenset({kind}))
            return self._possible(node, kind, amount, self._targets(preemptor, asked))

        return flavors.Context(
            queue=queue,
            node=node,
            flavors=self._observed.flavors,
            topologies=self._observed.topologies,
            oracle=oracle,
            tried=waiting.tried if known else {},
        )

    def _possible(
        self,
        node: hierarchy.Node,
        kind: hierarchy.Kind,
        amount: int,
        found: tuple[preemption.Target, ...],
    ) -> tuple[Mode, int]:
        """Whether others make room for so much of one kind, and the level that leads to."""
        if not found:
            return Mode.NO_CANDIDATES, node.borrowing_level(kind, amount)[0]
        with_usage = [(self.tree.queues[one.holder.queue], one.holder.usage) for one in found]
        for other, usage in with_usage:
            other.free(usage)
        level, _ = node.borrowing_level(kind, amount)
        for other, usage in with_usage:
            other.use(usage)
        own = any(one.holder.queue == node.name for one in found)
        return (Mode.PREEMPT if own else Mode.RECLAIM), level

    def _preemptor(
        self, waiting: _Waiting, usage: hierarchy.Amounts, kinds: frozenset[hierarchy.Kind]
    ) -> preemption.Preemptor:
        return preemption.Preemptor(
            queue=self._observed.cluster_queues[waiting.queue],
            priority=waiting.workload.priority,
            queued=waiting.queued,
            usage={kind: amount for kind, amount in usage.items() if amount},
            kinds=kinds,
        )

    def _process(
        self,
        entry: _Entry,
        going: dict[Key, preemption.Holder],
        reserved: list[tuple[hierarchy.Node, hierarchy.Amounts]],
        placed: list[Key],
    ) -> bool:
        """Let an entry have quota, displace others or wait; returns whether that is a change."""
        waiting, found = entry.waiting, entry.found
        key, node = waiting.workload.key, self.tree.queues[waiting.queue]
        if found.mode is Mode.NO_FIT:
            return self._wait(entry)
        if found.mode.needs_room and not entry.targets:
            if self._observed.cluster_queues[waiting.queue].preemption.reclaim != "Any":
                usage = _reservation(node, found)
                node.use(usage)
                reserved.append((node, usage))
            return self._wait(entry)
        overlapping = any(target.holder.key in going for target in entry.targets)
        if overlapping:
            return self._skip(entry, _OVERLAPPING)
        if not self._still_fits(entry, node, going):
            return self._skip(entry, _TOO_LATE)
        going |= {target.holder.key: target.holder for target in entry.targets}
        self.verdicts[key] = Verdict(
            admitted=found.mode is Mode.FIT,
            found=found,
            places=entry.places,
            targets=entry.targets,
        )
        if found.mode is Mode.FIT:
            return self._admit(entry)
        node.use(found.usage)
        reserved.append((node, found.usage))
        self.places.keep(key, found, entry.places)
        placed.append(key)
        return self._displace(entry)

    def _still_fits(
        self,
        entry: _Entry,
        node: hierarchy.Node,
        going: Mapping[Key, preemption.Holder],
    ) -> bool:
        """Whether there is room after those before it, once all that are displaced are gone."""
        gone = {**going, **{target.holder.key: target.holder for target in entry.targets}}
        for one in gone.values():
            self.tree.queues[one.queue].free(one.usage)
        fits = all(
            amount <= max(0, node.available(kind)) for kind, amount in entry.found.usage.items()
        )
        for one in gone.values():
            self.tree.queues[one.queue].use(one.usage)
        if not fits or not entry.places:
            return fits
        # Places are found for each alone; another one may have been given the same meanwhile.
        again = _find(entry.wanted, gone.values())
        entry.places = again or {}
        return again is not None

    def _admit(self, entry: _Entry) -> bool:
        waiting, found = entry.waiting, entry.found
        line = self._lines[waiting.queue]
        if line.sticky == waiting.workload.key:
            line.sticky = None
        self._admissions += 1
        self._count(waiting.workload, waiting.queue, found.usage, (_NOW, self._admissions))
        self.places.keep(waiting.workload.key, found, entry.places)
        return True

    def _displace(self, entry: _Entry) -> bool:
        waiting = entry.waiting
        waiting.tried = {}
        line = self._lines[waiting.queue]
        line.ready[waiting.workload.key] = waiting
        if not self._strict(waiting.queue):
            line.sticky = waiting.workload.key
        changed = False
        for target in entry.targets:
            one = target.holder
            if not one.evicted:
                self._holders[one.queue][one.key] = dataclasses.replace(one, evicted=True)
                self.displaced.setdefault(waiting.workload.key, []).append(one.key)
                changed = True
        return changed

    def _skip(self, entry: _Entry, why: str) -> bool:
        """Let an entry try again that another one of the cycle came before."""
        self._remember(entry)
        self._lines[entry.waiting.queue].ready[entry.waiting.workload.key] = entry.waiting
        self.verdicts[entry.waiting.workload.key] = Verdict(
            admitted=False, found=entry.found, skipped=why
        )
        return False

    def _wait(self, entry: _Entry) -> bool:
        """Put an entry aside that does not fit; in a strict queue it stays the head."""
        waiting, key = entry.waiting, entry.waiting.workload.key
        line = self._lines[waiting.queue]
        self._remember(entry)
        self.verdicts[key] = Verdict(admitted=False, found=entry.found)
        if self._strict(waiting.queue) or any(one != -1 for one in waiting.tried.values()):
            line.ready[key] = waiting
            return False
        line.aside[key] = waiting
        line.alike[waiting.shape] = entry.found
        for other in [k for k, one in line.ready.items() if one.shape == waiting.shape]:
            line.aside[other] = line.ready.pop(other)
            self.verdicts[other] = Verdict(admitted=False, found=entry.found)
        return True

    def _remember(self, entry: _Entry) -> None:
        waiting = entry.waiting
        waiting.tried = entry.found.tried
        waiting.cycle = self._cycle_number
        waiting.generation = self._lines[waiting.queue].generation


def _find(wanted: topology.Asked, gone: Iterable[preemption.Holder]) -> topology.Assignments | None:
    return wanted.find(without=[one.key for one in gone])


def _reservation(node: hierarchy.Node, found: flavors.Assignment) -> dict[hierarchy.Kind, int]:
    """Return what is kept free for a Workload that cannot displace anybody now."""
    usage = {}
    for kind, amount in found.usage.items():
        quota, used = node.quota(kind), node.usage.get(kind, 0)
        if not found.borrowing:
            usage[kind] = max(0, min(amount, quota.nominal - used))
        elif quota.borrowing is None:
            usage[kind] = amount
        else:
            usage[kind] = max(0, min(amount, quota.nominal + quota.borrowing - used))
    return usage


def queued_since(workload: objects.Workload) -> str:
    """Return when a Workload took its place in the queue."""
    return turns.since(workload.meta.created, workload.conditions)


def _waiting(workload: objects.Workload, queue: str) -> _Waiting:
    queued = queued_since(workload)
    turn = turns.turn(workload.priority, queued, workload.meta.uid)
    return _Waiting(workload, queue, queued, _shape(workload), turn)


def _shape(workload: objects.Workload) -> str:
    """Return what two Workloads have alike that get the same answer."""
    pod_sets = [
        [
            one.name,
            one.count,
            one.single,
            {key: one.spec.get(key) for key in ("nodeSelector", "affinity", "tolerations")},
            one.topology,
        ]
        for one in workload.pod_sets
    ]
    return json.dumps([workload.priority, pod_sets], sort_keys=True)
