"""Groups that wait for Kueue, as a rollout has to take them.

A group that Kueue has not admitted cannot become ready, whatever the rollout does, and to wait for
it could be for ever (kueue-contract 1.16 and 8.3; upstream's pair hangs in most such rolls):

- A surge group that gets no quota helps nobody. Once it has waited for a while it does not count
  any more. Without any other surge, groups are replaced in place, one at a time if the set allows
  none to be down. Nor are surge groups opened while others wait: they would only queue up as well.
- A desired group that waits, while the update changes nothing that Kueue looks at, waits for
  reasons of its own. The update passes it by, as if it were ready.
- Where the update does change what has to be admitted, a group that waits may be waiting for the
  new thing, and is down by our doing. It counts as unavailable: no more groups are taken down than
  the set allows, and the others go on serving. What the set allows beyond it is used all the same,
  for groups below it, although a rollout otherwise goes on only below groups that are ready.
  Only if the update asks for less, a group that has waited for very long is passed by as well:
  what comes down then gives back more than it needs, so going on is what helps.
- Surge groups that hold quota, while a desired group waits for some, give way.
- No more groups are made than may wait, beside those that do not. A rollout takes the set for as
  large as that, and goes on with it when groups are admitted.
- Nor are more made at a time than get their pods soon: a StatefulSet controller serves whoever asks
  first, and the groups of a large set would keep it from everybody else's for a long time.
"""

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Final

from lws_kueue.api.indices import Indices
from lws_kueue.controller.rollout import scaling

# A set grows by so many groups at a time, when there are fewer than so many that lack pods. By
# default a controller manager makes 20 pods a second, so it is busy with them for seconds.
STEP: Final = 32


def paced(asked: Collection[int]) -> int:
    """Return how many groups of a set there may be by now, of which so many have ``asked``.

    That are at least STEP, and at most twice as many, more than those that have. It changes once
    in STEP groups, because each change is a write.
    """
    return (len(asked) // STEP + 2) * STEP


@dataclass(frozen=True, slots=True)
class Unadmitted:
    """Indices of the ``groups`` that Kueue has not admitted.

    ``patient`` are those of them that have waited for a while. ``reshaping`` says that the update
    which is under way changes what has to be admitted, and ``overdue`` are the groups that have
    waited for very long where it asks for less; ``give_way`` that a desired group, at the
    newest revision, has been waiting for a while, perhaps for the quota of surge groups.

    ``queued`` are those of the groups that wait in a queue, or will, and ``most_queued`` is how
    many may, None if any number. ``most_made`` is how many groups there may be while those before
    them lack pods, None if any number.
    """

    groups: Indices = field(default_factory=Indices)
    patient: Indices = field(default_factory=Indices)
    reshaping: bool = False
    overdue: Indices = field(default_factory=Indices)
    give_way: bool = False
    queued: Indices = field(default_factory=Indices)
    most_queued: int | None = None
    most_made: int | None = None

    def limited(self, bounds: scaling.Bounds, *, replicas: int) -> scaling.Bounds:
        """Return ``bounds`` with no more groups than may be made now, while there are ``replicas``.

        In the order of their indices as many are made as may wait. Whatever is there stays, and
        so does what is admitted: this keeps a set from growing, and never makes it smaller.
        """
        if self.most_queued is None:
            return bounds
        queued = self._queued(bounds, replicas)
        behind = queued.past(self.most_queued)
        if behind is None:
            return bounds
        return bounds.within(max(replicas, behind, _behind_others(bounds, queued)))

    def paced(self, bounds: scaling.Bounds, *, replicas: int) -> scaling.Bounds:
        """Return ``bounds`` with no more groups than are to be made in this pass.

        Surge groups are as many as the budget of an update lets there be, so they come at once.
        """
        bounds = self.limited(bounds, replicas=replicas)
        if self.most_made is None or self.most_made >= bounds.replicas:
            return bounds
        others = _behind_others(bounds, self._queued(bounds, replicas))
        return bounds.within(max(replicas, self.most_made, others))

    def _queued(self, bounds: scaling.Bounds, replicas: int) -> Indices:
        # Nobody has looked at surge groups that are not there: they will wait.
        return self.queued | range(max(bounds.replicas, replicas), bounds.burst)

    def not_counted(self, desired: int) -> Indices:
        """Return the desired groups whose waiting is none of the update's doing."""
        return (self.overdue if self.reshaping else self.groups).below(desired)

    def uses_budget(self, bounds: scaling.Bounds) -> Indices:
        """Return the desired groups that use up a part, not all, of what may be unavailable."""
        down = self.groups.below(bounds.replicas) - self.not_counted(bounds.replicas)
        return down if len(down) < bounds.unavailable else Indices()

    def surge_unadmitted(self, *, desired: int, replicas: int) -> Indices:
        """Return the surge groups that nobody counts on any more, of ``replicas`` groups."""
        return self.patient & range(desired, replicas)

    def effective(
        self, bounds: scaling.Bounds, *, replicas: int, updated: bool = False
    ) -> scaling.Bounds:
        """Return what a rollout can keep to, of ``bounds``, while there are ``replicas`` groups.

        ``updated`` says that the update begins in this very pass.
        """
        surge_unadmitted = self.surge_unadmitted(desired=bounds.replicas, replicas=replicas)
        short = bool(surge_unadmitted or self.groups.below(bounds.replicas))
        if not short and (updated or not self.reshaping):
            return bounds
        there = max(0, replicas - bounds.replicas - len(surge_unadmitted))
        surge = min(bounds.surge, there)
        in_place = self.give_way or (bounds.surge > 0 and surge == 0)
        unavailable = max(1, bounds.unavailable) if in_place else bounds.unavailable
        return replace(bounds, surge=surge, unavailable=unavailable)


def _behind_others(bounds: scaling.Bounds, queued: Indices) -> int:
    """Return how many groups there have to be for those that are not ``queued``."""
    last = (Indices(range(bounds.burst)) - queued).last()
    return 0 if last is None else last + 1


NOBODY = Unadmitted()
