"""Two sets that need one name: the second one says whose the object is, and touches nothing."""

import dataclasses
import datetime
from typing import Any

import pytest

from lws_kueue.api import actions, facts, names
from lws_kueue.controller import decide
from lws_kueue.controller.objects import name_claims
from lws_kueue.controller.observe import observed
from lws_kueue.workload import build
from tests.controller import test_group_objects
from tests.kit.builders import given

pytestmark = pytest.mark.row("P9")

NOW = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)
POD = given.reference("Pod", "model-1", "uid-of-a-pod")
SET = given.reference(names.LWS_KIND, "model", "uid-of-another-set")
OTHER = given.reference("Deployment", "web", "uid-of-web")


def meta(owner: dict[str, Any] | None, **labels: str) -> facts.Meta:
    references = [owner] if owner else []
    return facts.Meta.of(
        {"metadata": {"name": "model-1", "labels": labels, "ownerReferences": references}}
    )


LABELLED = {names.SET_NAME: "model"}


@pytest.mark.parametrize(
    ("taken", "holder", "rival"),
    [
        (meta(None), "has no owner", None),
        (meta(None, **LABELLED), "has no owner", None),
        (meta(SET, **LABELLED), "belongs to LeaderWorkerSet model", "model"),
        (meta(POD, **LABELLED), "belongs to group 1 of LeaderWorkerSet model", "model"),
        (meta(POD, **{names.SET_NAME: "x"}), "belongs to Pod model-1", None),
        (meta(POD), "belongs to Pod model-1", None),
        (meta(OTHER, **LABELLED), "belongs to Deployment web", None),
    ],
)
def test_whose_an_object_is(taken: facts.Meta, holder: str, rival: str | None) -> None:
    assert name_claims.holder(taken) == holder
    assert name_claims.rival(taken) == rival
    assert ("comes up by itself" in name_claims.remedy(taken)) == (rival is not None)


def plan_of(seen: observed.Observed) -> actions.Plan:
    return decide.decide(seen, now=NOW, options=build.Options())


def told(plan: actions.Plan) -> list[str]:
    return [warning.message for warning in plan.warnings]


def test_leaders_whose_stateful_set_is_that_of_another_sets_workers_wait_and_say_so() -> None:
    leader = given.reference("Pod", "test-0", "uid-of-a-leader")
    taken = given.a_stateful_set(given.NAME, owner=leader, labels={names.SET_NAME: "test"})
    seen = observed.Observed(
        namespace=given.NAMESPACE,
        name=given.NAME,
        lws=given.an_lws(),
        kueue=observed.Kueue("missing"),
        stateful_sets={given.NAME: taken},
    )
    plan = plan_of(seen)
    assert plan.empty
    assert plan.recheck_after is not None
    (text,) = told(plan)
    assert text.startswith(
        f"StatefulSet {given.NAME} exists and belongs to group 0 of LeaderWorkerSet test;"
    )


def test_groups_in_a_queue_whose_leaders_have_no_name_say_what_they_wait_for() -> None:
    leader = given.reference("Pod", "test-0", "uid-of-a-leader")
    taken = given.a_stateful_set(given.NAME, owner=leader, labels={names.SET_NAME: "test"})
    seen = observed.Observed(
        namespace=given.NAMESPACE,
        name=given.NAME,
        lws=given.an_lws(labels={names.QUEUE_NAME: "queue"}),
        kueue=observed.Kueue("served"),
        stateful_sets={given.NAME: taken},
    )
    plan = plan_of(seen)
    assert not any(plan.chains), "no quota for pods that cannot be made"
    assert plan.status is not None
    (standing,) = [c for c in plan.status.status["conditions"] if c["type"] == names.WAITING]
    assert standing["reason"] == "StatefulSetNameTaken"
    assert standing["message"] == f"groups 0-1: {told(plan)[0]}"


@pytest.mark.parametrize(
    ("owner", "labels", "holder"),
    [
        (
            given.reference(names.LWS_KIND, "test-sample-0", "uid-of-the-other"),
            {names.SET_NAME: "test-sample-0"},
            "belongs to LeaderWorkerSet test-sample-0. Give this set another name; it comes up",
        ),
        (None, {}, "has no owner. Delete or rename it"),
    ],
    ids=["another-set", "stranger"],
)
def test_workers_whose_stateful_set_is_that_of_others_wait_and_say_so(
    owner: dict[str, Any] | None, labels: dict[str, str], holder: str
) -> None:
    seen = test_group_objects.a_situation(given.an_lws(replicas=1))
    taken = given.a_stateful_set("test-sample-0", owner=owner, labels=labels)
    plan = plan_of(
        dataclasses.replace(seen, stateful_sets={**seen.stateful_sets, "test-sample-0": taken})
    )
    assert not test_group_objects.of_kind(plan, "StatefulSet")
    assert any(
        f"leader pod test-sample-0: StatefulSet test-sample-0 exists and {holder}" in one
        for one in told(plan)
    )
    # Nothing that is the other's is written.
    refs = [
        actions.ref_of(one.body) if isinstance(one, actions.Create | actions.Apply) else one.ref
        for chain in plan.chains
        for one in chain
        if isinstance(one, actions.Create | actions.Apply | actions.Patch | actions.Delete)
    ]
    assert all(ref.name != "test-sample-0" for ref in refs)


def test_a_service_that_serves_another_set_is_left_to_it_and_named() -> None:
    unique = given.an_lws(replicas=1, networkConfig={"subdomainPolicy": "UniquePerReplica"})
    seen = test_group_objects.a_situation(unique)
    (leader,) = seen.pods.values()
    looking = dataclasses.replace(leader, spec={**leader.spec, "subdomain": leader.meta.name})
    other = given.reference(names.LWS_KIND, "test-sample-0", "uid-of-the-other")
    service = facts.Service.of(
        {
            "metadata": {
                "name": leader.meta.name,
                "labels": {names.SET_NAME: "test-sample-0"},
                "ownerReferences": [other],
            },
            "spec": {"clusterIP": "None", "selector": {names.SET_NAME: "test-sample-0"}},
        }
    )
    plan = plan_of(
        dataclasses.replace(
            seen,
            pods={leader.meta.name: looking},
            services={**seen.services, leader.meta.name: service},
        )
    )
    assert not test_group_objects.of_kind(plan, "Service")
    (text,) = [one for one in told(plan) if one.startswith("Service test-sample-0")]
    assert "belongs to LeaderWorkerSet test-sample-0 and does not select pod test-sample-0" in text
    assert "Give this set another name" in text
