"""The objects last seen, parsed, safe for several threads.

A version only ever gives way to a newer one: answers to our own writes arrive here before the
watch delivers them, and the watch may still deliver what was before.
"""

import dataclasses
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from lws_kueue.api import names
from lws_kueue.simulator import nodes, objects
from lws_kueue_lab.kueue_standin import nodes as machines
from lws_kueue_lab.kueue_standin import watched

Object = Mapping[str, Any]
Key = tuple[str, str]


@dataclasses.dataclass(frozen=True, slots=True)
class Kind:
    """A kind that is watched; ``field`` is its place in `watched.Watched`.

    ``parse`` returns None for an object that no decision depends on.
    """

    api_version: str
    kind: str
    field: str
    parse: Callable[[Object], Any]
    namespaced: bool = False


def _labels(namespace: Object) -> Mapping[str, str]:
    return namespace["metadata"].get("labels") or {}


_KUEUE: Final = names.KUEUE_API_VERSION

KINDS: Final = (
    Kind(_KUEUE, "Workload", "workloads", objects.Workload.of, namespaced=True),
    Kind(_KUEUE, "LocalQueue", "local_queues", objects.LocalQueue.of, namespaced=True),
    Kind(_KUEUE, "ClusterQueue", "cluster_queues", objects.ClusterQueue.of),
    Kind(_KUEUE, "Cohort", "cohorts", objects.Cohort.of),
    Kind(_KUEUE, "ResourceFlavor", "flavors", objects.Flavor.of),
    Kind(_KUEUE, "Topology", "topologies", objects.Topology.of),
    Kind(_KUEUE, "AdmissionCheck", "checks", objects.AdmissionCheck.of),
    Kind(_KUEUE, "WorkloadPriorityClass", "priority_classes", watched.PriorityClass.of),
    Kind("v1", "Namespace", "namespaces", _labels),
    Kind("v1", "LimitRange", "limit_ranges", objects.LimitRange.of, namespaced=True),
    Kind("node.k8s.io/v1", "RuntimeClass", "runtime_classes", objects.overhead_of),
    Kind("v1", "Node", "nodes", nodes.Node.of),
    Kind("v1", "Pod", "pods", machines.Pod.of, namespaced=True),
)


class Store:
    """Parsed objects by kind and key; calls ``on_change`` when a decision could come out new."""

    def __init__(self, on_change: Callable[[], None]) -> None:
        self._on_change = on_change
        self._lock = threading.Lock()
        self._objects: dict[str, dict[Key, tuple[int, Any]]] = {k.kind: {} for k in KINDS}
        self._deleted: dict[str, dict[Key, int]] = {k.kind: {} for k in KINDS}

    def put(self, kind: Kind, obj: Object) -> None:
        """Take an object unless a newer version or its deletion was seen."""
        key, version = _key(obj), _version(obj)
        parsed = kind.parse(obj)
        with self._lock:
            objects = self._objects[kind.kind]
            known = objects.get(key)
            if version <= max(known[0] if known else 0, self._deleted[kind.kind].get(key, 0)):
                return
            objects[key] = (version, parsed)
            if (known[1] if known else None) == parsed:
                return
        self._on_change()

    def remove(self, kind: Kind, obj: Object) -> None:
        """Forget a deleted object, for good as far as older versions go."""
        key, version = _key(obj), _version(obj)
        with self._lock:
            known = self._objects[kind.kind].get(key)
            if known is not None and known[0] > version:
                return
            self._objects[kind.kind].pop(key, None)
            self._deleted[kind.kind][key] = version
            if known is None or known[1] is None:
                return
        self._on_change()

    def replace(self, kind: Kind, objects: Iterable[Object], version: int) -> None:
        """Take a whole list as of ``version``; what is missing there and older is gone."""
        listed = list(objects)
        for obj in listed:
            self.put(kind, obj)
        present = {_key(obj) for obj in listed}
        with self._lock:
            known = self._objects[kind.kind]
            for key in [k for k, (v, _) in known.items() if k not in present and v <= version]:
                del known[key]
            # Nothing older than the list can arrive any more.
            self._deleted[kind.kind] = {
                key: at for key, at in self._deleted[kind.kind].items() if at > version
            }
        self._on_change()

    def has(self, kind: str, *, namespace: str, name: str) -> bool:
        """Whether an object is known."""
        with self._lock:
            return (namespace, name) in self._objects[kind]

    def observed(self) -> watched.Watched:
        """Everything as of now."""
        with self._lock:
            fields: dict[str, Any] = {
                kind.field: {
                    (key if kind.namespaced else key[1]): parsed
                    for key, (_, parsed) in self._objects[kind.kind].items()
                    if parsed is not None
                }
                for kind in KINDS
            }
        return watched.Watched(**fields)


def _key(obj: Object) -> Key:
    metadata = obj["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


def _version(obj: Object) -> int:
    # Resource versions are comparable since Kubernetes 1.35; the sandbox has nothing older.
    return int(obj["metadata"]["resourceVersion"])
