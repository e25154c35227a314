"""A manager, workers, links between them, and the process that dispatches; it can die at any write.

What the process sees of a cluster is a picture that lags behind; its own writes are in it. A link
that is cut refuses reads and writes at once, and is told to be lost some seconds later.
"""

import contextlib
import datetime
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from lws_kueue.api import actions, facts, kueue, lws, names
from lws_kueue.dispatch import identity, observed, places, plan, settings
from tests.kit.judge import dispatch as judge
from tests.kit.memory import cluster_model
from tests.kit.memory.kubernetes_model import NAMESPACE, Object, copied, true
from tests.kit.memory.multikueue import manager, queue, worker

MANAGER = identity.Manager("11111111-2222-3333-4444-555555555555", "lws-kueue-11111111")
TIMEOUT = datetime.timedelta(seconds=20)
DETECTED_AFTER = 10
OPTIONS = settings.Settings(worker_lost_timeout=TIMEOUT)
# Another set of the same namespace, of which nothing but where its groups are is played.
OTHER = "other"


class Dead(Exception):
    """The process has been killed."""


class NoRest(AssertionError):
    """Things go on and on."""


class NoAnswer(Exception):
    """A cluster does not answer, or refuses: the chain ends."""


class Link:
    """A worker as the process sees it: a picture of it, and whether it is lost."""

    def __init__(self, cluster: worker.Worker) -> None:
        self.cluster = cluster
        self.configured = True
        # Its MultiKueueCluster was deleted, and a process that began later does not know it.
        self.gone = False
        self.cut_at: datetime.datetime | None = None
        self.lost_since: datetime.datetime | None = None
        self.picture: dict[tuple[str, str], Object] = {}


