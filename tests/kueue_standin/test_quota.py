"""Quota, flavors, order and the messages of those who wait."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.kit.standin.world import World, pod_set

GOLDEN = Path(__file__).parent.parent / "golden"


def recorded(name: str) -> list[dict[str, Any]]:
    documents = yaml.safe_load_all((GOLDEN / f"{name}.yaml").read_text())
    return [d for d in documents if d and d["kind"] == "Workload"]


@pytest.mark.parametrize("name", ["queued-workers", "queued-dual"])
def test_recorded_workloads_are_admitted_as_kueue_recorded_it(name: str) -> None:
    world = World()
    world.queues({"cpu": "10"})
    world.add("LocalQueue", "user-queue", spec={"clusterQueue": "cq"})
    for workload in recorded(name):
        world.add(
            "Workload",
            workload["metadata"]["name"],
            spec=workload["spec"],
            metadata={"ownerReferences": workload["metadata"]["ownerReferences"]},
        )
    world.settle()
    for workload in recorded(name):
        status = world.get("Workload", workload["metadata"]["name"])["status"]
        assert status["admission"] == workload["status"]["admission"]
        wanted = [c for c in workload["status"]["conditions"] if c["type"] != "PodsReady"]
        timeless = [
            {k: v for k, v in c.items() if k != "lastTransitionTime"} for c in status["conditions"]
        ]
        assert timeless == wanted


def test_a_workload_that_waits_says_what_is_missing_in_kueues_words() -> None:
    world = World()
    world.queues({"cpu": "700m"})
    for name in ("a", "b", "c"):
        world.workload(name, count=3, cpu="100m")
        world.now = world.now.replace(second=world.now.second + 1)
    world.settle()
    assert world.admitted() == ["a", "b"]
    assert world.condition("c", "QuotaReserved") == (
        "False",
        "Pending",
        "couldn't assign flavors to pod set main: insufficient unused quota for cpu in flavor "
        "default, 200m more needed",
    )
    assert "Admitted" not in world.conditions("c")
    requests = world.get("Workload", "c")["status"]["resourceRequests"]
    assert requests == [{"name": "main", "resources": {"cpu": "300m"}}]


def test_a_workload_that_can_never_fit_says_so() -> None:
    world = World()
    world.queues({"cpu": "2"})
    world.workload("w", pod_sets=[pod_set("leader"), pod_set("worker", count=2)])
    world.settle()
    assert world.condition("w", "QuotaReserved") == (
        "False",
        "Pending",
        "couldn't assign flavors to pod set worker: insufficient quota for cpu in flavor default, "
        "previously considered podsets requests (1) + current podset request (2) > maximum "
        "capacity (2)",
    )


def test_everything_that_is_missing_is_listed() -> None:
    world = World()
    world.queues({"cpu": "1", "memory": "1Gi"})
    requests = {"cpu": "2", "memory": "3Gi"}
    container = {"name": "c", "resources": {"requests": requests}}
    world.workload("w", pod_sets=[pod_set("main", spec={"containers": [container]})])
    world.settle()
    message = world.condition("w", "QuotaReserved")[2]
    assert "current podset request (2) > maximum capacity (1)" in message
    assert "current podset request (3Gi) > maximum capacity (1Gi)" in message


def test_quota_that_becomes_free_goes_to_whoever_waits() -> None:
    world = World()
    world.queues({"cpu": "1"})
    world.workload("a")
    world.settle()
    world.workload("b")
    world.settle()
    assert world.admitted() == ["a"]
    world.remove("Workload", "a")
    world.settle()
    assert world.admitted() == ["b"]
    assert "resourceRequests" not in world.get("Workload", "b")["status"]


def test_raised_quota_admits_and_lowered_quota_evicts_nobody() -> None:
    world = World()
    world.queues({"cpu": "1"})
    world.workload("a")
    world.workload("b")
    world.settle()
    spec = world.get("ClusterQueue", "cq")["spec"]
    spec["resourceGroups"][0]["flavors"][0]["resources"][0]["nominalQuota"] = "2"
    world.settle()
    assert world.admitted() == ["a", "b"]
    spec["resourceGroups"][0]["flavors"][0]["resources"][0]["nominalQuota"] = "0"
    world.settle()
    assert world.admitted() == ["a", "b"]


def test_priority_goes_before_age() -> None:
    world = World()
    world.queues({"cpu": "1"})
    world.workload("old")
    world.now = world.now.replace(minute=1)
    world.workload("urgent", priority=10)
    world.settle()
    assert world.admitted() == ["urgent"]


def test_a_small_workload_passes_a_big_one_unless_the_queue_is_strict() -> None:
    for strategy, admitted in (("BestEffortFIFO", ["small"]), ("StrictFIFO", [])):
        world = World()
        world.queues({"cpu": "2"}, queueingStrategy=strategy)
        world.workload("big", cpu="3", priority=1)
        world.workload("small")
        world.settle()
        assert world.admitted() == admitted


def test_the_next_flavor_serves_when_the_first_is_full() -> None:
    world = World()
    world.queues(flavors={"reserved": {"cpu": "1"}, "spot": {"cpu": "1"}})
    for name in ("a", "b", "c"):
        world.workload(name)
    world.settle()
    flavors = [world.assignment(name)["flavors"] for name in ("a", "b")]
    assert flavors == [{"cpu": "reserved"}, {"cpu": "spot"}]
    assert world.condition("c", "QuotaReserved")[2] == (
        "couldn't assign flavors to pod set main: "
        "insufficient unused quota for cpu in flavor reserved, 1 more needed, "
        "insufficient unused quota for cpu in flavor spot, 1 more needed"
    )


def test_resources_of_a_group_come_from_one_flavor() -> None:
    world = World()
    world.queues(
        flavors={"a": {"cpu": "8", "memory": "1Gi"}, "b": {"cpu": "8", "memory": "8Gi"}},
    )
    requests = {"cpu": "1", "memory": "2Gi"}
    container = {"name": "c", "resources": {"requests": requests}}
    world.workload("w", pod_sets=[pod_set("main", count=2, spec={"containers": [container]})])
    world.settle()
    assignment = world.assignment("w")
    assert assignment["flavors"] == {"cpu": "b", "memory": "b"}
    assert assignment["resourceUsage"] == {"cpu": "2", "memory": "4Gi"}


def test_pods_count_when_the_queue_has_quota_for_them() -> None:
    world = World()
    world.queues({"cpu": "9", "pods": "3"})
    world.workload("a", count=2)
    world.workload("b", count=2)
    world.settle()
    assert world.admitted() == ["a"]
    assert world.assignment("a")["resourceUsage"] == {"cpu": "2", "pods": "2"}
    assert "quota for pods in flavor default, 1 more" in world.condition("b", "QuotaReserved")[2]
    requests = world.get("Workload", "b")["status"]["resourceRequests"]
    assert requests == [{"name": "main", "resources": {"cpu": "2"}}]


def test_a_resource_without_quota_is_named() -> None:
    world = World()
    world.queues({"memory": "1Gi"})
    world.workload("w")
    world.settle()
    assert world.condition("w", "QuotaReserved")[1:] == (
        "Pending",
        "couldn't assign flavors to pod set main: resource cpu unavailable in ClusterQueue",
    )


def test_a_flavor_has_to_match_selectors_and_taints() -> None:
    world = World()
    taint = {"key": "spot", "value": "yes", "effect": "NoSchedule"}
    world.add("ResourceFlavor", "spot", spec={"nodeTaints": [taint]})
    world.add("ResourceFlavor", "a100", spec={"nodeLabels": {"gpu": "a100"}})
    world.queues(flavors={"spot": {"cpu": "5"}, "a100": {"cpu": "5"}})
    h100 = {"nodeSelector": {"gpu": "h100"}}
    tolerant = {"tolerations": [{"key": "spot", "operator": "Exists"}]}
    world.workload("none", pod_sets=[pod_set("main", spec=h100)])
    world.workload("second", pod_sets=[pod_set("main")])
    world.workload("first", pod_sets=[pod_set("main", spec=tolerant)])
    world.settle()
    assert world.assignment("first")["flavors"] == {"cpu": "spot"}
    assert world.assignment("second")["flavors"] == {"cpu": "a100"}
    assert world.condition("none", "QuotaReserved")[1:] == (
        "Pending",
        "couldn't assign flavors to pod set main: flavor a100 doesn't match node affinity, "
        "untolerated taint {spot yes NoSchedule <nil>} in flavor spot",
    )


def test_an_empty_worker_set_is_admitted_with_nothing() -> None:
    world = World()
    world.queues({"cpu": "1"})
    world.workload("w", pod_sets=[pod_set("leader"), pod_set("worker", count=0)])
    world.settle()
    assert world.assignment("w", "worker") == {
        "name": "worker",
        "count": 0,
        "flavors": {"cpu": "default"},
        "resourceUsage": {"cpu": "0"},
    }


def test_preemption_asks_the_least_important_and_waits_for_the_job_side() -> None:
    world = World()
    world.queues({"cpu": "2"}, preemption={"withinClusterQueue": "LowerPriority"})
    world.workload("low", priority=1)
    world.workload("middle", priority=2)
    world.settle()
    world.workload("high", priority=5, made={"labels": {"kueue.x-k8s.io/job-uid": "job"}})
    world.settle()
    message = (
        "Preempted to accommodate a workload (UID: uid-high, JobUID: job) due to prioritization "
        "in the ClusterQueue; preemptor path: /cq; preemptee path: /cq"
    )
    assert world.condition("low", "Evicted") == ("True", "Preempted", message)
    assert world.condition("low", "Preempted") == ("True", "InClusterQueue", message)
    assert "Evicted" not in world.conditions("middle")
    # The quota is the victim's until its pods have stopped.
    assert world.condition("low", "QuotaReserved")[0] == "True"
    assert world.condition("high", "QuotaReserved") == (
        "False",
        "Pending",
        "couldn't assign flavors to pod set main: insufficient unused quota for cpu in flavor "
        "default, 1 more needed. Pending the preemption of 1 workload(s)",
    )
    world.stop_pods("low")
    world.settle()
    assert world.admitted() == ["high", "middle"]
    assert world.condition("low", "QuotaReserved")[1] == "Pending"
    world.remove("Workload", "high")
    world.settle()
    assert world.condition("low", "Evicted") == ("False", "QuotaReserved", f"Previously: {message}")
    assert world.condition("low", "Preempted")[0] == "False"


def test_without_the_policy_nobody_is_preempted() -> None:
    world = World()
    world.queues({"cpu": "1"})
    world.workload("low", priority=1)
    world.settle()
    world.workload("high", priority=5)
    world.settle()
    assert world.admitted() == ["low"]
    assert "Evicted" not in world.conditions("low")
    assert world.condition("high", "QuotaReserved")[1] == "Pending"


def test_nobody_slips_into_what_a_preemptor_waits_for() -> None:
    world = World()
    world.queues({"cpu": "3"}, preemption={"withinClusterQueue": "LowerPriority"})
    world.workload("low", cpu="2", priority=1)
    world.settle()
    world.workload("high", cpu="3", priority=5)
    world.workload("small", cpu="1", priority=0)
    world.settle()
    assert "small" not in world.admitted()
    world.stop_pods("low")
    world.settle()
    assert world.admitted() == ["high"]


def test_preemption_spares_who_need_not_go() -> None:
    world = World()
    world.queues({"cpu": "3"}, preemption={"withinClusterQueue": "LowerPriority"})
    world.workload("tiny", cpu="1", priority=1)
    world.workload("large", cpu="2", priority=2)
    world.settle()
    world.workload("high", cpu="2", priority=5)
    world.settle()
    assert "Evicted" not in world.conditions("tiny")
    assert world.condition("large", "Evicted")[1] == "Preempted"


def test_a_preemptor_that_would_not_fit_anyway_evicts_nobody() -> None:
    world = World()
    world.queues({"cpu": "3"}, preemption={"withinClusterQueue": "LowerPriority"})
    world.workload("equal", cpu="2", priority=5)
    world.workload("low", cpu="1", priority=1)
    world.settle()
    world.workload("high", cpu="2", priority=5)
    world.settle()
    assert world.admitted() == ["equal", "low"]
    assert "Evicted" not in world.conditions("low")
