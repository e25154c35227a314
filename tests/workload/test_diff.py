"""Workloads follow the groups that are wanted, each on its own."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lws_kueue.api import actions, facts, kueue, lws, names
from lws_kueue.workload import build, diff, group_mark, naming, recreate
from tests.kit.builders import builders
from tests.kit.builders.builders import RESERVED, condition, pod, running

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)


POD_SET = {"name": "main", "count": 3, "template": builders.template()}


def name(index: int) -> str:
    return naming.workload_name("serve", index, "set-uid")


def stored(index: int, **given: Any) -> kueue.Workload:
    given.setdefault("pod_sets", [POD_SET])
    return builders.workload(name=name(index), index=index, uid=f"wl-{index}", **given)


HIGH = kueue.WorkloadPriorityClass.of({"metadata": {"name": "high"}, "value": 100})
CLASSES = build.PriorityClasses(workload={"high": HIGH})


def changes(
    *workloads: kueue.Workload,
    desired: Sequence[int] = (0,),
    owner: lws.LeaderWorkerSet | None = None,
    pods: Mapping[int, Sequence[facts.Pod]] | None = None,
    classes: build.PriorityClasses = CLASSES,
    outdated: str | None = None,
    now: datetime = NOW,
) -> actions.Part:
    owner = owner or builders.lws_object()
    content = recreate.content(owner, "key", options=builders.OPTIONS)
    return diff.changes(
        owner,
        {one.meta.name: one for one in workloads},
        wanted={index: diff.Wanted(content, outdated) for index in desired},
        pods=pods or {},
        classes=classes,
        options=builders.OPTIONS,
        now=now,
    )


def serving(
    *workloads: kueue.Workload, owner: lws.LeaderWorkerSet | None = None
) -> dict[int, kueue.Workload]:
    meta = (owner or builders.lws_object()).meta
    return diff.serving(meta, workloads, options=builders.OPTIONS)


def created(found: actions.Part) -> list[str]:
    return [
        action.body["metadata"]["name"]
        for chain in found.chains
        for action in chain
        if isinstance(action, actions.Create)
    ]


def patch(found: actions.Part) -> actions.Patch:
    ((only,),) = found.chains
    assert isinstance(only, actions.Patch)
    return only


@pytest.mark.row("R03")
def test_each_missing_group_gets_a_workload_and_an_event() -> None:
    found = changes(desired=(0, 1))
    assert created(found) == [name(0), name(1)]
    events = [chain[0].events for chain in found.chains if isinstance(chain[0], actions.Create)]
    assert events == [
        (actions.Event("Normal", "CreatedWorkload", f"Created Workload: ns/{name(i)}"),)
        for i in (0, 1)
    ]


def test_nothing_is_written_for_what_is_as_it_should_be() -> None:
    found = changes(stored(0), stored(1), desired=(0, 1))
    assert found.chains == ()


@pytest.mark.row("R08")
def test_a_missing_class_creates_nothing_and_warns_for_every_group() -> None:
    owner = builders.lws_object(labels={names.PRIORITY_CLASS: "none"})
    found = changes(owner=owner, desired=(0, 1))
    assert found.chains == ()
    assert [problem.groups for problem in found.reasons] == [(0,), (1,)]
    assert len({problem.message for problem in found.reasons}) == 2
    assert {problem.code for problem in found.reasons} == {"WorkloadPriorityClassNotFound"}
    assert all(problem.warns for problem in found.reasons)


@pytest.mark.row("R09")
def test_a_change_to_a_missing_class_leaves_workloads_as_they_are() -> None:
    ref = {"group": "kueue.x-k8s.io", "kind": "WorkloadPriorityClass", "name": "high"}
    workload = stored(0, spec={"priorityClassRef": ref, "priority": 100})
    owner = builders.lws_object(labels={names.QUEUE_NAME: "queue", names.PRIORITY_CLASS: "none"})
    found = changes(workload, owner=owner)
    assert found.chains == ()
    assert found.reasons[0].code == "WorkloadPriorityClassNotFound"


@pytest.mark.row("R10", "R11")
@pytest.mark.parametrize("before", ["", "old"])
def test_a_new_queue_reaches_a_workload_without_quota(before: str) -> None:
    found = patch(changes(stored(0, spec={"queueName": before})))
    assert found.body == {"spec": {"queueName": "queue"}}
    assert found.resource_version == "7"


def test_a_queue_never_moves_while_quota_is_reserved() -> None:
    found = changes(stored(0, spec={"queueName": "old"}, conditions=[RESERVED]))
    assert found.chains == ()
    assert found.reasons[0].code == "QueueChangeDeferred"
    assert "LocalQueue old" in found.reasons[0].message


@pytest.mark.row("R12")
def test_a_queue_and_a_gate_change_in_one_write() -> None:
    owner = builders.lws_object(annotations={names.ADMISSION_GATED_BY: "example.com/a"})
    found = patch(changes(stored(0, spec={"queueName": "old"}), owner=owner))
    assert found.body == {
        "spec": {"queueName": "queue"},
        "metadata": {"annotations": {names.ADMISSION_GATED_BY: "example.com/a"}},
    }
    assert [event.reason for event in found.events] == ["UpdatedWorkload"]


def test_a_gate_that_the_set_gave_up_leaves_the_workload() -> None:
    annotations = {names.COMPONENT_WORKLOAD_INDEX: "0", names.ADMISSION_GATED_BY: "example.com/a"}
    found = patch(changes(stored(0, metadata={"annotations": annotations})))
    assert found.body == {"metadata": {"annotations": {names.ADMISSION_GATED_BY: None}}}


def with_class(class_: str) -> lws.LeaderWorkerSet:
    return builders.lws_object(labels={names.QUEUE_NAME: "queue", names.PRIORITY_CLASS: class_})


def class_ref(class_: str, group: str = "kueue.x-k8s.io") -> dict[str, Any]:
    return {"priorityClassRef": {"group": group, "name": class_}, "priority": 1}


@pytest.mark.parametrize(
    ("given", "class_", "changed"),
    [
        ({"spec": class_ref("low")}, "high", True),
        ({"spec": class_ref("low"), "conditions": [RESERVED]}, "high", True),
        ({"spec": class_ref("high")}, "high", False),  # Kueue follows the value itself.
        ({"spec": class_ref("low", "scheduling.k8s.io")}, "high", False),
        ({"spec": {"priority": 0}}, "high", True),
        ({"spec": {"priority": 0}, "conditions": [RESERVED]}, "high", False),
        ({"spec": class_ref("low")}, "", False),
    ],
)
def test_only_another_name_of_a_class_changes_the_priority(
    given: dict[str, Any], class_: str, changed: bool
) -> None:
    found = changes(stored(0, **given), owner=with_class(class_))
    assert bool(found.chains) is changed
    if changed:
        spec = patch(found).body["spec"]
        assert spec["priority"] == 100
        assert spec["priorityClassRef"]["name"] == "high"


# Finding ------------------------------------------------------------------------------------


def test_a_workload_is_found_by_its_index_whatever_its_name() -> None:
    short = "leaderworkerset-serve-0-short"
    renamed = builders.workload(name=short, index=0, pod_sets=[POD_SET])
    assert changes(renamed).chains == ()
    assert serving(renamed)[0].meta.name == short


def test_a_workload_without_an_index_is_found_by_its_name() -> None:
    bare = stored(3, metadata={"annotations": {}})
    assert list(serving(bare)) == [3]


def test_of_two_for_one_group_the_one_with_the_computed_name_stays() -> None:
    extra = builders.workload(name="a-copy", index=0, uid="extra")
    found = changes(extra, stored(0))
    assert serving(extra, stored(0))[0].meta.uid == "wl-0"
    assert [[type(action) for action in chain] for chain in found.chains] == [[actions.Delete]]
    (removed,) = found.chains
    assert isinstance(removed[0], actions.Delete)
    assert removed[0].uid == "extra"


def test_a_name_that_somebody_else_took_is_reported() -> None:
    foreign = builders.workload(name=name(0), owner="another-set")
    found = changes(foreign)
    assert found.chains == ()
    assert found.reasons[0].code == "WorkloadNameTaken"


JOB = {"apiVersion": "batch/v1", "kind": "Job", "name": "train", "uid": "u", "controller": True}
BY_HAND = [
    {"manager": "kubectl-create", "operation": "Update"},
    {"manager": "kueue-admission", "operation": "Apply", "subresource": "status"},
]


@pytest.mark.parametrize(
    ("metadata", "told"),
    [
        ({}, "belongs to LeaderWorkerSet serve. Delete it, group 0 needs the name; if"),
        ({"ownerReferences": [JOB]}, "belongs to Job train. Delete it"),
        ({"ownerReferences": []}, "has no owner. Delete it, group 0 needs the name"),
        (
            {"ownerReferences": [], "managedFields": BY_HAND},
            "has no owner; field manager kubectl-create has written it. Delete it",
        ),
    ],
    ids=["another set of the name", "a job", "nobody", "by hand"],
)
def test_whose_a_workload_is_that_has_the_name_of_a_groups_is_told(
    metadata: dict[str, Any], told: str
) -> None:
    (reason,) = changes(
        builders.workload(name=name(0), owner="another-set", metadata=metadata)
    ).reasons
    assert reason.message.startswith(f"Workload {name(0)} exists and {told}")
    assert reason.warns
    assert reason.groups == (0,)


@pytest.mark.row("R36")
def test_a_set_that_multikueue_copied_uses_the_copied_workload_and_creates_none() -> None:
    owner = builders.lws_object(
        uid="here",
        labels={names.QUEUE_NAME: "queue", names.MULTIKUEUE_ORIGIN: "manager"},
        annotations={names.MULTIKUEUE_ORIGIN_UID: "set-uid"},
    )
    copied = stored(0, owner="nobody", metadata={"annotations": {}})
    found = changes(copied, owner=owner, desired=(0, 1))
    assert found.chains == ()
    assert list(serving(copied, owner=owner)) == [0]


# Removing -----------------------------------------------------------------------------------


OWNER = {"kind": names.LWS_KIND, "name": "serve", "uid": "set-uid"}


@pytest.mark.parametrize(
    "owners",
    [
        pytest.param([OWNER], marks=pytest.mark.row("R14")),
        pytest.param(
            [OWNER, {"kind": "Pod", "name": "serve-1", "uid": "p"}], marks=pytest.mark.row("R16")
        ),
    ],
)
def test_an_unwanted_workload_loses_its_finalizer_and_goes(owners: list[dict[str, str]]) -> None:
    metadata: dict[str, Any] = {
        "finalizers": ["other.io/f", names.WORKLOAD_FINALIZER],
        "ownerReferences": owners,
    }
    found = changes(stored(0), stored(1, metadata=metadata), desired=(0,))
    ref = actions.Ref(names.KUEUE_API_VERSION, "Workload", "ns", name(1))
    assert found.chains == ((actions.Delete(ref, "wl-1"),),)
    metadata["deletionTimestamp"] = builders.EARLIER
    found = changes(stored(0), stored(1, metadata=metadata), desired=(0,))
    patch_ = actions.Patch(
        ref, {"metadata": {"finalizers": ["other.io/f"]}}, "7", because="removed wl-1"
    )
    assert found.chains == ((patch_,),), "only once its deletion is certain"


@pytest.mark.row("R15")
def test_a_surge_group_that_is_wanted_keeps_its_workload() -> None:
    found = changes(stored(0), stored(1), stored(2), desired=(0, 1, 2))
    assert found.chains == ()


@pytest.mark.parametrize(
    ("pods", "removed"),
    [
        ([], True),
        ([pod(0, group=1)], True),
        ([running(0, group=1)], False),
        ([running(0, group=1, deleted=builders.EARLIER)], False),
        ([pod(0, group=1, gates=())], False),
        ([pod(0, group=1, gates=(), phase="Failed")], True),
    ],
)
def test_quota_is_given_up_only_when_no_pod_can_use_it(
    pods: list[facts.Pod], removed: bool
) -> None:
    found = changes(stored(0), stored(1), desired=(0,), pods={0: [running(0)], 1: pods})
    assert bool(found.chains) is removed


def test_a_second_workload_of_a_group_stays_while_pods_run_under_its_name() -> None:
    extra = builders.workload(name="a-copy", index=0, uid="extra")
    under = {0: [running(0, annotations={names.WORKLOAD: "a-copy"})]}
    assert changes(extra, stored(0), pods=under).chains == ()
    elsewhere = {0: [running(0, annotations={names.WORKLOAD: name(0)})]}
    assert len(changes(extra, stored(0), pods=elsewhere).chains) == 1


@pytest.mark.parametrize(("pods", "freed"), [([], True), ([running(0)], False), ([pod(0)], True)])
def test_a_workload_that_is_being_deleted_is_let_go_after_its_pods(
    pods: list[facts.Pod], freed: bool
) -> None:
    leaving = stored(0, metadata={"deletionTimestamp": builders.EARLIER, "finalizers": FINALIZERS})
    found = changes(leaving, pods={0: pods})
    assert created(found) == []  # Its name is taken until it is gone.
    if freed:
        assert patch(found).body == {"metadata": {"finalizers": None}}
    else:
        assert found.chains == ()


FINALIZERS = [names.WORKLOAD_FINALIZER]


@pytest.mark.row("R37")
def test_one_workloads_trouble_is_no_chain_with_another() -> None:
    found = changes(stored(5), desired=(0,))
    assert [len(chain) for chain in found.chains] == [1, 1]
    assert created(found) == [name(0)]


def test_a_finalizer_that_somebody_removed_is_put_back_beside_the_others() -> None:
    write = patch(changes(stored(0, metadata={"finalizers": ["example.com/other"]})))
    assert write.body == {
        "metadata": {"finalizers": ["example.com/other", names.WORKLOAD_FINALIZER]}
    }
    assert write.resource_version == "7"


@pytest.mark.row("WAR-01")
def test_a_mark_of_pod_groups_goes_in_one_write_with_all_else_that_changes() -> None:
    """Kueue's pod integration would take the finalizer off as often as it is put back."""
    marked = {names.COMPONENT_WORKLOAD_INDEX: "0", names.IS_GROUP_WORKLOAD: "true"}
    workload = stored(0, metadata={"annotations": marked, "finalizers": []})
    owner = builders.lws_object(annotations={names.ADMISSION_GATED_BY: "example.com/a"})
    assert patch(changes(workload, owner=owner)).body == {
        "metadata": {
            "finalizers": [names.WORKLOAD_FINALIZER],
            "annotations": {
                names.IS_GROUP_WORKLOAD: None,
                names.ADMISSION_GATED_BY: "example.com/a",
            },
        }
    }


