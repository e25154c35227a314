"""What is done about a group, by what is seen of it: one line for each state and rule."""

from dataclasses import replace
from datetime import timedelta

import pytest

from lws_kueue.api import actions, kueue, names
from lws_kueue.api.reasons import Reason
from lws_kueue.dispatch import identity, mirror, offers, places, plan, settings, told
from tests.kit.builders import builders
from tests.kit.builders import dispatched as made
from tests.kit.builders.dispatched import (
    ADMITTED,
    EVICTED,
    FINISHED,
    NO_QUOTA,
    RESERVED,
    SET_NAME,
    TAKEN,
    Situation,
    Worker,
)

ALL = replace(made.OPTIONS, mode=settings.Mode.ALL_AT_ONCE)
AT_W1 = made.workload(RESERVED, ADMITTED, cluster="w1", check="Ready")
RUNS = Worker(made.offer(*TAKEN), made.run())
OFFERED = made.workload(RESERVED, nominated=["w1"])
BOTH = made.workload(RESERVED, nominated=["w1", "w2"])
OFF_DUTY = Reason("BuiltInIntegrationOn", "Kueue's built-in integration is on", "switch it off")
OTHER_IMAGE = made.owner(image="app:2")
MORE_CPU = made.owner(cpu="2")
PLACED = made.owner(**{"kueue.x-k8s.io/podset-required-topology": "rack"})
SOMEBODYS = {SET_NAME: "a set exists that this manager did not make"}

