"""Admission on a real API server: what any Kueue does, and what is special about the stand-in.

The first half runs unchanged against a real Kueue (of the cluster, or a manager process); pods
play no part in it, because a Workload alone is all that admission needs.
"""

import contextlib
import datetime
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from lws_kueue_lab import kueue_standin, sandbox
from lws_kueue_lab.kueue_standin import lifecycle, schemas
from lws_kueue_lab.sandbox import client

from lws_kueue.api import names
from tests.kit.builders import pods

Object = dict[str, Any]
OpenCluster = Callable[[sandbox.Options], sandbox.Sandbox]

API = names.KUEUE_API_VERSION
WORKLOAD = (API, "Workload")


class Queues:
    """A LocalQueue in a namespace of its own, its ClusterQueue and the Workloads in them."""

    def __init__(self, api: client.Client, namespace: str) -> None:
        self.api = api
        self.namespace = namespace
        # Cluster-scoped names have to differ from test to test.
        self.name = f"q-{secrets.token_hex(4)}"

    def create(
        self,
        quota: dict[str, str],
        *,
        topology: tuple[str, ...] = (),
        **spec: Any,
    ) -> None:
        flavor: Object = {}
        if topology:
            levels = {"levels": [{"nodeLabel": label} for label in topology]}
            self._create("Topology", spec=levels)
            flavor = {"topologyName": self.name, "nodeLabels": {"kubernetes.io/os": "linux"}}
        self._create("ResourceFlavor", spec=flavor)
        resources = [{"name": r, "nominalQuota": q} for r, q in quota.items()]
        flavors = [{"name": self.name, "resources": resources}]
        group = {"coveredResources": list(quota), "flavors": flavors}
        self._create(
            "ClusterQueue", spec={"namespaceSelector": {}, "resourceGroups": [group]} | spec
        )
        self._create("LocalQueue", spec={"clusterQueue": self.name}, namespace=self.namespace)
        self.wait("LocalQueue", self.name, active)

    def _create(self, kind: str, *, spec: Object, namespace: str | None = None) -> None:
        metadata = {"name": self.name} | ({"namespace": namespace} if namespace else {})
        self.api.create({"apiVersion": API, "kind": kind, "metadata": metadata, "spec": spec})

    def remove(self) -> None:
        for workload in self.api.list(*WORKLOAD, namespace=self.namespace):
            self.api.delete(
                *WORKLOAD, workload["metadata"]["name"], namespace=self.namespace, missing_ok=True
            )
        self.api.delete(API, "LocalQueue", self.name, namespace=self.namespace, missing_ok=True)
        for kind in ("ClusterQueue", "ResourceFlavor", "Topology"):
            self.api.delete(API, kind, self.name, missing_ok=True)

    def submit(self, name: str, *pod_sets: Object, **spec: Any) -> Object:
        body = {"queueName": self.name, "podSets": list(pod_sets) or [pod_set()]} | spec
        metadata = {"name": name, "namespace": self.namespace}
        return self.api.create(
            {"apiVersion": API, "kind": "Workload", "metadata": metadata, "spec": body}
        )

    def wait(self, kind: str, name: str, predicate: Callable[[Object], Any]) -> Object:
        namespace = None if kind == "ClusterQueue" else self.namespace
        found = self.api.wait_for(
            API, kind, name, lambda o: o is not None and predicate(o), namespace=namespace
        )
        assert found is not None
        return found

    def edit(self, kind: str, name: str, **spec: Any) -> None:
        namespace = None if kind == "ClusterQueue" else self.namespace
        self.api.patch(API, kind, name, body={"spec": spec}, namespace=namespace)

    def stop_pods(self, name: str) -> None:
        """Give an admission back as the job side has to (kueue-contract 1.13)."""
        workload = self.api.get(*WORKLOAD, name, namespace=self.namespace)
        reason = condition(workload, "Evicted")["reason"]
        own = {
            "QuotaReserved": ("False", "PendingEvaluation"),
            "Admitted": ("False", "NoReservation"),
            "Requeued": ("True" if reason == "Preempted" else "False", reason),
        }
        others = [c for c in workload["status"]["conditions"] if c["type"] not in own]
        now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        mine = [
            {"type": t, "status": s, "reason": r, "message": "", "lastTransitionTime": now}
            for t, (s, r) in own.items()
        ]
        body = {
            "metadata": {"resourceVersion": workload["metadata"]["resourceVersion"]},
            "status": {"admission": None, "conditions": others + mine},
        }
        self.api.patch(*WORKLOAD, name, body=body, namespace=self.namespace, subresource="status")


