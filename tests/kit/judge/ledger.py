"""What a recording tells of sets that roll under quota: who ran on what, and how many were down.

Judged from the recorded objects alone, in the order of their versions, which all come from one
etcd. Pods are let go when the last gate of Kueue's has fallen; from then on they use quota until
they have ended. What a Workload was admitted for is what Kueue wrote into its status.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lws_kueue.api import names, quantity, requests
from tests.kit.live import harness
from tests.kit.lws.sample import Object

KUEUE_GATES = frozenset({names.ADMISSION_GATE, names.TOPOLOGY_GATE})


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds for a set: its quota, and how many groups stay available from a version on."""

    quota: quantity.Amounts
    stay: int = 0
    since: int = 0
    # Whether what Kueue admitted has to be what the pods request: not where it is not told all.
    accounted: bool = True


@dataclass(slots=True)
class Book:
    """What was seen of a set; ``fewest`` is of groups that were available at the same time."""

    violations: list[str] = field(default_factory=list)
    released: int = 0
    fewest: int | None = None
    most_used: quantity.Amounts = field(default_factory=dict)


def judge(events: Iterable[Object], terms: Mapping[str, Terms]) -> dict[str, Book]:
    """Return what the events, of pods and Workloads, tell of each set in ``terms``."""
    court = _Court(terms)
    for event in sorted(events, key=lambda e: int(e["object"]["metadata"]["resourceVersion"])):
        court.hear(event)
    return court.books


def overdrawn(events: Iterable[Object]) -> list[str]:
    """Return where the recorded ClusterQueues show more usage than nominal quota."""
    found = []
    for obj in (event["object"] for event in events):
        nominal = {
            (flavor["name"], one["name"]): quantity.parse(one["name"], one["nominalQuota"])
            for group in obj["spec"].get("resourceGroups") or ()
            for flavor in group["flavors"]
            for one in flavor["resources"]
        }
        status = obj.get("status") or {}
        for part in ("flavorsReservation", "flavorsUsage"):
            for flavor in status.get(part) or ():
                for one in flavor["resources"]:
                    used = quantity.parse(one["name"], one.get("total", 0))
                    if used > nominal[flavor["name"], one["name"]]:
                        name = obj["metadata"]["name"]
                        found.append(f"{name}: {part} of {flavor['name']}/{one['name']}: {used}")
    return found


def available_groups(pods: Iterable[Object]) -> set[str]:
    """Return the groups of one set of which all pods are ready and none is on its way out."""
    ready: dict[str, int] = {}
    sizes: dict[str, int] = {}
    for pod in pods:
        meta = pod["metadata"]
        group = meta["labels"][names.GROUP_INDEX]
        if meta["labels"][names.WORKER_INDEX] == "0":
            sizes[group] = int(meta["annotations"][names.SIZE])
        if harness.is_ready(pod) and "deletionTimestamp" not in meta:
            ready[group] = ready.get(group, 0) + 1
    return {group for group, size in sizes.items() if ready.get(group, 0) == size}


