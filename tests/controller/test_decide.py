"""Whole passes over a set in a cluster that is in memory: they converge, and never let a pod go
without the admission of its own group, whatever happens in between and wherever they are cut off.
"""

import copy
import dataclasses
from datetime import timedelta
from typing import Any

import hypothesis
import hypothesis.strategies as st
import pytest

from lws_kueue.api import actions, kueue, names
from lws_kueue.controller import decide, repairs
from lws_kueue.controller.observe import observed
from lws_kueue.workload import build
from tests.kit.examples import examples
from tests.kit.memory import cluster_model

SET = "demo"


def body(
    *, replicas: int = 2, size: int = 3, queue: str | None = "queue", leader: bool = False
) -> dict[str, Any]:
    template: dict[str, Any] = {
        "metadata": {},
        "spec": {"containers": [{"name": "c", "image": "app:1", "resources": {}}]},
    }
    group: dict[str, Any] = {"size": size, "workerTemplate": template, "restartPolicy": "None"}
    if leader:
        group["leaderTemplate"] = template
    return {
        "apiVersion": names.LWS_API_VERSION,
        "kind": names.LWS_KIND,
        "metadata": {
            "name": SET,
            "generation": 1,
            "labels": {names.QUEUE_NAME: queue} if queue else {},
        },
        "spec": {"replicas": replicas, "leaderWorkerTemplate": group},
    }


def cluster(**given: Any) -> cluster_model.Cluster:
    result = cluster_model.Cluster()
    result.store(body(**given))
    return result


def environment(model: cluster_model.Cluster) -> None:
    model.end_pods()
    model.collect_garbage()
    model.make_pods()
    model.run_pods()


def settle(model: cluster_model.Cluster, *, admit: bool = True) -> None:
    """Let everything run until no pass wants to write."""
    for _ in range(60):
        if admit:
            for name in model.pending():
                model.admit(name)
        environment(model)
        if not model.pass_once(SET) and not (admit and model.pending()):
            environment(model)
            if model.decide(SET).empty:
                return
    raise AssertionError(f"no rest: {model.decide(SET)}")


def gated(model: cluster_model.Cluster) -> set[str]:
    return {
        name for name, pod in model.of_kind("Pod").items() if pod["spec"].get("schedulingGates")
    }


def test_a_plain_set_comes_to_rest_with_all_pods_running() -> None:
    model = cluster(queue=None)
    settle(model)
    assert len(model.of_kind("Pod")) == 6
    assert not gated(model)
    assert not model.of_kind("Workload")
    assert model.objects[names.LWS_KIND, SET]["status"]["readyReplicas"] == 2


def test_an_unadmitted_set_comes_to_rest_with_all_pods_gated() -> None:
    model = cluster()
    settle(model, admit=False)
    assert len(gated(model)) == 6
    assert len(model.of_kind("Workload")) == 2
    conditions = model.objects[names.LWS_KIND, SET]["status"]["conditions"]
    assert "WaitingForAdmission" in [c["type"] for c in conditions]


def test_only_the_pods_of_the_admitted_group_are_released() -> None:
    model = cluster()
    settle(model, admit=False)
    first, _ = model.pending()
    model.admit(first)
    settle(model, admit=False)
    assert gated(model) == {"demo-1", "demo-1-1", "demo-1-2"}


@pytest.mark.parametrize("size", [1, 2, 5])
@pytest.mark.parametrize("leader", [False, True])
def test_admitting_everything_runs_everything(size: int, leader: bool) -> None:
    model = cluster(size=size, leader=leader, replicas=3)
    settle(model)
    assert not gated(model)
    assert model.objects[names.LWS_KIND, SET]["status"]["readyReplicas"] == 3
    for workload in model.of_kind("Workload").values():
        assert [c for c in workload["status"]["conditions"] if c["type"] == "PodsReady"]


def test_a_group_costs_its_pods_plus_three_writes() -> None:
    model = cluster(replicas=4, size=5)
    settle(model)
    counted = [w for w in model.writes if w != "status"]
    assert len(counted) == 4 * (5 + 3) + 3


def test_the_same_situation_gives_the_same_plan() -> None:
    model = cluster(replicas=3)
    for _ in range(4):
        assert model.decide(SET) == model.decide(SET)
        model.pass_once(SET)
        environment(model)


def test_a_group_that_is_admitted_before_it_has_pods_is_not_called_ready() -> None:
    model = cluster()
    model.pass_once(SET)
    for name in model.pending():
        model.admit(name)
    model.pass_once(SET)
    for workload in model.of_kind("Workload").values():
        assert "PodsReady" not in [c["type"] for c in workload["status"]["conditions"]]


