"""The state of a Workload, and one line that says what to change."""

from typing import Any

import pytest

from lws_kueue.api import kueue, names
from lws_kueue.api.reasons import Reason
from lws_kueue.workload import state
from tests.kit.builders import builders
from tests.kit.builders.builders import ADMITTED, RESERVED, condition, evicted

Admission = state.Admission
NO_CHECKS: dict[str, kueue.AdmissionCheck] = {}
OFF: dict[str, Any] = {"spec": {"active": False}}
DELETING: dict[str, Any] = {"metadata": {"deletionTimestamp": builders.EARLIER}}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, Admission.PENDING),
        ({"conditions": [condition("QuotaReserved", False)]}, Admission.PENDING),
        ({"conditions": [RESERVED]}, Admission.RESERVED),
        ({"conditions": [RESERVED, ADMITTED]}, Admission.ADMITTED),
        ({"conditions": [RESERVED, ADMITTED, evicted()]}, Admission.EVICTED),
        ({"conditions": [RESERVED, evicted()]}, Admission.EVICTED),
        # Cleared: Kueue takes Evicted back only with the next reservation.
        ({"conditions": [condition("QuotaReserved", False), evicted()]}, Admission.PENDING),
        ({"conditions": [ADMITTED, evicted()]}, Admission.PENDING),
        ({"conditions": [RESERVED, ADMITTED, evicted("Deactivated")], **OFF}, Admission.EVICTED),
        ({"conditions": [evicted("Deactivated")], **OFF}, Admission.DEACTIVATED),
        (OFF, Admission.DEACTIVATED),
        ({"conditions": [RESERVED, ADMITTED], **OFF}, Admission.ADMITTED),
        (
            {"conditions": [RESERVED, ADMITTED, condition("Finished", True, "OutOfSync")]},
            Admission.FINISHED,
        ),
        ({"conditions": [RESERVED, ADMITTED], **DELETING}, Admission.DELETING),
    ],
)
def test_conditions_are_one_state(given: dict[str, Any], expected: Admission) -> None:
    workload = builders.workload(**given)
    assert state.admission(workload) is expected
    assert state.must_stop(workload) is (expected is not Admission.ADMITTED)


def test_pods_may_run_only_while_admitted_active_and_here() -> None:
    assert state.may_run(builders.admitted(), NO_CHECKS)
    assert not state.may_run(builders.admitted(**OFF), NO_CHECKS)
    assert not state.may_run(builders.admitted(conditions=[evicted()]), NO_CHECKS)
    assert not state.may_run(builders.admitted(**DELETING), NO_CHECKS)
    assert not state.may_run(builders.workload(conditions=[RESERVED, ADMITTED]), NO_CHECKS)


def test_a_group_that_multikueue_dispatches_never_runs_here() -> None:
    checked = builders.admitted(status={"admissionChecks": [{"name": "mk", "state": "Ready"}]})
    assert state.may_run(checked, {"mk": builders.check("mk")})
    assert not state.may_run(checked, {"mk": builders.check("mk", names.MULTIKUEUE_CONTROLLER)})
    assert not state.may_run(builders.admitted(status={"clusterName": "east"}), NO_CHECKS)


def local_queue(**spec: Any) -> kueue.LocalQueue:
    conditions = spec.pop("conditions", [])
    return kueue.LocalQueue.of(
        {
            "metadata": {"name": "queue", "namespace": "ns"},
            "spec": {"clusterQueue": "cq", **spec},
            "status": {"conditions": conditions},
        }
    )


def cluster_queue(**spec: Any) -> kueue.ClusterQueue:
    conditions = spec.pop("conditions", [])
    return kueue.ClusterQueue.of(
        {"metadata": {"name": "cq"}, "spec": spec, "status": {"conditions": conditions}}
    )


def why(
    workload: kueue.Workload | None,
    *,
    problem: Reason | None = None,
    checks: dict[str, kueue.AdmissionCheck] | None = None,
    **given: Any,
) -> tuple[str, str] | None:
    queues = state.Queues(**{"queue": "queue", "local_queue": local_queue(), **given})
    waiting = state.why_waiting(workload, queues, checks or NO_CHECKS, problem=problem)
    return None if waiting is None else (waiting.code, waiting.message)


