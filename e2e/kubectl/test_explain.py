"""Causes for which a group does not run, brought about on a cluster, and what `explain` says.

All sets of the table stand side by side in one cluster, and each has queues of its own. Whoever
asks has the ClusterRole for people and no more. What needs Kueue away comes before Kueue is
started, and what needs its own integration for LeaderWorkerSets, or a second cluster, comes last.
"""

import asyncio
import contextlib
import json
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from concurrent import futures
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Final

import pytest
from lws_kueue_lab import sandbox
from lws_kueue_lab.sandbox import kueue_manager, kueue_settings, stages

from e2e.kubectl import conftest as commands
from e2e.kueue import test_admission_checks
from lws_kueue.api import names
from lws_kueue.kubectl import access, connection, explain, look, screen
from lws_kueue.runtime import keys
from tests.kit import polling
from tests.kit.builders import cluster as build
from tests.kit.kueue import clusters, queued
from tests.kit.live import harness, selection
from tests.kit.lws import sets
from tests.kit.tas import trees

Object = dict[str, Any]

REAL: Final = kueue_manager.from_environment() is not None
# A group of two pods that ask for a tenth of a cpu each.
SIZE: Final = 2
GATE: Final = "example.com/quota"
FINALIZER: Final = "example.com/audit"
# What is measured in seconds is asked for.
ALONE: Final = "LWS_KUEUE_SECONDS"
# Seconds that an answer may take on a machine that has the time for it.
MOST_SECONDS: Final = 1.0
PATIENCE: Final = 60.0
# How many rows are played beside each other: most of the time they wait.
AT_ONCE: Final = 12


class When(Enum):
    """In which of the Kueues a row is played, in this order."""

    WITHOUT_KUEUE = "before Kueue is installed"
    BRIDGE = "Kueue leaves sets to the bridge"
    INTEGRATION = "Kueue's own integration for LeaderWorkerSets is on"
    SILENT = "Kueue has ended"


@dataclass(frozen=True, slots=True)
class Scene:
    """Where a row is played; its set, its queues and all else of it have the row's ``name``."""

    fleet: clusters.Clusters
    namespace: str
    name: str

    @property
    def cluster(self) -> sandbox.Sandbox:
        """The cluster in which people ask."""
        return self.fleet.manager.cluster

    @property
    def own(self) -> str:
        """A name that no other row has in the cluster."""
        return f"{self.namespace}-{self.name}"

    def apply(self, *objects: Object) -> None:
        """Apply objects."""
        for obj in objects:
            self.cluster.api.apply(obj)

    def queue(
        self,
        *,
        cpu: str = "5",
        flavor: Mapping[str, Any] | None = None,
        limits: Mapping[str, str] | None = None,
        **spec: Any,
    ) -> None:
        """Make the row's flavor, ClusterQueue and LocalQueue; ``limits`` are of its quota."""
        self.apply(
            build.kueues("ResourceFlavor", self.own, **(flavor or {})),
            self.cluster_queue(self.own, cpu=cpu, limits=limits, **spec),
            build.local_queue(self.name, namespace=self.namespace, cluster_queue=self.own),
        )

    def cluster_queue(
        self, name: str, *, cpu: str, limits: Mapping[str, str] | None = None, **spec: Any
    ) -> Object:
        """Return a ClusterQueue that has the row's flavor."""
        made = build.cluster_queue(name, {self.own: {"cpu": cpu}}, **spec)
        (flavor,) = made["spec"]["resourceGroups"][0]["flavors"]
        flavor["resources"][0] |= limits or {}
        return made

    def set(self, name: str = "", *, queue: str = "", **options: Any) -> queued.Queued:
        """Make the row's set, or another one beside it."""
        given: dict[str, Any] = {"size": SIZE, "cpu": "100m", "grace": 0, **options}
        return queued.create(
            self.cluster,
            name or self.name,
            namespace=self.namespace,
            queue=queue or self.name,
            **given,
        )

    def node(self, suffix: str, *, cpu: str = "8", taints: Any = (), **labels: str) -> str:
        """Make a node of the row's pool, which is what its flavor asks for; returns its name."""
        name = f"{self.own}-{suffix}"
        labels_ = {trees.POOL: self.own, **labels}
        made = build.node(name, labels=labels_, offers={"cpu": cpu, "memory": "8Gi", "pods": "110"})
        self.cluster.api.create(made | {"spec": {"taints": list(taints)}})
        self.cluster.api.wait_for(
            "v1",
            "Node",
            name,
            lambda node: node is not None and harness.is_ready(node) and not _young(node),
            what=f"node {name} is ready",
        )
        return name

    @property
    def pool(self) -> Object:
        """The spec of a flavor whose nodes are the row's own."""
        return {"nodeLabels": {trees.POOL: self.own}}


