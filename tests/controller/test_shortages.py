"""Groups whose pods cannot be made ask for no quota, and give back what they have (P6)."""

import datetime
from typing import Any

import pytest

from lws_kueue.api import actions, facts, names
from lws_kueue.controller import decide
from lws_kueue.controller.admission import shortages
from lws_kueue.workload import build
from tests.controller.test_decide import SET, cluster, environment, gated, settle
from tests.kit.memory import cluster_model

pytestmark = pytest.mark.row("P6")

WHY = 'pods "demo-0-2" is forbidden: exceeded quota: pods'


def advance(model: cluster_model.Cluster, seconds: float) -> None:
    """Let time go by."""
    model.now += datetime.timedelta(seconds=seconds)


def waits_for(model: cluster_model.Cluster) -> tuple[str, str]:
    """Reason and message of what the set says about groups that wait."""
    found = [
        c
        for c in model.objects[names.LWS_KIND, SET]["status"]["conditions"]
        if c["type"] == "WaitingForAdmission"
    ]
    return (found[0]["reason"], found[0]["message"]) if found else ("", "")


def warnings(model: cluster_model.Cluster) -> list[tuple[str, str]]:
    return [(event.reason, event.message) for event in model.decide(SET).warnings]


def refuse(model: cluster_model.Cluster, pod: str) -> None:
    """Have a pod refused, which an Event of its StatefulSet tells."""
    model.refused = {pod}
    model.refusals = {pod.rpartition("-")[0]: WHY}


def change_policy(model: cluster_model.Cluster, policy: str) -> None:
    model.objects[names.LWS_KIND, SET]["spec"]["leaderWorkerTemplate"]["restartPolicy"] = policy


def test_nothing_is_asked_for_before_the_leader_statefulset_is_there() -> None:
    model = cluster()
    plan = model.decide(SET)
    kinds = [
        action.body["kind"]
        for chain in plan.chains
        for action in chain
        if isinstance(action, actions.Apply | actions.Create)
    ]
    assert "StatefulSet" in kinds
    assert "Workload" not in kinds
    assert plan.status is not None
    (told,) = (c for c in plan.status.status["conditions"] if c["type"] == "WaitingForAdmission")
    assert told["reason"] == "PodsMissing"


def test_a_group_asks_for_quota_as_soon_as_its_last_pod_is_there() -> None:
    model = cluster(replicas=1)
    model.refused = {f"{SET}-0-2"}
    settle(model, admit=False)
    assert not model.of_kind("Workload")
    model.refused.clear()
    environment(model)
    model.pass_once(SET)
    assert len(model.of_kind("Workload")) == 1
    settle(model)
    assert not gated(model)


def test_one_group_that_is_short_of_pods_holds_up_no_other() -> None:
    model = cluster(replicas=3)
    model.refused = {f"{SET}-1-2"}
    settle(model)
    assert gated(model) == {f"{SET}-1", f"{SET}-1-1"}
    assert len(model.of_kind("Workload")) == 2


def test_the_set_says_whose_pods_are_missing_and_why() -> None:
    model = cluster(replicas=1)
    model.refused = {f"{SET}-0-2"}
    model.refusals = {f"{SET}-0": WHY}
    settle(model, admit=False)
    told = f"StatefulSet {SET}-0 has 1 of 2 pods: {WHY}"
    assert waits_for(model) == ("FailedCreate", f"group 0: {told}")
    assert warnings(model) == [("FailedCreate", told)]


def test_what_nobody_explains_is_told_after_a_while_and_looked_at_again_until_then() -> None:
    model = cluster(replicas=1, queue=None)
    model.refused = {f"{SET}-0"}
    settle(model)
    assert warnings(model) == []
    assert model.decide(SET).recheck_after == 3.0
    advance(model, 300)
    told = f"StatefulSet {SET} has 0 of 1 pods; its events say why"
    assert warnings(model) == [("FailedCreate", told)]
    assert model.decide(SET).recheck_after == 30.0


def test_a_pod_whose_name_is_taken_is_not_called_refused() -> None:
    model = cluster(replicas=1, queue=None)
    settle(model)
    pod = model.objects["Pod", f"{SET}-0-1"]
    pod["metadata"]["ownerReferences"][0] |= {"uid": "other"}
    model.touch(pod)
    environment(model)
    assert not [reason for reason, _ in warnings(model) if reason == "FailedCreate"]


def test_a_set_that_runs_asks_for_no_events() -> None:
    model = cluster()
    settle(model)
    assert shortages.asked(model.observe(SET)) == ()


