"""Workloads whose set is going, is gone, or cannot be worked on now.

Everything else of a set that is deleted is garbage collection. Pods need no release to be deleted:
a gated pod has no node, so nothing has to stop for it. What is left to do is Kueue's side: let a
Workload go once its pods are gone, and stop what no admission stands behind. A set may go without
its pods, or wait for a finalizer for as long as somebody likes, and that is no way to run.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

from lws_kueue.api import actions, facts, kueue, names, numbers
from lws_kueue.controller.admission import managed_by, stopped
from lws_kueue.controller.observe import groups, observed
from lws_kueue.workload import backing, build, diff, eviction, pods, state


def plan(seen: observed.Observed, *, options: build.Options, now: datetime) -> actions.Part:
    """Return what to do for the admissions alone.

    That is all there is to do for a set that is deleted or gone, that has to wait for its name, or
    of which nobody can tell what it should be.
    """
    found = _Pods(seen)
    terms = seen.terms(options)
    parts = [_part(found, workload, terms, now=now) for workload in seen.workloads.values()]
    return actions.joined((*parts, _unasked(found, terms), stopped.freed(seen, now=now)))


def _part(
    found: "_Pods", workload: kueue.Workload, terms: backing.Terms, *, now: datetime
) -> actions.Part:
    own, released = found.of(workload)
    if workload.meta.deleting:
        # What quota it has is kept until they have ended: garbage collection has them do so.
        before = workload.model_copy(update={"meta": replace(workload.meta, deleted=None)})
        stops = eviction.stop(before, [pod for pod in own if found.waits(pod)], terms)
        removal = diff.removal(workload, (*own, *released))
        return actions.Part(chains=(removal, *actions.each_alone(stops)))
    if state.admission(workload) is not state.Admission.EVICTED:
        stops = eviction.stop(workload, [pod for pod in own if found.waits(pod)], terms)
        return actions.Part(chains=actions.each_alone(stops))
    every = (*own, *released)
    cleared = eviction.clear_admission(workload, every, now=now)
    return actions.Part(
        chains=actions.each_alone((*eviction.stop(workload, every, terms), cleared)),
        recheck_after=eviction.stuck_in(every, now=now),
    )


def _unasked(found: "_Pods", terms: backing.Terms) -> actions.Part:
    """Stop what was made to wait and is in a group for which there is no Workload."""
    left = [pod for pod in found.without_workload() if found.waits(pod)]
    return actions.Part(chains=actions.each_alone(eviction.stop(None, left, terms)))


def former(seen: observed.Observed) -> actions.Part:
    """Return the removal of Workloads of an earlier set of the same name.

    Deleted with that set, they wait for its pods. Kueue leaves their finalizer to the job's side,
    so without this their quota would be held for ever once the set was made again.
    """
    live = seen.lws.meta.uid if seen.lws else ""
    left = [
        workload
        for workload in seen.workloads.values()
        if workload.meta.deleting
        and workload.meta.owners
        and names.MULTIKUEUE_ORIGIN not in workload.meta.labels
        and all(owner.uid != live for owner in workload.meta.owners)
    ]
    released = pods.by_workload(seen.pods.values()) if left else {}
    return actions.Part(
        chains=tuple(diff.removal(one, released.get(one.meta.name, ())) for one in left)
    )


class _Pods:
    """The pods of a set by what they run on; put in order once, however many Workloads there are.

    A pod that only has the labels of a group neither is stopped nor holds anything up.
    """

    def __init__(self, seen: observed.Observed) -> None:
        # Kueue's own integration stops what it has let go.
        self._stops = seen.kueue.built_in is not True and seen.kueue.support == "served"
        self._released = pods.by_workload(seen.pods.values())
        self._places: dict[int, list[facts.Pod]] = {}
        for pod in seen.pods.values():
            place = groups.index_of(seen.name, pod)
            if place is not None and groups.may_belong(seen.name, pod):
                self._places.setdefault(place, []).append(pod)
        self._asked = {_index(workload) for workload in seen.workloads.values()}
        self._name = seen.name
        self._queued = seen.lws is not None and managed_by.waits(seen, seen.lws)
        found = groups.compared(seen.found, gated=True, revisions=seen.revisions.values())
        self._before = {group.index for group in found.groups if not group.in_queue}

    def waits(self, pod: facts.Pod) -> bool:
        """Whether a pod was made to wait for an admission of ours.

        Where the set is gone only its mark says so: without it a pod may be from before the set was
        in a queue. While the set is there, that is known of the group.
        """
        queued = self._queued and groups.index_of(self._name, pod) not in self._before
        return self._stops and (queued or groups.is_marked(pod.meta.annotations))

    def of(self, workload: kueue.Workload) -> tuple[list[facts.Pod], list[facts.Pod]]:
        """Return the pods in the place of the Workload's group, and others released under it."""
        own = self._places.get(_index(workload), [])
        here = {pod.meta.uid for pod in own}
        released = self._released.get(workload.meta.name, ())
        return own, [pod for pod in released if pod.meta.uid not in here]

    def without_workload(self) -> Iterator[facts.Pod]:
        """Return the pods of groups that have no Workload."""
        for place, members in self._places.items():
            if place not in self._asked:
                yield from members


def _index(workload: kueue.Workload) -> int:
    """Return the index of a Workload's group, -1 where it says none."""
    claimed = numbers.natural(workload.meta.annotations.get(names.COMPONENT_WORKLOAD_INDEX, ""))
    return -1 if claimed is None else claimed
