"""Pod sets of a group's Workload, from the templates as the user stored them (kueue-contract 1.9).

Kueue computes quota and placement from these templates, so they are the user's: what the
controller adds when it renders pods is left out, and so is every mark by which Kueue's own
integrations recognise their pods. One such mark in a Workload would say that it is theirs.
"""

import copy
from collections.abc import Mapping
from typing import Any, Final

from lws_kueue.api import lws, names
from lws_kueue.tas import annotations

MAIN: Final = "main"
LEADER: Final = "leader"
WORKER: Final = "worker"

# Both prefixes of keys that the controller itself puts on pods start with this.
_OWN_DOMAIN: Final = names.LWS_PREFIX.removesuffix("/")

# Labels and annotations by which Kueue's built-in integrations take hold of pods. They may stand in
# stored templates that a built-in integration has marked before.
MARK_LABELS: Final = frozenset({names.QUEUE_NAME, names.PRIORITY_CLASS, names.MANAGED})
MARK_ANNOTATIONS: Final = frozenset(
    {
        names.POD_SUSPENDING_PARENT,
        names.POD_GROUP_SERVING,
        names.POD_GROUP_NAME,
        names.POD_GROUP_TOTAL_COUNT,
        names.PREBUILT_WORKLOAD_NAME,
        names.ROLE_HASH,
        names.POD_INDEX_OFFSET,
    }
)


def pod_sets(template: lws.LeaderWorkerTemplate, *, topology: bool = True) -> list[dict[str, Any]]:
    """Return the pod sets of one group, in the order that Kueue's integration gives them.

    ``topology`` is False for a Kueue without topology-aware scheduling.

    Raises:
        ValueError: a topology annotation cannot be read.
    """
    if template.leader_template is None:
        return [_pod_set(MAIN, template.worker_template, template.size, topology=topology)]
    return [
        _pod_set(LEADER, template.leader_template, 1, topology=topology),
        _pod_set(WORKER, template.worker_template, template.size - 1, topology=topology),
    ]


def gated(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return a pod's spec with the gate of Kueue's admission before all others."""
    admission = {"name": names.ADMISSION_GATE}
    others = [gate for gate in spec.get("schedulingGates") or () if gate != admission]
    return {**spec, "schedulingGates": [admission, *others]}


def _pod_set(
    name: str, template: Mapping[str, Any], count: int, *, topology: bool
) -> dict[str, Any]:
    result: dict[str, Any] = {"name": name, "count": count, "template": _template(template)}
    if not topology:
        return result
    request = annotations.request(
        annotations.annotations_of(template),
        pod_index_label=None if name == LEADER else names.WORKER_INDEX,
        groupable=name != MAIN,
    )
    if request is not None:
        result["topologyRequest"] = request
    return result


def _template(template: Mapping[str, Any]) -> dict[str, Any]:
    # Kueue refuses any other metadata than labels and annotations in a pod set template.
    meta = template.get("metadata") or {}
    kept = {
        "labels": _kept(meta.get("labels"), marks=MARK_LABELS),
        "annotations": _kept(meta.get("annotations"), marks=MARK_ANNOTATIONS),
    }
    result: dict[str, Any] = {}
    if metadata := {key: values for key, values in kept.items() if values}:
        result["metadata"] = metadata
    spec = copy.deepcopy(dict(template.get("spec") or {}))
    for container in (*(spec.get("containers") or ()), *(spec.get("initContainers") or ())):
        _collapse_env(container)
    result["spec"] = spec
    return result


def _kept(values: Mapping[str, str] | None, *, marks: frozenset[str]) -> dict[str, str]:
    return {
        key: value
        for key, value in (values or {}).items()
        if key not in marks and (key == names.SET_NAME or not key.startswith(_OWN_DOMAIN))
    }


def _collapse_env(container: dict[str, Any]) -> None:
    """Keep the last of several variables of one name, in the place of the first.

    The Workload's schema treats variables as a map by name and refuses a second one.
    """
    by_name = {variable["name"]: variable for variable in container.pop("env", None) or ()}
    if by_name:
        container["env"] = list(by_name.values())
