"""What a timeline makes of watch events."""

from typing import Any

import pytest
from lws_kueue_lab.bench import cases, timeline

from lws_kueue.api import names

Moment = timeline.Moment


def pod(
    uid: str,
    *,
    group: int = 0,
    number: int = 1,
    gated: bool = False,
    ready: bool = False,
    leaving: bool = False,
) -> dict[str, Any]:
    meta: dict[str, Any] = {
        "uid": uid,
        "labels": {names.GROUP_INDEX: str(group)},
        "annotations": {cases.ROUND: str(number)},
    }
    if leaving:
        meta["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    return {
        "kind": "Pod",
        "metadata": meta,
        "spec": {"schedulingGates": [{"name": "gate"}]} if gated else {},
        "status": {"conditions": [{"type": "Ready", "status": str(ready)}]},
    }


def workload(group: int, *, admitted: bool, uid: str = "w") -> dict[str, Any]:
    return {
        "kind": "Workload",
        "metadata": {"uid": uid, "name": f"leaderworkerset-bench-{group}-0a1b2"},
        "status": {"conditions": [{"type": "Admitted", "status": str(admitted)}]},
    }


def told(*events: tuple[str, dict[str, Any]]) -> timeline.Timeline:
    """Take events, one a second from 1 on."""
    made = timeline.Timeline()
    for second, (kind, obj) in enumerate(events, 1):
        made.take({"type": kind, "object": obj}, at=float(second))
    return made


def test_a_pod_is_released_and_becomes_ready_once() -> None:
    seen = told(
        ("ADDED", pod("a", gated=True)),
        ("MODIFIED", pod("a")),
        ("MODIFIED", pod("a")),
        ("MODIFIED", pod("a", ready=True)),
        ("MODIFIED", pod("a", ready=True)),
    )
    assert seen.released == [Moment(2.0, "0")]
    assert seen.ready == [Moment(4.0, "0")]
    assert (seen.pods, seen.ready_of(1), seen.latest) == (1, 1, 5.0)


def test_a_pod_without_a_gate_is_released_when_it_is_seen_first() -> None:
    assert told(("ADDED", pod("a", group=3))).released == [Moment(1.0, "3")]


def test_pods_are_counted_by_their_round_and_no_longer_when_they_leave() -> None:
    seen = told(
        ("ADDED", pod("a", ready=True)),
        ("ADDED", pod("b", ready=True)),
        ("ADDED", pod("c", number=2, ready=True)),
        ("MODIFIED", pod("a", ready=True, leaving=True)),
        ("DELETED", pod("b", ready=True)),
    )
    assert (seen.pods, seen.ready_of(1), seen.ready_of(2)) == (2, 0, 1)


def test_a_workload_is_admitted_again_after_it_was_not() -> None:
    seen = told(
        ("ADDED", workload(12, admitted=False)),
        ("MODIFIED", workload(12, admitted=True)),
        ("MODIFIED", workload(12, admitted=True)),
        ("MODIFIED", workload(12, admitted=False)),
        ("MODIFIED", workload(12, admitted=True)),
    )
    assert seen.admitted == [Moment(2.0, "12"), Moment(5.0, "12")]
    assert seen.others == 1


def test_sets_and_workloads_are_counted_together() -> None:
    owner = {"kind": names.LWS_KIND, "metadata": {"uid": "s", "name": "bench"}}
    seen = told(
        ("ADDED", owner),
        ("ADDED", workload(0, admitted=False, uid="w0")),
        ("ADDED", workload(1, admitted=False, uid="w1")),
        ("DELETED", workload(0, admitted=False, uid="w0")),
        ("DELETED", owner),
    )
    assert seen.others == 1


@pytest.mark.parametrize(
    ("admitted", "released", "delays"),
    [
        ([], [(1, "0")], []),
        ([(1, "0")], [], []),
        ([(1, "0")], [(2, "0"), (4, "0")], [3]),
        # The order of two watches is nobody's.
        ([(2, "0")], [(1, "0")], [0]),
        ([(1, "0"), (3, "0")], [(2, "0"), (7, "0")], [4]),
        # Admitted once more after all was released: no pod has come of that.
        ([(1, "0"), (9, "0")], [(2, "0")], [1]),
        ([(1, "0"), (1, "1")], [(2, "1"), (5, "0")], [4, 1]),
    ],
)
def test_a_delay_is_from_the_admission_to_the_last_release_of_the_group(
    admitted: list[tuple[int, str]], released: list[tuple[int, str]], delays: list[int]
) -> None:
    def moments(given: list[tuple[int, str]]) -> list[Moment]:
        return [Moment(float(at), group) for at, group in given]

    assert timeline.release_delays(moments(admitted), moments(released)) == delays


def test_since_leaves_out_what_was_before() -> None:
    moments = [Moment(1.0, "0"), Moment(2.0, "1"), Moment(3.0, "2")]
    assert timeline.since(moments, 2.0) == moments[1:]
