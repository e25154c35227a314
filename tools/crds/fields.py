"""The fields of LeaderWorkerSet itself: types, defaults, bounds and enums (lws-contract 1.1, 1.4).

Defaults stand here wherever a schema can express them. A default in the schema also repairs an
explicit null and an object that was stored without the field, and it needs no policy to be active.
What is left for the policy lws-kueue-defaults is rewriting one value into another.
"""

from typing import Any, Final

from tools.crds import openapi, rules

Schema = dict[str, Any]

POD_TEMPLATE: Final = "io.k8s.api.core.v1.PodTemplateSpec"
VOLUME_CLAIM: Final = "io.k8s.api.core.v1.PersistentVolumeClaim"


def root(document: openapi.OpenAPI) -> Schema:
    """Return the schema of a whole LeaderWorkerSet."""
    return {
        "description": "A LeaderWorkerSet is a number of equal groups of pods. Every group has a "
        "leader and workers, and is created, scaled, updated and restarted as one.",
        "type": "object",
        # Rules look into it, and there is nothing to make of a set without one.
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            # The name has to be in the schema for a rule to be able to point at it.
            "metadata": {"type": "object", "properties": {"name": {"type": "string"}}},
            "spec": _spec(document),
            "status": _status(),
        },
        "x-kubernetes-validations": rules.OBJECT,
    }


def _spec(document: openapi.OpenAPI) -> Schema:
    return {
        "description": "What the groups look like and how many there should be.",
        "type": "object",
        "required": ["leaderWorkerTemplate"],
        "properties": {
            "replicas": {
                "description": "Number of groups. The scale subresource changes it; its selector "
                "selects the leaders.",
                "type": "integer",
                "format": "int32",
                "minimum": 0,
                "maximum": 1000000,
                "default": 1,
            },
            "leaderWorkerTemplate": _leader_worker_template(document),
            "rolloutStrategy": _rollout_strategy(),
            "startupPolicy": {
                "description": "When the workers of a group are created: as soon as the leader "
                "exists (LeaderCreated) or once it is ready (LeaderReady).",
                "type": "string",
                "enum": ["LeaderCreated", "LeaderReady"],
                "default": "LeaderCreated",
            },
            "networkConfig": _network_config(),
        },
        "x-kubernetes-validations": rules.SPEC,
    }


def _pod_template(document: openapi.OpenAPI) -> Schema:
    """Return the schema of a pod template, which always has metadata, if only empty ones.

    Clients find them there because upstream's webhooks write the whole structure back.
    """
    schema = document.structural(POD_TEMPLATE)
    schema["properties"]["metadata"]["default"] = {}
    return schema


def _leader_worker_template(document: openapi.OpenAPI) -> Schema:
    return {
        "description": "The content of a group. A change of any part of it rolls out to all "
        "groups.",
        "type": "object",
        "required": ["workerTemplate"],
        "properties": {
            "leaderTemplate": {
                "description": "Template of the leader. Without it leaders are made from "
                "workerTemplate.",
                **_pod_template(document),
            },
            "workerTemplate": {
                "description": "Template of the workers.",
                **_pod_template(document),
            },
            "size": {
                "description": "Number of pods in a group, the leader included.",
                "type": "integer",
                "format": "int32",
                # Upstream says this only in its webhook.
                "minimum": 1,
                "default": 1,
            },
            "restartPolicy": {
                "description": "What a restarted or deleted pod means for its group: everything "
                "is made anew (RecreateGroupOnPodRestart), the same but only after all pods of the "
                "group have started once (RecreateGroupAfterStart), or only that a lost worker "
                "comes back alone, while a lost leader takes its workers with it (None). Default "
                "is an old name of None and is stored as None.",
                "type": "string",
                "enum": [
                    "Default",
                    "RecreateGroupOnPodRestart",
                    "RecreateGroupAfterStart",
                    "None",
                ],
                "default": "RecreateGroupOnPodRestart",
            },
            "subGroupPolicy": _subgroup_policy(),
            "volumeClaimTemplates": {
                "description": "Volume claims of every pod, leaders and workers alike. "
                "StatefulSets do not allow a change.",
                "type": "array",
                "items": document.structural(VOLUME_CLAIM),
            },
            "persistentVolumeClaimRetentionPolicy": {
                "description": "What happens to volume claims when a StatefulSet is deleted or "
                "scaled down. The values are those of StatefulSets.",
                "type": "object",
                "properties": {
                    "whenDeleted": {"type": "string"},
                    "whenScaled": {"type": "string"},
                },
            },
        },
        "x-kubernetes-validations": rules.LEADER_WORKER_TEMPLATE,
    }


