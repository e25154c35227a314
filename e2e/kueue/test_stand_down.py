"""Kueue's own LeaderWorkerSet integration, switched on and off while sets run (kueue-contract 8.1).

Needs a real Kueue, because the stand-in has no such integration.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from lws_kueue_lab import sandbox
from lws_kueue_lab.sandbox import kueue_manager, kueue_settings

from lws_kueue.api import names
from tests.kit.judge import history, watcher
from tests.kit.kueue import places
from tests.kit.kueue.places import Place
from tests.kit.live import harness

LWS = (names.LWS_API_VERSION, names.LWS_KIND)
WORKLOAD = (names.KUEUE_API_VERSION, "Workload")

ON = kueue_settings.KueueSettings(
    frameworks=(*kueue_settings.RELEASED_FRAMEWORKS, names.KUEUE_LWS_FRAMEWORK),
    external_frameworks=(),
)
OFF = kueue_settings.KueueSettings()
# Nothing of Kueue looks at pods: whatever holds them back then is not Kueue's.
OFF_WITHOUT_PODS = kueue_settings.KueueSettings(frameworks=("batch/job",))

# All that could take hold of pods and StatefulSets, and nothing that tells it whose they are.
EAGER = kueue_settings.KueueSettings(
    external_frameworks=(),
    overrides={
        "manageJobsWithoutQueueName": True,
        "managedJobsNamespaceSelector": {
            "matchExpressions": [
                {
                    "key": "kubernetes.io/metadata.name",
                    "operator": "NotIn",
                    "values": ["kube-system", "kueue-system"],
                }
            ]
        },
    },
)

GROUP_CPU = 200
Pods = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def shared_place(
    backend: sandbox.Backend, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    if kueue_manager.from_environment() is None or backend != "process":
        pytest.skip(
            "needs a real Kueue that can be restarted: see lws_kueue_lab.sandbox.kueue_manager"
        )
    folder = tmp_path_factory.mktemp("stand-down")
    with places.opening(backend, folder=folder, mode="manager") as place:
        yield place


@contextlib.contextmanager
def judged(cluster: sandbox.Sandbox, namespace: str) -> Iterator[None]:
    """No pod may get a node without its group's admission, or more quota be used than there is."""
    # Each Kueue brings its definitions, while neither the former one nor the controller runs.
    with watcher.Watcher(cluster, definitions_change=True).watching() as seen_by_another:
        yield
    verdict = history.judge(seen_by_another.facts(namespaces=lambda name: name == namespace))
    assert not verdict.violations, "\n".join(verdict.violations)
    assert verdict.bound


def workloads(cluster: sandbox.Sandbox, namespace: str) -> dict[str, dict[str, Any]]:
    """The Workloads by the index of their group."""
    return {
        w["metadata"]["annotations"][names.COMPONENT_WORKLOAD_INDEX]: w
        for w in cluster.api.list(*WORKLOAD, namespace=namespace)
    }


def uids(objects: dict[str, dict[str, Any]]) -> dict[str, str]:
    return {key: obj["metadata"]["uid"] for key, obj in objects.items()}


def marks(pods: Pods) -> dict[str, str]:
    """Who each pod was made for."""
    return {
        name: pod["metadata"]["annotations"].get(names.POD_SUSPENDING_PARENT, "")
        for name, pod in pods.items()
    }


def group_marks(cluster: sandbox.Sandbox, namespace: str) -> set[str | None]:
    """What the Workloads say about pod groups."""
    return {
        w["metadata"]["annotations"].get(names.IS_GROUP_WORKLOAD)
        for w in workloads(cluster, namespace).values()
    }


def of_group(pods: Pods, index: str) -> Pods:
    return {n: p for n, p in pods.items() if p["metadata"]["labels"][names.GROUP_INDEX] == index}


def activate(cluster: sandbox.Sandbox, workload: dict[str, Any], *, active: bool) -> None:
    cluster.api.patch(
        *WORKLOAD,
        workload["metadata"]["name"],
        namespace=workload["metadata"]["namespace"],
        body={"spec": {"active": active}},
    )


def admitted(workload: dict[str, Any]) -> bool:
    return (harness.condition(workload, "Admitted") or {}).get("status") == "True"


