"""`kubectl lws rollout`: how far an update is, begin one, hold it, let it go on, and take it back.

A set is paused by its own partition: no group is replaced any more, and what was updated stays. An
annotation keeps the partition that it had before, and the one by which it is paused: "0/3". The
former comes back with `resume`, unless somebody has edited the partition meanwhile, which is seen
by the latter.
"""

import asyncio
import datetime
import sys
import time
from typing import Any, Final

import click

from lws_kueue.api import lws, names, numbers, printable
from lws_kueue.controller import status as conditions
from lws_kueue.controller.revision import revisions as contents
from lws_kueue.kubectl import activity, connection, look, options, revisions, screen
from lws_kueue.kubectl import status as shown
from lws_kueue.runtime import asking, keys, resources

# The annotation by which kubectl itself restarts workloads.
RESTARTED: Final = "kubectl.kubernetes.io/restartedAt"

_MERGE_PATCH: Final = "application/merge-patch+json"
_EVERY: Final = 1.0

# What the status of a command says that has waited for too long.
_LATE: Final = 1


def restarted(owner: lws.LeaderWorkerSet, *, now: datetime.datetime) -> dict[str, Any]:
    """Return the change of a set's spec by which all its groups are made anew.

    Raises:
        ValueError: the set is paused.
    """
    if names.PAUSED in owner.meta.annotations:
        name = owner.meta.name
        raise ValueError(f"{name} is paused: kubectl lws rollout resume {name} goes before")
    mark = {"metadata": {"annotations": {RESTARTED: now.isoformat(timespec="seconds")}}}
    template: dict[str, Any] = {"workerTemplate": mark}
    if owner.spec.leader_worker_template.leader_template is not None:
        template["leaderTemplate"] = mark
    return {"spec": {"leaderWorkerTemplate": template}}


def paused(owner: lws.LeaderWorkerSet) -> dict[str, Any]:
    """Return the change by which a set's update stops where it is; nothing if it has.

    Raises:
        ValueError: the set has no groups.
    """
    if names.PAUSED in owner.meta.annotations:
        return {}
    if not owner.spec.replicas:
        raise ValueError(f"{owner.meta.name} has no groups, so there is nothing to pause")
    return _at(owner.spec.replicas, annotation=f"{_partition(owner)}/{owner.spec.replicas}")


def resumed(owner: lws.LeaderWorkerSet) -> dict[str, Any]:
    """Return the change by which the update of a paused set goes on; nothing if it is not paused.

    A partition that somebody has edited meanwhile stays; otherwise the one before comes back.
    """
    kept = owner.meta.annotations.get(names.PAUSED)
    if kept is None:
        return {}
    if edited(owner):
        return {"metadata": {"annotations": {names.PAUSED: None}}}
    return _at(_kept(kept)[0], annotation=None)


def edited(owner: lws.LeaderWorkerSet) -> bool:
    """Whether the partition of a paused set is another one than that by which it was paused.

    The number of groups may have changed meanwhile, and tells nothing. Where the annotation does
    not say what the partition was, nobody knows, and it is taken for the one of the pause.
    """
    held = _kept(owner.meta.annotations.get(names.PAUSED, ""))[1]
    return held is not None and held != _partition(owner)


def told_resumed(owner: lws.LeaderWorkerSet) -> str:
    """Say what becomes of a paused set that is resumed."""
    before = _kept(owner.meta.annotations.get(names.PAUSED, ""))[0]
    if not edited(owner):
        return "resumed"
    return (
        f"resumed at partition {_partition(owner)}, which somebody has set while it was paused; it"
        f" was {before} before"
    )


def _kept(annotation: str) -> tuple[int, int | None]:
    """Return the partition before the pause, and that of the pause where it is known."""
    before, _, held = annotation.partition("/")
    return numbers.natural(before) or 0, numbers.natural(held)


def _partition(owner: lws.LeaderWorkerSet) -> int:
    return owner.spec.rollout_strategy.rolling_update_configuration.partition


def _at(partition: int, *, annotation: str | None) -> dict[str, Any]:
    configuration = {"rollingUpdateConfiguration": {"partition": partition}}
    return {
        "metadata": {"annotations": {names.PAUSED: annotation}},
        "spec": {"rolloutStrategy": configuration},
    }


def over(owner: lws.LeaderWorkerSet) -> bool:
    """Whether the controller has seen the set as it is, and no update is under way any more."""
    if owner.status.observed_generation != owner.meta.generation:
        return False
    true = {one.type for one in owner.status.conditions if one.status == "True"}
    return conditions.UPDATE_IN_PROGRESS not in true and conditions.AVAILABLE in true


async def change(
    server: connection.Connection, owner: lws.LeaderWorkerSet, body: dict[str, Any]
) -> None:
    """Write a change of a set, as far as it is as it was read."""
    body = {**body, "metadata": {**body.get("metadata", {}), "uid": owner.meta.uid}}
    body["metadata"]["resourceVersion"] = owner.meta.resource_version
    await server.request(
        "PATCH",
        resources.SETS.path(namespace=owner.meta.namespace, name=owner.meta.name),
        query={"fieldManager": connection.FIELD_MANAGER},
        body=body,
        content_type=_MERGE_PATCH,
    )


async def read(server: connection.Connection, key: keys.SetKey) -> lws.LeaderWorkerSet:
    """Read a set.

    Raises:
        LookupError: there is none of that name.
        ValueError: its stored spec cannot be read.
    """
    owner = await activity.read_set(server, key)
    if isinstance(owner, lws.InvalidSet):
        raise ValueError(f"the stored spec of {key.name} is not valid: {owner.problem}")
    return owner