def _young(node: Object) -> bool:
    taints = node["spec"].get("taints") or ()
    return any(one["key"].startswith("node.kubernetes.io/") for one in taints)


@dataclass(frozen=True, slots=True)
class Row:
    """A cause: what brings it about, the code of its reason, and what has to be named.

    ``{own}`` in ``named`` stands for the name that the row's objects have in the cluster, ``{set}``
    for that of its set. ``standin`` says why the stand-in for Kueue cannot bring it about, "" if it
    can.
    ``real`` says the same of a real Kueue.
    """

    play: Callable[[Scene], object]
    code: str
    named: tuple[str, ...]
    standin: str = ""
    real: str = ""
    when: When = When.BRIDGE


# Quota --------------------------------------------------------------------------------------------


def nominal_quota(scene: Scene) -> None:
    scene.queue(cpu="300m")
    scene.set(replicas=2)


def quota_of_another_kind(scene: Scene) -> None:
    scene.queue()
    scene.set(change=lambda body: _ask(body, {"cpu": "100m", trees.GPU: "1"}))


def _ask(body: Object, amounts: dict[str, str]) -> None:
    for template in sets.templates(body):
        trees.take(template, amounts)


def borrowing_limit(scene: Scene) -> None:
    scene.queue(cpu="100m", limits={"borrowingLimit": "50m"}, cohortName=scene.own)
    scene.apply(scene.cluster_queue(f"{scene.own}-lender", cpu="1", cohortName=scene.own))
    scene.set()


def lending_limit(scene: Scene) -> None:
    scene.queue(cpu="100m", cohortName=scene.own)
    lends = {"lendingLimit": "50m"}
    lender = scene.cluster_queue(f"{scene.own}-lender", cpu="1", limits=lends, cohortName=scene.own)
    scene.apply(lender)
    scene.set()


def cohort(scene: Scene) -> None:
    """Let another queue of the cohort use all that it has."""
    scene.queue(cpu="150m", cohortName=scene.own)
    other = f"{scene.name}-other"
    scene.apply(
        scene.cluster_queue(f"{scene.own}-other", cpu="200m", cohortName=scene.own),
        build.local_queue(other, namespace=scene.namespace, cluster_queue=f"{scene.own}-other"),
    )
    scene.set(other, queue=other).wait_ready(1)
    scene.set()


def priority(scene: Scene) -> None:
    """Let a set of a higher priority wait for more than there is, before one that would fit."""
    scene.queue(cpu="500m", queueingStrategy="StrictFIFO")
    scene.apply(
        {
            "apiVersion": names.KUEUE_API_VERSION,
            "kind": "WorkloadPriorityClass",
            "metadata": {"name": scene.own},
            "value": 1000,
        }
    )
    first = scene.set(f"{scene.name}-first", cpu="1", priority_class=scene.own)
    first.wait_workload(
        0, lambda seen: queued.said(seen, "QuotaReserved")[0] == "False", what="is refused"
    )
    scene.set()


# Queues -------------------------------------------------------------------------------------------


def missing_local_queue(scene: Scene) -> None:
    scene.set()


def missing_cluster_queue(scene: Scene) -> None:
    scene.apply(build.local_queue(scene.name, namespace=scene.namespace, cluster_queue=scene.own))
    scene.set()


def stopped_local_queue(scene: Scene) -> None:
    scene.queue()
    feeds = build.local_queue(scene.name, namespace=scene.namespace, cluster_queue=scene.own)
    feeds["spec"]["stopPolicy"] = "Hold"
    scene.apply(feeds)
    scene.set()


