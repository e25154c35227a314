"""Kueue's own MultiKueue beside the bridge, as a manager and as a worker (docs/multikueue.md)."""

import dataclasses
from typing import Any

import pytest

from lws_kueue.api import actions, kueue, names
from lws_kueue.controller import decide
from lws_kueue.controller.admission import deletion, unmanaged
from lws_kueue.controller.observe import observed
from lws_kueue.workload import build
from tests.controller.test_decide import SET, body, cluster, gated, settle
from tests.kit.builders import builders
from tests.kit.memory import cluster_model

CHECKS = {
    "mk": builders.check("mk", names.MULTIKUEUE_CONTROLLER),
    "other": builders.check("other"),
}


def queue(*checks: str) -> kueue.ClusterQueue:
    asked = {"admissionChecks": [{"name": name} for name in checks]}
    return kueue.ClusterQueue.of(
        {"metadata": {"name": "cq"}, "spec": {"admissionChecksStrategy": asked}}
    )


def model(*checks: str, built_in: bool | None = False) -> cluster_model.Cluster:
    found = cluster(replicas=2)
    found.built_in = built_in
    found.admission_checks = dict(CHECKS)
    found.cluster_queues["cq"] = queue(*checks)
    return found


def waits_for(plan: actions.Plan) -> set[tuple[str, tuple[int, ...]]]:
    return {(why.code, tuple(why.groups)) for why in plan.reasons if why.waits}


# A queue that asks for MultiKueue without the integration -----------------------------------------


@pytest.mark.row("MK-65")
def test_a_set_says_in_its_first_pass_that_its_queue_cannot_dispatch_it() -> None:
    first = model("other", "mk").decide(SET)
    assert waits_for(first) == {("MultiKueueNotPossible", (0, 1))}
    assert [warning.reason for warning in first.warnings] == ["MultiKueueNotPossible"]


@pytest.mark.row("MK-65")
def test_groups_ask_for_quota_only_where_they_can_get_it_and_at_once_then() -> None:
    found = model("mk")
    settle(found, admit=False)
    assert not found.of_kind("Workload")
    assert len(gated(found)) == len(found.of_kind("Pod")) > 2
    found.cluster_queues["cq"] = queue("other")
    settle(found)
    assert len(found.admitted()) == 2
    assert not gated(found)


@pytest.mark.parametrize(
    ("checks", "built_in", "known"),
    [
        (("other",), False, True),
        ((), False, True),
        (("missing",), False, True),
        (("mk",), None, True),
        (("mk",), False, False),
    ],
    ids=["another check", "none", "a check that is not there", "nobody knows", "an unknown queue"],
)
def test_groups_ask_for_quota_in_all_other_queues(
    checks: tuple[str, ...], built_in: bool | None, known: bool
) -> None:
    found = model(*checks, built_in=built_in)
    if not known:
        found.cluster_queues.clear()
    settle(found, admit=False)
    assert len(found.of_kind("Workload")) == 2


@pytest.mark.row("MK-65")
def test_a_group_that_runs_is_told_that_its_queue_cannot_dispatch_the_next_one() -> None:
    found = model()
    settle(found)
    found.cluster_queues["cq"] = queue("mk")
    plan = found.decide(SET)
    assert [warning.reason for warning in plan.warnings] == ["MultiKueueNotPossible"]
    assert not waits_for(plan)
    assert plan.empty, "and goes on, until Kueue asks the check about it"


# Finalizers of what is dispatched -----------------------------------------------------------------


def dispatched(*, marked: bool = True, **status: Any) -> kueue.Workload:
    """A Workload that is being deleted, and whose pods are gone."""
    annotations = {names.COMPONENT_WORKLOAD_INDEX: "0"}
    return builders.workload(
        metadata={
            "deletionTimestamp": builders.EARLIER,
            "annotations": annotations | ({names.IS_GROUP_WORKLOAD: "true"} if marked else {}),
        },
        status=status,
    )


ASKS_MK: dict[str, Any] = {"admissionChecks": [{"name": "mk", "state": "Pending"}]}
ELSEWHERE: dict[str, Any] = {"clusterName": "worker1"}

LEFT = [
    (dispatched(**ASKS_MK), True, True),
    (dispatched(**ELSEWHERE), True, True),
    (dispatched(**ASKS_MK), None, True),
    (dispatched(**ASKS_MK), False, False),
    (dispatched(**ELSEWHERE), False, False),
    (dispatched(marked=False, **ASKS_MK), True, False),
    (dispatched(), True, False),
    (dispatched(admissionChecks=[{"name": "other", "state": "Ready"}]), True, False),
]
IDS = [
    "with the check",
    "with a cluster",
    "nobody knows",
    "switched off",
    "switched off, with a cluster",
    "made by the bridge",
    "run here",
    "with another check",
]