def pod_set(count: int = 1, cpu: str = "1", name: str = "main", **more: Any) -> Object:
    container = {"name": "c", "image": "x", "resources": {"requests": {"cpu": cpu}}}
    return {"name": name, "count": count, "template": {"spec": {"containers": [container]}}} | more


def condition(obj: Object, kind: str) -> Object:
    conditions = (obj.get("status") or {}).get("conditions") or ()
    return next((c for c in conditions if c["type"] == kind), {})


def is_true(kind: str) -> Callable[[Object], bool]:
    return lambda obj: condition(obj, kind).get("status") == "True"


def has_message(kind: str, part: str) -> Callable[[Object], bool]:
    """Reasons of a refusal depend on a feature gate of Kueue, its messages do not."""
    return lambda obj: part in condition(obj, kind).get("message", "")


def has_reason(kind: str, reason: str) -> Callable[[Object], bool]:
    return lambda obj: condition(obj, kind).get("reason") == reason


active = is_true("Active")
admitted = is_true("Admitted")


@pytest.fixture
def queues(
    cluster: sandbox.Sandbox,
    kueue_info: sandbox.KueueInfo,
    namespace: str,
) -> Iterator[Queues]:
    made = Queues(cluster.api, namespace)
    yield made
    made.remove()


# What any Kueue does --------------------------------------------------------------------------


def test_quota_admits_and_says_who_has_to_wait_and_why(queues: Queues) -> None:
    queues.create({"cpu": "700m"})
    for name in ("a", "b"):
        queues.submit(name, pod_set(3, "100m"))
        found = queues.wait("Workload", name, admitted)
        assert found["status"]["admission"] == {
            "clusterQueue": queues.name,
            "podSetAssignments": [
                {
                    "name": "main",
                    "count": 3,
                    "flavors": {"cpu": queues.name},
                    "resourceUsage": {"cpu": "300m"},
                }
            ],
        }
        assert condition(found, "QuotaReserved")["message"] == (
            f"Quota reserved in ClusterQueue {queues.name}"
        )
        assert condition(found, "Admitted")["message"] == "The workload is admitted"
    queues.submit("c", pod_set(3, "100m"))
    waiting = queues.wait("Workload", "c", has_message("QuotaReserved", "more needed"))
    assert condition(waiting, "QuotaReserved")["message"] == (
        "couldn't assign flavors to pod set main: insufficient unused quota for cpu in flavor "
        f"{queues.name}, 200m more needed"
    )

    def counted(queue: Object) -> bool:
        status = queue.get("status") or {}
        return (status.get("admittedWorkloads"), status.get("pendingWorkloads")) == (2, 1)

    status = queues.wait("LocalQueue", queues.name, counted)["status"]
    assert status["flavorsUsage"] == [
        {"name": queues.name, "resources": [{"name": "cpu", "total": "600m"}]}
    ]
    queues.api.delete(*WORKLOAD, "a", namespace=queues.namespace)
    queues.wait("Workload", "c", admitted)


