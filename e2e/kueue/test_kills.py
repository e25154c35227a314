"""A controller that is killed at any moment finishes what it began, and nothing runs without quota.

Sets live side by side, so that each kill meets some of them in the middle of something. First
nothing is killed, which tells how each step ends; then the same has to come of it with a hundred
kills. An independent watcher sees all of it.
"""

import collections
import contextlib
import os
import random
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from lws_kueue_lab import sandbox
from lws_kueue_lab.sandbox import audit

from lws_kueue.api import names
from tests.kit.judge import history, watcher
from tests.kit.kueue import hunting, killing, lanes
from tests.kit.live import harness
from tests.kit.memory import scenarios

# A hundred kills take about five minutes. A seed is a series of moments; what they meet
# depends on the machine.
RUNS = int(os.environ.get("LWS_KUEUE_KILLS", "100"))
SEED = int(os.environ.get("LWS_KUEUE_KILLS_SEED", "5"))
# How many pods there may be for each one that there is without kills.
MOST_PODS = 1.25
KINDS = frozenset({"create", "admit", "evict", "roll", "scale up", "scale down", "delete"})


@contextlib.contextmanager
def high_priority(cluster: sandbox.Sandbox) -> Iterator[None]:
    body = {
        "apiVersion": names.KUEUE_API_VERSION,
        "kind": "WorkloadPriorityClass",
        "metadata": {"name": lanes.HIGH},
        "value": 1000,
    }
    cluster.api.apply(body)
    try:
        yield
    finally:
        cluster.api.delete(names.KUEUE_API_VERSION, "WorkloadPriorityClass", lanes.HIGH)


def prepare(cluster: sandbox.Sandbox, namespace: str, *, groups: int, size: int) -> None:
    """Make queues with quota for so many groups, and none of it to spare."""
    cpu = f"{10 * groups * size}m"
    harness.queues(cluster, namespace=namespace, cpu=cpu, name=scenarios.QUEUE)
    cluster.api.patch(
        names.KUEUE_API_VERSION,
        "ClusterQueue",
        namespace,
        body={"spec": {"preemption": {"withinClusterQueue": "LowerPriority"}}},
    )


@contextlib.contextmanager
def playing(
    cluster: sandbox.Sandbox, seen: watcher.Watcher, *, namespace: str
) -> Iterator[list[hunting.Player]]:
    """Make the lanes: lives of sets that are alike but for one thing, and a contest for quota."""
    rivals = scenarios.Shape(replicas=3, size=2, queue=scenarios.QUEUE)
    units = [*((unit, lanes.life(unit=unit), False) for unit in lanes.shapes())]
    units.append((rivals, lanes.contest(unit=rivals), True))
    with high_priority(cluster), contextlib.ExitStack() as stack:
        players = []
        for number, (unit, steps, interchangeable) in enumerate(units):
            own = stack.enter_context(harness.own_namespace(cluster, f"{namespace}-{number}"))
            prepare(cluster, own, groups=3 + unit.surge, size=unit.size)
            lane = lanes.Lane(cluster, seen, own, unit, steps, interchangeable=interchangeable)
            players.append(hunting.Player(lane))
        yield players


def pods(facts: Iterable[history.Fact]) -> collections.Counter[str]:
    """How many pods there ever were in each namespace."""
    found = {fact.uid: fact.namespace for fact in facts if isinstance(fact, history.PodSeen)}
    return collections.Counter(found.values())


@pytest.mark.long(minutes=8)
def test_kills_change_neither_how_a_step_ends_nor_who_may_run(
    installed: sandbox.Sandbox,
    controller: harness.ControllerProcess,
    namespace: str,
    tmp_path: Path,
) -> None:
    if installed.audit_log is None:
        pytest.skip("the moments are counted in the audit log, which this cluster has not")

    def mine(name: str) -> bool:
        return name.startswith(namespace)

    def moment(rng: random.Random) -> None:
        since = audit.position(installed)
        killing.await_moment(installed, killing.moment(rng), since=since)

    controller.stop()
    mortal = killing.Mortal(controller.kubeconfig, tmp_path / "mortal.log")
    seen = watcher.Watcher(installed)
    with contextlib.ExitStack() as stack:
        stack.callback(mortal.close)
        stack.enter_context(seen.watching())
        players = stack.enter_context(playing(installed, seen, namespace=namespace))
        mortal.start()
        hunting.all_calmly(players)
        calm = pods(seen.facts(namespaces=mine))
        hunted = hunting.hunt(mortal, players, runs=RUNS, seed=SEED, await_moment=moment)
    facts = seen.facts(namespaces=mine)
    verdict, made = history.judge(facts), pods(facts) - calm
    usual = sum(calm[player.lane.namespace] * player.lives for player in players)
    print(f"{hunted.runs} kills met {dict(hunted.met)}; {verdict.bound} pods got a node")
    print(f"{made.total()} pods were made, {usual} are usual; {hunted.seconds:.0f} s")
    assert not hunted.failures, "\n\n".join(hunted.failures) + "\n" + mortal.tail()
    assert not verdict.violations, "\n".join(verdict.violations)
    assert hunted.runs == RUNS
    assert hunted.met.keys() == KINDS
    assert min(hunted.met.values()) >= RUNS // 20, hunted.met
    # A process that forgot what it saw takes no group for failed that is not.
    assert RUNS < made.total() < MOST_PODS * usual
