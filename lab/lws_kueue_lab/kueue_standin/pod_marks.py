"""What Kueue's pod integration does to a pod on its creation (kueue-contract 1.12).

A pod that names another one as its manager (``pod-suspending-parent``) is held back for that. One
whose owner Kueue manages is left alone. Of the others, those with a queue, their own or the default
one of their namespace, are Kueue's: marked, held back, and kept by a finalizer until Kueue has seen
their end. The stand-in makes no Workloads for these, so they wait for ever.
"""

import copy
import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from lws_kueue.api import names

Json = dict[str, Any]

FINALIZER: Final = names.MANAGED
ROLE_HASH: Final = names.KUEUE_PREFIX + "role-hash"
DEFAULT_QUEUE: Final = "default"
_POD_INDEX_LABEL: Final = names.KUEUE_PREFIX + "pod-group-pod-index"
_POD_INDEX_FROM: Final = names.KUEUE_PREFIX + "pod-group-pod-index-label"

# Owners through which Kueue looks for one that it manages, and those that it does manage.
_MANAGED: Final = frozenset(
    {("batch/v1", "Job"), ("apps/v1", "StatefulSet"), ("apps/v1", "Deployment")}
)
_LWS: Final = (names.LWS_API_VERSION, names.LWS_KIND)
_KNOWN: Final = _MANAGED | {_LWS, ("apps/v1", "ReplicaSet"), ("v1", "Pod")}
_MOST_OWNERS: Final = 10


class OwnerMissingError(Exception):
    """An owner that would have to be looked at does not exist; the pod is refused."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Integration:
    """What Kueue's configuration says about pods.

    - `external`: whether LeaderWorkerSet is named in `externalFrameworks`.
    - `everything`: whether jobs without a queue are managed as well.
    """

    external: bool = True
    everything: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Surroundings:
    """Where to look: an object by apiVersion, kind, namespace and name, and default queues."""

    find: Callable[[str, str, str, str], Json | None]
    has_default_queue: Callable[[str], bool]


def marked(pod: Json, *, namespace: str, integration: Integration, around: Surroundings) -> Json:
    """Return a new pod as Kueue's webhook has it.

    Raises:
        OwnerMissingError: it names an owner that is not there.
    """
    made = copy.deepcopy(pod)
    meta = made["metadata"]
    labels: Json = meta.get("labels") or {}
    annotations: Json = meta.get("annotations") or {}
    if names.POD_SUSPENDING_PARENT not in annotations:
        if _owned_by_managed(pod, namespace, integration, around):
            return pod
        if names.QUEUE_NAME not in labels and around.has_default_queue(namespace):
            labels[names.QUEUE_NAME] = DEFAULT_QUEUE
        if not labels.get(names.QUEUE_NAME) and not integration.everything:
            return pod
        labels[names.MANAGED] = "true"
        meta["finalizers"] = list(dict.fromkeys([*(meta.get("finalizers") or ()), FINALIZER]))
    if _POD_INDEX_FROM in annotations:
        labels[_POD_INDEX_LABEL] = labels.get(annotations[_POD_INDEX_FROM], "")
    annotations.setdefault(ROLE_HASH, _role_hash(made["spec"]))
    meta |= {"labels": labels, "annotations": annotations}
    made["spec"]["schedulingGates"] = _gated(made["spec"])
    return made


def group_of(meta: Mapping[str, Any]) -> str:
    """Return the pod group that a pod's metadata names, "" if it names none."""
    marks = (meta.get("annotations") or {}, meta.get("labels") or {})
    return next((str(m[names.POD_GROUP_NAME]) for m in marks if m.get(names.POD_GROUP_NAME)), "")


def _owned_by_managed(
    pod: Json, namespace: str, integration: Integration, around: Surroundings
) -> bool:
    """Whether one of the controllers above a pod is managed by Kueue, or by somebody it knows."""
    managed = _MANAGED | ({_LWS} if integration.external else set())
    current, found = pod, False
    for _ in range(_MOST_OWNERS):
        ref = _controller_of(current)
        if ref is None or (kind := (ref["apiVersion"], ref["kind"])) not in _KNOWN:
            return found
        parent = around.find(*kind, namespace, ref["name"])
        if parent is None:
            raise OwnerMissingError(f"workload owner not found: {ref['kind']} {ref['name']}")
        if parent["metadata"]["uid"] != ref["uid"]:
            return found
        named = (parent["metadata"].get("labels") or {}).get(names.QUEUE_NAME)
        found = found or (kind in managed and bool(named or integration.everything))
        current = parent
    return found


def _controller_of(obj: Json) -> Json | None:
    refs = obj["metadata"].get("ownerReferences") or ()
    return next((ref for ref in refs if ref.get("controller")), None)


def _gated(spec: Mapping[str, Any]) -> list[Json]:
    gates = [gate["name"] for gate in spec.get("schedulingGates") or ()]
    ours = (names.ADMISSION_GATE, names.TOPOLOGY_GATE)
    return [{"name": name} for name in dict.fromkeys((*gates, *ours))]


def _role_hash(spec: Mapping[str, Any]) -> str:
    """Tell pods of one shape from others; the values are not those that Kueue computes."""
    # A pod without any container is refused by the API server, after all webhooks.
    containers = spec.get("containers") or ()
    asked = [(c.get("resources") or {}).get("requests") for c in containers]
    shape = [asked, spec.get("nodeSelector"), spec.get("affinity"), spec.get("tolerations")]
    text = json.dumps(shape, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]
