"""Whatever somebody does who may edit a namespace: what runs and is not stopped is admitted.

The judge knows nothing of the controller's rules. After each pass it adds up what can run in each
group, and compares that with what the Workload of the group was admitted for.
"""

import copy
import dataclasses
import random
from collections.abc import Callable
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from lws_kueue.api import facts, names, quantity
from tests.kit.examples import examples
from tests.kit.memory import scenarios
from tests.kit.memory.kubernetes_model import MADE_FROM, Object, true
from tests.kit.memory.quota_model import QuotaModel, asked
from tests.kit.memory.scenarios import SET

STEPS = 60
CPU = "10m"
EACH = quantity.parse("cpu", CPU)


class Model(QuotaModel):
    """A cluster whose Kueue says how much it admits, and whose judge looks after each pass."""

    passes = 1

    def admit(self, name: str) -> None:
        super().admit(name)
        workload = self.objects["Workload", name]
        for one, pod_set in zip(
            workload["status"]["admission"]["podSetAssignments"],
            workload["spec"]["podSets"],
            strict=True,
        ):
            milli = one["count"] * asked(pod_set["template"]["spec"])
            one["resourceUsage"] = {"cpu": f"{milli}m"}

    def check(self) -> None:
        """The quota that is reserved is never exceeded; what runs is judged after each pass."""
        assert self.used <= self.quota, self.story()

    def _check_release(self, pod: Object) -> None:
        """Labels say nothing here: the judge goes by names."""

    def pass_once(self, name: str, *, writes: int | None = None) -> bool:
        wrote = super().pass_once(name, writes=writes)
        self.collect_garbage()
        self.judge()
        return wrote

    def judge(self) -> None:
        """Compare what can run in each group with what was admitted for it."""
        there = (names.LWS_KIND, SET) in self.objects
        groups: dict[str, list[Object]] = {}
        for pod in self.of_kind("Pod").values():
            meta = pod["metadata"]
            marked = names.POD_SUSPENDING_PARENT in (meta.get("annotations") or {})
            gated = pod["spec"].get("schedulingGates")
            stopped = "deletionTimestamp" in meta or facts.Pod.of(pod).finished
            # Without its set a pod that has lost its mark cannot be told from any other.
            if not gated and not stopped and (there or marked):
                groups.setdefault(meta["name"].split("-")[1], []).append(pod)
        for index, pods in groups.items():
            count, milli = self._admitted(index)
            runs = sum(asked(pod["spec"]) for pod in pods)
            told = f"{sorted(p['metadata']['name'] for p in pods)}: {runs}m of {milli}m"
            assert len(pods) <= count, f"{told}: {self.story()}"
            assert runs <= milli, f"{told}: {self.story()}"

    def _admitted(self, index: str) -> tuple[int, int]:
        count = milli = 0
        for workload in self.of_kind("Workload").values():
            meta = workload["metadata"]
            if meta["annotations"][names.COMPONENT_WORKLOAD_INDEX] != index:
                continue
            # While it is being deleted its quota is not given to anybody else.
            holds = true(workload, "QuotaReserved") and "deletionTimestamp" in meta
            if (true(workload, "Admitted") and not true(workload, "Evicted")) or holds:
                for one in workload["status"]["admission"]["podSetAssignments"]:
                    count += one["count"]
                    milli += quantity.parse("cpu", one["resourceUsage"]["cpu"])
        return count, milli


def queued(rng: random.Random) -> Model:
    """Return a set in a queue, for all or for some of whose groups there is room."""
    replicas, size = rng.randint(1, 3), rng.randint(1, 3)
    shape = scenarios.Shape(
        replicas,
        size,
        queue=scenarios.QUEUE,
        cpu=CPU,
        partition=rng.choice([0, 0, replicas]),
        policy=rng.choice(["RecreateGroupOnPodRestart", "None"]),
    )
    room = rng.randint(0, replicas) * size * EACH
    model = Model(shape, quota=f"{room}m")
    for _ in range(rng.randint(0, 12)):
        model.go_on(rng)
    return model


# What somebody may do ---------------------------------------------------------------------------


def _pick(rng: random.Random, model: Model, kind: str) -> Object | None:
    found = model.of_kind(kind)
    return found[rng.choice(sorted(found))] if found else None


def take_gate(rng: random.Random, model: Model, pod: Object) -> None:
    pod["spec"] = {k: v for k, v in pod["spec"].items() if k != "schedulingGates"}


def take_mark(rng: random.Random, model: Model, pod: Object) -> None:
    (pod["metadata"].get("annotations") or {}).pop(names.POD_SUSPENDING_PARENT, None)


def forge_origin(rng: random.Random, model: Model, pod: Object) -> None:
    revisions = [*model.kept_templates(), "x"]
    pod["metadata"]["labels"][MADE_FROM] = rng.choice(revisions)


def forge_release(rng: random.Random, model: Model, pod: Object) -> None:
    workloads = [*model.of_kind("Workload"), "x"]
    annotations = pod["metadata"].setdefault("annotations", {})
    annotations[names.WORKLOAD] = rng.choice(workloads)
    pod["metadata"]["labels"][names.PODSET] = rng.choice(["main", "leader", "worker"])


