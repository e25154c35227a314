"""Lives of sets of which more groups would wait than may: they are made as others are admitted."""

import dataclasses
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lws_kueue.api import names
from lws_kueue.controller.admission import admissions
from lws_kueue.controller.rollout import unadmitted
from lws_kueue.workload import build, conditions
from tests.kit.examples import examples
from tests.kit.memory import scenarios
from tests.kit.memory.kubernetes_model import Object, true
from tests.kit.memory.quota_model import QuotaModel
from tests.kit.memory.scenarios import SET

# What a group of one pod asks for, in thousandths of a cpu.
GROUP = 10


class Life(QuotaModel):
    """A set in memory, whose leader StatefulSet is looked at after every pass."""

    def __init__(self, shape: scenarios.Shape, *, groups: int, most: int) -> None:
        super().__init__(shape, quota=f"{groups * GROUP}m")
        self.options = build.Options(max_pending=most)
        self.rng = random.Random(1)
        self.stopped = False

    def kueue(self) -> None:
        """Let Kueue decide, unless an administrator has stopped the queue."""
        if not self.stopped:
            super().kueue()

    @property
    def made(self) -> int:
        """How many groups the leader StatefulSet makes."""
        found = self.objects.get(("StatefulSet", SET))
        return int(found["spec"]["replicas"]) if found else 0

    def group_of(self, workload: Object) -> int:
        return int(workload["metadata"]["annotations"][names.COMPONENT_WORKLOAD_INDEX])

    def hold_quota(self) -> set[int]:
        """Return the groups that are admitted, and those that give back what they were."""
        workloads = self.of_kind("Workload").values()
        return {self.group_of(one) for one in workloads if true(one, "QuotaReserved")}

    def running(self) -> set[int]:
        """Return the groups of which something runs."""
        pods = (pod for pod in self.of_kind("Pod").values() if pod["spec"].get("nodeName"))
        return {int(pod["metadata"]["labels"][names.GROUP_INDEX]) for pod in pods}

    def waited(self) -> set[int]:
        """Return the groups whose leaders have been there for so long that their pods are due."""
        due = conditions.stamp(self.now - admissions.PODS_DUE)
        pods = self.of_kind("Pod").values()
        old = [pod["metadata"] for pod in pods if pod["metadata"]["creationTimestamp"] <= due]
        return {int(meta["labels"][names.GROUP_INDEX]) for meta in old}

    def pass_once(self, name: str, *, writes: int | None = None) -> bool:
        before, wants = self.made, self.shape.replicas
        asked = {self.group_of(one) for one in self.of_kind("Workload").values()} | self.running()
        asked |= self.waited()
        wrote = super().pass_once(name, writes=writes)
        if self.built_in or not self.shape.queue:
            return wrote
        after, holding = self.made, self.hold_quota() | self.running()
        assert after >= min(before, wants), f"the limit made the set smaller: {self.story()}"
        if after > before:
            first = sum(index not in holding for index in range(after))
            ends = first <= self.options.max_pending or after == max(holding, default=-1) + 1
            assert ends, f"more wait than may: {self.story()}"
            if before < wants:
                most = max(unadmitted.paced(asked), before, max(holding, default=0) + 1)
                assert after <= most, f"too many at a time: {self.story()}"
        return wrote

    def rest(self) -> None:
        self.settle(self.rng)

    def give(self, groups: int) -> None:
        self.quota = groups * GROUP

    def edit(self, **changes: Any) -> None:
        self.change(dataclasses.replace(self.shape, **changes))

    def told(self) -> str:
        """Return what the set says that its groups wait for."""
        conditions = self.live["status"]["conditions"]
        found = (c["message"] for c in conditions if c["type"] == names.WAITING)
        return next(found, "")

    def all_run(self) -> None:
        pods = self.of_kind("Pod").values()
        assert self.made == self.shape.replicas, self.story()
        assert len(pods) == self.shape.replicas * self.shape.size, self.story()
        for pod in pods:
            assert true(pod, "Ready"), self.story()
            (container,) = pod["spec"]["containers"]
            assert container["image"] == scenarios.IMAGE.format(self.shape.version), self.story()
        assert self.told() == ""


