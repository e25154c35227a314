"""Letting the pods of an admitted group go: what each gets, and the one patch that does it.

What is injected is what Kueue's own integration injects (kueue-contract 1.12, 3.2): the flavors'
node labels and tolerations, the updates of admission checks, the marks by which Kueue finds the
pods of a Workload, and, because the topology gate falls in the same patch, the node labels of the
pod's topology domain. A pod whose own values contradict them is not touched, and neither are the
other gated pods of its group: half a group would hold its quota and do nothing.
"""

import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from lws_kueue.api import actions, facts, kueue, names, selectors
from lws_kueue.api.reasons import Reason
from lws_kueue.tas import assignment, ranks
from lws_kueue.workload import excess, placement_event, podsets, state
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
    """Two sources want different values for one key."""


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
    assigned = _assignments(workload).get(podset)
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
        return Reason("PodSetUpdateConflict", message)
    return change


def _flavor_in_words(name: str, assigned: kueue.PodSetAssignment) -> str:
    used_for = sorted(key for key, flavor in assigned.flavors.items() if flavor == name)
    return f"ResourceFlavor {name} (of {', '.join(used_for)})"


def _assignments(workload: kueue.Workload) -> dict[str, kueue.PodSetAssignment]:
    admission = workload.status.admission
    return {} if admission is None else {one.name: one for one in admission.pod_set_assignments}


def _labels(workload: kueue.Workload, podset: str, *, cluster_queue: str) -> dict[str, str]:
    labels = {names.PODSET: podset}
    if selectors.is_value(workload.spec.queue_name):
        labels[names.LOCAL_QUEUE_NAME] = workload.spec.queue_name
    # Kueue leaves out the name of a ClusterQueue that contains dots, valid or not.
    if _DNS_LABEL.fullmatch(cluster_queue):
        labels[names.CLUSTER_QUEUE_NAME] = cluster_queue
    if names.MULTIKUEUE_ORIGIN in workload.meta.labels:
        labels[names.MULTIKUEUE_WORKER_POD] = "true"
    return labels


def _annotations(workload: kueue.Workload, assigned: kueue.PodSetAssignment) -> dict[str, str]:
    annotations = {names.WORKLOAD: workload.meta.name}
    request = _topology_request(workload, assigned.name)
    if assigned.topology_assignment is not None and not (request and request.explicit):
        # Placed although nobody asked: without the mark Kueue would count the pod's node a second
        # time, as used by a pod that it does not know.
        annotations[names.PODSET_UNCONSTRAINED_TOPOLOGY] = "true"
    return annotations


def _topology_request(workload: kueue.Workload, podset: str) -> kueue.TopologyRequest | None:
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
                f"{_has(base, what, key)} {known[what, key]}"
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
        return Reason("PodConflict", message)
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
    return [{"name": gate} for gate in pod.gates if gate not in group.KUEUE_GATES]


def plan_release(
    workload: kueue.Workload, pods: Sequence[facts.Pod], *, flavors: Flavors
) -> tuple[actions.Release | None, tuple[Reason, ...]]:
    """Return the release of the group's gated pods, and what somebody has to change.

    The caller has made sure that the Workload may run. A pod for which the assignment has no
    place, or only one on a node that waits to be replaced, stays gated while the others go; any
    other problem holds all gated pods of the group.
    """
    # A gated pod that is being deleted neither needs a place nor takes one.
    live = [
        pod
        for pod in group.in_order(pods)
        if not pod.finished and not (group.gated(pod) and pod.meta.deleting)
    ]
    assignments = _assignments(workload)
    waiting = [pod for pod in live if group.gated(pod)]
    parts = [
        _release_podset(
            workload,
            name,
            [pod for pod in live if group.podset_of(pod, assignments) == name],
            flavors,
        )
        for name in dict.fromkeys(group.podset_of(pod, assignments) for pod in waiting)
    ]
    # Another admission is another occasion: only under the same one is a release repeated.
    admitted = f"admitted at {_admitted_at(workload)}"
    patches = tuple(
        dataclasses.replace(patch, because=admitted) for part in parts for patch in part.patches
    )
    problems = tuple(dict.fromkeys(problem for part in parts for problem in part.problems))
    if any(part.held for part in parts) or not patches:
        return None, problems
    ref, meta = group.workload_ref(workload), workload.meta
    events: tuple[actions.Event, ...] = ()
    if len(patches) == len(waiting) and len(live) == _pods_admitted(workload):
        domains = {name: domain for part in parts for name, domain in part.domains.items()}
        events = placement_event.events(workload, live, domains)
    return actions.Release(ref, meta.uid, meta.resource_version, patches, events), problems


def _admitted_at(workload: kueue.Workload) -> str:
    admitted = workload.condition(state.ADMITTED)
    return admitted.last_transition_time if admitted else ""


def _pods_admitted(workload: kueue.Workload) -> int:
    return sum(_count(workload, one) for one in _assignments(workload).values())


