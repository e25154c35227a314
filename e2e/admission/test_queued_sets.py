"""What may not change on a set that Kueue manages: it was admitted for what it was."""

from collections.abc import Mapping
from typing import Any

import pytest

from e2e.admission import support
from lws_kueue.api import names

QUEUED = {"metadata": {"labels": {names.QUEUE_NAME: "queue"}}}
NAME = "test-sample"


def container(**changes: Any) -> dict[str, Any]:
    return {"name": "worker", "image": "registry.example/app:1", **changes}


def worker(container_changes: Mapping[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    """Return a change of the worker template's pod spec, with its only container."""
    template = {"spec": {"containers": [container(**(container_changes or {}))], **spec}}
    return {"spec": support.template(workerTemplate=template)}


@pytest.fixture
def queued(sets: support.Sets) -> support.Sets:
    """Sets of a namespace in which a queued one is stored."""
    sets.store(support.merged(sets.build(), QUEUED))
    return sets


CPU = {"requests": {"cpu": "1"}}


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"spec": support.template(size=3)}, "size"),
        ({"spec": support.template(leaderTemplate=None)}, "leaderTemplate"),
        (worker({"resources": CPU}), "resources"),
        (worker(initContainers=[{"name": "i", "image": "x", "resources": CPU}]), "resources"),
        (worker(nodeSelector={"pool": "other"}), "nodeSelector"),
        (worker(tolerations=[{"key": "k", "operator": "Exists"}]), "tolerations"),
        (worker(priorityClassName="system-node-critical"), "priority class"),
        (
            {
                "spec": support.template(
                    workerTemplate={
                        "metadata": {"annotations": {names.PODSET_REQUIRED_TOPOLOGY: "block"}}
                    }
                )
            },
            "topology annotations",
        ),
        ({"metadata": {"labels": {names.QUEUE_NAME: None}}}, "queue-name"),
    ],
    ids=[
        "size",
        "leader-template",
        "requests",
        "init-container",
        "node-selector",
        "tolerations",
        "priority",
        "topology",
        "out-of-the-queue",
    ],
)
def test_a_queued_set_keeps_what_it_was_admitted_for(
    queued: support.Sets, change: Mapping[str, Any], path: str
) -> None:
    with support.refused() as refusal:
        queued.update(NAME, change)
    assert path in refusal.message
    assert "'lws-kueue-queued-sets'" in refusal.message


@pytest.mark.parametrize(
    "change",
    [
        worker({"image": "registry.example/app:2"}),
        worker({"env": [{"name": "A", "value": "b"}], "command": ["sleep"]}),
        {"metadata": {"labels": {names.QUEUE_NAME: "another"}}},
        {"metadata": {"annotations": {"a": "b"}}},
        {"spec": {"replicas": 7}},
        {"spec": support.rollout(maxUnavailable=2)},
    ],
    ids=["image", "env", "another-queue", "annotation", "replicas", "rollout"],
)
def test_a_queued_set_may_change_what_no_quota_depends_on(
    queued: support.Sets, change: Mapping[str, Any]
) -> None:
    queued.update(NAME, change)


def test_a_set_without_a_queue_may_get_one(sets: support.Sets) -> None:
    sets.store(sets.build())
    sets.update(NAME, QUEUED)


def test_a_plain_set_may_change_everything_else(sets: support.Sets) -> None:
    sets.store(sets.build())
    sets.update(NAME, {"spec": support.template(size=3)})
    sets.update(NAME, worker({"resources": CPU}, nodeSelector={"pool": "other"}))