def test_a_scaled_down_group_keeps_its_workload_until_its_pods_are_gone() -> None:
    model = cluster(replicas=2)
    settle(model)
    obj = model.objects[names.LWS_KIND, SET]
    obj["spec"]["replicas"] = 1
    model.touch(obj)
    model.pass_once(SET)
    model.pass_once(SET)
    assert len(model.of_kind("Workload")) == 2, "its pods still run"
    settle(model)
    assert len(model.of_kind("Workload")) == 1
    assert set(model.of_kind("Pod")) == {"demo-0", "demo-0-1", "demo-0-2"}


def test_an_evicted_group_is_stopped_and_gives_its_quota_back() -> None:
    model = cluster()
    settle(model)
    first, second = sorted(model.of_kind("Workload"))
    model.evict(first)
    settle(model, admit=False)
    assert gated(model) == {"demo-0", "demo-0-1", "demo-0-2"}
    assert "admission" not in model.objects["Workload", first]["status"]
    assert model.admitted() == [second]


def test_a_deleted_set_lets_its_workloads_go_when_no_pod_can_run() -> None:
    model = cluster()
    settle(model)
    del model.objects[names.LWS_KIND, SET]
    workloads = list(model.of_kind("Workload"))
    for name in workloads:
        model.delete("Workload", name)
    assert model.decide(SET).empty, "the pods still run"
    model.collect_garbage()
    assert model.decide(SET).empty, "the pods still come to their end"
    for _ in range(6):
        model.end_pods()
        model.collect_garbage()
        model.pass_once(SET)
    assert not model.objects


def test_a_foreign_statefulset_in_the_way_stops_only_a_warning() -> None:
    model = cluster(queue=None)
    foreign = {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {
            "name": SET,
            "ownerReferences": [{"kind": "Other", "name": "x", "uid": "uid-x", "controller": True}],
        },
        "spec": {"replicas": 0, "template": {"metadata": {"labels": {}}}},
    }
    model.store(foreign)
    plan = model.decide(SET)
    assert plan.empty
    assert [w.type for w in plan.warnings] == ["Warning"]
    assert plan.recheck_after


EVENTS = st.sampled_from(
    ["pass", "kill", "environment", "admit", "evict", "scale", "lose a pod", "lose a leader"]
)


def happen(model: cluster_model.Cluster, event: str, data: st.DataObject) -> None:
    match event:
        case "pass":
            model.pass_once(SET)
        case "kill":
            model.pass_once(SET, writes=data.draw(st.integers(0, 5), label="writes"))
        case "environment":
            environment(model)
        case "admit" if pending := model.pending():
            model.admit(data.draw(st.sampled_from(pending), label="admitted"))
        case "evict" if admitted := model.admitted():
            model.evict(data.draw(st.sampled_from(admitted), label="evicted"))
        case "scale":
            obj = model.objects[names.LWS_KIND, SET]
            obj["spec"]["replicas"] = data.draw(st.integers(0, 4), label="replicas")
            model.touch(obj)
        case "lose a pod" if pods := sorted(model.of_kind("Pod")):
            model.delete("Pod", data.draw(st.sampled_from(pods), label="lost"))
        case "lose a leader" if model.of_kind("Pod"):
            model.delete("Pod", "demo-0")


@examples(150)
@hypothesis.given(events=st.lists(EVENTS, max_size=30), leader=st.booleans(), data=st.data())
def test_whatever_happens_no_pod_is_let_go_unadmitted_and_all_ends_well(
    events: list[str], leader: bool, data: st.DataObject
) -> None:
    model = cluster(leader=leader)
    for event in events:
        happen(model, event, data)  # The model raises where a pod is released unadmitted.
    settle(model)
    replicas = model.objects[names.LWS_KIND, SET]["spec"]["replicas"]
    status = model.objects[names.LWS_KIND, SET]["status"]
    assert status["readyReplicas"] == replicas
    assert len(model.of_kind("Pod")) == 3 * replicas
    assert len(model.of_kind("Workload")) == replicas
    assert not gated(model)


def test_a_plan_that_writes_nothing_is_empty() -> None:
    assert actions.Plan().empty
    assert not actions.Plan(chains=((actions.Create({}),),)).empty


