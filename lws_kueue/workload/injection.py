"""What a pod of an admitted group gets when its gates fall, and the one patch that gives it that.

What is injected is what Kueue's own integration injects (kueue-contract 1.12, 3.2): the flavors'
node labels and tolerations, the updates of admission checks, the marks by which Kueue finds the
pods of a Workload, and, because the topology gate falls in the same patch, the node labels of the
pod's topology domain.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from lws_kueue.api import actions, derived, facts, kueue, names, selectors
from lws_kueue.api.reasons import Reason
from lws_kueue.tas import assignment
from lws_kueue.workload import naming
from lws_kueue.workload import pods as group

_DNS_LABEL: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")

# Kueue keeps what it has chosen for as long as the Workload is admitted.
_REMEDY: Final = (
    "correct one of the two; a Workload that is deactivated and activated is admitted anew"
)

Toleration = Mapping[str, Any]
Flavors = Mapping[str, kueue.ResourceFlavor]


@dataclass(frozen=True, slots=True)
class PodChange:
    """What a pod gets when its gates fall; ``origins`` says in words where each value is from.

    Its keys are what the value is (``label``, ``annotation``, ``node selector``) and its name.
    """

    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Toleration, ...] = ()
    origins: Mapping[tuple[str, str], str] = field(default_factory=dict, compare=False, repr=False)

    def values(self) -> Iterator[tuple[str, str, str]]:
        """Return what each value is, its name, and the value, in a fixed order."""
        for what, values in (
            ("label", self.labels),
            ("annotation", self.annotations),
            ("node selector", self.node_selector),
        ):
            for key in sorted(values):
                yield what, key, values[key]


class _ConflictError(Exception):
    """Two sources want different values for one key, the ``field``."""

    def __init__(self, text: str, *, field: str) -> None:
        super().__init__(text)
        self.field = field


def injection(
    workload: kueue.Workload,
    podset: str,
    *,
    flavors: Flavors,
    domain: assignment.Domain | None = None,
) -> PodChange | Reason:
    """Return what every pod of the podset gets; ``domain`` adds what one pod gets.

    A missing flavor is a problem, and so are flavors, admission checks and a topology assignment
    that contradict each other: no node is both, so no pod could run.
    """
    admission = workload.status.admission
    assigned = assignments(workload).get(podset)
    if admission is None or assigned is None:
        message = f"Workload {workload.meta.name} was not admitted for a podset {podset}"
        return Reason("PodSetMissing", message)
    change = PodChange(
        labels=_labels(workload, podset, cluster_queue=admission.cluster_queue),
        annotations=_annotations(workload, assigned),
    )
    try:
        for name in dict.fromkeys(assigned.flavors[key] for key in sorted(assigned.flavors)):
            flavor = flavors.get(name)
            if flavor is None:
                message = (
                    f"ResourceFlavor {name} does not exist: Workload {workload.meta.name} uses it"
                )
                return Reason("ResourceFlavorNotFound", message)
            change = _merged(
                change,
                PodChange(node_selector=flavor.node_labels, tolerations=flavor.tolerations),
                source=_flavor_in_words(name, assigned),
            )
        change = _with_checks(change, workload, podset)
        if domain is not None:
            source = f"the topology assignment of Workload {workload.meta.name}"
            change = _merged(change, PodChange(node_selector=domain.values), source=source)
    except _ConflictError as conflict:
        message = f"podset {podset} of Workload {workload.meta.name}: {conflict}; {_REMEDY}"
        about = f"podset {podset} of Workload {workload.meta.name}: {conflict.field}"
        return Reason("PodSetUpdateConflict", message, about=about)
    return change


def _flavor_in_words(name: str, assigned: kueue.PodSetAssignment) -> str:
    used_for = sorted(key for key, flavor in assigned.flavors.items() if flavor == name)
    return f"ResourceFlavor {name} (of {', '.join(used_for)})"


@derived.once
def assignments(workload: kueue.Workload) -> Mapping[str, kueue.PodSetAssignment]:
    """Return what each podset was admitted with, by its name."""
    admission = workload.status.admission
    return {} if admission is None else {one.name: one for one in admission.pod_set_assignments}


def _labels(workload: kueue.Workload, podset: str, *, cluster_queue: str) -> dict[str, str]:
    labels = {names.PODSET: podset}
    if selectors.is_value(workload.spec.queue_name):
        labels[names.LOCAL_QUEUE_NAME] = workload.spec.queue_name
    # Kueue leaves out the name of a ClusterQueue that contains dots, valid or not.
    if _DNS_LABEL.fullmatch(cluster_queue):
        labels[names.CLUSTER_QUEUE_NAME] = cluster_queue
    if naming.is_copy(workload.meta):
        labels[names.MULTIKUEUE_WORKER_POD] = "true"
    return labels


def _annotations(workload: kueue.Workload, assigned: kueue.PodSetAssignment) -> dict[str, str]:
    annotations = {names.WORKLOAD: workload.meta.name}
    request = topology_request(workload, assigned.name)
    if assigned.topology_assignment is not None and not (request and request.explicit):
        # Placed although nobody asked: without the mark Kueue would count the pod's node a second
        # time, as used by a pod that it does not know.
        annotations[names.PODSET_UNCONSTRAINED_TOPOLOGY] = "true"
    return annotations


def count(workload: kueue.Workload, assigned: kueue.PodSetAssignment) -> int:
    """Return the admitted number of pods; the assignment's own counts, not the request's."""
    if assigned.count is not None:
        return assigned.count
    return next((one.count for one in workload.spec.pod_sets if one.name == assigned.name), 0)


def topology_request(workload: kueue.Workload, podset: str) -> kueue.TopologyRequest | None:
    """Return which topology a podset asks for, None if for none."""
    found = (one.topology_request for one in workload.spec.pod_sets if one.name == podset)
    return next(found, None)


def _with_checks(change: PodChange, workload: kueue.Workload, podset: str) -> PodChange:
    for check in workload.status.admission_checks:
        for update in check.pod_set_updates:
            if update.name == podset and check.state == "Ready":
                wanted = PodChange(
                    update.labels, update.annotations, update.node_selector, update.tolerations
                )
                change = _merged(change, wanted, source=f"AdmissionCheck {check.name}")
    return change


def _merged(base: PodChange, more: PodChange, *, source: str) -> PodChange:
    """Return both together, ``source`` being in words where ``more`` is from."""
    known = {(what, key): value for what, key, value in base.values()}
    origins = dict(base.origins)
    for what, key, value in more.values():
        if known.get((what, key), value) != value:
            raise _ConflictError(
                f"{more.origins.get((what, key), source)} wants {what} {key}={value}, but "
                f"{_has(base, what, key)} {known[what, key]}",
                field=f"{what} {key}",
            )
        origins.setdefault((what, key), source)
    fresh = _missing(more.tolerations, base.tolerations)
    return PodChange(
        labels={**base.labels, **more.labels},
        annotations={**base.annotations, **more.annotations},
        node_selector={**base.node_selector, **more.node_selector},
        tolerations=(*base.tolerations, *fresh),
        origins=origins,
    )


def _has(base: PodChange, what: str, key: str) -> str:
    origin = base.origins.get((what, key))
    return f"{origin} wants" if origin else "it is already"


def _missing(wanted: Sequence[Toleration], present: Sequence[Toleration]) -> list[Toleration]:
    """Return what of ``wanted`` is not in ``present``, each once."""
    missing: list[Toleration] = []
    seen = [_normal(one) for one in present]
    for one in wanted:
        if (normal := _normal(one)) not in seen:
            seen.append(normal)
            missing.append(one)
    return missing


def _normal(toleration: Toleration) -> dict[str, Any]:
    # A toleration without an operator means equality.
    return {**toleration, "operator": toleration.get("operator") or "Equal"}


def patch_for(pod: facts.Pod, change: PodChange) -> actions.Patch | Reason:
    """Return the one patch that lets the pod go, or the value of the pod that contradicts it.

    Gates that are not Kueue's stay, in their order.
    """
    own = _own_values(pod)
    try:
        _merged(own, change, source=f"Workload {change.annotations.get(names.WORKLOAD, '')}")
    except _ConflictError as conflict:
        message = (
            f"pod {pod.meta.name}: {conflict}; change the set's pod template, or what sets it on"
            " its pods, such as a webhook"
        )
        about = f"pod {pod.meta.name}: {conflict.field}"
        return Reason("PodConflict", message, about=about)
    spec: dict[str, Any] = {"schedulingGates": _foreign_gates(pod) or None}
    if selector := _new(change.node_selector, own.node_selector):
        spec["nodeSelector"] = selector
    if added := [dict(one) for one in _missing(change.tolerations, own.tolerations)]:
        # A merge patch replaces a list, so what the pod tolerates already is repeated.
        spec["tolerations"] = [*(dict(one) for one in own.tolerations), *added]
    body: dict[str, Any] = {"spec": spec}
    metadata = {
        "labels": _new(change.labels, pod.meta.labels),
        "annotations": _new(change.annotations, pod.meta.annotations),
    }
    if metadata := {key: values for key, values in metadata.items() if values}:
        body["metadata"] = metadata
    return actions.Patch(group.ref(pod), body, pod.meta.resource_version)


def _own_values(pod: facts.Pod) -> PodChange:
    # A template may carry the name of a Workload of the past; that one is overwritten.
    kept = {key: value for key, value in pod.meta.annotations.items() if key != names.WORKLOAD}
    return PodChange(
        labels=pod.meta.labels,
        annotations=kept,
        node_selector=pod.spec.get("nodeSelector") or {},
        tolerations=tuple(pod.spec.get("tolerations") or ()),
    )


def _new(wanted: Mapping[str, str], present: Mapping[str, str]) -> dict[str, str]:
    return {key: wanted[key] for key in sorted(wanted) if present.get(key) != wanted[key]}


def _foreign_gates(pod: facts.Pod) -> list[dict[str, str]]:
    return [{"name": gate} for gate in pod.gates if gate not in group.ADMISSION_GATES]
