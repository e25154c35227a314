"""Sets beside the recorded ones for the real manager: every spelling that may come out different.

What counts is not that they run, but that our controller finds in what the Go manager stored
nothing to write: no field of a template, no revision data, no condition.
"""

from typing import Any

from lws_kueue.api import names
from tests.kit.builders import sets as build
from tests.kit.live import harness

Object = dict[str, Any]

_PROBE = {"httpGet": {"path": "/a?b=1&c=<d>", "port": "http"}, "periodSeconds": 5}


def all_of_them() -> dict[str, Object]:
    """The sets by name; each belongs into a namespace of its name."""
    made = (
        _mounted(),
        _wide(),
        _set("zero", replicas=0),
        _set("percent", replicas=4, rolloutStrategy=_rolling("25%", "50%")),
        _set("none", replicas=2, template={"restartPolicy": "Default"}),
        _excluded(),
        _set("canary", replicas=3, rolloutStrategy=_rolling(1, 1, partition=2)),
        _set("halfway", replicas=4, rolloutStrategy=_rolling(1, 0)),
        _set("scaled", replicas=1),
        _set("updated", replicas=2),
    )
    return {obj["metadata"]["name"]: obj for obj in made}


def between() -> Object:
    """A set that is made while the policies and the webhooks are both there."""
    return _set(
        "between",
        replicas=2,
        size=3,
        template={"subGroupPolicy": {"subGroupSize": 3}},
        networkConfig={"subdomainPolicy": "UniquePerReplica"},
    )


def _set(
    name: str,
    *,
    replicas: int,
    size: int = 2,
    template: Object | None = None,
    pod: Object | None = None,
    **spec: Any,
) -> Object:
    obj = harness.leader_worker_set(name, namespace=name, replicas=replicas, size=size, **spec)
    content = obj["spec"]["leaderWorkerTemplate"]
    content |= template or {}
    content["workerTemplate"]["spec"] |= pod or {}
    return obj


def _rolling(unavailable: int | str, surge: int | str, *, partition: int = 0) -> Object:
    return build.rolling(unavailable=unavailable, surge=surge, partition=partition)


def _mounted() -> Object:
    """The set of upstream's own upgrade test: two groups of two with volume mounts."""
    container = {
        "name": "c",
        "image": harness.IMAGE,
        "volumeMounts": [
            {"name": "scratch", "mountPath": "/scratch"},
            {"name": "info", "mountPath": "/info", "readOnly": True},
            {"name": "writable", "mountPath": "/writable", "readOnly": False},
        ],
    }
    info = {"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}
    volumes = [
        {"name": "scratch", "emptyDir": {}},
        {"name": "writable", "emptyDir": {"medium": "Memory", "sizeLimit": "1024Mi"}},
        {"name": "info", "downwardAPI": info},
    ]
    return _set("mounted", replicas=2, pod={"containers": [container], "volumes": volumes})


def _excluded() -> Object:
    """Subgroups without the leader, groups of a subdomain each, workers after their leader."""
    return _set(
        "excluded",
        replicas=2,
        size=5,
        template={
            "restartPolicy": "RecreateGroupAfterStart",
            "subGroupPolicy": {"subGroupSize": 2, "subGroupPolicyType": "LeaderExcluded"},
        },
        networkConfig={"subdomainPolicy": "UniquePerReplica"},
        startupPolicy="LeaderReady",
    )


def _wide() -> Object:
    """Nulls, zeroes, empty values and spellings that Go writes in another way than they came."""
    obj = _set("wide", replicas=2, pod=_wide_pod())
    leader = {
        "metadata": {"labels": {"a": "b"}, "annotations": {}},
        "spec": {
            "containers": [{"name": "l", "image": harness.IMAGE, "resources": {}}],
            "terminationGracePeriodSeconds": 0,
            "enableServiceLinks": False,
        },
    }
    obj["spec"]["leaderWorkerTemplate"]["leaderTemplate"] = leader
    obj["metadata"]["labels"] = {"team": "x", "app.kubernetes.io/name": "wide"}
    obj["metadata"]["annotations"] = {"note": 'a < b && c > "d"', "empty": ""}
    return obj


def _wide_pod() -> Object:
    term = {
        "labelSelector": {"matchExpressions": [{"key": "a", "operator": "Exists"}]},
        "topologyKey": "example.com/nowhere",
    }
    return {
        "initContainers": [
            {"name": "side", "image": harness.IMAGE, "restartPolicy": "Always", "tty": False},
        ],
        "containers": [_wide_container(), {"name": "d", "image": harness.IMAGE, "env": []}],
        "volumes": [
            {"name": "a", "emptyDir": {}},
            {"name": "b", "configMap": {"name": "b", "optional": True, "defaultMode": 0o640}},
            {"name": "c", "secret": {"secretName": "c", "optional": True}},
            {"name": "d", "projected": {"sources": [{"secret": {"name": "d", "optional": True}}]}},
            {"name": "e", "hostPath": {"path": "/", "type": ""}},
        ],
        "affinity": {
            "podAntiAffinity": {
                "preferredDuringSchedulingIgnoredDuringExecution": [
                    {"weight": 1, "podAffinityTerm": term}
                ]
            }
        },
        "tolerations": [{"key": "k", "operator": "Exists", "effect": "", "value": ""}],
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": {names.SET_NAME: "wide"}},
            }
        ],
        "securityContext": {"runAsNonRoot": False, "fsGroup": 0, "supplementalGroups": []},
        "hostAliases": [{"ip": "127.0.0.2", "hostnames": ["x"]}],
        "dnsConfig": {"options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}]},
        "readinessGates": [],
        "hostNetwork": False,
        "shareProcessNamespace": False,
        "automountServiceAccountToken": False,
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "priorityClassName": "",
    }


def _wide_container() -> Object:
    return {
        "name": "c",
        "image": harness.IMAGE,
        "command": ["sh", "-c", "a && b < c > d \u2028 ü"],
        "args": [],
        "env": [
            {"name": "EMPTY", "value": ""},
            {"name": "NONE"},
            {"name": "TEXT", "value": "<&>"},
            {
                "name": "CPU",
                "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "containerName": "c"}},
            },
            {
                "name": "MEMORY",
                "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}},
            },
            {
                "name": "KEY",
                "valueFrom": {"configMapKeyRef": {"name": "x", "key": "y", "optional": True}},
            },
        ],
        "envFrom": [{"configMapRef": {"name": "x", "optional": True}, "prefix": ""}],
        "ports": [
            {"name": "http", "containerPort": 8080},
            {"containerPort": 8080, "protocol": "UDP", "hostPort": 0},
        ],
        "resources": {
            "limits": {"cpu": "0.5", "memory": "1024Mi"},
            "requests": {"cpu": "100m", "memory": "1e6"},
        },
        "livenessProbe": _PROBE | {"initialDelaySeconds": 0, "timeoutSeconds": 3},
        "readinessProbe": {"tcpSocket": {"port": 8080}, "failureThreshold": 2},
        "startupProbe": {"exec": {"command": ["true"]}},
        "lifecycle": {"preStop": {"sleep": {"seconds": 0}}},
        "securityContext": {
            "privileged": False,
            "capabilities": {"drop": ["ALL"], "add": []},
            "allowPrivilegeEscalation": False,
        },
        "volumeMounts": [
            {"name": "a", "mountPath": "/a", "readOnly": False, "subPath": ""},
            {"name": "b", "mountPath": "/b", "readOnly": True},
        ],
        "stdin": False,
        "terminationMessagePolicy": "",
        "imagePullPolicy": "IfNotPresent",
    }