def forge_place(rng: random.Random, model: Model, pod: Object) -> None:
    key = rng.choice([names.GROUP_INDEX, names.WORKER_INDEX, names.REVISION_KEY])
    pod["metadata"]["labels"][key] = rng.choice(["0", "1", "2", "7", "x"])


def resize(rng: random.Random, model: Model, pod: Object) -> None:
    container = copy.deepcopy(pod["spec"]["containers"][0])
    container["resources"]["requests"]["cpu"] = rng.choice(["5m", "20m", "1", "1E9"])
    pod["spec"] = {**pod["spec"], "containers": [container, *pod["spec"]["containers"][1:]]}


def finalize(rng: random.Random, model: Model, pod: Object) -> None:
    kept = [f for f in pod["metadata"].get("finalizers", ()) if f != "example.com/hold"]
    pod["metadata"]["finalizers"] = rng.choice([kept, [*kept, "example.com/hold"]])


def open_template(rng: random.Random, model: Model, owner: Object) -> None:
    owner["spec"]["template"]["spec"].pop("schedulingGates", None)
    if rng.random() < 0.5:
        (owner["spec"]["template"]["metadata"].get("annotations") or {}).pop(
            names.POD_SUSPENDING_PARENT, None
        )


def swell_template(rng: random.Random, model: Model, owner: Object) -> None:
    spec = owner["spec"]["template"]["spec"]
    if rng.random() < 0.5:
        spec["containers"][0]["resources"]["requests"]["cpu"] = "1"
    else:
        more = {"name": "more", "image": "x", "resources": {"requests": {"cpu": "1"}}}
        spec["containers"] = [spec["containers"][0], more]


def rescale(rng: random.Random, model: Model, owner: Object) -> None:
    owner["spec"]["replicas"] = rng.randint(0, 4)


OF_PODS: tuple[Callable[[random.Random, Model, Object], None], ...] = (
    take_gate,
    take_gate,
    take_mark,
    forge_origin,
    forge_release,
    forge_place,
    resize,
    finalize,
)
OF_STATEFUL_SETS: tuple[Callable[[random.Random, Model, Object], None], ...] = (
    open_template,
    swell_template,
    rescale,
)


def edit(rng: random.Random, model: Model) -> None:
    """Somebody does one of these things."""
    kind, deeds = rng.choice(
        [("Pod", OF_PODS), ("Pod", OF_PODS), ("StatefulSet", OF_STATEFUL_SETS)]
    )
    obj = _pick(rng, model, kind)
    if obj is None:
        return
    if kind == "StatefulSet" and not model.has_looked_at(obj):
        return  # Whoever is as fast as that can only be stopped by a policy (docs/security.md).
    changed = copy.deepcopy(obj)
    rng.choice(deeds)(rng, model, changed)
    if kind == "StatefulSet" and changed["spec"] != obj["spec"]:
        changed["metadata"]["generation"] += 1
    model.objects[kind, obj["metadata"]["name"]] = changed
    model.touch(changed)
    model.let_go(changed)


def smuggle(rng: random.Random, model: Model) -> None:
    """Somebody makes a pod as if a StatefulSet of the set had made it, without the gate."""
    owner, twin = _pick(rng, model, "StatefulSet"), _pick(rng, model, "Pod")
    if owner is None or twin is None:
        return
    name = f"{owner['metadata']['name']}-{rng.randint(0, 4)}"
    if ("Pod", name) in model.objects:
        return
    meta: dict[str, Any] = copy.deepcopy(twin["metadata"])
    for key in ("deletionTimestamp", "deletionGracePeriodSeconds", "finalizers"):
        meta.pop(key, None)
    reference = {"kind": "StatefulSet", "name": owner["metadata"]["name"], "controller": True}
    meta |= {"name": name, "ownerReferences": [reference | {"uid": owner["metadata"]["uid"]}]}
    spec = {k: v for k, v in twin["spec"].items() if k not in ("schedulingGates", "nodeName")}
    model.store({"kind": "Pod", "metadata": meta, "spec": spec, "status": {"phase": "Pending"}})


def waits(model: Model) -> bool:
    """Whether anything says that the set waits for Kueue, which nobody can forge."""
    status = model.objects.get((names.LWS_KIND, SET), {}).get("status") or {}
    told = any(one["type"] == names.WAITING for one in status.get("conditions") or ())
    return told or bool(model.of_kind("Workload"))