def a_life(replicas: int, *, groups: int, most: int = 3, **shape: Any) -> Life:
    shape = {"queue": scenarios.QUEUE, **shape}
    return Life(scenarios.Shape(replicas, 1, **shape), groups=groups, most=most)


def test_a_set_grows_as_its_groups_are_admitted() -> None:
    life = a_life(9, groups=2)
    life.pass_once(SET)
    assert life.made == 3
    life.rest()
    assert life.made == 5
    assert life.live["status"]["replicas"] == 5
    assert (
        "groups 5-8: 3 groups wait; 4 more are not asked for until some of them are admitted"
        " (setting maxPendingWorkloads)" in life.told()
    )
    life.give(4)
    life.rest()
    assert (life.made, life.hold_quota()) == (7, set(range(4)))
    life.give(9)
    life.rest()
    life.all_run()


def test_a_large_set_grows_step_by_step_as_groups_get_their_pods() -> None:
    life = a_life(5 * unadmitted.STEP, groups=5 * unadmitted.STEP, most=500)
    life.pass_once(SET)
    sizes = {life.made}
    while life.made < life.shape.replicas:
        life.go_on(life.rng)
        sizes.add(life.made)
    assert min(sizes) == 2 * unadmitted.STEP
    assert sizes <= {step * unadmitted.STEP for step in range(2, 6)}, "one write for a step"
    life.rest()
    life.all_run()


@pytest.mark.parametrize("groups", [0, 1])
def test_a_large_set_of_which_nothing_is_admitted_is_made_up_to_what_may_wait(groups: int) -> None:
    most = 3 * unadmitted.STEP
    life = a_life(9 * unadmitted.STEP, groups=groups, most=most)
    life.rest()
    assert life.made == most + groups
    assert f"{most} groups wait; " in life.told()


def test_groups_that_never_get_their_pods_keep_no_others_from_being_made() -> None:
    replicas, lame = 5 * unadmitted.STEP, 3 * unadmitted.STEP
    life = a_life(replicas, groups=2 * replicas, most=500)
    life.edit(size=2)
    life.refused = {f"{SET}-{group}-1" for group in range(lame)}
    life.rest()
    assert life.made == replicas
    assert life.running() == set(range(lame, replicas))


def test_it_is_told_from_the_first_pass_on_how_many_groups_are_not_made_yet() -> None:
    life = a_life(9, groups=0)
    life.pass_once(SET)
    assert "groups 3-8: 3 groups wait; 6 more are not asked for" in life.told()


def test_groups_that_are_evicted_stay_where_they_are() -> None:
    life = a_life(9, groups=6)
    life.rest()
    assert life.made == 9
    life.stopped = True
    for name in life.admitted():
        life.evict(name)
    life.rest()
    assert (life.made, life.hold_quota()) == (9, set())
    life.stopped = False
    life.give(9)
    life.rest()
    life.all_run()


def test_a_group_that_is_admitted_far_above_others_that_wait_has_its_pods() -> None:
    life = a_life(9, groups=9)
    life.rest()
    life.stopped = True
    for name in life.admitted()[:7]:
        life.evict(name)
    life.rest()
    # Somebody deletes the leader StatefulSet, and leaves the pods.
    del life.objects["StatefulSet", SET]
    life.pass_once(SET)
    assert (life.made, life.hold_quota()) == (9, {7, 8})
    life.stopped = False
    life.rest()
    life.all_run()


