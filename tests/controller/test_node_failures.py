"""Passes while nodes fail under placed groups and Kueue replaces them (kueue-contract 3.5)."""

from collections.abc import Mapping, Sequence

import pytest

from lws_kueue.api import actions, facts, names
from lws_kueue.controller import decide
from lws_kueue.simulator import codec
from tests.controller.test_decide import SET, cluster, environment, settle
from tests.kit.memory import cluster_model
from tests.kit.memory.kubernetes_model import HOSTNAME, Object

SIZE = 3


def assign(model: cluster_model.Cluster, *nodes: str) -> None:
    """Let Kueue assign one node to each rank of the only group."""
    (workload,) = model.of_kind("Workload").values()
    domains = [((node,), 1) for node in nodes]
    (assigned,) = workload["status"]["admission"]["podSetAssignments"]
    assigned["topologyAssignment"] = codec.encode([HOSTNAME], domains)
    model.touch(workload)


def placed(policy: str = "None", *nodes: str) -> cluster_model.Cluster:
    """A group of three that runs on nodes a, b and c."""
    model = cluster(replicas=1, size=SIZE)
    model.objects[names.LWS_KIND, SET]["spec"]["leaderWorkerTemplate"]["restartPolicy"] = policy
    settle(model, admit=False)
    (name,) = model.pending()
    model.admit(name)
    assign(model, *(nodes or ("a", "b", "c")))
    settle(model)
    return model


def pods(model: cluster_model.Cluster) -> dict[str, tuple[str, str]]:
    """UID and node of each pod."""
    return {
        name: (pod["metadata"]["uid"], pod["spec"].get("nodeName", ""))
        for name, pod in sorted(model.of_kind("Pod").items())
    }


def nodes(model: cluster_model.Cluster) -> list[str]:
    return [node for _, node in pods(model).values()]


def deletions(plan: actions.Plan) -> list[tuple[str, int | None]]:
    return [
        (action.ref.name, action.grace_seconds)
        for chain in plan.chains
        for action in chain
        if isinstance(action, actions.Delete) and action.ref.kind == "Pod"
    ]


def evict(model: cluster_model.Cluster, reason: str) -> None:
    (name,) = model.admitted()
    model.evict(name)
    (evicted,) = (
        c for c in model.objects["Workload", name]["status"]["conditions"] if c["type"] == "Evicted"
    )
    evicted["reason"] = reason
    model.touch(model.objects["Workload", name])


def test_pods_run_where_their_ranks_belong() -> None:
    assert nodes(placed()) == ["a", "b", "c"]


def test_only_the_pod_of_a_replaced_node_is_made_anew_when_nothing_restarts_the_group() -> None:
    model = placed()
    before = pods(model)
    model.lost_nodes.add("b")
    assign(model, "a", "c", "d")
    settle(model)
    after = pods(model)
    assert nodes(model) == ["a", "d", "c"]
    assert [name for name in before if before[name] != after[name]] == [f"{SET}-0-1"]


def test_a_pod_on_a_node_that_does_not_exist_is_deleted_without_grace() -> None:
    model = placed()
    model.lost_nodes.add("b")
    assign(model, "a", "c", "d")
    assert deletions(model.decide(SET)) == [(f"{SET}-0-1", 0)]


def test_a_pod_on_a_node_that_is_there_ends_as_it_wants_to() -> None:
    model = placed()
    assign(model, "a", "c", "d")
    assert deletions(model.decide(SET)) == [(f"{SET}-0-1", None)]
    model.pass_once(SET)
    assert deletions(model.decide(SET)) == [], "it is on its way"
    settle(model)
    assert nodes(model) == ["a", "d", "c"]


def test_a_node_that_cannot_be_read_counts_as_there(monkeypatch: pytest.MonkeyPatch) -> None:
    model = placed()
    model.lost_nodes.add("b")
    assign(model, "a", "c", "d")
    seen = model.observe(SET)
    monkeypatch.setattr(decide, "nodes_asked", lambda _: frozenset())
    assert seen.nodes == {"b": None}
    assert deletions(model.decide(SET)) == [(f"{SET}-0-1", None)]


