"""Each way round an admission that was found, with the policies of the guard and without them.

Ids are those of the list of faults. What is measured is the CPU of pods on nodes that nobody has
stopped, against what Kueue has admitted. Only a policy can stop the choice of flavor and topology
by hand (Q13), and what runs for the fraction of a second until it is stopped (Q15). No pod can be
resized on these nodes (Q12): `e2e/admission/test_guard.py` tries whether it is refused, and
`tests/controller/test_backing.py` whether it is stopped.
"""

from typing import Any

import pytest
from lws_kueue_lab.sandbox import client

from e2e.intruder.intruder import POD, SET, STATEFUL_SET, Intruder, Object
from lws_kueue.api import names
from tests.kit import polling
from tests.kit.kueue.queued import WORKLOAD, is_true
from tests.kit.live import harness
from tests.kit.lws.sample import LWS


def swell(template: Object) -> None:
    template["spec"]["containers"][0]["resources"]["requests"]["cpu"] = "1"


def open_(template: Object) -> None:
    template["spec"]["schedulingGates"] = None


def more(template: Object) -> None:
    extra = {"name": "more", "image": harness.IMAGE, "resources": {"requests": {"cpu": "1"}}}
    template["spec"]["containers"] = [*template["spec"]["containers"], extra]


def swell_and_open(template: Object) -> None:
    swell(template)
    open_(template)


def pretend(body: Object) -> None:
    template = body["spec"]["leaderWorkerTemplate"]["workerTemplate"]
    marks = {names.POD_SUSPENDING_PARENT: names.KUEUE_LWS_FRAMEWORK}
    template["metadata"] = {"annotations": marks}


@pytest.mark.row("Q1")
def test_bigger_pods_from_an_edited_worker_statefulset_are_not_let_go(intruder: Intruder) -> None:
    one = intruder.make(quota="0")
    one.wait_gated(0, pods=2)
    if intruder.edit_template(f"{SET}-0", swell):
        intruder.api.delete(*POD, f"{SET}-0-1", namespace=intruder.namespace, missing_ok=True)
    harness.set_quota(intruder.cluster, namespace=intruder.namespace, cpu="10")
    one.wait_ready(1)
    intruder.wait_within()
    if not intruder.guarded:
        one.wait_event("PodExceedsAdmission", "1 of cpu instead of 100m", kind="Warning")
        one.wait_event("InvalidStatefulSet", "containers[c].resources", kind="Warning")


@pytest.mark.row("Q2")
def test_a_container_put_into_the_leader_statefulset_is_not_let_go(intruder: Intruder) -> None:
    one = intruder.make(quota="0")
    one.wait_gated(0, pods=2)
    if intruder.edit_template(SET, more):
        intruder.api.delete(*POD, f"{SET}-0", namespace=intruder.namespace, missing_ok=True)
    harness.set_quota(intruder.cluster, namespace=intruder.namespace, cpu="10")
    one.wait_ready(1)
    intruder.wait_within()
    if not intruder.guarded:
        one.wait_event("InvalidStatefulSet", "containers[more] was changed by", kind="Warning")


@pytest.mark.row("Q3")
def test_workers_beyond_the_admission_are_stopped(intruder: Intruder) -> None:
    one = intruder.make(quota="10")
    one.wait_ready(1)
    intruder.edit_template(f"{SET}-0", open_)
    scaled = {"spec": {"replicas": 4}}
    intruder.tries(lambda: intruder.patch(STATEFUL_SET, f"{SET}-0", scaled, subresource="scale"))
    intruder.wait_within()


@pytest.mark.row("Q4")
def test_a_group_whose_marks_were_taken_does_not_run_while_it_waits(intruder: Intruder) -> None:
    rolling = {"partition": 1, "maxUnavailable": 1, "maxSurge": 0}
    one = intruder.make(
        quota="0",
        rolloutStrategy={"type": "RollingUpdate", "rollingUpdateConfiguration": rolling},
    )
    one.wait_gated(0, pods=2)
    for name in (f"{SET}-0", f"{SET}-0-1"):
        intruder.mark(
            name,
            annotations={names.POD_SUSPENDING_PARENT: None},
            labels={"controller-revision-hash": "x"},
        )
        intruder.open_gate(name)
    intruder.wait_within()
    one.wait_gated(0, pods=2)


