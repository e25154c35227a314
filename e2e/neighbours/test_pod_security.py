"""Pod Security at `restricted`: sets that conform run, and the others say why they do not.

A StatefulSet is accepted whatever its template; its pods are refused one by one.
"""

import time
from typing import Any

import pytest
from lws_kueue_lab import sandbox

from tests.kit.kueue import queued
from tests.kit.live import harness, telling
from tests.kit.lws import sets
from tests.kit.lws.sample import LWS

pytestmark = [pytest.mark.usefixtures("controller"), pytest.mark.row("NBR-03")]

Object = dict[str, Any]
SIZE = 2
ENFORCE = "pod-security.kubernetes.io/enforce"
REFUSED = 'violates PodSecurity "restricted:latest"'


@pytest.fixture
def restricted(installed: sandbox.Sandbox, namespace: str) -> str:
    """The test's namespace, which takes no pods but restricted ones."""
    installed.api.patch(
        "v1", "Namespace", namespace, body={"metadata": {"labels": {ENFORCE: "restricted"}}}
    )
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "probe", "namespace": namespace},
        "spec": {"containers": [{"name": "c", "image": harness.IMAGE}]},
    }
    deadline = time.monotonic() + 30
    while telling.is_taken(installed, pod):
        assert time.monotonic() < deadline, "Pod Security is not in force"
    return namespace


def conform(body: Object) -> None:
    """Give the pods of a set what `restricted` asks for."""
    for pod in sets.templates(body):
        pod["spec"]["securityContext"] = {
            "runAsNonRoot": True,
            "runAsUser": 1000,
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        for container in pod["spec"]["containers"]:
            container["securityContext"] = {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
            }


def test_sets_that_conform_run(installed: sandbox.Sandbox, restricted: str, queue: str) -> None:
    one = queued.create(
        installed, namespace=restricted, queue=queue, replicas=2, size=SIZE, change=conform
    )
    plain = harness.leader_worker_set("plain", namespace=restricted, replicas=1, size=SIZE)
    conform(plain)
    installed.api.create(plain)
    one.wait_ready(2)
    harness.wait_ready(installed, "plain", namespace=restricted, groups=1)


@pytest.mark.long
def test_a_queued_set_that_does_not_conform_says_why_and_holds_no_quota(
    installed: sandbox.Sandbox, restricted: str, queue: str
) -> None:
    one = queued.create(installed, namespace=restricted, queue=queue, size=SIZE)
    telling.wait_said(installed, one.name, REFUSED, namespace=restricted)
    one.wait_workloads(
        lambda seen: not any(queued.is_true(w, "QuotaReserved") for w in seen.values()),
        what="nobody holds quota",
    )
    # When it conforms it runs.
    harness.edit(installed, LWS, one.name, conform, namespace=restricted)
    one.wait_ready(1)


def test_a_plain_set_that_does_not_conform_says_why(
    installed: sandbox.Sandbox, restricted: str
) -> None:
    body = harness.leader_worker_set("plain", namespace=restricted, replicas=1, size=SIZE)
    installed.api.create(body)
    telling.wait_said(installed, "plain", REFUSED, namespace=restricted)
    harness.edit(installed, LWS, "plain", conform, namespace=restricted)
    harness.wait_ready(installed, "plain", namespace=restricted, groups=1)
