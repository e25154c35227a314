"""Every worked example of a rolling update, step by step (CTL-27 to 40, 47, 48, 50 and 51)."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pytest
from lws_kueue_lab import sandbox

from lws_kueue.api import names
from tests.kit.live import harness, selection
from tests.kit.lws import checks, scenarios, sets
from tests.kit.lws.sample import LWS, Sample, base
from tests.kit.lws.scenarios import Check, Play, Seen, says, that

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

PATIENCE = 90.0
_INTERVAL = 0.2


@dataclass(slots=True)
class _Player:
    """A scenario that is being played: what it waits for, and since when."""

    one: Sample
    steps: Iterator[Check]
    waits_for: Check | None = None
    since: float = 0.0
    fault: BaseException | None = None

    @property
    def plays(self) -> bool:
        return self.fault is None and self.waits_for is not None

    def go_on(self) -> None:
        """Play on to the next thing to wait for; None if there is none."""
        self.waits_for, self.since = next(self.steps, None), time.monotonic()

    def look(self, seen: Seen | None) -> None:
        """Go on as far as what is seen lets it."""
        assert self.waits_for is not None
        try:
            assert seen is not None, "no set, or no leader StatefulSet"
            self.waits_for(seen)
        except (AssertionError, LookupError) as unmet:
            if time.monotonic() - self.since > PATIENCE:
                unmet.add_note(self._describe())
                self.fault = unmet
            return
        try:
            self.go_on()
        except Exception as fault:
            self.fault = fault

    def _describe(self) -> str:
        """Return what the pods of the set are like."""
        lines = []
        for name, pod in self.one.pods().items():
            meta, ready = pod["metadata"], harness.condition(pod, "Ready") or {}
            lines.append(
                f"{name} {meta['labels'].get(names.REVISION_KEY)} {pod['status']['phase']} "
                f"ready={ready.get('status')} {meta.get('annotations')} "
                f"deleting={'deletionTimestamp' in meta}"
            )
        lines += [f"{reason}: {text}" for reason, text in self.one.events()]
        return "\n".join(lines)


def play(
    cluster: sandbox.Sandbox, *, namespace: str, plays: Mapping[str, Play]
) -> dict[str, BaseException | None]:
    """Play scenarios to their ends, in sets of their names; returns what went wrong, if anything.

    A scenario that fails stops where it is, and holds up no other.
    """
    players = {}
    for name, chosen in plays.items():
        obj = base(namespace, replicas=chosen.replicas, held=True, rolloutStrategy=chosen.strategy)
        obj["metadata"]["name"] = name
        cluster.api.create(obj)
        one = Sample(cluster, namespace, name)
        players[name] = _Player(one, _whole(one, chosen))
        players[name].go_on()
    while any(player.plays for player in players.values()):
        seen = _look(cluster, namespace)
        for name, player in players.items():
            if player.plays:
                player.look(seen.get(name))
        time.sleep(_INTERVAL)
    return {name: player.fault for name, player in players.items()}


def _whole(one: Sample, chosen: Play) -> Iterator[Check]:
    """A scenario with what is before it and after it: an available set."""
    yield that(checks.worker_sets, one)
    if not chosen.broken:
        one.release(*range(chosen.replicas))
        yield says(Available=True)
    yield from chosen.scenario(one)
    yield says(Available=True, Progressing=False, UpdateInProgress=False)
    replicas = one.get()["spec"]["replicas"]
    yield that(checks.leader_set, one, replicas=replicas)
    yield that(checks.worker_sets, one)
    yield that(checks.pods, one)
    yield that(checks.revisions, one, count=1)


def _look(cluster: sandbox.Sandbox, namespace: str) -> dict[str, Seen]:
    """Read all sets and their leader StatefulSets at once."""
    sets = cluster.api.list(*LWS, namespace=namespace)
    # Worker StatefulSets say which group they are of; there are many of them.
    leader_sets = {
        obj["metadata"]["name"]: obj
        for obj in cluster.api.list(
            "apps/v1", "StatefulSet", namespace=namespace, label_selector=f"!{names.GROUP_INDEX}"
        )
    }
    return {
        name: Seen(obj, leader_sets[name])
        for obj in sets
        if (name := obj["metadata"]["name"]) in leader_sets
    }


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
        yield play(installed, namespace=namespace, plays=plays)


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