def seen_with(workload: kueue.Workload, built_in: bool | None) -> observed.Observed:
    found = observed.Kueue(support="served", built_in=built_in, admission_checks=CHECKS)
    return observed.Observed("ns", "serve", None, found, workloads={workload.meta.name: workload})


@pytest.mark.row("MK-62")
@pytest.mark.parametrize(("workload", "built_in", "left"), LEFT, ids=IDS)
def test_with_the_integration_on_the_finalizer_of_what_it_dispatches_is_kueues(
    workload: kueue.Workload, built_in: bool | None, left: bool
) -> None:
    part = deletion.plan(seen_with(workload, built_in), options=build.Options(), now=builders.NOW)
    assert (not any(part.chains)) is left


@pytest.mark.row("MK-62")
@pytest.mark.parametrize(("workload", "built_in", "left"), LEFT, ids=IDS)
def test_a_new_set_of_the_same_name_does_not_free_it_either(
    workload: kueue.Workload, built_in: bool | None, left: bool
) -> None:
    again = builders.lws_object(uid="another")
    seen = dataclasses.replace(seen_with(workload, built_in), lws=again)
    assert (not any(deletion.former(seen).chains)) is left


@pytest.mark.row("MK-62")
@pytest.mark.parametrize(("workload", "built_in", "left"), LEFT, ids=IDS)
def test_nor_does_a_set_that_has_left_its_queue(
    workload: kueue.Workload, built_in: bool | None, left: bool
) -> None:
    plain = builders.lws_object(labels={})
    seen = dataclasses.replace(seen_with(workload, built_in), lws=plain)
    part = unmanaged.plan(decide._scope(seen, plain), options=build.Options(), now=builders.NOW)
    assert (not any(part.chains)) is left


# Copies on a worker -------------------------------------------------------------------------------


def worker(*, arrived: bool, edited: bool = False) -> cluster_model.Cluster:
    """A worker to which a set of one group was copied, with its Workload or before that."""
    found = cluster(replicas=1, size=2)
    settle(found, admit=False)
    (name,) = found.pending()
    copy = found.objects.pop(("Workload", name))
    there = cluster_model.Cluster()
    sent = body(replicas=1, size=2)
    sent["metadata"]["labels"][names.MULTIKUEUE_ORIGIN] = "manager"
    origin = found.objects[names.LWS_KIND, SET]["metadata"]["uid"]
    sent["metadata"].setdefault("annotations", {})[names.MULTIKUEUE_ORIGIN_UID] = origin
    if edited:
        spec = sent["spec"]["leaderWorkerTemplate"]["workerTemplate"]["spec"]
        spec["nodeSelector"] = {"disk": "fast"}
    there.store(sent)
    if arrived:
        copy["metadata"] |= {"labels": {names.MULTIKUEUE_ORIGIN: "manager"}, "finalizers": []}
        copy["metadata"].pop("ownerReferences")
        there.store(copy)
    settle(there, admit=False)
    return there


@pytest.mark.row("MK-64")
def test_a_copied_set_waits_for_its_workload_in_its_own_words() -> None:
    found = worker(arrived=False)
    (waiting,) = (why for why in found.decide(SET).reasons if why.waits)
    assert (waiting.code, tuple(waiting.groups)) == ("WorkloadMissing", (0,))
    assert "has not copied its Workload here" in waiting.text
    assert not found.of_kind("Workload")


@pytest.mark.row("MK-64")
def test_a_copied_set_that_was_edited_here_says_so_and_stays_gated() -> None:
    found = worker(arrived=True, edited=True)
    before = {key: dict(obj["metadata"]) for key, obj in found.objects.items()}
    assert waits_for(found.decide(SET)) == {("CopyDiffers", (0,))}
    (name,) = found.pending()
    found.admit(name)
    settle(found, admit=False)
    plan = found.decide(SET)
    assert waits_for(plan) == {("CopyDiffers", (0,))}
    assert "CopyDiffers" in [warning.reason for warning in plan.warnings]
    assert len(gated(found)) == 2
    metadata = found.objects["Workload", name]["metadata"]
    assert metadata["uid"] == before["Workload", name]["uid"]


@pytest.mark.row("MK-64")
def test_a_copied_set_as_it_was_sent_runs_under_its_copy() -> None:
    found = worker(arrived=True)
    (name,) = found.pending()
    found.admit(name)
    settle(found, admit=False)
    assert not gated(found)
    assert not waits_for(found.decide(SET))
