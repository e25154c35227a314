"""Who lets a set's groups go, and what happens when that changes (kueue-contract 3.6 and 8.1)."""

import dataclasses
from typing import Any

import pytest

from lws_kueue.api import facts, kueue, lws, names
from lws_kueue.controller.admission import managed_by
from lws_kueue.controller.observe import observed
from lws_kueue.controller.observe.scope import ManagedBy
from lws_kueue.workload import build
from tests.controller.test_decide import SET, body, environment, gated, settle
from tests.kit.builders import given
from tests.kit.memory import cluster_model

KUEUES = {names.POD_SUSPENDING_PARENT: names.KUEUE_LWS_FRAMEWORK}
OURS = {names.POD_SUSPENDING_PARENT: names.OUR_SUSPENDING_PARENT}
NOBODYS: dict[str, str] = {}
# By it Kueue's pod integration knows the Workloads of pod groups.
GROUP_MARK = {names.IS_GROUP_WORKLOAD: "true"}
# Of the leaders' template; None: there is no StatefulSet yet.
NEW = None


@pytest.mark.parametrize(
    ("built_in", "stored", "rendered", "expected"),
    [
        (False, NOBODYS, NEW, ManagedBy.BRIDGE),
        (False, KUEUES, NEW, ManagedBy.BRIDGE),
        (False, KUEUES, KUEUES, ManagedBy.BRIDGE),
        (False, KUEUES, OURS, ManagedBy.BRIDGE),
        (False, NOBODYS, OURS, ManagedBy.BRIDGE),
        (True, KUEUES, NEW, ManagedBy.KUEUE),
        (True, KUEUES, KUEUES, ManagedBy.KUEUE),
        (True, KUEUES, OURS, ManagedBy.KUEUE_GATED),
        (True, NOBODYS, OURS, ManagedBy.KUEUE_GATED),
        (True, NOBODYS, NEW, ManagedBy.KUEUE_GATED),
        (None, NOBODYS, NEW, ManagedBy.BRIDGE),
        (None, NOBODYS, OURS, ManagedBy.BRIDGE),
        (None, KUEUES, OURS, ManagedBy.UNKNOWN),
        (None, KUEUES, NEW, ManagedBy.UNKNOWN),
        (None, KUEUES, NOBODYS, ManagedBy.UNKNOWN),
        (None, KUEUES, KUEUES, ManagedBy.KUEUE),
    ],
)
def test_the_integration_decides_and_what_is_rendered_stays_where_that_is_safe(
    built_in: bool | None,
    stored: dict[str, str],
    rendered: dict[str, str] | None,
    expected: ManagedBy,
) -> None:
    owner = lws.LeaderWorkerSet.of(marked(body(), stored))
    plain = lws.LeaderWorkerSet.of(marked(body(queue=None), stored))
    sets = {}
    if rendered is not None:
        sets[SET] = leaders(owner, rendered)
    seen = dataclasses.replace(observation(owner, built_in), stateful_sets=sets)
    assert managed_by.of(seen, owner) is expected
    left = stored == KUEUES and built_in is not False
    assert managed_by.of(seen, plain) is (ManagedBy.KUEUE if left else ManagedBy.NOBODY), (
        "Kueue may take sets without a queue"
    )


def observation(owner: lws.LeaderWorkerSet, built_in: bool | None) -> observed.Observed:
    kueue = observed.Kueue(support="served", built_in=built_in)
    return observed.Observed(namespace="ns", name=SET, lws=owner, kueue=kueue)


def leaders(owner: lws.LeaderWorkerSet, rendered: dict[str, str]) -> facts.StatefulSet:
    """Return the leader StatefulSet of a set; its template has these annotations."""
    holder = {"kind": names.LWS_KIND, "name": SET, "uid": owner.meta.uid, "controller": True}
    return given.a_stateful_set(SET, owner=holder, template={"annotations": rendered})


def test_the_mark_on_a_statefulset_proves_nothing_if_a_template_before_was_gated() -> None:
    """Whoever may edit a StatefulSet cannot write what its controller has kept of it."""
    owner = lws.LeaderWorkerSet.of(marked(body()))
    forged = leaders(owner, KUEUES)
    kept = facts.Revision.of(
        {
            "metadata": {
                "name": "demo-abc",
                "ownerReferences": [given.reference("StatefulSet", SET, forged.meta.uid)],
            },
            "data": {"spec": {"template": {"metadata": {"annotations": OURS}}}},
            "revision": 1,
        }
    )
    seen = dataclasses.replace(observation(owner, None), stateful_sets={SET: forged})
    assert managed_by.of(seen, owner) is ManagedBy.KUEUE
    seen = dataclasses.replace(seen, revisions={"demo-abc": kept})
    assert managed_by.of(seen, owner) is ManagedBy.UNKNOWN


