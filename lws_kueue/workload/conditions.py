"""Conditions as Kueue's API server types want them: times, lengths, transitions."""

from datetime import UTC, datetime
from typing import Any

from lws_kueue.api import kueue, reasons


def stamp(moment: datetime) -> str:
    """Return a time as the API writes it: UTC, whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def moment(text: str) -> datetime | None:
    """Return a time that the API wrote, None for none."""
    return datetime.fromisoformat(text) if text else None


def updated(
    workload: kueue.Workload, type_: str, status: bool, reason: str, message: str, *, now: datetime
) -> dict[str, Any]:
    """Return the condition in JSON form; its time changes only when its status does."""
    text = "True" if status else "False"
    old = workload.condition(type_)
    kept = old is not None and old.status == text and old.last_transition_time
    return {
        "type": type_,
        "status": text,
        "reason": reason,
        "message": reasons.shortened(message, most=reasons.MOST_MESSAGE),
        "lastTransitionTime": kept or stamp(now),
        "observedGeneration": workload.meta.generation,
    }