PENDING = builders.workload()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (
            {"support": "missing", "detail": "Kueue is not installed in this cluster"},
            ("KueueMissing", "Kueue is not installed in this cluster"),
        ),
        (
            {"support": "unsupported", "detail": "Kueue serves v1beta1 only"},
            ("KueueUnsupported", "Kueue serves v1beta1 only"),
        ),
        ({"local_queue": None}, ("LocalQueueMissing", "LocalQueue queue does not exist")),
        (
            {"local_queue": local_queue(stopPolicy="Hold")},
            ("LocalQueueStopped", "LocalQueue queue is stopped (Hold)"),
        ),
        (
            {
                "local_queue": local_queue(
                    conditions=[condition("Active", False, "ClusterQueueDoesNotExist", "Can't")]
                )
            },
            (
                "ClusterQueueMissing",
                "ClusterQueue cq, which LocalQueue queue uses, does not exist",
            ),
        ),
        (
            {"cluster_queue": cluster_queue(stopPolicy="HoldAndDrain")},
            ("ClusterQueueStopped", "ClusterQueue cq is stopped (HoldAndDrain)"),
        ),
        (
            {
                "cluster_queue": cluster_queue(
                    conditions=[condition("Active", False, "FlavorNotFound", "references default")]
                )
            },
            ("ClusterQueueInactive", "ClusterQueue cq is not active: references default"),
        ),
        ({}, ("Pending", "Kueue has not considered Workload wl-0 yet")),
    ],
)
def test_a_pending_group_waits_for_what_its_queue_lacks(
    given: dict[str, Any], expected: tuple[str, str]
) -> None:
    assert why(PENDING, **given) == expected


@pytest.mark.parametrize(
    ("workload", "expected"),
    [
        (None, ("WorkloadMissing", "its Workload is being created")),
        (builders.admitted(), None),
        (
            builders.workload(
                conditions=[condition("QuotaReserved", False, "Pending", "300m more needed")]
            ),
            ("Pending", "ClusterQueue cq: 300m more needed"),
        ),
        (
            builders.workload(
                conditions=[condition("QuotaReserved", False, "Pending", "topology is full")],
                pod_sets=[
                    {"name": "leader", "count": 1, "topologyRequest": {"preferred": "rack"}},
                    {"name": "worker", "count": 7, "topologyRequest": {"required": "block"}},
                    {
                        "name": "sliced",
                        "count": 4,
                        "topologyRequest": {
                            "podSetSliceRequiredTopology": "rack",
                            "podSetSliceSize": 2,
                        },
                    },
                    {
                        "name": "layered",
                        "count": 4,
                        "topologyRequest": {
                            "podsetSliceRequiredTopologyConstraints": [
                                {"topology": "block", "size": 4},
                                {"topology": "rack", "size": 2},
                            ],
                        },
                    },
                    {"name": "none", "count": 0, "topologyRequest": {"required": "block"}},
                    {"name": "free", "count": 1, "topologyRequest": {"podIndexLabel": "i"}},
                ],
            ),
            (
                "Pending",
                "ClusterQueue cq: topology is full"
                " (leader prefers 1 pod in one rack by kueue.x-k8s.io/podset-preferred-topology,"
                " worker needs 7 pods in one block by kueue.x-k8s.io/podset-required-topology,"
                " sliced needs slices of 2 pods in one rack by"
                " kueue.x-k8s.io/podset-slice-required-topology,"
                " layered needs slices of 4 pods in one block by"
                " kueue.x-k8s.io/podset-slice-required-topology-constraints,"
                " layered needs slices of 2 pods in one rack by"
                " kueue.x-k8s.io/podset-slice-required-topology-constraints)",
            ),
        ),
        (
            builders.workload(
                metadata={"annotations": {names.ADMISSION_GATED_BY: "example.com/a"}}
            ),
            ("AdmissionGated", "its admission is gated by example.com/a"),
        ),
        (
            builders.workload(
                conditions=[RESERVED],
                status={
                    "admissionChecks": [
                        {"name": "ok", "state": "Ready"},
                        {"name": "prov", "state": "Pending", "message": "no nodes yet"},
                    ]
                },
            ),
            ("AdmissionCheckPending", "AdmissionCheck prov is Pending: no nodes yet"),
        ),
        (
            builders.workload(
                conditions=[RESERVED, condition("Admitted", False, message="topology pending")]
            ),
            (
                "WaitingForAdmission",
                "Workload wl-0 has quota and waits to be admitted: topology pending",
            ),
        ),
        (
            builders.workload(conditions=[evicted("Deactivated", "switched off")], **OFF),
            (
                "WorkloadDeactivated",
                "Workload wl-0 is deactivated: set its spec.active to true (switched off)",
            ),
        ),
        (
            builders.admitted(conditions=[evicted()]),
            ("WorkloadEvicted", "Workload wl-0 is evicted (Preempted to make room)"),
        ),
        (
            builders.workload(conditions=[condition("Finished", True, "OutOfSync")]),
            (
                "WorkloadFinished",
                "Workload wl-0 is finished (OutOfSync): delete it to queue the group again",
            ),
        ),
        (builders.workload(**DELETING), ("WorkloadDeleting", "Workload wl-0 is being deleted")),
        (
            builders.admitted(status={"clusterName": "east"}),
            ("RunsElsewhere", "it runs in cluster east"),
        ),
    ],
)
def test_every_state_is_explained_in_one_line(
    workload: kueue.Workload | None, expected: tuple[str, str] | None
) -> None:
    assert why(workload) == expected