@pytest.mark.parametrize("change", [{"version": 2}, {"cpu": "9m"}], ids=["image", "requests"])
@pytest.mark.parametrize(("unavailable", "surge"), [(1, 0), (3, 0), (0, 2), (1, 1), (0, 9)])
def test_an_update_goes_on_among_the_groups_that_are_made(
    unavailable: int, surge: int, change: dict[str, Any]
) -> None:
    life = a_life(9, groups=3, unavailable=unavailable, surge=surge)
    life.rest()
    assert life.made == 6
    life.edit(**change)
    life.rest()
    if "version" in change:
        images = {pod["spec"]["containers"][0]["image"] for pod in life.of_kind("Pod").values()}
        assert images == {scenarios.IMAGE.format(2)}, life.story()
    life.give(9)
    life.rest()
    life.all_run()


def test_with_room_for_a_surge_no_more_of_it_is_made_than_may_wait() -> None:
    life = a_life(9, groups=20, unavailable=0, surge=9)
    life.rest()
    life.edit(version=2)
    life.pass_once(SET)
    assert life.made == 12
    life.rest()
    life.all_run()


@pytest.mark.parametrize("surge", [0, 4])
def test_a_set_of_which_some_groups_were_never_made_is_scaled_down(surge: int) -> None:
    life = a_life(9, groups=2, surge=surge)
    life.rest()
    assert life.made == 5
    for fewer in (7, 4, 0):
        life.edit(replicas=fewer)
        life.rest()
        assert life.made == min(5, fewer)
    life.edit(replicas=9)
    life.rest()
    assert life.made == 5


def test_groups_from_before_a_set_waited_stay_and_others_come_as_may_wait() -> None:
    life = a_life(4, groups=4, queue="")
    life.rest()
    life.bridging = True
    life.edit(queue=scenarios.QUEUE, replicas=20)
    life.rest()
    assert life.made == 7
    life.bridging = False
    life.give(20)
    life.rest()
    life.all_run()


def test_a_set_that_leaves_its_queue_gets_all_of_its_groups() -> None:
    life = a_life(9, groups=2)
    life.rest()
    assert life.made == 5
    life.edit(queue="")
    life.rest()
    life.all_run()


def test_a_set_that_is_left_to_kueues_own_integration_gets_all_of_its_groups() -> None:
    life = a_life(9, groups=2)
    life.rest()
    life.built_in = True
    life.pass_once(SET)
    assert life.made == 9


STEPS = st.one_of(
    st.tuples(st.just("quota"), st.integers(0, 8)),
    st.tuples(st.just("scale"), st.integers(0, 7)),
    st.tuples(st.just("version"), st.integers(1, 3)),
    st.tuples(st.just("partition"), st.integers(0, 4)),
    st.tuples(st.just("evict"), st.integers(1, 4)),
    st.tuples(st.just("restart"), st.just(0)),
    st.tuples(st.just("wait"), st.integers(1, 5)),
)


@examples(60)
@given(
    replicas=st.integers(1, 6),
    most=st.integers(1, 3),
    budget=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    quota=st.integers(0, 6),
    steps=st.lists(STEPS, max_size=6),
    seed=st.integers(0, 1_000),
)
def test_in_any_life_all_groups_are_admitted_in_the_end(
    replicas: int,
    most: int,
    budget: tuple[int, int],
    quota: int,
    steps: list[tuple[str, int]],
    seed: int,
) -> None:
    unavailable, surge = budget
    unavailable = unavailable if surge else max(1, unavailable)
    life = a_life(replicas, groups=quota, most=most, unavailable=unavailable, surge=surge)
    life.rng = random.Random(seed)
    for kind, number in steps:
        match kind:
            case "quota":
                # What is in use is not taken away.
                life.quota = max(life.used, number * GROUP)
            case "scale":
                life.edit(replicas=number)
            case "version" | "partition":
                life.edit(**{kind: number})
            case "evict":
                for name in life.admitted()[:number]:
                    life.evict(name)
            case "restart":
                life.restart()
        for _ in range(number if kind == "wait" else 1):
            life.go_on(life.rng)
    life.edit(partition=0)
    life.give(30)
    life.rest()
    life.all_run()
