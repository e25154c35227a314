"""Random small clusters: queues in cohorts, Workloads of others, a set, and what is to change.

A cluster is a value that follows from its kind and its seed. Names of what is the whole cluster's
begin with a prefix of its own, so that hundreds can be side by side in one; nodes of a topology
have that prefix as a label, by which flavors choose them.
"""

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from lws_kueue.api import lws, names
from lws_kueue.kubectl import decided, whatif
from lws_kueue.runtime import cache
from lws_kueue.tas import annotations
from lws_kueue.workload import build

Object = dict[str, Any]

NAMESPACE: Final = "whatif"
OWNER: Final = "owner"
# The topology's levels: labels of nodes, and the one that all nodes have.
BLOCK: Final = "whatif.example.com/block"
RACK: Final = "whatif.example.com/rack"
HOST: Final = "kubernetes.io/hostname"
# Which cluster a node is of.
PART: Final = "whatif.example.com/part"
GPU: Final = "example.com/gpu"
PRIORITIES: Final = (0, 10, 100)
_TAINT: Final = {"key": "whatif", "value": "reserved", "effect": "NoSchedule"}
_TOLERATION: Final = {"key": "whatif", "operator": "Exists"}


@dataclass(frozen=True)
class Kind:
    """What clusters have in common: whether queues preempt, and whether flavors have a topology.

    ``letter`` is what their names begin with, ``least`` the share that has to be told right.
    """

    name: str
    letter: str
    preempts: bool
    topology: bool

    @property
    def least(self) -> float:
        """How many of them have to be told right, as a share."""
        return 0.95 if self.preempts else 0.99


KINDS: Final = {
    one.name: one
    for one in (
        Kind("without-preemption", "w", preempts=False, topology=False),
        Kind("with-preemption", "p", preempts=True, topology=False),
        Kind("topology-without-preemption", "t", preempts=False, topology=True),
        Kind("topology-with-preemption", "u", preempts=True, topology=True),
    )
}


