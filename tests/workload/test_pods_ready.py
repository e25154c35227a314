"""PodsReady is written at transitions, and once for a group that comes up."""

from collections.abc import Sequence
from typing import Any

import pytest

from lws_kueue.api import actions, facts, kueue, names
from lws_kueue.workload import pods_ready
from tests.kit import golden
from tests.kit.builders import builders
from tests.kit.builders.builders import EARLIER, RESERVED, condition, evicted, pod, running

STARTED = condition("PodsReady", True, "Started")
RECOVERED = condition("PodsReady", True, "Recovered")
RECOVERING = condition("PodsReady", False, "WaitForRecovery")
WAITING = condition("PodsReady", False, "WaitForStart")
ALL = [running(i) for i in range(3)]
DEAD = [running(0), running(1), pod(2)]


def write(
    workload: kueue.Workload, pods: Sequence[facts.Pod], *, size: int = 3
) -> actions.Apply | None:
    return pods_ready.condition_write(workload, pods, size=size, now=builders.NOW)


def outcome(workload: kueue.Workload, pods: Sequence[facts.Pod]) -> tuple[str, str] | None:
    apply = write(workload, pods)
    if apply is None:
        return None
    (only,) = apply.body["status"]["conditions"]
    return only["status"], only["reason"]


def test_the_write_is_exactly_one_condition_under_its_own_manager() -> None:
    workload = builders.admitted()
    assert write(workload, ALL) == actions.Apply(
        {
            "apiVersion": names.KUEUE_API_VERSION,
            "kind": "Workload",
            "metadata": {"namespace": "ns", "name": "wl-0", "uid": "wl-uid"},
            "status": {
                "conditions": [
                    {
                        "type": "PodsReady",
                        "status": "True",
                        "reason": "Started",
                        "message": "All pods reached readiness and the workload is running",
                        "lastTransitionTime": "2030-01-01T12:00:00Z",
                        "observedGeneration": 1,
                    }
                ]
            },
        },
        "kueue-job-controller-PodsReady",
        subresource="status",
    )


def test_the_condition_equals_the_recorded_one() -> None:
    (recorded,) = (
        one
        for one in golden.load("queued-dual").of_kind("Workload")[0]["status"]["conditions"]
        if one["type"] == "PodsReady"
    )
    apply = write(builders.admitted(), ALL)
    assert apply is not None
    (ours,) = apply.body["status"]["conditions"]
    assert recorded.items() <= ours.items()


@pytest.mark.parametrize(
    ("before", "pods", "expected"),
    [
        ([], ALL, ("True", "Started")),
        ([], ALL[:2], None),
        ([], [*ALL[:2], running(2, ready=False)], None),
        ([], [*ALL[:2], running(2, deleted=EARLIER)], None),
        ([WAITING], ALL, ("True", "Started")),
        ([WAITING], [], None),
        ([STARTED], ALL, None),
        ([STARTED], DEAD, ("False", "WaitForRecovery")),
        ([STARTED], ALL[:2], ("False", "WaitForRecovery")),
        ([RECOVERING], DEAD, None),
        ([RECOVERING], ALL, ("True", "Recovered")),
        ([RECOVERED], ALL, None),
        ([RECOVERED], DEAD, ("False", "WaitForRecovery")),
    ],
)
def test_an_admitted_group_writes_its_transitions_only(
    before: list[dict[str, Any]], pods: list[facts.Pod], expected: tuple[str, str] | None
) -> None:
    assert outcome(builders.admitted(conditions=before), pods) == expected


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ([], None),
        ([WAITING], None),
        ([STARTED], ("False", "WaitForStart")),
        ([RECOVERING], ("False", "WaitForStart")),
    ],
)
def test_a_group_that_lost_its_admission_starts_anew(
    before: list[dict[str, Any]], expected: tuple[str, str] | None
) -> None:
    assert outcome(builders.workload(conditions=before), []) == expected
    assert outcome(builders.workload(conditions=[RESERVED, *before]), []) == expected


def test_a_group_that_is_being_stopped_or_removed_writes_nothing() -> None:
    assert outcome(builders.admitted(conditions=[STARTED, evicted()]), []) is None
    leaving = builders.admitted(conditions=[STARTED], metadata={"deletionTimestamp": EARLIER})
    assert outcome(leaving, []) is None


def test_the_time_of_a_condition_changes_only_with_its_status() -> None:
    workload = builders.workload(conditions=[RECOVERING])
    apply = write(workload, [])
    assert apply is not None
    assert apply.body["status"]["conditions"][0]["lastTransitionTime"] == EARLIER
