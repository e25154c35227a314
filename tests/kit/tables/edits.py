"""Edits of a queue-managed set, and what each does to the Workloads of its groups: plain data.

An edit that changes nothing that Kueue admitted rolls under the Workloads that there are; any
other one has every group admitted anew. The table is used twice: the classification is tested by
itself, and each edit is made on a real control plane.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from lws_kueue.api import names

Json = dict[str, Any]
Change = Callable[[Json], None]

IMAGE: Final = "registry.k8s.io/pause:3.10"

# What has to be there for the edits that name it; e2e makes the same objects.
SPOT_TAINT: Final = {"key": "example.com/spot", "value": "yes", "effect": "NoSchedule"}
GPU: Final = "example.com/gpu"
POD_CLASSES: Final = {"edits-low": 10, "edits-high": 20}
WORKLOAD_CLASS: Final = "edits-queue"
SERVICE_ACCOUNT: Final = "edits"
RUNTIME_CLASS: Final = "edits-heavy"
LIGHT_CLASS: Final = "edits-light"
OVERHEAD: Final = {"cpu": "20m"}
# Of memory alone: where a limit stands for a request, Kueue takes the LimitRange's instead.
DEFAULT_REQUESTS: Final = {"memory": "4Mi"}
CONTAINER_DEFAULTS: Final = {"type": "Container", "defaultRequest": DEFAULT_REQUESTS}
# Labels of nodes: the first has the empty value, the others are levels of a topology.
EMPTY_LABEL: Final = "example.com/edits"
BLOCK: Final = "sandbox.lws-kueue.dev/block"
RACK: Final = "sandbox.lws-kueue.dev/rack"


def nothing(_: Json) -> None:
    """Change nothing."""


@dataclass(frozen=True, slots=True)
class Edit:
    """An edit of the base set, which ``before`` has prepared.

    ``renewed`` says what of the groups needs another admission, in the words of the Workload's
    event, empty where the Workloads stay. ``topology`` asks for a queue whose flavor has one.
    ``completed`` are the edits whose pods get requests that only the cluster knows: from a
    LimitRange or a RuntimeClass. ``played`` is False where no sandbox can run the pods.
    """

    name: str
    change: Change
    why: str
    renewed: str = ""
    before: Change = nothing
    topology: bool = False
    completed: bool = False
    played: bool = True

    @property
    def old(self) -> Json:
        """The set before the edit."""
        obj = base()
        self.before(obj)
        return obj

    @property
    def new(self) -> Json:
        """The set after it."""
        obj = self.old
        self.change(obj)
        return obj


def base() -> Json:
    """Return the set that the edits are of: two groups of two pods."""
    return {
        "apiVersion": names.LWS_API_VERSION,
        "kind": names.LWS_KIND,
        "metadata": {"name": "serve", "labels": {names.QUEUE_NAME: "queue"}},
        "spec": {
            "replicas": 2,
            "rolloutStrategy": {
                "type": "RollingUpdate",
                "rollingUpdateConfiguration": {"partition": 0, "maxUnavailable": 1, "maxSurge": 0},
            },
            "leaderWorkerTemplate": {"size": 2, "workerTemplate": template()},
        },
    }


def template(cpu: str = "100m") -> Json:
    """Return a pod template with one container."""
    container = {
        "name": "main",
        "image": IMAGE,
        "resources": {"requests": {"cpu": cpu, "memory": "16Mi"}},
    }
    return {"spec": {"terminationGracePeriodSeconds": 0, "containers": [container]}}


# Changes ------------------------------------------------------------------------------------


def group_of(obj: Json) -> Json:
    """Return the template of a group."""
    found: Json = obj["spec"]["leaderWorkerTemplate"]
    return found


def _put(into: Json, fields: Mapping[str, Any]) -> None:
    """Set fields; None takes one away. Values are copied, for the next set is changed as well."""
    for key, value in fields.items():
        if value is None:
            into.pop(key, None)
        else:
            into[key] = copy.deepcopy(value)


def all_of(*changes: Change) -> Change:
    """Return several changes as one."""

    def change(obj: Json) -> None:
        for one in changes:
            one(obj)

    return change


def of_set(**fields: Any) -> Change:
    """Change fields of the set's spec."""
    return lambda obj: _put(obj["spec"], fields)


