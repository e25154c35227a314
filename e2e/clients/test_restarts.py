"""`kubectl rollout restart` of the StatefulSets of a set (docs/compatibility.md says what it does).

A set has no command of its own for it, so people restart what is made for it.
"""

from typing import Any

import pytest

from e2e.clients.conftest import Serve
from tests.kit.judge import budget
from tests.kit.live import harness, running
from tests.kit.live.running import NAME, Running
from tests.kit.lws import sets

RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"


def restart(served: Running, name: str) -> None:
    served.kubectl("rollout", "restart", f"statefulset/{name}")


def all_replaced(served: Running, before: dict[str, str], names: set[str]) -> bool:
    now = sets.uids(served.pods())
    return now.keys() == before.keys() and all(now[name] != before[name] for name in names)


def wait_replaced(served: Running, names: set[str]) -> None:
    """Wait until these pods have been replaced, and all is quiet; the others are the same."""
    before = dict(served.before)
    harness.wait_pods(
        served.cluster,
        lambda pods: (
            all_replaced(served, before, names) and all(map(harness.is_ready, pods.values()))
        ),
        namespace=served.namespace,
        what=f"{sorted(names)} are replaced",
        timeout=120,
    )
    served.runs()
    for name, uid in before.items():
        assert (served.before[name] != uid) == (name in names), name
    assert served.warnings() == []


def assert_in_turn(events: list[dict[str, Any]], *, before: dict[str, str]) -> None:
    """The leader of group 0 was told to go when that of group 1 had come back and was ready."""
    latest: dict[str, dict[str, Any]] = {}
    for event in events:
        pod = event["object"]
        name, uid = pod["metadata"]["name"], pod["metadata"]["uid"]
        latest[name] = pod
        if uid == before[f"{NAME}-0"] and "deletionTimestamp" in pod["metadata"]:
            other = latest[f"{NAME}-1"]
            assert other["metadata"]["uid"] != before[f"{NAME}-1"]
            assert harness.is_ready(other)
            return
    raise AssertionError("the leader of group 0 was never told to go")


@pytest.mark.row("GIT-31")
def test_restarting_the_leaders_makes_every_group_anew_once_and_one_after_the_other(
    served: Running,
) -> None:
    first = dict(served.before)
    with harness.recording(served.cluster, "v1", "Pod", namespace=served.namespace) as record:
        restart(served, NAME)
        wait_replaced(served, set(served.before))
    assert_in_turn(record.events, before=first)
    once = dict(served.before)
    budget.settled(served.cluster, namespace=served.namespace)
    assert sets.uids(served.pods()) == once
    # What is rendered anew later does not fight for the mark of the restart.
    served.kubectl("scale", f"lws/{NAME}", "--replicas=3")
    served.goes_on(groups=3)


@pytest.mark.row("GIT-32")
@pytest.mark.parametrize(
    "policy",
    [
        "RecreateGroupOnPodRestart",
        pytest.param("RecreateGroupAfterStart", marks=pytest.mark.long),
    ],
)
def test_restarting_the_workers_of_a_group_makes_that_group_anew_once(
    serve: Serve, policy: str
) -> None:
    served = serve()
    served.cluster.api.patch(
        *running.LWS,
        NAME,
        namespace=served.namespace,
        body={"spec": {"leaderWorkerTemplate": {"restartPolicy": policy}}},
    )
    served.runs()
    restart(served, f"{NAME}-1")
    wait_replaced(served, {f"{NAME}-1", f"{NAME}-1-1"})
    # The StatefulSet is another one, made from the set.
    made = served.cluster.api.get(*running.STATEFULSET, f"{NAME}-1", namespace=served.namespace)
    assert RESTARTED_AT not in made["spec"]["template"]["metadata"]["annotations"]


@pytest.mark.long
@pytest.mark.row("GIT-33")
def test_restarting_the_workers_of_a_group_whose_pods_restart_alone_replaces_the_workers(
    serve: Serve,
) -> None:
    served = serve(size=3)
    served.cluster.api.patch(
        *running.LWS,
        NAME,
        namespace=served.namespace,
        body={"spec": {"leaderWorkerTemplate": {"restartPolicy": "None"}}},
    )
    served.runs()
    restart(served, f"{NAME}-1")
    wait_replaced(served, {f"{NAME}-1-1", f"{NAME}-1-2"})
