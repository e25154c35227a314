"""Sets of a manager that live their lives in its workers, step by step, and how each step ends.

A step is what a person does to a set, to one of its groups, or to the clusters. Its end is all that
is there of the set in all clusters once everything has settled; the same step ends the same
whatever was killed on the way. Which worker a group comes to is not part of it.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from lws_kueue_lab import sandbox, worker_clusters
from lws_kueue_lab.sandbox.recorder import Object

from lws_kueue.api import names
from tests.kit.judge import watcher
from tests.kit.kueue import hunting
from tests.kit.live import harness
from tests.kit.memory import scenarios
from tests.kit.memory.kubernetes_model import true
from tests.kit.multikueue import watching

LWS: Final = (names.LWS_API_VERSION, names.LWS_KIND)
WORKLOAD: Final = (names.KUEUE_API_VERSION, "Workload")
_OF_A_SET: Final = frozenset({"Pod", "StatefulSet", "Workload", names.LWS_KIND})


@dataclass(frozen=True, slots=True)
class GroupEnd:
    """What there is of a group: what its Workload says, and what stands for it where.

    ``offers`` and ``runs`` count Workloads and sets of it in all workers, ``at_home`` says whether
    they are in the one that its Workload names; ``pods`` are those there, ``here`` those of the
    manager.
    """

    said: str
    placed: bool
    offers: int
    runs: int
    at_home: bool
    pods: tuple[str, ...]
    here: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class End:
    """All that there is of a set after a step; ``others`` is what is none of its groups'."""

    status: str
    groups: Mapping[str, GroupEnd]
    others: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """What is done, by its kind; ``ready`` of ``groups`` groups run in the end.

    ``without`` is a worker in which nothing of the set is then.
    """

    kind: str
    do: Callable[["Lane"], None]
    groups: int
    ready: int
    without: str = ""