def of_group(**fields: Any) -> Change:
    """Change fields of the group's template."""
    return lambda obj: _put(group_of(obj), fields)


def pod(role: str = "worker", **fields: Any) -> Change:
    """Change fields of the pods of a role."""
    return lambda obj: _put(group_of(obj)[f"{role}Template"]["spec"], fields)


def container(role: str = "worker", **fields: Any) -> Change:
    """Change fields of the first container."""
    return lambda obj: _put(group_of(obj)[f"{role}Template"]["spec"]["containers"][0], fields)


def requests(role: str = "worker", **amounts: str | None) -> Change:
    """Change requests of the first container."""
    return lambda obj: _put(_resources(obj, role, "requests"), amounts)


def limits(role: str = "worker", **amounts: str | None) -> Change:
    """Change limits of the first container."""
    return lambda obj: _put(_resources(obj, role, "limits"), amounts)


def gpus(count: str | None) -> Change:
    """Ask for an extended resource, of which the limit has to equal the request."""
    amount = {GPU: count}
    return all_of(
        lambda obj: _put(_resources(obj, "worker", "requests"), amount),
        lambda obj: _put(_resources(obj, "worker", "limits"), amount),
    )


def _resources(obj: Json, role: str, part: str) -> Json:
    spec = group_of(obj)[f"{role}Template"]["spec"]
    found: Json = spec["containers"][0]["resources"].setdefault(part, {})
    return found


def another(name: str = "other", **fields: Any) -> Change:
    """Add a container."""
    return lambda obj: group_of(obj)["workerTemplate"]["spec"]["containers"].append(
        {"name": name, "image": IMAGE, **copy.deepcopy(fields)}
    )


def only_one(obj: Json) -> None:
    """Take away all containers but the first."""
    del group_of(obj)["workerTemplate"]["spec"]["containers"][1:]


def backwards(obj: Json) -> None:
    """Turn the order of the containers around."""
    group_of(obj)["workerTemplate"]["spec"]["containers"].reverse()


def first(**fields: Any) -> Change:
    """Give the pods one init container."""
    return pod(initContainers=[{"name": "first", "image": IMAGE, **fields}])


def inits(*containers: Json) -> Change:
    """Give the pods these init containers."""
    return pod(initContainers=[{"image": IMAGE, **one} for one in containers])


def metadata(field: str, **values: str) -> Change:
    """Set labels or annotations of the pod template; two underscores stand for a slash."""

    def change(obj: Json) -> None:
        meta = group_of(obj)["workerTemplate"].setdefault("metadata", {})
        _put(meta.setdefault(field, {}), {k.replace("__", "/"): v for k, v in values.items()})

    return change


def topology(key: str, level: str | None) -> Change:
    """Ask for a placement of the workers, and of no other."""

    def change(obj: Json) -> None:
        meta = group_of(obj)["workerTemplate"].setdefault("metadata", {})
        meta["annotations"] = {} if level is None else {key: level}

    return change


def labelled(obj: Json) -> None:
    """Give the Workloads a priority by a class of their own."""
    obj["metadata"]["labels"][names.PRIORITY_CLASS] = WORKLOAD_CLASS


def needs_node(
    *, operator: str = "In", key: str = "kubernetes.io/os", value: str = "linux"
) -> Json:
    """Return an affinity to nodes that is required."""
    expression = {"key": key, "operator": operator, "values": [value]}
    terms = [{"matchExpressions": [expression]}]
    rule = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
    return {"nodeAffinity": rule}


def rolling(**fields: Any) -> Change:
    """Change how the set rolls."""
    return lambda obj: _put(obj["spec"]["rolloutStrategy"]["rollingUpdateConfiguration"], fields)


