"""Workloads of a set as a set difference: what to create, change and remove (kueue-contract 1.6).

A Workload belongs to a group by its owner and its component index; the name only decides where
the index is missing. Each Workload's writes are a chain of their own, so one that fails stops no
other. A Workload whose group is no longer wanted, or has become something else (``recreate``), is
removed once none of the group's pods can run any more: until then its quota is in use, and giving
it away would start pods beyond it.

What MultiKueue has copied here is left as it came: whatever it finds changed it removes, with the
whole set, and sends anew. Only a finalizer goes, of a copy that is being deleted.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

from lws_kueue.api import actions, facts, kueue, lws, memos, names, numbers
from lws_kueue.api.reasons import Reason
from lws_kueue.workload import build, group_mark, naming, podsets, recreate, state
from lws_kueue.workload import pods as group


@dataclass(frozen=True, slots=True)
class Wanted:
    """A group that is to have a Workload.

    ``content`` is what its pods are made from, None while nobody can tell; ``outdated`` says in
    words what of it the Workload was not made for, ``in_vain`` why it is of no use to the group.
    """

    content: recreate.Content | None
    outdated: str | None = None
    in_vain: str | None = None


def changes(
    owner: lws.LeaderWorkerSet,
    workloads: Mapping[str, kueue.Workload],
    *,
    wanted: Mapping[int, Wanted],
    pods: Mapping[int, Sequence[facts.Pod]],
    classes: build.PriorityClasses,
    options: build.Options,
    now: datetime,
    known: memos.Memo | None = None,
    kept: bool = False,
) -> actions.Part:
    """Return what makes the set's Workloads those of the ``wanted`` groups, by index.

    ``workloads`` are those of the set's namespace, by name, or any part of them that holds all that
    the set owns or that have names of its groups. ``pods`` are the set's pods by group index.
    ``known`` is what was found out about them before. ``kept`` says that it is decided elsewhere
    when a Workload goes that serves a group: other clusters may run that.
    """
    memo = memos.Memo() if known is None else known
    by_index = served(owner.meta, workloads, options=options, memo=memo)
    scene = _Scene(
        owner=owner,
        given=workloads,
        by_index=by_index,
        pods=pods,
        classes=classes,
        options=options,
        now=now,
        kept=kept,
    )
    # That nothing is to be done holds at any time: what has to wait says for how long.
    parts = memo.each(
        __name__,
        lambda index, one, existing: actions.unless_nothing(_one(scene, index, existing, one)),
        wanted,
        by_index,
        given=(owner, classes, options, kept),
        anew=True,
    )
    return actions.joined((*parts.values(), *_removals(scene, wanted, memo)))


def _removals(
    scene: "_Scene", wanted: Mapping[int, Wanted], memo: memos.Memo
) -> Iterator[actions.Part]:
    """Return the removal of Workloads that are not wanted, and of those that are going."""
    owner, workloads, by_index = scene.owner.meta, scene.given, scene.by_index
    claimed = _claimed(owner, workloads, options=scene.options, memo=memo)
    going = memo.each("Workloads that go", state.going, workloads)
    unwanted = {by_index[index].meta.name for index in by_index.keys() - wanted.keys()}
    # Of several that claim one group the others serve none.
    beside = workloads.keys() - claimed.keys() if len(by_index) == len(claimed) else workloads
    doubtful = {*going, *unwanted, *beside}
    if not doubtful:
        return
    serving = {workload.meta.name for workload in by_index.values()}
    for name in sorted(doubtful):
        workload = workloads[name]
        serves = name in serving
        if serves and scene.kept:
            continue
        owned = _owned(owner, workload)
        kept_here = (serves and name not in unwanted) or _copied(scene, workload)
        if (owned and not kept_here) or (workload.meta.deleting and (owned or serves)):
            yield actions.Part(chains=(removal(workload, scene.pods_of(workload)),))


@dataclass(frozen=True)
class _Scene:
    """What the writes for one group may look at."""

    owner: lws.LeaderWorkerSet
    given: Mapping[str, kueue.Workload]
    by_index: Mapping[int, kueue.Workload]
    pods: Mapping[int, Sequence[facts.Pod]]
    classes: build.PriorityClasses
    options: build.Options
    now: datetime
    kept: bool = False

    def pods_of(self, workload: kueue.Workload) -> list[facts.Pod]:
        """Return the pods that run on the Workload's quota: of its group, or released under it."""
        own = self.pods.get(self._served.get(workload.meta.uid, -1), ())
        here = {pod.meta.uid for pod in own}
        released = self._released.get(workload.meta.name, ())
        return [*own, *(pod for pod in released if pod.meta.uid not in here)]

    @cached_property
    def _served(self) -> dict[str, int]:
        return {workload.meta.uid: index for index, workload in self.by_index.items()}

    @cached_property
    def _released(self) -> dict[str, list[facts.Pod]]:
        return group.by_workload(pod for members in self.pods.values() for pod in members)


