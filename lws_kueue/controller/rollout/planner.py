"""The rolling update, as arithmetic on small values (lws-contract 4).

Groups from the partition upwards are at the new revision or on their way there; the StatefulSet
controller replaces them. A pass moves the partition down as far as the budget lets it and opens or
closes surge groups above the desired ones. Nothing is remembered between passes but what stands
on the leader StatefulSet.
"""

from dataclasses import dataclass, field, replace

from lws_kueue.api import actions, facts, lws, names, numbers
from lws_kueue.api.indices import Indices
from lws_kueue.controller.observe import groups
from lws_kueue.controller.rollout import scaling, unadmitted


@dataclass(frozen=True, slots=True)
class States:
    """How the groups 0 to ``count`` - 1 count: a missing or incomplete one is in neither set."""

    count: int = 0
    ready: Indices = field(default_factory=Indices)
    updated: Indices = field(default_factory=Indices)

    @property
    def settled(self) -> Indices:
        """Those that are at the current revision and ready."""
        return self.ready & self.updated

    @property
    def outdated(self) -> Indices:
        """Those that are ready at another revision."""
        return self.ready - self.updated

    def staying(self, *, partition: int, replicas: int) -> Indices:
        """Return those below ``replicas`` that are ready and not about to be replaced."""
        return self.ready.below(replicas) & (self.updated | range(partition))

    def without(self, removed: Indices) -> "States":
        """Return the states of the others, as if ``removed`` did not exist."""
        return States(
            self.count - len(removed.below(self.count)),
            self.ready.without(removed),
            self.updated.without(removed),
        )


@dataclass(frozen=True, slots=True)
class Current:
    """What the leader StatefulSet says: its replicas N, its partition p, and R at that time.

    Of that R only those count that were made, because not all of them may have been (``paced``).
    ``seen`` says that its controller goes by that by now, and not by what was there before.
    """

    replicas: int
    partition: int
    desired_then: int
    seen: bool = True


@dataclass(frozen=True, slots=True)
class Target:
    """What the leader StatefulSet is to say."""

    partition: int
    replicas: int


def decide(
    owner: lws.LeaderWorkerSet,
    *,
    observation: groups.Groups,
    key: str,
    updated: bool,
    waiting: unadmitted.Unadmitted = unadmitted.NOBODY,
) -> Target:
    """Return partition and replicas for the leader StatefulSet of a set at revision ``key``.

    ``updated`` says that the set has come to that revision in this very pass; ``waiting`` are the
    groups that wait for Kueue.
    """
    leader_set = observation.leader_set
    bounds = bounds_of(owner, leader_set=leader_set, waiting=waiting)
    if leader_set is None:
        return plan(bounds, current=None, states=States(), updated=False)
    current = Current(
        replicas=leader_set.replicas,
        partition=leader_set.partition,
        desired_then=desired_then(leader_set, default=bounds.replicas),
        seen=leader_set.seen,
    )
    states = states_of(observation, count=current.replicas, key=key)
    return under_quota(bounds, current=current, states=states, updated=updated, waiting=waiting)


def bounds_of(
    owner: lws.LeaderWorkerSet,
    *,
    leader_set: facts.StatefulSet | None,
    waiting: unadmitted.Unadmitted,
) -> scaling.Bounds:
    """Return what the rollout of a set has to keep to now, of which ``waiting`` wait for Kueue."""
    return waiting.paced(scaling.bounds(owner), replicas=_there(leader_set))


def may_wait(
    owner: lws.LeaderWorkerSet,
    *,
    leader_set: facts.StatefulSet | None,
    waiting: unadmitted.Unadmitted,
) -> int:
    """Return how many desired groups of a set are made as soon as there are pods for them."""
    return waiting.limited(scaling.bounds(owner), replicas=_there(leader_set)).replicas


def _there(leader_set: facts.StatefulSet | None) -> int:
    return 0 if leader_set is None else leader_set.replicas


