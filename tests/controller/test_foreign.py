"""What somebody adds to a StatefulSet by which its pods request more is taken out of it again."""

import copy
import random
from typing import Any

import pytest

from lws_kueue.api import actions, facts
from lws_kueue.controller.objects import foreign
from tests.controller.test_intruders import EACH, Model
from tests.kit.memory import scenarios
from tests.kit.memory.scenarios import SET

Json = dict[str, Any]
AMOUNT: Json = {"requests": {"cpu": "1"}}
MORE: Json = {"name": "more", "image": "x", "resources": AMOUNT}


def container(**resources: Json) -> Json:
    return {"name": "c", "image": "i", "terminationMessagePath": "/l", "resources": resources}


OWN = container(requests={"cpu": "10m"})
WANTED: Json = {"containers": [{"name": "c", "image": "i", "resources": OWN["resources"]}]}


@pytest.mark.row("Q2")
@pytest.mark.parametrize(
    ("live", "fields", "change"),
    [
        ({"containers": [OWN]}, (), {}),
        ({"containers": [OWN], "tolerations": [{"key": "x"}], "resources": {}}, (), {}),
        ({"containers": [OWN, MORE]}, ("containers[more]",), {"containers": [OWN]}),
        (
            {"containers": [OWN], "initContainers": [MORE]},
            ("initContainers[more]",),
            {"initContainers": None},
        ),
        ({"containers": [OWN], "resources": AMOUNT}, ("resources",), {"resources": None}),
        (
            {"containers": [OWN], "runtimeClassName": "heavy"},
            ("runtimeClassName",),
            {"runtimeClassName": None},
        ),
        (
            {"containers": [container(requests={"cpu": "10m", "memory": "1Gi"})]},
            ("containers[c].resources",),
            {"containers": [OWN]},
        ),
        (
            {"containers": [container(requests={"cpu": "8"}, limits={"example.com/gpu": "1"})]},
            ("containers[c].resources",),
            {"containers": [OWN]},
        ),
    ],
)
def test_what_makes_pods_request_more_than_their_template_is_found_and_nothing_else(
    live: Json, fields: tuple[str, ...], change: Json
) -> None:
    assert foreign.of(live, WANTED) == foreign.Foreign(fields, change)


def test_of_the_amounts_of_a_pod_as_a_whole_only_what_differs_is_set_back() -> None:
    wanted = {**WANTED, "resources": {"requests": {"cpu": "1"}}}
    live = {"containers": [OWN], "resources": {"requests": {"cpu": "2", "memory": "1Gi"}}}
    found = foreign.of(live, wanted)
    assert found.change == {"resources": {"requests": {"cpu": "1", "memory": None}}}


@pytest.mark.parametrize(
    ("owned", "told"),
    [
        ({"f:containers": {'k:{"name":"more"}': {"f:image": {}}}}, "by field manager edit,"),
        ({"f:tolerations": {}}, "was changed, so"),
    ],
)
def test_whoever_has_put_it_there_is_named_where_that_can_be_known(owned: Json, told: str) -> None:
    fields = {"f:spec": {"f:template": {"f:spec": owned}}}
    live = facts.StatefulSet.of(
        {
            "metadata": {
                "name": "serve",
                "namespace": "ns",
                "resourceVersion": "7",
                "managedFields": [{"manager": "edit", "operation": "Update", "fieldsV1": fields}],
            },
            "spec": {"template": {"spec": {"containers": [OWN, MORE]}}},
        }
    )
    part = foreign.put_right(live, {"spec": WANTED}, set_name="serve")
    (reason,) = part.reasons
    assert "spec.template.spec.containers[more]" in reason.message
    assert told in reason.message
    ((patch,),) = part.chains
    assert isinstance(patch, actions.Patch)
    assert patch.resource_version == "7"
    assert patch.body == {"spec": {"template": {"spec": {"containers": [OWN]}}}}


# In whole passes --------------------------------------------------------------------------------


def a_set() -> Model:
    """Return a set with one group of two pods, which waits for quota."""
    model = Model(scenarios.Shape(1, 2, queue=scenarios.QUEUE, cpu="10m"), quota="0m")
    settle(model)
    return model


def settle(model: Model) -> None:
    rng = random.Random(1)
    for _ in range(40):
        model.go_on(rng)


def swell(model: Model, name: str) -> None:
    live = model.objects["StatefulSet", name]
    live["spec"] = copy.deepcopy(live["spec"])
    live["spec"]["template"]["spec"]["containers"].append(MORE)
    live["metadata"]["generation"] += 1
    model.touch(live)


@pytest.mark.row("Q2")
@pytest.mark.parametrize("name", [SET, f"{SET}-0"], ids=["leaders", "workers"])
def test_a_group_whose_statefulset_was_given_a_container_runs_without_it(name: str) -> None:
    model = a_set()
    swell(model, name)
    settle(model)
    model.quota = 2 * EACH
    settle(model)
    pods = model.of_kind("Pod")
    assert len(pods) == 2
    for pod in pods.values():
        assert len(pod["spec"]["containers"]) == 1
        assert not pod["spec"].get("schedulingGates")


