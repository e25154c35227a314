"""The StatefulSets of a set, as upstream makes them (lws-contract 3.2, 3.3 and 3.6).

For sets that Kueue manages the pod templates carry the admission gate, so that every pod is born
gated whoever creates it, and the annotation that makes Kueue's own pod and StatefulSet
integrations leave them alone (kueue-contract 3.2 and 3.6).
"""

from collections.abc import Iterable, Mapping
from typing import Any

from lws_kueue.api import actions, facts, lws, names, owners, quantity, tool_marks
from lws_kueue.controller.observe import ordinals
from lws_kueue.controller.revision import normalise
from lws_kueue.controller.rollout import scaling
from lws_kueue.workload import podsets

_TPU = "google.com/tpu"


def ref(live: facts.StatefulSet) -> actions.Ref:
    """Return the reference of a StatefulSet."""
    return actions.Ref("apps/v1", "StatefulSet", live.meta.namespace, live.meta.name)


def leader(
    owner: lws.LeaderWorkerSet,
    *,
    key: str,
    partition: int,
    replicas: int,
    queue_gated: bool,
    dispatched: bool = False,
) -> dict[str, Any]:
    """Return the leader StatefulSet, as it is applied.

    ``replicas`` and ``partition`` are what the rollout has decided; ``key`` is the revision key.
    ``dispatched`` says that leaders have a gate of ours besides, because groups run elsewhere.
    """
    template = owner.spec.leader_worker_template
    identity = {names.SET_NAME: owner.meta.name, names.WORKER_INDEX: "0"}
    annotations = _group_annotations(owner, owner)
    if owner.spec.network_config.subdomain_policy == "UniquePerReplica":
        annotations[names.SUBDOMAIN_POLICY] = "UniquePerReplica"
    pod_template = _pod_template(
        template.worker_template if template.leader_template is None else template.leader_template,
        labels=identity | {names.REVISION_KEY: key},
        annotations=annotations,
    )
    # Together at least one, as the StatefulSet API asks for.
    bounds = scaling.bounds(owner)
    return _stateful_set(
        owner,
        name=owner.meta.name,
        labels={names.SET_NAME: owner.meta.name, names.REVISION_KEY: key},
        annotations={names.REPLICAS: str(owner.spec.replicas)},
        reference=owners.of_set(owner),
        queue_gated=queue_gated,
        spec={
            "serviceName": owner.meta.name,
            "replicas": replicas,
            "selector": {"matchLabels": identity},
            "updateStrategy": {
                "type": owner.spec.rollout_strategy.type,
                "rollingUpdate": {
                    "partition": partition,
                    "maxUnavailable": bounds.unavailable + bounds.surge,
                },
            },
            "template": _gated(pod_template, dispatched=dispatched)
            if queue_gated
            else pod_template,
            **_storage(owner),
        },
    )


def worker(
    owner: lws.LeaderWorkerSet,
    *,
    leader_pod: facts.Pod,
    revision_lws: lws.LeaderWorkerSet,
    queue_gated: bool,
    topology_value: str | None = None,
) -> dict[str, Any]:
    """Return the StatefulSet of a group's workers, as it is created.

    ``revision_lws`` is the set with the content of the leader's revision: everything that stands
    in a spec comes from there, and only labels and annotations from ``owner`` as it is now.
    ``topology_value`` is what the leader's node has for the exclusive topology, if there is one.
    """
    template = revision_lws.spec.leader_worker_template
    pod = leader_pod.meta
    _, index = ordinals.parent_and_ordinal(pod.name)
    identity = {
        names.SET_NAME: owner.meta.name,
        names.GROUP_INDEX: str(index),
        names.GROUP_KEY: pod.labels.get(names.GROUP_KEY, ""),
    }
    labels = identity | {names.REVISION_KEY: pod.labels.get(names.REVISION_KEY, "")}
    annotations = _group_annotations(owner, revision_lws) | {names.LEADER_NAME: pod.name}
    if _requests_tpus(leader_pod):
        annotations[names.LEADER_REQUESTS_TPUS] = "true"
    pod_template = _pod_template(template.worker_template, labels=labels, annotations=annotations)
    topology = owner.meta.annotations.get(names.EXCLUSIVE_TOPOLOGY)
    if topology and topology_value is not None:
        selector = pod_template["spec"].get("nodeSelector") or {}
        pod_template["spec"]["nodeSelector"] = selector | {topology: topology_value}
    if queue_gated:
        pod_template = _gated(pod_template, index_offset=template.leader_template is not None)
    unique = revision_lws.spec.network_config.subdomain_policy == "UniquePerReplica"
    return _stateful_set(
        owner,
        name=pod.name,
        labels=labels,
        annotations={},
        reference=owners.of_pod(leader_pod),
        queue_gated=queue_gated,
        spec={
            "serviceName": pod.name if unique else owner.meta.name,
            "replicas": template.size - 1,
            "ordinals": {"start": 1},
            "selector": {"matchLabels": identity},
            "template": pod_template,
            **_storage(revision_lws),
        },
    )


