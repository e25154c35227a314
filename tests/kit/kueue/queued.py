"""A set in a queue: what a client sees of its groups, and what people do to its Workloads."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from lws_kueue_lab import sandbox

from lws_kueue.api import names
from tests.kit.live import harness
from tests.kit.lws import sets
from tests.kit.lws.sample import LWS, Object, Sample

WORKLOAD = (names.KUEUE_API_VERSION, "Workload")

# The label that the flavor of the rows asks for (kueue-contract 5.8).
ON_DEMAND = {"instance-type": "on-demand"}
PREEMPTION = {"withinClusterQueue": "LowerPriority"}

TIMEOUT = 120.0


@dataclass(frozen=True, slots=True)
class Queued(Sample):
    """A set whose groups wait for Kueue, read afresh at every call."""

    # Reading ----------------------------------------------------------------------------------

    def workloads(self) -> dict[int, Object]:
        """Return the Workloads of the set by group."""
        found = self.cluster.api.list(*WORKLOAD, namespace=self.namespace)
        return by_group({obj["metadata"]["name"]: obj for obj in found}, self.name)

    def workload(self, group: int) -> Object:
        """Return the Workload of a group, which comes when the group's pods are there."""
        return self.wait_workload(group, lambda _: True, what="is there")

    def pods_of(self, group: int) -> dict[str, Object]:
        """Return the pods of a group by name."""
        return {name: pod for name, pod in self.pods().items() if _in_group(pod, group)}

    def uids_of(self, group: int) -> dict[str, str]:
        """Return which pod of a group has which name, to tell it from its successor."""
        return {name: pod["metadata"]["uid"] for name, pod in self.pods_of(group).items()}

    # Waiting ----------------------------------------------------------------------------------

    def wait_ready(self, groups: int, *, timeout: float = TIMEOUT) -> Object:
        """Wait until exactly ``groups`` groups are ready."""
        return harness.wait_ready(
            self.cluster, self.name, namespace=self.namespace, groups=groups, timeout=timeout
        )

    def wait_set(self, holds: Callable[[Object], Any], *, what: str) -> Object:
        """Wait until something holds for the set, whose status tells of its spec as it is now."""
        return harness.wait_status(
            self.cluster, self.name, holds, namespace=self.namespace, what=what, timeout=TIMEOUT
        )

    def wait_told(self, *texts: str) -> str:
        """Wait until the set says that groups wait, with all ``texts``; return the message."""

        def told(seen: Object) -> bool:
            said = harness.condition(seen, "WaitingForAdmission")
            return said is not None and all(text in said["message"] for text in texts)

        found = self.wait_set(told, what=f"WaitingForAdmission says {texts}")
        return str((harness.condition(found, "WaitingForAdmission") or {})["message"])

    def wait_workloads(
        self, holds: Callable[[dict[int, Object]], Any], *, what: str, timeout: float = TIMEOUT
    ) -> dict[int, Object]:
        """Wait until something holds for the Workloads of the set, given by group."""
        found = self.cluster.api.wait_for_all(
            *WORKLOAD,
            lambda seen: holds(by_group(dict(seen), self.name)),
            namespace=self.namespace,
            timeout=timeout,
            what=f"{self.name}: {what}",
        )
        return by_group(found, self.name)

    def wait_workload(
        self, group: int, holds: Callable[[Object], Any], *, what: str, timeout: float = TIMEOUT
    ) -> Object:
        """Wait until something holds for the Workload of a group."""
        found = self.wait_workloads(
            lambda seen: group in seen and holds(seen[group]),
            what=f"the Workload of group {group} {what}",
            timeout=timeout,
        )
        return found[group]

    def wait_admitted(self, group: int = 0) -> Object:
        """Wait until a group is admitted."""
        return self.wait_workload(group, lambda seen: is_true(seen, "Admitted"), what="is admitted")

    def wait_given_back(self, group: int, reason: str, *, timeout: float = TIMEOUT) -> Object:
        """Wait until a group is evicted for a reason and has given its quota back."""

        def given_back(seen: Object) -> bool:
            status, why = said(seen, "Evicted")
            return (status, why) == ("True", reason) and not is_true(seen, "QuotaReserved")

        what = f"is evicted ({reason}) and has no quota"
        return self.wait_workload(group, given_back, what=what, timeout=timeout)

    def wait_pods(
        self,
        group: int,
        holds: Callable[[dict[str, Object]], Any],
        *,
        what: str,
        timeout: float = TIMEOUT,
    ) -> None:
        """Wait until something holds for the pods of a group."""
        harness.wait_pods(
            self.cluster,
            lambda seen: holds(self._members(seen, group)),
            namespace=self.namespace,
            timeout=timeout,
            what=f"{self.name}, group {group}: {what}",
        )

    def wait_gated(self, group: int, *, pods: int, timeout: float = TIMEOUT) -> None:
        """Wait until a group is so many pods, every one of them held by the admission gate."""

        def held(found: dict[str, Object]) -> bool:
            return len(found) == pods and all(is_held(pod) for pod in found.values())

        self.wait_pods(group, held, what=f"{pods} gated pods", timeout=timeout)

    def wait_running(self, group: int, *, pods: int) -> None:
        """Wait until a group is so many pods that run and are ready, none on its way out."""

        def running(found: dict[str, Object]) -> bool:
            return len(found) == pods and all(runs(pod) for pod in found.values())

        self.wait_pods(group, running, what=f"{pods} running pods")

    def wait_warning(self, reason: str, text: str) -> None:
        """Wait until a Warning event on the set tells something."""
        self.wait_event(reason, text, kind="Warning")

    def wait_event(self, reason: str, text: str, *, kind: str = "Normal") -> None:
        """Wait until an event on the set tells something."""

        def told(event: Object) -> bool:
            about = event["regarding"]
            return (
                (about.get("kind"), about.get("name")) == (names.LWS_KIND, self.name)
                and (event["type"], event["reason"]) == (kind, reason)
                and text in event["note"]
            )

        self.cluster.api.wait_for_all(
            "events.k8s.io/v1",
            "Event",
            lambda seen: any(told(event) for event in seen.values()),
            namespace=self.namespace,
            what=f"a {kind} event {reason} on {self.name} that says {text!r}",
        )

    # Doing ------------------------------------------------------------------------------------

    def label(self, **labels: str) -> None:
        """Change labels of the set; underscores in place of what Python does not allow."""
        body = {"metadata": {"labels": {KEYS[key]: value for key, value in labels.items()}}}
        self.cluster.api.patch(*LWS, self.name, namespace=self.namespace, body=body)

    def switch(self, group: int, *, active: bool) -> None:
        """Deactivate the Workload of a group, or activate it."""
        self.patch_workload(group, {"spec": {"active": active}})

    def patch_workload(self, group: int, body: Object) -> None:
        """Merge something into the Workload of a group."""
        name = self.workload(group)["metadata"]["name"]
        self.cluster.api.patch(*WORKLOAD, name, namespace=self.namespace, body=body)

    def delete_workload(self, group: int) -> None:
        """Delete the Workload of a group as `kubectl delete` does."""
        name = self.workload(group)["metadata"]["name"]
        self.cluster.api.delete(*WORKLOAD, name, namespace=self.namespace)

    def delete(self) -> None:
        """Delete the set."""
        self.cluster.api.delete(*LWS, self.name, namespace=self.namespace)

    def delete_and_leave_nothing(self) -> None:
        """Delete the set; its pods go, and its Workloads with them."""
        self.delete()
        labelled = f"{names.SET_NAME}={self.name}"
        self.cluster.api.wait_for_all(
            "v1",
            "Pod",
            lambda seen: not seen,
            namespace=self.namespace,
            label_selector=labelled,
            timeout=TIMEOUT,
            what=f"no pods of {self.name}",
        )
        self.wait_workloads(lambda seen: not seen, what="no Workloads")

    def watching(self) -> AbstractContextManager[harness.Recording]:
        """Record every version of the namespace's Workloads."""
        return self.recording(*WORKLOAD)

    def _members(self, found: dict[str, Object], group: int) -> dict[str, Object]:
        return {
            name: pod
            for name, pod in found.items()
            if _in_group(pod, group) and pod["metadata"]["labels"][names.SET_NAME] == self.name
        }


