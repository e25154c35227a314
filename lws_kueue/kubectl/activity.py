"""`kubectl lws stop` and `start`: give back the quota of one group, and queue it again.

What is written is ``spec.active`` of its Workload: Kueue evicts the group, and the controller stops
its pods and gives the quota back. All other groups go on.
"""

import asyncio
from dataclasses import dataclass

import click

from lws_kueue.api import kueue, lws, names
from lws_kueue.kubectl import connection, decided, options, reading
from lws_kueue.runtime import cache, keys, resources
from lws_kueue.workload import diff

_MERGE_PATCH = "application/merge-patch+json"


@dataclass(frozen=True, slots=True)
class Done:
    """The Workload of the group, and whether that was changed."""

    workload: str
    changed: bool


async def switch(
    server: connection.Connection, key: keys.SetKey, *, group: int, active: bool
) -> Done:
    """Let Kueue consider the Workload of a group, or not.

    Raises:
        LookupError: there is no such set, no queue, or no Workload of that group; with what to do.
        asking.ApiError: the API server refuses it.
    """
    owner = await read_set(server, key)
    if isinstance(owner, lws.LeaderWorkerSet) and not owner.queue_name:
        raise LookupError(
            f"LeaderWorkerSet {key.name} is in no queue, so its groups have no quota to give back:"
            f" scale it instead, or give it the label {names.QUEUE_NAME}"
        )
    stored = await server.listed(resources.WORKLOADS, namespace=key.namespace)
    own = diff.serving(owner.meta, map(kueue.Workload.of, stored), options=decided.OPTIONS)
    workload = own.get(group)
    if workload is None:
        there = ", ".join(map(str, sorted(own))) or "no group"
        raise LookupError(
            f"group {group} of {key.name} has no Workload; {there} has one."
            f" kubectl lws explain {key.name} says why"
        )
    if workload.spec.active == active:
        return Done(workload.meta.name, changed=False)
    body = {
        "metadata": {
            "uid": workload.meta.uid,
            "resourceVersion": workload.meta.resource_version,
        },
        "spec": {"active": active},
    }
    await server.request(
        "PATCH",
        resources.WORKLOADS.path(namespace=key.namespace, name=workload.meta.name),
        query={"fieldManager": connection.FIELD_MANAGER},
        body=body,
        content_type=_MERGE_PATCH,
    )
    return Done(workload.meta.name, changed=True)


async def read_set(
    server: connection.Connection, key: keys.SetKey
) -> lws.LeaderWorkerSet | lws.InvalidSet:
    """Read a set.

    Raises:
        reading.NotFoundError: there is none of that name.
    """
    live = await server.get(resources.SETS, namespace=key.namespace, name=key.name)
    if live is None:
        raise reading.NotFoundError(
            f"LeaderWorkerSet {key.name} is not in namespace {key.namespace}: kubectl lws get -A"
            " shows those that there are"
        )
    return cache.parse_set(live)


@click.command("stop")
@options.NAME
@options.GROUP
@options.command
def stop(where: options.Where, name: str, group: int) -> None:
    """Stop one group of a set and give its quota back, until it is started.

    Needs the right to patch Workloads.
    """
    _switch(where, name, group, active=False)


@click.command("start")
@options.NAME
@options.GROUP
@options.command
def start(where: options.Where, name: str, group: int) -> None:
    """Queue a group again that was stopped, or that Kueue has deactivated.

    Needs the right to patch Workloads.
    """
    _switch(where, name, group, active=True)


def _switch(where: options.Where, name: str, group: int, *, active: bool) -> None:
    server, namespace = where.connect()
    key = keys.SetKey(namespace, name)
    done = asyncio.run(switch(server, key, group=group, active=active))
    word = "started" if active else "stopped"
    if not done.changed:
        click.echo(f"group {group} of {name} is {word} already (Workload {done.workload})")
        return
    follows = "it queues again" if active else "its pods end, and its quota is given back"
    click.echo(f"group {group} of {name} {word} (Workload {done.workload}): {follows}")
