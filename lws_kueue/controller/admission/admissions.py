"""What the groups of a queue-managed set are made from, and what Kueue has admitted them for.

Each group is looked at by itself. What its pods are made from is the revision of its leader, never
the set as it is now: during an update groups differ, and each has the admission that fits it.
"""

import operator
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from functools import cached_property
from typing import Literal

from lws_kueue.api import actions, completion, derived, facts, kueue, lws, names
from lws_kueue.api.indices import Indices
from lws_kueue.controller.admission import shortages
from lws_kueue.controller.observe import groups, scope
from lws_kueue.controller.revision import revisions
from lws_kueue.controller.rollout import unadmitted
from lws_kueue.workload import build, conditions, diff, naming, recreate, shape, state

Pods = Sequence[facts.Pod]

# For so long a group that waits may be admitted as a matter of course.
PATIENCE = timedelta(seconds=5)
# A group that has waited for so long does not get the quota that became free for it. Somebody else
# has, or it never will: then more of the same will help.
OVERDUE = timedelta(minutes=2)
# For so long the pods of a group that is made may be on their way. A group that lacks some after
# that may never get them, and no others wait for it.
PODS_DUE = timedelta(seconds=20)


class Change(Enum):
    """What the update that is under way makes of the admissions that its groups have."""

    NONE = "none"
    SMALLER = "smaller"
    ANOTHER = "another"


@dataclass(frozen=True, slots=True)
class Admissions:
    """What is known of a set's groups and their Workloads, by the index of the group.

    ``pods`` are all that have their place in a group, also what a former group has left.
    ``outdated`` says in words what of a group its Workload was not made for, ``in_vain`` why it
    asks for quota that it cannot use; ``short`` is what pods are missing. ``before`` are the groups
    from before the set waited for Kueue, ``running`` those whose Workload lets pods go.
    ``look_again`` is in how many seconds a group will have waited for a while.
    """

    own: Mapping[int, groups.Group] = field(default_factory=dict)
    pods: Mapping[int, tuple[facts.Pod, ...]] = field(default_factory=dict)
    workloads: Mapping[int, kueue.Workload] = field(default_factory=dict)
    contents: "Contents | None" = None
    outdated: Mapping[int, str] = field(default_factory=dict)
    waiting: unadmitted.Unadmitted = unadmitted.NOBODY
    look_again: float | None = None
    short: shortages.Shortages | None = None
    before: Indices = field(default_factory=Indices)
    running: Indices = field(default_factory=Indices)
    in_vain: Mapping[int, str] = field(default_factory=dict)

    def wanted(self, index: int) -> diff.Wanted:
        """Return what the Workload of a group has to be for."""
        wanted = self.contents.wanted(index) if self.contents else diff.Wanted(None)
        if index not in self.outdated and index not in self.in_vain:
            return wanted
        return diff.Wanted(wanted.content, self.outdated.get(index), self.in_vain.get(index))

    @property
    def given(self) -> tuple[object, ...]:
        """What is wanted of a group depends on this beside the group itself."""
        return self.contents.given if self.contents else ()

    def may_ask(self, index: int) -> bool:
        """Whether a group has the pods for which it would get quota."""
        return self.short is not None and self.short.complete(index)

    def taken_in(self, index: int) -> bool:
        """Whether the group is one that waits for Kueue, and not one from before the set did."""
        return index not in self.before


