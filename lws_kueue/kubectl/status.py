"""`kubectl lws status`: one line for each group, the update that is under way, and what is next."""

import asyncio
import datetime
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

import click

from lws_kueue.api import actions, kueue, names
from lws_kueue.api import reasons as told
from lws_kueue.controller import forecast
from lws_kueue.controller.rollout import scaling
from lws_kueue.kubectl import decided, look, options, screen
from lws_kueue.runtime import keys
from lws_kueue.workload import conditions, state

# Seconds between two looks of --watch.
_EVERY: Final = 1.0
# How many nodes and racks of a group are named.
_MOST_NAMED: Final = 3
# What `next` counts, in words.
_DONE: Final = {"create": "made", "update": "changed", "delete": "deleted", "release": "released"}


@dataclass(frozen=True, slots=True)
class Group:
    """One group; ``admission`` is the state of its Workload, "" without one.

    ``where`` are values of the topology above hosts, such as racks; ``cluster`` is the one that
    MultiKueue runs it in, "" for this one.
    """

    index: int
    revision: str
    updated: bool
    workload: str
    admission: str
    since: datetime.datetime | None
    flavors: tuple[str, ...]
    ready: int
    pods: int
    nodes: tuple[str, ...]
    where: tuple[str, ...]
    cluster: str


@dataclass(frozen=True, slots=True)
class Update:
    """How far the set is: groups at the newest template, and those that are ready there.

    ``partition`` is the index from which groups may be replaced; ``paused`` that the set's own
    partition keeps all of them. ``surge`` is how many more groups there are than asked for.
    """

    revision: str
    under_way: bool
    updated: int
    ready: int
    replicas: int
    partition: int
    surge: int
    paused: bool


@dataclass(frozen=True, slots=True)
class Status:
    """A set, and what the controller would do next."""

    namespace: str
    name: str
    queue: str
    managed_by: str
    update: Update
    groups: tuple[Group, ...]
    next: tuple[str, ...]
    waits: tuple[str, ...]


def status(seen: look.Seen) -> Status:
    """Return how a set is.

    Raises:
        ValueError: its stored spec cannot be read.
    """
    what = decided.of(seen)
    observed = seen.observed
    if observed.lws is None:
        problem = observed.invalid.problem if observed.invalid else "it is gone"
        raise ValueError(f"LeaderWorkerSet {observed.name} cannot be read: {problem}")
    groups_ = tuple(_group(what, index) for index in what.indices)
    plan = what.plan if seen.decisive else actions.Plan()
    return Status(
        namespace=observed.namespace,
        name=observed.name,
        queue=observed.lws.queue_name,
        managed_by=what.manager.value if what.manager else "",
        update=_update(what, groups_),
        groups=groups_,
        next=tuple(_next(what, plan)),
        waits=tuple(
            f"{told.numbered(one.groups)}: {one.message}"
            for one in plan.reasons
            if one.waits and one.groups
        ),
    )


def _group(what: decided.Decided, index: int) -> Group:
    group, workload = what.groups.get(index), what.workloads.get(index)
    pods = group.pods if group else ()
    key = group.key if group else ""
    nodes = tuple(dict.fromkeys(pod.node for pod in pods if pod.node))
    return Group(
        index=index,
        revision=key,
        updated=group is not None and group.updated(what.key),
        workload=workload.meta.name if workload else "",
        admission=state.admission(workload).value if workload else "",
        since=_since(workload),
        flavors=_flavors(workload),
        ready=sum(pod.ready for pod in pods),
        pods=group.size if group else _size(what),
        nodes=nodes,
        where=tuple(_places(what.seen, nodes)),
        cluster=(workload.status.cluster_name or "") if workload else "",
    )


def _size(what: decided.Decided) -> int:
    owner = what.seen.observed.lws
    return owner.spec.leader_worker_template.size if owner else 0


def _since(workload: kueue.Workload | None) -> datetime.datetime | None:
    """Return since when a group is admitted, or has waited."""
    if workload is None:
        return None
    admitted = workload.condition(state.ADMITTED)
    if admitted is not None and admitted.status == "True":
        return conditions.moment(admitted.last_transition_time)
    return conditions.moment(workload.meta.created)


def _flavors(workload: kueue.Workload | None) -> tuple[str, ...]:
    admission = workload.status.admission if workload else None
    parts = admission.pod_set_assignments if admission else ()
    return tuple(sorted({name for part in parts for name in part.flavors.values()}))


def _places(seen: look.Seen, nodes: Iterable[str]) -> Iterator[str]:
    """Yield the domains right above hosts in which nodes are, in the order of the nodes."""
    levels = [one for one in look.levels(seen) if one != look.HOST]
    found: dict[str, None] = {}
    for name in nodes:
        node = seen.observed.nodes.get(name)
        if node is not None and levels and (value := node.meta.labels.get(levels[-1])):
            found[value] = None
    yield from found


