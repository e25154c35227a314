"""Sets of a size that nobody serves: what a pass costs depends on what there is, not on numbers."""

import dataclasses
import datetime
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lws_kueue.api import actions, facts, lws, names
from lws_kueue.api.indices import Indices
from lws_kueue.controller import decide, refusals, repairs
from lws_kueue.controller.observe import observed
from lws_kueue.controller.rollout import unadmitted
from lws_kueue.workload import build
from tests.kit.builders import builders, given

VAST = 1_000_000
KUEUE = observed.Kueue(support="served", built_in=False)
Json = dict[str, Any]


def an_owner(replicas: int, *, queue: bool, rollout: Json | None = None) -> lws.LeaderWorkerSet:
    labels = {names.QUEUE_NAME: "queue"} if queue else {}
    return given.an_lws(replicas=replicas, size=2, labels=labels, rollout=rollout)


def key_of(owner: lws.LeaderWorkerSet) -> str:
    """Return the key of the revision that a pass makes for a new set."""
    new = observed.Observed(given.NAMESPACE, given.NAME, owner, KUEUE)
    (made,) = decide.decide(new, now=builders.NOW, options=build.Options()).prepare
    assert isinstance(made, actions.Create)
    return str(made.body["metadata"]["labels"][names.REVISION_KEY])


def group_pods(groups: int, *, key: str) -> list[facts.Pod]:
    """Leaders that were made with our gate, and one worker each."""
    marks = {names.SIZE: "2", names.POD_SUSPENDING_PARENT: names.OUR_SUSPENDING_PARENT}
    leaders = [given.a_leader(index, key=key, annotations=marks) for index in range(groups)]
    return [pod for leader in leaders for pod in (leader, given.a_worker(leader, 1))]


def seen(
    owner: lws.LeaderWorkerSet | None,
    *,
    groups: int,
    admitted: bool,
    leaders: int,
    deleting: bool = False,
) -> observed.Observed:
    pods = group_pods(groups, key=key_of(owner) if owner else "key")
    sets = [given.a_worker_set(pod) for pod in pods[::2]]
    leader_set = given.a_leader_set(replicas=leaders, status_replicas=leaders)
    metadata: Json = {"deletionTimestamp": builders.EARLIER} if deleting else {}
    workloads = (
        (builders.admitted if admitted else builders.workload)(
            name=f"wl-{index}",
            index=index,
            uid=f"wl-uid-{index}",
            owner=given.UID,
            metadata={**metadata, "namespace": given.NAMESPACE},
        )
        for index in range(groups)
    )
    return observed.Observed(
        namespace=given.NAMESPACE,
        name=given.NAME,
        lws=owner,
        kueue=KUEUE,
        stateful_sets={one.meta.name: one for one in (leader_set, *sets)},
        pods={pod.meta.name: pod for pod in pods},
        workloads={one.meta.name: one for one in workloads}
        if owner is None or queued(owner)
        else {},
    )


def queued(owner: lws.LeaderWorkerSet) -> bool:
    return names.QUEUE_NAME in owner.meta.labels


def cost(make: Callable[[], observed.Observed], *, times: int = 3) -> float:
    """Return the seconds of CPU that a decision takes, the best of some."""
    best = float("inf")
    for _ in range(times):
        situation = make()
        begun = time.process_time()
        decide.decide(situation, now=builders.NOW, options=build.Options())
        best = min(best, time.process_time() - begun)
    return best


@pytest.mark.parametrize("queue", [True, False])
@pytest.mark.parametrize("rollout", [None, {"maxSurge": "100%", "maxUnavailable": "50%"}])
@pytest.mark.parametrize("leaders", [2, VAST])
def test_a_million_replicas_cost_what_the_groups_that_exist_cost(
    queue: bool, rollout: Json | None, leaders: int
) -> None:
    owner = an_owner(VAST, queue=queue, rollout=rollout)
    taken = cost(lambda: seen(owner, groups=20, admitted=False, leaders=leaders))
    assert taken < 0.5, "a single loop over a million groups would cost more"


NOT_SERVED = observed.Kueue(support="missing", built_in=False)


