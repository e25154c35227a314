"""What of a group's pods Kueue admits, so that a change can be told from one that it never sees.

A Workload is admitted for pods of a certain number, with certain requests, on nodes of certain
flavors. Images, commands, environment, volumes and metadata are none of that (kueue-contract 1.16,
2.1): a group that only changes those goes on under its Workload. A group that changes the rest
needs another admission, and until it has it none of its new pods may run.

Only what Kueue's core looks at is compared. It chooses flavors by node selectors, by required node
affinity and by tolerations of the flavors' taints; spreading, pod affinity and preferences are for
the scheduler alone. Of requests the sum counts, and not how a pod comes by it: as the cluster
completes both pods now, which is what Kueue would do. What cannot be told from here counts as a
difference: a RuntimeClass that nobody knows, another ResourceClaimTemplate.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lws_kueue.api import completion, derived, kueue, names, quantity, requests, taints
from lws_kueue.workload import naming

Template = Mapping[str, Any]
Tolerations = tuple[Mapping[str, Any], ...]
Flavors = Mapping[str, kueue.ResourceFlavor]
Completions = tuple[completion.Completion, ...]


@dataclass(frozen=True, slots=True)
class Requests:
    """What one pod requests, for each way in which the cluster may complete it.

    ``unreadable`` is the text of what holds an amount that is no quantity.
    """

    amounts: tuple[quantity.Amounts, ...] = ()
    devices: tuple[quantity.Amounts, ...] = ()
    claims: tuple[tuple[str, str], ...] = ()
    unknown_class: str = ""
    unreadable: str = ""


@dataclass(frozen=True, slots=True)
class PodSetShape:
    """What Kueue looks at in one pod set; each part in one spelling, so that equal means equal."""

    name: str
    count: int
    requests: Requests
    placement: str
    topology: Mapping[str, Any]
    pod_priority_class: str
    tolerations: Tolerations

    @property
    def totals(self) -> tuple[quantity.Amounts, ...]:
        """What all its pods request, for each completion; what cannot be read is nothing."""
        return tuple(quantity.times(one, self.count) for one in self.requests.amounts)


Shape = tuple[PodSetShape, ...]


def of(
    pod_sets: Iterable[kueue.PodSet], *, completions: Completions = completion.AS_WRITTEN
) -> Shape:
    """Return the shape of a Workload's pod sets, in a cluster that completes pods like this."""
    return tuple(
        PodSetShape(
            name=one.name,
            count=one.count,
            requests=_requests(_spec(one.template), completions),
            placement=_placement(_spec(one.template), None),
            topology=_topology(one),
            pod_priority_class=str(_spec(one.template).get("priorityClassName") or ""),
            tolerations=tuple(_spec(one.template).get("tolerations") or ()),
        )
        for one in pod_sets
    )


@derived.once_given
def stored(workload: kueue.Workload, completions: Completions) -> Shape:
    """Return the shape that a Workload was made for."""
    return of(workload.spec.pod_sets, completions=completions)


def difference(
    workload: kueue.Workload,
    wanted: Shape,
    *,
    flavors: Flavors,
    completions: Completions = completion.AS_WRITTEN,
) -> str | None:
    """Return in words what ``wanted`` is that the Workload was not made for, None for nothing.

    ``flavors`` are all that there are, because an edit of tolerations may open or close any;
    ``completions`` those that ``wanted`` was made with.
    """
    made_for = stored(workload, completions)
    if made_for == wanted:
        return None
    if [one.name for one in made_for] != [one.name for one in wanted]:
        return "pod sets"
    placed = _is_placed(workload)
    ranked_by_pods = not _has_own_class(workload)
    placeless = naming.is_copy(workload.meta) and not any(one.topology for one in made_for)
    for old, new in zip(made_for, wanted, strict=True):
        differs = {
            "number of pods": old.count != new.count,
            "requests": old.requests != new.requests,
            "node placement": old.placement != new.placement,
            # MultiKueue brought it from a Kueue without topology-aware scheduling.
            "topology request": old.topology != new.topology and not placeless,
            "priority class": ranked_by_pods and old.pod_priority_class != new.pod_priority_class,
            "tolerations": _tolerations_differ(old, new, placed=placed, flavors=flavors),
        }
        for what, changed in differs.items():
            if changed:
                return f"{what} of podset {new.name}"
    return None


@derived.once
def stored_writing(workload: kueue.Workload) -> str:
    """Return how the pods that a Workload was made for come by their requests."""
    return written(workload.spec.pod_sets)


def written(pod_sets: Iterable[kueue.PodSet]) -> str:
    """Return how pods come by their requests, in one spelling.

    It makes no difference to an admission, but to whether there may be one: each container has to
    keep to the bounds of LimitRanges, and no request may exceed its limit.
    """
    return _text([[one.name, _written(_spec(one.template))] for one in pod_sets])


