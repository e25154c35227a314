"""What MultiKueue has copied here is served as it is, and never written (docs/multikueue.md)."""

from typing import Any

import pytest

from lws_kueue.api import actions, facts, kueue, lws, names
from lws_kueue.workload import build, diff, naming, recreate, shape, state
from tests.kit.builders import builders
from tests.kit.builders.builders import ADMITTED, RESERVED, condition, running

COPY = {names.MULTIKUEUE_ORIGIN: "manager"}
NAME = naming.workload_name("serve", 0, "there")
POD_SET = {
    "name": "main",
    "count": 3,
    "template": builders.template(),
    "topologyRequest": {"podIndexLabel": names.WORKER_INDEX},
}
HIGH = kueue.WorkloadPriorityClass.of({"metadata": {"name": "high"}, "value": 100})


def copied_set(**labels: str) -> lws.LeaderWorkerSet:
    return builders.lws_object(
        uid="here",
        labels={names.QUEUE_NAME: "queue", **COPY, **labels},
        annotations={names.MULTIKUEUE_ORIGIN_UID: "there"},
    )


def copied(*, metadata: dict[str, Any] | None = None, **given: Any) -> kueue.Workload:
    meta = {"labels": COPY, "ownerReferences": [], "finalizers": [], **(metadata or {})}
    given.setdefault("pod_sets", [POD_SET])
    return builders.workload(name=NAME, metadata=meta, **given)


def changes(
    *workloads: kueue.Workload,
    owner: lws.LeaderWorkerSet | None = None,
    outdated: str | None = None,
    in_vain: str | None = None,
    pods: tuple[facts.Pod, ...] = (),
    wanted: bool = True,
) -> actions.Part:
    owner = owner or copied_set()
    content = recreate.content(owner, "key", options=builders.OPTIONS)
    return diff.changes(
        owner,
        {workload.meta.name: workload for workload in workloads},
        wanted={0: diff.Wanted(content, outdated, in_vain)} if wanted else {},
        pods={0: pods},
        classes=build.PriorityClasses(workload={"high": HIGH}),
        options=builders.OPTIONS,
        now=builders.NOW,
    )


REF = {"group": names.KUEUE_GROUP, "kind": "WorkloadPriorityClass", "name": "low"}
OTHER_POD_SET = {**POD_SET, "template": builders.template(nodeSelector={"a": "b"})}

# What of a Workload of its own the bridge would write, renew, repair or remove.
STANDING = {
    "as it came": copied(),
    "for something else": copied(pod_sets=[OTHER_POD_SET]),
    "for something else, with quota": copied(pod_sets=[OTHER_POD_SET], conditions=[RESERVED]),
    "admitted for something else": copied(
        pod_sets=[OTHER_POD_SET], conditions=[RESERVED, ADMITTED]
    ),
    "in another queue": copied(spec={"queueName": "other"}),
    "of another class": copied(spec={"priorityClassRef": REF, "priority": 1}),
    "with a time limit": copied(spec={"maximumExecutionTimeSeconds": 7}),
    "gated": copied(metadata={"annotations": {names.ADMISSION_GATED_BY: "somebody"}}),
    "marked as a pod group's": copied(metadata={"annotations": {names.IS_GROUP_WORKLOAD: "true"}}),
    "finished by mistake": copied(conditions=[condition("Finished", True, "OutOfSync")]),
    "of the set by a reference": copied(
        metadata={"ownerReferences": [{"kind": names.LWS_KIND, "name": "serve", "uid": "here"}]}
    ),
}


@pytest.mark.row("MK-64")
@pytest.mark.parametrize("wanted", [True, False], ids=["wanted", "unwanted"])
@pytest.mark.parametrize("workload", STANDING.values(), ids=STANDING.keys())
def test_nothing_of_a_copy_is_written(workload: kueue.Workload, wanted: bool) -> None:
    owner = copied_set(**{names.PRIORITY_CLASS: "high"})
    found = changes(workload, owner=owner, outdated="requests", in_vain="no pods", wanted=wanted)
    assert found.chains == ()