def test_nodes_are_asked_for_only_while_one_has_failed() -> None:
    model = placed()
    assert decide.nodes_asked(model.observe(SET)) == frozenset()
    model.lost_nodes.add("b")
    assert decide.nodes_asked(model.observe(SET)) == frozenset(), "Kueue has not replaced it yet"
    assign(model, "a", "c", "d")
    assert decide.nodes_asked(model.observe(SET)) == {"b"}
    settle(model)
    assert decide.nodes_asked(model.observe(SET)) == frozenset()


def kill_after(model: cluster_model.Cluster, writes: Sequence[int]) -> None:
    """Run passes that are cut off after so many writes, one after the other."""
    for count in writes:
        model.pass_once(SET, writes=count)
        environment(model)


@pytest.mark.parametrize("policy", ["RecreateGroupOnPodRestart", "RecreateGroupAfterStart"])
@pytest.mark.parametrize("writes", [(), (0,), (1,), (1, 1), (2, 1), (1, 2, 1)], ids=str)
def test_a_group_that_restarts_as_a_whole_does_so_once_for_a_failed_node(
    policy: str, writes: tuple[int, ...]
) -> None:
    model = placed(policy)
    made: dict[str, set[str]] = {name: {uid} for name, (uid, _) in pods(model).items()}
    store = model.store

    def counted(obj: Object) -> None:
        store(obj)
        if obj["kind"] == "Pod":
            made[obj["metadata"]["name"]].add(obj["metadata"]["uid"])

    model.store = counted  # type: ignore[method-assign]
    (workload,) = (w["metadata"]["uid"] for w in model.of_kind("Workload").values())
    model.lost_nodes.add("b")
    assign(model, "a", "c", "d")
    kill_after(model, writes)
    settle(model)
    assert nodes(model) == ["a", "c", "d"], "ranks follow the order of the assignment"
    assert {name: len(uids) for name, uids in made.items()} == dict.fromkeys(made, 2)
    assert [w["metadata"]["uid"] for w in model.of_kind("Workload").values()] == [workload]


def test_a_failed_leader_takes_its_group_along_under_every_policy() -> None:
    model = placed()
    before = pods(model)
    model.lost_nodes.add("a")
    assign(model, "b", "c", "d")
    settle(model)
    after = pods(model)
    assert nodes(model) == ["b", "c", "d"]
    assert all(before[name] != after[name] for name in before)


def test_a_pod_that_never_reached_its_node_is_no_failure_of_the_group() -> None:
    model = placed("RecreateGroupOnPodRestart", "a", "b", "c")
    # Its successor is let go onto the same node in the moment in which that fails.
    model.lost_nodes.add("c")
    assign(model, "a", "b", "d")
    settle(model)
    before = pods(model)
    pod = model.objects["Pod", f"{SET}-0-2"]
    pod["spec"] = {key: value for key, value in pod["spec"].items() if key != "nodeName"}
    pod["status"] = {"phase": "Pending", "conditions": []}
    model.lost_nodes.add("d")
    model.touch(pod)
    model.pass_once(SET)
    assign(model, "a", "b", "e")
    settle(model)
    after = pods(model)
    assert nodes(model) == ["a", "b", "e"]
    assert [name for name in before if before[name][0] != after[name][0]] == [f"{SET}-0-2"]


def test_an_evicted_group_does_not_wait_for_pods_on_nodes_that_do_not_exist() -> None:
    model = placed()
    model.lost_nodes |= {"b", "c"}
    evict(model, "NodeFailures")
    settle(model, admit=False)
    (workload,) = model.of_kind("Workload").values()
    assert "admission" not in workload["status"]
    assert nodes(model) == ["", "", ""]


def test_a_group_evicted_for_another_reason_asks_for_no_node() -> None:
    model = placed()
    evict(model, "Preempted")
    model.pass_once(SET)
    assert decide.nodes_asked(model.observe(SET)) == frozenset()


