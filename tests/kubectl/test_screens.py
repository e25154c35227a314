"""The screens of the commands are those that are kept in `screens`.

With LWS_KUEUE_RECORD_SCREENS=1 they are written anew; what is meant to change is seen in the diff.
"""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from lws_kueue.api import names
from lws_kueue.kubectl import decided, explain, get, revisions, screen, status, usage, where
from lws_kueue.runtime import resources
from tests.controller import test_decide as passes
from tests.kubectl import test_causes as causes
from tests.kubectl.given import Given

KEPT = Path(__file__).parent / "screens"

Screen = Callable[[], list[screen.Block]]


def half_admitted() -> Given:
    given = Given(replicas=3, admitted=2)
    given.used("cq", "3")
    given.other("first", priority=100, cpu="4")
    given.other("holds", priority=-5, cpu="1", holds=True)
    given.cluster_queues[0]["spec"]["preemption"] = {"withinClusterQueue": "LowerPriority"}
    return given


def rows(given: Given, *, wide: bool = False, everywhere: bool = False) -> list[screen.Block]:
    seen = given.seen()
    found = get.rows(seen.of(resources.SETS), seen.of(resources.WORKLOADS))
    return get.blocks(found, everywhere=everywhere, wide=wide, now=seen.now)


def why(given: Given) -> list[screen.Block]:
    seen = given.seen()
    return explain.blocks(explain.answer(seen), now=seen.now)


def how(given: Given, *, wide: bool = False) -> list[screen.Block]:
    seen = given.seen()
    return status.blocks(status.status(seen), wide=wide, now=seen.now)


def in_a_cohort() -> Given:
    given = half_admitted()
    causes._lending(given)
    return given


def paused() -> Given:
    given = half_admitted()
    given.live["metadata"]["annotations"] = {names.PAUSED: "0"}
    given.model.touch(given.live)
    return given


def updated(*, half: bool = False) -> Given:
    """Two groups after an update of their image, or with one that is out of its reach."""
    given = Given(replicas=2, admitted=2)
    given.model.options = decided.OPTIONS
    spec = given.live["spec"]
    if half:
        spec["rolloutStrategy"] = {"rollingUpdateConfiguration": {"partition": 1}}
    spec["leaderWorkerTemplate"]["workerTemplate"]["spec"]["containers"][0]["image"] = "app:2"
    given.model.touch(given.live)
    passes.settle(given.model)
    for one in given.model.of_kind("ControllerRevision").values():
        one["metadata"]["creationTimestamp"] = f"2030-01-01T00:0{one['revision']}:00Z"
    return given


def history(given: Given, *, asked: str = "") -> list[screen.Block]:
    seen = given.seen()
    owner = seen.observed.lws
    assert owner is not None
    found = revisions.found(
        owner,
        revisions=seen.of(resources.REVISIONS),
        leaders=[
            pod
            for pod in seen.of(resources.PODS)
            if pod["metadata"]["labels"][names.WORKER_INDEX] == "0"
        ],
    )
    if asked:
        return revisions.detail(found, revisions.chosen(found, asked), now=seen.now)
    return revisions.blocks(revisions.told(found), wide=False, now=seen.now)


def held(by: usage.By) -> list[screen.Block]:
    return usage.blocks(usage.rows(half_admitted().seen().of(resources.WORKLOADS), by=by), by=by)


SCREENS: dict[str, Screen] = {
    "get": lambda: rows(half_admitted()),
    "get-wide": lambda: rows(half_admitted(), wide=True, everywhere=True),
    "status": lambda: how(half_admitted()),
    "status-wide": lambda: how(half_admitted(), wide=True),
    "status-paused": lambda: how(paused()),
    "explain": lambda: why(half_admitted()),
    "explain-cohort": lambda: why(in_a_cohort()),
    "explain-nothing": lambda: why(Given(admitted=2)),
    "where": lambda: where.blocks(where.answer(half_admitted().seen())),
    "rollout-history": lambda: history(updated()),
    "rollout-history-half": lambda: history(updated(half=True)),
    "rollout-history-kept": lambda: history(updated(), asked="1"),
    "rollout-history-current": lambda: history(updated(), asked="2"),
    "usage-queue": lambda: held("queue"),
    "usage-set": lambda: held("set"),
    "usage-namespace": lambda: held("namespace"),
}


@pytest.mark.parametrize("name", SCREENS)
def test_a_screen_is_the_one_that_is_kept(name: str) -> None:
    shown, file = screen.text(SCREENS[name]()), KEPT / f"{name}.txt"
    if os.environ.get("LWS_KUEUE_RECORD_SCREENS"):
        file.write_text(shown)
    assert shown == file.read_text()


def test_all_kept_screens_are_compared() -> None:
    assert {file.stem for file in KEPT.iterdir()} == {*SCREENS}


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("name", SCREENS)
def test_a_screen_fits_the_terminal(name: str, width: int) -> None:
    assert max(map(len, screen.text(SCREENS[name](), width=width).splitlines())) <= width


def test_an_answer_for_programs_has_the_names_of_fields_and_quantities() -> None:
    answer = explain.answer(half_admitted().seen())
    import yaml

    read = yaml.safe_load(screen.dumped(answer, "yaml"))
    (one,) = read["explanations"]
    assert one["groups"] == [2]
    assert one["localQueue"] == "queue"
    assert one["free"][0]["nominal"] == "3"
    assert one["position"] == {
        "inClusterQueue": 2,
        "ofClusterQueue": 2,
        "inLocalQueue": 2,
        "ofLocalQueue": 2,
        "told": False,
    }
