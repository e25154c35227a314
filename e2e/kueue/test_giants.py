"""A set of which nobody could run all groups: no more are made than are admitted and may wait."""

from collections.abc import Iterator

import pytest
from lws_kueue_lab import sandbox

from tests.kit.kueue import queued
from tests.kit.live import fixtures, harness
from tests.kit.lws import sets
from tests.kit.lws.sample import LWS

VAST = 1_000_000
SIZE = 2
WAITING = 3


@pytest.fixture(scope="module")
def patient_controller(
    shared_controller: harness.ControllerProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[harness.ControllerProcess]:
    """A controller that lets few groups of a set wait."""
    settings = {"lwsKueue": {"maxPendingWorkloads": WAITING}}
    folder = tmp_path_factory.mktemp("patient-controller")
    with fixtures.in_place_of(shared_controller, folder=folder, configuration=settings) as process:
        yield process


def grown(sample: queued.Queued, *, admitted: int) -> None:
    """Wait until so many groups run, and as many more are there as may wait."""
    there = admitted + WAITING
    # An update counts as under way until all groups are there, as with LWS: these never will be.
    harness.wait_status(
        sample.cluster,
        sample.name,
        lambda _: True,
        namespace=sample.namespace,
        what="as many ready as are admitted",
        timeout=queued.TIMEOUT,
        readyReplicas=admitted,
        updatedReplicas=there,
    )
    sample.wait_workloads(lambda seen: len(seen) == there, what=f"{there} Workloads")
    sample.wait_told(f"{WAITING} groups wait", f"{VAST - there} more", "maxPendingWorkloads")
    harness.wait_pods(
        sample.cluster,
        lambda seen: (
            len(seen) == there * SIZE
            and sum(queued.is_held(pod) for pod in seen.values()) == WAITING * SIZE
        ),
        namespace=sample.namespace,
        what=f"{there} groups of pods, {WAITING} of them held",
        timeout=queued.TIMEOUT,
    )
    assert sample.leader_set()["spec"]["replicas"] == there


def test_a_set_of_a_million_groups_grows_as_they_are_admitted_and_is_rolled_and_shrunk(
    installed: sandbox.Sandbox, patient_controller: harness.ControllerProcess, namespace: str
) -> None:
    queue = harness.queues(installed, namespace=namespace, cpu="400m")
    sample = queued.create(
        installed, namespace=namespace, queue=queue, replicas=VAST, size=SIZE, cpu="100m"
    )
    grown(sample, admitted=2)
    harness.set_quota(installed, namespace=namespace, cpu="800m")
    grown(sample, admitted=4)

    before = {pod["metadata"]["uid"] for pod in sample.pods().values()}
    harness.edit(installed, LWS, sample.name, sets.give_new_image, namespace=namespace)
    harness.wait_pods(
        installed,
        lambda seen: not before & {pod["metadata"]["uid"] for pod in seen.values()},
        namespace=namespace,
        what="no pod of the former revision",
        timeout=queued.TIMEOUT,
    )
    grown(sample, admitted=4)

    harness.scale(installed, sample.name, namespace=namespace, replicas=1)
    sample.wait_workloads(lambda seen: list(seen) == [0], what="the one of group 0 alone")
    sample.wait_ready(1)
    sample.delete_and_leave_nothing()
    print(patient_controller.tail())