def test_deactivation_waits_for_the_job_side_and_activation_admits_again(queues: Queues) -> None:
    queues.create({"cpu": "1"})
    queues.submit("w")
    queues.wait("Workload", "w", admitted)
    queues.edit("Workload", "w", active=False)
    evicted = queues.wait("Workload", "w", has_reason("Evicted", "Deactivated"))
    assert condition(evicted, "Evicted")["message"] == "The workload is deactivated"
    assert evicted["status"]["admission"]["clusterQueue"] == queues.name
    queues.stop_pods("w")
    queues.edit("Workload", "w", active=True)
    queues.wait("Workload", "w", admitted)
    again = queues.wait("Workload", "w", has_reason("Requeued", "Reactivated"))
    assert condition(again, "Evicted")["message"] == "Previously: The workload is deactivated"


@pytest.mark.parametrize("kind", ["LocalQueue", "ClusterQueue"])
def test_a_draining_queue_evicts_and_takes_back_when_it_runs(queues: Queues, kind: str) -> None:
    queues.create({"cpu": "1"})
    queues.submit("w")
    queues.wait("Workload", "w", admitted)
    queues.edit(kind, queues.name, stopPolicy="HoldAndDrain")
    queues.wait("Workload", "w", has_reason("Evicted", f"{kind}Stopped"))
    queues.stop_pods("w")
    queues.wait("Workload", "w", has_message("QuotaReserved", f"{kind} {queues.name} is inactive"))
    queues.edit(kind, queues.name, stopPolicy="None")
    queues.wait("Workload", "w", admitted)
    # Kueue may write the admission from a slightly older state and this right after it.
    queues.wait("Workload", "w", has_reason("Requeued", f"{kind}Restarted"))


def test_priority_preempts_within_the_queue(queues: Queues) -> None:
    queues.create({"cpu": "2"}, preemption={"withinClusterQueue": "LowerPriority"})
    queues.submit("low", pod_set(2), priority=1)
    queues.wait("Workload", "low", admitted)
    high = queues.submit("high", pod_set(2), priority=5)
    low = queues.wait("Workload", "low", has_reason("Evicted", "Preempted"))
    assert condition(low, "Preempted")["reason"] == "InClusterQueue"
    assert condition(low, "Evicted")["message"] == (
        f"Preempted to accommodate a workload (UID: {high['metadata']['uid']}, JobUID: UNKNOWN) "
        "due to prioritization in the ClusterQueue; "
        f"preemptor path: /{queues.name}; preemptee path: /{queues.name}"
    )
    queues.stop_pods("low")
    queues.wait("Workload", "high", admitted)
    queues.wait("Workload", "low", has_message("QuotaReserved", "more needed"))


def test_a_missing_local_queue_is_named(queues: Queues) -> None:
    queues.create({"cpu": "1"})
    queues.submit("w", queueName="nowhere")
    found = queues.wait("Workload", "w", has_message("QuotaReserved", "nowhere"))
    assert condition(found, "QuotaReserved")["message"] == "LocalQueue nowhere doesn't exist"
    queues.edit("Workload", "w", queueName=queues.name)
    queues.wait("Workload", "w", admitted)


def test_a_group_is_placed_in_one_rack(queues: Queues) -> None:
    labels = (sandbox.BLOCK_LABEL, sandbox.RACK_LABEL, sandbox.HOSTNAME_LABEL)
    queues.create({"cpu": "1000"}, topology=labels)
    request = {"required": sandbox.RACK_LABEL, "podSetGroupName": "g"}
    leader = pod_set(1, "100m", "leader", topologyRequest=request)
    workers = pod_set(
        9, "1", "worker", topologyRequest=request | {"podIndexLabel": names.WORKER_INDEX}
    )
    queues.submit("w", leader, workers)
    found = queues.wait("Workload", "w", admitted)
    hosts = set()
    for assignment in found["status"]["admission"]["podSetAssignments"]:
        hosts |= _hosts(assignment["topologyAssignment"])
    racks = {
        queues.api.get("v1", "Node", host)["metadata"]["labels"][sandbox.RACK_LABEL]
        for host in hosts
    }
    assert len(racks) == 1
    assert len(hosts) == 2


