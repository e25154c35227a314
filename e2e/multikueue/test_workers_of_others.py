"""Rows of dispatch by group on workers that others serve: LWS's own manager makes the groups there,
and Kueue's LeaderWorkerSet integration lets them go.

The same rows are played with our bridge in the workers. Who serves a worker is no part of the
protocol, so what the manager does has to be the same. In the manager Kueue is set up as a release
of it for the bridge; where no real one is at hand, the rows with our bridge are played with the
stand-in, and those of others are skipped. What a watcher from outside saw of all clusters is judged
after each row.
"""

import contextlib
import dataclasses
import datetime
import signal
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import pytest
from lws_kueue_lab import sandbox, worker_clusters
from lws_kueue_lab.sandbox import audit, kueue_manager, kueue_settings, lws_manager, stages

from e2e.multikueue import test_dispatch_by_group as dispatched
from e2e.multikueue.test_dispatch_by_group import GROUP_CPU, POD, SIZE, WORKLOAD
from e2e.multikueue.test_life import hold
from lws_kueue.api import names
from tests.kit.builders import cluster as build
from tests.kit.kueue import clusters, queued
from tests.kit.live import harness
from tests.kit.lws.sample import LWS, Object
from tests.kit.multikueue import watching
from tests.kit.takeover import life

pytestmark = pytest.mark.long

BRIDGE: Final = "bridge"
OTHERS: Final = "others"
_VARIABLES: Final = (
    *(lws_manager.BINARY_VARIABLE, lws_manager.MANIFESTS_VARIABLE),
    *(kueue_manager.BINARY_VARIABLE, kueue_manager.MANIFESTS_VARIABLE),
)
both_at_hand: Final = pytest.mark.skipif(
    lws_manager.from_environment() is None or kueue_manager.from_environment() is None,
    reason=f"needs the manager of the LWS project and a real Kueue: set {', '.join(_VARIABLES)}",
)
only_others: Final = pytest.mark.parametrize(
    "shared", [pytest.param(OTHERS, marks=both_at_hand)], indirect=True
)

ONE_EACH: Final = {"w1": 1, "w2": 1}
IMPATIENT: Final = 3
"""Seconds within which pods have to be ready, where nobody is patient."""
NEVER_READY: Final = {stages.BEHAVIOUR: stages.NEVER_READY}


@dataclasses.dataclass(frozen=True, slots=True)
class Served:
    """A manager and two workers, and with which settings Kueue runs in the workers otherwise."""

    fleet: dispatched.Fleet
    usual: kueue_settings.KueueSettings

    def kueue(
        self,
        *,
        manager: kueue_settings.WaitForPodsReady | None = None,
        workers: kueue_settings.WaitForPodsReady | None = None,
    ) -> None:
        """Have Kueue wait for pods as a row wants it; where that is new it is started anew."""
        self.fleet.connected.clusters.kueue(
            manager=dataclasses.replace(clusters.RELEASED, wait_for_pods_ready=manager),
            workers=dataclasses.replace(self.usual, wait_for_pods_ready=workers),
        )


@pytest.fixture(scope="module", params=[BRIDGE, pytest.param(OTHERS, marks=both_at_hand)])
def shared(
    request: pytest.FixtureRequest,
    backend: sandbox.Backend,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Served]:
    others = lws_manager.from_environment() if request.param == OTHERS else None
    usual = clusters.BRIDGE if others is None else clusters.INTEGRATION
    with dispatched.opened(backend, tmp_path_factory, others=others) as fleet:
        yield Served(fleet, usual)


@pytest.fixture
def served(shared: Served) -> Iterator[Served]:
    shared.kueue()
    yield shared
    print(shared.fleet.connected.controller.tail(200))


@pytest.fixture
def fleet(served: Served) -> dispatched.Fleet:
    return served.fleet


@contextlib.contextmanager
def watched(
    fleet: dispatched.Fleet, room: str, *, there: Mapping[str, int]
) -> Iterator[watching.Watch]:
    """Watch all clusters, and judge what was seen of a namespace once the context has ended well.

    ``there`` is for how many groups each worker has room.
    """
    watch = watching.Watch(fleet.manager, fleet.workers)
    with watch.watching():
        yield watch
    quota = {name: groups * SIZE for name, groups in there.items()}
    assert watching.broken(watch, fleet.workers, namespace=room, quota=quota) == []
    finished = [
        seen.event["object"]["metadata"]["name"]
        for name in ("", *fleet.workers)
        for seen in watch.seen(name, namespace=room)
        if queued.is_true(seen.event["object"], "Finished")
    ]
    assert finished == []


