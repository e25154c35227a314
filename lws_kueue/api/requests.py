"""What one pod asks for, computed from its spec as Kueue does (kueue-contract 2.1).

This is the one place where requests are computed: by the rules of Kubernetes' own helper
(``PodRequests`` of k8s.io/component-helpers), on a spec that Kueue has completed first
(``AdjustResources``: overhead, LimitRanges, limits as requests). Two pods of which this says the
same are the same to Kueue, however they are written.

Containers add up. Init containers run one after another beside the sidecars that were started
before them, so the larger of the two phases counts, for each resource by itself. Requests of the
pod as a whole replace the sum of cpu, memory and huge pages, and the overhead comes on top. A
resource that is requested with an amount of 0 is requested all the same: Kueue chooses a flavor
for it. Volcano's PodGroups are written without the completion.
"""

from collections.abc import Mapping
from typing import Any, Final

from lws_kueue.api import completion, quantity

# Every pod takes one of the pods that a node has room for.
PODS: Final = "pods"

# What a pod may request as a whole; of another resource Kubernetes adds up the containers.
_POD_LEVEL: Final = frozenset({"cpu", "memory"})
_HUGE_PAGES: Final = "hugepages-"


def of_pod(
    spec: Mapping[str, Any],
    *,
    limits_count: bool = True,
    completed: completion.Completion = completion.NOTHING,
) -> quantity.Amounts:
    """Return what a pod with this spec requests; ``limits_count`` where a request is missing.

    Raises:
        ValueError: an amount is no quantity.
    """

    def of(container: Mapping[str, Any]) -> quantity.Amounts:
        return _of_container(container, limits_count=limits_count, completed=completed)

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
    total |= _of_whole(spec, limits_count=limits_count)
    total = quantity.add(total, quantity.exact_all(_overhead(spec, completed)))
    return {name: quantity.rounded(name, amount) for name, amount in total.items()}


def of_devices(
    spec: Mapping[str, Any], *, completed: completion.Completion = completion.NOTHING
) -> quantity.Amounts:
    """Return the extended resources of a pod as Kueue counts those that a DeviceClass stands for.

    It takes sidecars for init containers then. Which resources those are depends on DeviceClasses,
    so a pod for which either count changes is another one.

    Raises:
        ValueError: an amount is no quantity.
    """

    def of(container: Mapping[str, Any]) -> quantity.Amounts:
        asked = _of_container(container, limits_count=True, completed=completed)
        return {name: amount for name, amount in asked.items() if _is_extended(name) and amount}

    running = quantity.add(*(of(c) for c in spec.get("containers") or ()))
    starting = quantity.largest(*(of(c) for c in spec.get("initContainers") or ()))
    total = quantity.largest(running, starting)
    return {name: quantity.rounded(name, amount) for name, amount in total.items()}


def of_claims(spec: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return the ResourceClaims of a pod: which templates and which claims, each as often as named.

    What they ask for stands in objects that never change. Their names in the pod, and the
    containers that use them, make no difference to Kueue.
    """
    return tuple(
        sorted(
            (claim.get("resourceClaimTemplateName") or "", claim.get("resourceClaimName") or "")
            for claim in spec.get("resourceClaims") or ()
        )
    )


def unknown_class(spec: Mapping[str, Any], completed: completion.Completion) -> str:
    """Return the RuntimeClass of a pod whose overhead nobody knows, "" if there is none."""
    name = str(spec.get("runtimeClassName") or "")
    return "" if spec.get("overhead") or name in completed.overheads else name


def _of_container(
    container: Mapping[str, Any], *, limits_count: bool, completed: completion.Completion
) -> quantity.Amounts:
    resources = container.get("resources") or {}
    limits = {**completed.limits, **(resources.get("limits") or {})}
    requests = {**completed.requests, **(resources.get("requests") or {})}
    return quantity.exact_all({**limits, **requests} if limits_count else requests)


def _of_whole(spec: Mapping[str, Any], *, limits_count: bool) -> quantity.Amounts:
    resources = spec.get("resources") or {}
    limits = resources.get("limits") or {} if limits_count else {}
    asked = quantity.exact_all({**limits, **(resources.get("requests") or {})})
    return {
        name: amount
        for name, amount in asked.items()
        if name in _POD_LEVEL or name.startswith(_HUGE_PAGES)
    }


def _overhead(
    spec: Mapping[str, Any], completed: completion.Completion
) -> Mapping[str, Any] | None:
    own: Mapping[str, Any] | None = spec.get("overhead")
    return own or completed.overheads.get(str(spec.get("runtimeClassName") or ""))


def _is_extended(name: str) -> bool:
    domain, slash, _ = name.partition("/")
    native = domain == "kubernetes.io" or domain.endswith(".kubernetes.io")
    return bool(slash) and not native and not name.startswith(_HUGE_PAGES)