def test_a_pod_that_waits_for_a_node_that_its_group_does_not_have_is_ended(queues: Queues) -> None:
    queues.create({"cpu": "1000"}, topology=(sandbox.HOSTNAME_LABEL,))
    asked = pod_set(topologyRequest={"required": sandbox.HOSTNAME_LABEL})
    queues.submit("w", asked)
    found = queues.wait("Workload", "w", admitted)
    own = _hosts(found["status"]["admission"]["podSetAssignments"][0]["topologyAssignment"])
    nodes = sorted(node["metadata"]["name"] for node in queues.api.list("v1", "Node"))
    other = next(name for name in nodes if name not in own)
    # Far too large for any node, so that it stays pending.
    spec = pod_set(cpu="1000000")["template"]["spec"] | {
        "nodeSelector": {sandbox.HOSTNAME_LABEL: other}
    }
    metadata = {
        "name": "astray",
        "namespace": queues.namespace,
        "annotations": {
            names.WORKLOAD: "w",
            names.PODSET_REQUIRED_TOPOLOGY: sandbox.HOSTNAME_LABEL,
        },
    }
    queues.api.create({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    ended = queues.api.wait_for(
        "v1",
        "Pod",
        "astray",
        lambda pod: pod is not None and (pod.get("status") or {}).get("phase") == "Failed",
        namespace=queues.namespace,
    )
    assert ended is not None
    assert condition(ended, "TerminatedByKueue")["reason"] == "UnschedulableOnAssignedNode"
    assert condition(ended, "PodScheduled")["status"] == "False", "what was said before is kept"


def _hosts(assignment: Object) -> set[str]:
    assert assignment["levels"] == [sandbox.HOSTNAME_LABEL]
    hosts = set()
    for part in assignment["slices"]:
        values = part["valuesPerLevel"][0]
        if "universal" in values:
            hosts.add(values["universal"])
        else:
            one = values["individual"]
            hosts |= {one.get("prefix", "") + r + one.get("suffix", "") for r in one["roots"]}
    return hosts


def test_pod_sets_are_frozen_once_quota_is_reserved(queues: Queues) -> None:
    queues.create({"cpu": "5"})
    queues.submit("w", pod_set(1))
    queues.wait("Workload", "w", admitted)
    refused(
        lambda: queues.edit("Workload", "w", podSets=[pod_set(2)]),
        about="podSets",
    )
    other = pod_set(1)
    other["template"]["spec"]["containers"][0]["image"] = "y"
    refused(lambda: queues.edit("Workload", "w", podSets=[other]), about="podSets")
    refused(lambda: queues.edit("Workload", "w", queueName="other"), about="queueName")


def test_an_admission_goes_together_with_its_reservation(queues: Queues) -> None:
    queues.create({"cpu": "5"})
    queues.submit("w")
    queues.wait("Workload", "w", admitted)

    def drop_admission_alone() -> None:
        queues.api.patch(
            *WORKLOAD,
            "w",
            body={"status": {"admission": None}},
            namespace=queues.namespace,
            subresource="status",
        )

    refused(drop_admission_alone, about="must be set while the QuotaReserved condition is true")


def refused(request: Callable[[], None], *, about: str) -> None:
    """Expect a refusal; a policy takes a moment to become active after its creation."""
    deadline = time.monotonic() + 20
    while True:
        try:
            request()
        except client.ApiError as error:
            refusal = error
            break
        assert time.monotonic() < deadline, f"not refused: {about}"
        time.sleep(0.2)
    assert refusal.status in (403, 422)
    assert about in json.loads(str(refusal.body))["message"]


# What is special about the stand-in -------------------------------------------------------------


@pytest.fixture
def alone(kueue_info: sandbox.KueueInfo) -> None:
    if kueue_info.kind != "standin":
        pytest.skip("this cluster has a real Kueue, beside which the stand-in is never used")


@pytest.mark.usefixtures("alone")
def test_the_stand_in_can_be_told_from_a_kueue(cluster: sandbox.Sandbox, queues: Queues) -> None:
    definitions = cluster.api.list("apiextensions.k8s.io/v1", "CustomResourceDefinition")
    ours = [d for d in definitions if d["spec"]["group"] == names.KUEUE_GROUP]
    assert len(ours) == len(schemas.definitions())
    for definition in ours:
        assert definition["metadata"]["annotations"]["lws-kueue.dev/stand-in"] == "true"


@pytest.mark.usefixtures("alone")
def test_everything_is_written_by_server_side_apply_of_one_manager(queues: Queues) -> None:
    queues.create({"cpu": "1"})
    queues.submit("w")
    found = queues.wait("Workload", "w", admitted)
    managers = {
        (entry["manager"], entry["operation"])
        for entry in found["metadata"]["managedFields"]
        if entry.get("subresource") == "status"
    }
    assert managers == {(names.ADMISSION_FIELD_MANAGER, "Apply")}


@pytest.mark.usefixtures("alone")
def test_admission_fair_sharing_is_refused_aloud(queues: Queues) -> None:
    queues.create({"cpu": "1"})
    scope = {"admissionMode": "UsageBasedAdmissionFairSharing"}
    queues.edit("ClusterQueue", queues.name, admissionScope=scope)
    found = queues.wait("ClusterQueue", queues.name, has_reason("Active", "NotSupportedByStandIn"))
    assert "does not serve admission fair sharing" in condition(found, "Active")["message"]


@pytest.mark.usefixtures("alone")
def test_a_deleted_workload_without_owners_goes_and_one_with_owners_waits(queues: Queues) -> None:
    queues.create({"cpu": "2"})
    for name in ("orphan", "owned"):
        queues.submit(name)
        metadata: Object = {"finalizers": [names.WORKLOAD_FINALIZER]}
        if name == "owned":
            owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "no-such-uid"}
            metadata["ownerReferences"] = [owner]
        queues.api.patch(*WORKLOAD, name, body={"metadata": metadata}, namespace=queues.namespace)
        queues.api.delete(*WORKLOAD, name, namespace=queues.namespace)
    queues.api.wait_for(*WORKLOAD, "orphan", lambda w: w is None, namespace=queues.namespace)
    owned = queues.api.get(*WORKLOAD, "owned", namespace=queues.namespace)
    assert owned["metadata"]["finalizers"] == [names.WORKLOAD_FINALIZER]
    queues.api.patch(
        *WORKLOAD, "owned", body={"metadata": {"finalizers": None}}, namespace=queues.namespace
    )


@pytest.mark.usefixtures("alone")
@pytest.mark.row("WAR-01")
def test_the_finalizer_of_a_pod_group_without_pods_is_taken_off_again_and_again(
    queues: Queues,
) -> None:
    """Whoever puts it back fights Kueue's pod integration for ever."""
    queues.create({"cpu": "2"})
    queues.submit("w")
    kind = {"apiVersion": "v1", "kind": "ConfigMap"}
    # Garbage collection would take the Workload of an owner that does not exist.
    made = queues.api.create({**kind, "metadata": {"name": "x", "namespace": queues.namespace}})
    owner = {**kind, "name": "x", "uid": made["metadata"]["uid"]}
    marks = {names.IS_GROUP_WORKLOAD: "true"}
    metadata: Object = {"ownerReferences": [owner], "annotations": marks}
    for _ in range(2):
        metadata["finalizers"] = [names.WORKLOAD_FINALIZER]
        queues.api.patch(*WORKLOAD, "w", body={"metadata": metadata}, namespace=queues.namespace)
        queues.wait("Workload", "w", lambda seen: not seen["metadata"].get("finalizers"))


@pytest.mark.usefixtures("alone", "process_only")
def test_pods_get_the_marks_of_kueues_pod_integration(queues: Queues) -> None:
    queues.create({"cpu": "2"})
    both = [names.ADMISSION_GATE, names.TOPOLOGY_GATE]
    queued = queues.api.create(
        pods.pod("queued", queues.namespace, labels={names.QUEUE_NAME: queues.name})
    )
    assert [gate["name"] for gate in queued["spec"]["schedulingGates"]] == both
    assert queued["metadata"]["labels"][names.MANAGED] == "true"
    assert queued["metadata"]["finalizers"] == [names.MANAGED]
    suspended = pods.pod("suspended", queues.namespace)
    suspended["metadata"]["annotations"] = {names.POD_SUSPENDING_PARENT: "x"}
    held = queues.api.create(suspended)
    assert [gate["name"] for gate in held["spec"]["schedulingGates"]] == both
    assert "finalizers" not in held["metadata"]
    plain = queues.api.create(pods.pod("plain", queues.namespace))
    assert "schedulingGates" not in plain["spec"]
    # Held by the finalizer, and let go once it is deleted.
    queues.api.delete("v1", "Pod", "queued", namespace=queues.namespace)
    queues.api.wait_for("v1", "Pod", "queued", lambda p: p is None, namespace=queues.namespace)


ONE_NODE = sandbox.Options(nodes=1, kueue="none")


@pytest.mark.long
def test_while_the_stand_in_does_not_answer_pods_are_refused_and_after_it_they_are_not(
    process_only: None, fresh_cluster: OpenCluster
) -> None:
    opened = fresh_cluster(ONE_NODE)
    with kueue_standin.start(opened) as handle:
        opened.api.create(pods.pod("while", "default"))
        os.kill(handle.pid, signal.SIGKILL)
        assert os.waitid(os.P_PID, handle.pid, os.WEXITED | os.WNOWAIT)
        with pytest.raises(client.ApiError, match="failed calling webhook"):
            opened.api.create(pods.pod("killed", "default"))
    opened.api.create(pods.pod("after", "default"))


@pytest.mark.long
def test_the_stand_in_refuses_a_cluster_with_the_api_of_a_kueue(
    fresh_cluster: OpenCluster,
) -> None:
    opened = fresh_cluster(ONE_NODE)
    foreign = schemas.definitions()[0]
    del foreign["metadata"]["annotations"]
    opened.api.create(foreign)
    with (
        pytest.raises(kueue_standin.ForeignKueueError, match=r"workloads\.kueue\.x-k8s\.io"),
        kueue_standin.start(opened),
    ):
        pass
    # And by itself, when somebody starts it by hand.
    command = (sys.executable, "-m", "lws_kueue_lab.kueue_standin")
    ended = subprocess.run(
        [*command, "--kubeconfig", str(opened.kubeconfig)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode != 0
    assert "of a real Kueue" in ended.stderr


@pytest.mark.long
def test_the_stand_in_survives_its_api_server_and_ends_with_its_owner(
    fresh_cluster: OpenCluster,
) -> None:
    opened = fresh_cluster(ONE_NODE)
    with contextlib.ExitStack() as stack:
        handle = stack.enter_context(kueue_standin.start(opened))
        queues = Queues(opened.api, "default")
        queues.create({"cpu": "2"})
        queues.submit("before")
        queues.wait("Workload", "before", admitted)
        opened.stop_api_server()
        opened.start_api_server()
        queues.api = opened.api
        queues.submit("after")
        queues.wait("Workload", "after", admitted)
        assert Path(f"/proc/{handle.pid}").exists() or sys.platform != "linux"
    assert not Path(f"/proc/{handle.pid}").exists()
    assert "It is not Kueue:" in handle.log.read_text()


def test_pods_that_do_not_become_ready_in_time_are_evicted(fresh_cluster: OpenCluster) -> None:
    opened = fresh_cluster(ONE_NODE)
    options = lifecycle.Options(pods_ready_timeout=1, backoff_base=1)
    with kueue_standin.start(opened, options=options):
        queues = Queues(opened.api, "default")
        queues.create({"cpu": "1"})
        queues.submit("w")
        evicted = queues.wait("Workload", "w", has_reason("Evicted", "PodsReadyTimeout"))
        assert evicted["status"]["requeueState"]["count"] == 1
        queues.stop_pods("w")
        again = queues.wait("Workload", "w", admitted)
        assert condition(again, "Requeued")["reason"] == "BackoffFinished"
