"""Groups that are to be in one cluster, or beside those of another set (MK-12, MK-13)."""

from dataclasses import replace
from typing import Any

import pytest

from lws_kueue.api import names, reasons
from lws_kueue.dispatch import observed, settings
from tests.dispatch.test_stories import ALL, counts, settled, uids
from tests.dispatch.test_stories import _rounds as rounds
from tests.kit.builders import dispatched as made
from tests.kit.builders.dispatched import NO_QUOTA, RESERVED, TAKEN, Situation, Worker
from tests.kit.memory.multikueue import world

ONE = {names.PLACEMENT: "one-cluster"}
BESIDE = {names.SAME_CLUSTER_AS: world.OTHER}
WAITING = made.workload(RESERVED)
OFFERED = made.workload(RESERVED, nominated=["w1"])
EVERYWHERE = replace(made.OPTIONS, mode=settings.Mode.ALL_AT_ONCE)


def other(*clusters: str, beside: str = "") -> dict[str, observed.Neighbour]:
    return {world.OTHER: observed.Neighbour(frozenset(clusters), beside)}


def waiting(here: world.World) -> dict[str, tuple[int, ...]]:
    """The groups that wait, by reason."""
    found = reasons.merged(here.decide().reasons)
    return {one.code: tuple(one.groups) for one in found if one.waits}


def message(here: world.World) -> str:
    return "; ".join(one.message for one in here.decide().reasons if one.waits)


def undecided(**how: Any) -> world.World:
    """Two groups that have quota on the manager, and nothing was decided about them yet."""
    here = world.World(replicas=2, quotas=(2, 2), annotations=ONE, **how)
    for _ in range(4):
        for happen in here.actors():
            happen()
    return here


# One cluster -------------------------------------------------------------------------------------


@pytest.mark.row("MK-12")
@pytest.mark.parametrize("options", [world.OPTIONS, ALL], ids=["Incremental", "AllAtOnce"])
def test_a_set_of_two_is_in_one_cluster(options: settings.Settings) -> None:
    here = settled(replicas=2, quotas=(2, 2), annotations=ONE, options=options)
    assert here.ready() == [0, 1]
    assert sorted(counts(here)) == [0, 2]
    assert here.judge.busy["one-cluster"]


@pytest.mark.row("MK-12")
def test_the_third_waits_for_the_cluster_of_the_others_though_another_one_is_free() -> None:
    here = settled(replicas=3, quotas=(2, 2), annotations=ONE)
    assert here.ready() == [0, 1]
    assert sorted(counts(here)) == [0, 2]
    assert waiting(here) == {"NoClusterAdmits": (2,)}
    assert "w1: no quota; no other cluster is asked" in message(here)
    assert "group 0 has been given to w1" in message(here)
    assert not here.links["w2"].cluster.of_kind("Workload")
    here.links["w1"].cluster.quota = 3
    here.settle()
    assert counts(here) == [3, 0]


@pytest.mark.row("MK-12")
def test_the_lowest_index_alone_is_offered_while_none_has_a_cluster() -> None:
    here = settled(replicas=3, quotas=(0, 0), annotations=ONE, options=ALL)
    assert waiting(here) == {"NoClusterAdmits": (0,), "WaitsForHome": (1, 2)}
    assert "group 0 is offered before the others" in message(here)
    assert len(uids(here, "Workload")) == 2
    here.links["w2"].cluster.quota = 3
    here.settle()
    assert counts(here) == [0, 3]


@pytest.mark.row("MK-12", "MK-27")
def test_an_evicted_group_comes_back_to_where_the_others_are() -> None:
    here = settled(replicas=3, quotas=(3, 3), annotations=ONE)
    running = uids(here, "Pod")
    (first, *_) = sorted(here.links["w1"].cluster.of_kind("Workload").items())
    here.links["w1"].cluster.evict(first[1], "Preempted", "Preempted to make room")
    here.settle()
    here.judge.rest(here)
    assert counts(here) == [3, 0]
    assert len(uids(here, "Pod").items() & running.items()) == 2


@pytest.mark.row("MK-12", "MK-38")
def test_a_set_leaves_a_drained_cluster_as_a_whole() -> None:
    here = settled(replicas=3, quotas=(3, 3), annotations=ONE)
    here.links["w1"].configured = False
    here.settle(rounds=300)
    here.judge.rest(here)
    assert counts(here) == [0, 3]
    assert here.ready() == [0, 1, 2]


@pytest.mark.row("MK-12", "MK-32")
def test_a_set_leaves_a_lost_cluster_as_a_whole() -> None:
    here = settled(replicas=3, quotas=(3, 3), annotations=ONE)
    here.cut("w1")
    rounds(here, 60)
    assert set(here.placed().values()) == {"w2"}
    here.mend("w1")
    here.settle()
    here.judge.rest(here)
    assert counts(here) == [0, 3]


