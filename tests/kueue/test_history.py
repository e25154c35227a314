"""The judge of the whole-system tests finds what must not have been, and nothing else."""

import dataclasses
from fractions import Fraction
from typing import Any

import pytest

from tests.kit.judge import history

Fields = dict[str, Any]

WAITING: Fields = {"gated": True}
FREE: Fields = {}
RUNS: Fields = {"node": "n"}
PENDING: Fields = {}
RESERVED: Fields = {"reserved": True}


def admits(*pod_sets: history.PodSetSeen) -> Fields:
    return {"reserved": True, "admitted": True, "cluster_queue": "cq", "pod_sets": pod_sets}


def pod_set(count: int, *, name: str = "main", cpu: int = 1, **more: Any) -> history.PodSetSeen:
    usage = {"cpu": Fraction(cpu * count)}
    return history.PodSetSeen(name=name, count=count, usage=usage, **more)


ADMITTED: Fields = admits(pod_set(2))
BOTH: Fields = admits(pod_set(1, name="leader"), pod_set(2, name="worker"))
ON_A: Fields = {"node_selector": {"zone": "a"}}
EVICTED: Fields = {**ADMITTED, "evicted": True}


class Told:
    """A history of one set in which each line is one version later."""

    def __init__(self, *, queue: str = "q", quota: int = 2) -> None:
        self.facts: list[history.Fact] = []
        self.queue(quota)
        self.set(queue)
        self.stateful_set("s", owner="set")

    def _same(self, uid: str) -> Fields:
        return {"version": len(self.facts) + 1, "uid": uid, "namespace": "ns", "name": uid}

    def queue(self, cpu: int) -> "Told":
        nominal = {"cpu": Fraction(cpu)}
        self.facts.append(history.ClusterQueueSeen(**self._same("cq"), nominal=nominal))
        return self

    def set(self, queue: str) -> "Told":
        self.facts.append(history.SetSeen(**self._same("set"), queue=queue))
        return self

    def stateful_set(self, name: str, *, owner: str) -> "Told":
        self.facts.append(history.StatefulSetSeen(**self._same(name), owner=owner))
        return self

    def pod(self, name: str, *, owner: str = "s", **more: Any) -> "Told":
        one = {"cpu": Fraction(1)}
        seen = history.PodSeen(**self._same(name), owner=owner, requests=one, **more)
        self.facts.append(seen)
        return self

    def workload(self, index: int = 0, **more: Any) -> "Told":
        same = self._same(f"w-{index}")
        owners = frozenset({"set"})
        self.facts.append(history.WorkloadSeen(**same, owners=owners, index=str(index), **more))
        return self

    @property
    def wrong(self) -> list[str]:
        """What the judge has to say, without what comes after the point in question."""
        return [one.partition(" (Workloads")[0] for one in history.judge(self.facts).violations]


@pytest.mark.parametrize(
    "told",
    [
        Told().workload(**ADMITTED).pod("s-0", **WAITING).pod("s-0", **FREE).pod("s-0", **RUNS),
        Told().pod("s-0", **WAITING).workload(**PENDING),
        Told().workload(**ADMITTED).pod("s-0", **RUNS).workload(**EVICTED),
        Told().workload(**ADMITTED).pod("s-0", **FREE).workload(**EVICTED).pod("s-0", **RUNS),
        Told()
        .workload(**ADMITTED)
        .pod("s-0", **RUNS)
        .workload(**EVICTED)
        .pod("s-0", gone=True)
        .workload(**PENDING),
        Told(queue="").pod("s-0", **RUNS).set("q").pod("s-0", **RUNS),
        Told().pod("x", owner="stranger", **RUNS),
        Told().workload(**ADMITTED).pod("s-0", **RUNS).pod("s-0", gone=True).workload(gone=True),
        Told(quota=1)
        .workload(**ADMITTED)
        .workload(1, **ADMITTED)
        .pod("s-0", **RUNS)
        .pod("s-0", ended=True)
        .pod("s-1", **RUNS),
        Told(quota=3)
        .workload(**BOTH)
        .pod("s-0", **FREE)
        .stateful_set("w", owner="s-0")
        .pod("w-1", owner="w", **FREE)
        .pod("w-2", owner="w", **FREE),
        Told().workload(**admits(pod_set(2, **ON_A))).pod("s-0", **ON_A),
        # A quota that is lowered later is no fault of what runs already.
        Told().workload(**ADMITTED).pod("s-0", **RUNS).queue(0),
    ],
    ids=[
        "admitted first",
        "gated for ever",
        "evicted later",
        "evicted between release and binding",
        "stopped before the quota is given back",
        "bound before the set had a queue",
        "of nobody",
        "deleted before its Workload",
        "ended before the next one ran",
        "as many leaders and workers as admitted",
        "with the node selector of the admission",
        "quota lowered",
    ],
)
def test_a_history_in_which_quota_always_came_first_is_without_fault(told: Told) -> None:
    assert told.wrong == []


