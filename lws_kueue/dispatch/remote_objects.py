"""What is made in a worker: the anchor, a group's Workload, and the set of one that runs it.

It is the protocol of Kueue's built-in adapter, once for each group: a Workload under the name that
the worker's Kueue and bridge compute for the set, and a set with the origin's label and UID. Its
pods are born gated by its own templates, so they wait for that Workload whoever serves sets in the
worker (INV-2). A Workload there has no finalizer and belongs to a Lease: its pods own it as well,
and when they are all gone for a moment, garbage collection would take it with its quota.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from lws_kueue.api import actions, apply_diff, derived, kueue, lws, names, tool_marks
from lws_kueue.dispatch import identity, observed, settings
from lws_kueue.workload import podsets

_LEASE: Final = "coordination.k8s.io/v1"
# How a group is admitted. Kueue's integration stamps them on the pods of a set, so that another
# value would restart a group that runs, or be refused while it does; its Workload says it as well.
_OF_KUEUE: Final = (names.QUEUE_NAME, names.PRIORITY_CLASS)
# Of the manager alone: they say how a group is admitted and placed there.
_NOT_COPIED: Final = frozenset({names.ADMISSION_GATED_BY, names.PLACEMENT, names.SAME_CLUSTER_AS})


def set_ref(cluster: str, namespace: str, name: str) -> actions.Ref:
    """Return the reference of a set in a worker."""
    return actions.Ref(names.LWS_API_VERSION, names.LWS_KIND, namespace, name, cluster)


def named_workload(namespace: str, name: str, cluster: str) -> actions.Ref:
    """Return the reference of what may be a Workload in a cluster, "" for the manager's."""
    return actions.Ref(names.KUEUE_API_VERSION, "Workload", namespace, name, cluster)


def workload_ref(workload: kueue.Workload, cluster: str = "") -> actions.Ref:
    """Return the reference of a Workload in a cluster."""
    return named_workload(workload.meta.namespace, workload.meta.name, cluster)


def anchor(manager: identity.Manager, namespace: str) -> dict[str, Any]:
    """Return the Lease that owns our Workloads in a namespace; nobody contends for it."""
    return {
        "apiVersion": _LEASE,
        "kind": "Lease",
        "metadata": {
            "namespace": namespace,
            "name": identity.anchor_name(manager),
            "labels": {names.MULTIKUEUE_ORIGIN: manager.origin},
            "annotations": {names.MANAGER: manager.uid},
        },
        "spec": {"holderIdentity": manager.uid},
    }


def workload(
    manager: identity.Manager,
    group: identity.GroupId,
    *,
    source: kueue.Workload,
    content: lws.LeaderWorkerSet,
    anchor_uid: str,
) -> dict[str, Any]:
    """Return the Workload that a group is offered by; ``source`` is the one on the manager.

    What is admitted there is what the group is made from there, with its topology.
    """
    spec: dict[str, Any] = {
        "podSets": podsets.pod_sets(content.spec.leader_worker_template),
        "queueName": source.spec.queue_name,
        **priority(source),
    }
    if (seconds := source.spec.maximum_execution_time_seconds) is not None:
        spec["maximumExecutionTimeSeconds"] = seconds
    copied = {
        key: value
        for key, value in source.meta.annotations.items()
        if key not in _NOT_COPIED and not tool_marks.is_one(key)
    }
    return {
        "apiVersion": names.KUEUE_API_VERSION,
        "kind": "Workload",
        "metadata": {
            "namespace": group.namespace,
            "name": identity.workload_name(manager, group),
            "labels": identity.labels(manager, group),
            "annotations": copied
            | identity.annotations(manager, group)
            | {
                names.IS_GROUP_WORKLOAD: "true",
                names.JOB_OWNER_GVK: names.JOB_OWNER_GVK_VALUE,
                names.JOB_OWNER_NAME: identity.set_name(manager, group),
                names.COMPONENT_WORKLOAD_INDEX: "0",
                names.ORIGIN_PRIORITY: str(source.spec.priority or 0),
            },
            "ownerReferences": [
                {
                    "apiVersion": _LEASE,
                    "kind": "Lease",
                    "name": identity.anchor_name(manager),
                    "uid": anchor_uid,
                }
            ],
        },
        "spec": spec,
    }


def priority(source: kueue.Workload) -> dict[str, Any]:
    """Return the priority of a Workload, as the spec of another one says it."""
    spec: dict[str, Any] = {"priority": source.spec.priority or 0}
    if (ref := source.spec.priority_class_ref) is not None:
        spec["priorityClassRef"] = {"group": ref.group, "kind": ref.kind, "name": ref.name}
    return spec


