"""Whether a pod asks for more than its group was admitted for.

Kueue counts the template of the set, with the defaults of LimitRanges and the overhead of a
RuntimeClass as they are at admission (kueue-contract 2.1). The pod itself is what the API server
makes of the template: a webhook may inject a container or raise a request, a LimitRange may have
changed since. What comes on top that way has no quota behind it, so such a pod is not released.

Containers that the template does not have come from a webhook; a setting says whether what they
alone add is held against the pod (``Injected``).

Only what Kueue counts is compared, that is the resources of the admission. A configuration of
Kueue's may count a resource as less than the template asks for, or as another one (resource
transformations), so what the template itself requests is never an excess.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from lws_kueue.api import derived, facts, kueue, quantity, requests
from lws_kueue.api.reasons import Reason

EXCEEDS = "PodExceedsAdmission"

_ADVICE = (
    "Something adds to the pods after the set's template was counted, such as a webhook that"
    " injects a container: put what it adds into the pod template, give the template pod-level"
    " requests (spec.resources) that hold it as well, or keep it off these pods. If a LimitRange or"
    " a RuntimeClass has changed, delete the Workload to have the group counted anew"
)


class Injected(StrEnum):
    """What becomes of a pod that exceeds its admission only by containers that were injected."""

    HOLD = "Hold"
    WARN = "Warn"


@dataclass(frozen=True, slots=True)
class Excess:
    """What a pod requests beyond its admission; ``holds`` unless it may run all the same."""

    reason: Reason
    holds: bool = True


class Allowance:
    """What each pod of an admitted podset may request."""

    def __init__(
        self,
        workload: kueue.Workload,
        assigned: kueue.PodSetAssignment,
        *,
        count: int,
        injected: Injected = Injected.HOLD,
    ) -> None:
        """``count`` is the number of pods that the podset was admitted for."""
        self._what = f"podset {assigned.name} of Workload {workload.meta.name}"
        self._template = _template(workload, assigned.name)
        self._injected = injected
        self._unreadable = ""
        self._each: dict[str, int] = {}
        self._most: dict[str, int] = {}
        try:
            total = quantity.parse_all(assigned.resource_usage) if count else {}
            written = _written(self._template) if total else {}
        except ValueError as error:
            self._unreadable = f"nobody can tell what {self._what} was admitted for: {error}"
            return
        self._each = {name: amount // count for name, amount in total.items()}
        self._most = {
            name: max(-(-amount // count), written.get(name, 0)) for name, amount in total.items()
        }

    def excess(self, pod: facts.Pod) -> Excess | None:
        """Return what a pod requests beyond that, None for nothing."""
        if self._unreadable:
            return Excess(_problem(self._unreadable))
        try:
            beyond = self._beyond(_asked(pod)) if self._most else {}
            if not beyond:
                return None
            own = self._own(pod.spec)
            only_injected = own != pod.spec and not self._beyond(requests.of_pod(own))
        except ValueError as error:
            text = f"nobody can tell what pod {pod.meta.name} requests"
            return Excess(_problem(f"{text}: {error}", about=text))
        told = ", ".join(
            f"{quantity.render(name, asked)} of {name} instead of"
            f" {quantity.render(name, self._each[name])}"
            for name, asked in sorted(beyond.items())
        )
        reason = _problem(
            f"pod {pod.meta.name} requests more than {self._what} was admitted for: {told}",
            fix=_ADVICE,
            about=f"pod {pod.meta.name}: requests",
        )
        return Excess(reason, holds=not (only_injected and self._injected is Injected.WARN))

    def _beyond(self, asked: quantity.Amounts) -> dict[str, int]:
        """Return by resource what of the requests of a pod is too much."""
        return {
            name: asked[name]
            for name, most in self._most.items()
            if name in asked and asked[name] > most
        }

    def _own(self, spec: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the spec of a pod without the containers that its template does not have."""
        parts = [part for part in ("containers", "initContainers") if spec.get(part)]
        known = {part: _named(self._template, part) for part in parts}
        own = {part: [c for c in spec[part] if c.get("name") in known[part]] for part in parts}
        return {**spec, **own}


@derived.once
def _asked(pod: facts.Pod) -> quantity.Amounts:
    """Return what a pod requests.

    Raises:
        ValueError: an amount is no quantity.
    """
    return requests.of_pod(pod.spec)


def _problem(text: str, *, fix: str = "", about: str = "") -> Reason:
    return Reason(EXCEEDS, text, fix, about=about)


def _named(template: Mapping[str, Any], part: str) -> set[str]:
    return {one.get("name", "") for one in template.get(part) or ()}


def _template(workload: kueue.Workload, podset: str) -> Mapping[str, Any]:
    """Return the pod spec of a podset's template."""
    found = (one.template for one in workload.spec.pod_sets if one.name == podset)
    spec: Mapping[str, Any] = next(found, {}).get("spec") or {}
    return spec


def _written(spec: Mapping[str, Any]) -> quantity.Amounts:
    """Return what a template requests in so many words.

    A limit that stands for a request is left out: where a LimitRange has a default request, Kueue
    counts that one, and the API server the limit. Devices are asked for by their limit alone, and
    Kueue may count them by what DRA makes of them.
    """
    devices = {name: amount for name, amount in requests.of_pod(spec).items() if "/" in name}
    return requests.of_pod(spec, limits_count=False) | devices
