"""Rolling updates with no quota to spare: all of them end, and none goes over budget or quota."""

import dataclasses
import itertools
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lws_kueue.api import quantity
from tests.kit.examples import examples
from tests.kit.memory import scenarios
from tests.kit.memory.kubernetes_model import true
from tests.kit.memory.quota_model import QuotaModel
from tests.kit.memory.scenarios import SET

RANDOM = st.randoms(use_true_random=False, note_method_calls=False)

# Four groups are as many as the largest surge and the largest budget have room for together. What
# more of them show is the same again, and each costs more.
SEVERAL = 4
COMBINATIONS = [
    pytest.param(
        replicas, surge, unavailable, marks=() if replicas <= SEVERAL else pytest.mark.long
    )
    for replicas, surge, unavailable in itertools.product(range(1, 7), range(3), range(3))
    if surge or unavailable
]


def started(
    replicas: int,
    *,
    surge: int,
    unavailable: int,
    size: int = 2,
    cpu: str = "10m",
    quota: int | None = None,
    seed: int = 0,
    gate: bool = False,
) -> tuple[QuotaModel, random.Random]:
    """Return a set whose groups run, as many as the quota (in 10m a pod) has room for."""
    shape = scenarios.Shape(
        replicas, size, unavailable=unavailable, surge=surge, queue=scenarios.QUEUE, cpu=cpu
    )
    room = quota if quota is not None else replicas * size * quantity.parse("cpu", cpu)
    rng = random.Random(seed)
    model = QuotaModel(shape, quota=f"{room}m", max_unavailable_gate=gate)
    model.settle(rng)
    return model, rng


def ends(model: QuotaModel) -> None:
    """Every group runs at the newest content, and nothing is left of the way there."""
    shape = model.shape
    pods = model.of_kind("Pod")
    assert len(pods) == shape.replicas * shape.size, model.story()
    for pod in pods.values():
        assert true(pod, "Ready"), model.story()
        (container,) = pod["spec"]["containers"]
        assert container["image"] == scenarios.IMAGE.format(shape.version)
        assert container["resources"]["requests"]["cpu"] == shape.cpu
    workloads = model.of_kind("Workload").values()
    assert len(workloads) == shape.replicas
    assert all(true(workload, "Admitted") for workload in workloads)


def uids(model: QuotaModel) -> dict[str, str]:
    return {name: w["metadata"]["uid"] for name, w in model.of_kind("Workload").items()}


def edit(model: QuotaModel, **changes: Any) -> None:
    model.change(dataclasses.replace(model.shape, **changes))


@pytest.mark.parametrize("gate", [False, True], ids=["one-by-one", "maxUnavailable-gate"])
@pytest.mark.parametrize(("replicas", "surge", "unavailable"), COMBINATIONS)
def test_an_update_without_spare_quota_ends_within_the_budget(
    replicas: int, surge: int, unavailable: int, gate: bool
) -> None:
    model, rng = started(replicas, surge=surge, unavailable=unavailable, gate=gate)
    before = uids(model)
    model.least_ready = replicas - max(1, unavailable)
    edit(model, version=2)
    model.settle(rng)
    ends(model)
    assert uids(model) == before, "an image is nothing that Kueue admits"


@pytest.mark.parametrize("change", [{"cpu": "9m"}, {"leader": True}], ids=["requests", "pod-sets"])
@pytest.mark.parametrize(("replicas", "surge", "unavailable"), COMBINATIONS)
def test_an_update_of_what_is_admitted_ends_within_the_budget(
    replicas: int, surge: int, unavailable: int, change: dict[str, Any]
) -> None:
    model, rng = started(replicas, surge=surge, unavailable=unavailable)
    before = uids(model)
    model.least_ready = replicas - max(1, unavailable)
    edit(model, **change)
    model.settle(rng)
    ends(model)
    assert not set(before.values()) & set(uids(model).values())


def test_requests_that_never_fit_take_down_no_more_than_the_budget_and_can_be_reverted() -> None:
    model, rng = started(4, surge=0, unavailable=2)
    before = uids(model)
    model.least_ready = 2
    edit(model, cpu="50m")
    model.settle(rng)
    assert model.ready_groups() == 2
    kept = uids(model).items() & before.items()
    assert len(kept) == 2, "those that serve keep their admission"
    edit(model, cpu="10m")
    model.settle(rng)
    ends(model)
    assert uids(model).items() & before.items() == kept


