"""Queue-managed sets: every group waits for its own Workload, from birth to removal."""

import re
from typing import Any

import pytest
from lws_kueue_lab import sandbox

from lws_kueue.api import names
from tests.kit.judge import history, watcher
from tests.kit.live import harness

pytestmark = pytest.mark.usefixtures("controller")

LWS = (names.LWS_API_VERSION, names.LWS_KIND)
WORKLOAD = (names.KUEUE_API_VERSION, "Workload")


def test_no_pod_gets_a_node_before_its_own_workload_is_admitted(
    installed: sandbox.Sandbox, namespace: str
) -> None:
    cluster = installed
    queue = harness.queues(cluster, namespace=namespace, cpu="4")
    with watcher.Watcher(cluster).watching() as seen_by_another:
        # 2 groups, then 4, then 6: each pod asks for 0.3, so a group for 0.9, and 4 groups fit.
        cluster.api.create(
            harness.leader_worker_set("order", namespace=namespace, queue=queue, cpu="300m")
        )
        harness.wait_ready(cluster, "order", namespace=namespace, groups=2)
        harness.scale(cluster, "order", namespace=namespace, replicas=4)
        harness.wait_ready(cluster, "order", namespace=namespace, groups=4)
        harness.scale(cluster, "order", namespace=namespace, replicas=6)
        harness.wait_pods(
            cluster,
            lambda seen: (
                len(seen) == 18 and sum(bool(harness.gates(p)) for p in seen.values()) == 6
            ),
            namespace=namespace,
            what="18 pods, those of the last two groups gated",
        )
        harness.set_quota(cluster, namespace=namespace, cpu="6")
        harness.wait_ready(cluster, "order", namespace=namespace, groups=6)
        harness.scale(cluster, "order", namespace=namespace, replicas=1)
        harness.wait_pods(
            cluster, lambda seen: len(seen) == 3, namespace=namespace, what="one group left"
        )
        cluster.api.delete(*LWS, "order", namespace=namespace)
        harness.wait_pods(cluster, lambda seen: not seen, namespace=namespace, what="no pods")
        cluster.api.wait_for_all(
            *WORKLOAD, lambda seen: not seen, namespace=namespace, what="no Workloads"
        )
    verdict = history.judge(seen_by_another.facts(namespaces=lambda name: name == namespace))
    assert not verdict.violations, "\n".join(verdict.violations)
    assert verdict.bound == 18, "every pod of the six groups ran once"


def test_a_group_beyond_the_quota_waits_and_the_set_says_why(
    installed: sandbox.Sandbox, namespace: str
) -> None:
    cluster = installed
    queue = harness.queues(cluster, namespace=namespace, cpu="600m")
    cluster.api.create(
        harness.leader_worker_set("tight", namespace=namespace, queue=queue, replicas=3)
    )

    def one_lacks_cpu(obj: dict[str, Any]) -> bool:
        waiting = harness.condition(obj, "WaitingForAdmission")
        # Kueue takes Workloads of the same second in any order, so it may be any of the three.
        return bool(
            waiting
            and waiting["status"] == "True"
            and re.match(r"group [012]: .*cpu", waiting["message"])
        )

    harness.wait_status(
        cluster,
        "tight",
        one_lacks_cpu,
        namespace=namespace,
        what="a condition that says that one group lacks cpu",
        readyReplicas=2,
    )
    harness.set_quota(cluster, namespace=namespace, cpu="900m")
    harness.wait_status(
        cluster,
        "tight",
        lambda seen: not harness.condition(seen, "WaitingForAdmission"),
        namespace=namespace,
        what="no condition about waiting",
        readyReplicas=3,
    )


def test_scaling_down_removes_the_workloads_of_the_groups_that_left(
    installed: sandbox.Sandbox, namespace: str
) -> None:
    cluster = installed
    queue = harness.queues(cluster, namespace=namespace, cpu="4")
    cluster.api.create(
        harness.leader_worker_set("down", namespace=namespace, queue=queue, replicas=3)
    )
    harness.wait_ready(cluster, "down", namespace=namespace, groups=3)
    before = {
        w["metadata"]["annotations"][names.COMPONENT_WORKLOAD_INDEX]: w["metadata"]["uid"]
        for w in cluster.api.list(*WORKLOAD, namespace=namespace)
    }
    assert sorted(before) == ["0", "1", "2"]
    harness.scale(cluster, "down", namespace=namespace, replicas=1)
    left = cluster.api.wait_for_all(
        *WORKLOAD, lambda seen: len(seen) == 1, namespace=namespace, what="one Workload left"
    )
    (only,) = left.values()
    assert only["metadata"]["uid"] == before["0"], "the group that stays keeps its Workload"
    harness.wait_ready(cluster, "down", namespace=namespace, groups=1)


