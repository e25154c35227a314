"""Small objects for the tests of the sandbox, and what is read from them."""

from typing import Any

from lws_kueue_lab.sandbox import stages


def pod(
    name: str,
    namespace: str,
    *,
    behaviour: str = "",
    seconds: int | None = None,
    **metadata: Any,
) -> dict[str, Any]:
    """A pod with two containers, and the switches of its behaviour."""
    annotations = {}
    if behaviour:
        annotations[stages.BEHAVIOUR] = behaviour
    if seconds is not None:
        annotations[stages.SECONDS] = str(seconds)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "annotations": annotations,
            **metadata,
        },
        "spec": {
            "containers": [{"name": n, "image": "example.com/image"} for n in ("main", "side")],
        },
    }


def is_ready(obj: dict[str, Any] | None) -> bool:
    """Whether the Ready condition is True."""
    return obj is not None and condition(obj, "Ready").get("status") == "True"


def condition(obj: dict[str, Any], kind: str) -> dict[str, Any]:
    """The condition of this type, or an empty one."""
    conditions: list[dict[str, Any]] = obj.get("status", {}).get("conditions", [])
    return next((c for c in conditions if c["type"] == kind), {})
