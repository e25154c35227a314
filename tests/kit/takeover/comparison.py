"""Brings recorded and live objects into one form, so that what is left is a real difference.

Replaced by names: uids, and what derives from them (a Workload's name, the group and subgroup
keys, which are opaque to clients), and the places that a scheduler chose. Removed: what only the
API server decides. Every other difference that is allowed stands in ``ALLOWED``, or for
queue-managed sets in ``MARK_LABELS``, ``MARK_ANNOTATIONS`` and ``ALLOWED_QUEUED``, with its reason.
"""

import copy
import re
from collections.abc import Callable, Iterable
from typing import Any

from lws_kueue.api import names

Object = dict[str, Any]

# Marks that only Kueue's built-in integration needs (README of the recordings). Ours has another
# value for pod-suspending-parent, and puts pod-index-offset on what it renders only.
MARK_LABELS = frozenset({names.QUEUE_NAME, names.PRIORITY_CLASS, names.KUEUE_PREFIX + "managed"})
MARK_ANNOTATIONS = frozenset(
    names.KUEUE_PREFIX + name
    for name in (
        "pod-suspending-parent",
        "pod-group-serving",
        "pod-group-name",
        "pod-group-total-count",
        "prebuilt-workload-name",
        "role-hash",
        "pod-index-offset",
    )
)


# The node label that the recorded set of exclusive placement names.
RACK = "cloud.provider.com/topology-rack"
HOSTNAME = "kubernetes.io/hostname"

_SERVER_MADE = ("resourceVersion", "creationTimestamp", "managedFields", "generation", "selfLink")


def _without_marks(meta: Object, *, labels: bool = True) -> None:
    for field, marks in (("labels", MARK_LABELS), ("annotations", MARK_ANNOTATIONS)):
        if field == "labels" and not labels:
            continue
        kept = {k: v for k, v in (meta.get(field) or {}).items() if k not in marks}
        meta.pop(field, None)
        if kept:
            meta[field] = kept


def _templates(obj: Object) -> Iterable[Object]:
    """The pod templates in an object, wherever its kind has them."""
    spec = obj.get("spec") or {}
    if obj["kind"] == "StatefulSet":
        yield spec["template"]
    if obj["kind"] == "Workload":
        yield from (podset["template"] for podset in spec["podSets"])
    if obj["kind"] == "ControllerRevision":
        spec = obj["data"]["spec"]
    if "leaderWorkerTemplate" in spec:
        template = spec["leaderWorkerTemplate"]
        yield from (template[n] for n in ("leaderTemplate", "workerTemplate") if n in template)


def _clean_pod(obj: Object) -> None:
    obj.pop("status", None)
    spec = obj["spec"]
    # Where a pod lands is the scheduler's business, and Kueue's; that it landed is ours.
    spec["nodeName"] = bool(spec.get("nodeName"))
    if HOSTNAME in spec.get("nodeSelector", {}):
        spec["nodeSelector"][HOSTNAME] = "<host>"
    volumes = spec.get("volumes") or []
    spec["volumes"] = [v for v in volumes if not v["name"].startswith("kube-api-access-")]
    for container in spec["containers"]:
        mounts = container.get("volumeMounts") or []
        container["volumeMounts"] = [
            m for m in mounts if not m["name"].startswith("kube-api-access-")
        ]


def _clean_workload(obj: Object) -> None:
    """Hide which host Kueue chose; the tests compare it with what the pods got."""
    for assignment in obj["status"].get("admission", {}).get("podSetAssignments", ()):
        for part in assignment.get("topologyAssignment", {}).get("slices", ()):
            for level in part["valuesPerLevel"]:
                level["universal"] = "<host>"


def _clean_status(obj: Object) -> None:
    status, meta = obj.get("status") or {}, obj["metadata"]
    # How often one was written is not compared, but that what is there has been seen.
    seen = status.get("observedGeneration")
    if obj["kind"] == "StatefulSet" and seen == meta.get("generation", seen):
        status.pop("observedGeneration", None)
    for condition in (obj.get("status") or {}).get("conditions") or ():
        condition.pop("lastTransitionTime", None)


def _zero_counters_removed(obj: Object) -> None:
    """ALLOWED: the status of our sets says 0 where Go leaves the counter out.

    To a client of the API both are the same, and 0 is plainer to a reader.
    """
    if obj["kind"] == names.LWS_KIND:
        for counter in _COUNTERS:
            if (obj.get("status") or {}).get(counter) == 0:
                del obj["status"][counter]


