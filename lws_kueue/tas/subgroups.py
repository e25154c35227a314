"""Slices of Kueue and subgroups of LWS: whether each subgroup stays in one topology domain.

Kueue cuts a podset into slices along the ranks of its pods, so many pods each, and puts every slice
into one domain of a level. LWS cuts a group into subgroups along the worker indices (lws-contract
2.4). The two know nothing of each other: only where no border of slices lies within a subgroup does
the subgroup stay in one domain. A leader with a template of its own is a podset of its own, so no
slice binds it to the rest of its subgroup.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from lws_kueue.api import lws, names
from lws_kueue.tas import annotations

LEADER_EXCLUDED: Final = "LeaderExcluded"


@dataclass(frozen=True, slots=True)
class Layer:
    """Slices of ``size`` pods, each in one domain of ``topology``; ``key`` asks for them."""

    key: str
    topology: str
    size: int


@dataclass(frozen=True, slots=True)
class Cut:
    """Slices that cut subgroups in two; slices of the size ``fitting`` would cut none."""

    layer: Layer
    subgroup_size: int
    fitting: int

    def __str__(self) -> str:
        field = f"spec.leaderWorkerTemplate.workerTemplate.metadata.annotations[{self.layer.key}]"
        return (
            f"{field}: slices of {self.layer.size} pods cut subgroups of {self.subgroup_size} in"
            f" two, so a subgroup may end up in two domains of {self.layer.topology}; slices of"
            f" {self.fitting} keep every subgroup in one"
        )


def index_of(policy: lws.SubGroupPolicy, *, size: int, worker: int) -> int | None:
    """Return the subgroup of a pod of a group of ``size``, None for a leader that is in none."""
    of = policy.sub_group_size or size
    if worker == 0:
        return None if policy.sub_group_policy_type == LEADER_EXCLUDED else 0
    return (worker - 1) // of if (size - 1) % of == 0 and size % of != 0 else worker // of


def of_podset(template: lws.LeaderWorkerTemplate) -> tuple[int | None, ...]:
    """Return the subgroup of every rank of the podset that has the workers."""
    policy = template.sub_group_policy
    if policy is None:
        return ()
    first = 0 if template.leader_template is None else 1
    return tuple(
        index_of(policy, size=template.size, worker=worker)
        for worker in range(first, template.size)
    )


def layers_of(template: Mapping[str, Any]) -> tuple[Layer, ...]:
    """Return the slices that a pod template asks for, the outermost first.

    Raises:
        ValueError: an annotation cannot be read.
    """
    request = annotations.request(
        annotations.annotations_of(template), pod_index_label=None, groupable=False
    )
    if request is None:
        return ()
    if "podSetSliceSize" in request:
        topology, size = request["podSetSliceRequiredTopology"], request["podSetSliceSize"]
        return (Layer(names.PODSET_SLICE_SIZE, topology, size),)
    return tuple(
        Layer(names.PODSET_SLICE_CONSTRAINTS, layer["topology"], layer["size"])
        for layer in request.get("podsetSliceRequiredTopologyConstraints", ())
    )


def keeps_whole(subgroups: tuple[int | None, ...], size: int) -> bool:
    """Whether no border between slices of ``size`` ranks lies within a subgroup."""
    return all(
        subgroups[border - 1] != subgroups[border] for border in range(size, len(subgroups), size)
    )


def cut(spec: lws.Spec) -> Cut | None:
    """Return the slices that cut subgroups in two, None if all stay whole.

    Of several layers it is enough that one keeps them whole: it says what a subgroup shares.
    Annotations that break a rule are not judged; the rule is told.
    """
    template = spec.leader_worker_template
    policy = template.sub_group_policy
    if policy is None or policy.sub_group_size is None or annotations.validate(spec):
        return None
    subgroups = of_podset(template)
    layers = layers_of(template.worker_template)
    if not layers or any(keeps_whole(subgroups, layer.size) for layer in layers):
        return None
    fitting = next(size for size in _divisors(len(subgroups)) if keeps_whole(subgroups, size))
    return Cut(layers[0], policy.sub_group_size, fitting)


def _divisors(count: int) -> Iterator[int]:
    return (size for size in range(1, count + 1) if count % size == 0)
