"""A cluster in memory for whole passes: objects, what Kubernetes makes of them, and Kueue.

Only as much of each as decisions can see. The controller's part is real: ``pass_once`` gathers,
decides and carries out the plan, and can be cut off after any number of writes, as by SIGKILL.
What Kubernetes does with the objects stands in ``kubernetes_model``.
"""

import datetime
import itertools
from collections.abc import Iterable, Iterator
from typing import Any

from lws_kueue.api import actions, facts, kueue, lws, names
from lws_kueue.controller import decide, repairs
from lws_kueue.controller.admission import shortages
from lws_kueue.controller.observe import groups, members, observed
from lws_kueue.workload import build, conditions
from tests.kit.memory import kubernetes_model
from tests.kit.memory.kubernetes_model import Object, copied, true

NOW = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)
NAMESPACE = kubernetes_model.NAMESPACE
_QUEUES = {
    name: kueue.LocalQueue.of({"metadata": {"name": name}, "spec": {"clusterQueue": "cq"}})
    for name in ("queue", "other")
}
_FLAVOR = kueue.ResourceFlavor.of({"metadata": {"name": "default"}, "spec": {}})
_NODE = facts.Node(facts.Meta.of({}))


class Violation(AssertionError):
    """Something happened that must never happen."""


_FACTS: dict[str, Any] = {
    names.LWS_KIND: lws.LeaderWorkerSet.of,
    "StatefulSet": facts.StatefulSet.of,
    "Pod": facts.Pod.of,
    "Service": facts.Service.of,
    "ControllerRevision": facts.Revision.of,
    "Workload": kueue.Workload.of,
}


