"""A set on several clusters with its whole controller: updates, surge, queues, held quota."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from lws_kueue.api import names
from tests.kit.memory import cluster_model
from tests.kit.memory.kubernetes_model import true
from tests.kit.memory.multikueue import manager, whole


def settled(**how: Any) -> whole.Whole:
    here = whole.Whole(**how)
    here.settle()
    assert here.ready() == list(range(here.manager.replicas))
    return here


@contextmanager
def watched(here: whole.Whole, look: Callable[[], None]) -> Iterator[None]:
    """Look at everything after whatever happens."""
    here.watch = look
    yield
    here.watch = lambda: None


def fewest(here: whole.Whole, *, of: int) -> Callable[[], int]:
    """Note the fewest groups that are ready, of those that the set wants."""
    least = of

    def look() -> None:
        nonlocal least
        least = min(least, sum(index < of for index in here.ready_groups()))

    here.watch = look
    return lambda: least


def codes(here: whole.Whole) -> set[str]:
    return {one.code for one in here.plan().reasons}


@pytest.mark.row("MK-17", "MK-18")
@pytest.mark.parametrize("unavailable", [1, 2])
def test_so_many_groups_are_down_at_a_time_as_may_be_over_all_clusters(unavailable: int) -> None:
    here = settled(replicas=4, quotas=(2, 2), together=True)
    placed, workloads = here.placed(), here.uids()
    here.manager.rolling(maxUnavailable=unavailable)
    here.settle()
    least = fewest(here, of=4)
    here.manager.image(2)
    here.settle(rounds=300)
    assert least() == 4 - unavailable
    assert here.images() == dict.fromkeys(range(4), "app:2")
    assert here.ready() == [0, 1, 2, 3]
    assert (here.placed(), here.uids()) == (placed, workloads)
    here.judge.rest(here)


@pytest.mark.row("MK-18")
def test_a_surge_group_is_dispatched_used_and_removed() -> None:
    here = settled(replicas=4, quotas=(3, 2))
    here.manager.rolling(maxSurge=1)
    here.settle()
    workloads, surge = here.uids(), set[str]()
    least = fewest(here, of=4)
    count = here.watch

    def look() -> None:
        count()
        surge.update(whole.image(one) for index, one in here.runs().items() if index == 4)

    with watched(here, look):
        here.manager.image(2)
        here.settle(rounds=300)
    assert surge == {"app:2"}
    assert least() >= 3
    assert here.images() == dict.fromkeys(range(4), "app:2")
    assert here.ready() == [0, 1, 2, 3]
    # Those of the groups that the set has are what they were, and nothing else is left.
    assert here.uids() == workloads
    here.judge.rest(here)


@pytest.mark.row("MK-19")
@pytest.mark.parametrize("quota", [12, 4], ids=["none in workers", "none in the manager"])
def test_an_update_whose_surge_nobody_takes_ends_in_place_and_says_so(quota: int) -> None:
    here = settled(replicas=4, quotas=(2, 2), quota=quota)
    here.manager.rolling(maxSurge=1)
    here.settle()
    told = set[str]()
    here.manager.image(2)
    for _ in range(250):
        here.rounds(1)
        told |= codes(here)
        if here.images() == dict.fromkeys(range(4), "app:2") and len(here.ready()) == 4:
            break
    assert "SurgeNotAdmitted" in told
    here.settle(rounds=300)
    assert here.images() == dict.fromkeys(range(4), "app:2")
    assert here.ready() == [0, 1, 2, 3]
    here.judge.rest(here)


@pytest.mark.row("MK-21")
def test_a_second_update_overtakes_the_first_and_no_group_goes_back_behind_the_one_before() -> None:
    here = settled(replicas=4, quotas=(2, 2))
    here.manager.image(2)
    here.settle(rounds=300)
    assert here.images() == dict.fromkeys(range(4), "app:2")
    seen = set[str]()

    def look() -> None:
        seen.update(whole.image(one) for one in here.runs().values())

    with watched(here, look):
        here.manager.image(3)
        for _ in range(120):
            here.rounds(1)
            if sorted(here.images().values()) == ["app:2", "app:2", "app:3", "app:3"]:
                break
        else:
            raise AssertionError(f"never half done: {here.images()}")
        here.manager.image(4)
        here.rounds(3)
        # What comes back below the partition is what the StatefulSet takes for the current one.
        here.manager.delete("Pod", f"{manager.SET}-0", graceful=True)
        here.settle(rounds=400)
    assert here.images() == dict.fromkeys(range(4), "app:4")
    assert here.ready() == [0, 1, 2, 3]
    # Its leaders are mirrored, so the first update was completed, and what was before it is over.
    assert seen == {"app:2", "app:3", "app:4"}
    here.judge.rest(here)


@pytest.mark.row("MK-22")
def test_groups_below_a_partition_keep_what_they_are_also_when_their_leader_is_made_anew() -> None:
    here = settled(replicas=4, quotas=(2, 2))
    here.manager.rolling(partition=2)
    here.manager.image(2)
    here.settle(rounds=300)
    expected = {0: "app:1", 1: "app:1", 2: "app:2", 3: "app:2"}
    assert here.images() == expected
    assert here.ready() == [0, 1, 2, 3]
    here.manager.delete("Pod", f"{manager.SET}-0", graceful=True)
    here.settle(rounds=300)
    assert here.images() == expected
    assert here.ready() == [0, 1, 2, 3]
    here.judge.rest(here)


def queues(here: whole.Whole) -> set[tuple[str, str]]:
    """The queue of each Workload, where it is."""
    clusters = {"m": here.manager.objects} | {
        name: link.cluster.objects for name, link in here.links.items()
    }
    return {
        ("m" if cluster == "m" else "w", str(one["spec"]["queueName"]))
        for cluster, objects in clusters.items()
        for (kind, _), one in objects.items()
        if kind == "Workload"
    }


def move(here: whole.Whole, queue: str) -> None:
    live = here.manager.live
    assert live is not None
    live["metadata"]["labels"][names.QUEUE_NAME] = queue
    here.manager.touch(live)


@pytest.mark.row("MK-26")
def test_a_group_without_quota_follows_its_set_to_another_queue_and_is_offered_there() -> None:
    here = whole.Whole(replicas=1, quotas=(1, 1), quota=0)
    here.settle()
    assert queues(here) == {("m", "queue")}
    move(here, "other")
    here.settle()
    assert queues(here) == {("m", "other")}
    here.manager.admission.quota = 1
    here.settle()
    assert here.ready() == [0]
    assert queues(here) == {("m", "other"), ("w", "other")}


@pytest.mark.row("MK-26")
def test_a_group_with_quota_stays_in_its_queue_and_says_so_until_it_is_evicted() -> None:
    here = settled(replicas=1, quotas=(1, 1))
    running = here.uids()
    move(here, "other")
    here.settle()
    assert here.uids() == running
    assert queues(here) == {("m", "queue"), ("w", "queue")}
    assert "QueueChangeDeferred" in codes(here)
    # Evicted, and not admitted again at once.
    here.manager.admission.held = True
    here.settle()
    assert queues(here) == {("m", "other")}
    here.manager.admission.held = False
    here.settle()
    assert queues(here) == {("m", "other"), ("w", "other")}
    assert here.ready() == [0]
    here.judge.rest(here)


@pytest.mark.row("MK-30")
def test_a_queue_of_the_manager_that_is_held_and_drained_stops_all_groups_everywhere() -> None:
    here = settled(replicas=3, quotas=(2, 1))
    here.manager.admission.held = True
    here.settle()
    assert here.runs() == {}
    assert [name for name in here.uids() if not name.startswith("m/")] == []
    workloads = here.manager.of_kind("Workload").values()
    assert [true(one, "QuotaReserved") for one in workloads] == [False] * 3
    assert here.ready() == []
    here.manager.admission.held = False
    here.settle()
    assert here.ready() == [0, 1, 2]
    here.judge.rest(here)


@pytest.mark.row("MK-30")
def test_a_queue_of_a_worker_that_is_held_and_drained_has_its_groups_move() -> None:
    here = settled(replicas=2, quotas=(1, 1))
    here.links["w2"].cluster.quota = 2
    stays = {index: one for index, one in here.runs().items() if here.placed()[index] == "w2"}
    here.links["w1"].cluster.held = True
    here.settle()
    assert here.placed() == {0: "w2", 1: "w2"}
    assert here.ready() == [0, 1]
    kept = {index: here.runs()[index]["metadata"]["uid"] for index in stays}
    assert kept == {index: one["metadata"]["uid"] for index, one in stays.items()}
    here.judge.rest(here)


@pytest.mark.row("MK-58")
def test_workloads_that_vanish_in_a_worker_again_and_again_are_offered_ever_more_slowly() -> None:
    here = settled(replicas=1, quotas=(1,))
    # As Kueue does where its own origin is ours: it finds nothing on the manager of that name.
    here.judge.touched.add("w1")
    worker, said, offers = here.links["w1"].cluster, set[str](), list[int]()

    def look() -> None:
        for one in here.manager.of_kind("Workload").values():
            checks = (one.get("status") or {}).get("admissionChecks") or ()
            said.update(check["message"] for check in checks if check["state"] == "Retry")

    with watched(here, look):
        for second in range(400):
            for name in list(worker.of_kind("Workload")) if second % 5 == 0 else ():
                worker.delete("Workload", name)
                offers.append(second)
            here.rounds(1)
    assert said == {"on cluster w1: its Workload was deleted"}
    pauses = [later - sooner for sooner, later in itertools.pairwise(offers)]
    # From the third time on the group waits before it is offered: 5 s, 10 s, and so on.
    assert len(offers) <= 12, offers
    assert max(pauses) >= 80, pauses
    for _ in range(320):
        here.rounds(1)
        if here.ready() == [0]:
            break
    assert here.ready() == [0]


@pytest.mark.row("MK-42")
@pytest.mark.parametrize("plot", ["image", "partition", "surge"])
def test_an_update_ends_alike_whichever_of_its_writes_is_the_last_of_a_process(plot: str) -> None:
    def start() -> whole.Whole:
        here = settled(replicas=2, quotas=(2, 2))
        how = {"image": {}, "partition": {"partition": 1}, "surge": {"maxSurge": 1}}[plot]
        if how:
            here.manager.rolling(**how)
        here.manager.image(2)
        here.written = 0
        return here

    here = start()
    here.settle(rounds=300)
    expected, written = here.images(), here.written
    assert written > 0
    for after in range(written):
        again = start()
        again.dies_after = after
        again.settle(rounds=300)
        again.judge.rest(again)
        assert again.images() == expected, f"killed after {after} writes"


def test_the_model_is_of_a_manager_in_which_no_pod_is_ever_released() -> None:
    here = settled(replicas=2, quotas=(1, 1))
    pods = here.manager.of_kind("Pod").values()
    assert all(pod["spec"]["schedulingGates"] for pod in pods)
    assert isinstance(here.manager, cluster_model.Cluster)