@click.group("rollout")
def command() -> None:
    """How far the update of a set is; restart its groups; pause, resume and undo."""


@command.command("status")
@options.NAME
@click.option("-w", "--watch/--no-watch", "watching", default=True, help="Wait until it is done.")
@click.option("--timeout", type=click.FloatRange(0), help="Wait for so many seconds at most.")
@options.command
def status(where: options.Where, name: str, watching: bool, timeout: float | None) -> None:
    """Say how far the update of a set is, until it is done.

    Ends with status 0 when it is done, or with --no-watch, and with 1 after the timeout.
    """
    server, namespace = where.connect()
    key, said = keys.SetKey(namespace, name), ""
    ends = None if timeout is None else time.monotonic() + timeout
    while True:
        seen = asyncio.run(look.a_set(server, key))
        line = shown.told_update(shown.status(seen).update)
        if line != said:
            said = line
            click.echo(f"{name}: {line}")
            sys.stdout.flush()
        owner = seen.observed.lws
        if not watching or (owner is not None and over(owner)):
            return
        if ends is not None and time.monotonic() >= ends:
            click.echo(
                f"kubectl lws: not done after {timeout:g} s: kubectl lws explain {name} says why",
                err=True,
            )
            sys.exit(_LATE)
        time.sleep(_EVERY)


@command.command("restart")
@options.NAME
@options.command
def restart(where: options.Where, name: str) -> None:
    """Make all groups anew, as an update does: within maxUnavailable and maxSurge."""
    server, owner = _connected(where, name)
    body = restarted(owner, now=datetime.datetime.now(datetime.UTC))
    _write(server, owner, body, done="restarts", already="")


@command.command("pause")
@options.NAME
@options.command
def pause(where: options.Where, name: str) -> None:
    """Stop the update of a set where it is: no more groups are replaced until it is resumed."""
    server, owner = _connected(where, name)
    _write(server, owner, paused(owner), done="paused", already="is paused already")


@command.command("resume")
@options.NAME
@options.command
def resume(where: options.Where, name: str) -> None:
    """Let the update of a set go on that was paused.

    The partition is the one from before again, unless somebody has edited it meanwhile.
    """
    server, owner = _connected(where, name)
    _write(server, owner, resumed(owner), done=told_resumed(owner), already="is not paused")


@command.command("history")
@options.NAME
@click.option("--revision", "asked", metavar="NUMBER", help="Show one of them, and a diff to it.")
@options.FORMAT
@options.command
def history(where: options.Where, name: str, asked: str | None, format_: screen.Format) -> None:
    """Show the revisions of a set: what each changed, and which one the set is at.

    With --revision one of them, and what going back to it would change.
    """
    _, found = _revisions(where, name)
    told, now = revisions.told(found), datetime.datetime.now(datetime.UTC)
    if asked is None:
        options.shown(told, lambda wide: revisions.blocks(told, wide=wide, now=now), format_)
        return
    one = revisions.chosen(found, asked)
    answer = told.revisions[found.stored.index(one)]
    options.shown(answer, lambda _: revisions.detail(found, one, now=now), format_)


@command.command("undo")
@options.NAME
@click.option("--to-revision", "asked", metavar="NUMBER", help="Else the one in use before.")
@click.option("--dry-run", is_flag=True, help="Show what would change, and write nothing.")
@options.command
def undo(where: options.Where, name: str, asked: str | None, dry_run: bool) -> None:
    """Go back to an earlier revision of a set.

    What the set then asks for is the template and the network of that revision; everything else,
    such as the number of groups, stays. Groups are replaced as by any update.
    """
    server, found = _revisions(where, name)
    target = revisions.chosen(found, asked)
    body = revisions.undone(found, target)
    label = f"revision {target.number} ({contents.key_label(target)})"
    if not body:
        click.echo(f"{name} is at {label} already")
        return
    if marks := revisions.tools(found.owner):
        click.echo(
            f"{name} has marks of a tool that applies it from elsewhere ({', '.join(marks)}): take"
            " the change back there as well, or it comes again",
            err=True,
        )
    if dry_run:
        click.echo(f"{name} would go back to {label}:")
        click.echo(printable.escaped(revisions.compared(found, target)))
        return
    _write(server, found.owner, body, done=f"goes back to {label}", already="")


def _revisions(where: options.Where, name: str) -> tuple[connection.Connection, revisions.Found]:
    """Return who is asked, and the revisions of the set as they are now."""
    server, owner = _connected(where, name)
    key = keys.SetKey(owner.meta.namespace, name)
    return server, asyncio.run(revisions.read(server, key, owner))


def _connected(
    where: options.Where, name: str
) -> tuple[connection.Connection, lws.LeaderWorkerSet]:
    """Return who is asked, and the set that is to be changed as it is now."""
    server, namespace = where.connect()
    return server, asyncio.run(read(server, keys.SetKey(namespace, name)))


def _write(
    server: connection.Connection,
    owner: lws.LeaderWorkerSet,
    body: dict[str, Any],
    *,
    done: str,
    already: str,
) -> None:
    if not body:
        click.echo(f"{owner.meta.name} {already}")
        return
    try:
        asyncio.run(change(server, owner, body))
    except asking.ApiError as error:
        if error.status == 409:
            raise ValueError(
                f"somebody else has just written to {owner.meta.name}: try again"
            ) from error
        raise
    click.echo(f"{owner.meta.name} {done}")
