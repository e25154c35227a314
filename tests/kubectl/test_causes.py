"""Each cause for which a group does not run is named, with the object to change (issue 17)."""

from dataclasses import dataclass
from typing import Any

import pytest

from lws_kueue.api import names
from lws_kueue.kubectl import explain, look
from lws_kueue.runtime import resources
from tests.kit.builders import cluster as build
from tests.kubectl.given import RACK, Change, Given, condition


@dataclass(frozen=True, slots=True)
class Cause:
    """What is done to a set with one admitted group; group ``about`` is explained.

    ``code`` is that of the reason. ``named`` are parts of what is said and to be changed.
    """

    change: Change
    code: str
    named: tuple[str, ...]
    about: int = 1


def _no_quota(given: Given) -> None:
    given.used("cq", "2")


def _not_covered(given: Given) -> None:
    said = "resource nvidia.com/gpu unavailable in ClusterQueue"
    given.says(1, said, **{"nvidia.com/gpu": "8"})


def _cohort(given: Given, **limits: str) -> None:
    own = build.cluster_queue("cq", {"default": {"cpu": "1"}}, cohortName="team")
    (flavor,) = own["spec"]["resourceGroups"][0]["flavors"]
    flavor["resources"][0] |= limits
    other = build.cluster_queue("other", {"default": {"cpu": "2"}}, cohortName="team")
    given.cluster_queues = [own, other]
    given.used("cq", "1500m")


def _borrowing(given: Given) -> None:
    _cohort(given, borrowingLimit="500m")


def _exhausted(given: Given) -> None:
    _cohort(given)
    given.used("other", "1500m")


def _lending(given: Given) -> None:
    _cohort(given)
    (flavor,) = given.cluster_queues[1]["spec"]["resourceGroups"][0]["flavors"]
    flavor["resources"][0]["lendingLimit"] = "500m"


def _priority(given: Given) -> None:
    given.cluster_queues[0]["spec"]["queueingStrategy"] = "StrictFIFO"
    given.other("first", priority=100, cpu="9")


def _missing_queue(given: Given) -> None:
    given.local_queues = []


def _stopped_local(given: Given) -> None:
    given.local_queues[0]["spec"]["stopPolicy"] = "Hold"


def _stopped_cluster(given: Given) -> None:
    given.cluster_queues[0]["spec"]["stopPolicy"] = "HoldAndDrain"


def _stopped_and_full(given: Given) -> None:
    given.used("cq", "3")
    _stopped_cluster(given)


def _inactive(given: Given) -> None:
    why = condition("Active", "False", "FlavorNotFound", "ResourceFlavor a100 is not there")
    given.cluster_queues[0]["status"] = {"conditions": [why]}


def _missing_cluster_queue(given: Given) -> None:
    given.cluster_queues = []
    why = condition("Active", "False", "ClusterQueueDoesNotExist", "no such queue")
    given.local_queues[0]["status"] = {"conditions": [why]}


def _unscheduled(given: Given) -> None:
    """Let the scheduler find no node for the pods of the admitted group."""
    for pod in given.pods(0):
        pod["spec"].pop("nodeName", None)
        said = condition("PodScheduled", "False", "Unschedulable", "0/5 nodes are available")
        pod["status"] = {"phase": "Pending", "conditions": [said]}
        given.model.touch(pod)


def _no_nodes(given: Given) -> None:
    _unscheduled(given)
    given.flavors[0]["spec"]["nodeLabels"] = {"gpu": "b"}


def _tainted(given: Given) -> None:
    _unscheduled(given)
    for node in given.nodes:
        node["spec"] = {"taints": [{"key": "example.com/gpu", "effect": "NoSchedule"}]}


def _level(given: Given) -> None:
    said = 'topology "t" doesn\'t allow to fit any of 3 pod(s)'
    given.says(1, said)
    workload = given.workload(1)
    workload["spec"]["podSets"][0]["topologyRequest"] = {"required": "example.com/block"}
    given.flavors[0]["spec"]["topologyName"] = "t"
    given.model.touch(workload)


def _domain(given: Given) -> None:
    _level(given)
    given.workload(1)["spec"]["podSets"][0]["topologyRequest"] = {"required": RACK}


def _not_ready(given: Given) -> None:
    for pod in given.pods(0):
        pod["status"]["conditions"] = [condition("Ready", "False")]
        given.model.touch(pod)


def _node_fails(given: Given) -> None:
    _not_ready(given)
    for node in given.nodes:
        node["status"]["conditions"] = [{"type": "Ready", "status": "Unknown"}]


def _node_gone(given: Given) -> None:
    _not_ready(given)
    given.nodes = [build.node("another", labels={}, offers={"cpu": "1"})]


def _checks(given: Given) -> None:
    workload = given.workload(1)
    workload["status"] |= {
        "conditions": [condition("QuotaReserved", "True")],
        "admission": {"clusterQueue": "cq", "podSetAssignments": []},
        "admissionChecks": [{"name": "capacity", "state": "Pending", "message": "no capacity"}],
    }
    given.model.touch(workload)