def test_pods_without_a_workload_that_cannot_be_made_are_stopped() -> None:
    model = cluster(replicas=1)
    settle(model)
    obj = model.objects[names.LWS_KIND, SET]
    obj["metadata"]["labels"][names.PRIORITY_CLASS] = "no-such-class"
    model.touch(obj)
    (name,) = model.of_kind("Workload")
    # Somebody forced the Workload away, finalizer and all.
    del model.objects["Workload", name]
    settle(model, admit=False)
    assert len(gated(model)) == 3
    assert not model.of_kind("Workload")


def test_a_restart_that_is_put_off_is_not_forgotten() -> None:
    """The worker is back when the pause is over, and nothing but memory tells of its loss."""
    model = cluster(replicas=1, queue=None)
    model.objects[names.LWS_KIND, SET]["spec"]["leaderWorkerTemplate"]["restartPolicy"] = (
        "RecreateGroupOnPodRestart"
    )
    settle(model)
    attempts = repairs.Attempts()
    occasion = attempts.occasion(model.observe(SET).lws)
    leader = actions.Delete(actions.Ref("v1", "Pod", cluster_model.NAMESPACE, SET + "-0"), "any")
    for _ in range(3):
        attempts.made(leader, occasion=occasion, now=model.now)
    model.attempts = attempts
    before = model.objects["Pod", SET + "-0"]["metadata"]["uid"]
    del model.objects["Pod", SET + "-0-1"]
    for seconds in (0.0, 1.0, 1.9):
        environment(model)
        model.pass_once(SET)
        assert model.objects["Pod", SET + "-0"]["metadata"]["uid"] == before, seconds
    model.now += timedelta(seconds=3)
    model.pass_once(SET)
    settle(model)
    assert model.objects["Pod", SET + "-0"]["metadata"]["uid"] != before


def test_a_worker_that_vanished_unseen_recreates_its_group_once() -> None:
    model = cluster(queue=None, replicas=1)
    group = model.objects[names.LWS_KIND, SET]["spec"]["leaderWorkerTemplate"]
    group["restartPolicy"] = "RecreateGroupOnPodRestart"
    settle(model)
    remembered = decide.complete_members(model.observe(SET), actions.Plan())
    model.delete("Pod", "demo-0-1")
    model.make_pods()
    seen = dataclasses.replace(model.observe(SET), remembered=remembered)
    plan = decide.decide(seen, now=cluster_model.NOW, options=build.Options())
    deletions = [a for chain in plan.chains for a in chain if isinstance(a, actions.Delete)]
    assert [(d.ref.name, d.propagation) for d in deletions] == [("demo-0", "Foreground")]


def test_a_group_that_kueue_holds_is_not_remembered() -> None:
    model = cluster(replicas=2)
    settle(model)
    assert sorted(decide.complete_members(model.observe(SET), actions.Plan())) == [0, 1]
    model.evict(model.admitted()[0])
    settle(model, admit=False)
    assert sorted(decide.complete_members(model.observe(SET), actions.Plan())) == [1]


def test_a_queue_change_that_has_to_wait_warns_but_nothing_waits() -> None:
    model = cluster(replicas=1)
    settle(model)
    obj = model.objects[names.LWS_KIND, SET]
    obj["metadata"]["labels"][names.QUEUE_NAME] = "other"
    model.touch(obj)
    plan = model.decide(SET)
    assert [w.reason for w in plan.warnings] == ["QueueChangeDeferred"]
    assert plan.status is None


@pytest.mark.parametrize("reason", ["TopologyNotFound", "FlavorNotFound"])
def test_what_the_queue_lacks_by_now_is_told_and_stops_nothing(reason: str) -> None:
    model = cluster(replicas=1)
    settle(model)
    inactive = {"type": "Active", "status": "False", "reason": reason, "message": "it lacks x"}
    model.cluster_queues["cq"] = kueue.ClusterQueue.of(
        {"metadata": {"name": "cq"}, "status": {"conditions": [inactive]}}
    )
    plan = model.decide(SET)
    assert [(w.reason, w.message) for w in plan.warnings] == [
        ("ClusterQueueInactive", "ClusterQueue cq is not active: it lacks x")
    ]
    assert plan.empty


def test_under_a_kueue_of_another_version_pods_stay_gated_and_the_set_says_why() -> None:
    model = cluster()
    settle(model, admit=False)
    support = observed.Kueue(support="unsupported", detail="it serves v1beta1 but not v1beta2")
    seen = dataclasses.replace(model.observe(SET), kueue=support)
    plan = decide.decide(seen, now=cluster_model.NOW, options=build.Options())
    assert not any(plan.chains), "nothing is released, nothing is stopped"
    assert [w.reason for w in plan.warnings] == ["KueueUnsupported"]
    assert plan.status is not None
    (waiting,) = (c for c in plan.status.status["conditions"] if c["type"] == "WaitingForAdmission")
    assert waiting["reason"] == "KueueUnsupported"
    assert "v1beta2" in waiting["message"]


