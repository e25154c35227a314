"""Sets of every shape, and what this version makes of each when it comes to rest.

They are those of other tests where there are some: the golden recordings as the API server stored
them, those that the real manager's were compared with, and those of earlier versions of LWS. Beside
them are the few that say what none of these does.
"""

import copy
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, Final

from lws_kueue.api import actions, facts, kueue, names
from lws_kueue.controller.observe import observed
from tests.kit import golden
from tests.kit.builders import sets as build
from tests.kit.live import harness
from tests.kit.memory import cluster_model
from tests.kit.tables import cases
from tests.kit.takeover import sets, stored

Object = dict[str, Any]
Identity = tuple[str, str]
"""Kind and name of an object."""

QUEUE: Final = "queue"
CLASS: Final = "high"
POOL: Final = "example.com/pool"

# Of those that were made to be changed while they run the shape is that of another one.
_ONLY_EDITED: Final = {"halfway", "scaled", "updated"}
_KEPT: Final = {"name", "namespace", "labels", "annotations"}


def sets_by_name() -> dict[str, Object]:
    """Return all sets; each is named for what it shows."""
    found = {f"golden-{name}": golden.load(name).stored for name in golden.NAMES}
    taken_over = sets.all_of_them()
    found |= {name: taken_over[name] for name in taken_over.keys() - _ONLY_EDITED}
    found |= {
        f"stored-{version}": _set(spec=spec, annotations=stored.ANNOTATIONS.get(version))
        for version, spec in stored.SPECS.items()
    }
    found |= {f"queued-{name}": _queued(taken_over[name]) for name in ("wide", "excluded")}
    found |= dict(_others())
    return {name: _named(name, obj) for name, obj in sorted(found.items())}


def _others() -> Iterator[tuple[str, Object]]:
    """Yield what no other test has: each mark on a set or its templates that is acted on."""
    for topology in (names.PODSET_PREFERRED_TOPOLOGY, names.PODSET_UNCONSTRAINED_TOPOLOGY):
        value = "true" if topology == names.PODSET_UNCONSTRAINED_TOPOLOGY else cases.RACK
        name = topology.removeprefix(names.KUEUE_PREFIX).removesuffix("-topology")
        yield f"tas-{name}", _queued(_small(size=4, pod_annotations={topology: value}))
    slices = {
        names.PODSET_REQUIRED_TOPOLOGY: "cloud.provider.com/topology-block",
        names.PODSET_SLICE_REQUIRED_TOPOLOGY: cases.RACK,
        names.PODSET_SLICE_SIZE: "2",
    }
    yield "tas-slices", _queued(_small(size=4, pod_annotations=slices))
    layers = {
        names.PODSET_REQUIRED_TOPOLOGY: "cloud.provider.com/topology-block",
        names.PODSET_SLICE_CONSTRAINTS: '[{"topology":"kubernetes.io/hostname","size":2}]',
    }
    yield "tas-layers", _queued(_small(size=4, pod_annotations=layers))
    subgroups = {"subGroupPolicy": {"subGroupPolicyType": "LeaderWorker", "subGroupSize": 2}}
    apart = {names.EXCLUSIVE_TOPOLOGY: POOL, names.SUBGROUP_EXCLUSIVE_TOPOLOGY: cases.RACK}
    yield "exclusive-subgroups", _small(size=4, annotations=apart, group=subgroups)
    yield "queued-exclusive", _queued(_small(annotations={names.EXCLUSIVE_TOPOLOGY: POOL}))
    surge = build.rolling(unavailable=0, surge="50%")
    yield "surge", _small(replicas=2, rolloutStrategy=surge, startupPolicy="LeaderReady")
    ranked = {names.PRIORITY_CLASS: CLASS, names.MAX_EXEC_TIME_SECONDS: "3600"}
    yield "queued-priority", _queued(_small(leader=True), **ranked)
    tools = {"app.kubernetes.io/instance": "x", "team": "x"}
    yield "of-a-tool", _with_labels(_small(annotations={"note": "x"}), tools)
    gang = {names.VOLCANO_QUEUE: "batch", f"{names.VOLCANO_PREFIX}preemptable": "true"}
    yield "gang", _small(annotations=gang)
    yield "gang-leader-ready", _small(annotations=gang, startupPolicy="LeaderReady")


def _small(*, replicas: int = 1, **options: Any) -> Object:
    return harness.leader_worker_set("any", namespace="any", replicas=replicas, **options)