@dataclass(slots=True)
class Lane:
    """One set, in a namespace of its own and with a check of its own, so that it can be drained."""

    manager: sandbox.Sandbox
    workers: Mapping[str, sandbox.Sandbox]
    watch: watching.Watch
    namespace: str
    shape: scenarios.Shape
    steps: tuple[Step, ...]

    def end(self, seen: watching.Everywhere) -> End:
        """Return what there is."""
        here, there = seen[""], {name: seen[name] for name in self.workers}
        live = here.get((names.LWS_KIND, scenarios.SET))
        workloads = {_index_here(one): one for one in _of_kind(here, "Workload")}
        groups = {index: _group(index, one, here, there) for index, one in workloads.items()}
        others = [*_going(seen)]
        for name, objects in there.items():
            others += [
                f"{one['kind']} {one['metadata']['name']} in {name}"
                for one in objects.values()
                if one["kind"] in watching.JUDGED and _index_there(one) not in workloads
            ]
        if live is None:
            others += [f"{kind} {name}" for kind, name in here if kind in _OF_A_SET]
        return End(_status(live), groups, tuple(sorted(others)))

    def settles(self, step: Step, *, quiet: float, timeout: float) -> End:
        """Wait until the groups are what a step wants, and nothing has happened for a while."""
        deadline = time.monotonic() + timeout
        while True:
            seen, changes = self.watch.look(self.namespace)
            end = self.end(seen)
            self.watch.wait_change(self.namespace, changes, timeout=quiet)
            still = changes == self.watch.look(self.namespace)[1]
            if still and self._as_wanted(end, step) and not self._left(step, seen):
                return end
            assert time.monotonic() < deadline, f"{self.namespace}: {step.kind}: {end}"

    def comes_to(self, step: Step, expected: End, *, timeout: float) -> None:
        """Wait until a step has come to the end that it has without any kill."""

        def told(seen: watching.Everywhere) -> str:
            left = self._left(step, seen)
            return (
                f"after {step.kind} there is\n{self.end(seen)}\n{left}\nand has to be\n{expected}"
            )

        def same(seen: watching.Everywhere) -> bool:
            return self.end(seen) == expected and not self._left(step, seen)

        self.watch.wait(self.namespace, same, what=told, timeout=timeout)

    def _left(self, step: Step, seen: watching.Everywhere) -> list[str]:
        """Return what is left in the worker in which nothing is to be."""
        objects = seen[step.without] if step.without else {}
        return [f"{kind} {name}" for kind, name in objects if kind in watching.JUDGED]

    def _as_wanted(self, end: End, step: Step) -> bool:
        """Whether a step can have come to its end; the rest is for nothing to happen any more."""
        if step.groups == 0:
            return not end.status and not end.groups and not end.others
        running = [one for one in end.groups.values() if _runs(one, size=self.shape.size)]
        # Kueue takes back what it has admitted with a delay.
        resting = [one for one in end.groups.values() if one.said.startswith("[]")]
        return (
            (len(end.groups), len(running)) == (step.groups, step.ready)
            and len(running) + len(resting) == step.groups
            and not end.others
            and f"replicas {step.groups}, ready {step.ready}," in end.status
            and end.status.endswith(", seen")
            and "UpdateInProgress" not in end.status
        )

    # What people do ---------------------------------------------------------------------

    def create(self, shape: scenarios.Shape) -> None:
        """Make the set."""
        self.shape = shape
        metadata = {"name": scenarios.SET, "namespace": self.namespace, "labels": shape.labels}
        kind = {"apiVersion": names.LWS_API_VERSION, "kind": names.LWS_KIND}
        self.manager.api.create({**kind, "metadata": metadata, "spec": shape.spec()})

    def write(self, **fields: Any) -> None:
        """Change the set."""
        self.shape = replace(self.shape, **fields)
        self.manager.api.patch(
            *LWS, scenarios.SET, namespace=self.namespace, body={"spec": self.shape.spec()}
        )

    def delete(self) -> None:
        """Delete the set."""
        self.manager.api.delete(*LWS, scenarios.SET, namespace=self.namespace)

    def configure(self, workers: list[str]) -> None:
        """Name the workers of the set's check."""
        self.manager.api.apply(worker_clusters.configured(workers, check=self.namespace))

    def switch(self, index: int, *, active: bool) -> None:
        """Switch a group off in the manager, or on again."""
        seen, _ = self.watch.look(self.namespace)
        one = _workload_here(seen, str(index))
        self._activate(self.manager, one, active=active)

    def evict_there(self, index: int) -> None:
        """Switch a group off in its worker, and wait until its Workload there is gone."""
        seen, _ = self.watch.look(self.namespace)
        home = _workload_here(seen, str(index))["status"]["clusterName"]
        (offer,) = (
            one for one in _of_kind(seen[home], "Workload") if _index_there(one) == str(index)
        )
        self._activate(self.workers[home], offer, active=False)
        uid = offer["metadata"]["uid"]

        def gone(now: watching.Everywhere) -> bool:
            return all(one["metadata"]["uid"] != uid for one in now[home].values())

        self.watch.wait(
            self.namespace,
            gone,
            what=lambda now: f"an evicted group is left in {home}: {self.end(now)}",
            timeout=hunting.PATIENCE,
        )

    def _activate(self, cluster: sandbox.Sandbox, workload: Object, *, active: bool) -> None:
        cluster.api.patch(
            *WORKLOAD,
            workload["metadata"]["name"],
            namespace=self.namespace,
            body={"spec": {"active": active}},
        )


# Reading ---------------------------------------------------------------------------------------


def _of_kind(objects: watcher.Objects, kind: str) -> list[Object]:
    return [one for (of, _), one in objects.items() if of == kind]


def _index_here(workload: Object) -> str:
    return str(workload["metadata"]["annotations"].get(names.COMPONENT_WORKLOAD_INDEX))


def _index_there(obj: Object) -> str:
    return str((obj["metadata"].get("labels") or {}).get(names.ORIGIN_GROUP_INDEX))


def _workload_here(seen: watching.Everywhere, index: str) -> Object:
    return next(one for one in _of_kind(seen[""], "Workload") if _index_here(one) == index)


