"""Workloads of a set as a set difference: what to create, change and remove (kueue-contract 1.6).

A Workload belongs to a group by its owner and its component index; the name only decides where
the index is missing. Each Workload's writes are a chain of their own, so one that fails stops no
other. A Workload whose group is no longer wanted is removed once none of the group's pods can
run any more: until then its quota is in use, and giving it away would start pods beyond it.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lws_kueue.api import actions, facts, kueue, lws, names
from lws_kueue.workload import build, naming, state
from lws_kueue.workload import pods as group
from lws_kueue.workload.problems import Problem

# Of a number of groups. Anyone may write an index, even one that is too long to be read.
_MOST_DIGITS = 10


@dataclass(frozen=True, slots=True)
class Changes:
    """The writes, what somebody has to change (by group index), and who serves which group."""

    chains: tuple[actions.Chain, ...] = ()
    problems: Mapping[int, Problem] = field(default_factory=dict)
    by_index: Mapping[int, kueue.Workload] = field(default_factory=dict)


def changes(
    owner: lws.LeaderWorkerSet,
    workloads: Iterable[kueue.Workload],
    *,
    desired: Collection[int],
    pods: Mapping[int, Sequence[facts.Pod]],
    classes: build.PriorityClasses,
    options: build.Options,
) -> Changes:
    """Return what makes the set's Workloads those of the ``desired`` group indices.

    ``workloads`` are those of the set's namespace, or any part of them that holds all that the
    set owns or that have names of its groups. ``pods`` are the set's pods by group index.
    """
    given = sorted(workloads, key=lambda workload: workload.meta.name)
    by_index = serving(owner.meta, given, options=options)
    taken = {workload.meta.name for workload in given}
    chains: list[actions.Chain] = []
    problems: dict[int, Problem] = {}
    for index in sorted(desired):
        chain, problem = _one(
            owner, index, by_index.get(index), taken, classes=classes, options=options
        )
        chains.append(chain)
        if problem is not None:
            problems[index] = problem
    kept = {workload.meta.uid for index, workload in by_index.items() if index in desired}
    known = {workload.meta.uid for workload in by_index.values()}
    for workload in given:
        owned = _owned(owner.meta, workload)
        unwanted = owned and workload.meta.uid not in kept
        leaving = workload.meta.deleting and (owned or workload.meta.uid in known)
        if unwanted or leaving:
            chains.append(removal(workload, _pods_of(workload, by_index, pods)))
    return Changes(tuple(chain for chain in chains if chain), problems, by_index)


def serving(
    owner: facts.Meta, workloads: Iterable[kueue.Workload], *, options: build.Options
) -> dict[int, kueue.Workload]:
    """Return which Workload serves which group of the set.

    Of several that claim one group, the one with the group's computed name serves it. A set that
    MultiKueue copied here is served by Workloads that it copied too and that the set does not own.
    """
    found: dict[int, kueue.Workload] = {}
    for workload in workloads:
        index = _index(owner, workload, options)
        if index is None:
            continue
        if index not in found or workload.meta.name == _name(owner, index, options):
            found[index] = workload
    return found


def _owned(owner: facts.Meta, workload: kueue.Workload) -> bool:
    return any(reference.uid == owner.uid for reference in workload.meta.owners)


def _name(owner: facts.Meta, index: int, options: build.Options) -> str:
    return naming.of_group(owner, index, short=options.short_names)


def _index(owner: facts.Meta, workload: kueue.Workload, options: build.Options) -> int | None:
    """Return the group that the Workload is for, None when it is for none of this set's."""
    copied = names.MULTIKUEUE_ORIGIN in owner.labels
    if not _owned(owner, workload) and not copied:
        return None
    claimed = workload.meta.annotations.get(names.COMPONENT_WORKLOAD_INDEX, "")
    numbered = claimed.isdecimal() and len(claimed) <= _MOST_DIGITS
    index = int(claimed) if numbered else _index_in(workload.meta.name)
    if index is None:
        return None
    if _owned(owner, workload) and numbered:
        return index
    return index if workload.meta.name == _name(owner, index, options) else None


def _index_in(name: str) -> int | None:
    """Return the number before the hash of a Workload's name."""
    parts = name.rsplit("-", 2)
    return int(parts[1]) if len(parts) == 3 and parts[1].isdecimal() else None


def _pods_of(
    workload: kueue.Workload,
    by_index: Mapping[int, kueue.Workload],
    pods: Mapping[int, Sequence[facts.Pod]],
) -> list[facts.Pod]:
    """Return the pods that run on the Workload's quota: of its group, or released under it."""
    served = next(
        (index for index, other in by_index.items() if other.meta.uid == workload.meta.uid), None
    )
    released = (
        pod
        for index, members in pods.items()
        for pod in members
        if index != served and pod.meta.annotations.get(names.WORKLOAD) == workload.meta.name
    )
    return [*(pods.get(served, ()) if served is not None else ()), *released]


