"""What others do to a pod after its identity: additions are let through, losses are not (5.4)."""

import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from lws_kueue_lab.sandbox import client

from lws_kueue.api import names
from tests.kit.admission import support

Object = dict[str, Any]

WHAT = "others.lws-kueue.dev/what"

# Policies run in no particular order. If this one comes before the identity, it leaves a note and
# is called again, because another policy changed the pod after it.
PATCHES = f"""
  !object.spec.containers.exists(c, c.?env.orValue([]).size() >= 3) ? [
    JSONPatch{{op: "add", path: "/metadata/annotations/note", value: "early"}}
  ] :
  object.metadata.annotations[?"{WHAT}"].orValue("") == "add" ? (
    object.spec.containers.exists(c, c.name == "mesh") ? [] : [
      JSONPatch{{
        op: "add", path: "/spec/containers/-", value: {{"name": "mesh", "image": "mesh"}}
      }},
      JSONPatch{{
        op: "add", path: "/spec/containers/0/env/0", value: {{"name": "MESH", "value": "1"}}
      }}
    ]
  ) :
  object.metadata.annotations[?"{WHAT}"].orValue("") == "subgroup" ? (
    "{names.SUBGROUP_KEY}" in object.metadata.labels ? [
      JSONPatch{{
        op: "remove", path: "/metadata/labels/" + jsonpatch.escapeKey("{names.SUBGROUP_KEY}")
      }}
    ] : []
  ) :
  object.metadata.annotations[?"{WHAT}"].orValue("") == "placement" ? (
    has(object.spec.affinity) ? [JSONPatch{{op: "remove", path: "/spec/affinity"}}] : []
  ) :
  object.metadata.annotations[?"{WHAT}"].orValue("") == "variables" ? [
    JSONPatch{{
      op: "replace", path: "/spec/containers/0/env",
      value: object.spec.containers[0].env.filter(e, !e.name.startsWith("TPU_"))
    }}
  ] : []
"""


def policy(namespace: str) -> list[Object]:
    """Return a policy that does to pods what their annotation says, and its binding.

    It stands for the webhooks of service meshes and clouds, which run after all policies, and for
    an older version of our own policy, which gives a pod less.
    """
    name = f"zz-others-{namespace}"
    spec = {
        "reinvocationPolicy": "IfNeeded",
        "matchConstraints": {
            "resourceRules": [
                {
                    "apiGroups": [""],
                    "apiVersions": ["v1"],
                    "operations": ["CREATE"],
                    "resources": ["pods"],
                }
            ]
        },
        "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": PATCHES}}],
    }
    here = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}
    return [
        {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": kind,
            "metadata": {"name": name},
            "spec": spec,
        }
        for kind, spec in (
            ("MutatingAdmissionPolicy", spec),
            ("MutatingAdmissionPolicyBinding", {"policyName": name, "matchResources": here}),
        )
    ]


@pytest.fixture(scope="module")
def changed(installed: client.Client) -> Iterator[support.Pods]:
    """Pods of a namespace in which somebody else changes them."""
    namespace = f"others-{secrets.token_hex(3)}"
    installed.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    installed.wait_for(
        "v1", "ServiceAccount", "default", lambda found: found is not None, namespace=namespace
    )
    pods = support.Pods(installed, namespace)
    for obj in policy(namespace):
        installed.apply(obj)

    def active() -> bool:
        stored = pods.accept(pods.leader("test-1", annotations={WHAT: "add"}))
        return len(stored["spec"]["containers"]) == 2

    support.eventually(active, what="the other policy is active")
    yield pods
    for obj in policy(namespace):
        installed.delete(obj["apiVersion"], obj["kind"], obj["metadata"]["name"])
    installed.delete("v1", "Namespace", namespace)


def leader(pods: support.Pods, what: str) -> Object:
    """Return a leader that is promised everything there is."""
    annotations = {
        names.SUBGROUP_SIZE: "2",
        names.EXCLUSIVE_TOPOLOGY: "rack",
        names.SUBGROUP_EXCLUSIVE_TOPOLOGY: "host",
        WHAT: what,
    }
    spec = {"containers": [support.tpu_container()]}
    return pods.leader("test-1", size="4", annotations=annotations, spec=spec)


def test_what_others_add_to_a_pod_afterwards_is_no_reason_to_refuse_it(
    changed: support.Pods,
) -> None:
    own, mesh = changed.accept(leader(changed, "add"))["spec"]["containers"]
    assert [name for name, _ in support.env(own)][:2] == ["MESH", "LWS_LEADER_ADDRESS"]
    assert "TPU_WORKER_ID" in dict(support.env(own))
    assert "env" not in mesh


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("subgroup", "the pod got no subgroup"),
        ("placement", "the pod got no exclusive placement"),
        ("variables", "got no TPU variables"),
    ],
)
def test_a_pod_without_what_it_is_promised_is_refused(
    changed: support.Pods, what: str, text: str
) -> None:
    with support.refused() as refusal:
        changed.accept(leader(changed, what))
    assert "'lws-kueue-pod-identity-rules'" in refusal.message
    assert text in refusal.message


def test_a_pod_that_is_promised_less_needs_less(changed: support.Pods) -> None:
    for what in ("subgroup", "placement", "variables"):
        stored = changed.accept(changed.leader("test-1", annotations={WHAT: what}))
        assert names.SUBGROUP_KEY not in support.labels(stored)