@pytest.mark.parametrize("stateful_set", [SET, f"{SET}-0"])
def test_pods_that_are_there_and_not_counted_yet_need_no_explanation(stateful_set: str) -> None:
    model = cluster()
    settle(model)
    live = model.objects["StatefulSet", stateful_set]
    live["status"] = {**live["status"], "replicas": 1}
    model.touch(live)
    seen = model.observe(SET)
    assert seen.stateful_sets[stateful_set].short
    assert shortages.asked(seen) == ()
    pod = f"{SET}-1" if stateful_set == SET else f"{SET}-0-1"
    del model.objects["Pod", pod]
    assert [one.meta.name for one in shortages.asked(model.observe(SET))] == [stateful_set]


def test_a_slow_control_plane_costs_no_quota() -> None:
    """Pods that are missed for a while may come, as long as nobody says that they are refused."""
    model = cluster(replicas=1)
    change_policy(model, "RecreateGroupOnPodRestart")
    settle(model)
    before = list(model.of_kind("Workload"))
    model.refused = {f"{SET}-0-2"}
    model.delete("Pod", f"{SET}-0-2")
    settle(model)
    advance(model, 299)
    settle(model)
    assert list(model.of_kind("Workload")) == before
    advance(model, 1)
    settle(model)
    assert not model.of_kind("Workload")


def test_a_worker_statefulset_that_is_not_made_yet_is_missed_only_when_it_was_refused() -> None:
    model = cluster(replicas=1)
    change_policy(model, "RecreateGroupOnPodRestart")
    settle(model)
    model.delete("StatefulSet", f"{SET}-0")
    advance(model, 3600)
    seen = model.observe(SET)
    write = actions.Create(
        {
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "metadata": {"namespace": cluster_model.NAMESPACE, "name": f"{SET}-0"},
        }
    )
    removed = (actions.Delete, "Workload")
    for seconds, refused, gives_back in ((0, False, False), (0, True, False), (21, True, True)):
        advance(model, seconds)
        if refused:
            seen.attempts.refused(write, WHY, now=model.now)
        plan = decide.decide(seen, now=model.now, options=build.Options())
        found = {
            (type(action), action.ref.kind)
            for chain in plan.chains
            for action in chain
            if isinstance(action, actions.Delete)
        }
        assert (removed in found) is gives_back


@pytest.mark.parametrize("writes", [None, 0, 1, 2, 3])
def test_quota_is_given_back_when_pods_are_missed_for_a_while_and_only_once(
    writes: int | None,
) -> None:
    model = cluster(replicas=1)
    change_policy(model, "RecreateGroupOnPodRestart")
    settle(model)
    (name,) = model.of_kind("Workload")
    refuse(model, f"{SET}-0-2")
    model.delete("Pod", f"{SET}-0-2")
    settle(model)
    assert model.of_kind("Workload"), "a moment is nothing"
    again = model.decide(SET).recheck_after
    assert again is not None
    assert again <= shortages.PATIENCE.total_seconds()
    advance(model, 20)
    if writes is not None:
        model.pass_once(SET, writes=writes)
    for _ in range(4):
        settle(model)
        advance(model, 60)
    assert not model.of_kind("Workload"), "neither held nor asked for again"
    assert gated(model) == {f"{SET}-0", f"{SET}-0-1"}, "nothing runs without quota"
    assert model.writes.count("delete Workload") == 1
    model.refused.clear()
    settle(model)
    assert list(model.of_kind("Workload")) == [name]
    assert not gated(model)


def test_a_workload_that_waits_is_taken_out_of_the_queue_as_well() -> None:
    model = cluster(replicas=1)
    settle(model, admit=False)
    assert model.pending()
    refuse(model, f"{SET}-0-1")
    model.delete("Pod", f"{SET}-0-1")
    settle(model, admit=False)
    advance(model, 20)
    settle(model, admit=False)
    assert not model.of_kind("Workload")


def test_what_a_person_has_switched_off_stays_as_it_is() -> None:
    model = cluster(replicas=1)
    settle(model, admit=False)
    (workload,) = model.of_kind("Workload").values()
    workload["spec"]["active"] = False
    model.touch(workload)
    refuse(model, f"{SET}-0-1")
    model.delete("Pod", f"{SET}-0-1")
    settle(model, admit=False)
    advance(model, 20)
    settle(model, admit=False)
    assert model.of_kind("Workload")


def test_a_group_that_may_run_in_part_and_does_keeps_its_quota() -> None:
    model = cluster(replicas=1)
    settle(model)
    refuse(model, f"{SET}-0-1")
    model.delete("Pod", f"{SET}-0-1")
    settle(model)
    advance(model, 60)
    settle(model)
    assert model.admitted()
    assert warnings(model) == [("FailedCreate", f"StatefulSet {SET}-0 has 1 of 2 pods: {WHY}")]


