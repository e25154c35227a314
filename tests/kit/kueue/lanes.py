"""Sets that live their lives side by side, step by step, and what has to be there after each step.

A step is what a person does to a set under quota. Its end is all that is there once everything has
settled; the same step ends the same whatever was killed on the way.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from lws_kueue_lab import sandbox
from lws_kueue_lab.sandbox.recorder import Object

from lws_kueue.api import names
from tests.kit.judge.watcher import Objects, Watcher
from tests.kit.memory import scenarios
from tests.kit.memory.kubernetes_model import true

LWS: Final = (names.LWS_API_VERSION, names.LWS_KIND)
WORKLOAD: Final = (names.KUEUE_API_VERSION, "Workload")
RIVAL: Final = "rival"
HIGH: Final = "killing-high"
# What a set is made of, and what stands for its groups.
_OWN_KINDS: Final = frozenset({"Pod", "StatefulSet", "ControllerRevision", "Workload"})


@dataclass(frozen=True, slots=True)
class End:
    """All that there is of a set after a step."""

    picture: scenarios.Picture | None
    pods: Mapping[str, str]
    workloads: Mapping[str, str]
    others: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """What is done, by its kind; ``ready`` of ``groups`` groups run in the end."""

    kind: str
    do: Callable[["Lane"], None]
    groups: int
    ready: int


@dataclass(slots=True)
class Lane:
    """One set in a namespace of its own.

    Where groups compete for quota, ``interchangeable`` says that Kueue may choose any of them.
    """

    cluster: sandbox.Sandbox
    watcher: Watcher
    namespace: str
    shape: scenarios.Shape
    steps: tuple[Step, ...]
    interchangeable: bool = False

    def end(self, objects: Objects) -> End:
        """Return what there is."""
        live = objects.get((names.LWS_KIND, scenarios.SET))
        own = [obj for obj in objects.values() if obj["kind"] in _OWN_KINDS and _is_of(obj)]
        by_kind = {kind: [o for o in own if o["kind"] == kind] for kind in _OWN_KINDS}
        pods = {o["metadata"]["name"]: _held(o) for o in by_kind["Pod"]}
        workloads = {_index(o): _said(o) for o in by_kind["Workload"]}
        if live is None:
            others = tuple(sorted(f"{o['kind']} {o['metadata']['name']}" for o in own))
            return End(None, pods, workloads, others)
        picture = scenarios.picture(
            live,
            pods=by_kind["Pod"],
            stateful_sets=by_kind["StatefulSet"],
            revisions=by_kind["ControllerRevision"],
        )
        deleted = (o for o in own if "deletionTimestamp" in o["metadata"])
        others = tuple(sorted(f"{o['kind']} {o['metadata']['name']} is going" for o in deleted))
        end = End(picture, pods, workloads, others)
        return _anonymous(end) if self.interchangeable else end

    def look(self) -> tuple[End, int]:
        objects, changes = self.watcher.look(self.namespace)
        return self.end(objects), changes

    def settles(self, step: Step, *, quiet: float, timeout: float) -> End:
        """Wait until the groups are what a step wants, and nothing has happened for a while."""
        deadline = time.monotonic() + timeout
        while True:
            end, changes = self.look()
            self.watcher.wait_change(self.namespace, changes, timeout=quiet)
            if changes == self.look()[1] and _as_wanted(end, step, self.shape):
                return end
            assert time.monotonic() < deadline, f"{self.namespace}: {step.kind}: {end}"

    def comes_to(self, step: Step, expected: End, *, timeout: float) -> None:
        """Wait until a step has come to the end that it has without any kill."""

        def told(objects: Objects) -> str:
            found = self.end(objects)
            return f"after {step.kind} there is\n{found}\nand has to be\n{expected}"

        def same(objects: Objects) -> bool:
            return self.end(objects) == expected

        self.watcher.wait(self.namespace, same, what=told, timeout=timeout)

    # What people do ---------------------------------------------------------------------

    def write(self, shape: scenarios.Shape) -> None:
        self.shape = shape
        self.cluster.api.patch(
            *LWS, scenarios.SET, namespace=self.namespace, body={"spec": shape.spec()}
        )

    def create(self, name: str, shape: scenarios.Shape, *, labels: dict[str, str]) -> None:
        metadata = {"name": name, "namespace": self.namespace, "labels": labels}
        kind = {"apiVersion": names.LWS_API_VERSION, "kind": names.LWS_KIND}
        self.cluster.api.create({**kind, "metadata": metadata, "spec": shape.spec()})

    def workload(self, index: int) -> str:
        objects, _ = self.watcher.look(self.namespace)
        return next(
            str(o["metadata"]["name"])
            for o in objects.values()
            if o["kind"] == "Workload" and _is_of(o) and _index(o) == str(index)
        )

    def patch_queue(self, body: Object) -> None:
        self.cluster.api.patch(
            names.KUEUE_API_VERSION,
            "LocalQueue",
            scenarios.QUEUE,
            namespace=self.namespace,
            body={"spec": body},
        )


# Reading -----------------------------------------------------------------------------------


def _is_of(obj: Object) -> bool:
    """Whether an object is the set's, and not its rival's: told by the names that all have."""
    meta = obj["metadata"]
    labels = meta.get("labels") or {}
    name = (meta.get("annotations") or {}).get(names.JOB_OWNER_NAME) or labels.get(names.SET_NAME)
    if name is None:
        name = str(meta["name"]).partition("-")[0]
    return bool(name == scenarios.SET)


def _index(workload: Object) -> str:
    return str(workload["metadata"]["annotations"].get(names.COMPONENT_WORKLOAD_INDEX))


def _held(pod: Object) -> str:
    gates = [gate["name"] for gate in pod["spec"].get("schedulingGates") or ()]
    return f"gates {gates}, {'on a node' if pod['spec'].get('nodeName') else 'nowhere'}"


def _said(workload: Object) -> str:
    """What is said of a Workload, without what only tells of its past."""
    meta = workload["metadata"]
    kinds = ("QuotaReserved", "Admitted", "Evicted", "PodsReady", "Finished")
    said = [kind for kind in kinds if true(workload, kind)]
    active = workload["spec"].get("active", True)
    admission = "admission" if (workload.get("status") or {}).get("admission") else "no admission"
    return f"{said}, {admission}, active {active}, {meta.get('finalizers')}"


def _anonymous(end: End) -> End:
    """Return an end in which groups have no numbers."""

    def numbered(values: Mapping[str, str]) -> dict[str, str]:
        return {str(n): text for n, text in enumerate(sorted(values.values()))}

    picture = end.picture
    if picture is not None:
        workers = numbered(picture.workers)
        picture = replace(picture, pods=numbered(picture.pods), workers=workers)
    return replace(end, picture=picture, pods=numbered(end.pods), workloads=numbered(end.workloads))


def _as_wanted(end: End, step: Step, shape: scenarios.Shape) -> bool:
    """Whether a step can have come to its end; the rest is for nothing to happen any more."""
    if end.picture is None:
        return step.groups == 0 and not end.others
    ready = sum("'PodsReady'" in said for said in end.workloads.values())
    waiting = step.groups - step.ready
    # Workers that start after their leader are not made while it waits.
    members = 1 if shape.startup == "LeaderReady" else shape.size
    told = "WaitingForAdmission" if waiting else "Available"
    return (
        (len(end.workloads), ready) == (step.groups, step.ready)
        and len(end.pods) == step.ready * shape.size + waiting * members
        and not end.others
        and end.picture.status.endswith(", seen")
        # The status follows its groups with a delay, and is written once a second at most.
        and f"'replicas': {step.groups}, 'readyReplicas': {step.ready}," in end.picture.status
        and told in end.picture.conditions
        and "UpdateInProgress" not in end.picture.conditions
    )


# Lives -------------------------------------------------------------------------------------


def life(*, unit: scenarios.Shape) -> tuple[Step, ...]:
    """Return the life of a set of two groups: created, admitted, grown, rolled, evicted, shrunk."""

    def changed(**fields: Any) -> Callable[[Lane], None]:
        return lambda lane: lane.write(replace(lane.shape, **fields))

    def active(value: bool) -> Callable[[Lane], None]:
        def write(lane: Lane) -> None:
            lane.cluster.api.patch(
                *WORKLOAD,
                lane.workload(1),
                namespace=lane.namespace,
                body={"spec": {"active": value}},
            )

        return write

    return (
        Step("create", lambda lane: _hold_and_create(lane, unit), 2, 0),
        Step("admit", lambda lane: lane.patch_queue({"stopPolicy": "None"}), 2, 2),
        Step("scale up", changed(replicas=3), 3, 3),
        Step("evict", active(False), 3, 2),
        Step("admit", active(True), 3, 3),
        Step("roll", changed(version=2), 3, 3),
        Step("scale down", changed(replicas=1), 1, 1),
        Step("delete", _delete, 0, 0),
    )


def contest(*, unit: scenarios.Shape) -> tuple[Step, ...]:
    """Return the life of a set that fills its quota, and loses some to a rival for a while."""
    rival = replace(unit, replicas=1)
    high = {**rival.labels, names.PRIORITY_CLASS: HIGH}
    return (
        Step("create", lambda lane: _create(lane, unit), 3, 3),
        Step("evict", lambda lane: lane.create(RIVAL, rival, labels=high), 3, 2),
        Step("admit", _delete_rival, 3, 3),
        Step("roll", lambda lane: lane.write(replace(lane.shape, version=2)), 3, 3),
        Step("scale up", lambda lane: lane.write(replace(lane.shape, replicas=4)), 4, 3),
        Step("scale down", lambda lane: lane.write(replace(lane.shape, replicas=2)), 2, 2),
        Step("delete", _delete, 0, 0),
    )


def _create(lane: Lane, shape: scenarios.Shape) -> None:
    lane.shape = shape
    lane.create(scenarios.SET, shape, labels=shape.labels)


def _hold_and_create(lane: Lane, shape: scenarios.Shape) -> None:
    lane.patch_queue({"stopPolicy": "Hold"})
    _create(lane, shape)


def _delete(lane: Lane) -> None:
    lane.cluster.api.delete(*LWS, scenarios.SET, namespace=lane.namespace)


def _delete_rival(lane: Lane) -> None:
    lane.cluster.api.delete(*LWS, RIVAL, namespace=lane.namespace)


def shapes() -> Iterable[scenarios.Shape]:
    """Return the sets of the lives side by side, each in one way unlike the others."""
    usual = scenarios.Shape(replicas=2, size=2, queue=scenarios.QUEUE)
    yield usual
    yield replace(usual, size=3, leader=True)
    yield replace(usual, size=1)
    yield replace(usual, unavailable=2)
    yield replace(usual, unavailable=0, surge=1)
    yield replace(usual, size=3, startup="LeaderReady")
