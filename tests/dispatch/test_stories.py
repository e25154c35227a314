"""What becomes of a set on two or three clusters in memory, told from what is left in them."""

import random
import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from lws_kueue.api import names
from lws_kueue.dispatch import settings
from tests.kit.memory.kubernetes_model import true
from tests.kit.memory.multikueue import manager, world

ALL = replace(world.OPTIONS, mode=settings.Mode.ALL_AT_ONCE)


def settled(**how: object) -> world.World:
    found = world.World(**how)  # type: ignore[arg-type]
    found.settle()
    found.judge.rest(found)
    return found


def uids(here: world.World, kind: str) -> dict[str, str]:
    """The objects of a kind in all workers, as cluster/name, and who they are."""
    return {
        f"{cluster}/{name}": one["metadata"]["uid"]
        for cluster, link in here.links.items()
        for name, one in link.cluster.of_kind(kind).items()
    }


def counts(here: world.World) -> list[int]:
    return [len(link.cluster.of_kind(names.LWS_KIND)) for link in here.links.values()]


@pytest.mark.row("MK-01", "MK-16")
def test_three_groups_run_on_two_and_one() -> None:
    here = settled(quotas=(2, 1))
    assert here.ready() == [0, 1, 2]
    assert counts(here) == [2, 1]
    assert here.written <= 3 * 8 + 2  # and an anchor in each cluster
    assert sum("create" in line and "leaderworkerset" in line for line in here.log) == 3


@pytest.mark.row("MK-02", "MK-03")
def test_a_set_grows_and_shrinks_group_by_group() -> None:
    here = settled(replicas=4, quotas=(2, 1, 1))
    assert here.ready() == [0, 1, 2, 3]
    running = uids(here, "Pod")
    here.manager.edit(replicas=6)
    here.settle()
    assert here.ready() == [0, 1, 2, 3]
    waiting = [one.text for one in here.decide().reasons if one.waits]
    assert len(waiting) == 2
    assert all(text.count("no quota") == 3 for text in waiting)
    here.manager.edit(replicas=3)
    here.settle()
    here.judge.rest(here)
    assert here.ready() == [0, 1, 2]
    assert uids(here, "Pod").items() <= running.items()
    assert len(here.manager.of_kind("Workload")) == 3


@pytest.mark.row("MK-04")
def test_a_group_that_is_admitted_twice_runs_once() -> None:
    here = settled(replicas=1, quotas=(1, 1), options=ALL)
    assert counts(here) in ([1, 0], [0, 1])
    (made,) = [at for at, line in enumerate(here.log) if re.match(r"create w\d sample-0-", line)]
    withdrawn = [at for at, line in enumerate(here.log) if line.startswith("delete")]
    assert withdrawn
    assert max(withdrawn) < made


@pytest.mark.row("MK-06")
def test_groups_spread_or_fill_one_cluster_after_the_other() -> None:
    spread = settled(replicas=6, quotas=(6, 6))
    assert counts(spread) == [3, 3]
    in_order = replace(world.OPTIONS, order=settings.Order.CONFIG_ORDER)
    assert counts(settled(replicas=6, quotas=(6, 6), options=in_order)) == [6, 0]


@pytest.mark.row("MK-05", "MK-07")
def test_a_group_goes_where_quota_comes_free() -> None:
    here = settled(replicas=3, quotas=(2, 0))
    assert here.ready() == [0, 1] or len(here.ready()) == 2
    here.links["w2"].cluster.quota = 1
    here.settle()
    here.judge.rest(here)
    assert here.ready() == [0, 1, 2]
    assert counts(here) == [2, 1]


@pytest.mark.row("MK-17")
def test_a_new_image_rolls_in_place_with_one_group_down_at_a_time() -> None:
    here = settled(replicas=4, quotas=(2, 2))
    offers, own = uids(here, "Workload"), here.placed()
    here.manager.edit(image=2)
    fewest = 4

    def counted() -> None:
        nonlocal fewest
        fewest = min(fewest, sum(_ready_sets(here)))

    here.watch = counted
    here.settle()
    assert fewest == 3
    assert here.ready() == [0, 1, 2, 3]
    assert (uids(here, "Workload"), here.placed()) == (offers, own)
    images = {
        pod["spec"]["containers"][0]["image"]
        for link in here.links.values()
        for pod in link.cluster.of_kind("Pod").values()
    }
    assert images == {"app:2"}


def _ready_sets(here: world.World) -> list[bool]:
    return [
        all(true(pod, "Ready") for pod in pods) and bool(pods)
        for link in here.links.values()
        for name in link.cluster.of_kind(names.LWS_KIND)
        for pods in [link.cluster.pods_of(name)]
    ]


@pytest.mark.row("MK-20")
def test_doubled_requests_renew_each_group_in_turn() -> None:
    here = settled(replicas=2, quotas=(2, 2))
    here.manager.edit(cpu=2)
    here.settle()
    here.judge.rest(here)
    assert here.ready() == [0, 1]
    assert counts(here) == [1, 1]


