"""Groups of an update that was given up: back to what they were, where the next one waits for them.

A second update may come while groups of the first are not ready, and often just because they never
will be. They are outdated and cost nothing to replace, but the partition opens groups from the top
down, and above them may stand ready ones that the budget cannot spare: surge groups of the first
update, which are outdated as well. Then the second update, the remedy, would wait for ever for what
it is meant to mend (lws-contract 4.3; upstream takes the surge groups, and goes over the budget).

A leader that is deleted below the partition comes back at the revision from which the first update
set out. There its group was ready once, and as soon as it is again, the surge can be spared.
"""

from collections.abc import Collection

from lws_kueue.api import actions, facts
from lws_kueue.controller.observe import groups
from lws_kueue.controller.rollout import replacement


def decide(
    stage: replacement.Stage, *, leave_alone: Collection[int] = ()
) -> tuple[actions.Delete, ...]:
    """Return the deletions of leaders that come back at the revision before the last two.

    ``leave_alone`` are the indices of groups that somebody else takes down.
    """
    leader_set, key = stage.leader_set, stage.key
    if leader_set is None or not stage.settled:
        return ()
    waiting = range(stage.bounds.floor, leader_set.partition)
    if not waiting:
        return ()
    opened = range(leader_set.partition, leader_set.replicas)
    settled = stage.found.ready & stage.found.updated(key) & opened
    if len(settled) < len(opened):
        # The update goes on by itself.
        return ()
    return tuple(
        replacement.deletion(group.leader.meta, because=f"back from {group.key}")
        for index, group in stage.found.by_index.items()
        if index in waiting
        and index not in leave_alone
        and _given_up(group, leader_set=leader_set, key=key)
    )


def _given_up(group: groups.Group, *, leader_set: facts.StatefulSet, key: str) -> bool:
    """Whether a group is neither what it was nor what it is to be, and not ready either.

    One that has come back is at the StatefulSet's current revision, so it is deleted once.
    """
    before, after = (leader_set.status.get(k) for k in ("currentRevision", "updateRevision"))
    return (
        not group.ready
        and not group.leader.meta.deleting
        and group.key != key
        and bool(before)
        and replacement.made_from(group) not in (before, after)
    )