@pytest.mark.parametrize(
    ("told", "wrong"),
    [
        (Told().pod("s-0", **FREE), ["let go without an admitted"]),
        (Told().workload(**PENDING).pod("s-0", **FREE), ["let go without an admitted"]),
        (Told().workload(**RESERVED).pod("s-0", **FREE), ["let go without an admitted"]),
        (Told().workload(**EVICTED).pod("s-0", **FREE), ["let go without an admitted"]),
        (Told().workload(1, **ADMITTED).pod("s-0", **FREE), ["let go without an admitted"]),
        (Told().pod("s-0", **FREE).workload(**ADMITTED), ["let go without an admitted"]),
        (
            Told().workload(**ADMITTED).workload(gone=True).pod("s-0", **RUNS),
            ["let go without an admitted", "got node n without"],
        ),
        (
            Told().workload(**ADMITTED).pod("s-0", **RUNS).workload(**PENDING),
            ["could run when Workload w-0 gave its quota back"],
        ),
        (
            Told().workload(**ADMITTED).pod("s-0", **RUNS).workload(**ADMITTED, gone=True),
            ["could run when Workload w-0 gave its quota back"],
        ),
        (
            Told(quota=1)
            .workload(**ADMITTED)
            .workload(1, **ADMITTED)
            .pod("s-0", **RUNS)
            .pod("s-1", **RUNS),
            ["2.0 cpu of ClusterQueue cq are used, its quota is 1.0"],
        ),
        (
            Told(quota=9)
            .workload(**admits(pod_set(1)))
            .pod("s-0", **RUNS)
            .stateful_set("w", owner="s-0")
            .pod("w-1", owner="w", **RUNS),
            ["was let go as number 2, admitted are 1"],
        ),
        (
            Told(quota=9)
            .workload(**admits(pod_set(3, name="leader"), pod_set(1, name="worker")))
            .pod("s-0", **FREE)
            .stateful_set("w", owner="s-0")
            .pod("w-1", owner="w", **FREE)
            .pod("w-2", owner="w", **FREE),
            ["was let go as number 2, admitted are 1"],
        ),
        (
            Told().workload(**admits(pod_set(1, name="worker"), pod_set(1))).pod("s-0", **FREE),
            ["was let go, and is of no pod set of Workload w-0"],
        ),
        (
            Told(quota=9).workload(**admits(pod_set(1, cpu=2))).pod("s-0", **FREE),
            ["was let go with 1.0 cpu, admitted are 2.0 cpu"],
        ),
        (
            Told().workload(**admits(pod_set(2, **ON_A))).pod("s-0", **FREE),
            ["was let go with node selector {}, admitted is {'zone': 'a'}"],
        ),
    ],
    ids=[
        "no Workload",
        "pending",
        "only reserved",
        "evicted",
        "the Workload of another group",
        "admitted too late",
        "the Workload was deleted",
        "the quota given back while it runs",
        "the Workload deleted while it runs",
        "more than the quota",
        "more pods than admitted",
        "more workers than admitted",
        "of no pod set",
        "other requests than admitted",
        "another node selector than admitted",
    ],
)
def test_a_pod_that_ran_without_quota_is_found(told: Told, wrong: list[str]) -> None:
    assert len(told.wrong) == len(wrong), told.wrong
    assert all(text in said for text, said in zip(wrong, told.wrong, strict=True)), told.wrong


def test_the_judge_orders_by_version_whatever_kind_arrived_first() -> None:
    told = Told().workload(**ADMITTED).pod("s-0", **RUNS)
    assert history.judge(reversed(told.facts)).violations == ()
    late = [
        dataclasses.replace(fact, version=99) if isinstance(fact, history.WorkloadSeen) else fact
        for fact in told.facts
    ]
    assert len(history.judge(late).violations) == 2


def test_the_judge_says_how_many_pods_ran() -> None:
    told = Told().workload(**ADMITTED).pod("s-0", **RUNS).pod("s-0", **RUNS).pod("s-1", **WAITING)
    verdict = history.judge(told.facts)
    assert verdict.bound == 1
    assert verdict.books == {"set": history.Book(released=1)}


def test_the_judge_says_which_set_was_wrong() -> None:
    verdict = history.judge(Told().pod("s-0", **FREE).facts)
    assert verdict.books == {"set": history.Book(list(verdict.violations), released=1)}
    assert len(verdict.violations) == 1


def test_requests_of_a_set_of_which_kueue_is_not_told_all_are_not_compared() -> None:
    told = Told(quota=9).workload(**admits(pod_set(1, cpu=2))).pod("s-0", **FREE)
    assert history.judge(told.facts, unaccounted=["set"]).violations == ()


META = {"name": "a", "namespace": "ns", "uid": "u", "resourceVersion": "7"}


