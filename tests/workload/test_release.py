"""One patch lets a pod go, with everything it needs, or the pod stays as it is."""

import copy
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lws_kueue.api import actions, facts, kueue, names
from lws_kueue.api.reasons import Reason
from lws_kueue.simulator import codec
from lws_kueue.tas import assignment
from lws_kueue.workload import backing, injection, release
from tests.kit import golden
from tests.kit.builders import builders
from tests.kit.builders.builders import BOTH_GATES, admitted, assigned, flavor, pod, running

HOST = assignment.HOSTNAME
DEFAULT = {"default": flavor(labels={"pool": "gpu"})}
SPOT = {"key": "spot", "operator": "Exists", "effect": "NoSchedule"}
GPU = {"key": "gpu", "value": "yes"}


def topology(*domains: tuple[str, int]) -> dict[str, Any]:
    return codec.encode([HOST], [((n,), c) for n, c in domains])


def inject(
    workload: kueue.Workload,
    podset: str = "main",
    flavors: Mapping[str, kueue.ResourceFlavor] = DEFAULT,
) -> injection.PodChange:
    change = injection.injection(workload, podset, flavors=flavors)
    assert isinstance(change, injection.PodChange)
    return change


def plan(
    workload: kueue.Workload,
    *pods: facts.Pod,
    flavors: Mapping[str, kueue.ResourceFlavor] = DEFAULT,
) -> tuple[dict[str, Mapping[str, Any]], list[str]]:
    """Return the patch bodies by pod name, and the reasons of problems."""
    planned, problems = release.plan_release(workload, pods, terms=backing.Terms(flavors=flavors))
    patches = planned.patches if planned is not None else ()
    return {patch.ref.name: patch.body for patch in patches}, [p.code for p in problems]


def test_a_pod_gets_the_marks_by_which_kueue_finds_it() -> None:
    change = inject(admitted())
    assert change.labels == {
        "kueue.x-k8s.io/podset": "main",
        "kueue.x-k8s.io/local-queue-name": "queue",
        "kueue.x-k8s.io/cluster-queue-name": "cq",
    }
    assert change.annotations == {"kueue.x-k8s.io/workload": "wl-0"}
    assert change.node_selector == {"pool": "gpu"}


def test_a_queue_name_that_is_no_label_value_is_left_out() -> None:
    workload = admitted(
        spec={"queueName": "q" * 64},
        status={
            "admission": {"clusterQueue": "team.cq", "podSetAssignments": [assigned("main", 3)]}
        },
        assignments=[],
    )
    assert inject(workload).labels == {"kueue.x-k8s.io/podset": "main"}


def test_labels_and_tolerations_of_all_flavors_are_joined_once() -> None:
    workload = admitted([assigned("main", 3, flavors={"cpu": "a", "gpu": "b", "memory": "a"})])
    flavors = {
        "a": flavor("a", labels={"zone": "1"}, tolerations=[SPOT]),
        "b": flavor("b", labels={"pool": "gpu"}, tolerations=[SPOT, GPU]),
    }
    change = inject(workload, flavors=flavors)
    assert change.node_selector == {"zone": "1", "pool": "gpu"}
    assert list(change.tolerations) == [SPOT, GPU]


def test_a_missing_flavor_is_named_and_nothing_is_released() -> None:
    patches, problems = plan(admitted(), pod(0), flavors={})
    assert patches == {}
    assert problems == ["ResourceFlavorNotFound"]


CHECK = {
    "name": "prov",
    "state": "Ready",
    "podSetUpdates": [
        {
            "name": "main",
            "labels": {"l": "1"},
            "annotations": {"a": "2"},
            "nodeSelector": {"n": "3"},
            "tolerations": [SPOT],
        },
        {"name": "other", "labels": {"x": "y"}},
    ],
}


def test_updates_of_ready_checks_are_applied_to_their_podset() -> None:
    change = inject(admitted(status={"admissionChecks": [CHECK]}))
    assert change.labels["l"] == "1"
    assert "x" not in change.labels
    assert change.annotations["a"] == "2"
    assert change.node_selector == {"pool": "gpu", "n": "3"}
    assert list(change.tolerations) == [SPOT]


def test_a_check_that_contradicts_a_flavor_is_a_problem_that_names_it() -> None:
    update = {"name": "main", "nodeSelector": {"pool": "cpu"}}
    check = {"name": "prov", "state": "Ready", "podSetUpdates": [update]}
    change = injection.injection(
        admitted(status={"admissionChecks": [check]}), "main", flavors=DEFAULT
    )
    assert isinstance(change, Reason)
    assert "AdmissionCheck prov wants node selector pool=cpu" in change.message