def serving(
    owner: facts.Meta, workloads: Iterable[kueue.Workload], *, options: build.Options
) -> dict[int, kueue.Workload]:
    """Return which Workload serves which group of the set.

    Of several that claim one group, the one with the group's computed name serves it. A set that
    MultiKueue copied here is served by Workloads that it copied too and that the set does not own.
    """
    found: dict[int, kueue.Workload] = {}
    given = (owner, options)
    for workload in workloads:
        index = _index(workload, given)
        if index is None:
            continue
        if index not in found or workload.meta.name == _name(owner, index, options):
            found[index] = workload
    return found


def served(
    owner: facts.Meta,
    workloads: Mapping[str, kueue.Workload],
    *,
    options: build.Options,
    memo: memos.Memo,
) -> Mapping[int, kueue.Workload]:
    """Return what ``serving`` does; while no Workload changes it is the same object."""
    claimed = _claimed(owner, workloads, options=options, memo=memo)
    found = dict(zip(claimed.values(), map(workloads.__getitem__, claimed), strict=True))
    if len(found) < len(claimed):
        found = serving(owner, map(workloads.__getitem__, claimed), options=options)
    return memo.each("served", lambda _, workload: workload, found)


def _claimed(
    owner: facts.Meta,
    workloads: Mapping[str, kueue.Workload],
    *,
    options: build.Options,
    memo: memos.Memo,
) -> Mapping[str, int]:
    """Return which group each Workload is for, by its name; what is for none is left out."""
    given = (owner, options)
    return memo.each("claimed", lambda _, workload: _index(workload, given), workloads, given=given)


def _owned(owner: facts.Meta, workload: kueue.Workload) -> bool:
    """Whether the set owns the Workload, or did until somebody took the reference away."""
    if not workload.meta.owners:
        return workload.meta.labels.get(names.JOB_UID) == owner.uid
    return any(reference.uid == owner.uid for reference in workload.meta.owners)


def _name(owner: facts.Meta, index: int, options: build.Options) -> str:
    return naming.of_group(owner, index, short=options.short_names)


def _index(workload: kueue.Workload, given: tuple[facts.Meta, build.Options]) -> int | None:
    """Return the group that the Workload is for, None when it is for none of this set's.

    It is given the metadata of the set.
    """
    owner, options = given
    if not _owned(owner, workload) and not naming.is_copy(owner):
        return None
    claimed = workload.meta.annotations.get(names.COMPONENT_WORKLOAD_INDEX, "")
    numbered = numbers.natural(claimed)
    index = _index_in(workload.meta.name) if numbered is None else numbered
    if index is None or (numbered is not None and _owned(owner, workload)):
        return index
    return index if workload.meta.name == _name(owner, index, options) else None


def _index_in(name: str) -> int | None:
    """Return the number before the hash of a Workload's name."""
    parts = name.rsplit("-", 2)
    return numbers.natural(parts[1]) if len(parts) == 3 else None


def _one(
    scene: _Scene, index: int, existing: kueue.Workload | None, wanted: Wanted
) -> actions.Part:
    """Return the writes for one wanted group."""
    if existing is None:
        return _creation(scene, index, wanted)
    if existing.meta.deleting:
        return actions.Part()
    if existing.unreadable:
        return actions.Part(reasons=(_unreadable(existing).of(index),))
    if _copied(scene, existing):
        return _unfit_copy(index, existing, wanted)
    if recreate.repaired(existing):
        return actions.Part() if scene.kept else _repair(scene, index, existing)
    if wanted.in_vain is not None:
        return actions.Part(chains=(_given_back(index, existing, wanted.in_vain),))
    if wanted.outdated is not None and (state.has_quota(existing) or _ranked_by_pods(existing)):
        event = _normal(
            "RenewingWorkload",
            f"Group {index} needs another admission than Workload {existing.meta.name} has:"
            f" {wanted.outdated} changed",
        )
        return actions.Part(chains=(removal(existing, scene.pods_of(existing), events=(event,)),))
    return _update(scene, index, existing, wanted)


def _copied(scene: _Scene, workload: kueue.Workload) -> bool:
    return naming.is_copy(scene.owner.meta) or naming.is_copy(workload.meta)


def _unfit_copy(index: int, workload: kueue.Workload, wanted: Wanted) -> actions.Part:
    """Tell of a copy that is for something else before it is admitted; then its release does."""
    waits = (state.Admission.PENDING, state.Admission.RESERVED)
    if wanted.outdated is None or state.admission(workload) not in waits:
        return actions.Part()
    return actions.Part(reasons=(state.unfit_copy(workload, wanted.outdated).of(index),))