def test_a_statefulset_that_nobody_controls_says_nothing_about_its_set() -> None:
    owner = lws.LeaderWorkerSet.of(marked(body()))
    orphan = given.a_stateful_set(
        SET, labels={names.SET_NAME: SET}, template={"annotations": KUEUES}
    )
    seen = dataclasses.replace(observation(owner, None), stateful_sets={SET: orphan})
    assert managed_by.of(seen, owner) is ManagedBy.UNKNOWN


@pytest.mark.parametrize(
    ("workloads", "expected"),
    [
        ([{}, GROUP_MARK], ManagedBy.BRIDGE),
        ([{}], ManagedBy.BRIDGE),
        ([GROUP_MARK], ManagedBy.KUEUE_GATED),
    ],
)
def test_while_nobody_knows_the_workloads_say_who_let_groups_go_before(
    workloads: list[dict[str, str]], expected: ManagedBy
) -> None:
    owner = lws.LeaderWorkerSet.of(marked(body()))
    holder = {"kind": names.LWS_KIND, "name": SET, "uid": owner.meta.uid}
    stored = [
        kueue.Workload.of(
            {
                "metadata": {
                    "name": f"w-{index}",
                    "annotations": annotations,
                    "ownerReferences": [holder],
                }
            }
        )
        for index, annotations in enumerate(workloads)
    ]
    seen = dataclasses.replace(
        observation(owner, None),
        stateful_sets={SET: leaders(owner, OURS)},
        workloads={one.meta.name: one for one in stored},
    )
    assert managed_by.of(seen, owner) is expected


@pytest.mark.row("Q10")
def test_a_set_with_the_mark_of_kueues_integration_waits_until_somebody_knows_about_that() -> None:
    model = cluster_model.Cluster()
    model.store(marked(body(replicas=2)))
    settle(model)
    assert len(gated(model)) == 6
    assert not model.of_kind("Workload"), "perhaps Kueue makes them"
    told = condition(model, "WaitingForAdmission")
    assert told is not None
    assert told["reason"] == "ManagerUnknown"
    assert "groups 0-1: " in told["message"]
    (warning,) = model.decide(SET).warnings
    assert "spec.leaderWorkerTemplate.workerTemplate" in warning.message
    for pod in model.of_kind("Pod").values():
        pod["spec"].pop("schedulingGates")
        model.touch(pod)
    settle(model)
    assert len(gated(model)) == 6, "what somebody opened is stopped"
    model.built_in = False
    settle(model)
    assert not gated(model)


def test_when_it_is_known_kueues_integration_takes_over_what_waited() -> None:
    model = cluster_model.Cluster()
    model.store(marked(body(replicas=1)))
    settle(model)
    before = uids(model, "Pod")
    model.built_in = True
    settle(model)
    assert uids(model, "Pod") == before
    assert len(gated(model)) == 3
    assert condition(model, "WaitingForAdmission") is None


def marked(obj: dict[str, Any], marks: dict[str, str] = KUEUES) -> dict[str, Any]:
    """Return a set as the built-in webhook stores it."""
    template = obj["spec"]["leaderWorkerTemplate"]["workerTemplate"]
    labels = {names.QUEUE_NAME: "queue"} if marks else {}
    template["metadata"] = {"labels": labels, "annotations": marks}
    return obj


def managed_by_kueue(*, replicas: int) -> cluster_model.Cluster:
    """Return a set that the built-in integration looks after; all groups wait."""
    model = cluster_model.Cluster()
    model.built_in = True
    model.store(marked(body(replicas=replicas)))
    settle(model, admit=False)
    owner = model.observe(SET).lws
    assert owner is not None
    for index in range(replicas):
        made = build.workload(
            owner, index, classes=build.PriorityClasses(), options=build.Options()
        )
        assert isinstance(made, dict)
        made["metadata"]["annotations"] |= GROUP_MARK
        model.store(made)
    return model