@pytest.mark.row("MK-27", "MK-28")
@pytest.mark.parametrize("where", ["manager", "worker"])
def test_a_group_that_is_evicted_stops_before_quota_is_given_back(where: str) -> None:
    here = settled(replicas=1, quotas=(1, 1))
    home = here.placed()[0]
    cluster = here.manager if where == "manager" else here.links[home].cluster
    if where == "worker":
        cluster.quota = 0
        here.judge.shrinks(home, 1)
    (workload,) = cluster.of_kind("Workload").values()
    cluster.evict(workload, "Preempted", "Preempted to make room")
    here.log.clear()
    here.settle()
    here.judge.rest(here)
    assert here.ready() == [0]
    assert where == "manager" or here.placed()[0] != home
    stopped = here.log.index(next(line for line in here.log if line.startswith(f"stop {home}")))
    withdrawn = here.log.index(next(line for line in here.log if line.startswith("delete")))
    given_back = [at for at, line in enumerate(here.log) if line.startswith("apply/status m")]
    assert stopped < withdrawn < given_back[-3]  # then it is nominated, given, and ready again


@pytest.mark.row("MK-28", "MK-55")
def test_quota_stays_while_pods_end_of_which_nothing_else_is_left() -> None:
    here = settled(replicas=1, quotas=(1, 1))
    home = here.placed()[0]
    there = here.links[home].cluster
    # As when its namespace goes there, in the moment in which Kueue evicts the group here.
    here.judge.touched.add(home)
    for kind in (names.LWS_KIND, "Workload"):
        for name in list(there.of_kind(kind)):
            there.delete(kind, name)
    (workload,) = here.manager.of_kind("Workload").values()
    here.manager.evict(workload, "Preempted", "Preempted to make room")
    for _ in range(10):
        there.collect_garbage()
        here.look()
        here.run()
        here.tick()
        assert there.of_kind("Pod")
        assert true(workload, "QuotaReserved")
    there.end_pods()
    here.look()
    here.run()
    assert not true(workload, "QuotaReserved")
    here.settle()
    here.judge.rest(here)
    assert here.ready() == [0]


@pytest.mark.row("MK-33")
def test_nothing_restarts_when_a_link_is_cut_for_ten_seconds() -> None:
    here = settled(replicas=2, quotas=(1, 1))
    running = uids(here, "Pod")
    here.cut("w1")
    _rounds(here, 12)
    here.mend("w1")
    here.settle()
    assert uids(here, "Pod") == running
    assert here.ready() == [0, 1]


@pytest.mark.row("MK-32", "MK-34", "MK-36")
@pytest.mark.parametrize("restarts", [False, True])
def test_a_group_moves_when_its_cluster_is_lost_and_is_cleaned_up_when_it_is_back(
    restarts: bool,
) -> None:
    here = settled(replicas=2, quotas=(2, 2))
    (lost,) = [index for index, name in here.placed().items() if name == "w1"]
    here.cut("w1")
    _rounds(here, 15)
    if restarts:
        here.restart()
    _rounds(here, 10)
    assert here.placed()[lost] == "w1"
    _rounds(here, 25)
    assert here.placed()[lost] == "w2"
    here.mend("w1")
    here.log.clear()
    here.settle()
    here.judge.rest(here)
    assert counts(here) == [0, 2]
    assert here.log[0].startswith("stop w1")


@pytest.mark.row("MK-39")
@pytest.mark.parametrize("evicted", [False, True])
def test_a_group_moves_from_a_cluster_that_was_deleted_while_it_was_lost(evicted: bool) -> None:
    here = settled(replicas=2, quotas=(2, 2))
    (lost,) = [index for index, name in here.placed().items() if name == "w1"]
    here.cut("w1")
    _rounds(here, 12)
    here.links["w1"].configured, here.links["w1"].gone = False, True
    here.restart()
    # A process that knows of it by the Workload alone; it waits from now on.
    here.links["w1"].lost_since = here.clock.now
    if evicted:
        found = here.manager.of_kind("Workload").values()
        (workload,) = [one for one in found if one["status"].get("clusterName") == "w1"]
        here.manager.evict(workload, "Preempted", "Preempted to make room")
    _rounds(here, 15)
    assert here.placed().get(lost) == (None if evicted else "w1")
    _rounds(here, 25)
    assert here.placed()[lost] == "w2"
    assert here.ready() == [0, 1]


@pytest.mark.row("MK-43")
@pytest.mark.parametrize("seed", range(3))
def test_leaders_that_are_killed_while_a_set_is_scaled_make_nothing_twice(seed: int) -> None:
    here, rng = settled(replicas=2, quotas=(3, 3)), random.Random(seed)
    first = _of_group(here, 0)
    assert len(first) == 2
    for second in range(180):
        if second % 10 == 0:
            here.dies_after = rng.randint(0, 3)
        if second % 10 == 5:
            # The one before was suspended, and not dead.
            here.arrive_late()
        if second % 7 == 0:
            here.manager.edit(replicas=rng.randint(1, 4))
        _rounds(here, 1)
        assert _of_group(here, 0) == first
    here.dies_after = None
    here.settle()
    here.judge.rest(here)
    assert here.ready() == list(range(here.manager.replicas))


