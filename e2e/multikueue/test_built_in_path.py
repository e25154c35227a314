"""Kueue's own MultiKueue with this controller on the manager and on the workers.

Where Kueue's integration for LeaderWorkerSets is on, it dispatches; where it is off on a worker,
the bridge there serves what it has copied. The stand-in for Kueue dispatches nothing, so these
need a real one; what a worker's bridge does with copies is tested without in `test_copies.py`.
"""

from typing import Any

import pytest
from lws_kueue_lab.sandbox import audit, kueue_manager

from tests.kit.kueue import clusters, places, queued
from tests.kit.kueue.clusters import Clusters
from tests.kit.live import harness
from tests.kit.lws.sample import LWS
from tests.kit.multikueue import copies

REAL = kueue_manager.from_environment() is not None
needs_multikueue = pytest.mark.skipif(not REAL, reason="the stand-in for Kueue has no MultiKueue")

SIZE = 2
# Of one group: two pods.
GROUP_CPU = 200


def queues(fleet: Clusters, room: str, *, groups: int, **spec: Any) -> str:
    """Make a queue in each cluster, with room for so many groups; ``spec`` is of the manager's."""
    cpu = f"{groups * GROUP_CPU}m"
    for place in fleet.workers.values():
        harness.queues(place.cluster, namespace=room, cpu=cpu)
    return harness.queues(fleet.manager.cluster, namespace=room, cpu=cpu, **spec)


def dispatched(fleet: Clusters, room: str, *, groups: int, **options: Any) -> queued.Queued:
    """Make a set in a queue of the manager that Kueue's MultiKueue dispatches."""
    asks = clusters.asking(clusters.CHECK)
    queue = queues(fleet, room, groups=groups, admissionChecksStrategy=asks)
    return queued.create(
        fleet.manager.cluster,
        namespace=room,
        queue=queue,
        replicas=groups,
        size=SIZE,
        cpu="100m",
        **options,
    )


def cluster_of(one: queued.Queued, *, groups: int) -> str:
    """Wait until the Workloads of all groups name the cluster in which they run; return it."""
    found = one.wait_workloads(
        lambda seen: (
            len(seen) == groups
            and all(w.get("status", {}).get("clusterName") for w in seen.values())
        ),
        what=f"{groups} groups have a cluster",
    )
    (name,) = {w["status"]["clusterName"] for w in found.values()}
    return str(name)


def held_on_the_manager(one: queued.Queued, *, groups: int) -> None:
    for group in range(groups):
        one.wait_gated(group, pods=SIZE)


def gone_everywhere(fleet: Clusters, room: str) -> None:
    for place in fleet.every:
        for kind in (LWS, queued.WORKLOAD, ("v1", "Pod")):
            place.cluster.api.wait_for_all(
                *kind,
                lambda seen: not seen,
                namespace=room,
                timeout=queued.TIMEOUT,
                what=f"no {kind[1]} of {room}",
            )


@needs_multikueue
@pytest.mark.row("MK-62", "MK-63")
@pytest.mark.parametrize("groups", [2, 3])
def test_all_groups_of_a_set_run_on_one_worker_and_go_with_it(
    fleet: Clusters, room: str, groups: int
) -> None:
    fleet.kueue(manager=clusters.INTEGRATION, workers=clusters.INTEGRATION)
    fleet.connect()
    one = dispatched(fleet, room, groups=groups)
    worker = fleet.workers[cluster_of(one, groups=groups)]
    there = queued.Queued(worker.cluster, room, one.name)
    there.wait_ready(groups)
    assert set(there.workloads()) == set(range(groups))
    assert all(queued.is_true(seen, "Admitted") for seen in there.workloads().values())
    held_on_the_manager(one, groups=groups)
    one.delete()
    gone_everywhere(fleet, room)


# Copies under the bridge --------------------------------------------------------------------------


