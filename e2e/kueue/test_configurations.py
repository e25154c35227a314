"""The whole life of a set in a queue, and of a plain one beside it, as Kueue may be configured.

All other tests have the configuration of Kueue's release (`kueue_settings`).
"""

from collections.abc import Iterator

import pytest
from lws_kueue_lab import sandbox
from lws_kueue_lab.sandbox import kueue_manager
from lws_kueue_lab.sandbox.kueue_settings import KueueSettings, WaitForPodsReady

from lws_kueue.api import names
from tests.kit.kueue import places, queued
from tests.kit.kueue.places import Place
from tests.kit.live import harness
from tests.kit.lws.sample import LWS, Object

SIZE = 2
GROUP_CPU = 200

# Off in 0.19 and on in the version after it.
NEXT = (
    "MultiKueueKubeConfigPathValidation",
    "RecomputeAssignmentUponPreemptionTargetsOverlap",
    "TASCacheTopologyTree",
    "UnadmittedWorkloadsObservability",
    "WorkloadPriorityClassDefaulting",
)

SERVED_BY_THE_STAND_IN = {
    "jobs-alone": KueueSettings(frameworks=("batch/job",)),
    "no-external-frameworks": KueueSettings(external_frameworks=()),
    "jobs-without-queue": KueueSettings(overrides={"manageJobsWithoutQueueName": True}),
    "wait-for-pods-ready": KueueSettings(
        wait_for_pods_ready=WaitForPodsReady(timeout=300, recovery_timeout=180)
    ),
}
CONFIGURATIONS = SERVED_BY_THE_STAND_IN | {
    "fair-sharing": KueueSettings(
        overrides={
            "fairSharing": {
                "preemptionStrategies": ["LessThanOrEqualToFinalShare", "LessThanInitialShare"]
            }
        }
    ),
    # What Kueue's pod integration takes for its own then is not asked for a mark.
    "owners-of-pod-groups-unchecked": KueueSettings(
        feature_gates={"PodIntegrationValidateGroupOwner": False}
    ),
    "gates-of-the-next-version": KueueSettings(feature_gates=dict.fromkeys(NEXT, True)),
}


@pytest.fixture(scope="module")
def shared_place(
    backend: sandbox.Backend, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    if backend != "process":
        pytest.skip("needs a Kueue that can be restarted")
    folder = tmp_path_factory.mktemp("configurations")
    with places.opening(backend, folder=folder, mode="auto") as place:
        yield place


@pytest.fixture(params=CONFIGURATIONS)
def place(request: pytest.FixtureRequest, shared_place: Place) -> Iterator[Place]:
    """The place with one of the configurations."""
    name = request.param
    if kueue_manager.from_environment() is None and name not in SERVED_BY_THE_STAND_IN:
        pytest.skip(f"the stand-in for Kueue has no configuration {name}")
    shared_place.kueue(CONFIGURATIONS[name])
    yield shared_place
    print(shared_place.controller.tail(200))  # Shown by pytest only when the test failed.


@pytest.mark.long
def test_a_set_in_a_queue_and_a_plain_one_live_side_by_side(
    place: Place, request: pytest.FixtureRequest
) -> None:
    cluster, room = place.cluster, places.room(place, request)
    queue = harness.queues(cluster, namespace=room, cpu=f"{3 * GROUP_CPU}m")
    one = queued.create(cluster, namespace=room, queue=queue, replicas=2, size=SIZE, cpu="100m")
    cluster.api.create(harness.leader_worker_set("plain", namespace=room, size=SIZE))
    plain = queued.Queued(cluster, room, "plain")
    one.wait_ready(2)
    plain.wait_ready(2)

    admitted_group_by_group(one)
    rolled(one, groups=4)
    rolled(plain, groups=2)
    stopped_and_started_again(one, group=1)

    assert sorted(one.workloads()) == [0, 1, 2, 3]
    everybodys = cluster.api.list(*queued.WORKLOAD, namespace=room)
    assert len(everybodys) == 4, "and none of the plain set or of a pod"
    for pod in harness.pods(cluster, namespace=room).values():
        assert names.MANAGED not in pod["metadata"]["labels"]
        assert "finalizers" not in pod["metadata"]
    one.delete_and_leave_nothing()
    plain.wait_ready(2)
    plain.delete_and_leave_nothing()


def admitted_group_by_group(one: queued.Queued) -> None:
    """Scale the set from two to four groups; there is room for three, and then for four."""
    harness.scale(one.cluster, one.name, namespace=one.namespace, replicas=4)
    one.wait_ready(3)
    one.wait_told()
    waiting = one.wait_workloads(
        lambda seen: sum(queued.is_true(each, "Admitted") for each in seen.values()) == 3,
        what="three groups are admitted",
    )
    (last,) = [group for group, each in waiting.items() if not queued.is_true(each, "Admitted")]
    one.wait_gated(last, pods=SIZE)
    harness.set_quota(one.cluster, namespace=one.namespace, cpu=f"{4 * GROUP_CPU}m")
    one.wait_ready(4)


def rolled(one: queued.Queued, *, groups: int) -> None:
    """Change what the pods are made from, and wait until all groups have it."""
    before = {pod["metadata"]["uid"] for pod in one.pods().values()}
    annotations = {"example.com/rolled": "yes"}
    template = {"workerTemplate": {"metadata": {"annotations": annotations}}}
    one.cluster.api.patch(
        *LWS,
        one.name,
        namespace=one.namespace,
        body={"spec": {"leaderWorkerTemplate": template}},
    )

    def done(seen: Object) -> bool:
        status = seen.get("status") or {}
        return bool(
            status.get("observedGeneration") == seen["metadata"]["generation"]
            and status.get("updatedReplicas") == status.get("readyReplicas") == groups
        )

    one.wait_set(done, what=f"{groups} updated groups")
    assert not before & {pod["metadata"]["uid"] for pod in one.pods().values()}


def stopped_and_started_again(one: queued.Queued, *, group: int) -> None:
    """Stop one group as `kueuectl stop workload` does, and let it go on."""
    others = {other: one.uids_of(other) for other in one.workloads() if other != group}
    one.switch(group, active=False)
    one.wait_given_back(group, "Deactivated")
    one.wait_gated(group, pods=SIZE)
    one.switch(group, active=True)
    one.wait_running(group, pods=SIZE)
    one.wait_ready(len(others) + 1)
    assert {other: one.uids_of(other) for other in others} == others