Outcome = tuple[actions.Chain, Problem | None]


def _one(
    owner: lws.LeaderWorkerSet,
    index: int,
    existing: kueue.Workload | None,
    taken: Collection[str],
    *,
    classes: build.PriorityClasses,
    options: build.Options,
) -> Outcome:
    """Return the writes for one wanted group."""
    if existing is not None:
        if existing.meta.deleting:
            return (), None
        return update(owner, index, existing, classes=classes)
    if names.MULTIKUEUE_ORIGIN in owner.meta.labels:
        return (), None  # MultiKueue brings the Workload itself.
    name = _name(owner.meta, index, options)
    if name in taken:
        message = (
            f"Workload {name} exists and is not owned by {owner.meta.name}: delete it,"
            f" group {index} needs the name"
        )
        return (), Problem("WorkloadNameTaken", message)
    body = build.workload(owner, index, classes=classes, options=options)
    if isinstance(body, Problem):
        return (), body
    created = actions.Event(
        "Normal", "CreatedWorkload", f"Created Workload: {owner.meta.namespace}/{name}"
    )
    return (actions.Create(body, events=(created,)),), None


def update(
    owner: lws.LeaderWorkerSet,
    index: int,
    workload: kueue.Workload,
    *,
    classes: build.PriorityClasses,
) -> Outcome:
    """Return the write that brings queue, gates and priority of a Workload up to date.

    One write carries all of it, so that a new queue can never take effect before a gate that came
    with it (kueue-contract 1.10). What the API refuses while quota is reserved is not tried, and
    what cannot be resolved does not hold up the rest.
    """
    spec: dict[str, Any] = {}
    body: dict[str, Any] = {}
    events: list[actions.Event] = []
    problem: Problem | None = None
    if workload.spec.queue_name != owner.queue_name:
        if state.has_quota(workload):
            problem = _queue_is_fixed(owner, index, workload)
        else:
            spec["queueName"] = owner.queue_name or None
    gates = owner.meta.annotations.get(names.ADMISSION_GATED_BY, "")
    if workload.meta.annotations.get(names.ADMISSION_GATED_BY, "") != gates:
        body["metadata"] = {"annotations": {names.ADMISSION_GATED_BY: gates or None}}
        events.append(_updated(f'Updated workload AdmissionGatedBy to "{gates}"'))
    if _follows_class(workload, owner):
        priority = build.resolve_priority(owner, index, classes=classes)
        if isinstance(priority, Problem):
            problem = priority
        else:
            spec |= priority.spec
            name = f"{owner.meta.namespace}/{workload.meta.name}"
            events.append(_updated(f"Updated workload priority class: {name}"))
    if spec:
        body["spec"] = spec
    if not body:
        return (), problem
    version = workload.meta.resource_version
    ref = group.workload_ref(workload)
    return (actions.Patch(ref, body, version, events=tuple(events)),), problem


def _updated(message: str) -> actions.Event:
    return actions.Event("Normal", "UpdatedWorkload", message)


def _queue_is_fixed(owner: lws.LeaderWorkerSet, index: int, workload: kueue.Workload) -> Problem:
    message = (
        f"group {index} of {owner.meta.name} keeps its quota in LocalQueue"
        f" {workload.spec.queue_name} until Workload {workload.meta.name} is evicted; it moves to"
        f" {owner.queue_name} then"
    )
    return Problem("QueueChangeDeferred", message)


def _follows_class(workload: kueue.Workload, owner: lws.LeaderWorkerSet) -> bool:
    """Whether the Workload's priority has to be resolved again.

    Only a change of the class's name is followed here: Kueue itself follows its value. Classes of
    pods stay, and a class cannot be added while quota is reserved.
    """
    wanted = owner.meta.labels.get(names.PRIORITY_CLASS, "")
    ref = workload.spec.priority_class_ref
    if ref is None:
        return bool(wanted) and not state.has_quota(workload)
    return bool(wanted) and ref.group == names.KUEUE_GROUP and ref.name != wanted


def removal(workload: kueue.Workload, pods: Iterable[facts.Pod]) -> actions.Chain:
    """Return what removes a Workload; nothing while one of the pods on its quota can run."""
    if any(group.could_run(pod) for pod in pods):
        return ()
    ref, meta = group.workload_ref(workload), workload.meta
    if not meta.deleting:
        # The finalizer goes when the deletion is certain: without it, a Workload that came to be
        # wanted again after a crash would lack it for good.
        return (actions.Delete(ref, meta.uid),)
    if names.WORKLOAD_FINALIZER not in meta.finalizers:
        return ()
    # Kueue leaves the finalizer of a Workload that has an owner to the owner's side.
    kept = [one for one in meta.finalizers if one != names.WORKLOAD_FINALIZER]
    body = {"metadata": {"finalizers": kept or None}}
    return (actions.Patch(ref, body, meta.resource_version),)
