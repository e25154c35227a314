"""Reading the API server's audit log: who wrote what, and how often."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lws_kueue

WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})
USER_AGENT = f"lws-kueue/{lws_kueue.__version__}"


@dataclass(frozen=True)
class Write:
    """One write request of the controller, as the API server answered it."""

    verb: str
    resource: str
    subresource: str
    namespace: str
    name: str
    code: int
    at: str


def _entries(log: Path) -> list[dict[str, Any]]:
    with log.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file if line.endswith("\n")]


def writes(log: Path, *, namespace: str) -> list[Write]:
    """The controller's writes into a namespace, Events excluded, refused ones included."""
    found = []
    for entry in _entries(log):
        ref = entry.get("objectRef") or {}
        if (
            entry.get("stage") == "ResponseComplete"
            and entry.get("userAgent") == USER_AGENT
            and entry.get("verb") in WRITES
            and ref.get("namespace") == namespace
            and ref.get("resource") != "events"
        ):
            found.append(
                Write(
                    verb=entry["verb"],
                    resource=ref.get("resource", ""),
                    subresource=ref.get("subresource", ""),
                    namespace=ref.get("namespace", ""),
                    name=ref.get("name", ""),
                    code=(entry.get("responseStatus") or {}).get("code", 0),
                    at=entry["requestReceivedTimestamp"],
                )
            )
    return found


def summary(found: list[Write]) -> str:
    """The writes by kind, for the message of a failing test."""
    counts = Counter(f"{w.verb} {w.resource}/{w.subresource} -> {w.code}" for w in found)
    return "\n".join(f"{count:5d}  {what}" for what, count in sorted(counts.items()))