def test_groups_below_the_partition_of_a_set_that_gets_a_queue_do_not_run_on_its_old_template(
    intruder: Intruder,
) -> None:
    kept = {"partition": 2, "maxUnavailable": 1, "maxSurge": 0}
    one = intruder.make(
        quota="0",
        replicas=0,
        change=lambda body: body["metadata"]["labels"].pop(names.QUEUE_NAME),
        rolloutStrategy={"type": "RollingUpdate", "rollingUpdateConfiguration": kept},
    )
    intruder.cluster.api.wait_for(
        *STATEFUL_SET,
        SET,
        lambda seen: bool(((seen or {}).get("status") or {}).get("currentRevision")),
        namespace=intruder.namespace,
        what="its template is kept",
    )
    queue = {names.QUEUE_NAME: "user-queue"}
    intruder.patch(LWS, SET, {"metadata": {"labels": queue}, "spec": {"replicas": 2}})
    one.wait_told("groups 0-1:")
    intruder.wait_within()
    one.wait_event("RepairBackOff", "scheduling gate", kind="Warning")


def forged(namespace: str, *, owner: str = "", **spec: Any) -> Object:
    """Return a leader StatefulSet as somebody would make it whose pods shall wait for nobody."""
    labels = {names.SET_NAME: SET, names.WORKER_INDEX: "0"}
    meta: Object = {"name": SET, "namespace": namespace, "labels": labels}
    if owner:
        kind = {"apiVersion": names.LWS_API_VERSION, "kind": names.LWS_KIND}
        meta["ownerReferences"] = [{**kind, "name": SET, "uid": owner, "controller": True}]
    container = {"name": "c", "image": harness.IMAGE, "resources": {"requests": {"cpu": "100m"}}}
    pod = {"terminationGracePeriodSeconds": 0, "containers": [container]}
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": meta,
        "spec": {
            "replicas": 1,
            "serviceName": SET,
            "podManagementPolicy": "Parallel",
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels, "annotations": {names.SIZE: "1"}},
                "spec": pod,
            },
            **spec,
        },
    }


def test_a_leader_statefulset_that_was_there_before_its_set_lets_nothing_run(
    intruder: Intruder,
) -> None:
    made = intruder.tries(lambda: intruder.api.create(forged(intruder.namespace)))
    if made:
        intruder.cluster.api.wait_for(
            *POD, f"{SET}-0", bool, namespace=intruder.namespace, what="it has made a pod"
        )
    one = intruder.make(quota="0", size=1)
    intruder.wait_within()
    one.wait_gated(0, pods=1)


KEPT = {"type": "RollingUpdate", "rollingUpdateConfiguration": {"partition": 100}}


@pytest.mark.parametrize(
    ("rollout", "odd"),
    [
        pytest.param({}, {"serviceName": "another"}, id="of another Service"),
        pytest.param({"rolloutStrategy": KEPT}, {}, id="kept by a partition"),
    ],
)
def test_a_leader_statefulset_in_the_place_of_the_sets_own_lets_nothing_run(
    intruder: Intruder, rollout: dict[str, Any], odd: dict[str, Any]
) -> None:
    one = intruder.make(quota="0", size=1, **rollout)
    one.wait_gated(0, pods=1)
    owner = intruder.api.get(*LWS, SET, namespace=intruder.namespace)["metadata"]["uid"]
    body = forged(intruder.namespace, owner=owner, **odd)

    def replace() -> None:
        own = intruder.api.find(*STATEFUL_SET, SET, namespace=intruder.namespace)
        intruder.api.delete(*STATEFUL_SET, SET, namespace=intruder.namespace, missing_ok=True)
        made = intruder.api.create(body)
        assert own is None or made["metadata"]["uid"] != own["metadata"]["uid"]

    made = intruder.tries(lambda: polling.racing()(replace))
    intruder.wait_within()
    if made and rollout:
        # Below the partition leaders are made from the template that was there first, for ever.
        one.wait_event("RepairBackOff", "scheduling gate", kind="Warning")
        intruder.wait_within()
        return
    if made:
        one.wait_event("InvalidStatefulSet", "spec.serviceName", kind="Warning")
    one.wait_gated(0, pods=1)


