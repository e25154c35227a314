"""Random small clusters: queues in cohorts, Workloads of others, a set, and what is to change.

A cluster is a value that follows from its seed. Names of what is the whole cluster's begin with a
prefix of its own, so that hundreds can be side by side in one.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from lws_kueue.api import lws, names
from lws_kueue.kubectl import decided, whatif
from lws_kueue.runtime import cache
from lws_kueue.workload import build

Object = dict[str, Any]

NAMESPACE: Final = "whatif"
OWNER: Final = "owner"
GPU: Final = "example.com/gpu"
PRIORITIES: Final = (0, 10, 100)
_TAINT: Final = {"key": "whatif", "value": "reserved", "effect": "NoSchedule"}
_TOLERATION: Final = {"key": "whatif", "operator": "Exists"}


@dataclass(frozen=True)
class Cluster:
    """A random cluster, and the question that is asked about it.

    ``around`` are flavors, cohorts and queues. ``steps`` are Workloads in the order in which they
    come, those of the set's first groups among them. ``manifest`` is the set with as many groups
    as there are in the end, if ``quotas`` change nothing it has more than came before.
    """

    seed: int
    preempts: bool
    around: Sequence[Object]
    steps: Sequence[Object]
    manifest: Object
    groups: int
    quotas: dict[tuple[str, str, str], str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The prefix of its names."""
        return _prefix(self.seed, preempts=self.preempts)

    @property
    def live(self) -> Object:
        """The set as it is before."""
        return {**self.manifest, "spec": {**self.manifest["spec"], "replicas": self.groups}}

    @property
    def change(self) -> whatif.Change:
        """What is to be otherwise."""
        replicas = self.manifest["spec"]["replicas"]
        return whatif.Change(replicas if replicas != self.groups else None, None, self.quotas)

    @property
    def later(self) -> list[Object]:
        """The Workloads of the groups that come with the change."""
        return [group(self.manifest, index) for index in range(self.groups, self.wanted)]

    @property
    def wanted(self) -> int:
        """How many groups there are in the end."""
        return int(self.manifest["spec"]["replicas"])


def cluster(seed: int, *, preempts: bool, uid: str = "uid") -> Cluster:
    """Return the cluster of a seed; ``uid`` is what its set is known by."""
    dice = random.Random(f"{seed} {preempts}")
    prefix = _prefix(seed, preempts=preempts)
    resources = ["cpu", GPU] if dice.random() < 0.3 else ["cpu"]
    flavors = [f"{prefix}-{letter}" for letter in "ab"[: dice.choice((1, 2))]]
    around = [_flavor(dice, name, index) for index, name in enumerate(flavors)]
    cohorts = list(_cohorts(dice, prefix, flavors, resources))
    around += [one for one in cohorts if one["spec"]]
    above = [one["metadata"]["name"] for one in cohorts]
    queues = [f"{prefix}-{index}" for index in range(dice.choice((1, 2, 3)) if above else 1)]
    for name in queues:
        cohort = dice.choice(above) if above else ""
        around += [_queue(dice, name, cohort, flavors, resources, preempts=preempts)]
        around.append(_local_queue(name))
    manifest = _set(dice, prefix, dice.choice(queues), resources)
    manifest["metadata"]["uid"] = uid
    wanted = dice.choice((2, 3, 4, 5))
    quotas: dict[tuple[str, str, str], str] = {}
    groups = dice.randrange(wanted)
    if dice.random() < 0.25:
        groups = wanted
        quotas = {(dice.choice(queues), dice.choice(flavors), "cpu"): str(dice.randint(4, 12))}
    manifest["spec"]["replicas"] = wanted
    steps = [
        _other(dice, f"{prefix}-other-{index}", dice.choice(queues), resources)
        for index in range(dice.randint(1, 6))
    ]
    for index in range(groups):
        steps.insert(dice.randint(0, len(steps)), group(manifest, index))
    return Cluster(seed, preempts, around, _in_order(steps), manifest, groups, quotas)


def _prefix(seed: int, *, preempts: bool) -> str:
    return f"{'p' if preempts else 'w'}{seed:04}"


def _in_order(steps: list[Object]) -> list[Object]:
    """Let the groups of the set come in the order of their indices."""
    mine = iter(sorted((one for one in steps if "labels" in one["metadata"]), key=_index))
    return [next(mine) if "labels" in one["metadata"] else one for one in steps]


def _index(workload: Object) -> int:
    return int(workload["metadata"]["annotations"][names.COMPONENT_WORKLOAD_INDEX])


def _kueues(kind: str, name: str, spec: Object, namespace: str = "") -> Object:
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {
        "apiVersion": names.KUEUE_API_VERSION,
        "kind": kind,
        "metadata": metadata,
        "spec": spec,
    }


def _flavor(dice: random.Random, name: str, index: int) -> Object:
    spec: Object = {"nodeLabels": {"whatif": "ab"[index]}}
    if dice.random() < 0.2:
        spec["nodeTaints"] = [_TAINT]
    return _kueues("ResourceFlavor", name, spec)


def _cohorts(
    dice: random.Random, prefix: str, flavors: Sequence[str], resources: Sequence[str]
) -> Iterator[Object]:
    """Yield no cohort, one, or a tree of them; one without a spec is only named by queues."""
    shape = dice.choice(("none", "one", "one", "tree"))
    if shape == "none":
        return
    root = f"{prefix}-root"
    own = dice.random() < 0.4
    groups = [_group(dice, flavors, resources, most=4, limits=False)] if own else []
    yield _kueues("Cohort", root, {"resourceGroups": groups} if own else {})
    if shape == "tree":
        for letter in "xy":
            spec: Object = {"parentName": root}
            if dice.random() < 0.5:
                spec["resourceGroups"] = [_group(dice, flavors, resources, most=3, limits=True)]
            yield _kueues("Cohort", f"{prefix}-{letter}", spec)