def stopped_cluster_queue(scene: Scene) -> None:
    scene.queue(stopPolicy="Hold")
    scene.set()


def inactive_cluster_queue(scene: Scene) -> None:
    scene.apply(
        build.cluster_queue(scene.own, {f"{scene.own}-gone": {"cpu": "5"}}),
        build.local_queue(scene.name, namespace=scene.namespace, cluster_queue=scene.own),
    )
    scene.set()


def missing_priority_class(scene: Scene) -> None:
    scene.queue()
    scene.set(priority_class=f"{scene.own}-gone")


# Nodes and places ---------------------------------------------------------------------------------


def flavor_without_nodes(scene: Scene) -> None:
    scene.queue(flavor=scene.pool)
    scene.set()


def taints(scene: Scene) -> None:
    scene.node("a", taints=[{"key": "example.com/maintenance", "effect": "NoSchedule"}])
    scene.queue(flavor=scene.pool)
    scene.set()


def node_failure(scene: Scene) -> None:
    node = scene.node("a")
    scene.queue(flavor=scene.pool)
    one = scene.set()
    one.wait_ready(1)
    body = {"metadata": {"annotations": {stages.BEHAVIOUR: stages.NOT_READY}}}
    scene.cluster.api.patch("v1", "Node", node, body=body)
    # The node's kubelet would no longer say that its pods are ready.
    one.annotate(f"{one.name}-0", {stages.BEHAVIOUR: stages.NEVER_READY})


def _racks(scene: Scene, *, cpu: str, level: str, **options: Any) -> None:
    """Make a topology of two racks of one host, and a set that asks for a place in it."""
    for rack in ("a", "b"):
        scene.node(rack, cpu=cpu, **{trees.RACK: f"{scene.own}-{rack}"})
    scene.apply(build.topology(scene.own, [trees.RACK, trees.HOST]))
    scene.queue(flavor={**scene.pool, "topologyName": scene.own})
    scene.set(pod_annotations={names.PODSET_REQUIRED_TOPOLOGY: level}, **options)


def topology_level(scene: Scene) -> None:
    _racks(scene, cpu="8", level=trees.BLOCK)


def topology_domain(scene: Scene) -> None:
    _racks(scene, cpu="150m", level=trees.RACK)


# After admission ----------------------------------------------------------------------------------


def foreign_gate(scene: Scene) -> None:
    def gate(body: Object) -> None:
        for template in sets.templates(body):
            template["spec"]["schedulingGates"] = [{"name": GATE}]

    scene.queue()
    scene.set(change=gate)


def unschedulable(scene: Scene) -> None:
    scene.queue(cpu="100")
    scene.set(cpu="20")


def pods_not_ready(scene: Scene) -> None:
    scene.queue()
    scene.set(pod_annotations={stages.BEHAVIOUR: stages.NEVER_READY})


# Workloads ----------------------------------------------------------------------------------------


def _asks_check(scene: Scene) -> queued.Queued:
    scene.queue()
    test_admission_checks.required(
        scene.cluster, scene.cluster.api.apply, scene.own, f"{scene.own}-check"
    )
    return scene.set()


def admission_check(scene: Scene) -> None:
    one = _asks_check(scene)
    check = f"{scene.own}-check"
    test_admission_checks.answer(one, 0, check, "Pending", message="capacity is on its way")


def back_off(scene: Scene) -> None:
    one, check = _asks_check(scene), f"{scene.own}-check"
    test_admission_checks.answer(one, 0, check, "Ready")
    one.wait_ready(1)
    test_admission_checks.answer(one, 0, check, "Retry", requeueAfterSeconds=900)
    one.wait_given_back(0, "AdmissionCheck")


def deactivation(scene: Scene) -> None:
    scene.queue()
    one = scene.set()
    one.wait_ready(1)
    one.switch(0, active=False)


def foreign_finalizer(scene: Scene) -> None:
    scene.queue()
    one = scene.set()
    one.wait_ready(1)
    held = [*one.workload(0)["metadata"]["finalizers"], FINALIZER]
    one.patch_workload(0, {"metadata": {"finalizers": held}})
    one.delete_workload(0)


