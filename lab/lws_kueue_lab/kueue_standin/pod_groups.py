"""What Kueue's pod reconciler does to Workloads and pods that are over (kueue-contract 7.2).

A Workload that says it is a pod group's, while no pod names it as its group, is finalized, whoever
owns it. A pod that Kueue holds goes once it has ended or is deleted.
"""

from lws_kueue.api import actions, facts, names
from lws_kueue_lab.kueue_standin import pod_marks, watched


def abandoned(observed: watched.Watched) -> list[actions.Patch]:
    """Take the finalizers off that the end of pods makes Kueue take off."""
    groups = {(space, pod.group) for (space, _), pod in observed.pods.items() if pod.group}
    workloads = [
        _without(names.WORKLOAD_FINALIZER, names.KUEUE_API_VERSION, "Workload", workload.meta)
        for key, workload in sorted(observed.workloads.items())
        if workload.meta.owners
        and workload.meta.annotations.get(names.IS_GROUP_WORKLOAD) == "true"
        and names.WORKLOAD_FINALIZER in workload.meta.finalizers
        and key not in groups
    ]
    pods = [
        _without(pod_marks.FINALIZER, "v1", "Pod", pod.held)
        for _, pod in sorted(observed.pods.items())
        if pod.held is not None
    ]
    return [*workloads, *pods]


def _without(finalizer: str, api_version: str, kind: str, meta: facts.Meta) -> actions.Patch:
    kept = [name for name in meta.finalizers if name != finalizer]
    ref = actions.Ref(api_version, kind, meta.namespace, meta.name)
    return actions.Patch(
        ref=ref, body={"metadata": {"finalizers": kept}}, resource_version=meta.resource_version
    )
