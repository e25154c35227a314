"""What is free is what Kueue reckons, and the order of a queue is Kueue's."""

from typing import Any

import pytest

from lws_kueue.api import kueue
from lws_kueue.kubectl import queueing, quota
from tests.kit.builders import cluster as build

Object = dict[str, Any]


def queue(name: str, *, nominal: str, used: str = "0", cohort: str = "", **limits: str) -> Object:
    more = {"cohortName": cohort} if cohort else {}
    made = build.cluster_queue(name, {"f": {"cpu": nominal}}, **more)
    made["spec"]["resourceGroups"][0]["flavors"][0]["resources"][0] |= limits
    usage = [{"name": "f", "resources": [{"name": "cpu", "total": used}]}]
    return made | {"status": {"flavorsReservation": usage}}


def cohort(name: str, *, parent: str = "", nominal: str = "") -> Object:
    more = {"parentName": parent} if parent else {}
    groups = [build.resource_group({"f": {"cpu": nominal}})] if nominal else []
    return build.kueues("Cohort", name, resourceGroups=groups, **more)


@pytest.mark.parametrize(
    ("own", "others", "cohorts", "free", "bound"),
    [
        ({"nominal": "5", "used": "3"}, [], [], 2, "nominalQuota"),
        ({"nominal": "5", "used": "7"}, [], [], 0, "nominalQuota"),
        # What others leave can be borrowed, up to a limit, and not what they keep.
        ({"nominal": "2", "cohort": "c"}, [{"nominal": "4", "used": "1"}], [], 5, "cohort"),
        (
            {"nominal": "2", "cohort": "c", "borrowingLimit": "1"},
            [{"nominal": "4"}],
            [],
            3,
            "borrowingLimit",
        ),
        ({"nominal": "2", "cohort": "c"}, [{"nominal": "4", "lendingLimit": "1"}], [], 3, "cohort"),
        # What others have borrowed of it is not there.
        ({"nominal": "4", "cohort": "c"}, [{"nominal": "1", "used": "3"}], [], 2, "cohort"),
        # But what it does not lend is its own, whoever borrows.
        (
            {"nominal": "4", "cohort": "c", "lendingLimit": "1"},
            [{"nominal": "1", "used": "2"}],
            [],
            3,
            "cohort",
        ),
        # A cohort may have quota of its own, and a parent.
        ({"nominal": "1", "cohort": "c"}, [], [cohort("c", nominal="2")], 3, "cohort"),
        (
            {"nominal": "1", "cohort": "c"},
            [],
            [cohort("c", parent="root"), cohort("root", nominal="6")],
            7,
            "cohort",
        ),
    ],
)
def test_what_is_free_follows_nominal_borrowing_lending_and_cohort(
    own: dict[str, str],
    others: list[dict[str, str]],
    cohorts: list[Object],
    free: int,
    bound: str,
) -> None:
    queues = [queue("q", **own)]
    queues += [queue(f"o{n}", cohort="c", **one) for n, one in enumerate(others)]
    (found,) = quota.Quotas(queues, cohorts).of("q", ["cpu"])
    assert (found.free, found.bound) == (free * 1000, bound)


def test_of_a_circle_of_cohorts_something_is_told_all_the_same() -> None:
    cohorts = [cohort("a", parent="b"), cohort("b", parent="a", nominal="1")]
    (found,) = quota.Quotas([queue("q", nominal="1", cohort="a")], cohorts).of("q", ["cpu"])
    assert found.cohort == "a"


def test_of_several_flavors_the_one_that_lacks_least_is_told() -> None:
    made = build.cluster_queue("q", {"small": {"cpu": "1"}, "large": {"cpu": "3"}})
    found = quota.lacking(quota.Quotas([made]).of("q", ["cpu"]), {"cpu": 4000})
    free, missing = found["cpu"]
    assert (free.flavor, missing) == ("large", 1000)


def workload(
    name: str, *, priority: int = 0, created: str = "1", holds: str = "", queue: str = "lq"
) -> kueue.Workload:
    status: Object = {"conditions": []}
    if holds:
        part = {"name": "m", "flavors": {"cpu": "f"}, "resourceUsage": {"cpu": holds}}
        status["admission"] = {"clusterQueue": "q", "podSetAssignments": [part]}
        kinds = ("QuotaReserved", "Admitted")
        status["conditions"] = [{"type": kind, "status": "True"} for kind in kinds]
    meta = {
        "name": name,
        "namespace": "ns",
        "uid": name,
        "creationTimestamp": f"2030-01-0{created}",
    }
    return kueue.Workload.of(
        {"metadata": meta, "spec": {"queueName": queue, "priority": priority}, "status": status}
    )


