"""Which sets wait for Kueue: those with a queue, and others where the settings ask for it."""

from typing import Any

import pytest

from lws_kueue.api import actions, kueue, lws, names
from lws_kueue.controller.admission import managed_by
from lws_kueue.controller.observe import observed
from tests.controller import test_decide as passes
from tests.kit.memory import cluster_model


def owner(
    *, queue: str | None = None, holder: tuple[str, str] | None = None, mark: str = ""
) -> lws.LeaderWorkerSet:
    body: dict[str, Any] = passes.body(queue=queue)
    if holder is not None:
        version, kind = holder
        body["metadata"]["ownerReferences"] = [
            {"apiVersion": version, "kind": kind, "name": "h", "uid": "h", "controller": True}
        ]
    if mark:
        template = body["spec"]["leaderWorkerTemplate"]["workerTemplate"]
        template["metadata"] = {"annotations": {names.POD_SUSPENDING_PARENT: mark}}
    return lws.LeaderWorkerSet.of(body)


ADMITTED = {"QuotaReserved": "True", "Admitted": "True"}


def the_workload(conditions: dict[str, str]) -> kueue.Workload:
    """Return the Workload of what a set is part of."""
    stored = [{"type": kind, "status": status} for kind, status in conditions.items()]
    return kueue.Workload.of({"metadata": {"name": "of-holder"}, "status": {"conditions": stored}})


def seen(*, takes_unlabelled: bool, of_owner: tuple[Any, ...] = ()) -> observed.Observed:
    known = observed.Kueue(support="served", takes_unlabelled=takes_unlabelled, of_owner=of_owner)
    return observed.Observed(namespace="ns", name=passes.SET, lws=None, kueue=known)


@pytest.mark.parametrize("taken", [True, False])
def test_a_set_with_a_queue_is_managed_in_every_namespace(taken: bool) -> None:
    assert managed_by.waits(seen(takes_unlabelled=taken), owner(queue="queue"))


@pytest.mark.parametrize("taken", [True, False])
def test_a_set_without_a_queue_is_managed_where_such_sets_are_taken(taken: bool) -> None:
    assert managed_by.waits(seen(takes_unlabelled=taken), owner()) is taken


@pytest.mark.parametrize(
    ("holder", "managed"),
    [
        (("jobset.x-k8s.io/v1alpha2", "JobSet"), False),
        (("workload.codeflare.dev/v1beta2", "AppWrapper"), False),
        (("v1", "Pod"), False),
        (("example.com/v1", "JobSet"), True),
        (("disaggregatedset.x-k8s.io/v1alpha1", "DisaggregatedSet"), True),
    ],
)
def test_a_set_without_a_queue_that_is_part_of_one_of_kueues_jobs_waits_with_that(
    holder: tuple[str, str], managed: bool
) -> None:
    given = seen(takes_unlabelled=True, of_owner=(the_workload(ADMITTED),))
    assert managed_by.waits(given, owner(holder=holder)) is managed


@pytest.mark.row("Q11")
@pytest.mark.parametrize(
    ("workloads", "waits"),
    [
        ([], True),
        ([{}], True),
        ([{"QuotaReserved": "True"}], True),
        ([ADMITTED], False),
        ([{}, ADMITTED], False),
        ([ADMITTED | {"Evicted": "True"}], True),
        ([ADMITTED | {"Finished": "True"}], True),
    ],
)
def test_what_controls_a_set_without_a_queue_exempts_it_only_while_kueue_admits_that(
    workloads: list[dict[str, str]], waits: bool
) -> None:
    """Whoever makes a set can write any owner reference, to an object that is nobody's job."""
    holder = ("jobset.x-k8s.io/v1alpha2", "JobSet")
    given = seen(takes_unlabelled=True, of_owner=tuple(map(the_workload, workloads)))
    assert managed_by.waits(given, owner(holder=holder)) is waits