def test_a_group_of_which_nothing_is_left_keeps_nothing_even_if_it_may_run_in_part() -> None:
    model = cluster(replicas=1)
    settle(model)
    refuse(model, f"{SET}-0")
    model.delete("Pod", f"{SET}-0")
    settle(model)
    advance(model, 20)
    settle(model)
    assert not model.of_kind("Workload")
    model.refused.clear()
    settle(model)
    assert not gated(model)
    assert model.admitted()


def test_a_worker_statefulset_that_somebody_deletes_costs_no_quota() -> None:
    model = cluster(replicas=1)
    change_policy(model, "RecreateGroupOnPodRestart")
    settle(model)
    (before,) = (w["metadata"]["uid"] for w in model.of_kind("Workload").values())
    advance(model, 3600)
    model.delete("StatefulSet", f"{SET}-0")
    model.pass_once(SET)
    settle(model)
    assert [w["metadata"]["uid"] for w in model.of_kind("Workload").values()] == [before]
    assert not gated(model)


def test_pods_that_end_slowly_with_their_statefulset_are_not_missed() -> None:
    model = cluster(replicas=1)
    settle(model)
    owner = model.objects["StatefulSet", f"{SET}-0"]
    owner["status"] |= {"replicas": 1}
    assert facts.StatefulSet.of(owner).short
    owner["metadata"]["deletionTimestamp"] = "2030-01-01T00:00:00Z"
    assert not facts.StatefulSet.of(owner).short


def leader_ready(model: cluster_model.Cluster) -> None:
    spec: dict[str, Any] = model.objects[names.LWS_KIND, SET]["spec"]
    spec["startupPolicy"] = "LeaderReady"


def test_where_workers_follow_a_leader_that_runs_the_leader_is_enough_to_ask() -> None:
    model = cluster(replicas=1)
    leader_ready(model)
    settle(model, admit=False)
    assert set(model.of_kind("Pod")) == {f"{SET}-0"}
    assert len(model.of_kind("Workload")) == 1
    settle(model)
    assert len(model.of_kind("Pod")) == 3


def test_a_leader_whose_workers_are_refused_gives_its_quota_back() -> None:
    model = cluster(replicas=1)
    leader_ready(model)
    refuse(model, f"{SET}-0-1")
    settle(model)
    (before,) = (w["metadata"]["uid"] for w in model.of_kind("Workload").values())
    advance(model, 20)
    settle(model, admit=False)
    after = [w["metadata"]["uid"] for w in model.of_kind("Workload").values()]
    assert after != [before]
    assert gated(model) == {f"{SET}-0"}


def orphan_workers(model: cluster_model.Cluster, leader: str) -> None:
    """Delete a leader without what it owns, and let another one come."""
    left = model.objects["StatefulSet", leader]
    left["metadata"]["ownerReferences"] = []
    model.touch(left)
    model.delete("Pod", leader)
    environment(model)
    made = model.objects["Pod", leader]["metadata"]
    made["creationTimestamp"] = model.stamp()


def test_a_group_whose_workers_were_orphaned_says_what_to_delete_and_holds_no_quota() -> None:
    model = cluster()
    change_policy(model, "RecreateGroupOnPodRestart")
    settle(model)
    before = set(model.of_kind("Workload"))
    orphan_workers(model, "demo-0")
    model.pass_once(SET)
    told = [text for code, text in warnings(model) if "demo-0" in text]
    assert [text for text in told if "Delete StatefulSet demo-0" in text] == told, told
    assert set(model.of_kind("Workload")) == before, "it may be mended at once"
    advance(model, shortages.PATIENCE.total_seconds())
    settle(model)
    assert len(model.of_kind("Workload")) == 1
    reason, message = waits_for(model)
    assert reason == "FailedCreate"
    assert "none of the 2 workers of demo-0 can be made" in message
    assert "Delete StatefulSet demo-0" in message


def test_a_group_whose_orphaned_workers_were_deleted_comes_back() -> None:
    model = cluster()
    change_policy(model, "RecreateGroupOnPodRestart")
    settle(model)
    orphan_workers(model, "demo-0")
    advance(model, shortages.PATIENCE.total_seconds())
    settle(model)
    model.delete("StatefulSet", "demo-0")
    settle(model)
    assert len(model.of_kind("Workload")) == 2
    assert not gated(model)
    assert waits_for(model) == ("", "")


def test_a_group_that_waits_says_that_its_workers_were_orphaned() -> None:
    model = cluster()
    settle(model, admit=False)
    orphan_workers(model, "demo-0")
    model.pass_once(SET)
    assert any("Delete StatefulSet demo-0" in text for _, text in warnings(model))
    advance(model, shortages.PATIENCE.total_seconds())
    settle(model, admit=False)
    assert "Delete StatefulSet demo-0" in waits_for(model)[1]