# What `Queued.label` calls the labels.
KEYS = {
    "queue": names.QUEUE_NAME,
    "priority_class": names.PRIORITY_CLASS,
}


def create(
    cluster: sandbox.Sandbox,
    name: str = "lws",
    *,
    namespace: str,
    queue: str,
    replicas: int = 1,
    size: int = 3,
    cpu: str = "200m",
    grace: int = 1,
    priority_class: str | None = None,
    labels: dict[str, str] | None = None,
    change: Callable[[Object], None] | None = None,
    **options: Any,
) -> Queued:
    """Create a set in a queue; ``change`` edits it before, ``options`` are of the harness."""
    body = harness.leader_worker_set(
        name,
        namespace=namespace,
        queue=queue,
        replicas=replicas,
        size=size,
        cpu=cpu,
        **options,
    )
    if priority_class:
        body["metadata"]["labels"][names.PRIORITY_CLASS] = priority_class
    body["metadata"]["labels"] |= labels or {}
    for pod in sets.templates(body):
        pod["spec"]["terminationGracePeriodSeconds"] = grace
    if change is not None:
        change(body)
    cluster.api.create(body)
    return Queued(cluster, namespace, name)


def by_group(workloads: dict[str, Object], set_name: str) -> dict[int, Object]:
    """Return the Workloads of a set by group."""
    return {
        int(obj["metadata"]["annotations"][names.COMPONENT_WORKLOAD_INDEX]): obj
        for obj in workloads.values()
        if (obj["metadata"].get("annotations") or {}).get(names.JOB_OWNER_NAME) == set_name
    }


def _in_group(pod: Object, group: int) -> bool:
    return bool((pod["metadata"].get("labels") or {}).get(names.GROUP_INDEX) == str(group))


def said(obj: Object, kind: str) -> tuple[str, str]:
    """Return status and reason of a condition, two empty texts without one."""
    found = harness.condition(obj, kind) or {}
    return str(found.get("status", "")), str(found.get("reason", ""))


def is_true(obj: Object, kind: str) -> bool:
    """Whether a condition is True."""
    return said(obj, kind)[0] == "True"


def is_held(pod: Object) -> bool:
    """Whether a pod waits at the admission gate, and is there to stay."""
    waits = names.ADMISSION_GATE in harness.gates(pod) and "nodeName" not in pod["spec"]
    return waits and "deletionTimestamp" not in pod["metadata"]


def runs(pod: Object) -> bool:
    """Whether a pod runs and is ready, and is there to stay."""
    return (
        (pod.get("status") or {}).get("phase") == "Running"
        and harness.is_ready(pod)
        and "deletionTimestamp" not in pod["metadata"]
    )