def _unreadable(workload: kueue.Workload) -> Reason:
    return Reason(
        "WorkloadUnreadable",
        f"Workload {workload.meta.name} is written in a way that this version does not know:"
        f" {workload.unreadable}",
        fix="Use a version of lws-kueue that supports this version of Kueue",
    )


def _given_back(index: int, workload: kueue.Workload, why: str) -> actions.Chain:
    """Return the deletion of a Workload whose group cannot use it.

    It comes before its pods are stopped, unlike others: that it is being deleted is what the next
    passes go by, and its finalizer keeps the quota until then. It is never put off: what pauses is
    that it is recreated.
    """
    event = _normal(
        "QuotaGivenBack",
        f"Workload {workload.meta.name} of group {index} is deleted until the group's pods can be"
        f" made: {why}",
    )
    return (
        actions.Delete(
            group.workload_ref(workload), workload.meta.uid, events=(event,), stops=True
        ),
    )


def _ranked_by_pods(workload: kueue.Workload) -> bool:
    """Whether its priority is that of a class of pods, which can never be another one."""
    ref = workload.spec.priority_class_ref
    return ref is not None and ref.group != names.KUEUE_GROUP


def _creation(scene: _Scene, index: int, wanted: Wanted) -> actions.Part:
    owner = scene.owner
    if naming.is_copy(owner.meta) or wanted.content is None:
        return actions.Part()  # MultiKueue brings the Workload of a copied set itself.
    name = _name(owner.meta, index, scene.options)
    if (taken := scene.given.get(name)) is not None:
        return actions.Part(reasons=(_name_taken(taken, index),))
    body = build.workload(wanted.content.owner, index, classes=scene.classes, options=scene.options)
    if isinstance(body, Reason):
        return actions.Part(reasons=(body.of(index),))
    created = _normal("CreatedWorkload", f"Created Workload: {owner.meta.namespace}/{name}")
    create = actions.Create(body, events=(created,), on_failure="FailedCreate")
    return actions.Part(chains=((create,),))


def _name_taken(taken: kueue.Workload, index: int) -> Reason:
    """Say whose a Workload is that has the name of a group's."""
    owners = taken.meta.owners
    owner = taken.meta.controller or (owners[0] if owners else None)
    fix = f"Delete it, group {index} needs the name"
    if owner is not None:
        holder = f"belongs to {owner.kind} {owner.name}"
        fix += f"; if {owner.kind} {owner.name} makes it again, give this set another name"
    elif taken.writers:
        holder = f"has no owner; field manager {', '.join(taken.writers)} has written it"
    else:
        holder = "has no owner"
    text = f"Workload {taken.meta.name} exists and {holder}"
    about = f"the name of Workload {taken.meta.name}"
    return Reason("WorkloadNameTaken", text, fix, about=about).of(index)


def _repair(scene: _Scene, index: int, workload: kueue.Workload) -> actions.Part:
    """Remove a Workload that is finished by mistake, so that the next pass recreates it."""
    wait = recreate.repair_in(workload, scene.pods.get(index, ()), now=scene.now)
    if wait > 0:
        return actions.Part(recheck_after=wait)
    finished = workload.condition(state.FINISHED)
    why = f"{finished.reason}: {finished.message}" if finished else ""
    event = _normal(
        "RenewingWorkload",
        f"Workload {workload.meta.name} of group {index} is finished by mistake ({why})",
    )
    return actions.Part(chains=(removal(workload, scene.pods_of(workload), events=(event,)),))


@dataclass
class _Edit:
    """What one write changes of a Workload, and what is told about it."""

    metadata: dict[str, Any]
    spec: dict[str, Any] = field(default_factory=dict)
    events: list[actions.Event] = field(default_factory=list)
    problem: Reason | None = None

    def annotate(self, annotations: Mapping[str, str | None]) -> None:
        """Change annotations; None takes one away."""
        if annotations:
            self.metadata.setdefault("annotations", {}).update(annotations)


def _update(scene: _Scene, index: int, workload: kueue.Workload, wanted: Wanted) -> actions.Part:
    """Return the write that brings a Workload up to date with its set.

    One write carries all of it, so that a new queue can never take effect before a gate that came
    with it (kueue-contract 1.10). What the API refuses while quota is reserved is not tried, and
    what cannot be resolved does not hold up the rest.
    """
    edit = _Edit(metadata=_restored(workload, scene.owner))
    edit.annotate(group_mark.removed(scene.owner.meta, workload))
    _edit_queue(edit, scene.owner, index, workload)
    _edit_pod_sets(edit, scene, workload, wanted)
    _edit_priority(edit, scene, index, workload)
    limit = build.max_execution_seconds(scene.owner.meta.labels)
    if limit != workload.spec.maximum_execution_time_seconds and not state.is_admitted(workload):
        edit.spec["maximumExecutionTimeSeconds"] = limit
    parts = {"metadata": edit.metadata, "spec": edit.spec}
    body = {key: part for key, part in parts.items() if part}
    unresolved = actions.Part(reasons=(edit.problem.of(index),) if edit.problem else ())
    if not body:
        return unresolved
    version = workload.meta.resource_version
    patch = actions.Patch(group.workload_ref(workload), body, version, events=tuple(edit.events))
    return unresolved + actions.Part(chains=((patch,),))


