"""Deactivation, stopped queues, time-outs, admission checks, and the way back into the queue."""

from typing import Any

import pytest

from lws_kueue.api import actions
from tests.kit.standin.world import World


def admitted(**options: Any) -> World:
    world = World(**options)
    world.queues({"cpu": "1"})
    world.workload("w")
    world.settle()
    assert world.admitted() == ["w"]
    return world


def test_a_world_at_rest_is_not_written_to() -> None:
    world = admitted()
    world.now = world.now.replace(hour=0, minute=20)
    assert world.decide().writes == ()


def test_every_write_is_guarded_by_the_version_it_was_decided_on() -> None:
    world = admitted()
    applies = [write for write in world.writes if isinstance(write, actions.Apply)]
    written = sorted(write.body["kind"] for write in applies)
    assert written == ["ClusterQueue", "LocalQueue", "Workload"]
    for write in applies:
        assert write.field_manager == "kueue-admission"
        assert write.body["metadata"]["resourceVersion"] == write.resource_version


def test_deactivation_asks_and_waits_for_the_job_side() -> None:
    world = admitted()
    world.edit("Workload", "w", active=False)
    world.settle()
    assert world.condition("w", "Evicted") == (
        "True",
        "Deactivated",
        "The workload is deactivated",
    )
    # The stand-in never gives the admission back by itself.
    assert world.condition("w", "QuotaReserved")[0] == "True"
    assert world.condition("w", "Admitted")[0] == "True"
    assert "admission" in world.get("Workload", "w")["status"]
    world.stop_pods("w")
    world.settle()
    assert world.admitted() == []
    assert world.condition("w", "QuotaReserved")[0] == "False"
    stats = world.get("Workload", "w")["status"]["schedulingStats"]["evictions"]
    assert stats == [{"reason": "Deactivated", "underlyingCause": "", "count": 1}]


def test_activation_lets_it_compete_again() -> None:
    world = admitted()
    world.edit("Workload", "w", active=False)
    world.settle()
    world.stop_pods("w")
    world.settle()
    world.edit("Workload", "w", active=True)
    world.settle()
    assert world.admitted() == ["w"]
    assert world.condition("w", "Requeued") == (
        "True",
        "Reactivated",
        "The workload was reactivated",
    )
    assert world.condition("w", "Evicted") == (
        "False",
        "QuotaReserved",
        "Previously: The workload is deactivated",
    )


def test_a_workload_that_never_had_quota_is_deactivated_too() -> None:
    world = World()
    world.queues({"cpu": "1"})
    world.workload("w", active=False)
    world.settle()
    assert world.condition("w", "Evicted")[1] == "Deactivated"
    assert set(world.conditions("w")) == {"Evicted"}


@pytest.mark.parametrize("kind", ["LocalQueue", "ClusterQueue"])
def test_a_draining_queue_evicts_and_admits_again_when_it_runs(kind: str) -> None:
    world = admitted()
    name = {"LocalQueue": "lq", "ClusterQueue": "cq"}[kind]
    world.edit(kind, name, stopPolicy="HoldAndDrain")
    world.settle()
    assert world.condition("w", "Evicted") == ("True", f"{kind}Stopped", f"The {kind} is stopped")
    assert world.condition("w", "QuotaReserved")[0] == "True"
    world.stop_pods("w")
    world.settle()
    assert world.condition("w", "QuotaReserved") == (
        "False",
        "Inadmissible",
        f"{kind} {name} is inactive",
    )
    world.edit(kind, name, stopPolicy="None")
    world.settle()
    assert world.condition("w", "Requeued") == (
        "True",
        f"{kind}Restarted",
        f"The {kind} was restarted after being stopped",
    )
    assert world.admitted() == ["w"]


@pytest.mark.parametrize("kind", ["LocalQueue", "ClusterQueue"])
def test_a_held_queue_keeps_who_runs_and_admits_nobody(kind: str) -> None:
    world = admitted()
    name = {"LocalQueue": "lq", "ClusterQueue": "cq"}[kind]
    world.edit(kind, name, stopPolicy="Hold")
    world.workload("late")
    world.settle()
    assert world.admitted() == ["w"]
    assert "Evicted" not in world.conditions("w")
    world.remove("Workload", "w")
    world.settle()
    assert world.condition("late", "QuotaReserved")[1] == "Inadmissible"


def test_missing_queues_are_named_until_they_come() -> None:
    world = World()
    world.workload("w")
    world.settle()
    assert world.condition("w", "QuotaReserved") == (
        "False",
        "Inadmissible",
        "LocalQueue lq doesn't exist",
    )
    world.add("LocalQueue", "lq", spec={"clusterQueue": "cq"})
    world.settle()
    assert world.condition("w", "QuotaReserved")[2] == "ClusterQueue cq doesn't exist"
    world.queues({"cpu": "1"})
    world.settle()
    assert world.admitted() == ["w"]


