"""The groups of a set that run in other clusters, as the rest of a decision sees them.

What is to be done there is decided in ``lws_kueue.dispatch``; this says what a set's own decision
has to know of it. A group that runs elsewhere has a gated leader here, which stands for it: rollout
and status go on by that. When it has stopped is decided by all clusters, so the bridge gives back
no quota and lets no Workload go of a set that other clusters concern.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property

from lws_kueue.api import actions, facts, kueue, lws, names, numbers, reasons
from lws_kueue.api.indices import Indices
from lws_kueue.api.reasons import Reason
from lws_kueue.controller.admission import admissions
from lws_kueue.controller.observe import groups, observed, scope
from lws_kueue.controller.rollout import scaling
from lws_kueue.dispatch import activation, mirror, places, told
from lws_kueue.dispatch import observed as clusters
from lws_kueue.dispatch import plan as dispatch
from lws_kueue.workload import build, naming, recreate

CONDITION = told.CONDITION


@dataclass(frozen=True)
class Dispatching:
    """A set of which other clusters have something, or are to have.

    ``seen`` has all its groups as wanted. ``asked`` says whether its queue asks for dispatch.
    """

    seen: clusters.Observed
    workers: clusters.Workers
    asked: activation.Activation
    now: datetime

    @cached_property
    def _views(self) -> tuple[places.View, ...]:
        """All groups with their places; looked up once, which is most of the work."""
        return dispatch.views_of(self.seen, options=self.workers.options, now=self.now)

    def views(self, *, wanted: int) -> tuple[places.View, ...]:
        """Return the groups with their places; those with an index below ``wanted`` are wanted."""
        return tuple(
            replace(view, group=replace(view.group, wanted=False))
            if view.group.wanted and view.id.index >= wanted
            else view
            for view in self._views
        )

    def plan(self, *, wanted: int) -> actions.Part:
        """Return what to do in all clusters."""
        return dispatch.plan(self.seen, self.views(wanted=wanted))

    @cached_property
    def own(self) -> Mapping[int, places.View]:
        """The groups of the set as it is, and not of one that had its name before."""
        uid = self.seen.lws.meta.uid if self.seen.lws is not None else ""
        return {
            view.id.index: view
            for view in self._views
            if view.id.set_uid == uid and view.group.wanted
        }

    @cached_property
    def elsewhere(self) -> Indices:
        """The groups of other clusters: those that have one, or wait to be given to one."""
        return Indices(i for i, view in self.own.items() if _runs_elsewhere(view, self))

    @cached_property
    def remotes(self) -> Mapping[int, groups.Remote]:
        """How those groups are where they run."""
        return {index: _remote(self.own[index]) for index in self.elsewhere}

    @cached_property
    def barred(self) -> Indices:
        """The groups of this cluster that may not be released here."""
        mine = (one for one in self.own.items() if one[0] not in self.elsewhere)
        return Indices(index for index, view in mine if _barred(view))


_EVERY = 2**62


def concerned(seen: observed.Observed) -> bool:
    """Whether other clusters have something of a set, or are to have."""
    workers = seen.workers
    if workers is None:
        return False
    return asks(seen) or any(one.workloads or one.sets for one in workers.clusters)


def asks(seen: observed.Observed) -> bool:
    """Whether the manager's own objects say that other clusters concern a set.

    Nothing can be decided about it then before it is known which clusters there are.
    """
    checks = seen.kueue.admission_checks
    return _activation(seen, built_in=False).dispatches or any(
        _is_dispatched(one, activation.ours(checks)) or _is_placed(one, checks)
        for one in _workloads(seen)
    )


def checks_asked(seen: observed.Observed) -> frozenset[str]:
    """Return the check of ours that the queue of a set asks for."""
    asked = _activation(seen, built_in=False)
    return frozenset({asked.check} if asked.dispatches else ())


def _is_dispatched(workload: kueue.Workload, served: frozenset[str]) -> bool:
    return any(one.name in served for one in workload.status.admission_checks)


def _is_placed(workload: kueue.Workload, checks: Mapping[str, kueue.AdmissionCheck]) -> bool:
    """Whether a Workload names a cluster that Kueue's own MultiKueue has not given it.

    The check by which we gave it may be gone, from the queue or altogether; the group is not.
    """
    given = (checks.get(one.name) for one in workload.status.admission_checks)
    return bool(workload.status.cluster_name) and not any(
        check is not None and check.controller_name == names.MULTIKUEUE_CONTROLLER
        for check in given
    )


def homes(seen: observed.Observed) -> frozenset[str]:
    """Return the clusters that groups of a set were given to, as the manager's Workloads say."""
    return frozenset(
        one.status.cluster_name or ""
        for one in _workloads(seen)
        if _is_placed(one, seen.kueue.admission_checks)
    )


