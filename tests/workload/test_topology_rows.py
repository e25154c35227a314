"""Which pods get a topology domain when, and which stay gated (kueue-contract 5.6, O08 to O20).

In Kueue these rows are about a reconciler of its own that takes the topology gate off pods. Here
the domain is part of the one patch that lets a pod go.
"""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from lws_kueue.api import facts, kueue, names
from lws_kueue.simulator import codec
from lws_kueue.tas import assignment
from lws_kueue.workload import backing, podsets, release, state
from tests.kit.builders import builders
from tests.kit.builders.builders import BOTH_GATES, RESERVED, admitted, assigned, pod, running
from tests.kit.tables import cases

HOST = assignment.HOSTNAME
FLAVORS = {"default": builders.flavor()}


def hosts(*domains: tuple[str, int]) -> dict[str, Any]:
    return codec.encode([HOST], [((n,), c) for n, c in domains])


def placed(*domains: tuple[str, int], **given: Any) -> kueue.Workload:
    """An admitted Workload of one pod set that is assigned to hosts."""
    count = sum(pods for _, pods in domains)
    pod_sets = [{"name": "main", "count": count, "topologyRequest": {"required": "rack"}}]
    assignments = [assigned("main", count, topology=hosts(*domains))]
    return admitted(assignments, **{"pod_sets": pod_sets, **given})


def let_go(workload: kueue.Workload, *pods: facts.Pod) -> dict[str, Mapping[str, Any]]:
    """The patch of every pod that is let go, by its name."""
    planned, _ = release.plan_release(workload, pods, terms=backing.Terms(flavors=FLAVORS))
    return {patch.ref.name: patch.body for patch in planned.patches} if planned else {}


