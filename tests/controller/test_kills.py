"""A process that dies after any of its writes leaves a cluster that the next one finishes.

Every step of the life of a set under quota is played on the model of a cluster: once undisturbed,
then with a process that dies after the n-th write, for every n, with processes of which each comes
to its first write only, and with writes in any order that a plan allows. All end alike.
"""

import dataclasses
import random
from collections.abc import Callable, Iterable, Iterator, Mapping

import pytest

from lws_kueue.api import actions, names
from tests.kit.memory import scenario_model, scenarios
from tests.kit.memory.kubernetes_model import Object, true

SET = scenarios.SET


class Mortal(scenario_model.Model):
    """A cluster whose controller dies once, after so many writes, or again and again.

    While it ``holds``, Kueue admits nothing.
    """

    def __init__(self, shape: scenarios.Shape) -> None:
        self.holds = False
        self.written = 0
        self.dies_after: int | None = None
        self.lives: Callable[[], int] | None = None
        self.shuffles: random.Random | None = None
        super().__init__(shape)

    def pass_once(self, name: str, *, writes: int | None = None) -> bool:
        if self.lives is not None:
            writes = self.lives()
        elif self.dies_after is not None and self.written <= self.dies_after:
            writes = self.dies_after - self.written
        wanted = super().pass_once(name, writes=writes)
        if self.dies_after is not None and self.written >= self.dies_after:
            self.dies_after = None
        return wanted

    def in_order(self, plan: actions.Plan) -> Iterator[actions.Action | actions.StatusWrite]:
        if self.shuffles is not None:
            plan = dataclasses.replace(plan, chains=self._interleaved(plan.chains))
        return super().in_order(plan)

    def _interleaved(self, chains: Iterable[actions.Chain]) -> tuple[actions.Chain, ...]:
        """Return chains of one write each: any order in which chains may go on side by side."""
        assert self.shuffles is not None
        left = [list(chain) for chain in chains]
        done: list[actions.Chain] = []
        while left := [chain for chain in left if chain]:
            done.append((self.shuffles.choice(left).pop(0),))
        return tuple(done)

    def before(self, action: actions.Action | actions.StatusWrite) -> None:
        super().before(action)
        self.written += 1
        match action:
            case actions.Patch(ref=ref) if ref.kind == "Pod":
                self._before_release(self.objects["Pod", ref.name])

    def _before_release(self, pod: Object) -> None:
        """Look that no more pods of a group run than its Workload was admitted for."""
        index = pod["metadata"]["labels"][names.GROUP_INDEX]
        running = sum(
            other["metadata"]["labels"][names.GROUP_INDEX] == index
            and not other["spec"].get("schedulingGates")
            for other in self.of_kind("Pod").values()
        )
        admission = of_group(self, int(index))["status"]["admission"]
        assert running < sum(each["count"] for each in admission["podSetAssignments"])

    def admit_all(self) -> None:
        for name in () if self.holds else self.pending():
            if self.objects["Workload", name]["spec"].get("active", True):
                self.admit(name)

    def check(self) -> None:
        if (names.LWS_KIND, SET) in self.objects:
            super().check()

    def picture(self) -> scenarios.Picture:
        if (names.LWS_KIND, SET) in self.objects:
            return super().picture()
        return scenarios.Picture(leaders=", ".join(sorted(name for _, name in self.objects)))

    def told(self) -> tuple[scenarios.Picture, Mapping[str, str]]:
        """Return all that there is."""
        return self.picture(), {name: said(w) for name, w in self.of_kind("Workload").items()}


def said(workload: Object) -> str:
    kinds = ("QuotaReserved", "Admitted", "Evicted", "PodsReady")
    meta, status = workload["metadata"], workload["status"]
    stands = {kind: true(workload, kind) for kind in kinds}
    return f"{stands} {'admission' in status} {meta['finalizers']} {'deletionTimestamp' in meta}"


def of_group(model: Mortal, index: int) -> Object:
    return next(
        w
        for w in model.of_kind("Workload").values()
        if w["metadata"]["annotations"][names.COMPONENT_WORKLOAD_INDEX] == str(index)
    )