def test_an_admitted_group_reports_pods_ready_to_kueue(
    installed: sandbox.Sandbox, namespace: str
) -> None:
    cluster = installed
    queue = harness.queues(cluster, namespace=namespace, cpu="4")
    cluster.api.create(
        harness.leader_worker_set("ready", namespace=namespace, queue=queue, replicas=2)
    )

    def all_ready(seen: Any) -> bool:
        found = [harness.condition(w, "PodsReady") for w in seen.values()]
        return len(found) == 2 and all(c and c["status"] == "True" for c in found)

    seen = cluster.api.wait_for_all(
        *WORKLOAD, all_ready, namespace=namespace, what="PodsReady on both Workloads"
    )
    for workload in seen.values():
        ready = harness.condition(workload, "PodsReady")
        assert ready is not None
        assert ready["reason"] == "Started"


def test_a_released_pod_carries_the_marks_that_kueue_and_its_tools_look_for(
    installed: sandbox.Sandbox, namespace: str
) -> None:
    cluster = installed
    queue = harness.queues(cluster, namespace=namespace, cpu="4")
    cluster.api.create(
        harness.leader_worker_set(
            "marks", namespace=namespace, queue=queue, replicas=1, leader=True
        )
    )
    harness.wait_ready(cluster, "marks", namespace=namespace, groups=1)
    seen = harness.pods(cluster, namespace=namespace)
    (workload,) = cluster.api.list(*WORKLOAD, namespace=namespace)
    for name, podset in (("marks-0", "leader"), ("marks-0-1", "worker"), ("marks-0-2", "worker")):
        meta = seen[name]["metadata"]
        assert meta["annotations"][names.WORKLOAD] == workload["metadata"]["name"]
        assert meta["labels"][names.PODSET] == podset
        assert meta["labels"][names.LOCAL_QUEUE_NAME] == queue
        assert meta["labels"][names.CLUSTER_QUEUE_NAME] == namespace
        assert not harness.gates(seen[name])


def test_a_foreign_scheduling_gate_survives_the_release(
    installed: sandbox.Sandbox, namespace: str
) -> None:
    cluster = installed
    queue = harness.queues(cluster, namespace=namespace, cpu="4")
    body = harness.leader_worker_set(
        "foreign", namespace=namespace, queue=queue, replicas=1, size=1
    )
    template = body["spec"]["leaderWorkerTemplate"]["workerTemplate"]
    template["spec"]["schedulingGates"] = [{"name": "example.com/mine"}]
    cluster.api.create(body)
    seen = harness.wait_pods(
        cluster,
        lambda pods: bool(pods) and names.PODSET in pods["foreign-0"]["metadata"]["labels"],
        namespace=namespace,
        what="a released pod",
    )
    assert harness.gates(seen["foreign-0"]) == ["example.com/mine"]
    assert not seen["foreign-0"]["spec"].get("nodeName")


def test_a_queue_that_does_not_exist_leaves_the_groups_gated_and_is_named(
    installed: sandbox.Sandbox, namespace: str
) -> None:
    cluster = installed
    cluster.api.create(
        harness.leader_worker_set("lost", namespace=namespace, queue="no-such-queue", replicas=1)
    )
    harness.wait_status(
        cluster,
        "lost",
        lambda seen: (
            (c := harness.condition(seen, "WaitingForAdmission"))
            and "no-such-queue" in c["message"]
        ),
        namespace=namespace,
        what="a condition that names the queue",
    )
    seen = harness.wait_pods(
        cluster, lambda pods: len(pods) == 3, namespace=namespace, what="three pods"
    )
    assert all(map(harness.is_gated, seen.values()))
    # Making the queue is all that is left to do.
    harness.queues(cluster, namespace=namespace, cpu="4", name="no-such-queue")
    harness.wait_ready(cluster, "lost", namespace=namespace, groups=1)
    events = cluster.api.wait_for_all(
        "events.k8s.io/v1",
        "Event",
        lambda seen: any(
            event["type"] == "Warning" and "no-such-queue" in event["note"]
            for event in seen.values()
        ),
        namespace=namespace,
        what="a Warning that names the queue",
    )
    warnings = [
        (event["eventTime"], event["reason"], event["note"], event["regarding"]["name"])
        for event in events.values()
        if event["type"] == "Warning" and "no-such-queue" in event["note"]
    ]
    notes = [note for _, _, note, _ in warnings]
    assert sorted(notes) == sorted(set(notes)), f"said once, not again and again: {warnings}"