class Contents:
    """What each group is made from, each revision worked out once."""

    def __init__(self, at: scope.Scope, *, options: build.Options, remote: bool = False) -> None:
        """``remote`` says that other clusters are asked for it, which complete pods themselves."""
        self._at = at
        self._options = options
        self._where = " elsewhere" if remote else ""
        self._groups = at.found.by_index
        self._by_key: dict[str, recreate.Content | None] = {}
        self._wanted: dict[str, diff.Wanted] = {}
        self._flavors = at.seen.memo.same("flavors", at.seen.kueue.flavors)
        self.completions: shape.Completions = completion.AS_WRITTEN
        if not remote:
            self.completions = at.seen.memo.same(
                "completions",
                completion.completions(
                    at.seen.limit_ranges.values(), at.seen.runtime_classes.values()
                ),
            )
        self.current = self._content(at.asked, at.choice.key)

    def of(self, index: int) -> recreate.Content | None:
        """Return what a group is made from; None if nobody can tell."""
        group = self._groups.get(index)
        if group is not None:
            return self.current if group.key == self.current.key else self._at_key(group.key)
        return self.current if self._comes_at_current(index) else None

    def wanted(self, index: int) -> diff.Wanted:
        """Return what the Workload of a group has to be for, where nothing speaks against it."""
        content = self.of(index)
        if content is None:
            return diff.Wanted(None)
        if content.key not in self._wanted:
            self._wanted[content.key] = diff.Wanted(content)
        return self._wanted[content.key]

    def _comes_at_current(self, index: int) -> bool:
        """Whether a group that is not there will come at the current revision.

        Below the partition the StatefulSet controller makes leaders from the template before.
        """
        leader_set = self._at.found.leader_set
        if leader_set is None or index >= leader_set.replicas:
            return True
        makes = leader_set.template_labels.get(names.REVISION_KEY)
        if makes != self._at.choice.key:
            return False
        return index >= leader_set.partition or leader_set.settled

    def _at_key(self, key: str) -> recreate.Content | None:
        if key not in self._by_key:
            self._by_key[key] = self._restored(key)
        return self._by_key[key]

    def _restored(self, key: str) -> recreate.Content | None:
        revision = revisions.find(self._at.own_revisions, key)
        if revision is None:
            return None
        try:
            restored = revisions.restore(self._at.asked, revision)
        except revisions.BrokenRevision:
            return None
        return self._content(restored, key)

    def _content(self, owner: lws.LeaderWorkerSet, key: str) -> recreate.Content:
        made = _content(owner, (key, self._options, self.completions))
        return self._at.seen.memo.same(f"content {key}{self._where}", made)

    @cached_property
    def given(self) -> tuple[object, ...]:
        """What contents, and what does not fit to them, depend on beside the group itself."""
        leader_set = self._at.found.leader_set
        made: tuple[object, ...] = ()
        if leader_set is not None:
            made = (
                leader_set.replicas,
                leader_set.partition,
                leader_set.settled,
                leader_set.template_labels.get(names.REVISION_KEY),
            )
        own = self._at.own_revisions
        known = (self._at.asked, self._options, self._flavors, self.completions)
        return (self.current, self._at.choice.key, own, made, known)

    def outdated(self, index: int, workload: kueue.Workload, pods: Pods) -> str | None:
        """Return in words what of a group its Workload was not made for, None if it fits."""
        content = self.of(index)
        if content is None:
            return None
        return recreate.outdated(
            workload, content, pods, flavors=self._flavors, completions=self.completions
        )

    def becomes(self, workload: kueue.Workload, *, outdated: bool) -> Change:
        """Return what the current revision makes of an admission.

        ``outdated`` says that a group of that revision has found it to be for something else.
        """
        wanted, flavors = self.current.shape, self._flavors
        if wanted is None:
            return Change.ANOTHER
        completions = self.completions
        if not outdated and not shape.difference(
            workload, wanted, flavors=flavors, completions=completions
        ):
            return Change.NONE
        stored = shape.stored(workload, completions)
        return Change.SMALLER if shape.shrinks(stored, wanted) else Change.ANOTHER


@derived.once_given
def _content(
    owner: lws.LeaderWorkerSet, given: tuple[str, build.Options, shape.Completions]
) -> recreate.Content:
    key, options, completions = given
    return recreate.content(owner, key, options=options, completions=completions)


