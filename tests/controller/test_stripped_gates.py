"""A minute in which somebody takes the gate from each pod that is made, on a model cluster."""

from collections import Counter
from datetime import timedelta

import pytest

from lws_kueue.api import actions, names
from tests.controller.test_decide import SET, body, environment, gated
from tests.kit.memory import cluster_model, kubernetes_model

BEAT = 0.2


class Model(cluster_model.Remembering):
    """A cluster with a controller that remembers its writes, and with a thief of gates."""

    def __init__(self) -> None:
        super().__init__()
        self.steals = True
        self.stops: Counter[str] = Counter()

    def before(self, action: actions.Action | actions.StatusWrite) -> None:
        if isinstance(action, actions.Delete) and action.stops:
            self.stops[action.ref.name] += 1
            if action.keeping_name:
                self._keep(action.ref, [action.keeping_name])
        super().before(action)

    def _patch(self, ref: actions.Ref, body: kubernetes_model.Object, version: str) -> None:
        if ref.kind == "Pod" and "spec" not in body:
            self._keep(ref, body["metadata"]["finalizers"] or [])
        else:
            super()._patch(ref, body, version)

    def _keep(self, ref: actions.Ref, finalizers: list[str]) -> None:
        pod = self.objects["Pod", ref.name]
        pod["metadata"]["finalizers"] = finalizers
        self.touch(pod)
        self.let_go(pod)

    def live(self, *, seconds: float) -> None:
        for _ in range(int(seconds / BEAT)):
            environment(self)
            for pod in self.of_kind("Pod").values():
                if self.steals and pod["spec"].pop("schedulingGates", None):
                    self.touch(pod)
            self.pass_once(SET)
            self.now += timedelta(seconds=BEAT)


@pytest.fixture
def robbed() -> Model:
    model = Model()
    model.store(body(replicas=2, size=2))
    model.live(seconds=60)
    return model


@pytest.mark.row("WAR-04")
def test_each_name_is_stopped_six_times_in_a_minute_and_the_set_says_why(robbed: Model) -> None:
    assert len(robbed.stops) >= 2
    assert max(robbed.stops.values()) <= 6, robbed.stops
    assert any("scheduling gate" in warning.message for warning in robbed.decide(SET).warnings)
    conditions = robbed.objects[names.LWS_KIND, SET]["status"]["conditions"]
    assert "RepairBackOff" in {one["type"] for one in conditions}


@pytest.mark.row("WAR-04")
def test_when_the_thief_has_gone_all_is_well_after_the_pause(robbed: Model) -> None:
    robbed.steals = False
    robbed.live(seconds=310)
    assert len(gated(robbed)) == 4
    finalizers = [pod["metadata"].get("finalizers") for pod in robbed.of_kind("Pod").values()]
    assert not any(finalizers)
