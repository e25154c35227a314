"""Webhooks and policies of others that change what is made or applied: no war, and a Warning.

They leave no trace in ``managedFields``, and act before anybody can see it.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from lws_kueue_lab import sandbox

from lws_kueue.api import names
from tests.kit import polling
from tests.kit.judge import budget
from tests.kit.kueue import queued
from tests.kit.live import harness, webhook
from tests.kit.live.rivals import LWS, STATEFUL_SET

pytestmark = pytest.mark.long

Object = dict[str, Any]

POLICY = "MutatingAdmissionPolicy"

ONE_REPLICA = '[JSONPatch{op: "replace", path: "/spec/replicas", value: 1}]'
ANOTHER_LABEL = '[JSONPatch{op: "replace", path: "/spec/template/metadata/labels/app", value: "x"}]'

# The pauses are 0, 1, 3, 8 and 20 seconds; the next is five minutes long.
MOST = 6
# What asks for something is a change of the set, and ends all pauses.
EDITED = f"{names.PROVISIONING_REQUEST_PREFIX}edited"
PATIENCE = 150.0
LONGEST_PAUSE = 300.0


@contextlib.contextmanager
def policy(cluster: sandbox.Sandbox, namespace: str, *, when: str, change: str) -> Iterator[None]:
    """Change the StatefulSets that are made or written in a namespace."""
    rule = {
        "apiGroups": ["apps"],
        "apiVersions": ["v1"],
        "operations": ["CREATE", "UPDATE"],
        "resources": ["statefulsets"],
    }
    place = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    api_version, meta = "admissionregistration.k8s.io/v1", {"name": namespace}
    spec = {
        "failurePolicy": "Fail",
        "reinvocationPolicy": "Never",
        "matchConstraints": {"resourceRules": [rule], "namespaceSelector": place},
        "matchConditions": [{"name": "it-does", "expression": when}],
        "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": change}}],
    }
    kinds = (POLICY, f"{POLICY}Binding")
    for kind, content in zip(kinds, (spec, {"policyName": namespace}), strict=True):
        cluster.api.create(
            {"apiVersion": api_version, "kind": kind, "metadata": meta, "spec": content}
        )
    try:
        yield
    finally:
        for kind in reversed(kinds):
            cluster.api.delete(api_version, kind, namespace, missing_ok=True)


def acts(cluster: sandbox.Sandbox, probe: Object, changed: Callable[[Object], Any]) -> None:
    """Wait until a policy does to what is made what is to be expected by now."""

    def seen() -> None:
        assert changed(cluster.api.create(probe, dry_run=True)["spec"])

    polling.trying(timeout=60.0)(seen)


def two_replicas(namespace: str) -> Object:
    labels = {"app": "mine", "probe": "yes"}
    container = {"name": "c", "image": "probe"}
    spec = {
        "replicas": 2,
        "selector": {"matchLabels": {"probe": "yes"}},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
    }
    meta = {"name": "probe", "namespace": namespace}
    return {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": meta, "spec": spec}


def back_off(one: queued.Queued, text: str) -> None:
    """Wait until the set says what is repeated for it, in a Warning and in its condition."""
    one.wait_warning("RepairBackOff", text)
    one.cluster.api.wait_for(
        *LWS,
        one.name,
        lambda seen: (
            text in (harness.condition(seen or {}, "RepairBackOff") or {}).get("message", "")
        ),
        namespace=one.namespace,
        timeout=PATIENCE,
        what=f"RepairBackOff: {text}",
    )


def in_the_first_minute(one: queued.Queued, verb: str, resource: str) -> dict[str, int]:
    """Return how often we have written to each object in a minute, since the first time."""
    times: dict[str, list[float]] = {}
    for write in budget.writes(one.cluster, namespace=one.namespace):
        if (write.verb, write.resource) == (verb, resource) and write.status < 300:
            at = datetime.fromisoformat(write.received).timestamp()
            times.setdefault(write.name, []).append(at)
    return {name: sum(at < min(all_) + 60 for at in all_) for name, all_ in times.items()}


class Thief:
    """Takes the gates of the pods that are made in a namespace, until told to stop."""

    def __init__(self) -> None:
        self.stopped = threading.Event()

    def change(self, pod: Object) -> list[Object]:
        gated = bool(pod["spec"].get("schedulingGates")) and not self.stopped.is_set()
        return [{"op": "remove", "path": "/spec/schedulingGates"}] if gated else []


@pytest.fixture
def thief() -> Thief:
    return Thief()


@pytest.fixture
def stripped(
    installed: sandbox.Sandbox,
    namespace: str,
    controller: harness.ControllerProcess,
    thief: Thief,
    tmp_path: Path,
) -> Iterator[queued.Queued]:
    """A set of two groups that wait for quota, whose pods are made without their gate."""
    assert controller.running
    queue = harness.queues(installed, namespace=namespace, cpu="0")
    with webhook.mutating_pods(installed, tmp_path, namespace=namespace, change=thief.change):
        one = queued.create(
            installed, namespace=namespace, queue=queue, replicas=2, size=2, cpu="10m"
        )
        back_off(one, "is made or left without the scheduling gate")
        yield one


def names_kept(one: queued.Queued) -> list[str]:
    return [
        name
        for name, pod in one.pods().items()
        if names.STOPPED_FINALIZER in pod["metadata"].get("finalizers", ())
    ]


@pytest.mark.row("WAR-04")
def test_pods_that_are_made_without_their_gate_are_stopped_six_times_a_minute(
    stripped: queued.Queued,
) -> None:
    counts = in_the_first_minute(stripped, "delete", "pods")
    assert counts
    assert max(counts.values()) <= MOST, counts
    assert names_kept(stripped)


@pytest.mark.row("WAR-04")
@pytest.mark.long(minutes=6)
def test_when_gates_are_left_alone_again_the_longest_pause_is_waited_for_and_all_ends_well(
    stripped: queued.Queued, thief: Thief
) -> None:
    one = stripped
    thief.stopped.set()
    harness.set_quota(one.cluster, namespace=one.namespace, cpu="10")
    one.wait_ready(2, timeout=LONGEST_PAUSE + PATIENCE)
    assert names_kept(one) == []


@pytest.mark.row("WAR-04")
def test_the_names_of_stopped_pods_are_free_when_the_set_changes_or_goes(
    stripped: queued.Queued, thief: Thief
) -> None:
    one = stripped
    thief.stopped.set()
    edit = {"metadata": {"annotations": {EDITED: "yes"}}}
    one.cluster.api.patch(*LWS, one.name, namespace=one.namespace, body=edit)
    one.cluster.api.wait_for_all(
        "v1",
        "Pod",
        lambda seen: len(seen) == 4 and all(harness.is_gated(pod) for pod in seen.values()),
        namespace=one.namespace,
        timeout=PATIENCE,
        what="all pods are gated",
    )
    one.delete_and_leave_nothing()


@pytest.mark.row("WAR-04")
def test_a_set_whose_pods_were_stopped_goes_with_all_of_them(stripped: queued.Queued) -> None:
    assert names_kept(stripped)
    stripped.delete_and_leave_nothing()


def _label(spec: Object) -> str:
    return str(spec["template"]["metadata"]["labels"]["app"])


CHANGED: dict[str, Callable[[Object], Any]] = {
    "replicas": lambda spec: spec["replicas"] == 1,
    "label": lambda spec: _label(spec) == "x",
}
CHANGES = {
    "replicas": (ONE_REPLICA, "spec.replicas was applied as 2 and became 1"),
    "label": (
        ANOTHER_LABEL,
        'spec.template.metadata.labels.app was applied as "mine" and became "x"',
    ),
}


@pytest.mark.row("WAR-05")
@pytest.mark.parametrize("what", CHANGES)
def test_what_a_policy_makes_of_the_leader_statefulset_is_told_and_not_fought_over(
    installed: sandbox.Sandbox, namespace: str, controller: harness.ControllerProcess, what: str
) -> None:
    assert controller.running
    queue = harness.queues(installed, namespace=namespace, cpu="10")
    change, told = CHANGES[what]
    labelled = f"object.metadata.name == 'probe' || '{names.SET_NAME}' in object.metadata.labels"
    body = harness.leader_worker_set(
        "sample", namespace=namespace, replicas=2, size=1, queue=queue, cpu="10m"
    )
    template = body["spec"]["leaderWorkerTemplate"]["workerTemplate"]
    template.setdefault("metadata", {}).setdefault("labels", {})["app"] = "mine"
    with policy(installed, namespace, when=labelled, change=change):
        acts(installed, two_replicas(namespace), CHANGED[what])
        installed.api.create(body)
        one = queued.Queued(installed, namespace, "sample")
        back_off(one, told)
        counts = in_the_first_minute(one, "patch", "statefulsets")
        # It is made, and repaired.
        assert 2 <= counts["sample"] <= 1 + MOST, counts
    edit = {"metadata": {"annotations": {EDITED: "yes"}}}

    def edited() -> None:
        # Each change of the set is an occasion; a policy acts a moment longer than it is there.
        edit["metadata"]["annotations"][EDITED] += "."
        installed.api.patch(*LWS, "sample", namespace=namespace, body=edit)
        live = installed.api.get(*STATEFUL_SET, "sample", namespace=namespace)["spec"]
        assert live["replicas"] == 2
        assert _label(live) == "mine"

    polling.trying(timeout=60.0, every=1.0)(edited)
    one.wait_ready(2)
