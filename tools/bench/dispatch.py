"""How fast dispatch by group is, and its cost: `python -m tools.bench.dispatch [GROUPS [IDLE]]`.

A manager and two workers, each with room for half of the groups, of one pod each. GROUPS (200) is
how many there are, IDLE (60) for how many seconds they are left alone. What is printed are the rows
MK-69 to MK-74 of the plan of dispatch, beside what they ask for; docs/benchmarks says what to make
of it. The manager's controller has the settings of an installation, also its pace.
"""

import contextlib
import dataclasses
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import rich.console
import rich.table
from lws_kueue_lab import controller, manifests, sandbox, worker_clusters
from lws_kueue_lab.bench import processes
from lws_kueue_lab.sandbox import audit, kueue, kueue_settings, recorder, stages

from lws_kueue.api import names
from tests.kit.builders import cluster as build
from tests.kit.live import harness
from tools.bench import slow

Object = dict[str, Any]

GROUPS: Final = 200
IDLE_SECONDS: Final = 60.0
# MK-74 compares with a tenth.
_FEW: Final = 10
WORKERS: Final = ("w1", "w2")
LATE: Final = "w2"
LATE_SECONDS: Final = 2.0

_LWS: Final = (names.LWS_API_VERSION, names.LWS_KIND)
_WORKLOAD: Final = (names.KUEUE_API_VERSION, "Workload")
_POD: Final = ("v1", "Pod")
_CHECK: Final = worker_clusters.CHECK
_SET: Final = "bench"
_QUEUE: Final = "user-queue"

# Integrations of which nothing is asked; those that every cluster has.
_KUEUE: Final = kueue_settings.KueueSettings(
    frameworks=("batch/job", "pod", "deployment", "statefulset")
)

_PATIENCE_SECONDS: Final = 600.0
_CHECK_SECONDS: Final = 1.0
_QUIET_SECONDS: Final = 3.0
_SETTLE_SECONDS: Final = 120.0
_POLL_SECONDS: Final = 0.25
# So long after a restart everything that it writes has been written.
_RESTART_SECONDS: Final = 15.0


# What is seen of a set -------------------------------------------------------------------------


class Timeline(recorder.Recorder):
    """When what was first said of each group's Workload in the manager, by the steady clock."""

    def __init__(self, manager: sandbox.Sandbox, namespace: str) -> None:
        super().__init__(manager, _WORKLOAD, namespace=namespace)
        self.reserved: dict[str, float] = {}
        self.dispatched: dict[str, float] = {}
        self.running: dict[str, float] = {}
        self.home: dict[str, str] = {}
        self.unready: set[str] = set()

    def take(self, event: Object) -> None:
        """Learn of an event and keep nothing else of it."""
        at, obj = time.monotonic(), event["object"]
        group = obj["metadata"]["annotations"][names.COMPONENT_WORKLOAD_INDEX]
        status = obj.get("status") or {}
        states = {one["name"]: one["state"] for one in status.get("admissionChecks") or ()}
        with self.changed:
            if _holds(obj, "QuotaReserved"):
                self.reserved.setdefault(group, at)
            if states.get(_CHECK) == "Ready" and status.get("clusterName"):
                self.dispatched.setdefault(group, at)
                self.home[group] = status["clusterName"]
            if _holds(obj, "PodsReady"):
                self.running.setdefault(group, at)
                self.unready.discard(group)
            elif group in self.running:
                self.unready.add(group)
            self.changed.notify_all()

    def until(self, done: Callable[[], bool], *, what: str, check: Callable[[], None]) -> float:
        """Wait until something holds; returns when that was seen."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            with self.changed:
                if done():
                    return time.monotonic()
                self.changed.wait(_CHECK_SECONDS)
            self.check()
            check()
            if time.monotonic() > deadline:
                sys.exit(f"{what}: not so after {_PATIENCE_SECONDS:.0f} s")


def _holds(obj: Object, kind: str) -> bool:
    conditions = (obj.get("status") or {}).get("conditions") or ()
    return any(c["type"] == kind and c["status"] == "True" for c in conditions)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What it took to dispatch a set.

    - `ready`, `running`: seconds from the first reservation of quota in the manager to the moment
      at which the check of the last group was Ready, and its pods.
    - `there`: for each worker its groups, and the seconds until the check of the last was Ready.
    - `offers`: Workloads that were made in workers.
    - `cpu`: seconds of CPU of the manager's controller; `of_all`: of every process, by its name.
    - `requests`: of the manager's controller, there and in the workers, by cluster and verb.
    - `left`: Workloads and sets in workers beyond one for each group.
    - `load`: of the machine, before and after.
    """

    groups: int
    ready: float
    running: float
    there: Mapping[str, tuple[int, float]]
    offers: int
    cpu: float
    of_all: Mapping[str, float]
    requests: Mapping[tuple[str, str], int]
    left: int
    load: tuple[float, float]

    @property
    def rate(self) -> float:
        """Groups a second, from the first reservation to the last Ready."""
        return self.groups / self.ready

    def rate_of(self, worker: str) -> float:
        """The same of the groups of one worker."""
        groups, seconds = self.there[worker]
        return groups / seconds if seconds else 0.0

    @property
    def asked(self) -> int:
        """All requests of the manager's controller but watches, which count when they end."""
        return sum(n for (_, verb), n in self.requests.items() if verb != "watch")