ROWS: dict[str, tuple[str, Situation, list[str]]] = {
    # Offering.
    "the best cluster is named before it gets anything": (
        "MK-01",
        Situation(made.workload(RESERVED)),
        ["nominate w1"],
    ),
    "a cluster that is named gets the anchor first": (
        "MK-01",
        Situation(OFFERED, w1=Worker(anchor="")),
        ["create Lease on w1"],
    ),
    "and then the offer": ("MK-01", Situation(OFFERED), ["create Workload on w1"]),
    "an offer without an answer is waited for": (
        "MK-05",
        Situation(OFFERED, w1=Worker(made.offer(age=3))),
        [],
    ),
    "an offer is widened when it was answered no": (
        "MK-05",
        Situation(OFFERED, w1=Worker(made.offer(NO_QUOTA, age=3))),
        ["nominate w1 w2"],
    ),
    "an offer is widened when nobody answers": (
        "MK-05",
        Situation(OFFERED, w1=Worker(made.offer(age=11))),
        ["nominate w1 w2"],
    ),
    "an offer is widened when its cluster is lost": (
        "MK-46",
        Situation(OFFERED, w1=Worker(made.offer(age=3), lost=1)),
        ["nominate w1 w2"],
    ),
    "all clusters are offered at once where that is set": (
        "MK-04",
        Situation(made.workload(RESERVED), options=ALL),
        ["nominate w1 w2"],
    ),
    "nothing is offered before the other checks are Ready": (
        "MK-10",
        Situation(made.workload(RESERVED, others={"prov": "Pending"})),
        [],
    ),
    "nothing is offered where the set cannot be dispatched, and its check says why": (
        "MK-66",
        Situation(made.workload(RESERVED), refused=OFF_DUTY),
        ["nominate"],
    ),
    "a cluster that cannot have groups is passed by": (
        "MK-52",
        Situation(made.workload(RESERVED), w1=Worker(trouble="Kueue is not served")),
        ["nominate w2"],
    ),
    "a cluster in which somebody has the name is passed by": (
        "MK-54",
        Situation(made.workload(RESERVED), w1=Worker(refused=SOMEBODYS)),
        ["nominate w2"],
    ),
    "an offer on a cluster that no config names is withdrawn": (
        "MK-38",
        Situation(BOTH, w1=Worker(made.offer(NO_QUOTA), configured=False)),
        ["delete Workload on w1", "nominate w2"],
    ),
    "an offer of other pods is withdrawn and made anew": (
        "MK-55",
        Situation(OFFERED, w1=Worker(made.offer(NO_QUOTA, made_from=MORE_CPU))),
        ["delete Workload on w1", "nominate w1 w2"],
    ),
    "nothing is offered on a Workload that is about to be renewed": (
        "MK-20",
        Situation(made.workload(RESERVED), made_from=MORE_CPU),
        [],
    ),
    "nothing is offered of a group that is switched off": (
        "MK-29",
        Situation(made.workload(RESERVED, active=False)),
        [],
    ),
    # Choosing.
    "the other offers are withdrawn before one is taken": (
        "MK-04",
        Situation(BOTH, w1=Worker(made.offer(*TAKEN)), w2=Worker(made.offer(NO_QUOTA))),
        ["delete Workload on w2"],
    ),
    "a cluster is stored before anything is made there": (
        "MK-42",
        Situation(BOTH, w1=Worker(made.offer(*TAKEN))),
        ["ready on w1"],
    ),
    "an offer on a cluster that is lost is not waited for": (
        "MK-46",
        Situation(BOTH, w1=Worker(made.offer(*TAKEN)), w2=Worker(made.offer(*TAKEN), lost=11)),
        ["ready on w1"],
    ),
    "a set on a cluster that is lost is waited for": (
        "MK-34",
        Situation(BOTH, w1=Worker(made.offer(*TAKEN)), w2=Worker(run=made.run(), lost=11)),
        [],
    ),
    "the cluster that has the set already is taken": (
        "MK-42",
        Situation(
            BOTH,
            w1=Worker(made.offer(*TAKEN)),
            w2=Worker(made.offer(*TAKEN), made.run()),
        ),
        ["delete Workload on w1"],
    ),
    "an evicted offer is not taken": (
        "MK-45",
        Situation(OFFERED, w1=Worker(made.offer(*TAKEN, EVICTED, age=3))),
        [],
    ),
    # Running.
    "the set is made where the group was given to": (
        "MK-01",
        Situation(AT_W1, w1=Worker(made.offer(*TAKEN))),
        ["apply set on w1"],
    ),
    "no set is made while another cluster has an offer": (
        "MK-04",
        Situation(AT_W1, w1=Worker(made.offer(*TAKEN)), w2=Worker(made.offer(NO_QUOTA))),
        ["delete Workload on w2"],
    ),
    "no set is made while a pod of the last one can run": (
        "MK-55",
        Situation(AT_W1, w1=Worker(made.offer(*TAKEN), pods=(made.pod(),))),
        [],
    ),
    "a set that is as wanted is left alone, and its readiness is told": (
        "MK-11",
        Situation(AT_W1, w1=RUNS, leader=made.leader()),
        ["patch Pod on manager", "PodsReady True"],
    ),
    "a set that stopped being ready is told": (
        "MK-11",
        Situation(
            made.workload(
                RESERVED,
                ADMITTED,
                builders.condition("PodsReady", True),
                cluster="w1",
                check="Ready",
            ),
            w1=Worker(made.offer(*TAKEN), made.run(ready=False)),
            leader=made.leader(ready=True),
        ),
        ["patch Pod on manager", "PodsReady False"],
    ),
    "a new image is applied in place": (
        "MK-17",
        Situation(
            AT_W1,
            w1=Worker(made.offer(*TAKEN), made.run(ready=False)),
            key="k2",
            made_from=OTHER_IMAGE,
        ),
        ["apply set on w1"],
    ),
    "what a stranger has scaled is applied again": (
        "MK-55",
        Situation(AT_W1, w1=Worker(made.offer(*TAKEN), made.run(ready=False, replicas=3))),
        ["apply set on w1"],
    ),
    "a set of other requests waits until its Workload is renewed": (
        "MK-20",
        Situation(AT_W1, w1=Worker(made.offer(*TAKEN), made.run(ready=False)), made_from=MORE_CPU),
        [],
    ),
    "a group with another topology is taken back": (
        "MK-25",
        Situation(AT_W1, w1=Worker(made.offer(*TAKEN), made.run(ready=False)), made_from=PLACED),
        ["retry"],
    ),
    "a priority is followed": (
        "MK-23",
        Situation(
            made.workload(RESERVED, ADMITTED, cluster="w1", check="Ready", priority=10),
            w1=Worker(made.offer(*TAKEN), made.run(ready=False)),
        ),
        ["patch Workload on w1"],
    ),
    "a priority that the worker itself has changed stands": (
        "MK-24",
        Situation(
            made.workload(RESERVED, ADMITTED, cluster="w1", check="Ready", priority=10),
            w1=Worker(made.offer(*TAKEN, priority=10), made.run(ready=False)),
        ),
        [],
    ),
    "a priority class that the set got later is said by the Workload, which does not restart it": (
        "MK-23",
        Situation(
            AT_W1,
            w1=Worker(made.offer(*TAKEN), made.run(ready=False)),
            made_from=made.labelled({names.QUEUE_NAME: "queue", names.PRIORITY_CLASS: "high"}),
        ),
        [],
    ),
    "another queue of the set waits until the group is made anew": (
        "MK-26",
        Situation(
            AT_W1,
            w1=Worker(made.offer(*TAKEN), made.run(ready=False)),
            made_from=made.labelled({names.QUEUE_NAME: "other"}),
        ),
        [],
    ),
    "another label of the set is the group's as well": (
        "MK-17",
        Situation(
            AT_W1,
            w1=Worker(made.offer(*TAKEN), made.run(ready=False)),
            made_from=made.labelled({names.QUEUE_NAME: "queue", "team": "a"}),
        ),
        ["apply set on w1"],
    ),
    "a group that was evicted in the worker is taken back": (
        "MK-27",
        Situation(AT_W1, w1=Worker(made.offer(*TAKEN, EVICTED), made.run(ready=False))),
        ["retry"],
    ),
    "a group whose Workload there is switched off is taken back": (
        "MK-29",
        Situation(AT_W1, w1=Worker(made.offer(*TAKEN, active=False), made.run(ready=False))),
        ["retry"],
    ),
    "a group whose Workload there was deleted is taken back": (
        "MK-55",
        Situation(AT_W1, w1=Worker(run=made.run(ready=False))),
        ["retry"],
    ),
    "a group of which nothing but pods is left there is not taken back while they can run": (
        "MK-55",
        Situation(AT_W1, w1=Worker(pods=(made.pod(deleted=1),))),
        [],
    ),
    "and is when they have ended": (
        "MK-55",
        Situation(AT_W1, w1=Worker(pods=(made.pod(ended=True),))),
        ["retry"],
    ),
    "a group whose set there is not ours any more is taken back": (
        "MK-55",
        Situation(AT_W1, w1=Worker(made.offer(*TAKEN), refused=SOMEBODYS, pods=(made.pod(),))),
        ["retry"],
    ),
    # Lost, drained.
    "a group on a lost cluster is waited for": (
        "MK-33",
        Situation(AT_W1, w1=replace(RUNS, lost=60)),
        [],
    ),
    "a group on a cluster that was lost for longer than the time-out is taken back": (
        "MK-32",
        Situation(AT_W1, w1=replace(RUNS, lost=901)),
        ["retry"],
    ),
    "a group on a drained cluster is stopped there first": (
        "MK-38",
        Situation(AT_W1, w1=replace(RUNS, configured=False, run=made.run(ready=False))),
        ["delete set on w1"],
    ),
    "and taken back when it has stopped": (
        "MK-38",
        Situation(AT_W1, w1=Worker(configured=False)),
        ["retry"],
    ),
    "a cluster that comes back after its group has moved is cleaned": (
        "MK-34",
        Situation(AT_W1, w1=replace(RUNS, run=made.run(ready=False)), w2=RUNS),
        ["delete set on w2"],
    ),
    "a group in a cluster that has no MultiKueueCluster any more is waited for": (
        "MK-39",
        Situation(AT_W1, w1=Worker(lost=60, configured=False, gone=True)),
        [],
    ),
    "and taken back after the time-out": (
        "MK-39",
        Situation(AT_W1, w1=Worker(lost=901, configured=False, gone=True)),
        ["retry"],
    ),
    "one that Kueue has evicted meanwhile is waited for as well": (
        "MK-39",
        Situation(
            made.workload(RESERVED, ADMITTED, EVICTED),
            w1=Worker(lost=60, configured=False, gone=True),
        ),
        [],
    ),
    # Stopping.
    "an evicted group's set goes first": (
        "MK-28",
        Situation(made.workload(RESERVED, ADMITTED, EVICTED), w1=RUNS),
        ["delete set on w1"],
    ),
    "then its Workload in the worker": (
        "MK-28",
        Situation(
            made.workload(RESERVED, ADMITTED, EVICTED),
            w1=Worker(made.offer(*TAKEN), pods=(made.pod(ended=True),)),
        ),
        ["delete Workload on w1"],
    ),
    "but not while its pods can run": (
        "MK-28",
        Situation(
            made.workload(RESERVED, ADMITTED, EVICTED),
            w1=Worker(made.offer(*TAKEN), pods=(made.pod(),)),
        ),
        [],
    ),
    "a pod that ends is waited for": (
        "MK-41",
        Situation(
            made.workload(RESERVED, ADMITTED, EVICTED),
            w1=Worker(made.offer(*TAKEN), pods=(made.pod(deleted=29),)),
        ),
        [],
    ),
    "a pod that has not ended long after its grace no longer counts": (
        "MK-41",
        Situation(
            made.workload(RESERVED, ADMITTED, EVICTED),
            w1=Worker(made.offer(*TAKEN), pods=(made.pod(deleted=31),)),
        ),
        ["delete Workload on w1"],
    ),
    "pods of which nothing else is left hold the quota of an evicted group": (
        "MK-28",
        Situation(
            made.workload(RESERVED, ADMITTED, EVICTED), w2=Worker(pods=(made.pod(deleted=1),))
        ),
        [],
    ),
    "and of one whose Workload is going": (
        "MK-28",
        Situation(
            made.workload(RESERVED, ADMITTED, EVICTED, deleting=True),
            w2=Worker(pods=(made.pod(),)),
            wanted=False,
        ),
        [],
    ),
    "a set that is going is waited for": (
        "MK-28",
        Situation(
            made.workload(RESERVED, ADMITTED, EVICTED),
            w1=Worker(made.offer(*TAKEN), made.run(deleting=True)),
        ),
        [],
    ),
    "quota is given back when it has stopped everywhere": (
        "MK-27",
        Situation(made.workload(RESERVED, ADMITTED, EVICTED)),
        ["clear"],
    ),
    "quota is not given back while a cluster is lost": (
        "MK-37",
        Situation(made.workload(RESERVED, ADMITTED, EVICTED), w2=Worker(lost=60)),
        [],
    ),
    "quota is given back when it has been lost for too long": (
        "MK-37",
        Situation(made.workload(RESERVED, ADMITTED, EVICTED), w2=Worker(lost=901)),
        ["clear"],
    ),
    "a group without quota is offered nowhere": (
        "MK-29",
        Situation(made.workload(NO_QUOTA), w1=Worker(made.offer(NO_QUOTA))),
        ["delete Workload on w1"],
    ),
    "a group that is scaled away stops": (
        "MK-03",
        Situation(AT_W1, w1=RUNS, wanted=False),
        ["delete set on w1"],
    ),
    "and its Workload goes when it has": (
        "MK-03",
        Situation(AT_W1, wanted=False),
        ["delete Workload on manager"],
    ),
    "its finalizer goes last": (
        "MK-15",
        Situation(made.workload(RESERVED, deleting=True), wanted=False),
        ["patch Workload on manager"],
    ),
    "what belongs to no Workload goes": (
        "MK-37",
        Situation(None, w1=RUNS, wanted=False),
        ["delete set on w1"],
    ),
    "a finished group stops": (
        "MK-31",
        Situation(made.workload(RESERVED, FINISHED), w1=RUNS),
        ["delete set on w1"],
    ),
    "nothing is done after Retry until Kueue has evicted the group": (
        "MK-27",
        Situation(made.workload(RESERVED, check="Retry"), w1=RUNS),
        [],
    ),
    "offers of a rejected group are withdrawn": (
        "MK-56",
        Situation(made.workload(RESERVED, check="Rejected"), w1=Worker(made.offer(NO_QUOTA))),
        ["delete Workload on w1"],
    ),
    "a group whose check somebody has set Ready has nothing elsewhere": (
        "MK-61",
        Situation(made.workload(RESERVED, ADMITTED, check="Ready"), w1=RUNS),
        ["delete set on w1"],
    ),
    "a group whose queue has lost our check goes on where it is": (
        "MK-68",
        Situation(
            made.workload(RESERVED, ADMITTED, cluster="w1", check=""),
            w1=Worker(made.offer(*TAKEN), made.run(ready=False)),
        ),
        [],
    ),
    "groups go on where they are while the built-in integration is on": (
        "MK-66",
        Situation(AT_W1, w1=Worker(made.offer(*TAKEN), made.run(ready=False)), refused=OFF_DUTY),
        [],
    ),
}