class World:
    """All clusters, and one process; ``judge`` looks at everything after each step."""

    def __init__(
        self,
        *,
        replicas: int = 3,
        size: int = 1,
        quotas: tuple[int, ...] = (2, 1),
        quota: int = 12,
        options: settings.Settings = OPTIONS,
        annotations: Object | None = None,
    ) -> None:
        """``annotations`` are those of the set."""
        self.clock = queue.Clock()
        self.manager = self.make_manager(
            quota=quota, replicas=replicas, size=size, annotations=annotations
        )
        # Where the groups of another set are, None if there is none, and what is seen of that.
        self.other: frozenset[str] | None = None
        self.other_seen: frozenset[str] | None = None
        self.links = {
            name: Link(worker.Worker(name, self.clock, quota=one))
            for name, one in ((f"w{i}", one) for i, one in enumerate(quotas, 1))
        }
        self.options = options
        self.picture: dict[tuple[str, str], Object] = {}
        self.dies_after: int | None = None
        self.under_way: actions.Action | None = None
        self.written = 0
        self.log: list[str] = []
        self.between: Callable[[], None] = lambda: None
        # Looks at everything as well, as often as the judge.
        self.watch: Callable[[], None] = lambda: None
        self._facts: dict[tuple[str, str], Any] = {}
        self._judged: list[object] = []
        self.judge = judge.Judge(timeout=TIMEOUT)
        self.look()

    def make_manager(
        self, *, quota: int, replicas: int, size: int, annotations: Object | None
    ) -> manager.Manager:
        return manager.Manager(
            self.clock, quota=quota, replicas=replicas, size=size, annotations=annotations
        )

    # What the process sees ------------------------------------------------------------------

    def look(self) -> None:
        """Take a new picture of the manager and of all workers that answer."""
        self.picture = _pictured(self.picture, self.manager.objects)
        self.other_seen = self.other
        for link in self.links.values():
            self.look_at(link)

    def look_at(self, link: Link) -> None:
        if link.cut_at is None:
            watched = ("Workload", names.LWS_KIND, "Lease")
            now = {key: one for key, one in link.cluster.objects.items() if key[0] in watched}
            link.picture = _pictured(link.picture, now)

    def seen(self) -> observed.Observed:
        stored = self.picture.get((names.LWS_KIND, manager.SET))
        live = self._fact(lws.LeaderWorkerSet.of, stored) if stored else None
        return observed.Observed(
            manager=MANAGER,
            namespace=NAMESPACE,
            name=manager.SET,
            lws=live,
            checks=frozenset({manager.CHECK}),
            groups=tuple(self._groups(live)),
            clusters=self.clusters(),
            neighbours=(
                {} if self.other_seen is None else {OTHER: observed.Neighbour(self.other_seen)}
            ),
        )

    def clusters(self) -> tuple[observed.Cluster, ...]:
        return tuple(self._cluster(link) for link in self.links.values())

    def _groups(self, live: lws.LeaderWorkerSet | None) -> Iterator[observed.Group]:
        workloads: dict[tuple[int, str], kueue.Workload] = {}
        pods: dict[int, facts.Pod] = {}
        for (kind, _), one in self.picture.items():
            if kind == "Workload":
                found = self._fact(kueue.Workload.of, one)
                index = int(found.meta.annotations[names.COMPONENT_WORKLOAD_INDEX])
                workloads[index, found.meta.owners[0].uid] = found
            elif kind == "Pod":
                pod = self._fact(facts.Pod.of, one)
                pods[int(pod.meta.labels[names.GROUP_INDEX])] = pod
        uid = live.meta.uid if live else ""
        for index, owner in sorted({*workloads, *((i, uid) for i in pods)}):
            pod_of = pods.get(index) if owner == uid else None
            wanted = live is not None and owner == uid and index < live.spec.replicas
            key = pod_of.meta.labels[names.REVISION_KEY] if pod_of else ""
            yield observed.Group(
                index=index,
                workload=workloads.get((index, owner)),
                leader=pod_of,
                pods=(pod_of,) if pod_of else (),
                content=self.manager.content(key) if wanted else None,
                wanted=wanted,
            )

    def _fact(self, parse: Callable[[Object], Any], one: Object) -> Any:
        """Parse each version of an object once, as a cache does."""
        meta = one["metadata"]
        key = (meta["uid"], meta["resourceVersion"])
        if key not in self._facts:
            self._facts[key] = parse(one)
        return self._facts[key]

    def _cluster(self, link: Link) -> observed.Cluster:
        if link.gone:
            since = observed.Link(link.lost_since)
            return observed.Cluster(link.cluster.name, link=since, configured=False, gone=True)
        mine = {key: one for key, one in link.picture.items() if _has_origin(one)}
        anchor = mine.get(("Lease", identity.anchor_name(MANAGER)))
        foreign = {
            name: f"{kind} {name} exists that this manager did not make"
            for (kind, name), one in link.picture.items()
            if kind != "Lease" and not judge.is_ours(one)
        }
        return observed.Cluster(
            name=link.cluster.name,
            link=observed.Link(link.lost_since),
            configured=link.configured,
            anchor=anchor["metadata"]["uid"] if anchor else "",
            workloads={
                name: self._fact(kueue.Workload.of, one)
                for (kind, name), one in mine.items()
                if kind == "Workload"
            },
            sets={
                name: self._fact(observed.RemoteSet.of, one)
                for (kind, name), one in mine.items()
                if kind == names.LWS_KIND
            },
            refused=foreign,
        )

    # The process ----------------------------------------------------------------------------

    def decide(self) -> actions.Part:
        seen, now = self.seen(), self.clock.now
        self.judge.decides(self.picture.get((names.LWS_KIND, manager.SET)), self.other_seen)
        asked = places.asked(seen, options=self.options, now=now)
        found = self.looked_up(asked)
        seen = seen.looked_up(found)
        return plan.plan(seen, plan.views_of(seen, options=self.options, now=now))

    def looked_up(
        self, asked: Mapping[str, Iterable[str]]
    ) -> Mapping[str, Mapping[str, tuple[facts.Pod, ...]]]:
        """Return the pods of sets in the clusters that answer, by cluster and name."""
        return {
            cluster: {
                name: tuple(facts.Pod.of(copied(pod)) for pod in link.cluster.pods_of(name))
                for name in sets
            }
            for cluster, sets in asked.items()
            if (link := self.links[cluster]).cut_at is None
        }

    def run(self, rng: random.Random | None = None) -> bool:
        """Run one pass; chains go on side by side. Returns whether it wanted to write anything."""
        part = self.decide()
        left = [list(chain) for chain in part.chains]
        try:
            while left := [chain for chain in left if chain]:
                chain = rng.choice(left) if rng is not None else left[0]
                try:
                    self._write(chain.pop(0))
                except NoAnswer:
                    chain.clear()
        except Dead:
            self.restart()
        return bool(part.chains)

    def restart(self) -> None:
        """Begin with a new process, which lists everything anew and knows of losses what is stored.

        What does not answer is lost from now on.
        """
        self.dies_after = None
        for link in self.links.values():
            if link.cut_at is not None:
                link.picture = {}
                link.lost_since = link.lost_since or self.clock.now
        self.look()

    def _write(self, action: actions.Action) -> None:
        if isinstance(action, actions.Apply):
            for one in action.expects:
                self._expect(one)
            self.between()
        if self.dies_after is not None:
            if self.dies_after <= 0:
                self.under_way = action
                raise Dead
            self.dies_after -= 1
        self._send(action)

    def arrive_late(self) -> None:
        """Carry out the write that was under way when the last process was suspended."""
        action, self.under_way = self.under_way, None
        if action is None:
            return
        # It rests on what was true then, so that nobody can promise when it is made. What counts
        # is what runs.
        if where := _cluster_of(action):
            self.judge.touched.add(where)
        with contextlib.suppress(NoAnswer):
            self._send(action, judged=False)

    def _send(self, action: actions.Action, *, judged: bool = True) -> None:
        where = _cluster_of(action)
        target = self._target(where)
        assert not isinstance(action, actions.Release)
        key = actions.key_of(action)
        ref = key.ref
        told = f"{key.verb} {where or 'm'} {ref.name}"
        if judged:
            self.judge.before(self, where, ref, action)
        try:
            self.carry_out(target, action)
        except queue.Refused as refused:
            self.log.append(f"{told}: {refused}")
            if where:
                self.look_at(self.links[where])
            else:
                self.picture = _pictured(self.picture, self.manager.objects)
            raise NoAnswer from refused
        self.written += 1
        self.log.append(told)
        picture = self.links[where].picture if where else self.picture
        now = target.objects.get((ref.kind, ref.name))
        if now is None:
            picture.pop((ref.kind, ref.name), None)
        else:
            picture[ref.kind, ref.name] = copied(now)
        self.check()

    def carry_out(self, target: queue.Queue, action: actions.Action) -> None:
        """Do what an API server does with a write.

        Raises:
            queue.Refused: it does not take it.
        """
        _carry_out(target, action)

    def _target(self, cluster: str) -> queue.Queue:
        if not cluster:
            return self.manager
        link = self.links[cluster]
        if link.cut_at is not None:
            raise NoAnswer
        return link.cluster

    def _expect(self, one: actions.Expect) -> None:
        found = self._target(one.ref.cluster).objects.get((one.ref.kind, one.ref.name))
        if not one.uid:
            if found is not None:
                raise NoAnswer
            return
        if found is None or found["metadata"]["uid"] != one.uid:
            raise NoAnswer
        if one.resource_version and found["metadata"]["resourceVersion"] != one.resource_version:
            raise NoAnswer
        if not all(true(found, kind) for kind in one.true) or any(
            true(found, kind) for kind in one.false
        ):
            raise NoAnswer

    # Links ----------------------------------------------------------------------------------

    def cut(self, name: str) -> None:
        link = self.links[name]
        if link.cut_at is None:
            link.cut_at = self.clock.now
            self.judge.cut(name, self.clock.now)

    def mend(self, name: str) -> None:
        link = self.links[name]
        if link.cut_at is not None:
            link.cut_at = link.lost_since = None
            self.judge.mended(name, self.clock.now)
            self.look_at(link)

    def tick(self, seconds: int = 1) -> None:
        self.clock.now += datetime.timedelta(seconds=seconds)
        for link in self.links.values():
            if link.cut_at is not None and link.lost_since is None:
                gone = (self.clock.now - link.cut_at).total_seconds()
                if gone >= DETECTED_AFTER:
                    link.lost_since = self.clock.now

    # Everything else ------------------------------------------------------------------------

    def actors(self) -> list[Callable[[], object]]:
        """What goes on in the clusters by itself."""
        own = self.manager
        found: list[Callable[[], object]] = [
            own.kueue,
            own.control,
            own.make_pods,
            own.end_pods,
            own.collect_garbage,
            own.run_pods,
        ]
        for link in self.links.values():
            one = link.cluster
            found += [one.kueue, one.serve_sets, one.make_pods, one.bridge, one.run_pods]
            found += [one.end_pods, one.collect_garbage]
        return found

    def check(self) -> None:
        now = [*self._versions(), self.clock.now]
        if now != self._judged:
            self._judged = now
            self.judge.look(self)
            self.watch()

    def settle(self, *, rounds: int = 150) -> None:
        """Let everything happen until nothing changes any more, for longer than anything waits."""
        still = 0
        for _ in range(rounds):
            before = self._versions()
            for happen in self.actors():
                happen()
                self.check()
            self.look()
            wrote = self.run()
            self.tick()
            still = 0 if wrote or self._versions() != before else still + 1
            if still == 4:
                self.tick(40)
            if still > 8:
                return
        raise NoRest(f"no rest: {self.log[-12:]}")

    def _versions(self) -> list[int]:
        clusters = [self.manager, *(link.cluster for link in self.links.values())]
        return [one._counter for one in clusters]

    # What has come of it --------------------------------------------------------------------

    def placed(self) -> dict[int, str]:
        """The cluster of each group that the manager's Workloads name."""
        return {
            int(one["metadata"]["annotations"][names.COMPONENT_WORKLOAD_INDEX]): name
            for one in self.manager.of_kind("Workload").values()
            if (name := (one.get("status") or {}).get("clusterName"))
        }

    def ready(self) -> list[int]:
        """The groups whose leaders the manager shows as ready."""
        return sorted(
            int(pod["metadata"]["labels"][names.GROUP_INDEX])
            for pod in self.manager.of_kind("Pod").values()
            if true(pod, "Ready")
        )


