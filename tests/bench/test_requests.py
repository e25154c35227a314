"""Whose requests are whose, and how they are counted."""

import pytest
from lws_kueue_lab.bench import requests
from lws_kueue_lab.kueue_standin import run as standin
from lws_kueue_lab.sandbox import audit, connection

from lws_kueue.runtime import build_info

OURS = "system:serviceaccount:lws-kueue-system:lws-kueue"
GO = "(linux/amd64) kubernetes/abc"


def request(
    agent: str,
    verb: str = "create",
    resource: str = "pods",
    *,
    user: str = "admin",
    uri: str = "/",
    status: int = 200,
) -> audit.Request:
    return audit.Request(
        user=user,
        user_agent=agent,
        verb=verb,
        resource=resource,
        namespace="bench",
        name="",
        status=status,
        uri=uri,
        received="2026-01-01T00:00:00.000000Z",
        answered="2026-01-01T00:00:00.000001Z",
    )


@pytest.mark.parametrize(
    ("agent", "user", "client", "manager"),
    [
        (build_info.user_agent(), OURS, "lws-kueue", True),
        ("kueue/v0.19.2 (linux/amd64) abc", "admin", "kueue", True),
        (f"lws/v0.0.0 {GO}", "admin", "lws", True),
        (standin.USER_AGENT, "admin", "kueue-stand-in", True),
        (connection.USER_AGENT, "admin", "bench", False),
        (
            f"kube-controller-manager/v1.36.3 {GO}/system:serviceaccount:kube-system:x",
            "system:serviceaccount:kube-system:statefulset-controller",
            "statefulset-controller",
            False,
        ),
        (f"kube-scheduler/v1.36.3 {GO}", "system:kube-scheduler", "kube-scheduler", False),
        (f"kwok/v0.8.0 {GO}", "kwok", "kwok", False),
    ],
)
def test_a_client_is_named_by_its_account_or_its_agent(
    agent: str, user: str, client: str, manager: bool
) -> None:
    assert requests.client_of(request(agent, user=user)) == client
    assert requests.is_manager(client) is manager


def test_requests_are_counted_by_client_and_verb_and_events_apart() -> None:
    ours = "lws-kueue/0.1.0 (linux/amd64) unknown"
    figures = requests.counts(
        [
            request(ours, "patch"),
            request(ours, "patch", status=409),
            request(ours, "create", "events"),
            request(ours, "patch", "events"),
            request(ours, "list", "events"),
            request(ours, "watch"),
            request(ours, "create", uri="/?dryRun=All"),
            request("kueue/v0.19.2", "update", "workloads/status"),
            request("kwok/v0.8.0", "patch", "pods/status"),
            request("kube-apiserver/v1.36.3 (linux/amd64)", "update", "leases"),
        ]
    )
    assert figures == {
        "writes.lws-kueue.patch": 2.0,
        "events.lws-kueue": 2.0,
        "reads.lws-kueue.list": 1.0,
        "reads.lws-kueue.watch": 1.0,
        "reads.lws-kueue.dry-run": 1.0,
        "writes.kueue.update": 1.0,
        "writes.kwok.patch": 1.0,
    }
    assert requests.of_managers(figures, "writes") == 3.0
    assert requests.of_managers(figures, "reads") == 3.0
    assert requests.of_managers(figures, "events") == 2.0


@pytest.mark.parametrize(
    ("agent", "verb", "resource", "work"),
    [
        ("lws-kueue/0.1.0", "patch", "pods", True),
        ("kwok/v0.8.0", "patch", "pods/status", True),
        ("lws-kueue/0.1.0", "list", "pods", False),
        ("kwok/v0.8.0", "update", "leases", False),
        ("kwok/v0.8.0", "patch", "nodes/status", False),
        ("lws-kueue/0.1.0", "create", "events", False),
        (connection.USER_AGENT, "create", "pods", False),
    ],
)
def test_nobody_waits_for_heartbeats_to_end(
    agent: str, verb: str, resource: str, work: bool
) -> None:
    assert requests.is_work(request(agent, verb, resource)) is work