def may_run(pod: Object) -> bool:
    """Whether a pod is let go and has not ended."""
    ended = (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")
    return not ended and not KUEUE_GATES.intersection(harness.gates(pod))


def admitted(workload: Object) -> bool:
    """Whether Kueue says so."""
    return (harness.condition(workload, "Admitted") or {}).get("status") == "True"


def podset_of(pod: Object, workload: Object) -> str:
    """Return the pod set of which a pod has to be."""
    if len(workload["spec"]["podSets"]) == 1:
        return "main"
    return "leader" if pod["metadata"]["labels"][names.WORKER_INDEX] == "0" else "worker"


class _Court:
    """The pods and Workloads of all sets at one version."""

    def __init__(self, terms: Mapping[str, Terms]) -> None:
        self.terms = terms
        self.books = {name: Book() for name in terms}
        self._pods: dict[str, dict[str, Object]] = {name: {} for name in terms}
        self._workloads: dict[tuple[str, str], dict[str, Object]] = {}
        self._let_go: set[str] = set()

    def hear(self, event: Object) -> None:
        obj, gone = event["object"], event["type"] == "DELETED"
        if obj["kind"] == "Workload":
            self._hear_workload(obj, gone=gone)
        elif (obj["metadata"].get("labels") or {}).get(names.SET_NAME) in self.terms:
            self._hear_pod(obj, gone=gone)

    def _hear_workload(self, obj: Object, *, gone: bool) -> None:
        meta = obj["metadata"]
        annotations = meta.get("annotations") or {}
        name = annotations.get(names.JOB_OWNER_NAME, "")
        group = annotations.get(names.COMPONENT_WORKLOAD_INDEX, "")
        if name not in self.terms:
            return
        known = self._workloads.setdefault((name, group), {})
        if gone:
            known.pop(meta["uid"], None)
        else:
            known[meta["uid"]] = obj
        if not any(admitted(one) for one in known.values()):
            for pod in self._pods[name].values():
                if pod["metadata"]["labels"][names.GROUP_INDEX] == group and may_run(pod):
                    self._blame(name, obj, f"{_name(pod)} could run when {_name(obj)} was not")

    def _hear_pod(self, pod: Object, *, gone: bool) -> None:
        meta = pod["metadata"]
        name = meta["labels"][names.SET_NAME]
        pods = self._pods[name]
        if gone:
            pods.pop(meta["uid"], None)
        else:
            pods[meta["uid"]] = pod
            if may_run(pod) and meta["uid"] not in self._let_go:
                self._let_go.add(meta["uid"])
                self.books[name].released += 1
                self._hear_release(name, pod)
        self._count(name, pod)

    def _hear_release(self, name: str, pod: Object) -> None:
        """Look that the pod is one of those for which its group's Workload was admitted."""
        group = pod["metadata"]["labels"][names.GROUP_INDEX]
        known = [one for one in self._workloads.get((name, group), {}).values() if admitted(one)]
        if not known:
            self._blame(name, pod, f"{_name(pod)} was let go without an admitted Workload")
            return
        workload = known[0]
        podset = podset_of(pod, workload)
        assignments = workload["status"]["admission"]["podSetAssignments"]
        assigned = next((one for one in assignments if one["name"] == podset), None)
        if assigned is None:
            self._blame(name, pod, f"{_name(pod)} is of no pod set of {_name(workload)}")
            return
        others = sum(
            may_run(other)
            and other["metadata"]["labels"][names.GROUP_INDEX] == group
            and podset_of(other, workload) == podset
            for other in self._pods[name].values()
        )
        if others > assigned["count"]:
            self._blame(name, pod, f"{_name(pod)} is number {others} of {assigned['count']}")
        wanted = _present(requests.of_pod(pod["spec"]))
        total = quantity.parse_all(assigned.get("resourceUsage"))
        given = _present({key: value // assigned["count"] for key, value in total.items()})
        if self.terms[name].accounted and wanted != given:
            self._blame(name, pod, f"{_name(pod)} requests {wanted}, admitted are {given}")
        self._compare_placement(name, pod, workload, podset)

    def _compare_placement(self, name: str, pod: Object, workload: Object, podset: str) -> None:
        template = next(p for p in workload["spec"]["podSets"] if p["name"] == podset)["template"]
        asked = template["spec"].get("nodeSelector") or {}
        has = pod["spec"].get("nodeSelector") or {}
        if any(has.get(key) != value for key, value in asked.items()):
            self._blame(name, pod, f"{_name(pod)} has selector {has}, admitted is {asked}")

    def _count(self, name: str, event: Object) -> None:
        book, terms = self.books[name], self.terms[name]
        pods = self._pods[name].values()
        used = quantity.add(*(requests.of_pod(p["spec"]) for p in pods if may_run(p)))
        book.most_used = quantity.largest(book.most_used, used)
        for resource, amount in used.items():
            if amount > terms.quota.get(resource, 0):
                self._blame(name, event, f"{amount} {resource} used of {terms.quota}")
        if terms.since and int(event["metadata"]["resourceVersion"]) > terms.since:
            available = len(available_groups(pods))
            book.fewest = available if book.fewest is None else min(available, book.fewest)

    def _blame(self, name: str, obj: Object, what: str) -> None:
        self.books[name].violations.append(f"version {obj['metadata']['resourceVersion']}: {what}")


def _name(obj: Object) -> str:
    return str(obj["metadata"]["name"])


def _present(amounts: Mapping[str, Any]) -> dict[str, int]:
    return {key: value for key, value in amounts.items() if value}