def rows() -> list[object]:
    return [
        pytest.param(situation, expected, id=name, marks=pytest.mark.row(row))
        for name, (row, situation, expected) in ROWS.items()
    ]


@pytest.mark.parametrize(("situation", "expected"), rows())
def test_what_is_written(situation: Situation, expected: list[str]) -> None:
    assert made.told(situation.plan()) == expected


@pytest.mark.row("MK-16")
def test_a_plan_that_was_carried_out_writes_nothing_more() -> None:
    leader = made.leader(ready=True)
    done = made.workload(
        RESERVED,
        ADMITTED,
        builders.condition("PodsReady", True),
        cluster="w1",
        check="Ready",
    )
    part = Situation(done, w1=RUNS, leader=leader).plan()
    assert part.nothing


@pytest.mark.row("MK-28")
def test_pods_of_an_evicted_group_are_looked_for_everywhere_once_nothing_else_is_left() -> None:
    def asked(situation: Situation) -> list[str]:
        found = places.asked(situation.seen(), options=made.OPTIONS, now=builders.NOW)
        return sorted(found)

    evicted = Situation(made.workload(RESERVED, ADMITTED, EVICTED))
    assert asked(evicted) == ["w1", "w2"]
    assert asked(evicted.but(w1=RUNS)) == []
    assert asked(evicted.but(w1=Worker(lost=60))) == ["w2"]
    # Nothing was ever offered where nobody may look.
    assert asked(evicted.but(w1=Worker(may_look=False))) == ["w2"]
    assert asked(Situation(made.workload(RESERVED))) == []
    assert asked(Situation(made.workload(NO_QUOTA))) == []