def _pictured(
    before: dict[tuple[str, str], Object], now: dict[tuple[str, str], Object]
) -> dict[tuple[str, str], Object]:
    """Return copies of objects; of those that have not changed it is the one that there is."""
    found = {}
    for key, one in now.items():
        old, meta = before.get(key), one["metadata"]
        same = old is not None and all(
            old["metadata"][field] == meta[field] for field in ("uid", "resourceVersion")
        )
        found[key] = old if same and old is not None else copied(one)
    return found


def _has_origin(one: Object) -> bool:
    labels = one["metadata"].get("labels") or {}
    return bool(labels.get(names.MULTIKUEUE_ORIGIN) == MANAGER.origin)


def _cluster_of(action: actions.Action) -> str:
    match action:
        case actions.Create() | actions.Apply():
            return action.cluster
        case actions.Patch() | actions.Delete():
            return action.ref.cluster
    raise ValueError(action)


# An API server ----------------------------------------------------------------------------------


def _carry_out(target: queue.Queue, action: actions.Action) -> None:
    match action:
        case actions.Create(body=body):
            if (body["kind"], body["metadata"]["name"]) in target.objects:
                raise queue.Refused("it exists")
            target.store(copied(body))
        case actions.Apply(subresource="status"):
            _apply_status(target, action)
        case actions.Apply():
            _apply(target, action)
        case actions.Patch(ref=ref, body=body):
            live = _live(target, ref.kind, ref.name, action.resource_version)
            cluster_model.merge_patch(live, copied(body))
            target.touch(live)
            target.let_go(live)
        case actions.Delete(ref=ref):
            live_or_none = target.objects.get((ref.kind, ref.name))
            if live_or_none is None or live_or_none["metadata"]["uid"] != action.uid:
                raise queue.Refused("it is not there")
            target.delete(
                ref.kind,
                ref.name,
                graceful=True,
                foreground=action.propagation == "Foreground",
            )


