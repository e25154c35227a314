"""Taking over what the manager of the LWS project has just made: it runs, stops, and we start.

Needs `LWS_KUEUE_LWS_BIN` and `LWS_KUEUE_LWS_MANIFESTS`; queue-managed sets need a real Kueue with
its built-in integration as well (`LWS_KUEUE_KUEUE_BIN`, `LWS_KUEUE_KUEUE_MANIFESTS`).
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from lws_kueue_lab import sandbox
from lws_kueue_lab.sandbox import audit, kueue, kueue_manager, kueue_settings, lws_manager, stages

from e2e.conftest import opening
from lws_kueue.api import names
from tests.kit import golden
from tests.kit.live import harness
from tests.kit.takeover import comparison, life, sets, state, surroundings

Object = dict[str, Any]

OPTIONS = sandbox.Options(topology=sandbox.Topology(racks=2, hosts=8))
BUILT_IN = kueue_settings.KueueSettings(
    frameworks=("pod", "statefulset", names.KUEUE_LWS_FRAMEWORK), external_frameworks=()
)
QUEUED = tuple(name for name in golden.NAMES if golden.load(name).of_kind("Workload"))
RECORDED = tuple(name for name in golden.NAMES if name not in QUEUED)
BETWEEN = "between"
OTHERS = (*sets.all_of_them(), BETWEEN)
NEVER_READY = {stages.BEHAVIOUR: stages.NEVER_READY}


# What is particular to a group, or made by the server from what is.
_PARTICULAR = frozenset(
    {
        names.GROUP_INDEX,
        names.GROUP_KEY,
        names.SUBGROUP_KEY,
        "apps.kubernetes.io/pod-index",
        "controller-revision-hash",
        "currentRevision",
        "updateRevision",
        "uid",
    }
)


def unlike(
    cluster: sandbox.Sandbox, name: str, *, namespace: str, theirs: int, ours: int
) -> list[str]:
    """One line for every difference between the pods and StatefulSets of two groups.

    They are the same but for index and keys: one was made by us, one by the Go manager.
    """
    one, other = (_of_group(cluster, name, namespace=namespace, index=i) for i in (theirs, ours))
    assert any(identity.startswith("Pod ") for identity in one)
    return comparison.differences(one, other)


def _of_group(
    cluster: sandbox.Sandbox, name: str, *, namespace: str, index: int
) -> dict[str, dict[str, Any]]:
    found = [
        obj
        for kind in (("v1", "Pod"), ("apps/v1", "StatefulSet"), ("v1", "Service"))
        for obj in cluster.api.list(*kind, namespace=namespace)
        if f"{obj['metadata']['name']}-".startswith(f"{name}-{index}-")
    ]
    cleaned = comparison.clean(found, marks=False)
    return {
        f"{obj['kind']} {obj['metadata']['name']}": obj
        for obj in (_without_index(obj, f"{name}-{index}", f"{name}-N") for obj in cleaned)
    }


def _without_index(value: Any, group: str, neutral: str) -> Any:
    if isinstance(value, dict):
        return {
            key: "<particular>" if key in _PARTICULAR else _without_index(item, group, neutral)
            for key, item in value.items()
            if key != state.TOUCHED
        }
    if isinstance(value, list):
        return [_without_index(item, group, neutral) for item in value]
    return value.replace(group, neutral) if isinstance(value, str) else value


@dataclass(frozen=True, slots=True)
class TakenOver:
    """A cluster whose sets the real manager made, before and after our controller came."""

    cluster: sandbox.Sandbox
    before: dict[str, state.State]
    after: dict[str, state.State]
    leaked: dict[str, frozenset[str]]
    writes: list[audit.Request]


@pytest.fixture(scope="module")
def made(backend: sandbox.Backend) -> Iterator[tuple[sandbox.Sandbox, dict[str, Object]]]:
    """A cluster with sets of the real manager, which has stopped, and with our installation."""
    source = lws_manager.from_environment()
    if source is None:
        pytest.skip(
            f"no manager of the LWS project: set {lws_manager.BINARY_VARIABLE} "
            f"and {lws_manager.MANIFESTS_VARIABLE}"
        )
    if backend != "process":
        pytest.skip(f"a manager on this machine cannot serve the {backend} back end")
    with (
        opening(backend, options=OPTIONS) as cluster,
        contextlib.ExitStack() as until_the_end,
    ):
        surroundings.label_nodes(cluster)
        chosen = sets.all_of_them()
        with lws_manager.run(cluster, source=source):
            if kueue_manager.from_environment() is not None:
                started = kueue.start(cluster, mode="manager", settings=BUILT_IN)
                cluster.kueue = until_the_end.enter_context(started)
            with_queue = QUEUED if cluster.kueue.kind == "manager" else ()
            for name in (*RECORDED, *with_queue):
                chosen[name] = _in_its_namespace(golden.load(name).applied)
            for obj in chosen.values():
                _create(cluster, obj)
            for obj in chosen.values():
                _wait_settled(cluster, obj)
            _grow_and_change(cluster)
            # There is no moment in which pods would be made without identity: the policies are
            # there before the webhooks go. Meanwhile both act on the same pods.
            harness.install(cluster)
            chosen[BETWEEN] = sets.between()
            _create(cluster, chosen[BETWEEN])
            _wait_settled(cluster, chosen[BETWEEN])
        yield cluster, chosen


def _in_its_namespace(applied: Object) -> Object:
    meta = applied["metadata"]
    return applied | {"metadata": meta | {"namespace": meta["name"]}}


def _create(cluster: sandbox.Sandbox, obj: Object) -> None:
    namespace = obj["metadata"]["namespace"]
    meta = {"name": namespace}
    cluster.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": meta})
    surroundings.make_queue(cluster, obj, namespace=namespace)
    cluster.api.create(obj)


def _wait_settled(cluster: sandbox.Sandbox, obj: Object) -> None:
    """Wait until all its pods are there and, but for those that wait for storage, are ready."""
    name, spec = obj["metadata"]["name"], obj["spec"]
    pods = spec["replicas"] * spec["leaderWorkerTemplate"]["size"]
    waits_for_storage = "volumeClaimTemplates" in spec["leaderWorkerTemplate"]
    harness.wait_pods(
        cluster,
        lambda seen: (
            len(seen) == pods
            and (waits_for_storage or all(harness.is_ready(pod) for pod in seen.values()))
        ),
        namespace=name,
        what=f"{pods} pods of {name}",
    )
    if not waits_for_storage:
        life.wait_settled(cluster, name, namespace=name)


def _grow_and_change(cluster: sandbox.Sandbox) -> None:
    """Bring some sets into states that come only with time, while their manager still runs."""
    harness.scale(cluster, "scaled", namespace="scaled", replicas=3)
    for name in ("updated", "canary"):
        life.change_template(cluster, name, namespace=name, annotations={"example.com/v": "2"})
    life.change_template(cluster, "halfway", namespace="halfway", annotations=NEVER_READY)
    life.wait_settled(cluster, "scaled", namespace="scaled")
    life.wait_settled(cluster, "updated", namespace="updated")
    life.wait_for_one_revision(cluster, "updated", namespace="updated")
    # Two of three at the new revision and the surge group in place: as far as it goes.
    harness.wait_status(cluster, "canary", namespace="canary", updatedReplicas=2, readyReplicas=4)
    # One group of four is down for the update, and does not come back by itself.
    harness.wait_status(cluster, "halfway", namespace="halfway", updatedReplicas=1, readyReplicas=3)


@pytest.fixture(scope="module")
def taken_over(
    made: tuple[sandbox.Sandbox, dict[str, Object]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TakenOver]:
    """The same cluster after our controller has seen every set."""
    cluster, chosen = made
    before = {name: state.of(cluster, name) for name in chosen}
    leaked = {name: state.leaked(cluster, name) for name in chosen}
    since = audit.position(cluster)
    kubeconfig = cluster.service_account_kubeconfig(*harness.SERVICE_ACCOUNT)
    log: Path = tmp_path_factory.mktemp("controller") / "controller.log"
    controller = harness.ControllerProcess(kubeconfig=kubeconfig, log=log)
    controller.start()
    state.conclude(cluster)
    for name in chosen:
        state.touch(cluster, name)
    state.conclude(cluster)
    writes = state.our_writes(cluster, since=since, namespaces=chosen)
    after = {name: state.of(cluster, name) for name in chosen}
    yield TakenOver(cluster=cluster, before=before, after=after, leaked=leaked, writes=writes)
    if controller.running:
        controller.stop()


@pytest.mark.row("UPG-01")
@pytest.mark.parametrize("name", [*RECORDED, *QUEUED, *OTHERS])
def test_a_set_of_the_real_manager_is_taken_over_without_a_write(
    taken_over: TakenOver, name: str
) -> None:
    if name not in taken_over.before:
        pytest.skip(
            f"no real Kueue: set {kueue_manager.BINARY_VARIABLE} "
            f"and {kueue_manager.MANIFESTS_VARIABLE}"
        )
    leaked = taken_over.leaked[name]
    writes = [
        write
        for write in taken_over.writes
        if write.namespace == name and not (write.verb == "delete" and write.name in leaked)
    ]
    assert not writes, state.told(taken_over.cluster, name, writes)
    before = {
        identity: facts
        for identity, facts in taken_over.before[name].items()
        if identity.partition(" ")[2] not in leaked
    }
    changes = state.changes(before, taken_over.after[name])
    # The pods were touched by the test itself, so their versions moved.
    assert not [line for line in changes if not _by_the_touch(line)]


def _by_the_touch(line: str) -> bool:
    return line.startswith(".Pod ") and ".resourceVersion:" in line


@pytest.mark.row("UPG-01")
@pytest.mark.parametrize(
    "name", ["plain-workers", "wide", "scaled", "tpu", "subgroup", "excluded", "mounted", "between"]
)
def test_a_set_that_was_taken_over_grows_by_a_group_like_the_others(
    taken_over: TakenOver, name: str
) -> None:
    cluster = taken_over.cluster
    ours = life.grows(cluster, name, namespace=name)
    lines = unlike(cluster, name, namespace=name, theirs=ours - 1, ours=ours)
    assert not lines, "\n".join(lines)


@pytest.mark.row("UPG-01")
def test_sets_that_were_taken_over_are_updated(taken_over: TakenOver) -> None:
    for name in ("dual-template", "mounted", "updated", "percent"):
        life.changes(taken_over.cluster, name, namespace=name)


@pytest.mark.parametrize(
    ("name", "victim"),
    [
        ("unique-subdomain", "unique-subdomain-1-1"),
        ("exclusive", "exclusive-0"),
        ("excluded", "excluded-1-3"),
    ],
)
def test_groups_of_sets_that_were_taken_over_are_recreated(
    taken_over: TakenOver, name: str, victim: str
) -> None:
    life.restarts(taken_over.cluster, name, namespace=name, victim=victim)


def test_a_worker_that_comes_back_alone_keeps_the_key_of_its_group(taken_over: TakenOver) -> None:
    cluster = taken_over.cluster
    before = harness.pods(cluster, namespace="none")
    cluster.api.delete("v1", "Pod", "none-1-1", namespace="none")
    after = harness.wait_pods(
        cluster,
        lambda seen: (
            sorted(seen) == sorted(before)
            and seen["none-1-1"]["metadata"]["uid"] != before["none-1-1"]["metadata"]["uid"]
            and harness.is_ready(seen["none-1-1"])
        ),
        namespace="none",
        what="the worker again",
    )
    assert after["none-1-1"]["metadata"]["labels"] == before["none-1-1"]["metadata"]["labels"]
    assert (
        after["none-1-1"]["spec"]["containers"][0]["env"]
        == (before["none-1-1"]["spec"]["containers"][0]["env"])
    )
    del before["none-1-1"], after["none-1-1"]
    assert {name: pod["metadata"]["uid"] for name, pod in after.items()} == {
        name: pod["metadata"]["uid"] for name, pod in before.items()
    }


def test_an_update_that_was_under_way_goes_on_and_ends(taken_over: TakenOver) -> None:
    cluster, name = taken_over.cluster, "halfway"
    before = harness.pods(cluster, namespace=name)
    updated = {"halfway-3", "halfway-3-1"}
    assert {
        pod for pod, obj in before.items() if stages.BEHAVIOUR in obj["metadata"]["annotations"]
    } == updated
    _let_become_ready(cluster, name, groups=4)
    life.wait_settled(cluster, name, namespace=name)
    after = harness.pods(cluster, namespace=name)
    assert sorted(after) == sorted(before)
    same = {pod for pod in after if after[pod]["metadata"]["uid"] == before[pod]["metadata"]["uid"]}
    assert same == updated
    left = life.wait_for_one_revision(cluster, name, namespace=name)
    key = left["metadata"]["labels"][names.REVISION_KEY]
    assert {pod["metadata"]["labels"][names.REVISION_KEY] for pod in after.values()} == {key}


def _let_become_ready(cluster: sandbox.Sandbox, name: str, *, groups: int) -> None:
    """Help the groups of the stuck update one after the other, from the highest index down."""
    for index in reversed(range(groups)):
        pods = (f"{name}-{index}", f"{name}-{index}-1")
        harness.wait_pods(
            cluster,
            lambda seen, pods=pods: all(  # type: ignore[misc]
                pod in seen and _is_stuck(seen[pod]) for pod in pods
            ),
            namespace=name,
            what=f"group {index} at the new revision",
        )
        for pod in pods:
            body = {"metadata": {"annotations": {stages.BEHAVIOUR: None}}}
            cluster.api.patch("v1", "Pod", pod, namespace=name, body=body)


def _is_stuck(pod: Object) -> bool:
    meta = pod["metadata"]
    return stages.BEHAVIOUR in meta["annotations"] and "deletionTimestamp" not in meta
