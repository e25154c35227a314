"""The annotation by which Kueue's pod integration knows the Workloads of its own pod groups.

Kueue's pod reconciler is woken for every Workload that carries it (kueue
``pkg/controller/jobs/pod/event_handlers.go``), looks for pods that name the Workload as their pod
group, finds none and takes the finalizer off the Workload. Pods of the bridge are in no pod group,
so its Workloads go without the annotation, and nobody has anything to repair. Kueue's built-in
integration makes pod groups of a set's groups, and adopts only Workloads that carry it
(``pod_controller.go:FindMatchingWorkloads``), so they get it when the set is left to that.

Copies that MultiKueue made are nobody's to mark here.
"""

from collections.abc import Iterable

from lws_kueue.api import actions, facts, kueue, names
from lws_kueue.workload import naming
from lws_kueue.workload import pods as group

_MARKED = {names.IS_GROUP_WORKLOAD: "true"}


def is_given(workload: kueue.Workload) -> bool:
    """Whether Kueue's built-in integration has made, or can adopt, a Workload."""
    return _MARKED.items() <= workload.meta.annotations.items()


def removed(owner: facts.Meta, workload: kueue.Workload) -> dict[str, None]:
    """Return the change of the annotations of a Workload that is the bridge's; {} for none."""
    if naming.is_copy(owner):
        return {}
    return dict.fromkeys(_MARKED.keys() & workload.meta.annotations.keys())


def given(owner: facts.Meta, workloads: Iterable[kueue.Workload]) -> list[actions.Patch]:
    """Return the writes by which Kueue's built-in integration can adopt a set's Workloads."""
    if naming.is_copy(owner):
        return []
    return [
        actions.Patch(
            group.workload_ref(workload),
            {"metadata": {"annotations": dict(_MARKED)}},
            workload.meta.resource_version,
        )
        for workload in workloads
        if not workload.meta.deleting and not is_given(workload)
    ]