def wait_admitted(cluster: sandbox.Sandbox, namespace: str, *, groups: int) -> None:
    cluster.api.wait_for_all(
        *WORKLOAD,
        lambda seen: sum(map(admitted, seen.values())) == groups,
        namespace=namespace,
        what=f"{groups} admitted Workloads",
    )


def evict_and_let_back(cluster: sandbox.Sandbox, namespace: str, index: str) -> None:
    """Deactivate a group's Workload until its pods wait anew, and activate it again."""
    workload = workloads(cluster, namespace)[index]
    before = uids(of_group(harness.pods(cluster, namespace=namespace), index))
    activate(cluster, workload, active=False)

    def waits(seen: Pods) -> bool:
        now = of_group(seen, index)
        return (
            now.keys() == before.keys()
            and not set(uids(now).values()) & set(before.values())
            and all(names.ADMISSION_GATE in harness.gates(pod) for pod in now.values())
        )

    harness.wait_pods(cluster, waits, namespace=namespace, what=f"group {index} gated anew")
    cluster.api.wait_for(
        *WORKLOAD,
        workload["metadata"]["name"],
        lambda w: bool(w and not (w.get("status") or {}).get("admission")),
        namespace=namespace,
        what=f"the quota of group {index} is given back",
    )
    activate(cluster, workload, active=True)
    harness.wait_pods(
        cluster,
        lambda seen: all(harness.is_ready(pod) for pod in of_group(seen, index).values()),
        namespace=namespace,
        what=f"group {index} runs again",
    )


def start_two_of_three(place: Place, room: str, **spec: Any) -> None:
    """Make a set of three groups with quota for two."""
    queue = harness.queues(place.cluster, namespace=room, cpu=f"{2 * GROUP_CPU}m")
    place.cluster.api.create(
        harness.leader_worker_set(
            "set", namespace=room, queue=queue, replicas=3, size=2, cpu="100m", **spec
        )
    )
    wait_admitted(place.cluster, room, groups=2)
    harness.wait_pods(
        place.cluster,
        lambda seen: len(seen) == 6 and sum(map(harness.is_ready, seen.values())) == 4,
        namespace=room,
        what="two groups that run and one that waits",
    )


@pytest.mark.long
def test_switched_on_it_takes_over_and_no_pod_restarts(place: Place, room: str) -> None:
    cluster = place.cluster
    place.kueue(OFF)
    with judged(cluster, room):
        start_two_of_three(place, room)
        before = uids(workloads(cluster, room))
        pods = uids(harness.pods(cluster, namespace=room))

        place.kueue(ON)
        place.controller.wait_log(f"is on in {room}")
        harness.set_quota(cluster, namespace=room, cpu=f"{3 * GROUP_CPU}m")
        harness.wait_ready(cluster, "set", namespace=room, groups=3)
        assert uids(workloads(cluster, room)) == before
        assert uids(harness.pods(cluster, namespace=room)) == pods
        assert group_marks(cluster, room) == {"true"}

        evict_and_let_back(cluster, room, "0")
        assert uids(workloads(cluster, room)) == before
    cluster.api.delete(*LWS, "set", namespace=room)
    cluster.api.wait_for_all(*WORKLOAD, lambda seen: not seen, namespace=room, what="no Workloads")


def test_switched_off_the_bridge_takes_over_group_by_group(place: Place, room: str) -> None:
    cluster = place.cluster
    place.kueue(ON)
    with judged(cluster, room):
        start_two_of_three(place, room)
        before = uids(workloads(cluster, room))
        assert set(marks(harness.pods(cluster, namespace=room)).values()) == {
            names.KUEUE_LWS_FRAMEWORK
        }

        place.kueue(OFF)
        harness.wait_pods(
            cluster,
            lambda seen: (
                set(marks(seen).values()) == {names.OUR_SUSPENDING_PARENT}
                and sum(map(harness.is_ready, seen.values())) == 4
            ),
            namespace=room,
            what="all groups are the bridge's",
        )
        assert group_marks(cluster, room) == {None}
        assert uids(workloads(cluster, room)) == before
        harness.set_quota(cluster, namespace=room, cpu=f"{3 * GROUP_CPU}m")
        harness.wait_ready(cluster, "set", namespace=room, groups=3)
        evict_and_let_back(cluster, room, "0")
        assert uids(workloads(cluster, room)) == before
        # Kueue takes them off once more where it sees late that the pods are in no group any more.
        cluster.api.wait_for_all(
            *WORKLOAD,
            lambda seen: all(
                w["metadata"].get("finalizers") == [names.WORKLOAD_FINALIZER] for w in seen.values()
            ),
            namespace=room,
            what="all Workloads keep their quota until their pods have ended",
        )
    cluster.api.delete(*LWS, "set", namespace=room)
    cluster.api.wait_for_all(*WORKLOAD, lambda seen: not seen, namespace=room, what="no Workloads")


