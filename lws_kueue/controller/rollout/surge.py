"""When surge groups may go: not in the very moment in which they came.

Where groups are ready at once, a surge group can be needed, ready and superfluous within a few
hundredths of a second. Taking it back then is a burst of writes for nothing, and who polls the set
never learns that it had a surge. So the surge stays until its youngest group has been there for a
moment. Groups that take longer than that to start, as pods on machines do, never notice.
"""

import dataclasses
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from lws_kueue.api import facts
from lws_kueue.controller.observe import groups
from lws_kueue.controller.rollout import planner

# The API cuts fractions of a second off, so a group has really been there for up to a second less.
LEAST = timedelta(seconds=1.6)


def kept(
    target: planner.Target,
    *,
    leader_set: facts.StatefulSet | None,
    found: Mapping[int, groups.Group],
    desired: int,
    now: datetime,
) -> tuple[planner.Target, float | None]:
    """Return the target with young surge groups kept, and after how many seconds to look again.

    ``desired`` is the number of groups without a surge. Scaling down is not held up: it is asked
    for by a person, and says so by replicas that differ from those applied last.
    """
    if leader_set is None or not desired <= target.replicas < leader_set.replicas:
        return target, None
    if planner.desired_then(leader_set, default=desired) != desired:
        return target, None
    going = range(target.replicas, leader_set.replicas)
    ages = [_age(group.leader.meta, now=now) for i, group in found.items() if i in going]
    waits = [(LEAST - age).total_seconds() for age in ages if timedelta(0) <= age < LEAST]
    if not waits:
        return target, None
    return dataclasses.replace(target, replicas=leader_set.replicas), max(waits)


def _age(meta: facts.Meta, *, now: datetime) -> timedelta:
    """Return how long an object has existed, as far as two clocks can tell."""
    if not meta.created:
        return LEAST
    return now.astimezone(UTC) - datetime.fromisoformat(meta.created)
