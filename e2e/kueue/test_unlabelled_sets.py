"""Sets without a queue name, under a controller that holds them back as well (kueue-contract 5.11).

The controller of these tests has the setting `manageJobsWithoutQueueName`, for namespaces with a
label of their own; the one of all other tests makes way for it.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from lws_kueue_lab import sandbox

from lws_kueue.api import names
from lws_kueue.workload import naming
from tests.kit.live import fixtures, harness

LWS = (names.LWS_API_VERSION, names.LWS_KIND)
WORKLOAD = (names.KUEUE_API_VERSION, "Workload")

TAKEN = {"lws-kueue.example.com/taken": "yes"}

CONFIGURATION = {
    "lwsKueue": {
        "manageJobsWithoutQueueName": True,
        "managedJobsNamespaceSelector": {"matchLabels": TAKEN},
        "labelKeysToCopy": ["team"],
        "annotationKeysToCopy": ["example.com/cost-centre"],
    },
}


@pytest.fixture(scope="module")
def holding_controller(
    shared_controller: harness.ControllerProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[harness.ControllerProcess]:
    """A controller with the setting."""
    folder = tmp_path_factory.mktemp("holding-controller")
    with fixtures.in_place_of(
        shared_controller, folder=folder, configuration=CONFIGURATION
    ) as process:
        yield process


@pytest.fixture(autouse=True)
def told(holding_controller: harness.ControllerProcess) -> Iterator[None]:
    yield
    print(holding_controller.tail())  # Shown by pytest only when the test failed.


@pytest.fixture
def taken(cluster: sandbox.Sandbox, namespace: str) -> str:
    """A namespace in which sets without a queue name are held."""
    label(cluster, namespace, dict(TAKEN))
    return namespace


def label(
    cluster: sandbox.Sandbox, namespace: str, labels: dict[str, str] | dict[str, None]
) -> None:
    cluster.api.patch("v1", "Namespace", namespace, body={"metadata": {"labels": labels}})


def the_workload(cluster: sandbox.Sandbox, live: dict[str, Any]) -> dict[str, Any]:
    """Return the Workload of a set with one group; there has to be no other one beside it."""
    meta = live["metadata"]
    found = cluster.api.wait_for_all(
        *WORKLOAD, lambda seen: len(seen) == 1, namespace=meta["namespace"], what="one Workload"
    )
    ((name, workload),) = found.items()
    assert name == naming.workload_name(meta["name"], 0, meta["uid"])
    owners = [(ref["kind"], ref["uid"]) for ref in workload["metadata"]["ownerReferences"]]
    assert owners == [(names.LWS_KIND, meta["uid"])]
    return workload


def status_of(workload: dict[str, Any], kind: str) -> str:
    """Return whether a condition holds: True, False or nothing."""
    return str((harness.condition(workload, kind) or {}).get("status", ""))


def wait_told(cluster: sandbox.Sandbox, name: str, *, namespace: str) -> dict[str, Any]:
    """Wait until a set says that it lacks a queue."""

    def told(seen: dict[str, Any]) -> bool:
        waiting = harness.condition(seen, "WaitingForAdmission")
        return waiting is not None and waiting["reason"] == "QueueNotSet"

    what = "WaitingForAdmission says QueueNotSet"
    return harness.wait_status(cluster, name, told, namespace=namespace, what=what)


def wait_held(cluster: sandbox.Sandbox, name: str, *, namespace: str, count: int) -> None:
    """Wait until a set has so many pods, and all of them are held by Kueue's gate."""

    def held(seen: dict[str, dict[str, Any]]) -> bool:
        labels = {pod: one["metadata"].get("labels") or {} for pod, one in seen.items()}
        own = [seen[pod] for pod, given in labels.items() if given.get(names.SET_NAME) == name]
        return len(own) == count and all(
            harness.is_gated(pod) and pod["status"]["phase"] == "Pending" for pod in own
        )

    harness.wait_pods(cluster, held, namespace=namespace, what=f"{count} gated pods of {name}")