@pytest.mark.row("MK-28")
def test_quota_is_not_given_back_while_nobody_knows_of_pods() -> None:
    seen = Situation(made.workload(RESERVED, ADMITTED, EVICTED)).seen()
    first, second = seen.clusters
    unknown = replace(seen, clusters=(replace(first, pods={}), second))
    part = plan.plan(unknown, plan.views_of(unknown, options=made.OPTIONS, now=builders.NOW))
    assert made.told(part) == []
    assert part.recheck_after is not None


@pytest.mark.row("MK-39")
def test_a_group_in_a_cluster_that_nobody_can_reach_says_why_it_stays() -> None:
    part = Situation(AT_W1, w1=Worker(lost=60, configured=False, gone=True)).plan()
    (reason,) = part.reasons
    assert reason.code == "ClusterLost"
    assert "there is no MultiKueueCluster of that name" in reason.text
    assert part.recheck_after is not None
    assert part.recheck_after <= 901 - 60


NOT_READY = made.run(ready=False)
GATED = (made.pod(gated=True),)


@pytest.mark.row("MK-60")
@pytest.mark.parametrize(
    ("age", "w1", "expected"),
    [
        (61, Worker(made.offer(*TAKEN), NOT_READY, pods=GATED), True),
        (59, Worker(made.offer(*TAKEN), NOT_READY, pods=GATED), False),
        (61, Worker(made.offer(*TAKEN), NOT_READY, pods=(made.pod(),)), False),
        (61, Worker(made.offer(*TAKEN), NOT_READY, pods=()), False),
        (61, Worker(made.offer(*TAKEN), made.run(), pods=GATED), False),
        (
            61,
            Worker(
                made.offer(*TAKEN, builders.condition("PodsReady", False)), NOT_READY, pods=GATED
            ),
            False,
        ),
    ],
    ids=["gated", "for a moment", "released", "without pods", "ready", "served"],
)
def test_pods_that_nobody_lets_go_where_their_group_is_admitted_are_told_of(
    age: float, w1: Worker, expected: bool
) -> None:
    assert w1.run is not None
    meta = replace(w1.run.meta, created=made.ago(age))
    situation = Situation(AT_W1, w1=replace(w1, run=replace(w1.run, meta=meta)))
    part = situation.plan()
    told_of = [one for one in part.reasons if one.code == "RemoteGroupNotReleased"]
    assert bool(told_of) is expected
    # Nothing runs, and nothing is done about it: whoever serves that cluster has to.
    assert "retry" not in made.told(part)
    if age < 60:
        assert part.recheck_after is not None


