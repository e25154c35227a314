"""Kueue's built-in integration as far as the controller can see whether it is on: its webhook.

A policy of the API server marks new and changed sets that have a queue, as that webhook does
(kueue-contract 1.2), so that no real Kueue is needed.
"""

from typing import Any

from lws_kueue_lab import sandbox

from lws_kueue.api import lws, names
from lws_kueue.controller.admission import managed_by
from tests.kit.admission import support

Object = dict[str, Any]

NAME = "built-in.lws-kueue.dev"

_PATCH = f"""
  (has(object.spec.leaderWorkerTemplate.workerTemplate.metadata) ? [] : [
    JSONPatch{{op: "add", path: "/spec/leaderWorkerTemplate/workerTemplate/metadata", value: {{}}}}
  ]) + (object.spec.leaderWorkerTemplate.workerTemplate.?metadata.?annotations.hasValue() ? [] : [
    JSONPatch{{
      op: "add", path: "/spec/leaderWorkerTemplate/workerTemplate/metadata/annotations", value: {{}}
    }}
  ]) + [
    JSONPatch{{
      op: "add",
      path: "/spec/leaderWorkerTemplate/workerTemplate/metadata/annotations/"
        + jsonpatch.escapeKey("{names.POD_SUSPENDING_PARENT}"),
      value: "{names.KUEUE_LWS_FRAMEWORK}"
    }}
  ]
"""


def objects() -> tuple[Object, Object]:
    """Return the policy and its binding."""
    head = {"apiVersion": "admissionregistration.k8s.io/v1"}
    rule = {
        "apiGroups": [names.LWS_GROUP],
        "apiVersions": [names.LWS_VERSION],
        "operations": ["CREATE", "UPDATE"],
        "resources": [names.LWS_PLURAL],
    }
    spec = {
        "failurePolicy": "Fail",
        "reinvocationPolicy": "Never",
        "matchConstraints": {
            "objectSelector": {
                "matchExpressions": [{"key": names.QUEUE_NAME, "operator": "Exists"}]
            },
            "resourceRules": [rule],
        },
        "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": _PATCH}}],
    }
    policy = head | {
        "kind": "MutatingAdmissionPolicy",
        "metadata": {"name": NAME},
        "spec": spec,
    }
    binding = head | {
        "kind": "MutatingAdmissionPolicyBinding",
        "metadata": {"name": NAME},
        "spec": {"policyName": NAME},
    }
    return policy, binding


def switch_on(cluster: sandbox.Sandbox) -> None:
    """Mark sets from now on."""
    for obj in objects():
        cluster.api.apply(obj)
    container = {"name": "c", "image": "image"}
    probe = {
        "apiVersion": names.LWS_API_VERSION,
        "kind": names.LWS_KIND,
        "metadata": {
            "name": "probe",
            "namespace": "default",
            "labels": {names.QUEUE_NAME: "queue"},
        },
        "spec": {
            "leaderWorkerTemplate": {
                "size": 1,
                "workerTemplate": {"spec": {"containers": [container]}},
            }
        },
    }
    # A policy takes a moment to become active.
    support.eventually(
        lambda: managed_by.is_marked(
            lws.LeaderWorkerSet.of(cluster.api.create(probe, dry_run=True))
        ),
        what="queue-managed sets are marked",
    )
