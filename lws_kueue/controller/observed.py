"""Everything one pass over a set may look at, as one value."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from lws_kueue.api import facts, kueue, lws

Support = Literal["served", "missing", "unsupported"]


@dataclass(frozen=True, slots=True)
class Kueue:
    """What is known of Kueue; ``detail`` says in words what is wrong unless it is served.

    Mappings are by name. ``local_queues`` are those of the set's namespace.
    """

    support: Support
    detail: str = ""
    local_queues: Mapping[str, kueue.LocalQueue] = field(default_factory=dict)
    cluster_queues: Mapping[str, kueue.ClusterQueue] = field(default_factory=dict)
    flavors: Mapping[str, kueue.ResourceFlavor] = field(default_factory=dict)
    workload_priority_classes: Mapping[str, kueue.WorkloadPriorityClass] = field(
        default_factory=dict
    )
    priority_classes: Mapping[str, kueue.PriorityClass] = field(default_factory=dict)
    admission_checks: Mapping[str, kueue.AdmissionCheck] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Observed:
    """A set and its objects by name; ``lws`` is None when the set itself is gone."""

    namespace: str
    name: str
    lws: lws.LeaderWorkerSet | None
    kueue: Kueue
    stateful_sets: Mapping[str, facts.StatefulSet] = field(default_factory=dict)
    pods: Mapping[str, facts.Pod] = field(default_factory=dict)
    services: Mapping[str, facts.Service] = field(default_factory=dict)
    revisions: Mapping[str, facts.Revision] = field(default_factory=dict)
    workloads: Mapping[str, kueue.Workload] = field(default_factory=dict)
