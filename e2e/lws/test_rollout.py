"""Every worked example of a rolling update, step by step (CTL-27 to 40, 47, 48, 50 and 51)."""

from collections.abc import Iterator

import pytest
from lws_kueue_lab import sandbox

from tests.kit.live import harness, selection
from tests.kit.lws import playing, scenarios, sets

ROWS = {
    "x1": "CTL-27",
    "x2": "CTL-28",
    "x3": "CTL-29",
    "x4": "CTL-30",
    "x5": "CTL-31",
    "x6": "CTL-32",
    "x7": "CTL-33",
    "x8": "CTL-34",
    "x9": "CTL-35",
    "x10": "CTL-36",
    "x11": "CTL-37",
    "x12": "CTL-38",
    "x13": "CTL-39",
    "x14": "CTL-40",
    "x15": "CTL-47",
    "x16": "CTL-48",
    "x17": "CTL-50",
    "x18": "CTL-51",
}


# Budget, surge, both with a change of replicas, what is broken already, and a partition.
FEW = {"x2", "x10", "x15"}


@pytest.fixture(scope="module")
def faults(
    request: pytest.FixtureRequest,
    backend: sandbox.Backend,
    installed: sandbox.Sandbox,
    shared_controller: harness.ControllerProcess,
) -> Iterator[dict[str, BaseException | None]]:
    """What went wrong in each scenario of the tests that run; all are played at once."""
    if backend == "kubeconfig":
        pytest.skip("needs pods whose readiness kwok plays; those of a given cluster are real")
    if not shared_controller.running:
        shared_controller.start()
    plays = {name: scenarios.PLAYS[name] for name in selection.values(request, "name")}
    with sets.namespaced(installed, "rollout") as namespace:
        yield playing.play(installed, namespace=namespace, plays=plays)


@pytest.mark.usefixtures("controller")
@pytest.mark.row("ACC-1", "ACC-2", "ACC-4", "ACC-5", "ACC-6")
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            name, marks=[pytest.mark.row(row), *(() if name in FEW else (pytest.mark.long,))]
        )
        for name, row in ROWS.items()
    ],
)
def test_a_rollout_goes_through_the_stages_of_its_row(
    name: str, faults: dict[str, BaseException | None]
) -> None:
    fault = faults[name]
    if fault is not None:
        raise fault
