"""What one group gets made, as whole passes see it: workers in a domain, PodGroups, the order."""

import datetime
from collections.abc import Mapping
from typing import Any

import pytest

from lws_kueue.api import actions, facts, lws, names
from lws_kueue.controller import decide
from lws_kueue.controller.objects import exclusive
from lws_kueue.controller.observe import observed
from lws_kueue.controller.revision import revisions
from lws_kueue.workload import build
from tests.kit.builders import given

NOW = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)
RACK = "example.com/rack"


def node(name: str, **labels: str) -> facts.Node:
    return facts.Node.of({"metadata": {"name": name, "labels": labels}})


def a_container(cpu: str = "", **more: Any) -> dict[str, Any]:
    return {"name": "c", "resources": {"requests": {"cpu": cpu}} if cpu else {}, **more}


def template(*containers: Mapping[str, Any], **spec: Any) -> dict[str, Any]:
    return {"metadata": {}, "spec": {"containers": list(containers), **spec}}


def a_situation(
    owner: lws.LeaderWorkerSet,
    *,
    nodes: Mapping[str, facts.Node | None] | None = None,
    pod_groups: Mapping[str, facts.Named] | None = None,
    **leader: Any,
) -> observed.Observed:
    """A set whose one leader exists and nothing else of its group."""
    key = revisions.choose(owner, revisions=(), leader_key=None).key
    create = revisions.choose(owner, revisions=(), leader_key=None).create
    assert create is not None
    revision = facts.Revision.of(
        {**create.body, "metadata": {**create.body["metadata"], "uid": "uid-of-revision"}}
    )
    size = owner.spec.leader_worker_template.size
    head = given.a_leader(0, key=key, size=size, **leader)
    leader_set = given.a_leader_set(labels={names.SET_NAME: given.NAME, names.REVISION_KEY: key})
    return observed.Observed(
        namespace=given.NAMESPACE,
        name=given.NAME,
        lws=owner,
        kueue=observed.Kueue("missing"),
        stateful_sets={leader_set.meta.name: leader_set},
        pods={head.meta.name: head},
        services={given.NAME: facts.Service.of({"metadata": {"name": given.NAME}})},
        revisions={revision.meta.name: revision},
        nodes=nodes or {},
        pod_groups=pod_groups,
    )


def plan_of(seen: observed.Observed) -> actions.Plan:
    return decide.decide(seen, now=NOW, options=build.Options())


def created(plan: actions.Plan) -> list[Mapping[str, Any]]:
    return [a.body for chain in plan.chains for a in chain if isinstance(a, actions.Create)]


def of_kind(plan: actions.Plan, kind: str) -> list[Mapping[str, Any]]:
    return [body for body in created(plan) if body["kind"] == kind]


def texts(plan: actions.Plan) -> str:
    return "\n".join(warning.message for warning in plan.warnings)


# Exclusive placement (lws-contract 5.5) ----------------------------------------------------


def exclusive_set(**options: Any) -> lws.LeaderWorkerSet:
    return given.an_lws(replicas=1, annotations={names.EXCLUSIVE_TOPOLOGY: RACK}, **options)


def test_only_the_nodes_of_leaders_without_workers_are_asked_for() -> None:
    assert exclusive.nodes_asked(a_situation(exclusive_set(), node="n1")) == {"n1"}
    assert exclusive.nodes_asked(a_situation(exclusive_set(), node="")) == frozenset()
    assert exclusive.nodes_asked(a_situation(exclusive_set(size=1), node="n1")) == frozenset()
    assert exclusive.nodes_asked(a_situation(given.an_lws(replicas=1), node="n1")) == frozenset()


def test_workers_are_pinned_to_the_domain_of_their_leaders_node() -> None:
    own = template(a_container(), nodeSelector={"pool": "gpu"})
    owner = exclusive_set(template={"workerTemplate": own})
    seen = a_situation(owner, node="n1", nodes={"n1": node("n1", **{RACK: "r7"})})
    (workers,) = of_kind(plan_of(seen), "StatefulSet")
    selector = workers["spec"]["template"]["spec"]["nodeSelector"]
    assert selector == {"pool": "gpu", RACK: "r7"}


def test_without_exclusive_placement_no_selector_is_added() -> None:
    (workers,) = of_kind(plan_of(a_situation(given.an_lws(replicas=1), node="n1")), "StatefulSet")
    assert "nodeSelector" not in workers["spec"]["template"]["spec"]


@pytest.mark.row("UT-20")
def test_without_the_leaders_node_there_are_no_workers_and_the_set_says_so() -> None:
    plan = plan_of(a_situation(exclusive_set(), node="n1", nodes={"n1": None}))
    assert not of_kind(plan, "StatefulSet")
    assert "node n1, which does not exist" in texts(plan)
    assert plan.recheck_after is not None


