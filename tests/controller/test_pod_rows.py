"""What happens to pods in the situations of kueue-contract 5.1, R20 to R36, and 5.6, O39 to O47.

Kueue's integration puts marks on pods, for its pod-group reconciler to find them, and takes gates
off pods that nothing else would free. Here the mark is in the template that pods are made from, one
patch lets a pod go on its group's admission and says everything, and nothing goes without one.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from lws_kueue.api import actions, names
from tests.controller.test_decide import SET, cluster, gated, settle
from tests.kit.memory import cluster_model

HELD = "example.com/hold"


def writes_to_pods(model: cluster_model.Cluster) -> dict[str, actions.Action]:
    """The writes to pods that the next pass would make, by the name of the pod."""
    return {action.ref.name: action for action in _to_pods(model.decide(SET))}


def _to_pods(plan: actions.Plan) -> Iterator[actions.Patch | actions.Delete]:
    for chain in plan.chains:
        for action in chain:
            if isinstance(action, actions.Release):
                yield from action.patches
            elif isinstance(action, actions.Patch | actions.Delete) and action.ref.kind == "Pod":
                yield action


def bodies(model: cluster_model.Cluster) -> dict[str, Any]:
    """The contents of the patches of pods that the next pass would send."""
    found = writes_to_pods(model)
    return {name: w.body for name, w in found.items() if isinstance(w, actions.Patch)}


def waiting(**given: Any) -> cluster_model.Cluster:
    """A set whose pods are all there, and gated."""
    model = cluster(**given)
    settle(model, admit=False)
    return model


def edit(model: cluster_model.Cluster, kind: str, name: str, **metadata: Any) -> None:
    """Change metadata of an object by hand; None takes a key away."""
    live = model.objects[kind, name]
    for field, values in metadata.items():
        if not isinstance(values, dict):
            live["metadata"][field] = values
            continue
        kept = {**live["metadata"].get(field, {}), **values}
        live["metadata"][field] = {k: v for k, v in kept.items() if v is not None}
    model.touch(live)


@pytest.mark.row("R20", "R29")
@pytest.mark.parametrize("mark", [{}, {names.MANAGED: "true"}], ids=["unmarked", "managed"])
def test_a_gated_pod_without_a_queue_label_gets_none_before_it_is_let_go(
    mark: dict[str, str],
) -> None:
    model = waiting(replicas=1, size=2)
    edit(model, "Pod", "demo-0", labels=mark)
    assert names.QUEUE_NAME not in model.objects["Pod", "demo-0"]["metadata"]["labels"]
    assert writes_to_pods(model) == {}


@pytest.mark.row("R21")
def test_a_pod_that_was_let_go_is_left_as_it_is() -> None:
    model = cluster(replicas=1, size=2)
    settle(model)
    assert names.QUEUE_NAME not in model.objects["Pod", "demo-0"]["metadata"]["labels"]
    edit(model, names.LWS_KIND, SET, labels={names.QUEUE_NAME: "other"})
    assert writes_to_pods(model) == {}


@pytest.mark.row("R22", "R31", "R32", "R33")
def test_the_patch_that_lets_a_pod_go_says_everything_in_one_write() -> None:
    model = waiting(replicas=1, size=2)
    (workload,) = model.pending()
    model.admit(workload)
    # The set has moved to another queue; the admission is still the one of the queue before.
    edit(model, names.LWS_KIND, SET, labels={names.QUEUE_NAME: "other"})
    expected = {
        "metadata": {
            "labels": {
                names.PODSET: "main",
                names.LOCAL_QUEUE_NAME: "queue",
                names.CLUSTER_QUEUE_NAME: "cq",
            },
            "annotations": {names.WORKLOAD: workload},
        },
        "spec": {"schedulingGates": None},
    }
    assert bodies(model) == {"demo-0": expected, "demo-0-1": expected}
    assert [w.reason for w in model.decide(SET).warnings] == ["QueueChangeDeferred"]


@pytest.mark.row("R34", "R35")
def test_leader_and_workers_are_told_apart_by_their_place_in_the_group() -> None:
    model = waiting(replicas=1, size=3, leader=True)
    leader = model.objects["Pod", "demo-0"]
    assert names.LEADER_NAME not in leader["metadata"].get("annotations", {})
    model.admit(model.pending()[0])
    roles = {name: body["metadata"]["labels"][names.PODSET] for name, body in bodies(model).items()}
    assert roles == {"demo-0": "leader", "demo-0-1": "worker", "demo-0-2": "worker"}


@pytest.mark.row("R23")
def test_gated_pods_of_a_deleted_set_stay_gated_and_go_with_it() -> None:
    model = waiting(replicas=1, size=2)
    edit(model, "Pod", "demo-0-1", finalizers=[HELD])
    workloads = model.of_kind("Workload")
    del model.objects[names.LWS_KIND, SET]
    for name in workloads:
        model.delete("Workload", name)
    for _ in range(6):
        assert writes_to_pods(model) == {}
        model.pass_once(SET)
        model.collect_garbage()
    (left,) = model.of_kind("Pod").values()
    assert left["metadata"]["name"] == "demo-0-1"
    assert left["metadata"]["finalizers"] == [HELD], "it is somebody else's"
    assert left["spec"]["schedulingGates"]
    assert not model.of_kind("Workload"), "no quota is held for what can never run"


@pytest.mark.row("R24", "O47")
@pytest.mark.parametrize("admitted", [False, True])
def test_a_gated_pod_whose_statefulset_is_gone_is_replaced_and_never_let_go(admitted: bool) -> None:
    model = waiting(replicas=1, size=2)
    orphan = model.objects["Pod", "demo-0-1"]["metadata"]["uid"]
    # Deleted with --cascade=orphan: the pod stays, without an owner.
    del model.objects["StatefulSet", "demo-0"]
    edit(model, "Pod", "demo-0-1", ownerReferences=[])
    if admitted:
        model.admit(model.pending()[0])
    assert "demo-0-1" not in bodies(model)
    model.delete("Pod", "demo-0-1")
    settle(model, admit=admitted)
    assert model.objects["Pod", "demo-0-1"]["metadata"]["uid"] != orphan
    assert gated(model) == (set() if admitted else {"demo-0", "demo-0-1"})


@pytest.mark.row("O42")
def test_gated_pods_of_a_set_at_rest_stay_gated() -> None:
    model = waiting(replicas=2, size=2)
    assert len(gated(model)) == 4
    assert model.decide(SET).empty


@pytest.mark.row("R25", "O46")
@pytest.mark.parametrize(
    "gates",
    [
        pytest.param([names.ADMISSION_GATE], marks=pytest.mark.row("O43")),
        pytest.param([names.TOPOLOGY_GATE], marks=pytest.mark.row("O44")),
        pytest.param([names.ADMISSION_GATE, names.TOPOLOGY_GATE], marks=pytest.mark.row("O45")),
    ],
    ids=" ".join,
)
def test_gated_pods_of_an_old_revision_are_replaced_and_never_let_go(gates: list[str]) -> None:
    model = waiting(replicas=2, size=2)
    for pod in model.of_kind("Pod").values():
        pod["spec"]["schedulingGates"] = [{"name": gate} for gate in gates]
        model.touch(pod)
    before = {pod["metadata"]["uid"] for pod in model.of_kind("Pod").values()}
    live = model.objects[names.LWS_KIND, SET]
    template = live["spec"]["leaderWorkerTemplate"]["workerTemplate"]
    template["spec"] = {"containers": [{"name": "c", "image": "app:2", "resources": {}}]}
    live["metadata"]["generation"] += 1
    model.touch(live)
    model.writes.clear()
    settle(model, admit=False)
    after = model.of_kind("Pod").values()
    assert "patch Pod" not in model.writes
    assert not before & {pod["metadata"]["uid"] for pod in after}
    assert {pod["spec"]["containers"][0]["image"] for pod in after} == {"app:2"}
    assert len(gated(model)) == 4


@pytest.mark.row("O39", "O40")
def test_a_set_in_a_queue_grows_also_while_it_still_grows() -> None:
    model = waiting(replicas=1, size=2)
    for replicas in (3, 5):
        live = model.objects[names.LWS_KIND, SET]
        live["spec"]["replicas"] = replicas
        live["metadata"]["generation"] += 1
        model.touch(live)
        model.pass_once(SET)
        # The pods of the former scaling are not there yet.
        assert model.objects["StatefulSet", SET]["spec"]["replicas"] == replicas
        assert len(model.of_kind("Pod")) == 2


@pytest.mark.row("R26", "R27", "R28")
@pytest.mark.parametrize("end", ["Succeeded", "Failed", "deleting"])
@pytest.mark.parametrize("was_gated", [True, False])
@pytest.mark.parametrize("admitted", [True, False])
def test_a_pod_that_has_ended_or_is_about_to_is_left_alone(
    end: str, was_gated: bool, admitted: bool
) -> None:
    model = waiting(replicas=1, size=2)
    pod = model.objects["Pod", "demo-0-1"]
    if not was_gated:
        del pod["spec"]["schedulingGates"]
    if end == "deleting":
        edit(model, "Pod", "demo-0-1", finalizers=[HELD])
        model.delete("Pod", "demo-0-1")
    else:
        pod["status"] = {"phase": end}
        model.touch(pod)
    if admitted:
        model.admit(model.pending()[0])
    assert "demo-0-1" not in writes_to_pods(model)


@pytest.mark.row("R30")
def test_a_pod_that_lost_its_group_label_is_known_by_its_owner_and_the_loss_is_told() -> None:
    model = waiting(replicas=1, size=2)
    edit(model, "Pod", "demo-0-1", labels={names.GROUP_INDEX: None})
    assert writes_to_pods(model) == {}
    warnings = [w for w in model.decide(SET).warnings if w.reason == "InvalidPod"]
    assert ["demo-0-1" in w.message for w in warnings] == [True]
    model.admit(model.pending()[0])
    assert set(bodies(model)) == {"demo-0", "demo-0-1"}, "its owner says whose it is"


@pytest.mark.row("R36")
def test_pods_of_a_set_that_multikueue_copied_run_under_the_copied_workload() -> None:
    model = waiting(replicas=1, size=2)
    (copied,) = model.pending()
    origin = model.objects[names.LWS_KIND, SET]["metadata"]["uid"]
    # The same objects, in the cluster to which they were copied: the set has another UID there.
    model.objects[names.LWS_KIND, SET]["metadata"]["uid"] = "uid-here"
    edit(
        model,
        names.LWS_KIND,
        SET,
        labels={names.MULTIKUEUE_ORIGIN: "manager"},
        annotations={names.MULTIKUEUE_ORIGIN_UID: origin},
    )
    for kind in ("StatefulSet", "ControllerRevision"):
        for obj in model.of_kind(kind).values():
            for reference in obj["metadata"].get("ownerReferences") or ():
                if reference["uid"] == origin:
                    reference["uid"] = "uid-here"
            model.touch(obj)
    edit(model, "Workload", copied, ownerReferences=[], labels={names.MULTIKUEUE_ORIGIN: "manager"})
    model.admit(copied)
    names_given = {
        body["metadata"]["annotations"][names.WORKLOAD] for body in bodies(model).values()
    }
    assert names_given == {copied}
    settle(model)
    assert set(model.of_kind("Workload")) == {copied}
    assert not gated(model)
