"""`kubectl lws where`: the blocks, racks and hosts of a set, with the ranks that run there."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

import click

from lws_kueue.api import facts
from lws_kueue.kubectl import decided, look, options, screen
from lws_kueue.runtime import keys
from lws_kueue.workload import pods as group_pods

# Shown for a level of which a node has no label, and for pods without a node.
_UNKNOWN = "(no label)"
_NOWHERE = "(no node)"


@dataclass(frozen=True, slots=True)
class Rank:
    """One pod of a group; the leader is rank 0."""

    group: int
    rank: int
    pod: str
    ready: bool


@dataclass(frozen=True, slots=True)
class Domain:
    """A domain of a level, with those inside it, or with the ranks on it if it is a host."""

    level: str
    value: str
    domains: "tuple[Domain, ...]" = ()
    ranks: tuple[Rank, ...] = ()

    @property
    def pods(self) -> int:
        """How many pods are inside."""
        return len(self.ranks) + sum(one.pods for one in self.domains)


@dataclass(frozen=True, slots=True)
class Answer:
    """Where a set is, by the levels of its topology from the top."""

    namespace: str
    name: str
    levels: tuple[str, ...]
    domains: tuple[Domain, ...]


# A rank, and the domains in which it is, from the top down to its host.
_Placed = tuple[tuple[str, ...], Rank]


def answer(seen: look.Seen) -> Answer:
    """Return where the pods of a set are."""
    what = decided.of(seen)
    levels = [*look.levels(seen)]
    if look.HOST not in levels:
        levels.append(look.HOST)
    placed = [
        (_path(seen, pod, levels), Rank(index, _rank(pod), pod.meta.name, pod.ready))
        for index, group in sorted(what.groups.items())
        for pod in group.pods
    ]
    observed = seen.observed
    return Answer(observed.namespace, observed.name, tuple(levels), _domains(placed, levels))


def _rank(pod: facts.Pod) -> int:
    return group_pods.worker_index(pod) or 0


def _path(seen: look.Seen, pod: facts.Pod, levels: Iterable[str]) -> tuple[str, ...]:
    if not pod.node:
        return (_NOWHERE,)
    node = seen.observed.nodes.get(pod.node)
    labels = node.meta.labels if node is not None else {}
    above = [labels.get(level, _UNKNOWN) for level in levels if level != look.HOST]
    return (*above, pod.node) if node is not None else (pod.node,)


def _domains(placed: list[_Placed], levels: list[str]) -> tuple[Domain, ...]:
    found: dict[str, list[_Placed]] = {}
    for path, rank in placed:
        found.setdefault(path[0], []).append((path[1:], rank))
    made = []
    for value, inside in sorted(found.items(), key=lambda one: (one[0] == _NOWHERE, one[0])):
        ranks = tuple(rank for path, rank in inside if not path)
        below = [(path, rank) for path, rank in inside if path]
        level = look.HOST if ranks and value != _NOWHERE else "" if ranks else levels[0]
        made.append(Domain(level, value, _domains(below, levels[1:]), ranks))
    return tuple(made)


def blocks(found: Answer) -> list[screen.Block]:
    """Return the tree of an answer."""
    if not found.domains:
        return [screen.Line(f"{found.name} has no pods.")]
    below = tuple(_tree(one) for one in found.domains)
    return [screen.Tree(f"{found.namespace}/{found.name}", below)]


def _tree(one: Domain) -> screen.Tree:
    name = f"{one.level.rpartition('/')[2]} {one.value}" if one.level else one.value
    if not one.ranks:
        pods = f"{one.pods} pod{'' if one.pods == 1 else 's'}"
        return screen.Tree(f"{name}: {pods}", tuple(_tree(each) for each in one.domains))
    by_group: dict[int, list[str]] = {}
    for rank in one.ranks:
        mark = "" if rank.ready else " (not ready)"
        by_group.setdefault(rank.group, []).append(f"{rank.rank}{mark}")
    groups = (
        f"group {index} rank{'s' if len(ranks) > 1 else ''} {', '.join(ranks)}"
        for index, ranks in by_group.items()
    )
    return screen.Tree(f"{name}: {'; '.join(groups)}")


@click.command("where")
@options.NAME
@options.FORMAT
@options.command
def command(where: options.Where, name: str, format_: screen.Format) -> None:
    """Show in which blocks, racks and hosts the ranks of a set run.

    The levels are those of the topology that the set's flavors have; the leader is rank 0.
    """
    server, namespace = where.connect()
    seen = asyncio.run(look.a_set(server, keys.SetKey(namespace, name)))
    options.noted(seen.notes)
    found = answer(seen)
    options.shown(found, lambda _: blocks(found), format_)
