"""Every write has a reason: the API server's audit log counts them."""

import datetime
import time

import pytest

from e2e.controller import audit, harness
from lws_kueue import sandbox

# Leader StatefulSet, shared Service, ControllerRevision: once a set.
ONCE_A_SET = 3


def settled(cluster: sandbox.Sandbox, *, namespace: str, quiet: float = 3.0) -> list[audit.Write]:
    """Return the writes once none has come for ``quiet`` seconds.

    Silence is what is awaited here, and only time shows silence.
    """
    assert cluster.audit_log is not None
    deadline = time.monotonic() + 60
    found = audit.writes(cluster.audit_log, namespace=namespace)
    since = time.monotonic()
    while time.monotonic() - since < quiet:
        assert time.monotonic() < deadline, f"writing never ends:\n{audit.summary(found)}"
        time.sleep(0.2)
        now = audit.writes(cluster.audit_log, namespace=namespace)
        if len(now) != len(found):
            found, since = now, time.monotonic()
    return found


def moment(write: audit.Write) -> datetime.datetime:
    return datetime.datetime.fromisoformat(write.at)


@pytest.mark.parametrize(("groups", "size"), [(3, 4), (6, 2)])
def test_a_group_of_n_pods_costs_at_most_n_plus_three_writes(
    installed: sandbox.Sandbox,
    controller: harness.ControllerProcess,
    namespace: str,
    groups: int,
    size: int,
) -> None:
    cluster = installed
    if cluster.audit_log is None:
        pytest.skip("this cluster shows no audit log")
    queue = harness.queues(cluster, namespace=namespace, cpu="8")
    cluster.api.create(
        harness.leader_worker_set(
            "budget", namespace=namespace, queue=queue, replicas=groups, size=size
        )
    )
    harness.wait_ready(cluster, "budget", namespace=namespace, groups=groups)
    found = settled(cluster, namespace=namespace)
    status = [w for w in found if w.resource == "leaderworkersets"]
    rest = [w for w in found if w.resource != "leaderworkersets"]
    assert all(w.subresource == "status" for w in status)
    assert len(rest) <= groups * (size + 3) + ONCE_A_SET, audit.summary(found)
    assert all(w.code < 400 for w in found), audit.summary(found)
    moments = sorted(moment(w) for w in status)
    gaps = [(b - a).total_seconds() for a, b in zip(moments, moments[1:], strict=False)]
    # The moments are taken by the API server on arrival, hence a little slack.
    assert all(gap > 0.95 for gap in gaps), f"status writes {gaps} seconds apart"
    assert controller.running


def test_reconciling_an_unchanged_set_costs_no_write(
    installed: sandbox.Sandbox, controller: harness.ControllerProcess, namespace: str
) -> None:
    cluster = installed
    if cluster.audit_log is None:
        pytest.skip("this cluster shows no audit log")
    queue = harness.queues(cluster, namespace=namespace, cpu="8")
    cluster.api.create(harness.leader_worker_set("still", namespace=namespace, queue=queue))
    cluster.api.create(harness.leader_worker_set("plain", namespace=namespace))
    harness.wait_ready(cluster, "still", namespace=namespace, groups=2)
    harness.wait_ready(cluster, "plain", namespace=namespace, groups=2)
    before = settled(cluster, namespace=namespace)
    # A restart is the hardest pass over a set that there is: nothing is remembered.
    controller.stop()
    controller.start()
    after = settled(cluster, namespace=namespace)
    assert len(after) == len(before), audit.summary(after[len(before) :])
