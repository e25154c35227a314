"""Exclusive placement on a real scheduler (lws-contract 5.5; CTL-17)."""

from collections.abc import Iterator

import pytest
from lws_kueue_lab import sandbox

from lws_kueue.api import names
from tests.kit.lws import checks, sample

pytestmark = pytest.mark.usefixtures("controller", "played")


@pytest.fixture
def room(installed: sandbox.Sandbox, namespace: str) -> Iterator[str]:
    """A node label that no node has until the test gives it to one of each rack."""
    label = f"e2e.lws-kueue.dev/{namespace}"
    yield label
    for node in installed.api.list("v1", "Node", label_selector=label):
        _label(installed, node, label, value=None)


def _label(cluster: sandbox.Sandbox, node: sample.Object, label: str, *, value: str | None) -> None:
    body = {"metadata": {"labels": {label: value}}}
    cluster.api.patch("v1", "Node", node["metadata"]["name"], body=body)


def _leaders_exist_without_a_node(one: sample.Sample) -> None:
    leaders = [one.leader(group) for group in (0, 1)]
    assert not any(pod["spec"].get("nodeName") for pod in leaders)
    assert one.get()["status"]["replicas"] == 2


@pytest.mark.row("CTL-17", "ACC-1", "ACC-2")
def test_workers_of_an_exclusive_group_wait_for_their_leaders_node(
    installed: sandbox.Sandbox, namespace: str, room: str
) -> None:
    by_rack = {
        node["metadata"]["labels"][sandbox.RACK_LABEL]: node
        for node in installed.api.list("v1", "Node")
    }
    leader = sample.base(namespace)["spec"]["leaderWorkerTemplate"]["leaderTemplate"]
    leader["spec"]["nodeSelector"] = {room: "here"}
    empty = sample.Sample(installed, namespace)
    with (
        empty.recording("v1", "Pod") as pods,
        empty.recording("apps/v1", "StatefulSet") as stateful_sets,
    ):
        one = sample.create(
            installed,
            namespace,
            annotations={names.EXCLUSIVE_TOPOLOGY: sandbox.RACK_LABEL},
            template={"leaderTemplate": leader},
        )
        checks.eventually(_leaders_exist_without_a_node, one)
        checks.leader_set(one, replicas=2)
        checks.no_worker_sets(one)
        for node in by_rack.values():
            _label(installed, node, room, value="here")
        checks.eventually(checks.condition, one, "Available")
    checks.worker_sets(one)
    # The leaders were there for long without their workers, and then the workers came.
    bound_at = sample.first_seen(pods, lambda pod: bool(pod["spec"].get("nodeName")))
    made_at = sample.first_seen(stateful_sets)
    racks = {node["metadata"]["name"]: rack for rack, node in by_rack.items()}
    domains = set()
    for group, worker_set in one.worker_sets().items():
        pod = one.leader(group)
        assert made_at[pod["metadata"]["name"]] > bound_at[pod["metadata"]["name"]]
        domain = racks[pod["spec"]["nodeName"]]
        assert worker_set["spec"]["template"]["spec"]["nodeSelector"] == {
            sandbox.RACK_LABEL: domain
        }
        domains.add(domain)
    assert len(domains) == 2
