"""Scenarios on the model of a cluster, which looks that what must not be never is."""

import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from lws_kueue.api import actions, lws, names
from lws_kueue.controller.observe import groups
from lws_kueue.controller.rollout import scaling
from tests.kit.memory import cluster_model, kubernetes_model, scenarios
from tests.kit.memory.kubernetes_model import Object
from tests.kit.memory.scenarios import SET

MOST_PASSES = 120


class Model(cluster_model.Cluster):
    """The model of a cluster, which does the steps and looks that what must not be is not.

    ``quiet`` says that nothing breaks by itself, so that the whole budget is kept at any time.
    """

    def __init__(
        self, shape: scenarios.Shape, *, max_unavailable_gate: bool = False, quiet: bool = False
    ) -> None:
        super().__init__(max_unavailable_gate=max_unavailable_gate)
        self._checked = 0
        self.shape = shape
        self.quiet = quiet
        self.recreated: dict[str, int] = {}
        self.replaced: set[tuple[str, str, str, int]] = set()
        self._create()

    def _create(self) -> None:
        metadata = {"name": SET, "generation": 1, "labels": self.shape.labels}
        kind = {"apiVersion": names.LWS_API_VERSION, "kind": names.LWS_KIND}
        self.store({**kind, "metadata": metadata, "spec": self.shape.spec()})

    @property
    def live(self) -> Object:
        return self.objects[names.LWS_KIND, SET]

    def do(self, step: scenarios.Step) -> None:
        """Do what people, nodes and accidents do."""
        match step:
            case ("kill", name, how):
                self.delete("Pod", name, graceful=how == "gracefully")
            case ("flip", name) if pod := self.objects.get(("Pod", name)):
                self.unready.add(pod["metadata"]["uid"])
            case ("recreate",):
                del self.objects[names.LWS_KIND, SET]
                self._create()
        after = scenarios.changed(self.shape, step)
        if after != self.shape:
            self.shape = after
            self.live["spec"] = after.spec()
            self.live["metadata"]["generation"] += 1
            self.touch(self.live)

    def disturb(self, rng: random.Random, *, violent: bool) -> None:
        """Let something of what goes on happen, in any order.

        ``violent`` are crashes of the controller, which forgets what it saw, and evictions.
        """
        pods = sorted(self.of_kind("Pod"))
        happenings: list[Callable[[], object]] = [
            *[lambda: self.pass_once(SET)] * 2,
            self.end_pods,
            self.collect_garbage,
            self.end_and_collect,
            self.make_pods,
            *[lambda: self.make_pods(late=True)] * 2,
            self.run_pods,
            lambda: self.run_pods({rng.choice(pods)} if pods else ()),
        ]
        if violent:
            happenings += [lambda: self.pass_once(SET, writes=rng.randint(0, 4)), self.restart]
        if self.shape.queue:
            happenings += [*[lambda: self.decided(rng, self.pending(), self.admit)] * 2]
        if self.shape.queue and violent:
            happenings += [lambda: self.decided(rng, self.admitted(), self.evict)]
        rng.choice(happenings)()
        self.check()

    def end_and_collect(self) -> None:
        self.end_pods()
        self.collect_garbage()

    def decided(
        self, rng: random.Random, workloads: list[str], decision: Callable[[str], None]
    ) -> None:
        """Let Kueue decide about one of some Workloads."""
        if workloads:
            decision(rng.choice(workloads))

    def rest(self, *, starting: bool = True) -> scenarios.Picture:
        """Let everything settle, what was broken from outside too, and return what is there.

        Without ``starting`` no kubelet starts a pod, and what cannot go on without it waits.
        """
        self.unready.clear()
        around = [self.admit_all, self.end_pods, self.collect_garbage, self.make_pods]
        for _ in range(MOST_PASSES):
            before = self._counter
            for happen in (*around, self.run_pods) if starting else around:
                happen()
                self.check()
            self.pass_once(SET)
            self.check()
            if self._counter == before:
                return self.picture()
        raise AssertionError(f"no rest: {self.decide(SET)}")

    def admit_all(self) -> None:
        for name in self.pending():
            self.admit(name)

    def picture(self) -> scenarios.Picture:
        return scenarios.picture(
            self.live,
            pods=self.of_kind("Pod").values(),
            stateful_sets=self.of_kind("StatefulSet").values(),
            revisions=list(self.of_kind("ControllerRevision").values()),
        )

    # What must not be ---------------------------------------------------------------------

    def _groups(self) -> tuple[lws.LeaderWorkerSet, groups.Groups]:
        seen = self.observe(SET)
        assert seen.lws is not None
        found = groups.observe(
            seen.lws, stateful_sets=seen.stateful_sets, pods=seen.pods, services=seen.services
        )
        return seen.lws, found

    def _ready(self) -> tuple[scaling.Bounds, dict[str, groups.Group]]:
        owner, found = self._groups()
        count = found.leader_set.replicas if found.leader_set else 0
        return scaling.bounds(owner), {
            group.leader.meta.name: group
            for group in found.groups
            if group.index < count
            and group.whole
            and group.ready
            and not group.leader.meta.deleting
        }

    def before(self, action: actions.Action | actions.StatusWrite) -> None:
        match action:
            case actions.Apply(body={"kind": "StatefulSet"} as body):
                self._before_apply(body)
            case actions.Delete(ref=ref, events=(event, *_)) if event.reason == "RecreateGroup":
                uid = self.objects["Pod", ref.name]["metadata"]["uid"]
                self.recreated[uid] = self.recreated.get(uid, 0) + 1
                assert self.recreated[uid] == 1, f"{ref.name} is recreated twice"
            case actions.Delete(ref=ref, events=(), propagation="Foreground"):
                self._before_replacement(ref.name)

    def _before_apply(self, body: Mapping[str, Any]) -> None:
        live = self.objects.get(("StatefulSet", SET))
        bounds = scaling.bounds(self._groups()[0])
        wanted = body["spec"]
        assert bounds.replicas <= wanted["replicas"] <= bounds.burst
        if live is None:
            return
        at, to = (
            spec["updateStrategy"]["rollingUpdate"]["partition"] for spec in (live["spec"], wanted)
        )
        same = all(
            each["metadata"]["labels"][names.REVISION_KEY]
            == live["metadata"]["labels"][names.REVISION_KEY]
            for each in (body, wanted["template"])
        )
        assert not same or to <= max(at, bounds.floor), "the partition moves up"

    def _before_replacement(self, name: str) -> None:
        bounds, ready = self._ready()
        made_from = self.objects["Pod", name]["metadata"]["labels"]["controller-revision-hash"]
        # A set that is made anew counts its generations anew, and its StatefulSet the revisions.
        meta = self.live["metadata"]
        once = (name, made_from, meta["uid"], meta["generation"])
        assert once not in self.replaced, f"{name} was replaced in vain"
        self.replaced.add(once)
        status = self.objects["StatefulSet", SET]["status"]
        given_up = made_from not in (status["currentRevision"], status["updateRevision"])
        # It stops at a group that waits for Kueue, with the gate as without.
        replicas = self.objects["StatefulSet", SET]["spec"]["replicas"]
        stops = not self._gate or bool(self._waiting(max(replicas, bounds.replicas)))
        assert given_up or stops, "the StatefulSet controller does it"
        assert kubernetes_model.ordinal(name) >= bounds.floor
        if name in ready:
            # Groups that wait for Kueue are not down by the update's doing, and surge groups that
            # might stand in for others may be waiting as well.
            wait = self._waiting(bounds.replicas)
            unavailable = max(1, bounds.unavailable) if wait else bounds.unavailable
            assert len(ready) - 1 >= bounds.replicas - len(wait) - unavailable, "over the budget"

    def _waiting(self, replicas: int) -> list[int]:
        """The desired groups that Kueue has not admitted for what they are, or will come as."""
        if not self.shape.queue:
            return []
        workloads = [self.objects["Workload", name] for name in self.admitted()]
        admitted = {
            index
            for workload in workloads
            if self._fits(
                workload,
                index := int(workload["metadata"]["annotations"][names.COMPONENT_WORKLOAD_INDEX]),
            )
        }
        return [index for index in range(replicas) if index not in admitted]

    def _fits(self, workload: Object, index: int) -> bool:
        """Whether as many pods have been admitted as a group was made with, or will come with."""
        leader = self.objects.get(("Pod", f"{SET}-{index}"))
        size = int(
            leader["metadata"]["annotations"][names.SIZE]
            if leader
            else self.live["spec"]["leaderWorkerTemplate"]["size"]
        )
        return sum(int(pod_set["count"]) for pod_set in workload["spec"]["podSets"]) == size

    def check(self) -> None:
        """Look whether everything is as it has to be at any time."""
        if self._checked == self._counter:
            return
        self._checked = self._counter
        if self.quiet:
            bounds, ready = self._ready()
            assert len(ready) >= bounds.replicas - bounds.unavailable, "too few groups are ready"
        own = [
            revision
            for revision in self.of_kind("ControllerRevision").values()
            if scenarios.owner_of(revision)["uid"] == self.live["metadata"]["uid"]
        ]
        contents = [scenarios.content(revision["data"]["spec"]) for revision in own]
        assert len(contents) == len(set(contents)), "two revisions of one content"
        for group in self._groups()[1].groups:
            made_from = {pod.meta.labels[names.REVISION_KEY] for pod in group.pods}
            assert made_from == {group.key}, "a group of two revisions"


def play(
    scenario: scenarios.Scenario, model: Model, *, noise: random.Random | None = None
) -> Iterator[scenarios.Picture]:
    """Play a scenario; return the pictures of its rests."""
    for step in scenario.steps:
        if step == scenarios.REST:
            yield model.rest()
            continue
        model.do(step)
        if noise is not None:
            for _ in range(noise.randint(0, 8)):
                # When a pod below a partition goes, its group comes back from another template
                # than it had; so there nothing goes that does not in an undisturbed life.
                model.disturb(noise, violent=model.shape.partition == 0)
