"""A cluster in memory: objects as JSON, the decisions of the stand-in applied to them."""

import copy
import datetime
from typing import Any

from lws_kueue_lab.kueue_standin import lifecycle, store, watched
from lws_kueue_lab.kueue_standin.decide import Decision, Write
from lws_kueue_lab.kueue_standin.decide import decide as decide_now

from lws_kueue.api import actions
from tests.kit.builders import cluster as build

Json = dict[str, Any]

START = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
KINDS = {kind.kind: kind for kind in store.KINDS}


class World:
    """Objects, a clock, and the writes that decisions asked for."""

    def __init__(self, **options: Any) -> None:
        self.now = START
        self.options = lifecycle.Options(**options)
        self.objects: dict[tuple[str, str, str], Json] = {}
        self.writes: list[Write] = []
        self._version = 0
        self.add("Namespace", "default", labels={"team": "x"})

    # Objects ------------------------------------------------------------------------------------

    def add(self, kind: str, name: str, *, spec: Json | None = None, **more: Any) -> Json:
        metadata = {
            "name": name,
            "uid": f"uid-{name}",
            "generation": 1,
            "creationTimestamp": self.now.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "labels": more.pop("labels", {}),
            "annotations": more.pop("annotations", {}),
        } | more.pop("metadata", {})
        namespace = "default" if KINDS[kind].namespaced else ""
        if namespace:
            metadata["namespace"] = namespace
        obj = {"kind": kind, "metadata": metadata, "spec": spec or {}} | more
        self.objects[kind, namespace, name] = obj
        self._touch(obj)
        return obj

    def _touch(self, obj: Json) -> None:
        self._version += 1
        obj["metadata"]["resourceVersion"] = str(self._version)

    def get(self, kind: str, name: str) -> Json:
        namespace = "default" if KINDS[kind].namespaced else ""
        return self.objects[kind, namespace, name]

    def remove(self, kind: str, name: str) -> None:
        del self.objects[kind, "default" if KINDS[kind].namespaced else "", name]

    def edit(self, kind: str, name: str, **spec: Any) -> None:
        obj = self.get(kind, name)
        obj["spec"].update(spec)
        obj["metadata"]["generation"] += 1
        self._touch(obj)

    # Queues -------------------------------------------------------------------------------------

    def queues(
        self,
        quota: dict[str, str] | None = None,
        *,
        flavors: dict[str, dict[str, str]] | None = None,
        **spec: Any,
    ) -> None:
        """Make a LocalQueue `lq` and a ClusterQueue `cq` with its flavors."""
        by_flavor = flavors or {"default": quota or {"cpu": "1"}}
        for name in by_flavor:
            if ("ResourceFlavor", "", name) not in self.objects:
                self.add("ResourceFlavor", name)
        self.add("ClusterQueue", "cq", spec=build.cluster_queue("cq", by_flavor, **spec)["spec"])
        self.add("LocalQueue", "lq", spec={"clusterQueue": "cq"})

    def workload(
        self,
        name: str,
        *,
        count: int = 1,
        cpu: str = "1",
        pod_sets: list[Json] | None = None,
        **spec: Any,
    ) -> Json:
        made = spec.pop("made", {})
        sets = pod_sets or [pod_set("main", count=count, cpu=cpu)]
        owner = {"apiVersion": "v1", "kind": "X", "name": "owner", "uid": "owner"}
        metadata = {"ownerReferences": [owner]} | made
        body = {"queueName": "lq", "podSets": sets} | spec
        return self.add("Workload", name, spec=body, metadata=metadata)

    # Passing of time ------------------------------------------------------------------------------

    def observed(self) -> watched.Watched:
        fields: Json = {kind.field: {} for kind in store.KINDS}
        for (kind, namespace, name), obj in self.objects.items():
            key = (namespace, name) if KINDS[kind].namespaced else name
            parsed = KINDS[kind].parse(copy.deepcopy(obj))
            if parsed is not None:
                fields[KINDS[kind].field][key] = parsed
        return watched.Watched(**fields)

    def decide(self) -> Decision:
        return decide_now(self.observed(), now=self.now, options=self.options)

    def settle(self, after: float = 0.0) -> "World":
        """Let time pass, then decide and write until nothing is left to write."""
        self.now += datetime.timedelta(seconds=after)
        for _ in range(20):
            decision = self.decide()
            if not decision.writes:
                return self
            for write in decision.writes:
                self._write(write)
        raise AssertionError(f"the stand-in never comes to rest: {decision.writes}")

    def _write(self, write: Write) -> None:
        self.writes.append(write)
        if isinstance(write, actions.Apply):
            metadata = write.body["metadata"]
            key = write.body["kind"], metadata.get("namespace", ""), metadata["name"]
            obj = self.objects[key]
            kept = [
                c
                for c in obj.get("status", {}).get("conditions", [])
                if c["type"] not in {n["type"] for n in write.body["status"]["conditions"]}
            ]
            assert [c["type"] for c in kept] in ([], ["DeactivationTarget"]), "all are carried on"
            obj["status"] = copy.deepcopy(dict(write.body["status"]))
        else:
            obj = self.objects[write.ref.kind, write.ref.namespace, write.ref.name]
            obj["spec"].update(write.body.get("spec", {}))
            obj["metadata"].update(write.body.get("metadata", {}))
            assert ("status" in write.body) == (write.subresource == "status")
            obj.setdefault("status", {}).update(write.body.get("status", {}))
        assert write.resource_version == obj["metadata"]["resourceVersion"]
        self._touch(obj)

    # What the job side does -------------------------------------------------------------------

    def stop_pods(self, name: str) -> None:
        """Give the admission back as the job side does after an eviction (kueue-contract 1.13)."""
        evicted = self.conditions(name)["Evicted"]
        self.set_condition(
            name,
            "Requeued",
            status=evicted["reason"] in ("Preempted", "NodeFailures"),
            reason=evicted["reason"],
        )
        self.set_condition(name, "QuotaReserved", status=False, reason="PendingEvaluation")
        self.set_condition(name, "Admitted", status=False, reason="NoReservation")
        obj = self.get("Workload", name)
        obj["status"].pop("admission")
        self._touch(obj)

    def set_condition(self, name: str, kind: str, *, status: bool, reason: str) -> None:
        obj = self.get("Workload", name)
        conditions = obj.setdefault("status", {}).setdefault("conditions", [])
        conditions[:] = [c for c in conditions if c["type"] != kind]
        conditions.append(
            {
                "type": kind,
                "status": "True" if status else "False",
                "reason": reason,
                "message": "",
                "lastTransitionTime": self.now.strftime("%Y-%m-%dT%H:%M:%SZ"),
            }
        )
        self._touch(obj)

    def set_check(self, workload: str, check: str, state: str, **more: Any) -> None:
        obj = self.get("Workload", workload)
        for entry in obj["status"]["admissionChecks"]:
            if entry["name"] == check:
                entry.update({"state": state} | more)
        self._touch(obj)

    # Reading --------------------------------------------------------------------------------

    def conditions(self, name: str) -> dict[str, Json]:
        status = self.get("Workload", name).get("status", {})
        return {c["type"]: c for c in status.get("conditions", [])}

    def condition(self, name: str, kind: str) -> tuple[str, str, str]:
        found = self.conditions(name)[kind]
        return found["status"], found["reason"], found["message"]

    def admitted(self) -> list[str]:
        return sorted(
            name
            for kind, _, name in self.objects
            if kind == "Workload"
            and self.conditions(name).get("Admitted", {}).get("status") == "True"
        )

    def assignment(self, workload: str, pod_set_name: str = "main") -> Json:
        admission = self.get("Workload", workload)["status"]["admission"]
        return next(a for a in admission["podSetAssignments"] if a["name"] == pod_set_name)


def pod_set(name: str, *, count: int = 1, cpu: str = "1", **more: Any) -> Json:
    """A pod set whose pods have one container that requests cpu; `spec` adds to the pod's."""
    container = {"name": "c", "image": "x", "resources": {"requests": {"cpu": cpu}}}
    spec = {"containers": [container]} | more.pop("spec", {})
    return {"name": name, "count": count, "template": {"spec": spec}} | more
