"""A set whose pods cannot be made takes quota from nobody, says why, and runs when they can."""

import secrets
import time
from collections.abc import Callable, Iterator

import pytest
from lws_kueue_lab import sandbox
from lws_kueue_lab.sandbox import client

from e2e.kueue.conftest import Keep
from lws_kueue.api import names
from lws_kueue.controller.admission import shortages
from tests.kit.kueue import queued
from tests.kit.live import harness
from tests.kit.lws import sets
from tests.kit.lws.sample import LWS, Object

pytestmark = [pytest.mark.usefixtures("controller"), pytest.mark.row("P6")]

# Of the queue's 5 cpu there is room for one group of three.
CPU, SIZE = "1", 3

# The StatefulSet controller tries again later each time, up to a minute after a minute.
RETRIED = 150.0

MARK = "refused-pods.test/refuse"


@pytest.fixture
def elsewhere(installed: sandbox.Sandbox, namespace: str, queue: str) -> Iterator[str]:
    """A second namespace with a LocalQueue of the same ClusterQueue."""
    other = f"{namespace}-{secrets.token_hex(2)}"
    with harness.own_namespace(installed, other):
        installed.api.apply(
            {
                "apiVersion": names.KUEUE_API_VERSION,
                "kind": "LocalQueue",
                "metadata": {"name": queue, "namespace": other},
                "spec": {"clusterQueue": namespace},
            }
        )
        yield other


def first(
    cluster: sandbox.Sandbox,
    namespace: str,
    queue: str,
    *,
    change: Callable[[Object], None] | None = None,
    **options: object,
) -> queued.Queued:
    """The set that comes first, and whose pods are refused."""
    return queued.create(
        cluster,
        "first",
        namespace=namespace,
        queue=queue,
        size=SIZE,
        cpu=CPU,
        change=change,
        **options,  # type: ignore[arg-type]
    )


def second(cluster: sandbox.Sandbox, namespace: str, queue: str) -> queued.Queued:
    """A set that wants the same quota."""
    return queued.create(cluster, "second", namespace=namespace, queue=queue, size=SIZE, cpu=CPU)


def wait_runs_alone(one: queued.Queued, other: queued.Queued) -> None:
    """Let a set have the quota, and the other one as soon as the first has gone."""
    other.wait_ready(1)
    assert not any(queued.is_true(w, "QuotaReserved") for w in one.workloads().values())


def wait_takes_over(one: queued.Queued, other: queued.Queued) -> None:
    """Remove the set that runs, and wait until the one whose pods were refused does."""
    other.delete_and_leave_nothing()
    one.wait_ready(1, timeout=RETRIED)
    one.wait_set(
        lambda seen: harness.condition(seen, "WaitingForAdmission") is None, what="waits no more"
    )


def test_a_set_whose_statefulset_is_refused_holds_no_quota(
    installed: sandbox.Sandbox, namespace: str, queue: str
) -> None:
    def mount_what_is_not_there(body: Object) -> None:
        (template,) = sets.templates(body)
        mounts = [{"name": "weights", "mountPath": "/weights"}]
        template["spec"]["containers"][0]["volumeMounts"] = mounts

    one = first(installed, namespace, queue, change=mount_what_is_not_there)
    one.wait_warning("FailedCreate", "weights")
    one.wait_told("group 0: the API server refuses to create StatefulSet first", "weights")
    other = second(installed, namespace, queue)
    wait_runs_alone(one, other)
    assert one.workloads() == {}
    volumes = [{"name": "weights", "emptyDir": {}}]
    template = {"spec": {"volumes": volumes}}
    body = {"spec": {"leaderWorkerTemplate": {"workerTemplate": template}}}
    installed.api.patch(*LWS, "first", namespace=namespace, body=body)
    one.wait_gated(0, pods=SIZE)
    wait_takes_over(one, other)


