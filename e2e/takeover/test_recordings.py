"""Taking over what the Go manager made, from the recordings: needs no manager at hand."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from lws_kueue_lab import sandbox
from lws_kueue_lab.sandbox import audit, kueue, kueue_settings

from e2e.conftest import own_cluster
from lws_kueue.api import lws, names
from lws_kueue.controller.admission import managed_by
from lws_kueue.install import manifests
from tests.kit import golden
from tests.kit.admission import support
from tests.kit.live import harness
from tests.kit.takeover import life, recordings, settling, state, surroundings

# As in the recordings: eight nodes in a rack, so that node-8 is in the second.
OPTIONS = sandbox.Options(topology=sandbox.Topology(racks=2, hosts=8))

# Those that the last tests change.
CHANGED = ("plain-workers", "dual-template", "unique-subdomain", "exclusive")
UNTOUCHED = tuple(name for name in golden.NAMES if name not in CHANGED)


# Recorded pods are made as they were when they ran; Kueue's pod integration would hold them back.
WITHOUT_PODS = kueue_settings.KueueSettings(frameworks=("batch/job",))

# A set that the Go manager was not done with when it stopped: one group has no workers yet, and
# there is no Service.
UNFINISHED = "unfinished"
MISSING = (
    "StatefulSet plain-workers-1",
    "Pod plain-workers-1-1",
    "Pod plain-workers-1-2",
    "Service plain-workers",
)


Object = dict[str, Any]

MARKING = "built-in.lws-kueue.dev"

_PATCH = f"""
  (has(object.spec.leaderWorkerTemplate.workerTemplate.metadata) ? [] : [
    JSONPatch{{op: "add", path: "/spec/leaderWorkerTemplate/workerTemplate/metadata", value: {{}}}}
  ]) + (object.spec.leaderWorkerTemplate.workerTemplate.?metadata.?annotations.hasValue() ? [] : [
    JSONPatch{{
      op: "add", path: "/spec/leaderWorkerTemplate/workerTemplate/metadata/annotations", value: {{}}
    }}
  ]) + [
    JSONPatch{{
      op: "add",
      path: "/spec/leaderWorkerTemplate/workerTemplate/metadata/annotations/"
        + jsonpatch.escapeKey("{names.POD_SUSPENDING_PARENT}"),
      value: "{names.KUEUE_LWS_FRAMEWORK}"
    }}
  ]