def of(
    at: scope.Scope,
    short: shortages.Shortages,
    *,
    options: build.Options,
    now: datetime,
) -> Admissions:
    """Return what the groups of a set are admitted for; ``short`` is what they lack.

    Of a set that is not the bridge's to release nothing is known.
    """
    if not at.managed_by.stops:
        return Admissions()
    memo = at.seen.memo
    contents = Contents(at, options=options)
    own = at.found.by_index
    pods = _places(at)
    workloads = diff.served(at.asked.meta, at.seen.workloads, options=options, memo=memo)
    outdated = memo.each(
        "outdated",
        lambda index, workload, _, pods: contents.outdated(index, workload, pods or ()),
        workloads,
        own,
        pods,
        given=contents.given,
    )
    checks = at.seen.kueue.admission_checks
    elsewhere, barred = at.elsewhere, at.barred

    def runs(index: int, workload: kueue.Workload) -> Literal[True] | None:
        if index in elsewhere:
            admitted = state.admission(workload) is state.Admission.ADMITTED
        else:
            admitted = state.may_run(workload, checks) and index not in barred
        return True if admitted else None

    running = memo.each("running", runs, workloads, given=(checks, elsewhere, barred))
    no_turn = memo.each("takes no turn", _takes_no_turn, workloads)
    before = at.found.which("before", lambda group: not group.in_queue)
    waiting = memo.whole("waiting", _waiting, _every(at), running, outdated, before)
    ages = _ages(at, workloads, waiting, now=now)
    change = _change(at, contents, workloads, outdated)
    lacking = _ages_without_workload(ages, workloads)
    asked = memo.whole("asked", _asked, workloads, before)
    most_made = unadmitted.paced(asked | _waited(lacking, PODS_DUE))
    patient = _waited(ages, PATIENCE)
    smaller = change is Change.SMALLER
    # Surge groups that hold quota give way first.
    surging = at.found.indices - range(at.owner.spec.replicas) - waiting
    return Admissions(
        own=own,
        pods=pods,
        workloads=workloads,
        contents=contents,
        outdated=outdated,
        waiting=unadmitted.Unadmitted(
            groups=waiting,
            patient=patient,
            reshaping=change is not Change.NONE,
            overdue=_waited(ages, OVERDUE) if smaller and not surging else Indices(),
            give_way=any(_needs_way(at, own.get(index)) for index in patient),
            queued=memo.whole("queued", operator.sub, waiting, no_turn),
            most_queued=options.max_pending,
            most_made=most_made,
        ),
        look_again=actions.soonest(
            (
                *_ends(
                    # One that is not there has not waited at all.
                    (*ages.values(), timedelta(0)) if len(ages) < len(waiting) else ages.values(),
                    (PATIENCE, OVERDUE),
                ),
                *_ends(lacking.values() if most_made < at.owner.spec.replicas else (), (PODS_DUE,)),
            )
        ),
        short=short,
        before=before,
        running=memo.whole("may run", Indices, running),
        in_vain=_in_vain(at, short, own, workloads, now=now),
    )


def _in_vain(
    at: scope.Scope,
    short: shortages.Shortages,
    own: Mapping[int, groups.Group],
    workloads: Mapping[int, kueue.Workload],
    *,
    now: datetime,
) -> dict[int, str]:
    """Return the groups that ask for quota in vain; MultiKueue's Workloads are not ours to end."""
    checks = at.seen.kueue.admission_checks
    lacking = short.workers
    if naming.is_copy(at.owner.meta):
        return {}
    doubtful = {
        *(workloads.keys() - own.keys()),
        *(index for index in lacking if index in workloads and own[index].in_queue),
    }
    return {
        index: why
        for index in sorted(doubtful)
        if not state.runs_elsewhere(workloads[index], checks)
        and (why := short.in_vain(index, workloads[index], now=now)) is not None
    }


def _places(at: scope.Scope) -> Mapping[int, tuple[facts.Pod, ...]]:
    """Return all pods that have their place in a group, by its index."""
    pods = at.found.each("pods", lambda group: group.pods)
    if not at.found.former:
        return pods
    more = dict(pods)
    for pod in at.found.former:
        if (place := groups.index_of(at.owner.meta.name, pod)) is not None:
            more[place] = (*more.get(place, ()), pod)
    return at.seen.memo.each("pods and former ones", lambda _, pods: pods, more)


def _every(at: scope.Scope) -> range:
    """Return the indices of the groups that there are, or are to be."""
    leader_set = at.found.leader_set
    return range(max(at.owner.spec.replicas, leader_set.replicas if leader_set else 0))


def _waiting(
    every: range, run: Collection[int], outdated: Collection[int], before: Indices
) -> Indices:
    """Return the groups that cannot be ready before Kueue has admitted them.

    Those that ``run`` are admitted, and for what they are unless they are ``outdated``; those
    ``before`` do without.
    """
    return Indices(every) - (Indices(run) - outdated) - before


