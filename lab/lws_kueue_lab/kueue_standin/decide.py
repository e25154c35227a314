"""From everything observed to the writes that should follow: what the stand-in does, in order.

A pass is level-triggered and pure. Each Workload first moves on as far as it can by itself
(`lifecycle`) and looks at its nodes (`node_failure`), then those without quota compete for it
(`scheduling`), then the queues count (`queues`). An object gets at most one write a pass, guarded
by the resourceVersion that the decision was made on, so two conflicting passes can never both
succeed.
"""

import dataclasses
import datetime
from collections.abc import Iterable, Mapping
from typing import Any

from lws_kueue.api import actions, facts, names
from lws_kueue.simulator import completion, objects
from lws_kueue_lab.kueue_standin import draft as drafts
from lws_kueue_lab.kueue_standin import (
    lifecycle,
    node_failure,
    pod_groups,
    queues,
    scheduling,
    watched,
)

Write = actions.Apply | actions.Patch


@dataclasses.dataclass(frozen=True, slots=True)
class Decision:
    """The writes of a pass, and after how many seconds the next one is due, if ever."""

    writes: tuple[Write, ...]
    recheck_after: float | None = None


def decide(
    observed: watched.Watched,
    *,
    now: datetime.datetime,
    options: lifecycle.Options | None = None,
) -> Decision:
    """Decide what to write now."""
    options = options or lifecycle.Options()
    observed = completion.complete(observed)
    problems = {
        name: queues.inactive(queue, observed) for name, queue in observed.cluster_queues.items()
    }
    states: dict[tuple[str, str], drafts.Draft] = {}
    competing: list[drafts.Draft] = []
    specs: list[Write] = []
    watch = node_failure.Watch(observed)
    rechecks: list[float] = []
    for key, workload in sorted(observed.workloads.items()):
        state = states[key] = drafts.Draft(workload, now)
        if workload.is_true("Finished"):
            continue
        if lifecycle.orphaned(workload):
            specs += _let_go(state)
            continue
        _, queue = observed.queues_of(workload)
        problem = queues.explain(problems[queue.meta.name]) if queue else None
        outcome = lifecycle.advance(state, observed=observed, inactive=problem, options=options)
        changes = _spec_changes(workload, outcome, observed)
        if changes:
            # The rest is for the next pass, which sees the spec as it then is.
            specs += changes
            states[key] = drafts.Draft(workload, now)
            continue
        specs += watch.examine(state)
        if outcome.competes and not workload.meta.deleting:
            competing.append(state)
        if outcome.recheck_after is not None:
            rechecks.append(outcome.recheck_after)
    active = {name for name, problem in problems.items() if problem is None}
    scheduling.Cycle(observed, states, active=active).run(competing)
    statuses = [_status_of(state) for state in states.values() if state.changed]
    writes: tuple[Write, ...] = (*specs, *statuses)
    if options.pods is not None:
        writes += _once(pod_groups.abandoned(observed), writes)
    writes += tuple(_queue_statuses(observed, states, problems, now))
    return Decision(writes=writes, recheck_after=min(rechecks, default=None))


def _once(more: Iterable[actions.Patch], writes: Iterable[Write]) -> tuple[Write, ...]:
    """Leave out what this pass writes already: the next one sees what became of it."""
    taken = {_target(write) for write in writes}
    return tuple(write for write in more if _target(write) not in taken)


def _target(write: Write) -> tuple[str, str, str]:
    if isinstance(write, actions.Patch):
        return write.ref.kind, write.ref.namespace, write.ref.name
    meta = write.body["metadata"]
    return write.body["kind"], meta.get("namespace", ""), meta["name"]


def _let_go(state: drafts.Draft) -> list[Write]:
    """Finish a Workload whose owner is gone, and let a deleted one go (kueue-contract 1.15)."""
    meta = state.workload.meta
    if not meta.deleting:
        message = "The workload's owner no longer exists"
        state.set("Finished", True, "OwnerNotFound", message)
        return []
    if names.WORKLOAD_FINALIZER not in meta.finalizers:
        return []
    kept = [name for name in meta.finalizers if name != names.WORKLOAD_FINALIZER]
    return [_patch(meta, {"metadata": {"finalizers": kept}})]


def _spec_changes(
    workload: objects.Workload, outcome: lifecycle.Outcome, observed: watched.Watched
) -> list[Write]:
    change: dict[str, Any] = {}
    if outcome.deactivate:
        change["active"] = False
    ref = workload.spec.get("priorityClassRef") or {}
    if ref.get("kind") == "WorkloadPriorityClass":
        known = observed.priority_classes.get(ref.get("name", ""))
        if known is not None and known.value != workload.spec.get("priority"):
            change["priority"] = known.value
    return [_patch(workload.meta, {"spec": change})] if change else []


def _patch(meta: facts.Meta, body: Mapping[str, Any]) -> Write:
    ref = actions.Ref(names.KUEUE_API_VERSION, "Workload", meta.namespace, meta.name)
    return actions.Patch(ref=ref, body=body, resource_version=meta.resource_version)


def _status_of(state: drafts.Draft) -> Write:
    return _apply("Workload", state.workload.meta, state.managed())


def _apply(kind: str, meta: facts.Meta, status: Mapping[str, Any]) -> Write:
    metadata = {"name": meta.name, "resourceVersion": meta.resource_version}
    if meta.namespace:
        metadata["namespace"] = meta.namespace
    return actions.Apply(
        body={
            "apiVersion": names.KUEUE_API_VERSION,
            "kind": kind,
            "metadata": metadata,
            "status": status,
        },
        field_manager=names.ADMISSION_FIELD_MANAGER,
        subresource="status",
        resource_version=meta.resource_version,
    )


def _queue_statuses(
    observed: watched.Watched,
    states: Mapping[tuple[str, str], drafts.Draft],
    problems: Mapping[str, tuple[str, str] | None],
    now: datetime.datetime,
) -> list[Write]:
    by_local: dict[tuple[str, str], list[drafts.Draft]] = {}
    for state in states.values():
        by_local.setdefault(state.workload.queue, []).append(state)
    by_cluster: dict[str, list[drafts.Draft]] = {}
    writes: list[Write] = []
    for key, local in sorted(observed.local_queues.items()):
        queue = observed.cluster_queues.get(local.cluster_queue)
        members = by_local.get(key, [])
        by_cluster.setdefault(local.cluster_queue, []).extend(members)
        status = queues.local_queue_status(
            local,
            queue,
            members=members,
            problem=problems.get(local.cluster_queue),
            now=now,
        )
        if status != dict(local.status):
            writes.append(_apply("LocalQueue", local.meta, status))
    for name, queue in sorted(observed.cluster_queues.items()):
        status = queues.cluster_queue_status(
            queue, members=by_cluster.get(name, []), problem=problems[name], now=now
        )
        if status != dict(queue.status):
            writes.append(_apply("ClusterQueue", queue.meta, status))
    return writes
