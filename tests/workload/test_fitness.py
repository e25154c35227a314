"""Pods are not let go onto nodes that cannot take them now."""

from datetime import timedelta
from typing import Any

import pytest

from lws_kueue.api import actions, facts, kueue, names
from lws_kueue.workload import backing, fitness, release
from tests.kit.builders import builders
from tests.kit.builders.builders import NOW, Json

HOST = "kubernetes.io/hostname"
LATE, SOON = "2030-01-01T11:30:00Z", "2030-01-01T11:59:55Z"
TAINT = {"key": "example.com/broken", "value": "yes", "effect": "NoSchedule"}
CORDON = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
READY = {"conditions": [{"type": "Ready", "status": "True"}]}


def node(*, ready: str = "True", **spec: Any) -> facts.Node:
    status = {"conditions": [{"type": "Ready", "status": ready}]} if ready else {}
    return facts.Node.of({"metadata": {"name": "n"}, "spec": spec, "status": status})


def pod(name: str = "p", *, created: str = LATE, status: Json | None = None, **spec: Any) -> Any:
    gates = [{"name": names.ADMISSION_GATE}]
    return facts.Pod.of(
        {
            "metadata": {"name": name, "creationTimestamp": created},
            "spec": {"schedulingGates": gates, **spec},
            "status": status or {},
        }
    )


@pytest.mark.row("P5")
@pytest.mark.parametrize(
    ("found", "tolerations", "reason"),
    [
        (node(), [], None),
        (node(unschedulable=True), [], "is cordoned"),
        (node(unschedulable=True, taints=[CORDON]), [], "is cordoned"),
        (node(unschedulable=True, taints=[CORDON]), [{**CORDON, "operator": "Exists"}], None),
        (node(ready="False"), [], "is not ready"),
        (node(ready="Unknown"), [], "is not ready"),
        (node(ready=""), [], "is not ready"),
        (node(ready="False"), [{"operator": "Exists"}], "is not ready"),
        (
            node(taints=[TAINT]),
            [],
            "has the taint example.com/broken=yes:NoSchedule, which the pod does not tolerate",
        ),
        (
            node(taints=[{"key": "k", "effect": "NoExecute"}]),
            [],
            "has the taint k:NoExecute, which the pod does not tolerate",
        ),
        (node(taints=[{"key": "k", "effect": "PreferNoSchedule"}]), [], None),
        (node(taints=[TAINT]), [{"key": "example.com/broken", "operator": "Exists"}], None),
        (node(taints=[TAINT]), [{"key": "example.com/broken", "value": "yes"}], None),
    ],
)
def test_a_node_takes_what_the_scheduler_would_send_there(
    found: facts.Node, tolerations: list[Json], reason: str | None
) -> None:
    assert fitness.unfit(found, pod(), tolerations=tolerations, now=NOW) == reason


@pytest.mark.row("P5")
def test_a_pod_waits_a_moment_for_a_node_that_is_gone_and_then_goes_to_wake_kueue() -> None:
    assert fitness.unfit(None, pod(created=SOON), tolerations=[], now=NOW) == "does not exist"
    later = NOW + fitness.NOTICED
    assert fitness.unfit(None, pod(created=SOON), tolerations=[], now=later) is None


def group(*hosts: str) -> kueue.Workload:
    levels = {"levels": [HOST], "slices": [_slice(host) for host in hosts]}
    return builders.admitted([builders.assigned("main", len(hosts), topology=levels)])


def _slice(host: str) -> Json:
    values = [{"universal": host}]
    return {"domainCount": 1, "podCounts": {"universal": 1}, "valuesPerLevel": values}


def ranked(index: int, **given: Any) -> facts.Pod:
    found = pod(f"serve-0-{index}", **given)
    meta = {
        "name": found.meta.name,
        "labels": {names.WORKER_INDEX: str(index)},
        "creationTimestamp": found.meta.created,
    }
    return facts.Pod.of({"metadata": meta, "spec": found.spec, "status": {}})


def planned(workload: kueue.Workload, *pods: facts.Pod) -> actions.Release:
    flavors = {"default": kueue.ResourceFlavor.of({"metadata": {"name": "default"}, "spec": {}})}
    found, problems = release.plan_release(workload, pods, terms=backing.Terms(flavors=flavors))
    assert not problems
    assert found is not None
    return found


