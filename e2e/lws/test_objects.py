"""What a set is made of, and that it comes back (lws-contract 6.4, CTL-05 to CTL-14, 45 and 46)."""

import pytest
from lws_kueue_lab import sandbox

from lws_kueue.api import names
from tests.kit.lws import checks, sample, sets

pytestmark = pytest.mark.usefixtures("controller")


@pytest.mark.row("CTL-07", "CTL-09", "ACC-1", "ACC-2", "ACC-3", "ACC-4", "ACC-6")
def test_a_set_becomes_its_objects_and_tells_of_them(
    installed: sandbox.Sandbox, namespace: str
) -> None:
    one = sample.create(installed, namespace)
    for created in (
        "Created leader statefulset test-sample",
        "Created worker statefulset for leader pod test-sample-0",
        "Created worker statefulset for leader pod test-sample-1",
    ):
        checks.eventually(checks.event, one, "GroupsProgressing", created)
    checks.eventually(checks.leader_set, one, replicas=2)
    checks.eventually(checks.worker_sets, one)
    checks.eventually(checks.services, one, count=1)
    checks.eventually(checks.pods, one)
    checks.eventually(checks.revisions, one, count=1)


@pytest.mark.row("CTL-05")
def test_groups_of_one_pod_have_no_worker_statefulsets_and_become_available(
    installed: sandbox.Sandbox, namespace: str
) -> None:
    one = sample.create(installed, namespace, size=1)
    checks.eventually(checks.leader_set, one, replicas=2)
    checks.eventually(checks.condition, one, "Available")
    checks.no_worker_sets(one)
    checks.worker_sets(one)
    checks.pods(one)


def _uid(cluster: sandbox.Sandbox, kind: tuple[str, str], name: str, namespace: str) -> str | None:
    found = cluster.api.find(*kind, name, namespace=namespace)
    return str(found["metadata"]["uid"]) if found else None


@pytest.mark.row("CTL-08", "CTL-10", "CTL-12")
def test_what_is_deleted_of_a_set_comes_back_as_it_was(
    installed: sandbox.Sandbox, namespace: str
) -> None:
    one = sample.create(installed, namespace)
    checks.eventually(checks.condition, one, "Available")
    for kind, name in (
        (("apps/v1", "StatefulSet"), "test-sample-0"),
        (("v1", "Service"), "test-sample"),
        (("apps/v1", "StatefulSet"), "test-sample"),
    ):
        before = _uid(installed, kind, name, namespace)
        installed.api.delete(*kind, name, namespace=namespace)

        def comes_back(*, kind: tuple[str, str], name: str, before: str | None) -> None:
            assert _uid(installed, kind, name, namespace) not in (None, before)

        checks.eventually(comes_back, kind=kind, name=name, before=before)
        checks.eventually(checks.leader_set, one, replicas=2)
        checks.eventually(checks.worker_sets, one)
        checks.eventually(checks.services, one, count=1)
    checks.eventually(checks.condition, one, "Available")
    checks.revisions(one, count=1)


@pytest.mark.row("CTL-11", "ACC-3")
def test_unique_per_replica_has_a_service_for_each_group_and_none_for_all(
    installed: sandbox.Sandbox, namespace: str
) -> None:
    network = {"subdomainPolicy": "UniquePerReplica"}
    one = sample.create(installed, namespace, networkConfig=network)
    checks.eventually(checks.services, one, count=2)
    checks.eventually(checks.condition, one, "Available")
    checks.services(one, count=2)


def test_a_group_that_an_update_has_not_reached_keeps_its_service_when_it_is_made_anew(
    installed: sandbox.Sandbox, namespace: str
) -> None:
    one = sample.create(
        installed,
        namespace,
        networkConfig={"subdomainPolicy": "UniquePerReplica"},
        rolloutStrategy=sample.rollout(partition=1),
    )
    checks.eventually(checks.condition, one, "Available")
    one.patch({"networkConfig": {"subdomainPolicy": "Shared"}})
    checks.eventually(checks.stage, one, expected=(1, 2, 2, 1))
    before = one.leader(0)["metadata"]["uid"]
    one.delete_pod("test-sample-0")

    def is_found_again() -> None:
        leader, service = one.leader(0), one.services()["test-sample-0"]
        assert leader["metadata"]["uid"] != before
        assert leader["spec"]["subdomain"] == "test-sample-0"
        assert service["metadata"]["ownerReferences"][0]["uid"] == leader["metadata"]["uid"]

    checks.eventually(is_found_again)
    one.patch({"rolloutStrategy": sample.rollout()})
    checks.eventually(checks.stage, one, expected=(0, 2, 2, 2))
    checks.eventually(checks.services, one, count=1)


@pytest.mark.row("CTL-13", "CTL-14")
def test_autoscalers_read_and_write_the_scale_of_a_set(
    installed: sandbox.Sandbox, namespace: str
) -> None:
    one = sample.create(installed, namespace)
    sets.wait_available(one, groups=2)
    path = f"/apis/{names.LWS_API_VERSION}/namespaces/{namespace}/leaderworkersets/{one.name}/scale"
    scale = installed.api.request("GET", path)
    assert scale["spec"]["replicas"] == 2
    assert scale["status"]["replicas"] == one.get()["status"]["replicas"] == 2
    selector = (
        "leaderworkerset.sigs.k8s.io/name=test-sample,leaderworkerset.sigs.k8s.io/worker-index=0"
    )
    assert scale["status"]["selector"] == one.get()["status"]["hpaPodSelector"] == selector
    scale["spec"]["replicas"] = 3
    installed.api.request("PUT", path, body=scale)
    assert one.get()["spec"]["replicas"] == 3
    checks.eventually(checks.leader_set, one, replicas=3)
    checks.eventually(checks.worker_sets, one)
