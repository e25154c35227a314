"""Letting the pods of an admitted group go: which of them, and what keeps the others.

A pod whose own values contradict what it would get (``injection``) is not touched, and neither are
the other gated pods of its group: half a group would hold its quota and do nothing.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from lws_kueue.api import actions, facts, kueue, names
from lws_kueue.api.reasons import Reason
from lws_kueue.tas import assignment, ranks
from lws_kueue.workload import backing, excess, injection, placement_event, podsets, state
from lws_kueue.workload import pods as group


def plan_release(
    workload: kueue.Workload, pods: Sequence[facts.Pod], *, terms: backing.Terms, beside: int = 0
) -> tuple[actions.Release | None, tuple[Reason, ...]]:
    """Return the release of the group's gated pods, and what somebody has to change.

    The caller has made sure that the Workload may run. A pod for which the assignment has no
    place, or only one on a node that waits to be replaced, stays gated while the others go; any
    other problem holds all gated pods of the group. ``beside`` is how many pods run in their place
    that are none of the group: until they have ended the admission has no room for it.
    """
    if not any(group.gated(pod) for pod in pods):
        return None, ()
    # A gated pod that is being deleted neither needs a place nor takes one.
    live = [
        pod
        for pod in group.in_order(pods)
        if not pod.finished and not (group.gated(pod) and pod.meta.deleting)
    ]
    assignments = injection.assignments(workload)
    waiting = [pod for pod in live if group.gated(pod)]
    parts = [
        _release_podset(
            workload,
            name,
            [pod for pod in live if group.podset_of(pod, assignments) == name],
            terms,
        )
        for name in dict.fromkeys(group.podset_of(pod, assignments) for pod in waiting)
    ]
    # Another admission is another occasion: only under the same one is a release repeated.
    admitted = f"admitted at {_admitted_at(workload)}"
    patches = tuple(
        dataclasses.replace(patch, because=admitted) for part in parts for patch in part.patches
    )
    problems = tuple(dict.fromkeys(problem for part in parts for problem in part.problems))
    admitted_pods = _pods_admitted(workload)
    if waiting and beside and len(live) + beside > admitted_pods:
        message = (
            f"Workload {workload.meta.name} was admitted for {admitted_pods} pods, and {beside}"
            " that are not of the group run in its place and have to end first"
        )
        about = f"Workload {workload.meta.name}: pods beside those of the group"
        return None, (*problems, Reason("MorePodsThanAdmitted", message, about=about))
    if any(part.held for part in parts) or not patches:
        return None, problems
    ref, meta = group.workload_ref(workload), workload.meta
    warned = (reason for part in parts for reason in part.warned)
    events = tuple(actions.Event("Warning", one.code, one.message) for one in warned)
    if len(patches) == len(waiting) and len(live) == admitted_pods:
        domains = {name: domain for part in parts for name, domain in part.domains.items()}
        events = (*events, *placement_event.events(workload, live, domains))
    return actions.Release(ref, meta.uid, meta.resource_version, patches, events), problems


def _admitted_at(workload: kueue.Workload) -> str:
    admitted = workload.condition(state.ADMITTED)
    return admitted.last_transition_time if admitted else ""


def _pods_admitted(workload: kueue.Workload) -> int:
    return sum(injection.count(workload, one) for one in injection.assignments(workload).values())


@dataclass(frozen=True, slots=True)
class _PodSetRelease:
    """The part of a release that one podset is; ``held`` when its problems hold the whole.

    ``domains`` are where its pods go, by pod name; ``warned`` is what is told and holds nothing.
    """

    patches: tuple[actions.Patch, ...] = ()
    domains: Mapping[str, assignment.Domain] = field(default_factory=dict)
    problems: tuple[Reason, ...] = ()
    warned: tuple[Reason, ...] = ()
    held: bool = False


def _held(reason: str, message: str) -> _PodSetRelease:
    return _PodSetRelease(problems=(Reason(reason, message),), held=True)


def _release_podset(
    workload: kueue.Workload, name: str, members: Sequence[facts.Pod], terms: backing.Terms
) -> _PodSetRelease:
    base = injection.injection(workload, name, flavors=terms.flavors)
    if isinstance(base, Reason):
        return _PodSetRelease(problems=(base,), held=True)
    assigned = injection.assignments(workload)[name]
    count = injection.count(workload, assigned)
    exceeding = tuple(_exceeding(workload, assigned, members, terms, count=count))
    if any(excess.holds for excess in exceeding):
        held = next(excess.reason for excess in exceeding if excess.holds)
        return _PodSetRelease(problems=(held,), held=True)
    warned = tuple(excess.reason for excess in exceeding)
    if assigned.topology_assignment is None:
        part = _patched((pod, base) for pod in members if group.gated(pod))
        return dataclasses.replace(part, warned=warned)
    try:
        placement = _placement(workload, assigned, members, count=count)
    except ValueError as error:
        message = f"the topology of podset {name} of Workload {workload.meta.name}: {error}"
        return _held("TopologyUnreadable", message)
    changes = {
        pod_name: injection.injection(workload, name, flavors=terms.flavors, domain=domain)
        for pod_name, domain in placement.domains.items()
    }
    part = _patched((pod, changes[pod.meta.name]) for pod in members if pod.meta.name in changes)
    return dataclasses.replace(
        part,
        domains=placement.domains,
        problems=(*part.problems, *_unplaced(workload, placement)),
        warned=warned,
    )


def _exceeding(
    workload: kueue.Workload,
    assigned: kueue.PodSetAssignment,
    members: Sequence[facts.Pod],
    terms: backing.Terms,
    *,
    count: int,
) -> Iterator[excess.Excess]:
    """Return what the pods are beyond what was admitted: nothing of it has quota behind it."""
    if len(members) > count:
        message = (
            f"Workload {workload.meta.name} was admitted for {count} pods in podset"
            f" {assigned.name}, the group has {len(members)}"
        )
        about = f"Workload {workload.meta.name}: pods of podset {assigned.name}"
        yield excess.Excess(Reason("MorePodsThanAdmitted", message, about=about))
        return
    waiting = [pod for pod in members if group.gated(pod)]
    if not waiting:
        return
    allowance = excess.Allowance(
        workload, assigned, count=count, injected=terms.injected_containers
    )
    found = (allowance.excess(pod) for pod in waiting)
    yield from (one for one in found if one is not None)


def _unplaced(workload: kueue.Workload, placement: ranks.Placement) -> Iterator[Reason]:
    """Say why pods stay gated although their group is admitted."""
    if placement.crowded:
        message = (
            f"the topology assignment of Workload {workload.meta.name} has no place for"
            f" {', '.join(placement.crowded)}"
        )
        about = f"Workload {workload.meta.name}: places"
        yield Reason("TopologyAssignmentTooSmall", message, about=about)
    if placement.unhealthy:
        nodes = ", ".join(node.name for node in workload.status.unhealthy_nodes)
        message = (
            f"{', '.join(placement.unhealthy)}: node {nodes} of Workload {workload.meta.name} has"
            " failed, and Kueue has to replace it in the topology assignment"
        )
        about = f"Workload {workload.meta.name}: nodes that have failed"
        yield Reason("NodeFailed", message, about=about)


def _patched(pods: Iterable[tuple[facts.Pod, injection.PodChange | Reason]]) -> _PodSetRelease:
    outcomes = [
        change if isinstance(change, Reason) else injection.patch_for(pod, change)
        for pod, change in pods
    ]
    problems = tuple(one for one in outcomes if isinstance(one, Reason))
    patches = tuple(one for one in outcomes if isinstance(one, actions.Patch))
    return _PodSetRelease(patches, problems=problems, held=bool(problems))


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
    request = injection.topology_request(workload, assigned.name)
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