# The clusters ----------------------------------------------------------------------------------


@dataclasses.dataclass(slots=True)
class Fleet:
    """A manager and its workers, and what the manager's controller is started with."""

    manager: sandbox.Sandbox
    workers: Mapping[str, sandbox.Sandbox]
    check: Callable[[], None]
    _made: int = 0

    @contextlib.contextmanager
    def dispatching(self, **settings: Any) -> Iterator[controller.Controller]:
        """Run the manager's controller with these settings of dispatch, until it is ready."""
        given = {"multiKueue": {"enabled": True, **settings}}
        with controller.start(self.manager, configuration={"lwsKueue": given}) as running:
            running.wait_until_listed()
            worker_clusters.wait_until_usable(self.manager)
            yield running

    def room(self, groups: int) -> str:
        """Make a namespace and queues in all clusters, with room for all groups and no more."""
        self._made += 1
        name = f"bench-{self._made}"
        asks = worker_clusters.asking(_CHECK)
        _prepare(self.manager, name, pods=groups, admissionChecksStrategy=asks)
        for number, worker in enumerate(self.workers.values()):
            half = groups // 2 if number else groups - groups // 2
            _prepare(worker, name, pods=half)
        self.settle()
        return name

    def positions(self) -> dict[str, int]:
        """Return where the audit logs end, by cluster, "" for the manager."""
        found = {name: audit.position(one) for name, one in self.workers.items()}
        return {"": audit.position(self.manager), **found}

    def requests(self, since: Mapping[str, int]) -> dict[str, list[audit.Request]]:
        """Return what the manager's controller has asked for since then, by cluster."""
        here = audit.requests(self.manager, since=since[""])
        found = {"": [one for one in here if one.user == controller.USER]}
        for name, worker in self.workers.items():
            there = audit.requests(worker, since=since[name])
            found[name] = [one for one in there if one.user == worker_clusters.USER]
        return found

    def settle(self) -> None:
        """Wait until the manager's controller has written nothing for a while."""
        since = self.positions()
        begin = last = time.monotonic()
        while (now := time.monotonic()) - last < _QUIET_SECONDS and now - begin < _SETTLE_SECONDS:
            time.sleep(_POLL_SECONDS)
            if any(one.is_write for some in self.requests(since).values() for one in some):
                since, last = self.positions(), time.monotonic()


def _prepare(cluster: sandbox.Sandbox, namespace: str, *, pods: int, **spec: Any) -> None:
    harness.make_namespace(cluster, namespace)
    cpu = {namespace: {"cpu": f"{pods}m"}}
    cluster.api.apply(build.kueues("ResourceFlavor", namespace))
    cluster.api.apply(build.cluster_queue(namespace, cpu, **spec))
    cluster.api.apply(build.local_queue(_QUEUE, namespace=namespace, cluster_queue=namespace))


