"""A controller that dispatches is killed at any moment, and its groups come to the same end.

Sets live side by side in a manager with two workers, so that each kill meets some of them in the
middle of something. First nothing is killed, which tells how each step ends; then the same has to
come of it with kills. What watched all clusters from outside is judged at the end.
"""

import contextlib
import dataclasses
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from lws_kueue_lab import sandbox, worker_clusters
from lws_kueue_lab.sandbox import audit

from e2e.multikueue import conftest
from lws_kueue.api import names
from tests.kit.kueue import clusters, hunting, killing
from tests.kit.live import harness
from tests.kit.memory import scenarios
from tests.kit.multikueue import lanes, watching

# Ten kills take some minutes, fifty a quarter of an hour. A seed is a series of moments; what they
# meet depends on the machine, and only many meet a set in the middle of everything.
RUNS = int(os.environ.get("LWS_KUEUE_KILLS", "10"))
MANY: Final = 50
SEED = int(os.environ.get("LWS_KUEUE_KILLS_SEED", "5"))
KINDS = frozenset({"create", "scale up", "roll", "evict", "admit", "drain", "scale down", "delete"})
# With three clusters beside it on one machine a step takes longer than with one.
PATIENCE: Final = 300.0

# How many groups there is room for, beside one that an update adds: so one goes to the first
# worker, whose answer to the others is no, and all of them find room in the second one.
GROUPS: Final = 4
ROOM: Final = {"w1": 1, "w2": GROUPS}
DRAINED: Final = "w1"

CONFIGURATION: Final = {"lwsKueue": {"kueueProbeInterval": "2s", "multiKueue": {"enabled": True}}}


def shapes() -> list[scenarios.Shape]:
    """Return the sets of the lives side by side, each in one way unlike the first."""
    usual = scenarios.Shape(replicas=3, size=2, queue=scenarios.QUEUE)
    return [
        usual,
        dataclasses.replace(usual, size=1),
        dataclasses.replace(usual, unavailable=2),
        dataclasses.replace(usual, unavailable=0, surge=1),
    ]


@pytest.fixture(scope="module")
def opened(
    backend: sandbox.Backend, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[clusters.Clusters]:
    with conftest.opening(
        backend,
        tmp_path_factory,
        mode="auto",
        workers=tuple(ROOM),
        nodes=2,
        audit_log=True,
        configuration=CONFIGURATION,
    ) as found:
        workers = [place.cluster for place in found.workers.values()]
        worker_clusters.grant(found.manager.cluster, workers)
        found.kueue(manager=clusters.BRIDGE, workers=clusters.BRIDGE)
        yield found


def lane(
    opened: clusters.Clusters, watch: watching.Watch, namespace: str, shape: scenarios.Shape
) -> lanes.Lane:
    """Make a namespace with queues in all clusters, and the check by which its set dispatches."""
    manager = opened.manager.cluster
    workers = {name: place.cluster for name, place in opened.workers.items()}
    worker_clusters.connect(manager, workers, check=namespace)

    def prepare(cluster: sandbox.Sandbox, groups: int, **spec: Any) -> None:
        harness.make_namespace(cluster, namespace)
        cpu = f"{10 * shape.size * (groups + shape.surge)}m"
        harness.queues(cluster, namespace=namespace, cpu=cpu, name=scenarios.QUEUE, **spec)

    prepare(manager, GROUPS, admissionChecksStrategy=worker_clusters.asking(namespace))
    for name, cluster in workers.items():
        prepare(cluster, ROOM[name])
    worker_clusters.wait_until_usable(manager, check=namespace)
    steps = lanes.life(shape, drained=DRAINED)
    return lanes.Lane(manager, workers, watch, namespace, shape, steps)


def judged(opened: clusters.Clusters, watch: watching.Watch, lane: lanes.Lane) -> list[str]:
    """Return what is wrong with what was seen of a set in all clusters."""
    places = {name: place.cluster for name, place in opened.workers.items()}
    quota = {name: (room + lane.shape.surge) * lane.shape.size for name, room in ROOM.items()}
    return watching.broken(watch, places, namespace=lane.namespace, quota=quota)


@pytest.mark.long(minutes=10)
@pytest.mark.row("MK-42")
def test_kills_of_a_manager_change_neither_where_a_step_ends_nor_where_groups_may_run(
    opened: clusters.Clusters, tmp_path: Path
) -> None:
    manager = opened.manager
    manager.controller.stop()
    mortal = killing.Mortal(
        manager.controller.kubeconfig,
        tmp_path / "mortal.log",
        arguments=manager.controller.arguments,
    )
    places = {name: place.cluster for name, place in opened.workers.items()}
    # Whoever writes to a worker, or to the manager itself.
    logs = [(manager.cluster, killing.USER), *((c, worker_clusters.USER) for c in places.values())]

    def moment(rng: random.Random) -> None:
        cluster, user = rng.choice(logs)
        since = audit.position(cluster)
        killing.await_moment(cluster, killing.moment(rng), since=since, user=user)

    watch = watching.Watch(manager.cluster, places)
    with contextlib.ExitStack() as stack:
        stack.callback(mortal.close)
        stack.enter_context(watch.watching())
        mortal.start()
        players = [
            hunting.Player(lane(opened, watch, f"lives-{number}", shape), PATIENCE)
            for number, shape in enumerate(shapes())
        ]
        hunting.all_calmly(players)
        hunted = hunting.hunt(mortal, players, runs=RUNS, seed=SEED, await_moment=moment)
    lives = [player.lives for player in players]
    print(f"{hunted.runs} kills met {dict(hunted.met)} in {hunted.seconds:.0f} s, {lives} lives")
    wrong = [
        text
        for player in players
        if isinstance(player.lane, lanes.Lane)
        for text in judged(opened, watch, player.lane)
    ]
    assert not hunted.failures, "\n\n".join(hunted.failures) + "\n" + mortal.tail()
    assert not wrong, "\n".join(wrong)
    assert hunted.runs == RUNS
    assert hunted.met.keys() <= KINDS
    assert RUNS < MANY or hunted.met.keys() == KINDS
    for name, cluster in places.items():
        for kind in (lanes.LWS, lanes.WORKLOAD):
            assert cluster.api.list(*kind) == [], f"{kind[1]} is left in {name}"
    assert manager.cluster.api.list(names.KUEUE_API_VERSION, "Workload") == []
