"""What the library that watches says of an API server out of reach: one line, and no traceback."""

import logging
import sys

import aiohttp
import pytest

from lws_kueue.manager import logs
from lws_kueue.runtime import client

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
