"""A set that serves is edited while a rival waits for its quota: what counts is what pods request.

An edit that leaves the effective request of the pods as it is rolls out under the same Workloads,
at no moment without quota, so the rival goes on waiting. One that changes it is admitted anew.
"""

from collections.abc import Callable

import pytest
from lws_kueue_lab import sandbox

from lws_kueue.api import names
from tests.kit.judge import budget
from tests.kit.kueue import queued
from tests.kit.live import harness
from tests.kit.lws.sample import LWS, Object
from tests.kit.tables import edits

pytestmark = [pytest.mark.row("P4"), pytest.mark.usefixtures("controller")]

SIZE = 2
GROUPS = 2
CPU = "200m"

WITHOUT_REQUESTS = edits.first()
SIDECAR_OF_HALF = edits.all_of(
    edits.inits(
        {
            "name": "side",
            "restartPolicy": "Always",
            "resources": {"requests": {"cpu": "100m"}},
        }
    ),
    edits.requests(cpu="100m"),
)
LARGE_LIMIT = edits.limits(cpu="2")
WHOLE = edits.pod(resources={"requests": {"cpu": CPU}})


def limit_range(cluster: sandbox.Sandbox, namespace: str, **defaults: str) -> None:
    cluster.api.create(
        {
            "apiVersion": "v1",
            "kind": "LimitRange",
            "metadata": {"name": "defaults", "namespace": namespace},
            "spec": {"limits": [{"type": "Container", "defaultRequest": defaults}]},
        }
    )


@pytest.fixture
def serving(installed: sandbox.Sandbox, namespace: str) -> queued.Queued:
    """A set that uses all of its queue's quota."""
    queue = harness.queues(installed, namespace=namespace, cpu="800m")
    one = queued.create(
        installed, namespace=namespace, queue=queue, replicas=GROUPS, size=SIZE, cpu=CPU, grace=0
    )
    one.wait_ready(GROUPS)
    return one


def rival_of(one: queued.Queued) -> queued.Queued:
    """A set that could have the quota of any group of the other one."""
    rival = queued.create(
        one.cluster,
        "rival",
        namespace=one.namespace,
        queue="user-queue",
        size=SIZE,
        cpu=CPU,
        grace=0,
    )
    rival.wait_told("group 0:", "cpu")
    return rival


def edit(one: queued.Queued, change: Callable[[Object], None]) -> None:
    harness.edit(one.cluster, LWS, one.name, change, namespace=one.namespace)


def pods(one: queued.Queued) -> dict[str, str]:
    return {name: uid for group in range(GROUPS) for name, uid in one.uids_of(group).items()}


def roll(one: queued.Queued, change: Callable[[Object], None]) -> None:
    """Make an edit, and wait until all pods are new ones that run."""
    before = pods(one)
    edit(one, change)
    for group in range(GROUPS):
        one.wait_pods(
            group,
            lambda seen: (
                len(seen) == SIZE
                and all(
                    pod["metadata"]["uid"] != before[name] and queued.runs(pod)
                    for name, pod in seen.items()
                )
            ),
            what="all pods made anew and ready",
        )
    one.wait_ready(GROUPS)


def reserved(record: harness.Recording, name: str) -> list[bool]:
    """Whether the Workloads of a set had quota, in each version that a watch showed."""
    return [
        queued.is_true(event["object"], "QuotaReserved") and event["type"] != "DELETED"
        for event in record.events
        if event["object"]["metadata"]["annotations"].get(names.JOB_OWNER_NAME) == name
    ]


@pytest.mark.parametrize(
    ("change", "defaults"),
    [
        pytest.param(
            change,
            {"cpu": "50m"} if ranged else {},
            id=f"{name}-{'range' if ranged else 'plain'}",
            marks=() if ranged is usual else pytest.mark.long,
        )
        for name, change, usual in (
            ("init-container", WITHOUT_REQUESTS, True),
            ("sidecar", SIDECAR_OF_HALF, None),
            ("limit", LARGE_LIMIT, False),
            ("pod-level", WHOLE, None),
        )
        for ranged in (False, True)
    ],
)
def test_an_edit_that_leaves_the_requests_as_they_are_never_gives_quota_away(
    serving: queued.Queued, change: Callable[[Object], None], defaults: dict[str, str]
) -> None:
    one = serving
    if defaults:
        limit_range(one.cluster, one.namespace, **defaults)
    rival = rival_of(one)
    before = {group: found["metadata"]["uid"] for group, found in one.workloads().items()}
    with one.watching() as record:
        roll(one, change)
        # Kueue has seen all that there was to see: it admits the rival once there is room.
        assert not queued.is_true(rival.workload(0), "QuotaReserved")
    after = {group: found["metadata"]["uid"] for group, found in one.workloads().items()}
    assert after == before
    assert not any(reserved(record, rival.name)), "the rival got the quota"
    assert all(reserved(record, one.name)), "a group was without quota"
    one.delete()
    rival.wait_ready(1)


def test_an_init_container_that_gets_more_from_a_limit_range_is_admitted_anew(
    serving: queued.Queued, kueue_info: sandbox.KueueInfo
) -> None:
    """It is more than is left, so the group waits: no pod takes what it was not admitted for."""
    one = serving
    limit_range(one.cluster, one.namespace, cpu="300m")
    before = one.workload(1)["metadata"]["uid"]
    edit(one, WITHOUT_REQUESTS)
    one.wait_workload(1, lambda seen: seen["metadata"]["uid"] != before, what="is made anew")
    if kueue_info.kind != "standin":  # That one counts what is written in templates.
        one.wait_gated(1, pods=SIZE)
    harness.set_quota(one.cluster, namespace=one.namespace, cpu="1200m")
    one.wait_ready(GROUPS)


@pytest.mark.row("WAR-02")
@pytest.mark.parametrize("where", ["in a queue", "in none"])
def test_a_request_that_the_server_rounds_up_is_applied_once(
    installed: sandbox.Sandbox, namespace: str, where: str
) -> None:
    """It stores thousandths at least, so what is there never is what was asked for."""
    queue = harness.queues(installed, namespace=namespace, cpu="1")
    body = harness.leader_worker_set(
        "tiny",
        namespace=namespace,
        queue=queue if where == "in a queue" else None,
        replicas=1,
        size=2,
        cpu="0.1m",
    )
    installed.api.create(body)
    one = queued.Queued(installed, namespace, "tiny")
    one.wait_ready(1)
    found = budget.settled(installed, namespace=namespace)
    made = [w for w in found if w.resource == "statefulsets"]
    assert len(made) == 2, budget.summary(found)
    requests = {
        container["resources"]["requests"]["cpu"]
        for pod in one.pods().values()
        for container in pod["spec"]["containers"]
    }
    assert requests == {"1m"}
