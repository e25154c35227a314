"""What a cluster adds to the requests of a pod before Kueue counts them (kueue-contract 2.1).

LimitRanges give containers requests and limits that are missing, and a RuntimeClass gives the pod
its overhead. Kueue adds both to a Workload's pod sets as it reads them, so whether two pods request
the same depends on what the cluster has.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from lws_kueue.api import facts

Quantities = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class LimitRange:
    """The defaults for containers of a namespace, each resource as it is written."""

    meta: facts.Meta
    limits: Quantities = field(default_factory=dict)
    requests: Quantities = field(default_factory=dict)

    @classmethod
    def of(cls, obj: facts.Object) -> "LimitRange":
        """Parse a LimitRange; of several entries about a resource the first counts.

        Entries for pods and claims have no defaults; the API server refuses some.
        """
        limits: dict[str, Any] = {}
        requests: dict[str, Any] = {}
        for item in (obj.get("spec") or {}).get("limits") or ():
            if item.get("type") == "Container":
                limits = {**(item.get("default") or {}), **limits}
                requests = {**(item.get("defaultRequest") or {}), **requests}
        return cls(facts.Meta.of(obj), limits, requests)


@dataclass(frozen=True, slots=True)
class RuntimeClass:
    """What a pod of a class uses besides its containers."""

    meta: facts.Meta
    overhead: Quantities = field(default_factory=dict)

    @classmethod
    def of(cls, obj: facts.Object) -> "RuntimeClass":
        """Parse a RuntimeClass."""
        return cls(facts.Meta.of(obj), (obj.get("overhead") or {}).get("podFixed") or {})


@dataclass(frozen=True, slots=True)
class Completion:
    """What is added where a pod's spec says nothing; ``overheads`` are by RuntimeClass."""

    limits: Quantities = field(default_factory=dict)
    requests: Quantities = field(default_factory=dict)
    overheads: Mapping[str, Quantities] = field(default_factory=dict)


# Of a namespace without LimitRanges in a cluster without RuntimeClasses.
NOTHING: Final = Completion()
AS_WRITTEN: Final = (NOTHING,)


def completions(
    limit_ranges: Iterable[LimitRange], runtime_classes: Iterable[RuntimeClass]
) -> tuple[Completion, ...]:
    """Return each way in which a namespace's pods may be completed; most often there is one.

    Where several LimitRanges have a default for a resource, Kueue and the API server take that of
    the first that they come across, in no order. Resources do not depend on each other, so it is
    enough that each LimitRange is the first once.
    """
    overheads = {one.meta.name: one.overhead for one in runtime_classes}
    ranges = sorted(limit_ranges, key=lambda one: one.meta.name)
    found: list[Completion] = []
    for start in range(len(ranges) or 1):
        limits: dict[str, Any] = {}
        requests: dict[str, Any] = {}
        for one in (*ranges[start : start + 1], *ranges):
            limits = {**one.limits, **limits}
            requests = {**one.requests, **requests}
        if (complete := Completion(limits, requests, overheads)) not in found:
            found.append(complete)
    return tuple(found)
