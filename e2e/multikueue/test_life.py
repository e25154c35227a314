"""What happens to groups on several clusters while time goes by: held queues, clusters that are
deleted, replicas that are killed. On real control planes, as in `test_dispatch_by_group`.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from lws_kueue_lab import sandbox

from e2e.multikueue import test_connections as connecting
from e2e.multikueue import test_dispatch_by_group as dispatched
from lws_kueue.api import names
from tests.kit.builders import cluster as build
from tests.kit.kueue import queued
from tests.kit.live import harness
from tests.kit.lws.sample import LWS

pytestmark = pytest.mark.long

QUEUE = (names.KUEUE_API_VERSION, "ClusterQueue")
FAST = (
    "--leader-elect",
    "--leader-elect-lease-duration=4s",
    "--leader-elect-renew-deadline=3s",
    "--leader-elect-retry-period=500ms",
)
WAITS = "waiting for the Lease"
# "Every 10 s for three minutes" takes longer than it tells.
KILLS = 5


@pytest.fixture(scope="module")
def shared(
    backend: sandbox.Backend, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dispatched.Fleet]:
    with dispatched.opened(backend, tmp_path_factory, workerLostTimeout="20s") as fleet:
        yield fleet


@pytest.fixture
def fleet(shared: dispatched.Fleet) -> Iterator[dispatched.Fleet]:
    yield shared
    print(shared.connected.controller.tail(150))


def hold(cluster: sandbox.Sandbox, room: str, policy: str) -> None:
    cluster.api.patch(*QUEUE, room, body={"spec": {"stopPolicy": policy}})


def nothing_runs(fleet: dispatched.Fleet, room: str) -> None:
    for name, cluster in fleet.workers.items():
        for kind in (LWS, dispatched.WORKLOAD, dispatched.POD):
            cluster.api.wait_for_all(
                *kind,
                lambda seen: not seen,
                namespace=room,
                timeout=queued.TIMEOUT,
                what=f"no {kind[1]} of {room} in {name}",
            )


@pytest.mark.row("MK-30")
def test_groups_stop_where_the_managers_queue_is_drained_and_move_where_a_workers_is(
    fleet: dispatched.Fleet,
) -> None:
    room = fleet.room("held", groups=2)
    one = dispatched.create(fleet, room, replicas=1)
    one.wait_ready(1)
    hold(fleet.manager, room, "HoldAndDrain")
    nothing_runs(fleet, room)
    one.wait_workload(
        0, lambda seen: not queued.is_true(seen, "QuotaReserved"), what="has no quota"
    )
    hold(fleet.manager, room, "None")
    one.wait_ready(1)
    home = dispatched.placed(one, 1)[0]
    (other,) = set(fleet.workers) - {home}
    hold(fleet.workers[home], room, "HoldAndDrain")
    one.wait_workload(
        0,
        lambda seen: (seen.get("status") or {}).get("clusterName") == other,
        what=f"is in {other}",
    )
    one.wait_ready(1)
    hold(fleet.workers[home], room, "None")
    one.delete()
    dispatched.gone_everywhere(fleet, room)


@pytest.mark.row("MK-43")
def test_two_replicas_whose_leader_is_killed_again_and_again_make_nothing_twice(
    fleet: dispatched.Fleet, tmp_path: Path
) -> None:
    room = fleet.room("replicas", groups=6)
    single = fleet.connected.controller
    assert single.stop() == 0
    pair = [
        harness.ControllerProcess(
            kubeconfig=single.kubeconfig,
            log=tmp_path / f"{number}.log",
            arguments=(*single.arguments, *FAST),
        )
        for number in range(2)
    ]
    try:
        pair[0].start()
        pair[1].start(until=WAITS)
        with dispatched.recorded(fleet, room) as recordings:
            one = dispatched.create(fleet, room, replicas=1)
            one.wait_ready(1)
            before = dispatched.running(fleet, room)
            for number in range(KILLS):
                one.scale(3 - number % 2)
                leader, other = pair[number % 2], pair[1 - number % 2]
                mark = other.log.stat().st_size
                leader.kill()
                other.wait_log(harness.LISTED, since=mark)
                leader.start(until=WAITS)
            wanted = 3 - (KILLS - 1) % 2
            one.wait_ready(wanted)
            after = dispatched.running(fleet, room)
            # The first group has been there all the time, and nobody has touched it.
            assert all(before[name].items() <= after[name].items() for name in before)
            one.delete()
            dispatched.gone_everywhere(fleet, room)
        made = {
            (name, event["object"]["kind"], event["object"]["metadata"]["name"]): set[str]()
            for name, recording in recordings.items()
            for event in recording.events
        }
        for name, recording in recordings.items():
            for event in recording.events:
                meta = event["object"]["metadata"]
                if meta.get("labels", {}).get(names.ORIGIN_GROUP_INDEX) == "0":
                    made[name, event["object"]["kind"], meta["name"]].add(meta["uid"])
        assert all(len(uids) <= 1 for uids in made.values())
        assert any(made.values())
    finally:
        for process in pair:
            print(process.tail(80))
            process.kill()
        single.start()


@pytest.mark.row("MK-39")
def test_a_group_moves_from_a_cluster_that_is_deleted_while_it_does_not_answer(
    fleet: dispatched.Fleet,
) -> None:
    room = fleet.room("deleted", groups=2)
    harness.set_quota(fleet.workers["w2"], namespace=room, cpu="0")
    one = dispatched.create(fleet, room, replicas=1)
    one.wait_ready(1)
    assert dispatched.placed(one, 1) == {0: "w1"}
    api, controller = fleet.manager.api, fleet.connected.controller
    fleet.workers["w1"].stop_api_server()
    try:
        api.delete(*connecting.CLUSTER, "w1")
        # Whoever begins now knows of it by the Workload alone.
        controller.kill()
        controller.start()
        one.wait_event("ClusterLost", "there is no MultiKueueCluster of that name", kind="Warning")
        harness.set_quota(fleet.workers["w2"], namespace=room, cpu=f"{dispatched.GROUP_CPU}m")
        one.wait_workload(
            0,
            lambda seen: (seen.get("status") or {}).get("clusterName") == "w2",
            what="is in w2",
        )
        one.wait_ready(1)
    finally:
        fleet.workers["w1"].start_api_server()
    source = {"kubeConfig": {"location": "w1", "locationType": "Secret"}}
    api.apply(build.kueues(connecting.CLUSTER[1], "w1", clusterSource=source))
    fleet.connected.says("all clusters can be used")
    # It is the same cluster again, and what is left there goes.
    fleet.workers["w1"].api.wait_for_all(
        *LWS,
        lambda seen: not seen,
        namespace=room,
        timeout=queued.TIMEOUT,
        what="no set in w1",
    )
    one.wait_ready(1)
    one.delete()
    dispatched.gone_everywhere(fleet, room)
