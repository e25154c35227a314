"""What a plan would do to the pods of a set, for whoever asks before it is carried out.

A plan says what is written. What becomes of pods is said here, as a StatefulSet controller would
go about it: another template replaces groups, and so does a partition that goes down; fewer
replicas stop pods.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from lws_kueue.api import actions, apply_diff, facts, lws, names, reasons
from lws_kueue.api.indices import Indices
from lws_kueue.controller import refusals, repairs
from lws_kueue.controller.observe import observed, ordinals
from lws_kueue.controller.rollout import replacement, scaling
from lws_kueue.workload import pods

# What only goes on is told in no event.
_UPDATE: Final = "an update that is under way would go on"


@dataclass(frozen=True, slots=True)
class Replaced:
    """Groups, by their indices, all of whose pods would be made anew, and why."""

    groups: Indices
    why: str


@dataclass(frozen=True, slots=True)
class Stopped:
    """Pods, by their names, that would end, and why."""

    pods: tuple[str, ...]
    why: str


@dataclass(frozen=True, slots=True)
class Forecast:
    """What would be done for one set.

    ``others`` counts the writes that end no pod, by what is done and to which kind of object.
    ``warnings`` are told to people. ``undecided`` says that an error kept a decision from being
    made, so that more than this may follow.
    """

    replaced: tuple[Replaced, ...] = ()
    stopped: tuple[Stopped, ...] = ()
    others: Mapping[tuple[str, str], int] = field(default_factory=dict)
    warnings: tuple[actions.Event, ...] = ()
    undecided: bool = False

    @property
    def disturbs(self) -> bool:
        """Whether pods would end, or nobody can tell."""
        return bool(self.replaced or self.stopped or self.undecided)

    @property
    def nothing(self) -> bool:
        """Whether there is nothing to tell."""
        return not (self.disturbs or self.others or self.warnings)


def of(seen: observed.Observed, plan: actions.Plan) -> Forecast:
    """Return what ``plan`` would do to the set that was ``seen``."""
    replaced: list[Replaced] = []
    stopped: list[Stopped] = []
    deletions: dict[str, list[actions.Delete]] = {}
    others: Counter[tuple[str, str]] = Counter()
    for write, does in refusals.single_writes(plan):
        ref = actions.key_of(write).ref
        if isinstance(write, actions.Delete) and ref.kind == "Pod":
            deletions.setdefault(write.because, []).append(write)
            continue
        others[does, _what(write, ref)] += 1
        if isinstance(write, actions.Delete) and write.stops and ref.kind == "Workload":
            stopped += _without_quota(seen, write)
        live = seen.stateful_sets.get(ref.name)
        if ref.kind == "StatefulSet" and live is not None:
            replaced += _replaced(seen, live, write)
            stopped += _scaled_down(seen, live, write)
    for same in deletions.values():
        replaced += _recreated(same)
        stopped += _stopped(same)
    return Forecast(
        replaced=tuple(replaced),
        stopped=tuple(stopped),
        others=dict(others),
        warnings=plan.warnings,
        undecided=bool(plan.faults),
    )


def _what(write: repairs.Write, ref: actions.Ref) -> str:
    reports = actions.key_of(write).reports
    return f"status of {ref.kind}" if reports else ref.kind


def _replaced(
    seen: observed.Observed, live: facts.StatefulSet, write: repairs.Write
) -> Iterator[Replaced]:
    """Yield the groups that another template, or a lower partition, of the leaders replaces."""
    owner = seen.lws
    leaders = seen.found.leader_set
    if owner is None or leaders is None or not isinstance(write, actions.Apply):
        return
    if leaders.meta.uid != live.meta.uid:
        return
    groups = _groups(seen, owner, write.body)
    if fields := apply_diff.of_pods(live, write.body):
        named = reasons.some(fields, most=apply_diff.MOST_NAMED)
        yield from _some(groups, f"StatefulSet {live.meta.name} would change in {named}")
        return
    partition = write.body["spec"]["updateStrategy"]["rollingUpdate"]["partition"]
    newest = live.status.get("updateRevision", "")
    outdated = Indices(
        group.index
        for group in seen.found.groups
        if partition <= group.index < live.partition and replacement.made_from(group) != newest
    )
    yield from _some(outdated & groups, _UPDATE)


def _groups(seen: observed.Observed, owner: lws.LeaderWorkerSet, body: facts.Object) -> Indices:
    """Return the groups that an update may take, in the end, of those that stay."""
    update = range(scaling.bounds(owner).floor, body["spec"]["replicas"])
    return Indices(group.index for group in seen.found.groups) & update


def _some(groups: Indices, why: str) -> Iterator[Replaced]:
    if groups:
        yield Replaced(groups, why)


def _scaled_down(
    seen: observed.Observed, live: facts.StatefulSet, write: repairs.Write
) -> Iterator[Stopped]:
    """Yield the pods for which a StatefulSet would have no place any more."""
    wanted = _replicas(write)
    if wanted is None or wanted >= live.replicas:
        return
    end = (live.spec.get("ordinals") or {}).get("start", 0) + wanted
    beyond = tuple(
        pod.meta.name
        for pod in seen.pods.values()
        if pod.meta.controller is not None
        and pod.meta.controller.uid == live.meta.uid
        and ordinals.parent_and_ordinal(pod.meta.name)[1] >= end
    )
    if beyond:
        why = f"StatefulSet {live.meta.name} would have {wanted} replicas and not {live.replicas}"
        yield Stopped(_sorted(beyond), why)


def _without_quota(seen: observed.Observed, taken: actions.Delete) -> Iterator[Stopped]:
    """Yield the pods of a group whose Workload goes: the next pass stops them."""
    workload = seen.workloads[taken.ref.name]
    index = workload.meta.annotations.get(names.COMPONENT_WORKLOAD_INDEX)
    running = tuple(
        pod.meta.name
        for group in seen.found.groups
        if str(group.index) == index
        for pod in group.pods
        if pods.could_run(pod)
    )
    if running:
        yield Stopped(_sorted(running), _told([taken]))


def _replicas(write: repairs.Write) -> int | None:
    if not isinstance(write, actions.Apply | actions.Patch):
        return None
    spec: Mapping[str, Any] = write.body.get("spec") or {}
    found: int | None = spec.get("replicas")
    return found


def _recreated(same: Iterable[actions.Delete]) -> Iterator[Replaced]:
    """Yield the groups that go with their leader pods."""
    leaders = [one for one in same if one.propagation == "Foreground"]
    groups = Indices(ordinals.parent_and_ordinal(one.ref.name)[1] for one in leaders)
    yield from _some(groups, _told(leaders) or _UPDATE)


def _stopped(same: Iterable[actions.Delete]) -> Iterator[Stopped]:
    alone = [one for one in same if one.propagation != "Foreground"]
    if alone:
        yield Stopped(_sorted(one.ref.name for one in alone), _told(alone) or alone[0].because)


def _told(deletions: Iterable[actions.Delete]) -> str:
    """Return what events would say of deletions that have the same occasion, "" for nothing."""
    events = (event for one in deletions for event in one.events)
    return "; ".join(dict.fromkeys(event.message for event in events))


def _sorted(found: Iterable[str]) -> tuple[str, ...]:
    """Return names of pods in the order of their ordinals."""
    return tuple(sorted(found, key=_place))


def _place(name: str) -> tuple[str, int, str]:
    parent, ordinal = ordinals.parent_and_ordinal(name)
    return parent, ordinal, name