def delete(cluster: sandbox.Sandbox, name: str, *, namespace: str) -> None:
    """Delete a set and wait until its pods and Workloads are gone."""
    cluster.api.delete(*LWS, name, namespace=namespace)
    harness.wait_pods(cluster, lambda seen: not seen, namespace=namespace, what="no pods")
    cluster.api.wait_for_all(
        *WORKLOAD, lambda seen: not seen, namespace=namespace, what="no Workloads"
    )


@pytest.mark.row("Q01")
def test_a_set_with_a_queue_has_one_workload_and_runs(
    installed: sandbox.Sandbox, taken: str
) -> None:
    queue = harness.queues(installed, namespace=taken, cpu="4")
    live = installed.api.create(
        harness.leader_worker_set("set", namespace=taken, queue=queue, replicas=1, size=3)
    )
    seen = harness.wait_ready(installed, "set", namespace=taken, groups=1)
    assert status_of(seen, "Available") == "True"
    assert status_of(the_workload(installed, live), "Admitted") == "True"
    phases = [pod["status"]["phase"] for pod in harness.pods(installed, namespace=taken).values()]
    assert phases == ["Running"] * 3
    delete(installed, "set", namespace=taken)


@pytest.mark.row("Q02")
def test_a_set_without_a_queue_has_one_workload_and_waits_gated(
    installed: sandbox.Sandbox, taken: str
) -> None:
    harness.queues(installed, namespace=taken, cpu="4")
    with harness.recording(installed, "v1", "Pod", namespace=taken) as pods:
        body = harness.leader_worker_set("set", namespace=taken, replicas=1, size=3)
        live = installed.api.create(body)
        seen = wait_told(installed, "set", namespace=taken)
        wait_held(installed, "set", namespace=taken, count=3)
        workload = the_workload(installed, live)
        assert "queueName" not in workload["spec"]
        assert status_of(workload, "QuotaReserved") != "True"
        assert seen["status"].get("readyReplicas", 0) == 0
        delete(installed, "set", namespace=taken)
    assert not [event for event in pods.events if event["object"]["spec"].get("nodeName")]


@pytest.mark.row("Q03")
def test_a_set_that_gets_its_queue_later_is_admitted_under_the_same_workload(
    installed: sandbox.Sandbox, taken: str
) -> None:
    queue = harness.queues(installed, namespace=taken, cpu="4")
    live = installed.api.create(
        harness.leader_worker_set("set", namespace=taken, replicas=1, size=1)
    )
    wait_told(installed, "set", namespace=taken)
    before = the_workload(installed, live)
    assert status_of(before, "QuotaReserved") != "True"
    wait_held(installed, "set", namespace=taken, count=1)
    (held,) = harness.pods(installed, namespace=taken).values()
    body = {"metadata": {"labels": {names.QUEUE_NAME: queue}}}
    installed.api.patch(*LWS, "set", namespace=taken, body=body)
    seen = harness.wait_ready(installed, "set", namespace=taken, groups=1)
    after = the_workload(installed, live)
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["spec"]["queueName"] == queue
    assert status_of(after, "Admitted") == "True"
    assert harness.condition(seen, "WaitingForAdmission") is None
    (running,) = harness.pods(installed, namespace=taken).values()
    assert running["status"]["phase"] == "Running"
    assert running["metadata"]["uid"] == held["metadata"]["uid"]


def test_a_set_in_a_namespace_that_is_not_taken_runs_without_kueue(
    installed: sandbox.Sandbox, namespace: str
) -> None:
    installed.api.create(harness.leader_worker_set("set", namespace=namespace))
    harness.wait_ready(installed, "set", namespace=namespace, groups=2)
    assert not installed.api.list(*WORKLOAD, namespace=namespace)


