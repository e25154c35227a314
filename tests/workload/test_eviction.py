"""A group without quota stops, and its quota is given back in one complete write."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from lws_kueue.api import actions, facts, kueue
from lws_kueue.workload import backing, eviction
from tests.kit.builders import builders
from tests.kit.builders.builders import (
    ADMITTED,
    EARLIER,
    NOW,
    RESERVED,
    condition,
    evicted,
    pod,
    running,
)


def stopped(workload: kueue.Workload | None, *pods: facts.Pod) -> list[str]:
    return [
        delete.uid
        for delete in eviction.stop(
            workload, pods, backing.Terms(flavors={"default": builders.flavor()})
        )
    ]


NOT_ADMITTED = [
    None,
    builders.workload(),
    builders.workload(conditions=[RESERVED]),
    builders.admitted(conditions=[evicted()]),
    builders.workload(conditions=[evicted("Deactivated")], spec={"active": False}),
    builders.admitted(conditions=[condition("Finished", True, "OutOfSync")]),
    builders.admitted(metadata={"deletionTimestamp": EARLIER}),
]


@pytest.mark.parametrize("workload", NOT_ADMITTED)
def test_a_pod_that_can_run_without_admission_is_deleted(workload: kueue.Workload | None) -> None:
    pods = [
        running(0),
        pod(1, gates=()),  # Let go, not bound yet.
        pod(2),
        running(3, deleted=EARLIER),
        pod(4, gates=(), phase="Failed"),
        pod(5, gates=("foreign.io/gate",)),
    ]
    assert stopped(workload, *pods) == ["uid-serve-0", "uid-serve-0-1", "uid-serve-0-5"]


def test_pods_of_an_admitted_group_run_on() -> None:
    assert stopped(builders.admitted(), running(0), pod(1)) == []


def test_one_event_tells_why_a_group_stops() -> None:
    workload = builders.admitted(conditions=[evicted(message="make room for x")])
    first, second = eviction.stop(workload, [running(0), running(1)], backing.Terms())
    assert first.ref == actions.Ref("v1", "Pod", "ns", "serve-0")
    assert [event.message for event in first.events] == ["Stopping 2 pods: make room for x"]
    assert second.events == ()


def clear(workload: kueue.Workload, *pods: facts.Pod) -> actions.Apply | None:
    return eviction.clear_admission(workload, pods, now=NOW)


def conditions_of(apply: actions.Apply | None) -> dict[str, dict[str, Any]]:
    assert apply is not None
    return {one["type"]: one for one in apply.body["status"]["conditions"]}


def test_clearing_takes_the_whole_status_along_and_only_the_admission_out() -> None:
    kept = {
        "requeueState": {"count": 2, "requeueAt": "2030-01-01T13:00:00Z"},
        "schedulingStats": {"evictions": [{"reason": "Preempted", "count": 1}]},
        "admissionChecks": [{"name": "prov", "state": "Pending", "message": "reset", "more": 1}],
        "preemptionGates": [{"name": "g"}],
        "resourceRequests": [{"name": "main"}],
        "nominatedClusterNames": ["east"],
        "unhealthyNodes": [{"name": "n"}],
        "clusterName": "east",
    }
    workload = builders.admitted(
        conditions=[evicted(message="make room"), condition("PodsReady", True, "Started")],
        status={**kept, "reclaimablePods": [{"name": "main", "count": 1}]},
    )
    assert workload.status.admission is not None
    apply = clear(workload, pod(0))
    assert apply is not None
    assert (apply.field_manager, apply.subresource) == ("kueue-admission", "status")
    assert apply.resource_version == "7"
    assert apply.body["metadata"] == {"namespace": "ns", "name": "wl-0", "uid": "wl-uid"}
    status = dict(apply.body["status"])
    assert status.pop("conditions") == [
        {
            "type": "QuotaReserved",
            "status": "False",
            "reason": "Pending",
            "message": "make room",
            "lastTransitionTime": "2030-01-01T12:00:00Z",
            "observedGeneration": 1,
        },
        evicted(message="make room"),
        {
            "type": "Admitted",
            "status": "False",
            "reason": "NoReservation",
            "message": "The workload has no reservation",
            "lastTransitionTime": "2030-01-01T12:00:00Z",
            "observedGeneration": 1,
        },
        {
            "type": "Requeued",
            "status": "True",
            "reason": "Preempted",
            "message": "make room",
            "lastTransitionTime": "2030-01-01T12:00:00Z",
            "observedGeneration": 1,
        },
        condition("PodsReady", True, "Started"),
    ]
    assert status == {**kept, "accumulatedPastExecutionTimeSeconds": 3600}


@pytest.mark.parametrize(
    ("reason", "requeued"),
    [
        ("Preempted", "True"),
        ("NodeFailures", "True"),
        ("PodsReadyTimeout", "False"),
        ("AdmissionCheck", "False"),
        ("ClusterQueueStopped", "False"),
        ("LocalQueueStopped", "False"),
        ("Deactivated", "False"),
    ],
)
def test_only_preempted_and_node_failures_queue_again_at_once(reason: str, requeued: str) -> None:
    cleared = conditions_of(clear(builders.admitted(conditions=[evicted(reason, "why")])))
    assert cleared["Requeued"]["status"] == requeued
    assert (cleared["Requeued"]["reason"], cleared["Requeued"]["message"]) == (reason, "why")


@pytest.mark.parametrize(
    "cause", ["RequeuingLimitExceeded", "AdmissionCheck", "MaximumExecutionTimeExceeded"]
)
def test_a_deactivation_with_a_cause_is_left_by_activating_like_one_without(cause: str) -> None:
    reason = f"DeactivatedDueTo{cause}"
    cleared = conditions_of(clear(builders.admitted(conditions=[evicted(reason, "why")])))
    assert cleared["Evicted"]["reason"] == reason
    assert cleared["Requeued"] | {"status": "False", "message": "why"} == cleared["Requeued"]
    assert cleared["Requeued"]["reason"] == "Deactivated"


@pytest.mark.parametrize("active", [True, False])
def test_a_deactivation_that_has_been_done_is_not_asked_for_again(active: bool) -> None:
    conditions = [evicted(), condition("DeactivationTarget", True, "MaximumExecutionTimeExceeded")]
    cleared = conditions_of(
        clear(builders.admitted(conditions=conditions, spec={"active": active}))
    )
    assert ("DeactivationTarget" in cleared) is active


def test_a_group_that_used_up_its_execution_time_gets_all_of_it_again_when_it_is_activated() -> (
    None
):
    out_of_time = evicted("DeactivatedDueToMaximumExecutionTimeExceeded", "why")
    apply = clear(builders.workload(conditions=[RESERVED, ADMITTED, out_of_time]))
    assert apply is not None
    assert "accumulatedPastExecutionTimeSeconds" not in apply.body["status"]


@pytest.mark.parametrize(
    ("pods", "cleared"),
    [
        ([], True),
        ([pod(0), pod(1)], True),
        ([running(0)], False),
        ([pod(0, gates=())], False),
        ([running(0, deleted="2030-01-01T11:59:45Z")], False),
        ([running(0, deleted="2030-01-01T11:59:15Z")], True),
        ([running(0, deleted="2030-01-01T11:59:55Z", terminationGracePeriodSeconds=0)], True),
        ([pod(0, gates=(), phase="Succeeded")], True),
    ],
)
def test_quota_is_given_back_once_nothing_runs_any_more(
    pods: list[facts.Pod], cleared: bool
) -> None:
    workload = builders.admitted(conditions=[evicted()])
    assert (clear(workload, *pods) is not None) is cleared


@pytest.mark.parametrize(
    "workload",
    [
        builders.admitted(),
        builders.workload(),
        builders.workload(conditions=[condition("QuotaReserved", False), evicted()]),
        builders.admitted(conditions=[evicted()], metadata={"deletionTimestamp": EARLIER}),
    ],
)
def test_there_is_nothing_to_give_back_without_an_eviction_and_a_reservation(
    workload: kueue.Workload,
) -> None:
    assert clear(workload) is None


@pytest.mark.parametrize(
    ("conditions", "past", "total"),
    [
        ([RESERVED, ADMITTED], None, 3600),
        ([RESERVED, ADMITTED], 40, 3640),
        ([RESERVED, condition("Admitted", False, "UnsatisfiedChecks")], 40, 40),
        ([RESERVED], None, None),
    ],
)
def test_the_time_admitted_adds_up(
    conditions: list[dict[str, Any]], past: int | None, total: int | None
) -> None:
    status = {} if past is None else {"accumulatedPastExecutionTimeSeconds": past}
    apply = clear(builders.workload(conditions=[*conditions, evicted()], status=status))
    assert apply is not None
    assert apply.body["status"].get("accumulatedPastExecutionTimeSeconds") == total


def test_it_is_known_when_to_look_again_at_pods_that_do_not_end() -> None:
    ending = running(0, deleted="2030-01-01T11:59:45Z")
    wait = eviction.stuck_in([ending, running(1), pod(2, deleted=EARLIER)], now=NOW)
    assert wait == 16.0
    assert eviction.stuck(ending, now=NOW + timedelta(seconds=wait))
    assert eviction.stuck_in([running(1)], now=NOW) is None


def test_a_grace_that_no_date_can_be_reckoned_with_is_a_very_long_one() -> None:
    ending = running(0, deleted="2030-01-01T11:59:45Z")
    ending = replace(ending, spec={**ending.spec, "terminationGracePeriodSeconds": 2**62})
    assert not eviction.stuck(ending, now=NOW + timedelta(days=3600))
    assert eviction.stuck_in([ending], now=NOW) is not None
