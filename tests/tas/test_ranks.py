"""Ranks meet domains: in order, exactly, and without moving a pod that already runs."""

import random
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lws_kueue.tas import assignment, ranks

HOST = assignment.HOSTNAME
RACK = "cloud.provider.com/rack"
Domain = assignment.Domain
RankedPod = ranks.RankedPod


def host(name: str, count: int) -> Domain:
    return Domain({HOST: name}, count)


def waiting(*indices: int) -> list[RankedPod]:
    return [RankedPod(f"p-{i}", i) for i in indices]


def placed(index: int, node: str) -> RankedPod:
    return RankedPod(f"p-{index}", index, {HOST: node, "pool": "gpu"})


def nodes(placement: ranks.Placement) -> dict[str, str]:
    return {name: domain.node for name, domain in placement.domains.items()}


def test_a_rank_belongs_to_the_first_domain_whose_running_sum_exceeds_it() -> None:
    domains = [host("a", 1), host("b", 0), host("c", 2)]
    placement = ranks.place(domains, waiting(0, 1, 2), count=3)
    assert nodes(placement) == {"p-0": "a", "p-1": "c", "p-2": "c"}


@pytest.mark.row("O01")
def test_workers_of_a_grouped_pair_are_ranked_after_the_leader() -> None:
    start = ranks.start_of(leaders=1, grouped=True, offset=None)
    domains = [host("x", 1), host("y", 1), host("z", 2)]
    placement = ranks.place(domains, waiting(1, 2, 3, 4), count=4, start=start)
    assert nodes(placement) == {"p-1": "x", "p-2": "y", "p-3": "z", "p-4": "z"}
    leader = ranks.place([host("x", 1)], waiting(0), count=1)
    assert nodes(leader) == {"p-0": "x"}


@pytest.mark.row("O06")
def test_the_offset_annotation_shifts_the_ranks_of_a_podset_of_its_own() -> None:
    start = ranks.start_of(leaders=1, grouped=False, offset="3")
    placement = ranks.place([host("x", 1), host("y", 1)], waiting(4, 3), count=2, start=start)
    assert nodes(placement) == {"p-3": "x", "p-4": "y"}
    assert not placement.disorder


def test_a_grouped_podset_has_no_second_offset() -> None:
    assert ranks.start_of(leaders=1, grouped=True, offset="1") == 1


@pytest.mark.row("O07")
def test_an_offset_that_is_not_a_number_is_an_error() -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        ranks.start_of(leaders=1, grouped=False, offset="one")


@pytest.mark.parametrize(
    ("pods", "start", "why"),
    [
        pytest.param(waiting(0, 1, 2), 1, "rank -1", marks=pytest.mark.row("O02")),
        pytest.param(
            [*waiting(0, 1), RankedPod("again", 1)],
            0,
            "two pods have rank 1",
            marks=pytest.mark.row("O03"),
        ),
        pytest.param(waiting(0, 1, 7), 0, "rank 7", marks=pytest.mark.row("O04")),
        ([*waiting(0, 1), RankedPod("bare", None)], 0, "no worker index"),
    ],
)
def test_pods_without_usable_ranks_still_fill_the_assignment(
    pods: Sequence[RankedPod], start: int, why: str
) -> None:
    placement = ranks.place([host("x", 2), host("y", 1)], pods, count=3, start=start)
    assert why in placement.disorder
    assert Counter(nodes(placement).values()) == {"x": 2, "y": 1}


@pytest.mark.row("O05")
def test_an_assignment_for_fewer_pods_than_the_podset_leaves_the_last_ones_waiting() -> None:
    placement = ranks.place([host("x", 2)], waiting(0, 1, 2), count=3)
    assert "2 places" in placement.disorder
    assert nodes(placement) == {"p-0": "x", "p-1": "x"}
    assert placement.crowded == ("p-2",)


