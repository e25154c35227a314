"""Who lets a set's groups go: the bridge or Kueue's own integration (kueue-contract 3.6, 8.1).

Two parties must not both act on one set. Only one of them is on duty in a cluster, and that can
change while sets run; what has been rendered stays as it is then, wherever that is safe. A change
of the templates would make the StatefulSets roll, and the built-in integration releases pods of an
outdated revision without quota.
"""

from dataclasses import dataclass

from lws_kueue.api import lws, names
from lws_kueue.controller.observe import groups, observed


@dataclass(frozen=True, slots=True)
class Stance:
    """What the bridge is to a set.

    ``gated`` says whether pods are made with the bridge's gate; ``stands_down`` that the set waits
    for Kueue and is left to the built-in integration.
    """

    gated: bool = False
    stands_down: bool = False


def take(seen: observed.Observed, owner: lws.LeaderWorkerSet, *, queued: bool) -> Stance:
    """Return what the bridge is to a set now; ``queued`` says that the set waits for Kueue.

    While nobody knows whether the built-in integration is on, whoever made the leaders' template
    stays in charge. For a new set its mark in the stored templates says who that is: it is put
    there on creation.
    """
    if not queued:
        # Kueue may take sets without a queue where the bridge does not.
        return Stance(stands_down=is_marked(owner) and seen.kueue.built_in is not False)
    if seen.kueue.built_in is False:
        # Marks of the built-in integration may stand in stored templates long after its end.
        return Stance(gated=True)
    leader_set = seen.stateful_sets.get(owner.meta.name)
    ours = leader_set is not None and groups.is_marked(leader_set.template_annotations)
    gated = ours or not is_marked(owner)
    return Stance(gated=gated, stands_down=seen.kueue.built_in is True or not gated)


def is_marked(owner: lws.LeaderWorkerSet) -> bool:
    """Whether the stored templates carry the mark of Kueue's built-in integration."""
    template = owner.spec.leader_worker_template.worker_template
    marks = (template.get("metadata") or {}).get("annotations") or {}
    return bool(marks.get(names.POD_SUSPENDING_PARENT) == names.KUEUE_LWS_FRAMEWORK)