def let_go_by_kueue(model: cluster_model.Cluster, index: int) -> None:
    """Admit a group and release its pods, as the built-in integration does."""
    (name,) = (
        name
        for name, w in model.of_kind("Workload").items()
        if w["metadata"]["annotations"][names.COMPONENT_WORKLOAD_INDEX] == str(index)
    )
    model.admit(name)
    for pod in model.of_kind("Pod").values():
        if pod["metadata"]["labels"][names.GROUP_INDEX] == str(index):
            pod["spec"].pop("schedulingGates", None)
            model.touch(pod)
    model.run_pods()


def uids(model: cluster_model.Cluster, kind: str) -> dict[str, str]:
    return {name: obj["metadata"]["uid"] for name, obj in model.of_kind(kind).items()}


def marks(model: cluster_model.Cluster) -> set[str]:
    return {
        pod["metadata"]["annotations"][names.POD_SUSPENDING_PARENT]
        for pod in model.of_kind("Pod").values()
    }


def test_a_set_of_the_built_in_integration_gets_no_workload_no_gate_and_no_release() -> None:
    model = managed_by_kueue(replicas=2)
    for name in model.pending():
        model.admit(name)
    before = model.writes.copy()
    settle(model, admit=False)
    assert "patch Pod" not in model.writes
    assert not any("Workload" in write for write in model.writes)
    assert set(model.writes[len(before) :]) <= {"status"}
    template = model.objects["StatefulSet", SET]["spec"]["template"]
    assert not template["spec"].get("schedulingGates")
    assert template["metadata"]["annotations"][names.POD_SUSPENDING_PARENT] == (
        names.KUEUE_LWS_FRAMEWORK
    )


def test_a_set_that_is_left_to_kueue_warns_of_a_surge_in_percent() -> None:
    model = managed_by_kueue(replicas=4)
    assert model.decide(SET).warnings == ()
    obj = model.objects[names.LWS_KIND, SET]
    rolling = {"rollingUpdateConfiguration": {"maxSurge": "25%"}}
    obj["spec"]["rolloutStrategy"] = rolling
    model.touch(obj)
    (told,) = model.decide(SET).warnings
    assert told.reason == "SurgeNotAdmitted"
    assert "25%" in told.message


def test_a_set_that_is_left_to_kueue_says_which_groups_are_deactivated() -> None:
    model = managed_by_kueue(replicas=3)
    assert condition(model, "WaitingForAdmission") is None, "quota is for its Workload to say"
    for name, workload in model.of_kind("Workload").items():
        if workload["metadata"]["annotations"][names.COMPONENT_WORKLOAD_INDEX] != "1":
            model.objects["Workload", name]["spec"]["active"] = False
            model.touch(model.objects["Workload", name])
    settle(model, admit=False)
    told = condition(model, "WaitingForAdmission")
    assert told is not None
    assert told["reason"] == "WorkloadDeactivated"
    assert "group 0: Workload leaderworkerset-" in told["message"]
    assert "group 2: Workload leaderworkerset-" in told["message"]
    assert "group 1" not in told["message"]
    assert "set its spec.active to true" in told["message"]
    for name in model.of_kind("Workload"):
        model.objects["Workload", name]["spec"]["active"] = True
        model.touch(model.objects["Workload", name])
    settle(model, admit=False)
    assert condition(model, "WaitingForAdmission") is None


def condition(model: cluster_model.Cluster, kind: str) -> dict[str, Any] | None:
    found = (model.objects[names.LWS_KIND, SET].get("status") or {}).get("conditions") or ()
    return next((one for one in found if one["type"] == kind), None)


@pytest.mark.parametrize("waiting", [0, 1, 2])
def test_switched_off_every_group_is_made_anew_and_keeps_its_workload(waiting: int) -> None:
    model = managed_by_kueue(replicas=3)
    for index in {0, 1, 2} - {waiting}:
        let_go_by_kueue(model, index)
    before = uids(model, "Workload")
    model.built_in = False
    settle(model, admit=False)
    assert uids(model, "Workload") == before
    assert marks(model) == {names.OUR_SUSPENDING_PARENT}
    assert gated(model) == {f"demo-{waiting}{worker}" for worker in ("", "-1", "-2")}
    settle(model)
    assert not gated(model)


def test_switched_off_an_eviction_is_followed_before_a_groups_turn_comes() -> None:
    model = managed_by_kueue(replicas=2)
    obj = model.objects[names.LWS_KIND, SET]
    obj["spec"]["rolloutStrategy"] = {"rollingUpdateConfiguration": {"partition": 2}}
    for index in (0, 1):
        let_go_by_kueue(model, index)
    model.built_in = False
    settle(model, admit=False)
    assert not gated(model)
    name = model.admitted()[0]
    model.evict(name)
    settle(model, admit=False)
    assert marks(model) >= {names.KUEUE_LWS_FRAMEWORK}
    assert gated(model) == {"demo-0", "demo-0-1", "demo-0-2"}
    assert name in model.pending(), "the quota is given back"
    settle(model)
    assert not gated(model)


