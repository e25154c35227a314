"""A Kueue in memory, of the manager or of a worker: quota, conditions, evictions, checks."""

import datetime
from typing import Any

from tests.kit.memory import kubernetes_model
from tests.kit.memory.kubernetes_model import Object, true

GRACE = 30
START = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)


class Clock:
    """The time of all clusters."""

    def __init__(self) -> None:
        self.now = START

    def stamp(self) -> str:
        return self.now.strftime("%Y-%m-%dT%H:%M:%SZ")


class Refused(Exception):
    """What an API server answers to a write that it does not take."""


class Queue(kubernetes_model.Kubernetes):
    """A cluster whose Kueue admits as many cpus of Workloads as there is ``quota``.

    ``check`` is the AdmissionCheck that each Workload gets, "" for none. While it is ``held`` its
    queue is stopped with HoldAndDrain.
    """

    def __init__(self, name: str, clock: Clock, *, quota: int, check: str = "") -> None:
        super().__init__()
        self.name = name
        self.clock = clock
        self.quota = quota
        self.check = check
        self.held = False
        # Until when a Workload waits after a Retry, by its UID.
        self._requeued: dict[str, datetime.datetime] = {}

    def stamp(self) -> str:
        return self.clock.stamp()

    def store(self, obj: Object) -> None:
        if (obj["kind"], obj["metadata"]["name"]) not in self.objects:
            obj["metadata"].setdefault("creationTimestamp", self.stamp())
            obj["metadata"].setdefault("generation", 1)
        super().store(obj)
        if not obj["metadata"]["uid"].startswith(self.name):
            obj["metadata"]["uid"] = f"{self.name}-{obj['metadata']['uid']}"

    def delete(
        self, kind: str, name: str, *, graceful: bool = False, foreground: bool = False
    ) -> None:
        """Delete an object, whose deletion time is when its grace ends."""
        obj = self.objects.get((kind, name))
        first = obj is not None and "deletionTimestamp" not in obj["metadata"]
        super().delete(kind, name, graceful=graceful, foreground=foreground)
        if obj is not None and first:
            ends = self.clock.now + datetime.timedelta(seconds=GRACE)
            obj["metadata"]["deletionTimestamp"] = ends.strftime("%Y-%m-%dT%H:%M:%SZ")

    # Kueue --------------------------------------------------------------------------------

    def kueue(self) -> None:
        """Let Kueue look at every Workload once, the oldest first."""
        workloads = self.of_kind("Workload")
        for name in sorted(workloads, key=lambda n: workloads[n]["metadata"]["creationTimestamp"]):
            self._look(workloads[name])

    def _look(self, workload: Object) -> None:
        status = workload.setdefault("status", {})
        states = status.get("admissionChecks") or []
        if self.check and not any(one["name"] == self.check for one in states):
            pending = {"name": self.check, "state": "Pending", "message": ""}
            status["admissionChecks"] = [*states, pending]
            self.touch(workload)
            return
        reserved = true(workload, "QuotaReserved")
        if workload["metadata"].get("deletionTimestamp") or true(workload, "Finished"):
            return
        if any(one["state"] == "Retry" for one in states) and reserved:
            self.evict(workload, "AdmissionCheck", "At least one admission check is Retry")
        elif self.held:
            if reserved and not true(workload, "Evicted"):
                self.evict(workload, "ClusterQueueStopped", "The ClusterQueue is stopped")
        elif not workload["spec"].get("active", True):
            if not true(workload, "Evicted"):
                self.evict(workload, "Deactivated", "The workload is deactivated")
        elif not reserved:
            self._reserve(workload)
        elif not (true(workload, "Evicted") or true(workload, "Admitted")) and all(
            one["state"] == "Ready" for one in states
        ):
            self.say(workload, "Admitted", True, "Admitted")

    def _reserve(self, workload: Object) -> None:
        if self.clock.now < self._requeued.get(workload["metadata"]["uid"], self.clock.now):
            return
        if self.used() + cost(workload) > self.quota:
            if not any(c["type"] == "QuotaReserved" for c in _told(workload)):
                self.say(workload, "QuotaReserved", False, "Pending", "no quota")
            return
        workload["status"]["admission"] = {
            "clusterQueue": "cq",
            "podSetAssignments": [
                {"name": one["name"], "count": one["count"], "flavors": {"cpu": "default"}}
                for one in workload["spec"]["podSets"]
            ],
        }
        self.say(workload, "QuotaReserved", True, "QuotaReserved")
        self.say(workload, "Evicted", False, "QuotaReserved")
        if not self.check:
            self.say(workload, "Admitted", True, "Admitted")

    def evict(self, workload: Object, reason: str, message: str) -> None:
        """Evict a Workload: what runs on it has to stop, and its quota stays until it has."""
        status = workload["status"]
        for name in ("clusterName", "nominatedClusterNames"):
            status.pop(name, None)
        for one in status.get("admissionChecks") or []:
            if one["state"] == "Retry":
                one["retryCount"] = one.get("retryCount", 0) + 1
            one.update(state="Pending", message="Reset to Pending after eviction")
            if seconds := one.pop("requeueAfterSeconds", None):
                until = self.clock.now + datetime.timedelta(seconds=seconds)
                self._requeued[workload["metadata"]["uid"]] = until
        self.say(workload, "Evicted", True, reason, message)

    def clear(self, workload: Object) -> None:
        """Do what the side of the job does when an evicted group has stopped."""
        workload["status"].pop("admission", None)
        self.say(workload, "QuotaReserved", False, "Pending", "evicted")
        self.say(workload, "Admitted", False, "NoReservation")

    def used(self) -> int:
        return sum(
            cost(one)
            for one in self.of_kind("Workload").values()
            if true(one, "QuotaReserved") and one["spec"].get("active", True)
        )

    def say(self, workload: Object, kind: str, value: bool, reason: str, text: str = "") -> None:
        status = workload.setdefault("status", {})
        old = next((c for c in _told(workload) if c["type"] == kind), None)
        new: dict[str, Any] = {
            "type": kind,
            "status": "True" if value else "False",
            "reason": reason,
            "message": text,
            "lastTransitionTime": self.stamp(),
        }
        if old is not None and old["status"] == new["status"]:
            if old["reason"] == reason:
                return
            new["lastTransitionTime"] = old["lastTransitionTime"]
        status["conditions"] = [*(c for c in _told(workload) if c["type"] != kind), new]
        self.touch(workload)


def cost(workload: Object) -> int:
    return sum(one["count"] * cpus(one["template"]["spec"]) for one in workload["spec"]["podSets"])


def cpus(spec: Object) -> int:
    return sum(int(one["resources"]["requests"]["cpu"]) for one in spec["containers"])


def _told(workload: Object) -> list[Object]:
    return list((workload.get("status") or {}).get("conditions") or ())