@pytest.mark.row("MK-12")
def test_a_healthy_group_stays_where_it_is_when_its_set_is_to_be_in_one_cluster() -> None:
    here = settled(replicas=2, quotas=(1, 1))
    running = uids(here, "Pod")
    for link in here.links.values():
        link.cluster.quota = 4
    here.manager.annotate(names.PLACEMENT, "one-cluster")
    here.manager.edit(replicas=4)
    here.settle()
    here.judge.rest(here)
    assert running.items() <= uids(here, "Pod").items()
    assert counts(here) == [3, 1]


@pytest.mark.row("MK-12")
def test_a_set_that_may_be_anywhere_again_spreads() -> None:
    here = settled(replicas=3, quotas=(2, 2), annotations=ONE)
    here.manager.annotate(names.PLACEMENT, None)
    here.settle()
    assert sorted(counts(here)) == [1, 2]


@pytest.mark.row("MK-12", "MK-42")
def test_of_two_groups_that_were_given_to_two_clusters_one_is_taken_back_before_any_is_made() -> (
    None
):
    """As when a process has ended that had given one of them away, and its write came late."""
    here = world.World(replicas=2, quotas=(2, 2))
    while len(here.placed()) < 2:
        for happen in here.actors():
            happen()
        here.look()
        here.run()
    assert (set(here.placed().values()), counts(here)) == ({"w1", "w2"}, [0, 0])
    here.manager.annotate(names.PLACEMENT, "one-cluster")
    here.look()

    def watched() -> None:
        if any(counts(here)):
            assert len(set(here.placed().values())) < 2, here.log[-6:]

    here.watch = watched
    here.settle()
    here.judge.rest(here)
    assert counts(here) == [2, 0]
    assert here.ready() == [0, 1]


@pytest.mark.row("MK-12", "MK-28")
def test_no_group_is_offered_elsewhere_before_an_evicted_one_has_stopped() -> None:
    here = settled(replicas=2, quotas=(2, 2), annotations=ONE, options=ALL)
    there = here.links["w1"].cluster
    there.quota = 0
    here.judge.shrinks("w1", 2)
    first, second = (one for _, one in sorted(here.manager.of_kind("Workload").items()))
    here.manager.evict(first, "Preempted", "Preempted to make room")
    rounds(here, 12)
    assert here.placed() == {1: "w1"}
    assert "group 1 has been given to w1" in message(here)
    here.manager.evict(second, "Preempted", "Preempted to make room")
    for _ in range(6):
        for happen in here.actors():
            if happen != there.end_pods:
                happen()
                here.check()
        here.look()
        here.run()
    assert "others have not stopped in w1" in message(here)
    assert not here.links["w2"].cluster.of_kind("Workload")
    here.settle()
    here.judge.rest(here)
    assert counts(here) == [0, 2]


@pytest.mark.row("MK-12", "MK-68")
def test_no_group_goes_elsewhere_while_another_one_runs_on_the_manager() -> None:
    here = undecided()
    first, _ = sorted(here.manager.of_kind("Workload").items())
    for check in first[1]["status"]["admissionChecks"]:
        check["state"] = "Ready"
    here.manager.say(first[1], "Admitted", True, "Admitted")
    here.settle()
    assert waiting(here) == {"WaitsForHome": (1,)}
    assert "group 0 runs in the manager's own" in message(here)
    assert not uids(here, "Workload")


@pytest.mark.row("MK-12")
@pytest.mark.parametrize("value", ["", "One-Cluster", "spread", "x" * 500])
def test_an_unknown_placement_is_told_and_without_effect(value: str) -> None:
    situation = Situation(WAITING, annotations={names.PLACEMENT: value})
    (told,) = [one for one in situation.plan().reasons if one.code == "PlacementInvalid"]
    assert told.text.startswith(f'metadata.annotations[{names.PLACEMENT}]: "{value[:80]}')
    assert (told.waits, told.warns, bool(told.fix)) == (False, True, True)
    assert len(told.message) < 300
    assert made.told(situation.plan()) == ["nominate w1"]


# Beside another set ------------------------------------------------------------------------------