def admission_gate(scene: Scene) -> None:
    scene.queue()
    scene.set(annotations={names.ADMISSION_GATED_BY: "example.com/late"})


def refused_pod(scene: Scene) -> None:
    """Let a ResourceQuota that counts the row's pods alone have room for one of two."""
    scope = {"scopeName": "PriorityClass", "operator": "In", "values": [scene.own]}
    scene.apply(
        {
            "apiVersion": "scheduling.k8s.io/v1",
            "kind": "PriorityClass",
            "metadata": {"name": scene.own},
            "value": 1,
        },
        {
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": scene.name, "namespace": scene.namespace},
            "spec": {"hard": {"pods": "1"}, "scopeSelector": {"matchExpressions": [scope]}},
        },
    )
    scene.cluster.api.wait_for(
        "v1",
        "ResourceQuota",
        scene.name,
        lambda seen: seen is not None and "used" in (seen.get("status") or {}),
        namespace=scene.namespace,
        what="the ResourceQuota counts",
    )

    def of_the_class(body: Object) -> None:
        for template in sets.templates(body):
            template["spec"]["priorityClassName"] = scene.own

    scene.queue()
    scene.set(change=of_the_class)


# Other Kueues -------------------------------------------------------------------------------------


def too_little(scene: Scene) -> None:
    scene.queue(cpu="50m")
    scene.set()


def silent(scene: Scene) -> None:
    scene.queue()
    scene.set()


def multikueue_without_integration(scene: Scene) -> None:
    check = f"{scene.own}-check"
    scene.apply(clusters.check(check, names.MULTIKUEUE_CONTROLLER))
    scene.queue(admissionChecksStrategy=clusters.asking(check))
    scene.set()


def multikueue(scene: Scene) -> None:
    scene.fleet.connect()
    for place in scene.fleet.workers.values():
        harness.make_namespace(place.cluster, scene.namespace)
        there = Scene(clusters.Clusters(place, {}), scene.namespace, scene.name)
        there.queue()
    scene.queue(admissionChecksStrategy=clusters.asking(clusters.CHECK))
    scene.set()