@pytest.mark.row("MK-60")
def test_one_group_of_each_cluster_is_looked_at_to_find_out_that_nobody_serves_it() -> None:
    meta = replace(NOT_READY.meta, created=made.ago(61))
    worker = Worker(made.offer(*TAKEN), replace(NOT_READY, meta=meta))
    seen = Situation(AT_W1, w1=worker).seen()
    found = places.asked(seen, options=made.OPTIONS, now=builders.NOW)
    assert found == {"w1": (SET_NAME,)}


@pytest.mark.row("MK-67")
def test_what_kueues_own_check_dispatches_is_left_to_it() -> None:
    theirs = made.workload(RESERVED, check="", others={"mk": "Pending"})
    job = theirs.model_copy(update={"meta": replace(theirs.meta, annotations={}, owners=())})
    assert plan.reject_others(job, checks=frozenset({made.CHECK}), now=builders.NOW).nothing
    # Nor is what Kueue has made in a worker for it taken for ours, whatever it is called.
    marks = {"labels": {"kueue.x-k8s.io/multikueue-origin": "multikueue"}}
    body = made.made()
    body["metadata"] |= {**marks, "uid": "u", "resourceVersion": "1"}
    meta = kueue.Workload.of(body).meta
    assert not identity.is_ours(meta, made.MANAGER)
    # Kueue's collection goes by its own origin, which a cluster of ours never has by itself.
    assert identity.default_origin("multikueue") != "multikueue"


