"""TPU variables that cannot be given, and groups so large that they cost (lws-contract 2.5)."""

from typing import Any

import pytest

from lws_kueue.api import names
from tests.kit.admission import model, support, tpu

# Refusals ------------------------------------------------------------------------------------


@pytest.mark.row("UT-43")
def test_a_leader_that_its_subgroups_exclude_cannot_ask(pods: support.Pods) -> None:
    excluded = {names.SUBGROUP_POLICY_TYPE: "LeaderExcluded"}
    with support.refused() as refusal:
        pods.accept(tpu.member(pods, 0, subgroup_size=2, annotations=excluded))
    assert f"metadata.labels[{names.SUBGROUP_INDEX}]" in refusal.message
    assert "LeaderExcluded" in refusal.message
    own = support.tpu_container(TPU_WORKER_ID="0")
    pods.accept(tpu.member(pods, 0, subgroup_size=2, annotations=excluded, containers=[own]))


@pytest.mark.row("UT-43")
def test_a_subgroup_that_is_no_number_is_refused_where_it_matters(pods: support.Pods) -> None:
    for containers, accepted in (([tpu.ASKING], False), ([tpu.IDLE], True)):
        given = tpu.member(pods, 1, size=4, subgroup_size=2, containers=containers)
        given["metadata"]["labels"][names.SUBGROUP_INDEX] = "x"
        if accepted:
            pods.accept(given)
            continue
        with support.refused() as refusal:
            pods.accept(given)
        assert f"metadata.labels[{names.SUBGROUP_INDEX}]" in refusal.message


@pytest.mark.row("UT-41", "UT-43")
@pytest.mark.parametrize("subgroup_size", [0, 2])
@pytest.mark.parametrize("name", ["test", "test-x"])
def test_a_pod_whose_name_has_no_ordinal_is_refused(
    pods: support.Pods, name: str, subgroup_size: int
) -> None:
    for place in (0, 1):
        given = tpu.member(pods, place, size=4, subgroup_size=subgroup_size)
        given["metadata"]["name"] = name
        with support.refused() as refusal:
            pods.accept(given)
        assert "metadata.name" in refusal.message


# Cost ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", [0, 999])
@pytest.mark.parametrize("subgroup_size", [0, 1, 500, 1000])
def test_a_group_of_a_thousand_with_two_processes_each_is_within_the_cost_limit(
    pods: support.Pods, place: int, subgroup_size: int
) -> None:
    containers = [support.tpu_container("a"), support.tpu_container("b")]
    placement = {names.EXCLUSIVE_TOPOLOGY: "rack", names.SUBGROUP_EXCLUSIVE_TOPOLOGY: "host"}
    given = tpu.member(
        pods,
        place,
        size=1000,
        subgroup_size=subgroup_size,
        containers=containers,
        annotations=placement,
    )
    stored = pods.accept(given)["spec"]["containers"]
    expected = model.Tpu(
        leader="test-sample-1",
        subdomain="default",
        size=1000,
        leader_asks=True,
        subgroup_size=subgroup_size,
        ports=["8476", "8477"],
    ).variables(place)
    assert [found for c in stored if (found := tpu.told(c))] == expected


def test_many_containers_are_within_the_cost_limit(pods: support.Pods) -> None:
    own = {f"VARIABLE_{n}": "v" * 20 for n in range(10)}
    given = tpu.member(
        pods,
        99,
        size=100,
        containers=[support.tpu_container(f"c{n}", **own) for n in range(20)],
        init_containers=[support.tpu_container(f"i{n}", **own) for n in range(5)],
    )
    spec = pods.accept(given)["spec"]
    expected = model.Tpu(
        leader="test-sample-1",
        subdomain="default",
        size=100,
        leader_asks=True,
        ports=[str(8476 + n) for n in range(25)],
    ).variables(99)
    assert [tpu.told(c) for c in (*spec["containers"], *spec["initContainers"])] == expected


@pytest.mark.parametrize(
    ("size", "subgroup_size", "processes"), [(5000, 0, 1), (2500, 0, 2), (5000, 5000, 1)]
)
def test_the_largest_lists_are_within_the_cost_limit_and_larger_ones_are_refused(
    pods: support.Pods, size: int, subgroup_size: int, processes: int
) -> None:
    containers = [support.tpu_container(f"c{n}") for n in range(processes)]

    def largest(*, more: int) -> dict[str, Any]:
        wanted = size + more
        given = tpu.member(
            pods,
            0,
            size=wanted,
            subgroup_size=wanted if subgroup_size else 0,
            containers=containers,
        )
        # The longest names that a host can have.
        given["spec"]["subdomain"] = "s" * 63
        given["metadata"]["name"] = "n" * 61 + "-1"
        return given

    stored = pods.accept(largest(more=0))["spec"]["containers"][0]
    assert len((tpu.told(stored)["TPU_WORKER_HOSTNAMES"] or "").split(",")) == 5000
    for more in (1, 4_000_000 if subgroup_size else 4_000_000_000):
        with support.refused() as refusal:
            pods.accept(largest(more=more))
        assert "at most 5000 containers" in refusal.message
