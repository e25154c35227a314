"""Policies and webhooks that refuse what the controller writes: the set says so until they do not.

What the API server said stands in the condition of the groups that wait for it.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from lws_kueue_lab import sandbox
from lws_kueue_lab.sandbox import client

from tests.kit import polling
from tests.kit.kueue import queued
from tests.kit.live import harness, telling
from tests.kit.lws.sample import LWS, Object

pytestmark = [pytest.mark.usefixtures("controller"), pytest.mark.row("NBR-11")]

API = "admissionregistration.k8s.io/v1"
WHY = "not on a Friday"
SIZE = 2

Refuse = Callable[..., None]
Allow = Callable[[], None]


def rule(resource: str, *operations: str) -> Object:
    """What a policy or a webhook is asked about; ``resource`` is "group/plural"."""
    group, _, plural = resource.rpartition("/")
    return {
        "apiGroups": [group],
        "apiVersions": ["*"],
        "operations": list(operations),
        "resources": [plural],
    }


def only_in(namespace: str) -> Object:
    return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}


def policy(namespace: str, resource: str, operation: str, expression: str) -> list[Object]:
    """A policy that takes only what ``expression`` allows, and no ConfigMaps: by those it is known
    to act."""
    rules = [rule(resource, operation), rule("/configmaps", "CREATE")]
    checks = f"object.kind == 'ConfigMap' ? false : ({expression})"
    return [
        {
            "apiVersion": API,
            "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": namespace},
            "spec": {
                "matchConstraints": {"resourceRules": rules},
                "validations": [{"expression": checks, "message": WHY}],
            },
        },
        {
            "apiVersion": API,
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": namespace},
            "spec": {
                "policyName": namespace,
                "validationActions": ["Deny"],
                "matchResources": only_in(namespace),
            },
        },
    ]


def webhook(namespace: str, resource: str, operation: str) -> Object:
    """A webhook that has to agree and that nobody answers for."""
    return {
        "apiVersion": API,
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": namespace},
        "webhooks": [
            {
                "name": "down.neighbour.test",
                "clientConfig": {"url": "https://127.0.0.1:1/"},
                "rules": [rule(resource, operation), rule("/configmaps", "CREATE")],
                "failurePolicy": "Fail",
                "sideEffects": "None",
                "admissionReviewVersions": ["v1"],
                **only_in(namespace),
            }
        ],
    }


@pytest.fixture
def refusing(installed: sandbox.Sandbox, namespace: str) -> Iterator[tuple[Refuse, Allow]]:
    """Refuse something in the test's namespace, and no more."""
    kept: list[Object] = []

    def refuse(*objects: Object) -> None:
        for obj in objects:
            kept.append(installed.api.apply(obj))
        _wait_acts(installed, namespace)

    def allow() -> None:
        for obj in reversed(kept):
            with contextlib.suppress(client.ApiError):
                installed.api.delete(
                    obj["apiVersion"], obj["kind"], obj["metadata"]["name"], missing_ok=True
                )
        kept.clear()

    yield refuse, allow
    allow()


def _wait_acts(cluster: sandbox.Sandbox, namespace: str) -> None:
    probe: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "probe", "namespace": namespace},
    }

    def acts() -> None:
        assert not telling.is_taken(cluster, probe), "the policy never acts"

    polling.trying(timeout=60.0, every=0.2)(acts)


def scale(cluster: sandbox.Sandbox, name: str, namespace: str, replicas: int) -> None:
    cluster.api.patch(*LWS, name, namespace=namespace, body={"spec": {"replicas": replicas}})


def wait_waits_no_more(one: queued.Queued) -> None:
    one.wait_set(
        lambda seen: harness.condition(seen, "WaitingForAdmission") is None, what="waits no more"
    )


def test_a_group_whose_release_is_refused_says_so_and_runs_when_it_is_not(
    installed: sandbox.Sandbox, namespace: str, queue: str, refusing: tuple[Refuse, Allow]
) -> None:
    refuse, allow = refusing
    keeps = "!has(oldObject.spec.schedulingGates) || has(object.spec.schedulingGates)"
    refuse(*policy(namespace, "/pods", "UPDATE", keeps))
    one = queued.create(installed, namespace=namespace, queue=queue, size=SIZE)
    one.wait_admitted()
    one.wait_told("group 0: the API server refuses to release Pod", WHY)
    one.wait_warning("ReleaseRefused", WHY)
    found = installed.api.get(*LWS, one.name, namespace=namespace)
    told = harness.condition(found, "WaitingForAdmission")
    assert told is not None
    assert told["reason"] == "ReleaseRefused"
    allow()
    one.wait_ready(1, timeout=180)
    wait_waits_no_more(one)


