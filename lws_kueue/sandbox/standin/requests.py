"""What one pod asks for, computed from its spec as the scheduler does (kueue-contract 2.1).

Containers add up. Init containers run one after another beside the sidecars that were started
before them, so the larger of the two phases counts. Limits stand in for missing requests,
pod-level requests replace the sum, and the overhead of the runtime class comes on top.
"""

from collections.abc import Mapping
from typing import Any

from lws_kueue.sandbox.standin import quantity

# Every pod takes one of the pods that a node has room for.
PODS = "pods"


def of_pod(spec: Mapping[str, Any]) -> quantity.Amounts:
    """Return what a pod with this spec requests."""
    running = quantity.add(*(_of_container(c) for c in spec.get("containers") or ()))
    starting: quantity.Amounts = {}
    sidecars: quantity.Amounts = {}
    for container in spec.get("initContainers") or ():
        if container.get("restartPolicy") == "Always":
            sidecars = quantity.add(sidecars, _of_container(container))
            starting = quantity.largest(starting, sidecars)
        else:
            starting = quantity.largest(starting, quantity.add(sidecars, _of_container(container)))
    total = quantity.largest(quantity.add(running, sidecars), starting)
    total |= _of_container(spec)
    return quantity.add(total, quantity.parse_all(spec.get("overhead")))


def _of_container(container: Mapping[str, Any]) -> quantity.Amounts:
    resources = container.get("resources") or {}
    limits = quantity.parse_all(resources.get("limits"))
    return limits | quantity.parse_all(resources.get("requests"))
