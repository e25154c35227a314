"""`kubectl lws logs`: what the pods of one group say, each line with the rank of its pod."""

import asyncio
import queue
import sys
import threading
from collections.abc import Iterable, Iterator
from typing import Final

import click

from lws_kueue.api import facts, names, numbers, printable
from lws_kueue.kubectl import connection, options, reading
from lws_kueue.runtime import asking, keys, resources
from lws_kueue.workload import pods as group_pods

# The end of one pod's lines.
_OVER: Final = None
# So many lines wait to be shown, and then their pods wait.
_MOST_WAITING: Final = 1000


async def members(
    server: connection.Connection, key: keys.SetKey, *, group: int, leader: bool
) -> list[facts.Pod]:
    """Return the pods of a group by rank, or its leader alone.

    Raises:
        reading.NotFoundError: it has none.
    """
    selector = f"{names.SET_NAME}={key.name},{names.GROUP_INDEX}={group}"
    if leader:
        selector += f",{names.WORKER_INDEX}=0"
    found = await server.listed(resources.PODS, namespace=key.namespace, label_selector=selector)
    pods = sorted(map(facts.Pod.of, found), key=rank)
    if not pods:
        raise reading.NotFoundError(
            f"group {group} of {key.name} has no pods in namespace {key.namespace}:"
            f" kubectl lws status {key.name} shows its groups"
        )
    return pods


def rank(pod: facts.Pod) -> int:
    """Return the rank of a pod in its group; the leader has 0."""
    return numbers.natural(pod.meta.labels.get(names.WORKER_INDEX, "")) or 0


def lines(
    server: connection.Connection,
    pods: Iterable[facts.Pod],
    *,
    follow: bool,
    container: str | None,
    tail: int | None,
) -> Iterator[str]:
    """Yield the lines of all pods, those of one in their order, each after its rank.

    A pod that says nothing yet, or cannot, says so in one line; the others go on.
    """
    pods = tuple(pods)
    width = len(str(max(map(rank, pods), default=0)))
    query = {"follow": str(follow).lower()}
    query |= {"container": container} if container else {}
    query |= {"tailLines": str(tail)} if tail is not None else {}
    if follow:
        yield from _beside(server, pods, query, width)
        return
    for pod in pods:
        yield from _of(server, pod, query, width)


def _of(
    server: connection.Connection, pod: facts.Pod, query: dict[str, str], width: int
) -> Iterator[str]:
    prefix = f"[{rank(pod):>{width}}] "
    if group_pods.gated(pod):
        yield f"{prefix}(pod {pod.meta.name} waits for admission and has not started)"
        return
    path = resources.PODS.path(namespace=pod.meta.namespace, name=pod.meta.name, subresource="log")
    try:
        for line in server.lines(path, query=query):
            yield prefix + line
    except asking.ApiError as error:
        if error.status in (401, 403):
            raise
        yield f"{prefix}(no log of pod {pod.meta.name}: {printable.brief(error.message)})"


def _beside(
    server: connection.Connection, pods: tuple[facts.Pod, ...], query: dict[str, str], width: int
) -> Iterator[str]:
    """Yield the lines of pods as they come; the threads that read them end with the program."""
    said: queue.Queue[str | BaseException | None] = queue.Queue(_MOST_WAITING)

    def read(pod: facts.Pod) -> None:
        try:
            for line in _of(server, pod, query, width):
                said.put(line)
        except asking.ApiError as error:
            said.put(error)
        finally:
            said.put(_OVER)

    for pod in pods:
        threading.Thread(target=read, args=(pod,), daemon=True).start()
    left = len(pods)
    while left:
        line = said.get()
        if isinstance(line, BaseException):
            raise line
        if line is _OVER:
            left -= 1
        else:
            yield line


@click.command("logs")
@options.NAME
@options.GROUP
@click.option("-f", "--follow", is_flag=True, help="Go on with what they say from now on.")
@click.option("--leader", is_flag=True, help="Of the leader alone.")
@click.option("-c", "--container", help="Of one container, where pods have several.")
@click.option("--tail", type=click.IntRange(0), help="So many of the last lines of each pod.")
@options.command
def command(
    where: options.Where,
    name: str,
    group: int,
    follow: bool,
    leader: bool,
    container: str | None,
    tail: int | None,
) -> None:
    """Show what the pods of a group say; each line begins with the rank, 0 for the leader."""
    server, namespace = where.connect()
    key = keys.SetKey(namespace, name)
    pods = asyncio.run(members(server, key, group=group, leader=leader))
    for line in lines(server, pods, follow=follow, container=container, tail=tail):
        click.echo(line)
        if follow:
            sys.stdout.flush()