@dataclass(frozen=True)
class Cluster:
    """A random cluster, and the question that is asked about it.

    ``around`` are nodes, flavors, cohorts, queues and pods of nobody's Workload. ``steps`` are
    Workloads in the order in which they come, those of the set's first groups among them.
    ``manifest`` is the set with as many groups as there are in the end, if ``quotas`` change
    nothing it has more than came before.
    """

    seed: int
    kind: Kind
    around: Sequence[Object]
    steps: Sequence[Object]
    manifest: Object
    groups: int
    quotas: dict[tuple[str, str, str], str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The prefix of its names."""
        return _prefix(self.seed, self.kind)

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


def cluster(seed: int, kind: Kind, *, uid: str = "uid") -> Cluster:
    """Return the cluster of a seed; ``uid`` is what its set is known by."""
    dice = random.Random(f"{seed} {kind.name}")
    prefix = _prefix(seed, kind)
    resources = ["cpu", GPU] if dice.random() < 0.3 else ["cpu"]
    flavors = [f"{prefix}-{letter}" for letter in "ab"[: dice.choice((1, 2))]]
    levels = dice.choice(_LEVELS) if kind.topology else ()
    around: list[Object] = []
    if kind.topology:
        around += [_kueues("Topology", f"{prefix}-t", {"levels": [_level(one) for one in levels]})]
    for index, name in enumerate(flavors):
        placed = kind.topology and (index == 0 or dice.random() < 0.6)
        around.append(_flavor(dice, name, index, prefix=prefix if placed else ""))
        if placed:
            around += _nodes(dice, prefix, "ab"[index], resources)
    cohorts = list(_cohorts(dice, prefix, flavors, resources))
    around += [one for one in cohorts if one["spec"]]
    above = [one["metadata"]["name"] for one in cohorts]
    queues = [f"{prefix}-{index}" for index in range(dice.choice((1, 2, 3)) if above else 1)]
    # With a topology there is more quota than room, as often as not.
    most = dice.choice((8, 16)) if kind.topology else 8
    for name in queues:
        cohort = dice.choice(above) if above else ""
        around += [
            _queue(dice, name, cohort, flavors, resources, preempts=kind.preempts, most=most)
        ]
        around.append(_local_queue(name))
    manifest = _set(dice, prefix, dice.choice(queues), resources, levels)
    manifest["metadata"]["uid"] = uid
    wanted = dice.choice((2, 3, 4, 5))
    quotas: dict[tuple[str, str, str], str] = {}
    groups = dice.randrange(wanted)
    if dice.random() < 0.25:
        groups = wanted
        kind_of_quota = (dice.choice(queues), dice.choice(flavors), "cpu")
        # Kueue takes no less than what is lent.
        quotas = {kind_of_quota: str(max(dice.randint(4, 12), _lent(around, kind_of_quota)))}
    manifest["spec"]["replicas"] = wanted
    steps = [
        _other(dice, f"{prefix}-other-{index}", dice.choice(queues), resources, levels)
        for index in range(dice.randint(1, 6))
    ]
    for index in range(groups):
        steps.insert(dice.randint(0, len(steps)), group(manifest, index))
    return Cluster(seed, kind, around, _in_order(steps), manifest, groups, quotas)


def _lent(around: Iterable[Object], asked: tuple[str, str, str]) -> int:
    """Return the lendingLimit of a kind of quota of a ClusterQueue, 0 without one."""
    return max(
        int(quota.get("lendingLimit", 0))
        for one in around
        if (one["kind"], one["metadata"]["name"]) == ("ClusterQueue", asked[0])
        for group in one["spec"]["resourceGroups"]
        for flavor in group["flavors"]
        for quota in flavor["resources"]
        if (flavor["name"], quota["name"]) == asked[1:]
    )


def _prefix(seed: int, kind: Kind) -> str:
    return f"{kind.letter}{seed:04}"


# A topology need not go down to hosts: then what the hosts of a rack have is one.
_LEVELS: Final = ((BLOCK, RACK, HOST), (BLOCK, RACK, HOST), (RACK, HOST), (HOST,), (BLOCK, RACK))


def _level(label: str) -> Object:
    return {"nodeLabel": label}


def _nodes(
    dice: random.Random, prefix: str, letter: str, resources: Sequence[str]
) -> Iterator[Object]:
    """Yield the nodes of a flavor, and pods that take room there and have no Workload."""
    for block in range(dice.choice((1, 1, 2))):
        for rack in range(dice.choice((1, 2))):
            for host in range(dice.choice((1, 2, 2))):
                where = f"{prefix}-{letter}{block}{rack}"
                node = _node(dice, prefix, letter, where, host, resources)
                yield node
                if dice.random() < 0.1:
                    yield _bound(node["metadata"]["name"])


def _node(
    dice: random.Random, prefix: str, letter: str, rack: str, host: int, resources: Sequence[str]
) -> Object:
    offers = {"cpu": str(dice.randint(1, 4)), "pods": dice.choice(("110", "110", "110", "2"))}
    if GPU in resources:
        offers[GPU] = str(dice.randint(0, 3))
    name = f"{rack}{host}"
    labels = {
        HOST: name,
        BLOCK: rack[:-1],
        RACK: rack,
        PART: prefix,
        "whatif": letter,
        "type": "kwok",
    }
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": labels,
            "annotations": {"kwok.x-k8s.io/node": "fake"},
        },
        "spec": {"taints": [_TAINT]} if dice.random() < 0.15 else {},
        "status": {"capacity": offers, "allocatable": offers},
    }


def _bound(node: str) -> Object:
    """Return a pod of nobody's Workload, bound to a node."""
    container = {"name": "main", "image": "pause", "resources": {"requests": {"cpu": "1"}}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"{node}-pod", "namespace": NAMESPACE},
        "spec": {
            "nodeName": node,
            "containers": [container],
            "tolerations": [_TOLERATION],
        },
    }


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