def test_an_update_passes_by_a_group_that_waits_for_quota_anyway() -> None:
    model, rng = started(4, surge=1, unavailable=0, quota=60)
    assert model.ready_groups() == 3
    model.least_ready = 2
    edit(model, version=2)
    model.settle(rng)
    assert model.ready_groups() == 3
    assert {p["spec"]["containers"][0]["image"][-1] for p in model.of_kind("Pod").values()} == {"2"}


@pytest.mark.parametrize(("surge", "unavailable"), [(0, 1), (0, 2), (1, 0), (2, 1)])
@pytest.mark.parametrize(("replicas", "quota", "cpu"), [(4, 60, "7m"), (3, 40, "6m")])
def test_smaller_groups_let_those_in_that_waited(
    replicas: int, quota: int, cpu: str, surge: int, unavailable: int
) -> None:
    model, rng = started(replicas, surge=surge, unavailable=unavailable, quota=quota)
    assert model.ready_groups() == replicas - 1
    model.least_ready = replicas - 2 - max(1, unavailable)
    edit(model, cpu=cpu)
    model.settle(rng)
    ends(model)


@pytest.mark.parametrize("size", [1, 3])
def test_another_size_is_admitted_anew_group_by_group(size: int) -> None:
    model, rng = started(3, surge=1, unavailable=1, quota=90)
    before = uids(model)
    model.least_ready = 2
    edit(model, size=size)
    model.settle(rng)
    ends(model)
    assert not set(before.values()) & set(uids(model).values())


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("quota", [60, 40])
@pytest.mark.parametrize(("surge", "unavailable"), [(0, 1), (0, 2), (1, 0)])
def test_a_plain_set_that_gets_a_queue_is_taken_in_within_the_budget(
    quota: int, surge: int, unavailable: int, seed: int
) -> None:
    plain = scenarios.Shape(3, 2, unavailable=unavailable, surge=surge)
    model, rng = QuotaModel(plain, quota=f"{quota}m"), random.Random(seed)
    model.settle(rng)
    assert model.ready_groups() == 3
    fits = quota // 20
    # What has no quota goes down for that, and no more than the budget at a time beside it.
    model.least_ready = fits - max(1, unavailable)
    edit(model, queue=scenarios.QUEUE)
    model.bridging = True
    model.settle(rng)
    model.bridging = False
    model.check()
    assert model.ready_groups() == fits
    gated = [pod for pod in model.of_kind("Pod").values() if not pod["spec"].get("nodeName")]
    assert len(gated) == (3 - fits) * 2
    assert all(pod["spec"]["schedulingGates"] for pod in gated)


@pytest.mark.parametrize("lost", [(), (f"{SET}-0",)], ids=["none is lost", "one is lost"])
def test_groups_made_below_a_partition_after_their_set_got_a_queue_do_not_run(
    lost: tuple[str, ...],
) -> None:
    plain = scenarios.Shape(2, 2, partition=2)
    model, rng = QuotaModel(plain, quota="0m"), random.Random(0)
    model.settle(rng)
    before = {pod["metadata"]["uid"] for pod in model.of_kind("Pod").values()}
    model.bridging = True
    edit(model, queue=scenarios.QUEUE, replicas=4, partition=4)
    for name in lost:
        model.delete("Pod", name)
    for _ in range(60):
        model.go_on(rng)
        model.pass_once(SET)
        new = {n: p for n, p in model.of_kind("Pod").items() if p["metadata"]["uid"] not in before}
        run = [
            name
            for name, pod in new.items()
            if not pod["spec"].get("schedulingGates") and "deletionTimestamp" not in pod["metadata"]
        ]
        assert not run, model.story()
    old = [pod for pod in model.of_kind("Pod").values() if pod["metadata"]["uid"] in before]
    assert len(old) == 4 - 2 * len(lost), "groups from before run on"


@given(RANDOM)
@examples(60)
def test_whatever_is_edited_half_way_all_ends_within_quota(rng: random.Random) -> None:
    surge = rng.randint(0, 2)
    model, _ = started(
        rng.randint(1, 4), surge=surge, unavailable=rng.randint(0 if surge else 1, 2), quota=90
    )
    for _ in range(rng.randint(1, 4)):
        change: dict[str, Any] = rng.choice(
            [
                {"version": rng.randint(1, 3)},
                {"cpu": rng.choice(["5m", "10m", "15m"])},
                {"size": rng.randint(1, 3)},
                {"leader": rng.choice([True, False])},
                {"replicas": rng.randint(1, 5)},
            ]
        )
        edit(model, **change)
        for _ in range(rng.randint(0, 12)):
            model.go_on(rng)
    # In the end there is room for all.
    edit(model, cpu="5m", replicas=rng.randint(1, 4))
    model.settle(rng)
    ends(model)
