"""Cycles over the heads of all queues: who is considered when, and what is known without a look."""

import datetime
from typing import Any

from lws_kueue.simulator import objects, snapshot
from lws_kueue.simulator.flavors import Mode
from tests.kit.builders import cluster as build

NOW = datetime.datetime(2026, 1, 1, 12, tzinfo=datetime.UTC)


def workload(name: str, cpu: str, *, queue: str = "q", priority: int = 0, **status: Any) -> Any:
    """Return a Workload of one pod, as it is stored."""
    container = {"name": "c", "resources": {"requests": {"cpu": cpu}}}
    pods = {"name": "main", "count": 1, "template": {"spec": {"containers": [container]}}}
    made = build.kueues(
        "Workload", name, namespace="n", queueName=queue, priority=priority, podSets=[pods]
    )
    made["metadata"] |= {"uid": name, "creationTimestamp": "2026-01-01T00:00:00Z"}
    return made | {"status": status}


def refused(message: str = "no room") -> Any:
    condition = {"type": "QuotaReserved", "status": "False", "reason": "Pending"}
    return [condition | {"message": message}]


def holding(name: str, cpu: str, **given: Any) -> Any:
    part = {"name": "main", "flavors": {"cpu": "f"}, "resourceUsage": {"cpu": cpu}}
    condition = {"type": "QuotaReserved", "status": "True", "reason": "QuotaReserved"}
    condition |= {"message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    admission = {"clusterQueue": "q", "podSetAssignments": [part]}
    return workload(name, cpu, **given, admission=admission, conditions=[condition])


def cluster(*workloads: Any, cpu: str = "4", **spec: Any) -> objects.Observed:
    queue = objects.ClusterQueue.of(build.cluster_queue("q", {"f": {"cpu": cpu}}, **spec))
    local = objects.LocalQueue.of(build.local_queue("q", namespace="n", cluster_queue="q"))
    parsed = [objects.Workload.of(one) for one in workloads]
    return objects.Observed(
        workloads={one.key: one for one in parsed},
        local_queues={("n", "q"): local},
        cluster_queues={"q": queue},
        flavors={"f": objects.Flavor.of(build.kueues("ResourceFlavor", "f"))},
    )


def admitted(observed: objects.Observed, *more: Any) -> list[str]:
    """Let more Workloads come one by one, and return who has quota in the end."""
    found = snapshot.taken(observed, now=NOW)
    assert found.settle()
    asked = [objects.Workload.of(one) for one in more]
    for one in asked:
        found.ask(one, "q")
        assert found.settle()
    keys = [*observed.workloads, *(one.key for one in asked)]
    return [name for space, name in keys if found.admitted((space, name))]


def test_who_was_refused_is_not_considered_again_before_quota_becomes_free() -> None:
    waits = workload("waits", "3", conditions=refused())
    assert admitted(cluster(waits)) == []
    # As it is not known to Kueue yet, it is considered.
    assert admitted(cluster(workload("new", "3"))) == ["new"]


def test_quota_that_becomes_free_goes_to_who_was_refused() -> None:
    observed = cluster(holding("holds", "3"), workload("waits", "3", conditions=refused()))
    found = snapshot.taken(observed, now=NOW)
    found.release(("n", "holds"))
    assert found.settle()
    assert found.admitted(("n", "waits"))


def test_who_is_like_one_that_was_refused_is_refused_unseen() -> None:
    observed = cluster(holding("holds", "3"), workload("waits", "3", conditions=refused()))
    found = snapshot.taken(observed, now=NOW)
    found.ask(objects.Workload.of(workload("alike", "3")), "q")
    verdict = found.verdicts["n", "alike"]
    assert (verdict.admitted, verdict.found.mode) == (False, Mode.NO_CANDIDATES)
    assert "2 more needed" in verdict.message


def test_who_waits_for_others_to_stop_comes_before_all_others() -> None:
    leaves = holding("leaves", "4")
    evicted = {"type": "Evicted", "status": "True", "reason": "Preempted", "message": ""}
    leaves["status"]["conditions"].append(evicted | {"lastTransitionTime": "2026-01-01T01:00:00Z"})
    stays = workload("stays", "4", priority=1, conditions=refused("Pending the preemption of 1"))
    # It has the same priority and the smaller UID, so it would be first.
    older = workload("older", "4", priority=1)
    policy = {"withinClusterQueue": "LowerPriority"}
    assert admitted(cluster(leaves, older, stays, preemption=policy)) == ["stays"]


def test_who_has_less_priority_makes_room() -> None:
    observed = cluster(holding("low", "4"), preemption={"withinClusterQueue": "LowerPriority"})
    assert admitted(observed, workload("high", "4", priority=1)) == ["high"]


def test_who_backs_off_is_not_considered() -> None:
    later = workload("later", "1", requeueState={"requeueAt": "2026-01-01T13:00:00Z"})
    sooner = workload("sooner", "1", requeueState={"requeueAt": "2026-01-01T11:00:00Z"})
    assert admitted(cluster(later, sooner)) == ["sooner"]


def test_behind_a_head_that_waits_a_strict_queue_admits_nobody() -> None:
    big, small = workload("big", "9", priority=1), workload("small", "1")
    assert admitted(cluster(big, small, queueingStrategy="StrictFIFO")) == []
    assert admitted(cluster(big, small)) == ["small"]


def test_the_head_of_a_strict_queue_that_was_refused_still_holds_up_all_others() -> None:
    big = workload("big", "9", priority=1, conditions=refused())
    small = workload("small", "1")
    assert admitted(cluster(big, queueingStrategy="StrictFIFO"), small) == []
    assert admitted(cluster(big), small) == ["small"]