ROWS: dict[str, tuple[Situation, list[str]]] = {
    "a group is offered where the other set is": (
        Situation(WAITING, neighbours=other("w2")),
        ["nominate w2"],
    ),
    "and nowhere else where all are offered at once": (
        Situation(WAITING, neighbours=other("w2"), options=EVERYWHERE),
        ["nominate w2"],
    ),
    "it is offered in each cluster where the other set is": (
        Situation(WAITING, neighbours=other("w1", "w2"), options=EVERYWHERE),
        ["nominate w1 w2"],
    ),
    "it is offered nowhere while the other set has no cluster": (
        Situation(WAITING, neighbours=other()),
        [],
    ),
    "it is offered nowhere while there is no such set": (Situation(WAITING), []),
    "an offer is withdrawn where the other set is no more": (
        Situation(OFFERED, w1=Worker(made.offer(NO_QUOTA)), neighbours=other("w2")),
        ["delete Workload on w1", "nominate w2"],
    ),
    "a cluster that has admitted it is not taken where the other set is no more": (
        Situation(OFFERED, w1=Worker(made.offer(*TAKEN)), neighbours=other()),
        ["delete Workload on w1", "nominate"],
    ),
    "a group that has a cluster stays there": (
        Situation(
            made.workload(RESERVED, made.ADMITTED, cluster="w1", check="Ready"),
            w1=Worker(made.offer(*TAKEN)),
            neighbours=other("w2"),
        ),
        ["apply set on w1"],
    ),
}


@pytest.mark.row("MK-13")
@pytest.mark.parametrize(("situation", "expected"), ROWS.values(), ids=ROWS)
def test_what_is_written_for_a_group_beside_another_set(
    situation: Situation, expected: list[str]
) -> None:
    assert made.told(situation.but(annotations=BESIDE).plan()) == expected


WAITS: dict[str, tuple[dict[str, Any], str, bool, str]] = {
    "the other has no cluster": (
        {"neighbours": other()},
        "WaitsForHome",
        False,
        "those of set other are",
    ),
    "there is no such set": ({}, "WaitsForHome", True, "there is no such set in namespace ns"),
    "it is the set itself": (
        {"annotations": {names.SAME_CLUSTER_AS: "serve"}},
        "PlacementInvalid",
        True,
        "this is the set itself",
    ),
    "they wait for each other": (
        {"neighbours": other("w1", beside="serve")},
        "PlacementInvalid",
        True,
        "sets serve, other wait for each other",
    ),
    "three wait for each other": (
        {"neighbours": other(beside="third") | {"third": observed.Neighbour(beside="serve")}},
        "PlacementInvalid",
        True,
        "sets serve, other, third wait for each other",
    ),
    "others wait for each other": (
        {"neighbours": other(beside="third") | {"third": observed.Neighbour(beside="other")}},
        "WaitsForHome",
        False,
        "those of set other are",
    ),
    "the other is in a cluster that no config names": (
        {"neighbours": other("w9")},
        "WaitsForHome",
        False,
        "in w9, which no MultiKueueConfig names",
    ),
    "the other is in a cluster that does not answer": (
        {"neighbours": other("w1"), "w1": Worker(lost=60)},
        "NoClusterReachable",
        False,
        "w1: it does not answer",
    ),
    "the cluster of the other is full": (
        {"neighbours": other("w1"), "w1": Worker(made.offer(NO_QUOTA))},
        "NoClusterAdmits",
        False,
        "w1: no cpu; no other cluster is asked",
    ),
}


@pytest.mark.row("MK-13")
@pytest.mark.parametrize(("given", "code", "warns", "text"), WAITS.values(), ids=WAITS)
def test_a_group_says_why_it_is_not_beside_another_set_yet(
    given: dict[str, Any], code: str, warns: bool, text: str
) -> None:
    situation = Situation(OFFERED, **({"annotations": BESIDE} | given))
    (told,) = situation.plan().reasons
    assert (told.code, told.waits, told.warns) == (code, True, warns)
    assert text in told.text
    if told.code == "PlacementInvalid" or not given:
        assert told.text.startswith(f"metadata.annotations[{names.SAME_CLUSTER_AS}]")
        assert told.fix


@pytest.mark.row("MK-13")
def test_a_set_follows_another_one() -> None:
    here = world.World(replicas=2, quotas=(2, 2), annotations=BESIDE)
    here.settle()
    assert waiting(here) == {"WaitsForHome": (0, 1)}
    here.other = frozenset({"w2"})
    here.settle()
    here.judge.rest(here)
    assert counts(here) == [0, 2]
    here.other = frozenset({"w1"})
    here.manager.edit(replicas=3)
    here.settle()
    assert counts(here) == [1, 2]
    assert here.judge.busy["same-cluster-as"] == 3


@pytest.mark.row("MK-12", "MK-13")
def test_a_set_that_is_together_beside_another_one_has_both() -> None:
    here = world.World(replicas=2, quotas=(2, 2), annotations=ONE | BESIDE)
    here.other = frozenset({"w2"})
    here.settle()
    assert counts(here) == [0, 2]
    here.other = frozenset({"w1"})
    here.manager.edit(replicas=3)
    here.settle()
    assert counts(here) == [0, 2]
    assert waiting(here) == {"WaitsForHome": (2,)}
    assert "given to w2, but its groups are to be where those of set other are" in message(here)