@pytest.mark.row("MK-64")
def test_a_copy_in_the_way_of_a_set_of_this_cluster_is_not_written_either() -> None:
    owner = builders.lws_object(uid="there")
    meta = {"ownerReferences": [{"kind": names.LWS_KIND, "name": "serve", "uid": "there"}]}
    stray = copied(metadata=meta, pod_sets=[OTHER_POD_SET], conditions=[RESERVED])
    for wanted in (True, False):
        assert changes(stray, owner=owner, outdated="requests", wanted=wanted).chains == ()


def test_no_workload_is_made_for_a_copied_set() -> None:
    assert changes().nothing


@pytest.mark.row("MK-64")
def test_a_copy_that_is_deleted_goes_when_its_pods_have_ended() -> None:
    meta = {"deletionTimestamp": builders.EARLIER, "finalizers": [names.WORKLOAD_FINALIZER, "x/y"]}
    going = copied(metadata=meta)
    assert changes(going, pods=(running(),)).nothing
    ((patch,),) = changes(going).chains
    assert isinstance(patch, actions.Patch)
    assert patch.body == {"metadata": {"finalizers": ["x/y"]}}


@pytest.mark.parametrize(
    ("conditions", "told"),
    [([], True), ([RESERVED], True), ([RESERVED, ADMITTED], False)],
    ids=["pending", "reserved", "admitted"],
)
def test_a_copy_that_differs_says_so_until_its_release_does(
    conditions: list[dict[str, Any]], told: bool
) -> None:
    found = changes(copied(conditions=conditions), outdated="requests of podset main")
    said = [(why.code, why.groups) for why in found.reasons]
    assert said == ([("CopyDiffers", (0,))] if told else [])
    if told:
        assert "requests of podset main differs" in found.reasons[0].message


# A manager without topology-aware scheduling ------------------------------------------------------


def asked(**annotations: str) -> shape.Shape:
    worker = builders.template(annotations=annotations or None)
    content = recreate.content(builders.lws_object(worker=worker), "key", options=builders.OPTIONS)
    assert content.shape is not None
    return content.shape


PLACELESS = {key: value for key, value in POD_SET.items() if key != "topologyRequest"}
RACK = {names.PODSET_REQUIRED_TOPOLOGY: "rack"}


@pytest.mark.row("MK-64")
@pytest.mark.parametrize(
    ("workload", "wanted", "differs"),
    [
        (copied(), asked(), False),
        (copied(pod_sets=[PLACELESS]), asked(), False),
        (copied(pod_sets=[{**PLACELESS, "count": 4}]), asked(), True),
        (copied(), asked(**RACK), True),
        (builders.workload(pod_sets=[PLACELESS]), asked(), True),
    ],
    ids=["with topology", "without", "without, and of more pods", "of another", "not copied"],
)
def test_a_copy_from_a_manager_without_topology_fits_all_the_same(
    workload: kueue.Workload, wanted: shape.Shape, differs: bool
) -> None:
    assert (shape.difference(workload, wanted, flavors={}) is not None) is differs


# What is told -------------------------------------------------------------------------------------


def why(workload: kueue.Workload | None) -> tuple[str, str]:
    local = kueue.LocalQueue.of({"metadata": {"name": "queue"}, "spec": {"clusterQueue": "cq"}})
    queues = state.Queues("queue", local_queue=local, copied=True)
    found = state.why_waiting(workload, queues, {})
    assert found is not None
    return found.code, found.message


def test_a_group_whose_copy_has_not_arrived_is_not_told_that_one_is_made() -> None:
    assert why(None) == (
        "WorkloadMissing",
        "MultiKueue of the cluster that the set is from has not copied its Workload here",
    )


def test_nobody_is_told_to_delete_a_finished_copy() -> None:
    code, message = why(copied(conditions=[condition("Finished", True, "OutOfSync")]))
    assert code == "WorkloadFinished"
    assert "delete" not in message
