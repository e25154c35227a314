"""What the process writes to its log, and how; takes the Go manager's flags (lws-contract 9.1).

A number as a level is klog's verbosity, since that is what the manifests of the Go manager pass: up
to 3 is what an operator wants to see, 4 and more is for finding faults.
"""

import datetime
import logging
import sys
import time
from collections.abc import Callable
from typing import Final, Literal

from pythonjsonlogger import json as json_logging

from lws_kueue.runtime import log_fields, reflector, watch

Encoder = Literal["console", "json"]
TimeEncoding = Literal["epoch", "millis", "nano", "iso8601", "rfc3339", "rfc3339nano"]

TIME_ENCODINGS: Final = ("epoch", "millis", "nano", "iso8601", "rfc3339", "rfc3339nano")

_LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "error": logging.ERROR,
    "panic": logging.CRITICAL,
}
_DEBUG_VERBOSITY: Final = 4
_CONSOLE: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def level(text: str) -> int:
    """Return the level that `debug`, `info`, `error`, `panic` or a verbosity stands for.

    Raises:
        ValueError: it is none of them.
    """
    if text in _LEVELS:
        return _LEVELS[text]
    if not (text.isascii() and text.isdecimal() and int(text) > 0):
        raise ValueError(f"{text!r} is not one of {', '.join(_LEVELS)} or a number above 0")
    return logging.DEBUG if int(text) >= _DEBUG_VERBOSITY else logging.INFO


def moment(seconds: float, encoding: TimeEncoding) -> str:
    """Return a time of the clock in one of zap's encodings."""
    at = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    match encoding:
        case "epoch":
            return f"{seconds:.6f}"
        case "millis":
            return f"{seconds * 1e3:.3f}"
        case "nano":
            return f"{seconds * 1e9:.0f}"
        case "iso8601":
            return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03}Z"
        case "rfc3339":
            return at.strftime("%Y-%m-%dT%H:%M:%SZ")
        case "rfc3339nano":
            return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class _Console(logging.Formatter):
    def __init__(self, encoding: TimeEncoding | None) -> None:
        super().__init__(_CONSOLE)
        self._encoding = encoding

    def formatTime(  # noqa: N802 - the name is the library's
        self, record: logging.LogRecord, datefmt: str | None = None
    ) -> str:
        if self._encoding is None:
            return super().formatTime(record, datefmt)
        return moment(record.created, self._encoding)


class _Json(json_logging.JsonFormatter):
    def __init__(self, encoding: TimeEncoding | None) -> None:
        super().__init__(
            "{levelname}{asctime}{name}{message}",
            style="{",
            rename_fields={
                "levelname": "level",
                "asctime": "ts",
                "name": "logger",
                "message": "msg",
            },
        )
        self._encoding = encoding or "rfc3339nano"

    def formatTime(  # noqa: N802 - the name is the library's
        self,
        record: logging.LogRecord,
        datefmt: str | None = None,  # noqa: ARG002
    ) -> str:
        return moment(record.created, self._encoding)


class OnceAMinute(logging.Filter):
    """Lets through, of what the library that watches says of a server out of reach, one line.

    It watches every kind by itself, so it says of each what is the same for all, and again with
    every attempt; with some errors it adds a traceback. All the rest passes as it is.
    """

    EVERY: Final = 60.0

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._last: float | None = None

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record passes; one of a server out of reach loses its traceback."""
        if record.name == "asyncio":
            # A callback of the library for a watch that ends fails if its task has ended before.
            return "stream.<locals>.request_cancel_callback" not in record.getMessage()
        error = record.exc_info[1] if record.exc_info else None
        if record.name == reflector.logger.name:
            if error is not None:
                return True
            return self._first()
        if not record.name.startswith("kopf."):
            return True
        if error is not None and watch.out_of_reach(error):
            record.exc_info = record.exc_text = None
        elif error is not None or not record.getMessage().startswith("Request attempt"):
            return True
        return self._first()

    def _first(self) -> bool:
        """Whether a record is the first of a minute."""
        now = self._clock()
        if self._last is not None and now - self._last < self.EVERY:
            return False
        self._last = now
        return True


def set_up(
    *,
    level: int = logging.INFO,
    encoder: Encoder = "console",
    time_encoding: TimeEncoding | None = None,
) -> None:
    """Log to standard error from now on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json(time_encoding) if encoder == "json" else _Console(time_encoding))
    handler.addFilter(OnceAMinute())
    handler.addFilter(log_fields.Fields())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # kopf tells about each event it passes on; that is our log's job, and only if it matters.
    logging.getLogger("kopf").setLevel(max(level, logging.WARNING))
    # It warns of kinds that are not served; that Kueue is missing is said by ourselves.
    logging.getLogger("kopf._core.reactor.observation").setLevel(max(level, logging.ERROR))
