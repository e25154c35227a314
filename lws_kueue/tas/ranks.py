"""Which pod of a podset goes to which domain of its assignment (kueue-contract 2.3, 3.5).

The domains of an assignment are ordered, and pod ranks follow that order: the first domain takes
as many of the lowest ranks as it has pods, the next one those that follow. The rank of a pod is
its worker index minus the index at which its podset starts (0 for the leader and for a group of
one template, the number of leaders for workers beside a leader template).

Pods that are placed already stay where they are and use up room in their domain. A waiting pod
gets the domain of its rank while that has room. When ranks cannot be trusted (two pods of one
rank, a rank outside the podset, an assignment for fewer pods than the podset has), or the domain
of a rank is full, waiting pods fill what is left, in the order of domains and of ranks: every
reserved place is used, no domain gets more pods than it has places for.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, repeat

from lws_kueue.tas import assignment

Domain = assignment.Domain


@dataclass(frozen=True, slots=True)
class RankedPod:
    """A pod of the podset, as far as placement is concerned.

    ``index`` is the pod's worker index, None when it has none. ``selector`` is the node selector
    of a pod that is placed, and None while the pod waits to be placed.
    """

    name: str
    index: int | None
    selector: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the waiting pods go.

    ``domains`` by pod name; ``unhealthy`` are pods whose domain is a node that waits to be
    replaced; ``crowded`` are pods for which no place is left. ``disorder`` says why ranks could
    not be used, "" when they could.
    """

    domains: Mapping[str, Domain]
    unhealthy: tuple[str, ...] = ()
    crowded: tuple[str, ...] = ()
    disorder: str = ""


def start_of(*, leaders: int, grouped: bool, offset: str | None) -> int:
    """Return the worker index at which a podset starts.

    ``leaders`` is the number of pods that come before the podset in its group (0 or 1); a pod's
    offset annotation, where it has one, says the same for a podset that is placed on its own.

    Raises:
        ValueError: the annotation is not a whole number.
    """
    if grouped or offset is None:
        return leaders
    return int(offset)


def place(
    domains: Sequence[Domain],
    pods: Iterable[RankedPod],
    *,
    count: int,
    start: int = 0,
    unhealthy: frozenset[str] = frozenset(),
) -> Placement:
    """Place the waiting pods of a podset of ``count`` pods.

    ``pods`` are all live pods of the podset, placed or waiting; ``unhealthy`` are the names of
    nodes that wait to be replaced.
    """
    ordered = sorted(pods, key=lambda pod: (pod.index is None, pod.index or 0, pod.name))
    room = [domain.count for domain in domains]
    for pod in ordered:
        if pod.selector is not None:
            _occupy(domains, room, pod.selector)
    disorder = _disorder(domains, ordered, count=count, start=start)
    homes = [] if disorder else _homes(domains)
    chosen: dict[str, int] = {}
    rest: list[str] = []
    for pod in (pod for pod in ordered if pod.selector is None):
        home = homes[pod.index - start] if homes and pod.index is not None else None
        if home is None or room[home] == 0:
            rest.append(pod.name)
        else:
            room[home] -= 1
            chosen[pod.name] = home
    left = chain.from_iterable(repeat(i, places) for i, places in enumerate(room))
    chosen.update(zip(rest, left, strict=False))
    return Placement(
        domains={
            name: domains[i] for name, i in chosen.items() if domains[i].node not in unhealthy
        },
        unhealthy=tuple(name for name, i in chosen.items() if domains[i].node in unhealthy),
        crowded=tuple(name for name in rest if name not in chosen),
        disorder=disorder,
    )


def _occupy(domains: Sequence[Domain], room: list[int], selector: Mapping[str, str]) -> None:
    """Take one place in the domain that the selector points at, if it is one of ours."""
    for i, domain in enumerate(domains):
        if room[i] and all(selector.get(key) == value for key, value in domain.values.items()):
            room[i] -= 1
            return


def _homes(domains: Sequence[Domain]) -> list[int]:
    """Return the position of the domain of every rank."""
    return list(chain.from_iterable(repeat(i, domain.count) for i, domain in enumerate(domains)))


def _disorder(
    domains: Sequence[Domain], pods: Sequence[RankedPod], *, count: int, start: int
) -> str:
    """Say why ranks cannot be used, "" when they can."""
    places = sum(domain.count for domain in domains)
    seen: set[int] = set()
    for pod in pods:
        if pod.index is None:
            return f"pod {pod.name} has no worker index"
        rank = pod.index - start
        if not 0 <= rank < count:
            return f"pod {pod.name} has rank {rank} in a podset of {count}"
        if rank >= places:
            return f"the assignment has {places} places and pod {pod.name} has rank {rank}"
        if rank in seen:
            return f"two pods have rank {rank}"
        seen.add(rank)
    return ""
