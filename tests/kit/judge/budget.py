"""The writes of the controller and of Kueue into a namespace, as the audit log has them."""

import time
import weakref
from collections import Counter

import pytest
from lws_kueue_lab import sandbox
from lws_kueue_lab.kueue_standin import run as standin
from lws_kueue_lab.sandbox import audit

from lws_kueue.runtime import build_info
from tests.kit import polling

USER_AGENT = build_info.user_agent()

# Of a real Kueue's, the version follows.
_KUEUES_AGENT = "kueue/"

# Leader StatefulSet, shared Service, ControllerRevision: once a set.
ONCE_A_SET = 3


def writes(cluster: sandbox.Sandbox, *, namespace: str) -> list[audit.Request]:
    """The controller's writes, Events excluded, refused ones included."""
    return [
        request
        for request in _writes(cluster, namespace=namespace)
        if request.user_agent == USER_AGENT and request.resource != "events"
    ]


def kueues(cluster: sandbox.Sandbox, *, namespace: str) -> list[audit.Request]:
    """Kueue's writes, or those of the stand-in, Events excluded, refused ones included."""
    return [
        request
        for request in _writes(cluster, namespace=namespace)
        if _is_kueues(request) and request.resource != "events"
    ]


def of_both(cluster: sandbox.Sandbox, *, namespace: str, since: int = 0) -> list[audit.Request]:
    """All writes of the two, Events included, from a point of the audit log on."""
    return [
        request
        for request in _writes(cluster, namespace=namespace, since=since)
        if request.user_agent == USER_AGENT or _is_kueues(request)
    ]


def _is_kueues(request: audit.Request) -> bool:
    return request.user_agent == standin.USER_AGENT or request.user_agent.startswith(_KUEUES_AGENT)


# The writes that each cluster's log has told of, and up to where: it is looked at again and again.
_told: weakref.WeakKeyDictionary[sandbox.Sandbox, tuple[int, list[audit.Request]]] = (
    weakref.WeakKeyDictionary()
)


def _writes(cluster: sandbox.Sandbox, *, namespace: str, since: int = 0) -> list[audit.Request]:
    if cluster.audit_log is None:
        pytest.skip("this cluster shows no audit log")
    if since:
        found = audit.requests(cluster, since=since)
    else:
        # What was answered before this is in the log after it.
        audit.position(cluster)
        end, found = _told.get(cluster, (0, []))
        more, end = audit.so_far(cluster, since=end)
        found += (request for request in more if request.is_write)
        _told[cluster] = end, found
    return [one for one in found if one.is_write and one.namespace == namespace]


def summary(found: list[audit.Request]) -> str:
    """The writes by kind, for the message of a failing test."""
    counts = Counter(f"{w.verb} {w.resource} -> {w.status}" for w in found)
    return "\n".join(f"{count:5d}  {what}" for what, count in sorted(counts.items()))


def settled(cluster: sandbox.Sandbox, *, namespace: str, quiet: float = 3.0) -> list[audit.Request]:
    """Return the writes once none has come for ``quiet`` seconds.

    Silence is what is awaited here, and only time shows silence.
    """
    found, since = writes(cluster, namespace=namespace), time.monotonic()

    def silent() -> list[audit.Request]:
        nonlocal found, since
        now = writes(cluster, namespace=namespace)
        if len(now) != len(found):
            found, since = now, time.monotonic()
        assert time.monotonic() - since >= quiet, f"writing never ends:\n{summary(found)}"
        return found

    return polling.trying(every=0.2)(silent)
