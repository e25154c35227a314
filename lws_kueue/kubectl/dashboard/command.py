"""The command `dashboard`."""

import asyncio
import contextlib
import json
import re
import threading
from collections.abc import Mapping
from typing import Final

import click

from lws_kueue.api import lws, numbers
from lws_kueue.kubectl import connection, options, screen
from lws_kueue.kubectl.dashboard import picture, serving
from lws_kueue.runtime import keys

_SET: Final = re.compile(r"([a-z0-9][-a-z0-9]*)/([a-z0-9][-.a-z0-9]*)")


def answering(server: connection.Connection, *, namespace: str) -> serving.Answer:
    """Return what answers the page: the picture, or {"error": what to do}, as JSON."""

    def answer(asked: Mapping[str, str]) -> str:
        # What is no name would be another path of the API server.
        known = _SET.fullmatch(asked.get("set", ""))
        key = keys.SetKey(*known.groups()) if known else None
        replicas = numbers.natural(asked.get("replicas", ""))
        if replicas is not None and replicas > lws.MOST_REPLICAS:
            replicas = None
        reading = picture.read(server, namespace=namespace, chosen=key, replicas=replicas)
        try:
            found = asyncio.run(reading)
        except options.ApiError as error:
            return json.dumps({"error": options.told(error)})
        return screen.dumped(found, "json")

    return answer


@click.command("dashboard")
@options.EVERYWHERE
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Any that is free if none.")
@options.command
def command(where: options.Where, port: int) -> None:
    """Serve a page on loopback with sets, ranks, racks and queues, until Ctrl-C.

    It shows what you may read, and writes nothing. The URL has a token: whoever knows it sees as
    much, as long as the command runs.
    """
    server, namespace = where.connect()
    pages = serving.Pages(answering(server, namespace=namespace))
    with contextlib.ExitStack() as served:
        try:
            url = served.enter_context(serving.serving(pages, port=port))
        except OSError as error:
            why = error.strerror or "it cannot be had"
            raise ValueError(f"port {port}: {why}; give another --port") from error
        click.echo(f"{url}\nCtrl-C ends it.")
        threading.Event().wait()