def under_quota(
    bounds: scaling.Bounds,
    *,
    current: Current,
    states: States,
    updated: bool,
    waiting: unadmitted.Unadmitted,
) -> Target:
    """Return the next target where groups may wait for Kueue (``waits``).

    Surge groups that nobody counts on are left out of the arithmetic. They stay where they are for
    as long as groups are to be opened: taken away, they would be wanted again in the next pass.
    """
    desired = bounds.replicas
    surge_unadmitted = waiting.surge_unadmitted(desired=desired, replicas=current.replicas)
    kept_to = waiting.effective(bounds, replicas=current.replicas, updated=updated)
    uses_budget = waiting.uses_budget(kept_to)
    passed_by = waiting.not_counted(desired) | uses_budget
    ready = states.ready | passed_by.below(states.count)
    counted = replace(states, ready=ready).without(surge_unadmitted)
    target = plan(
        replace(kept_to, unavailable=kept_to.unavailable - len(uses_budget)),
        current=replace(current, replicas=current.replicas - len(surge_unadmitted)),
        states=counted,
        updated=updated,
        give_way=waiting.give_way,
    )
    # A group that is passed by is not there, so no surge group that is may go for it.
    real = states.without(surge_unadmitted)
    target = _guarded(kept_to, real, target=target, partition=target.partition)
    replicas = _with_uncounted(target.replicas, surge_unadmitted)
    if target.partition > 0 and current.desired_then == desired:
        replicas = max(replicas, min(target.replicas + len(surge_unadmitted), bounds.burst))
    return replace(target, replicas=replicas)


def _with_uncounted(count: int, surge_unadmitted: Indices) -> int:
    """Return how many groups there have to be, so that ``count`` are not ``surge_unadmitted``.

    Groups go from the top, and one that is ready may stand above one that nobody counts on.
    """
    replicas = count
    for run in surge_unadmitted.runs:
        if run.start < replicas:
            replicas += len(run)
    return replicas


def desired_then(leader_set: facts.StatefulSet, *, default: int) -> int:
    """Return the replicas that the set asked for when the leader StatefulSet was applied last.

    What was asked for and not made is not told from what was never asked for.
    """
    written = numbers.natural(leader_set.meta.annotations.get(names.REPLICAS, ""))
    return default if written is None else min(written, leader_set.replicas)


def states_of(found: groups.Groups, *, count: int, key: str) -> States:
    """Return the states of the groups 0 to ``count`` - 1 (lws-contract 4.1).

    A group whose leader is being deleted is not ready, whatever its conditions still say: what the
    budget is uses_budget on is gone in a moment.
    """
    return States(count, ready=found.staying.below(count), updated=found.updated(key).below(count))


def plan(
    bounds: scaling.Bounds,
    *,
    current: Current | None,
    states: States,
    updated: bool,
    give_way: bool = False,
) -> Target:
    """Return the next target; ``current`` is None while there is no leader StatefulSet.

    With ``give_way`` surge groups go as soon as the others are enough.
    """
    target = _plan(bounds, current=current, states=states, updated=updated, give_way=give_way)
    return Target(partition=max(target.partition, bounds.floor), replicas=target.replicas)


def _plan(
    bounds: scaling.Bounds,
    *,
    current: Current | None,
    states: States,
    updated: bool,
    give_way: bool,
) -> Target:
    """Return the target before the partition that the user asked for is applied to it."""
    desired = bounds.replicas
    if current is None:
        return Target(partition=0, replicas=desired)
    if updated:
        # All desired groups count as outdated. New groups come up first, at the new revision.
        surged = desired if current.replicas < desired else reclaim(bounds, desired)
        target = Target(partition=min(desired, current.replicas), replicas=surged)
        return _guarded(bounds, states, target=target, partition=current.replicas)
    if current.partition == 0 and current.replicas in (desired, current.desired_then):
        # At rest, and scaling away from there is nothing that a rollout had to do with.
        return Target(partition=0, replicas=desired)
    if current.replicas < desired:
        return Target(partition=current.partition, replicas=desired)
    if not current.seen:
        # Its controller may still replace groups that an update, which was taken back since, had
        # reached: whatever else is taken down now would come on top of them.
        kept = min(current.replicas, bounds.burst)
        return Target(partition=min(current.partition, bounds.burst), replicas=kept)
    replicas = desired if give_way else reclaim(bounds, count_unsettled(states, desired))
    partition = min(current.partition, bounds.burst)
    if current.desired_then == desired:
        # Surge groups that exist add to what may be unavailable among the others.
        step = bounds.unavailable + current.replicas - desired
        partition = _move(states, step=step, partition=current.partition)
    target = Target(partition=partition, replicas=replicas)
    return _guarded(bounds, states, target=target, partition=current.partition)


