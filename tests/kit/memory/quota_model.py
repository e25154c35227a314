"""The model of a cluster with a clock and a Kueue that has so much quota and no more."""

import datetime
import random

from lws_kueue.api import facts, names, quantity, requests
from lws_kueue.controller.observe import groups
from lws_kueue.workload import conditions
from tests.kit.memory import cluster_model, scenarios
from tests.kit.memory.kubernetes_model import Object, true
from tests.kit.memory.scenarios import SET

_RESOURCE = "cpu"


def asked(spec: Object) -> int:
    """What a pod asks for, in thousandths of a cpu."""
    return requests.of_pod(spec).get(_RESOURCE, 0)


class QuotaModel(cluster_model.Cluster):
    """One set in a queue with ``quota``, whose invariants are looked at after everything.

    ``least_ready`` are so many groups as have to be ready at any time. While the set is
    ``bridging`` some of its pods may be from before it waited for Kueue: nobody counts those.
    """

    # How many passes there are in a second.
    passes = 2

    def __init__(
        self, shape: scenarios.Shape, *, quota: str, max_unavailable_gate: bool = False
    ) -> None:
        super().__init__(max_unavailable_gate=max_unavailable_gate)
        self.quota = quantity.parse(_RESOURCE, quota)
        self.shape = shape
        self.least_ready: int | None = None
        self.bridging = False
        kind = {"apiVersion": names.LWS_API_VERSION, "kind": names.LWS_KIND}
        metadata = {"name": SET, "generation": 1, "labels": shape.labels}
        self.store({**kind, "metadata": metadata, "spec": shape.spec()})

    def store(self, obj: Object) -> None:
        if (obj["kind"], obj["metadata"]["name"]) not in self.objects:
            obj["metadata"]["creationTimestamp"] = conditions.stamp(self.now)
        super().store(obj)

    @property
    def live(self) -> Object:
        return self.objects[names.LWS_KIND, SET]

    def change(self, shape: scenarios.Shape) -> None:
        """Write the set as a person would."""
        self.shape = shape
        live = self.live
        live["metadata"]["labels"] = shape.labels
        live["spec"] = shape.spec()
        live["metadata"]["generation"] += 1
        self.touch(live)

    # Kueue --------------------------------------------------------------------------------

    def cost(self, workload: Object) -> int:
        pod_sets = workload["spec"]["podSets"]
        return sum(one["count"] * asked(one["template"]["spec"]) for one in pod_sets)

    @property
    def used(self) -> int:
        """The quota that is reserved."""
        reserved = (w for w in self.of_kind("Workload").values() if true(w, "QuotaReserved"))
        return sum(self.cost(workload) for workload in reserved)

    def kueue(self) -> None:
        """Let Kueue look at what is pending, the oldest first; what does not fit is passed by."""

        def age(name: str) -> tuple[str, int]:
            meta = self.objects["Workload", name]["metadata"]
            return meta["creationTimestamp"], int(meta["uid"].removeprefix("uid-"))

        for name in sorted(self.pending(), key=age):
            workload = self.objects["Workload", name]
            if self.used + self.cost(workload) <= self.quota:
                self.admit(name)
            elif not any(c["type"] == "QuotaReserved" for c in _conditions(workload)):
                status = workload.setdefault("status", {})
                kept = [*_conditions(workload)]
                new = {"type": "QuotaReserved", "status": "False", "reason": "Pending"}
                new |= {"lastTransitionTime": conditions.stamp(self.now), "message": "no quota"}
                status["conditions"] = [*kept, new]
                self.touch(workload)

    # Time ---------------------------------------------------------------------------------

    def go_on(self, rng: random.Random) -> None:
        """Let a second pass, in which everything happens once or twice, in any order."""
        happenings = [
            *[lambda: self.pass_once(SET)] * self.passes,
            self.end_pods,
            self.collect_garbage,
            self.make_pods,
            self.run_pods,
            self.kueue,
        ]
        rng.shuffle(happenings)
        for happen in happenings:
            happen()
            self.check()
        self.now += datetime.timedelta(seconds=1)

    def settle(self, rng: random.Random, *, seconds: int = 240) -> None:
        """Let time pass until nothing has changed for longer than any wait."""
        still = 0
        for _ in range(seconds):
            before = self._counter
            self.go_on(rng)
            still = still + 1 if self._counter == before else 0
            if still == 8:
                # A group may be overdue only now.
                self.now += datetime.timedelta(minutes=3)
            if still > 10:
                return
        raise AssertionError(f"no rest: {self.story()}")

    def story(self) -> str:
        """Tell what stands where, for failures."""
        leader_set = self.objects.get(("StatefulSet", SET), {"spec": {}})
        spec = leader_set["spec"]
        workloads = {
            name: (true(w, "Admitted"), self.cost(w), w["metadata"].get("deletionTimestamp"))
            for name, w in self.of_kind("Workload").items()
        }
        pods = {
            name: (pod["spec"]["containers"][0]["image"][-1], bool(pod["spec"].get("nodeName")))
            for name, pod in self.of_kind("Pod").items()
        }
        rolling = (spec.get("updateStrategy") or {}).get("rollingUpdate")
        return f"{spec.get('replicas')} {rolling} {workloads} {pods} {self.decide(SET)}"

    # What must not be -----------------------------------------------------------------------

    def ready_groups(self) -> int:
        """How many of the desired groups, and surge groups, have all their pods ready."""
        seen = self.observe(SET)
        assert seen.lws is not None
        found = groups.observe(
            seen.lws, stateful_sets=seen.stateful_sets, pods=seen.pods, services=seen.services
        )
        return sum(
            len(group.pods) == group.size
            and all(pod.ready and not pod.meta.deleting for pod in group.pods)
            for group in found.groups
        )

    def check(self) -> None:
        """Look whether quota and budget are kept."""
        assert self.used <= self.quota, self.story()
        running = [p for p in self.of_kind("Pod").values() if p["spec"].get("nodeName")]
        bound = [pod for pod in running if not facts.Pod.of(pod).finished]
        used = sum(asked(pod["spec"]) for pod in bound)
        if self.shape.queue and not self.bridging:
            assert used <= self.quota, f"{used} of {self.quota} run: {self.story()}"
        if self.least_ready is not None:
            assert self.ready_groups() >= self.least_ready, self.story()

    def _check_release(self, pod: Object) -> None:
        super()._check_release(pod)
        index = pod["metadata"]["labels"][names.GROUP_INDEX]
        (workload,) = (
            w
            for w in self.of_kind("Workload").values()
            if w["metadata"]["annotations"][names.COMPONENT_WORKLOAD_INDEX] == index
        )
        admitted = {asked(one["template"]["spec"]) for one in workload["spec"]["podSets"]}
        if asked(pod["spec"]) not in admitted:
            name = pod["metadata"]["name"]
            raise cluster_model.Violation(f"{name} was released on an admission for other requests")


def _conditions(obj: Object) -> list[Object]:
    return list((obj.get("status") or {}).get("conditions") or ())
