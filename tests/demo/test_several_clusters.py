"""What the story of several clusters looks at, and its table, from objects."""

import collections
from collections.abc import Sequence
from typing import Any

from lws_kueue_lab.demo import snapshot
from lws_kueue_lab.demo.multikueue import groups, rows

from lws_kueue.api import facts, names
from tests.kit.builders import objects

Object = dict[str, Any]

WORKERS = ("worker-1", "worker-2")
NO = "insufficient unused quota for cpu in flavor any"


def offer(index: int, *, why: str = "") -> Object:
    """A group's Workload in a worker, where its index is another one."""
    found: Object = objects.workload(0, why=why)
    found["metadata"]["labels"] = {names.ORIGIN_GROUP_INDEX: str(index)}
    return found


def there(index: int, *, ready: bool = True) -> list[Object]:
    """A group's pods in a worker."""
    found = [objects.pod(0, worker, ready=ready, node=f"node-{worker}") for worker in range(3)]
    for number, pod in enumerate(found):
        pod["metadata"]["labels"][names.ORIGIN_GROUP_INDEX] = str(index)
        pod["metadata"]["uid"] = f"{index}-{number}"
    return found


def here(index: int, *, home: str = "") -> Object:
    found: Object = objects.workload(index, admitted=True)
    if home:
        found["status"]["clusterName"] = home
    return found


def leader(index: int, *, ready: bool) -> Object:
    """The pod of a group in the manager: held, whatever it says of the group."""
    return objects.pod(index, 0, held=True, ready=ready)


def worker(
    *offers: facts.Object, pods: Sequence[facts.Object] = (), cpu: str = "1"
) -> snapshot.Snapshot:
    return snapshot.Snapshot(
        workloads=offers, pods=pods, cluster_queue=objects.cluster_queue(cpu=cpu)
    )


def seen(
    *workloads: Object,
    pods: list[Object],
    workers: dict[str, snapshot.Snapshot],
    ready: int = 0,
    says: str = "",
) -> groups.Snapshot:
    manager = snapshot.Snapshot(
        owner=objects.owner(replicas=len(workloads), ready=ready, waiting=says),
        workloads=workloads,
        pods=pods,
        cluster_queue=objects.cluster_queue(cpu="6"),
    )
    empty = {name: worker() for name in WORKERS}
    return groups.Snapshot(manager=manager, workers=empty | workers)


def running(*homes: str, says: str = "") -> groups.Snapshot:
    """Groups that run, each in the worker that is named."""
    pods: dict[str, list[Object]] = collections.defaultdict(list)
    offers: dict[str, list[Object]] = collections.defaultdict(list)
    for index, home in enumerate(homes):
        pods[home] += there(index)
        offers[home].append(offer(index))
    return seen(
        *(here(index, home=home) for index, home in enumerate(homes)),
        pods=[leader(index, ready=True) for index in range(len(homes))],
        workers={home: worker(*offers[home], pods=pods[home]) for home in pods},
        ready=len(homes),
        says=says,
    )


def test_a_group_that_no_worker_has_shows_to_which_it_is_offered() -> None:
    offered = {name: worker(offer(0, why=NO)) for name in WORKERS}
    found = seen(here(0), pods=[leader(0, ready=False)], workers=offered)
    (row,) = rows.draw(found).rows
    assert row.cells == (
        *("0", "sample-0-ab0de", "has 600m cpu", "worker-1, worker-2"),
        *("-", "-", "-", "gated"),
    )
    assert row.stage == "waiting"


def test_a_group_that_starts_elsewhere_counts_its_pods_there() -> None:
    pods = there(0, ready=False)
    found = seen(
        here(0, home="worker-2"),
        pods=[leader(0, ready=False)],
        workers={"worker-2": worker(offer(0), pods=pods)},
    )
    (row,) = rows.draw(found).rows
    assert row.cells[3:] == ("-", "worker-2", "0/3 ready", "node-0, node-1, node-2", "gated")
    assert row.stage == "starting"


def test_a_group_that_runs_elsewhere_is_a_gated_pod_here_that_is_ready() -> None:
    found = running("worker-1")
    (row,) = rows.draw(found).rows
    assert row.cells[4:] == ("worker-1", "3/3 ready", "node-0, node-1, node-2", "gated, ready")
    assert row.stage == "running"
    assert groups.runs(found, groups=1)


def test_the_caption_has_the_quota_of_each_cluster() -> None:
    assert rows.draw(running("worker-1")).caption == (
        "Quota: manager 6 cpu; worker-1 1 cpu; worker-2 1 cpu"
    )


def test_a_group_of_which_pods_are_in_two_workers_is_not_said_to_run() -> None:
    twice = seen(
        here(0, home="worker-1"),
        pods=[leader(0, ready=True)],
        workers={name: worker(offer(0), pods=there(0)) for name in WORKERS},
        ready=1,
    )
    assert not groups.runs(twice, groups=1)


def test_all_run_only_when_the_set_says_so_as_well() -> None:
    assert groups.runs(running("worker-1", "worker-2"), groups=2)
    assert not groups.runs(running("worker-1", "worker-2"), groups=3)
    assert not groups.runs(running("worker-1", "worker-2", says="group 1: why"), groups=2)


def test_one_waits_only_when_the_set_repeats_what_each_worker_answers() -> None:
    def waits(*answering: str, says: str) -> bool:
        found = running("worker-1")
        offers = {name: [offer(1, why=NO)] if name in answering else [] for name in WORKERS}
        manager = seen(
            here(0, home="worker-1"),
            here(1),
            pods=[leader(0, ready=True), leader(1, ready=False)],
            workers={},
            ready=1,
            says=says,
        ).manager
        workers = {
            name: worker(*one.workloads, *offers[name], pods=one.pods)
            for name, one in found.workers.items()
        }
        return groups.all_run_but_one(groups.Snapshot(manager, workers), groups=2)

    answers = f"group 1: worker-1: {NO}; worker-2: {NO}"
    assert waits(*WORKERS, says=answers)
    assert not waits("worker-1", says=answers)
    assert not waits(*WORKERS, says=f"group 1: worker-1: {NO}; worker-2: it is being offered")


def test_pods_are_told_from_those_that_replace_them() -> None:
    before = running("worker-1", "worker-2").pods_of(2)
    assert len(before) == 6
    after = running("worker-1", "worker-2")
    assert after.pods_of(2) == before
    for pod in after.workers["worker-2"].pods:
        pod["metadata"]["uid"] += "-anew"
    assert len(before - after.pods_of(2)) == 3
    assert before >= after.pods_of(1)
