"""What the controller would decide about a set now, and what it would look at for that.

Nothing of it is carried out.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from lws_kueue.api import actions, kueue
from lws_kueue.controller import decide
from lws_kueue.controller.admission import managed_by
from lws_kueue.controller.observe import groups, scope
from lws_kueue.controller.revision import history, revisions
from lws_kueue.controller.rollout import scaling
from lws_kueue.kubectl import look
from lws_kueue.workload import build, diff

# The settings of a controller are not to be had from outside; these are its defaults.
OPTIONS = build.Options(revision_history_limit=history.DEFAULT_LIMIT)


@dataclass(frozen=True)
class Decided:
    """A look at a set, and the plan that follows from it."""

    seen: look.Seen
    plan: actions.Plan

    @cached_property
    def manager(self) -> scope.ManagedBy | None:
        """Who lets the groups go; None for a set that cannot be read."""
        seen = self.seen.observed
        return managed_by.of(seen, seen.lws) if seen.lws else None

    @cached_property
    def workloads(self) -> Mapping[int, kueue.Workload]:
        """The Workload that serves each group, by index."""
        seen = self.seen.observed
        if seen.lws is None:
            return {}
        return diff.serving(seen.lws.meta, seen.workloads.values(), options=OPTIONS)

    @cached_property
    def groups(self) -> Mapping[int, groups.Group]:
        """The groups that are there, by index."""
        return self.seen.observed.found.by_index

    @cached_property
    def key(self) -> str:
        """The key of the revision that the set is at, "" for a set that cannot be read."""
        seen = self.seen.observed
        if seen.lws is None:
            return ""
        mine = revisions.own(seen.lws, seen.revisions.values())
        key = revisions.key_of_set(seen.found.leader_set, mine)
        return revisions.choose(seen.lws, revisions=seen.revisions.values(), leader_key=key).key

    @property
    def wanted(self) -> int:
        """How many groups the set asks for."""
        seen = self.seen.observed
        return scaling.bounds(seen.lws).replicas if seen.lws else 0

    @property
    def indices(self) -> tuple[int, ...]:
        """The groups that there are or shall be; of a giant set those that anything is known of."""
        known = {*self.groups, *self.workloads}
        few = range(min(self.wanted, 1000))
        return tuple(sorted({*known, *few}))


def of(seen: look.Seen) -> Decided:
    """Decide about what was seen."""
    plan = decide.decide(seen.observed, now=seen.now, options=OPTIONS)
    return Decided(seen, plan)
