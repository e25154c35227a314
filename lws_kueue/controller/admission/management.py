"""Whose groups wait for Kueue (kueue-contract 1.2 and 1.14)."""

from typing import Final

from lws_kueue.api import lws, names
from lws_kueue.controller.observe import observed

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


def manages(seen: observed.Observed, owner: lws.LeaderWorkerSet) -> bool:
    """Whether the set's groups wait for Kueue; ``stance`` says who lets them go.

    A set with a queue is managed in every namespace. One without is where the settings ask for
    it, unless it is part of something that waits for Kueue as a whole.
    """
    if names.QUEUE_NAME in owner.meta.labels:
        return True
    return seen.kueue.takes_unlabelled and not _part_of_a_job(owner)


def _part_of_a_job(owner: lws.LeaderWorkerSet) -> bool:
    holder = owner.meta.controller
    return holder is not None and holder.kind in HELD_BY_KUEUE.get(holder.group, ())
