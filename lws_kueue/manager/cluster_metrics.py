"""What the leader knows of the cluster, as metrics; counted when somebody asks.

These are of our own: the Go manager has no metrics about sets.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Final

from prometheus_client import core, registry

from lws_kueue.api import kueue, lws
from lws_kueue.runtime import cache, informer, metrics, resources
from lws_kueue.workload import state

# Of so many sets groups are counted by themselves; those of all others are one.
MOST_SETS: Final = 500


def _of_sets(sets: list[lws.LeaderWorkerSet]) -> core.Metric:
    """Count the groups of each set, as its spec and its status have them."""
    told = core.GaugeMetricFamily(
        "lws_kueue_set_groups", "Groups of a set by state.", labels=["namespace", "set", "state"]
    )
    counts: Counter[tuple[str, str, str]] = Counter()
    for n, one in enumerate(sorted(sets, key=lambda s: (s.meta.created, s.meta.uid))):
        name = (one.meta.namespace, one.meta.name) if n < MOST_SETS else ("", "")
        counts[*name, "wanted"] += one.spec.replicas
        counts[*name, "existing"] += one.status.replicas
        counts[*name, "ready"] += one.status.ready_replicas
        counts[*name, "updated"] += one.status.updated_replicas
    for labels, count in counts.items():
        told.add_metric(labels, count)
    return told


class _Cluster(registry.Collector):
    """Sets, groups and Workloads in the cache, if there is one."""

    def __init__(self) -> None:
        self.store: cache.Cache | None = None
        self.source: informer.Informer | None = None

    def collect(self) -> Iterator[core.Metric]:
        if self.store is None or self.source is None:
            return
        sets = [s for s in self.store.all(resources.SETS) if isinstance(s, lws.LeaderWorkerSet)]
        yield core.GaugeMetricFamily("lws_kueue_sets", "LeaderWorkerSets.", value=len(sets))
        groups = core.GaugeMetricFamily(
            "lws_kueue_groups", "Groups of all sets, as their status has them.", labels=["state"]
        )
        groups.add_metric(["existing"], sum(s.status.replicas for s in sets))
        groups.add_metric(["ready"], sum(s.status.ready_replicas for s in sets))
        groups.add_metric(["updated"], sum(s.status.updated_replicas for s in sets))
        yield groups
        yield _of_sets(sets)
        found = self.store.all(resources.WORKLOADS)
        counts = Counter(state.admission(w) for w in found if isinstance(w, kueue.Workload))
        workloads = core.GaugeMetricFamily(
            "lws_kueue_workloads", "Workloads by where they stand.", labels=["state"]
        )
        for each in state.Admission:
            workloads.add_metric([each.value], counts[each])
        yield workloads
        served = self.source.support == "served"
        yield core.GaugeMetricFamily(
            "lws_kueue_kueue_served", "Whether Kueue's API is served: 1 or 0.", value=served
        )


_cluster: Final = _Cluster()
metrics.REGISTRY.register(_cluster)


def observe(*, store: cache.Cache | None, source: informer.Informer | None) -> None:
    """Count what is in this cache from now on; None: nothing, as nothing is known any more."""
    _cluster.store, _cluster.source = store, source