"""


def marking_policy() -> tuple[Object, Object]:
    """Return the policy and its binding that mark sets as Kueue's built-in integration does.

    New and changed sets that have a queue are marked, as by its webhook (kueue-contract 1.2): that
    is all by which the controller can see whether it is on, so no real Kueue is needed.
    """
    head = {"apiVersion": "admissionregistration.k8s.io/v1"}
    rule = {
        "apiGroups": [names.LWS_GROUP],
        "apiVersions": [names.LWS_VERSION],
        "operations": ["CREATE", "UPDATE"],
        "resources": [names.LWS_PLURAL],
    }
    spec = {
        "failurePolicy": "Fail",
        "reinvocationPolicy": "Never",
        "matchConstraints": {
            "objectSelector": {
                "matchExpressions": [{"key": names.QUEUE_NAME, "operator": "Exists"}]
            },
            "resourceRules": [rule],
        },
        "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": _PATCH}}],
    }
    policy = head | {
        "kind": "MutatingAdmissionPolicy",
        "metadata": {"name": MARKING},
        "spec": spec,
    }
    binding = head | {
        "kind": "MutatingAdmissionPolicyBinding",
        "metadata": {"name": MARKING},
        "spec": {"policyName": MARKING},
    }
    return policy, binding


def switch_on_built_in(cluster: sandbox.Sandbox) -> None:
    """Mark sets from now on."""
    for obj in marking_policy():
        cluster.api.apply(obj)
    container = {"name": "c", "image": "image"}
    probe = {
        "apiVersion": names.LWS_API_VERSION,
        "kind": names.LWS_KIND,
        "metadata": {
            "name": "probe",
            "namespace": "default",
            "labels": {names.QUEUE_NAME: "queue"},
        },
        "spec": {
            "leaderWorkerTemplate": {
                "size": 1,
                "workerTemplate": {"spec": {"containers": [container]}},
            }
        },
    }
    # A policy takes a moment to become active.
    support.eventually(
        lambda: managed_by.is_marked(
            lws.LeaderWorkerSet.of(cluster.api.create(probe, dry_run=True))
        ),
        what="queue-managed sets are marked",
    )


@dataclass(frozen=True, slots=True)
class TakenOver:
    """A cluster whose sets were there before our controller: as they were then, and after."""

    cluster: sandbox.Sandbox
    controller: harness.ControllerProcess
    before: dict[str, state.State]
    after: dict[str, state.State]
    writes: list[audit.Request]


@pytest.fixture(scope="module")
def recorded(backend: sandbox.Backend) -> Iterator[sandbox.Sandbox]:
    """A cluster of its own with the definition of a set, but without our policies."""
    with (
        own_cluster(backend, OPTIONS) as cluster,
        kueue.start(cluster, settings=WITHOUT_PODS) as cluster.kueue,
    ):
        for obj in manifests.api_objects():
            if obj["kind"] == "CustomResourceDefinition":
                cluster.api.apply(obj)
                cluster.api.wait_for(
                    obj["apiVersion"],
                    obj["kind"],
                    obj["metadata"]["name"],
                    lambda found: recordings.holds(found, "Established"),
                )
        yield cluster


@pytest.fixture(scope="module")
def taken_over(
    recorded: sandbox.Sandbox, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TakenOver]:
    """All recorded sets, each in a namespace of its name, and our controller started after them."""
    cluster = recorded
    surroundings.label_nodes(cluster)
    for name in (*golden.NAMES, UNFINISHED):
        meta = {"name": name}
        cluster.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": meta})
    for name in (*golden.NAMES, UNFINISHED):
        cluster.api.wait_for("v1", "ServiceAccount", "default", bool, namespace=name)
    for name in golden.NAMES:
        surroundings.make_queue(cluster, golden.load(name).applied, namespace=name)
        recordings.recreate(cluster, golden.load(name), namespace=name)
    unfinished = golden.load("plain-workers")
    recordings.recreate(cluster, unfinished, namespace=UNFINISHED, leave_out=MISSING)
    harness.install(cluster)
    # What the recorded queue-managed sets are looked after by.
    switch_on_built_in(cluster)
    before = {name: state.of(cluster, name) for name in (*golden.NAMES, UNFINISHED)}
    since = audit.position(cluster)
    kubeconfig = cluster.service_account_kubeconfig(*harness.SERVICE_ACCOUNT)
    log: Path = tmp_path_factory.mktemp("controller") / "controller.log"
    controller = harness.ControllerProcess(kubeconfig=kubeconfig, log=log)
    controller.start()
    state.conclude(cluster)
    yield TakenOver(
        cluster=cluster,
        controller=controller,
        before=before,
        after={name: state.of(cluster, name) for name in golden.NAMES},
        writes=state.our_writes(cluster, since=since, namespaces=before),
    )
    if controller.running:
        controller.stop()


@pytest.mark.row("UPG-01")
@pytest.mark.parametrize("name", golden.NAMES)
def test_a_recorded_set_is_taken_over_without_a_write(taken_over: TakenOver, name: str) -> None:
    writes = [write for write in taken_over.writes if write.namespace == name]
    assert not writes, state.told(taken_over.cluster, name, writes)
    assert not state.changes(taken_over.before[name], taken_over.after[name])
    recorded_pods = golden.load(name).of_kind("Pod")
    assert sum(kind.startswith("Pod ") for kind in taken_over.after[name]) == len(recorded_pods)


def test_what_the_go_manager_did_not_get_to_is_made_and_nothing_else(
    taken_over: TakenOver,
) -> None:
    cluster = taken_over.cluster
    settling.settled(cluster, "plain-workers", namespace=UNFINISHED)
    writes = [write for write in taken_over.writes if write.namespace == UNFINISHED]
    assert {f"{write.verb} {write.resource}" for write in writes} == {
        "create statefulsets",
        "create services",
        "patch leaderworkersets/status",
        "create events",
    }
    before, now = taken_over.before[UNFINISHED], state.of(cluster, UNFINISHED)
    changed = {kind for kind, facts in before.items() if now.get(kind) != facts}
    assert changed == {f"{names.LWS_KIND} plain-workers"}
    pods = harness.pods(cluster, namespace=UNFINISHED)
    assert {pod["metadata"]["labels"][names.GROUP_KEY] for pod in pods.values()} == {
        pod["metadata"]["labels"][names.GROUP_KEY]
        for pod in golden.load("plain-workers").of_kind("Pod")
    }


def test_looking_again_and_starting_again_write_nothing_either(taken_over: TakenOver) -> None:
    cluster = taken_over.cluster
    since = audit.position(cluster)
    for name in UNTOUCHED:
        state.touch(cluster, name)
    state.conclude(cluster)
    taken_over.controller.stop()
    taken_over.controller.start()
    state.conclude(cluster)
    writes = state.our_writes(cluster, since=since, namespaces=UNTOUCHED)
    assert not writes, "\n".join(state.told(cluster, name, writes) for name in UNTOUCHED)


def test_a_recorded_set_grows(taken_over: TakenOver) -> None:
    cluster, name = taken_over.cluster, "plain-workers"
    since = audit.position(cluster)
    life.grows(cluster, name, namespace=name)
    # What counts writes where none may be sees them where they are.
    writes = state.our_writes(cluster, since=since, namespaces=[name])
    assert ("create", "statefulsets") in {(write.verb, write.resource) for write in writes}


def test_a_recorded_set_is_updated(taken_over: TakenOver) -> None:
    life.changes(taken_over.cluster, "dual-template", namespace="dual-template")


@pytest.mark.parametrize(
    ("name", "victim"),
    [("unique-subdomain", "unique-subdomain-1-1"), ("exclusive", "exclusive-0")],
)
def test_a_group_of_a_recorded_set_is_recreated(
    taken_over: TakenOver, name: str, victim: str
) -> None:
    life.restarts(taken_over.cluster, name, namespace=name, victim=victim)