@pytest.mark.row("MK-61")
@pytest.mark.parametrize(
    ("w1", "expected"),
    [(Worker(), True), (RUNS, False), (Worker(lost=60), False), (Worker(lost=901), True)],
)
def test_a_group_runs_here_only_if_nothing_of_it_is_elsewhere(w1: Worker, expected: bool) -> None:
    view = Situation(made.workload(RESERVED, ADMITTED, check="Ready"), w1=w1).view()
    assert plan.may_run_here(view) is expected
    assert not plan.may_run_here(Situation(AT_W1, w1=w1).view())


@pytest.mark.row("MK-56")
def test_a_workload_of_another_kind_is_rejected_and_one_of_a_set_is_not() -> None:
    ours = made.workload(RESERVED)
    checks = frozenset({made.CHECK})
    assert plan.reject_others(ours, checks=checks, now=builders.NOW).nothing
    meta = replace(ours.meta, annotations={}, owners=())
    theirs = ours.model_copy(update={"meta": meta})
    (chain,) = plan.reject_others(theirs, checks=checks, now=builders.NOW).chains
    write = chain[0]
    assert isinstance(write, actions.Apply)
    (check,) = write.body["status"]["admissionChecks"]
    assert (check["state"], check["message"]) == (
        "Rejected",
        "lws-kueue dispatches LeaderWorkerSets only",
    )