CREATED = [
    pytest.param("apps/controllerrevisions", "true", "ControllerRevision", id="revisions"),
    pytest.param("apps/statefulsets", "true", "StatefulSet", id="leaders"),
    pytest.param(
        "apps/statefulsets", "object.spec.?ordinals.start.orValue(0) == 1", "StatefulSet",
        id="workers",
    ),
    pytest.param("kueue.x-k8s.io/workloads", "true", "Workload", id="workloads"),
]  # fmt: skip


@pytest.mark.parametrize(("resource", "which", "kind"), CREATED)
@pytest.mark.parametrize("down", [False, True], ids=["policy", "webhook"])
def test_a_group_whose_objects_are_refused_says_so_and_runs_when_they_are_not(
    installed: sandbox.Sandbox,
    namespace: str,
    queue: str,
    refusing: tuple[Refuse, Allow],
    resource: str,
    which: str,
    kind: str,
    down: bool,
) -> None:
    refuse, allow = refusing
    if down:
        refuse(webhook(namespace, resource, "CREATE"))
    else:
        refuse(*policy(namespace, resource, "CREATE", f"!({which})"))
    one = queued.create(installed, namespace=namespace, queue=queue, size=SIZE)
    said = "failed calling webhook" if down else WHY
    one.wait_told(f"group 0: the API server refuses to create {kind} ", said)
    one.wait_warning("FailedCreate", said)
    allow()
    one.wait_ready(1, timeout=180)
    wait_waits_no_more(one)


def test_a_group_that_cannot_be_added_says_so_and_those_that_run_go_on(
    installed: sandbox.Sandbox, namespace: str, queue: str, refusing: tuple[Refuse, Allow]
) -> None:
    refuse, allow = refusing
    one = queued.create(installed, namespace=namespace, queue=queue, size=SIZE)
    one.wait_ready(1)
    changed = "object.spec.replicas == oldObject.spec.replicas"
    refuse(*policy(namespace, "apps/statefulsets", "UPDATE", changed))
    scale(installed, one.name, namespace, 2)
    told = one.wait_told(f"group 1: the API server refuses to update StatefulSet {one.name}: ")
    assert WHY in told
    assert "group 0" not in told
    one.wait_warning("FailedUpdate", WHY)
    allow()
    one.wait_ready(2, timeout=180)
    wait_waits_no_more(one)


def test_a_group_is_evicted_while_the_set_cannot_have_its_revision(
    installed: sandbox.Sandbox, namespace: str, queue: str, refusing: tuple[Refuse, Allow]
) -> None:
    refuse, _ = refusing
    one = queued.create(installed, namespace=namespace, queue=queue, size=SIZE)
    one.wait_ready(1)
    refuse(*policy(namespace, "apps/controllerrevisions", "CREATE", "false"))
    template = {"spec": {"containers": [{"name": "worker", "image": "app:2"}]}}
    change = {"spec": {"leaderWorkerTemplate": {"workerTemplate": template}}}
    installed.api.patch(*LWS, one.name, namespace=namespace, body=change)
    one.wait_warning("FailedCreate", WHY)
    one.switch(0, active=False)
    one.wait_workload(
        0, lambda seen: not queued.is_true(seen, "QuotaReserved"), what="gives its quota back"
    )
    one.wait_told("group 0: the API server refuses to create ControllerRevision", WHY)


def test_a_plain_set_whose_revision_is_refused_has_a_status_and_a_warning(
    installed: sandbox.Sandbox, namespace: str, refusing: tuple[Refuse, Allow]
) -> None:
    refuse, allow = refusing
    refuse(*policy(namespace, "apps/controllerrevisions", "CREATE", "false"))
    body = harness.leader_worker_set("plain", namespace=namespace, replicas=1, size=SIZE)
    installed.api.create(body)
    telling.wait_said(installed, "plain", "ControllerRevision", WHY, namespace=namespace)
    harness.wait_status(
        installed,
        "plain",
        lambda seen: harness.condition(seen, "Progressing") is not None,
        namespace=namespace,
        what="it has a status",
    )
    allow()
    harness.wait_ready(installed, "plain", namespace=namespace, groups=1, timeout=180)
