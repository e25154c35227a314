"""Where a Workload stands in its queue, who is ahead, and whether preemption could help.

Kueue tells positions through its visibility API, where that is served. Where it is not, the order
is that of the simulation, and so is who may be preempted (`lws_kueue.simulator`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lws_kueue.api import kueue, quantity
from lws_kueue.kubectl import quota
from lws_kueue.simulator import objects, turns
from lws_kueue.simulator import preemption as simulated
from lws_kueue.workload import state

Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Position:
    """The place in the ClusterQueue and in the LocalQueue, from 1, and of how many.

    ``told`` says that Kueue has told it; otherwise it is reckoned.
    """

    in_cluster_queue: int
    of_cluster_queue: int
    in_local_queue: int
    of_local_queue: int
    told: bool


@dataclass(frozen=True, slots=True)
class Ahead:
    """A Workload that is considered before."""

    namespace: str
    workload: str
    priority: int
    requests: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Preemption:
    """Whether room could be made, and by what; ``victims`` are Workloads that may have to go.

    ``possible`` says that they hold enough of all that is missing. ``policy`` is that within the
    ClusterQueue, ``reclaim`` that within its cohort, "" without one: whose Workloads that would
    concern is not reckoned.
    """

    possible: bool
    policy: str
    victims: tuple[str, ...] = ()
    reclaim: str = ""


@dataclass(frozen=True, slots=True)
class Queue:
    """What waits in a ClusterQueue, in its order, and what holds its quota."""

    pending: tuple[kueue.Workload, ...]
    holding: tuple[kueue.Workload, ...]


def queue(
    cluster_queue: str, workloads: Iterable[kueue.Workload], local_queues: Iterable[Object]
) -> Queue:
    """Return the queue as it can be reckoned from the Workloads that may be read."""
    feeding = {
        (one["metadata"].get("namespace", ""), one["metadata"]["name"])
        for one in local_queues
        if (one.get("spec") or {}).get("clusterQueue") == cluster_queue
    }
    pending, holding = [], []
    for one in workloads:
        if one.is_true(state.QUOTA_RESERVED):
            admission = one.status.admission
            if admission is not None and admission.cluster_queue == cluster_queue:
                holding.append(one)
        elif (one.meta.namespace, one.spec.queue_name) in feeding and _waits(one):
            pending.append(one)
    return Queue(tuple(sorted(pending, key=_turn)), tuple(holding))


def _waits(workload: kueue.Workload) -> bool:
    return state.admission(workload) is state.Admission.PENDING


def _turn(workload: kueue.Workload) -> tuple[int, str, str]:
    return turns.turn(workload.spec.priority or 0, _since(workload), workload.meta.uid)


def _since(workload: kueue.Workload) -> str:
    conditions = {one["type"]: one for one in workload.stored_status.get("conditions") or ()}
    return turns.since(workload.meta.created, conditions)


def position(
    own: kueue.Workload, waiting: Queue, told: Sequence[Object] | None
) -> tuple[Position | None, tuple[tuple[str, str], ...]]:
    """Return where a Workload stands, and the namespaces and names of those ahead of it.

    ``told`` is what the visibility API lists of the ClusterQueue; None if it tells nothing.
    """
    if told is not None:
        order = [(one["metadata"].get("namespace", ""), one["metadata"]["name"]) for one in told]
        queues = [str(one.get("localQueueName", "")) for one in told]
    else:
        order = [(one.meta.namespace, one.meta.name) for one in waiting.pending]
        queues = [one.spec.queue_name for one in waiting.pending]
    key = (own.meta.namespace, own.meta.name)
    if key not in order:
        # Kueue is just looking at it, and has taken it out of the queue for that.
        return position(own, waiting, None) if told is not None else (None, ())
    place = order.index(key)
    local = [
        at
        for at, queue_name in zip(order, queues, strict=True)
        if queue_name == own.spec.queue_name and at[0] == own.meta.namespace
    ]
    found = Position(
        in_cluster_queue=place + 1,
        of_cluster_queue=len(order),
        in_local_queue=local.index(key) + 1,
        of_local_queue=len(local),
        told=told is not None,
    )
    return found, tuple(order[:place])


def ahead(
    before: Iterable[tuple[str, str]], workloads: Iterable[kueue.Workload]
) -> tuple[Ahead, ...]:
    """Return what is known of the Workloads ahead."""
    known = {(one.meta.namespace, one.meta.name): one for one in workloads}
    return tuple(
        Ahead(
            namespace=at[0],
            workload=at[1],
            priority=(known[at].spec.priority or 0) if at in known else 0,
            requests=quantity.render_all(asked(known[at])) if at in known else {},
        )
        for at in before
    )


def asked(workload: kueue.Workload) -> quantity.Amounts:
    """Return what a Workload asks for, as Kueue has reckoned it; nothing until it has."""
    told = workload.stored_status.get("resourceRequests") or ()
    return quantity.add(*(quantity.parse_all(one.get("resources")) for one in told))


def held(workload: kueue.Workload) -> dict[quota.Kind, int]:
    """Return what a Workload holds, by flavor and resource."""
    found: dict[quota.Kind, int] = {}
    admission = workload.status.admission
    for part in admission.pod_set_assignments if admission else ():
        for resource, amount in part.resource_usage.items():
            kind = (part.flavors.get(resource, ""), resource)
            found[kind] = found.get(kind, 0) + quantity.parse(resource, amount)
    return found


def preemption(
    own: kueue.Workload,
    waiting: Queue,
    spec: Mapping[str, Any],
    short: Mapping[str, tuple[quota.Free, int]],
) -> Preemption | None:
    """Return whether preemption in its ClusterQueue could make room; None where nothing is short.

    ``spec`` is that of the ClusterQueue, ``short`` what is missing by resource.
    """
    if not short:
        return None
    given = spec.get("preemption") or {}
    policy = given.get("withinClusterQueue") or "Never"
    reclaim = (given.get("reclaimWithinCohort") or "Never") if spec.get("cohortName") else ""
    if policy == "Never":
        return Preemption(possible=False, policy=policy, reclaim=reclaim)
    missing = {(free.flavor, resource): amount for resource, (free, amount) in short.items()}
    preemptor = simulated.Preemptor(
        queue=objects.ClusterQueue.of({"metadata": {}, "spec": spec}),
        priority=own.spec.priority or 0,
        queued=_since(own),
        usage=missing,
        kinds=frozenset(missing),
    )
    holders = map(_holder, waiting.holding)
    victims = [one for one in holders if simulated.yields(one, preemptor, policy)]
    enough = all(
        sum(one.usage.get(kind, 0) for one in victims) >= amount for kind, amount in missing.items()
    )
    return Preemption(
        possible=bool(victims) and enough,
        policy=policy,
        victims=tuple("/".join(one.key) for one in victims),
        reclaim=reclaim,
    )


def _holder(workload: kueue.Workload) -> simulated.Holder:
    admission = workload.status.admission
    return simulated.Holder(
        key=(workload.meta.namespace, workload.meta.name),
        queue=admission.cluster_queue if admission else "",
        usage=held(workload),
        priority=workload.spec.priority or 0,
        queued=_since(workload),
        reserved=("", 0),
        uid=workload.meta.uid,
    )
