"""The same clusters with the whole controller in the manager: rollout, surge, admission, dispatch.

`World` plays the set's own controller; here it decides itself, so that what an update makes of the
groups elsewhere is seen as well.
"""

import random
from collections.abc import Iterator
from typing import Any, cast

from lws_kueue.api import actions, kueue, names
from lws_kueue.controller import decide
from lws_kueue.controller.observe import observed
from lws_kueue.dispatch import observed as elsewhere
from tests.kit.builders import builders
from tests.kit.memory import cluster_model
from tests.kit.memory.kubernetes_model import Object, copied, true
from tests.kit.memory.multikueue import manager as played
from tests.kit.memory.multikueue import queue, world


class Kueue(queue.Queue):
    """The manager's Kueue, over the objects of another model."""

    def __init__(self, of: cluster_model.Cluster, clock: queue.Clock, *, quota: int) -> None:
        super().__init__("m", clock, quota=quota, check=played.CHECK)
        self._of = of
        self.objects = of.objects

    def _next(self) -> int:
        return self._of._next()


class Manager(cluster_model.Cluster):
    """A cluster with one set and its controller; what goes elsewhere goes through the world."""

    def __init__(
        self, clock: queue.Clock, *, quota: int, replicas: int, size: int, together: bool
    ) -> None:
        """``together`` says that StatefulSets replace several pods at a time (maxUnavailable)."""
        super().__init__(max_unavailable_gate=together)
        self.clock = clock
        self.admission = Kueue(self, clock, quota=quota)
        self.built_in = False
        self.admission_checks = {
            played.CHECK: builders.check(played.CHECK, names.DISPATCH_CONTROLLER)
        }
        asked = {"admissionChecks": [{"name": played.CHECK}]}
        self.cluster_queues["cq"] = kueue.ClusterQueue.of(
            {"metadata": {"name": "cq"}, "spec": {"admissionChecksStrategy": asked}}
        )
        self.store(_body(replicas, size))

    def store(self, obj: Object) -> None:
        obj["metadata"].setdefault("creationTimestamp", self.stamp())
        super().store(obj)

    @property
    def quota(self) -> int:
        return self.admission.quota

    @property
    def live(self) -> Object | None:
        return self.objects.get((names.LWS_KIND, played.SET))

    @property
    def replicas(self) -> int:
        live = self.live
        return 0 if live is None else int(live["spec"]["replicas"])

    def kueue(self) -> None:
        self.now = self.clock.now
        self.admission.kueue()

    def control(self) -> None:
        """Nothing: the set's controller is that of the process."""

    def edit(self, change: dict[str, Any]) -> None:
        """Merge a change into the set's spec."""
        live = self.live
        assert live is not None
        cluster_model.merge_patch(live["spec"], change)
        live["metadata"]["generation"] += 1
        self.touch(live)

    def image(self, version: int) -> None:
        """Give the set's pods another image."""
        live = self.live
        assert live is not None
        template = copied(live["spec"]["leaderWorkerTemplate"])
        template["workerTemplate"]["spec"]["containers"][0]["image"] = f"app:{version}"
        self.edit({"leaderWorkerTemplate": template})

    def rolling(self, **how: int) -> None:
        """Say how updates go on: partition, maxUnavailable, maxSurge."""
        config = {"partition": 0, "maxUnavailable": 1, "maxSurge": 0, **how}
        strategy = {"type": "RollingUpdate", "rollingUpdateConfiguration": config}
        self.edit({"rolloutStrategy": strategy})

    def take(self, action: actions.Action | actions.StatusWrite) -> None:
        """Do what the API server does with a write.

        Raises:
            queue.Refused: it does not take it.
        """
        applied = isinstance(action, actions.Apply) and action.subresource == "status"
        if applied and isinstance(action, actions.Apply) and action.body["kind"] == "Workload":
            world._apply_status(self.admission, action)
        elif isinstance(action, actions.Patch) and action.subresource == "status":
            # What a gated pod says of another cluster lets nothing go.
            live = world._live(
                self.admission, action.ref.kind, action.ref.name, action.resource_version
            )
            cluster_model.merge_patch(live, copied(action.body))
            self.touch(live)
        else:
            self._carry_out(action)