def test_an_error_in_one_group_is_told_and_stops_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Situation(made.workload(RESERVED)).seen()
    (group,) = seen.groups
    body = made.made(1)
    body["metadata"] |= {"uid": "wl-1", "resourceVersion": "8"}
    body["status"] = made.workload(RESERVED).stored_status
    second = replace(group, index=1, workload=kueue.Workload.of(body))
    offer = offers.offer

    def fails_once(view: places.View, check: str, load: offers.Load) -> actions.Part:
        if view.id.index == 0:
            raise KeyError("what nobody has thought of")
        return offer(view, check, load)

    monkeypatch.setattr(offers, "offer", fails_once)
    seen = replace(seen, groups=(group, second))
    part = plan.plan(seen, plan.views_of(seen, options=made.OPTIONS, now=builders.NOW))
    assert made.told(part) == ["nominate w1"]
    assert [type(one) for one in part.faults] == [KeyError]
    assert "InternalError" in {one.code for one in part.reasons}


@pytest.mark.row("MK-17")
@pytest.mark.parametrize(("key", "expected"), [("k1", True), ("k2", False)])
def test_a_group_is_updated_when_it_runs_what_its_leader_is_of(key: str, expected: bool) -> None:
    view = Situation(AT_W1, w1=Worker(made.offer(*TAKEN), made.run(ready=False)), key=key).view()
    assert mirror.updated(view) is expected
    assert not mirror.updated(Situation(OFFERED).view())


@pytest.mark.row("MK-17", "MK-23")
def test_an_update_keeps_the_labels_by_which_a_group_was_admitted() -> None:
    was = made.labelled({names.QUEUE_NAME: "queue", names.PRIORITY_CLASS: "low"})
    wanted = made.labelled({names.QUEUE_NAME: "other", "team": "a"}, image="app:2")
    runs = Worker(made.offer(*TAKEN), made.run(made_from=was))
    kept = labels_written(Situation(AT_W1, w1=runs, made_from=wanted, key="k2").plan())
    assert (kept[names.QUEUE_NAME], kept[names.PRIORITY_CLASS]) == ("queue", "low")
    assert kept["team"] == "a"


@pytest.mark.row("MK-55")
def test_a_group_gets_back_the_queue_that_a_stranger_took_from_it() -> None:
    without = Worker(made.offer(*TAKEN), made.run(made_from=made.labelled({})))
    assert labels_written(Situation(AT_W1, w1=without).plan())[names.QUEUE_NAME] == "queue"


def labels_written(part: actions.Part) -> dict[str, str]:
    (write,) = (
        one
        for chain in part.chains
        for one in chain
        if isinstance(one, actions.Apply) and one.body["kind"] == names.LWS_KIND
    )
    return dict(write.body["metadata"]["labels"])


@pytest.mark.row("MK-33")
@pytest.mark.parametrize(("lost", "expected"), [(None, True), (29, True), (31, False)])
def test_a_lost_cluster_is_trusted_for_a_moment(lost: float | None, expected: bool) -> None:
    situation = Situation(AT_W1, w1=replace(RUNS, lost=lost))
    assert mirror.ready(situation.view()) is expected
    assert "PodsReady" not in "".join(made.told(situation.plan())) or lost is None


@pytest.mark.row("MK-73")
@pytest.mark.parametrize("ready", [True, False])
@pytest.mark.parametrize(("lost", "told"), [(29, False), (31, True)])
def test_nothing_is_said_of_a_group_before_its_cluster_has_been_listed(
    lost: float, told: bool, ready: bool
) -> None:
    part = Situation(AT_W1, w1=Worker(lost=lost), leader=made.leader(ready=ready)).plan()
    assert bool(part.chains) is (told and ready), "one that was not ready is so now as well"
    if not told:
        assert part.recheck_after is not None
        assert part.recheck_after <= 2


@pytest.mark.row("MK-36")
def test_a_lost_cluster_is_looked_at_again_at_its_deadline() -> None:
    part = Situation(AT_W1, w1=replace(RUNS, lost=60)).plan()
    assert part.recheck_after is not None
    assert part.recheck_after <= made.OPTIONS.worker_lost_timeout.total_seconds() - 60 + 1


