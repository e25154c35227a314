"""Sets without a queue beside a default queue for whatever names none (kueue-contract 3.6).

Needs a real Kueue: it is its webhooks that take hold of pods and StatefulSets.
"""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from lws_kueue_lab import sandbox
from lws_kueue_lab.sandbox import client, kueue, kueue_manager, kueue_settings

from lws_kueue.api import names
from tests.kit.admission import support
from tests.kit.judge import budget
from tests.kit.live import harness

LWS = (names.LWS_API_VERSION, names.LWS_KIND)
STATEFULSET = ("apps/v1", "StatefulSet")
WORKLOAD = (names.KUEUE_API_VERSION, "Workload")
DEFAULT = "default"
SET = "plain"

# All that could take hold of pods and StatefulSets, as in Kueue's released configuration. With the
# kind named as somebody else's Kueue finds the set above its pods, without it does not.
INTEGRATIONS = ("batch/job", "pod", "deployment", "statefulset")
CONFIGURATIONS = {
    "recommended": kueue_settings.KueueSettings(frameworks=INTEGRATIONS),
    "nothing-said": kueue_settings.KueueSettings(frameworks=INTEGRATIONS, external_frameworks=()),
    "pods-alone": kueue_settings.KueueSettings(
        frameworks=("batch/job", "pod"), external_frameworks=()
    ),
}
BUILT_IN = kueue_settings.KueueSettings(
    frameworks=(*INTEGRATIONS, names.KUEUE_LWS_FRAMEWORK), external_frameworks=()
)


