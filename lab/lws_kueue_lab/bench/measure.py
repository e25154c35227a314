"""One run: a cluster of its own, whoever serves it, and the phases of a set's life."""

import dataclasses
import os
import statistics
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent import futures
from typing import Any, Final, Literal

from lws_kueue.api import names
from lws_kueue_lab import sandbox
from lws_kueue_lab.bench import cases, contenders, processes, requests, timeline
from lws_kueue_lab.sandbox import audit, client, recorder

Phase = Literal["create", "rest", "restart", "scale up", "scale down", "roll", "delete"]

# A rack of it holds the largest group of a case, and all of it the largest set.
NODES: Final = 64
_TOPOLOGY: Final = sandbox.Topology(blocks=2, racks=4)

# It is over when nobody has written for so long.
_QUIET_SECONDS: Final = 2.0
_SETTLE_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 0.25
# How often the health of the processes is looked at while nothing happens in the cluster.
_CHECK_SECONDS: Final = 1.0
# Whoever applies the StatefulSets of the floor is not to be what is measured.
_HANDS: Final = 8
_LATE: Final = 0.99


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is asked for in every run.

    - `life`: go on after the creation: restart, scaling, a roll and deletion.
    - `rest`: seconds at rest, after the creation.
    - `timeout`: seconds that a phase may take.
    - `frameworks`: Kueue's integrations.
    """

    life: bool
    rest: float
    timeout: float
    frameworks: Sequence[str]
    nodes: int = NODES


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a phase of a run came to; ``finished`` says whether it did so in time.

    ``figures`` are numbers by name: docs/benchmarks says what each one means.
    """

    case: cases.Case
    contender: contenders.Contender
    shape: cases.Shape
    phase: Phase
    run: int
    kueue: str
    finished: bool
    figures: Mapping[str, float]


class _Watch(recorder.Recorder):
    """Watches one namespace into a timeline, by the steady clock."""

    def __init__(self, cluster: sandbox.Sandbox, *kinds: recorder.Kind) -> None:
        super().__init__(cluster, *kinds, namespace=cases.NAMESPACE)
        self.timeline = timeline.Timeline()

    def take(self, event: recorder.Object) -> None:
        """Learn of an event and keep nothing else of it."""
        with self.changed:
            self.timeline.take(event, at=time.monotonic())
            self.changed.notify_all()

    def until(
        self,
        done: Callable[[timeline.Timeline], bool],
        *,
        seconds: float,
        check: Callable[[], None],
    ) -> bool:
        """Wait until something holds; says whether it came to hold in time."""
        deadline = time.monotonic() + seconds
        while True:
            with self.changed:
                if not done(self.timeline):
                    self.changed.wait(_CHECK_SECONDS)
                if done(self.timeline):
                    return True
            self.check()
            check()
            if time.monotonic() > deadline:
                return False


def run(
    case: cases.Case,
    contender: contenders.Contender,
    shape: cases.Shape,
    plan: Plan,
    *,
    number: int,
) -> Generator[Result]:
    """Carry out one run on a cluster of its own; gives each phase as it is over.

    After a phase that does not end in time there is no further one. Raises SandboxError if a
    process ends or does not start.
    """
    options = sandbox.Options(nodes=plan.nodes, topology=_TOPOLOGY)
    with (
        sandbox.open(options=options) as cluster,
        contenders.serving(cluster, case, contender, frameworks=plan.frameworks) as served,
    ):
        _prepare(cluster, case)
        with _Watch(cluster, *_kinds(case)).watching() as watch:
            one = _Run(cluster, served, watch, plan, case, shape)
            for phase, deed in one.phases(contender):
                finished, figures = deed()
                yield Result(
                    case=case,
                    contender=contender,
                    shape=shape,
                    phase=phase,
                    run=number,
                    kueue=str(cluster.kueue),
                    finished=finished,
                    figures=figures,
                )
                if not finished:
                    return


_Outcome = tuple[bool, Mapping[str, float]]


