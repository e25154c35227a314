"""`whatif` says of random clusters what a real Kueue then did with them."""

import pytest

from tests.kit.whatif import recorded

# By whether ClusterQueues of the clusters preempt.
LEAST = {False: 0.99, True: 0.95}


@pytest.mark.parametrize("preempts", LEAST, ids=["without-preemption", "with-preemption"])
def test_the_groups_that_kueue_admitted_are_those_that_whatif_tells(preempts: bool) -> None:
    right, wrong = recorded.share(recorded.kept(preempts=preempts))
    assert right >= LEAST[preempts], wrong


@pytest.mark.parametrize("preempts", LEAST, ids=["without-preemption", "with-preemption"])
def test_the_recordings_have_groups_that_wait_and_groups_that_run(preempts: bool) -> None:
    rows = recorded.kept(preempts=preempts)
    wanted = sum(row.cluster.wanted for row in rows)
    admitted = sum(len(row.admitted) for row in rows)
    assert 0.2 < admitted / wanted < 0.8
    assert any(row.cluster.quotas for row in rows)
