"""What Kueue adds to a pod set before it counts it: what the API server will add to the pods.

The overhead of the runtime class, and the defaults of the namespace's LimitRanges, where the
template says nothing else (kueue-contract 2.1; ``pkg/workload/resources.go`` of Kueue v0.19.2). A
request that a container leaves out is the default request first and the limit after that.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from lws_kueue.api import requests
from lws_kueue.simulator import objects

_Amounts = Mapping[str, Any]
_Observed = TypeVar("_Observed", bound=objects.Observed)


def complete(observed: _Observed) -> _Observed:
    """Return what is observed with pod sets that request what their pods will request."""
    if not observed.runtime_classes and not observed.limit_ranges:
        return observed
    by_namespace: dict[str, list[objects.LimitRange]] = {}
    for (namespace, _), limits in sorted(observed.limit_ranges.items()):
        by_namespace.setdefault(namespace, []).append(limits)
    workloads = {
        key: dataclasses.replace(
            workload,
            pod_sets=tuple(
                _completed(one, observed.runtime_classes, by_namespace.get(key[0], ()))
                for one in workload.pod_sets
            ),
        )
        for key, workload in observed.workloads.items()
    }
    return dataclasses.replace(observed, workloads=workloads)


def _completed(
    pod_set: objects.PodSet, overheads: Mapping[str, _Amounts], limits: Iterable[objects.LimitRange]
) -> objects.PodSet:
    spec = dict(pod_set.spec)
    overhead = overheads.get(spec.get("runtimeClassName") or "")
    if overhead and not spec.get("overhead"):
        spec["overhead"] = overhead
    for one in limits:
        for field in ("initContainers", "containers"):
            if field in spec:
                spec[field] = [_defaulted(container, one.container) for container in spec[field]]
        if spec.get("resources"):
            spec = _defaulted(spec, one.pod)
    return dataclasses.replace(pod_set, spec=spec, single=requests.of_pod(spec))


def _defaulted(holder: Mapping[str, Any], defaults: objects.Defaults) -> dict[str, Any]:
    resources = holder.get("resources") or {}
    return {
        **holder,
        "resources": {
            **resources,
            "limits": {**defaults.limits, **(resources.get("limits") or {})},
            "requests": {**defaults.requests, **(resources.get("requests") or {})},
        },
    }