def _edit_pod_sets(edit: _Edit, scene: _Scene, workload: kueue.Workload, wanted: Wanted) -> None:
    content = wanted.content
    if content is None:
        return
    what = wanted.outdated
    if what is None:
        what = recreate.restated(workload, content)
    if what is not None:
        edit.spec["podSets"] = podsets.pod_sets(
            content.owner.spec.leader_worker_template, topology=scene.options.topology
        )
        edit.events.append(_updated(f"Updated workload: {what} changed"))


def _edit_queue(
    edit: _Edit, owner: lws.LeaderWorkerSet, index: int, workload: kueue.Workload
) -> None:
    """Follow the queue, unless quota is reserved in the old one, and the admission gates."""
    if workload.spec.queue_name != owner.queue_name:
        if state.has_quota(workload):
            edit.problem = _queue_is_fixed(owner, index, workload)
        else:
            edit.spec["queueName"] = owner.queue_name or None
    gates = owner.meta.annotations.get(names.ADMISSION_GATED_BY, "")
    if workload.meta.annotations.get(names.ADMISSION_GATED_BY, "") != gates:
        edit.annotate({names.ADMISSION_GATED_BY: gates or None})
        edit.events.append(_updated(f'Updated workload AdmissionGatedBy to "{gates}"'))


def _edit_priority(edit: _Edit, scene: _Scene, index: int, workload: kueue.Workload) -> None:
    owner = scene.owner
    if not _follows_class(workload, owner):
        return
    priority = build.resolve_priority(owner, index, classes=scene.classes)
    if isinstance(priority, Reason):
        edit.problem = priority
        return
    edit.spec |= priority.spec
    name = f"{owner.meta.namespace}/{workload.meta.name}"
    edit.events.append(_updated(f"Updated workload priority class: {name}"))


def _restored(workload: kueue.Workload, owner: lws.LeaderWorkerSet) -> dict[str, Any]:
    """Return what somebody took out of a Workload's metadata that it cannot do without.

    Without the finalizer, quota of a Workload that is deleted is free while its pods still run.
    """
    metadata: dict[str, Any] = {}
    if not workload.meta.owners:
        metadata["ownerReferences"] = [build.reference(owner)]
    finished = workload.is_true(state.FINISHED)
    if names.WORKLOAD_FINALIZER not in workload.meta.finalizers and not finished:
        metadata["finalizers"] = [*workload.meta.finalizers, names.WORKLOAD_FINALIZER]
    return metadata


def _normal(reason: str, message: str) -> actions.Event:
    return actions.Event("Normal", reason, message)


def _updated(message: str) -> actions.Event:
    return _normal("UpdatedWorkload", message)


def _queue_is_fixed(owner: lws.LeaderWorkerSet, index: int, workload: kueue.Workload) -> Reason:
    message = (
        f"group {index} of {owner.meta.name} keeps its quota in LocalQueue"
        f" {workload.spec.queue_name} until Workload {workload.meta.name} is evicted; it moves to"
        f" {owner.queue_name or 'no queue'} then"
    )
    return Reason("QueueChangeDeferred", message)


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


def removal(
    workload: kueue.Workload,
    pods: Iterable[facts.Pod],
    *,
    events: tuple[actions.Event, ...] = (),
) -> actions.Chain:
    """Return what removes a Workload; nothing while one of the pods on its quota can run.

    ``events`` tell why it is deleted.
    """
    if any(group.could_run(pod) for pod in pods):
        return ()
    ref, meta = group.workload_ref(workload), workload.meta
    if not meta.deleting:
        # The finalizer goes when the deletion is certain: without it, a Workload that came to be
        # wanted again after a crash would lack it for good.
        return (actions.Delete(ref, meta.uid, events=events),)
    if names.WORKLOAD_FINALIZER not in meta.finalizers:
        return ()
    # Kueue leaves the finalizer of a Workload that has an owner to the owner's side.
    kept = [one for one in meta.finalizers if one != names.WORKLOAD_FINALIZER]
    body = {"metadata": {"finalizers": kept or None}}
    # Each Workload is let go once: however many of that name went before, that repeats nothing.
    return (actions.Patch(ref, body, meta.resource_version, because=f"removed {meta.uid}"),)
