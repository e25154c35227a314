"""Lives of sets whose every plan is on record: what is decided changes only where it is meant to.

A life that decides otherwise on purpose is recorded again (CONTRIBUTING.md says how).
"""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from lws_kueue.api import actions
from lws_kueue.controller import decide
from tests.frozen import recorder
from tests.kit.memory import scenario_model, scenarios

RECORDED = json.loads((Path(__file__).parent / "recording.json").read_text())
LIVES = 100


@pytest.mark.parametrize("seed", range(LIVES))
def test_a_life_is_decided_as_it_was_recorded(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    plans: list[Any] = []
    real = decide.decide

    def heard(*args: Any, **kwargs: Any) -> actions.Plan:
        plan = real(*args, **kwargs)
        plans.append(recorder.fingerprint(recorder.of_plan(plan)))
        return plan

    monkeypatch.setattr(decide, "decide", heard)
    rng = random.Random(seed)
    scenario = scenarios.generate(rng)
    model = scenario_model.Model(scenario.shape, max_unavailable_gate=bool(seed % 2))
    for _ in scenario_model.play(scenario, model, noise=rng):
        pass
    recorded = RECORDED["plans"].get(
        f"{test_a_life_is_decided_as_it_was_recorded.__name__}[{seed}]"
    )
    assert recorder.fingerprint(plans) == recorded
