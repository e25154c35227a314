"""A cluster in memory for whole passes: objects, what Kubernetes makes of them, and Kueue.

Only as much of each as decisions can see. The controller's part is real: ``pass_once`` gathers,
decides and carries out the plan, and can be cut off after any number of writes, as by SIGKILL.
"""

import copy
import datetime
from collections.abc import Iterable, Iterator
from typing import Any

from lws_kueue.api import actions, facts, kueue, lws, names
from lws_kueue.controller import decide, observed
from lws_kueue.workload import build

Object = dict[str, Any]
NOW = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)
NAMESPACE = "default"


class Violation(AssertionError):
    """Something happened that must never happen."""


class Cluster:
    """All objects by kind and name."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], Object] = {}
        self.writes: list[str] = []
        self._counter = 0

    # Storage ------------------------------------------------------------------------------

    def _next(self) -> int:
        self._counter += 1
        return self._counter

    def store(self, obj: Object) -> None:
        """Create or replace an object as an API server would."""
        key = (obj["kind"], obj["metadata"]["name"])
        old = self.objects.get(key)
        meta = obj["metadata"]
        meta["resourceVersion"] = str(self._next())
        meta["uid"] = old["metadata"]["uid"] if old else f"uid-{self._next()}"
        meta.setdefault("namespace", NAMESPACE)
        self.objects[key] = obj

    def of_kind(self, kind: str) -> dict[str, Object]:
        return {name: obj for (k, name), obj in self.objects.items() if k == kind}

    def touch(self, obj: Object) -> None:
        obj["metadata"]["resourceVersion"] = str(self._next())

    def delete(self, kind: str, name: str) -> None:
        """Delete; an object with a finalizer only gets its deletion time."""
        obj = self.objects.get((kind, name))
        if obj is None:
            return
        if obj["metadata"].get("finalizers"):
            obj["metadata"]["deletionTimestamp"] = "2030-01-01T00:00:00Z"
            self.touch(obj)
        else:
            del self.objects[kind, name]

    # The controller -----------------------------------------------------------------------

    def observe(self, name: str) -> observed.Observed:
        objects = copy.deepcopy(self.objects)
        kinds: dict[str, dict[str, Object]] = {}
        for (kind, own), obj in objects.items():
            kinds.setdefault(kind, {})[own] = obj
        live = kinds.get(names.LWS_KIND, {}).get(name)
        parse: Any = {
            "StatefulSet": facts.StatefulSet.of,
            "Pod": facts.Pod.of,
            "Service": facts.Service.of,
            "ControllerRevision": facts.Revision.of,
            "Workload": kueue.Workload.of,
        }
        seen = {
            kind: {own: of(obj) for own, obj in kinds.get(kind, {}).items()}
            for kind, of in parse.items()
        }
        flavor = kueue.ResourceFlavor.of({"metadata": {"name": "default"}, "spec": {}})
        return observed.Observed(
            namespace=NAMESPACE,
            name=name,
            lws=lws.LeaderWorkerSet.of(live) if live else None,
            kueue=observed.Kueue(support="served", flavors={"default": flavor}),
            stateful_sets=seen["StatefulSet"],
            pods=seen["Pod"],
            services=seen["Service"],
            revisions=seen["ControllerRevision"],
            workloads=seen["Workload"],
        )

    def decide(self, name: str) -> actions.Plan:
        return decide.decide(self.observe(name), now=NOW, options=build.Options())

    def pass_once(self, name: str, *, writes: int | None = None) -> bool:
        """Run one pass, killed after ``writes`` writes; returns whether it wanted to write."""
        plan = self.decide(name)
        for count, action in enumerate(_in_order(plan)):
            if writes is not None and count >= writes:
                break
            self._carry_out(action)
        return not plan.empty

    def _carry_out(self, action: actions.Action | actions.StatusWrite) -> None:
        match action:
            case actions.Create(body=body):
                if (body["kind"], body["metadata"]["name"]) not in self.objects:
                    self.store(copy.deepcopy(dict(body)))
                self.writes.append(f"create {body['kind']}")
            case actions.Apply(body=body, subresource=subresource):
                self._apply(copy.deepcopy(dict(body)), action.field_manager, subresource)
                self.writes.append(f"apply {body['kind']} {subresource}")
            case actions.Patch(ref=ref, body=body):
                self._patch(ref, copy.deepcopy(dict(body)), action.resource_version)
            case actions.Delete(ref=ref, uid=uid):
                found = self.objects.get((ref.kind, ref.name))
                if found and found["metadata"]["uid"] == uid:
                    self.delete(ref.kind, ref.name)
                self.writes.append(f"delete {ref.kind}")
            case actions.StatusWrite(ref=ref, status=status):
                self.objects[ref.kind, ref.name]["status"] = copy.deepcopy(dict(status))
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
                {"manager": manager, "operation": "Apply", "fieldsV1": {}}
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
        if manager == names.ADMISSION_FIELD_MANAGER:
            # What this manager leaves out goes: that is how the admission is cleared.
            status.pop("admission", None)
        self.touch(live)

    def _patch(self, ref: actions.Ref, body: Object, version: str) -> None:
        live = self.objects.get((ref.kind, ref.name))
        if live is None or live["metadata"]["resourceVersion"] != version:
            return
        if ref.kind == "Pod":
            self._check_release(live)
        _merge(live, body)
        self.touch(live)
        if live["metadata"].get("deletionTimestamp") and not live["metadata"].get("finalizers"):
            del self.objects[ref.kind, ref.name]
        self.writes.append(f"patch {ref.kind}")

    def _check_release(self, pod: Object) -> None:
        """The one rule above all: no pod is let go without the admission of its own group."""
        index = pod["metadata"]["labels"][names.GROUP_INDEX]
        admitted = [
            w
            for w in self.of_kind("Workload").values()
            if w["metadata"]["annotations"][names.COMPONENT_WORKLOAD_INDEX] == index
            and _true(w, "Admitted")
            and not _true(w, "Evicted")
        ]
        if not admitted:
            raise Violation(f"{pod['metadata']['name']} was released without admission")

    # Kubernetes ---------------------------------------------------------------------------

    def collect_garbage(self) -> None:
        """Delete what lost its controller, again and again until nothing is left to delete."""
        while True:
            uids = {obj["metadata"]["uid"] for obj in self.objects.values()}
            orphans = [
                (kind, name)
                for (kind, name), obj in self.objects.items()
                if (refs := obj["metadata"].get("ownerReferences"))
                and all(ref["uid"] not in uids for ref in refs)
                and not obj["metadata"].get("deletionTimestamp")
            ]
            if not orphans:
                return
            for kind, name in orphans:
                self.delete(kind, name)

    def make_pods(self) -> None:
        """Do what the StatefulSet controller and the identity policy do."""
        for name, owner in list(self.of_kind("StatefulSet").items()):
            spec = owner["spec"]
            start = (spec.get("ordinals") or {}).get("start", 0)
            wanted = {f"{name}-{n}" for n in range(start, start + spec["replicas"])}
            mine = {
                pod["metadata"]["name"]: pod
                for pod in self.of_kind("Pod").values()
                if pod["metadata"]["ownerReferences"][0]["uid"] == owner["metadata"]["uid"]
            }
            for extra in sorted(set(mine) - wanted):
                self.delete("Pod", extra)
            self._roll(owner, mine)
            for missing in sorted(wanted - set(self.of_kind("Pod"))):
                self.store(_pod(owner, missing))
            self._count(owner)

    def _roll(self, owner: Object, mine: dict[str, Object]) -> None:
        """Replace one pod from the partition upwards that is at another revision."""
        rolling = (owner["spec"].get("updateStrategy") or {}).get("rollingUpdate") or {}
        key = owner["spec"]["template"]["metadata"]["labels"].get(names.REVISION_KEY)
        for name in sorted(mine, reverse=True):
            ordinal = int(name.rpartition("-")[2])
            old = mine[name]["metadata"]["labels"].get(names.REVISION_KEY) != key
            if old and ordinal >= rolling.get("partition", 0):
                self.delete("Pod", name)
                return

    def _count(self, owner: Object) -> None:
        mine = [
            pod
            for pod in self.of_kind("Pod").values()
            if pod["metadata"]["ownerReferences"][0]["uid"] == owner["metadata"]["uid"]
        ]
        ready = sum(_true(pod, "Ready") for pod in mine)
        status = {"replicas": len(mine), "availableReplicas": ready, "readyReplicas": ready}
        if owner.get("status") != status:
            owner["status"] = status
            self.touch(owner)

    def run_pods(self) -> None:
        """Let every pod that nothing holds run and be ready."""
        for pod in self.of_kind("Pod").values():
            if not pod["spec"].get("schedulingGates") and not _true(pod, "Ready"):
                pod["spec"]["nodeName"] = "node-0"
                pod["status"] = {
                    "phase": "Running",
                    "conditions": [{"type": "Ready", "status": "True"}],
                }
                self.touch(pod)
        for owner in self.of_kind("StatefulSet").values():
            self._count(owner)

    # Kueue --------------------------------------------------------------------------------

    def pending(self) -> list[str]:
        return sorted(
            name
            for name, w in self.of_kind("Workload").items()
            if not _true(w, "QuotaReserved") and not w["metadata"].get("deletionTimestamp")
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
            if _true(w, "Admitted") and not _true(w, "Evicted")
        )


def _in_order(plan: actions.Plan) -> Iterator[actions.Action | actions.StatusWrite]:
    yield from plan.prepare
    for chain in plan.chains:
        for action in chain:
            if isinstance(action, actions.Release):
                yield from action.patches
            else:
                yield action
    if plan.status:
        yield plan.status
    yield from plan.finish


def _merge(live: Object, patch: Object) -> None:
    for key, value in patch.items():
        if value is None:
            live.pop(key, None)
        elif isinstance(value, dict):
            _merge(live.setdefault(key, {}), value)
        else:
            live[key] = value


def _conditions(obj: Object) -> Iterable[Object]:
    found: Iterable[Object] = (obj.get("status") or {}).get("conditions") or ()
    return found


def _true(obj: Object, kind: str) -> bool:
    return any(c["type"] == kind and c["status"] == "True" for c in _conditions(obj))


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


def _pod(owner: Object, name: str) -> Object:
    template = copy.deepcopy(owner["spec"]["template"])
    ordinal = name.rpartition("-")[2]
    labels = template["metadata"]["labels"]
    if labels.get(names.WORKER_INDEX) == "0":
        labels[names.GROUP_INDEX] = ordinal
        labels[names.GROUP_KEY] = f"{owner['metadata']['uid']}-{ordinal}"
    else:
        labels[names.WORKER_INDEX] = ordinal
    meta = owner["metadata"]
    reference = {
        "kind": "StatefulSet",
        "name": meta["name"],
        "uid": meta["uid"],
        "controller": True,
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {**template["metadata"], "name": name, "ownerReferences": [reference]},
        "spec": template["spec"],
        "status": {"phase": "Pending"},
    }
