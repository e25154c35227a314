"""Pods and StatefulSets of a plain set that Kueue's other integrations hold (kueue-contract 3.6).

Where a set names no queue, nothing that is made for it is Kueue's. Policies take back what Kueue's
webhooks do to it (`deploy/kueue/plain-sets.yaml`). What they did not see, or may not touch, is
told; nothing here lets a pod go that Kueue holds.
"""

from collections.abc import Iterator

from lws_kueue.api import facts, names
from lws_kueue.api.reasons import Reason
from lws_kueue.controller.observe import groups

_REMEDY = (
    f"name {names.LWS_KIND}.{names.LWS_VERSION}.{names.LWS_GROUP} in "
    "integrations.externalFrameworks of Kueue's configuration, repeat `lws-kueue install`"
)


def held(found: groups.Groups) -> Iterator[Reason]:
    """Return a Warning for the first object of each kind of a plain set that Kueue has taken."""
    made = [found.leader_set, *(group.worker_set for group in found.groups)]
    stateful_set = next((s for s in made if s is not None and _taken(s)), None)
    if stateful_set is not None:
        text = (
            f"StatefulSet {stateful_set.meta.name} was taken by Kueue's StatefulSet integration, "
            "which holds its pods and may refuse to have it changed, although the set names no "
            f"queue: {_REMEDY}, and delete it to have it made anew; or give the set a queue"
        )
        yield Reason("HeldByKueue", text)
    pod = next(_held_pods(found), None)
    if pod is not None:
        text = (
            f"Pod {pod.meta.name} was taken by Kueue's pod integration and waits for an admission "
            f"of its own, although the set names no queue: {_REMEDY}, and delete the pod; or give "
            "the set a queue"
        )
        yield Reason("HeldByKueue", text)


def _taken(stateful_set: facts.StatefulSet) -> bool:
    mark = stateful_set.template_annotations.get(names.POD_SUSPENDING_PARENT)
    return mark == names.KUEUE_STATEFULSET_FRAMEWORK


def _held_pods(found: groups.Groups) -> Iterator[facts.Pod]:
    for group in found.groups:
        for pod in group.pods:
            maker = found.leader_set if pod is group.leader else group.worker_set
            # One whose template names a queue is meant to be Kueue's.
            meant = maker is not None and names.QUEUE_NAME in maker.template_labels
            marked = pod.meta.labels.get(names.MANAGED) == "true"
            if marked and not meant and names.ADMISSION_GATE in pod.gates:
                yield pod