class Whole(world.World):
    """All clusters, and a process that does everything that the product does about the set."""

    manager: Manager  # type: ignore[assignment]

    def __init__(self, *, together: bool = False, **how: Any) -> None:
        self._together = together
        super().__init__(**how)

    def make_manager(
        self, *, quota: int, replicas: int, size: int, annotations: Object | None
    ) -> played.Manager:
        assert annotations is None, "a set of the whole controller is annotated by its test"
        together = self._together
        made = Manager(self.clock, quota=quota, replicas=replicas, size=size, together=together)
        return cast("played.Manager", made)

    def observe(self) -> observed.Observed:
        self.manager.now = self.clock.now
        workers = elsewhere.Workers(world.MANAGER, self.options, self.clusters())
        seen = self.manager.observe(played.SET).looked_up(workers=workers)
        asked = decide.pods_asked(seen, now=self.clock.now)
        return seen.looked_up(workers=workers.looked_up(self.looked_up(asked)))

    def plan(self) -> actions.Plan:
        return self.manager.planned(self.observe())

    def run(self, rng: random.Random | None = None) -> bool:
        seen = self.observe()
        plan = self.manager.planned(seen)
        if seen.lws is not None:
            self.manager.memory |= decide.complete_members(seen, plan)
        try:
            for chain in _chains(plan):
                try:
                    for action in chain:
                        self._write(action)
                except world.NoAnswer:
                    continue
            if plan.status is not None:
                self.manager.take(plan.status)
        except world.Dead:
            self.restart()
        return not plan.empty

    def restart(self) -> None:
        self.manager.restart()
        super().restart()

    def carry_out(self, target: queue.Queue, action: actions.Action) -> None:
        if cast("object", target) is self.manager:
            self.manager.take(action)
        else:
            super().carry_out(target, action)

    # What has come of it --------------------------------------------------------------------

    @property
    def status(self) -> Object:
        live = self.manager.live
        assert live is not None
        return dict(live.get("status") or {})

    def runs(self) -> dict[int, Object]:
        """The sets of one replica that run groups, by index."""
        return {
            int(one["metadata"]["labels"][names.ORIGIN_GROUP_INDEX]): one
            for link in self.links.values()
            for one in link.cluster.of_kind(names.LWS_KIND).values()
        }

    def images(self) -> dict[int, str]:
        """The image of each group where it runs, as its set says."""
        return {index: image(one) for index, one in sorted(self.runs().items())}

    def ready_groups(self) -> list[int]:
        """The groups all of whose pods are ready where they run."""
        return sorted(
            index
            for index, one in self.runs().items()
            for pods in [self._pods(one["metadata"]["name"])]
            if pods and all(true(pod, "Ready") for pod in pods)
        )

    def _pods(self, name: str) -> list[Object]:
        return [pod for link in self.links.values() for pod in link.cluster.pods_of(name)]

    def uids(self) -> dict[str, str]:
        """All Workloads, in the manager and in workers, and who they are."""
        clusters = {"m": self.manager.objects} | {
            name: link.cluster.objects for name, link in self.links.items()
        }
        return {
            f"{cluster}/{name}": one["metadata"]["uid"]
            for cluster, objects in clusters.items()
            for (kind, name), one in objects.items()
            if kind == "Workload"
        }

    def rounds(self, number: int) -> None:
        """Let everything happen once a second for so many seconds."""
        for _ in range(number):
            for happen in self.actors():
                happen()
                self.check()
            self.look()
            self.run()
            self.tick()


def image(one: Object) -> str:
    template = one["spec"]["leaderWorkerTemplate"]["workerTemplate"]
    return str(template["spec"]["containers"][0]["image"])


def _chains(plan: actions.Plan) -> Iterator[actions.Chain]:
    yield plan.prepare
    yield from plan.chains
    yield plan.finish


def _body(replicas: int, size: int) -> Object:
    container = {"name": "c", "image": "app:1", "resources": {"requests": {"cpu": "1"}}}
    template = {"metadata": {}, "spec": {"containers": [container]}}
    return {
        "apiVersion": names.LWS_API_VERSION,
        "kind": names.LWS_KIND,
        "metadata": {
            "name": played.SET,
            "generation": 1,
            "labels": {names.QUEUE_NAME: "queue"},
            "annotations": {},
        },
        "spec": {
            "replicas": replicas,
            "leaderWorkerTemplate": {"size": size, "workerTemplate": template},
        },
    }
