"""What Kueue's webhooks did to pods and StatefulSets of plain sets is taken back at once.

The webhooks are of this process, so that the API server's part is proven where no Kueue is at hand;
e2e/kueue has the same with a real one.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lws_kueue_lab import sandbox
from lws_kueue_lab.sandbox import client

from lws_kueue.api import lws, names
from lws_kueue.controller.objects import statefulsets
from lws_kueue.install import manifests
from tests.kit.admission import eager_webhooks, support
from tests.kit.live import harness

QUEUE = eager_webhooks.DEFAULT_QUEUE
BUILT_IN = names.KUEUE_LWS_FRAMEWORK

pytestmark = [
    pytest.mark.row("P2"),
    pytest.mark.usefixtures("kueue_info"),
]


@pytest.fixture
def plain(
    installed: client.Client,
    cluster: sandbox.Sandbox,
    backend: sandbox.Backend,
    namespace: str,
    tmp_path: Path,
) -> Iterator[support.Pods]:
    """Pods of a namespace in which the webhooks act, and the policies against them as well."""
    if backend != "process":
        pytest.skip("the API server has to reach this process")
    always = {obj["metadata"]["name"] for obj in manifests.api_objects()}
    for obj in manifests.api_objects(kueue=True):
        if obj["metadata"]["name"] not in always:
            installed.apply(obj, field_manager="lws-kueue-install")
    pods = support.Pods(installed, namespace)
    with eager_webhooks.serving(installed, namespace=namespace, folder=tmp_path):
        support.eventually(
            lambda: names.MANAGED in labels_of(pods.accept(pods.build("another", labels={}))),
            what="the webhooks act",
        )
        held = pods.accept(pods.leader("test-1"))
        assert harness.gates(held), "without a default queue the policies are not asked"
        harness.queues(cluster, namespace=namespace, cpu="1", name=QUEUE)
        support.eventually(
            lambda: not harness.gates(pods.accept(pods.leader("test-1"))),
            what="the policies know the queue",
        )
        yield pods


def labels_of(obj: dict[str, Any]) -> dict[str, str]:
    return dict(obj["metadata"].get("labels") or {})


def kueues(pod: dict[str, Any]) -> set[str]:
    """What of a pod's metadata and gates has Kueue's prefix."""
    meta = pod["metadata"]
    found = (*labels_of(pod), *meta["annotations"], *(meta.get("finalizers") or ()))
    return {mark for mark in (*found, *harness.gates(pod)) if mark.startswith(names.KUEUE_PREFIX)}


def test_a_pod_of_a_plain_set_is_neither_held_nor_marked(plain: support.Pods) -> None:
    for given in (plain.leader("test-1"), plain.worker("test-1-1")):
        accepted = plain.accept(given)
        assert not kueues(accepted)
        variables = [name for name, _ in support.env(accepted["spec"]["containers"][0])]
        assert variables == ["LWS_LEADER_ADDRESS", "LWS_GROUP_SIZE", "LWS_WORKER_INDEX"]


def test_gates_finalizers_and_labels_of_others_stay(plain: support.Pods) -> None:
    spec = {"schedulingGates": [{"name": "example.com/wait"}]}
    given = plain.leader("test-1", labels={"team": "a"}, annotations={"note": "b"}, spec=spec)
    given["metadata"]["finalizers"] = ["example.com/keep"]
    accepted = plain.accept(given)
    assert not kueues(accepted)
    assert harness.gates(accepted) == ["example.com/wait"]
    assert accepted["metadata"]["finalizers"] == ["example.com/keep"]
    assert (labels_of(accepted)["team"], accepted["metadata"]["annotations"]["note"]) == ("a", "b")


@pytest.mark.parametrize(
    ("labels", "annotations", "marks"),
    [
        pytest.param(
            {},
            {names.POD_SUSPENDING_PARENT: names.OUR_SUSPENDING_PARENT},
            {names.POD_SUSPENDING_PARENT, names.ADMISSION_GATE},
            id="of-a-set-in-a-queue",
        ),
        pytest.param(
            {names.QUEUE_NAME: QUEUE, names.MANAGED: "true"},
            {names.POD_SUSPENDING_PARENT: BUILT_IN},
            {names.POD_SUSPENDING_PARENT, names.ADMISSION_GATE, names.QUEUE_NAME, names.MANAGED},
            id="of-the-built-in-integration",
        ),
        pytest.param(
            {names.QUEUE_NAME: QUEUE},
            {},
            {names.QUEUE_NAME, names.MANAGED, names.ADMISSION_GATE},
            id="whose-template-names-the-queue",
        ),
        pytest.param(
            {names.QUEUE_NAME: "another"},
            {},
            {names.QUEUE_NAME, names.MANAGED, names.ADMISSION_GATE},
            id="whose-template-names-another-queue",
        ),
    ],
)
def test_a_pod_that_is_meant_for_kueue_keeps_what_it_has(
    plain: support.Pods, labels: dict[str, str], annotations: dict[str, str], marks: set[str]
) -> None:
    given = plain.leader("test-1", labels=labels, annotations=annotations)
    assert kueues(plain.accept(given)) >= marks


def test_a_pod_of_no_set_is_left_to_kueue(plain: support.Pods) -> None:
    accepted = plain.accept(plain.build("another", labels={}))
    assert {names.MANAGED, names.QUEUE_NAME, names.ADMISSION_GATE} <= kueues(accepted)


def leader_set(namespace: str, *, queue_gated: bool) -> dict[str, Any]:
    """The leader StatefulSet of a set, as the controller applies it."""
    given = support.base_set(namespace=namespace, name="test")
    given["metadata"]["uid"] = "6f1c5a5e-0000-4000-8000-000000000000"
    made = statefulsets.leader(
        lws.LeaderWorkerSet.of(given), key="k", partition=0, replicas=2, queue_gated=queue_gated
    )
    # The set itself is not stored.
    del made["metadata"]["ownerReferences"]
    return made


def test_a_stateful_set_of_a_plain_set_is_in_no_queue_and_can_be_scaled(
    plain: support.Pods,
) -> None:
    made = plain.api.create(leader_set(plain.namespace, queue_gated=False))
    scaled = plain.api.patch(
        "apps/v1", "StatefulSet", "test", namespace=plain.namespace, body={"spec": {"replicas": 3}}
    )
    for stored in (made, scaled):
        assert names.QUEUE_NAME not in labels_of(stored)
        annotations = stored["spec"]["template"]["metadata"]["annotations"]
        assert not [key for key in annotations if key.startswith(names.KUEUE_PREFIX)]
    assert scaled["spec"]["replicas"] == 3


def test_the_marks_of_a_stateful_set_in_a_queue_stay(plain: support.Pods) -> None:
    given = leader_set(plain.namespace, queue_gated=True)
    made = plain.api.create(given, dry_run=True)
    wanted = given["spec"]["template"]["metadata"]["annotations"]
    assert made["spec"]["template"]["metadata"]["annotations"] == wanted
    assert wanted[names.POD_SUSPENDING_PARENT] == names.OUR_SUSPENDING_PARENT