@pytest.mark.row("P5")
def test_the_pod_of_an_unfit_node_stays_while_the_others_go_and_the_reason_names_the_node() -> None:
    pods = [ranked(0), ranked(1)]
    given = planned(group("a", "b"), *pods)
    nodes = {"a": node(), "b": node(taints=[TAINT])}
    kept, problem = fitness.keep_off(given, pods, nodes=nodes, now=NOW)
    assert kept is not None
    assert [patch.ref.name for patch in kept.patches] == ["serve-0-0"]
    assert kept.events == (), "the group did not land"
    assert problem is not None
    assert problem.code == "NodeUnfit"
    for text in ("pod serve-0-1", "node b", "example.com/broken=yes:NoSchedule", "Workload wl-0"):
        assert text in problem.message


@pytest.mark.row("P5")
def test_nothing_is_left_of_a_release_whose_nodes_are_all_unfit() -> None:
    pods = [ranked(0)]
    given = planned(group("a"), *pods)
    nodes = {"a": node(ready="False")}
    assert fitness.keep_off(given, pods, nodes=nodes, now=NOW)[0] is None


def test_a_toleration_of_the_flavor_counts_because_the_pod_gets_it() -> None:
    tolerates = {"key": "example.com/broken", "operator": "Exists", "effect": "NoSchedule"}
    flavor = kueue.ResourceFlavor.of(
        {"metadata": {"name": "default"}, "spec": {"tolerations": [tolerates]}}
    )
    pods = [ranked(0)]
    given, _ = release.plan_release(
        group("a"), pods, terms=backing.Terms(flavors={"default": flavor})
    )
    nodes = {"a": node(taints=[TAINT])}
    assert fitness.keep_off(given, pods, nodes=nodes, now=NOW) == (given, None)


def test_a_node_that_was_not_read_keeps_nobody_off() -> None:
    pods = [ranked(0)]
    given = planned(group("a"), *pods)
    assert fitness.keep_off(given, pods, nodes={}, now=NOW) == (given, None)


@pytest.mark.row("P5")
@pytest.mark.parametrize(
    ("created", "ready", "expected"),
    [
        ("2030-01-01T10:59:00Z", None, False),
        ("2030-01-01T11:00:09Z", None, False),
        ("2030-01-01T11:00:11Z", None, True),
        ("2030-01-01T10:59:00Z", (True, "Started"), True),
        ("2030-01-01T10:59:00Z", (False, "WaitForRecovery"), True),
        ("2030-01-01T10:59:00Z", (False, "WaitForStart"), False),
    ],
)
def test_the_first_pods_after_an_admission_are_told_from_those_that_come_back(
    created: str, ready: tuple[bool, str] | None, expected: bool
) -> None:
    told = [builders.condition("PodsReady", *ready)] if ready else []
    workload = builders.admitted(conditions=told)
    assert fitness.comes_back(pod(created=created), workload) is expected


def waiting(message: str, *, since: str) -> facts.Pod:
    condition = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": message,
        "lastTransitionTime": since,
    }
    return facts.Pod.of(
        {
            "metadata": {"name": "serve-0"},
            "spec": {"nodeSelector": {HOST: "a"}},
            "status": {"phase": "Pending", "conditions": [condition]},
        }
    )


@pytest.mark.row("P5")
def test_a_pod_for_which_its_node_has_no_room_is_told_after_a_while() -> None:
    said = "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) didn't match. no new claims"
    workload = group("a")
    told, again = fitness.unscheduled([waiting(said, since=SOON)], workload, now=NOW)
    assert (told, again) == ((), 25.0)
    later = NOW + timedelta(seconds=25)
    (problem,), again = fitness.unscheduled([waiting(said, since=SOON)], workload, now=later)
    assert again is None
    assert problem.code == "PodUnschedulable"
    for text in ("pod serve-0", "node a", "too little cpu", "Workload wl-0"):
        assert text in problem.message
    other = said.replace("2 node(s)", "7 node(s)")
    (same,), _ = fitness.unscheduled([waiting(other, since=SOON)], workload, now=later)
    assert same == problem, "told once, whatever happens to other nodes"
