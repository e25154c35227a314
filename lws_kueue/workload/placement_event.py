"""Where a group landed, in words: which of its pods Kueue has put into which topology domain."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Final

from lws_kueue.api import actions, facts, kueue, names
from lws_kueue.tas import assignment
from lws_kueue.workload import pods as group

# An event's message holds about a thousand characters.
MOST_TOLD: Final = 12


def events(
    workload: kueue.Workload,
    pods: Iterable[facts.Pod],
    domains: Mapping[str, assignment.Domain],
) -> tuple[actions.Event, ...]:
    """Return the event that tells where the pods of a complete group go, if any is placed.

    ``domains`` are those of the pods that are released now, by name; others tell theirs by their
    node selector. Pods are told by their worker index, 0 for the leader, as ranks are counted.
    """
    levels = _levels(workload)
    placed = [
        (group.worker_index(pod), where)
        for pod in group.in_order(pods)
        if (where := _where(pod, domains.get(pod.meta.name), levels))
    ]
    if not placed:
        return ()
    parts = [
        f"{_who([index for index, _ in same])} on {where}"
        for where, same in groupby(placed, key=lambda item: item[1])
    ]
    if len(parts) > MOST_TOLD:
        parts[MOST_TOLD:] = [f"{len(parts) - MOST_TOLD} more domains"]
    text = f"Workload {workload.meta.name}: pods {', '.join(parts)}"
    index = workload.meta.annotations.get(names.COMPONENT_WORKLOAD_INDEX)
    if index is not None:
        text = f"Group {index}, {text}"
    return (actions.Event("Normal", "TopologyAssigned", text),)


def _levels(workload: kueue.Workload) -> Sequence[str]:
    admission = workload.status.admission
    assigned = admission.pod_set_assignments if admission else ()
    found = (one.topology_assignment for one in assigned)
    return next((one.levels for one in found if one is not None), ())


def _where(pod: facts.Pod, domain: assignment.Domain | None, levels: Sequence[str]) -> str:
    selector = domain.values if domain else pod.spec.get("nodeSelector") or {}
    return "/".join(selector[level] for level in levels if level in selector)


def _who(indices: Iterable[int | None]) -> str:
    """Return "0-2" for worker indices that follow each other; each by itself otherwise."""
    given = list(indices)
    known = [index for index in given if index is not None]
    if known and known == list(range(known[0], known[0] + len(given))):
        return str(known[0]) if len(known) == 1 else f"{known[0]}-{known[-1]}"
    return " ".join("?" if index is None else str(index) for index in given)