def _backs_off(given: Given) -> None:
    given.says(1, "it exceeded the PodsReady timeout")
    workload = given.workload(1)
    workload["status"]["requeueState"] = {"count": 2, "requeueAt": "2030-01-01T01:00:00Z"}
    given.model.touch(workload)


def _deactivated(given: Given) -> None:
    given.workload(1)["spec"]["active"] = False
    given.model.touch(given.workload(1))


def _held_deletion(given: Given) -> None:
    meta = given.workload(1)["metadata"]
    meta["finalizers"] = ["example.com/audit"]
    meta["deletionTimestamp"] = "2030-01-01T00:00:00Z"
    given.model.touch(given.workload(1))


def _deletion(given: Given) -> None:
    _held_deletion(given)
    now = given.model.now.isoformat().replace("+00:00", "Z")
    given.workload(1)["metadata"]["deletionTimestamp"] = now


def _gated_by_others(given: Given) -> None:
    _not_ready(given)
    pod = given.pods(0)[-1]
    pod["spec"]["schedulingGates"] = [{"name": "example.com/quota"}]
    given.model.touch(pod)


def _admission_gated(given: Given) -> None:
    given.workload(1)["metadata"]["annotations"][names.ADMISSION_GATED_BY] = "example.com/late"
    live = given.live
    live["metadata"].setdefault("annotations", {})[names.ADMISSION_GATED_BY] = "example.com/late"
    given.model.touch(live)


def _refused(given: Given) -> None:
    """Let the StatefulSet of the second group's workers be refused its pods."""
    name = given.pods(1)[0]["metadata"]["name"]
    workers = given.model.objects["StatefulSet", name]
    for ordinal in (1, 2):
        del given.model.objects["Pod", f"{name}-{ordinal}"]
    workers["status"]["replicas"] = 0
    workers["status"]["observedGeneration"] = workers["metadata"].get("generation", 0)
    workers["metadata"]["managedFields"] = [
        {"manager": "k", "subresource": "status", "time": "2030-01-01T00:00:00Z"}
    ]
    given.model.touch(workers)
    del given.model.objects["Workload", given.workload(1)["metadata"]["name"]]
    given.refused[name] = "exceeded quota: pods"


def _kueue_away(given: Given) -> None:
    given.support = "missing"


def _silent(given: Given) -> None:
    given.workload(1)["status"] = {}
    given.model.touch(given.workload(1))


def _no_dispatcher(given: Given) -> None:
    check = build.kueues("AdmissionCheck", "mk", controllerName=names.MULTIKUEUE_CONTROLLER)
    given.checks = [check]
    asked = {"admissionChecks": [{"name": "mk"}]}
    given.cluster_queues[0]["spec"]["admissionChecksStrategy"] = asked
    given.built_in = False


def _elsewhere(given: Given) -> None:
    workload = given.workload(0)
    workload["status"]["clusterName"] = "worker-2"
    given.model.touch(workload)


def _built_in(given: Given) -> None:
    template = given.live["spec"]["leaderWorkerTemplate"]["workerTemplate"]
    marks = {names.POD_SUSPENDING_PARENT: names.KUEUE_LWS_FRAMEWORK}
    template["metadata"] = {"annotations": marks}
    given.model.touch(given.live)
    given.built_in = True


