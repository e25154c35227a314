"""`kubectl lws usage`: what admitted groups hold, by queue, set or namespace, GPUs first."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import click

from lws_kueue.api import kueue, quantity
from lws_kueue.kubectl import connection, options, queueing, reading, screen
from lws_kueue.runtime import keys, resources

By = Literal["queue", "set", "namespace"]

# What is no device, and comes after them, in this order.
_LAST = ("cpu", "memory", "ephemeral-storage", "pods")


@dataclass(frozen=True, slots=True)
class Row:
    """What is held under one name; amounts are quantities by resource."""

    namespace: str
    name: str
    groups: int
    holds: Mapping[str, str]


def rows(workloads: Iterable[Mapping[str, Any]], *, by: By) -> tuple[Row, ...]:
    """Return who holds what of the quota, whoever holds most of the first resource first."""
    found: dict[tuple[str, str], list[quantity.Amounts]] = {}
    for one in map(kueue.Workload.of, workloads):
        key = keys.set_of(resources.WORKLOADS, one.meta)
        if key is None or one.status.admission is None:
            continue
        name = {"queue": one.status.admission.cluster_queue, "set": key.name, "namespace": ""}[by]
        place = "" if by == "queue" else key.namespace
        held: quantity.Amounts = {}
        for (_, resource), amount in queueing.held(one).items():
            held = quantity.add(held, {resource: amount})
        found.setdefault((place, name), []).append(held)
    sums = {at: quantity.add(*parts) for at, parts in found.items()}
    order = ranked({resource for held in sums.values() for resource in held})

    def most(at: tuple[str, str]) -> tuple[Any, ...]:
        return (*(-sums[at].get(resource, 0) for resource in order), at)

    return tuple(
        Row(
            *at,
            groups=len(found[at]),
            holds={
                resource: quantity.render(resource, sums[at][resource])
                for resource in order
                if resource in sums[at]
            },
        )
        for at in sorted(sums, key=most)
    )


def ranked(found: Iterable[str]) -> tuple[str, ...]:
    """Return resources in the order in which they are told: devices, and then what all have."""
    return tuple(sorted(found, key=lambda one: (_LAST.index(one) if one in _LAST else -1, one)))


def blocks(found: tuple[Row, ...], *, by: By) -> list[screen.Block]:
    """Return the table of these rows."""
    order = ranked({resource for row in found for resource in row.holds})
    heads = {"queue": ("CLUSTERQUEUE",), "set": ("NAMESPACE", "SET"), "namespace": ("NAMESPACE",)}
    made = []
    for row in found:
        names = {
            "queue": (row.name,),
            "set": (row.namespace, row.name),
            "namespace": (row.namespace,),
        }[by]
        made.append((*names, str(row.groups), *(row.holds.get(one, "") for one in order)))
    return [screen.Table((*heads[by], "GROUPS", *(one.upper() for one in order)), tuple(made))]


async def read(server: connection.Connection, *, namespace: str) -> list[dict[str, Any]]:
    """Read the Workloads of a namespace, "" for all.

    Raises:
        reading.NotFoundError: Kueue is not installed.
    """
    try:
        return await server.listed(resources.WORKLOADS, namespace=namespace)
    except options.ApiError as error:
        if error.status != 404:
            raise
        raise reading.NotFoundError(
            "Kueue is not installed, so nobody holds quota: install Kueue 0.15 or later"
        ) from error


@click.command("usage")
@options.EVERYWHERE
@click.option(
    "--by", type=click.Choice(["queue", "set", "namespace"]), default="queue", show_default=True
)
@options.FORMAT
@options.command
def command(where: options.Where, by: By, format_: screen.Format) -> None:
    """Show what the groups that Kueue has admitted hold of its quota, GPUs first."""
    server, namespace = where.connect()
    found = rows(asyncio.run(read(server, namespace=namespace)), by=by)
    if not found and format_ in ("table", "wide"):
        options.noted((f"No group of a set holds quota in {namespace or 'any namespace'}.",))
        return
    options.shown(found, lambda _: blocks(found, by=by), format_)
