"""Sets that the version before this one left at rest are taken over without a write.

The objects are those that a control plane held then, managed fields and all.
"""

import dataclasses
import datetime
import json
from pathlib import Path
from typing import Any

import pytest

from lws_kueue.api import actions, facts, kueue, lws
from lws_kueue.controller import decide
from lws_kueue.controller.observe import observed
from lws_kueue.workload import build

LEFT = Path(__file__).parent / "at_rest"
NAMES = sorted(path.stem for path in LEFT.glob("*.json"))


def observe(name: str) -> observed.Observed:
    """Return what a new process sees of a set, which remembers nothing."""
    left = json.loads((LEFT / f"{name}.json").read_text())
    (live,) = of_kind(left["objects"], "LeaderWorkerSet").values()
    meta = live["metadata"]
    return observed.Observed(
        namespace=meta["namespace"],
        name=meta["name"],
        lws=lws.LeaderWorkerSet.of(live),
        kueue=observed.Kueue(
            support="served",
            built_in=False,
            local_queues=parsed(left["around"], "LocalQueue", kueue.LocalQueue),
            cluster_queues=parsed(left["around"], "ClusterQueue", kueue.ClusterQueue),
            flavors=parsed(left["around"], "ResourceFlavor", kueue.ResourceFlavor),
        ),
        stateful_sets=parsed(left["objects"], "StatefulSet", facts.StatefulSet),
        pods=parsed(left["objects"], "Pod", facts.Pod),
        services=parsed(left["objects"], "Service", facts.Service),
        revisions=parsed(left["objects"], "ControllerRevision", facts.Revision),
        workloads=parsed(left["objects"], "Workload", kueue.Workload),
    )


def of_kind(objects: list[dict[str, Any]], kind: str) -> dict[str, dict[str, Any]]:
    return {obj["metadata"]["name"]: obj for obj in objects if obj["kind"] == kind}


def parsed(objects: list[dict[str, Any]], kind: str, fact: Any) -> dict[str, Any]:
    return {name: fact.of(obj) for name, obj in of_kind(objects, kind).items()}


def decided(seen: observed.Observed) -> actions.Plan:
    now = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)
    return decide.decide(seen, now=now, options=build.Options())


@pytest.mark.parametrize("name", NAMES)
def test_a_set_that_was_left_at_rest_is_taken_over_without_a_write(name: str) -> None:
    seen = observe(name)
    assert seen.pods, "nothing runs"
    plan = decided(seen)
    assert plan.empty, plan
    assert not plan.warnings


@pytest.mark.parametrize("name", NAMES)
def test_what_is_not_as_it_was_left_is_written(name: str) -> None:
    seen = observe(name)
    assert not decided(dataclasses.replace(seen, stateful_sets={})).empty
    assert not decided(dataclasses.replace(seen, revisions={})).empty


def test_the_sets_are_those_of_the_golden_recordings_and_some_wait_for_kueue() -> None:
    assert len(NAMES) == 12
    assert [name for name in NAMES if observe(name).workloads] == [
        "queued-dual",
        "queued-workers",
        "tas-grouped",
    ]
