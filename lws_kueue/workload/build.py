"""The Workload of a group at its creation (kueue-contract 1.8).

It is the one that Kueue's built-in integration would make, so that queues, dashboards, preemption
and MultiKueue see no difference. One annotation is left out, see ``group_mark``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from lws_kueue.api import kueue, lws, names
from lws_kueue.api.reasons import Reason
from lws_kueue.tas import annotations
from lws_kueue.workload import excess, naming, podsets

_POD_PRIORITY_GROUP: Final = "scheduling.k8s.io"
_INT32_MAX: Final = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Options:
    """What Kueue's configuration says about Workloads and cannot be read through the API.

    Our own are ``max_pending``, for so many groups of a set Workloads may wait at a time,
    ``injected_containers``, and ``revision_history_limit``, so many revisions of a set are kept
    that are not in use.
    """

    label_keys_to_copy: frozenset[str] = frozenset()
    annotation_keys_to_copy: frozenset[str] = frozenset()
    short_names: bool = False
    topology: bool = True
    max_pending: int = 500
    injected_containers: excess.Injected = excess.Injected.HOLD
    revision_history_limit: int = 0


@dataclass(frozen=True, slots=True)
class PriorityClasses:
    """Both kinds of priority classes of the cluster, by name."""

    workload: Mapping[str, kueue.WorkloadPriorityClass] = field(default_factory=dict)
    pod: Mapping[str, kueue.PriorityClass] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Priority:
    """A resolved priority, and the class it comes from if it comes from one."""

    value: int
    ref: Mapping[str, str] | None = None

    @property
    def spec(self) -> dict[str, Any]:
        """The fields of a Workload's spec that carry it."""
        if self.ref is None:
            return {"priority": self.value}
        return {"priority": self.value, "priorityClassRef": dict(self.ref)}


def workload(
    owner: lws.LeaderWorkerSet, index: int, *, classes: PriorityClasses, options: Options
) -> dict[str, Any] | Reason:
    """Return the Workload of a group, or what keeps it from being created.

    ``owner`` has the content that the group's pods are made from.
    """
    template = owner.spec.leader_worker_template
    if options.topology and (errors := annotations.validate(owner.spec)):
        return Reason("InvalidTopologyRequest", "; ".join(str(error) for error in errors))
    priority = resolve_priority(owner, index, classes=classes)
    if isinstance(priority, Reason):
        return priority
    meta = owner.meta
    spec: dict[str, Any] = {
        "podSets": podsets.pod_sets(template, topology=options.topology),
        **priority.spec,
    }
    if owner.queue_name:
        spec["queueName"] = owner.queue_name
    if (seconds := max_execution_seconds(meta.labels)) is not None:
        spec["maximumExecutionTimeSeconds"] = seconds
    return {
        "apiVersion": names.KUEUE_API_VERSION,
        "kind": "Workload",
        "metadata": {
            "namespace": meta.namespace,
            "name": naming.of_group(meta, index, short=options.short_names),
            "finalizers": [names.WORKLOAD_FINALIZER],
            "labels": _labels(owner, options),
            "annotations": _annotations(owner, index, options),
            "ownerReferences": [reference(owner)],
        },
        "spec": spec,
    }


def reference(owner: lws.LeaderWorkerSet) -> dict[str, Any]:
    """Return the owner reference of a set's Workloads.

    It is no controller reference: Kueue takes a Workload that has one for another integration's
    (kueue-contract 8.3 item 16).
    """
    return {
        "apiVersion": names.LWS_API_VERSION,
        "kind": names.LWS_KIND,
        "name": owner.meta.name,
        "uid": owner.meta.uid,
    }


def _labels(owner: lws.LeaderWorkerSet, options: Options) -> dict[str, str]:
    labels = owner.meta.labels
    copied = {key: value for key, value in labels.items() if key in options.label_keys_to_copy}
    return copied | {names.JOB_UID: owner.meta.uid}


def _annotations(owner: lws.LeaderWorkerSet, index: int, options: Options) -> dict[str, str]:
    given = owner.meta.annotations
    copied = {
        key: value
        for key, value in given.items()
        if key.startswith(names.PROVISIONING_REQUEST_PREFIX)
        or key in options.annotation_keys_to_copy
    }
    if gated_by := given.get(names.ADMISSION_GATED_BY):
        copied[names.ADMISSION_GATED_BY] = gated_by
    return copied | {
        names.JOB_OWNER_GVK: names.JOB_OWNER_GVK_VALUE,
        names.JOB_OWNER_NAME: owner.meta.name,
        names.COMPONENT_WORKLOAD_INDEX: str(index),
    }


def max_execution_seconds(labels: Mapping[str, str]) -> int | None:
    """Return the limit in seconds that the label sets; a value that makes no sense sets none."""
    try:
        seconds = int(labels.get(names.MAX_EXEC_TIME_SECONDS, ""))
    except ValueError:
        return None
    return seconds if 0 < seconds <= _INT32_MAX else None


def resolve_priority(
    owner: lws.LeaderWorkerSet, index: int, *, classes: PriorityClasses
) -> Priority | Reason:
    """Return the priority of a group.

    The set's own class comes first, then the class that the first template with one names, then
    the cluster's default class. The group is only named in the message of what is missing.
    """
    if name := owner.meta.labels.get(names.PRIORITY_CLASS):
        own = classes.workload.get(name)
        if own is None:
            return _missing("WorkloadPriorityClass", name, owner, index)
        ref = {"group": names.KUEUE_GROUP, "kind": "WorkloadPriorityClass", "name": name}
        return Priority(own.value, ref)
    if name := _template_class(owner.spec.leader_worker_template):
        named = classes.pod.get(name)
        if named is None:
            return _missing("PriorityClass", name, owner, index)
        return _from_pod_class(named)
    # Two defaults are a transient mistake of the cluster; Kueue takes the lower one.
    defaults = [found for found in classes.pod.values() if found.global_default]
    if not defaults:
        return Priority(0)
    return _from_pod_class(min(defaults, key=lambda found: (found.value, found.meta.name)))


def _from_pod_class(found: kueue.PriorityClass) -> Priority:
    ref = {"group": _POD_PRIORITY_GROUP, "kind": "PriorityClass", "name": found.meta.name}
    return Priority(found.value, ref)


def _template_class(template: lws.LeaderWorkerTemplate) -> str:
    for pods in (template.leader_template, template.worker_template):
        if name := ((pods or {}).get("spec") or {}).get("priorityClassName"):
            return str(name)
    return ""


def _missing(kind: str, name: str, owner: lws.LeaderWorkerSet, index: int) -> Reason:
    message = f"{kind} {name!r} does not exist: group {index} of {owner.meta.name} waits for it"
    return Reason(f"{kind}NotFound", message)
