"""Where the rollout of a set goes next."""

from datetime import datetime

from lws_kueue.api import actions, lws
from lws_kueue.api.reasons import Reason
from lws_kueue.controller.observe import groups, scope
from lws_kueue.controller.rollout import planner, surge, unadmitted


def next_target(
    at: scope.Scope, waiting: unadmitted.Unadmitted, *, now: datetime
) -> tuple[planner.Target, float | None]:
    """Return where the rollout goes next, and when to look again if it goes no further now.

    Taking the gate into the pods' template, or out of it, is an update like that to another
    revision, although the revision stays: its groups are replaced within the same budget.
    """
    owner, found, choice = at.owner, at.found, at.choice
    regated = found.leader_set is not None and (
        groups.is_marked(found.leader_set.template_annotations) != at.managed_by.gates
    )
    return surge.kept(
        planner.decide(
            owner,
            observation=found,
            key=choice.key,
            updated=choice.updated or regated,
            waiting=waiting,
        ),
        leader_set=found.leader_set,
        found=found.by_index,
        desired=owner.spec.replicas,
        now=now,
    )


def plan(
    owner: lws.LeaderWorkerSet,
    waiting: unadmitted.Unadmitted,
    target: planner.Target,
    *,
    rechecks: tuple[float | None, float | None],
) -> actions.Part:
    """Tell that surge groups get no quota, and when to look at the rollout again.

    ``rechecks`` are when a surge may go, and when a group of an update will have waited for long.
    """
    surge_until, patience = rechecks
    updating = target.partition > 0 or target.replicas > owner.spec.replicas
    return actions.Part(
        reasons=_surge_in_vain(owner, waiting, target),
        recheck_after=actions.soonest((surge_until, patience if updating else None)),
    )


def _surge_in_vain(
    owner: lws.LeaderWorkerSet, waiting: unadmitted.Unadmitted, target: planner.Target
) -> tuple[Reason, ...]:
    """Tell that surge groups get no quota, and what the update does instead."""
    surge_unadmitted = waiting.surge_unadmitted(
        desired=owner.spec.replicas, replicas=target.replicas
    )
    if not surge_unadmitted:
        return ()
    text = (
        f"surge groups {', '.join(map(str, surge_unadmitted))} of {owner.meta.name} are not"
        " admitted: the rollout goes on without them and replaces groups in place. The condition"
        " WaitingForAdmission says what they wait for; maxSurge: 0 asks for none"
    )
    return (Reason("SurgeNotAdmitted", text, groups=tuple(surge_unadmitted)),)
