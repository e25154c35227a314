"""What the API server will add to the pods of a Workload is counted with it."""

from typing import Any

import pytest

from tests.kit.standin.world import World, pod_set

Json = dict[str, Any]


def usage(spec: Json, *, limits: list[Json] | None = None) -> Any:
    world = World()
    world.queues({"cpu": "9"})
    world.add("RuntimeClass", "heavy", overhead={"podFixed": {"cpu": "50m"}}, handler="heavy")
    if limits is not None:
        world.add("LimitRange", "defaults", spec={"limits": limits})
    world.workload("w", pod_sets=[pod_set("main", count=2, spec=spec)])
    world.settle()
    return world.assignment("w")["resourceUsage"]["cpu"]


def container(requests: str = "", limits: str = "") -> Json:
    amounts = {"requests": {"cpu": requests}, "limits": {"cpu": limits}}
    resources = {key: value for key, value in amounts.items() if value["cpu"]}
    return {"name": "c", "resources": resources}


DEFAULTS = [{"type": "Container", "defaultRequest": {"cpu": "100m"}, "default": {"cpu": "1"}}]


@pytest.mark.parametrize(
    ("spec", "limits", "total"),
    [
        ({"containers": [container("200m")]}, None, "400m"),
        ({"containers": [container("200m")], "runtimeClassName": "heavy"}, None, "500m"),
        ({"containers": [container("200m")], "runtimeClassName": "other"}, None, "400m"),
        ({"containers": [container(), container("200m")]}, DEFAULTS, "600m"),
        ({"containers": [container(limits="2")]}, DEFAULTS, "200m"),
        ({"containers": [container()]}, [{"type": "Container", "default": {"cpu": "1"}}], "2"),
        ({"initContainers": [container("300m")], "containers": [container()]}, DEFAULTS, "600m"),
        ({"containers": [container("200m")]}, [{"type": "Pod", "max": {"cpu": "8"}}], "400m"),
    ],
)
def test_overhead_and_defaults_are_counted(
    spec: Json, limits: list[Json] | None, total: str
) -> None:
    assert usage(spec, limits=limits) == total
