"""How long `kubectl lws whatif` takes: `python -m tools.bench.whatif [ROUNDS]`.

There are 1,000 nodes of a topology and 500 Workloads in ten ClusterQueues of a cohort, two thirds
of which wait. The command is a process of its own each time, from its start to its end, against a
server on loopback that has the objects in memory. Printed are the median and the 95th percentile
in seconds, for each question.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from lws_kueue.api import names
from lws_kueue.kubectl import look
from lws_kueue.runtime import resources
from tests.kit.builders import cluster as build
from tests.kubectl import server as servers

ROUNDS: Final = 20
NODES: Final = 1000
WORKLOADS: Final = 500
QUEUES: Final = 10
_RACK: Final = "example.com/rack"
_SET: Final = "demo"
_QUESTIONS: Final = {
    "replicas": ("--replicas", "30"),
    "quota": ("--quota", "cq-0/default/cpu=400"),
}

Object = dict[str, Any]


def main(rounds: int = ROUNDS) -> None:
    """Measure and print what came of it."""
    print(f"{NODES} nodes, {WORKLOADS} Workloads; load {os.getloadavg()[0]:.1f}")
    for topology in (False, True):
        served = servers.Server()
        served.objects = _objects(topology=topology)
        with (
            tempfile.TemporaryDirectory() as folder,
            servers.serving(served, Path(folder)) as kubeconfig,
        ):
            for question, arguments in _QUESTIONS.items():
                taken = [_asked(kubeconfig, arguments) for _ in range(rounds)]
                _tell(f"{question}{', by topology' if topology else ''}", taken)


def _asked(kubeconfig: str, arguments: tuple[str, ...]) -> float:
    command = [sys.executable, "-m", "lws_kueue.kubectl.command", "whatif", _SET, *arguments]
    start = time.perf_counter()
    subprocess.run([*command, "--kubeconfig", kubeconfig], check=True, capture_output=True)
    return time.perf_counter() - start


def _tell(what: str, taken: list[float]) -> None:
    p95 = statistics.quantiles(taken, n=20, method="inclusive")[-1]
    print(f"{what}: median {statistics.median(taken):.2f} s, p95 {p95:.2f} s")


def _objects(*, topology: bool) -> dict[resources.Resource, list[Object]]:
    spec: Object = {"nodeLabels": {"pool": "a"}} | ({"topologyName": "t"} if topology else {})
    queues = [
        build.cluster_queue(
            f"cq-{n}",
            {"default": {"cpu": "40"}},
            cohortName="all",
            preemption={"withinClusterQueue": "LowerPriority", "reclaimWithinCohort": "Any"},
        )
        for n in range(QUEUES)
    ]
    locals_ = [
        build.local_queue(f"cq-{n}", namespace="default", cluster_queue=f"cq-{n}")
        for n in range(QUEUES)
    ]
    found = {
        resources.SETS: [_set(topology=topology)],
        resources.NODES: [_node(n) for n in range(NODES)],
        resources.WORKLOADS: [_workload(n, topology=topology) for n in range(WORKLOADS)],
        resources.LOCAL_QUEUES: locals_,
        resources.CLUSTER_QUEUES: queues,
        resources.FLAVORS: [build.kueues("ResourceFlavor", "default", **spec)],
        look.TOPOLOGIES: [build.topology("t", [_RACK, build.HOST])] if topology else [],
    }
    for kind, some in found.items():
        for one in some:
            one["metadata"] |= {"uid": f"{kind.plural}-{one['metadata']['name']}"}
            one["metadata"] |= {"resourceVersion": "1", "creationTimestamp": "2026-01-01T00:00:00Z"}
    return found


def _set(*, topology: bool) -> Object:
    template: Object = {"spec": {"containers": [_container("1")]}}
    if topology:
        template["metadata"] = {"annotations": {names.PODSET_REQUIRED_TOPOLOGY: _RACK}}
    return {
        "metadata": {
            "name": _SET,
            "namespace": "default",
            "generation": 1,
            "labels": {names.QUEUE_NAME: "cq-0"},
        },
        "spec": {"replicas": 2, "leaderWorkerTemplate": {"size": 4, "workerTemplate": template}},
    }


def _container(cpu: str) -> Object:
    return {"name": "main", "image": "pause", "resources": {"requests": {"cpu": cpu}}}


def _node(number: int) -> Object:
    made = build.node(
        f"node-{number}",
        labels={_RACK: f"rack-{number // 20}", "pool": "a"},
        offers={"cpu": "8", "memory": "64Gi", "pods": "110"},
    )
    made["status"]["conditions"] = [{"type": "Ready", "status": "True"}]
    return made


def _workload(number: int, *, topology: bool) -> Object:
    """Return a Workload of four pods; a third of them has quota."""
    request = {"topologyRequest": {"required": _RACK}} if topology else {}
    template = {"spec": {"containers": [_container("2" if number % 2 else "1")]}}
    pods = {"name": "main", "count": 4, "template": template, **request}
    queue = f"cq-{number % QUEUES}"
    spec = {"queueName": queue, "priority": number % 7, "podSets": [pods]}
    made = build.kueues("Workload", f"other-{number}", namespace="default", **spec)
    holds = number < WORKLOADS // 3
    when = "2026-01-01T00:00:00Z"
    state = {"type": "QuotaReserved", "status": str(holds), "lastTransitionTime": when}
    made["status"] = {"conditions": [{**state, "reason": "r", "message": ""}]}
    if holds:
        used = "8" if number % 2 else "4"
        part = {"name": "main", "count": 4, "flavors": {"cpu": "default"}}
        part["resourceUsage"] = {"cpu": used}
        made["status"]["admission"] = {"clusterQueue": queue, "podSetAssignments": [part]}
        made["status"]["conditions"].append({**made["status"]["conditions"][0], "type": "Admitted"})
    return made


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