def follow_priority(offer: kueue.Workload, source: kueue.Workload, cluster: str) -> actions.Chain:
    """Return the write by which a worker's Workload follows the priority of the manager's.

    What was copied last stands in an annotation: a class of that name may have another value in the
    worker, and what is changed there stays.
    """
    last = offer.meta.annotations.get(names.ORIGIN_PRIORITY)
    if last == str(source.spec.priority or 0) and _class(offer) == _class(source):
        return ()
    annotations = {names.ORIGIN_PRIORITY: str(source.spec.priority or 0)}
    body = {"metadata": {"annotations": annotations}, "spec": priority(source)}
    return (actions.Patch(workload_ref(offer, cluster), body, offer.meta.resource_version),)


def _class(workload: kueue.Workload) -> str:
    ref = workload.spec.priority_class_ref
    return ref.name if ref is not None else ""


@dataclass(frozen=True)
class Asked:
    """What a group's set in a worker is made from: ``content`` is the set at revision ``key``."""

    manager: identity.Manager
    group: identity.GroupId
    content: lws.LeaderWorkerSet
    key: str
    options: settings.Settings


def one_group(asked: Asked) -> dict[str, Any]:
    """Return the set of one replica that runs a group, with the content of its revision."""
    content, group, options = asked.content, asked.group, asked.options
    template = dict(content.stored_spec["leaderWorkerTemplate"])
    for part in ("leaderTemplate", "workerTemplate"):
        if template.get(part) is not None:
            template[part] = _pod_template(template[part], group)
    spec: dict[str, Any] = {
        "replicas": 1,
        "leaderWorkerTemplate": template,
        "startupPolicy": content.spec.startup_policy,
        "rolloutStrategy": {
            "type": "RollingUpdate",
            "rollingUpdateConfiguration": {"partition": 0, "maxUnavailable": 1, "maxSurge": 0},
        },
        "networkConfig": {"subdomainPolicy": content.spec.network_config.subdomain_policy},
    }
    given = content.meta
    return {
        "apiVersion": names.LWS_API_VERSION,
        "kind": names.LWS_KIND,
        "metadata": {
            "namespace": group.namespace,
            "name": identity.set_name(asked.manager, group),
            "labels": _kept(given.labels, options.drop_labels)
            | identity.labels(asked.manager, group),
            "annotations": _kept(given.annotations, options.drop_annotations | _NOT_COPIED)
            | identity.annotations(asked.manager, group)
            | {names.ORIGIN_REVISION: asked.key},
        },
        "spec": spec,
    }


def _kept(values: Mapping[str, str], dropped: frozenset[str]) -> dict[str, str]:
    return {key: value for key, value in tool_marks.without(values).items() if key not in dropped}


def _pod_template(template: Mapping[str, Any], group: identity.GroupId) -> dict[str, Any]:
    """Return a pod template with the gate, and with what the group is called on the manager.

    Marks of Kueue's own integrations would make their pods of these.
    """
    metadata = dict(template.get("metadata") or {})
    metadata["labels"] = {
        key: value
        for key, value in (metadata.get("labels") or {}).items()
        if key not in podsets.MARK_LABELS
    } | {names.ORIGIN_SET: group.set_name, names.ORIGIN_GROUP_INDEX: str(group.index)}
    marked = metadata.pop("annotations", None) or {}
    annotations = {k: v for k, v in marked.items() if k not in podsets.MARK_ANNOTATIONS}
    if annotations:
        metadata["annotations"] = annotations
    return {**template, "metadata": metadata, "spec": podsets.gated(template.get("spec") or {})}


def as_it_was_admitted(live: observed.RemoteSet, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is wanted of a set that is there: by which labels it is admitted stays.

    The Workload that it runs on follows its priority, and has its queue for as long as it lives.
    """
    metadata = wanted["metadata"]
    labels = {
        key: value for key, value in metadata["labels"].items() if key != names.PRIORITY_CLASS
    }
    labels |= {key: live.meta.labels[key] for key in _OF_KUEUE if key in live.meta.labels}
    return {**wanted, "metadata": {**metadata, "labels": labels}}


@derived.once_given
def to_be(live: observed.RemoteSet, asked: Asked) -> dict[str, Any] | None:
    """Return what a set in a worker is to be, None if it has all that we write.

    What others add to it is theirs.
    """
    wanted = as_it_was_admitted(live, one_group(asked))
    covered = apply_diff.covers(live, wanted, manager=names.DISPATCH_FIELD_MANAGER)
    return None if covered else wanted
