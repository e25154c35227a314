"""Terms of exclusive placement, of the group and of the subgroup (lws-contract 5.4, 5.5, 8.9)."""

from collections.abc import Mapping
from typing import Any

import pytest

from lws_kueue.api import names
from tests.kit.admission import support

Object = dict[str, Any]

KINDS = ("podAffinity", "podAntiAffinity")
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


def annotations(
    *, group: str | None = None, subgroup: str | None = None, subgroup_size: int | None = None
) -> dict[str, str]:
    """Return the annotations of a pod that is placed exclusively by these topologies."""
    given = {
        names.EXCLUSIVE_TOPOLOGY: group,
        names.SUBGROUP_EXCLUSIVE_TOPOLOGY: subgroup,
        names.SUBGROUP_SIZE: None if subgroup_size is None else str(subgroup_size),
    }
    return {key: value for key, value in given.items() if value is not None}


def pair(label: str, value: str, topology: str) -> tuple[Object, Object]:
    """Return the terms that keep a group together, and all others away."""
    here = {"key": label, "operator": "In", "values": [value]}
    elsewhere = [
        {"key": label, "operator": "Exists"},
        {"key": label, "operator": "NotIn", "values": [value]},
    ]
    return (
        {"labelSelector": {"matchExpressions": [here]}, "topologyKey": topology},
        {"labelSelector": {"matchExpressions": elsewhere}, "topologyKey": topology},
    )


def terms(pod: Mapping[str, Any]) -> tuple[list[Object], list[Object]]:
    """Return the required terms of a pod: affinity, anti-affinity."""
    affinity = pod["spec"].get("affinity", {})
    together, apart = (affinity.get(kind, {}).get(REQUIRED, []) for kind in KINDS)
    return together, apart


def expected(*pairs: tuple[Object, Object]) -> tuple[list[Object], list[Object]]:
    """Return the required terms that these pairs make."""
    return [together for together, _ in pairs], [apart for _, apart in pairs]


@pytest.mark.row("POD-20", "UT-25")
def test_a_leader_has_its_topology_domain_for_its_group_alone(pods: support.Pods) -> None:
    stored = pods.accept(pods.leader("test-1", annotations=annotations(group="topologyKey")))
    key = support.labels(stored)[names.GROUP_KEY]
    assert terms(stored) == expected(pair(names.GROUP_KEY, key, "topologyKey"))
    assert set(stored["spec"]["affinity"]) == set(KINDS)


@pytest.mark.row("POD-21")
def test_a_leader_has_terms_for_its_group_and_then_for_its_subgroup(pods: support.Pods) -> None:
    given = annotations(group="rack", subgroup="host", subgroup_size=2)
    stored = pods.accept(pods.leader("test-1", size="4", annotations=given))
    labels = support.labels(stored)
    assert terms(stored) == expected(
        pair(names.GROUP_KEY, labels[names.GROUP_KEY], "rack"),
        pair(names.SUBGROUP_KEY, labels[names.SUBGROUP_KEY], "host"),
    )


@pytest.mark.row("POD-22")
def test_a_worker_has_terms_for_its_subgroup_only(pods: support.Pods) -> None:
    given = annotations(group="rack", subgroup="host", subgroup_size=2)
    stored = pods.accept(pods.worker("test-1-3", size="4", annotations=given))
    key = support.labels(stored)[names.SUBGROUP_KEY]
    assert terms(stored) == expected(pair(names.SUBGROUP_KEY, key, "host"))


def test_where_group_and_subgroup_have_one_topology_a_leader_has_terms_for_its_group(
    pods: support.Pods,
) -> None:
    given = annotations(group="rack", subgroup="rack", subgroup_size=2)
    leader = pods.accept(pods.leader("test-1", size="4", annotations=given))
    key = support.labels(leader)[names.GROUP_KEY]
    assert terms(leader) == expected(pair(names.GROUP_KEY, key, "rack"))
    worker = pods.accept(pods.worker("test-1-1", size="4", annotations=given))
    key = support.labels(worker)[names.SUBGROUP_KEY]
    assert terms(worker) == expected(pair(names.SUBGROUP_KEY, key, "rack"))