def test_a_node_that_cannot_be_read_holds_up_nothing_but_the_workers() -> None:
    plan = plan_of(a_situation(exclusive_set(), node="n1", nodes={}))
    assert not of_kind(plan, "StatefulSet")
    assert "node n1 of leader pod" in texts(plan)
    assert "could not be read" in texts(plan)
    assert plan.status is not None
    assert plan.recheck_after is not None


def test_a_node_without_the_label_is_named_together_with_the_label() -> None:
    plan = plan_of(a_situation(exclusive_set(), node="n1", nodes={"n1": node("n1")}))
    assert not of_kind(plan, "StatefulSet")
    assert f"node n1 of leader pod {given.NAME}-0 has no label {RACK}" in texts(plan)
    assert plan.recheck_after is not None


# PodGroups (lws-contract 3.7) --------------------------------------------------------------

GANG = {names.POD_GROUP: "test-sample-0-key"}


def ganged(owner: lws.LeaderWorkerSet, *, existing: Any = None, **leader: Any) -> actions.Plan:
    size = str(owner.spec.leader_worker_template.size)
    annotations = {names.SIZE: size, **leader.pop("annotations", GANG)}
    seen = a_situation(owner, pod_groups=existing or {}, annotations=annotations, **leader)
    return plan_of(seen)


@pytest.mark.row("UT-45")
@pytest.mark.parametrize(("policy", "members"), [("LeaderCreated", 3), ("LeaderReady", 1)])
def test_a_pod_group_asks_for_the_whole_group_unless_the_leader_starts_alone(
    policy: str, members: int
) -> None:
    owner = given.an_lws(
        replicas=1,
        size=3,
        template={"leaderTemplate": None, "workerTemplate": template(a_container("100m"))},
        annotations={
            "volcano.sh/thing": "x",
            "example.com/other": "y",
            names.VOLCANO_QUEUE: "gold",
        },
        startupPolicy=policy,
    )
    (group,) = of_kind(ganged(owner, ready=False), "PodGroup")
    assert group["metadata"]["name"] == "test-sample-0-key"
    assert group["metadata"]["annotations"] == {"volcano.sh/thing": "x"}
    assert group["spec"] == {
        "minMember": members,
        "minResources": {"cpu": "300m"},
        "queue": "gold",
    }
    (reference,) = group["metadata"]["ownerReferences"]
    assert (reference["kind"], reference["controller"]) == ("Pod", True)
    assert reference["uid"] == f"uid-of-{given.NAME}-0"


@pytest.mark.row("UT-45")
def test_a_pod_group_that_exists_is_left_as_it_is() -> None:
    existing = {"test-sample-0-key": facts.Named.of({"metadata": {"name": "test-sample-0-key"}})}
    assert not of_kind(ganged(given.an_lws(replicas=1), existing=existing), "PodGroup")


def test_leader_and_workers_count_by_their_own_templates_and_limits_do_not_count() -> None:
    limited = {"name": "c", "resources": {"limits": {"memory": "1Gi"}}}
    sidecar = a_container("50m", restartPolicy="Always")
    owner = given.an_lws(
        replicas=1,
        size=3,
        template={
            "leaderTemplate": template(a_container("1"), limited),
            "workerTemplate": template(a_container("200m"), initContainers=[sidecar]),
        },
    )
    (group,) = of_kind(ganged(owner), "PodGroup")
    assert group["spec"]["minResources"] == {"cpu": "1500m"}


def test_a_group_of_one_pod_has_a_pod_group_as_well() -> None:
    assert of_kind(ganged(given.an_lws(replicas=1, size=1)), "PodGroup")


def test_a_leader_that_is_going_gets_no_pod_group() -> None:
    assert not of_kind(ganged(given.an_lws(replicas=1), deleted=True), "PodGroup")


def test_the_pod_group_comes_before_the_workers() -> None:
    plan = ganged(given.an_lws(replicas=1))
    kinds = [body["kind"] for body in created(plan)]
    assert kinds == ["PodGroup", "StatefulSet"]
    (chain,) = (c for c in plan.chains if len(c) > 1)
    assert all(isinstance(action, actions.Create) for action in chain)


def test_a_pod_that_is_older_than_the_setting_starts_its_workers_and_the_set_says_so() -> None:
    plan = ganged(given.an_lws(replicas=1), annotations={})
    assert [body["kind"] for body in created(plan)] == ["StatefulSet"]
    assert f"leader pod {given.NAME}-0 has no annotation {names.POD_GROUP}" in texts(plan)


def test_where_nobody_schedules_gangs_nothing_of_it_happens() -> None:
    plan = plan_of(a_situation(given.an_lws(replicas=1)))
    assert not of_kind(plan, "PodGroup")
    assert not plan.warnings