def selectors(model: cluster_model.Cluster) -> Mapping[str, str]:
    return {
        name: (pod["spec"].get("nodeSelector") or {}).get(HOSTNAME, "")
        for name, pod in model.of_kind("Pod").items()
    }


def test_a_pod_waits_gated_for_the_node_that_takes_the_place_of_a_failed_one() -> None:
    model = placed()
    model.delete("Pod", f"{SET}-0-1")
    (workload,) = model.of_kind("Workload").values()
    workload["status"]["unhealthyNodes"] = [{"name": "b"}]
    model.lost_nodes.add("b")
    model.touch(workload)
    settle(model)
    assert selectors(model)[f"{SET}-0-1"] == ""
    waiting = next(
        c
        for c in model.objects[names.LWS_KIND, SET]["status"]["conditions"]
        if c["type"] == "WaitingForAdmission"
    )
    assert waiting["reason"] == "NodeFailed"
    assert "node b" in waiting["message"]
    del workload["status"]["unhealthyNodes"]
    assign(model, "a", "c", "d")
    settle(model)
    assert nodes(model) == ["a", "d", "c"]


# Nodes that take no pods now (P5) -----------------------------------------------------------------


def waits_for(model: cluster_model.Cluster) -> tuple[str, str]:
    """Reason and message of what the set says about groups that wait."""
    found = [
        c
        for c in model.objects[names.LWS_KIND, SET]["status"]["conditions"]
        if c["type"] == "WaitingForAdmission"
    ]
    return (found[0]["reason"], found[0]["message"]) if found else ("", "")


CORDONED = facts.Node(facts.Meta.of({}), unschedulable=True)


@pytest.mark.row("P5")
@pytest.mark.parametrize(
    "node",
    [
        CORDONED,
        facts.Node(facts.Meta.of({}), ready=False),
        facts.Node(facts.Meta.of({}), taints=({"key": "k", "effect": "NoSchedule"},)),
        facts.Node(facts.Meta.of({}), taints=({"key": "k", "effect": "NoExecute"},)),
    ],
    ids=["cordoned", "not ready", "NoSchedule", "NoExecute"],
)
def test_a_pod_that_comes_back_waits_until_its_node_takes_it_and_costs_no_write(
    node: facts.Node,
) -> None:
    model = placed()
    assert decide.nodes_asked(model.observe(SET)) == frozenset()
    model.nodes["b"] = node
    model.delete("Pod", f"{SET}-0-1")
    settle(model)
    assert nodes(model) == ["a", "", "c"]
    reason, message = waits_for(model)
    assert reason == "NodeUnfit"
    assert f"pod {SET}-0-1" in message
    assert "node b" in message
    assert decide.nodes_asked(model.observe(SET)) == {"b"}, "nodes of pods that run are not read"
    plan = model.decide(SET)
    assert plan.empty
    assert plan.recheck_after == 10.0
    assert [event.reason for event in plan.warnings] == ["NodeUnfit"]
    del model.nodes["b"]
    settle(model)
    assert nodes(model) == ["a", "b", "c"]
    assert waits_for(model) == ("", "")


@pytest.mark.row("P5")
def test_kueue_replaces_the_node_of_a_pod_that_is_held_back() -> None:
    model = placed()
    model.nodes["b"] = CORDONED
    model.delete("Pod", f"{SET}-0-1")
    settle(model)
    assign(model, "a", "c", "d")
    settle(model)
    assert nodes(model) == ["a", "d", "c"]


@pytest.mark.row("P5")
def test_the_nodes_of_a_first_release_are_not_read() -> None:
    model = cluster(replicas=1, size=SIZE)
    settle(model, admit=False)
    (name,) = model.pending()
    model.admit(name)
    assign(model, "a", "b", "c")
    assert decide.nodes_asked(model.observe(SET)) == frozenset()
    model.pass_once(SET)
    assert list(selectors(model).values()) == ["a", "b", "c"]