@contextlib.contextmanager
def opening() -> Iterator[Fleet]:
    """Open the clusters, with a Kueue and a controller in each but the manager's."""
    with contextlib.ExitStack() as stack:

        def opened(nodes: int) -> sandbox.Sandbox:
            cluster = stack.enter_context(sandbox.open(options=sandbox.Options(nodes=nodes)))
            cluster.kueue = stack.enter_context(kueue.start(cluster, settings=_KUEUE))
            controller.install_api(cluster)
            return cluster

        manager = opened(0)
        workers = {name: opened(4) for name in WORKERS}
        bridges = [stack.enter_context(controller.start(one)) for one in workers.values()]
        # What the rights of dispatch are bound to; its controller comes with each measurement.
        for obj in manifests.manager_objects():
            manager.api.apply(obj)
        worker_clusters.grant(manager, workers.values())
        worker_clusters.connect(manager, workers)

        def check() -> None:
            for cluster in (manager, *workers.values()):
                cluster.check()
            for bridge in bridges:
                bridge.check()

        yield Fleet(manager, workers, check)


# Measuring -------------------------------------------------------------------------------------


@dataclasses.dataclass(slots=True)
class Dispatched:
    """A set that runs, as far as it was measured."""

    namespace: str
    timeline: Timeline
    run: Run


@contextlib.contextmanager
def dispatched(fleet: Fleet, own: controller.Controller, groups: int) -> Iterator[Dispatched]:
    """Dispatch a set of so many groups, measure that, and take it away at the end."""
    namespace = fleet.room(groups)

    def check() -> None:
        fleet.check()
        own.check()

    body = harness.leader_worker_set(
        _SET, namespace=namespace, replicas=groups, size=1, queue=_QUEUE, cpu="1m"
    )
    with Timeline(fleet.manager, namespace).watching() as timeline:
        since, load = fleet.positions(), os.getloadavg()[0]
        before, cpu = processes.usage(), processes.cpu_seconds(own.pid)
        fleet.manager.api.create(body)
        timeline.until(
            lambda: len(timeline.running) == groups, what=f"{groups} groups run", check=check
        )
        spent = processes.cpu_seconds(own.pid) - cpu
        run = _run(fleet, timeline, since, groups=groups, namespace=namespace)
        of_all = processes.spent(before, processes.usage())
        names_of = {k.removeprefix("cpu."): v for k, v in of_all.items() if k.startswith("cpu.")}
        run = dataclasses.replace(run, cpu=spent, of_all=names_of, load=(load, os.getloadavg()[0]))
        yield Dispatched(namespace, timeline, run)
        fleet.manager.api.delete(*_LWS, _SET, namespace=namespace)
        for cluster in (fleet.manager, *fleet.workers.values()):
            for kind in (_LWS, _WORKLOAD, _POD):
                cluster.api.wait_for_all(
                    *kind, lambda seen: not seen, namespace=namespace, timeout=_PATIENCE_SECONDS
                )
    fleet.settle()


def _run(
    fleet: Fleet, timeline: Timeline, since: Mapping[str, int], *, groups: int, namespace: str
) -> Run:
    requests = fleet.requests(since)
    fleet.settle()
    begin = min(timeline.reserved.values())
    there = {}
    for name in fleet.workers:
        mine = [at for group, at in timeline.dispatched.items() if timeline.home[group] == name]
        there[name] = (len(mine), max(mine, default=begin) - begin)
    offers = sum(
        (one.verb, one.resource, one.status) == ("create", "workloads", 201)
        for name in fleet.workers
        for one in requests[name]
    )
    found = [
        len(worker.api.list(*kind, namespace=namespace))
        for worker in fleet.workers.values()
        for kind in (_LWS, _WORKLOAD)
    ]
    return Run(
        groups=groups,
        ready=max(timeline.dispatched.values()) - begin,
        running=max(timeline.running.values()) - begin,
        there=there,
        offers=offers,
        cpu=0.0,
        of_all={},
        requests=Counter(
            (name or "manager", one.verb) for name, some in requests.items() for one in some
        ),
        left=sum(found) - 2 * groups,
        load=(0.0, 0.0),
    )


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """One figure, and what the plan asks for."""

    row: str
    what: str
    figure: str
    wanted: str = ""


