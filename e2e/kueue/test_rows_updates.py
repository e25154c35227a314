"""Queue-managed sets get a new image and lose pods (kueue-contract 5.8, S08, S09, S15, S16)."""

import pytest
from lws_kueue_lab import sandbox

from lws_kueue.api import names
from tests.kit.kueue import queued
from tests.kit.live import harness
from tests.kit.lws import checks, sets
from tests.kit.lws.sample import Object, rollout

pytestmark = pytest.mark.usefixtures("controller")

NEW_IMAGE = "registry.k8s.io/pause:3.9"


def change_images(one: queued.Queued) -> None:
    """Give every container of the set's templates the new image."""
    obj = one.get()
    for pod in sets.templates(obj):
        for container in pod["spec"]["containers"]:
            container["image"] = NEW_IMAGE
    one.patch({"leaderWorkerTemplate": obj["spec"]["leaderWorkerTemplate"]})


def has_new_image(pod: Object) -> bool:
    return bool(queued.runs(pod) and pod["spec"]["containers"][0]["image"] == NEW_IMAGE)


@pytest.mark.row("S08")
def test_new_images_of_leader_and_worker_reach_all_pods_under_the_same_workloads(
    installed: sandbox.Sandbox, namespace: str, queue: str
) -> None:
    one = queued.create(
        installed, namespace=namespace, queue=queue, replicas=2, size=2, leader=True
    )
    one.wait_ready(2)
    before = sets.uids({str(group): wl for group, wl in one.workloads().items()})
    change_images(one)
    harness.wait_pods(
        installed,
        lambda seen: len(seen) == 4 and all(has_new_image(pod) for pod in seen.values()),
        namespace=namespace,
        what="four running pods of the new image",
    )
    sets.wait_available(one, groups=2)
    assert sets.uids({str(group): wl for group, wl in one.workloads().items()}) == before
    one.delete_and_leave_nothing()


@pytest.mark.row("S09")
def test_surge_groups_have_workloads_while_an_update_needs_them(
    installed: sandbox.Sandbox, namespace: str, queue: str
) -> None:
    one = queued.create(
        installed,
        namespace=namespace,
        queue=queue,
        replicas=4,
        size=1,
        rolloutStrategy=rollout(unavailable=2, surge=2),
    )
    one.wait_ready(4)
    with one.watching() as workloads:
        change_images(one)
        sets.wait_available(one, groups=4)
        one.wait_workloads(lambda seen: sorted(seen) == [0, 1, 2, 3], what="those of four groups")
    seen = {
        event["object"]["metadata"]["annotations"][names.COMPONENT_WORKLOAD_INDEX]
        for event in workloads.events
    }
    assert seen >= {"4", "5"}
    harness.wait_pods(
        installed,
        lambda pods: len(pods) == 4 and all(has_new_image(pod) for pod in pods.values()),
        namespace=namespace,
        what="four running pods of the new image",
    )
    one.delete_and_leave_nothing()


@pytest.mark.row("S15")
def test_a_deleted_worker_recreates_its_whole_group_under_the_same_workload(
    installed: sandbox.Sandbox, namespace: str, queue: str
) -> None:
    one = queued.create(installed, namespace=namespace, queue=queue)
    one.wait_ready(1)
    workload, before = one.workload(0)["metadata"]["uid"], one.uids_of(0)
    one.delete_pod("lws-0-1")

    def all_are_new() -> None:
        after = one.pods_of(0)
        assert sorted(after) == sorted(before)
        assert not set(sets.uids(after).values()) & set(before.values())
        assert all(queued.runs(pod) for pod in after.values())

    checks.eventually(all_are_new)
    found = one.workload(0)
    assert found["metadata"]["uid"] == workload
    assert queued.is_true(found, "Admitted")
    one.delete_and_leave_nothing()


@pytest.mark.row("S16")
def test_without_a_restart_policy_only_the_deleted_worker_is_new(
    installed: sandbox.Sandbox, namespace: str, queue: str
) -> None:
    def no_policy(body: Object) -> None:
        body["spec"]["leaderWorkerTemplate"]["restartPolicy"] = "None"

    one = queued.create(installed, namespace=namespace, queue=queue, change=no_policy)
    one.wait_ready(1)
    workload, before = one.workload(0)["metadata"]["uid"], one.uids_of(0)
    one.delete_pod("lws-0-1")

    def one_is_new() -> dict[str, str]:
        after = one.pods_of(0)
        assert sorted(after) == sorted(before)
        assert sets.uids(after)["lws-0-1"] != before["lws-0-1"]
        assert all(queued.runs(pod) for pod in after.values())
        return sets.uids(after)

    after = checks.eventually(one_is_new)
    assert {name for name in before if before[name] == after[name]} == {"lws-0", "lws-0-2"}
    assert one.workload(0)["metadata"]["uid"] == workload
    one.delete_and_leave_nothing()