CQ = "ClusterQueue cq"
CAUSES = {
    "nominal quota": Cause(_no_quota, "Pending", ("nominalQuota of cpu in flavor default", CQ)),
    "quota of another kind": Cause(_not_covered, "Pending", ("spec.resourceGroups", CQ)),
    "borrowing limit": Cause(_borrowing, "Pending", ("raise borrowingLimit of cpu", CQ)),
    "cohort": Cause(_exhausted, "Pending", ("Cohort team", CQ)),
    "lending limit": Cause(
        _lending,
        "Pending",
        ("raise lendingLimit of cpu in flavor default of ClusterQueue other by 1500m",),
    ),
    "priority": Cause(_priority, "Pending", ("StrictFIFO", "Workload default/first is ahead")),
    "missing LocalQueue": Cause(_missing_queue, "LocalQueueMissing", ("create LocalQueue queue",)),
    "missing ClusterQueue": Cause(
        _missing_cluster_queue, "ClusterQueueMissing", (f"create {CQ}", "LocalQueue queue")
    ),
    "stopped LocalQueue": Cause(
        _stopped_local, "LocalQueueStopped", ("spec.stopPolicy of LocalQueue queue",)
    ),
    "stopped ClusterQueue": Cause(
        _stopped_cluster, "ClusterQueueStopped", (f"spec.stopPolicy of {CQ}",)
    ),
    "stopped ClusterQueue without quota": Cause(
        _stopped_and_full, "ClusterQueueStopped", (f"spec.stopPolicy of {CQ}",)
    ),
    "inactive ClusterQueue": Cause(
        _inactive, "ClusterQueueInactive", (f"{CQ} is not active", "a100", f"what {CQ} lacks")
    ),
    "flavor without nodes": Cause(
        _no_nodes, "FlavorWithoutNodes", ("spec.nodeLabels of ResourceFlavor default",), 0
    ),
    "topology level": Cause(
        _level, "Pending", (CQ, "Topology t has no level example.com/block: ask for one of", RACK)
    ),
    "topology domain": Cause(
        _domain, "Pending", (CQ, f"make room in one {RACK} of Topology t, or ask")
    ),
    "taints": Cause(_tainted, "NodesTainted", ("spec.nodeTaints of ResourceFlavor default",), 0),
    "node failure": Cause(_node_fails, "NodeNotReady", ("node",), 0),
    "node that is gone": Cause(_node_gone, "NodeGone", ("node",), 0),
    "admission check": Cause(
        _checks, "AdmissionCheckPending", ("AdmissionCheck capacity", "no capacity")
    ),
    "back-off": Cause(_backs_off, "Pending", ("considers it again by itself",)),
    "deactivation": Cause(
        _deactivated, "WorkloadDeactivated", ("kubectl lws start demo --group 1",)
    ),
    "finalizer of the other side": Cause(_held_deletion, "DeletionHeld", ("example.com/audit",)),
    "finalizer of the other side, at once": Cause(
        _deletion, "WorkloadDeleting", ("put the finalizer example.com/audit on Workload",)
    ),
    "gate of somebody else": Cause(_gated_by_others, "SchedulingGated", ("example.com/quota",), 0),
    "gate of admission": Cause(_admission_gated, "AdmissionGated", ("example.com/late",)),
    "pod that cannot be made": Cause(_refused, "FailedCreate", ("demo-1", "exceeded quota: pods")),
    "unschedulable after admission": Cause(
        _unscheduled, "PodUnschedulable", ("0/5 nodes are available",), 0
    ),
    "Kueue away": Cause(_kueue_away, "KueueMissing", ("Kueue is not installed", "install Kueue")),
    "Kueue that says nothing": Cause(
        _silent, "Pending", ("has not considered Workload", "see that Kueue runs")
    ),
    "MultiKueue without the integration": Cause(
        _no_dispatcher, "MultiKueueNotPossible", (CQ, "AdmissionCheck mk")
    ),
    "built-in integration": Cause(
        _built_in, "Pending", ("Kueue's own LeaderWorkerSet integration", CQ)
    ),
    "MultiKueue": Cause(_elsewhere, "RunsElsewhere", ("worker-2",), 0),
}


def explained(cause: Cause) -> explain.Explanation:
    given = Given(replicas=2, admitted=1)
    given.used("cq", "1500m")
    cause.change(given)
    answer = explain.answer(given.seen(), group=cause.about)
    (only,) = answer.explanations
    return only


@pytest.mark.parametrize("name", CAUSES)
def test_what_a_group_waits_for_is_named_with_the_object_to_change(name: str) -> None:
    cause = CAUSES[name]
    found = explained(cause)
    said = f"{found.why} {found.change}"
    assert (found.code, found.groups) == (cause.code, (cause.about,)), said
    for part in cause.named:
        assert part in said


def test_a_group_that_runs_is_not_explained() -> None:
    answer = explain.answer(Given(admitted=2).seen())
    assert (answer.explanations, answer.running, answer.replicas) == ((), 2, 2)


def test_a_group_that_is_not_there_is_an_error_that_says_which_there_are() -> None:
    with pytest.raises(LookupError, match="has no group 7: it has 2, from 0 to 1"):
        explain.answer(Given().seen(), group=7)


def test_groups_that_wait_for_the_same_are_told_together() -> None:
    given = Given(replicas=4, admitted=1)
    (only,) = explain.answer(given.seen()).explanations
    assert only.groups == (1, 2, 3)


@pytest.mark.parametrize("kind", [resources.PODS, resources.WORKLOADS, resources.LIMIT_RANGES])
def test_where_something_decisive_may_not_be_read_the_controller_has_the_word(kind: Any) -> None:
    given = Given(replicas=2, admitted=1)
    given.lacking = (kind,)
    answer = explain.answer(given.seen())
    assert not answer.explanations
    assert answer.controller_says.startswith("group 1: Kueue has not considered")


def test_without_cluster_queues_the_reason_is_told_and_only_what_is_free_is_not() -> None:
    given = Given(replicas=2, admitted=1)
    given.cluster_queues, given.lacking = [], (resources.CLUSTER_QUEUES,)
    (only,) = explain.answer(given.seen()).explanations
    assert (only.code, only.free) == ("Pending", ())
    assert given.seen().notes == (
        "Left out, because you may not read it: clusterqueues. The ClusterRole"
        " lws-kueue-kubectl-viewer allows it",
    )


@pytest.mark.parametrize(
    ("answer", "adopted", "known"),
    [(None, False, False), (None, True, None), (True, False, True), (False, False, False)],
)
def test_where_the_integration_cannot_be_tried_a_set_without_its_mark_tells_that_it_is_off(
    answer: bool | None, adopted: bool, known: bool | None
) -> None:
    given = Given(replicas=2, admitted=1)
    if adopted:
        given.workload(0)["metadata"]["annotations"][names.IS_GROUP_WORKLOAD] = "true"
        given.model.touch(given.workload(0))
    assert look.with_built_in(given.seen().observed, answer).kueue.built_in is known