ON = {"cpu": "a", "example.com/gpu": "b", "memory": "a"}


def updates(name: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "state": "Ready", "podSetUpdates": [{"name": "main", **fields}]}


@pytest.mark.row("P7")
@pytest.mark.parametrize(
    ("labels", "checks", "conflict"),
    [
        (
            ({"zone": "1", "x": "y"}, {"zone": "2"}),
            [],
            "ResourceFlavor b (of example.com/gpu) wants node selector zone=2, but"
            " ResourceFlavor a (of cpu, memory) wants 1",
        ),
        (
            ({}, {"zone": "2"}),
            [updates("c", nodeSelector={"zone": "1"})],
            "AdmissionCheck c wants node selector zone=1, but"
            " ResourceFlavor b (of example.com/gpu) wants 2",
        ),
        (
            ({}, {}),
            [updates("c", labels={"l": "1"}), updates("d", labels={"l": "2"})],
            "AdmissionCheck d wants label l=2, but AdmissionCheck c wants 1",
        ),
        (
            ({}, {}),
            [updates("c", annotations={"l": "1"}), updates("d", annotations={"l": "2"})],
            "AdmissionCheck d wants annotation l=2, but AdmissionCheck c wants 1",
        ),
    ],
    ids=["two-flavors", "flavor-and-check", "labels-of-checks", "annotations-of-checks"],
)
def test_what_no_node_or_pod_can_be_holds_the_group_and_names_both(
    labels: tuple[dict[str, str], dict[str, str]], checks: list[dict[str, Any]], conflict: str
) -> None:
    workload = admitted([assigned("main", 3, flavors=ON)], status={"admissionChecks": checks})
    flavors = {name: flavor(name, labels=of) for name, of in zip("ab", labels, strict=True)}
    planned, problems = release.plan_release(
        workload, [pod(0), pod(1)], terms=backing.Terms(flavors=flavors)
    )
    assert planned is None
    (problem,) = problems
    assert problem.code == "PodSetUpdateConflict"
    assert problem.message.startswith(f"podset main of Workload wl-0: {conflict}; correct one")


@pytest.mark.row("P7")
def test_flavors_that_agree_about_a_label_contradict_nothing() -> None:
    flavors = {name: flavor(name, labels={"zone": "1", name: name}) for name in "ab"}
    workload = admitted([assigned("main", 3, flavors=ON)])
    assert inject(workload, flavors=flavors).node_selector == {"zone": "1", "a": "a", "b": "b"}


@pytest.mark.row("P7")
def test_a_domain_outside_of_the_flavor_holds_the_group_and_names_both() -> None:
    compressed = codec.encode(["zone"], [(("1",), 3)])
    workload = admitted([assigned("main", 3, topology=compressed)])
    flavors = {"default": flavor(labels={"zone": "2"})}
    planned, problems = release.plan_release(
        workload, [pod(0)], terms=backing.Terms(flavors=flavors)
    )
    assert planned is None
    assert "the topology assignment of Workload wl-0 wants node selector zone=1" in str(problems)
    assert "ResourceFlavor default (of cpu) wants 2" in str(problems)


def test_pods_of_a_multikueue_copy_are_marked() -> None:
    workload = admitted(metadata={"labels": {names.MULTIKUEUE_ORIGIN: "manager"}})
    assert inject(workload).labels["kueue.x-k8s.io/multikueue-worker-workload-pod"] == "true"


@pytest.mark.parametrize(
    ("request_", "marked"),
    [
        (None, True),
        ({"podIndexLabel": names.WORKER_INDEX}, True),
        ({"required": "rack"}, False),
        ({"preferred": "rack"}, False),
        ({"unconstrained": True}, False),
    ],
)
def test_a_topology_that_nobody_asked_for_is_marked(
    request_: dict[str, Any] | None, marked: bool
) -> None:
    pod_set = {"name": "main", "count": 3} | ({"topologyRequest": request_} if request_ else {})
    placed = admitted([assigned("main", 3, topology=topology(("n", 3)))], pod_sets=[pod_set])
    unplaced = admitted(pod_sets=[pod_set])
    assert (names.PODSET_UNCONSTRAINED_TOPOLOGY in inject(placed).annotations) is marked
    assert names.PODSET_UNCONSTRAINED_TOPOLOGY not in inject(unplaced).annotations


