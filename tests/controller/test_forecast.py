"""What a plan would do to the pods of a set is what it does when it is carried out."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from lws_kueue.api import names
from lws_kueue.api.indices import Indices
from lws_kueue.controller import decide, forecast
from lws_kueue.controller.admission import shortages
from lws_kueue.controller.objects import statefulsets
from lws_kueue.workload import build
from tests.controller import test_heart as heart
from tests.controller.test_decide import SET, cluster, environment, settle
from tests.frozen import test_at_rest as at_rest
from tests.kit.memory import cluster_model

Object = dict[str, Any]


def foretold(model: cluster_model.Cluster) -> forecast.Forecast:
    """Foretell what a process does that starts now, and have it start."""
    model.restart()
    seen = model.observe(SET)
    return forecast.of(seen, model.decide(SET))


def pods(model: cluster_model.Cluster) -> dict[str, str]:
    return {name: pod["metadata"]["uid"] for name, pod in model.of_kind("Pod").items()}


def groups_of(names_of_pods: set[str]) -> Indices:
    return Indices(int(name.removeprefix(f"{SET}-").partition("-")[0]) for name in names_of_pods)


def another_version(monkeypatch: pytest.MonkeyPatch, change: Callable[[Object], object]) -> None:
    """From now on leader StatefulSets are rendered otherwise."""
    real = statefulsets.leader

    def rendered(*args: Any, **kwargs: Any) -> Object:
        body = copy.deepcopy(real(*args, **kwargs))
        change(body)
        return body

    monkeypatch.setattr(statefulsets, "leader", rendered)


def in_the_pods(body: Object) -> None:
    body["spec"]["template"]["metadata"]["annotations"]["example.com/new"] = "yes"


def beside_the_pods(body: Object) -> None:
    body["metadata"]["labels"]["example.com/new"] = "yes"


def edit(model: cluster_model.Cluster, change: Callable[[Object], object]) -> None:
    live = model.objects[names.LWS_KIND, SET]
    change(live["spec"])
    live["metadata"]["generation"] += 1
    model.touch(live)


def with_partition(model: cluster_model.Cluster, partition: int) -> None:
    strategy = {"type": "RollingUpdate", "rollingUpdateConfiguration": {"partition": partition}}
    edit(model, lambda spec: spec.update(rolloutStrategy=strategy))


@pytest.mark.parametrize("name", at_rest.NAMES)
def test_nothing_is_foretold_of_a_set_at_rest(name: str) -> None:
    seen = at_rest.observe(name)
    assert forecast.of(seen, at_rest.decided(seen)).nothing


@pytest.mark.parametrize("name", at_rest.NAMES)
def test_a_version_that_renders_the_pods_of_a_set_otherwise_rolls_every_group_of_it(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    another_version(monkeypatch, in_the_pods)
    seen = at_rest.observe(name)
    told = forecast.of(seen, at_rest.decided(seen))
    (replaced,) = told.replaced
    assert seen.lws is not None
    floor = seen.lws.spec.rollout_strategy.rolling_update_configuration.partition
    assert replaced.groups == Indices(g.index for g in seen.found.groups if g.index >= floor)
    field = "spec.template.metadata.annotations.example.com/new"
    assert replaced.why == f"StatefulSet {seen.name} would change in {field}"
    assert told.others == {("update", "StatefulSet"): 1}
    assert told.disturbs
    assert not told.stopped


@pytest.mark.parametrize("name", at_rest.NAMES)
def test_a_version_that_applies_a_field_of_the_pods_no_more_rolls_them_as_well(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def less(body: Object) -> None:
        del body["spec"]["template"]["metadata"]["annotations"][names.SIZE]

    another_version(monkeypatch, less)
    seen = at_rest.observe(name)
    (replaced,) = forecast.of(seen, at_rest.decided(seen)).replaced
    assert replaced.why.endswith(f" spec.template.metadata.annotations.{names.SIZE}")


@pytest.mark.parametrize("queue", [None, "queue"])
@pytest.mark.parametrize("partition", [0, 2])
@pytest.mark.parametrize("gate", [False, True])
def test_the_groups_that_are_foretold_are_those_that_are_replaced(
    queue: str | None, partition: int, gate: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = cluster_model.Cluster(max_unavailable_gate=gate)
    model.store(cluster(replicas=4, queue=queue).objects[names.LWS_KIND, SET])
    with_partition(model, partition)
    settle(model)
    before = pods(model)
    another_version(monkeypatch, in_the_pods)
    (told,) = foretold(model).replaced
    settle(model)
    changed = {name for name, uid in pods(model).items() if before[name] != uid}
    assert told.groups == groups_of(changed)
    assert len(changed) == 3 * (4 - partition)


def test_a_version_that_renders_a_label_of_the_statefulset_otherwise_replaces_no_pod(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = cluster(replicas=2)
    settle(model)
    before = pods(model)
    another_version(monkeypatch, beside_the_pods)
    told = foretold(model)
    settle(model)
    assert told == forecast.Forecast(others={("update", "StatefulSet"): 1})
    assert not told.disturbs
    assert pods(model) == before


def test_an_edit_is_foretold_with_all_groups_that_it_will_take_in_the_end() -> None:
    model = cluster(replicas=4, queue=None)
    settle(model)
    before = pods(model)
    container = ("leaderWorkerTemplate", "workerTemplate", "spec", "containers")

    def image(spec: Object) -> None:
        found: Any = spec
        for part in container:
            found = found[part]
        found[0]["image"] = "app:2"

    edit(model, image)
    told = foretold(model)
    (replaced,) = told.replaced
    assert "spec.template.spec.containers[0].image" in replaced.why
    assert told.others["create", "ControllerRevision"] == 1
    settle(model)
    assert replaced.groups == groups_of(
        {name for name, uid in pods(model).items() if before[name] != uid}
    )


def test_an_update_that_is_under_way_is_told_with_the_groups_that_come_next() -> None:
    model = cluster(replicas=4, queue=None)
    settle(model)
    template = model.objects[names.LWS_KIND, SET]["spec"]["leaderWorkerTemplate"]

    def image(spec: Object) -> None:
        changed = copy.deepcopy(template)
        changed["workerTemplate"]["spec"]["containers"][0]["image"] = "app:2"
        spec["leaderWorkerTemplate"] = changed

    edit(model, image)
    model.pass_once(SET)
    taken: list[Indices] = []
    for _ in range(30):
        environment(model)
        taken += [one.groups for one in foretold(model).replaced if "under way" in one.why]
        model.pass_once(SET)
    assert Indices() not in taken
    assert Indices(range(4)) == Indices(index for groups in taken for index in groups)


def test_what_is_scaled_down_is_told_by_its_pods() -> None:
    model = cluster(replicas=3, queue=None)
    settle(model)
    edit(model, lambda spec: spec.update(replicas=1))
    told = foretold(model)
    (stopped,) = told.stopped
    assert stopped == forecast.Stopped(
        ("demo-1", "demo-2"), "StatefulSet demo would have 1 replicas and not 3"
    )
    assert not told.replaced
    assert told.disturbs


def test_workers_that_somebody_added_are_told_by_their_names() -> None:
    model = cluster(replicas=1, queue=None)
    settle(model)
    workers = model.objects["StatefulSet", "demo-0"]
    workers["spec"] = {**workers["spec"], "replicas": 4}
    model.touch(workers)
    environment(model)
    assert foretold(model).stopped == (
        forecast.Stopped(
            ("demo-0-3", "demo-0-4"), "StatefulSet demo-0 would have 2 replicas and not 4"
        ),
    )


def test_pods_of_an_evicted_group_are_told_together_with_the_reason() -> None:
    model = cluster(replicas=2)
    settle(model)
    model.evict(model.admitted()[0])
    told = foretold(model)
    (stopped,) = told.stopped
    assert stopped.pods == ("demo-0", "demo-0-1", "demo-0-2")
    assert stopped.why == "Stopping 3 pods: Preempted"
    assert not told.replaced
    assert ("delete", "Pod") not in told.others


def test_a_group_that_failed_is_told_as_replaced() -> None:
    model = cluster(replicas=2, queue=None)
    edit(
        model,
        lambda spec: spec["leaderWorkerTemplate"].update(restartPolicy="RecreateGroupOnPodRestart"),
    )
    settle(model)
    model.delete("Pod", "demo-1-2", graceful=True)
    (replaced,) = foretold(model).replaced
    assert replaced.groups == Indices([1])
    assert replaced.why.startswith("Worker pod demo-1-2 failed")


def test_pods_of_a_group_that_gives_its_quota_back_are_told_although_the_next_pass_stops_them() -> (
    None
):
    model = heart.short_of_a_pod()
    model.now += shortages.PATIENCE
    told = foretold(model)
    (stopped,) = told.stopped
    assert stopped.pods == ("demo-0", "demo-0-1")
    assert told.others["delete", "Workload"] == 1
    model.pass_once(SET)
    environment(model)
    model.pass_once(SET)
    going = {n for n, p in model.of_kind("Pod").items() if "deletionTimestamp" in p["metadata"]}
    assert set(stopped.pods) <= going


def test_what_starts_and_what_is_made_disturbs_nobody() -> None:
    model = cluster(replicas=1)
    made = foretold(model)
    assert not made.disturbs
    assert made.others["create", "StatefulSet"] == 1
    settle(model, admit=False)
    model.admit(model.pending()[0])
    released = foretold(model)
    assert released.others["release", "Pod"] == 3
    assert not released.disturbs
    assert not released.nothing


def test_an_error_in_deciding_disturbs_because_nobody_can_tell() -> None:
    model = cluster(replicas=1)
    settle(model)
    seen = model.observe(SET)
    fault = ValueError("what nobody foresaw")
    plan = decide.undecided(seen, fault, now=model.now, options=build.Options())
    told = forecast.of(seen, plan)
    assert told.undecided
    assert told.disturbs
    assert "what nobody foresaw" in told.warnings[0].message


def test_of_a_set_that_is_gone_nothing_is_said_about_its_template(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = cluster(replicas=1)
    settle(model)
    another_version(monkeypatch, in_the_pods)
    assert foretold(model).replaced
    del model.objects[names.LWS_KIND, SET]
    assert not foretold(model).replaced