class _Run:
    """A set on its way through the phases."""

    def __init__(
        self,
        cluster: sandbox.Sandbox,
        served: contenders.Served,
        watch: _Watch,
        plan: Plan,
        case: cases.Case,
        shape: cases.Shape,
    ) -> None:
        self._cluster = cluster
        self._served = served
        self._watch = watch
        self._plan = plan
        self._case: cases.Case = case
        self._shape = shape
        self._round = 1

    def phases(
        self, contender: contenders.Contender
    ) -> Iterator[tuple[Phase, Callable[[], _Outcome]]]:
        """Yield the phases in their order, each to be carried out before the next one."""
        yield "create", self._create
        if self._case == "floor":
            return
        if self._plan.rest:
            yield "rest", self._rest
        if not self._plan.life:
            return
        more = cases.tenth(self._shape.groups)
        if contender == "ours":
            yield "restart", self._restart
        yield "scale up", lambda: self._scale(more)
        yield "scale down", lambda: self._scale(-more)
        yield "roll", self._roll
        yield "delete", self._delete

    def _create(self) -> _Outcome:
        objects = cases.objects(self._case, self._shape)
        return self._measure(lambda: _create_all(self._cluster.api, objects), self._all_ready)

    def _rest(self) -> _Outcome:
        def pause() -> None:
            # Silence is what is looked at, and only time shows it.
            time.sleep(self._plan.rest)

        return self._measure(pause, lambda _: True)

    def _restart(self) -> _Outcome:
        """What was asked for while nobody was there is done: one group more."""
        own = self._served.own
        assert own is not None
        own.stop()
        self._replicas(1)
        return self._measure(own.start, self._all_ready)

    def _scale(self, by: int) -> _Outcome:
        return self._measure(lambda: self._replicas(by), self._all_ready)

    def _roll(self) -> _Outcome:
        self._round += 1
        return self._measure(lambda: self._patch(cases.roll(self._round)), self._all_ready)

    def _delete(self) -> _Outcome:
        def delete() -> None:
            self._cluster.api.delete(*_SETS, cases.SET, namespace=cases.NAMESPACE)

        return self._measure(delete, lambda seen: seen.pods == seen.others == 0)

    def _all_ready(self, seen: timeline.Timeline) -> bool:
        return seen.pods == seen.ready_of(self._round) == self._shape.pods

    def _replicas(self, by: int) -> None:
        self._shape = dataclasses.replace(self._shape, groups=self._shape.groups + by)
        self._patch({"spec": {"replicas": self._shape.groups}})

    def _patch(self, body: dict[str, Any]) -> None:
        self._cluster.api.patch(*_SETS, cases.SET, namespace=cases.NAMESPACE, body=body)

    def _measure(
        self, deed: Callable[[], None], done: Callable[[timeline.Timeline], bool]
    ) -> _Outcome:
        """Do something and wait until it is done, and until nobody writes any more.

        The seconds are those until it is done; what it costs is counted until nobody writes.
        """
        mark = audit.position(self._cluster)
        before, load, begin = processes.usage(), os.getloadavg()[0], time.monotonic()
        deed()
        finished = self._watch.until(done, seconds=self._plan.timeout, check=self._check)
        with self._watch.changed:
            seen = self._watch.timeline
            figures = {"seconds": max(seen.latest, begin) - begin} | _moments(seen, begin)
        _settle(self._cluster, since=mark)
        figures |= processes.spent(before, processes.usage())
        figures |= self._served.blocks(begin)
        figures |= {"elapsed": time.monotonic() - begin}
        figures |= {"load.before": load, "load.after": os.getloadavg()[0]}
        figures |= requests.counts(audit.requests(self._cluster, since=mark))
        figures |= {"pods": float(self._shape.pods), "groups": float(self._shape.groups)}
        return finished, figures

    def _check(self) -> None:
        self._cluster.check()
        self._served.check()


_SETS: Final = (names.LWS_API_VERSION, names.LWS_KIND)


def _kinds(case: cases.Case) -> list[recorder.Kind]:
    kinds: list[recorder.Kind] = [("v1", "Pod")]
    if case != "floor":
        kinds.append(_SETS)
    if case in cases.QUEUED:
        kinds.append((names.KUEUE_API_VERSION, "Workload"))
    return kinds


def _prepare(cluster: sandbox.Sandbox, case: cases.Case) -> None:
    """Make the namespace and the queues, and wait until they can be used."""
    cluster.api.create(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": cases.NAMESPACE}}
    )
    # Pods are refused until their service account exists.
    cluster.api.wait_for(
        "v1", "ServiceAccount", "default", lambda found: found, namespace=cases.NAMESPACE
    )
    for obj in cases.queues(case):
        cluster.api.apply(obj)
        if obj["kind"] in ("ClusterQueue", "LocalQueue"):
            cluster.api.wait_for(
                obj["apiVersion"],
                obj["kind"],
                obj["metadata"]["name"],
                _is_active,
                namespace=obj["metadata"].get("namespace"),
            )
    _settle(cluster, since=audit.position(cluster))


def _is_active(queue: client.Object | None) -> bool:
    conditions = ((queue or {}).get("status") or {}).get("conditions") or ()
    return any(c["type"] == "Active" and c["status"] == "True" for c in conditions)


def _create_all(api: client.Client, objects: Sequence[cases.Object]) -> None:
    if len(objects) == 1:
        api.create(objects[0])
        return
    for obj in objects:  # What a kind is called is asked for once.
        api.resource(obj["apiVersion"], obj["kind"])
    with futures.ThreadPoolExecutor(_HANDS) as hands:
        for made in [hands.submit(api.create, obj) for obj in objects]:
            made.result()


def _settle(cluster: sandbox.Sandbox, *, since: int) -> None:
    """Wait until nobody has written for a while; somebody who never ends is not waited for."""
    begin = last = time.monotonic()
    while (now := time.monotonic()) - last < _QUIET_SECONDS and now - begin < _SETTLE_SECONDS:
        found, since = audit.so_far(cluster, since=since)
        if any(map(requests.is_work, found)):
            last = now
        time.sleep(_POLL_SECONDS)


def _moments(seen: timeline.Timeline, begin: float) -> dict[str, float]:
    """Return the figures that the moments of a phase give."""
    figures: dict[str, float] = {}
    ready = [moment.at - begin for moment in timeline.since(seen.ready, begin)]
    if ready:
        figures["seconds.first"] = min(ready)
    delays = timeline.release_delays(
        timeline.since(seen.admitted, begin), timeline.since(seen.released, begin)
    )
    if delays:
        figures["release.p50"] = statistics.median(delays)
        figures["release.p99"] = percentile(delays, _LATE)
    return figures


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least a share (0 to 1) of all values do not exceed."""
    ordered = sorted(values)
    rank = max(1, -int(-share * len(ordered) // 1))
    return ordered[rank - 1]