@pytest.mark.long
@pytest.mark.parametrize("off", [OFF, OFF_WITHOUT_PODS], ids=["released", "jobs-alone"])
def test_a_group_whose_turn_has_not_come_waits_like_all_others(
    place: Place, room: str, off: kueue_settings.KueueSettings
) -> None:
    """Its template has no gate, and maybe nothing of Kueue gives its pods one any more."""
    cluster = place.cluster
    place.kueue(ON)
    with judged(cluster, room):
        # The partition keeps all groups as they are.
        rolling = {"rollingUpdateConfiguration": {"partition": 3}}
        start_two_of_three(place, room, rolloutStrategy=rolling)
        before = uids(workloads(cluster, room))
        pods = uids(harness.pods(cluster, namespace=room))

        place.kueue(off)
        harness.set_quota(cluster, namespace=room, cpu=f"{3 * GROUP_CPU}m")
        seen = harness.wait_pods(
            cluster,
            lambda seen: sum(map(harness.is_ready, seen.values())) == 6,
            namespace=room,
            what="the group that waited is let go by the bridge",
        )
        assert uids(seen) == pods
        assert set(marks(seen).values()) == {names.KUEUE_LWS_FRAMEWORK}
        evict_and_let_back(cluster, room, "1")

        # A leader that is lost comes back from the old template.
        lost = harness.pods(cluster, namespace=room)["set-0"]["metadata"]["uid"]
        cluster.api.delete("v1", "Pod", "set-0", namespace=room)
        harness.wait_pods(
            cluster,
            lambda seen: (
                len(seen) == 6
                and seen["set-0"]["metadata"]["uid"] != lost
                and all(map(harness.is_ready, seen.values()))
            ),
            namespace=room,
            what="the group is back",
        )
        assert uids(workloads(cluster, room)) == before


def test_kueue_leaves_pods_and_statefulsets_of_a_queued_set_alone(place: Place, room: str) -> None:
    cluster = place.cluster
    place.kueue(EAGER)
    queue = harness.queues(cluster, namespace=room, cpu="4", name="default")
    plain = sandbox_pod(room)
    gates = cluster.api.create(plain, dry_run=True)["spec"]["schedulingGates"]
    assert {"name": names.ADMISSION_GATE} in gates, "Kueue takes what has no owner"
    with judged(cluster, room):
        cluster.api.create(
            harness.leader_worker_set(
                "set", namespace=room, queue=queue, replicas=2, size=3, leader=True
            )
        )
        harness.wait_ready(cluster, "set", namespace=room, groups=2)
        evict_and_let_back(cluster, room, "1")
        harness.wait_ready(cluster, "set", namespace=room, groups=2)
    assert sorted(workloads(cluster, room)) == ["0", "1"], "one for each group and no other"
    for pod in harness.pods(cluster, namespace=room).values():
        assert names.MANAGED not in pod["metadata"]["labels"]
        assert "finalizers" not in pod["metadata"]
    for stateful_set in cluster.api.list("apps/v1", "StatefulSet", namespace=room):
        template = stateful_set["spec"]["template"]["metadata"]
        assert names.QUEUE_NAME not in stateful_set["metadata"]["labels"]
        assert template["annotations"][names.POD_SUSPENDING_PARENT] == names.OUR_SUSPENDING_PARENT
        assert names.POD_GROUP_NAME not in {**template["labels"], **template["annotations"]}


def sandbox_pod(namespace: str) -> dict[str, Any]:
    container = {"name": "c", "image": harness.IMAGE}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "plain", "namespace": namespace},
        "spec": {"containers": [container]},
    }