def _flavor(dice: random.Random, name: str, index: int, *, prefix: str = "") -> Object:
    """Return a flavor; one with the topology of a cluster where that one's prefix is given."""
    spec: Object = {"nodeLabels": {"whatif": "ab"[index]}}
    if dice.random() < 0.2:
        spec["nodeTaints"] = [_TAINT]
    if prefix:
        spec["nodeLabels"][PART] = prefix
        spec["topologyName"] = f"{prefix}-t"
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
    most: int,
) -> Object:
    limits = bool(cohort)
    spec: Object = {
        "namespaceSelector": {},
        "queueingStrategy": "StrictFIFO" if dice.random() < 0.15 else "BestEffortFIFO",
        "resourceGroups": [_group(dice, flavors, resources, most=most, limits=limits)],
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


def _other(
    dice: random.Random, name: str, queue: str, resources: Sequence[str], levels: Sequence[str]
) -> Object:
    count = dice.randint(1, 4)
    pods = {"name": "main", "count": count, "template": _pods(dice, resources)}
    if levels and (
        request := annotations.request(
            _asked(dice, levels, count), pod_index_label=None, groupable=False
        )
    ):
        pods["topologyRequest"] = request
    spec = {"queueName": queue, "priority": dice.choice(PRIORITIES), "podSets": [pods]}
    return _kueues("Workload", name, spec, NAMESPACE)


def _asked(dice: random.Random, levels: Sequence[str], count: int) -> dict[str, str]:
    """Return annotations of a template with so many pods: where they want to be, if at all."""
    how = dice.choice(("required", "required", "preferred", "preferred", "unconstrained", "none"))
    asked = {
        "required": {names.PODSET_REQUIRED_TOPOLOGY: dice.choice(levels)},
        "preferred": {names.PODSET_PREFERRED_TOPOLOGY: dice.choice(levels)},
        "unconstrained": {names.PODSET_UNCONSTRAINED_TOPOLOGY: "true"},
        "none": {},
    }[how]
    sizes = [size for size in (1, 2, 3) if count % size == 0]
    if dice.random() < 0.2:
        # A slice is no wider than the whole.
        named = next((value for value in asked.values() if value in levels), levels[0])
        asked |= {
            names.PODSET_SLICE_REQUIRED_TOPOLOGY: dice.choice(levels[levels.index(named) :]),
            names.PODSET_SLICE_SIZE: str(dice.choice(sizes)),
        }
    return asked


def _set(
    dice: random.Random, prefix: str, queue: str, resources: Sequence[str], levels: Sequence[str]
) -> Object:
    size = dice.choice((1, 2, 3))
    template: Object = {"size": size, "workerTemplate": _pods(dice, resources)}
    if dice.random() < 0.3:
        template["leaderTemplate"] = _pods(dice, resources)
    if levels:
        _place(dice, template, levels)
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


def _place(dice: random.Random, template: Object, levels: Sequence[str]) -> None:
    """Let the templates of a set ask for places: both alike as a group, or each for itself."""
    leader, worker = template.get("leaderTemplate"), template["workerTemplate"]
    size = template["size"]
    if leader is None:
        worker["metadata"] = {"annotations": _asked(dice, levels, size)}
    elif size > 1 and dice.random() < 0.6:
        how = dice.choice((names.PODSET_REQUIRED_TOPOLOGY, names.PODSET_PREFERRED_TOPOLOGY))
        asked = {how: dice.choice(levels), names.PODSET_GROUP_NAME: "group"}
        leader["metadata"], worker["metadata"] = {"annotations": asked}, {"annotations": asked}
    else:
        leader["metadata"] = {"annotations": _asked(dice, levels, 1)}
        worker["metadata"] = {"annotations": _asked(dice, levels, size - 1) if size > 1 else {}}


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