def test_a_plain_set_that_leaves_its_pods_behind_gets_no_queue(intruder: Intruder) -> None:

    def leaves_behind(body: Object) -> None:
        del body["metadata"]["labels"][names.QUEUE_NAME]
        body["metadata"]["finalizers"] = ["orphan"]

    one = intruder.make(quota="10", change=leaves_behind)
    queue = {names.QUEUE_NAME: "user-queue"}
    if intruder.tries(lambda: intruder.patch(LWS, SET, {"metadata": {"labels": queue}})):
        one.wait_ready(1)
    intruder.patch(LWS, SET, {"metadata": {"finalizers": None}})
    intruder.api.delete(*LWS, SET, namespace=intruder.namespace)
    intruder.cluster.api.wait_for(
        *LWS, SET, lambda seen: seen is None, namespace=intruder.namespace, what="the set is gone"
    )


@pytest.mark.row("Q5")
def test_pods_that_a_set_leaves_behind_do_not_run_on_without_quota(intruder: Intruder) -> None:
    one = intruder.make(quota="10")
    one.wait_ready(1)
    gone = intruder.tries(
        lambda: intruder.api.delete(*LWS, SET, namespace=intruder.namespace, propagation="Orphan")
    )
    # Kueue finishes what lost its owner, and gives its quota to others.
    intruder.cluster.api.wait_for_all(
        *WORKLOAD,
        lambda seen: not gone or all(is_true(one, "Finished") for one in seen.values()),
        namespace=intruder.namespace,
        timeout=60,
        what="Kueue has found out",
    )
    intruder.wait_within()


@pytest.mark.row("Q6")
def test_a_set_that_somebody_keeps_from_going_runs_nothing_that_is_not_admitted(
    intruder: Intruder,
) -> None:
    one = intruder.make(quota="0")
    one.wait_gated(0, pods=2)
    hold = {"metadata": {"finalizers": ["example.com/hold"]}}
    intruder.patch(LWS, SET, hold)
    intruder.api.delete(*LWS, SET, namespace=intruder.namespace)
    for name in (f"{SET}-0", f"{SET}-0-1"):
        intruder.open_gate(name)
    intruder.wait_within()
    intruder.patch(LWS, SET, {"metadata": {"finalizers": None}})


@pytest.mark.row("Q7")
def test_a_forged_revision_gets_no_admission_of_a_smaller_one(intruder: Intruder) -> None:
    one = intruder.make(quota="0")
    one.wait_gated(0, pods=2)
    leader = intruder.api.get(*POD, f"{SET}-0", namespace=intruder.namespace)
    small = leader["metadata"]["labels"][names.REVISION_KEY]
    container = {"name": "c", "resources": {"requests": {"cpu": "1"}}}
    template = {"spec": {"containers": [container | {"image": harness.IMAGE}]}}
    body = {"spec": {"leaderWorkerTemplate": {"workerTemplate": template}}}
    intruder.patch(LWS, SET, body)
    one.wait_pods(
        0,
        lambda found: (
            len(found) == 2
            and all(
                pod["spec"]["containers"][0]["resources"]["requests"]["cpu"] == "1"
                for pod in found.values()
            )
        ),
        what="the bigger pods",
    )
    intruder.mark(f"{SET}-0", labels={names.REVISION_KEY: small})
    harness.set_quota(intruder.cluster, namespace=intruder.namespace, cpu="300m")
    intruder.wait_within()


@pytest.mark.row("Q8")
def test_an_amount_that_nobody_can_read_is_refused_with_the_set(intruder: Intruder) -> None:
    one = intruder.make(quota="10")
    one.wait_ready(1)
    resources = {"requests": {"cpu": "1e1000000"}}
    container = {"name": "c", "image": harness.IMAGE, "resources": resources}
    template = {"spec": {"containers": [container]}}
    body = {"spec": {"leaderWorkerTemplate": {"workerTemplate": template}}}
    with pytest.raises(client.ApiError, match="cpu"):
        intruder.patch(LWS, SET, body)


@pytest.mark.row("Q9")
def test_pods_that_are_opened_by_hand_under_another_admission_are_stopped(
    intruder: Intruder,
) -> None:
    one = intruder.make(quota="10")
    one.wait_ready(1)
    if intruder.edit_template(f"{SET}-0", swell_and_open):
        intruder.api.delete(*POD, f"{SET}-0-1", namespace=intruder.namespace, missing_ok=True)
    intruder.wait_within()