class Cluster(kubernetes_model.Kubernetes):
    """A cluster with Kueue and one controller, which remembers what its loop would."""

    def __init__(self, *, max_unavailable_gate: bool = False) -> None:
        super().__init__(max_unavailable_gate=max_unavailable_gate)
        self.options = build.Options()
        self.writes: list[str] = []
        self.built_in: bool | None = None
        self.memory: dict[int, members.Members] = {}
        self.now = NOW
        self.takes_unlabelled = False
        self.cluster_queues: dict[str, kueue.ClusterQueue] = {}
        self.admission_checks: dict[str, kueue.AdmissionCheck] = {}
        self.nodes: dict[str, facts.Node] = {}
        self.refusals: dict[str, str] = {}
        # Of a controller that has written a lot before; the model's own writes are not counted.
        self.attempts = repairs.Attempts()
        self._facts: dict[tuple[str, str], tuple[str, Any]] = {}
        self._memos: dict[str, groups.Memo] = {}

    def stamp(self) -> str:
        return conditions.stamp(self.now)

    # The controller -----------------------------------------------------------------------

    def observe(self, name: str) -> observed.Observed:
        seen: dict[str, dict[str, Any]] = {kind: {} for kind in _FACTS}
        for (kind, own), obj in self.objects.items():
            if kind in seen:
                seen[kind][own] = self._fact(kind, own, obj)
        found = observed.Observed(
            namespace=NAMESPACE,
            name=name,
            lws=seen[names.LWS_KIND].get(name),
            kueue=observed.Kueue(
                support="served",
                built_in=self.built_in,
                local_queues=_QUEUES,
                cluster_queues=self.cluster_queues,
                admission_checks=self.admission_checks,
                flavors={"default": _FLAVOR},
                takes_unlabelled=self.takes_unlabelled,
            ),
            stateful_sets=seen["StatefulSet"],
            pods=seen["Pod"],
            services=seen["Service"],
            revisions=seen["ControllerRevision"]
            | {
                own: self._fact("ControllerRevision", own, obj)
                for own, obj in self.kept_templates().items()
            },
            workloads=seen["Workload"],
            remembered=self.memory,
            attempts=self.attempts,
            memo=self._memos.setdefault(name, groups.Memo()),
        )
        nodes = {
            node: None if node in self.lost_nodes else self.nodes.get(node, _NODE)
            for node in decide.nodes_asked(found)
        }
        refusals = {
            one.meta.name: self.refusals[one.meta.name]
            for one in shortages.asked(found)
            if one.meta.name in self.refusals
        }
        return found.looked_up(nodes=nodes, refusals=refusals)

    def _fact(self, kind: str, name: str, obj: Object) -> Any:
        """Parse each version of an object once, as the cache does."""
        version = obj["metadata"]["resourceVersion"]
        known = self._facts.get((kind, name))
        if known is None or known[0] != version:
            known = self._facts[kind, name] = (version, _FACTS[kind](copied(obj)))
        return known[1]

    def afresh(self, name: str) -> observed.Observed:
        """Observe a set as a new process does, which has parsed nothing and remembers no look."""
        facts, memos = self._facts, self._memos
        self._facts, self._memos = {}, {}
        try:
            return self.observe(name)
        finally:
            self._facts, self._memos = facts, memos

    def decide(self, name: str) -> actions.Plan:
        return self.planned(self.observe(name))

    def planned(self, seen: observed.Observed) -> actions.Plan:
        """Return what is decided on what is observed; for tests to override."""
        return decide.decide(seen, now=self.now, options=self.options)

    def pass_once(self, name: str, *, writes: int | None = None) -> bool:
        """Run one pass, killed after ``writes`` writes; returns whether it wanted to write."""
        seen = self.observe(name)
        plan = self.planned(seen)
        if seen.lws is None:
            self.memory = {}
        else:
            self.memory = {**self.memory, **decide.complete_members(seen, plan)}
        for count, action in enumerate(self.in_order(plan)):
            if writes is not None and count >= writes:
                self.restart()
                break
            self.before(action)
            self._carry_out(action)
        return not plan.empty

    def in_order(self, plan: actions.Plan) -> Iterator[actions.Action | actions.StatusWrite]:
        """Return the writes of a plan in the order in which they come; for tests to override."""
        return in_order(plan)

    def restart(self) -> None:
        """Let the controller forget what it remembers, as a new process has."""
        self.memory = {}
        self._facts, self._memos = {}, {}

    def before(self, action: actions.Action | actions.StatusWrite) -> None:
        """Look at a write before it happens; for tests to override."""

    def _carry_out(self, action: actions.Action | actions.StatusWrite) -> None:
        match action:
            case actions.Create(body=body):
                if (body["kind"], body["metadata"]["name"]) not in self.objects:
                    self.store(copied(body))
                self.writes.append(f"create {body['kind']}")
            case actions.Apply(body=body, subresource=subresource):
                self._apply(copied(body), action.field_manager, subresource)
                self.writes.append(f"apply {body['kind']} {subresource}")
            case actions.Patch(ref=ref, body=body):
                self._patch(ref, copied(body), action.resource_version)
            case actions.Delete(ref=ref, uid=uid, propagation=propagation):
                found = self.objects.get((ref.kind, ref.name))
                if found and found["metadata"]["uid"] == uid:
                    foreground = propagation == "Foreground"
                    graceful = action.grace_seconds != 0
                    self.delete(ref.kind, ref.name, graceful=graceful, foreground=foreground)
                self.writes.append(f"delete {ref.kind}")
            case actions.StatusWrite(ref=ref, status=status):
                self.objects[ref.kind, ref.name]["status"] = copied(status)
                self.touch(self.objects[ref.kind, ref.name])
                self.writes.append("status")
            case actions.Release():
                raise Violation("a release is carried out patch by patch")

    def _apply(self, body: Object, manager: str, subresource: str) -> None:
        key = (body["kind"], body["metadata"]["name"])
        live = self.objects.get(key)
        if live is None and subresource:
            return
        if live is None or not subresource:
            status = live.get("status") if live else None
            body["metadata"]["managedFields"] = [
                {"manager": manager, "operation": "Apply", "fieldsV1": {}},
                *(e for e in _managed(live) if "subresource" in e),
            ]
            if status:
                body["status"] = status
            self.store(body)
            return
        status = live.setdefault("status", {})
        mine = {c["type"]: c for c in body["status"].pop("conditions", [])}
        kept = [c for c in status.get("conditions", []) if c["type"] not in mine]
        status.update(body["status"])
        status["conditions"] = [*kept, *mine.values()]
        if manager == names.ADMISSION_FIELD_MANAGER and "admission" not in body["status"]:
            # What this manager leaves out goes: that is how the admission is cleared.
            status.pop("admission", None)
        self.touch(live)

    def _patch(self, ref: actions.Ref, body: Object, version: str) -> None:
        live = self.objects.get((ref.kind, ref.name))
        if live is None or live["metadata"]["resourceVersion"] != version:
            return
        if ref.kind == "Pod":
            self._check_release(live)
        merge_patch(live, body)
        self.touch(live)
        self.let_go(live)
        self.writes.append(f"patch {ref.kind}")

    def _check_release(self, pod: Object) -> None:
        """The one rule above all: no pod is let go without the admission of its own group."""
        index = pod["metadata"]["labels"][names.GROUP_INDEX]
        admitted = [
            w
            for w in self.of_kind("Workload").values()
            if w["metadata"]["annotations"][names.COMPONENT_WORKLOAD_INDEX] == index
            and true(w, "Admitted")
            and not true(w, "Evicted")
        ]
        if not admitted:
            raise Violation(f"{pod['metadata']['name']} was released without admission")

    # Kueue --------------------------------------------------------------------------------

    def pending(self) -> list[str]:
        return sorted(
            name
            for name, w in self.of_kind("Workload").items()
            if not true(w, "QuotaReserved") and not w["metadata"].get("deletionTimestamp")
        )

    def admit(self, name: str) -> None:
        workload = self.objects["Workload", name]
        _set(workload, "QuotaReserved", True)
        _set(workload, "Admitted", True)
        _set(workload, "Evicted", False)
        workload["status"]["admission"] = {
            "clusterQueue": "cq",
            "podSetAssignments": [
                {"name": p["name"], "count": p["count"], "flavors": {"cpu": "default"}}
                for p in workload["spec"]["podSets"]
            ],
        }
        self.touch(workload)

    def evict(self, name: str) -> None:
        workload = self.objects["Workload", name]
        _set(workload, "Evicted", True)
        self.touch(workload)

    def admitted(self) -> list[str]:
        return sorted(
            name
            for name, w in self.of_kind("Workload").items()
            if true(w, "Admitted") and not true(w, "Evicted")
        )