def test_a_pod_is_read_with_its_gates_owner_and_requests() -> None:
    ask = {"resources": {"requests": {"cpu": "1500m", "memory": "1Gi"}}}
    owners = [{"uid": "other"}, {"uid": "s", "controller": True}]
    pod = {
        "kind": "Pod",
        "metadata": {**META, "ownerReferences": owners},
        "spec": {
            "containers": [ask, ask, {}],
            "schedulingGates": [{"name": "kueue.x-k8s.io/topology"}],
        },
        "status": {"phase": "Pending"},
    }
    assert history.fact({"type": "MODIFIED", "object": pod}) == history.PodSeen(
        version=7,
        uid="u",
        namespace="ns",
        name="a",
        owner="s",
        gated=True,
        requests={"cpu": Fraction(3), "memory": Fraction(2 * 1024**3)},
    )


def test_a_foreign_gate_is_none_of_kueues() -> None:
    spec = {"containers": [], "schedulingGates": [{"name": "example.com/mine"}]}
    seen = history.fact(
        {"type": "ADDED", "object": {"kind": "Pod", "metadata": META, "spec": spec}}
    )
    assert isinstance(seen, history.PodSeen)
    assert seen.may_run


def test_a_workload_is_read_with_what_kueue_said() -> None:
    true = [{"type": kind, "status": "True"} for kind in ("QuotaReserved", "Admitted")]
    workload = {
        "kind": "Workload",
        "spec": {
            "podSets": [
                {"name": "leader", "template": {"spec": {"nodeSelector": {"zone": "a"}}}},
                {"name": "worker", "template": {"spec": {}}},
            ]
        },
        "metadata": {
            **META,
            "ownerReferences": [{"uid": "set"}],
            "annotations": {"kueue.x-k8s.io/component-workload-index": "3"},
        },
        "status": {
            "conditions": [*true, {"type": "Evicted", "status": "False"}],
            "admission": {
                "clusterQueue": "cq",
                "podSetAssignments": [
                    {"name": "leader", "count": 1, "resourceUsage": {"cpu": "100m"}},
                    {"name": "worker", "count": 2},
                ],
            },
        },
    }
    assert history.fact({"type": "DELETED", "object": workload}) == history.WorkloadSeen(
        version=7,
        uid="u",
        namespace="ns",
        name="a",
        gone=True,
        owners=frozenset({"set"}),
        index="3",
        reserved=True,
        admitted=True,
        cluster_queue="cq",
        pod_sets=(
            history.PodSetSeen(
                name="leader", count=1, usage={"cpu": Fraction(1, 10)}, node_selector={"zone": "a"}
            ),
            history.PodSetSeen(name="worker", count=2),
        ),
    )


def test_the_quota_of_a_cluster_queue_is_that_of_all_its_flavors() -> None:
    flavors = [{"resources": [{"name": "cpu", "nominalQuota": text}]} for text in ("500m", 2)]
    queue = {
        "kind": "ClusterQueue",
        "metadata": META,
        "spec": {"resourceGroups": [{"flavors": flavors}]},
    }
    seen = history.fact({"type": "ADDED", "object": queue})
    assert isinstance(seen, history.ClusterQueueSeen)
    assert seen.nominal == {"cpu": Fraction(5, 2)}


def container(**requests: str) -> Fields:
    return {"resources": {"requests": requests}}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"containers": [container(cpu="1"), container(cpu="500m", memory="1Ki")]}, (1.5, 1024)),
        ({"containers": [{"resources": {"limits": {"cpu": "2"}}}]}, (2, 0)),
        (
            {
                "containers": [container(cpu="1")],
                "initContainers": [
                    container(cpu="3"),
                    {**container(cpu="1"), "restartPolicy": "Always"},
                    container(cpu="1", memory="5"),
                ],
            },
            (3, 5),
        ),
        (
            {
                "containers": [container(cpu="1")],
                "initContainers": [{**container(cpu="1"), "restartPolicy": "Always"}],
                "overhead": {"cpu": "250m", "memory": "1500m"},
            },
            (2.25, 2),
        ),
        ({"containers": [container(cpu="1", memory="1")], **container(cpu="5")}, (5, 1)),
        ({"containers": [container(cpu="100u"), container(cpu="1n")]}, (0.001, 0)),
    ],
    ids=["sum", "limits", "init containers", "sidecar and overhead", "whole pod", "rounded up"],
)
def test_requests_are_counted_as_kubernetes_counts_them(
    spec: Fields, expected: tuple[float, float]
) -> None:
    cpu, memory = (Fraction(str(amount)) for amount in expected)
    found = history.effective(spec)
    assert (found.get("cpu", 0), found.get("memory", 0)) == (cpu, memory)


def test_more_usage_than_quota_in_the_status_of_a_cluster_queue_is_found() -> None:
    def event(total: str) -> Fields:
        flavor = {"name": "f", "resources": [{"name": "cpu", "nominalQuota": "1"}]}
        usage = {"name": "f", "resources": [{"name": "cpu", "total": total}]}
        status = {"flavorsReservation": [usage]}
        spec = {"resourceGroups": [{"flavors": [flavor]}]}
        return {"object": {"metadata": META, "spec": spec, "status": status}}

    assert history.overdrawn([event("1")]) == []
    assert history.overdrawn([event("1100m")]) == ["a: flavorsReservation of f/cpu: 1.1"]
