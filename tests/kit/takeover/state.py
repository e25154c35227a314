"""What a take-over must leave as it is, and who wrote what meanwhile."""

import secrets
from collections.abc import Iterable
from typing import Any

from lws_kueue_lab import sandbox
from lws_kueue_lab.sandbox import audit, client

from lws_kueue.api import names
from tests.kit.judge import budget
from tests.kit.live import harness
from tests.kit.takeover import comparison

_USER = "system:serviceaccount:{}:{}".format(*harness.SERVICE_ACCOUNT)
_KINDS = (
    (names.LWS_API_VERSION, names.LWS_KIND),
    ("apps/v1", "StatefulSet"),
    ("apps/v1", "ControllerRevision"),
    ("v1", "Service"),
    ("v1", "Pod"),
    ("v1", "PersistentVolumeClaim"),
    (names.KUEUE_API_VERSION, "Workload"),
)

# What `touch` leaves on pods.
TOUCHED = "example.com/touched"

State = dict[str, dict[str, Any]]


def of(cluster: sandbox.Sandbox, namespace: str) -> State:
    """Tell the identity and version of everything in a namespace that a set consists of."""
    return {
        f"{kind} {obj['metadata']['name']}": {
            "uid": obj["metadata"]["uid"],
            "generation": obj["metadata"].get("generation"),
            # Not one write, whoever made it, and whether it changed anything a person would see.
            "resourceVersion": obj["metadata"]["resourceVersion"],
            "restarts": restarts(obj),
        }
        for api_version, kind in _KINDS
        for obj in _list(cluster, api_version, kind, namespace=namespace)
    }


def _list(
    cluster: sandbox.Sandbox, api_version: str, kind: str, *, namespace: str
) -> list[dict[str, Any]]:
    try:
        return cluster.api.list(api_version, kind, namespace=namespace)
    except client.ApiError as error:
        # Without Kueue nobody has heard of Workloads.
        if error.status == 404 and kind == "Workload":
            return []
        raise


def restarts(obj: dict[str, Any]) -> int:
    """How often the containers of a pod have been restarted; 0 for anything else."""
    statuses = obj["status"].get("containerStatuses") or () if obj["kind"] == "Pod" else ()
    return sum(status["restartCount"] for status in statuses)


def changes(before: State, after: State) -> list[str]:
    """One line for every difference."""
    return comparison.differences(before, after)


def our_writes(
    cluster: sandbox.Sandbox, *, since: int, namespaces: Iterable[str]
) -> list[audit.Request]:
    """What our controller has written into namespaces, Events included, refused or not."""
    watched = frozenset(namespaces)
    return [
        request
        for request in audit.requests(cluster, since=since)
        if request.is_write
        and request.namespace in watched
        and (request.user == _USER or request.user_agent == budget.USER_AGENT)
    ]


def leaked(cluster: sandbox.Sandbox, namespace: str) -> frozenset[str]:
    """The revisions that the Go manager made more than once, but for the last of each.

    It makes another one whenever the apply of a new set fails for a moment (lws-contract 8.3). No
    lookup finds them, and nothing but their removal is to be done about them.
    """
    last: dict[str, Any] = {}
    superfluous = set()
    found = _list(cluster, "apps/v1", "ControllerRevision", namespace=namespace)
    for revision in sorted(found, key=lambda obj: int(obj["revision"])):
        meta = revision["metadata"]
        if meta["ownerReferences"][0]["kind"] == names.LWS_KIND:
            earlier = last.get(meta["labels"][names.REVISION_KEY])
            superfluous |= {earlier} if earlier else set()
            last[meta["labels"][names.REVISION_KEY]] = meta["name"]
    return frozenset(superfluous)


def told(cluster: sandbox.Sandbox, namespace: str, writes: list[audit.Request]) -> str:
    """The writes and what Events say, for the message of a failing test."""
    events = [event.get("note", "") for event in _list_events(cluster, namespace)]
    return "\n".join([budget.summary(writes), *events])


def _list_events(cluster: sandbox.Sandbox, namespace: str) -> list[dict[str, Any]]:
    found = cluster.api.list("events.k8s.io/v1", "Event", namespace=namespace)
    return [event for event in found if event["regarding"]["kind"] == names.LWS_KIND]


def conclude(cluster: sandbox.Sandbox, *, image: str = harness.IMAGE) -> None:
    """Make a new set and wait until it is ready.

    Sets are looked at in the order in which something happened to them, and a new one needs
    several looks: once it is ready, all that happened before has been looked at.
    """
    namespace = harness.make_namespace(cluster, f"new-{secrets.token_hex(3)}")
    cluster.api.create(harness.leader_worker_set("new", namespace=namespace, replicas=2, size=2))
    harness.wait_ready(cluster, "new", namespace=namespace, groups=2)
    cluster.api.delete("v1", "Namespace", namespace)


def touch(cluster: sandbox.Sandbox, namespace: str) -> None:
    """Have every set of a namespace looked at again: something foreign happens to its pods."""
    stamp = {"metadata": {"annotations": {TOUCHED: secrets.token_hex(3)}}}
    for pod in cluster.api.list("v1", "Pod", namespace=namespace):
        cluster.api.patch("v1", "Pod", pod["metadata"]["name"], namespace=namespace, body=stamp)
