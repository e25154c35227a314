"""A group that we made beside one that the Go manager made: the same but for its index and keys."""

from typing import Any

from lws_kueue_lab import sandbox

from lws_kueue.api import names
from tests.kit.takeover import comparison, state

# What is particular to a group, or made by the server from what is.
_PARTICULAR = frozenset(
    {
        names.GROUP_INDEX,
        names.GROUP_KEY,
        comparison.SUBGROUP_KEY,
        "apps.kubernetes.io/pod-index",
        "controller-revision-hash",
        "currentRevision",
        "updateRevision",
        "uid",
    }
)


def differences(
    cluster: sandbox.Sandbox, name: str, *, namespace: str, theirs: int, ours: int
) -> list[str]:
    """One line for every difference between the pods and StatefulSets of two groups."""
    one, other = (_group(cluster, name, namespace=namespace, index=i) for i in (theirs, ours))
    assert any(identity.startswith("Pod ") for identity in one)
    return comparison.differences(one, other)


def _group(
    cluster: sandbox.Sandbox, name: str, *, namespace: str, index: int
) -> dict[str, dict[str, Any]]:
    found = [
        obj
        for kind in (("v1", "Pod"), ("apps/v1", "StatefulSet"), ("v1", "Service"))
        for obj in cluster.api.list(*kind, namespace=namespace)
        if f"{obj['metadata']['name']}-".startswith(f"{name}-{index}-")
    ]
    cleaned = comparison.clean(found, marks=False)
    return {
        f"{obj['kind']} {obj['metadata']['name']}": obj
        for obj in (_without_index(obj, f"{name}-{index}", f"{name}-N") for obj in cleaned)
    }


def _without_index(value: Any, group: str, neutral: str) -> Any:
    if isinstance(value, dict):
        return {
            key: "<particular>" if key in _PARTICULAR else _without_index(item, group, neutral)
            for key, item in value.items()
            if key != state.TOUCHED
        }
    if isinstance(value, list):
        return [_without_index(item, group, neutral) for item in value]
    return value.replace(group, neutral) if isinstance(value, str) else value
