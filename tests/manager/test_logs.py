"""What is logged: fields for programs, and one line of an API server that is out of reach."""

import asyncio
import io
import json
import logging
import sys
from collections.abc import Iterator

import aiohttp
import pytest

from lws_kueue.api import actions, facts, names
from lws_kueue.manager import logs
from lws_kueue.runtime import client, log_fields

WATCHING = "kopf._cogs.clients.watching"
RETRY = "Request attempt #1 failed; will retry: GET https://server/apis/{} -> Refused()"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def record(
    message: str, *, name: str = WATCHING, error: BaseException | None = None
) -> logging.LogRecord:
    """Return a record as it is made, in an ``except`` clause if there is an error."""
    info = None
    if error is not None:
        try:
            raise error
        except BaseException:
            info = sys.exc_info()
    return logging.LogRecord(name, logging.ERROR, "", 0, message, None, info)


def test_attempts_of_all_watches_are_one_line_a_minute() -> None:
    clock = Clock()
    once = logs.OnceAMinute(clock)
    passed = []
    for second in range(130):
        clock.now = float(second)
        passed += [second for kind in "abc" if once.filter(record(RETRY.format(kind)))]
    assert passed == [0, 60, 120]


@pytest.mark.parametrize(
    "error",
    [
        aiohttp.ClientPayloadError("the connection was reset"),
        TimeoutError(),
        ConnectionResetError(104, "reset"),
        client.ApiError(status=0, reason="TimeoutError", message="", request="GET /"),
    ],
)
def test_a_watch_that_fails_for_want_of_a_server_is_told_without_a_traceback(
    error: Exception,
) -> None:
    once, told = logs.OnceAMinute(), record("Watcher has failed", error=error)
    assert once.filter(told)
    assert told.exc_info is None
    assert not once.filter(record("Watcher has failed", error=error))


@pytest.mark.parametrize(
    "told",
    [
        record("Watcher has failed", error=KeyError("a fault")),
        record("Non-watchable resources will not be served"),
        record(RETRY, name="lws_kueue.runtime.loop", error=TimeoutError()),
    ],
)
def test_whatever_else_is_said_passes_as_it_is_and_as_often_as_it_is_said(
    told: logging.LogRecord,
) -> None:
    once, before = logs.OnceAMinute(), told.exc_info
    assert [once.filter(told) for _ in range(3)] == [True] * 3
    assert told.exc_info == before


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What is logged as JSON; afterwards logging is as it was."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    root.handlers = []
    logs.set_up(encoder="json")
    yield stream
    root.handlers, root.level = before, level


def lines(written: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in written.getvalue().splitlines()]


def test_a_line_of_a_pass_has_the_set_and_the_pass_as_fields(written: io.StringIO) -> None:
    logger = logging.getLogger("lws_kueue.test")

    async def passes() -> None:
        logger.info("before")
        for _ in range(2):
            log_fields.begin("ns/serve")
            logger.info("of the pass")
            await asyncio.create_task(later())

    async def later() -> None:
        logger.info("of a task of the pass")

    asyncio.run(passes())
    first, *others = lines(written)
    assert not {"set", "pass"} & first.keys()
    assert {line["set"] for line in others} == {"ns/serve"}
    numbers = [line["pass"] for line in others]
    assert numbers[0] == numbers[1] != numbers[2] == numbers[3]


def test_a_line_about_an_object_has_its_group_and_its_workload_as_fields(
    written: io.StringIO,
) -> None:
    meta = facts.Meta.of({"metadata": {"annotations": {names.COMPONENT_WORKLOAD_INDEX: "3"}}})
    fields = log_fields.of(actions.Ref("kueue.x-k8s.io/v1beta2", "Workload", "ns", "wl"), meta)
    logging.getLogger("lws_kueue.test").info("ns/serve: delete Workload wl", extra=fields)
    (line,) = lines(written)
    assert line["msg"] == "ns/serve: delete Workload wl"
    told = {key: line[key] for key in ("kind", "object", "group", "workload")}
    assert told == {"kind": "Workload", "object": "wl", "group": "3", "workload": "wl"}
    pod = facts.Meta.of({"metadata": {"labels": {names.GROUP_INDEX: "7"}}})
    assert log_fields.of(actions.Ref("v1", "Pod", "ns", "serve-7-1"), pod)["group"] == "7"
