"""Every write has a reason: the API server's audit log counts them."""

import datetime
import itertools
import time

import pytest
from lws_kueue_lab import sandbox
from lws_kueue_lab.sandbox import audit

from tests.kit.judge import budget
from tests.kit.live import harness
from tests.kit.lws import sets


def gaps_between(requests: list[audit.Request]) -> list[float]:
    """The seconds between requests, by the API server's clock."""
    moments = sorted(datetime.datetime.fromisoformat(r.received) for r in requests)
    return [(b - a).total_seconds() for a, b in itertools.pairwise(moments)]


@pytest.mark.parametrize(("groups", "size"), [(3, 4), pytest.param(6, 2, marks=pytest.mark.long)])
def test_a_group_of_n_pods_costs_at_most_n_plus_three_writes(
    installed: sandbox.Sandbox,
    controller: harness.ControllerProcess,
    namespace: str,
    groups: int,
    size: int,
) -> None:
    cluster = installed
    assert controller.running
    queue = harness.queues(cluster, namespace=namespace, cpu="8")
    body = harness.leader_worker_set(
        "budget",
        namespace=namespace,
        queue=queue,
        replicas=groups,
        size=size,
        # So slow that progress is told before the end; else both would be one write.
        pod_annotations=dict(sets.SLOW_START),
    )
    cluster.api.create(body)
    harness.wait_ready(cluster, "budget", namespace=namespace, groups=groups)
    found = budget.settled(cluster, namespace=namespace)
    status = [w for w in found if w.resource == "leaderworkersets/status"]
    rest = [w for w in found if w.resource != "leaderworkersets/status"]
    # Each pod has to be patched once, so a small number would mean that the log was misread.
    assert len(rest) >= groups * (size + 1), budget.summary(found)
    assert len(rest) <= groups * (size + 3) + budget.ONCE_A_SET, budget.summary(found)
    # A guard may refuse what Kueue was quicker to write; that costs a write that counts.
    assert {w.status for w in found if w.status >= 400} <= {409}, budget.summary(found)
    assert len(status) >= 2, "progressing first, available then"
    # The moments are those of arrival at the API server, hence a little slack.
    gaps = gaps_between(status)
    assert all(gap > 0.95 for gap in gaps), f"status writes {gaps} seconds apart"


@pytest.mark.row("WAR-01")
@pytest.mark.parametrize(
    ("groups", "rest"),
    [(4, 3.0), pytest.param(50, 60.0, marks=pytest.mark.long)],
)
def test_kueue_and_the_controller_leave_each_others_writes_alone(
    installed: sandbox.Sandbox,
    controller: harness.ControllerProcess,
    namespace: str,
    groups: int,
    rest: float,
) -> None:
    """Two that repair what the other one undoes would be seen while groups start, or at rest."""
    cluster, size = installed, 4
    queue = harness.queues(cluster, namespace=namespace, cpu="100")
    body = harness.leader_worker_set(
        "fleet", namespace=namespace, queue=queue, replicas=groups, size=size, cpu="1m"
    )
    cluster.api.create(body)
    harness.wait_ready(cluster, "fleet", namespace=namespace, groups=groups, timeout=240)
    ours = budget.settled(cluster, namespace=namespace)
    theirs = budget.kueues(cluster, namespace=namespace)
    told = f"ours:\n{budget.summary(ours)}\nKueue's:\n{budget.summary(theirs)}"
    per_set = [w for w in ours if w.resource == "leaderworkersets/status"]
    assert groups * (size + 1) <= len(ours) - len(per_set), told
    assert len(ours) - len(per_set) <= groups * (size + 3) + budget.ONCE_A_SET, told
    updates = [w for w in theirs if w.resource.partition("/")[0] == "workloads"]
    assert groups <= len(updates) <= 2 * groups, told
    # Silence is what is awaited here, and only time shows silence.
    mark = audit.position(cluster)
    time.sleep(rest)
    at_rest = budget.of_both(cluster, namespace=namespace, since=mark)
    assert not at_rest, budget.summary(at_rest)


def test_reconciling_an_unchanged_set_costs_no_write(
    installed: sandbox.Sandbox, controller: harness.ControllerProcess, namespace: str
) -> None:
    cluster = installed
    queue = harness.queues(cluster, namespace=namespace, cpu="8")
    cluster.api.create(harness.leader_worker_set("still", namespace=namespace, queue=queue))
    cluster.api.create(harness.leader_worker_set("plain", namespace=namespace))
    harness.wait_ready(cluster, "still", namespace=namespace, groups=2)
    harness.wait_ready(cluster, "plain", namespace=namespace, groups=2)
    before = budget.settled(cluster, namespace=namespace)
    # A restart is the hardest pass over a set that there is: nothing is remembered.
    controller.stop()
    controller.start()
    after = budget.settled(cluster, namespace=namespace)
    assert len(after) == len(before), budget.summary(after[len(before) :])
