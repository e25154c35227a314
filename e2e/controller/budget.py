"""The controller's writes into a namespace, as the API server's audit log has them."""

import time
from collections import Counter

import pytest

from lws_kueue import sandbox
from lws_kueue.runtime import build_info
from lws_kueue.sandbox import audit

USER_AGENT = build_info.user_agent()

# Leader StatefulSet, shared Service, ControllerRevision: once a set.
ONCE_A_SET = 3


def writes(cluster: sandbox.Sandbox, *, namespace: str) -> list[audit.Request]:
    """The controller's writes, Events excluded, refused ones included."""
    if cluster.audit_log is None:
        pytest.skip("this cluster shows no audit log")
    return [
        request
        for request in audit.requests(cluster)
        if request.is_write
        and request.user_agent == USER_AGENT
        and request.namespace == namespace
        and request.resource != "events"
    ]


def summary(found: list[audit.Request]) -> str:
    """The writes by kind, for the message of a failing test."""
    counts = Counter(f"{w.verb} {w.resource} -> {w.status}" for w in found)
    return "\n".join(f"{count:5d}  {what}" for what, count in sorted(counts.items()))


def settled(cluster: sandbox.Sandbox, *, namespace: str, quiet: float = 3.0) -> list[audit.Request]:
    """Return the writes once none has come for ``quiet`` seconds.

    Silence is what is awaited here, and only time shows silence.
    """
    deadline = time.monotonic() + 60
    found = writes(cluster, namespace=namespace)
    since = time.monotonic()
    while time.monotonic() - since < quiet:
        assert time.monotonic() < deadline, f"writing never ends:\n{summary(found)}"
        time.sleep(0.2)
        now = writes(cluster, namespace=namespace)
        if len(now) != len(found):
            found, since = now, time.monotonic()
    return found