def _set(*, spec: Object, annotations: Mapping[str, str] | None) -> Object:
    return {
        "apiVersion": names.LWS_API_VERSION,
        "kind": names.LWS_KIND,
        "metadata": {"annotations": dict(annotations or {})},
        "spec": spec,
    }


def _with_labels(obj: Object, labels: Mapping[str, str]) -> Object:
    meta = obj["metadata"]
    return {**obj, "metadata": meta | {"labels": meta.get("labels", {}) | dict(labels)}}


def _queued(obj: Object, **labels: str) -> Object:
    return _with_labels(obj, {names.QUEUE_NAME: QUEUE, **labels})


def _named(name: str, obj: Object) -> Object:
    """Return a set as an API server stores it: under its name here, and without a status."""
    kept = {key: value for key, value in obj["metadata"].items() if key in _KEPT and value}
    if names.QUEUE_NAME in kept.get("labels", {}):
        kept["labels"] = kept["labels"] | {names.QUEUE_NAME: QUEUE}
    meta = {**kept, "name": name, "namespace": cluster_model.NAMESPACE, "generation": 1}
    return copy.deepcopy({**{k: obj[k] for k in ("apiVersion", "kind", "spec")}, "metadata": meta})


def rendered(obj: Object) -> list[Object]:
    """Return what is made for a set until nothing is left to do: of its groups, for the first."""
    cluster = _Cluster(gang=names.VOLCANO_QUEUE in obj["metadata"].get("annotations", {}))
    cluster.store(copy.deepcopy(obj))
    name = obj["metadata"]["name"]
    for _ in range(40):
        for pending in cluster.pending():
            cluster.admit(pending)
        cluster.end_pods()
        cluster.collect_garbage()
        cluster.make_pods()
        cluster.run_pods()
        if not cluster.pass_once(name) and not cluster.pending():
            break
    else:
        raise AssertionError(f"{name} does not come to rest: {cluster.decide(name)}")
    first = (made for made in cluster.made.values() if _is_of_first_group(made, owner=name))
    return sorted(first, key=identity)


def identity(obj: Mapping[str, Any]) -> Identity:
    """Return by what an object is known among those of a set."""
    return obj["kind"], obj["metadata"]["name"]


def _is_of_first_group(made: Object, *, owner: str) -> bool:
    """Whether an object is of the whole set, or of its group 0."""
    if made["kind"] == "ControllerRevision":
        return True
    if made["kind"] == "Workload":
        return bool(made["metadata"]["annotations"][names.COMPONENT_WORKLOAD_INDEX] == "0")
    return made["metadata"]["name"] in (owner, f"{owner}-0")


class _Cluster(cluster_model.Cluster):
    """Writes down what is made; UIDs depend on names alone, and so not on the number of writes."""

    def __init__(self, *, gang: bool) -> None:
        super().__init__()
        self.built_in = False
        self.made: dict[Identity, Object] = {}
        self._gang = gang
        topology = {POOL: "a", cases.RACK: "r1", "cloud.provider.com/topology-block": "b1"}
        labels = {"metadata": {"name": "node-0", "labels": topology}}
        self.nodes = {"node-0": facts.Node.of(labels)}

    def before(self, action: actions.Action | actions.StatusWrite) -> None:
        if isinstance(action, actions.Create | actions.Apply) and "status" not in action.body:
            self.made[identity(action.body)] = copy.deepcopy(dict(action.body))

    def store(self, obj: Object) -> None:
        super().store(obj)
        obj["metadata"]["uid"] = "-".join(identity(obj)).lower()

    def observe(self, name: str) -> observed.Observed:
        rank = {"metadata": {"name": CLASS}, "value": 100}
        seen = super().observe(name)
        classes = {CLASS: kueue.WorkloadPriorityClass.of(rank)}
        seen = dataclasses.replace(
            seen, kueue=dataclasses.replace(seen.kueue, workload_priority_classes=classes)
        )
        if self._gang:
            ganged = {n: facts.Named.of(obj) for n, obj in self.of_kind("PodGroup").items()}
            seen = dataclasses.replace(seen, pod_groups=ganged)
        return seen

    def make_pods(self, *, late: bool = False) -> None:
        super().make_pods(late=late)
        # As the policy for Volcano does.
        for name, pod in self.of_kind("Pod").items():
            if self._gang:
                pod["metadata"].setdefault("annotations", {})[names.POD_GROUP] = name