@pytest.mark.parametrize("queue", [scenarios.QUEUE, ""], ids=["in a queue", "plain"])
def test_leaders_that_somebody_numbers_otherwise_are_numbered_from_0_again(queue: str) -> None:
    model = Model(scenarios.Shape(2, 2, queue=queue, cpu="10m"), quota=f"{4 * EACH}m")
    model.bridging = not queue
    model.judge = (lambda: None) if not queue else model.judge  # type: ignore[method-assign]
    settle(model)
    live = model.objects["StatefulSet", SET]
    live["spec"] = {**live["spec"], "ordinals": {"start": 3}}
    live["metadata"]["generation"] += 1
    model.touch(live)
    (warning,) = [one for one in model.decide(SET).warnings if "ordinals" in one.message]
    assert "spec.ordinals.start was set to 3" in warning.message
    settle(model)
    assert not model.objects["StatefulSet", SET]["spec"].get("ordinals")
    pods = model.of_kind("Pod")
    assert {*pods} == {f"{SET}-{group}{worker}" for group in (0, 1) for worker in ("", "-1")}
    assert all(pod["spec"].get("nodeName") for pod in pods.values())


# Beside the template ----------------------------------------------------------------------------

# Every field of a StatefulSet's spec that can be changed, of leaders and of workers: what somebody
# makes of it, and what becomes of that. The others cannot be changed once it is there.
BACK, STAYS = "set back", "stays"
SECONDS = "spec.minReadySeconds was set to 3600"
SPEC_FIELDS: dict[str, tuple[str, Json, str, str]] = {
    # By the apply, which holds them.
    "leaders: replicas": (SET, {"replicas": 1}, BACK, ""),
    "leaders: updateStrategy.type": (
        SET,
        {"updateStrategy": {"type": "OnDelete", "rollingUpdate": {"partition": 0}}},
        BACK,
        "",
    ),
    "leaders: updateStrategy.rollingUpdate.partition": (
        SET,
        {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}},
        BACK,
        "",
    ),
    # By a patch.
    "leaders: ordinals.start": (SET, {"ordinals": {"start": 3}}, BACK, "spec.ordinals.start was"),
    "leaders: minReadySeconds": (SET, {"minReadySeconds": 3600}, BACK, SECONDS),
    "workers: replicas": (f"{SET}-0", {"replicas": 5}, BACK, "replicas should be 1 and is 5"),
    "workers: ordinals.start": (
        f"{SET}-0",
        {"ordinals": {"start": 2}},
        BACK,
        "spec.ordinals.start was set to 2, so that its pods are not the workers",
    ),
    "workers: no ordinals": (f"{SET}-0", {"ordinals": {}}, BACK, "start was set to 0"),
    "workers: minReadySeconds": (f"{SET}-0", {"minReadySeconds": 3600}, BACK, SECONDS),
    "workers: updateStrategy.type": (
        f"{SET}-0",
        {"updateStrategy": {"type": "OnDelete", "rollingUpdate": {"partition": 0}}},
        BACK,
        "spec.updateStrategy.type is OnDelete, so that its pods stay as they are",
    ),
    "workers: updateStrategy.rollingUpdate.partition": (
        f"{SET}-0",
        {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}},
        BACK,
        "spec.updateStrategy.rollingUpdate.partition was set to 2",
    ),
    # What changes neither which pods there are nor when they are replaced.
    **{
        f"{whose}: {field}": (name, {field: value}, STAYS, "")
        for whose, name in (("leaders", SET), ("workers", f"{SET}-0"))
        for field, value in {
            "revisionHistoryLimit": 0,
            "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete"},
        }.items()
    },
}


def said(spec: Json, field: str) -> Any:
    """Return a field of a spec, with the defaults of an API server where that matters."""
    if field != "updateStrategy":
        return spec.get(field)
    strategy = spec.get(field) or {}
    kind = strategy.get("type", "RollingUpdate")
    return kind, (strategy.get("rollingUpdate") or {}).get("partition", 0)


@pytest.mark.row("WAR-08")
@pytest.mark.parametrize("what", SPEC_FIELDS)
@pytest.mark.parametrize("queue", [scenarios.QUEUE, ""], ids=["in a queue", "plain"])
def test_what_becomes_of_each_field_that_somebody_changes(what: str, queue: str) -> None:
    name, change, outcome, told = SPEC_FIELDS[what]
    model = Model(scenarios.Shape(2, 2, queue=queue, cpu="10m"), quota=f"{4 * EACH}m")
    model.bridging = not queue
    model.judge = (lambda: None) if not queue else model.judge  # type: ignore[method-assign]
    settle(model)
    live = model.objects["StatefulSet", name]
    before = live["spec"]
    live["spec"] = {**before, **copy.deepcopy(change)}
    live["metadata"]["generation"] += 1
    model.touch(live)
    warned = [one.message for one in model.decide(SET).warnings if name in one.message]
    assert bool(told) == bool(warned)
    assert all(told in message for message in warned)
    settle(model)
    after = model.objects["StatefulSet", name]["spec"]
    wanted = before if outcome == BACK else change
    assert {field: said(after, field) for field in change} == {
        field: said(wanted, field) for field in change
    }
    assert len(model.of_kind("Pod")) == 4


@pytest.mark.row("WAR-08")
def test_whoever_has_changed_a_field_beside_the_template_is_named() -> None:
    fields: Json = {"f:spec": {"f:minReadySeconds": {}}}
    live = facts.StatefulSet.of(
        {
            "metadata": {
                "name": SET,
                "managedFields": [{"manager": "tuner", "operation": "Apply", "fieldsV1": fields}],
            },
            "spec": {"minReadySeconds": 3600},
        }
    )
    (reason,) = foreign.told(live, first=0, set_name=SET)
    assert "was set to 3600 by field manager tuner, so that an update waits" in reason.message
    assert foreign.set_back(live, first=0) == {"minReadySeconds": None}