class Remembering(Cluster):
    """A cluster with one set, and a controller that remembers what it wrote for it."""

    def before(self, action: actions.Action | actions.StatusWrite) -> None:
        if not isinstance(action, actions.Release):
            (live,) = self.of_kind(names.LWS_KIND).values()
            occasion = self.attempts.occasion(lws.LeaderWorkerSet.of(live))
            self.attempts.made(action, occasion=occasion, now=self.now)


def _managed(live: Object | None) -> list[Object]:
    return (live["metadata"].get("managedFields") if live else None) or []


def in_order(plan: actions.Plan) -> Iterator[actions.Action | actions.StatusWrite]:
    """Return the writes of a plan as one at a time would come, the most urgent ones first.

    What has pods made waits for what is prepared; all else does not.
    """
    chains = actions.in_order(plan.chains)
    urgent = [
        chain
        for chain in chains
        if actions.urgency(chain[0]) < actions.Urgency.OBJECT
        and not any(map(actions.makes_pods, chain))
    ]
    yield from _flat(urgent)
    yield from plan.prepare
    yield from _flat(chain for chain in chains if chain not in urgent)
    if plan.status:
        yield plan.status
    yield from plan.finish


def _flat(chains: Iterable[actions.Chain]) -> Iterator[actions.Action]:
    for action in itertools.chain.from_iterable(chains):
        if isinstance(action, actions.Release):
            yield from action.patches
        else:
            yield action


def merge_patch(live: Object, patch: Object) -> None:
    """Change an object in place as a JSON merge patch does (RFC 7396)."""
    for key, value in patch.items():
        if value is None:
            live.pop(key, None)
        elif isinstance(value, dict):
            merge_patch(live.setdefault(key, {}), value)
        else:
            live[key] = value


def _set(obj: Object, kind: str, value: bool) -> None:
    status = obj.setdefault("status", {})
    kept = [c for c in status.get("conditions") or [] if c["type"] != kind]
    new = {
        "type": kind,
        "status": "True" if value else "False",
        "reason": "Preempted" if kind == "Evicted" else kind,
        "message": "",
        "lastTransitionTime": "2030-01-01T00:00:00Z",
    }
    status["conditions"] = [*kept, new]