def nothing(_: Mortal) -> None:
    """The set is there: that is all that it takes."""


def admit(model: Mortal) -> None:
    model.holds = False


def evict(model: Mortal) -> None:
    model.evict(of_group(model, 1)["metadata"]["name"])


def deactivate(model: Mortal) -> None:
    evict(model)
    of_group(model, 1)["spec"]["active"] = False


def remove(model: Mortal) -> None:
    """Delete the Workload of a group that runs, as somebody does by hand."""
    model.delete("Workload", of_group(model, 1)["metadata"]["name"])


def delete(model: Mortal) -> None:
    model.delete(names.LWS_KIND, SET)


def go_back(model: Mortal) -> None:
    """Take an update back of which only the first pass was made."""
    model.do(("template", 2))
    model.pass_once(SET, writes=2)
    model.do(("template", 1))


STEPS: Mapping[str, Callable[[Mortal], None]] = {
    "create": nothing,
    "admit": admit,
    "evict": evict,
    "deactivate": deactivate,
    "remove the Workload": remove,
    "roll": lambda model: model.do(("template", 2)),
    "roll half-way and go back": go_back,
    "resize": lambda model: model.do(("size", 3 if model.shape.size == 2 else 2)),
    "scale up": lambda model: model.do(("scale", 4)),
    "scale down": lambda model: model.do(("scale", 1)),
    "delete": delete,
}
QUEUED = scenarios.Shape(replicas=2, size=2, queue=scenarios.QUEUE)
SHAPES = {
    "usual": QUEUED,
    "leader apart": dataclasses.replace(QUEUED, size=3, leader=True, startup="LeaderReady"),
    "surge": dataclasses.replace(QUEUED, unavailable=0, surge=1),
}


def at_the_step(name: str, shape: scenarios.Shape) -> Mortal:
    """Return a cluster in which the step is about to be done, and nothing was written for it."""
    model = Mortal(shape)
    if name != "create":
        model.holds = name == "admit"
        model.rest()
    STEPS[name](model)
    model.written = 0
    return model


def finished(model: Mortal) -> tuple[scenarios.Picture, Mapping[str, str]]:
    model.rest()
    if not model.decide(SET).empty:
        # A process that dies before its first write leaves everything as it was, as in the end.
        model.rest()
    assert model.decide(SET).empty, model.decide(SET)
    return model.told()


ALL = [
    pytest.param(step, shape, id=f"{step}, {name}")
    for step in STEPS
    for name, shape in SHAPES.items()
]
# A resize makes each group anew, one after the other: nothing has more moments to die at.
LONG = {"resize, leader apart", "resize, surge"}
MOMENTS = [
    pytest.param(*row.values, id=row.id, marks=pytest.mark.long if row.id in LONG else ())
    for row in ALL
]


@pytest.mark.parametrize(("step", "shape"), MOMENTS)
def test_after_a_death_at_any_write_the_next_process_finishes(
    step: str, shape: scenarios.Shape
) -> None:
    calm = at_the_step(step, shape)
    expected = finished(calm)
    assert calm.written, "a step without a write has no moment to die at"
    for count in range(calm.written + 1):
        model = at_the_step(step, shape)
        model.dies_after = count
        assert finished(model) == expected, f"died after {count} of {calm.written} writes"


@pytest.mark.parametrize(("step", "shape"), ALL)
def test_processes_that_live_for_one_write_each_finish_together(
    step: str, shape: scenarios.Shape
) -> None:
    expected = finished(at_the_step(step, shape))
    model = at_the_step(step, shape)
    model.lives = lambda: 1
    assert finished(model) == expected


@pytest.mark.parametrize(("step", "shape"), ALL)
def test_processes_that_die_while_writes_come_through_in_any_order_finish_together(
    step: str, shape: scenarios.Shape
) -> None:
    expected = finished(at_the_step(step, shape))
    for seed in range(3):
        rng = random.Random(seed)
        model = at_the_step(step, shape)
        model.shuffles = rng
        model.lives = lambda rng=rng: rng.choice((1, 1, 2, 3, 5))
        assert finished(model) == expected, f"seed {seed}"