# Holds whatever it can take hold of, queue or not.
EAGER = kueue_settings.KueueSettings(
    frameworks=INTEGRATIONS,
    external_frameworks=(),
    overrides={"manageJobsWithoutQueueName": True},
)


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(name, marks=() if name == "recommended" else pytest.mark.long)
        for name in CONFIGURATIONS
    ],
)
def place(
    request: pytest.FixtureRequest,
    backend: sandbox.Backend,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[sandbox.Sandbox]:
    """A cluster with a Kueue of this configuration, and a controller."""
    settings = CONFIGURATIONS[request.param]
    with opened_with(settings, backend, tmp_path_factory.mktemp("plain")) as opened:
        yield opened


@contextlib.contextmanager
def opened_with(
    settings: kueue_settings.KueueSettings, backend: sandbox.Backend, folder: Path
) -> Iterator[sandbox.Sandbox]:
    if kueue_manager.from_environment() is None or backend != "process":
        pytest.skip("needs a real Kueue of its own: see lws_kueue_lab.sandbox.kueue_manager")
    with (
        sandbox.open(backend, options=sandbox.Options(nodes=2)) as opened,
        kueue.start(opened, mode="manager", settings=settings) as opened.kueue,
    ):
        harness.install(opened)
        process = harness.ControllerProcess(
            kubeconfig=opened.service_account_kubeconfig(*harness.SERVICE_ACCOUNT),
            log=folder / "controller.log",
        )
        process.start()
        yield opened
        print(process.tail())
        process.stop()


@pytest.fixture
def room(place: sandbox.Sandbox, request: pytest.FixtureRequest) -> Iterator[str]:
    name = str(request.node.originalname).replace("_", "-")[5:45].strip("-")
    with harness.own_namespace(place, name) as namespace:
        yield namespace


def default_queue(cluster: sandbox.Sandbox, namespace: str) -> None:
    """Make the default queue, and wait until Kueue's webhook and the policies know of it."""
    harness.queues(cluster, namespace=namespace, cpu="4", name=DEFAULT)
    pods = support.Pods(cluster.api, namespace)
    stranger = pods.build("stranger", labels={})
    support.eventually(
        lambda: bool(marks_of(pods.accept(stranger))), what="Kueue takes pods that name no queue"
    )
    support.eventually(
        lambda: not marks_of(pods.accept(pods.leader("another-0", lws="another"))),
        what="the policy knows the queue",
    )


def marks_of(pod: dict[str, Any]) -> list[str]:
    """What Kueue's pod integration has left on a pod."""
    meta = pod["metadata"]
    return sorted(
        mark
        for mark in (
            *(meta.get("labels") or {}),
            *(meta.get("annotations") or {}),
            *(meta.get("finalizers") or ()),
            *harness.gates(pod),
        )
        if mark.startswith(names.KUEUE_PREFIX)
    )


def is_plain(cluster: sandbox.Sandbox, namespace: str) -> None:
    """Nothing of the namespace is Kueue's."""
    found = {
        name: marks_of(pod) for name, pod in harness.pods(cluster, namespace=namespace).items()
    }
    assert found
    assert not any(found.values()), found
    for made in cluster.api.list(*STATEFULSET, namespace=namespace):
        template = made["spec"]["template"]["metadata"]
        for meta in (made["metadata"], template):
            keys = [*(meta.get("labels") or {}), *(meta.get("annotations") or {})]
            assert not [key for key in keys if key.startswith(names.KUEUE_PREFIX)], keys
    assert cluster.api.list(*WORKLOAD, namespace=namespace) == []


def lose_a_pod(cluster: sandbox.Sandbox, namespace: str, *, pods: int) -> None:
    """Delete a worker, and wait until all pods run again, its group made anew."""
    name = f"{SET}-0-1"
    gone = harness.pods(cluster, namespace=namespace)[name]["metadata"]["uid"]
    cluster.api.delete("v1", "Pod", name, namespace=namespace)
    harness.wait_pods(
        cluster,
        lambda seen: (
            name in seen
            and seen[name]["metadata"]["uid"] != gone
            and len(seen) == pods
            and all(map(harness.is_ready, seen.values()))
        ),
        namespace=namespace,
        what="the lost pod has come back, and all run",
    )


def edit(cluster: sandbox.Sandbox, namespace: str, image: str) -> None:
    template = harness.leader_worker_set(SET, namespace=namespace)["spec"]["leaderWorkerTemplate"]
    template["workerTemplate"]["spec"]["containers"][0]["image"] = image
    body = {"spec": {"leaderWorkerTemplate": template}}
    cluster.api.patch(*LWS, SET, namespace=namespace, body=body)


@pytest.mark.row("P2")
def test_a_plain_set_lives_on_when_its_namespace_gets_a_default_queue(
    place: sandbox.Sandbox, room: str
) -> None:
    place.api.create(harness.leader_worker_set(SET, namespace=room, replicas=1))
    harness.wait_ready(place, SET, namespace=room, groups=1)
    default_queue(place, room)

    harness.scale(place, SET, namespace=room, replicas=3)
    harness.wait_ready(place, SET, namespace=room, groups=3)
    is_plain(place, room)

    gone = harness.pods(place, namespace=room)[f"{SET}-0-1"]
    place.api.delete("v1", "Pod", f"{SET}-0-1", namespace=room)
    harness.wait_pods(
        place,
        lambda pods: (
            f"{SET}-0-1" in pods
            and pods[f"{SET}-0-1"]["metadata"]["uid"] != gone["metadata"]["uid"]
            and len(pods) == 9
            and all(map(harness.is_ready, pods.values()))
        ),
        namespace=room,
        what="the lost pod has come back, and runs",
    )
    is_plain(place, room)

    image = "registry.k8s.io/pause:3.9"
    edit(place, room, image)
    harness.wait_pods(
        place,
        lambda pods: (
            len(pods) == 9
            and all(map(harness.is_ready, pods.values()))
            and {pod["spec"]["containers"][0]["image"] for pod in pods.values()} == {image}
        ),
        namespace=room,
        what="all pods run the new image",
    )
    is_plain(place, room)

    harness.scale(place, SET, namespace=room, replicas=1)
    harness.wait_pods(place, lambda pods: len(pods) == 3, namespace=room, what="one group is left")
    harness.wait_ready(place, SET, namespace=room, groups=1)
    is_plain(place, room)
    live = place.api.get(*LWS, SET, namespace=room)
    assert names.QUEUE_NAME not in (live["metadata"].get("labels") or {})


@pytest.mark.row("P2")
def test_a_queue_that_the_template_of_a_plain_set_names_is_kueues_business(
    place: sandbox.Sandbox, room: str
) -> None:
    default_queue(place, room)
    pods = support.Pods(place.api, room)
    named = pods.accept(pods.leader("another-0", lws="another", labels={names.QUEUE_NAME: DEFAULT}))
    assert names.ADMISSION_GATE in harness.gates(named)
    assert named["metadata"]["labels"][names.QUEUE_NAME] == DEFAULT


@pytest.mark.long
@pytest.mark.row("P2")
def test_where_kueue_manages_sets_itself_a_plain_one_comes_back_and_kueue_judges_its_changes(
    backend: sandbox.Backend, tmp_path: Path
) -> None:
    with (
        opened_with(BUILT_IN, backend, tmp_path) as cluster,
        harness.own_namespace(cluster, "built-in") as room,
    ):
        cluster.api.create(harness.leader_worker_set(SET, namespace=room, replicas=1))
        harness.wait_ready(cluster, SET, namespace=room, groups=1)
        default_queue(cluster, room)
        lose_a_pod(cluster, room, pods=3)
        is_plain(cluster, room)
        # Its webhook gives the set the queue, and does not let a set that runs have another one.
        harness.wait_ready(cluster, SET, namespace=room, groups=1)
        with pytest.raises(client.ApiError) as caught:
            edit(cluster, room, "registry.k8s.io/pause:3.9")
        assert names.QUEUE_NAME in str(caught.value.body)


@pytest.mark.long
@pytest.mark.row("P2")
def test_a_plain_set_that_kueue_is_told_to_hold_says_so_and_is_not_fought_over(
    backend: sandbox.Backend, tmp_path: Path
) -> None:
    def told(events: Mapping[str, dict[str, Any]]) -> bool:
        return any(
            event["reason"] == "HeldByKueue"
            and event["regarding"]["name"] == SET
            and "integrations.externalFrameworks" in event["note"]
            for event in events.values()
        )

    with (
        opened_with(EAGER, backend, tmp_path) as cluster,
        harness.own_namespace(cluster, "eager") as room,
    ):
        cluster.api.create(harness.leader_worker_set(SET, namespace=room, replicas=1))
        cluster.api.wait_for_all(
            "events.k8s.io/v1", "Event", told, namespace=room, what="a Warning with the remedy"
        )
        budget.settled(cluster, namespace=room)
