"""Who undoes what this controller writes, as far as anything tells, and how that is put into words.

Nobody is blamed without evidence: ``managedFields`` tell who has written a field, but not who has
taken one away or deleted an object, and an admission webhook or policy leaves no trace in them.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from lws_kueue.api import actions, facts, names

_MOST_NAMED: Final = 5

# Whoever takes something away owns nothing of the object afterwards.
_NO_TRACE: Final = "somebody who leaves no trace in managedFields"

_OURS: Final = frozenset(
    {names.FIELD_MANAGER, names.ADMISSION_FIELD_MANAGER, names.PODS_READY_FIELD_MANAGER}
)


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a repetition: the other ``writer``, "" where nobody can tell who it is.

    ``changed`` is what the API server made of an apply, ``taken`` why this controller has deleted
    itself what it makes; both are "" where that is not so.
    """

    writer: str = ""
    changed: str = ""
    taken: str = ""


def other_writer(obj: facts.Object, key: actions.WriteKey) -> str:
    """Say who last wrote to an object beside us, as its ``managedFields`` have it; "" for nobody.

    What is undone was written before: so an entry counts if it is not older than ours. The newest
    one does, whatever it holds: who takes a field away has none of it afterwards. Who scales has an
    entry without a time. It holds the replicas, which each write of ours takes from it, so it is
    evidence where there is no other; who scales to 0 has none at all.
    """
    entries = [
        entry
        for entry in (obj.get("metadata") or {}).get("managedFields") or ()
        if ((entry.get("subresource") or "") == "status") == key.reports
    ]
    since = max((_time(entry) for entry in entries if entry.get("manager") in _OURS), default="")
    others = [entry for entry in entries if entry.get("manager") not in _OURS]
    last = max(others, key=_time, default=None)
    if last is None or _time(last) < since:
        last = next((one for one in others if one.get("subresource") == "scale"), None)
    if last is None or "" < _time(last) < since:
        return ""
    fields = list(_leaves(last.get("fieldsV1") or {}))[:_MOST_NAMED]
    what = f" ({', '.join(fields)})" if fields else ""
    return f"field manager {last.get('manager')}{what}"


def _time(entry: facts.Object) -> str:
    return str(entry.get("time") or "")


def _leaves(fields: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """Return the paths of a FieldsV1 set; items of lists count as their list."""
    for name, inner in fields.items():
        if not name.startswith("f:"):
            continue
        below = f"{path}.{name[2:]}"
        deeper = list(_leaves(inner, below)) if inner else []
        yield from deeper or [below]


def has_writer(key: actions.WriteKey) -> bool:
    """Whether what undoes the write is another write to the same object."""
    return key.verb not in ("create", "delete", "stop") and not is_pod(key)


def is_pod(key: actions.WriteKey) -> bool:
    """Whether the write is one to a pod."""
    return key.ref.kind == "Pod"


def cause(key: actions.WriteKey, known: Known, *, longest: float) -> str:
    """Say of what is repeated why it is; ``longest`` are the seconds between two attempts."""
    what = f"{key.ref.kind} {key.ref.name}"
    if known.changed:
        said = (
            f"{what}: an admission webhook, an admission policy or a feature gate of the API server"
            f" changes what this controller applies each time: {known.changed}. Let it leave the"
            f" {key.ref.kind} alone"
        )
    elif key.verb == "create" and known.taken:
        said = f"{what} is made and deleted by this controller again and again: {known.taken}"
    elif key.verb == "create":
        said = (
            f"{what} is deleted each time it is made. Find out by whom: who deletes leaves no trace"
        )
    elif key.verb == "delete":
        said = f"{what} is deleted for the same reason again and again, and comes back the same"
    elif is_pod(key):
        said = (
            f"{what} ends each time it is let go under the same admission. Its own events say why"
        )
    else:
        said = (
            f"{what}: {known.writer or _NO_TRACE} undoes what this controller writes each time."
            " Let only one of the two write it"
        )
    return _until(said, longest)


def ungated(pods: Collection[str], *, longest: float) -> str:
    """Say that pods of the names ``pods`` are stopped again and again."""
    others = ", like others of the set," if len(pods) > 1 else ""
    said = (
        f"Pod {min(pods)}{others} is made or left without the scheduling gate"
        f" {names.ADMISSION_GATE} again and again, though its group is not admitted, and is stopped"
        " each time. Find the admission webhook, the policy or the controller that takes gates"
        " away: that leaves no trace in managedFields. Where the set got its queue later, pods"
        " below spec.rolloutStrategy.rollingUpdateConfiguration.partition are made without it:"
        " lower that. The pod keeps its name for a while, so that none is made in its place"
    )
    return _until(said, longest)


def _until(said: str, longest: float) -> str:
    return f"{said}; the next attempts are up to {longest / 60:.0f} minutes apart"