# What is there --------------------------------------------------------------------------------


def offers(fleet: dispatched.Fleet, room: str) -> dict[str, Object]:
    """Return the Workload of a namespace in each worker that has one; there is one group."""
    return {
        name: found
        for name, cluster in fleet.workers.items()
        for found in cluster.api.list(*WORKLOAD, namespace=room)
    }


def wait_offers(
    fleet: dispatched.Fleet, room: str, *, what: str, holds: Callable[[Object], bool]
) -> None:
    """Wait until the Workloads in all workers are as they have to be, one in each."""
    for cluster in fleet.workers.values():
        cluster.api.wait_for_all(
            *WORKLOAD,
            lambda seen: len(seen) == 1 and all(map(holds, seen.values())),
            namespace=room,
            timeout=queued.TIMEOUT,
            what=what,
        )


def pods_there(cluster: sandbox.Sandbox, room: str) -> dict[str, Object]:
    return harness.pods(cluster, namespace=room)


def in_cluster(name: str) -> Callable[[Object], bool]:
    return lambda seen: (seen.get("status") or {}).get("clusterName") == name


def workload_versions(watch: watching.Watch, one: queued.Queued) -> list[Object]:
    """Return all versions of the manager's Workloads of a set, in order."""
    return [
        seen.event["object"]
        for seen in watch.seen("", namespace=one.namespace)
        if seen.event["object"]["kind"] == "Workload"
        and seen.event["object"]["metadata"]["annotations"][names.JOB_OWNER_NAME] == one.name
    ]


def check_of(workload: Object) -> Object:
    """Return what our check says of a Workload, empty where it says nothing yet."""
    checks = (workload.get("status") or {}).get("admissionChecks") or ()
    return next((one for one in checks if one["name"] == worker_clusters.CHECK), {})


def retries(versions: list[Object]) -> list[Object]:
    """Return what our check said each time that it asked for a group to be evicted."""
    found: dict[str, Object] = {}
    for version in versions:
        check = check_of(version)
        if check.get("state") == "Retry":
            found.setdefault(check["lastTransitionTime"], check)
    return list(found.values())


@contextlib.contextmanager
def local_workload(
    cluster: sandbox.Sandbox, room: str, *, priority: int
) -> Iterator[tuple[str, str]]:
    """Have a Workload of the cluster's own ask for a group's quota in the ClusterQueue of a room.

    It is in a namespace of its own; gives that and its name.
    """
    namespace = harness.make_namespace(cluster, f"{room}-local")
    cluster.api.apply(build.local_queue("own", namespace=namespace, cluster_queue=room))
    container = {
        "name": "c",
        "image": harness.IMAGE,
        "resources": {"requests": {"cpu": f"{GROUP_CPU}m"}},
    }
    template = {"spec": {"containers": [container], "restartPolicy": "Never"}}
    pod_sets = [{"name": "main", "count": 1, "template": template}]
    body = build.kueues("Workload", "own", queueName="own", priority=priority, podSets=pod_sets)
    body["metadata"]["namespace"] = namespace
    cluster.api.create(body)
    try:
        yield namespace, "own"
    finally:
        cluster.api.delete(*WORKLOAD, "own", namespace=namespace, missing_ok=True)


def wait_local(
    cluster: sandbox.Sandbox, own: tuple[str, str], kind: str, *, status: str = "True"
) -> None:
    namespace, name = own
    cluster.api.wait_for(
        *WORKLOAD,
        name,
        lambda seen: seen is not None and queued.said(seen, kind)[0] == status,
        namespace=namespace,
        timeout=queued.TIMEOUT,
        what=f"{kind} of {namespace}/{name} is {status}",
    )


def classes(fleet: dispatched.Fleet, **values: int) -> None:
    """Make priority classes in all clusters."""
    kind = {"apiVersion": names.KUEUE_API_VERSION, "kind": "WorkloadPriorityClass"}
    for cluster in (fleet.manager, *fleet.workers.values()):
        for name, value in values.items():
            cluster.api.apply({**kind, "metadata": {"name": name}, "value": value})


