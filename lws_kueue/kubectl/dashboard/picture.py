"""What the page shows: the sets, one of them as the other commands tell it, and the queues."""

import asyncio
import dataclasses
import datetime
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lws_kueue.api import quantity
from lws_kueue.kubectl import connection, explain, get, look, quota, reading, status, whatif, where
from lws_kueue.runtime import keys, resources

Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Bar:
    """How much of a resource in a flavor is used; amounts are quantities.

    ``used_of_nominal`` is a share, more than 1 where quota is borrowed. Where there is no nominal
    quota at all it is 0, or 1 if something is used.
    """

    flavor: str
    resource: str
    used: str
    nominal: str
    borrowed: str
    used_of_nominal: float


@dataclass(frozen=True, slots=True)
class Queue:
    """A ClusterQueue; ``pending`` and ``admitted`` count its Workloads, as Kueue says."""

    name: str
    cohort: str
    pending: int
    admitted: int
    bars: tuple[Bar, ...]


@dataclass(frozen=True, slots=True)
class WhatIf:
    """What would become of a set of so many groups: how many run, and a row for those alike.

    ``head`` names the columns. With a ``problem`` there is no answer, and it says what to do.
    """

    replicas: int
    running: int = 0
    head: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    waits: tuple[str, ...] = ()
    displaced: tuple[str, ...] = ()
    not_modelled: tuple[str, ...] = ()
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Chosen:
    """One set: how it is, where it is, why groups of it wait, and what if it had more or fewer."""

    status: status.Status
    where: where.Answer
    why: explain.Answer
    what_if: WhatIf | None = None


@dataclass(frozen=True, slots=True)
class Picture:
    """All that the page shows at a time; ``notes`` say what is missing, each as one line."""

    at: datetime.datetime
    sets: tuple[get.Row, ...]
    queues: tuple[Queue, ...]
    chosen: Chosen | None = None
    notes: tuple[str, ...] = ()


async def read(
    server: connection.Connection,
    *,
    namespace: str,
    chosen: keys.SetKey | None,
    replicas: int | None = None,
) -> Picture:
    """Read what is shown of a namespace, "" for all; a set that is gone is told in the notes.

    With ``replicas`` it is answered what would become of the chosen set with so many groups.

    Raises:
        asking.ApiError: the API server refuses to show the sets, or did not answer.
    """
    reader = reading.Reader(server)
    (sets, notes), (of_set, missing), stored, cohorts = await asyncio.gather(
        get.read(server, namespace=namespace, name=None),
        _chosen(server, chosen, replicas),
        reader.listed(resources.CLUSTER_QUEUES),
        reader.listed(look.COHORTS),
    )
    return Picture(
        at=datetime.datetime.now(datetime.UTC),
        sets=sets,
        queues=tuple(queues(stored, cohorts)),
        chosen=of_set,
        notes=tuple(dict.fromkeys((*notes, *missing, *reader.notes(namespace)))),
    )


async def _chosen(
    server: connection.Connection, key: keys.SetKey | None, replicas: int | None
) -> tuple[Chosen | None, tuple[str, ...]]:
    if key is None:
        return None, ()
    try:
        if replicas is None:
            seen = await look.a_set(server, key)
            return of(seen), seen.notes
        seen, pods = await whatif.looked(server, key)
        foretold = what_if(seen, replicas, pods=pods)
        return dataclasses.replace(of(seen), what_if=foretold), seen.notes
    except (reading.NotFoundError, ValueError) as error:
        return None, (str(error.args[0]),)


def of(seen: look.Seen) -> Chosen:
    """Return what is shown of a set.

    Raises:
        ValueError: its stored spec cannot be read.
    """
    return Chosen(status.status(seen), where.answer(seen), explain.answer(seen))


def what_if(seen: look.Seen, replicas: int, *, pods: Sequence[Any] = ()) -> WhatIf:
    """Return what would become of a set of so many groups."""
    try:
        found = whatif.answer(seen, whatif.Change(replicas=replicas), pods=pods)
    except ValueError as error:
        return WhatIf(replicas, problem=str(error))
    return WhatIf(
        replicas=replicas,
        running=found.running,
        head=whatif.HEAD,
        rows=tuple(whatif.rows(found.groups)),
        waits=tuple(whatif.whys(found.groups)),
        displaced=found.displaced,
        not_modelled=found.not_modelled,
    )


def queues(cluster_queues: Iterable[Object], cohorts: Iterable[Object]) -> Iterator[Queue]:
    """Return ClusterQueues by name, with what is used of their quota."""
    stored = sorted(cluster_queues, key=lambda one: str(one["metadata"]["name"]))
    quotas = quota.Quotas(stored, cohorts)
    for one in stored:
        name, spec, told = one["metadata"]["name"], one.get("spec") or {}, one.get("status") or {}
        yield Queue(
            name=name,
            cohort=spec.get("cohortName") or "",
            pending=int(told.get("pendingWorkloads") or 0),
            admitted=int(told.get("admittedWorkloads") or 0),
            bars=tuple(map(_bar, quotas.of(name, _covered(spec)))),
        )


def _covered(spec: Object) -> Iterator[str]:
    for group in spec.get("resourceGroups") or ():
        yield from group.get("coveredResources") or ()


def _bar(one: quota.Free) -> Bar:
    share = one.used / one.nominal if one.nominal else float(bool(one.used))
    return Bar(
        flavor=one.flavor,
        resource=one.resource,
        used=quantity.render(one.resource, one.used),
        nominal=quantity.render(one.resource, one.nominal),
        borrowed=quantity.render(one.resource, one.borrowed) if one.borrowed else "",
        used_of_nominal=round(share, 4),
    )
