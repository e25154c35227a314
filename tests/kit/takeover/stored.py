"""The specs of sets as the webhooks of LWS v0.5 to v0.10 left them in storage."""

from typing import Any

from lws_kueue.api import names
from tests.kit.live import harness

Object = dict[str, Any]

TEMPLATE = "leaderWorkerTemplate"


def stored(*, budget: Object | None = None, **changes: Any) -> Object:
    """The spec of a set of two groups, as the webhook of v0.5 left it, with changes in places."""
    bounds = {"maxUnavailable": 1, "maxSurge": 0, **(budget or {})}
    container = {
        "name": "c",
        "image": harness.IMAGE,
        "resources": {"requests": {"cpu": "100m"}},
    }
    template = {
        "size": 2,
        "restartPolicy": "RecreateGroupOnPodRestart",
        # Go clients of the time wrote this null.
        "workerTemplate": {
            "metadata": {"creationTimestamp": None},
            "spec": {"containers": [container], "terminationGracePeriodSeconds": 0},
        },
        **changes.pop(TEMPLATE, {}),
    }
    return {
        "replicas": 2,
        "startupPolicy": "LeaderCreated",
        "rolloutStrategy": {"type": "RollingUpdate", "rollingUpdateConfiguration": bounds},
        "networkConfig": {"subdomainPolicy": "Shared"},
        TEMPLATE: template,
        **changes,
    }


PARTITION = {"partition": 0}
RETAIN = {"whenDeleted": "Retain", "whenScaled": "Retain"}
# What each version could say that the one before could not; without a webhook nothing was added.
SPECS: dict[str, Object] = {
    "v0-5": stored(**{TEMPLATE: {"size": 4, "subGroupPolicy": {"subGroupSize": 2}}}),
    "v0-6": stored(
        **{
            TEMPLATE: {
                "size": 3,
                "subGroupPolicy": {"subGroupSize": 2, "subGroupPolicyType": "LeaderExcluded"},
            }
        },
        networkConfig={"subdomainPolicy": "UniquePerReplica"},
    ),
    "v0-7": stored(budget=PARTITION, startupPolicy="LeaderReady"),
    "v0-8": stored(
        budget=PARTITION, **{TEMPLATE: {"persistentVolumeClaimRetentionPolicy": RETAIN}}
    ),
    "v0-9": stored(budget=PARTITION, **{TEMPLATE: {"restartPolicy": "RecreateGroupAfterStart"}}),
    "v0-10": stored(budget=PARTITION, **{TEMPLATE: {"restartPolicy": "None"}}),
    "no-webhook": {
        TEMPLATE: {
            "restartPolicy": "Default",
            "workerTemplate": stored()[TEMPLATE]["workerTemplate"],
        }
    },
}
ANNOTATIONS = {"v0-8": {names.RECREATE_GROUP_AFTER_START: "true"}}