_COUNTERS = ("readyReplicas", "replicas", "updatedReplicas")


def _gates_removed(obj: Object) -> None:
    """ALLOWED: our StatefulSet templates carry the admission gate that Kueue's webhook adds."""
    if obj["kind"] == "StatefulSet":
        spec = obj["spec"]["template"]["spec"]
        gates = [g for g in spec.pop("schedulingGates", []) if g["name"] != names.ADMISSION_GATE]
        if gates:
            spec["schedulingGates"] = gates


def _pod_owners_removed(obj: Object) -> None:
    """ALLOWED: Kueue's pod integration makes every pod an owner of the Workload.

    The bridge does without that integration (kueue-contract 8.3 item 16).
    """
    if obj["kind"] == "Workload":
        refs = obj["metadata"]["ownerReferences"]
        obj["metadata"]["ownerReferences"] = [r for r in refs if r["kind"] != "Pod"]


def _finalizer_removed(obj: Object) -> None:
    """ALLOWED: our Workloads keep the finalizer that they are created with (kueue-contract 1.8).

    In the recordings it is gone: Kueue's pod integration takes it off in a moment in which the
    group has no pods, and nothing puts it back (kueue-contract 7.2 item 7).
    """
    if obj["kind"] == "Workload":
        kept = [f for f in obj["metadata"].pop("finalizers", []) if f != names.WORKLOAD_FINALIZER]
        if kept:
            obj["metadata"]["finalizers"] = kept


def _group_mark_removed(obj: Object) -> None:
    """ALLOWED: our Workloads lack the mark of pod groups while the bridge looks after them.

    Kueue's pod integration takes the finalizer off Workloads with it whose pods are in no pod
    group, whenever it sees one (``lws_kueue/workload/group_mark.py``).
    """
    if obj["kind"] == "Workload":
        obj["metadata"]["annotations"].pop(names.IS_GROUP_WORKLOAD, None)


def _claim_status_removed(obj: Object) -> None:
    """ALLOWED: upstream's webhook writes an empty status into the claim templates of a set.

    It is what becomes of a set that a Go program reads and writes; it means nothing, and the
    revision data, whose bytes count, have it with us as well.
    """
    if obj["kind"] == names.LWS_KIND:
        for claim in obj["spec"]["leaderWorkerTemplate"].get("volumeClaimTemplates") or ():
            if claim.get("status") == {}:
                del claim["status"]


ALLOWED: tuple[Callable[[Object], None], ...] = (_zero_counters_removed, _claim_status_removed)
ALLOWED_QUEUED: tuple[Callable[[Object], None], ...] = (
    _gates_removed,
    _pod_owners_removed,
    _finalizer_removed,
    _group_mark_removed,
)


def clean(objects: Iterable[Object], *, marks: bool) -> list[Object]:
    """Remove what the server made and what may differ; with ``marks`` of a queue-managed set."""
    result = []
    for original in objects:
        obj = copy.deepcopy(original)
        meta = obj["metadata"]
        _clean_status(obj)
        for field in _SERVER_MADE:
            meta.pop(field, None)
        if obj["kind"] == "Pod":
            _clean_pod(obj)
        if obj["kind"] == "Workload":
            _clean_workload(obj)
        for allowed in ALLOWED:
            allowed(obj)
        if marks:
            if obj["kind"] in ("StatefulSet", "Pod"):
                _without_marks(meta)
            for template in _templates(obj):
                _without_marks(template.setdefault("metadata", {}))
            for allowed in ALLOWED_QUEUED:
                allowed(obj)
        result.append(obj)
    return result


def _stable_name(obj: Object) -> str:
    """What tells an object from others of its kind without a hash in it."""
    meta = obj["metadata"]
    if obj["kind"] == "ControllerRevision":
        return str(obj["revision"])
    if obj["kind"] == "Workload":
        return str(meta["annotations"][names.COMPONENT_WORKLOAD_INDEX])
    return str(meta["name"])


def _rack(stateful_set: Object) -> str | None:
    """The domain that an exclusive group's leader has landed in, which its workers follow to."""
    selector = stateful_set["spec"]["template"]["spec"].get("nodeSelector") or {}
    return selector.get(RACK)