def at(moment: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(moment)


# Rows -----------------------------------------------------------------------------------------


@pytest.mark.row("MK-01", "MK-03", "MK-15")
@only_others
def test_three_groups_run_on_two_workers_of_others_and_scale_there_and_go_with_their_set(
    fleet: dispatched.Fleet,
) -> None:
    dispatched.three_groups_run_and_scale_and_go(fleet)


@contextlib.contextmanager
def settings(fleet: dispatched.Fleet, **given: Any) -> Iterator[None]:
    """Have the manager's controller dispatch with other settings for a while."""
    controller = fleet.connected.controller

    def restart(**options: Any) -> None:
        assert controller.stop() == 0
        controller.configure(dispatched.configuration(**options))
        controller.start()

    restart(**given)
    try:
        yield
    finally:
        restart()


@contextlib.contextmanager
def paused(controller: harness.ControllerProcess) -> Iterator[None]:
    """Have a controller do nothing for a while."""
    controller.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        controller.signal(signal.SIGCONT)


@pytest.mark.row("MK-04")
def test_a_group_that_two_workers_have_admitted_runs_in_one_when_the_other_has_withdrawn_it(
    fleet: dispatched.Fleet,
) -> None:
    room = fleet.room("twice", groups=1, there=ONE_EACH)
    for cluster in fleet.workers.values():
        hold(cluster, room, "Hold")
    since = {name: audit.position(cluster) for name, cluster in fleet.workers.items()}
    with (
        settings(fleet, mode="AllAtOnce"),
        watched(fleet, room, there=ONE_EACH),
    ):
        one = dispatched.create(fleet, room, replicas=1)
        wait_offers(fleet, room, what="it is offered to both", holds=lambda _: True)
        with paused(fleet.connected.controller):
            for cluster in fleet.workers.values():
                hold(cluster, room, "None")
            wait_offers(
                fleet,
                room,
                what="both have admitted it",
                holds=lambda seen: queued.is_true(seen, "Admitted"),
            )
        one.wait_ready(1)
        home = dispatched.placed(one, 1)[0]
        (other,) = fleet.workers.keys() - {home}
        assert offers(fleet, room).keys() == {home}
        withdrawn = asked(fleet, other, room, "delete", "workloads", since=since[other])
        made = asked(fleet, home, room, "patch", "leaderworkersets", since=since[home])
        assert len(withdrawn) == 1
        assert withdrawn[0].answered < min(request.received for request in made)
        one.delete()
        dispatched.gone_everywhere(fleet, room)


def asked(
    fleet: dispatched.Fleet, worker: str, room: str, verb: str, resource: str, *, since: int
) -> list[audit.Request]:
    """Return what the manager has asked a worker for in a namespace, and got."""
    return [
        one
        for one in audit.requests(fleet.workers[worker], since=since)
        if (one.user, one.namespace) == (worker_clusters.USER, room)
        and (one.verb, one.resource) == (verb, resource)
        and 200 <= one.status < 300
    ]


@pytest.mark.row("MK-17")
def test_an_update_takes_one_group_after_the_other_over_both_workers_and_moves_none(
    fleet: dispatched.Fleet,
) -> None:
    there = {"w1": 2, "w2": 2}
    room = fleet.room("rolls", groups=4, there=there)
    slowly = {stages.BEHAVIOUR: stages.READY_AFTER, stages.SECONDS: "1"}
    with watched(fleet, room, there=there) as watch:
        one = dispatched.create(fleet, room, replicas=4, options={"pod_annotations": slowly})
        one.wait_ready(4)
        where = dispatched.placed(one, 4)
        assert sorted(where.values()) == ["w1", "w1", "w2", "w2"]
        before = identities(fleet, one)
        change_image(one)
        harness.wait_ready(
            fleet.manager,
            one.name,
            namespace=room,
            groups=4,
            timeout=2 * queued.TIMEOUT,
            updatedReplicas=4,
        )
        for cluster in fleet.workers.values():
            images = {image_of(pod) for pod in pods_there(cluster, room).values()}
            assert images == {NEW_IMAGE}
        life.wait_for_one_revision(fleet.manager, one.name, namespace=room)
        assert dispatched.placed(one, 4) == where
        assert identities(fleet, one) == before
        one.delete()
        dispatched.gone_everywhere(fleet, room)
    ready = ready_groups(watch, fleet, room)
    whole = [number for number, count in enumerate(ready) if count == 4]
    # From when all were there until the set was deleted.
    assert min(ready[whole[0] : whole[-1]]) == 3


NEW_IMAGE: Final = "registry.k8s.io/pause:3.9"


def change_image(one: queued.Queued) -> None:
    template = one.get()["spec"]["leaderWorkerTemplate"]["workerTemplate"]
    (container,) = template["spec"]["containers"]
    changed = {"spec": {"containers": [{**container, "image": NEW_IMAGE}]}}
    one.patch({"leaderWorkerTemplate": {"workerTemplate": changed}})


def image_of(pod: Object) -> str:
    return str(pod["spec"]["containers"][0]["image"])


def identities(fleet: dispatched.Fleet, one: queued.Queued) -> set[str]:
    """Return the UIDs of the Workloads of a set, and of all that stands for its groups elsewhere.

    Pods are not among them.
    """
    found = [*one.workloads().values()]
    for cluster in fleet.workers.values():
        for kind in (WORKLOAD, LWS):
            found += cluster.api.list(*kind, namespace=one.namespace)
    return {obj["metadata"]["uid"] for obj in found}


def ready_groups(watch: watching.Watch, fleet: dispatched.Fleet, room: str) -> list[int]:
    """Return how many groups were ready in all workers together, in the order of time."""
    seen = [(one, name) for name in fleet.workers for one in watch.seen(name, namespace=room)]
    pods: dict[tuple[str, str], Object] = {}
    counts = []
    for one, cluster in sorted(seen, key=lambda pair: pair[0].at):
        obj = one.event["object"]
        if obj["kind"] != "Pod":
            continue
        pods.pop((cluster, obj["metadata"]["name"]), None)
        if one.event["type"] != "DELETED":
            pods[cluster, obj["metadata"]["name"]] = obj
        up = [
            pod["metadata"]["labels"][names.ORIGIN_GROUP_INDEX]
            for pod in pods.values()
            if harness.is_ready(pod) and "deletionTimestamp" not in pod["metadata"]
        ]
        counts.append(sum(up.count(index) == SIZE for index in set(up)))
    return counts


@pytest.mark.row("MK-23")
def test_a_group_has_the_priority_of_its_set_where_it_runs_and_what_is_there_preempts_by_it(
    fleet: dispatched.Fleet,
) -> None:
    there = {"w1": 1, "w2": 0}
    room = fleet.room("priority", groups=1, there=there, preemption=queued.PREEMPTION)
    classes(fleet, highest=3000, high=2000, low=100)
    high = {"priority_class": "high"}
    with watched(fleet, room, there=there) as watch:
        one = dispatched.create(fleet, room, replicas=1, options=high)
        one.wait_ready(1)
        offer = offers(fleet, room)["w1"]
        assert priority_of(offer) == ("high", 2000)
        cluster, since = fleet.workers["w1"], audit.position(fleet.workers["w1"])
        with local_workload(cluster, room, priority=1000) as own:
            wait_local(cluster, own, "QuotaReserved", status="False")
            for name, value in (("highest", 3000), ("low", 100)):
                one.label(priority_class=name)
                wait_priority(cluster, offer, name, value)
            wait_local(cluster, own, "Admitted")
            one.wait_workload(
                0, lambda seen: not queued.is_true(seen, "Admitted"), what="is not admitted"
            )
            followed = asked(fleet, "w1", room, "patch", "workloads", since=since)
            mine = [request for request in followed if request.name == offer["metadata"]["name"]]
            assert len(mine) == 2, mine
        one.wait_ready(1)
        one.delete()
        dispatched.gone_everywhere(fleet, room)
    # Otherwise its pods would have been made anew.
    assert {version["metadata"]["generation"] for version in set_versions(watch, "w1", room)} == {1}


def set_versions(watch: watching.Watch, worker: str, room: str) -> list[Object]:
    """Return all versions of sets in a worker that were not about to go."""
    versions = [seen.event["object"] for seen in watch.seen(worker, namespace=room)]
    return [
        obj
        for obj in versions
        if obj["kind"] == names.LWS_KIND and "deletionTimestamp" not in obj["metadata"]
    ]


def priority_of(workload: Object) -> tuple[str, int]:
    spec = workload["spec"]
    return spec["priorityClassRef"]["name"], spec["priority"]


def wait_priority(cluster: sandbox.Sandbox, offer: Object, name: str, value: int) -> None:
    """Wait until a Workload in a worker has been given a priority; it may be gone after that."""
    meta = offer["metadata"]
    cluster.api.wait_for(
        *WORKLOAD,
        meta["name"],
        lambda seen: seen is None or priority_of(seen) == (name, value),
        namespace=meta["namespace"],
        timeout=queued.TIMEOUT,
        what=f"its priority is {name}",
    )


@pytest.mark.row("MK-27")
def test_a_group_that_is_preempted_in_its_worker_stops_there_and_runs_in_the_other_one(
    fleet: dispatched.Fleet,
) -> None:
    room = fleet.room("preempted", groups=1, there=ONE_EACH, preemption=queued.PREEMPTION)
    with watched(fleet, room, there=ONE_EACH) as watch:
        one = dispatched.create(fleet, room, replicas=1)
        one.wait_ready(1)
        home = dispatched.placed(one, 1)[0]
        (other,) = fleet.workers.keys() - {home}
        cluster = fleet.workers[home]
        with local_workload(cluster, room, priority=1000) as own:
            one.wait_event("GroupEvictedOnWorker", f"on cluster {home}: Preempted", kind="Warning")
            wait_local(cluster, own, "Admitted")
            found = one.wait_workload(0, in_cluster(other), what=f"is in {other}")
            one.wait_ready(1)
            assert pods_there(cluster, room) == {}
            assert check_of(found)["retryCount"] == 1
            one.delete()
            dispatched.gone_everywhere(fleet, room)
    (retry,) = retries(workload_versions(watch, one))
    assert f"on cluster {home}: Preempted" in retry["message"]


@pytest.mark.row("MK-28")
def test_a_group_that_the_manager_preempts_gives_its_quota_back_when_all_of_it_has_stopped(
    fleet: dispatched.Fleet,
) -> None:
    room = fleet.room("outranked", groups=1, there=ONE_EACH, preemption=queued.PREEMPTION)
    classes(fleet, high=2000)
    slowly = {stages.BEHAVIOUR: stages.SLOW_DELETE, stages.SECONDS: "3"}
    options = {"pod_annotations": slowly, "grace": 10}
    with watched(fleet, room, there=ONE_EACH) as watch:
        one = dispatched.create(fleet, room, replicas=1, options=options)
        one.wait_ready(1)
        home = dispatched.placed(one, 1)[0]
        (workload,) = one.workloads().values()
        there, here = audit.position(fleet.workers[home]), audit.position(fleet.manager)
        other = dispatched.create(
            fleet, room, "other", replicas=1, options={"priority_class": "high"}
        )
        other.wait_ready(1)
        one.wait_workload(
            0, lambda seen: not queued.is_true(seen, "QuotaReserved"), what="has no quota"
        )
        (stopped,) = asked(fleet, home, room, "delete", "leaderworkersets", since=there)
        withdrawn = [
            request
            for request in asked(fleet, home, room, "delete", "workloads", since=there)
            if request.name != offers_of(other, fleet, room)
        ]
        cleared = answers(fleet, workload, since=here)
        assert len(withdrawn) == 1
        assert stopped.answered < withdrawn[0].received
        assert withdrawn[0].answered < cleared[-1].received
        other.delete()
        one.wait_ready(1)
        one.delete()
        dispatched.gone_everywhere(fleet, room)
    pods_end = [
        seen.at
        for seen in watch.seen(home, namespace=room)
        if seen.event["object"]["kind"] == "Pod"
        and seen.event["type"] == "DELETED"
        and seen.at > at(stopped.received)
    ]
    assert min(pods_end) - at(stopped.received) >= datetime.timedelta(seconds=2)
    assert min(pods_end) < at(cleared[-1].answered)


def offers_of(one: queued.Queued, fleet: dispatched.Fleet, room: str) -> str:
    """Return the name of the Workload of the only group of a set, in whichever worker it is."""
    found = [
        obj
        for cluster in fleet.workers.values()
        for obj in cluster.api.list(*WORKLOAD, namespace=room)
        if obj["metadata"]["labels"][names.ORIGIN_SET] == one.name
    ]
    return str(found[0]["metadata"]["name"])


def answers(fleet: dispatched.Fleet, workload: Object, *, since: int) -> list[audit.Request]:
    """Return what the manager's controller has written of an admission since then, in order."""
    mine = ":".join(("system:serviceaccount", *harness.SERVICE_ACCOUNT))
    meta = workload["metadata"]
    found = [
        one
        for one in audit.requests(fleet.manager, since=since)
        if (one.user, one.verb, one.resource) == (mine, "patch", "workloads/status")
        and (one.namespace, one.name) == (meta["namespace"], meta["name"])
        and f"fieldManager={names.ADMISSION_FIELD_MANAGER}" in one.uri
        and one.status == 200
    ]
    return sorted(found, key=lambda one: one.received)


# Those for which Kueue is set up otherwise come last.


@pytest.mark.row("MK-11")
def test_a_group_is_ready_for_its_manager_as_it_is_where_it_runs(served: Served) -> None:
    fleet = served.fleet
    served.kueue(manager=kueue_settings.WaitForPodsReady(timeout=20))
    there = {"w1": 1, "w2": 1}
    room = fleet.room("readiness", groups=2, there=there)
    with watched(fleet, room, there=there) as watch:
        one = dispatched.create(fleet, room, replicas=1)
        one.wait_ready(1)
        wait_pods_ready(one, "True", "Started")
        home = dispatched.placed(one, 1)[0]
        cluster = fleet.workers[home]
        run = cluster.api.list(*LWS, namespace=room)[0]["metadata"]["name"]
        crash(cluster, room, f"{run}-0-1", stages.NEVER_READY)
        wait_pods_ready(one, "False", "WaitForRecovery")
        one.wait_ready(0)
        crash(cluster, room, f"{run}-0-1", None)
        wait_pods_ready(one, "True", "Recovered")
        one.wait_ready(1)
        # One that comes later, and is never ready, says that the time is over.
        late = dispatched.create(
            fleet, room, "late", replicas=1, options={"pod_annotations": NEVER_READY}
        )
        late.wait_workload(
            0,
            lambda seen: queued.said(seen, "Evicted") == ("True", "PodsReadyTimeout"),
            what="is evicted",
        )
        late.delete()
        one.wait_ready(1)
        versions = workload_versions(watch, one)
        assert not [seen for seen in versions if queued.is_true(seen, "Evicted")]
        one.delete()
        dispatched.gone_everywhere(fleet, room)


def wait_pods_ready(one: queued.Queued, status: str, reason: str) -> None:
    one.wait_workload(
        0,
        lambda seen: queued.said(seen, "PodsReady") == (status, reason),
        what=f"says PodsReady {status}, {reason}",
    )


def crash(cluster: sandbox.Sandbox, room: str, pod: str, behaviour: str | None) -> None:
    body = {"metadata": {"annotations": {stages.BEHAVIOUR: behaviour}}}
    cluster.api.patch(*POD, pod, namespace=room, body=body)


@pytest.mark.row("MK-31")
def test_a_group_that_is_not_ready_in_time_in_any_worker_waits_longer_from_the_third_time_on(
    served: Served,
) -> None:
    fleet = served.fleet
    served.kueue(workers=kueue_settings.WaitForPodsReady(timeout=IMPATIENT))
    room = fleet.room("late", groups=1, there=ONE_EACH)
    with watched(fleet, room, there=ONE_EACH) as watch:
        one = dispatched.create(fleet, room, replicas=1, options={"pod_annotations": NEVER_READY})
        fourth = one.wait_workload(
            0,
            lambda seen: (
                int(check_of(seen).get("retryCount") or 0) >= 3
                and queued.is_true(seen, "QuotaReserved")
                and not queued.is_true(seen, "Evicted")
            ),
            what="has quota for the fourth time",
            timeout=2 * queued.TIMEOUT,
        )
        one.delete()
        dispatched.gone_everywhere(fleet, room)
    versions = workload_versions(watch, one)
    assert all(seen["spec"].get("active", True) for seen in versions)
    first, second, third = retries(versions)[:3]
    for retry in (first, second, third):
        assert "PodsReadyTimeout" in retry["message"]
    waits = [retry.get("requeueAfterSeconds") for retry in (first, second, third)]
    assert waits == [None, None, 5]
    again = harness.condition(fourth, "QuotaReserved") or {}
    waited = at(again["lastTransitionTime"]) - at(third["lastTransitionTime"])
    assert waited >= datetime.timedelta(seconds=5)
