"""What a recorder saw, and whether any pod ran without quota, judged from that alone.

Nothing here comes from the code of the controller. Which group a pod is of is told by owners: its
StatefulSet belongs to the set itself, and then the pod is the leader that its ordinal says, or to a
leader. The group's Workload is the one that the set owns and that carries the group's index
(kueue-contract 1.8). Versions of objects are compared across kinds: they all come from one etcd.
"""

import dataclasses
import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Final

Object = dict[str, Any]
Amounts = Mapping[str, Fraction]

GROUP_INDEX_ANNOTATION: Final = "kueue.x-k8s.io/component-workload-index"
QUEUE_LABEL: Final = "kueue.x-k8s.io/queue-name"
GATES: Final = frozenset({"kueue.x-k8s.io/admission", "kueue.x-k8s.io/topology"})

_SUFFIXES: Final = {
    **{name: Fraction(1000) ** power for power, name in enumerate("num", -3)},
    **{name: Fraction(1000) ** power for power, name in enumerate("kMGTPE", 1)},
    **{f"{name}i": Fraction(1024) ** power for power, name in enumerate("KMGTPE", 1)},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A version of an object; ``gone`` is that of its end."""

    version: int
    uid: str
    namespace: str
    name: str
    gone: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PodSeen(Seen):
    """A pod: who made it, what holds it, where it is, and what it asks for."""

    owner: str = ""
    gated: bool = False
    node: str = ""
    ended: bool = False
    requests: Amounts = field(default_factory=dict)
    node_selector: Mapping[str, str] = field(default_factory=dict)

    @property
    def may_run(self) -> bool:
        """Whether it runs, or can come to run without anybody letting it go."""
        return not (self.gated or self.ended or self.gone)


@dataclass(frozen=True, slots=True, kw_only=True)
class StatefulSetSeen(Seen):
    """A StatefulSet and the UID of what it belongs to."""

    owner: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SetSeen(Seen):
    """A LeaderWorkerSet; ``queue`` is the one that it names."""

    queue: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PodSetSeen:
    """A pod set of a Workload: what was asked for, and what was admitted for all its pods."""

    name: str = "main"
    count: int = 0
    usage: Amounts = field(default_factory=dict)
    node_selector: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadSeen(Seen):
    """A Workload: whose it is, and what Kueue has said about it."""

    owners: frozenset[str] = frozenset()
    index: str = ""
    reserved: bool = False
    admitted: bool = False
    evicted: bool = False
    cluster_queue: str = ""
    pod_sets: tuple[PodSetSeen, ...] = ()

    @property
    def stands(self) -> bool:
        """Whether quota is given, be it that it is about to be taken back."""
        return self.reserved and self.admitted and not self.gone

    def pod_set(self, *, leads: bool) -> PodSetSeen | None:
        """Return the pod set of a group's leader or of its workers."""
        if len(self.pod_sets) == 1:
            return self.pod_sets[0]
        wanted = "leader" if leads else "worker"
        return next((one for one in self.pod_sets if one.name == wanted), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterQueueSeen(Seen):
    """A ClusterQueue and its nominal quota of all flavors; it is in no cohort."""

    nominal: Amounts = field(default_factory=dict)


Fact = PodSeen | StatefulSetSeen | SetSeen | WorkloadSeen | ClusterQueueSeen


# Reading -----------------------------------------------------------------------------------


def fact(event: Object) -> Fact | None:
    """Return what a watch event says, None where nothing is judged by objects of its kind."""
    obj = event["object"]
    meta = obj["metadata"]
    same: dict[str, Any] = {
        "version": int(meta["resourceVersion"]),
        "uid": meta["uid"],
        "namespace": meta.get("namespace", ""),
        "name": meta["name"],
        "gone": event["type"] == "DELETED",
    }
    match obj["kind"]:
        case "Pod":
            return _pod(obj, same)
        case "StatefulSet":
            return StatefulSetSeen(**same, owner=_controller(obj))
        case "LeaderWorkerSet":
            return SetSeen(**same, queue=(meta.get("labels") or {}).get(QUEUE_LABEL, ""))
        case "Workload":
            return _workload(obj, same)
        case "ClusterQueue":
            groups = obj["spec"].get("resourceGroups") or ()
            flavors = (f for group in groups for f in group["flavors"])
            quotas = (r for flavor in flavors for r in flavor["resources"])
            nominal = total({r["name"]: quantity(r["nominalQuota"])} for r in quotas)
            return ClusterQueueSeen(**same, nominal=nominal)
    return None


def _controller(obj: Object) -> str:
    references = obj["metadata"].get("ownerReferences") or ()
    return next((str(r["uid"]) for r in references if r.get("controller")), "")


def _pod(obj: Object, same: Mapping[str, Any]) -> PodSeen:
    spec = obj["spec"]
    held = {gate["name"] for gate in spec.get("schedulingGates") or ()}
    return PodSeen(
        **same,
        owner=_controller(obj),
        gated=bool(held & GATES),
        node=spec.get("nodeName", ""),
        ended=(obj.get("status") or {}).get("phase") in ("Succeeded", "Failed"),
        requests=effective(spec),
        node_selector=spec.get("nodeSelector") or {},
    )


def _workload(obj: Object, same: Mapping[str, Any]) -> WorkloadSeen:
    meta, status = obj["metadata"], obj.get("status") or {}
    true = {c["type"] for c in status.get("conditions") or () if c["status"] == "True"}
    admission = status.get("admission") or {}
    return WorkloadSeen(
        **same,
        owners=frozenset(r["uid"] for r in meta.get("ownerReferences") or ()),
        index=(meta.get("annotations") or {}).get(GROUP_INDEX_ANNOTATION, ""),
        reserved="QuotaReserved" in true,
        admitted="Admitted" in true,
        evicted="Evicted" in true,
        cluster_queue=admission.get("clusterQueue", ""),
        pod_sets=tuple(_pod_set(obj, each) for each in admission.get("podSetAssignments") or ()),
    )


def _pod_set(obj: Object, admitted: Object) -> PodSetSeen:
    pod_sets: dict[str, Object] = {one["name"]: one for one in obj["spec"]["podSets"]}
    template = pod_sets.get(admitted["name"], {}).get("template") or {}
    return PodSetSeen(
        name=admitted["name"],
        count=admitted.get("count", 0),
        usage=amounts(admitted.get("resourceUsage")),
        node_selector=(template.get("spec") or {}).get("nodeSelector") or {},
    )


def quantity(text: str | int) -> Fraction:
    """Return an amount as Kubernetes writes it."""
    text = str(text)
    suffix = next((s for s in sorted(_SUFFIXES, key=len, reverse=True) if text.endswith(s)), "")
    return Fraction(text.removesuffix(suffix)) * _SUFFIXES.get(suffix, 1)


def amounts(texts: Mapping[str, str | int] | None) -> Amounts:
    """Return amounts as Kubernetes writes them, resource by resource; nothing is left out."""
    return {name: quantity(text) for name, text in (texts or {}).items() if quantity(text)}


def total(some: Iterable[Amounts]) -> dict[str, Fraction]:
    """Return the sum of amounts, resource by resource."""
    result: dict[str, Fraction] = {}
    for each in some:
        for name, amount in each.items():
            result[name] = result.get(name, Fraction()) + amount
    return result


def _most(*some: Amounts) -> Amounts:
    names = {name for each in some for name in each}
    return {name: max(each.get(name, Fraction()) for each in some) for name in names}


def effective(spec: Object) -> Amounts:
    """Return what a stored pod requests by Kubernetes' rules (``PodRequests``), as Kueue counts.

    Containers add up. Each init container runs beside the sidecars before it. Requests of the pod
    as a whole replace the sums, and the overhead comes on top. Cpu is counted in thousandths, and
    everything else in whole units.
    """

    def of(holder: Object) -> Amounts:
        resources = holder.get("resources") or {}
        return amounts({**(resources.get("limits") or {}), **(resources.get("requests") or {})})

    sidecars: Amounts = {}
    starting: Amounts = {}
    for container in spec.get("initContainers") or ():
        beside = total([sidecars, of(container)])
        starting = _most(starting, beside)
        if container.get("restartPolicy") == "Always":
            sidecars = beside
    running = total([*map(of, spec["containers"]), sidecars])
    whole = {
        name: amount
        for name, amount in of(spec).items()
        if name in ("cpu", "memory") or name.startswith("hugepages-")
    }
    asked = total([{**_most(running, starting), **whole}, amounts(spec.get("overhead"))])
    units = {name: 1000 if name == "cpu" else 1 for name in asked}
    return {name: Fraction(math.ceil(a * units[name]), units[name]) for name, a in asked.items()}


def overdrawn(events: Iterable[Object]) -> list[str]:
    """Return where the recorded ClusterQueues show more usage than nominal quota."""
    found = []
    for obj in (event["object"] for event in events):
        nominal = {
            (flavor["name"], one["name"]): quantity(one["nominalQuota"])
            for group in obj["spec"].get("resourceGroups") or ()
            for flavor in group["flavors"]
            for one in flavor["resources"]
        }
        status = obj.get("status") or {}
        for part in ("flavorsReservation", "flavorsUsage"):
            for flavor in status.get(part) or ():
                for one in flavor["resources"]:
                    used = quantity(one.get("total", 0))
                    if used > nominal[flavor["name"], one["name"]]:
                        name = obj["metadata"]["name"]
                        where = f"{part} of {flavor['name']}/{one['name']}"
                        found.append(f"{name}: {where}: {float(used)}")
    return found


# Judging -----------------------------------------------------------------------------------


@dataclass(slots=True)
class Book:
    """What was wrong with a set, and how many of its pods were let go."""

    violations: list[str] = field(default_factory=list)
    released: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was wrong, and how much was looked at: a history without pods proves nothing.

    ``books`` has the same for each set in a queue of which pods were let go, by its name.
    """

    violations: tuple[str, ...]
    bound: int
    books: Mapping[str, Book]


def judge(facts: Iterable[Fact], *, unaccounted: Collection[str] = ()) -> Verdict:
    """Play a history and return what in it must not have been.

    Of the sets in ``unaccounted`` it does not count whether pods request what Kueue admitted: Kueue
    was not told all of it.
    """
    court = _Court(frozenset(unaccounted))
    ordered = sorted(facts, key=lambda each: each.version)
    violations: list[str] = []
    for each in ordered:
        for group, found in court.hear(each):
            court.books.setdefault(group.set_name, Book()).violations.append(found)
            violations.append(found)
    return Verdict(tuple(violations), len(court.bound), court.books)


@dataclass(frozen=True, slots=True)
class _Group:
    """A group of a set that waits for a queue."""

    set_uid: str
    set_name: str
    index: str


# What was wrong, and with which group.
_Found = tuple[_Group, str]


@dataclass(slots=True)
class _Court:
    """Everything as it is at one version, and what became of each pod up to there."""

    unaccounted: frozenset[str]
    books: dict[str, Book] = field(default_factory=dict)
    pods: dict[str, PodSeen] = field(default_factory=dict)
    stateful_sets: dict[str, StatefulSetSeen] = field(default_factory=dict)
    sets: dict[str, SetSeen] = field(default_factory=dict)
    workloads: dict[str, WorkloadSeen] = field(default_factory=dict)
    queues: dict[str, ClusterQueueSeen] = field(default_factory=dict)
    # What each Workload has been, the latest last.
    past: dict[str, list[WorkloadSeen]] = field(default_factory=dict)
    # The ClusterQueue that stands behind each pod that was let go: none, or nothing to be judged.
    let_go: dict[str, str | None] = field(default_factory=dict)
    bound: set[str] = field(default_factory=set)

    def hear(self, each: Fact) -> Iterator[_Found]:
        match each:
            case PodSeen():
                self.pods[each.uid] = each
                yield from self._pod(each)
            case StatefulSetSeen():
                self.stateful_sets[each.uid] = each
            case SetSeen():
                self.sets[each.uid] = each
            case WorkloadSeen():
                before = self.workloads.get(each.uid)
                self.workloads[each.uid] = each
                self.past.setdefault(each.uid, []).append(each)
                yield from self._workload(before, each)
            case ClusterQueueSeen():
                self.queues[each.name] = each

    def _group(self, pod: PodSeen) -> _Group | None:
        """Return the group that a pod is of; None if no queue has anything to do with it."""
        maker = self.stateful_sets.get(pod.owner)
        if maker is None:
            return None
        leader = self.pods.get(maker.owner)
        if leader is not None:
            return self._group(leader)
        owner = self.sets.get(maker.owner)
        if owner is None or not owner.queue:
            return None
        return _Group(owner.uid, owner.name, pod.name.rpartition("-")[2])

    def _leads(self, pod: PodSeen) -> bool:
        return self.stateful_sets[pod.owner].owner in self.sets

    def _of_group(self, group: _Group) -> list[WorkloadSeen]:
        return [
            one
            for one in self.workloads.values()
            if group.set_uid in one.owners and one.index == group.index and not one.gone
        ]

    def _pod(self, pod: PodSeen) -> Iterator[_Found]:
        group = self._group(pod)
        if pod.gone:
            return
        if not pod.gated and pod.uid not in self.let_go:
            self.let_go[pod.uid] = None
            if group is not None:
                self.books.setdefault(group.set_name, Book()).released += 1
                yield from self._released(pod, group)
        # A pod of a plain set stays what it was when somebody gives the set a queue.
        judged = group is not None and self.let_go.get(pod.uid, "") is not None
        if group is not None and judged and pod.node and pod.uid not in self.bound:
            self.bound.add(pod.uid)
            if not any(one.stands for one in self._of_group(group)):
                yield self._told(pod, group, f"got node {pod.node} without an admitted Workload")

    def _released(self, pod: PodSeen, group: _Group) -> Iterator[_Found]:
        given = [one for one in self._of_group(group) if one.stands and not one.evicted]
        self.let_go[pod.uid] = given[0].cluster_queue if given else ""
        if not given:
            yield self._told(pod, group, "was let go without an admitted Workload")
            return
        for what in self._differences(pod, group, given[0]):
            yield self._told(pod, group, what)
        for what in self._over_quota(given[0].cluster_queue, pod):
            yield group, what

    def _differences(self, pod: PodSeen, group: _Group, given: WorkloadSeen) -> Iterator[str]:
        """Tell why a pod is none of those for which its group's Workload was admitted."""
        admitted = given.pod_set(leads=self._leads(pod))
        if admitted is None:
            yield f"was let go, and is of no pod set of Workload {given.name}"
            return
        running = sum(
            p.may_run
            and self._group(p) == group
            and given.pod_set(leads=self._leads(p)) == admitted
            for p in self.pods.values()
        )
        if running > admitted.count:
            yield f"was let go as number {running}, admitted are {admitted.count}"
        each = {name: amount / max(1, admitted.count) for name, amount in admitted.usage.items()}
        if pod.requests != each and group.set_name not in self.unaccounted:
            yield f"was let go with {_said(pod.requests)}, admitted are {_said(each)}"
        if not admitted.node_selector.items() <= pod.node_selector.items():
            asked, has = dict(admitted.node_selector), dict(pod.node_selector)
            yield f"was let go with node selector {has}, admitted is {asked}"

    def _over_quota(self, queue: str, pod: PodSeen) -> Iterator[str]:
        known = self.queues.get(queue)
        if known is None:
            yield f"version {pod.version}: ClusterQueue {queue} of {pod.name} is not known"
            return
        used = total(
            p.requests
            for uid, p in self.pods.items()
            if p.may_run and self.let_go.get(uid) == queue
        )
        for name, amount in used.items():
            if name in known.nominal and amount > known.nominal[name]:
                yield (
                    f"version {pod.version}: with {pod.namespace}/{pod.name} {float(amount)} {name}"
                    f" of ClusterQueue {queue} are used, its quota is {float(known.nominal[name])}"
                )

    def _workload(self, before: WorkloadSeen | None, after: WorkloadSeen) -> Iterator[_Found]:
        """Look that no pod can run on quota that is given back."""
        if before is None or not before.stands or after.stands:
            return
        for pod in self.pods.values():
            group = self._group(pod)
            if group is None or not pod.may_run or self.let_go.get(pod.uid) is None:
                continue
            mine = group.set_uid in after.owners and group.index == after.index
            if mine and not any(one.stands for one in self._of_group(group)):
                what = f"could run when Workload {after.name} gave its quota back"
                yield self._told(dataclasses.replace(pod, version=after.version), group, what)

    def _told(self, pod: PodSeen, group: _Group, what: str) -> _Found:
        pasts = [
            f"{states[-1].name}: {', '.join(_state(one) for one in states[-_PAST:])}"
            for states in self.past.values()
            if group.set_uid in states[-1].owners and states[-1].index == group.index
        ]
        return group, (
            f"version {pod.version}: pod {pod.namespace}/{pod.name} of group {group.index} {what}"
            f" (Workloads: {'; '.join(pasts) or 'none'})"
        )


# How many of a Workload's last versions a violation tells.
_PAST: Final = 6


def _state(one: WorkloadSeen) -> str:
    """Say what a Workload was at one version."""
    states = {
        "reserved": one.reserved,
        "admitted": one.admitted,
        "evicted": one.evicted,
        "gone": one.gone,
    }
    return f"{one.version} {'+'.join(name for name, so in states.items() if so) or 'pending'}"


def _said(some: Amounts) -> str:
    return (
        ", ".join(f"{float(amount)} {name}" for name, amount in sorted(some.items())) or "nothing"
    )