def _subgroup_policy() -> Schema:
    return {
        "description": "Splits every group into subgroups. It can only be given when the set is "
        "created.",
        "type": "object",
        # A policy without a size means nothing; upstream's webhook crashes on it.
        "required": ["subGroupSize"],
        "properties": {
            "subGroupPolicyType": {
                "description": "Whether the leader belongs to the first subgroup (LeaderWorker) "
                "or to none (LeaderExcluded).",
                "type": "string",
                "enum": ["LeaderWorker", "LeaderExcluded"],
                "default": "LeaderWorker",
            },
            "subGroupSize": {
                "description": "Number of pods in a subgroup.",
                "type": "integer",
                "format": "int32",
                "minimum": 1,
            },
        },
    }


def _rollout_strategy() -> Schema:
    return {
        "description": "How a change reaches the groups.",
        "type": "object",
        "required": ["type"],
        # A default has to hold what is required; the rest follows from the defaults inside.
        "default": {"type": "RollingUpdate"},
        "properties": {
            "type": {
                "description": "The only strategy is RollingUpdate.",
                "type": "string",
                "enum": ["RollingUpdate"],
                "default": "RollingUpdate",
            },
            "rollingUpdateConfiguration": {
                "description": "The pace of a rolling update.",
                "type": "object",
                "default": {},
                "properties": {
                    "partition": {
                        "description": "Groups with a lower index keep their revision. It may "
                        "be above replicas.",
                        "type": "integer",
                        "format": "int32",
                        "minimum": 0,
                        "default": 0,
                    },
                    "maxUnavailable": {
                        "description": "How many groups may be away during an update: a number, "
                        "or a percentage of replicas, rounded down.",
                        **openapi.int_or_string(),
                        "default": 1,
                        "x-kubernetes-validations": rules.INT_OR_PERCENT,
                    },
                    "maxSurge": {
                        "description": "How many groups may exist above replicas during an "
                        "update: a number, or a percentage of replicas, rounded up.",
                        **openapi.int_or_string(),
                        "default": 0,
                        "x-kubernetes-validations": rules.INT_OR_PERCENT,
                    },
                },
            },
        },
    }


def _network_config() -> Schema:
    return {
        "description": "The DNS subdomains of the groups.",
        "type": "object",
        "required": ["subdomainPolicy"],
        "default": {"subdomainPolicy": "Shared"},
        "properties": {
            "subdomainPolicy": {
                "description": "One headless Service for the whole set (Shared) or one for each "
                "group (UniquePerReplica).",
                "type": "string",
                "enum": ["Shared", "UniquePerReplica"],
                "default": "Shared",
            },
        },
    }


def _status() -> Schema:
    return {
        "description": "What was observed last.",
        "type": "object",
        "properties": {
            "conditions": {
                "description": "Available, Progressing and UpdateInProgress.",
                "type": "array",
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["type"],
                "items": _condition(),
            },
            "replicas": _count("Groups that exist, ready or not."),
            "readyReplicas": _count("Groups of which every pod is ready."),
            "updatedReplicas": _count("Groups made from the current revision, ready or not."),
            "hpaPodSelector": {
                "description": "Selects the leaders, for autoscalers.",
                "type": "string",
            },
            "observedGeneration": {
                "description": "The generation of the spec that this status was computed from.",
                "type": "integer",
                "format": "int64",
            },
        },
    }


def _count(description: str) -> Schema:
    return {"description": description, "type": "integer", "format": "int32"}


def _condition() -> Schema:
    """Return the schema of a standard condition, with the bounds that all Kubernetes APIs use."""
    name = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
    label = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
    return {
        "type": "object",
        "required": ["lastTransitionTime", "message", "reason", "status", "type"],
        "properties": {
            "type": {
                "type": "string",
                "maxLength": 316,
                "pattern": rf"^({label}(\.{label})*/)?({name})$",
            },
            "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
            "reason": {
                "type": "string",
                "minLength": 1,
                "maxLength": 1024,
                "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
            },
            "message": {"type": "string", "maxLength": 32768},
            "lastTransitionTime": {"type": "string", "format": "date-time"},
            "observedGeneration": {"type": "integer", "format": "int64", "minimum": 0},
        },
    }