def told(row: str, run: Run, wanted: Mapping[str, str]) -> Iterator[Row]:
    """Yield the rows of a set that was dispatched."""
    given = {
        "groups a second, first reservation to last Ready": f"{run.rate:.1f}",
        "seconds to the last Ready; to the last group that runs": (
            f"{run.ready:.1f}; {run.running:.1f}"
        ),
        "offers a group": f"{run.offers / run.groups:.2f}",
        "Workloads and sets left in workers": str(run.left),
        "groups by worker": ", ".join(f"{name} {n}" for name, (n, _) in run.there.items()),
        "CPU of the manager's controller a group": f"{1e3 * run.cpu / run.groups:.1f} ms",
        "requests of it a group": f"{run.asked / run.groups:.1f}",
        "load before and after": f"{run.load[0]:.1f}, {run.load[1]:.1f}",
    }
    for what, figure in given.items():
        yield Row(row, what, figure, wanted.get(what, ""))


def at_rest(fleet: Fleet, own: controller.Controller, idle: float) -> Iterator[Row]:
    """MK-71: what is written and spent while nothing happens."""
    fleet.settle()
    since, cpu, begin = fleet.positions(), processes.cpu_seconds(own.pid), time.monotonic()
    # Silence is what is looked at, and only time shows it.
    time.sleep(idle)
    spent, seconds = processes.cpu_seconds(own.pid) - cpu, time.monotonic() - begin
    requests = fleet.requests(since)
    writes = Counter(
        f"{name or 'manager'}: {one.verb} {one.resource}"
        for name, some in requests.items()
        for one in some
        if one.is_write
    )
    there = sum(one.is_write for name in fleet.workers for one in requests[name])
    yield Row("MK-71", f"writes to workers in {seconds:.0f} s", str(there), "0")
    yield Row("MK-71", "all writes meanwhile", _counted(writes))
    yield Row(
        "MK-71", "CPU of the manager's controller", f"{100 * spent / seconds:.2f} %", "at most 1 %"
    )


def restarts(fleet: Fleet, own: controller.Controller, one: Dispatched) -> Iterator[Row]:
    """MK-73: what a new process writes, and how soon it follows what happens in workers."""
    since = fleet.positions()
    own.stop()
    own.start()
    own.wait_until_listed()
    time.sleep(_RESTART_SECONDS)
    writes = Counter(
        f"{name or 'manager'}: {request.verb} {request.resource}"
        for name, some in fleet.requests(since).items()
        for request in some
        if request.is_write
    )
    yield Row("MK-73", "writes after a restart", _counted(writes), "the check's condition alone")
    # What has become of a group while nobody looked is told by the next process.
    worker = fleet.workers["w1"].api
    pod = worker.list(*_POD, namespace=one.namespace)[0]
    group = pod["metadata"]["labels"][names.ORIGIN_GROUP_INDEX]
    own.stop()
    for behaviour, done in (
        (stages.NEVER_READY, lambda: group in one.timeline.unready),
        (None, lambda: group not in one.timeline.unready),
    ):
        annotations = {"metadata": {"annotations": {stages.BEHAVIOUR: behaviour}}}
        worker.patch(*_POD, pod["metadata"]["name"], namespace=one.namespace, body=annotations)
        if behaviour is None:
            one.timeline.until(done, what="the group is ready again", check=own.check)
            continue
        worker.wait_for(
            *_LWS,
            pod["metadata"]["labels"][names.SET_NAME],
            lambda seen: ((seen or {}).get("status") or {}).get("readyReplicas", 0) == 0,
            namespace=one.namespace,
            what="the worker says that the group is not ready",
        )
        begin = time.monotonic()
        own.start()
        seen = one.timeline.until(done, what="the manager says so", check=own.check)
        yield Row(
            "MK-73",
            "seconds from the start of the process until it follows",
            f"{seen - begin:.1f}",
            "5",
        )


def _counted(writes: Mapping[str, int]) -> str:
    return ", ".join(f"{n} x {what}" for what, n in sorted(writes.items())) or "none"