def test_a_queue_may_refuse_a_namespace() -> None:
    world = World()
    world.queues({"cpu": "1"}, namespaceSelector={"matchLabels": {"team": "y"}})
    world.workload("w")
    world.settle()
    assert world.condition("w", "QuotaReserved")[1:] == (
        "Pending",
        "workload namespace doesn't match ClusterQueue selector",
    )
    world.get("Namespace", "default")["metadata"]["labels"] = {"team": "y"}
    world.settle()
    assert world.admitted() == ["w"]


def test_a_gated_workload_waits_for_its_gate() -> None:
    world = World()
    world.queues({"cpu": "1"})
    gate = {"kueue.x-k8s.io/admission-gated-by": "example.com/gate"}
    world.workload("w", made={"annotations": gate})
    world.settle()
    assert world.condition("w", "QuotaReserved")[1:] == (
        "AdmissionGated",
        "Admission is gated by: example.com/gate",
    )
    world.get("Workload", "w")["metadata"]["annotations"] = {}
    world.settle()
    assert world.admitted() == ["w"]


def test_pods_that_never_become_ready_are_evicted_with_growing_waits() -> None:
    world = admitted(pods_ready_timeout=30, backoff_base=10)
    assert world.decide().recheck_after == 30
    for count, wait in ((1, 10), (2, 20)):
        world.settle(after=30)
        assert world.condition("w", "Evicted") == (
            "True",
            "PodsReadyTimeout",
            "Exceeded the PodsReady timeout default/w",
        )
        assert world.get("Workload", "w")["status"]["requeueState"]["count"] == count
        world.stop_pods("w")
        world.settle(after=wait - 1)
        assert world.admitted() == []
        assert world.decide().recheck_after == 1
        world.settle(after=1)
        assert world.condition("w", "Requeued")[1] == "BackoffFinished"
        assert world.admitted() == ["w"]


def test_ready_pods_are_left_alone_and_lost_ones_have_time_to_recover() -> None:
    world = admitted(pods_ready_timeout=30)
    world.set_condition("w", "PodsReady", status=True, reason="Started")
    world.settle(after=100)
    assert "Evicted" not in world.conditions("w")
    world.set_condition("w", "PodsReady", status=False, reason="WaitForRecovery")
    world.settle(after=29)
    assert "Evicted" not in world.conditions("w")
    world.settle(after=1)
    assert world.condition("w", "Evicted")[1] == "PodsReadyTimeout"
    stats = world.get("Workload", "w")["status"]["schedulingStats"]["evictions"]
    assert stats[0]["underlyingCause"] == "WaitForRecovery"


def test_too_many_attempts_deactivate() -> None:
    world = admitted(pods_ready_timeout=30, backoff_limit=0)
    world.settle(after=30)
    assert world.get("Workload", "w")["spec"]["active"] is False
    assert world.condition("w", "Evicted") == (
        "True",
        "DeactivatedDueToRequeuingLimitExceeded",
        "The workload is deactivated due to exceeding the maximum number of re-queuing retries",
    )
    assert "DeactivationTarget" not in world.conditions("w")


def test_the_execution_time_is_limited() -> None:
    world = World()
    world.queues({"cpu": "1"})
    world.workload("w", maximumExecutionTimeSeconds=60)
    world.settle()
    world.settle(after=59)
    assert world.admitted() == ["w"]
    world.settle(after=1)
    assert world.condition("w", "Evicted")[1] == "DeactivatedDueToMaximumExecutionTimeExceeded"


def with_check(**options: Any) -> World:
    world = World(**options)
    active = {"conditions": [{"type": "Active", "status": "True"}]}
    world.add("AdmissionCheck", "check", status=active)
    strategy = {"admissionChecks": [{"name": "check"}]}
    world.queues({"cpu": "1"}, admissionChecksStrategy=strategy)
    world.workload("w")
    world.settle()
    return world


def test_admission_waits_for_the_checks() -> None:
    world = with_check()
    check = world.get("Workload", "w")["status"]["admissionChecks"][0]
    assert (check["name"], check["state"], check["message"]) == ("check", "Pending", "")
    assert world.condition("w", "QuotaReserved")[0] == "True"
    assert "Admitted" not in world.conditions("w")
    updates = [{"name": "main", "nodeSelector": {"a": "b"}}]
    world.set_check("w", "check", "Ready", podSetUpdates=updates)
    world.settle()
    assert world.admitted() == ["w"]
    assert world.get("Workload", "w")["status"]["admissionChecks"][0]["podSetUpdates"] == updates


