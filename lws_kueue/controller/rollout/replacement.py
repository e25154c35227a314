"""Replacing outdated groups together where the API server knows no ``maxUnavailable`` for pods.

A StatefulSet keeps ``rollingUpdate.maxUnavailable`` only under the feature gate
MaxUnavailableStatefulSet (lws-contract 3.2). Without it the field is dropped, and the StatefulSet
controller replaces one leader after the other, whatever the set allows. Then outdated groups that
the partition has opened (lws-contract 4.3) are replaced here, as many at once as the budget lets.

Why two parties that take down groups stay within one budget:

- The partition opens only groups that may all be down together: ``rollout`` leaves R - U ready
  ones that are not to be replaced, if there are as many. Both parties take open groups only.
- Groups may have failed since the partition moved. So what is taken here is counted afresh: ready
  groups of this moment, of which R - U have to stay. What is being deleted, or about to be, does
  not count as ready.
- The StatefulSet controller takes the topmost outdated leader, and only while none above it is
  unavailable. The order here is the same, from the top down. So what it may be taking at this very
  moment, or has taken unseen, is what is counted here first: the two take the same groups, never
  different ones. A deletion that comes second meets the UID of a leader that is going or gone.
- A group that is not ready, or became ready unseen, is none of those that have to stay.

Where groups wait for Kueue, the StatefulSet controller replaces none below them, with the gate on
or off, because their leaders are not available. Then it is done here in any case (``waits``).
"""

from collections.abc import Collection
from dataclasses import dataclass

from lws_kueue.api import actions, facts, names
from lws_kueue.api.indices import Indices
from lws_kueue.controller.observe import groups
from lws_kueue.controller.rollout import planner, scaling, unadmitted


@dataclass(frozen=True, slots=True)
class Stage:
    """Where a rollout to revision ``key`` stands, and the ``target`` that the pass gives it."""

    bounds: scaling.Bounds
    leader_set: facts.StatefulSet | None
    target: planner.Target
    found: groups.Groups
    key: str

    @property
    def settled(self) -> bool:
        """Whether a leader that is deleted now comes back as the target has it.

        Until the StatefulSet controller has seen the newest template, it makes leaders from an
        older one; and first it has to see what this pass changes.
        """
        live = self.leader_set
        return (
            live is not None
            and self.target == planner.Target(live.partition, live.replicas)
            and live.status.get("observedGeneration") == live.meta.generation
            and live.template_labels.get(names.REVISION_KEY) == self.key
        )


def decide(
    stage: Stage,
    *,
    leave_alone: Collection[int] = (),
    waiting: unadmitted.Unadmitted = unadmitted.NOBODY,
) -> tuple[actions.Delete, ...]:
    """Return the deletions of leaders whose groups come back at the revision of the rollout.

    ``leave_alone`` are the indices of groups that somebody else takes down: they are not replaced,
    and do not count as ready. ``waiting`` are the groups that wait for Kueue.
    """
    bounds, leader_set, key = stage.bounds, stage.leader_set, stage.key
    if leader_set is None or not stage.settled:
        return ()
    if not (waiting.groups or _is_ours(bounds, leader_set)):
        return ()
    outdated = _outdated(stage.found, leader_set=leader_set, key=key)
    open_now = outdated & range(leader_set.partition, leader_set.replicas)
    if not open_now:
        return ()
    ready = stage.found.staying.below(leader_set.replicas) - leave_alone
    bounds = waiting.effective(bounds, replicas=leader_set.replicas)
    not_counted = waiting.not_counted(bounds.replicas) - ready
    spare = len(ready) + len(not_counted) - (bounds.replicas - bounds.unavailable)
    deletions = []
    for index in sorted(open_now - leave_alone, reverse=True):
        if index in ready:
            if spare <= 0:
                continue
            spare -= 1
        deletions.append(deletion(stage.found.by_index[index].leader.meta, because=key))
    return tuple(deletions)


def _is_ours(bounds: scaling.Bounds, leader_set: facts.StatefulSet) -> bool:
    """Whether the StatefulSet controller does not do it: it replaces one, and more are allowed."""
    rolling = (leader_set.spec.get("updateStrategy") or {}).get("rollingUpdate") or {}
    return "maxUnavailable" not in rolling and bounds.unavailable + bounds.surge > 1


def _outdated(found: groups.Groups, *, leader_set: facts.StatefulSet, key: str) -> Indices:
    """Return the groups to be replaced, in our terms and in those of the StatefulSet controller.

    A leader that is outdated only by a label that somebody edits would come back the same, and be
    replaced for ever.
    """
    newest = leader_set.status.get("updateRevision")

    def is_outdated(group: groups.Group) -> bool:
        kept = group.key == key and group.gated_as_wanted
        return not (kept or group.leader.meta.deleting) and made_from(group) != newest

    return found.which("outdated", is_outdated, given=(key, newest))


def made_from(group: groups.Group) -> str:
    """Return the revision that the StatefulSet controller made the leader from."""
    return group.leader.meta.labels.get(groups.MADE_FROM, "")


def deletion(leader: facts.Meta, *, because: str) -> actions.Delete:
    """Return the deletion of a group by its leader; ``because`` is what it is to become.

    The StatefulSet controller deletes the leader alone, and garbage collection the workers once it
    has ended. In the foreground all pods of the group end at the same time, which is faster by the
    grace period of one, and the new leader never meets workers of the old one.
    """
    ref = actions.Ref("v1", "Pod", leader.namespace, leader.name)
    return actions.Delete(ref, leader.uid, propagation="Foreground", because=because)