def _update(what: decided.Decided, found: tuple[Group, ...]) -> Update:
    owner, leader_set = what.seen.observed.lws, what.seen.observed.found.leader_set
    assert owner is not None
    bounds = scaling.bounds(owner)
    updated = [one for one in found if one.updated and one.index < bounds.replicas]
    outdated = [
        one
        for one in found
        if one.revision and not one.updated and bounds.floor <= one.index < bounds.replicas
    ]
    there = leader_set.replicas if leader_set else 0
    return Update(
        revision=what.key,
        under_way=bool(outdated),
        updated=len(updated),
        ready=sum(one.ready == one.pods for one in updated),
        replicas=bounds.replicas,
        partition=leader_set.partition if leader_set else 0,
        surge=max(0, there - bounds.replicas),
        paused=names.PAUSED in owner.meta.annotations,
    )


def _next(what: decided.Decided, plan: actions.Plan) -> Iterator[str]:
    """Say what the controller is about to do: its plan as a dry run tells it."""
    # The status only tells of what is.
    found = forecast.of(what.seen.observed, replace(plan, status=None))
    for replaced in found.replaced:
        yield f"replace {told.numbered(replaced.groups)}: {replaced.why}"
    for stopped in found.stopped:
        yield f"stop {told.some(stopped.pods, most=_MOST_NAMED)}: {stopped.why}"
    for (does, kind), count in sorted(found.others.items()):
        yield f"{count} {kind} {_DONE[does]}"


def blocks(found: Status, *, wide: bool, now: datetime.datetime) -> list[screen.Block]:
    """Return the screen of a status."""
    head = ("GROUP", "REVISION", "STATE", "SINCE", "FLAVOR", "READY", "NODES", "RACKS", "CLUSTER")
    rows = tuple(
        (
            str(one.index),
            one.revision + ("" if one.updated or not one.revision else " (old)"),
            one.admission or ("running" if one.ready == one.pods else "starting"),
            screen.age(one.since, now),
            ",".join(one.flavors),
            f"{one.ready}/{one.pods}",
            _named(one.nodes, wide),
            _named(one.where, wide),
            one.cluster,
            *((one.workload,) if wide else ()),
        )
        for one in found.groups
    )
    shown: list[screen.Block] = [
        screen.Facts(
            (
                ("Set", f"{found.namespace}/{found.name}"),
                ("Queue", found.queue and f"LocalQueue {found.queue}"),
                ("Update", told_update(found.update)),
            )
        ),
        screen.Line(""),
        screen.Table((*head, "WORKLOAD") if wide else head, rows),
    ]
    for title, lines in (("Waits", found.waits), ("Next", found.next)):
        if lines:
            shown += [screen.Line(""), screen.Line(title, style="bold")]
            shown += [screen.Line(f"  {line}") for line in lines]
    return shown


def _named(found: tuple[str, ...], wide: bool) -> str:
    return ", ".join(found) if wide else screen.some(found, most=_MOST_NAMED)


def told_update(one: Update) -> str:
    """Say in one line how far an update is."""
    surge = f", with {one.surge} surge groups" if one.surge else ""
    at = f"revision {one.revision}" if one.revision else "no revision yet"
    if one.paused:
        return f"paused at {at}: {one.updated} of {one.replicas} groups are there{surge}"
    if one.under_way:
        return (
            f"updating to {at}: {one.updated} of {one.replicas} groups are there, {one.ready} of"
            f" them ready{surge}; groups from {one.partition} on may be replaced"
        )
    if one.ready < one.replicas:
        return (
            f"{one.updated} of {one.replicas} groups are at {at}, {one.ready} of them ready{surge}"
        )
    return f"done: all {one.replicas} groups are ready at {at}{surge}"


@click.command("status")
@options.NAME
@click.option("-w", "--watch", "watching", is_flag=True, help="Show it again when it changes.")
@options.FORMAT
@options.command
def command(where: options.Where, name: str, watching: bool, format_: screen.Format) -> None:
    """Show each group of a set, the update that is under way, and what is next.

    RACKS are the domains right above hosts of the topology that the set's flavors have.
    """
    server, namespace = where.connect()
    key = keys.SetKey(namespace, name)
    before: Status | None = None
    while True:
        seen = asyncio.run(look.a_set(server, key))
        found = status(seen)
        # Ages go on by themselves.
        if before is None or found != before:
            if before is None:
                options.noted(seen.notes)
            elif format_ in ("table", "wide"):
                click.echo()
            now = seen.now
            options.shown(found, lambda wide: blocks(found, wide=wide, now=now), format_)  # noqa: B023
            sys.stdout.flush()
        if not watching:
            return
        before = found
        time.sleep(_EVERY)