def _written(spec: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "containers": sorted(_text(_resources(one)) for one in spec.get("containers") or ()),
        "initContainers": [
            [one.get("restartPolicy"), _resources(one)] for one in spec.get("initContainers") or ()
        ],
        "pod": _resources(spec),
        "overhead": _amounts(spec.get("overhead")),
        "runtimeClassName": spec.get("runtimeClassName"),
    }


def _resources(container: Mapping[str, Any]) -> dict[str, Any]:
    resources = container.get("resources") or {}
    return {part: _amounts(resources.get(part)) for part in ("limits", "requests")}


def _amounts(values: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name: _amount(value) for name, value in (values or {}).items()}


def _amount(value: Any) -> int | str:
    try:
        return quantity.exact(value)
    except ValueError:
        return str(value)


def shrinks(old: Shape, new: Shape) -> bool:
    """Whether ``new`` asks for no more than ``old``, and in the same places.

    What a group of the old shape gives back is enough for one of the new shape then.
    """
    if [_where(one) for one in old] != [_where(one) for one in new]:
        return False
    return all(
        amount <= before.get(resource, 0)
        for before, after in zip(_totals(old), _totals(new), strict=False)
        for resource, amount in after.items()
    )


def _totals(shape: Shape) -> list[quantity.Amounts]:
    """Return what all pods request, for each completion."""
    return [quantity.add(*parts) for parts in zip(*(one.totals for one in shape), strict=False)]


def _where(pod_set: PodSetShape) -> tuple[object, ...]:
    tolerations = {_toleration(one) for one in pod_set.tolerations}
    return (pod_set.name, pod_set.placement, pod_set.topology, tolerations)


def _spec(template: Template) -> Mapping[str, Any]:
    spec: Mapping[str, Any] = template.get("spec") or {}
    return spec


def _text(value: Any) -> str:
    return json.dumps(_reduced(value), sort_keys=True)


def _reduced(value: Any) -> Any:
    """Return JSON without what says nothing: nulls, and empty lists, maps and texts."""
    if isinstance(value, Mapping):
        items = ((key, _reduced(inner)) for key, inner in value.items())
        return {key: inner for key, inner in items if inner not in (None, {}, [], "")}
    return [_reduced(inner) for inner in value] if isinstance(value, list | tuple) else value


@derived.of_part
def _requests(spec: Mapping[str, Any], completions: Completions) -> Requests:
    try:
        return Requests(
            amounts=tuple(requests.of_pod(spec, completed=one) for one in completions),
            devices=tuple(requests.of_devices(spec, completed=one) for one in completions),
            claims=requests.of_claims(spec),
            unknown_class=requests.unknown_class(spec, completions[0]),
        )
    except ValueError:
        parts = ("containers", "initContainers", "resources", "overhead", "runtimeClassName")
        return Requests(
            claims=requests.of_claims(spec), unreadable=_text({key: spec.get(key) for key in parts})
        )


@derived.of_part
def _placement(spec: Mapping[str, Any], _: None) -> str:
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    # A label may have to be empty, which is not the same as any or none.
    selector = sorted((spec.get("nodeSelector") or {}).items())
    return _text({"nodeSelector": selector, "affinity": required})


def _topology(pod_set: kueue.PodSet) -> dict[str, Any]:
    request = pod_set.topology_request or kueue.TopologyRequest()
    fields = set(kueue.TopologyRequest.model_fields)
    return {
        key: value
        for key, value in request.model_dump(include=fields, exclude_none=True).items()
        if value != ()
    }


def _has_own_class(workload: kueue.Workload) -> bool:
    """Whether a class of Workloads decides about the priority, and not one of pods."""
    ref = workload.spec.priority_class_ref
    return ref is not None and ref.group == names.KUEUE_GROUP


def _is_placed(workload: kueue.Workload) -> bool:
    """Whether Kueue places the pods on nodes, and so asks what each node's taints say."""
    admission = workload.status.admission
    assigned = admission.pod_set_assignments if admission else ()
    requests = (one.topology_request for one in workload.spec.pod_sets)
    return any(one.topology_assignment is not None for one in assigned) or any(
        request is not None and (request.explicit or request.sliced) for request in requests
    )


def _tolerations_differ(
    old: PodSetShape, new: PodSetShape, *, placed: bool, flavors: Flavors
) -> bool:
    before, after = old.tolerations, new.tolerations
    if {_toleration(one) for one in before} == {_toleration(one) for one in after}:
        return False
    return placed or any(
        _kept_away(before, flavor) != _kept_away(after, flavor) for flavor in flavors.values()
    )


def _kept_away(tolerations: Iterable[Mapping[str, Any]], flavor: kueue.ResourceFlavor) -> bool:
    """Whether pods with these tolerations may not go on the nodes of a flavor."""
    every = (*tolerations, *flavor.tolerations)
    return taints.untolerated(flavor.node_taints, every) is not None


def _toleration(toleration: Mapping[str, Any]) -> tuple[str, str, str, str, int | None]:
    return (
        toleration.get("key") or "",
        toleration.get("operator") or "Equal",
        toleration.get("value") or "",
        toleration.get("effect") or "",
        toleration.get("tolerationSeconds"),
    )
