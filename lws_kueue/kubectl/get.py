"""`kubectl lws get`: the sets that there are."""

import asyncio
import datetime
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import click

from lws_kueue.api import facts, kueue, lws, names
from lws_kueue.kubectl import connection, options, reading, screen
from lws_kueue.runtime import cache, keys, resources
from lws_kueue.workload import conditions, state

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Row:
    """One set, its groups counted; ``admitted`` and ``pending`` are None if nobody may tell.

    ``state`` is one word: ready, updating, waits, starting, deleting, or invalid.
    """

    namespace: str
    name: str
    state: str
    replicas: int
    ready: int
    updated: int
    admitted: int | None
    pending: int | None
    size: int
    queue: str
    created: datetime.datetime | None


def rows(sets: Iterable[Object], workloads: Iterable[Object] | None) -> tuple[Row, ...]:
    """Return a row for each set, by namespace and name."""
    counts = None if workloads is None else _counted(workloads)
    made = (_row(cache.parse_set(one), counts) for one in sets)
    return tuple(sorted(made, key=lambda row: (row.namespace, row.name)))


def _counted(workloads: Iterable[Object]) -> Mapping[keys.SetKey, Counter[str]]:
    found: dict[keys.SetKey, Counter[str]] = defaultdict(Counter)
    for one in map(kueue.Workload.of, workloads):
        if (key := keys.set_of(resources.WORKLOADS, one.meta)) is not None:
            found[key][state.admission(one).value] += 1
    return found


def _row(
    live: lws.LeaderWorkerSet | lws.InvalidSet,
    counts: Mapping[keys.SetKey, Counter[str]] | None,
) -> Row:
    meta = live.meta
    key = keys.SetKey(meta.namespace, meta.name)
    queued = names.QUEUE_NAME in meta.labels
    own = counts.get(key, Counter()) if counts is not None and queued else None
    valid = live if isinstance(live, lws.LeaderWorkerSet) else None
    spec = valid.spec if valid else None
    status = valid.status if valid else lws.Status()
    return Row(
        namespace=meta.namespace,
        name=meta.name,
        state=_state(meta, valid),
        replicas=spec.replicas if spec else 0,
        ready=status.ready_replicas,
        updated=status.updated_replicas,
        admitted=None if own is None else own["admitted"],
        pending=None if own is None else own["pending"],
        size=spec.leader_worker_template.size if spec else 0,
        queue=meta.labels.get(names.QUEUE_NAME, ""),
        created=conditions.moment(meta.created),
    )


def _state(meta: facts.Meta, live: lws.LeaderWorkerSet | None) -> str:
    """Return how a set is, as its conditions say."""
    if meta.deleting:
        return "deleting"
    if live is None:
        return "invalid"
    true = {one.type for one in live.status.conditions if one.status == "True"}
    # In this order: what keeps groups from running is asked about first.
    for kind, word in (
        ("WaitingForAdmission", "waits"),
        ("UpdateInProgress", "updating"),
        ("Available", "ready"),
    ):
        if kind in true:
            return word
    return "starting"


def blocks(
    found: tuple[Row, ...], *, everywhere: bool, wide: bool, now: datetime.datetime
) -> list[screen.Block]:
    """Return the table of these rows."""
    head = ["NAMESPACE"] if everywhere else []
    head += ["NAME", "STATE", "READY", "UPDATED", "ADMITTED", "PENDING", "QUEUE"]
    head += ["SIZE", "PODS"] if wide else []
    made = []
    for row in found:
        cells = [row.namespace] if everywhere else []
        cells += [row.name, row.state, f"{row.ready}/{row.replicas}", str(row.updated)]
        cells += [_number(row.admitted), _number(row.pending), row.queue]
        cells += [str(row.size), str(row.size * row.replicas)] if wide else []
        made.append((*cells, screen.age(row.created, now)))
    return [screen.Table((*head, "AGE"), tuple(made))]


def _number(value: int | None) -> str:
    return "" if value is None else str(value)


async def read(
    server: connection.Connection, *, namespace: str, name: str | None
) -> tuple[tuple[Row, ...], tuple[str, ...]]:
    """Read the sets of a namespace, "" for all, or one of them; returns what is missing as well.

    Raises:
        reading.NotFoundError: there is no set of this name.
    """
    reader = reading.Reader(server)
    # Whoever may not list the sets has asked for what cannot be answered.
    sets, workloads = await asyncio.gather(
        server.listed(resources.SETS, namespace=namespace),
        reader.listed(resources.WORKLOADS, namespace=namespace),
    )
    if name is not None:
        sets = [one for one in sets if one["metadata"]["name"] == name]
        if not sets:
            where = f"namespace {namespace}" if namespace else "any namespace"
            raise reading.NotFoundError(
                f"LeaderWorkerSet {name} is not in {where}: kubectl lws get -A shows those that"
                " there are"
            )
    known = None if reader.lacking else workloads
    return rows(sets, known), reader.notes(namespace)


@click.command("get")
@options.OPTIONAL_NAME
@options.EVERYWHERE
@options.FORMAT
@options.command
def get(where: options.Where, name: str | None, format_: screen.Format) -> None:
    """Show the sets that there are, and how many of their groups run.

    READY counts groups, UPDATED those at the newest template, ADMITTED and PENDING those that Kueue
    has admitted and that wait in its queues.
    """
    server, namespace = where.connect()
    found, notes = asyncio.run(read(server, namespace=namespace, name=name))
    options.noted(notes)
    place = f"namespace {namespace}" if namespace else "any namespace"
    if not found and format_ in ("table", "wide"):
        options.noted((f"No LeaderWorkerSets in {place}.",))
        return
    now = datetime.datetime.now(datetime.UTC)
    options.shown(
        found,
        lambda wide: blocks(found, everywhere=not namespace, wide=wide, now=now),
        format_,
    )
