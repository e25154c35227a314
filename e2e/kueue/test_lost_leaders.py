"""A lost leader of a queue-managed group without a restart policy: its workers go with it."""

import pytest
from lws_kueue_lab import sandbox

from tests.kit.kueue import queued
from tests.kit.lws.sample import Object

pytestmark = pytest.mark.usefixtures("controller")


def without_policy(obj: Object) -> None:
    obj["spec"]["leaderWorkerTemplate"]["restartPolicy"] = "None"


@pytest.mark.row("P10")
def test_a_group_that_loses_its_leader_comes_back_whole_under_its_workload(
    installed: sandbox.Sandbox, namespace: str, queue: str
) -> None:
    one = queued.create(
        installed, namespace=namespace, queue=queue, replicas=2, size=3, change=without_policy
    )
    one.wait_ready(2)
    before = {group: one.uids_of(group) for group in (0, 1)}
    workload = one.workload(0)["metadata"]["uid"]
    installed.api.delete("v1", "Pod", "lws-0", namespace=namespace)

    def made_anew(seen: dict[str, Object]) -> bool:
        anew = {name for name, pod in seen.items() if pod["metadata"]["uid"] != before[0].get(name)}
        return anew == before[0].keys() and all(queued.runs(pod) for pod in seen.values())

    one.wait_pods(0, made_anew, what="all three pods made anew and ready")
    one.wait_ready(2)
    assert one.workload(0)["metadata"]["uid"] == workload
    assert one.uids_of(1) == before[1]
