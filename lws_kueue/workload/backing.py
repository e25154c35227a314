"""Whether an admission stands behind a pod: the one rule of what is let go, and of what is stopped.

Nothing that a pod says of itself is believed. An admission is the Workload's, which users cannot
write: so many pods in each podset, with so much of each resource, on nodes of certain flavors. A
pod that can run without being one of them is stopped, however it came to run: with the gate taken
out of its template or taken off by hand, resized, made by hand in a group's place, or left behind
by a set that is gone. What nobody can tell is not admitted.

What is deleted already is not looked at: more than that cannot be done. Flavors and topology are
only asked of a pod that lacks the marks of a release, because both may change while it runs.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from lws_kueue.api import facts, kueue, names
from lws_kueue.api.reasons import Reason
from lws_kueue.tas import assignment
from lws_kueue.workload import excess, injection, state
from lws_kueue.workload import pods as group


@dataclass(frozen=True, slots=True)
class Terms:
    """What an admission depends on beside its Workload; mappings are by name.

    ``injected_containers`` says what becomes of a pod that exceeds its admission only by containers
    that its template does not have.
    """

    checks: Mapping[str, kueue.AdmissionCheck] = field(default_factory=dict)
    flavors: injection.Flavors = field(default_factory=dict)
    injected_containers: excess.Injected = excess.Injected.HOLD


def unbacked(
    workload: kueue.Workload | None,
    pods: Iterable[facts.Pod],
    terms: Terms,
    *,
    own: Collection[facts.Pod] = (),
) -> tuple[tuple[facts.Pod, str], ...]:
    """Return the pods of a group that can run and are not admitted, each with why in words.

    ``pods`` are all that have their place in the group, and ``own`` those of them that the chain of
    ownership puts there, as far as that is known: they have the first claim, gated or not.
    """
    there = [pod for pod in group.in_order(pods) if not (pod.meta.deleting or pod.finished)]
    running = [pod for pod in there if group.could_run(pod)]
    if not running:
        return ()
    if (why := _none_admitted(workload, terms)) is not None:
        return tuple((pod, why) for pod in running)
    if workload is None or workload.unreadable:
        return ()  # Its conditions say that it is admitted, and nobody can tell for what.
    claims = _Claims(own)
    found = dict(_of_admitted(workload, there, terms, claims))
    return tuple((pod, found[pod.meta.uid]) for pod in running if pod.meta.uid in found)


def within(workload: kueue.Workload, pod: facts.Pod) -> bool:
    """Whether a pod requests no more than its part of an admission, whatever was injected."""
    assignments = injection.assignments(workload)
    assigned = assignments.get(group.podset_of(pod, assignments))
    if assigned is None:
        return False
    count = injection.count(workload, assigned)
    found = excess.Allowance(workload, assigned, count=count, injected=excess.Injected.WARN).excess(
        pod
    )
    return found is None or not found.holds


def _none_admitted(workload: kueue.Workload | None, terms: Terms) -> str | None:
    """Say why no pod of a group may run here, None where some may."""
    if workload is None:
        return "its group has no Workload"
    evicted = workload.condition(state.EVICTED)
    if state.must_stop(workload):
        if workload.is_true(state.EVICTED) and evicted is not None:
            return evicted.message or evicted.reason
        return f"Workload {workload.meta.name} is not admitted"
    if state.runs_elsewhere(workload, terms.checks):
        return f"Workload {workload.meta.name} runs in another cluster"
    return None


class _Claims:
    """In which order pods have a claim to an admission."""

    def __init__(self, own: Collection[facts.Pod]) -> None:
        self._own = {pod.meta.name for pod in own}
        # The names of workers begin with that of their leader.
        self._leader = min(self._own, key=len, default="")

    def order(self, pod: facts.Pod, *, released: bool) -> tuple[bool, bool, int, str]:
        """Return a key by which pods are sorted, those with the first claim first."""
        name = pod.meta.name
        if name not in self._own:
            return (True, not released, group.worker_index(pod) or 0, name)
        # Its name cannot be changed, a label can.
        rank = 0 if name == self._leader else int(name.rpartition("-")[2])
        return (False, False, rank, name)


def _of_admitted(
    workload: kueue.Workload, there: Sequence[facts.Pod], terms: Terms, claims: _Claims
) -> Iterator[tuple[str, str]]:
    """Return the UIDs of the pods that are not among those that were admitted, each with why."""
    assigned = injection.assignments(workload)
    podsets: dict[str, list[facts.Pod]] = {}
    for pod in there:
        podsets.setdefault(group.podset_of(pod, assigned), []).append(pod)
    for name, members in podsets.items():
        if name not in assigned:
            why = f"Workload {workload.meta.name} was not admitted for a podset {name}"
            yield from ((pod.meta.uid, why) for pod in members)
        else:
            yield from _of_podset(workload, assigned[name], members, terms, claims)


def _of_podset(
    workload: kueue.Workload,
    assigned: kueue.PodSetAssignment,
    members: Sequence[facts.Pod],
    terms: Terms,
    claims: _Claims,
) -> Iterator[tuple[str, str]]:
    count = injection.count(workload, assigned)
    allowance = excess.Allowance(
        workload, assigned, count=count, injected=terms.injected_containers
    )
    within: list[facts.Pod] = []
    for pod in members:
        if not group.could_run(pod):
            within.append(pod)
            continue
        found = allowance.excess(pod)
        if found is not None and found.holds:
            yield pod.meta.uid, found.reason.text
        elif not _released(workload, assigned, pod) and not _placed(workload, assigned, pod, terms):
            yield pod.meta.uid, _AS_NOBODY_RELEASES.format(workload.meta.name)
        else:
            within.append(pod)

    def claim(pod: facts.Pod) -> tuple[bool, bool, int, str]:
        return claims.order(pod, released=_released(workload, assigned, pod))

    beyond = (
        f"Workload {workload.meta.name} was admitted for {count} pods in podset {assigned.name}"
    )
    yield from ((pod.meta.uid, beyond) for pod in sorted(within, key=claim)[count:])


_AS_NOBODY_RELEASES = (
    "it was not released under Workload {}, and lacks what that gives it: the node labels of its"
    " flavors or of its topology"
)


def _released(workload: kueue.Workload, assigned: kueue.PodSetAssignment, pod: facts.Pod) -> bool:
    """Whether a pod has the marks of a release under an admission."""
    return (
        pod.meta.annotations.get(names.WORKLOAD) == workload.meta.name
        and pod.meta.labels.get(names.PODSET) == assigned.name
    )


def _placed(
    workload: kueue.Workload,
    assigned: kueue.PodSetAssignment,
    pod: facts.Pod,
    terms: Terms,
) -> bool:
    """Whether a pod goes where the admission has it go, as one does that Kueue has released."""
    change = injection.injection(workload, assigned.name, flavors=terms.flavors)
    if isinstance(change, Reason):
        return False
    selector = pod.spec.get("nodeSelector") or {}
    if not change.node_selector.items() <= selector.items():
        return False
    if assigned.topology_assignment is None:
        return True
    try:
        domains = assignment.decode(assigned.topology_assignment)
    except ValueError:
        return False
    return any(domain.values.items() <= selector.items() for domain in domains)