@pytest.mark.row("Q10")
def test_the_mark_of_kueues_own_integration_lets_nothing_run_while_nobody_knows_of_it(
    intruder: Intruder,
) -> None:
    """Sets there have to say whose they are, so that none can be made to see what Kueue does."""
    with intruder.wanted("team") as labels:

        def change(body: Object) -> None:
            pretend(body)
            body["metadata"]["labels"] |= labels

        one = intruder.make(quota="0", change=change, leader=True)
        one.wait_told("nobody knows", "label team")
        one.wait_gated(0, pods=2)
        intruder.wait_within()
    # The answer comes with the next look, and Kueue lets nothing go either.
    one.wait_set(
        lambda seen: "nobody knows" not in str(harness.condition(seen, "WaitingForAdmission")),
        what="it is known",
    )
    intruder.wait_within()


@pytest.mark.row("Q11")
def test_a_set_that_says_to_be_part_of_something_is_in_the_default_queue_all_the_same(
    intruder: Intruder,
) -> None:
    harness.queues(intruder.cluster, namespace=intruder.namespace, cpu="0", name="default")
    container = {"name": "c", "image": harness.IMAGE}
    pod = {"metadata": {"name": "holder", "namespace": intruder.namespace}}
    kind = {"apiVersion": "v1", "kind": "Pod"}
    made = intruder.api.create({**kind, **pod, "spec": {"containers": [container]}})
    holder = {**kind, "name": "holder", "uid": made["metadata"]["uid"], "controller": True}

    def forge(body: Object) -> None:
        del body["metadata"]["labels"]
        body["metadata"]["ownerReferences"] = [holder]

    one = intruder.make(quota="0", change=forge)
    one.wait_gated(0, pods=2)
    live = intruder.api.get(*LWS, SET, namespace=intruder.namespace)
    assert live["metadata"]["labels"][names.QUEUE_NAME] == "default"


@pytest.mark.row("Q14")
def test_a_forged_workload_of_a_pod_gives_no_quota_back_while_it_runs(intruder: Intruder) -> None:
    one = intruder.make(quota="10")
    one.wait_ready(1)
    for name in (f"{SET}-0", f"{SET}-0-1"):
        intruder.mark(name, annotations={names.WORKLOAD: "another"})
    intruder.patch(LWS, SET, {"metadata": {"finalizers": ["example.com/hold"]}})
    intruder.api.delete(*LWS, SET, namespace=intruder.namespace)
    intruder.wait_within()
    intruder.patch(LWS, SET, {"metadata": {"finalizers": None}})


@pytest.mark.row("Q15")
def test_a_template_without_the_gate_makes_pods_that_are_stopped_or_gated(
    intruder: Intruder,
) -> None:
    one = intruder.make(quota="0")
    one.wait_gated(0, pods=2)
    if intruder.edit_template(f"{SET}-0", open_):
        intruder.api.delete(*POD, f"{SET}-0-1", namespace=intruder.namespace, missing_ok=True)
    intruder.wait_within()
    one.wait_gated(0, pods=2)


def test_pods_made_by_hand_in_the_place_of_others_are_stopped(intruder: Intruder) -> None:
    one = intruder.make(quota="10")
    one.wait_ready(1)
    owner = intruder.api.get(*STATEFUL_SET, f"{SET}-0", namespace=intruder.namespace)
    reference = {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "name": f"{SET}-0",
        "uid": owner["metadata"]["uid"],
        "controller": True,
    }
    pod = intruder.smuggled(f"{SET}-0-7", like={"ownerReferences": [reference]})
    intruder.tries(lambda: intruder.api.create(pod))
    intruder.wait_within()


@pytest.mark.row("D1")
def test_a_pod_that_only_has_the_name_of_a_member_is_nobodys_to_delete(intruder: Intruder) -> None:
    container = {"name": "c", "image": harness.IMAGE}
    database: Object = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"{SET}-0",
            "namespace": intruder.namespace,
            "labels": {"app": "database"},
        },
        "spec": {"containers": [container]},
    }
    uid = intruder.cluster.api.create(database)["metadata"]["uid"]
    one = intruder.make(quota="0", replicas=2)
    one.wait_told("group 0")
    found = intruder.cluster.api.get(*POD, f"{SET}-0", namespace=intruder.namespace)
    assert found["metadata"]["uid"] == uid
    assert "deletionTimestamp" not in found["metadata"]