QUEUES = [
    build.local_queue("lq", namespace="ns", cluster_queue="q"),
    build.local_queue("second", namespace="ns", cluster_queue="q"),
    build.local_queue("elsewhere", namespace="ns", cluster_queue="another"),
]


def test_the_order_is_reckoned_by_priority_and_then_by_age() -> None:
    own = workload("own", created="5")
    every = [
        workload("older", created="2"),
        own,
        workload("urgent", priority=9, created="7", queue="second"),
        workload("younger", created="6"),
        workload("another", created="1", queue="elsewhere"),
        workload("runs", created="1", holds="1"),
    ]
    place, before = queueing.position(own, queueing.queue("q", every, QUEUES), None)
    assert place == queueing.Position(3, 4, 2, 3, told=False)
    assert [name for _, name in before] == ["urgent", "older"]


@pytest.mark.parametrize(
    ("reason", "status", "first"),
    [
        ("PodsReadyTimeout", "True", "other"),
        ("AdmissionCheck", "True", "other"),
        ("AdmissionCheck", "False", "evicted"),
        ("Preempted", "True", "evicted"),
    ],
)
def test_who_was_evicted_for_some_reasons_queues_behind_who_came_meanwhile(
    reason: str, status: str, first: str
) -> None:
    evicted = workload("evicted", created="1")
    when = {"lastTransitionTime": "2030-01-05", "reason": reason}
    condition = {"type": "Evicted", "status": status, "message": "", **when}
    evicted = kueue.Workload.of(
        {
            "metadata": {
                "name": "evicted",
                "namespace": "ns",
                "uid": "evicted",
                "creationTimestamp": evicted.meta.created,
            },
            "spec": {"queueName": "lq"},
            "status": {"conditions": [condition]},
        }
    )
    own = workload("other", created="3")
    found = queueing.queue("q", [evicted, own], QUEUES)
    assert found.pending[0].meta.name == first


def test_where_kueue_tells_the_order_that_is_it() -> None:
    own = workload("own", priority=9)
    told = [
        {"metadata": {"name": name, "namespace": "ns"}, "localQueueName": "lq"}
        for name in ("first", "own")
    ]
    place, before = queueing.position(own, queueing.queue("q", [own], QUEUES), told)
    assert place == queueing.Position(2, 2, 2, 2, told=True)
    assert before == (("ns", "first"),)


@pytest.mark.parametrize(
    ("policy", "priority", "possible", "victims"),
    [
        ("Never", 9, False, ()),
        ("LowerPriority", 9, True, ("ns/low",)),
        ("LowerPriority", 0, False, ()),
        ("LowerOrNewerEqualPriority", 0, True, ("ns/low",)),
    ],
)
def test_preemption_helps_where_the_policy_and_the_priorities_allow_it(
    policy: str, priority: int, possible: bool, victims: tuple[str, ...]
) -> None:
    own = workload("own", priority=priority, created="1")
    every = [own, workload("low", created="4", holds="2")]
    spec = {"preemption": {"withinClusterQueue": policy}}
    full = quota.Quotas([queue("q", nominal="2", used="2")]).of("q", ["cpu"])
    short = quota.lacking(full, {"cpu": 2000})
    found = queueing.preemption(own, queueing.queue("q", every, QUEUES), spec, short)
    assert found is not None
    assert (found.possible, found.victims) == (possible, victims)


def test_who_holds_nothing_of_what_is_short_is_not_preempted() -> None:
    own = workload("own", priority=9)
    every = [own, workload("low", holds="2")]
    short = {"memory": (quota.Free("f", "memory", 0, 0, 0, "nominalQuota"), 1)}
    spec = {"preemption": {"withinClusterQueue": "LowerPriority"}}
    found = queueing.preemption(own, queueing.queue("q", every, QUEUES), spec, short)
    assert found is not None
    assert (found.possible, found.victims) == (False, ())


def test_what_others_of_the_cohort_keep_unused_is_told_the_most_first() -> None:
    lends = {"cohort": "c", "lendingLimit": "1"}
    queues = [
        queue("q", nominal="1", cohort="c"),
        queue("little", nominal="3", used="1", **lends),
        queue("most", nominal="5", **lends),
        queue("busy", nominal="3", used="3", **lends),
        queue("all", nominal="3", cohort="c"),
        queue("elsewhere", nominal="9", cohort="d", lendingLimit="1"),
    ]
    found = quota.Quotas(queues)
    assert found.unlent("q", ("f", "cpu")) == (("most", 4000), ("little", 1000))
    assert found.unlent("gone", ("f", "cpu")) == ()