CQ: Final = "ClusterQueue {own}"
FLAVOR: Final = "ResourceFlavor {own}"
ROWS: Final = {
    "kueue-away": Row(
        missing_local_queue,
        "KueueMissing",
        ("Kueue is not installed",),
        when=When.WITHOUT_KUEUE,
    ),
    "nominal-quota": Row(
        nominal_quota, "Pending", ("raise nominalQuota of cpu in flavor {own} of " + CQ,)
    ),
    "quota-of-another-kind": Row(
        quota_of_another_kind, "Pending", (CQ, trees.GPU, "spec.resourceGroups")
    ),
    "borrowing-limit": Row(
        borrowing_limit,
        "Pending",
        ("raise borrowingLimit of cpu in flavor {own} of " + CQ + " by 50m",),
    ),
    "lending-limit": Row(
        lending_limit,
        "Pending",
        ("lendingLimit of cpu in flavor {own} of ClusterQueue {own}-lender by 50m",),
    ),
    "cohort": Row(
        cohort,
        "Pending",
        ("Cohort {own}: nobody in it has 50m more cpu to lend",),
    ),
    "priority": Row(
        priority, "Pending", (CQ + " is StrictFIFO", "leaderworkerset-{set}-first", "is ahead")
    ),
    "missing-local-queue": Row(
        missing_local_queue, "LocalQueueMissing", ("LocalQueue {set} does not exist",)
    ),
    "missing-cluster-queue": Row(
        missing_cluster_queue,
        "ClusterQueueMissing",
        (CQ, "LocalQueue {set}"),
    ),
    "stopped-local-queue": Row(
        stopped_local_queue,
        "LocalQueueStopped",
        ("LocalQueue {set} is stopped (Hold)",),
    ),
    "stopped-cluster-queue": Row(
        stopped_cluster_queue, "ClusterQueueStopped", (CQ + " is stopped (Hold)",)
    ),
    "inactive-cluster-queue": Row(
        inactive_cluster_queue,
        "ClusterQueueInactive",
        (CQ, "{own}-gone"),
    ),
    "missing-priority-class": Row(
        missing_priority_class,
        "WorkloadPriorityClassNotFound",
        ("{own}-gone",),
    ),
    "flavor-without-nodes": Row(
        flavor_without_nodes, "FlavorWithoutNodes", ("spec.nodeLabels of " + FLAVOR,)
    ),
    "taints": Row(
        taints,
        "NodesTainted",
        ("example.com/maintenance", "spec.nodeTaints of " + FLAVOR),
    ),
    "node-failure": Row(node_failure, "NodeNotReady", ("Node {own}-a of pod {set}-0",)),
    "topology-level": Row(
        topology_level, "Pending", (CQ, "Topology {own} has no level " + trees.BLOCK)
    ),
    "topology-domain": Row(topology_domain, "Pending", (CQ, trees.RACK, "Topology {own}")),
    "gate-of-somebody-else": Row(foreign_gate, "SchedulingGated", (f"gate {GATE}", "{set}-0")),
    "unschedulable": Row(unschedulable, "PodUnschedulable", ("pod {set}-0", "nodes are available")),
    "pods-not-ready": Row(pods_not_ready, "PodsNotReady", ("{set}-0",)),
    "admission-check": Row(
        admission_check,
        "AdmissionCheckPending",
        ("AdmissionCheck {own}-check", "capacity is on its way"),
    ),
    "back-off": Row(
        back_off,
        "Pending",
        ("Kueue considers it again by itself",),
        real="Kueue 0.19.2 had not evicted a group 120 s after a Retry with a long pause",
    ),
    "deactivation": Row(
        deactivation,
        "WorkloadDeactivated",
        ("Workload leaderworkerset-{set}-0", "kubectl lws start {set} --group 0"),
    ),
    "finalizer-of-the-other-side": Row(
        foreign_finalizer,
        "WorkloadDeleting",
        ("Workload leaderworkerset-{set}-0", FINALIZER),
    ),
    "gate-of-admission": Row(admission_gate, "AdmissionGated", ("example.com/late",)),
    "pod-that-cannot-be-made": Row(
        refused_pod,
        "FailedCreate",
        ("StatefulSet {set}-0", "exceeded quota: {set}"),
    ),
    "multikueue-without-integration": Row(
        multikueue_without_integration,
        "MultiKueueNotPossible",
        (CQ, "AdmissionCheck {own}-check"),
    ),
    "integration-on": Row(
        too_little,
        "Pending",
        ("Kueue's own LeaderWorkerSet integration", "nominalQuota of cpu in flavor {own} of " + CQ),
        standin="the stand-in for Kueue has no integration for LeaderWorkerSets",
        when=When.INTEGRATION,
    ),
    "multikueue": Row(
        multikueue,
        "RunsElsewhere",
        ("cluster worker1",),
        standin="the stand-in for Kueue has no MultiKueue",
        when=When.INTEGRATION,
    ),
    "kueue-silent": Row(
        silent,
        "Pending",
        ("Kueue has not considered Workload leaderworkerset-{set}-0", "see that Kueue runs"),
        when=When.SILENT,
    ),
}

# Rows of which others show as much on a cluster.
LONG: Final = frozenset(
    {
        "back-off",
        "borrowing-limit",
        "deactivation",
        "finalizer-of-the-other-side",
        "gate-of-admission",
        "inactive-cluster-queue",
        "kueue-silent",
        "lending-limit",
        "missing-cluster-queue",
        "missing-priority-class",
        "pods-not-ready",
        "stopped-local-queue",
        "taints",
        "topology-domain",
        "unschedulable",
    }
)


# The table ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Told:
    """What the command says of the set of a row, and how it ran."""

    answer: Object
    ran: commands.Ran


