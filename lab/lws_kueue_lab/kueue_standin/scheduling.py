"""The competition for quota: priority, then age (kueue-contract 2.4, 3.5).

One cycle considers the competing Workloads in order, each against what is left after those
before it. Behind a Workload that waits for others to be evicted, and in a StrictFIFO queue behind
any that waits, nobody is considered: like Kueue, so that nobody slips into what becomes free.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from lws_kueue.api import names, quantity
from lws_kueue_lab.kueue_standin import model, node_failure, placement, quota, topology
from lws_kueue_lab.kueue_standin.draft import Draft
from lws_kueue_lab.kueue_standin.quota import Mode

PENDING: Final = "Pending"

Key = tuple[str, str]


def order(draft: Draft) -> tuple[int, str, str]:
    """The place in the queue: higher priority first, then the one that waits longer."""
    return -draft.workload.priority, _queued_since(draft), draft.workload.meta.uid


def _queued_since(draft: Draft) -> str:
    # Who failed to start, or was sent back by a check, goes to the end of its priority.
    evicted = draft.condition("Evicted") or {}
    if evicted.get("status") == "True" and evicted["reason"] in (
        "PodsReadyTimeout",
        "AdmissionCheck",
    ):
        return str(evicted["lastTransitionTime"])
    return draft.workload.meta.created


class Cycle:
    """One round of the competition; changes the drafts it is given.

    Every draft of `drafts` that holds quota counts as used, whether the queue it belongs to
    admits or not.
    """

    def __init__(self, observed: model.Observed, drafts: Mapping[Key, Draft]) -> None:
        self.observed = observed
        self.drafts = drafts
        self.places = topology.Finder(observed)
        self.used: dict[str, model.Usage] = {}
        self.holders: dict[str, list[model.Workload]] = {}
        for draft in drafts.values():
            if draft.workload.holds_quota and draft.is_true("QuotaReserved"):
                self._count(draft.workload)

    def _count(self, workload: model.Workload) -> None:
        queue = str((workload.admission or {}).get("clusterQueue", ""))
        self.holders.setdefault(queue, []).append(workload)
        self._use(queue, workload.usage())
        self.places.take(workload)

    def _use(self, queue: str, usage: Mapping[model.FlavorResource, int]) -> None:
        used = self.used.setdefault(queue, {})
        for key, amount in usage.items():
            used[key] = used.get(key, 0) + amount

    def run(self, competing: Sequence[Draft]) -> None:
        """Replace failed nodes, then consider each Workload once."""
        for draft in sorted(self.drafts.values(), key=order):
            self._replace_node(draft)
        blocked: set[str] = set()
        for draft in sorted(competing, key=order):
            _, queue = self.observed.queues_of(draft.workload)
            if queue is None or queue.meta.name in blocked:
                continue
            if self._consider(draft, queue):
                blocked.add(queue.meta.name)

    def _consider(self, draft: Draft, queue: model.ClusterQueue) -> bool:
        """Admit a Workload or let it wait; returns whether those behind it wait with it."""
        workload = draft.workload
        context = quota.Context(
            queue=queue,
            flavors=self.observed.flavors,
            topologies=self.observed.topologies,
            used=self.used.get(queue.meta.name, {}),
            preemptible=self._preemptible(workload, queue),
        )
        found = quota.assign(context, workload.pod_sets)
        assignments: topology.Assignments = {}
        if found.mode == Mode.FIT:
            found, assignments = self.places.complete(context, found)
        if found.mode == Mode.FIT:
            self._reserve(draft, queue, found, assignments)
            return False
        preempts = self._wait(draft, queue, found, context)
        return preempts or queue.strict

    def _replace_node(self, draft: Draft) -> None:
        """Put another node in the place of a failed one, inside the reservation, or evict."""
        node = node_failure.unhealthy(draft)
        if not node:
            return
        try:
            replaced = self.places.replace(draft.workload, node)
        except placement.UnplacedError:
            message = (
                f"Workload was evicted as there was no replacement for unhealthy node(s): {node}"
            )
            draft.evict(node_failure.REASON, message)
            return
        for assignment in draft.status["admission"]["podSetAssignments"]:
            if assignment["name"] in replaced:
                assignment["topologyAssignment"] = replaced[assignment["name"]]
        draft.status.pop("unhealthyNodes")

    def _reserve(
        self,
        draft: Draft,
        queue: model.ClusterQueue,
        found: quota.Assignment,
        assignments: topology.Assignments,
    ) -> None:
        admission = {
            "clusterQueue": queue.meta.name,
            "podSetAssignments": [
                _pod_set_assignment(plan, self.places.encode(plan, assignments))
                for plan in found.plans
            ],
        }
        draft.reserve(admission)
        draft.require_checks(
            [
                name
                for name, on in queue.checks.items()
                if not on or set(on) & {flavor for flavor, _ in found.usage}
            ]
        )
        draft.sync_admitted()
        self._use(queue.meta.name, found.usage)
        self.places.keep(found, assignments)

    def _wait(
        self,
        draft: Draft,
        queue: model.ClusterQueue,
        found: quota.Assignment,
        context: quota.Context,
    ) -> bool:
        """Say why a Workload waits; returns whether it waits for others that it evicts."""
        targets: list[model.Workload] = []
        if found.mode > Mode.NO_FIT:
            targets = self._targets(draft.workload, queue, found, context)
        draft.status["resourceRequests"] = [
            {
                "name": p.name,
                "resources": quantity.render_all(quantity.times(p.single, p.count)),
            }
            for p in draft.workload.pod_sets
        ]
        if not targets:
            draft.refuse(PENDING, found.message)
            return False
        for target in targets:
            self._preempt(self.drafts[target.key], draft.workload, queue.meta.name)
        pending = f"Pending the preemption of {len(targets)} workload(s)"
        draft.refuse(PENDING, f"{found.message}. {pending}")
        return True

    # Preemption within the ClusterQueue ------------------------------------------------------

    def _candidates(
        self, workload: model.Workload, queue: model.ClusterQueue
    ) -> list[model.Workload]:
        """Who may have to make room: evicted already, then least priority, then newest."""
        if queue.preempts == "Never":
            return []
        mine = order(self.drafts[workload.key])
        newer_too = queue.preempts == "LowerOrNewerEqualPriority"

        def yields(other: model.Workload) -> bool:
            if other.priority != workload.priority:
                return other.priority < workload.priority
            return newer_too and mine < order(self.drafts[other.key])

        found = [w for w in self.holders.get(queue.meta.name, ()) if yields(w)]
        # Stable sorts, the last one weighs most.
        found.sort(key=lambda w: self.drafts[w.key].since("QuotaReserved"))
        found.sort(key=lambda w: (not self.drafts[w.key].is_true("Evicted"), w.priority))
        return found

    def _preemptible(
        self, workload: model.Workload, queue: model.ClusterQueue
    ) -> quota.Preemptible:
        def possible(key: model.FlavorResource, total: int) -> bool:
            freed = sum(w.usage().get(key, 0) for w in self._candidates(workload, queue))
            used = self.used.get(queue.meta.name, {}).get(key, 0)
            return freed > 0 and used - freed + total <= _nominal(queue).get(key, 0)

        return possible

    def _targets(
        self,
        workload: model.Workload,
        queue: model.ClusterQueue,
        found: quota.Assignment,
        context: quota.Context,
    ) -> list[model.Workload]:
        """The fewest Workloads whose eviction makes room, [] if none would."""

        def fits(gone: Sequence[model.Workload]) -> bool:
            return self._quota_fits(queue, found, gone) and self.places.fits(context, found, gone)

        targets: list[model.Workload] = []
        for candidate in self._candidates(workload, queue):
            if any(key in candidate.usage() for key in found.usage):
                targets.append(candidate)
                if fits(targets):
                    return _without_needless(targets, fits)
        return []

    def _quota_fits(
        self, queue: model.ClusterQueue, found: quota.Assignment, gone: Sequence[model.Workload]
    ) -> bool:
        used, nominal = self.used.get(queue.meta.name, {}), _nominal(queue)
        freed = [w.usage() for w in gone]
        return all(
            used.get(key, 0) - sum(f.get(key, 0) for f in freed) + amount <= nominal.get(key, 0)
            for key, amount in found.usage.items()
        )

    def _preempt(self, victim: Draft, preemptor: model.Workload, queue: str) -> None:
        if victim.is_true("Evicted"):
            return
        job = preemptor.meta.labels.get(names.JOB_UID) or "UNKNOWN"
        message = (
            f"Preempted to accommodate a workload (UID: {preemptor.meta.uid}, JobUID: {job}) due "
            f"to prioritization in the ClusterQueue; preemptor path: /{queue}; preemptee path: "
            f"/{queue}"
        )
        victim.set("Preempted", True, "InClusterQueue", message)
        # The one condition that Kueue sets without saying for which generation.
        (victim.condition("Preempted") or {}).pop("observedGeneration", None)
        victim.evict("Preempted", message)


def _without_needless(
    targets: list[model.Workload], fits: Callable[[Sequence[model.Workload]], bool]
) -> list[model.Workload]:
    """Spare who need not go after all; the last one found is always needed."""
    kept = list(targets)
    for target in reversed(targets[:-1]):
        rest = [other for other in kept if other is not target]
        if fits(rest):
            kept = rest
    return kept


def _nominal(queue: model.ClusterQueue) -> model.Usage:
    return {
        (flavor, resource): amount
        for group in queue.groups
        for flavor, amounts in group.flavors.items()
        for resource, amount in amounts.items()
    }


def _pod_set_assignment(plan: quota.PodSetPlan, encoded: model.Object | None) -> dict[str, Any]:
    used = {name: amount for name, amount in plan.requests.items() if name in plan.flavors}
    assignment: dict[str, Any] = {
        "name": plan.pod_set.name,
        "count": plan.pod_set.count,
        "flavors": dict(sorted(plan.flavors.items())),
        "resourceUsage": quantity.render_all(used),
    }
    if encoded is not None:
        assignment["topologyAssignment"] = encoded
    return assignment