def test_the_workloads_of_a_former_set_of_the_name_are_let_go() -> None:
    model = cluster(replicas=1)
    settle(model)
    (old,) = model.of_kind("Workload")
    del model.objects[names.LWS_KIND, SET]
    model.delete("Workload", old)
    model.store(body(replicas=1))
    settle(model)
    (new,) = model.of_kind("Workload")
    assert new != old
    assert not gated(model)


def test_an_eviction_is_followed_while_the_set_is_being_deleted() -> None:
    model = cluster(replicas=1)
    settle(model)
    obj = model.objects[names.LWS_KIND, SET]
    obj["metadata"]["finalizers"] = ["example.com/hold"]
    model.delete(names.LWS_KIND, SET)
    (name,) = model.of_kind("Workload")
    model.evict(name)
    plan = model.decide(SET)
    stopped = [a.ref.name for chain in plan.chains for a in chain if isinstance(a, actions.Delete)]
    assert sorted(stopped) == ["demo-0", "demo-0-1", "demo-0-2"]
    for pod in stopped:
        model.delete("Pod", pod)
    model.pass_once(SET)
    assert "admission" not in model.objects["Workload", name]["status"]


@pytest.mark.parametrize("gone", [True, False])
@pytest.mark.parametrize("conditions", [[], ["Finished"], ["QuotaReserved"]])
def test_what_no_admission_stands_behind_is_stopped_also_when_its_set_goes(
    gone: bool, conditions: list[str]
) -> None:
    model = cluster(replicas=1)
    settle(model)
    obj = model.objects[names.LWS_KIND, SET]
    (name,) = model.of_kind("Workload")
    if gone:
        del model.objects[names.LWS_KIND, SET]
    else:
        obj["metadata"]["finalizers"] = ["example.com/hold"]
        model.delete(names.LWS_KIND, SET)
    assert model.decide(SET).empty, "its pods run on an admission"
    workload = model.objects["Workload", name]
    stranger = copy.deepcopy(model.objects["Pod", "demo-0-1"])
    stranger["metadata"] = {"name": "demo-0-7", "labels": {"app": "database"}}
    model.store(stranger)
    workload["status"]["conditions"] = [
        {
            "type": kind,
            "status": "True",
            "reason": "x",
            "lastTransitionTime": "2030-01-01T00:00:00Z",
        }
        for kind in conditions
    ]
    model.touch(workload)
    plan = model.decide(SET)
    stops = [a for chain in plan.chains for a in chain if isinstance(a, actions.Delete)]
    assert sorted(a.ref.name for a in stops) == ["demo-0", "demo-0-1", "demo-0-2"]
    assert all(a.stops for a in stops)


def test_a_plain_set_that_was_orphaned_and_made_again_in_a_queue_is_taken_in() -> None:
    model = cluster(queue=None, replicas=1)
    settle(model)
    del model.objects[names.LWS_KIND, SET]
    orphan = model.objects["StatefulSet", SET]
    del orphan["metadata"]["ownerReferences"]
    model.touch(orphan)
    model.store(body(replicas=1))
    before = {pod["metadata"]["uid"] for pod in model.of_kind("Pod").values()}
    settle(model)
    pods = model.of_kind("Pod").values()
    assert len(pods) == 3
    assert not before & {pod["metadata"]["uid"] for pod in pods}
    worker_set = model.objects["StatefulSet", "demo-0"]
    assert worker_set["spec"]["template"]["spec"]["schedulingGates"]


def test_workers_that_would_be_made_ungated_go_with_their_leader() -> None:
    # Somebody has taken the gate out of the template of the workers.
    model = cluster(replicas=1)
    settle(model)
    worker_set = model.objects["StatefulSet", "demo-0"]
    del worker_set["spec"]["template"]["spec"]["schedulingGates"]
    model.touch(worker_set)
    (name,) = model.of_kind("Workload")
    model.evict(name)
    plan = model.decide(SET)
    deletions = [a for c in plan.chains for a in c if isinstance(a, actions.Delete)]
    assert [(d.ref.name, d.propagation) for d in deletions] == [("demo-0", "Foreground")]
    settle(model)
    assert len(model.of_kind("Pod")) == 3
    worker_set = model.objects["StatefulSet", "demo-0"]
    assert worker_set["spec"]["template"]["spec"]["schedulingGates"]