WITH_LEADER = of_group(leaderTemplate=template())
SMALL: Final = {"requests": {"cpu": "50m", "memory": "8Mi"}}
INIT: Final = {"name": "first", "resources": {"requests": {"cpu": "300m", "memory": "16Mi"}}}
DEVICE: Final = {
    "requests": {"cpu": "50m", "memory": "8Mi", GPU: "1"},
    "limits": {GPU: "1"},
}
SIDECAR: Final = {"name": "sidecar", "resources": SMALL, "restartPolicy": "Always"}
HARMLESS: Final = {"key": "example.com/harmless", "operator": "Exists", "effect": "NoSchedule"}
SPOT: Final = {"key": SPOT_TAINT["key"], "operator": "Exists"}
LINUX: Final = {"kubernetes.io/os": "linux"}
PREFERRED: Final = {
    "nodeAffinity": {
        "preferredDuringSchedulingIgnoredDuringExecution": [
            {
                "weight": 1,
                "preference": {
                    "matchExpressions": [
                        {"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]}
                    ]
                },
            }
        ]
    }
}
APART: Final = {
    "podAntiAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": [
            {
                "topologyKey": "kubernetes.io/hostname",
                "labelSelector": {"matchLabels": {"edits": "apart"}},
            }
        ]
    }
}
SPREAD: Final = [
    {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": {"edits": "spread"}},
    }
]
PROBE: Final = {"exec": {"command": ["true"]}, "periodSeconds": 5}

REQUESTS: Final = "requests of podset main"