def test_a_problem_is_the_explanation_unless_kueue_itself_is_missing() -> None:
    problem = Reason("WorkloadPriorityClassNotFound", "high does not exist")
    assert why(None, problem=problem) == (problem.code, problem.message)
    missing = why(None, problem=problem, support="missing")
    assert missing == ("KueueMissing", "Kueue is not installed")


def test_a_set_without_a_queue_name_is_told_so() -> None:
    explained = why(PENDING, queue="")
    assert explained is not None
    assert explained[0] == "QueueNotSet"


def test_a_queue_without_any_quota_of_a_resource_is_something_that_a_person_has_to_change() -> None:
    lacks = "couldn't assign flavors to pod set main: resource cpu unavailable in ClusterQueue"
    workload = builders.workload(conditions=[condition("QuotaReserved", False, "Pending", lacks)])
    queues = state.Queues(queue="queue", local_queue=local_queue())
    found = state.why_waiting(workload, queues, NO_CHECKS)
    assert found is not None
    assert found.waits
    assert found.warns
    assert found.message == (
        f"ClusterQueue cq: {lacks}. Waiting does not help: add the resource to spec.resourceGroups"
        " of the ClusterQueue, or give the set another queue"
    )


# Kueue's MultiKueue where it dispatches no sets ---------------------------------------------------

REFUSED = {"admissionChecks": [{"name": "mk", "state": "Rejected", "message": "No adapter"}]}
MK = {"mk": builders.check("mk", names.MULTIKUEUE_CONTROLLER)}
NOT_POSSIBLE = (
    "ClusterQueue cq asks for AdmissionCheck mk of kueue.x-k8s.io/multikueue, which dispatches no"
    " LeaderWorkerSets while Kueue's own integration for them is off in this cluster. Give the set"
    " a queue without that check, or switch leaderworkerset.x-k8s.io/leaderworkerset on in Kueue's"
    " configuration"
)


@pytest.mark.row("MK-65")
@pytest.mark.parametrize(
    ("workload", "then"),
    [
        (None, ""),
        (PENDING, ""),
        (builders.workload(status=REFUSED), ""),
        (builders.workload(conditions=[RESERVED], status=REFUSED), ""),
        (builders.admitted(status=REFUSED), ""),
        (
            builders.workload(spec={"active": False}),
            ", and then set spec.active of Workload wl-0 to true",
        ),
    ],
    ids=["none", "pending", "passed over", "with quota", "admitted", "deactivated"],
)
def test_a_queue_that_cannot_dispatch_sets_is_what_groups_are_told_of(
    workload: kueue.Workload | None, then: str
) -> None:
    inactive = cluster_queue(conditions=[condition("Active", False, "CheckInactive", "no cluster")])
    found = why(workload, undispatched="mk", cluster_queue=inactive, checks=MK)
    assert found == ("MultiKueueNotPossible", NOT_POSSIBLE + then)


@pytest.mark.parametrize(
    ("workload", "code"),
    [
        (builders.admitted(), None),
        (builders.admitted(status={"clusterName": "east"}), "RunsElsewhere"),
        (builders.workload(conditions=[condition("Finished", True)]), "WorkloadFinished"),
        (
            builders.workload(conditions=[RESERVED, builders.evicted()]),
            "WorkloadEvicted",
        ),
    ],
    ids=["running here", "elsewhere", "finished", "evicted"],
)
def test_groups_that_the_queue_holds_up_no_more_are_not_told_of_it(
    workload: kueue.Workload, code: str | None
) -> None:
    found = why(workload, undispatched="mk", checks=MK)
    assert (found[0] if found else None) == code


@pytest.mark.row("MK-65")
@pytest.mark.parametrize("verdict", ["Rejected", "Retry"])
def test_a_group_that_a_check_failed_before_it_had_quota_is_told_how_it_gets_another_try(
    verdict: str,
) -> None:
    said = condition("QuotaReserved", False, "Pending", "The workload has failed admission checks")
    checks = [
        {"name": "ok", "state": "Ready"},
        {"name": "no", "state": verdict, "message": "never"},
    ]
    found = why(builders.workload(conditions=[said], status={"admissionChecks": checks}))
    assert found == (
        "AdmissionCheck" + verdict,
        f"AdmissionCheck no is {verdict}: never. Once it can be passed, set spec.active of Workload"
        " wl-0 to false and to true again",
    )