@pytest.mark.parametrize("refused", ["", "StatefulSet", "Workload", "ControllerRevision"])
@pytest.mark.parametrize("kueue", [KUEUE, NOT_SERVED])
def test_no_number_of_groups_is_counted_out(
    kueue: observed.Kueue, refused: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = an_owner(VAST, queue=True)
    situation = dataclasses.replace(
        seen(owner, groups=20, admitted=False, leaders=20), workloads={}, kueue=kueue
    )
    plan = decide.decide(situation, now=builders.NOW, options=build.Options())
    attempts = repairs.Attempts()
    for write, _ in refusals.single_writes(plan):
        if actions.key_of(write).ref.kind == refused:
            attempts.refused(write, "no", now=builders.NOW)
    counted = 0

    def each(indices: Indices) -> Iterator[int]:
        nonlocal counted
        for run in indices.runs:
            for index in run:
                counted += 1
                yield index

    monkeypatch.setattr(Indices, "__iter__", each)
    again = dataclasses.replace(situation, attempts=attempts)
    told = decide.decide(again, now=builders.NOW, options=build.Options())
    one_by_one = kueue is KUEUE and refused == "Workload"
    assert ("more reasons" if one_by_one else f"{VAST - 1}: ") in waiting(told)
    assert counted < 5_000


@pytest.mark.parametrize("admitted", [True, False])
@pytest.mark.parametrize("what", ["deleted", "scaled to 0"])
def test_taking_down_twice_as_many_groups_costs_about_twice_as_much(
    what: str, admitted: bool
) -> None:
    def situation(groups: int) -> observed.Observed:
        owner = None if what == "deleted" else an_owner(0, queue=True)
        deleting = what == "deleted"
        return seen(owner, groups=groups, admitted=admitted, leaders=groups, deleting=deleting)

    few, many = situation(500), situation(1000)
    assert cost(lambda: many) < 3 * cost(lambda: few) + 0.05


def waiting(plan: actions.Plan) -> str:
    assert plan.status is not None
    conditions = plan.status.status["conditions"]
    return str(next(c["message"] for c in conditions if c["type"] == "WaitingForAdmission"))


def limited(pending: int, *, most: int) -> tuple[int, str]:
    """Return how many Workloads are made for 6 gated groups of 1,000,000, and what is told."""
    situation = seen(an_owner(VAST, queue=True), groups=6, admitted=False, leaders=VAST)
    kept = {f"wl-{index}" for index in range(pending)}
    workloads = {name: one for name, one in situation.workloads.items() if name in kept}
    less = dataclasses.replace(situation, workloads=workloads)
    plan = decide.decide(less, now=builders.NOW, options=build.Options(max_pending=most))
    made = [
        write
        for chain in plan.chains
        for write in chain
        if isinstance(write, actions.Create) and write.body["kind"] == "Workload"
    ]
    return len(made), waiting(plan)


def test_no_more_groups_wait_at_a_time_than_the_setting_allows() -> None:
    assert limited(1, most=3)[0] == 2
    made, told = limited(3, most=3)
    assert made == 0
    assert (
        "groups 3-999999: 3 groups wait; 999997 more are not asked for until some of them are"
        " admitted (setting maxPendingWorkloads)" in told
    )


@pytest.mark.parametrize(
    ("seconds", "made", "look_again"), [(12, 2, 8), (19, 2, 1), (20, 4, None), (3600, 4, None)]
)
def test_after_a_while_no_group_waits_for_the_pods_of_those_before_it(
    seconds: int, made: int, look_again: float | None
) -> None:
    there = 2 * unadmitted.STEP
    owner = an_owner(9 * unadmitted.STEP, queue=True)
    situation = seen(owner, groups=there, admitted=False, leaders=there)
    leaders = {
        name: dataclasses.replace(pod, meta=dataclasses.replace(pod.meta, created=builders.EARLIER))
        for name, pod in situation.pods.items()
        if pod.meta.labels[names.WORKER_INDEX] == "0"
    }
    begun = datetime.datetime.fromisoformat(builders.EARLIER)
    plan = decide.decide(
        dataclasses.replace(situation, pods=leaders, workloads={}),
        now=begun + datetime.timedelta(seconds=seconds),
        options=build.Options(),
    )
    (size,) = [
        write.body["spec"]["replicas"]
        for chain in plan.chains
        for write in chain
        if isinstance(write, actions.Apply) and write.body["metadata"]["name"] == given.NAME
    ]
    assert size == made * unadmitted.STEP
    if look_again is not None:
        assert plan.recheck_after is not None
        assert plan.recheck_after <= look_again


@pytest.mark.parametrize("queue", [True, False])
def test_no_more_leaders_are_made_than_get_their_pods_soon_or_may_wait(queue: bool) -> None:
    owner = an_owner(VAST, queue=queue)
    new = observed.Observed(given.NAMESPACE, given.NAME, owner, KUEUE)
    plan = decide.decide(new, now=builders.NOW, options=build.Options())
    writes = [write for chain in plan.chains for write in chain]
    (leaders,) = (one.body for one in writes if isinstance(one, actions.Apply))
    assert leaders["spec"]["replicas"] == (2 * unadmitted.STEP if queue else VAST)
    assert leaders["metadata"]["annotations"][names.REPLICAS] == str(VAST)
    if queue:
        assert waiting(plan).startswith("groups 0-499: ")
        assert "groups 500-999999: 500 groups wait; 999500 more are not asked for" in waiting(plan)


def test_groups_are_asked_for_when_others_are_admitted() -> None:
    assert limited(3, most=4)[0] == 1


def test_a_set_of_which_every_other_group_waits_names_some_of_them_and_counts_the_rest() -> None:
    groups = 400
    situation = seen(an_owner(groups, queue=True), groups=groups, admitted=False, leaders=groups)
    running = seen(an_owner(groups, queue=True), groups=groups, admitted=True, leaders=groups)
    mixed = {
        name: running.workloads[name] if index % 2 else one
        for index, (name, one) in enumerate(situation.workloads.items())
    }
    mixed_up = dataclasses.replace(situation, workloads=mixed)
    plan = decide.decide(mixed_up, now=builders.NOW, options=build.Options())
    told = waiting(plan)
    assert "groups 0, 2, 4, " in told
    assert f"38 and {groups // 2 - 20} more: " in told
