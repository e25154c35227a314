"""`whatif` says of random clusters what a real Kueue then did with them."""

import pytest

from tests.kit.whatif import clusters, recorded

of_each_kind = pytest.mark.parametrize(
    "kind", clusters.KINDS.values(), ids=[one.replace("-", " ") for one in clusters.KINDS]
)


@of_each_kind
def test_the_groups_that_kueue_admitted_are_those_that_whatif_tells(kind: clusters.Kind) -> None:
    right, wrong = recorded.share(recorded.kept(kind))
    assert right >= kind.least, wrong


@of_each_kind
def test_the_recordings_have_groups_that_wait_and_groups_that_run(kind: clusters.Kind) -> None:
    rows = recorded.kept(kind)
    wanted = sum(row.cluster.wanted for row in rows)
    admitted = sum(len(row.admitted) for row in rows)
    assert 0.2 < admitted / wanted < 0.8
    assert any(row.cluster.quotas for row in rows)


def test_the_recordings_are_of_three_hundred_clusters() -> None:
    assert sum(len(recorded.kept(kind)) for kind in clusters.KINDS.values()) >= 300


@pytest.mark.parametrize(
    "kind", [one for one in clusters.KINDS.values() if one.topology], ids=lambda one: one.name
)
def test_of_groups_that_wait_in_a_topology_some_have_quota_enough(kind: clusters.Kind) -> None:
    told = [
        group.why
        for row in recorded.kept(kind)
        for group in row.answer().groups
        if group.then == "waits"
    ]
    assert sum("doesn't allow to fit" in one or "allows to fit" in one for one in told) > 10