KEPT: Final = (
    Edit("image", container(image="registry.k8s.io/pause:3.9"), "runs on the same quota"),
    Edit("command", container(command=["/pause", "-v"]), "runs on the same quota"),
    Edit("args", container(args=["--verbose"]), "runs on the same quota"),
    Edit(
        "environment",
        container(env=[{"name": "A", "value": "1"}]),
        "runs on the same quota",
    ),
    Edit(
        "volume",
        all_of(
            pod(volumes=[{"name": "scratch", "emptyDir": {}}]),
            container(volumeMounts=[{"name": "scratch", "mountPath": "/scratch"}]),
        ),
        "Kueue counts no volumes",
    ),
    Edit("liveness-probe", container(livenessProbe=PROBE), "asked by kubelets alone"),
    Edit("readiness-probe", container(readinessProbe=PROBE), "asked by kubelets alone"),
    Edit("ports", container(ports=[{"containerPort": 8080}]), "no quota for ports"),
    Edit(
        "lifecycle",
        container(lifecycle={"preStop": {"exec": {"command": ["true"]}}}),
        "done by kubelets alone",
    ),
    Edit("pull-policy", container(imagePullPolicy="Always"), "done by kubelets alone"),
    Edit(
        "security-context",
        pod(securityContext={"runAsNonRoot": True, "runAsUser": 1000}),
        "who a process is costs nothing",
    ),
    Edit("container-name", container(name="renamed"), "the sum is over all containers"),
    Edit(
        "container-order",
        backwards,
        "a sum has no order",
        before=another(resources=SMALL),
    ),
    Edit("labels", metadata("labels", team="x"), "Kueue reads none of the user's labels"),
    Edit(
        "annotations",
        metadata("annotations", example__note="x"),
        "Kueue reads annotations of its own only",
    ),
    Edit("toleration-of-no-flavor", pod(tolerations=[HARMLESS]), "no flavor has such a taint"),
    Edit(
        "toleration-order",
        pod(tolerations=[SPOT, HARMLESS]),
        "tolerations have no order",
        before=pod(tolerations=[HARMLESS, SPOT]),
    ),
    Edit(
        "limits-beside-requests",
        limits(cpu="1", memory="64Mi"),
        "requests are admitted, not limits",
    ),
    Edit(
        "limits-removed-beside-requests",
        limits(cpu=None, memory=None),
        "requests are admitted, not limits",
        before=limits(cpu="1", memory="64Mi"),
    ),
    Edit(
        "quantities-respelled",
        requests(cpu="0.1", memory="16777216"),
        "the same amounts",
    ),
    Edit(
        "request-that-equals-the-limit-left-out",
        requests(cpu=None),
        "the limit stands for it",
        before=limits(cpu="100m"),
    ),
    Edit("init-container-without-requests", first(), "it is never more than the containers"),
    Edit(
        "init-container-that-asks-for-less",
        first(resources=SMALL),
        "the larger of the two phases counts",
    ),
    Edit(
        "init-container-that-asks-for-zero",
        first(resources={"requests": {"cpu": "0", "memory": "0"}}),
        "the larger of the two phases counts",
    ),
    Edit(
        "second-init-container-that-asks-for-less",
        inits(INIT, {"name": "second", "resources": SMALL}),
        "init containers run one after another",
        before=inits(INIT),
    ),
    Edit(
        "init-containers-in-another-order",
        inits({"name": "second", "resources": SMALL}, INIT),
        "init containers run one after another",
        before=inits(INIT, {"name": "second", "resources": SMALL}),
    ),
    Edit(
        "sidecar-before-a-small-init-container",
        inits(SIDECAR, {"name": "second", "resources": SMALL}),
        "both together are still less than the containers and the sidecar",
        before=inits({"name": "second", "resources": SMALL}, SIDECAR),
    ),
    Edit(
        "container-becomes-a-sidecar",
        all_of(only_one, inits(SIDECAR)),
        "it runs beside the others as before",
        before=another("sidecar", resources=SMALL),
    ),
    Edit(
        "container-split-in-two",
        all_of(
            requests(cpu="60m", memory="10Mi"),
            another(resources={"requests": {"cpu": "0.04", "memory": "6Mi"}}),
        ),
        "a sum has no parts",
    ),
    Edit(
        "limits-of-an-init-container-that-asks-for-less",
        first(resources={"limits": {"cpu": "50m", "memory": "8Mi"}}),
        "the limit stands for the request, and is less",
    ),
    Edit(
        "pod-level-requests-that-equal-the-sum",
        pod(resources={"requests": {"cpu": "100m", "memory": "16Mi"}}),
        "they replace the sum by the same",
    ),
    Edit(
        "requests-moved-to-the-pod",
        all_of(
            pod(resources={"requests": {"cpu": "100m", "memory": "16Mi"}}),
            requests(cpu=None, memory=None),
        ),
        "they replace the sum by the same",
    ),
    Edit(
        "requests-below-those-of-the-pod",
        requests(cpu="50m"),
        "those of the pod are admitted",
        before=pod(resources={"requests": {"cpu": "300m", "memory": "64Mi"}}),
    ),
    Edit(
        "container-below-requests-of-the-pod",
        another(resources=SMALL),
        "those of the pod are admitted",
        before=pod(resources={"requests": {"cpu": "300m", "memory": "64Mi"}}),
    ),
    Edit(
        "runtime-class-without-overhead",
        pod(runtimeClassName=LIGHT_CLASS),
        "how containers run, at no cost",
    ),
    Edit(
        "init-container-with-fewer-devices",
        first(resources={"requests": {GPU: "1"}, "limits": {GPU: "1"}}),
        "it gets those that the containers get later",
        before=gpus("2"),
    ),
    Edit(
        "huge-pages-respelled",
        limits(**{"hugepages-2Mi": "4096Ki"}),
        "the same amount",
        before=limits(**{"hugepages-2Mi": "4Mi"}),
        played=False,
    ),
    Edit(
        "resource-claim-renamed",
        pod(resourceClaims=[{"name": "e", "resourceClaimTemplateName": "d"}]),
        "its template says what it asks for",
        before=pod(resourceClaims=[{"name": "d", "resourceClaimTemplateName": "d"}]),
        played=False,
    ),
    Edit(
        "resource-claim-used-by-a-container",
        container(
            resources={
                "requests": {"cpu": "100m", "memory": "16Mi"},
                "claims": [{"name": "d"}],
            }
        ),
        "it is allocated for the pod whoever uses it",
        before=pod(resourceClaims=[{"name": "d", "resourceClaimTemplateName": "d"}]),
        played=False,
    ),
    Edit(
        "pod-anti-affinity",
        all_of(metadata("labels", edits="apart"), pod(affinity=APART)),
        "for the scheduler alone",
    ),
    Edit("preferred-node-affinity", pod(affinity=PREFERRED), "a preference excludes no flavor"),
    Edit(
        "spread",
        all_of(metadata("labels", edits="spread"), pod(topologySpreadConstraints=SPREAD)),
        "for the scheduler alone",
    ),
    Edit("grace-period", pod(terminationGracePeriodSeconds=1), "how long an end takes"),
    Edit("service-account", pod(serviceAccountName=SERVICE_ACCOUNT), "who the pods are"),
    Edit("scheduler-name", pod(schedulerName="default-scheduler"), "who schedules, not where"),
    Edit("dns-policy", pod(dnsPolicy="Default"), "what names mean"),
    Edit("empty-node-selector", pod(nodeSelector={}), "says nothing"),
    Edit(
        "subdomain-policy",
        of_set(networkConfig={"subdomainPolicy": "UniquePerReplica"}),
        "what names pods have",
    ),
    Edit("startup-policy", of_set(startupPolicy="LeaderReady"), "when workers come, not which"),
    Edit("restart-policy", of_group(restartPolicy="None"), "what a failure does"),
    Edit("replicas-up", of_set(replicas=3), "each group has a Workload of its own"),
    Edit("replicas-down", of_set(replicas=1), "each group has a Workload of its own"),
    Edit("max-surge", rolling(maxSurge=1), "how the set rolls, not what"),
    Edit("max-unavailable", rolling(maxUnavailable=2), "how the set rolls, not what"),
    Edit(
        "leader-image",
        container("leader", image="registry.k8s.io/pause:3.9"),
        "runs on the same quota",
        before=WITH_LEADER,
    ),
    Edit(
        "both-images",
        all_of(
            container("leader", image="registry.k8s.io/pause:3.9"),
            container(image="registry.k8s.io/pause:3.9"),
        ),
        "runs on the same quota",
        before=WITH_LEADER,
    ),
    Edit(
        "pod-priority-under-a-class-of-workloads",
        pod(priorityClassName="edits-high"),
        "the class of Workloads decides",
        before=labelled,
    ),
    Edit(
        "image-environment-and-replicas-at-once",
        all_of(
            container(image="registry.k8s.io/pause:3.9", env=[{"name": "A", "value": "1"}]),
            of_set(replicas=3),
        ),
        "none of the three is admitted",
    ),
)

