"""The set that the rows of the contract are about, and what a client can read of it.

The rows' base object is `test-sample` with two groups of two pods (lws-contract 6). Upstream's
tests set the status of pods by hand; here the pods are real ones on nodes that kwok plays. A
*held* set has leaders that run and do not become ready until a test releases them, so that a test
can stop at each step of a start or a rollout.
"""

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from lws_kueue_lab import sandbox
from lws_kueue_lab.sandbox import stages

from lws_kueue.api import names
from tests.kit.builders import sets as build
from tests.kit.live import harness

LWS = (names.LWS_API_VERSION, names.LWS_KIND)
NAME = "test-sample"
HELD = {stages.BEHAVIOUR: stages.NEVER_READY}

Object = dict[str, Any]
# Partition and replicas of the leader StatefulSet, ready groups, updated groups.
Stage = tuple[int, int, int, int]


def base(
    namespace: str,
    *,
    replicas: int = 2,
    size: int = 2,
    held: bool = False,
    annotations: dict[str, str] | None = None,
    template: dict[str, Any] | None = None,
    **spec: Any,
) -> Object:
    """Return the rows' base object; ``template`` and ``spec`` add to its group template and spec.

    ``held`` says that its leaders are not ready before they are released.
    """

    def _template(container: str, behaviour: dict[str, str], **more: Any) -> Object:
        made = build.container(container, harness.IMAGE, requests={"cpu": "10m"}, **more)
        return build.pod_template(made, annotations=behaviour)

    return build.leader_worker_set(
        NAME,
        namespace=namespace,
        replicas=replicas,
        size=size,
        leader=_template("leader", HELD if held else {}),
        worker=_template("worker", {}, ports=[{"containerPort": 8080, "protocol": "TCP"}]),
        annotations=annotations,
        group=template,
        **spec,
    )


def rollout(*, unavailable: int = 1, surge: int = 0, partition: int = 0) -> Object:
    """Return a rollout strategy."""
    return build.rolling(unavailable=unavailable, surge=surge, partition=partition)