def test_switched_off_a_group_that_waited_is_let_go_before_its_turn_comes() -> None:
    model = managed_by_kueue(replicas=1)
    obj = model.objects[names.LWS_KIND, SET]
    obj["spec"]["rolloutStrategy"] = {"rollingUpdateConfiguration": {"partition": 1}}
    model.built_in = False
    before = uids(model, "Pod")
    settle(model)
    assert not gated(model)
    assert uids(model, "Pod") == before


@pytest.mark.parametrize("stored", [NOBODYS, KUEUES])
def test_switched_on_workloads_can_be_adopted_and_nothing_else_is_written_any_more(
    stored: dict[str, str],
) -> None:
    model = switched_on(stored)
    pods = uids(model, "Pod")
    assert group_marks(model) == {None}
    model.admit(model.pending()[0])
    settle(model, admit=False)
    assert set(model.writes) <= {"status", "patch Workload"}
    assert model.writes.count("patch Workload") == 3, "one for each group"
    assert group_marks(model) == {"true"}
    assert uids(model, "Pod") == pods


@pytest.mark.row("WAR-01")
def test_switched_off_workloads_lose_the_mark_of_pod_groups_in_one_write_each() -> None:
    model = managed_by_kueue(replicas=3)
    model.built_in = False
    model.writes.clear()
    settle(model, admit=False)
    assert group_marks(model) == {None}
    assert model.writes.count("patch Workload") == 3


def group_marks(model: cluster_model.Cluster) -> set[str | None]:
    """What the Workloads say about pod groups."""
    return {
        workload["metadata"]["annotations"].get(names.IS_GROUP_WORKLOAD)
        for workload in model.of_kind("Workload").values()
    }


def switched_on(stored: dict[str, str]) -> cluster_model.Cluster:
    """Return a set of three groups, one let go by the bridge, that is Kueue's from now on."""
    model = cluster_model.Cluster()
    model.store(marked(body(replicas=3), stored))
    model.built_in = False
    settle(model, admit=False)
    model.admit(model.pending()[0])
    settle(model, admit=False)
    assert len(gated(model)) == 6
    model.built_in = True
    model.writes.clear()
    return model


def test_switched_on_pods_that_kueue_cannot_adopt_are_stopped_when_it_evicts_them() -> None:
    model = switched_on(KUEUES)
    (name,) = model.admitted()
    before = uids(model, "Workload")
    settle(model, admit=False)
    model.writes.clear()
    model.evict(name)
    settle(model, admit=False)
    assert len(gated(model)) == 9, "what comes back waits"
    assert not any("Workload" in write for write in model.writes), "Kueue gives the quota back"
    assert uids(model, "Workload") == before


def test_switched_on_pods_that_kueue_has_adopted_are_kueues_to_stop() -> None:
    model = switched_on(KUEUES)
    for pod in model.of_kind("Pod").values():
        pod["metadata"]["labels"][names.MANAGED] = "true"
        model.touch(pod)
    settle(model, admit=False)
    model.writes.clear()
    model.evict(model.admitted()[0])
    settle(model, admit=False)
    assert set(model.writes) <= {"status"}
    assert len(gated(model)) == 6


def test_a_status_that_tells_of_surge_groups_is_written_at_once_for_kueue_to_see() -> None:
    model = managed_by_kueue(replicas=2)
    for index in (0, 1):
        let_go_by_kueue(model, index)
    settle(model, admit=False)
    obj = model.objects[names.LWS_KIND, SET]
    obj["spec"]["rolloutStrategy"] = {"rollingUpdateConfiguration": {"maxSurge": 1}}
    obj["spec"]["leaderWorkerTemplate"]["workerTemplate"]["spec"]["containers"][0]["image"] = (
        "app:2"
    )
    obj["metadata"]["generation"] += 1
    model.touch(obj)
    urgent = []
    for _ in range(8):
        plan = model.decide(SET)
        urgent += [plan.status.status["replicas"]] if plan.status and plan.status.urgent else []
        model.pass_once(SET)
        environment(model)
    assert urgent == [3]