def _group(
    dice: random.Random,
    flavors: Sequence[str],
    resources: Sequence[str],
    *,
    most: int,
    limits: bool,
) -> Object:
    def amount(resource: str) -> Object:
        nominal = dice.randint(0, most)
        found: Object = {"name": resource, "nominalQuota": str(nominal)}
        if limits and dice.random() < 0.4:
            found["borrowingLimit"] = str(dice.randint(0, 4))
        if limits and dice.random() < 0.4:
            found["lendingLimit"] = str(dice.randint(0, nominal))
        return found

    return {
        "coveredResources": list(resources),
        "flavors": [
            {"name": name, "resources": [amount(resource) for resource in resources]}
            for name in flavors
        ],
    }


def _queue(
    dice: random.Random,
    name: str,
    cohort: str,
    flavors: Sequence[str],
    resources: Sequence[str],
    *,
    preempts: bool,
) -> Object:
    limits = bool(cohort)
    spec: Object = {
        "namespaceSelector": {},
        "queueingStrategy": "StrictFIFO" if dice.random() < 0.15 else "BestEffortFIFO",
        "resourceGroups": [_group(dice, flavors, resources, most=8, limits=limits)],
        "flavorFungibility": {
            "whenCanBorrow": dice.choice(("MayStopSearch", "TryNextFlavor")),
            "whenCanPreempt": dice.choice(("MayStopSearch", "TryNextFlavor")),
        },
    }
    if cohort:
        spec["cohortName"] = cohort
    if preempts:
        spec["preemption"] = _preemption(dice, in_cohort=bool(cohort))
    return _kueues("ClusterQueue", name, spec)


def _preemption(dice: random.Random, *, in_cohort: bool) -> Object:
    found: Object = {
        "withinClusterQueue": dice.choice(
            ("Never", "LowerPriority", "LowerPriority", "LowerOrNewerEqualPriority")
        )
    }
    if in_cohort:
        found["reclaimWithinCohort"] = dice.choice(("Never", "LowerPriority", "Any", "Any"))
        if found["reclaimWithinCohort"] != "Never" and dice.random() < 0.4:
            found["borrowWithinCohort"] = {"policy": "LowerPriority"} | (
                {"maxPriorityThreshold": 10} if dice.random() < 0.5 else {}
            )
    return found


def _local_queue(name: str) -> Object:
    return _kueues("LocalQueue", name, {"clusterQueue": name}, NAMESPACE)


def _pods(dice: random.Random, resources: Sequence[str]) -> Object:
    requests = {"cpu": dice.choice(("500m", "1", "1", "2"))}
    if GPU in resources and dice.random() < 0.6:
        requests[GPU] = "1"
    container = {"name": "main", "image": "pause", "resources": {"requests": requests}}
    spec: Object = {"containers": [container], "restartPolicy": "Never"}
    if dice.random() < 0.2:
        spec["nodeSelector"] = {"whatif": dice.choice("ab")}
    if dice.random() < 0.7:
        spec["tolerations"] = [_TOLERATION]
    return {"spec": spec}


def _other(dice: random.Random, name: str, queue: str, resources: Sequence[str]) -> Object:
    pods = {"name": "main", "count": dice.randint(1, 4), "template": _pods(dice, resources)}
    spec = {"queueName": queue, "priority": dice.choice(PRIORITIES), "podSets": [pods]}
    return _kueues("Workload", name, spec, NAMESPACE)


def _set(dice: random.Random, prefix: str, queue: str, resources: Sequence[str]) -> Object:
    template: Object = {"size": dice.choice((1, 2, 3)), "workerTemplate": _pods(dice, resources)}
    if dice.random() < 0.3:
        template["leaderTemplate"] = _pods(dice, resources)
    priority = dice.choice(PRIORITIES)
    labels = {names.QUEUE_NAME: queue, names.PRIORITY_CLASS: f"whatif-{priority}"}
    return {
        "apiVersion": names.LWS_API_VERSION,
        "kind": names.LWS_KIND,
        "metadata": {
            "name": prefix,
            "namespace": NAMESPACE,
            "resourceVersion": "1",
            "generation": 1,
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": labels,
        },
        "spec": {"leaderWorkerTemplate": template},
    }


def priority_classes() -> list[Object]:
    """Return the classes of all sets."""
    return [
        {
            "apiVersion": names.KUEUE_API_VERSION,
            "kind": "WorkloadPriorityClass",
            "metadata": {"name": f"whatif-{value}"},
            "value": value,
        }
        for value in PRIORITIES
    ]


def group(manifest: Object, index: int) -> Object:
    """Return the Workload of a group as the controller creates it, but for its owner.

    There is no set on the cluster: a ConfigMap has its UID, because Kueue ends Workloads that
    nobody owns.
    """
    owner = cache.parse_set(manifest)
    assert isinstance(owner, lws.LeaderWorkerSet), owner
    from lws_kueue.api import kueue

    classes = build.PriorityClasses(
        workload={
            one["metadata"]["name"]: kueue.WorkloadPriorityClass.of(one)
            for one in priority_classes()
        }
    )
    body = build.workload(owner, index, classes=classes, options=decided.OPTIONS)
    assert isinstance(body, dict), body
    del body["metadata"]["finalizers"]
    owned = {"apiVersion": "v1", "kind": "ConfigMap", "name": OWNER, "uid": owner.meta.uid}
    body["metadata"]["ownerReferences"] = [owned]
    return body
