"""Exclusive placement of LWS beside topology requests to Kueue: whether the two can agree.

Kueue chooses the domains and knows nothing of exclusive placement; the scheduler then holds the
terms of affinity that LWS puts on the pods (lws-contract 5.5). Whoever asks for both gets both.
Where Kueue may spread what exclusive placement keeps together, or is told to put together what has
to be apart, pods are assigned to nodes that the terms rule out, and wait there for ever.

This judges what can be told from the set alone. That two groups fit into one domain, so that Kueue
may put both there, depends on the nodes.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from lws_kueue.api import lws, names
from lws_kueue.tas import annotations, subgroups

_REQUIRED: Final = names.PODSET_REQUIRED_TOPOLOGY
_GROUP: Final = names.PODSET_GROUP_NAME
_TOPOLOGY: Final = (
    _REQUIRED,
    names.PODSET_PREFERRED_TOPOLOGY,
    names.PODSET_UNCONSTRAINED_TOPOLOGY,
    names.PODSET_SLICE_REQUIRED_TOPOLOGY,
    names.PODSET_SLICE_CONSTRAINTS,
)


def conflicts(owner: lws.LeaderWorkerSet) -> Iterator[str]:
    """Say of each annotation of exclusive placement why pods may never be scheduled.

    Topology annotations that break a rule are not judged; the rule is told.
    """
    template = owner.spec.leader_worker_template
    asked = _asked(template)
    if not asked or annotations.validate(owner.spec):
        return
    given = owner.meta.annotations
    if (key := given.get(names.EXCLUSIVE_TOPOLOGY)) and not _group_stays(template, key):
        yield _text(names.EXCLUSIVE_TOPOLOGY, asked, f"every group in one {key}", _whole(template))
    # Without a policy there are no subgroups; the API refuses the annotation then.
    policy, key = template.sub_group_policy, given.get(names.SUBGROUP_EXCLUSIVE_TOPOLOGY)
    if policy and key and not _subgroups_stay(template, policy, key):
        what = f"every subgroup in a {key} of its own"
        yield _text(names.SUBGROUP_EXCLUSIVE_TOPOLOGY, asked, what, _apart(template, policy))


def _asked(template: lws.LeaderWorkerTemplate) -> list[str]:
    """Return the topology annotations of both templates."""
    given = {
        key
        for one in (template.leader_template or {}, template.worker_template)
        for key in annotations.annotations_of(one)
    }
    return [key for key in _TOPOLOGY if key in given]


def _text(annotation: str, asked: list[str], what: str, remedy: str) -> str:
    return (
        f"metadata.annotations[{annotation}]: Kueue chooses the domains by {', '.join(asked)} of"
        f" the pod templates, which does not put {what}, so pods may be assigned to nodes where"
        f" they can never be scheduled; {remedy}, or remove one of the annotations"
    )


def _required(template: Mapping[str, Any]) -> str | None:
    return annotations.annotations_of(template).get(_REQUIRED)


def _group_stays(template: lws.LeaderWorkerTemplate, key: str) -> bool:
    """Whether Kueue puts a whole group into one domain of the key."""
    if template.size == 1:
        return True
    leader, worker = template.leader_template, template.worker_template
    if leader is None:
        return _podset_stays(worker, key, count=template.size)
    # Two podsets that are not in a group are placed one by one, even where they ask for the same.
    return _GROUP in annotations.annotations_of(worker) and _required(worker) == key


def _podset_stays(template: Mapping[str, Any], key: str, *, count: int) -> bool:
    return _required(template) == key or any(
        layer.topology == key and layer.size == count for layer in subgroups.layers_of(template)
    )


def _subgroups_stay(
    template: lws.LeaderWorkerTemplate, policy: lws.SubGroupPolicy, key: str
) -> bool:
    """Whether Kueue puts each subgroup into one domain of the key, and is free to part them."""
    ranks, worker = subgroups.of_podset(template), template.worker_template
    leader = subgroups.index_of(policy, size=template.size, worker=0)
    known = {leader, *ranks} - {None}
    if len(known) == 1 and leader is not None:
        return _group_stays(template, key)
    if len(known) == 1 and template.leader_template is not None:
        return _podset_stays(worker, key, count=len(ranks))
    if _required(worker) == key or (template.leader_template is not None and leader in ranks):
        return False
    # A single pod is in one domain whatever is asked for.
    sizes = [1, *(one.size for one in subgroups.layers_of(worker) if one.topology == key)]
    return any(_one_each(ranks, size) for size in sizes)


def _one_each(ranks: tuple[int | None, ...], size: int) -> bool:
    """Whether slices of so many ranks are exactly the subgroups."""
    slices = [ranks[at : at + size] for at in range(0, len(ranks), size)]
    return subgroups.keeps_whole(ranks, size) and all(len(set(one)) == 1 for one in slices)


def _whole(template: lws.LeaderWorkerTemplate) -> str:
    if template.leader_template is None:
        return f"set {_REQUIRED} to the same key on the worker template"
    return f"set {_REQUIRED} to the same key, and one {_GROUP}, on the leader and worker templates"


def _apart(template: lws.LeaderWorkerTemplate, policy: lws.SubGroupPolicy) -> str:
    of = policy.sub_group_size or template.size
    with_leader = policy.sub_group_policy_type != subgroups.LEADER_EXCLUDED
    how = (
        "without a leader template"
        if with_leader and template.size % of == 0
        else f"with a leader template and subGroupPolicyType {subgroups.LEADER_EXCLUDED}"
    )
    return (
        f"{how}, set {names.PODSET_SLICE_REQUIRED_TOPOLOGY} to the same key and"
        f" {names.PODSET_SLICE_SIZE} to {of} on the worker template, and {_REQUIRED} to no key or"
        " that of a higher level"
    )
