"""Whether a pod asks for more than its group was admitted for.

Kueue counts the template of the set, with the defaults of LimitRanges and the overhead of a
RuntimeClass as they are at admission (kueue-contract 2.1). The pod itself is what the API server
makes of the template: a webhook may inject a container or raise a request, a LimitRange may have
changed since. What comes on top that way has no quota behind it, so such a pod is not released.

Only what Kueue counts is compared, that is the resources of the admission. A configuration of
Kueue's may count a resource as less than the template asks for, or as another one (resource
transformations), so what the template itself requests is never an excess.
"""

from collections.abc import Mapping
from typing import Any

from lws_kueue.api import facts, kueue, quantity, requests
from lws_kueue.api.reasons import Reason

_ADVICE = (
    "Something adds to the pods after the set's template was counted, such as a webhook that"
    " injects a container: put what it adds into the pod template, give the template pod-level"
    " requests (spec.resources) that hold it as well, or keep it off these pods. If a LimitRange or"
    " a RuntimeClass has changed, delete the Workload to have the group counted anew"
)


def problem(
    workload: kueue.Workload, assigned: kueue.PodSetAssignment, pod: facts.Pod, *, count: int
) -> Reason | None:
    """Return why a pod of an admitted podset of ``count`` pods may not be released, or None."""
    try:
        excess = _excess(workload, assigned, pod.spec, count=count)
    except ValueError as error:
        return _problem(f"nobody can tell what pod {pod.meta.name} requests: {error}")
    if not excess:
        return None
    told = ", ".join(
        f"{quantity.render(name, asked)} of {name} instead of {quantity.render(name, admitted)}"
        for name, (asked, admitted) in sorted(excess.items())
    )
    return _problem(
        f"pod {pod.meta.name} requests more than podset {assigned.name} of Workload"
        f" {workload.meta.name} was admitted for: {told}",
        fix=_ADVICE,
    )


def _problem(text: str, *, fix: str = "") -> Reason:
    return Reason("PodExceedsAdmission", text, fix)


def _excess(
    workload: kueue.Workload,
    assigned: kueue.PodSetAssignment,
    spec: Mapping[str, Any],
    *,
    count: int,
) -> dict[str, tuple[int, int]]:
    """Return by resource what the pod asks for and what one pod was admitted with.

    Raises:
        ValueError: an amount is no quantity.
    """
    total = quantity.parse_all(assigned.resource_usage)
    if not total or not count:
        return {}
    asked = requests.of_pod(spec)
    template = _template_requests(workload, assigned.name)
    return {
        name: (asked[name], admitted // count)
        for name, admitted in total.items()
        if name in asked and asked[name] > max(-(-admitted // count), template.get(name, 0))
    }


def _template_requests(workload: kueue.Workload, podset: str) -> quantity.Amounts:
    """Return what the template of a podset requests in so many words.

    A limit that stands for a request is left out: where a LimitRange has a default request, Kueue
    counts that one, and the API server the limit. Devices are asked for by their limit alone, and
    Kueue may count them by what DRA makes of them.
    """
    found = (one.template for one in workload.spec.pod_sets if one.name == podset)
    spec = next(found, {}).get("spec") or {}
    devices = {name: amount for name, amount in requests.of_pod(spec).items() if "/" in name}
    return requests.of_pod(spec, limits_count=False) | devices