def where(patches: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    return {name: body["spec"]["nodeSelector"][HOST] for name, body in patches.items()}


@pytest.mark.row("O08")
def test_nothing_is_let_go_before_the_workload_is_admitted() -> None:
    assignments = [assigned("main", 1, topology=hosts(("a", 1)))]
    assert not state.may_run(builders.workload(), {})
    reserved = builders.workload(conditions=[RESERVED], assignments=assignments)
    assert not state.may_run(reserved, {})
    assert state.may_run(placed(("a", 1)), {})


@pytest.mark.row("O08")
def test_where_kueue_assigns_no_domain_its_admission_is_all_there_is_to_wait_for() -> None:
    (body,) = let_go(admitted([assigned("main", 1)]), pod(0)).values()
    assert body["spec"] == {"schedulingGates": None}


@pytest.mark.row("O09", "O10")
def test_a_waiting_pod_carries_no_mark_and_gets_all_with_its_domain() -> None:
    waiting = pod(0)
    assert names.WORKLOAD not in waiting.meta.annotations
    assert names.PODSET not in waiting.meta.labels
    patches = let_go(placed(("a", 1)), waiting)
    assert where(patches) == {"serve-0": "a"}
    metadata = patches["serve-0"]["metadata"]
    assert metadata["annotations"][names.WORKLOAD] == "wl-0"
    assert metadata["labels"][names.PODSET] == "main"


@pytest.mark.row("O11")
def test_a_pod_that_only_somebody_elses_gate_holds_is_left_alone() -> None:
    assert let_go(placed(("a", 1)), pod(0, gates=("example.com/wait",))) == {}


@pytest.mark.row("O12")
@pytest.mark.parametrize("ours", [BOTH_GATES, BOTH_GATES[:1], BOTH_GATES[1:]])
def test_only_kueues_gates_fall_when_a_domain_is_given(ours: tuple[str, ...]) -> None:
    patches = let_go(placed(("a", 1)), pod(0, gates=("example.com/wait", *ours)))
    assert patches["serve-0"]["spec"]["schedulingGates"] == [{"name": "example.com/wait"}]
    assert where(patches) == {"serve-0": "a"}


@pytest.mark.parametrize(
    ("other", "goes"),
    [
        pytest.param(running(0, nodeSelector={HOST: "a"}), False, marks=pytest.mark.row("O13")),
        pytest.param(pod(0, gates=(), phase="Failed"), True, marks=pytest.mark.row("O14")),
        pytest.param(pod(0, gates=(), phase="Succeeded"), True, marks=pytest.mark.row("O15")),
    ],
    ids=["runs", "failed", "succeeded"],
)
def test_a_place_is_given_again_only_when_its_pod_has_ended(other: facts.Pod, goes: bool) -> None:
    patches = let_go(placed(("a", 1)), other, pod(0, name="serve-0-again"))
    assert where(patches) == ({"serve-0-again": "a"} if goes else {})


@pytest.mark.row("O16")
def test_a_pod_waits_while_the_node_of_its_rank_is_to_be_replaced() -> None:
    unhealthy = {"unhealthyNodes": [{"name": "a"}]}
    assert let_go(placed(("a", 1), status=unhealthy), pod(0)) == {}
    survivor = running(1, nodeSelector={HOST: "b"})
    assert let_go(placed(("a", 1), ("b", 1), status=unhealthy), pod(0), survivor) == {}


@pytest.mark.row("O17")
@pytest.mark.parametrize("domains", [[("c", 1), ("b", 1)], [("b", 1), ("c", 1)]])
def test_a_pod_in_place_of_a_lost_one_goes_to_the_new_node(domains: list[tuple[str, int]]) -> None:
    # In either order: where the new node stands in the assignment depends on its name.
    survivor = running(1, nodeSelector={HOST: "b"})
    assert where(let_go(placed(*domains), pod(0), survivor)) == {"serve-0": "c"}


@pytest.mark.row("O18")
def test_a_release_holds_only_for_the_workload_and_the_pods_that_it_was_decided_on() -> None:
    planned, _ = release.plan_release(
        placed(("a", 2)), [pod(0), pod(1)], terms=backing.Terms(flavors=FLAVORS)
    )
    assert planned is not None
    assert (planned.uid, planned.resource_version) == ("wl-uid", "7")
    assert [patch.resource_version for patch in planned.patches] == ["3", "3"]


@pytest.mark.row("O19")
@pytest.mark.parametrize("more", [{}, {"subGroupCount": 0}])
def test_labels_of_subgroups_say_nothing_about_a_rank(more: dict[str, Any]) -> None:
    request = {
        "required": "rack",
        "podIndexLabel": names.WORKER_INDEX,
        "subGroupIndexLabel": names.SUBGROUP_INDEX,
        **more,
    }
    workload = placed(
        ("a", 1), ("b", 1), pod_sets=[{"name": "main", "count": 2, "topologyRequest": request}]
    )
    pods = [pod(i, labels={names.SUBGROUP_INDEX: str(1 - i)}) for i in (1, 0)]
    assert where(let_go(workload, *pods)) == {"serve-0": "a", "serve-0-1": "b"}


LAYERS = json.dumps([{"topology": "rack", "size": 1}])


@pytest.mark.row("O20")
@pytest.mark.parametrize(
    ("given", "marked"),
    [
        ({}, False),
        ({"example.com/note": "x"}, False),
        ({names.PODSET_GROUP_NAME: "g"}, False),
        ({cases.REQUIRED: "rack"}, True),
        ({cases.PREFERRED: "rack"}, True),
        ({cases.UNCONSTRAINED: "true"}, True),
        # Kueue's own integration marks these a second time as well.
        ({cases.SLICE: "rack", cases.SIZE: "1"}, False),
        ({cases.LAYERS: LAYERS}, False),
    ],
)
def test_a_pod_with_a_domain_has_an_annotation_by_which_kueue_counts_it_once(
    given: dict[str, str], marked: bool
) -> None:
    owner = builders.lws_object(size=2, worker=builders.template(annotations=given))
    pod_sets = podsets.pod_sets(owner.spec.leader_worker_template)
    workload = placed(("a", 2), pod_sets=pod_sets)
    # A pod has the annotations of its template already.
    (body,) = let_go(workload, pod(0, annotations=given)).values()
    added = body["metadata"]["annotations"]
    assert added == {names.WORKLOAD: "wl-0"} | ({} if marked else {cases.UNCONSTRAINED: "true"})