def _symbols(objects: Iterable[Object], *, queued: bool) -> dict[str, str]:
    """Values that differ from cluster to cluster, and the names that stand for them."""
    symbols: dict[str, str] = {}
    for obj in objects:
        meta, kind = obj["metadata"], obj["kind"]
        if meta.get("uid"):
            symbols[meta["uid"]] = f"<uid of {kind} {_stable_name(obj)}>"
        labels = meta.get("labels") or {}
        if kind == "Workload":
            index = meta["annotations"][names.COMPONENT_WORKLOAD_INDEX]
            symbols[meta["name"]] = f"<Workload of group {index}>"
        if names.GROUP_KEY in labels:
            symbols[labels[names.GROUP_KEY]] = f"<key of group {labels[names.GROUP_INDEX]}>"
        if names.SUBGROUP_KEY in labels:
            subgroup = f"{labels[names.GROUP_INDEX]}.{labels[names.SUBGROUP_INDEX]}"
            symbols[labels[names.SUBGROUP_KEY]] = f"<key of subgroup {subgroup}>"
        # The StatefulSet controller's hash of a template that holds a group key, or our gate.
        is_worker_set = kind == "StatefulSet" and names.GROUP_INDEX in labels
        if is_worker_set or (kind == "StatefulSet" and queued):
            for field in ("currentRevision", "updateRevision"):
                if field in obj["status"]:
                    symbols[obj["status"][field]] = f"<revision of StatefulSet {meta['name']}>"
        if is_worker_set and (rack := _rack(obj)):
            symbols[rack] = f"<rack of group {labels[names.GROUP_INDEX]}>"
        # The marks are in the templates, hence in the recorded revision's hash.
        if queued and kind == "ControllerRevision" and names.REVISION_KEY in labels:
            symbols[labels[names.REVISION_KEY]] = "<revision key>"
    return symbols


def symbolic(objects: list[Object], *, queued: bool) -> dict[str, Object]:
    """Return the objects by kind and name, with symbols in place of what differs."""
    symbols = _symbols(objects, queued=queued)
    # Longer values first: a name may contain a hash that has a symbol of its own.
    pattern = re.compile("|".join(re.escape(s) for s in sorted(symbols, key=len, reverse=True)))

    def replace(value: Any) -> Any:
        if isinstance(value, str):
            return pattern.sub(lambda match: symbols[match[0]], value)
        if isinstance(value, list):
            return [replace(item) for item in value]
        if isinstance(value, dict):
            return {replace(key): replace(item) for key, item in value.items()}
        return value

    return {
        f"{obj['kind']} {obj['metadata']['name']}": obj
        for obj in (replace(original) for original in objects)
    }


def in_namespace(objects: Iterable[Object], namespace: str) -> list[Object]:
    """Return recorded objects as if they had been made in another namespace than default."""
    result = []
    for original in objects:
        obj = copy.deepcopy(original)
        obj["metadata"]["namespace"] = namespace
        if obj["kind"] == "StatefulSet":
            for claim in obj["spec"].get("volumeClaimTemplates") or ():
                claim["metadata"]["namespace"] = namespace
        if obj["kind"] == "Pod":
            for container in obj["spec"]["containers"]:
                for variable in container.get("env") or ():
                    if variable["name"] == "LWS_LEADER_ADDRESS":
                        host = variable["value"].rpartition(".")[0]
                        variable["value"] = f"{host}.{namespace}"
        result.append(obj)
    return result


def differences(recorded: Any, found: Any, *, path: str = "") -> list[str]:
    """Return one line for every place in which two values differ."""
    if isinstance(recorded, dict) and isinstance(found, dict):
        lines = []
        for key in sorted({*recorded, *found}):
            lines += differences(
                recorded.get(key, _NOTHING), found.get(key, _NOTHING), path=f"{path}.{key}"
            )
        return lines
    if isinstance(recorded, list) and isinstance(found, list) and len(recorded) == len(found):
        pairs = zip(recorded, found, strict=True)
        return [
            line
            for index, (one, other) in enumerate(pairs)
            for line in differences(one, other, path=f"{path}[{index}]")
        ]
    return [] if recorded == found else [f"{path}: recorded {recorded!r}, found {found!r}"]


class _Nothing:
    def __repr__(self) -> str:
        return "nothing"


_NOTHING = _Nothing()
