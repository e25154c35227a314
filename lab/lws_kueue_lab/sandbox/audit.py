"""Reading the audit log of a sandbox: who asked the API server for what."""

import dataclasses
import json
import secrets
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lws_kueue_lab.sandbox import cluster

_WRITE_VERBS = frozenset({"create", "update", "patch", "delete", "deletecollection"})
# What is created there is an answer, and is kept nowhere.
_REVIEWS = frozenset(
    {
        "selfsubjectaccessreviews",
        "selfsubjectrulesreviews",
        "selfsubjectreviews",
        "subjectaccessreviews",
        "localsubjectaccessreviews",
        "tokenreviews",
    }
)
_MARK_TIMEOUT_SECONDS = 30.0
_POLL_SECONDS = 0.05


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One finished request, as the API server recorded it.

    `resource` is the plural, with the subresource after a slash; `status` is the HTTP code, 0 if
    there was none; `received` and `answered` are moments, in RFC 3339.
    """

    user: str
    user_agent: str
    verb: str
    resource: str
    namespace: str
    name: str
    status: int
    uri: str
    received: str
    answered: str

    @property
    def is_write(self) -> bool:
        """Whether the request could change something; dry runs and reviews do not count."""
        if self.resource in _REVIEWS:
            return False
        return self.verb in _WRITE_VERBS and "dryRun=" not in self.uri


def position(sandbox: cluster.Sandbox) -> int:
    """A point in the log: `requests` with it gives only what is answered from now on."""
    return _mark(sandbox)


def requests(sandbox: cluster.Sandbox, *, since: int = 0) -> list[Request]:
    """Every request that has been answered by now, in the order of the log.

    A watch is there once it has ended. Raises `UnsupportedError` for a sandbox without an audit
    log.
    """
    _mark(sandbox)
    return _parse(_whole_lines(sandbox, since)[0])


def so_far(sandbox: cluster.Sandbox, *, since: int) -> tuple[list[Request], int]:
    """What the log holds by now from a point on, and the point after it, without waiting.

    The last requests that were answered may not be in it yet.
    """
    lines, end = _whole_lines(sandbox, since)
    return _parse(lines), end


def _mark(sandbox: cluster.Sandbox) -> int:
    """Make a request and wait for it in the log; what was answered before is in there, too.

    Returns a point after it that is the end of a line: the log may grow by half of one.
    """
    token = secrets.token_hex(8)
    start = _log_of(sandbox).stat().st_size
    sandbox.api.request("GET", "/version", query={"mark": token})
    deadline = time.monotonic() + _MARK_TIMEOUT_SECONDS
    while True:
        lines, end = _whole_lines(sandbox, start)
        if any(token in line for line in lines):
            return end
        if time.monotonic() > deadline:
            raise cluster.SandboxError("the audit log does not grow")
        time.sleep(_POLL_SECONDS)


def _log_of(sandbox: cluster.Sandbox) -> Path:
    if sandbox.audit_log is None:
        raise cluster.UnsupportedError("this sandbox has no audit log")
    return sandbox.audit_log


def _whole_lines(sandbox: cluster.Sandbox, start: int) -> tuple[list[str], int]:
    with _log_of(sandbox).open("rb") as file:
        file.seek(start)
        content = file.read()
    # The last line may still be in the making.
    length = content.rfind(b"\n") + 1
    # Where a mark is looked for the first line may be half of one.
    return content[:length].decode(errors="replace").split("\n")[:-1], start + length


def _parse(lines: Iterable[str]) -> list[Request]:
    events = (json.loads(line) for line in lines)
    return [_request(e) for e in events if e["stage"] in ("ResponseComplete", "Panic")]


def _request(event: dict[str, Any]) -> Request:
    target = event.get("objectRef") or {}
    subresource = target.get("subresource")
    return Request(
        user=event["user"].get("username", ""),
        user_agent=event.get("userAgent", ""),
        verb=event["verb"],
        resource=target.get("resource", "") + (f"/{subresource}" if subresource else ""),
        namespace=target.get("namespace", ""),
        name=target.get("name", ""),
        status=(event.get("responseStatus") or {}).get("code", 0),
        uri=event["requestURI"],
        received=event["requestReceivedTimestamp"],
        answered=event["stageTimestamp"],
    )