@dataclass(frozen=True, slots=True)
class _Part:
    """The part of a release that one podset is; ``held`` when its problems hold the whole.

    ``domains`` are where its pods go, by pod name.
    """

    patches: tuple[actions.Patch, ...] = ()
    domains: Mapping[str, assignment.Domain] = field(default_factory=dict)
    problems: tuple[Reason, ...] = ()
    held: bool = False


def _held(reason: str, message: str) -> _Part:
    return _Part(problems=(Reason(reason, message),), held=True)


def _release_podset(
    workload: kueue.Workload, name: str, members: Sequence[facts.Pod], flavors: Flavors
) -> _Part:
    base = injection(workload, name, flavors=flavors)
    if isinstance(base, Reason):
        return _Part(problems=(base,), held=True)
    assigned = _assignments(workload)[name]
    count = _count(workload, assigned)
    if (beyond := _beyond(workload, assigned, members, count=count)) is not None:
        return _Part(problems=(beyond,), held=True)
    if assigned.topology_assignment is None:
        return _patched((pod, base) for pod in members if group.gated(pod))
    try:
        placement = _placement(workload, assigned, members, count=count)
    except ValueError as error:
        message = f"the topology of podset {name} of Workload {workload.meta.name}: {error}"
        return _held("TopologyUnreadable", message)
    changes = {
        pod_name: injection(workload, name, flavors=flavors, domain=domain)
        for pod_name, domain in placement.domains.items()
    }
    part = _patched((pod, changes[pod.meta.name]) for pod in members if pod.meta.name in changes)
    return dataclasses.replace(
        part,
        domains=placement.domains,
        problems=(*part.problems, *_unplaced(workload, placement)),
    )


def _beyond(
    workload: kueue.Workload,
    assigned: kueue.PodSetAssignment,
    members: Sequence[facts.Pod],
    *,
    count: int,
) -> Reason | None:
    """Return what the pods are beyond what was admitted: nothing of it has quota behind it."""
    if len(members) > count:
        message = (
            f"Workload {workload.meta.name} was admitted for {count} pods in podset"
            f" {assigned.name}, the group has {len(members)}"
        )
        return Reason("MorePodsThanAdmitted", message)
    waiting = (pod for pod in members if group.gated(pod))
    found = (excess.problem(workload, assigned, pod, count=count) for pod in waiting)
    return next((problem for problem in found if problem is not None), None)


def _unplaced(workload: kueue.Workload, placement: ranks.Placement) -> Iterator[Reason]:
    """Say why pods stay gated although their group is admitted."""
    if placement.crowded:
        message = (
            f"the topology assignment of Workload {workload.meta.name} has no place for"
            f" {', '.join(placement.crowded)}"
        )
        yield Reason("TopologyAssignmentTooSmall", message)
    if placement.unhealthy:
        nodes = ", ".join(node.name for node in workload.status.unhealthy_nodes)
        message = (
            f"{', '.join(placement.unhealthy)}: node {nodes} of Workload {workload.meta.name} has"
            " failed, and Kueue has to replace it in the topology assignment"
        )
        yield Reason("NodeFailed", message)


def _patched(pods: Iterable[tuple[facts.Pod, PodChange | Reason]]) -> _Part:
    outcomes = [
        change if isinstance(change, Reason) else patch_for(pod, change) for pod, change in pods
    ]
    problems = tuple(one for one in outcomes if isinstance(one, Reason))
    patches = tuple(one for one in outcomes if isinstance(one, actions.Patch))
    return _Part(patches, problems=problems, held=bool(problems))


def _count(workload: kueue.Workload, assigned: kueue.PodSetAssignment) -> int:
    """Return the admitted number of pods; the assignment's own counts, not the request's."""
    if assigned.count is not None:
        return assigned.count
    return next((one.count for one in workload.spec.pod_sets if one.name == assigned.name), 0)


def _placement(
    workload: kueue.Workload,
    assigned: kueue.PodSetAssignment,
    members: Sequence[facts.Pod],
    *,
    count: int,
) -> ranks.Placement:
    """Place the waiting members.

    Raises:
        ValueError: the assignment or the offset annotation cannot be read.
    """
    request = _topology_request(workload, assigned.name)
    grouped = request is not None and request.pod_set_group_name is not None
    offset = next((pod.meta.annotations.get(names.POD_INDEX_OFFSET) for pod in members), None)
    leaders = 1 if assigned.name == podsets.WORKER else 0
    pods = [
        ranks.RankedPod(
            pod.meta.name,
            group.worker_index(pod),
            None if group.gated(pod) else pod.spec.get("nodeSelector") or {},
        )
        for pod in members
    ]
    compressed = assigned.topology_assignment or kueue.TopologyAssignment()
    return ranks.place(
        assignment.decode(compressed),
        pods,
        count=count,
        start=ranks.start_of(leaders=leaders, grouped=grouped, offset=offset),
        unhealthy=frozenset(node.name for node in workload.status.unhealthy_nodes),
    )
