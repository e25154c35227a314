"""Topology annotations of pod templates: their meaning and their rules (kueue-contract 1.3, 1.9).

The annotations of a template become the topology request of its podset. Of the three placements
the strictest one that is present wins; a group name counts only beside a placement that a group
can share, and means nothing more where leader and workers are one podset anyway. Errors name the
field, as the API server's own do.

``deploy/api/topology-rules.yaml`` has the same rules in CEL and refuses with the same texts. Here
they are for sets that were stored before it, and for what CEL cannot read.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from lws_kueue.api import lws, names, numbers, selectors

Annotations = Mapping[str, str]

_PLACEMENTS: Final = (
    names.PODSET_REQUIRED_TOPOLOGY,
    names.PODSET_PREFERRED_TOPOLOGY,
    names.PODSET_UNCONSTRAINED_TOPOLOGY,
)
_MAX_LAYERS: Final = 3
_INT32: Final = range(-(2**31), 2**31)
_TEMPLATE_PATH: Final = "spec.leaderWorkerTemplate"


@dataclass(frozen=True, slots=True)
class FieldError:
    """A field that breaks a rule: its path, and what it must be."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


def annotations_of(template: Mapping[str, Any]) -> Annotations:
    """Return the annotations of a pod template."""
    found: Annotations = (template.get("metadata") or {}).get("annotations") or {}
    return found


def request(
    annotations: Annotations, *, pod_index_label: str | None, groupable: bool
) -> dict[str, Any] | None:
    """Return the topology request of a podset, or None when nothing asks for one.

    ``pod_index_label`` names the pod label that holds the rank; a podset that has one always gets
    a request, because Kueue orders its pods by it even where no placement is asked for.
    ``groupable`` says that there is another podset to be in a group with. The only podset of a
    Workload is placed as one unit anyway, and Kueue refuses a group of one.

    Raises:
        ValueError: an annotation cannot be read; ``validate`` says which and why.
    """
    result = _placement(annotations)
    result |= _slices(annotations)
    if not result and pod_index_label is None:
        return None
    if pod_index_label is not None:
        result["podIndexLabel"] = pod_index_label
    group = annotations.get(names.PODSET_GROUP_NAME)
    if groupable and group is not None and ("required" in result or "preferred" in result):
        result["podSetGroupName"] = group
    return result


def _placement(annotations: Annotations) -> dict[str, Any]:
    if (required := annotations.get(names.PODSET_REQUIRED_TOPOLOGY)) is not None:
        return {"required": required}
    if (preferred := annotations.get(names.PODSET_PREFERRED_TOPOLOGY)) is not None:
        return {"preferred": preferred}
    if (text := annotations.get(names.PODSET_UNCONSTRAINED_TOPOLOGY)) is not None:
        return {"unconstrained": _bool(text)}
    return {}


def _slices(annotations: Annotations) -> dict[str, Any]:
    layers = annotations.get(names.PODSET_SLICE_CONSTRAINTS)
    if layers is not None:
        return {"podsetSliceRequiredTopologyConstraints": _layers(layers)}
    topology = annotations.get(names.PODSET_SLICE_REQUIRED_TOPOLOGY)
    size = annotations.get(names.PODSET_SLICE_SIZE)
    if topology is None or size is None:
        return {}
    return {"podSetSliceRequiredTopology": topology, "podSetSliceSize": _int32(size)}


class _Pairs(tuple[tuple[str, Any], ...]):
    """A JSON object as it is written."""


def _layers(text: str) -> list[dict[str, Any]]:
    try:
        # An object is its pairs, so that a field that is there twice is seen, too.
        parsed = json.loads(text, object_pairs_hook=_Pairs)
    except (ValueError, RecursionError):
        parsed = None
    if (
        not isinstance(parsed, list)
        or not 1 <= len(parsed) <= _MAX_LAYERS
        or not all(isinstance(layer, _Pairs) and _is_layer(layer) for layer in parsed)
    ):
        raise ValueError(
            f"must be a JSON list of 1 to {_MAX_LAYERS} objects, each with a topology and a whole"
            " size and nothing else"
        )
    return [{"topology": "", "size": 0} | dict(layer) for layer in parsed]


def _is_layer(pairs: _Pairs) -> bool:
    values = dict(pairs)
    size = values.get("size")
    return (
        sorted(key for key, _ in pairs) == ["size", "topology"]
        and isinstance(values["topology"], str)
        and type(size) is int
        and size in _INT32
    )


def _bool(text: str) -> bool:
    if (found := numbers.boolean(text)) is None:
        raise ValueError("must be a boolean value")
    return found


def _int32(text: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]+", text) or int(text) not in _INT32:
        raise ValueError("must be a whole number")
    return int(text)


def validate(spec: lws.Spec) -> tuple[FieldError, ...]:
    """Return what is wrong with the topology annotations of both templates."""
    template = spec.leader_worker_template
    worker_path = f"{_TEMPLATE_PATH}.workerTemplate.metadata.annotations"
    worker = annotations_of(template.worker_template)
    if template.leader_template is None:
        # Leader and workers are one podset, so a group name has them all.
        return tuple(_template_errors(worker, path=worker_path, count=template.size))
    leader_path = f"{_TEMPLATE_PATH}.leaderTemplate.metadata.annotations"
    leader = annotations_of(template.leader_template)
    return (
        *_template_errors(leader, path=leader_path, count=1),
        *_template_errors(worker, path=worker_path, count=template.size - 1),
        *_group_errors(leader, worker, leader_path=leader_path, worker_path=worker_path),
    )


