"""A process that starts while the API server cannot be reached."""

import asyncio
import logging

import pytest
import tenacity

from lws_kueue.manager import process
from lws_kueue.runtime import client

AWAY = client.ApiError(status=0, reason="", message="connection refused", request="GET /version")
FORBIDDEN = client.ApiError(status=403, reason="Forbidden", message="no", request="GET /version")


def start(
    errors: list[client.ApiError], monkeypatch: pytest.MonkeyPatch, log: pytest.LogCaptureFixture
) -> list[tuple[int, str]]:
    """Have the first attempts fail so; return each line of the log, and after how many attempts."""
    real, attempts = client.patiently, 0
    lines: list[tuple[int, str]] = []
    monkeypatch.setattr(
        client,
        "patiently",
        lambda *, seconds: real(seconds=seconds).copy(wait=tenacity.wait_none()),
    )

    async def attempt() -> None:
        nonlocal attempts
        lines.extend((attempts, record.getMessage()) for record in log.records)
        log.clear()
        attempts += 1
        if attempts <= len(errors):
            raise errors[attempts - 1]

    with log.at_level(logging.INFO):
        try:
            asyncio.run(process.patiently(attempt))
        finally:
            lines.extend((attempts, record.getMessage()) for record in log.records)
    return lines


def test_that_the_api_server_is_away_is_said_at_once_and_then_less_and_less_often(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    lines = start([AWAY] * 20, monkeypatch, caplog)
    assert [attempts for attempts, _ in lines] == [1, 2, 4, 8, 16]
    assert all("connection refused" in line for _, line in lines)


def test_nothing_is_said_of_an_api_server_that_answers(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert start([], monkeypatch, caplog) == []
    with pytest.raises(client.ApiError):
        start([FORBIDDEN], monkeypatch, caplog)
    assert not caplog.records