def late(fleet: Fleet, groups: int) -> Iterator[Row]:
    """MK-72: how much a cluster that answers late slows down another one."""
    way = slow.Slow(fleet.workers[LATE])
    with way.serving():
        content = worker_clusters.kubeconfig(
            fleet.workers[LATE], server=way.server, authority=way.authority
        )
        fleet.manager.api.apply(worker_clusters.secret(LATE, content))
        rates = []
        for delay in (0.0, LATE_SECONDS):
            way.delay = 0.0
            with fleet.dispatching() as own:
                way.delay = delay
                with dispatched(fleet, own, groups) as one:
                    rates.append(one.run.rate_of("w1"))
                    said = f"groups a second in w1, {LATE} answers after {delay:.0f} s"
                    yield Row("MK-72", said, f"{rates[-1]:.1f}")
                    yield Row(
                        "MK-72",
                        f"its groups; seconds until all groups run; load, with {delay:.0f} s",
                        f"{one.run.there['w1'][0]}; {one.run.running:.1f}; {one.run.load[1]:.1f}",
                    )
                    # What is asked for last does not have to take long.
                    way.delay = 0.0
    usual, slowed = rates
    yield Row("MK-72", "slower in w1 by", f"{100 * (1 - slowed / usual):.0f} %", "less than 20 %")


def measured(fleet: Fleet, groups: int, idle: float) -> Iterator[Row]:
    """Yield all rows, in the order in which they are measured."""
    with fleet.dispatching() as own:
        # What happens once is none of a group's.
        with dispatched(fleet, own, 2):
            pass
        with dispatched(fleet, own, max(2, groups // _FEW)) as few:
            yield from told("MK-74, few", few.run, {})
        with dispatched(fleet, own, groups) as many:
            wanted = {
                "groups a second, first reservation to last Ready": "at least 20",
                "offers a group": "at most 1.1",
                "Workloads and sets left in workers": "0",
            }
            yield from told("MK-69", many.run, wanted)
            yield Row("MK-69", "CPU by process", _spent(many.run))
            yield Row("MK-69", "requests", _counted(_named(many.run)))
            yield from at_rest(fleet, own, idle)
            yield from restarts(fleet, own, many)
        cpu = (many.run.cpu / many.run.groups) / (few.run.cpu / few.run.groups)
        asked = (many.run.asked / many.run.groups) / (few.run.asked / few.run.groups)
        against = f"at {many.run.groups} groups against {few.run.groups}"
        yield Row("MK-74", f"CPU a group {against}", f"{cpu:.2f} x", "within 1.3 x")
        yield Row("MK-74", f"requests a group {against}", f"{asked:.2f} x", "within 1.3 x")
    with fleet.dispatching(mode="AllAtOnce") as own, dispatched(fleet, own, groups) as one:
        yield from told("MK-70", one.run, {"Workloads and sets left in workers": "0"})
    yield from late(fleet, groups)


def _spent(run: Run) -> str:
    top = sorted(run.of_all.items(), key=lambda item: -item[1])
    return ", ".join(f"{name} {seconds:.1f} s" for name, seconds in top if seconds >= 0.1)


def _named(run: Run) -> dict[str, int]:
    return {f"{cluster} {verb}": number for (cluster, verb), number in run.requests.items()}


def main(groups: int = GROUPS, idle: float = IDLE_SECONDS) -> None:
    """Measure on clusters of its own and print what came of it."""
    rows: list[Row] = []
    with opening() as fleet:
        print(f"{fleet.manager.kueue}; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
        try:
            for row in measured(fleet, groups, idle):
                rows.append(row)
                print(f"{row.row}: {row.what}: {row.figure}", flush=True)
        finally:
            _print(rows)


def _print(rows: Sequence[Row]) -> None:
    table = rich.table.Table("Row", "What", "Measured", "Asked for")
    for row in rows:
        table.add_row(row.row, row.what, row.figure, row.wanted)
    rich.console.Console(width=160).print(table)


if __name__ == "__main__":
    main(*(kind(text) for kind, text in zip((int, float), sys.argv[1:], strict=False)))