def test_a_set_without_a_queue_waits_gated_and_says_what_is_missing() -> None:
    model = passes.cluster(queue=None)
    model.takes_unlabelled = True
    passes.settle(model, admit=False)
    assert len(passes.gated(model)) == 6
    assert [w["spec"].get("queueName") for w in model.of_kind("Workload").values()] == [None] * 2
    (waiting,) = (
        c
        for c in model.objects[names.LWS_KIND, passes.SET]["status"]["conditions"]
        if c["type"] == "WaitingForAdmission"
    )
    assert waiting["reason"] == "QueueNotSet"
    assert (
        f"groups 0-1: the set names no LocalQueue: give it the label {names.QUEUE_NAME}"
        in (waiting["message"])
    )
    assert "QueueNotSet" in [event.reason for event in model.decide(passes.SET).warnings]


def test_a_set_that_gets_its_queue_at_last_is_queued_under_the_same_workloads() -> None:
    model = passes.cluster(queue=None)
    model.takes_unlabelled = True
    passes.settle(model, admit=False)
    before = {name: w["metadata"]["uid"] for name, w in model.of_kind("Workload").items()}
    live = model.objects[names.LWS_KIND, passes.SET]
    live["metadata"]["labels"][names.QUEUE_NAME] = "queue"
    model.touch(live)
    passes.settle(model, admit=False)
    passes.settle(model)
    after = model.of_kind("Workload")
    assert {name: w["metadata"]["uid"] for name, w in after.items()} == before
    assert [w["spec"]["queueName"] for w in after.values()] == ["queue"] * 2
    assert not passes.gated(model)


def workloads_deleted(model: cluster_model.Cluster) -> set[str]:
    return {
        action.ref.name
        for chain in model.decide(passes.SET).chains
        for action in chain
        if isinstance(action, actions.Delete) and action.ref.kind == "Workload"
    }


def test_where_sets_without_a_queue_are_taken_no_longer_those_that_wait_lose_their_workloads() -> (
    None
):
    model = passes.cluster(queue=None)
    model.takes_unlabelled = True
    passes.settle(model, admit=False)
    model.takes_unlabelled = False
    passes.settle(model, admit=False)
    assert not model.of_kind("Workload")
    conditions = model.objects[names.LWS_KIND, passes.SET]["status"]["conditions"]
    assert "WaitingForAdmission" not in [c["type"] for c in conditions]


def test_a_workload_of_a_set_that_waits_no_longer_stays_until_the_pods_on_its_quota_are_gone() -> (
    None
):
    model = passes.cluster(replicas=2, size=2)
    model.takes_unlabelled = True
    passes.settle(model)
    live = model.objects[names.LWS_KIND, passes.SET]
    del live["metadata"]["labels"][names.QUEUE_NAME]
    model.touch(live)
    model.takes_unlabelled = False
    assert workloads_deleted(model) == set()
    first, second = model.admitted()
    # A pod that runs without the bridge is on nobody's quota.
    for name in ("demo-0", "demo-0-1"):
        del model.objects["Pod", name]["metadata"]["annotations"][names.WORKLOAD]
        model.touch(model.objects["Pod", name])
    assert workloads_deleted(model) == {first}
    model.evict(second)
    stopped = {
        action.ref.name
        for chain in model.decide(passes.SET).chains
        for action in chain
        if isinstance(action, actions.Delete) and action.ref.kind == "Pod"
    }
    assert stopped == {"demo-1", "demo-1-1"}


def test_a_set_that_waits_no_longer_is_let_go_group_by_group_and_gives_its_quota_back() -> None:
    model = passes.cluster(queue="queue")
    passes.settle(model)
    live = model.objects[names.LWS_KIND, passes.SET]
    del live["metadata"]["labels"][names.QUEUE_NAME]
    model.touch(live)
    ready = []
    for _ in range(30):
        passes.environment(model)
        model.pass_once(passes.SET)
        on_quota = {
            pod["metadata"]["annotations"][names.WORKLOAD]
            for pod in model.of_kind("Pod").values()
            if names.WORKLOAD in pod["metadata"]["annotations"]
        }
        assert on_quota <= set(model.of_kind("Workload"))
        ready.append(model.objects[names.LWS_KIND, passes.SET]["status"]["readyReplicas"])
    assert min(ready) == 1
    assert ready[-1] == 2
    assert not model.of_kind("Workload")
    assert not passes.gated(model)
