"""The competition for quota, as Kueue's scheduler holds it, and what is written about it.

Who gets quota, who has to make room and who waits is simulated (`lws_kueue.simulator`); each pass
begins anew with what is there. Whoever has to make room keeps its quota until the job side has
stopped it.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from lws_kueue.api import names, quantity
from lws_kueue.simulator import flavors, objects, placement, preemption, scheduler
from lws_kueue_lab.kueue_standin import node_failure, watched
from lws_kueue_lab.kueue_standin.draft import Draft

PENDING: Final = "Pending"

Key = tuple[str, str]

_GROUNDS: Final = {
    preemption.Why.IN_QUEUE: "prioritization in the ClusterQueue",
    preemption.Why.RECLAIMED: "reclamation within the cohort",
    preemption.Why.WHILE_BORROWING: "reclamation within the cohort while borrowing",
}


class Cycle:
    """One round of the competition; changes the drafts it is given.

    Every draft of `drafts` that holds quota counts as used, whether the queue it belongs to
    admits or not. ``active`` names the ClusterQueues that do.
    """

    def __init__(
        self, observed: watched.Watched, drafts: Mapping[Key, Draft], *, active: Collection[str]
    ) -> None:
        self.observed = observed
        self.drafts = drafts
        self.scheduler = scheduler.Scheduler(observed, active=active)
        for draft in drafts.values():
            if draft.workload.holds_quota and draft.is_true("QuotaReserved"):
                self.scheduler.hold(draft.workload, evicted=draft.is_true("Evicted"))

    def run(self, competing: Sequence[Draft]) -> None:
        """Replace failed nodes, then let those without quota compete."""
        for _, draft in sorted(self.drafts.items()):
            self._replace_node(draft)
        asked = {}
        for draft in competing:
            _, queue = self.observed.queues_of(draft.workload)
            if queue is not None:
                asked[draft.workload.key] = queue
                self.scheduler.ask(draft.workload, queue.meta.name)
        self.scheduler.run()
        for key, queue in sorted(asked.items()):
            verdict = self.scheduler.verdicts.get(key)
            if verdict is not None and verdict.admitted:
                self._reserve(self.drafts[key], queue, verdict)
            elif verdict is not None:
                self._wait(self.drafts[key], queue, verdict)

    def _replace_node(self, draft: Draft) -> None:
        """Put another node in the place of a failed one, inside the reservation, or evict."""
        node = node_failure.unhealthy(draft)
        if not node:
            return
        try:
            replaced = self.scheduler.places.replace(draft.workload, node)
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
        self, draft: Draft, queue: objects.ClusterQueue, verdict: scheduler.Verdict
    ) -> None:
        found = verdict.found
        admission = {
            "clusterQueue": queue.meta.name,
            "podSetAssignments": [
                _pod_set_assignment(plan, self.scheduler.places.encode(plan, verdict.places))
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

    def _wait(self, draft: Draft, queue: objects.ClusterQueue, verdict: scheduler.Verdict) -> None:
        """Say why a Workload waits, and ask others to stop for it."""
        draft.status["resourceRequests"] = [
            {
                "name": p.name,
                "resources": quantity.render_all(quantity.times(p.single, p.count)),
            }
            for p in draft.workload.pod_sets
        ]
        if not verdict.targets:
            draft.refuse(PENDING, verdict.message)
            return
        for target in verdict.targets:
            self._preempt(target, draft.workload, queue.meta.name)
        pending = f"Pending the preemption of {len(verdict.targets)} workload(s)"
        draft.refuse(PENDING, f"{verdict.found.message}. {pending}")

    def _preempt(self, target: preemption.Target, preemptor: objects.Workload, queue: str) -> None:
        victim = self.drafts[target.holder.key]
        if victim.is_true("Evicted"):
            return
        job = preemptor.meta.labels.get(names.JOB_UID) or "UNKNOWN"
        message = (
            f"Preempted to accommodate a workload (UID: {preemptor.meta.uid}, JobUID: {job}) due "
            f"to {_GROUNDS[target.why]}; preemptor path: {self._path(queue)}; "
            f"preemptee path: {self._path(target.holder.queue)}"
        )
        victim.set("Preempted", True, target.why.value, message)
        # The one condition that Kueue sets without saying for which generation.
        (victim.condition("Preempted") or {}).pop("observedGeneration", None)
        victim.evict("Preempted", message)

    def _path(self, queue: str) -> str:
        above = [node.name for node in self.scheduler.tree.queues[queue].above()]
        return "/" + "/".join([*reversed(above), queue])


def _pod_set_assignment(plan: flavors.PodSetPlan, encoded: objects.Object | None) -> dict[str, Any]:
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