@pytest.mark.row("WAR-01")
def test_copies_of_multikueue_keep_the_mark_that_they_have() -> None:
    owner = builders.lws_object(labels={names.MULTIKUEUE_ORIGIN: "manager"})
    marked = {names.COMPONENT_WORKLOAD_INDEX: "0", names.IS_GROUP_WORKLOAD: "true"}
    for annotations in (marked, {names.COMPONENT_WORKLOAD_INDEX: "0"}):
        workload = stored(0, metadata={"annotations": annotations})
        assert group_mark.removed(owner.meta, workload) == {}
        assert group_mark.given(owner.meta, [workload]) == []


def test_a_finished_workload_needs_no_finalizer() -> None:
    done = condition("Finished", True, "Succeeded")
    assert changes(stored(0, conditions=[done], metadata={"finalizers": []})).chains == ()


def test_a_finished_workload_is_left_for_people_to_see() -> None:
    finished = stored(0, conditions=[condition("Finished", True, "Succeeded")])
    assert changes(finished).chains == ()


@given(
    st.sets(st.integers(0, 6)),
    st.sets(st.integers(0, 6)),
    st.sets(st.integers(0, 6)),
)
def test_one_pass_ends_with_the_wanted_workloads_and_those_that_pods_still_use(
    desired: set[int], existing: set[int], used: set[int]
) -> None:
    pods = {index: [running(0, group=index)] for index in used}
    before = {name(index): stored(index) for index in existing}
    found = changes(*before.values(), desired=sorted(desired), pods=pods)
    after = {index for index in range(7) if name(index) in before}
    for chain in found.chains:
        for action in chain:
            if isinstance(action, actions.Create):
                after.add(int(action.body["metadata"]["name"].split("-")[2]))
            elif isinstance(action, actions.Delete):
                after.remove(int(action.ref.name.split("-")[2]))
    assert after == desired | (existing & used)
    settled = [stored(index) for index in sorted(after)]
    assert changes(*settled, desired=sorted(desired), pods=pods).chains == ()


