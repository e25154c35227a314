"""What LWS v0.10.0 and Kueue v0.19.2 made of twelve sets, for tests to compare with.

How they were recorded stands in tests/golden/README.md.
"""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

_HERE = Path(__file__).parents[1] / "golden"

NAMES = tuple(sorted(path.stem for path in _HERE.glob("*.yaml")))


@dataclass(frozen=True, slots=True)
class Golden:
    """A recording: what was applied, and what existed once it had settled."""

    applied: dict[str, Any]
    objects: tuple[dict[str, Any], ...]

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        """Return the recorded objects of a kind."""
        return [obj for obj in self.objects if obj["kind"] == kind]

    def named(self, kind: str, name: str) -> dict[str, Any]:
        """Return one recorded object."""
        return next(obj for obj in self.of_kind(kind) if obj["metadata"]["name"] == name)

    @property
    def stored(self) -> dict[str, Any]:
        """The LeaderWorkerSet as the API server stored it."""
        return self.of_kind("LeaderWorkerSet")[0]


@functools.cache
def _parsed(name: str) -> Golden:
    applied, *objects = yaml.safe_load_all((_HERE / f"{name}.yaml").read_text())
    return Golden(applied=applied, objects=tuple(objects))


def load(name: str) -> Golden:
    """Read a recording; the objects are shared between tests and must not be changed."""
    return _parsed(name)