@dataclass(frozen=True, slots=True)
class Table:
    """The rows that are played, each in its turn, and what is told of them."""

    fleet: clusters.Clusters
    namespace: str
    viewer: Path
    told: dict[str, "futures.Future[Told]"] = field(default_factory=dict)

    def play(self, when: When, rows: Mapping[str, Row]) -> None:
        """Play the rows of one Kueue beside each other."""
        chosen = [name for name, row in rows.items() if row.when is when]
        if not chosen:
            return
        self._begin(when)
        with futures.ThreadPoolExecutor(AT_ONCE) as beside:
            self.told.update({name: beside.submit(self._row, name, rows[name]) for name in chosen})

    def _begin(self, when: When) -> None:
        match when:
            case When.BRIDGE:
                self.fleet.manager.kueue(kueue_settings.KueueSettings())
            case When.INTEGRATION:
                self.fleet.kueue(manager=clusters.INTEGRATION, workers=clusters.INTEGRATION)
            case When.SILENT:
                self.fleet.manager.close()

    def _row(self, name: str, row: Row) -> Told:
        scene = Scene(self.fleet, self.namespace, name)
        row.play(scene)
        found = access.load(kubeconfig=str(self.viewer), context=None)
        server = connection.Connection(found)

        def is_told() -> None:
            seen = asyncio.run(look.a_set(server, keys.SetKey(self.namespace, name)))
            said = json.loads(screen.dumped(explain.answer(seen), "json"))
            (first, *_) = said.get("explanations") or [{}]
            holds(first, row, scene)

        # What never comes is told by the test, with what the command says.
        with contextlib.suppress(AssertionError):
            polling.trying(timeout=PATIENCE, every=1.0)(is_told)
        return Told(*commands.explained(self.viewer, name, namespace=self.namespace))


def holds(said: Object, row: Row, scene: Scene) -> None:
    """Compare what is said with what a row is about."""
    text = f"{said.get('why')} {said.get('change', '')}"
    assert said.get("code") == row.code, text
    for part in row.named:
        assert part.format(own=scene.own, set=scene.name) in text


@pytest.fixture(scope="module")
def table(
    request: pytest.FixtureRequest,
    backend: sandbox.Backend,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Table]:
    """The rows of those tests that run, played."""
    if backend != "process":
        pytest.skip("needs a Kueue that comes late, is restarted and goes")
    names_ = selection.values(request, "name")
    rows = {
        name: ROWS[name] for name in names_ if not (ROWS[name].real if REAL else ROWS[name].standin)
    }
    folder = tmp_path_factory.mktemp("explain")
    workers = ("worker1",) if "multikueue" in rows else ()
    with clusters.opening(backend, folder=folder, mode="auto", workers=workers) as fleet:
        cluster = fleet.manager.cluster
        namespace = harness.make_namespace(cluster, f"explain-{secrets.token_hex(3)}")
        with commands.viewing(cluster) as viewer:
            played = Table(fleet, namespace, viewer)
            for when in When:
                played.play(when, rows)
            yield played
        if request.session.testsfailed:
            print(fleet.manager.controller.tail(200))


def _marks(name: str) -> Iterator[pytest.MarkDecorator]:
    if reason := ROWS[name].standin:
        yield pytest.mark.skipif(not REAL, reason=reason)
    if reason := ROWS[name].real:
        yield pytest.mark.skipif(REAL, reason=reason)
    if name in LONG:
        yield pytest.mark.long


@pytest.mark.parametrize("name", [pytest.param(name, marks=[*_marks(name)]) for name in ROWS])
def test_what_a_group_waits_for_is_named_with_the_object_to_change(table: Table, name: str) -> None:
    told = table.told[name].result()
    holds(told.answer, ROWS[name], Scene(table.fleet, table.namespace, name))


@pytest.mark.long
@pytest.mark.skipif(ALONE not in os.environ, reason=f"needs a machine for itself: {ALONE}=1")
def test_each_answer_takes_less_than_a_second_once_the_machine_has_the_time(table: Table) -> None:
    seconds = {}
    for name in table.told:

        def is_soon(name: str = name) -> float:
            _, ran = commands.explained(table.viewer, name, namespace=table.namespace)
            assert ran.seconds < MOST_SECONDS
            return ran.seconds

        seconds[name] = polling.trying(timeout=PATIENCE, every=0)(is_soon)
    print(", ".join(f"{name} {took:.2f} s" for name, took in seconds.items()))
