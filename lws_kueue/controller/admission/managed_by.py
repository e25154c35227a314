"""Who lets a set's groups go: the bridge, Kueue's own integration, or nobody has to.

Two parties must not both act on one set. Only one of them is on duty in a cluster, and that can
change while sets run; what has been rendered stays as it is then, wherever that is safe. A change
of the templates would make the StatefulSets roll, and the built-in integration releases pods of an
outdated revision without quota (kueue-contract 3.6, 8.1).
"""

from typing import Final

from lws_kueue.api import kueue, lws, names
from lws_kueue.controller.observe import groups, observed
from lws_kueue.controller.observe.scope import ManagedBy
from lws_kueue.workload import group_mark, state

# The kinds that Kueue itself can hold, by group. Objects of another kind that make sets are
# nobody's to hold, so the sets themselves are. `deploy/kueue/defaults.yaml` has the same list.
HELD_BY_KUEUE: Final = {
    "": {"Pod"},
    "apps": {"Deployment", "StatefulSet"},
    "batch": {"Job"},
    "jobset.x-k8s.io": {"JobSet"},
    "kubeflow.org": {"JAXJob", "MPIJob", "PaddleJob", "PyTorchJob", "TFJob", "XGBoostJob"},
    names.LWS_GROUP: {names.LWS_KIND},
    "ray.io": {"RayCluster", "RayJob", "RayService"},
    "sparkoperator.k8s.io": {"SparkApplication"},
    "trainer.kubeflow.org": {"TrainJob"},
    "workload.codeflare.dev": {"AppWrapper"},
}


def of(seen: observed.Observed, owner: lws.LeaderWorkerSet) -> ManagedBy:
    """Return who lets the groups of a set go now.

    While nobody knows whether the built-in integration is on, who was in charge stays it, as far as
    what users cannot write says who that was. A set without the integration's mark is the bridge's,
    because the mark is put there on creation; the mark itself proves nothing.
    """
    built_in = seen.kueue.built_in
    if not waits(seen, owner):
        # Kueue may take sets without a queue where the bridge does not.
        kueues = is_marked(owner) and built_in is not False
        return ManagedBy.KUEUE if kueues else ManagedBy.NOBODY
    if built_in is False:
        # Marks of the built-in integration may stand in stored templates long after its end.
        return ManagedBy.BRIDGE
    if built_in is None:
        return _as_before(seen, owner) if is_marked(owner) else ManagedBy.BRIDGE
    leader_set = seen.stateful_sets.get(owner.meta.name)
    ours = leader_set is not None and groups.is_marked(leader_set.template_annotations)
    return ManagedBy.KUEUE if is_marked(owner) and not ours else ManagedBy.KUEUE_GATED


def _as_before(seen: observed.Observed, owner: lws.LeaderWorkerSet) -> ManagedBy:
    """Return who let the groups of a set go that has the mark of the built-in integration.

    The mark stays when the integration is switched off, and anybody may write it. So that of its
    StatefulSet counts only if no earlier template of it was gated by the bridge. Of a set that is
    gated its Workloads tell: the two make them with different marks.
    """
    leaders, kept = seen.found.leader_set, seen.revisions.values()
    if leaders and leaders.meta.controller and groups.made_for_kueue(leaders, kept):
        return ManagedBy.KUEUE
    own = [one for one in seen.workloads.values() if _owns(owner, one)]
    if not own:
        return ManagedBy.UNKNOWN
    adopted = all(group_mark.is_given(one) for one in own)
    return ManagedBy.KUEUE_GATED if adopted else ManagedBy.BRIDGE


def _owns(owner: lws.LeaderWorkerSet, workload: kueue.Workload) -> bool:
    return any(reference.uid == owner.meta.uid for reference in workload.meta.owners)


def waits(seen: observed.Observed, owner: lws.LeaderWorkerSet) -> bool:
    """Whether the set's groups wait for Kueue (kueue-contract 1.2 and 1.14).

    A set with a queue does in every namespace. One without does where the settings ask for it,
    unless it is part of something that Kueue has admitted as a whole.
    """
    if names.QUEUE_NAME in owner.meta.labels:
        return True
    return seen.kueue.takes_unlabelled and not _part_of_a_job(seen, owner)


def kueue_finalizes(seen: observed.Observed, workload: kueue.Workload) -> bool:
    """Whether it is for Kueue to take off a Workload's finalizer, where its integration is on.

    MultiKueue ends a group in the other cluster when it sees that its Workload is being deleted. A
    Workload that is gone before it looks, as when Kueue restarts, leaves the group there running.
    Where nobody knows whether the integration is on, its mark tells who made the Workload.
    """
    if seen.kueue.built_in is False or not group_mark.is_given(workload):
        return False
    return state.runs_elsewhere(workload, seen.kueue.admission_checks)


def is_marked(owner: lws.LeaderWorkerSet) -> bool:
    """Whether the stored templates carry the mark of Kueue's built-in integration."""
    template = owner.spec.leader_worker_template.worker_template
    marks = (template.get("metadata") or {}).get("annotations") or {}
    return bool(marks.get(names.POD_SUSPENDING_PARENT) == names.KUEUE_LWS_FRAMEWORK)


def _part_of_a_job(seen: observed.Observed, owner: lws.LeaderWorkerSet) -> bool:
    """Whether what controls a set is admitted.

    Anybody can write an owner reference to anything, and nobody but Kueue a Workload. So the owner
    counts if it has one, by UID, and for as long as that is admitted.
    """
    holder = owner.meta.controller
    if holder is None or holder.kind not in HELD_BY_KUEUE.get(holder.group, ()):
        return False
    return any(not state.must_stop(workload) for workload in seen.kueue.of_owner)
