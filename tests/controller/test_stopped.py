"""Names of pods that were stopped again and again: for how long they are kept, and for whom."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from lws_kueue.api import actions, facts, lws, names
from lws_kueue.controller import repairs, restarts
from lws_kueue.controller.admission import deletion, stopped
from lws_kueue.controller.observe import observed
from lws_kueue.workload import backing, build, eviction
from lws_kueue.workload import pods as group_pods
from tests.kit.builders import given

DELETED = datetime(2024, 1, 1, tzinfo=UTC)
SET = given.an_lws()


def at(seconds: float) -> datetime:
    return DELETED + timedelta(seconds=seconds)


def kept(pod: facts.Pod, *, grace: int | None = 0, others: tuple[str, ...] = ()) -> facts.Pod:
    """Return a pod as it is once it was stopped and its name is kept."""
    finalizers = (*others, names.STOPPED_FINALIZER)
    return replace(pod, meta=replace(pod.meta, finalizers=finalizers, grace_seconds=grace))


LEADER = kept(given.a_leader(0, deleted=True))


def seen(pod: facts.Pod, *, owner: lws.LeaderWorkerSet | None = SET) -> observed.Observed:
    kueue = observed.Kueue(support="served")
    found = observed.Observed(
        namespace=pod.meta.namespace,
        name=given.NAME,
        lws=owner,
        kueue=kueue,
        pods={pod.meta.name: pod},
    )
    # Three times at the same moment: the pause is the third.
    occasion = found.attempts.occasion(SET)
    for _ in range(3):
        found.attempts.made(
            actions.Delete(group_pods.ref(pod), "u", stops=True), occasion=occasion, now=DELETED
        )
    return found


def frees(part: actions.Part) -> list[Any]:
    return [
        write.body["metadata"]["finalizers"]
        for chain in part.chains
        for write in chain
        if isinstance(write, actions.Patch)
    ]


@pytest.mark.row("WAR-04")
def test_a_name_is_kept_until_its_pause_is_over() -> None:
    part = stopped.freed(seen(LEADER), waiting={0}, now=at(1))
    assert frees(part) == []
    assert part.recheck_after == 2
    assert frees(stopped.freed(seen(LEADER), waiting={0}, now=at(3))) == [None]


def test_other_finalizers_stay() -> None:
    pod = kept(LEADER, others=("foregroundDeletion",))
    assert frees(stopped.freed(seen(pod), now=at(0))) == [["foregroundDeletion"]]


GOING = given.an_lws()
GOING = GOING.model_copy(update={"meta": replace(GOING.meta, deleted="2024-01-01T00:00:00Z")})


@pytest.mark.parametrize(
    ("found", "waiting"),
    [
        pytest.param(seen(LEADER), {1}, id="its group is admitted, or is none of the set any more"),
        pytest.param(seen(LEADER, owner=None), {0}, id="the set is gone"),
        pytest.param(seen(LEADER, owner=GOING), {0}, id="the set goes"),
        pytest.param(seen(LEADER, owner=given.an_lws(generation=2)), {0}, id="the set has changed"),
        pytest.param(seen(kept(given.a_leader(0))), {0}, id="the deletion never came"),
    ],
)
def test_a_name_is_free_at_once_where(found: observed.Observed, waiting: set[int]) -> None:
    assert frees(stopped.freed(found, waiting=waiting, now=at(0))) == [None]


def test_a_pod_that_still_runs_is_left_until_it_has_ended() -> None:
    ending = kept(given.a_leader(0, deleted=True), grace=30)
    assert group_pods.could_run(ending)
    assert frees(stopped.freed(seen(ending), now=at(400))) == []
    assert frees(stopped.freed(seen(replace(ending, phase="Failed")), now=at(0))) == [None]


def test_with_a_set_that_is_gone_the_names_are_free_whoever_else_waits() -> None:
    ending = kept(given.a_leader(0, deleted=True), grace=30)
    assert frees(deletion.plan(seen(ending, owner=None), options=build.Options(), now=at(0))) == [
        None
    ]


@pytest.mark.parametrize(
    ("pod", "runs"),
    [
        (kept(given.a_leader(0, deleted=True), grace=30), True),
        (kept(given.a_leader(0, deleted=True), grace=0), False),
        (kept(given.a_leader(0, deleted=True, node=""), grace=None), False),
        (kept(given.a_leader(0)), True),
        (given.a_leader(0, deleted=True), True),
    ],
)
def test_a_pod_that_only_keeps_its_name_can_run_no_more(pod: facts.Pod, runs: bool) -> None:
    assert group_pods.could_run(pod) is runs


def test_a_pod_whose_name_is_kept_has_not_failed() -> None:
    group = given.a_group(0)
    worker = kept(replace(group.workers[0], meta=replace(group.workers[0].meta, deleted="x")))
    assert restarts.decide(SET, [replace(group, workers=(worker,))]) == ()


def test_an_earlier_process_that_stopped_a_pod_needs_no_memory() -> None:
    found = replace(seen(LEADER), attempts=repairs.Attempts())
    assert stopped.freed(found, waiting={0}, now=at(10)).recheck_after == 290
    assert frees(stopped.freed(found, waiting={0}, now=at(301))) == [None]


def test_a_stop_asks_for_the_name_only_where_it_is_not_kept_already() -> None:
    running = given.a_leader(0)
    for pod, asks in ((running, True), (kept(running), False)):
        (stop,) = eviction.stop(None, [pod], backing.Terms())
        assert bool(stop.keeping_name) is asks