@pytest.mark.row("O13")
def test_a_second_pod_waits_while_the_only_place_is_taken() -> None:
    placement = ranks.place([host("x", 1)], [placed(0, "x"), RankedPod("late", 0)], count=1)
    assert placement.domains == {}
    assert placement.crowded == ("late",)


@pytest.mark.row("O16")
def test_a_pod_whose_node_waits_for_replacement_waits_too() -> None:
    domains = [host("x", 1), host("y", 1)]
    placement = ranks.place(domains, waiting(0, 1), count=2, unhealthy=frozenset({"y"}))
    assert nodes(placement) == {"p-0": "x"}
    assert placement.unhealthy == ("p-1",)


@pytest.mark.row("O17")
def test_a_replaced_pod_goes_to_the_new_node_and_the_other_stays() -> None:
    domains = [host("a-new", 1), host("x", 1)]  # The new node sorts before the old ones.
    placement = ranks.place(domains, [placed(0, "x"), *waiting(1)], count=2)
    assert nodes(placement) == {"p-1": "a-new"}


@st.composite
def fragmented(draw: st.DrawFn) -> list[Domain]:
    counts = draw(st.lists(st.integers(0, 6), min_size=1, max_size=12).filter(any))
    if draw(st.booleans()):
        return [host(f"n{i}", n) for i, n in enumerate(counts)]
    return [Domain({"block": f"b{i // 2}", RACK: f"r{i}"}, n) for i, n in enumerate(counts)]


@given(fragmented(), st.integers(0, 1), st.randoms())
def test_ranks_follow_the_order_of_domains_and_fill_them_exactly(
    domains: list[Domain], start: int, shuffle: random.Random
) -> None:
    total = sum(domain.count for domain in domains)
    pods = waiting(*range(start, start + total))
    shuffle.shuffle(pods)
    placement = ranks.place(domains, pods, count=total, start=start)
    by_rank = [domains.index(placement.domains[f"p-{start + r}"]) for r in range(total)]
    assert by_rank == sorted(by_rank)
    assert [by_rank.count(i) for i in range(len(domains))] == [d.count for d in domains]


@given(fragmented(), st.data())
def test_a_restart_of_any_pods_moves_no_other_pod_and_brings_them_back(
    domains: list[Domain], data: st.DataObject
) -> None:
    total = sum(domain.count for domain in domains)
    first = ranks.place(domains, waiting(*range(total)), count=total).domains
    restarted = data.draw(st.sets(st.integers(0, total - 1)))
    pods = [
        RankedPod(f"p-{i}", i, None if i in restarted else first[f"p-{i}"].values)
        for i in range(total)
    ]
    again = ranks.place(domains, pods, count=total)
    assert again.domains == {f"p-{i}": first[f"p-{i}"] for i in restarted}


@given(fragmented(), st.data())
def test_no_domain_gets_more_pods_than_it_has_places_whatever_the_ranks(
    domains: list[Domain], data: st.DataObject
) -> None:
    total = sum(domain.count for domain in domains)
    indices = data.draw(
        st.lists(st.one_of(st.none(), st.integers(-2, total + 2)), max_size=2 * total)
    )
    running = data.draw(st.lists(st.sampled_from(domains), max_size=3))
    pods = [RankedPod(f"w-{n}", index) for n, index in enumerate(indices)]
    pods += [RankedPod(f"r-{n}", None, domain.values) for n, domain in enumerate(running)]
    placement = ranks.place(domains, pods, count=total)
    used = Counter(domains.index(domain) for domain in placement.domains.values())
    taken = Counter(domains.index(domain) for domain in running)
    for i, domain in enumerate(domains):
        assert used[i] <= max(0, domain.count - taken[i])
    free = sum(max(0, domain.count - taken[i]) for i, domain in enumerate(domains))
    assert len(placement.domains) == min(free, len(indices))
    assert len(placement.crowded) == len(indices) - len(placement.domains)