def _live(target: queue.Queue, kind: str, name: str, version: str) -> Object:
    live = target.objects.get((kind, name))
    if live is None:
        raise queue.Refused("it is not there")
    if version and live["metadata"]["resourceVersion"] != version:
        raise queue.Refused("it has changed")
    return live


def _apply(target: queue.Queue, action: actions.Apply) -> None:
    body = copied(action.body)
    live = target.objects.get((body["kind"], body["metadata"]["name"]))
    uid = body["metadata"].pop("uid", "")
    if uid and (live is None or live["metadata"]["uid"] != uid):
        raise queue.Refused("it is another one")
    meta = copied(live["metadata"]) if live else {}
    for part in ("labels", "annotations"):
        body["metadata"][part] = {**(meta.get(part) or {}), **body["metadata"].get(part, {})}
    meta |= body["metadata"]
    meta["managedFields"] = [
        {"manager": action.field_manager, "operation": "Apply", "fieldsV1": {}}
    ]
    body["metadata"] = meta
    if live is not None:
        meta["generation"] = live["metadata"]["generation"] + (live["spec"] != body["spec"])
        body["status"] = live.get("status") or {}
    target.store(body)


def _apply_status(target: queue.Queue, action: actions.Apply) -> None:
    body = action.body
    live = _live(target, body["kind"], body["metadata"]["name"], action.resource_version)
    new: dict[str, Any] = copied(body["status"])
    old = live.get("status") or {}
    told = {one["type"]: one for one in new.get("conditions") or ()}
    if action.field_manager != names.ADMISSION_FIELD_MANAGER:
        kept = [one for one in old.get("conditions") or () if one["type"] not in told]
        live["status"] = {**old, "conditions": [*kept, *told.values()]}
        target.touch(live)
        return
    _validate(old, new)
    kept = [
        one
        for one in old.get("conditions") or ()
        if one["type"] == "PodsReady" and "PodsReady" not in told
    ]
    new["conditions"] = [*kept, *told.values()]
    live["status"] = new
    target.touch(live)


def _validate(old: Object, new: Object) -> None:
    """Refuse what Kueue's rules for a Workload's status refuse."""
    nominated = new.get("nominatedClusterNames") or []
    given = new.get("clusterName")
    if given and nominated:
        raise queue.Refused("clusterName and nominatedClusterNames are mutually exclusive")
    before = old.get("clusterName")
    if before and given and given != before:
        raise queue.Refused("clusterName is immutable once set")
    if given and not before and given not in (old.get("nominatedClusterNames") or []):
        raise queue.Refused("clusterName must be in the list of nominated clusters")
    reserved = any(
        one["type"] == "QuotaReserved" and one["status"] == "True"
        for one in new.get("conditions") or ()
    )
    if reserved != bool(new.get("admission")):
        raise AssertionError(f"quota without admission, or the reverse: {new}")
