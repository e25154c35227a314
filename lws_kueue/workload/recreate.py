"""Workloads that no longer fit their group, and how each gets one that does.

A Workload says what was admitted. If a group comes back as something else (other requests, another
number of pods, another placement), it needs another admission: as long as no quota is reserved
the Workload is rewritten and keeps its place in the queue; otherwise it is removed once none of the
group's pods can run any more, and recreated. Kueue freezes a Workload's pod sets while it holds
quota (kueue-contract 2.5), so there is no other way to give the quota back and ask again.

Finished is terminal for Kueue, but not always meant: a Workload that is finished as out of sync,
as failed to start or for want of an owner is recreated as well, with a back-off (kueue-contract
8.2). Nobody counts the attempts: the group waits for a share of the time for which it has been
trying, which its gated leader tells even after a restart.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from lws_kueue.api import completion, facts, kueue, lws, names
from lws_kueue.workload import backing, build, conditions, podsets, shape, state
from lws_kueue.workload import pods as group

REPAIRED: Final = frozenset({"OutOfSync", "FailedToStart", "OwnerNotFound"})

_LEAST_WAIT: Final = timedelta(seconds=1)
_MOST_WAIT: Final = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Content:
    """What a group's pods are made from: the set with the content of a revision, and its key.

    ``shape`` is what Kueue would be asked for it, None where its topology annotations are invalid;
    ``written`` how its pods come by their requests.
    """

    owner: lws.LeaderWorkerSet
    key: str
    shape: shape.Shape | None
    written: str = ""


def content(
    owner: lws.LeaderWorkerSet,
    key: str,
    *,
    options: build.Options,
    completions: shape.Completions = completion.AS_WRITTEN,
) -> Content:
    """Return the content of a group at revision ``key``; ``owner`` has that revision's spec."""
    try:
        pod_sets = podsets.pod_sets(owner.spec.leader_worker_template, topology=options.topology)
    except ValueError:
        return Content(owner, key, None)
    models = [kueue.PodSet.model_validate(one) for one in pod_sets]
    asked = shape.of(models, completions=completions)
    return Content(owner, key, asked, shape.written(models))


def outdated(
    workload: kueue.Workload,
    made_from: Content,
    pods: Sequence[facts.Pod],
    *,
    flavors: shape.Flavors,
    completions: shape.Completions = completion.AS_WRITTEN,
) -> str | None:
    """Return in words what of the group the Workload was not made for, None if it fits.

    A Workload under which pods of this very revision run was made for it by whoever released them:
    it stays for as long as they do. Marks are not enough for that, anyone may write them: the pods
    have to request no more than was admitted.
    """
    if made_from.shape is None or workload.unreadable:
        return None
    what = shape.difference(workload, made_from.shape, flavors=flavors, completions=completions)
    if what is not None and any(_runs_under(workload, pod, made_from.key) for pod in pods):
        return None
    return what


def restated(workload: kueue.Workload, made_from: Content) -> str | None:
    """Return in words what a Workload that waits says in another way than the group's pods do.

    It needs no other admission, but the one that it waits for may depend on it.
    """
    settled = state.has_quota(workload) or workload.is_true(state.FINISHED)
    if settled or made_from.shape is None:
        return None
    same = shape.stored_writing(workload) == made_from.written
    return None if same else "the way in which pods request the same"


def _runs_under(workload: kueue.Workload, pod: facts.Pod, key: str) -> bool:
    return (
        group.could_run(pod)
        and pod.meta.annotations.get(names.WORKLOAD) == workload.meta.name
        and pod.meta.labels.get(names.REVISION_KEY) == key
        and backing.within(workload, pod)
    )


def repaired(workload: kueue.Workload) -> bool:
    """Whether the Workload is finished in a way that nobody asked for."""
    finished = workload.condition(state.FINISHED)
    return finished is not None and finished.status == "True" and finished.reason in REPAIRED


def repair_in(workload: kueue.Workload, pods: Iterable[facts.Pod], *, now: datetime) -> float:
    """Return in how many seconds a finished Workload may be recreated; 0 is now."""
    finished = workload.condition(state.FINISHED)
    at = conditions.moment(finished.last_transition_time if finished else "")
    if at is None:
        return 0.0
    leader = next((pod for pod in group.in_order(pods) if pod.meta.created), None)
    trying_since = conditions.moment(leader.meta.created) if leader else None
    tried = (at - trying_since) / 2 if trying_since else _LEAST_WAIT
    wait = min(max(tried, _LEAST_WAIT), _MOST_WAIT)
    return max(0.0, (at + wait - now).total_seconds())
