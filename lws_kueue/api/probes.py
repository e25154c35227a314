"""Dry-run requests that show whether the admission policies of `deploy/api` are active.

An API server acts on a new policy a moment after it has stored it, and there is no status that says
when. The only proof is a request that the policy has to change or refuse. Everything here is data
and judgement; sending the requests is the caller's.

A probe proves that some version of a policy is active: after an upgrade the answers hold at once,
although the new text may need another moment.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from lws_kueue.api import names

_NAME: Final = "lws-kueue-probe"
_NAMESPACE: Final = "default"


@dataclass(frozen=True, slots=True)
class Probe:
    """A create request that has to be sent with ``dryRun=All``, and what proves the policy.

    policy: the name of the policy that the request is meant for.
    path: where to POST, with the query.
    body: the object.
    changed: the path to a field of the answer and the value that the policy gives it; without it
        the policy has to refuse the request.
    """

    policy: str
    path: str
    body: dict[str, Any]
    changed: tuple[tuple[str, ...], str] | None = None

    def holds(self, *, status: int, answer: Mapping[str, Any]) -> bool:
        """Whether this answer of the API server (HTTP status, JSON) proves the policy active."""
        if self.changed is None:
            return status >= 400 and f"'{self.policy}'" in str(answer.get("message", ""))
        path, expected = self.changed
        value: Any = answer
        for key in path:
            value = value.get(key) if isinstance(value, Mapping) else None
        return status < 300 and value == expected


def probes(*, gang_scheduling: str | None = None) -> tuple[Probe, ...]:
    """Return a probe for each policy that acts on new objects, to be sent into `default`.

    `gang_scheduling` names a scheduler whose policy is installed, too.
    """
    return (*_always(), *(_volcano() if gang_scheduling == "volcano" else ()))


def _always() -> tuple[Probe, ...]:
    return (
        _set(
            policy="lws-kueue-defaults",
            restart_policy="Default",
            changed=(("spec", "leaderWorkerTemplate", "restartPolicy"), "None"),
        ),
        # Placement of subgroups without subgroups breaks a rule.
        _set(
            policy="lws-kueue-rules",
            annotations={names.SUBGROUP_EXCLUSIVE_TOPOLOGY: "probe"},
        ),
        _set(
            policy="lws-kueue-queue-rules",
            annotations={names.ADMISSION_GATED_BY: "probe"},
        ),
        _set(
            policy="lws-kueue-topology-rules",
            template_annotations={names.PODSET_UNCONSTRAINED_TOPOLOGY: "probe"},
        ),
        _leader(
            policy="lws-kueue-pod-identity",
            annotations={names.SIZE: "1"},
            changed=(("metadata", "labels", names.GROUP_INDEX), "0"),
        ),
        # A number that is no size. LWS's own webhook, which may still be there while its sets are
        # taken over, takes it, but would refuse a pod without a size before the policy does.
        _leader(
            policy="lws-kueue-pod-identity-rules",
            annotations={names.SIZE: "-1"},
        ),
        *_guards(),
    )


def _guards() -> tuple[Probe, ...]:
    """What nobody may ask for, not even who installs: to be deleted without what it owns."""
    a_set = _set(policy="lws-kueue-guard-sets")
    a_set.body["metadata"]["labels"] = {names.QUEUE_NAME: _NAME}
    pod = _leader(policy="lws-kueue-guard-pods", annotations={names.SIZE: "1"})
    labels = {names.SET_NAME: _NAME, names.WORKER_INDEX: "0"}
    annotations = {names.POD_SUSPENDING_PARENT: names.OUR_SUSPENDING_PARENT}
    stateful_set = Probe(
        policy="lws-kueue-guard-statefulsets",
        path=f"/apis/apps/v1/namespaces/{_NAMESPACE}/statefulsets?dryRun=All",
        body={
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "metadata": {"name": _NAME, "labels": labels},
            "spec": {
                "replicas": 0,
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels, "annotations": annotations},
                    "spec": pod_spec(),
                },
            },
        },
    )
    for probe in (a_set, pod, stateful_set):
        probe.body["metadata"]["finalizers"] = ["orphan"]
    return a_set, pod, stateful_set


def _volcano() -> tuple[Probe, ...]:
    group = f"{_NAME}-0-"
    probe = _leader(
        policy="lws-kueue-volcano",
        annotations={names.SIZE: "1"},
        changed=(("metadata", "annotations", names.POD_GROUP), group),
    )
    return (probe,)


def _set(
    *,
    policy: str,
    restart_policy: str = "None",
    annotations: Mapping[str, str] | None = None,
    template_annotations: Mapping[str, str] | None = None,
    changed: tuple[tuple[str, ...], str] | None = None,
) -> Probe:
    body = {
        "apiVersion": names.LWS_API_VERSION,
        "kind": names.LWS_KIND,
        "metadata": {"name": _NAME, "annotations": dict(annotations or {})},
        "spec": {
            "replicas": 0,
            "leaderWorkerTemplate": {
                "restartPolicy": restart_policy,
                "workerTemplate": {
                    "metadata": {"annotations": dict(template_annotations or {})},
                    "spec": pod_spec(),
                },
            },
        },
    }
    path = f"/apis/{names.LWS_API_VERSION}/namespaces/{_NAMESPACE}/{names.LWS_PLURAL}?dryRun=All"
    return Probe(policy=policy, path=path, body=body, changed=changed)


def _leader(
    *,
    policy: str,
    annotations: Mapping[str, str],
    changed: tuple[tuple[str, ...], str] | None = None,
) -> Probe:
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"{_NAME}-0",
            "labels": {names.SET_NAME: _NAME, names.WORKER_INDEX: "0"},
            "annotations": dict(annotations),
        },
        "spec": pod_spec(),
    }
    path = f"/api/v1/namespaces/{_NAMESPACE}/pods?dryRun=All"
    return Probe(policy=policy, path=path, body=body, changed=changed)


def pod_spec() -> dict[str, Any]:
    """Return a pod that the strictest pod security standard and a quota on cpu and memory admit."""
    resources = {"cpu": "1m", "memory": "1Mi"}
    return {
        "automountServiceAccountToken": False,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [
            {
                "name": "probe",
                "image": "registry.k8s.io/pause:3.10",
                "resources": {"requests": resources, "limits": resources},
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "capabilities": {"drop": ["ALL"]},
                },
            }
        ],
    }