# The patch ------------------------------------------------------------------------------------


def test_one_patch_drops_kueues_gates_and_keeps_all_others_in_order() -> None:
    gates = ("first.io/x", *BOTH_GATES, "last.io/y")
    patch = injection.patch_for(pod(1, gates=gates), inject(admitted()))
    assert isinstance(patch, actions.Patch)
    assert patch.ref == actions.Ref("v1", "Pod", "ns", "serve-0-1")
    assert patch.resource_version == "3"
    assert patch.body == {
        "metadata": {
            "labels": {
                "kueue.x-k8s.io/cluster-queue-name": "cq",
                "kueue.x-k8s.io/local-queue-name": "queue",
                "kueue.x-k8s.io/podset": "main",
            },
            "annotations": {"kueue.x-k8s.io/workload": "wl-0"},
        },
        "spec": {
            "schedulingGates": [{"name": "first.io/x"}, {"name": "last.io/y"}],
            "nodeSelector": {"pool": "gpu"},
        },
    }


def test_what_the_pod_has_already_is_not_sent_again() -> None:
    own = pod(
        0,
        labels={"kueue.x-k8s.io/podset": "main"},
        nodeSelector={"pool": "gpu", "disk": "ssd"},
        tolerations=[{"key": "gpu", "operator": "Equal", "value": "yes"}],
    )
    workload = admitted()
    flavors = {"default": flavor(labels={"pool": "gpu"}, tolerations=[GPU])}
    patch = injection.patch_for(own, inject(workload, flavors=flavors))
    assert isinstance(patch, actions.Patch)
    assert patch.body["spec"] == {"schedulingGates": None}
    assert "kueue.x-k8s.io/podset" not in patch.body["metadata"]["labels"]


def test_tolerations_of_the_pod_are_repeated_before_new_ones() -> None:
    own = {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "tolerationSeconds": 300}
    change = injection.PodChange(tolerations=(SPOT,))
    patch = injection.patch_for(pod(0, tolerations=[own]), change)
    assert isinstance(patch, actions.Patch)
    assert patch.body["spec"]["tolerations"] == [own, SPOT]


def test_the_name_of_a_former_workload_is_overwritten() -> None:
    stale = pod(0, annotations={names.WORKLOAD: "old"})
    patch = injection.patch_for(stale, inject(admitted()))
    assert isinstance(patch, actions.Patch)
    assert patch.body["metadata"]["annotations"] == {names.WORKLOAD: "wl-0"}


@pytest.mark.row("P7")
def test_a_pod_that_contradicts_the_admission_holds_the_whole_group() -> None:
    contrary = pod(1, nodeSelector={"pool": "cpu"})
    planned, problems = release.plan_release(
        admitted(), [pod(0), contrary], terms=backing.Terms(flavors=DEFAULT)
    )
    assert planned is None
    assert [problem.code for problem in problems] == ["PodConflict"]
    assert "pod serve-0-1" in problems[0].message
    contradiction = (
        "ResourceFlavor default (of cpu) wants node selector pool=gpu, but it is already cpu"
    )
    assert contradiction in problems[0].message


# The group ------------------------------------------------------------------------------------


def test_a_release_is_tied_to_the_workload_it_was_decided_on() -> None:
    planned, problems = release.plan_release(
        admitted(), [pod(2), pod(0), pod(1)], terms=backing.Terms(flavors=DEFAULT)
    )
    assert problems == ()
    assert planned is not None
    assert planned.workload == actions.Ref(names.KUEUE_API_VERSION, "Workload", "ns", "wl-0")
    assert (planned.uid, planned.resource_version) == ("wl-uid", "7")
    assert [patch.ref.name for patch in planned.patches] == ["serve-0", "serve-0-1", "serve-0-2"]


def test_nothing_is_released_twice_and_nothing_that_ends() -> None:
    patches, problems = plan(
        admitted(),
        running(0),
        pod(1, deleted=builders.EARLIER),
        pod(2, phase="Failed"),
    )
    assert (patches, problems) == ({}, [])