def test_a_group_for_which_a_quota_of_pods_is_too_small_asks_for_nothing(
    installed: sandbox.Sandbox, namespace: str, queue: str, elsewhere: str
) -> None:
    head = {"apiVersion": "v1", "kind": "ResourceQuota"}
    meta = {"name": "pods", "namespace": namespace}
    installed.api.apply({**head, "metadata": meta, "spec": {"hard": {"pods": "2"}}})
    wait_quota_counts(installed, namespace)
    one = first(installed, namespace, queue)
    one.wait_told("group 0: StatefulSet first-0 has 1 of 2 pods", "exceeded quota: pods")
    one.wait_warning("FailedCreate", "exceeded quota: pods")
    other = second(installed, elsewhere, queue)
    wait_runs_alone(one, other)
    assert one.workloads() == {}
    installed.api.apply({**head, "metadata": meta, "spec": {"hard": {"pods": "3"}}})
    one.wait_gated(0, pods=SIZE, timeout=RETRIED)
    wait_takes_over(one, other)


def wait_quota_counts(cluster: sandbox.Sandbox, namespace: str) -> None:
    cluster.api.wait_for(
        "v1",
        "ResourceQuota",
        "pods",
        lambda seen: seen is not None and "used" in (seen.get("status") or {}),
        namespace=namespace,
        what="the ResourceQuota counts",
    )


def test_a_set_that_pod_security_refuses_asks_for_nothing(
    installed: sandbox.Sandbox, namespace: str, queue: str, elsewhere: str
) -> None:
    label = "pod-security.kubernetes.io/enforce"
    enforce(installed, namespace, {label: "restricted"})
    one = first(installed, namespace, queue)
    one.wait_told("group 0: StatefulSet first has 0 of 1 pods", "violates PodSecurity")
    one.wait_warning("FailedCreate", "violates PodSecurity")
    other = second(installed, elsewhere, queue)
    wait_runs_alone(one, other)
    assert one.workloads() == {}
    enforce(installed, namespace, {label: None})
    one.wait_gated(0, pods=SIZE, timeout=RETRIED)
    wait_takes_over(one, other)


def enforce(cluster: sandbox.Sandbox, namespace: str, labels: Object) -> None:
    body = {"metadata": {"labels": labels}}
    cluster.api.patch("v1", "Namespace", namespace, body=body)


def policy(name: str) -> list[Object]:
    """A policy that refuses pods with a label, wherever they are."""
    head = {"apiVersion": "admissionregistration.k8s.io/v1"}
    rule = {
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "operations": ["CREATE"],
        "resources": ["pods"],
        "scope": "Namespaced",
    }
    refuses = f"object.metadata.?labels['{MARK}'].orValue('') != '{name}'"
    return [
        {
            **head,
            "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": name},
            "spec": {
                "matchConstraints": {"resourceRules": [rule]},
                "validations": [{"expression": refuses, "message": "not on a Friday"}],
            },
        },
        {
            **head,
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": name},
            "spec": {"policyName": name, "validationActions": ["Deny"]},
        },
    ]


def marked(name: str) -> Callable[[Object], None]:
    """Have the pods of a set carry the label that a policy goes by."""

    def change(body: Object) -> None:
        for template in sets.templates(body):
            template["metadata"]["labels"] = {MARK: name}

    return change


def refuse(cluster: sandbox.Sandbox, namespace: str, name: str, keep: Keep) -> None:
    """Install the policy and wait until it acts."""
    for obj in policy(name):
        keep(obj)
    probe = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "probe", "namespace": namespace, "labels": {MARK: name}},
        "spec": {
            "schedulingGates": [{"name": "test/never"}],
            "containers": [{"name": "c", "image": harness.IMAGE}],
        },
    }
    deadline = time.monotonic() + queued.TIMEOUT
    while True:
        try:
            cluster.api.create(probe)
        except client.ApiError as error:
            if "not on a Friday" not in str(error):
                raise
            return
        cluster.api.delete("v1", "Pod", "probe", namespace=namespace)
        assert time.monotonic() < deadline, "the policy never acts"
        time.sleep(0.2)