def supplant(rng: random.Random, model: Model) -> None:
    """Somebody deletes a StatefulSet and makes another one of its name, whose pods have no gate."""
    own = _pick(rng, model, "StatefulSet")
    if own is None or not waits(model):
        return  # Whoever is as fast as that can only be stopped by a policy (docs/security.md).
    name = own["metadata"]["name"]
    meta = {"name": name, "labels": copy.deepcopy(own["metadata"]["labels"])}
    if rng.random() < 0.7:
        meta["ownerReferences"] = copy.deepcopy(own["metadata"].get("ownerReferences") or [])
    forged: Object = {"kind": "StatefulSet", "metadata": meta, "spec": copy.deepcopy(own["spec"])}
    forged["spec"] |= rng.choice([{}, {"serviceName": "another"}])
    template = forged["spec"]["template"]
    template["spec"].pop("schedulingGates", None)
    template["metadata"]["annotations"].pop(names.POD_SUSPENDING_PARENT, None)
    del model.objects["StatefulSet", name]
    model.collect_garbage()
    model.store(forged)


def rewrite(rng: random.Random, model: Model) -> None:
    """Somebody edits the set itself."""
    if (names.LWS_KIND, SET) in model.objects:
        shape = model.shape
        changes: dict[str, Any] = rng.choice(
            [{"replicas": rng.randint(0, 3)}, {"cpu": rng.choice(["5m", "10m", "20m"])}]
        )
        model.change(dataclasses.replace(shape, **changes))


def pretend(rng: random.Random, model: Model) -> None:
    """Somebody marks the set as Kueue's own, where it is known that it is not, or is not known."""
    live = model.objects.get((names.LWS_KIND, SET))
    if live is None:
        return
    template = live["spec"]["leaderWorkerTemplate"]["workerTemplate"]
    template["metadata"] = {
        "annotations": {names.POD_SUSPENDING_PARENT: names.KUEUE_LWS_FRAMEWORK},
    }
    live["metadata"]["generation"] += 1
    model.touch(live)
    model.built_in = rng.choice([None, False])


def take_back(rng: random.Random, model: Model) -> None:
    """Kueue evicts a group."""
    if admitted := model.admitted():
        model.evict(rng.choice(admitted))


def leave(rng: random.Random, model: Model) -> None:
    """Somebody deletes the set and leaves its children, or puts a finalizer in the way."""
    live = model.objects.get((names.LWS_KIND, SET))
    if live is None:
        return
    if rng.random() < 0.5:
        live["metadata"]["deletionTimestamp"] = "2030-01-01T00:00:00Z"
        live["metadata"]["finalizers"] = ["example.com/hold"]
        model.touch(live)
        return
    uid = live["metadata"]["uid"]
    for obj in model.objects.values():
        owners = obj["metadata"].get("ownerReferences") or []
        if any(owner["uid"] == uid for owner in owners):
            obj["metadata"]["ownerReferences"] = [o for o in owners if o["uid"] != uid]
            model.touch(obj)
    del model.objects[names.LWS_KIND, SET]


DEEDS: tuple[tuple[Callable[[random.Random, Model], None], int], ...] = (
    (edit, 10),
    (smuggle, 2),
    (rewrite, 1),
    (pretend, 1),
    (take_back, 1),
)


# Of a set that is scaled to 0 nothing says any more that it waits: then only a policy keeps others
# from making StatefulSets in the place of its own (docs/security.md).
SUPPLANTS = (*(one for one in DEEDS if one[0] is not rewrite), (supplant, 2))


def live(seed: int, *, steps: int = STEPS, leaves: bool = False, does: Any = DEEDS) -> None:
    """Play one life; the judge speaks up where something runs that must not."""
    rng = random.Random(seed)
    model = queued(rng)
    deeds, weights = zip(*does, strict=True)
    for step in range(steps):
        if leaves and step == steps // 2:
            leave(rng, model)
        for deed in rng.choices(deeds, weights, k=rng.randint(0, 3)):
            deed(rng, model)
        model.go_on(rng)


@hypothesis.settings(examples(1200, few=40), derandomize=True)
@hypothesis.given(seed=st.integers(0, 2**32))
def test_what_runs_and_is_not_stopped_is_admitted_whatever_somebody_does(seed: int) -> None:
    live(seed)


@hypothesis.settings(examples(800, few=30), derandomize=True)
@hypothesis.given(seed=st.integers(0, 2**32))
def test_what_was_made_to_wait_does_not_run_when_its_set_is_going_or_gone(seed: int) -> None:
    live(seed, leaves=True)


@hypothesis.settings(examples(200, few=20), derandomize=True)
@hypothesis.given(seed=st.integers(0, 2**32))
def test_what_runs_is_admitted_where_statefulsets_of_others_take_the_place_of_a_sets_own(
    seed: int,
) -> None:
    live(seed, does=SUPPLANTS)


@pytest.mark.parametrize("deed", [*OF_PODS[1:], *OF_STATEFUL_SETS], ids=lambda one: one.__name__)
def test_one_thing_done_to_everything_again_and_again_lets_nothing_run(
    deed: Callable[[random.Random, Model, Object], None],
) -> None:
    rng = random.Random(1)
    model = queued(rng)
    kind = "StatefulSet" if deed in OF_STATEFUL_SETS else "Pod"
    for _ in range(20):
        for obj in model.of_kind(kind).values():
            deed(rng, model, obj)
            take_gate(rng, model, obj) if kind == "Pod" else None
            model.touch(obj)
        model.go_on(rng)