def _guarded(
    bounds: scaling.Bounds,
    states: States,
    *,
    target: Target,
    partition: int,
) -> Target:
    """Return the target, held back where it would make too many groups unavailable.

    Upstream goes over the budget in three cases: where broken groups stand among those that
    it is about to open, where ready surge groups go while another one that is not ready stays,
    and where a second update takes the surge groups that stand in for groups of the first one.
    What is available already may always become less than the budget by itself, never by this.

    ``partition`` is where the partition is now, above which nothing is held back.
    """
    most = max(target.replicas, min(states.count, bounds.burst))
    available = len(states.staying(partition=partition, replicas=states.count))
    needed = min(bounds.replicas - bounds.unavailable, available)
    # Going on with the update comes first, so surge groups are kept before groups are held back.
    held, replicas = target.partition, target.replicas
    lacking = needed - len(states.staying(partition=held, replicas=most))
    if lacking > 0 and held < partition:
        kept = (states.outdated & range(held, min(partition, most))).past(lacking)
        held = partition if kept is None else kept
    lacking = needed - len(states.staying(partition=held, replicas=replicas))
    if lacking > 0 and replicas < most:
        kept = (states.staying(partition=held, replicas=most) & range(replicas, most)).past(lacking)
        replicas = most if kept is None else kept
    return Target(partition=held, replicas=replicas)


def reclaim(bounds: scaling.Bounds, unsettled: int) -> int:
    """Return the number of groups, with as many surge groups as the unsettled ones still need."""
    if unsettled <= bounds.surge:
        return min(bounds.burst, bounds.replicas + max(0, unsettled - bounds.unavailable))
    return bounds.burst


def count_unsettled(states: States, desired: int) -> int:
    """Count the desired groups that are not at the current revision and ready."""
    return desired - len(states.settled.below(desired))


def _move(states: States, *, step: int, partition: int) -> int:
    """Return the partition that opens up to ``step`` groups below those that are settled."""
    low = max(0, states.count - _settled_at_the_top(states) - step)
    # What is broken below is unavailable already and eats from the budget.
    moved = low + low - len(states.ready.below(low))
    # Replacing groups that are broken, or passing those that are updated, costs nothing.
    top = min(moved, states.count - 1)
    stands = (states.outdated & range(low, top + 1)).last()
    if stands != top >= low:
        moved = low if stands is None else stands + 1
    # The partition moves in one direction; readiness that goes back does not raise it.
    return min(moved, partition)


def _settled_at_the_top(states: States) -> int:
    """Count the groups from the top down that are at the current revision and ready."""
    runs = states.settled.runs
    return len(runs[-1]) if runs and runs[-1].stop == states.count else 0


def events(
    owner: lws.LeaderWorkerSet, *, live: facts.StatefulSet, target: Target, updated: bool
) -> tuple[actions.Event, ...]:
    """Return the events that belong to the apply of a target (lws-contract 1.6)."""
    texts = []
    name, last = owner.meta.name, live.replicas - 1
    if target.replicas == last:
        texts.append(("GroupsProgressing", f"deleting surge replica {name}-{last}"))
    elif target.replicas < last:
        first = target.replicas
        text = f"deleting surge replicas from {name}-{first} to {name}-{last}"
        texts.append(("GroupsProgressing", text))
    if not updated and target.partition == live.partition - 1:
        texts.append(("GroupsUpdating", f"Updating replica {target.partition}"))
    elif not updated and target.partition < live.partition:
        text = f"Updating replicas {target.partition} to {live.partition - 1} (inclusive)"
        texts.append(("GroupsUpdating", text))
    return tuple(actions.Event("Normal", reason, text) for reason, text in texts)
