"""Workloads that no longer fit their group, or are finished by mistake, are made anew."""

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from lws_kueue.api import actions, facts, kueue, lws, names
from lws_kueue.workload import diff, naming, podsets, recreate
from tests.kit.builders import builders
from tests.kit.builders.builders import (
    ADMITTED,
    NO_CLASSES,
    OPTIONS,
    RESERVED,
    condition,
    pod,
    running,
)

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)
OWNER = builders.lws_object()
NAME = naming.workload_name("serve", 0, "set-uid")


def content(owner: lws.LeaderWorkerSet = OWNER, key: str = "new") -> recreate.Content:
    return recreate.content(owner, key, options=OPTIONS)


def stored(made_for: lws.LeaderWorkerSet = OWNER, **given: Any) -> kueue.Workload:
    pod_sets = podsets.pod_sets(made_for.spec.leader_worker_template)
    return builders.workload(name=NAME, index=0, uid="wl", pod_sets=pod_sets, **given)


def larger() -> lws.LeaderWorkerSet:
    return builders.lws_object(size=4)


def writes(
    workload: kueue.Workload,
    *pods: facts.Pod,
    owner: lws.LeaderWorkerSet = OWNER,
    now: datetime = NOW,
) -> actions.Part:
    made_from = content(owner)
    outdated = recreate.outdated(workload, made_from, pods, flavors={})
    return diff.changes(
        owner,
        {workload.meta.name: workload},
        wanted={0: diff.Wanted(made_from, outdated)},
        pods={0: pods},
        classes=NO_CLASSES,
        options=OPTIONS,
        now=now,
    )


def test_a_workload_that_waits_is_rewritten_and_keeps_its_place() -> None:
    ((patch,),) = writes(stored(), owner=larger()).chains
    assert isinstance(patch, actions.Patch)
    assert patch.body["spec"]["podSets"] == podsets.pod_sets(larger().spec.leader_worker_template)
    assert patch.resource_version


def test_a_workload_that_holds_quota_is_removed_once_nothing_of_its_group_can_run() -> None:
    reserved = stored(conditions=[RESERVED, ADMITTED])
    assert writes(reserved, running(0), owner=larger()).chains == ()
    ((deletion,),) = writes(reserved, pod(0), owner=larger()).chains
    assert isinstance(deletion, actions.Delete)
    assert deletion.uid == "wl"
    (event,) = deletion.events
    assert "number of pods of podset main changed" in event.message


def test_a_workload_stays_for_the_pods_that_were_let_go_under_it_at_this_revision() -> None:
    marks = {"annotations": {names.WORKLOAD: NAME}, "labels": {names.REVISION_KEY: "new"}}
    under = running(0)
    meta = dataclasses.replace(
        under.meta,
        annotations={**under.meta.annotations, **marks["annotations"]},
        labels={**under.meta.labels, **marks["labels"]},
    )
    released = dataclasses.replace(under, meta=meta)
    assigned = builders.assigned("main", 3) | {"resourceUsage": {"cpu": "300m"}}
    admitted = stored(conditions=[RESERVED, ADMITTED], assignments=[assigned])
    assert recreate.outdated(admitted, content(larger()), [released], flavors={}) is None
    big = {"containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}}]}
    forged = dataclasses.replace(released, spec=big)
    assert recreate.outdated(admitted, content(larger()), [forged], flavors={}) is not None
    other = content(larger(), key="another")
    assert recreate.outdated(admitted, other, [released], flavors={}) is not None


@pytest.mark.row("C21")
@pytest.mark.parametrize(("before", "after"), [("", "g"), ("g", "h"), ("g", "")])
def test_the_name_of_a_group_of_one_podset_is_no_change_of_what_was_admitted(
    before: str, after: str
) -> None:
    def named(group: str) -> lws.LeaderWorkerSet:
        marks = {names.PODSET_GROUP_NAME: group} if group else {}
        marks[names.PODSET_REQUIRED_TOPOLOGY] = "rack"
        return builders.lws_object(worker=builders.template(annotations=marks))

    admitted = stored(named(before), conditions=[RESERVED, ADMITTED])
    assert recreate.outdated(admitted, content(named(after)), [], flavors={}) is None


def test_a_priority_of_pods_that_changes_needs_another_workload_even_while_it_waits() -> None:
    ref = {"group": "scheduling.k8s.io", "kind": "PriorityClass", "name": "low"}
    low = builders.lws_object(worker=builders.template(priorityClassName="low"))
    waiting = stored(low, spec={"priorityClassRef": ref, "priority": 1})
    ((deletion,),) = writes(waiting).chains
    assert isinstance(deletion, actions.Delete)


def finished(reason: str, at: datetime = NOW) -> kueue.Workload:
    since = at.strftime("%Y-%m-%dT%H:%M:%SZ")
    return stored(conditions=[condition("Finished", True, reason, since=since)])


def leader_of(age: timedelta) -> facts.Pod:
    gated = pod(0)
    created = (NOW - age).strftime("%Y-%m-%dT%H:%M:%SZ")
    return dataclasses.replace(gated, meta=dataclasses.replace(gated.meta, created=created))


@pytest.mark.parametrize("reason", sorted(recreate.REPAIRED))
def test_a_workload_that_is_finished_by_mistake_is_removed_after_a_moment(reason: str) -> None:
    at_once = writes(finished(reason))
    assert at_once.chains == ()
    assert at_once.recheck_after == 1
    ((deletion,),) = writes(finished(reason), now=NOW + timedelta(seconds=1)).chains
    assert isinstance(deletion, actions.Delete)
    assert reason in deletion.events[0].message


@pytest.mark.parametrize(
    ("tried", "wait"),
    [(0, 1), (1, 1), (10, 5), (60, 30), (3600, 300)],
)
def test_the_longer_a_group_has_been_trying_the_longer_it_waits(tried: int, wait: int) -> None:
    leader = leader_of(timedelta(seconds=tried))
    assert recreate.repair_in(finished("OutOfSync"), [leader], now=NOW) == wait


def test_what_finished_as_it_should_is_left_for_people_to_see() -> None:
    assert writes(finished("Succeeded"), now=NOW + timedelta(hours=1)).chains == ()


def test_a_workload_that_lost_its_owner_is_still_the_sets_and_gets_it_back() -> None:
    orphan = stored(metadata={"ownerReferences": [], "labels": {names.JOB_UID: "set-uid"}})
    ((patch,),) = writes(orphan).chains
    assert isinstance(patch, actions.Patch)
    (reference,) = patch.body["metadata"]["ownerReferences"]
    assert reference["uid"] == "set-uid"
    assert "controller" not in reference


def test_an_orphan_of_another_set_is_left_alone() -> None:
    orphan = stored(metadata={"ownerReferences": [], "labels": {names.JOB_UID: "former-set"}})
    found = writes(orphan)
    assert found.chains == ()
    assert found.reasons[0].code == "WorkloadNameTaken"