@pytest.mark.row("MK-31")
@pytest.mark.parametrize(
    ("retries", "expected"), [(0, None), (1, None), (2, 5), (3, 10), (99, 300)]
)
def test_the_third_retry_in_a_row_and_all_later_ones_wait(
    retries: int, expected: int | None
) -> None:
    evicted = made.workload(RESERVED, ADMITTED, cluster="w1", check="Ready", retries=retries)
    (chain,) = Situation(evicted).plan().chains
    check = chain[0].body["status"]["admissionChecks"][0]  # type: ignore[union-attr]
    assert check.get("requeueAfterSeconds") == expected
    assert check["retryCount"] == retries


@pytest.mark.row("MK-42")
def test_a_status_write_says_all_that_kueue_says_and_is_guarded() -> None:
    before = made.workload(RESERVED, others={"prov": "Ready"})
    (chain,) = Situation(before).plan().chains
    write = chain[0]
    assert isinstance(write, actions.Apply)
    status = write.body["status"]
    assert status["admission"] == before.stored_status["admission"]
    assert status["conditions"] == before.stored_status["conditions"]
    assert [one["name"] for one in status["admissionChecks"]] == ["prov", made.CHECK]
    assert (write.resource_version, write.field_manager) == ("7", "kueue-admission")


@pytest.mark.row("MK-44", "MK-45")
def test_a_set_is_made_only_if_both_admissions_stand_at_the_last_look() -> None:
    part = Situation(AT_W1, w1=Worker(made.offer(*TAKEN))).plan()
    (chain,) = part.chains
    write = chain[0]
    assert isinstance(write, actions.Apply)
    told_of = {(one.ref.kind, one.ref.cluster): one for one in write.expects}
    assert told_of["Workload", ""].true == ("QuotaReserved",)
    assert told_of["Workload", ""].false == ("Evicted",)
    assert "Admitted" in told_of["Workload", "w1"].true
    assert told_of["LeaderWorkerSet", "w1"].uid == ""
    # Somebody else's of that name is read and told of, not taken over, and not tried for ever.
    assert not write.force


@pytest.mark.row("MK-55")
def test_a_set_that_is_there_is_brought_back_to_what_it_has_to_be_by_force() -> None:
    scaled = Worker(made.offer(*TAKEN), made.run(ready=False, replicas=3))
    ((write,),) = Situation(AT_W1, w1=scaled).plan().chains
    assert isinstance(write, actions.Apply)
    assert write.force


@pytest.mark.row("MK-03", "MK-53")
@pytest.mark.parametrize(
    ("w1", "w2", "code", "text"),
    [
        (Worker(made.offer(NO_QUOTA)), Worker(), "NoClusterAdmits", "w1: no cpu"),
        (Worker(lost=60), Worker(lost=60), "NoClusterReachable", "w1: it does not answer"),
        (Worker(trouble="no Kueue"), Worker(lost=1), "NoClusterEligible", "w1: no Kueue"),
    ],
)
def test_a_group_that_waits_says_what_each_cluster_says(
    w1: Worker, w2: Worker, code: str, text: str
) -> None:
    (reason,) = Situation(OFFERED, w1=w1, w2=w2).plan().reasons
    assert (reason.code, reason.waits, tuple(reason.groups)) == (code, True, (0,))
    assert text in reason.text


@pytest.mark.row("MK-01")
@pytest.mark.parametrize(
    ("workload", "status", "message"),
    [(AT_W1, "True", "group 0: w1"), (OFFERED, "False", "group 0: none")],
)
def test_a_set_says_where_its_groups_are(workload: object, status: str, message: str) -> None:
    found = told.condition([Situation(workload).view()])  # type: ignore[arg-type]
    assert (found.type, found.status, found.message) == ("Dispatched", status, message)


def test_the_time_out_is_that_of_the_settings() -> None:
    short = replace(made.OPTIONS, worker_lost_timeout=timedelta(seconds=20))
    situation = Situation(AT_W1, w1=replace(RUNS, lost=21), options=short)
    assert "retry" in made.told(situation.plan())
