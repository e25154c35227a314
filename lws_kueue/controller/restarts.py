"""When a group is recreated because one of its pods failed (lws-contract 5.2).

Recreating a group is one deletion, that of its leader pod in the foreground: everything the leader
owns goes with it, and the StatefulSet controller makes a new one. A leader that is being deleted
already needs no second deletion, so a group is recreated once however many of its pods fail.
"""

from collections.abc import Collection, Iterable, Mapping

from lws_kueue.api import actions, facts, lws, names
from lws_kueue.controller.observe import groups, members
from lws_kueue.workload import pods


def lost(owner: lws.LeaderWorkerSet, *, before: members.Members, group: groups.Group) -> str | None:
    """Return the name of a worker pod that went without anybody having seen it being deleted.

    A pod that is deleted without grace can vanish between two looks, which upstream does not
    notice (lws-contract 8.8). ``before`` are the members of the group when it was last complete.
    Only the pods of one incarnation are compared: with the leader or the worker StatefulSet all
    workers go, which is a recreation already.
    """
    worker_set = group.worker_set.meta.uid if group.worker_set else ""
    if (before.leader, before.worker_set) != (group.leader.meta.uid, worker_set):
        return None
    after_start = _only_after_start(owner)
    known = {} if after_start and before.pending else before.workers
    # A group that was starting when it lost a pod is left alone for good.
    unseen = {} if after_start else before.unseen
    # A pod that its StatefulSet orphaned, because somebody edited its labels, is not gone.
    present = {pod.meta.uid for pod in (*group.workers, *group.name_conflicts)}
    gone = (
        name
        for uid, name in {**known, **unseen}.items()
        if uid not in present and group.has_place(name)
    )
    return min(gone, default=None)


def decide(
    owner: lws.LeaderWorkerSet,
    found: Iterable[groups.Group],
    *,
    leave_alone: Collection[int] = (),
    lost_pods: Mapping[int, str] | None = None,
    moved: Collection[str] = (),
) -> tuple[actions.Delete, ...]:
    """Return the deletions that recreate groups in which a pod failed.

    ``leave_alone`` are the indices of groups whose pods are stopped on purpose; ``lost_pods`` are
    the results of ``lost`` by group index, ``moved`` the UIDs of pods that have to leave a node.
    """
    if owner.spec.leader_worker_template.restart_policy in ("None", "Default"):
        return ()
    deletions = []
    for group in found:
        if group.index in leave_alone or group.leader.meta.deleting:
            continue
        failed = (lost_pods or {}).get(group.index)
        if failed is None and (group.disturbed or moved):
            failed = _failed(owner, group, moved)
        if failed is not None:
            deletions.append(_recreate(group, failed))
    return tuple(deletions)


def _only_after_start(owner: lws.LeaderWorkerSet) -> bool:
    """Whether a group that is still starting is left alone."""
    policy = owner.spec.leader_worker_template.restart_policy
    legacy = names.RECREATE_GROUP_AFTER_START in owner.meta.annotations
    return policy == "RecreateGroupAfterStart" or legacy


def _failed(owner: lws.LeaderWorkerSet, group: groups.Group, moved: Collection[str]) -> str | None:
    """Return the name of the first pod whose failure recreates the group."""
    # Pods that somebody had made by scaling the workers go again, which fails nobody.
    own = (pod for pod in group.pods if group.has_place(pod.meta.name))
    failed = next((pod for pod in own if _triggers(pod, group, moved)), None)
    if failed is None or (_only_after_start(owner) and members.pending(group)):
        return None
    return failed.meta.name


def _triggers(pod: facts.Pod, group: groups.Group, moved: Collection[str]) -> bool:
    # A worker at another revision than its leader belongs to what an update replaces.
    current = pod.meta.labels.get(names.REVISION_KEY, "") == group.key
    fails = pod.meta.deleting or pod.restarted or pod.meta.uid in moved
    # One that was stopped for want of an admission, and whose name is kept, did not fail.
    return current and fails and not (members.never_placed(pod) or pods.keeps_name(pod))


def _recreate(group: groups.Group, failed: str) -> actions.Delete:
    leader = group.leader.meta
    text = (
        f"Worker pod {failed} failed, deleted leader pod {leader.name} "
        f"to recreate group {group.index}"
    )
    return actions.Delete(
        actions.Ref("v1", "Pod", leader.namespace, leader.name),
        leader.uid,
        propagation="Foreground",
        events=(actions.Event("Normal", "RecreateGroup", text),),
    )
