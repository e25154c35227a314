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
    workers = found.each("taken StatefulSet", lambda group: _taken(group.worker_set))
    stateful_set = _taken(found.leader_set) or next(iter(workers.values()), None)
    if stateful_set is not None:
        text = (
            f"StatefulSet {stateful_set.meta.name} was taken by Kueue's StatefulSet integration, "
            "which holds its pods and may refuse to have it changed, although the set names no "
            f"queue: {_REMEDY}, and delete it to have it made anew; or give the set a queue"
        )
        yield Reason("HeldByKueue", text)
    queued = _names_queue(found.leader_set)
    pods = found.each("held pod", lambda group: _held_pod(group, queued=queued), given=(queued,))
    pod = next(iter(pods.values()), None)
    if pod is not None:
        text = (
            f"Pod {pod.meta.name} was taken by Kueue's pod integration and waits for an admission "
            f"of its own, although the set names no queue: {_REMEDY}, and delete the pod; or give "
            "the set a queue"
        )
        yield Reason("HeldByKueue", text)


def _taken(stateful_set: facts.StatefulSet | None) -> facts.StatefulSet | None:
    """Return a StatefulSet that Kueue has taken, None for any other."""
    if stateful_set is None:
        return None
    mark = stateful_set.template_annotations.get(names.POD_SUSPENDING_PARENT)
    return stateful_set if mark == names.KUEUE_STATEFULSET_FRAMEWORK else None


def _names_queue(maker: facts.StatefulSet | None) -> bool:
    """Whether the template of a StatefulSet names a queue: its pods are meant to be Kueue's."""
    return maker is not None and names.QUEUE_NAME in maker.template_labels


def _held_pod(group: groups.Group, *, queued: bool) -> facts.Pod | None:
    """Return the first pod of a group that Kueue holds; ``queued`` says that leaders are meant."""
    for pod in group.pods:
        meant = queued if pod is group.leader else _names_queue(group.worker_set)
        marked = pod.meta.labels.get(names.MANAGED) == "true"
        if marked and not meant and names.ADMISSION_GATE in pod.gates:
            return pod
    return None
