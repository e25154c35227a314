"""Somebody scales the worker StatefulSet of a group: it is not ready, is repaired, and is told."""

from datetime import timedelta
from typing import Any

import pytest

from lws_kueue.api import actions, names
from lws_kueue.controller import repairs
from lws_kueue.controller.objects import worker_sets
from lws_kueue.controller.observe import groups
from tests.controller.test_decide import SET, body, environment, settle
from tests.controller.test_restarts import RECREATE, a_group, failed_pods
from tests.kit.builders import given
from tests.kit.memory import cluster_model

pytestmark = pytest.mark.row("WAR-07")

SIZE = 3
FIRST = f"{SET}-0"
WRONG = (0, 1, 5)


def running(**options: Any) -> cluster_model.Remembering:
    model = cluster_model.Remembering()
    model.store(body(replicas=2, size=SIZE, **options))
    settle(model)
    return model


def scale(model: cluster_model.Cluster, replicas: int) -> None:
    live = model.objects["StatefulSet", FIRST]
    changed = {**live, "spec": {**live["spec"], "replicas": replicas}}
    changed["metadata"] = {**live["metadata"]}
    model.store(changed)


def replicas(model: cluster_model.Cluster) -> int:
    wanted: int = model.objects["StatefulSet", FIRST]["spec"]["replicas"]
    return wanted


def conditions(model: cluster_model.Cluster) -> set[str]:
    status = model.objects[names.LWS_KIND, SET]["status"]
    return {one["type"] for one in status["conditions"] if one["status"] == "True"}


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("queue", ["queue", None])
def test_a_group_that_is_scaled_is_not_ready_and_comes_back(wrong: int, queue: str | None) -> None:
    model = running(queue=queue)
    assert "Available" in conditions(model)
    scale(model, wrong)
    environment(model)
    model.pass_once(SET)
    assert "Available" not in conditions(model)
    assert model.objects[names.LWS_KIND, SET]["status"]["readyReplicas"] == 1
    assert replicas(model) == SIZE - 1
    settle(model)
    assert "Available" in conditions(model)
    assert len(model.of_kind("Pod")) == 2 * SIZE


@pytest.mark.parametrize("wrong", WRONG)
def test_what_it_wants_and_should_want_is_told(wrong: int) -> None:
    model = running()
    scale(model, wrong)
    told = [warning.message for warning in model.decide(SET).warnings]
    assert f"StatefulSet {FIRST}: replicas should be 2 and is {wrong}" in told


def test_a_rival_for_the_number_of_workers_gets_six_repairs_in_a_minute_and_a_warning() -> None:
    model = running(queue=None)
    written: list[int] = []
    for beat in range(300):
        if replicas(model) == SIZE - 1:
            written.append(beat)
            scale(model, 0)
        environment(model)
        model.pass_once(SET)
        model.now += timedelta(seconds=0.2)
    # The first is not a repair; each of the others undid one.
    assert len(written) - 1 == 6
    key = actions.WriteKey(actions.Ref("apps/v1", "StatefulSet", "default", FIRST), "patch")
    assert key in model.attempts.unnamed([key])
    model.attempts.named(key, "field manager hpa (.spec.replicas)")
    plan = model.decide(SET)
    (told,) = (one for one in plan.warnings if one.reason == repairs.BACK_OFF)
    assert f"StatefulSet {FIRST}: field manager hpa (.spec.replicas) undoes" in told.message
    model.pass_once(SET)
    assert repairs.BACK_OFF in conditions(model)


def test_nothing_else_of_a_worker_statefulset_is_touched() -> None:
    model = running()
    live = model.objects["StatefulSet", FIRST]
    live["spec"]["revisionHistoryLimit"] = 7
    live["metadata"]["annotations"] = {"a": "b"}
    model.touch(live)
    assert model.decide(SET).chains == ()


def scaled(*, wants: int, **leader: Any) -> groups.Group:
    head = given.a_leader(0, size=SIZE, **leader)
    workers = tuple(given.a_worker(head, number) for number in range(1, wants + 1))
    own = given.a_worker_set(head, replicas=wants)
    return groups.Group(index=0, size=SIZE, leader=head, workers=workers, worker_set=own)


def test_the_repair_names_the_number_alone_and_is_guarded() -> None:
    group = scaled(wants=0)
    assert group.worker_set is not None
    (patch,) = worker_sets.put_right(group)
    assert isinstance(patch, actions.Patch)
    assert patch.body == {"spec": {"replicas": SIZE - 1}}
    assert patch.resource_version == group.worker_set.meta.resource_version


def test_who_scales_the_workers_of_each_new_leader_is_one_rival() -> None:
    (one,) = worker_sets.put_right(scaled(wants=0))
    (other,) = worker_sets.put_right(scaled(wants=0, uid="another"))
    attempts = repairs.Attempts()
    assert isinstance(one, actions.Patch)
    assert isinstance(other, actions.Patch)
    attempts.made(one, occasion="set", now=cluster_model.NOW)
    assert attempts.made(other, occasion="set", now=cluster_model.NOW)


def test_the_workers_of_a_leader_that_goes_are_left_alone() -> None:
    assert worker_sets.put_right(scaled(wants=0, deleted=True)) == ()


@pytest.mark.parametrize("wants", [0, 1, 3])
def test_a_group_whose_workers_are_all_available_is_ready_only_if_they_are_all(wants: int) -> None:
    assert not scaled(wants=wants).ready
    assert scaled(wants=SIZE - 1).ready


def test_the_end_of_a_pod_that_the_group_has_no_place_for_is_no_failure() -> None:
    group = a_group(workers=({}, {"deleted": True}), size=2)
    assert failed_pods(RECREATE, group) == []
    needed = a_group(workers=({"deleted": True}, {}), size=2)
    assert failed_pods(RECREATE, needed) == ["test-sample-1-1"]
