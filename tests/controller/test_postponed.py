"""A Workload that does not stay is made again later, and that is what its group says meanwhile."""

from collections.abc import Sequence
from datetime import timedelta

import pytest

from lws_kueue.api import actions
from lws_kueue.controller import repairs
from tests.controller.test_decide import SET, cluster
from tests.controller.test_refusals import complete, waits_for
from tests.kit.memory import cluster_model

BEING_MADE = ("WorkloadMissing", "groups 0-1: its Workload is being created")


def workloads_wanted(model: cluster_model.Cluster) -> list[actions.Create]:
    return [
        write
        for chain in model.decide(SET).chains
        for write in chain
        if isinstance(write, actions.Create) and write.body["kind"] == "Workload"
    ]


def gone_each_time(
    model: cluster_model.Cluster, writes: Sequence[actions.Create], *, times: int
) -> None:
    """Have Workloads made so often, each time when their pause is over, and be deleted."""
    for _ in range(times):
        occasion = model.attempts.occasion(model.observe(SET).lws)
        waits = [model.attempts.wait(one, occasion=occasion, now=model.now) for one in writes]
        model.now += timedelta(seconds=max(waits))
        for one in writes:
            model.attempts.made(one, occasion=occasion, now=model.now)


@pytest.mark.parametrize(
    ("times", "pause", "more"),
    [
        (2, repairs.PAUSES[1], ""),
        (3, repairs.PAUSES[2], ""),
        (4, repairs.PAUSES[3], "; RepairBackOff says more"),
        (9, repairs.LONGEST, "; RepairBackOff says more"),
    ],
)
def test_a_group_whose_workload_has_a_pause_says_until_when(
    times: int, pause: float, more: str
) -> None:
    model = cluster()
    complete(model)
    wanted = workloads_wanted(model)
    assert len(wanted) == 2
    assert waits_for(model) == BEING_MADE
    gone_each_time(model, wanted, times=times)
    until = model.now + timedelta(seconds=pause)
    model.now += timedelta(seconds=pause / 2)
    assert workloads_wanted(model) == []
    told = (
        "WorkloadMissing",
        "groups 0-1: its Workload was gone again each time it was made, and is not made again"
        f" before {until:%Y-%m-%dT%H:%M:%SZ}{more}",
    )
    assert waits_for(model) == told
    model.now = until
    assert len(workloads_wanted(model)) == 2
    assert waits_for(model) == BEING_MADE


def test_what_is_told_stays_the_same_for_as_long_as_the_pause_lasts() -> None:
    model = cluster()
    complete(model)
    gone_each_time(model, workloads_wanted(model), times=9)
    said = set()
    for _ in range(250):
        model.now += timedelta(seconds=1)
        said.add(waits_for(model))
    assert len(said) == 1


def test_a_group_whose_workload_has_no_pause_is_told_apart() -> None:
    model = cluster()
    complete(model)
    first, _ = workloads_wanted(model)
    gone_each_time(model, [first], times=9)
    model.now += timedelta(seconds=1)
    message = waits_for(model)[1]
    assert message.startswith("group 0: its Workload was gone again")
    assert message.endswith("; group 1: its Workload is being created")