def allow(cluster: sandbox.Sandbox, name: str) -> None:
    """Remove the policy."""
    for obj in reversed(policy(name)):
        cluster.api.delete(obj["apiVersion"], obj["kind"], name)


def test_a_set_that_a_policy_refuses_asks_for_nothing(
    installed: sandbox.Sandbox, namespace: str, queue: str, keep: Keep
) -> None:
    refuse(installed, namespace, namespace, keep)
    one = first(installed, namespace, queue, change=marked(namespace))
    one.wait_told("group 0: StatefulSet first has 0 of 1 pods", "not on a Friday")
    one.wait_warning("FailedCreate", "not on a Friday")
    other = second(installed, namespace, queue)
    wait_runs_alone(one, other)
    assert one.workloads() == {}
    allow(installed, namespace)
    one.wait_gated(0, pods=SIZE, timeout=RETRIED)
    wait_takes_over(one, other)


@pytest.mark.long
def test_a_group_whose_pods_come_to_be_refused_gives_its_quota_back_after_a_while(
    installed: sandbox.Sandbox, namespace: str, queue: str, keep: Keep
) -> None:
    one = first(installed, namespace, queue, change=marked(namespace))
    one.wait_ready(1)
    other = second(installed, namespace, queue)
    other.wait_gated(0, pods=SIZE)
    refuse(installed, namespace, namespace, keep)
    before = one.workload(0)["metadata"]["uid"]
    # Its restart policy takes the whole group down for one pod.
    installed.api.delete("v1", "Pod", "first-0-1", namespace=namespace)
    one.wait_told("group 0", "not on a Friday")
    one.wait_event("QuotaGivenBack", "not on a Friday")
    wait_runs_alone(one, other)
    assert one.workloads() == {}
    allow(installed, namespace)
    one.wait_gated(0, pods=SIZE, timeout=RETRIED)
    wait_takes_over(one, other)
    assert one.workload(0)["metadata"]["uid"] != before
    assert shortages.PATIENCE.total_seconds() < queued.TIMEOUT


@pytest.mark.long
def test_a_group_that_runs_in_part_as_it_may_keeps_its_quota(
    installed: sandbox.Sandbox, namespace: str, queue: str, keep: Keep
) -> None:
    def alone(body: Object) -> None:
        marked(namespace)(body)
        body["spec"]["leaderWorkerTemplate"]["restartPolicy"] = "None"

    one = first(installed, namespace, queue, change=alone)
    one.wait_ready(1)
    before = one.workload(0)["metadata"]["uid"]
    uids = one.uids_of(0)
    refuse(installed, namespace, namespace, keep)
    installed.api.delete("v1", "Pod", "first-0-1", namespace=namespace)
    one.wait_warning("FailedCreate", "not on a Friday")
    # Longer than others have.
    time.sleep(shortages.PATIENCE.total_seconds() + 5)
    assert one.workload(0)["metadata"]["uid"] == before
    assert {n: u for n, u in uids.items() if n != "first-0-1"} == one.uids_of(0)
    allow(installed, namespace)
    one.wait_ready(1, timeout=RETRIED)
    assert one.workload(0)["metadata"]["uid"] == before


@pytest.mark.long
def test_workers_that_are_refused_once_their_leader_runs_end_its_hold_on_the_quota(
    installed: sandbox.Sandbox, namespace: str, queue: str, elsewhere: str
) -> None:
    head = {"apiVersion": "v1", "kind": "ResourceQuota"}
    meta = {"name": "pods", "namespace": namespace}
    installed.api.apply({**head, "metadata": meta, "spec": {"hard": {"pods": "2"}}})
    wait_quota_counts(installed, namespace)
    one = first(installed, namespace, queue, startupPolicy="LeaderReady")
    one.wait_warning("FailedCreate", "exceeded quota: pods")
    other = second(installed, elsewhere, queue)
    one.wait_event("QuotaGivenBack", "exceeded quota: pods")
    wait_runs_alone(one, other)
    installed.api.apply({**head, "metadata": meta, "spec": {"hard": {"pods": "3"}}})
    wait_takes_over(one, other)
