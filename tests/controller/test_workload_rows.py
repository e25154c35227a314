"""Which Workloads a whole pass makes and keeps, in the situations of kueue-contract 5.1."""

import copy
from typing import Any

import pytest

from lws_kueue.api import actions, names
from tests.controller.test_decide import SET, cluster, environment, gated, settle
from tests.kit.memory import cluster_model

MISSING = "WorkloadPriorityClassNotFound"


def label(model: cluster_model.Cluster, **labels: str) -> None:
    live = model.objects[names.LWS_KIND, SET]
    live["metadata"]["labels"] |= labels
    model.touch(live)


def told(model: cluster_model.Cluster, reason: str) -> list[str]:
    """The messages of the Warning events of the next pass that have a reason."""
    return [
        event.message
        for event in model.decide(SET).warnings
        if (event.type, event.reason) == ("Warning", reason)
    ]


def writes_to_workloads(model: cluster_model.Cluster) -> list[actions.Action]:
    def of(action: actions.Action) -> str:
        if isinstance(action, actions.Create | actions.Apply):
            return str(action.body["kind"])
        return action.ref.kind if isinstance(action, actions.Patch | actions.Delete) else ""

    plan = model.decide(SET)
    return [action for chain in plan.chains for action in chain if of(action) == "Workload"]


@pytest.mark.row("R08")
def test_without_their_priority_class_no_group_has_a_workload_and_the_set_says_so_for_each() -> (
    None
):
    model = cluster(replicas=2, size=2)
    label(model, **{names.PRIORITY_CLASS: "none"})
    settle(model, admit=False)
    assert not model.of_kind("Workload")
    assert len(gated(model)) == 4
    messages = told(model, MISSING)
    assert len(messages) == 2
    assert all("WorkloadPriorityClass 'none' does not exist" in message for message in messages)
    conditions = model.objects[names.LWS_KIND, SET]["status"]["conditions"]
    assert MISSING in [c["reason"] for c in conditions if c["type"] == "WaitingForAdmission"]


@pytest.mark.row("R09")
@pytest.mark.parametrize("admitted", [True, False])
def test_a_change_to_a_missing_class_is_told_and_changes_no_workload(admitted: bool) -> None:
    model = cluster(replicas=2, size=2)
    settle(model, admit=admitted)
    for workload in model.of_kind("Workload").values():
        group = {"group": names.KUEUE_GROUP, "kind": "WorkloadPriorityClass", "name": "high"}
        workload["spec"] |= {"priorityClassRef": group, "priority": 100}
        model.touch(workload)
    label(model, **{names.PRIORITY_CLASS: "none"})
    assert writes_to_workloads(model) == []
    assert len(told(model, MISSING)) == 2


def surging(*, replicas: int) -> cluster_model.Cluster:
    model = cluster(replicas=replicas, size=2)
    model.objects[names.LWS_KIND, SET]["spec"]["rolloutStrategy"] = {
        "type": "RollingUpdate",
        "rollingUpdateConfiguration": {"maxSurge": 1, "maxUnavailable": 0},
    }
    settle(model)
    return model


@pytest.mark.row("R14", "R16")
@pytest.mark.parametrize("owned_by_pod", [False, True])
def test_a_workload_beyond_the_groups_goes_when_no_update_is_under_way(owned_by_pod: bool) -> None:
    model = surging(replicas=1)
    (kept,) = model.of_kind("Workload")
    extra: dict[str, Any] = copy.deepcopy(model.objects["Workload", kept])
    extra["metadata"]["name"] = "leaderworkerset-demo-1-db0f2"
    extra["metadata"]["annotations"][names.COMPONENT_WORKLOAD_INDEX] = "1"
    if owned_by_pod:
        extra["metadata"]["ownerReferences"].append({"kind": "Pod", "name": "demo-1", "uid": "p"})
    model.store(extra)
    # What the status says does not matter; upstream goes by it.
    model.objects[names.LWS_KIND, SET]["status"] |= {"replicas": 2, "updatedReplicas": 1}
    settle(model)
    assert set(model.of_kind("Workload")) == {kept}


@pytest.mark.row("R15")
def test_a_surge_group_keeps_its_workload_while_the_update_is_under_way() -> None:
    model = surging(replicas=2)
    live = model.objects[names.LWS_KIND, SET]
    template = live["spec"]["leaderWorkerTemplate"]["workerTemplate"]
    template["spec"] = {"containers": [{"name": "c", "image": "app:2", "resources": {}}]}
    live["metadata"]["generation"] += 1
    model.touch(live)
    seen: list[tuple[int, int]] = []
    had: list[int] = []
    for _ in range(60):
        for name in model.pending():
            model.admit(name)
        environment(model)
        wrote = model.pass_once(SET)
        status = model.objects[names.LWS_KIND, SET]["status"]
        seen.append((status["replicas"], status["updatedReplicas"]))
        if status["replicas"] == 3 and status["updatedReplicas"] < 2:
            had.append(len(model.of_kind("Workload")))
        if not wrote:
            break
    assert (3, 1) in seen, "the row's moment has come"
    # It asks when its pods are there, a moment after its leader counts, and keeps what it has.
    assert had == sorted(had)
    assert had[-1] == 3
    settle(model)
    assert len(model.of_kind("Workload")) == 2


def test_a_group_that_waits_for_another_admission_is_told_without_a_warning() -> None:
    model = cluster(replicas=1)
    settle(model, admit=False)
    (name,) = model.pending()
    model.admit(name)
    # As an update leaves it: admitted for what the group was, and not for what it is.
    stored = model.objects["Workload", name]
    (container,) = stored["spec"]["podSets"][0]["template"]["spec"]["containers"]
    container["resources"] = {"requests": {"cpu": "7"}}
    model.touch(stored)
    plan = model.decide(SET)
    (why,) = [reason for reason in plan.reasons if reason.code == "WorkloadOutdated"]
    assert why.waits
    assert "requests of podset main changed" in why.text
    assert plan.status is not None
    conditions = {one["type"]: one for one in plan.status.status["conditions"]}
    assert conditions["WaitingForAdmission"]["reason"] == "WorkloadOutdated"
    assert told(model, "WorkloadOutdated") == []