# How pods come by the same requests ------------------------------------------------------------


def asking(**resources: dict[str, str]) -> dict[str, Any]:
    return {"name": "c", "image": "app:1", "resources": resources}


def made_of(*containers: dict[str, Any], **given: Any) -> kueue.Workload:
    template = {"spec": {"containers": list(containers)}}
    return stored(0, pod_sets=[{"name": "main", "count": 3, "template": template}], **given)


HALVES = [asking(requests={"cpu": "500m"})] * 2


@pytest.mark.row("P4")
@pytest.mark.parametrize(
    "before",
    [
        made_of(asking(requests={"cpu": "1"})),
        made_of(*[asking(requests={"cpu": "500m"}, limits={"cpu": "100m"})] * 2),
    ],
    ids=["undivided", "limits"],
)
def test_a_workload_that_waits_follows_how_pods_come_by_the_same_requests(
    before: kueue.Workload,
) -> None:
    """A LimitRange or a limit may forbid the one and not the other."""
    owner = builders.lws_object(worker={"spec": {"containers": HALVES}})
    found = patch(changes(before, owner=owner))
    (pod_set,) = found.body["spec"]["podSets"]
    assert pod_set["template"]["spec"]["containers"] == HALVES
    assert [event.reason for event in found.events] == ["UpdatedWorkload"]


@pytest.mark.row("P4")
@pytest.mark.parametrize(
    "there",
    [
        made_of(asking(requests={"cpu": "1"}), conditions=[RESERVED]),
        made_of(
            asking(requests={"cpu": "1"}),
            conditions=[condition("Finished", True, "Succeeded")],
        ),
        made_of(*[asking(requests={"cpu": "0.5"}, limits={})] * 2),
    ],
    ids=["has-quota", "finished", "respelled"],
)
def test_no_other_workload_is_written_for_it(there: kueue.Workload) -> None:
    owner = builders.lws_object(worker={"spec": {"containers": HALVES}})
    assert changes(there, owner=owner).chains == ()