def _activation(seen: observed.Observed, *, built_in: bool) -> activation.Activation:
    """Return whether a set's queue asks for dispatch."""
    if seen.lws is None or naming.is_copy(seen.lws.meta):
        return activation.Activation()
    local = seen.kueue.local_queues.get(seen.lws.queue_name)
    return activation.of(
        seen.kueue.cluster_queues.get(local.cluster_queue) if local else None,
        checks=seen.kueue.admission_checks,
        flavors=seen.kueue.flavors,
        built_in=built_in,
    )


def pods_asked(seen: observed.Observed, *, now: datetime) -> Mapping[str, tuple[str, ...]]:
    """Return the sets in other clusters, by cluster, whose pods the next decision needs."""
    if seen.workers is None or not concerned(seen):
        return {}
    found = _put_together(seen, seen.workers, _workloads(seen), {}, _NO_CONTENT, _IDLE)
    return places.asked(found, options=seen.workers.options, now=now)


# A live set -------------------------------------------------------------------------------------


def of(at: scope.Scope, *, options: build.Options, now: datetime) -> Dispatching | None:
    """Return what other clusters have to do with a live set, None for most sets."""
    return at.seen.memo.once("dispatching", lambda: _of(at, options=options, now=now))


def _of(at: scope.Scope, *, options: build.Options, now: datetime) -> Dispatching | None:
    seen = at.seen
    if seen.workers is None or not concerned(seen):
        return None
    asked = _activation(seen, built_in=not at.managed_by.stops)
    contents = None
    if at.managed_by.stops:
        # There, a group is placed by what it asks of topology.
        contents = admissions.Contents(at, options=replace(options, topology=True), remote=True)
    found = _put_together(
        seen, seen.workers, _workloads(seen), at.found.by_index, _Contents(contents), asked
    )
    return Dispatching(found, seen.workers, asked, now)


def located(at: scope.Scope, found: Dispatching | None) -> scope.Scope:
    """Return a set with its groups as they are where they run."""
    if found is None:
        return at
    return replace(
        at,
        found=groups.located(at.found, found.remotes),
        dispatched=True,
        dispatches=found.asked.dispatches,
        elsewhere=found.elsewhere,
        barred=found.barred,
    )


def _runs_elsewhere(view: places.View, found: Dispatching) -> bool:
    if view.home:
        return True
    check = view.check if view.group.workload is not None else None
    return (check is not None or found.asked.dispatches) and not dispatch.belongs_here(view)


def _barred(view: places.View) -> bool:
    """Whether a group may not be released here, because of what other clusters may have."""
    return view.group.workload is not None and not dispatch.may_run_here(view)


def _remote(view: places.View) -> groups.Remote:
    place = view.at_home
    if place is None or place.run is None:
        leader = view.group.leader
        told = leader is not None and leader.ready and mirror.untold(view)
        return groups.Remote.READY if told else groups.Remote.AWAY
    if mirror.ready(view):
        return groups.Remote.READY
    return groups.Remote.UPDATED if place.run.key == view.key else groups.Remote.OUTDATED


def asked_for(options: build.Options, found: Dispatching | None) -> build.Options:
    """Return the options of the Workloads here: groups that run elsewhere have no nodes here."""
    if found is None or not found.asked.dispatches:
        return options
    return replace(options, topology=False)


def explained(found: actions.Part, others: tuple[Reason, ...]) -> tuple[Reason, ...]:
    """Return why groups wait: for other clusters, or else for what ``others`` say."""
    mine = reasons.merged(found.reasons)
    held = [index for reason in mine if reason.waits for index in reason.groups]
    rest = (reasons.without(reason, held) for reason in others)
    return (*mine, *(one for one in rest if one is not None))


def condition(found: Dispatching | None, *, wanted: int) -> lws.Condition | None:
    """Return the condition that names the cluster of each group, None where none is dispatched."""
    if found is None or not found.asked.dispatches:
        return None
    return told.condition(found.views(wanted=wanted))