def _of_group(here: world.World, index: int) -> dict[str, str]:
    """What workers have of a group, and who that is."""
    return {
        f"{cluster}/{kind}/{name}": one["metadata"]["uid"]
        for cluster, link in here.links.items()
        for (kind, name), one in link.cluster.objects.items()
        if kind in (names.LWS_KIND, "Workload")
        if one["metadata"]["labels"].get(names.ORIGIN_GROUP_INDEX) == str(index)
    }


@pytest.mark.row("MK-37")
def test_a_set_that_is_deleted_while_a_cluster_is_lost_leaves_nothing_behind() -> None:
    here = settled(replicas=2, quotas=(1, 1))
    here.cut("w1")
    _rounds(here, 12)
    here.manager.delete(names.LWS_KIND, manager.SET)
    _rounds(here, 40)
    assert not here.manager.of_kind("Workload")
    here.mend("w1")
    here.settle()
    here.judge.rest(here)
    assert counts(here) == [0, 0]
    assert not uids(here, "Workload")


@pytest.mark.row("MK-38")
def test_a_drain_moves_one_group_at_a_time() -> None:
    here = settled(replicas=3, quotas=(3, 0))
    here.links["w2"].cluster.quota = 3
    here.links["w1"].configured = False
    fewest = 3

    def counted() -> None:
        nonlocal fewest
        fewest = min(fewest, sum(_ready_sets(here)))

    here.watch = counted
    here.settle(rounds=300)
    here.judge.rest(here)
    assert counts(here) == [0, 3]
    assert fewest == 2


@pytest.mark.row("MK-15", "MK-48")
def test_a_set_that_is_made_again_under_its_name_has_groups_of_its_own() -> None:
    here = settled(replicas=2, quotas=(2, 2))
    before = set(uids(here, names.LWS_KIND))
    here.manager.delete(names.LWS_KIND, manager.SET)
    here.manager.create(2)
    here.settle()
    here.judge.rest(here)
    assert here.ready() == [0, 1]
    assert not before & set(uids(here, names.LWS_KIND))


@pytest.mark.row("MK-40")
def test_groups_stay_while_all_clusters_are_lost_for_a_moment() -> None:
    here = settled(replicas=2, quotas=(1, 1))
    running = uids(here, "Pod")
    for name in here.links:
        here.cut(name)
    _rounds(here, 18)
    for name in here.links:
        here.mend(name)
    here.settle()
    assert uids(here, "Pod") == running


PLOTS: dict[str, tuple[str, Callable[[world.World], object]]] = {
    "created": ("MK-42", lambda here: None),
    "requests are doubled": ("MK-20", lambda here: here.manager.edit(cpu=2)),
    "scaled down": ("MK-03", lambda here: here.manager.edit(replicas=1)),
    "evicted in a worker": ("MK-27", lambda here: _evicted(here, "w1")),
    "evicted on the manager": ("MK-28", lambda here: _evicted(here, "")),
    "drained": ("MK-38", lambda here: setattr(here.links["w1"], "configured", False)),
    "deleted": ("MK-15", lambda here: here.manager.delete(names.LWS_KIND, manager.SET)),
}


def _evicted(here: world.World, where: str) -> None:
    cluster = here.links[where].cluster if where else here.manager
    name = sorted(cluster.of_kind("Workload"))[0]
    cluster.evict(cluster.objects["Workload", name], "Preempted", "Preempted to make room")


@pytest.mark.parametrize(
    "plot",
    [
        pytest.param(plot, marks=pytest.mark.row("MK-42", row), id=name)
        for name, (row, plot) in PLOTS.items()
    ],
)
def test_a_process_that_dies_after_any_write_is_followed_by_one_that_ends_alike(
    plot: Callable[[world.World], object],
) -> None:
    def start() -> world.World:
        return world.World(replicas=2, quotas=(2, 4), options=ALL)

    here = start()
    if plot is not PLOTS["created"][1]:
        here.settle()
    plot(here)
    here.written = 0
    here.settle()
    expected = here.ready()
    for after in range(here.written):
        again = start()
        if plot is not PLOTS["created"][1]:
            again.settle()
        plot(again)
        again.dies_after = after
        again.settle()
        again.judge.rest(again)
        assert again.ready() == expected, f"killed after {after} writes"


def _rounds(here: world.World, number: int) -> None:
    """Let everything happen once a second for so many seconds."""
    for _ in range(number):
        for happen in here.actors():
            happen()
            here.check()
        here.look()
        here.run()
        here.tick()