def test_a_check_that_wants_a_retry_evicts_and_starts_over() -> None:
    world = with_check()
    world.set_check("w", "check", "Retry", message="no luck", requeueAfterSeconds=10)
    world.settle()
    assert world.condition("w", "Evicted") == (
        "True",
        "AdmissionCheck",
        'Evicted due to AdmissionCheck in Retry state: "check" (no luck)',
    )
    check = world.get("Workload", "w")["status"]["admissionChecks"][0]
    assert check["state"] == "Pending"
    assert check["message"] == "Reset to Pending after eviction. Previously: Retry"
    assert check["retryCount"] == 1
    world.stop_pods("w")
    world.settle(after=9)
    assert world.condition("w", "QuotaReserved")[0] == "False"
    world.settle(after=1)
    assert world.condition("w", "QuotaReserved")[0] == "True"


def test_a_rejected_check_deactivates() -> None:
    world = with_check()
    world.set_check("w", "check", "Rejected", message="")
    world.settle()
    assert world.get("Workload", "w")["spec"]["active"] is False
    assert world.condition("w", "Evicted")[1:] == (
        "DeactivatedDueToAdmissionCheck",
        'The workload is deactivated due to AdmissionCheck in Rejected state: "check"',
    )


def test_a_check_of_one_flavor_applies_to_that_flavor_only() -> None:
    world = World()
    active = {"conditions": [{"type": "Active", "status": "True"}]}
    world.add("AdmissionCheck", "check", status=active)
    strategy = {"admissionChecks": [{"name": "check", "onFlavors": ["second"]}]}
    flavors = {"first": {"cpu": "1"}, "second": {"cpu": "1"}}
    world.queues(flavors=flavors, admissionChecksStrategy=strategy)
    world.workload("a")
    world.workload("b")
    world.settle()
    assert world.admitted() == ["a"]
    assert "admissionChecks" not in world.get("Workload", "a")["status"]
    assert world.condition("b", "QuotaReserved")[0] == "True"
    assert world.get("Workload", "b")["status"]["admissionChecks"][0]["state"] == "Pending"


def test_a_reservation_without_pods_is_given_up_when_the_queue_stops() -> None:
    world = with_check()
    world.edit("ClusterQueue", "cq", stopPolicy="Hold")
    world.settle()
    assert "admission" not in world.get("Workload", "w")["status"]
    assert world.condition("w", "QuotaReserved")[1] == "Inadmissible"
    assert "Evicted" not in world.conditions("w")


def test_a_change_of_the_class_reaches_the_workloads_of_the_class() -> None:
    world = World()
    world.queues({"cpu": "1"})
    world.add("WorkloadPriorityClass", "high", value=100)
    ref = {"group": "kueue.x-k8s.io", "kind": "WorkloadPriorityClass", "name": "high"}
    world.workload("w", priorityClassRef=ref, priority=50)
    world.settle()
    assert world.get("Workload", "w")["spec"]["priority"] == 100


@pytest.mark.parametrize("finalizers", [["kueue.x-k8s.io/resource-in-use", "x/y"]])
def test_a_deleted_workload_without_owners_loses_its_finalizer(finalizers: list[str]) -> None:
    world = World()
    deleted = {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": finalizers}
    world.workload("orphan", made=deleted | {"ownerReferences": []})
    world.workload("owned", made=deleted)
    world.settle()
    assert world.get("Workload", "orphan")["metadata"]["finalizers"] == ["x/y"]
    assert world.get("Workload", "owned")["metadata"]["finalizers"] == finalizers


def test_a_workload_whose_owner_is_gone_is_finished_and_frees_its_quota() -> None:
    world = World()
    world.queues({"cpu": "1"})
    label = {"labels": {"kueue.x-k8s.io/job-uid": "job"}}
    world.workload("w", made=label)
    world.settle()
    world.get("Workload", "w")["metadata"]["ownerReferences"] = []
    world.workload("next")
    world.settle()
    assert world.condition("w", "Finished") == (
        "True",
        "OwnerNotFound",
        "The workload's owner no longer exists",
    )
    assert "next" in world.admitted()


def test_an_admitted_workload_stays_so_whatever_its_checks_do_later() -> None:
    world = with_check()
    world.set_check("w", "check", "Ready")
    world.settle()
    world.set_check("w", "check", "Pending")
    world.settle(after=10)
    assert world.admitted() == ["w"]


def test_admitted_follows_the_reservation_and_its_time_is_added_up() -> None:
    world = admitted()
    world.edit("LocalQueue", "lq", stopPolicy="HoldAndDrain")
    world.settle(after=90)
    # A job side that gives only the quota back.
    world.set_condition("w", "QuotaReserved", status=False, reason="Pending")
    world.get("Workload", "w")["status"].pop("admission")
    world.settle()
    assert world.condition("w", "Admitted")[:2] == ("False", "NoReservation")
    assert world.get("Workload", "w")["status"]["accumulatedPastExecutionTimeSeconds"] == 90
