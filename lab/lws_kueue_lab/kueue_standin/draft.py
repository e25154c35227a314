"""The status of a Workload while a pass works on it.

The transitions are those of Kueue (kueue-contract 1.13, 2.3, 2.4 and 2.7): a draft starts as a
copy of the status seen, transitions change it, and what is sent is always the whole set of
fields that the field manager ``kueue-admission`` answers for.
"""

import copy
import datetime
from collections.abc import Sequence
from typing import Any, Final

from lws_kueue.simulator import objects

Json = dict[str, Any]

# The conditions that go into every write. PodsReady is the job side's, but Kueue carries it.
_MANAGED: Final = (
    "QuotaReserved",
    "BlockedOnPreemptionGates",
    "Evicted",
    "Admitted",
    "Preempted",
    "Requeued",
    "DeactivationTarget",
    "Finished",
    "PodsReady",
)

_FIELDS: Final = (
    "admission",
    "requeueState",
    "admissionChecks",
    "resourceRequests",
    "accumulatedPastExecutionTimeSeconds",
    "schedulingStats",
    "clusterName",
    "nominatedClusterNames",
    "unhealthyNodes",
    "preemptionGates",
)


def timestamp(moment: datetime.datetime) -> str:
    """Write a time as the API does, to the second."""
    return moment.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Draft:
    """A mutable copy of a Workload's status."""

    def __init__(self, workload: objects.Workload, now: datetime.datetime) -> None:
        self.workload = workload
        self.now = now
        self.status: Json = copy.deepcopy(dict(workload.status))
        self.status.setdefault("conditions", [])

    # Reading ----------------------------------------------------------------------------------

    def condition(self, kind: str) -> Json | None:
        """The condition of this type."""
        return next((c for c in self.status["conditions"] if c["type"] == kind), None)

    def is_true(self, kind: str) -> bool:
        """Whether a condition is True."""
        return (self.condition(kind) or {}).get("status") == "True"

    def is_false(self, kind: str, *reasons: str) -> bool:
        """Whether a condition is False, with one of ``reasons`` if any are given."""
        found = self.condition(kind) or {}
        return found.get("status") == "False" and (not reasons or found.get("reason") in reasons)

    def since(self, kind: str) -> float:
        """Seconds since the condition got its present status; 0 if there is none."""
        found = self.condition(kind)
        if not found:
            return 0.0
        return (self.now - objects.parse_time(found["lastTransitionTime"])).total_seconds()

    @property
    def checks(self) -> list[Json]:
        """The states of the admission checks."""
        checks: list[Json] = self.status.setdefault("admissionChecks", [])
        return checks

    def checks_in(self, state: str) -> list[Json]:
        """The checks in one state, by name."""
        found = [check for check in self.checks if check["state"] == state]
        return sorted(found, key=lambda check: str(check["name"]))

    @property
    def changed(self) -> bool:
        """Whether anything differs from what was seen."""
        return self.managed() != _managed(self.workload.status)

    def managed(self) -> Json:
        """The status fields to send."""
        return _managed(self.status)

    # Transitions ------------------------------------------------------------------------------

    def set(self, kind: str, status: bool, reason: str, message: str) -> None:
        """Set a condition; its time of transition moves only with its status."""
        new = {
            "type": kind,
            "status": "True" if status else "False",
            "reason": reason,
            "message": message,
            "observedGeneration": self.workload.meta.generation,
            "lastTransitionTime": timestamp(self.now),
        }
        old = self.condition(kind)
        if old is None:
            self.status["conditions"].append(new)
            return
        same = (old["status"], old["reason"], old["message"])
        if old["status"] == new["status"]:
            new["lastTransitionTime"] = old["lastTransitionTime"]
        if same != (new["status"], reason, message):
            old.update(new)

    def evict(self, reason: str, message: str, *, cause: str = "") -> None:
        """Ask the job side to stop the pods. The quota stays reserved until it has.

        ``cause`` is counted in the statistics; only a deactivation also names it as reason.
        """
        named = f"{reason}DueTo{cause}" if cause and reason == "Deactivated" else reason
        self.set("Evicted", True, named, message)
        for field in ("clusterName", "nominatedClusterNames", "unhealthyNodes"):
            self.status.pop(field, None)
        for check in self.checks:
            _reset(check, self.now)
        self._count_eviction(reason, cause)

    def _count_eviction(self, reason: str, cause: str) -> None:
        evictions = self.status.setdefault("schedulingStats", {}).setdefault("evictions", [])
        for entry in evictions:
            if (entry["reason"], entry["underlyingCause"]) == (reason, cause):
                entry["count"] += 1
                return
        evictions.append({"reason": reason, "underlyingCause": cause, "count": 1})

    def reserve(self, admission: Json) -> None:
        """Reserve quota; an eviction is over from here on."""
        self.status["admission"] = admission
        self.status.pop("resourceRequests", None)
        message = f"Quota reserved in ClusterQueue {admission['clusterQueue']}"
        self.set("QuotaReserved", True, "QuotaReserved", message)
        for kind in ("Evicted", "Preempted"):
            previous = self.condition(kind)
            if previous and previous["status"] == "True":
                self.set(kind, False, "QuotaReserved", f"Previously: {previous['message']}")

    def refuse(self, reason: str, message: str) -> None:
        """Say why there is no quota, giving up a reservation if there was one."""
        self.status.pop("admission", None)
        self.set("QuotaReserved", False, reason, message)
        self.sync_admitted()

    def sync_admitted(self) -> None:
        """Derive Admitted from the reservation and the admission checks.

        Like Kueue by default, a Workload that never was admitted does not get the condition.
        """
        reserved = self.is_true("QuotaReserved")
        checked = len(self.checks_in("Ready")) == len(self.checks)
        if self.is_true("Admitted") == (reserved and checked):
            return
        if reserved and checked:
            self.set("Admitted", True, "Admitted", "The workload is admitted")
        elif reserved:
            self._not_admitted("UnsatisfiedChecks", "The workload has not all checks ready")
        elif checked:
            self._not_admitted("NoReservation", "The workload has no reservation")
        else:
            message = "The workload has no reservation and not all checks ready"
            self._not_admitted("NoReservationUnsatisfiedChecks", message)

    def _not_admitted(self, reason: str, message: str) -> None:
        before = self.status.get("accumulatedPastExecutionTimeSeconds") or 0
        self.status["accumulatedPastExecutionTimeSeconds"] = before + int(self.since("Admitted"))
        self.set("Admitted", False, reason, message)

    def requeue(self, reason: str, message: str) -> None:
        """Let the Workload compete for quota again."""
        self.set("Requeued", True, reason, message)

    def require_checks(self, wanted: Sequence[str]) -> None:
        """Have exactly these admission checks; new ones start Pending."""
        known = {check["name"]: check for check in self.checks}
        fresh = {"state": "Pending", "message": "", "lastTransitionTime": timestamp(self.now)}
        checks = [known.get(name) or {"name": name} | fresh for name in sorted(wanted)]
        if checks != self.checks:
            self.status["admissionChecks"] = checks

    def wait_until(self, moment: datetime.datetime, *, count: bool) -> None:
        """Keep the Workload out of the queue until ``moment``."""
        state = self.status.setdefault("requeueState", {})
        known = state.get("requeueAt")
        if known is None or objects.parse_time(known) < moment:
            state["requeueAt"] = timestamp(moment)
        if count:
            state["count"] = state.get("count", 0) + 1


def _reset(check: Json, now: datetime.datetime) -> None:
    """Send a check back to Pending after an eviction."""
    if check["state"] == "Pending":
        return
    state, retries = check["state"], check.pop("retryCount", 0)
    check.pop("podSetUpdates", None)
    check["state"] = "Pending"
    check["message"] = f"Reset to Pending after eviction. Previously: {state}"
    check["lastTransitionTime"] = timestamp(now)
    if state == "Retry":
        check["retryCount"] = retries + 1


def _managed(status: objects.Object) -> Json:
    kept = {key: status[key] for key in _FIELDS if status.get(key) not in (None, [], {})}
    found = {c["type"]: c for c in status.get("conditions") or ()}
    kept["conditions"] = [found[kind] for kind in _MANAGED if kind in found]
    return kept
