"""Pods that a set is to have and has not, and what that means for the quota of its groups.

A pod that the API server refuses (a ResourceQuota, Pod Security, a webhook) is missed by its
StatefulSet, whose controller goes on trying. Its status says that: it makes all pods that are
missing before it writes how many there are. The API server keeps the time of that write, so nobody
has to remember since when. What was refused, and why, stands in Events of the StatefulSet, which
are read while one is short of pods and at no other time. That a worker StatefulSet is refused
itself is known from the attempt to make it; one that is only not there yet may be so for as long as
the control plane is busy.

Quota is asked for when a group's pods are there to use it. They are made before any admission,
gated, so a group waits for one event more, and a group whose pods cannot be made asks for nothing.
Where pods come to be missed later, the Workload is deleted after a while, and asked for again when
they are there. The deletion is a mark that outlives this process: the finalizer keeps the quota
until what runs has been stopped.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Final

from lws_kueue.api import actions, facts, kueue, lws
from lws_kueue.api.reasons import Reason
from lws_kueue.controller.objects import startup
from lws_kueue.controller.observe import groups, observed, scope
from lws_kueue.workload import conditions, fitness, state
from lws_kueue.workload import pods as group_pods

# For so long a StatefulSet may be short of pods that are refused before its group gives its quota
# back, and for so long if nobody says that they are: a control plane may be slow, an Event be lost.
PATIENCE: Final = timedelta(seconds=20)
UNTOLD_PATIENCE: Final = timedelta(minutes=5)

# How soon to look, in seconds, for an Event that says what was refused.
_SOON: Final = 3.0
_LATER: Final = 30.0

# For so many StatefulSets of a set at a time.
MOST_ASKED: Final = 8

_WAITS_OR_HAS: Final = frozenset(
    {state.Admission.PENDING, state.Admission.RESERVED, state.Admission.ADMITTED}
)


@dataclass(frozen=True, slots=True)
class Shortage:
    """That a StatefulSet has fewer pods than it wants, since when, and what was refused.

    ``since`` is None where nobody can tell, ``refusal`` is "" until an Event says why. ``exists``
    says that the StatefulSet is there, or may come to be as long as nobody changes anything.
    """

    stateful_set: str
    made: int
    wanted: int
    since: datetime | None
    refusal: str = ""
    exists: bool = True

    @property
    def patience(self) -> timedelta:
        """For how long it may still end by itself."""
        return PATIENCE if self.refusal else UNTOLD_PATIENCE

    @property
    def message(self) -> str:
        """What is missing and why, for people."""
        what = f"StatefulSet {self.stateful_set} has {self.made} of {self.wanted} pods"
        if not self.exists:
            what = f"none of the {self.wanted} workers of {self.stateful_set} can be made"
        return f"{what}: {self.refusal}" if self.refusal else f"{what}; its events say why"

    @property
    def about(self) -> str:
        """What is missing, without how much of it and what is said to that."""
        return f"pods of StatefulSet {self.stateful_set}"

    def lasts(self, now: datetime) -> bool:
        """Whether it has gone on for so long that it does not end by itself."""
        return self.since is not None and now - self.since >= self.patience

    def look_again(self, now: datetime) -> float | None:
        """Return in how many seconds something may follow from it without any other event."""
        if self.since is None or self.lasts(now):
            return None if self.refusal else _LATER
        left = (self.since + self.patience - now).total_seconds()
        return left if self.refusal else min(left, _SOON)


def asked(seen: observed.Observed) -> tuple[facts.StatefulSet, ...]:
    """Return the StatefulSets whose Events the next decision needs."""
    short = seen.memo.each("short", lambda _, one: one if one.short else None, seen.stateful_sets)
    lacking = (one for one in short.values() if not _all_there(seen, one))
    return tuple(islice(lacking, MOST_ASKED))


def _all_there(seen: observed.Observed, owner: facts.StatefulSet) -> bool:
    """Whether there are pods with all the names that a StatefulSet gives.

    Its status lags behind: pods that were made in the same turn are not counted yet. And a pod
    whose name is taken is not refused.
    """
    # The leaders are counted from 0, the workers of a group from 1.
    start = 0 if owner.meta.name == seen.name else 1
    ordinals = range(start, start + owner.replicas)
    return all(f"{owner.meta.name}-{ordinal}" in seen.pods for ordinal in ordinals)


def _may_lack_workers(owner: lws.LeaderWorkerSet, group: groups.Group) -> bool:
    """Whether a group is to have workers now that may be missing."""
    if group.worker_set is not None:
        return group.worker_set.short
    start = startup.worker_set(owner, group)
    return start.create or start.reason is not None


class Shortages:
    """What the groups of a set are short of."""

    def __init__(self, at: scope.Scope, *, now: datetime) -> None:
        self._at = at
        self._now = now
        self._groups = at.found.by_index
        leader_set = at.found.leader_set
        self._leaders = self._of(leader_set) if leader_set else None
        doubtful = at.found.which(
            "may lack pods", lambda group: _may_lack_workers(at.asked, group), given=(at.asked,)
        )
        self._workers = {
            index: found
            for index in doubtful
            if (found := self._of_workers(self._groups[index])) is not None
        }

    def _of(self, owner: facts.StatefulSet) -> Shortage | None:
        """Return what a StatefulSet is short of."""
        if not owner.short or _all_there(self._at.seen, owner):
            return None
        return Shortage(
            stateful_set=owner.meta.name,
            made=int(owner.status.get("replicas", 0)),
            wanted=owner.replicas,
            since=conditions.moment(owner.status_since),
            refusal=self._at.seen.refusals.get(owner.meta.name, ""),
        )

    def _of_workers(self, group: groups.Group) -> Shortage | None:
        if group.worker_set is not None:
            return self._of(group.worker_set)
        leader = group.leader.meta
        start = startup.worker_set(self._at.owner, group)
        if start.reason is not None:
            # Their name is taken, or the leader lacks what they are told by, since it is there.
            return Shortage(
                leader.name,
                made=0,
                wanted=group.size - 1,
                since=self._without_workers_since(leader),
                refusal=start.reason.message,
                exists=False,
            )
        if not start.create:
            return None
        ref = actions.Ref("apps/v1", "StatefulSet", leader.namespace, leader.name)
        refused = self._at.seen.attempts.refusal(actions.WriteKey(ref, "create"))
        if refused is None:
            return None
        return Shortage(
            leader.name,
            made=0,
            wanted=group.size - 1,
            since=refused.since,
            refusal=refused.message,
        )

    def _without_workers_since(self, leader: facts.Meta) -> datetime | None:
        """Return since when a leader has lacked workers that come before any admission."""
        follow = startup.follows(self._at.owner)
        return None if follow else conditions.moment(leader.created)

    def of(self, index: int) -> Shortage | None:
        """Return what a group is short of, if anything is known to be."""
        if index in self._groups:
            return self._workers.get(index)
        leader_set = self._at.found.leader_set
        if leader_set is None or index >= leader_set.replicas:
            return None
        return None if f"{leader_set.meta.name}-{index}" in self._at.seen.pods else self._leaders

    @property
    def workers(self) -> Mapping[int, Shortage]:
        """What groups that are there are short of."""
        return self._workers

    def complete(self, index: int) -> bool:
        """Whether the pods of a group are there, as far as they come before an admission."""
        group = self._groups.get(index)
        if group is None or group.leader.meta.deleting:
            return False
        if group.remote is not None:
            return True
        if group.worker_set is None:
            return group.size == 1 or startup.follows(self._at.owner)
        return sum(group.has_place(pod.meta.name) for pod in group.workers) >= group.size - 1

    def in_vain(self, index: int, workload: kueue.Workload, *, now: datetime) -> str | None:
        """Return why the Workload of a group asks for quota, or has it, in vain; None: it does not.

        A group that need not be whole (restart policy None) and that runs in part goes on.
        """
        found, group = self.of(index), self._groups.get(index)
        waits_or_has = state.admission(workload) in _WAITS_OR_HAS and workload.spec.active
        if found is None or not found.lasts(now) or not waits_or_has:
            return None
        whole = self._at.owner.spec.leader_worker_template.restart_policy != "None"
        runs = group is not None and any(group_pods.could_run(pod) for pod in group.pods)
        if runs and not whole and fitness.been_ready(workload):
            return None
        return found.message

    def part(self, *, now: datetime) -> actions.Part:
        """Tell what was refused, or that something must have been, and when to look again."""
        lasting = (one for one in self._all() if one.refusal or one.lasts(now))
        first = islice(lasting, MOST_ASKED)
        return actions.Part(
            reasons=tuple(Reason("FailedCreate", one.message, about=one.about) for one in first),
            recheck_after=actions.soonest(one.look_again(now) for one in self._all()),
        )

    def _all(self) -> Iterator[Shortage]:
        if self._leaders is not None:
            yield self._leaders
        for index in sorted(self._workers):
            # What the API server says to the write of a StatefulSet is told as such.
            if self._groups[index].worker_set is not None:
                yield self._workers[index]
