"""The groups of one set on two workers, each where there is room for it, seen from outside.

The manager and both workers are real control planes, each with a Kueue (or the stand-in) and this
controller; on the workers the bridge serves what the manager sends. Everything is set up as
`deploy/multikueue` says, with those rights.
"""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import pytest
from lws_kueue_lab import sandbox, worker_clusters
from lws_kueue_lab.sandbox import audit, manager

from e2e.multikueue import conftest
from e2e.multikueue import test_connections as connecting
from lws_kueue.api import names
from tests.kit import polling
from tests.kit.builders import cluster as build
from tests.kit.judge import fleet as judge
from tests.kit.kueue import clusters, queued
from tests.kit.live import harness
from tests.kit.lws.sample import LWS

Object = dict[str, Any]

SIZE: Final = 2
# Of one group: two pods.
GROUP_CPU: Final = 200
WORKLOAD: Final = queued.WORKLOAD
POD: Final = ("v1", "Pod")
ROOM: Final = {"w1": 2, "w2": 1}


@dataclass(slots=True)
class Fleet:
    """A manager and two workers."""

    connected: connecting.Connected

    @property
    def manager(self) -> sandbox.Sandbox:
        return self.connected.manager

    @property
    def workers(self) -> dict[str, sandbox.Sandbox]:
        return self.connected.workers

    def room(self, name: str, *, groups: int, there: Mapping[str, int] = ROOM, **spec: Any) -> str:
        """Make a namespace and queues in all clusters.

        The manager has room for ``groups``, each worker for as many as ``there`` says. ``spec`` is
        merged into all ClusterQueues.
        """
        harness.make_namespace(self.manager, name)
        checks = {"admissionChecks": [{"name": connecting.CHECK[2]}]}
        harness.queues(
            self.manager,
            namespace=name,
            cpu=f"{groups * GROUP_CPU}m",
            admissionChecksStrategy=checks,
            **spec,
        )
        for worker, cluster in self.workers.items():
            harness.make_namespace(cluster, name)
            harness.queues(cluster, namespace=name, cpu=f"{there[worker] * GROUP_CPU}m", **spec)
        return name


