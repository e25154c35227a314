"""What one pod asks for, computed from its spec as the scheduler does (kueue-contract 2.1).

Containers add up. Init containers run one after another beside the sidecars that were started
before them, so the larger of the two phases counts. Pod-level requests replace the sum, and the
overhead of the runtime class comes on top. Limits stand in for missing requests, as they do in
every pod that an API server has stored; Volcano's PodGroups are written without that.
"""

from collections.abc import Mapping
from typing import Any

from lws_kueue.api import quantity

# Every pod takes one of the pods that a node has room for.
PODS = "pods"


def of_pod(spec: Mapping[str, Any], *, limits_count: bool = True) -> quantity.Amounts:
    """Return what a pod with this spec requests; ``limits_count`` where a request is missing.

    Raises:
        ValueError: an amount is no quantity.
    """

    def of(container: Mapping[str, Any]) -> quantity.Amounts:
        return _of_container(container, limits_count=limits_count)

    running = quantity.add(*(of(c) for c in spec.get("containers") or ()))
    starting: quantity.Amounts = {}
    sidecars: quantity.Amounts = {}
    for container in spec.get("initContainers") or ():
        if container.get("restartPolicy") == "Always":
            sidecars = quantity.add(sidecars, of(container))
            starting = quantity.largest(starting, sidecars)
        else:
            starting = quantity.largest(starting, quantity.add(sidecars, of(container)))
    total = quantity.largest(quantity.add(running, sidecars), starting)
    total |= of(spec)
    return quantity.add(total, quantity.parse_all(spec.get("overhead")))


def _of_container(container: Mapping[str, Any], *, limits_count: bool) -> quantity.Amounts:
    resources = container.get("resources") or {}
    limits = quantity.parse_all(resources.get("limits")) if limits_count else {}
    return limits | quantity.parse_all(resources.get("requests"))
