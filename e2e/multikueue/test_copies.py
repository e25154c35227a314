"""A worker with the bridge, to which a set and its Workloads are copied.

The tests are MultiKueue: what they send is made of what a manager has stored, in which Kueue's
integration is on (tests/golden), and as `tests/kit/multikueue/copies.py` has it, with which a real
MultiKueue is compared in `test_built_in_path.py`.
"""

import copy

import pytest
from lws_kueue_lab import sandbox
from lws_kueue_lab.sandbox import audit

from e2e.kueue.conftest import Keep
from lws_kueue.api import names
from tests.kit import golden
from tests.kit.kueue import queued
from tests.kit.live import harness
from tests.kit.lws import sets
from tests.kit.lws.sample import LWS, Object
from tests.kit.multikueue import copies

pytestmark = pytest.mark.usefixtures("controller")

RECORDED = golden.load("queued-workers")
SIZE = 3
GROUP_CPU = 300


def stored(obj: Object, namespace: str) -> Object:
    """Return a recorded object as it would be in a namespace, with an image that there is."""
    here = copy.deepcopy(obj)
    here["metadata"]["namespace"] = namespace
    if obj["kind"] == names.LWS_KIND:
        templates = sets.templates(here)
    else:
        templates = [pod_set["template"] for pod_set in here["spec"]["podSets"]]
    for template in templates:
        for container in template["spec"]["containers"]:
            container["image"] = harness.IMAGE
    return here


@pytest.fixture
def tempting(installed: sandbox.Sandbox, namespace: str, keep: Keep) -> None:
    """What would change a set that is made here, until the test is over."""
    for obj in copies.tempting():
        keep(obj)
    harness.queues(installed, namespace=namespace, cpu="1", name="default")


@pytest.fixture
def one(installed: sandbox.Sandbox, namespace: str) -> queued.Queued:
    """Copies of a set of two groups and of their Workloads; there is room for one of them."""
    cpu = f"{GROUP_CPU}m"
    harness.queues(installed, namespace=namespace, cpu=cpu)
    first, *others = RECORDED.of_kind("Workload")
    # Others follow when a worker has taken the first one.
    for obj in (first, RECORDED.stored, *others):
        make = copies.of_set if obj["kind"] == names.LWS_KIND else copies.of_workload
        installed.api.create(make(stored(obj, namespace)))
    return queued.Queued(installed, namespace, RECORDED.stored["metadata"]["name"])


def uids(one: queued.Queued) -> dict[int, str]:
    return {group: found["metadata"]["uid"] for group, found in one.workloads().items()}


def grow(one: queued.Queued, *, groups: int) -> None:
    """Give the queue room for so many groups."""
    harness.set_quota(one.cluster, namespace=one.namespace, cpu=f"{groups * GROUP_CPU}m")


@pytest.mark.row("MK-64")
@pytest.mark.usefixtures("process_only", "tempting")
def test_copied_groups_run_when_their_copies_are_admitted_and_nothing_of_these_is_written(
    installed: sandbox.Sandbox, one: queued.Queued
) -> None:
    since = audit.position(installed)
    one.wait_ready(1)
    one.wait_told("insufficient unused quota")
    before = uids(one)
    grow(one, groups=2)
    one.wait_ready(2)
    assert uids(one) == before
    assert len(before) == 2
    sent = {names.MULTIKUEUE_ORIGIN: copies.ORIGIN, names.QUEUE_NAME: "user-queue"}
    live = installed.api.get(*LWS, one.name, namespace=one.namespace)
    assert live["metadata"]["labels"] == sent, "nothing is added to what is copied"
    one.delete()
    one.wait_pods(0, lambda pods: not pods, what="no pods")
    one.wait_pods(1, lambda pods: not pods, what="no pods")
    assert uids(one) == before, "who copied them takes them away"
    assert copies.written(installed, namespace=one.namespace, since=since) == []


@pytest.mark.row("MK-64")
def test_a_copied_group_stops_when_its_copy_is_evicted_and_the_next_one_has_its_quota(
    one: queued.Queued,
) -> None:
    one.wait_ready(1)
    before = uids(one)
    (running,) = (
        group for group, found in one.workloads().items() if queued.is_true(found, "Admitted")
    )
    waiting = 1 - running
    one.switch(running, active=False)
    one.wait_given_back(running, "Deactivated")
    one.wait_gated(running, pods=SIZE)
    one.wait_running(waiting, pods=SIZE)
    assert uids(one) == before


@pytest.mark.row("MK-64")
def test_a_copied_set_that_is_edited_here_says_that_its_copies_differ_and_they_stay(
    one: queued.Queued,
) -> None:
    one.wait_ready(1)
    before = uids(one)
    body = {"leaderWorkerTemplate": {"workerTemplate": {"spec": {"nodeSelector": {"disk": "x"}}}}}
    one.cluster.api.patch(*LWS, one.name, namespace=one.namespace, body={"spec": body})
    one.wait_warning("CopyDiffers", "MultiKueue has copied here")
    one.wait_told("Take back what was edited here")
    assert uids(one) == before
