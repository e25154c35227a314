"""Queues that are stopped: Hold keeps others out, HoldAndDrain takes the quota back as well."""

import pytest
from lws_kueue_lab import sandbox

from lws_kueue.api import names
from tests.kit.kueue import evictions, queued
from tests.kit.lws.sample import Object

pytestmark = pytest.mark.usefixtures("controller")

KINDS = pytest.mark.parametrize(
    "kind", ["LocalQueue", pytest.param("ClusterQueue", marks=pytest.mark.long)]
)


def stop(cluster: sandbox.Sandbox, kind: str, policy: str, *, namespace: str, queue: str) -> str:
    """Set the stop policy of the test's LocalQueue or ClusterQueue; return its name."""
    name, where = (queue, namespace) if kind == "LocalQueue" else (namespace, None)
    body = {"spec": {"stopPolicy": policy}}
    cluster.api.patch(names.KUEUE_API_VERSION, kind, name, namespace=where, body=body)
    return name


@pytest.mark.parametrize(
    "kind", ["LocalQueue", pytest.param("ClusterQueue", marks=pytest.mark.long)]
)
def test_a_drained_queue_stops_every_group_and_starts_them_when_it_is_resumed(
    installed: sandbox.Sandbox, namespace: str, queue: str, kind: str
) -> None:
    reason = f"{kind}Stopped"
    one = queued.create(installed, namespace=namespace, queue=queue, replicas=2, size=2)
    one.wait_ready(2)
    uids = {group: one.workload(group)["metadata"]["uid"] for group in (0, 1)}
    before = {group: one.uids_of(group) for group in (0, 1)}
    with evictions.story(one) as told:
        name = stop(installed, kind, "HoldAndDrain", namespace=namespace, queue=queue)
        for group in (0, 1):
            found = one.wait_given_back(group, reason)
            assert found["spec"].get("active", True), "stopping a queue switches nothing off"
            one.wait_gated(group, pods=2)
        one.wait_told("groups 0-1:", f"{kind} {name} is stopped", "HoldAndDrain")
        one.wait_ready(0)
        stop(installed, kind, "None", namespace=namespace, queue=queue)
        one.wait_ready(2)
    for group, uid in uids.items():
        found = one.workload(group)
        assert found["metadata"]["uid"] == uid
        assert queued.said(found, "Requeued") == ("True", f"{kind}Restarted")
        evictions.was_given_back_at_once(told, one, uid, reason=reason, requeued=False)
        evictions.was_stopped_once(told, one, before[group])


@KINDS
def test_a_queue_on_hold_lets_its_groups_run_and_no_other_in_until_it_is_resumed(
    installed: sandbox.Sandbox, namespace: str, queue: str, kind: str
) -> None:
    one = queued.create(installed, namespace=namespace, queue=queue, size=2)
    one.wait_ready(1)
    before = one.uids_of(0)
    with one.watching() as workloads:
        name = stop(installed, kind, "Hold", namespace=namespace, queue=queue)
        one.scale(2)
        one.wait_workload(1, _refused, what="is refused")
        one.wait_told("group 1:", f"{kind} {name} is stopped", "Hold")
        one.wait_gated(1, pods=2)
        obj = one.wait_ready(1)
        assert not queued.is_true(obj, "Available")
        stop(installed, kind, "None", namespace=namespace, queue=queue)
        one.wait_ready(2)
    assert one.uids_of(0) == before
    assert not any(queued.is_true(event["object"], "Evicted") for event in workloads.events)
    one.wait_set(
        lambda seen: not queued.is_true(seen, "WaitingForAdmission"), what="waits for nothing"
    )


def _refused(workload: Object) -> bool:
    return queued.said(workload, "QuotaReserved")[0] == "False"
