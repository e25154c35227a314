"""Workloads whose set is going, is gone, or cannot be worked on now.

Everything else of a set that is deleted is garbage collection. Pods need no release to be deleted:
a gated pod has no node, so nothing has to stop for it. What is left to do is Kueue's side: let a
Workload go once its pods are gone, and stop what no admission stands behind. A set may go without
its pods, or wait for a finalizer for as long as somebody likes, and that is no way to run.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import TypeVar

from lws_kueue.api import actions, facts, kueue, names, numbers
from lws_kueue.controller.admission import dispatching, managed_by, stopped
from lws_kueue.controller.observe import groups, observed
from lws_kueue.workload import (
    backing,
    build,
    diff,
    eviction,
    naming,
    pods,
    state,
)

Pods = tuple[facts.Pod, ...]
K = TypeVar("K", int, str)


def plan(seen: observed.Observed, *, options: build.Options, now: datetime) -> actions.Part:
    """Return what to do for the admissions alone.

    That is all there is to do for a set that is deleted or gone, that has to wait for its name, or
    of which nobody can tell what it should be.
    """
    found = _Pods(seen)
    # Other clusters may run a group: when its quota and its Workload go is decided by all of them.
    alone = not dispatching.concerned(seen)
    terms = seen.memo.same("terms", seen.terms(options))
    # What is to be done about nothing now is so at any time: what has to wait says for how long.
    parts = seen.memo.each(
        "of Workloads alone",
        lambda _, workload, own, released: actions.unless_nothing(
            _part(
                found,
                workload,
                own or (),
                released or (),
                terms,
                kueues=managed_by.kueue_finalizes(seen, workload),
                alone=alone or naming.is_copy(workload.meta),
                now=now,
            )
        ),
        seen.workloads,
        found.own,
        found.released,
        given=(terms, seen.kueue.built_in, alone, *found.given),
        anew=True,
    )
    return actions.joined((*parts.values(), _unasked(found, terms), stopped.freed(seen, now=now)))


def _part(
    found: "_Pods",
    workload: kueue.Workload,
    own: Pods,
    released: Pods,
    terms: backing.Terms,
    *,
    kueues: bool,
    alone: bool,
    now: datetime,
) -> actions.Part:
    """Return what to do for one Workload, whose group's places ``own`` pods have.

    Others were ``released`` under it. ``kueues`` says that its finalizer is Kueue's, ``alone`` that
    no other cluster has a say in when it goes.
    """
    every = (*own, *_beside(own, released))
    if workload.meta.deleting:
        # What quota it has is kept until they have ended: garbage collection has them do so.
        before = workload.model_copy(update={"meta": replace(workload.meta, deleted=None)})
        stops = eviction.stop(before, [pod for pod in own if found.waits(pod)], terms)
        removal = () if kueues or not alone else diff.removal(workload, every)
        return actions.Part(chains=(removal, *actions.each_alone(stops)))
    if state.admission(workload) is not state.Admission.EVICTED:
        stops = eviction.stop(workload, [pod for pod in own if found.waits(pod)], terms)
        return actions.Part(chains=actions.each_alone(stops))
    cleared = eviction.clear_admission(workload, every, now=now) if alone else None
    return actions.Part(
        chains=actions.each_alone((*eviction.stop(workload, every, terms), cleared)),
        recheck_after=eviction.stuck_in(every, now=now),
    )


def _beside(own: Pods, released: Pods) -> Iterator[facts.Pod]:
    here = {pod.meta.uid for pod in own}
    return (pod for pod in released if pod.meta.uid not in here)


def _unasked(found: "_Pods", terms: backing.Terms) -> actions.Part:
    """Stop what was made to wait and is in a group for which there is no Workload."""
    left = [pod for pod in found.without_workload() if found.waits(pod)]
    return actions.Part(chains=actions.each_alone(eviction.stop(None, left, terms)))


def former(seen: observed.Observed) -> actions.Part:
    """Return the removal of Workloads of an earlier set of the same name.

    Deleted with that set, they wait for its pods. Kueue leaves their finalizer to the job's side,
    so without this their quota would be held for ever once the set was made again.
    """
    if dispatching.concerned(seen):
        return actions.Part()
    live = seen.lws.meta.uid if seen.lws else ""
    left = [
        workload
        for workload in seen.workloads_that_go.values()
        if workload.meta.owners
        and not naming.is_copy(workload.meta)
        and not managed_by.kueue_finalizes(seen, workload)
        and all(owner.uid != live for owner in workload.meta.owners)
    ]
    released = pods.by_workload(seen.pods.values()) if left else {}
    return actions.Part(
        chains=tuple(diff.removal(one, released.get(one.meta.name, ())) for one in left)
    )


class _Pods:
    """The pods of a set by what they run on; put in order once, however many Workloads there are.

    A pod that only has the labels of a group neither is stopped nor holds anything up. ``own`` are
    those in the place of a Workload's group, ``released`` those that say so, by its name.
    """

    def __init__(self, seen: observed.Observed) -> None:
        # Kueue's own integration stops what it has let go.
        self._stops = seen.kueue.built_in is not True and seen.kueue.support == "served"
        memo, set_name = seen.memo, seen.name

        def place(_name: str, pod: facts.Pod) -> int | None:
            index = groups.index_of(set_name, pod)
            return index if index is not None and groups.may_belong(set_name, pod) else None

        places = memo.each("place", place, seen.pods, given=(set_name,))
        self._places = _put_together(seen.pods, places)
        asked = memo.each("asked for", _index_of, seen.workloads)
        self._asked = frozenset(asked.values())
        of_groups = {name: self._places.get(index) for name, index in asked.items()}
        self.own = memo.each("own pods", _same, of_groups)
        under = memo.each("under", _workload_of, seen.pods)
        self.released = memo.each("released", _same, _put_together(seen.pods, under))
        self._name = set_name
        self._queued = seen.lws is not None and managed_by.waits(seen, seen.lws)
        found = groups.compared(
            seen.found, gated=True, past=seen.past, revisions=seen.revisions.values()
        )
        self._before = found.which("before", lambda group: not group.in_queue)

    @property
    def given(self) -> tuple[object, ...]:
        """What ``waits`` depends on beside the pod."""
        return (self._stops, self._name, self._queued, self._before)

    def waits(self, pod: facts.Pod) -> bool:
        """Whether a pod was made to wait for an admission of ours.

        Where the set is gone only its mark says so: without it a pod may be from before the set was
        in a queue. While the set is there, that is known of the group.
        """
        queued = self._queued and groups.index_of(self._name, pod) not in self._before
        return self._stops and (queued or groups.is_marked(pod.meta.annotations))

    def without_workload(self) -> Iterator[facts.Pod]:
        """Return the pods of groups that have no Workload."""
        for place, members in self._places.items():
            if place not in self._asked:
                yield from members


def _put_together(pods: Mapping[str, facts.Pod], by: Mapping[str, K]) -> dict[K, Pods]:
    """Return pods by what each of them belongs to, which is given by their names."""
    found: dict[K, list[facts.Pod]] = {}
    for name, key in by.items():
        found.setdefault(key, []).append(pods[name])
    return {key: tuple(members) for key, members in found.items()}


def _same(_key: object, pods: Pods) -> Pods:
    return pods


def _workload_of(_name: str, pod: facts.Pod) -> str | None:
    """Return the name of the Workload under which a pod was released."""
    return pod.meta.annotations.get(names.WORKLOAD)


def _index_of(_name: str, workload: kueue.Workload) -> int | None:
    """Return the index of a Workload's group, None where it says none."""
    return numbers.natural(workload.meta.annotations.get(names.COMPONENT_WORKLOAD_INDEX, ""))