def copied(fleet: Clusters, room: str, *, groups: int) -> tuple[queued.Queued, places.Place]:
    """Have a set copied to a worker where there is room for all groups but one."""
    fleet.kueue(manager=clusters.INTEGRATION, workers=clusters.BRIDGE)
    fleet.connect()
    for place in fleet.workers.values():
        for obj in copies.tempting():
            place.cluster.api.apply(obj)
        harness.queues(place.cluster, namespace=room, cpu="1", name="default")
        harness.queues(place.cluster, namespace=room, cpu=f"{(groups - 1) * GROUP_CPU}m")
    asks = clusters.asking(clusters.CHECK)
    cpu = f"{groups * GROUP_CPU}m"
    queue = harness.queues(
        fleet.manager.cluster, namespace=room, cpu=cpu, admissionChecksStrategy=asks
    )
    one = queued.create(
        fleet.manager.cluster,
        namespace=room,
        queue=queue,
        replicas=groups,
        size=SIZE,
        cpu="100m",
    )
    first = one.wait_workload(
        0, lambda seen: seen.get("status", {}).get("clusterName"), what="has a cluster"
    )
    return one, fleet.workers[first["status"]["clusterName"]]


@needs_multikueue
@pytest.mark.row("MK-64")
def test_the_bridge_of_a_worker_runs_copied_groups_and_leaves_their_workloads_as_they_came(
    fleet: Clusters, room: str
) -> None:
    since = {name: audit.position(place.cluster) for name, place in fleet.workers.items()}
    one, worker = copied(fleet, room, groups=2)
    there = queued.Queued(worker.cluster, room, one.name)
    there.wait_ready(1)
    there.wait_told("insufficient unused quota")
    harness.set_quota(worker.cluster, namespace=room, cpu=f"{2 * GROUP_CPU}m")
    there.wait_ready(2)
    sent = there.workloads()
    assert {group: seen["metadata"]["name"] for group, seen in sent.items()} == {
        group: seen["metadata"]["name"] for group, seen in one.workloads().items()
    }
    live, copied_set = (
        place.cluster.api.get(*LWS, one.name, namespace=room) for place in (fleet.manager, worker)
    )
    # What tests without a real Kueue take for granted, and nothing is added to what is copied.
    assert copies.content(copied_set) == copies.content(copies.of_set(live))
    assert {group: copies.content(seen) for group, seen in sent.items()} == {
        group: copies.content(copies.of_workload(seen)) for group, seen in one.workloads().items()
    }
    for name, place in fleet.workers.items():
        assert copies.written(place.cluster, namespace=room, since=since[name]) == []
    held_on_the_manager(one, groups=2)
    one.delete()
    gone_everywhere(fleet, room)


def identities(there: queued.Queued) -> set[str]:
    """Return the UIDs of the set and its Workloads in a worker."""
    live = there.cluster.api.get(*LWS, there.name, namespace=there.namespace)
    return {obj["metadata"]["uid"] for obj in (live, *there.workloads().values())}


@needs_multikueue
def test_a_copy_that_is_deactivated_in_its_worker_is_replaced_and_the_set_with_it(
    fleet: Clusters, room: str
) -> None:
    fleet.kueue(manager=clusters.INTEGRATION, workers=clusters.BRIDGE)
    fleet.connect()
    one = dispatched(fleet, room, groups=1)
    worker = fleet.workers[cluster_of(one, groups=1)]
    there = queued.Queued(worker.cluster, room, one.name)
    there.wait_ready(1)
    before = identities(there)
    there.switch(0, active=False)

    def again(seen: dict[str, Any]) -> bool:
        (check,) = seen["status"]["admissionChecks"]
        return bool(check.get("retryCount") == 1 and check["state"] == "Ready")

    found = one.wait_workload(0, again, what="is dispatched once more")
    worker = fleet.workers[found["status"]["clusterName"]]
    there = queued.Queued(worker.cluster, room, one.name)
    there.wait_ready(1)
    assert not identities(there) & before
    one.delete()
    gone_everywhere(fleet, room)
