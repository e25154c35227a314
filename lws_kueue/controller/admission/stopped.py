"""Names of pods that were stopped again and again, and when the next pod may have them.

Whoever takes the gate away from pods as they are made has the StatefulSet make another one as soon
as one is stopped, which then may reach a node. What stops never waits, so what makes has to: a
pod that is stopped repeatedly keeps its name for the pause that ``repairs`` gives, by a finalizer.
"""

from collections.abc import Collection
from datetime import datetime, timedelta

from lws_kueue.api import actions, facts
from lws_kueue.controller.observe import groups, observed
from lws_kueue.workload import conditions, eviction
from lws_kueue.workload import pods as group_pods


def freed(seen: observed.Observed, *, waiting: Collection[int] = (), now: datetime) -> actions.Part:
    """Give back the names of pods that were stopped, but for those of groups that wait.

    The groups ``waiting``, by index, have no admission, and are the set's as long as it is there:
    for them a name is kept until its pause is over. Of all others none is kept.
    """
    kept = [pod for pod in seen.pods.values() if group_pods.keeps_name(pod)]
    waits = {pod.meta.uid: _wait(seen, pod, waiting=waiting, now=now) for pod in kept}
    return actions.Part(
        chains=actions.each_alone(
            eviction.free_name(pod) for pod in kept if waits[pod.meta.uid] == 0
        ),
        recheck_after=actions.soonest(wait for wait in waits.values() if wait),
    )


def _wait(
    seen: observed.Observed, pod: facts.Pod, *, waiting: Collection[int], now: datetime
) -> float | None:
    """Return in how many seconds a name may be given back; None while another event decides it."""
    if seen.invalid is not None:
        return None  # Nobody can tell how long it has to be kept.
    if seen.lws is None or seen.lws.meta.deleting or not pod.meta.deleting:
        return 0.0
    if group_pods.could_run(pod):
        return None  # It ends first: until then it is seen to be stopped, and not to have failed.
    if groups.index_of(seen.name, pod) not in waiting:
        return 0.0
    occasion = seen.attempts.occasion(seen.lws)
    deleted = conditions.moment(pod.meta.deleted or "")
    asked = deleted - timedelta(seconds=pod.meta.grace_seconds or 0) if deleted else now
    return seen.attempts.kept_for(group_pods.ref(pod), asked, occasion=occasion, now=now)