def _group(
    index: str, workload: Object, here: watcher.Objects, there: Mapping[str, watcher.Objects]
) -> GroupEnd:
    home = str((workload.get("status") or {}).get("clusterName") or "")
    found = {
        kind: [
            (name, one)
            for name, objects in there.items()
            for one in _of_kind(objects, kind)
            if _index_there(one) == index
        ]
        for kind in watching.JUDGED
    }
    made = [name for kind in ("Workload", names.LWS_KIND, "Pod") for name, _ in found[kind]]
    # While no worker has it, it is offered to one or to several, as they have answered.
    offers = len(found["Workload"]) if home else 0
    return GroupEnd(
        said=_said(workload),
        placed=bool(home),
        offers=offers,
        runs=len(found[names.LWS_KIND]),
        at_home=not home or all(name == home for name in made),
        pods=tuple(sorted(_held(pod) for _, pod in found["Pod"])),
        here=tuple(
            sorted(
                _held(pod)
                for pod in _of_kind(here, "Pod")
                if pod["metadata"]["labels"].get(names.GROUP_INDEX) == index
            )
        ),
    )


def _said(workload: Object) -> str:
    """Return what is said of a Workload, without what only tells of its past."""
    kinds = ("QuotaReserved", "Admitted", "PodsReady", "Finished")
    said = [kind for kind in kinds if true(workload, kind)]
    status = workload.get("status") or {}
    checks = [one["state"] for one in status.get("admissionChecks") or ()]
    active = workload["spec"].get("active", True)
    return f"{said}, active {active}, checks {checks}, {workload['metadata'].get('finalizers')}"


def _held(pod: Object) -> str:
    image = pod["spec"]["containers"][0]["image"]
    ready = "ready" if harness.is_ready(pod) else "not ready"
    return f"{ready}, gates {harness.gates(pod)}, {image}"


def _runs(group: GroupEnd, *, size: int) -> bool:
    there = [pod for pod in group.pods if pod.startswith("ready, gates []")]
    here = [pod for pod in group.here if pod.startswith("ready, ") and "gates []" not in pod]
    return (
        group.placed
        and group.at_home
        and (group.offers, group.runs, len(group.pods)) == (1, 1, size)
        and (len(there), len(here)) == (size, 1)
        and "PodsReady" in group.said
    )


def _going(seen: watching.Everywhere) -> Iterator[str]:
    for name, objects in seen.items():
        for one in objects.values():
            if one["kind"] in _OF_A_SET and "deletionTimestamp" in one["metadata"]:
                yield f"{one['kind']} {one['metadata']['name']} is going {name}"


def _status(live: Object | None) -> str:
    """Return what the set says of itself, "" where there is none."""
    if live is None:
        return ""
    status = live.get("status") or {}
    known = status.get("observedGeneration") == live["metadata"]["generation"]
    counted = ", ".join(
        f"{word} {status.get(field, 0)}"
        for word, field in (
            ("replicas", "replicas"),
            ("ready", "readyReplicas"),
            ("updated", "updatedReplicas"),
        )
    )
    told = [one["type"] for one in status.get("conditions") or () if one["status"] == "True"]
    return f"{counted}, {sorted(told)}, {'seen' if known else 'not seen yet'}"


# Lives -----------------------------------------------------------------------------------------


def life(unit: scenarios.Shape, *, drained: str) -> tuple[Step, ...]:
    """Return the life of a set of three groups: everything that can move one of them.

    ``drained`` is the worker that is taken out of its configuration for a while.
    """
    return (
        Step("create", lambda lane: lane.create(unit), 3, 3),
        Step("scale up", lambda lane: lane.write(replicas=4), 4, 4),
        Step("roll", lambda lane: lane.write(version=2), 4, 4),
        Step("evict", lambda lane: lane.evict_there(1), 4, 4),
        Step("evict", lambda lane: lane.switch(1, active=False), 4, 3),
        Step("admit", lambda lane: lane.switch(1, active=True), 4, 4),
        Step("drain", lambda lane: _drain(lane, drained), 4, 4, without=drained),
        Step("scale down", _return_and_shrink, 1, 1),
        Step("delete", Lane.delete, 0, 0),
    )


def _drain(lane: Lane, worker: str) -> None:
    lane.configure([name for name in lane.workers if name != worker])


def _return_and_shrink(lane: Lane) -> None:
    lane.configure(list(lane.workers))
    lane.write(replicas=1)
