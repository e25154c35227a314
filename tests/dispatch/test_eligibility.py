"""What a worker cluster has to have, and what is said where it has not."""

from dataclasses import replace

import pytest

from lws_kueue.dispatch import eligibility
from lws_kueue.dispatch.eligibility import RIGHTS, Right, Served

GOOD = Served(kueue=("v1beta2",), workloads=True, sets=True, denied=(), uid="w1")

CASES: dict[str, tuple[Served, tuple[str, ...]]] = {
    "good": (GOOD, ()),
    "E2-no-kueue": (
        replace(GOOD, kueue=(), workloads=False),
        ("Kueue is not installed: install Kueue (>= 0.15)",),
    ),
    "E2-older-kueue": (
        replace(GOOD, kueue=("v1beta1",), workloads=False),
        ("Kueue serves kueue.x-k8s.io v1beta1 and not v1beta2: upgrade Kueue to 0.15 or later",),
    ),
    "E2-no-workloads": (
        replace(GOOD, workloads=False),
        ("Kueue serves no Workloads in kueue.x-k8s.io/v1beta2",),
    ),
    "E3-no-sets": (
        replace(GOOD, sets=False),
        ("LeaderWorkerSets are not served in leaderworkerset.x-k8s.io/v1: install them",),
    ),
    "E4-a-verb": (
        replace(GOOD, denied=(Right("leaderworkerset.x-k8s.io", "leaderworkersets", "patch"),)),
        ("its role lacks patch of leaderworkersets.leaderworkerset.x-k8s.io",),
    ),
    "E4-several": (
        replace(GOOD, denied=RIGHTS[-6:]),
        (
            "its role lacks get/create/patch/delete of leases.coordination.k8s.io, list of pods, "
            "get of namespaces",
        ),
    ),
    "E5-the-manager": (
        replace(GOOD, uid="m", denied=RIGHTS[-1:]),
        ("it is the manager's own cluster, which cannot be its own worker",),
    ),
    "E5-twice": (replace(GOOD, uid="w0"), ("it is the same cluster as first",)),
    "E5-unknown": (
        replace(GOOD, uid=""),
        ("its namespace kube-system cannot be read, so that it cannot be told apart",),
    ),
    "nothing": (
        replace(GOOD, kueue=(), workloads=False, sets=False, denied=RIGHTS[-1:], uid=""),
        (
            "Kueue is not installed: install Kueue (>= 0.15)",
            "LeaderWorkerSets are not served in leaderworkerset.x-k8s.io/v1: install them",
            "its role lacks get of namespaces",
        ),
    ),
}


@pytest.mark.parametrize(("served", "told"), CASES.values(), ids=CASES)
@pytest.mark.row("MK-52")
def test_each_thing_that_a_cluster_lacks_is_told(served: Served, told: tuple[str, ...]) -> None:
    assert eligibility.problems(served, manager="m", others={"w0": "first", "": "x"}) == told