def test_a_set_with_a_queue_is_admitted_in_a_namespace_that_is_not_taken(
    installed: sandbox.Sandbox, namespace: str
) -> None:
    queue = harness.queues(installed, namespace=namespace, cpu="4")
    body = harness.leader_worker_set("set", namespace=namespace, queue=queue, replicas=1)
    live = installed.api.create(body)
    harness.wait_ready(installed, "set", namespace=namespace, groups=1)
    assert status_of(the_workload(installed, live), "Admitted") == "True"


@pytest.mark.long
def test_a_waiting_set_is_let_go_when_its_namespace_is_taken_no_longer(
    installed: sandbox.Sandbox, taken: str
) -> None:
    installed.api.create(harness.leader_worker_set("set", namespace=taken, replicas=2, size=2))
    wait_told(installed, "set", namespace=taken)
    wait_held(installed, "set", namespace=taken, count=4)
    label(installed, taken, dict.fromkeys(TAKEN))
    seen = harness.wait_ready(installed, "set", namespace=taken, groups=2)
    assert harness.condition(seen, "WaitingForAdmission") is None
    installed.api.wait_for_all(
        *WORKLOAD, lambda found: not found, namespace=taken, what="no Workloads"
    )
    # And back again for what comes after.
    label(installed, taken, dict(TAKEN))
    with harness.recording(installed, "v1", "Pod", namespace=taken) as pods:
        installed.api.create(harness.leader_worker_set("next", namespace=taken, replicas=1, size=2))
        wait_told(installed, "next", namespace=taken)
        wait_held(installed, "next", namespace=taken, count=2)
    bound = [
        event["object"]["metadata"]["name"]
        for event in pods.events
        if event["object"]["spec"].get("nodeName")
    ]
    assert not [name for name in bound if name.startswith("next")]


def test_labels_and_annotations_that_are_asked_for_reach_the_workloads(
    installed: sandbox.Sandbox, taken: str
) -> None:
    costs = {"example.com/cost-centre": "42", "example.com/other": "x"}
    body = harness.leader_worker_set(
        "set", namespace=taken, replicas=1, size=1, annotations=dict(costs)
    )
    body["metadata"]["labels"] = {"team": "a", "tier": "b"}
    workload = the_workload(installed, installed.api.create(body))
    meta = workload["metadata"]
    assert meta["labels"].get("team") == "a"
    assert "tier" not in meta["labels"]
    assert meta["annotations"].get("example.com/cost-centre") == "42"
    assert "example.com/other" not in meta["annotations"]


@pytest.mark.row("Q11")
def test_a_set_waits_unless_what_it_says_to_be_part_of_is_admitted(
    installed: sandbox.Sandbox, taken: str
) -> None:
    queue = harness.queues(installed, namespace=taken, cpu="4")
    meta: dict[str, Any] = {"name": "holder", "namespace": taken}
    spec = {"containers": [{"name": "c", "image": harness.IMAGE}]}
    kind = {"apiVersion": "v1", "kind": "Pod"}
    pod = installed.api.create({**kind, "metadata": meta, "spec": spec})
    holder = {**kind, "name": "holder", "uid": pod["metadata"]["uid"]}
    body = harness.leader_worker_set("set", namespace=taken, replicas=1, size=2)
    body["metadata"]["ownerReferences"] = [{**holder, "controller": True}]
    installed.api.create(body)
    wait_told(installed, "set", namespace=taken)
    wait_held(installed, "set", namespace=taken, count=2)
    version, name = WORKLOAD
    installed.api.create(
        {
            "apiVersion": version,
            "kind": name,
            "metadata": {**meta, "ownerReferences": [holder]},
            "spec": {
                "queueName": queue,
                "podSets": [{"name": "main", "count": 1, "template": {"spec": spec}}],
            },
        }
    )
    harness.wait_ready(installed, "set", namespace=taken, groups=1)