# A set that is going, is gone or waits ----------------------------------------------------------


def alone(seen: observed.Observed, *, now: datetime) -> actions.Part:
    """Return what to do about groups elsewhere of a set of which nothing else can be decided."""
    if seen.workers is None or not concerned(seen):
        return actions.Part()
    owner = seen.lws
    there = owner is not None and not owner.meta.deleting
    wanted = owner.spec.replicas if owner is not None and there else 0
    found = _put_together(seen, seen.workers, _workloads(seen), {}, _NO_CONTENT, _IDLE)
    if seen.invalid is not None:
        # What it should be cannot be read; what there is goes on.
        wanted = _EVERY
    return Dispatching(found, seen.workers, _IDLE, now).plan(wanted=wanted)


# What is known ----------------------------------------------------------------------------------


class _Contents:
    """What groups are made from, where anybody can tell."""

    def __init__(self, contents: admissions.Contents | None) -> None:
        self._contents = contents

    def of(self, index: int, there: Mapping[int, groups.Group]) -> recreate.Content | None:
        if self._contents is None or index not in there:
            return None
        return self._contents.of(index)


_NO_CONTENT = _Contents(None)
_IDLE = activation.Activation()


def _workloads(seen: observed.Observed) -> tuple[kueue.Workload, ...]:
    """Return the Workloads of groups of this set, and of those that had its name before.

    What MultiKueue has copied here is not dispatched any further.
    """
    return tuple(one for one in seen.workloads.values() if not naming.is_copy(one.meta))


def _put_together(
    seen: observed.Observed,
    workers: clusters.Workers,
    workloads: tuple[kueue.Workload, ...],
    there: Mapping[int, groups.Group],
    contents: _Contents,
    asked: activation.Activation,
) -> clusters.Observed:
    owner = seen.lws
    found = tuple(_groups(seen, owner, workloads, there, contents))
    return clusters.Observed(
        manager=workers.manager,
        namespace=seen.namespace,
        name=seen.name,
        lws=owner,
        checks=activation.ours(seen.kueue.admission_checks),
        refused=asked.refused,
        max_unavailable=scaling.bounds(owner).unavailable if owner is not None else 1,
        groups=found,
        clusters=workers.clusters,
        neighbours=workers.neighbours,
    )


def _groups(
    seen: observed.Observed,
    owner: lws.LeaderWorkerSet | None,
    workloads: tuple[kueue.Workload, ...],
    there: Mapping[int, groups.Group],
    contents: _Contents,
) -> Iterator[clusters.Group]:
    """Yield the groups of a set, and those of sets that had its name before and left something."""
    uid = owner.meta.uid if owner is not None else ""
    going = owner is None or owner.meta.deleting
    found: dict[tuple[str, int], kueue.Workload | None] = {(uid, index): None for index in there}
    for workload in sorted(workloads, key=lambda one: one.meta.name):
        key = _group_of(workload, uid)
        before = found.get(key) if key is not None else None
        if key is not None and (before is None or not before.status.cluster_name):
            found[key] = workload
    pods = _by_place(seen)
    for (of, index), one in sorted(found.items()):
        mine = of == uid and index in there
        yield clusters.Group(
            index=index,
            workload=one,
            leader=there[index].leader if mine else None,
            pods=pods.get(index, ()),
            content=contents.of(index, there) if mine else None,
            wanted=of == uid and not going,
        )


def _group_of(workload: kueue.Workload, uid: str) -> tuple[str, int] | None:
    """Return whose group a Workload is for: the UID of the set, and the index."""
    index = numbers.natural(workload.meta.annotations.get(names.COMPONENT_WORKLOAD_INDEX, ""))
    if index is None:
        return None
    return (workload.meta.owners[0].uid if workload.meta.owners else uid, index)


def _by_place(seen: observed.Observed) -> Mapping[int, tuple[facts.Pod, ...]]:
    """Return the pods of this cluster by the group in which they have their place."""
    found: dict[int, list[facts.Pod]] = {}
    for pod in seen.pods.values():
        index = groups.index_of(seen.name, pod)
        if index is not None and groups.may_belong(seen.name, pod):
            found.setdefault(index, []).append(pod)
    return {index: tuple(pods) for index, pods in found.items()}