def test_a_leader_that_is_excluded_has_no_terms_for_a_subgroup(pods: support.Pods) -> None:
    given = annotations(group="rack", subgroup="host", subgroup_size=2)
    given[names.SUBGROUP_POLICY_TYPE] = "LeaderExcluded"
    stored = pods.accept(pods.leader("test-1", size="5", annotations=given))
    key = support.labels(stored)[names.GROUP_KEY]
    assert terms(stored) == expected(pair(names.GROUP_KEY, key, "rack"))


@pytest.mark.parametrize(
    "given",
    [
        annotations(),
        annotations(group=""),
        annotations(subgroup="", subgroup_size=2),
        annotations(group="", subgroup="", subgroup_size=2),
        # Without subgroups there is nothing to place.
        annotations(subgroup="host"),
    ],
    ids=["none", "empty-group", "empty-subgroup", "empty-both", "no-subgroups"],
)
def test_nothing_is_placed_exclusively_unless_asked_for(
    pods: support.Pods, given: dict[str, str]
) -> None:
    for pod in (
        pods.leader("test-1", size="4", annotations=given),
        pods.worker("test-1-1", size="4", annotations=given),
    ):
        assert "affinity" not in pods.accept(pod)["spec"]


@pytest.mark.row("POD-24", "UT-25")
def test_terms_are_not_applied_twice(pods: support.Pods) -> None:
    given = annotations(group="rack", subgroup="host", subgroup_size=2)
    once = pods.accept(pods.leader("test-1", size="4", annotations=given))
    again = pods.leader(
        "test-1", size="4", annotations=given, spec={"affinity": once["spec"]["affinity"]}
    )
    assert pods.accept(again)["spec"]["affinity"] == once["spec"]["affinity"]


FOREIGN = {"labelSelector": {"matchLabels": {"app": "x"}}, "topologyKey": "zone"}


@pytest.mark.row("POD-25")
def test_terms_of_the_user_stay_and_come_first(pods: support.Pods) -> None:
    preferred = [{"weight": 1, "podAffinityTerm": FOREIGN}]
    node = {
        "requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [{"matchExpressions": [{"key": "gpu", "operator": "Exists"}]}]
        }
    }
    affinity = {
        "nodeAffinity": node,
        "podAffinity": {REQUIRED: [FOREIGN], PREFERRED: preferred},
        "podAntiAffinity": {PREFERRED: preferred},
    }
    given = pods.leader(
        "test-1", annotations=annotations(group="rack"), spec={"affinity": affinity}
    )
    stored = pods.accept(given)
    key = support.labels(stored)[names.GROUP_KEY]
    together, apart = pair(names.GROUP_KEY, key, "rack")
    assert stored["spec"]["affinity"] == {
        "nodeAffinity": node,
        "podAffinity": {REQUIRED: [FOREIGN, together], PREFERRED: preferred},
        "podAntiAffinity": {REQUIRED: [apart], PREFERRED: preferred},
    }


@pytest.mark.row("UT-26")
@pytest.mark.parametrize(
    ("kinds", "topology", "applied"),
    [
        (KINDS, "rack", True),
        (KINDS[:1], "rack", False),
        (KINDS[1:], "rack", False),
        (KINDS, "zone", False),
    ],
    ids=["both", "affinity-only", "anti-affinity-only", "different-key"],
)
def test_a_user_who_has_both_terms_for_a_topology_has_decided(
    pods: support.Pods, kinds: tuple[str, ...], topology: str, applied: bool
) -> None:
    theirs = FOREIGN | {"topologyKey": topology}
    affinity = {kind: {REQUIRED: [theirs]} for kind in kinds}
    given = pods.leader(
        "test-1", annotations=annotations(group="rack"), spec={"affinity": affinity}
    )
    stored = pods.accept(given)
    if applied:
        assert stored["spec"]["affinity"] == affinity
        return
    ours = pair(names.GROUP_KEY, support.labels(stored)[names.GROUP_KEY], "rack")
    for kind, found, own in zip(KINDS, terms(stored), ours, strict=True):
        assert found == [*([theirs] if kind in kinds else []), own]