def _asked(workloads: Collection[int], before: Indices) -> Indices:
    """Return the groups whose pods are there, as far as quota was asked for them."""
    return Indices(workloads) | before


def _takes_no_turn(_index: int, workload: kueue.Workload) -> Literal[True] | None:
    """Whether a group is in no queue and does not go back there by itself."""
    settled = (state.Admission.RESERVED, state.Admission.ADMITTED, state.Admission.DEACTIVATED)
    return True if state.admission(workload) in settled else None


@dataclass(frozen=True, slots=True)
class _Since:
    """Since when a group has waited for quota: ``at`` is None where nobody can tell."""

    at: datetime | None

    def age(self, now: datetime) -> timedelta:
        return timedelta(0) if self.at is None else now - self.at


def _ages(
    at: scope.Scope,
    workloads: Mapping[int, kueue.Workload],
    waiting: Indices,
    *,
    now: datetime,
) -> dict[int, timedelta | None]:
    """Return for how long the groups that are there have waited, None for those with quota."""
    there = at.found.indices & waiting
    if not there:
        return {}
    since = at.seen.memo.each("waits since", _since, at.found.by_index, workloads)
    return {index: since[index].age(now) if index in since else None for index in there}


def _ages_without_workload(
    ages: Mapping[int, timedelta | None], workloads: Collection[int]
) -> dict[int, timedelta | None]:
    """Return for how long the groups have waited that nobody has asked quota for yet."""
    return {index: age for index, age in ages.items() if index not in workloads}


def _since(_index: int, group: groups.Group, workload: kueue.Workload | None) -> _Since | None:
    """Return since when a group has waited for quota; None for one that has some.

    That one waits for checks, or for its own pods to end; one that is to run in another cluster
    waits to be taken by one. The others have waited since their leader
    is there, their Workload is, and Kueue has said no to that: while a leader is being recreated
    its group has not waited at all.
    """
    times = [group.leader.meta.created]
    if workload is not None:
        # What other clusters say to a group with quota here is what it waits for.
        if state.has_quota(workload) and group.remote is None:
            return None
        reserved = workload.condition(state.QUOTA_RESERVED)
        times += [workload.meta.created, reserved.last_transition_time if reserved else ""]
    moments = [moment for time in times if (moment := conditions.moment(time)) is not None]
    return _Since(max(moments, default=None))


def _waited(ages: Mapping[int, timedelta | None], at_least: timedelta) -> Indices:
    return Indices(i for i, age in ages.items() if age is not None and age >= at_least)


def _ends(ages: Iterable[timedelta | None], limits: Sequence[timedelta]) -> Iterator[float]:
    """Return in how many seconds each group comes to each age of ``limits``."""
    for age in ages:
        for limit in limits:
            if age is not None and age < limit:
                yield (limit - age).total_seconds()


def _change(
    at: scope.Scope,
    contents: Contents,
    workloads: Mapping[int, kueue.Workload],
    outdated: Mapping[int, str],
) -> Change:
    """Return whether, and how, the set's update changes what its groups have to be admitted for."""
    current = contents.current
    if current.shape is None:
        return Change.ANOTHER
    replicas = at.owner.spec.replicas

    def of_one(
        index: int, workload: kueue.Workload, _: object, outdated: str | None
    ) -> Change | None:
        if index >= replicas or workload.meta.deleting:
            return None
        content = contents.of(index)
        same = content is not None and content.key == current.key
        if same and outdated is None:
            return None
        change = contents.becomes(workload, outdated=same)
        return None if change is Change.NONE else change

    changes = at.seen.memo.each(
        "change",
        of_one,
        workloads,
        at.found.by_index,
        outdated,
        given=(replicas, *contents.given),
    ).values()
    if Change.ANOTHER in changes:
        return Change.ANOTHER
    return Change.SMALLER if changes else Change.NONE


def _needs_way(at: scope.Scope, group: groups.Group | None) -> bool:
    """Whether a group that waits is a desired one which the update has recreated."""
    return group is not None and group.index < at.owner.spec.replicas and group.key == at.choice.key