@pytest.fixture(scope="module")
def shared(backend: sandbox.Backend, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with opened(backend, tmp_path_factory) as fleet:
        yield fleet


def configuration(**settings: Any) -> Object:
    """Return the configuration of a manager's controller, with ``settings`` of dispatch."""
    multi_kueue = {"enabled": True, **settings}
    return {"lwsKueue": {"kueueProbeInterval": "2s", "multiKueue": multi_kueue}}


@contextlib.contextmanager
def opened(
    backend: sandbox.Backend,
    tmp_path_factory: pytest.TempPathFactory,
    *,
    others: manager.Source | None = None,
    **settings: Any,
) -> Iterator[Fleet]:
    """Open a manager and its workers, with ``settings`` of dispatch; all is usable then.

    ``others`` is the LWS manager that serves the workers, with the integration of their Kueue.
    """
    with conftest.opening(
        backend,
        tmp_path_factory,
        mode="auto",
        workers=("w1", "w2"),
        others=others,
        nodes=2,
        audit_log=True,
        configuration=configuration(**settings),
    ) as places:
        fleet = Fleet(connecting.Connected(places))
        worker_clusters.grant(fleet.manager, fleet.workers.values())
        places.manager.controller.arguments += ("--verbose",)
        workers = clusters.BRIDGE if others is None else clusters.INTEGRATION
        places.kueue(manager=clusters.RELEASED, workers=workers)
        worker_clusters.connect(fleet.manager, fleet.workers)
        worker_clusters.wait_until_usable(fleet.manager)
        yield fleet


@pytest.fixture
def fleet(shared: Fleet) -> Iterator[Fleet]:
    yield shared
    print(shared.connected.controller.tail(150))


@contextlib.contextmanager
def recorded(fleet: Fleet, room: str) -> Iterator[dict[str, harness.Recording]]:
    """Record what a namespace of each worker has, from outside."""
    with contextlib.ExitStack() as stack:
        yield {
            name: stack.enter_context(
                harness.Recording(
                    cluster, WORKLOAD, LWS, POD, namespace=room, from_list=True
                ).watching()
            )
            for name, cluster in fleet.workers.items()
        }


def judged(fleet: Fleet, recordings: dict[str, harness.Recording]) -> None:
    """Nothing ran twice, or without what has to stand behind it; all was the manager's."""
    events = {name: one.events for name, one in recordings.items()}
    assert judge.broken(events, quota={name: ROOM[name] * SIZE for name in events}) == []
    for name, some in events.items():
        assert judge.strangers(some) == [], name


def placed(one: queued.Queued, groups: int) -> dict[int, str]:
    """Wait until all groups have a cluster; return it by group."""
    found = one.wait_workloads(
        lambda seen: (
            len(seen) == groups
            and all((w.get("status") or {}).get("clusterName") for w in seen.values())
        ),
        what=f"{groups} groups have a cluster",
    )
    return {group: str(w["status"]["clusterName"]) for group, w in found.items()}


def running(fleet: Fleet, room: str) -> dict[str, dict[str, str]]:
    """Return the UIDs of pods without a gate by name, by cluster."""
    return {
        name: {
            pod["metadata"]["name"]: pod["metadata"]["uid"]
            for pod in cluster.api.list(*POD, namespace=room)
            if not harness.gates(pod)
        }
        for name, cluster in fleet.workers.items()
    }


def gone_everywhere(fleet: Fleet, room: str) -> None:
    for cluster in (fleet.manager, *fleet.workers.values()):
        for kind in (LWS, WORKLOAD, POD):
            cluster.api.wait_for_all(
                *kind,
                lambda seen: not seen,
                namespace=room,
                timeout=queued.TIMEOUT,
                what=f"no {kind[1]} of {room}",
            )


def create(
    fleet: Fleet,
    room: str,
    name: str = "lws",
    *,
    replicas: int,
    options: Mapping[str, Any] = MappingProxyType({}),
    **annotations: str,
) -> queued.Queued:
    """Create a set; ``annotations`` are those by which it says where its groups are to be."""
    wishes = {"placement": names.PLACEMENT, "beside": names.SAME_CLUSTER_AS}

    def wish(body: Object) -> None:
        asked = {wishes[what]: value for what, value in annotations.items()}
        body["metadata"].setdefault("annotations", {}).update(asked)

    return queued.create(
        fleet.manager,
        name,
        namespace=room,
        queue="user-queue",
        replicas=replicas,
        size=SIZE,
        cpu="100m",
        change=wish,
        **options,
    )


@pytest.mark.row("MK-01", "MK-03", "MK-15")
def test_three_groups_run_on_two_workers_and_scale_there_and_go_with_their_set(
    fleet: Fleet,
) -> None:
    three_groups_run_and_scale_and_go(fleet)


def three_groups_run_and_scale_and_go(fleet: Fleet) -> None:
    """Play MK-01, MK-03 and MK-15, whoever serves the workers."""
    room = fleet.room("scales", groups=6)
    with recorded(fleet, room) as recordings:
        one = create(fleet, room, replicas=3)
        one.wait_ready(3)
        where = placed(one, 3)
        assert sorted(where.values()) == ["w1", "w1", "w2"]
        told = one.wait_set(
            lambda seen: (harness.condition(seen, "Dispatched") or {}).get("status") == "True",
            what="it says where its groups are",
        )
        message = (harness.condition(told, "Dispatched") or {})["message"]
        assert all(name in message for name in ROOM)
        for group in range(3):
            one.wait_gated(group, pods=1)
        before = running(fleet, room)
        # There is room for no fourth one, and each cluster says so.
        one.scale(4)
        one.wait_told("group 3: w1: ", "w2: ", "insufficient unused quota")
        harness.set_quota(fleet.workers["w2"], namespace=room, cpu=f"{2 * GROUP_CPU}m")
        one.wait_ready(4)
        assert placed(one, 4) == where | {3: "w2"}
        after = running(fleet, room)
        assert all(before[name].items() <= after[name].items() for name in before)
        one.scale(1)
        one.wait_workloads(lambda seen: set(seen) == {0}, what="one group is left")
        one.wait_ready(1)
        left = running(fleet, room)
        assert left[where[0]].items() <= before[where[0]].items()
        assert [len(pods) for name, pods in left.items() if name != where[0]] == [0]
        one.delete()
        gone_everywhere(fleet, room)
        harness.set_quota(fleet.workers["w2"], namespace=room, cpu=f"{GROUP_CPU}m")
        events = {name: recording.events for name, recording in recordings.items()}
        assert judge.broken(events, quota={"w1": 2 * SIZE, "w2": 2 * SIZE}) == []


@pytest.mark.row("MK-42")
def test_a_controller_that_is_killed_in_the_middle_dispatches_every_group_once(
    fleet: Fleet,
) -> None:
    room = fleet.room("killed", groups=6)
    controller = fleet.connected.controller
    with recorded(fleet, room) as recordings:
        one = create(fleet, room, replicas=3)
        # In the middle: one group is somewhere, and the others are not yet.
        one.wait_workloads(
            lambda seen: any((w.get("status") or {}).get("clusterName") for w in seen.values()),
            what="a group has a cluster",
        )
        controller.kill()
        controller.start()
        one.wait_ready(3)
        assert sorted(placed(one, 3).values()) == ["w1", "w1", "w2"]
        before = running(fleet, room)
        one.scale(2)
        controller.kill()
        controller.start()
        one.wait_ready(2)
        one.wait_workloads(lambda seen: set(seen) == {0, 1}, what="two groups are left")
        after = running(fleet, room)
        assert all(pods.items() <= before[name].items() for name, pods in after.items())
        one.delete()
        controller.kill()
        controller.start()
        gone_everywhere(fleet, room)
    judged(fleet, recordings)


@pytest.mark.row("MK-27")
def test_a_group_that_a_worker_evicts_stops_there_before_it_is_offered_anew(fleet: Fleet) -> None:
    room = fleet.room("evicted", groups=6)
    one = create(fleet, room, replicas=1)
    one.wait_ready(1)
    home = placed(one, 1)[0]
    (there,) = fleet.workers[home].api.list(*WORKLOAD, namespace=room)
    first = there["metadata"]["uid"]
    fleet.workers[home].api.patch(
        *WORKLOAD, there["metadata"]["name"], namespace=room, body={"spec": {"active": False}}
    )

    def made_anew() -> None:
        found = [
            obj["metadata"]["uid"]
            for cluster in fleet.workers.values()
            for obj in cluster.api.list(*WORKLOAD, namespace=room)
        ]
        assert found
        assert first not in found

    polling.trying(timeout=queued.TIMEOUT, every=0.2)(made_anew)
    one.wait_event("GroupEvictedOnWorker", f"on cluster {home}", kind="Warning")
    one.wait_ready(1)
    one.delete()
    gone_everywhere(fleet, room)


@pytest.mark.row("MK-12")
def test_a_set_that_is_to_be_in_one_cluster_waits_there_though_another_one_is_free(
    fleet: Fleet,
) -> None:
    room = fleet.room("together", groups=6)
    with recorded(fleet, room) as recordings:
        one = create(fleet, room, replicas=3, placement="one-cluster")
        one.wait_ready(2)
        # The last two ask in the same second, and Kueue goes by UID then.
        one.wait_told(": w1: ", "insufficient unused quota", "no other cluster is asked")
        told = one.wait_set(
            lambda seen: harness.condition(seen, "WaitingForAdmission"), what="a group waits"
        )
        assert (harness.condition(told, "WaitingForAdmission") or {})["reason"] == "NoClusterAdmits"
        harness.set_quota(fleet.workers["w1"], namespace=room, cpu=f"{3 * GROUP_CPU}m")
        one.wait_ready(3)
        assert placed(one, 3) == {0: "w1", 1: "w1", 2: "w1"}
        one.delete()
        gone_everywhere(fleet, room)
        events = {name: recording.events for name, recording in recordings.items()}
        assert judge.broken(events, quota={"w1": 3 * SIZE, "w2": 0}) == []


@pytest.mark.row("MK-13")
def test_a_set_follows_another_one_when_that_has_a_cluster(fleet: Fleet) -> None:
    room = fleet.room("beside", groups=6)
    with recorded(fleet, room) as recordings:
        one = create(fleet, room, replicas=1, beside="other")
        one.wait_event("WaitsForHome", "there is no such set", kind="Warning")
        other = create(fleet, room, "other", replicas=0)
        one.wait_told("group 0: ", "none of them has a cluster")
        other.scale(1)
        other.wait_ready(1)
        one.wait_ready(1)
        assert placed(one, 1) == placed(other, 1)
        one.delete()
        other.delete()
        gone_everywhere(fleet, room)
    judged(fleet, recordings)


@pytest.mark.row("MK-56")
def test_a_workload_that_is_no_sets_is_rejected_in_a_queue_that_dispatches(fleet: Fleet) -> None:
    room = fleet.room("others", groups=1)
    container = {"name": "c", "image": "app", "resources": {"requests": {"cpu": "10m"}}}
    template = {"spec": {"containers": [container], "restartPolicy": "Never"}}
    body = build.kueues(
        "Workload",
        "other",
        queueName="user-queue",
        podSets=[{"name": "main", "count": 1, "template": template}],
    )
    body["metadata"]["namespace"] = room
    fleet.manager.api.create(body)

    def rejected(seen: Object | None) -> Any:
        states = ((seen or {}).get("status") or {}).get("admissionChecks") or ()
        return any("LeaderWorkerSets only" in one.get("message", "") for one in states)

    fleet.manager.api.wait_for(
        *WORKLOAD, "other", rejected, namespace=room, timeout=queued.TIMEOUT, what="is rejected"
    )
    fleet.manager.api.delete(*WORKLOAD, "other", namespace=room)


@pytest.mark.row("MK-16")
def test_the_manager_writes_no_more_than_eight_times_for_a_group_that_is_taken_at_once(
    fleet: Fleet,
) -> None:
    room = fleet.room("counted", groups=6)
    since = {name: audit.position(c) for name, c in fleet.workers.items()}
    here = audit.position(fleet.manager)
    one = create(fleet, room, replicas=1)
    one.wait_ready(1)
    placed(one, 1)
    one.wait_workload(0, lambda seen: queued.is_true(seen, "PodsReady"), what="is ready")
    there = [
        request
        for name, cluster in fleet.workers.items()
        for request in audit.requests(cluster, since=since[name])
        if request.is_write and request.user == worker_clusters.USER and request.namespace == room
    ]
    # The Lease is made once for a namespace of a worker.
    assert sorted(one.resource for one in there if one.resource != "leases") == [
        "leaderworkersets",
        "workloads",
    ]
    mine = ":".join(("system:serviceaccount", *harness.SERVICE_ACCOUNT))
    told = ("workloads", "workloads/status", "pods/status")
    written = [
        request
        for request in audit.requests(fleet.manager, since=here)
        if request.is_write and request.user == mine and request.namespace == room
        if request.resource in told
    ]
    assert len(written) + 2 <= 8, [(w.verb, w.resource, w.status) for w in written]
    one.delete()
    gone_everywhere(fleet, room)