RENEWED: Final = (
    Edit("cpu-up", requests(cpu="200m"), "more than was admitted", REQUESTS),
    Edit("cpu-down", requests(cpu="50m"), "the rest is given back", REQUESTS),
    Edit("memory-up", requests(memory="32Mi"), "more than was admitted", REQUESTS),
    Edit("memory-down", requests(memory="8Mi"), "the rest is given back", REQUESTS),
    Edit("extended-resource-added", gpus("1"), "a resource that was not admitted", REQUESTS),
    Edit("extended-resource-up", gpus("2"), "more than was admitted", REQUESTS, before=gpus("1")),
    Edit("extended-resource-removed", gpus(None), "it is given back", REQUESTS, before=gpus("1")),
    Edit(
        "request-removed",
        requests(memory=None),
        "a LimitRange may put another in its place",
        REQUESTS,
        completed=True,
    ),
    Edit(
        "limit-up-without-a-request",
        limits(cpu="200m"),
        "the limit stands for the request",
        REQUESTS,
        before=all_of(requests(cpu=None), limits(cpu="100m")),
    ),
    Edit("container-added", another(resources=SMALL), "its requests are added", REQUESTS),
    Edit(
        "container-without-requests-added",
        another(),
        "a LimitRange may give it some",
        REQUESTS,
        completed=True,
    ),
    Edit(
        "container-removed",
        only_one,
        "its requests are given back",
        REQUESTS,
        before=another(resources=SMALL),
    ),
    Edit(
        "init-container-added",
        first(resources={"requests": {"cpu": "300m", "memory": "16Mi"}}),
        "the larger of the two phases counts",
        REQUESTS,
    ),
    Edit(
        "init-container-up",
        first(resources={"requests": {"cpu": "400m", "memory": "16Mi"}}),
        "the larger of the two phases counts",
        REQUESTS,
        before=first(resources={"requests": {"cpu": "300m", "memory": "16Mi"}}),
    ),
    Edit(
        "sidecar-added",
        first(resources=SMALL, restartPolicy="Always"),
        "its requests are added",
        REQUESTS,
    ),
    Edit(
        "init-container-becomes-a-sidecar",
        first(resources=SMALL, restartPolicy="Always"),
        "it runs beside the others",
        REQUESTS,
        before=first(resources=SMALL),
    ),
    Edit(
        "sidecar-without-requests-added",
        first(restartPolicy="Always"),
        "a LimitRange may give it some",
        REQUESTS,
        completed=True,
    ),
    Edit(
        "limit-of-an-init-container",
        first(resources={"limits": {"cpu": "300m", "memory": "16Mi"}}),
        "the limit stands for the request, and is more",
        REQUESTS,
    ),
    Edit(
        "sidecar-before-an-init-container",
        inits(SIDECAR, INIT),
        "the init container runs beside it",
        REQUESTS,
        before=inits(INIT, SIDECAR),
    ),
    Edit(
        "zero-of-another-resource",
        gpus("0"),
        "Kueue chooses a flavor for it, if it has one",
        REQUESTS,
        played=False,
    ),
    Edit(
        "device-moved-to-a-sidecar",
        all_of(
            only_one,
            inits({**SIDECAR, "resources": DEVICE}),
        ),
        "where a DeviceClass stands for it, Kueue counts it otherwise",
        REQUESTS,
        before=all_of(
            gpus("1"),
            another("sidecar", resources=DEVICE),
        ),
    ),
    Edit(
        "second-resource-claim",
        pod(resourceClaims=[{"name": n, "resourceClaimTemplateName": "d"} for n in "de"]),
        "it is counted once more",
        REQUESTS,
        before=pod(resourceClaims=[{"name": "d", "resourceClaimTemplateName": "d"}]),
        played=False,
    ),
    Edit(
        "another-resource-claim-template",
        pod(resourceClaims=[{"name": "d", "resourceClaimTemplateName": "e"}]),
        "it may ask for something else",
        REQUESTS,
        before=pod(resourceClaims=[{"name": "d", "resourceClaimTemplateName": "d"}]),
        played=False,
    ),
    Edit(
        "runtime-class",
        pod(runtimeClassName=RUNTIME_CLASS),
        "its overhead is added",
        REQUESTS,
        completed=True,
    ),
    Edit(
        "pod-level-requests",
        pod(resources={"requests": {"cpu": "300m", "memory": "64Mi"}}),
        "they replace the sum",
        REQUESTS,
    ),
    Edit(
        "resource-claims",
        pod(resourceClaims=[{"name": "d", "resourceClaimTemplateName": "d"}]),
        "devices are quota as well",
        REQUESTS,
        played=False,
    ),
    Edit("size-up", of_group(size=3), "one more pod", "number of pods of podset main"),
    Edit("size-down", of_group(size=1), "one pod less", "number of pods of podset main"),
    Edit(
        "size-up-with-a-leader",
        of_group(size=3),
        "one more worker",
        "number of pods of podset worker",
        before=WITH_LEADER,
    ),
    Edit("leader-template-added", WITH_LEADER, "two pod sets instead of one", "pod sets"),
    Edit(
        "leader-template-removed",
        of_group(leaderTemplate=None),
        "one pod set instead of two",
        "pod sets",
        before=WITH_LEADER,
    ),
    Edit(
        "leader-cpu-up",
        requests("leader", cpu="200m"),
        "more than was admitted",
        "requests of podset leader",
        before=WITH_LEADER,
    ),
    Edit(
        "worker-cpu-up-with-a-leader",
        requests(cpu="200m"),
        "more than was admitted",
        "requests of podset worker",
        before=WITH_LEADER,
    ),
    Edit(
        "node-selector-added",
        pod(nodeSelector=LINUX),
        "flavors are chosen by it",
        "node placement of podset main",
    ),
    Edit(
        "node-selector-changed",
        pod(nodeSelector={"kubernetes.io/arch": "amd64"}),
        "flavors are chosen by it",
        "node placement of podset main",
        before=pod(nodeSelector=LINUX),
    ),
    Edit(
        "node-selector-of-an-empty-value",
        pod(nodeSelector={EMPTY_LABEL: ""}),
        "a label that is empty is not one that is missing",
        "node placement of podset main",
    ),
    Edit(
        "node-selector-of-the-leader",
        pod("leader", nodeSelector=LINUX),
        "flavors are chosen by it",
        "node placement of podset leader",
        before=WITH_LEADER,
    ),
    Edit(
        "required-node-affinity",
        pod(affinity=needs_node()),
        "flavors are chosen by it",
        "node placement of podset main",
    ),
    Edit(
        "required-node-affinity-changed",
        pod(affinity=needs_node(operator="NotIn", value="windows")),
        "flavors are chosen by it",
        "node placement of podset main",
        before=pod(affinity=needs_node()),
    ),
    Edit(
        "toleration-that-opens-a-flavor",
        pod(tolerations=[SPOT]),
        "another flavor could be taken",
        "tolerations of podset main",
    ),
    Edit(
        "toleration-that-closes-a-flavor",
        pod(tolerations=[HARMLESS]),
        "the flavor could be the one that was taken",
        "tolerations of podset main",
        before=pod(tolerations=[SPOT]),
    ),
    Edit(
        "toleration-of-everything",
        pod(tolerations=[{"operator": "Exists"}]),
        "another flavor could be taken",
        "tolerations of podset main",
    ),
    Edit(
        "topology-asked-for",
        topology(names.PODSET_REQUIRED_TOPOLOGY, BLOCK),
        "the nodes are chosen anew",
        "topology request of podset main",
        topology=True,
    ),
    Edit(
        "topology-level",
        topology(names.PODSET_REQUIRED_TOPOLOGY, RACK),
        "the nodes are chosen anew",
        "topology request of podset main",
        before=topology(names.PODSET_REQUIRED_TOPOLOGY, BLOCK),
        topology=True,
    ),
    Edit(
        "topology-only-preferred",
        topology(names.PODSET_PREFERRED_TOPOLOGY, BLOCK),
        "the nodes are chosen anew",
        "topology request of podset main",
        before=topology(names.PODSET_REQUIRED_TOPOLOGY, BLOCK),
        topology=True,
    ),
    Edit(
        "toleration-of-a-placed-group",
        pod(tolerations=[HARMLESS]),
        "each node's taints were asked for",
        "tolerations of podset main",
        before=topology(names.PODSET_REQUIRED_TOPOLOGY, BLOCK),
        topology=True,
    ),
    Edit(
        "pod-priority-class-added",
        pod(priorityClassName="edits-high"),
        "the group is preempted by it",
        "priority class of podset main",
    ),
    Edit(
        "pod-priority-class-changed",
        pod(priorityClassName="edits-low"),
        "the group is preempted by it",
        "priority class of podset main",
        before=pod(priorityClassName="edits-high"),
    ),
    Edit(
        "image-and-cpu",
        all_of(container(image="registry.k8s.io/pause:3.9"), requests(cpu="200m")),
        "one of the two was admitted",
        REQUESTS,
    ),
    Edit(
        "size-and-cpu",
        all_of(of_group(size=3), requests(cpu="50m")),
        "more pods of less",
        "number of pods of podset main",
    ),
    Edit(
        "cpu-and-replicas",
        all_of(requests(cpu="200m"), of_set(replicas=3)),
        "each of more groups takes more",
        REQUESTS,
    ),
    Edit(
        "cpu-up-with-surge-groups",
        all_of(requests(cpu="200m"), rolling(maxSurge=1)),
        "more than was admitted",
        REQUESTS,
    ),
)

EDITS: Final = (*KEPT, *RENEWED)
