"""What a deletion waits for is told once it takes long, and nothing is forced."""

import datetime
from typing import Any

import pytest

from lws_kueue.api import names
from lws_kueue.controller import finalizers
from tests.controller.test_decide import SET, cluster, environment, settle
from tests.controller.test_shortages import advance, waits_for, warnings
from tests.kit.memory import cluster_model

pytestmark = pytest.mark.row("HLD-01")

KEEP, KUEUES = "example.com/keep", names.MANAGED
FIRST, OTHER = f"{SET}-0", f"{SET}-1"
LONG = finalizers.PATIENCE + 1

STAYS = f"is being deleted, and stays until whoever has put finalizers on it takes them off: {KEEP}"
KUEUE_HOLDS = (
    f"is being deleted, and Kueue has not taken off its finalizer {KUEUES}. See that Kueue"
)


def running(**options: Any) -> cluster_model.Cluster:
    model = cluster(**options)
    settle(model)
    return model


def workload(model: cluster_model.Cluster, group: int) -> str:
    (name,) = (name for name in model.of_kind("Workload") if name.startswith(f"{KIND}-{group}-"))
    return name


KIND = f"{names.LWS_KIND.lower()}-{SET}"


def hold(model: cluster_model.Cluster, kind: str, name: str, *held_by: str) -> None:
    """Give an object finalizers, and delete it now; what runs has ended at once."""
    meta = model.objects[kind, name]["metadata"]
    meta["finalizers"] = [*meta.get("finalizers", ()), *held_by]
    meta["deletionTimestamp"] = model.stamp()
    model.delete(kind, name)
    environment(model)


def let_go(model: cluster_model.Cluster, kind: str, name: str, *held_by: str) -> None:
    obj = model.objects[kind, name]
    obj["metadata"]["finalizers"] = [f for f in obj["metadata"]["finalizers"] if f not in held_by]
    model.touch(obj)
    model.let_go(obj)


def told(model: cluster_model.Cluster) -> list[str]:
    return [message for code, message in warnings(model) if code == finalizers.HELD]


def go_on(model: cluster_model.Cluster) -> None:
    for _ in range(5):
        environment(model)
        model.pass_once(SET)


@pytest.mark.parametrize(
    ("kind", "name", "held_by", "says"),
    [
        ("Pod", FIRST, KEEP, STAYS),
        ("Pod", f"{FIRST}-1", KEEP, STAYS),
        ("Pod", f"{FIRST}-1", KUEUES, KUEUE_HOLDS),
        ("StatefulSet", FIRST, KEEP, STAYS),
        ("Workload", "", KEEP, STAYS),
    ],
)
def test_what_holds_a_deletion_is_told_after_a_minute_by_the_group_that_waits(
    kind: str, name: str, held_by: str, says: str
) -> None:
    model = running()
    name = name or workload(model, 0)
    hold(model, kind, name, held_by)
    assert told(model) == []
    recheck = model.decide(SET).recheck_after
    assert recheck is not None
    assert recheck <= LONG
    advance(model, LONG)
    go_on(model)
    (text,) = told(model)
    assert text.startswith(f"{kind} {name}: {says}")
    assert waits_for(model) == (finalizers.HELD, f"group 0: {text}")
    assert (kind, name) in model.objects, "nothing is forced"


@pytest.mark.parametrize(
    ("kind", "held_by"),
    [
        ("Pod", "foregroundDeletion"),
        ("Pod", "orphan"),
        ("Pod", names.STOPPED_FINALIZER),
        ("Workload", names.WORKLOAD_FINALIZER),
    ],
)
def test_finalizers_that_go_by_themselves_are_not_told(kind: str, held_by: str) -> None:
    model = running()
    hold(model, kind, f"{FIRST}-1" if kind == "Pod" else workload(model, 0), held_by)
    advance(model, LONG)
    assert told(model) == []


def test_when_the_finalizer_is_gone_the_group_comes_back_and_nothing_is_told() -> None:
    model = running()
    hold(model, "Pod", FIRST, KEEP)
    advance(model, LONG)
    go_on(model)
    assert told(model)
    let_go(model, "Pod", FIRST, KEEP)
    settle(model)
    assert told(model) == []
    assert waits_for(model) == ("", "")
    assert len(model.of_kind("Pod")) == 6


def test_a_pod_that_has_not_ended_yet_waits_for_its_kubelet_and_is_not_told() -> None:
    model = running()
    pod = model.objects["Pod", f"{FIRST}-1"]
    pod["metadata"] |= {"finalizers": [KEEP], "deletionTimestamp": model.stamp()}
    model.delete("Pod", f"{FIRST}-1", graceful=True)
    pod["metadata"]["deletionGracePeriodSeconds"] = 30
    advance(model, LONG)
    assert told(model) == []
    model.end_pods()
    assert told(model)


def test_a_grace_period_is_waited_for_as_well() -> None:
    model = running()
    hold(model, "Pod", f"{FIRST}-1", KEEP)
    later = model.now + datetime.timedelta(minutes=10)
    pod = model.objects["Pod", f"{FIRST}-1"]
    pod["metadata"]["deletionTimestamp"] = later.strftime("%Y-%m-%dT%H:%M:%SZ")
    model.touch(pod)
    advance(model, LONG)
    assert told(model) == []
    advance(model, 600)
    assert told(model)


def test_many_objects_that_the_same_holds_are_one_warning_with_all_groups() -> None:
    model = running()
    for name in (FIRST, f"{FIRST}-1", f"{OTHER}-2"):
        hold(model, "Pod", name, KEEP)
    advance(model, LONG)
    go_on(model)
    (text,) = told(model)
    assert text == f"Pod {FIRST}, like others of the set: {STAYS}"
    assert waits_for(model)[1] == f"groups 0-1: {text}"


def test_a_plain_set_says_it_in_a_warning_alone() -> None:
    model = running(queue=None)
    hold(model, "Pod", f"{FIRST}-1", KEEP)
    advance(model, LONG)
    go_on(model)
    assert told(model) == [f"Pod {FIRST}-1: {STAYS}"]
    assert waits_for(model) == ("", "")


def test_it_is_told_in_place_of_what_the_group_waits_for_otherwise() -> None:
    model = running()
    name = workload(model, 0)
    hold(model, "Workload", name, KEEP)
    go_on(model)
    assert waits_for(model) == ("WorkloadDeleting", f"group 0: Workload {name} is being deleted")
    advance(model, LONG)
    go_on(model)
    assert waits_for(model)[0] == finalizers.HELD
    assert "WorkloadDeleting" not in waits_for(model)[1]


def test_a_set_that_is_being_deleted_says_what_it_waits_for() -> None:
    model = running()
    hold(model, "Pod", f"{FIRST}-1", KEEP)
    owner = model.objects[names.LWS_KIND, SET]
    owner["metadata"] |= {"finalizers": ["foregroundDeletion"], "deletionTimestamp": model.stamp()}
    model.touch(owner)
    advance(model, LONG)
    assert told(model) == [f"Pod {FIRST}-1: {STAYS}"]


def test_a_leader_statefulset_that_somebody_holds_is_told() -> None:
    model = running()
    hold(model, "StatefulSet", SET, KEEP)
    advance(model, LONG)
    assert told(model) == [f"StatefulSet {SET}: {STAYS}"]