def _stateful_set(
    owner: lws.LeaderWorkerSet,
    *,
    name: str,
    labels: Mapping[str, str],
    annotations: Mapping[str, str],
    reference: dict[str, Any],
    queue_gated: bool,
    spec: dict[str, Any],
) -> dict[str, Any]:
    """Return what both kinds of StatefulSet share: the set's metadata, and pods all at once.

    Marks by which a tool knows the set for its own are left out.
    """
    inherited = _without(owner.meta.labels, podsets.MARK_LABELS if queue_gated else ())
    metadata: dict[str, Any] = {
        "name": name,
        "namespace": owner.meta.namespace,
        "labels": {**tool_marks.without(inherited), **labels},
        "ownerReferences": [reference],
    }
    if every := {**tool_marks.without(owner.meta.annotations), **annotations}:
        metadata["annotations"] = every
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": metadata,
        "spec": {"podManagementPolicy": "Parallel", **spec},
    }


def _group_annotations(owner: lws.LeaderWorkerSet, content: lws.LeaderWorkerSet) -> dict[str, str]:
    """Return the annotations of both pod templates: ``content`` gives the spec's part."""
    template = content.spec.leader_worker_template
    annotations = {names.SIZE: str(template.size)}
    if topology := owner.meta.annotations.get(names.EXCLUSIVE_TOPOLOGY):
        annotations[names.EXCLUSIVE_TOPOLOGY] = topology
    policy = template.sub_group_policy
    # A policy without a size says nothing; the API refuses it (lws-contract 1.3).
    if policy is not None and policy.sub_group_size:
        annotations[names.SUBGROUP_POLICY_TYPE] = policy.sub_group_policy_type
        annotations[names.SUBGROUP_SIZE] = str(policy.sub_group_size)
        if topology := owner.meta.annotations.get(names.SUBGROUP_EXCLUSIVE_TOPOLOGY):
            annotations[names.SUBGROUP_EXCLUSIVE_TOPOLOGY] = topology
    return annotations


def _pod_template(
    template: Mapping[str, Any], *, labels: dict[str, str], annotations: dict[str, str]
) -> dict[str, Any]:
    written: dict[str, Any] = normalise.normalise(template, "PodTemplateSpec")
    metadata = written["metadata"]
    metadata["labels"] = metadata.get("labels", {}) | labels
    metadata["annotations"] = metadata.get("annotations", {}) | annotations
    return written


def _gated(
    template: dict[str, Any], *, index_offset: bool = False, dispatched: bool = False
) -> dict[str, Any]:
    """Return a template whose pods wait for Kueue's admission, which the bridge translates.

    That the pods serve, and do not end, is for the built-in integration, should it take over.
    ``index_offset`` says that the pods are the workers of a group whose leader has its own
    template: their index in the pod set is one less than their worker index. Kueue knows that by
    itself where both are in one pod set group.
    """
    metadata, spec = template["metadata"], template["spec"]
    annotations = _without(metadata["annotations"], podsets.MARK_ANNOTATIONS)
    annotations[names.POD_SUSPENDING_PARENT] = names.OUR_SUSPENDING_PARENT
    annotations[names.POD_GROUP_SERVING] = "true"
    if index_offset and names.PODSET_GROUP_NAME not in annotations:
        annotations[names.POD_INDEX_OFFSET] = "1"
    spec = podsets.gated(spec)
    if dispatched:
        own = {"name": names.DISPATCHED_GATE}
        others = [gate for gate in spec["schedulingGates"] if gate != own]
        spec["schedulingGates"] = [others[0], own, *others[1:]]
    return {
        "metadata": metadata
        | {"labels": _without(metadata["labels"], podsets.MARK_LABELS), "annotations": annotations},
        "spec": spec,
    }


def _without(values: Mapping[str, str], keys: Iterable[str]) -> dict[str, str]:
    return {key: value for key, value in values.items() if key not in keys}


def _storage(content: lws.LeaderWorkerSet) -> dict[str, Any]:
    """Return the fields of a StatefulSet spec that say what becomes of volumes."""
    template = content.spec.leader_worker_template
    storage: dict[str, Any] = {}
    if found := claims(content):
        storage["volumeClaimTemplates"] = found
    if template.persistent_volume_claim_retention_policy is not None:
        storage["persistentVolumeClaimRetentionPolicy"] = normalise.normalise(
            template.persistent_volume_claim_retention_policy, "ClaimRetentionPolicy"
        )
    return storage


def claims(content: lws.LeaderWorkerSet) -> list[dict[str, Any]]:
    """Return the claim templates, reduced to what upstream passes on (lws-contract 3.6)."""
    kept = ("accessModes", "storageClassName", "volumeMode")
    reduced = []
    for template in content.spec.leader_worker_template.volume_claim_templates:
        claim = normalise.normalise(template, "PersistentVolumeClaim")
        spec = {field: claim["spec"][field] for field in kept if field in claim["spec"]}
        if claim["spec"]["resources"]:
            spec["resources"] = claim["spec"]["resources"]
        reduced.append(
            {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": {
                    "name": claim["metadata"].get("name", ""),
                    "namespace": content.meta.namespace,
                },
                "spec": spec,
            }
        )
    return reduced


def _requests_tpus(pod: facts.Pod) -> bool:
    """Whether a container of the pod asks for TPUs (lws-contract 2.5)."""
    containers = (*(pod.spec.get("containers") or ()), *(pod.spec.get("initContainers") or ()))
    amounts = (
        ((container.get("resources") or {}).get(kind) or {}).get(_TPU)
        for container in containers
        for kind in ("limits", "requests")
    )
    return any(quantity.canonical(str(amount)) != "0" for amount in amounts if amount is not None)
