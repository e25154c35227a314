"""What a Kueue did with random clusters, kept as rows, and how `whatif` is judged by them."""

import gzip
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from lws_kueue.kubectl import look, whatif
from lws_kueue.runtime import keys, resources
from tests.kit.whatif import clusters

Object = dict[str, Any]

KEPT: Final = Path(__file__).parents[2] / "golden" / "whatif"
KINDS: Final = {
    one.kind: one
    for one in (
        resources.WORKLOADS,
        resources.LOCAL_QUEUES,
        resources.CLUSTER_QUEUES,
        look.COHORTS,
        resources.FLAVORS,
        resources.WORKLOAD_PRIORITY_CLASSES,
        look.TOPOLOGIES,
        resources.NODES,
        resources.PODS,
    )
}


@dataclass(frozen=True)
class Row:
    """A cluster as it was before the change, by kind, and the groups that had quota after it."""

    cluster: clusters.Cluster
    now: str
    stored: Mapping[str, list[Object]]
    admitted: tuple[int, ...]

    def seen(self) -> look.Seen:
        """Return what somebody would have read."""
        stored = {KINDS[kind]: found for kind, found in self.stored.items()}
        live = self.cluster.live
        key = keys.SetKey(clusters.NAMESPACE, live["metadata"]["name"])
        now = datetime.fromisoformat(self.now)
        return look.of(live, stored, key=key, now=now, nodes=stored.get(resources.NODES, ()))

    def answer(self) -> whatif.Answer:
        """Return what `whatif` says."""
        return whatif.answer(self.seen(), self.cluster.change, pods=self.stored.get("Pod", ()))

    def foretold(self) -> tuple[int, ...]:
        """Return the groups that `whatif` says would have quota."""
        return tuple(one.index for one in self.answer().groups if one.then == "runs")

    @property
    def right(self) -> bool:
        """Whether it says so of the groups that then had."""
        return self.foretold() == self.admitted


def trimmed(obj: Object) -> Object:
    """Return an object without what nothing depends on."""
    kept = (
        "name",
        "namespace",
        "uid",
        "creationTimestamp",
        "labels",
        "annotations",
        "ownerReferences",
    )
    metadata = {key: obj["metadata"][key] for key in kept if obj["metadata"].get(key)}
    found: Object = {"metadata": metadata}
    found |= {key: obj[key] for key in ("spec", "status", "value") if key in obj}
    if obj["kind"] == "Node":
        found["status"] = _of_node(obj["status"])
    for pods in (found.get("spec") or {}).get("podSets") or ():
        spec = pods["template"]["spec"]
        containers = [{"name": c["name"], "resources": c["resources"]} for c in spec["containers"]]
        pods["template"] = {
            "spec": {
                **{key: spec[key] for key in ("nodeSelector", "tolerations") if key in spec},
                "containers": containers,
            }
        }
    return found


def _of_node(status: Object) -> Object:
    ready = [
        {"type": one["type"], "status": one["status"]}
        for one in status["conditions"]
        if one["type"] == "Ready"
    ]
    return {"allocatable": status["allocatable"], "conditions": ready}


def file_of(kind: clusters.Kind) -> Path:
    """Return where the rows of a kind are kept."""
    return KEPT / f"{kind.name}.jsonl.gz"


def kept(kind: clusters.Kind) -> list[Row]:
    """Return the rows that are kept of a kind."""
    with gzip.open(file_of(kind), "rt") as lines:
        return [row_of(json.loads(line)) for line in lines]


def row_of(stored: Object) -> Row:
    """Parse a row."""
    given = stored["cluster"]
    quotas = {(queue, flavor, kind): n for queue, flavor, kind, n in given.pop("quotas")}
    kind = clusters.KINDS[given.pop("kind")]
    return Row(
        cluster=clusters.Cluster(**given, kind=kind, quotas=quotas),
        now=stored["now"],
        stored=stored["stored"],
        admitted=tuple(stored["admitted"]),
    )


def _line(row: Row) -> str:
    one = row.cluster
    # What was made of the cluster stands in what was stored.
    given = {
        "seed": one.seed,
        "kind": one.kind.name,
        "around": [],
        "steps": [],
        "manifest": one.manifest,
        "groups": one.groups,
        "quotas": [[*kind, amount] for kind, amount in one.quotas.items()],
    }
    kept_row = {
        "cluster": given,
        "now": row.now,
        "admitted": row.admitted,
        "stored": row.stored,
    }
    return json.dumps(kept_row, sort_keys=True)


def keep(rows: Iterable[Row]) -> None:
    """Keep rows, in the order of their seeds and without the time of writing."""
    KEPT.mkdir(exist_ok=True)
    for kind, found in by_kind(rows).items():
        text = "".join(f"{_line(row)}\n" for row in found)
        file_of(kind).write_bytes(gzip.compress(text.encode(), mtime=0))


def by_kind(rows: Iterable[Row]) -> dict[clusters.Kind, list[Row]]:
    """Return rows by the kind of their clusters, in the order of their seeds."""
    found: dict[clusters.Kind, list[Row]] = {kind: [] for kind in clusters.KINDS.values()}
    for row in sorted(rows, key=lambda row: row.cluster.seed):
        found[row.cluster.kind].append(row)
    return found


def share(rows: list[Row]) -> tuple[float, list[str]]:
    """Return of how many rows `whatif` is right, as a share, and what it says of the others."""
    wrong = [row for row in rows if not row.right]
    told = [f"{row.cluster.seed}: {row.foretold()} instead of {row.admitted}" for row in wrong]
    return 1 - len(wrong) / len(rows), told


def own(name: str, objects: Iterable[Object]) -> Iterator[Object]:
    """Yield the objects of one cluster, and those that all have."""
    for one in objects:
        called = one["metadata"]["name"]
        mine = called.startswith((f"{name}-", f"leaderworkerset-{name}-"))
        if mine or one.get("kind") == "WorkloadPriorityClass":
            yield one