@dataclass(frozen=True, slots=True)
class Sample:
    """A set in a namespace that has no other set, read afresh at every call."""

    cluster: sandbox.Sandbox
    namespace: str
    name: str = NAME

    # Reading ----------------------------------------------------------------------------------

    def get(self) -> Object:
        """Return the set."""
        return self.cluster.api.get(*LWS, self.name, namespace=self.namespace)

    def stateful_sets(self) -> dict[str, Object]:
        """Return the StatefulSets that carry the set's label, by name."""
        return self._labelled("apps/v1", "StatefulSet")

    def leader_set(self) -> Object:
        """Return the leader StatefulSet."""
        found = self.stateful_sets()
        assert self.name in found, f"no leader StatefulSet, only {sorted(found)}"
        return found[self.name]

    def worker_sets(self) -> dict[int, Object]:
        """Return the worker StatefulSets by group."""
        found = self.stateful_sets()
        return {group_of(name): obj for name, obj in found.items() if name != self.name}

    def pods(self) -> dict[str, Object]:
        """Return the pods that carry the set's label, by name."""
        return self._labelled("v1", "Pod")

    def leader(self, group: int) -> Object:
        """Return the leader pod of a group."""
        return self.cluster.api.get("v1", "Pod", f"{self.name}-{group}", namespace=self.namespace)

    def services(self) -> dict[str, Object]:
        """Return all Services of the namespace, by name."""
        found = self.cluster.api.list("v1", "Service", namespace=self.namespace)
        return {obj["metadata"]["name"]: obj for obj in found}

    def revisions(self) -> list[Object]:
        """Return the set's own ControllerRevisions; StatefulSets keep others beside them."""
        uid = self.get()["metadata"]["uid"]
        return [
            obj
            for obj in self._labelled("apps/v1", "ControllerRevision").values()
            if any(ref["uid"] == uid for ref in obj["metadata"].get("ownerReferences", ()))
        ]

    def events(self) -> list[tuple[str, str]]:
        """Return reason and text of the events on the set, the oldest first."""
        found = self.cluster.api.list("events.k8s.io/v1", "Event", namespace=self.namespace)
        ours = [event for event in found if event["regarding"].get("name") == self.name]
        ours = [event for event in ours if event["regarding"].get("kind") == names.LWS_KIND]
        ours.sort(key=lambda event: str(event["eventTime"]))
        return [(event["reason"], event["note"]) for event in ours]

    def stage(self) -> Stage:
        """Return how far a rollout has come."""
        leader_set = self.leader_set()
        return stage_of(self.get(), leader_set)

    def _labelled(self, api_version: str, kind: str) -> dict[str, Object]:
        selector = f"{names.SET_NAME}={self.name}"
        found = self.cluster.api.list(
            api_version, kind, namespace=self.namespace, label_selector=selector
        )
        return {obj["metadata"]["name"]: obj for obj in found}

    # Changing ---------------------------------------------------------------------------------

    def patch(self, spec: Object) -> None:
        """Merge something into the set's spec."""
        self.cluster.api.patch(*LWS, self.name, namespace=self.namespace, body={"spec": spec})

    def scale(self, replicas: int) -> None:
        """Change the number of groups."""
        self.patch({"replicas": replicas})

    def change_templates(
        self, version: str, *, worker: str = "worker", replicas: int | None = None, **template: Any
    ) -> None:
        """Give both templates an environment variable of a new value, hence a new revision.

        ``worker`` is the name of the workers' container; ``template`` adds to the group template.
        With ``replicas`` the number of groups changes in the same moment.
        """
        changed: Object = dict(template)
        for field in ("leaderTemplate", "workerTemplate"):
            pod = self.get()["spec"]["leaderWorkerTemplate"][field]
            first, *others = pod["spec"]["containers"]
            first = first | {"env": [{"name": "VERSION", "value": version}]}
            if field == "workerTemplate":
                first["name"] = worker
            changed[field] = {"spec": {"containers": [first, *others]}}
        self.patch(
            {"leaderWorkerTemplate": changed} | ({} if replicas is None else {"replicas": replicas})
        )

    def release(self, *groups: int) -> None:
        """Let the leaders of groups become ready, once those that an update takes have gone."""
        spec = self.leader_set()["spec"]
        partition = spec["updateStrategy"].get("rollingUpdate", {}).get("partition", 0)
        key = spec["template"]["metadata"]["labels"][names.REVISION_KEY]

        def stays(pod: Object | None, group: int) -> bool:
            """Whether the pod is the one that an update leaves; an old one may go later."""
            if pod is None or "deletionTimestamp" in pod["metadata"]:
                return False
            return group < partition or bool(
                pod["metadata"]["labels"].get(names.REVISION_KEY) == key
            )

        for group in groups:
            self.cluster.api.wait_for(
                "v1",
                "Pod",
                f"{self.name}-{group}",
                functools.partial(stays, group=group),
                namespace=self.namespace,
                what=f"leader {group} is the one that stays",
            )
        self._behave(groups, None)

    def hold(self, *groups: int) -> None:
        """Make the leaders of groups unready."""
        self._behave(groups, stages.NEVER_READY)

    def _behave(self, groups: tuple[int, ...], behaviour: str | None) -> None:
        for group in groups:
            self.annotate(f"{self.name}-{group}", {stages.BEHAVIOUR: behaviour})

    def annotate(self, pod: str, annotations: dict[str, str | None]) -> None:
        """Change annotations of a pod, which tell kwok how to play it."""
        body = {"metadata": {"annotations": annotations}}
        self.cluster.api.patch("v1", "Pod", pod, namespace=self.namespace, body=body)

    def delete_pod(self, pod: str) -> None:
        """Delete a pod as `kubectl delete` does."""
        self.cluster.api.delete("v1", "Pod", pod, namespace=self.namespace)

    def recording(self, api_version: str, kind: str) -> AbstractContextManager[harness.Recording]:
        """Record every version of the namespace's objects of a kind."""
        return harness.recording(self.cluster, api_version, kind, namespace=self.namespace)


def create(cluster: sandbox.Sandbox, namespace: str, **options: Any) -> Sample:
    """Create the base object with ``options`` of `base`."""
    cluster.api.create(base(namespace, **options))
    return Sample(cluster, namespace)


def stage_of(obj: Object, leader_set: Object) -> Stage:
    """Return how far a rollout has come, from a set and its leader StatefulSet."""
    spec, status = leader_set["spec"], obj.get("status") or {}
    assert status.get("observedGeneration") == obj["metadata"]["generation"], "not yet seen"
    return (
        spec["updateStrategy"].get("rollingUpdate", {}).get("partition", 0),
        spec["replicas"],
        status.get("readyReplicas", 0),
        status.get("updatedReplicas", 0),
    )


def first_seen(
    record: harness.Recording, holds: Callable[[Object], bool] = lambda _: True
) -> dict[str, int]:
    """Return in which version of the store each recorded object was first seen to hold so."""
    seen: dict[str, int] = {}
    for event in record.events:
        meta = event["object"]["metadata"]
        if event["type"] != "DELETED" and holds(event["object"]):
            seen.setdefault(meta["name"], int(meta["resourceVersion"]))
    return seen


def incarnations(record: harness.Recording, name: str) -> list[str]:
    """Return the UIDs that objects of a name had one after the other."""
    found = [e["object"]["metadata"] for e in record.events]
    return list(dict.fromkeys(meta["uid"] for meta in found if meta["name"] == name))


def group_of(name: str) -> int:
    """Return the group that the name of a leader pod or of a worker StatefulSet tells."""
    return int(name.rpartition("-")[2])