def test_leader_and_workers_get_what_their_podset_was_admitted_with() -> None:
    workload = admitted(
        [
            assigned("leader", 1, flavors={"cpu": "a"}),
            assigned("worker", 2, flavors={"cpu": "b"}),
        ]
    )
    flavors = {"a": flavor("a", labels={"on": "a"}), "b": flavor("b", labels={"on": "b"})}
    patches, problems = plan(workload, pod(0), pod(1), pod(2), flavors=flavors)
    assert problems == []
    assert {
        name: (body["spec"]["nodeSelector"]["on"], body["metadata"]["labels"][names.PODSET])
        for name, body in patches.items()
    } == {"serve-0": ("a", "leader"), "serve-0-1": ("b", "worker"), "serve-0-2": ("b", "worker")}


def test_pods_beyond_the_admitted_number_hold_the_group() -> None:
    patches, problems = plan(admitted([assigned("main", 2)]), running(0), pod(1), pod(2))
    assert patches == {}
    assert problems == ["MorePodsThanAdmitted"]


def test_a_podset_that_was_not_admitted_holds_the_group() -> None:
    patches, problems = plan(admitted([assigned("leader", 1)]), pod(0), pod(1))
    assert patches == {}
    assert problems == ["PodSetMissing"]


# Topology -------------------------------------------------------------------------------------


