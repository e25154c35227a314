"""What a set says about itself: its conditions, and the Warning events on it."""

from typing import Any

from lws_kueue_lab import sandbox
from lws_kueue_lab.sandbox import client

from lws_kueue.api import names
from tests.kit import polling

LWS = (names.LWS_API_VERSION, names.LWS_KIND)


def sayings(cluster: sandbox.Sandbox, name: str, *, namespace: str) -> list[str]:
    """Return the messages of a set's conditions and of the Warnings on it, each with its reason."""
    found = cluster.api.get(*LWS, name, namespace=namespace)
    conditions = (found.get("status") or {}).get("conditions") or ()
    return [
        *(f"{c['reason']}: {c['message']}" for c in conditions),
        *(f"{e['reason']}: {e['note']}" for e in warnings(cluster, name, namespace=namespace)),
    ]


def warnings(cluster: sandbox.Sandbox, name: str, *, namespace: str) -> list[dict[str, Any]]:
    """Return the Warning events on a set."""
    return [
        event
        for event in cluster.api.list("events.k8s.io/v1", "Event", namespace=namespace)
        if (event["regarding"].get("kind"), event["regarding"].get("name"))
        == (names.LWS_KIND, name)
        and event["type"] == "Warning"
    ]


def wait_said(
    cluster: sandbox.Sandbox, name: str, *texts: str, namespace: str, patience: float = 60.0
) -> str:
    """Wait until a set says something that has all ``texts`` in it; return that."""

    def told() -> str:
        said = sayings(cluster, name, namespace=namespace)
        found = [one for one in said if all(text in one for text in texts)]
        assert found, f"{name} never says {texts}, but {said}"
        return found[0]

    return polling.trying(timeout=patience, every=0.2)(told)


def is_taken(cluster: sandbox.Sandbox, obj: dict[str, Any]) -> bool:
    """Whether the API server would take an object that is created now."""
    try:
        cluster.api.create(obj, dry_run=True)
    except client.ApiError:
        return False
    return True
