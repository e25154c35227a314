"""All that the stand-in watches: what admission depends on, and what it does besides."""

import dataclasses
from collections.abc import Mapping

from lws_kueue.simulator import objects
from lws_kueue_lab.kueue_standin import nodes as machines

Object = objects.Object


@dataclasses.dataclass(frozen=True, slots=True)
class PriorityClass:
    """A WorkloadPriorityClass."""

    name: str
    value: int

    @classmethod
    def of(cls, obj: Object) -> "PriorityClass":
        """Parse a WorkloadPriorityClass."""
        return cls(name=obj["metadata"]["name"], value=int(obj.get("value", 0)))


@dataclasses.dataclass(frozen=True, slots=True)
class Watched(objects.Observed):
    """Everything that a pass decides from."""

    pods: Mapping[tuple[str, str], machines.Pod] = dataclasses.field(default_factory=dict)
    priority_classes: Mapping[str, PriorityClass] = dataclasses.field(default_factory=dict)