def _template_errors(annotations: Annotations, *, path: str, count: int) -> Iterator[FieldError]:
    if sum(key in annotations for key in _PLACEMENTS) > 1:
        yield FieldError(path, f"at most one of {', '.join(_PLACEMENTS)} may be set")
    for key in (*_PLACEMENTS[:2], names.PODSET_SLICE_REQUIRED_TOPOLOGY):
        if key in annotations and not selectors.is_key(annotations[key]):
            yield FieldError(f"{path}[{key}]", "must be a label key")
    unconstrained = annotations.get(names.PODSET_UNCONSTRAINED_TOPOLOGY)
    if unconstrained is not None and numbers.boolean(unconstrained) is None:
        yield FieldError(
            f"{path}[{names.PODSET_UNCONSTRAINED_TOPOLOGY}]", "must be a boolean value"
        )
    yield from _slice_errors(annotations, path=path, count=count)
    yield from _layer_errors(annotations, path=path, count=count)
    yield from _group_name_errors(annotations, path=path)


def _slice_errors(annotations: Annotations, *, path: str, count: int) -> Iterator[FieldError]:
    topology_key, size_key = names.PODSET_SLICE_REQUIRED_TOPOLOGY, names.PODSET_SLICE_SIZE
    if topology_key in annotations and size_key not in annotations:
        yield FieldError(f"{path}[{size_key}]", f"must be set when {topology_key} is set")
    if size_key not in annotations:
        return
    size_path = f"{path}[{size_key}]"
    if topology_key not in annotations:
        yield FieldError(size_path, f"may not be set when {topology_key} is not set")
    try:
        size = _int32(annotations[size_key])
    except ValueError as error:
        yield FieldError(size_path, str(error))
        return
    yield from _size_errors(size, path=size_path, count=count)


def _size_errors(size: int, *, path: str, count: int) -> Iterator[FieldError]:
    """Say why a podset of ``count`` pods cannot be cut into slices of ``size``."""
    if size < 1:
        yield FieldError(path, "must be at least 1")
    elif size > count:
        yield FieldError(path, f"must not be greater than the {count} pods of the podset")
    elif count % size != 0:
        yield FieldError(path, f"must divide the {count} pods of the podset")


def _layer_errors(annotations: Annotations, *, path: str, count: int) -> Iterator[FieldError]:
    key = names.PODSET_SLICE_CONSTRAINTS
    if key not in annotations:
        return
    for other in (names.PODSET_SLICE_REQUIRED_TOPOLOGY, names.PODSET_SLICE_SIZE):
        if other in annotations:
            yield FieldError(f"{path}[{key}]", f"may not be set when {other} is set")
    try:
        layers = _layers(annotations[key])
    except ValueError as error:
        yield FieldError(f"{path}[{key}]", str(error))
        return
    seen: set[str] = set()
    for i, layer in enumerate(layers):
        entry = f"{path}[{key}][{i}]"
        topology, size = layer["topology"], layer["size"]
        if not selectors.is_key(topology):
            yield FieldError(f"{entry}.topology", "must be a label key")
        if topology in seen:
            yield FieldError(f"{entry}.topology", "must not be that of another layer")
        seen.add(topology)
        if i == 0:
            yield from _size_errors(size, path=f"{entry}.size", count=count)
        elif size < 1:
            yield FieldError(f"{entry}.size", "must be at least 1")
        elif layers[i - 1]["size"] % size != 0:
            outer = layers[i - 1]["size"]
            yield FieldError(f"{entry}.size", f"must divide the size {outer} of the layer above")


def _group_name_errors(annotations: Annotations, *, path: str) -> Iterator[FieldError]:
    key = names.PODSET_GROUP_NAME
    if key not in annotations:
        return
    if not annotations[key]:
        yield FieldError(f"{path}[{key}]", "must not be empty")
    if re.fullmatch(r"[0-9]+", annotations[key]):
        yield FieldError(f"{path}[{key}]", "must not be a number")
    for other in (
        names.PODSET_SLICE_SIZE,
        names.PODSET_SLICE_REQUIRED_TOPOLOGY,
        names.PODSET_SLICE_CONSTRAINTS,
    ):
        if other in annotations:
            yield FieldError(f"{path}[{key}]", f"may not be set when {other} is set")
    if not any(placement in annotations for placement in _PLACEMENTS[:2]):
        required, preferred = _PLACEMENTS[:2]
        yield FieldError(
            f"{path}[{key}]", f"may not be set when neither {required} nor {preferred} is set"
        )


def _lone_group(annotations: Annotations, *, path: str) -> Sequence[FieldError]:
    """Refuse a group name on one of two templates: a group is a leader and its workers."""
    key = names.PODSET_GROUP_NAME
    if key not in annotations:
        return ()
    message = "must be set, with the same value, on the leader and on the worker template"
    return (FieldError(f"{path}[{key}]", message),)


def _group_errors(
    leader: Annotations, worker: Annotations, *, leader_path: str, worker_path: str
) -> Iterator[FieldError]:
    key = names.PODSET_GROUP_NAME
    if leader.get(key) != worker.get(key):
        yield from _lone_group(leader, path=leader_path)
        yield from _lone_group(worker, path=worker_path)
        return
    if key not in leader:
        return
    if any(leader.get(placement) != worker.get(placement) for placement in _PLACEMENTS[:2]):
        message = (
            "must ask for the same required or the same preferred topology as the other template"
        )
        yield FieldError(leader_path, message)
        yield FieldError(worker_path, message)