def hosts(patches: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    return {name: body["spec"]["nodeSelector"][HOST] for name, body in patches.items()}


def test_every_pod_gets_the_domain_of_its_rank_in_the_releasing_patch() -> None:
    workload = admitted([assigned("main", 3, topology=topology(("a", 1), ("b", 2)))])
    patches, problems = plan(workload, pod(2), pod(1), pod(0))
    assert problems == []
    assert hosts(patches) == {"serve-0": "a", "serve-0-1": "b", "serve-0-2": "b"}
    assert all(body["spec"]["schedulingGates"] is None for body in patches.values())


@pytest.mark.row("T02", "T03")
@pytest.mark.parametrize(
    ("group", "annotations"),
    [
        (None, {names.POD_INDEX_OFFSET: "1"}),
        (None, {}),
        ("g", {}),
        ("g", {names.POD_INDEX_OFFSET: "1"}),  # A second offset is not counted.
    ],
)
def test_workers_beside_a_leader_start_at_rank_zero_of_their_own_assignment(
    group: str | None, annotations: dict[str, str]
) -> None:
    grouped = {"podSetGroupName": group} if group else {}
    workload = admitted(
        [
            assigned("leader", 1, topology=topology(("x", 1))),
            assigned("worker", 3, topology=topology(("x", 1), ("y", 1), ("z", 1))),
        ],
        pod_sets=[
            {"name": "leader", "topologyRequest": {"required": "rack", **grouped}},
            {
                "name": "worker",
                "count": 3,
                "topologyRequest": {
                    "required": "rack",
                    "podIndexLabel": names.WORKER_INDEX,
                    **grouped,
                },
            },
        ],
    )
    workers = [pod(i, annotations=annotations) for i in (1, 2, 3)]
    patches, problems = plan(workload, pod(0), *workers)
    assert problems == []
    assert hosts(patches) == {"serve-0": "x", "serve-0-1": "x", "serve-0-2": "y", "serve-0-3": "z"}


def test_a_recreated_pod_gets_the_domain_of_its_rank_again() -> None:
    workload = admitted([assigned("main", 3, topology=topology(("a", 1), ("b", 1), ("c", 1)))])
    patches, _ = plan(
        workload,
        running(0, nodeSelector={HOST: "a"}),
        pod(1),
        running(2, nodeSelector={HOST: "c"}),
    )
    assert hosts(patches) == {"serve-0-1": "b"}


@pytest.mark.row("O16")
def test_a_pod_whose_node_waits_for_replacement_stays_gated_while_others_go() -> None:
    workload = admitted(
        [assigned("main", 2, topology=topology(("a", 1), ("b", 1)))],
        status={"unhealthyNodes": [{"name": "b"}]},
    )
    patches, problems = plan(workload, pod(0), pod(1))
    assert problems == ["NodeFailed"]
    assert hosts(patches) == {"serve-0": "a"}


@pytest.mark.row("O07")
def test_an_offset_that_is_not_a_number_keeps_the_pods_gated() -> None:
    workload = admitted([assigned("main", 3, topology=topology(("a", 3)))])
    patches, problems = plan(workload, pod(0, annotations={names.POD_INDEX_OFFSET: "one"}))
    assert (patches, problems) == ({}, ["TopologyUnreadable"])


@pytest.mark.row("O05")
def test_an_assignment_with_too_few_places_is_used_and_reported() -> None:
    workload = admitted([assigned("main", 3, topology=topology(("a", 2)))])
    patches, problems = plan(workload, pod(0), pod(1), pod(2))
    assert hosts(patches) == {"serve-0": "a", "serve-0-1": "a"}
    assert problems == ["TopologyAssignmentTooSmall"]


@pytest.mark.row("O12")
def test_a_foreign_gate_stays_when_a_domain_is_given() -> None:
    workload = admitted([assigned("main", 1, topology=topology(("a", 1)))])
    patches, _ = plan(workload, pod(0, gates=("other.io/gate", names.TOPOLOGY_GATE)))
    assert patches["serve-0"]["spec"]["schedulingGates"] == [{"name": "other.io/gate"}]
    assert hosts(patches) == {"serve-0": "a"}


def test_a_pod_that_asks_for_another_node_than_its_rank_holds_the_group() -> None:
    workload = admitted([assigned("main", 2, topology=topology(("a", 1), ("b", 1)))])
    patches, problems = plan(workload, pod(0), pod(1, nodeSelector={HOST: "z"}))
    assert (patches, problems) == ({}, ["PodConflict"])


GATES = st.permutations([*BOTH_GATES, "foreign.io/a", "foreign.io/b"]).flatmap(
    lambda gates: st.integers(0, len(gates)).map(lambda count: tuple(gates[:count]))
)


@given(st.lists(GATES, min_size=1, max_size=6), st.integers(1, 6), st.booleans())
def test_a_release_frees_gated_pods_only_and_never_more_than_were_admitted(
    gates: list[tuple[str, ...]], count: int, placed: bool
) -> None:
    where = topology(("a", count)) if placed else None
    workload = admitted([assigned("main", count, topology=where)])
    pods = [pod(i, gates=held) for i, held in enumerate(gates)]
    patches, problems = plan(workload, *pods)
    held = {one.meta.name for one in pods if set(one.gates) & set(BOTH_GATES)}
    if len(pods) > count and held:
        assert (patches, problems) == ({}, ["MorePodsThanAdmitted"])
    elif not placed:
        assert set(patches) == held
    assert set(patches) <= held
    for one in pods:
        if one.meta.name in patches:
            left = patches[one.meta.name]["spec"]["schedulingGates"] or []
            assert [gate["name"] for gate in left] == [
                gate for gate in one.gates if gate not in BOTH_GATES
            ]


# Golden recordings ---------------------------------------------------------------------------

INJECTED_LABELS = (names.PODSET, names.LOCAL_QUEUE_NAME, names.CLUSTER_QUEUE_NAME)


def born(recorded: dict[str, Any]) -> dict[str, Any]:
    """Return a recorded pod as it was before anybody let it go."""
    obj = copy.deepcopy(recorded)
    for key in INJECTED_LABELS:
        del obj["metadata"]["labels"][key]
    del obj["metadata"]["annotations"][names.WORKLOAD]
    del obj["spec"]["nodeSelector"]
    del obj["spec"]["nodeName"]
    obj["spec"]["schedulingGates"] = [{"name": gate} for gate in BOTH_GATES]
    return obj


def merged(obj: Any, patch: Any) -> Any:
    """Apply a JSON merge patch (RFC 7386)."""
    if not isinstance(patch, dict):
        return patch
    result = dict(obj) if isinstance(obj, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


@pytest.mark.parametrize("name", ["queued-workers", "queued-dual", "tas-grouped"])
def test_released_pods_equal_the_recorded_ones(name: str) -> None:
    recording = golden.load(name)
    flavors = {key: flavor(key, labels={"pool": "gpu"}) for key in ("default", "tas")}
    seen = 0
    for stored in recording.of_kind("Workload"):
        workload = kueue.Workload.of(stored)
        members = [
            one
            for one in recording.of_kind("Pod")
            if one["metadata"]["annotations"][names.WORKLOAD] == workload.meta.name
        ]
        pods = [facts.Pod.of(born(one)) for one in members]
        planned, problems = release.plan_release(
            workload, pods, terms=backing.Terms(flavors=flavors)
        )
        assert problems == ()
        assert planned is not None
        patches = {patch.ref.name: patch.body for patch in planned.patches}
        for one in members:
            released = merged(born(one), patches[one["metadata"]["name"]])
            bound = {"spec": {"nodeName": one["spec"]["nodeName"]}}
            assert merged(released, bound) == one
            seen += 1
    assert seen == len(recording.of_kind("Pod")) > 0
