"""What the manager's decision makes of groups that run in other clusters (docs/multikueue.md)."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from lws_kueue.api import actions, kueue, names
from lws_kueue.controller import decide
from lws_kueue.controller.observe import observed
from lws_kueue.dispatch import identity, remote_objects, settings
from lws_kueue.dispatch import observed as clusters
from tests.controller.test_decide import SET, body, settle
from tests.controller.test_multikueue import queue
from tests.kit.builders import builders
from tests.kit.memory import cluster_model
from tests.kit.memory.kubernetes_model import NAMESPACE, true

MANAGER = identity.Manager("11111111-2222-3333-4444-555555555555", "lws-kueue-11111111")
CHECK = "dispatch"
CHECKS = {
    CHECK: builders.check(CHECK, names.DISPATCH_CONTROLLER),
    "mk": builders.check("mk", names.MULTIKUEUE_CONTROLLER),
}
GATES = [names.ADMISSION_GATE, names.DISPATCHED_GATE]


class Model(cluster_model.Cluster):
    """A manager with one worker, of which only what is there is played."""

    def __init__(self) -> None:
        super().__init__()
        self.worker = clusters.Cluster("w1", anchor="a")
        self.sent: list[actions.Action] = []

    def planned(self, seen: observed.Observed) -> actions.Plan:
        workers = clusters.Workers(MANAGER, settings.Settings(), (self.worker,))
        seen = replace(seen, workers=workers)
        asked = decide.pods_asked(seen, now=self.now)
        # None of them has pods without its set.
        pods = {name: dict.fromkeys(sets, ()) for name, sets in asked.items()}
        return super().planned(seen.looked_up(workers=workers.looked_up(pods)))

    def in_order(self, plan: actions.Plan) -> Iterator[Any]:
        for write in super().in_order(plan):
            if isinstance(write, actions.Patch) and write.subresource == "status":
                # What a gated pod says of another cluster lets nothing go.
                pod = self.objects["Pod", write.ref.name]
                pod["status"] = {**pod.get("status", {}), **write.body["status"]}
                self.touch(pod)
            elif isinstance(write, actions.StatusWrite) or not actions.cluster_of(write):
                yield write
            else:
                self.sent.append(write)


def model(*checks: str, replicas: int = 2, size: int = 3) -> Model:
    found = Model()
    found.store(body(replicas=replicas, size=size))
    found.admission_checks = dict(CHECKS)
    found.built_in = False
    found.cluster_queues["cq"] = queue(*checks)
    return found


def without_workers(*checks: str) -> cluster_model.Cluster:
    found = cluster_model.Cluster()
    found.store(body())
    found.admission_checks = dict(CHECKS)
    found.built_in = False
    found.cluster_queues["cq"] = queue(*checks)
    return found


def group(found: Model, index: int) -> identity.GroupId:
    uid = found.objects[names.LWS_KIND, SET]["metadata"]["uid"]
    return identity.GroupId(NAMESPACE, SET, uid, index)


def given(found: Model, *, ready: bool = True) -> None:
    """Have each group admitted, and run in the worker by its Workload and its set there."""
    workloads: dict[str, kueue.Workload] = {}
    sets: dict[str, clusters.RemoteSet] = {}
    live = found.observe(SET).lws
    assert live is not None
    for name, one in found.of_kind("Workload").items():
        index = int(one["metadata"]["annotations"][names.COMPONENT_WORKLOAD_INDEX])
        found.admit(name)
        one = found.objects["Workload", name]
        one["status"] |= {
            "clusterName": "w1",
            "admissionChecks": [{"name": CHECK, "state": "Ready", "message": ""}],
        }
        found.touch(one)
        of = group(found, index)
        leader = found.objects["Pod", f"{SET}-{index}"]
        key = leader["metadata"]["labels"][names.REVISION_KEY]
        source = found.observe(SET).workloads[name]
        offer = remote_objects.workload(MANAGER, of, source=source, content=live, anchor_uid="a")
        offer["metadata"] |= {"uid": f"offer-{index}", "resourceVersion": "1"}
        offer["status"] = {
            "conditions": [builders.RESERVED, builders.ADMITTED],
            "admission": {"clusterQueue": "cq", "podSetAssignments": []},
        }
        asked = remote_objects.Asked(MANAGER, of, live, key, settings.Settings())
        run = remote_objects.one_group(asked)
        run["metadata"] |= {"uid": f"set-{index}", "resourceVersion": "1", "generation": 1}
        run["metadata"]["managedFields"] = [
            {"manager": names.DISPATCH_FIELD_MANAGER, "operation": "Apply", "fieldsV1": {}}
        ]
        run["status"] = {"observedGeneration": 1, "updatedReplicas": 1, "readyReplicas": int(ready)}
        workloads[offer["metadata"]["name"]] = kueue.Workload.of(offer)
        sets[run["metadata"]["name"]] = clusters.RemoteSet.of(run)
    found.worker = replace(found.worker, workloads=workloads, sets=sets)


def status(found: cluster_model.Cluster) -> dict[str, Any]:
    told: dict[str, Any] = found.objects[names.LWS_KIND, SET]["status"]
    return told


def condition(found: Model, kind: str) -> dict[str, Any]:
    return next((one for one in status(found)["conditions"] if one["type"] == kind), {})


def test_leaders_alone_stand_here_for_groups_that_run_elsewhere_behind_a_gate_of_ours() -> None:
    found = model(CHECK)
    settle(found, admit=False)
    pods = found.of_kind("Pod")
    assert sorted(pods) == [f"{SET}-0", f"{SET}-1"]
    gates = [[gate["name"] for gate in pod["spec"]["schedulingGates"]] for pod in pods.values()]
    assert gates == [GATES, GATES]
    assert list(found.of_kind("StatefulSet")) == [SET]
    # They ask for quota although their workers are not here.
    assert len(found.of_kind("Workload")) == 2
    assert found.sent == []


@pytest.mark.row("MK-01")
def test_groups_that_are_ready_elsewhere_are_ready_and_the_set_says_where() -> None:
    found = model(CHECK)
    settle(found, admit=False)
    given(found)
    settle(found, admit=False)
    assert (status(found)["readyReplicas"], status(found)["updatedReplicas"]) == (2, 2)
    assert condition(found, "Available")["status"] == "True"
    assert condition(found, "Dispatched")["message"] == "groups 0-1: w1"
    assert condition(found, "WaitingForAdmission") == {}
    pods = found.of_kind("Pod").values()
    assert all(pod["spec"]["schedulingGates"] for pod in pods)
    # Their leaders say so, by which an update goes on.
    assert all(pod["status"]["phase"] == "Running" for pod in pods)
    assert found.sent == []


def test_a_group_that_is_not_ready_elsewhere_is_not_ready_here() -> None:
    found = model(CHECK)
    settle(found, admit=False)
    given(found, ready=False)
    settle(found, admit=False)
    assert (status(found)["readyReplicas"], status(found)["updatedReplicas"]) == (0, 2)


def evict(found: Model, name: str) -> None:
    """Evict a Workload as Kueue does: it has no cluster any more, and its quota still."""
    one = found.objects["Workload", name]
    one["status"].pop("clusterName")
    one["status"]["admissionChecks"] = [{"name": CHECK, "state": "Pending", "message": ""}]
    evicted = builders.evicted("Preempted")
    kept = [c for c in one["status"]["conditions"] if c["type"] != "Evicted"]
    one["status"]["conditions"] = [*kept, evicted]
    found.touch(one)


@pytest.mark.row("MK-28")
def test_quota_is_given_back_when_the_group_has_stopped_where_it_ran() -> None:
    found = model(CHECK, replicas=1)
    settle(found, admit=False)
    given(found)
    settle(found, admit=False)
    (name,) = found.of_kind("Workload")
    evict(found, name)
    found.pass_once(SET)
    (deletion,) = found.sent
    assert isinstance(deletion, actions.Delete)
    assert (deletion.ref.kind, deletion.ref.cluster) == (names.LWS_KIND, "w1")
    assert true(found.objects["Workload", name], "QuotaReserved")
    found.worker = clusters.Cluster("w1", anchor="a")
    found.pass_once(SET)
    assert not true(found.objects["Workload", name], "QuotaReserved")


@pytest.mark.row("MK-15")
def test_workloads_of_a_set_that_is_gone_wait_for_their_groups_elsewhere() -> None:
    found = model(CHECK)
    settle(found, admit=False)
    given(found)
    settle(found, admit=False)
    found.delete(names.LWS_KIND, SET)
    for _ in range(4):
        found.end_pods()
        found.collect_garbage()
        found.pass_once(SET)
    assert len(found.of_kind("Workload")) == 2
    assert {write.ref.kind for write in found.sent if isinstance(write, actions.Delete)} == {
        names.LWS_KIND
    }
    found.worker = clusters.Cluster("w1", anchor="a")
    for _ in range(4):
        found.pass_once(SET)
        found.collect_garbage()
    assert found.of_kind("Workload") == {}


@pytest.mark.row("MK-68")
def test_a_group_that_has_a_cluster_keeps_its_quota_when_check_and_queue_no_longer_say_so() -> None:
    found = model(CHECK, replicas=1)
    settle(found, admit=False)
    given(found)
    settle(found, admit=False)
    # The controller starts again, and the cluster does not answer.
    found.worker = clusters.Cluster("w1", link=clusters.Link(found.now))
    found.cluster_queues["cq"] = queue()
    found.admission_checks = {"mk": CHECKS["mk"]}
    (workload,) = found.of_kind("Workload").values()
    workload["status"]["admissionChecks"] = []
    found.touch(workload)
    for _ in range(3):
        found.pass_once(SET)
    (pod,) = found.of_kind("Pod").values()
    assert [gate["name"] for gate in pod["spec"]["schedulingGates"]] == GATES
    (workload,) = found.of_kind("Workload").values()
    assert true(workload, "QuotaReserved")


@pytest.mark.row("MK-68")
def test_groups_that_run_here_when_their_queue_comes_to_ask_for_dispatch_run_on() -> None:
    found = model()
    settle(found)
    before = {name: pod["metadata"]["uid"] for name, pod in found.of_kind("Pod").items()}
    found.cluster_queues["cq"] = queue(CHECK)
    for one in found.of_kind("Workload").values():
        one["status"]["admissionChecks"] = [{"name": CHECK, "state": "Pending", "message": ""}]
        found.touch(one)
    settle(found, admit=False)
    states = [
        one["status"]["admissionChecks"][0]["state"] for one in found.of_kind("Workload").values()
    ]
    assert states == ["Ready", "Ready"]
    after = {name: pod["metadata"]["uid"] for name, pod in found.of_kind("Pod").items()}
    assert after == before
    assert found.sent == []


@pytest.mark.row("MK-57")
def test_two_checks_that_dispatch_are_told_and_nothing_is_offered() -> None:
    found = model(CHECK, "mk", replicas=1)
    found.built_in = None
    settle(found, admit=False)
    for name, one in found.of_kind("Workload").items():
        found.admit(name)
        one = found.objects["Workload", name]
        one["status"]["conditions"] = [builders.RESERVED]
        one["status"]["admissionChecks"] = [{"name": CHECK, "state": "Pending", "message": ""}]
        found.touch(one)
    plan = found.decide(SET)
    assert "TwoDispatchers" in {why.code for why in plan.reasons if why.waits}
    found.pass_once(SET)
    assert found.sent == []


def test_a_set_that_is_not_dispatched_is_decided_as_without_other_clusters() -> None:
    with_workers, without = model("other"), without_workers("other")
    for found in (with_workers, without):
        settle(found)
    assert with_workers.objects.keys() == without.objects.keys()
    assert status(with_workers) == status(without)


def made_elsewhere(found: Model) -> None:
    """Have the worker take the sets that were sent; what was there before becomes ready."""
    sets = {
        name: clusters.RemoteSet.of(
            {
                "metadata": {
                    "namespace": NAMESPACE,
                    "name": name,
                    "uid": one.meta.uid,
                    "resourceVersion": str(int(one.meta.resource_version) + 1),
                    "generation": one.meta.generation,
                    "labels": dict(one.meta.labels),
                    "annotations": dict(one.meta.annotations),
                    "managedFields": list(one.managed_fields),
                },
                "spec": one.spec,
                "status": {**one.status, "readyReplicas": 1},
            }
        )
        for name, one in found.worker.sets.items()
    }
    for write in found.sent:
        assert isinstance(write, actions.Apply)
        before = sets[write.body["metadata"]["name"]]
        meta = {"resourceVersion": str(int(before.meta.resource_version) + 1), "generation": 1}
        fields = {"managedFields": list(before.managed_fields)}
        status = {"observedGeneration": 1, "updatedReplicas": 1, "readyReplicas": 0}
        stored = {**write.body, "metadata": {**write.body["metadata"], **meta, **fields}}
        sets[before.meta.name] = clusters.RemoteSet.of({**stored, "status": status})
    found.sent.clear()
    found.worker = replace(found.worker, sets=sets)


@pytest.mark.row("MK-17")
def test_an_update_goes_on_group_by_group_as_each_is_ready_where_it_runs() -> None:
    found = model(CHECK, replicas=3)
    settle(found, admit=False)
    given(found)
    settle(found, admit=False)
    workloads = {name: one["metadata"]["uid"] for name, one in found.of_kind("Workload").items()}
    live = found.objects[names.LWS_KIND, SET]
    template = live["spec"]["leaderWorkerTemplate"]["workerTemplate"]
    template["spec"]["containers"][0]["image"] = "app:2"
    live["metadata"]["generation"] += 1
    found.touch(live)
    old = {one.key for one in found.worker.sets.values()}
    for _ in range(60):
        found.end_pods()
        found.collect_garbage()
        found.make_pods()
        found.pass_once(SET)
        made_elsewhere(found)
        ready = [bool(one.status["readyReplicas"]) for one in found.worker.sets.values()]
        assert ready.count(False) <= 1
    assert {one.key for one in found.worker.sets.values()}.isdisjoint(old)
    images = {
        one.spec["leaderWorkerTemplate"]["workerTemplate"]["spec"]["containers"][0]["image"]
        for one in found.worker.sets.values()
    }
    assert images == {"app:2"}
    assert condition(found, "Available")["status"] == "True"
    # In place: they keep the admissions that they had.
    after = {name: one["metadata"]["uid"] for name, one in found.of_kind("Workload").items()}
    assert after == workloads
