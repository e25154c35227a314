"""What a recording of groups that move is found guilty of, and what not."""

import datetime
from typing import Any

import pytest

from tests.kit.judge import fleet

Object = dict[str, Any]

START = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
GROUP = ("default", "demo", "0")
LABELS = {
    "lws-kueue.dev/origin-set": "demo",
    "lws-kueue.dev/group-index": "0",
    "leaderworkerset.sigs.k8s.io/name": "demo-0-abc",
}


def at(seconds: float) -> datetime.datetime:
    return START + datetime.timedelta(seconds=seconds)


def seen(
    seconds: float, kind: str, name: str, *, gone: bool = False, gated: bool = False
) -> fleet.Seen:
    gates = [{"name": "kueue.x-k8s.io/admission"}] if gated else []
    obj: Object = {
        "kind": kind,
        "metadata": {"namespace": "default", "name": name, "uid": name, "labels": LABELS},
        "spec": {"schedulingGates": gates},
    }
    return fleet.Seen(at(seconds), {"type": "DELETED" if gone else "MODIFIED", "object": obj})


def lived(
    cluster: str, kind: str, *, begin: float, removed: float, gone: float
) -> list[fleet.Span]:
    """An object that was told of, was removed, and of whose end was told later."""
    plural = {"Pod": "pods", "Workload": "workloads", "LeaderWorkerSet": "leaderworkersets"}[kind]
    name = f"{kind.lower()}-{cluster}"
    events = [seen(begin, kind, name), seen(gone, kind, name, gone=True)]
    return list(fleet.spans(cluster, events, {(plural, "default", name): [at(removed)]}))


def quota(seconds: float, status: str, *, since: float) -> fleet.Seen:
    moment = at(since).isoformat()
    obj: Object = {
        "kind": "Workload",
        "metadata": {
            "namespace": "default",
            "uid": "w",
            "annotations": {
                "kueue.x-k8s.io/job-owner-name": "demo",
                "kueue.x-k8s.io/component-workload-index": "0",
            },
        },
        "status": {
            "conditions": [
                {"type": "QuotaReserved", "status": status, "lastTransitionTime": moment}
            ]
        },
    }
    return fleet.Seen(at(seconds), {"type": "MODIFIED", "object": obj})


def test_a_pod_counts_from_when_it_was_seen_without_a_gate_until_its_removal_was_asked_for() -> (
    None
):
    events = [
        seen(1, "Pod", "p", gated=True),
        seen(2, "Pod", "p"),
        seen(5, "Pod", "p", gone=True),
    ]
    removals = {("pods", "default", "p"): [at(0), at(3), at(4), at(6)]}
    (span,) = fleet.spans("w1", events, removals)
    assert (span.group, span.begin, span.end) == (GROUP, at(2), at(4))


def test_what_is_not_gone_is_there_for_ever() -> None:
    (span,) = fleet.spans("w1", [seen(2, "Pod", "p")], {})
    assert span.end > at(10**6)


def test_a_group_that_ends_before_it_begins_elsewhere_is_innocent() -> None:
    first = lived("w1", "Pod", begin=1, removed=4, gone=9)
    # That the first one is gone was told after the second one had begun: watches lag.
    second = lived("w2", "Pod", begin=5, removed=8, gone=8)
    assert fleet.moved([*first, *second], []) == []


def test_a_group_that_runs_in_two_clusters_at_once_is_told() -> None:
    first = lived("w1", "Pod", begin=1, removed=6, gone=7)
    second = lived("w2", "Pod", begin=5, removed=8, gone=8)
    (wrong,) = fleet.moved([*first, *second], [])
    assert wrong.startswith("INV-1: ")


@pytest.mark.parametrize(("removed", "guilty"), [(4, False), (6, True)])
def test_a_group_is_made_only_when_no_other_cluster_has_its_workload(
    removed: float, guilty: bool
) -> None:
    offer = lived("w1", "Workload", begin=1, removed=removed, gone=9)
    made = lived("w2", "LeaderWorkerSet", begin=5, removed=8, gone=8)
    wrong = fleet.moved([*offer, *made], [])
    assert [text.partition(":")[0] for text in wrong] == (["INV-5"] if guilty else [])


@pytest.mark.parametrize(("since", "told", "guilty"), [(7, 7, False), (3, 4, True), (0, 2, False)])
def test_quota_of_a_group_that_runs_is_not_taken_back(
    since: float, told: float, guilty: bool
) -> None:
    ran = lived("w1", "Pod", begin=1, removed=6, gone=8)
    manager = [quota(0, "True", since=0), quota(told, "False", since=since)]
    wrong = fleet.moved(ran, manager)
    assert [text.partition(":")[0] for text in wrong] == (["INV-3"] if guilty else [])