def test_a_pod_whose_group_label_was_edited_is_stopped_with_the_group_that_it_belongs_to() -> None:
    model = cluster(replicas=2)
    settle(model)
    first, _ = model.admitted()
    pod = model.objects["Pod", "demo-0-1"]
    pod["metadata"]["labels"][names.GROUP_INDEX] = "1"
    model.touch(pod)
    model.evict(first)
    plan = model.decide(SET)
    stopped = [a.ref.name for chain in plan.chains for a in chain if isinstance(a, actions.Delete)]
    assert sorted(stopped) == ["demo-0", "demo-0-1", "demo-0-2"]
    assert [w.reason for w in plan.warnings] == ["InvalidPod"]


@pytest.mark.parametrize("index", [None, "1", "7"])
def test_a_pod_that_was_let_go_for_its_labels_is_stopped_and_holds_the_quota(
    index: str | None,
) -> None:
    model = cluster(replicas=2)
    settle(model)
    first, _ = model.admitted()
    pod = model.objects["Pod", "demo-0-1"]
    pod["metadata"]["labels"] |= {names.GROUP_INDEX: index or ""}
    if index is None:
        del pod["metadata"]["labels"][names.GROUP_INDEX]
    del pod["metadata"]["ownerReferences"]
    model.touch(pod)
    model.evict(first)
    plan = model.decide(SET)
    stopped = [a.ref.name for chain in plan.chains for a in chain if isinstance(a, actions.Delete)]
    assert sorted(stopped) == ["demo-0", "demo-0-1", "demo-0-2"]
    for name in ("demo-0", "demo-0-2"):
        model.delete("Pod", name)
    model.pass_once(SET)
    assert "admission" in model.objects["Workload", first]["status"], "one of its pods runs on"


def test_a_revision_stays_for_as_long_as_a_group_that_is_about_to_go_is_at_it() -> None:
    model = cluster(queue=None, replicas=2)
    model.pass_once(SET)
    model.make_pods()
    (before,) = model.of_kind("ControllerRevision")
    obj = model.objects[names.LWS_KIND, SET]
    template = obj["spec"]["leaderWorkerTemplate"]["workerTemplate"]
    template["spec"] = {"containers": [{"name": "c", "image": "app:2", "resources": {}}]}
    obj["spec"]["replicas"] = 0
    model.touch(obj)
    for _ in range(3):
        model.pass_once(SET)
    assert before in model.of_kind("ControllerRevision")
    assert not model.decide(SET).warnings, "its workers can still be made"
    settle(model)
    assert before not in model.of_kind("ControllerRevision")


@pytest.mark.parametrize("lag", ["not seen", "not settled"])
def test_a_revision_stays_while_the_statefulset_controller_may_make_leaders_of_it(lag: str) -> None:
    model = cluster(queue=None, replicas=0)
    settle(model)
    (before,) = model.of_kind("ControllerRevision")
    obj = model.objects[names.LWS_KIND, SET]
    template = obj["spec"]["leaderWorkerTemplate"]["workerTemplate"]
    template["spec"] = {"containers": [{"name": "c", "image": "app:2", "resources": {}}]}
    model.touch(obj)
    model.pass_once(SET)
    leader_set = model.objects["StatefulSet", SET]
    if lag == "not settled":
        seen = {"observedGeneration": leader_set["metadata"]["generation"]}
        leader_set["status"] = {**leader_set["status"], **seen, "updateRevision": "next"}
        model.touch(leader_set)
    model.pass_once(SET)
    assert before in model.of_kind("ControllerRevision")
    settle(model)
    assert before not in model.of_kind("ControllerRevision")


@pytest.mark.parametrize("queue", [None, "queue"])
@pytest.mark.parametrize("leader", [False, True])
def test_whatever_is_made_for_a_set_is_named_on_it_where_the_api_server_refuses(
    queue: str | None, leader: bool
) -> None:
    model = cluster(queue=queue, leader=leader)
    made = set()
    for _ in range(10):
        plan = model.decide(SET)
        for action in (*plan.prepare, *(one for chain in plan.chains for one in chain)):
            if isinstance(action, actions.Create):
                assert action.on_failure, action.body["kind"]
                made.add(action.body["kind"])
        model.pass_once(SET)
        for name in model.pending():
            model.admit(name)
        environment(model)
    expected = {"ControllerRevision", "Service", "StatefulSet"}
    assert made == (expected | {"Workload"} if queue else expected)
