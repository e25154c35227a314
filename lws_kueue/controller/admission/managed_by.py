"""Who lets a set's groups go: the bridge, Kueue's own integration, or nobody has to.

Two parties must not both act on one set. Only one of them is on duty in a cluster, and that can
change while sets run; what has been rendered stays as it is then, wherever that is safe. A change
of the templates would make the StatefulSets roll, and the built-in integration releases pods of an
outdated revision without quota (kueue-contract 3.6, 8.1).
"""

from typing import Final

from lws_kueue.api import lws, names
from lws_kueue.controller.observe import groups, observed
from lws_kueue.controller.observe.scope import ManagedBy

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

    While nobody knows whether the built-in integration is on, whoever made the leaders' template
    stays in charge. For a new set its mark in the stored templates says who that is: it is put
    there on creation.
    """
    built_in = seen.kueue.built_in
    if not waits(seen, owner):
        # Kueue may take sets without a queue where the bridge does not.
        kueues = is_marked(owner) and built_in is not False
        return ManagedBy.KUEUE if kueues else ManagedBy.NOBODY
    if built_in is False:
        # Marks of the built-in integration may stand in stored templates long after its end.
        return ManagedBy.BRIDGE
    leader_set = seen.stateful_sets.get(owner.meta.name)
    ours = leader_set is not None and groups.is_marked(leader_set.template_annotations)
    if not ours and is_marked(owner):
        return ManagedBy.KUEUE
    return ManagedBy.KUEUE_GATED if built_in else ManagedBy.BRIDGE


def waits(seen: observed.Observed, owner: lws.LeaderWorkerSet) -> bool:
    """Whether the set's groups wait for Kueue (kueue-contract 1.2 and 1.14).

    A set with a queue does in every namespace. One without does where the settings ask for it,
    unless it is part of something that waits for Kueue as a whole.
    """
    if names.QUEUE_NAME in owner.meta.labels:
        return True
    return seen.kueue.takes_unlabelled and not _part_of_a_job(owner)


def is_marked(owner: lws.LeaderWorkerSet) -> bool:
    """Whether the stored templates carry the mark of Kueue's built-in integration."""
    template = owner.spec.leader_worker_template.worker_template
    marks = (template.get("metadata") or {}).get("annotations") or {}
    return bool(marks.get(names.POD_SUSPENDING_PARENT) == names.KUEUE_LWS_FRAMEWORK)


def _part_of_a_job(owner: lws.LeaderWorkerSet) -> bool:
    holder = owner.meta.controller
    return holder is not None and holder.kind in HELD_BY_KUEUE.get(holder.group, ())
