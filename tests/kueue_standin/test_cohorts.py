"""Cohorts: queues borrow, lend and take back what is theirs."""

from typing import Any

from tests.kit.builders import cluster as build
from tests.kit.standin.world import World


def queue(
    world: World, name: str, cpu: str, *, limits: dict[str, str] | None = None, **spec: Any
) -> None:
    """Add a ClusterQueue of cohort "c", and its LocalQueue."""
    if ("ResourceFlavor", "", "default") not in world.objects:
        world.add("ResourceFlavor", "default")
    made = build.cluster_queue(name, {"default": {"cpu": cpu}}, cohortName="c", **spec)["spec"]
    made["resourceGroups"][0]["flavors"][0]["resources"][0] |= limits or {}
    world.add("ClusterQueue", name, spec=made)
    world.add("LocalQueue", name, spec={"clusterQueue": name})


def ask(world: World, name: str, to: str, **given: Any) -> None:
    """Let a Workload ask for quota in a queue."""
    world.workload(name, queueName=to, **given)


def test_a_queue_borrows_what_another_one_does_not_use() -> None:
    world = World()
    queue(world, "a", "1")
    queue(world, "b", "2")
    ask(world, "w", "a", cpu="3")
    world.settle()
    assert world.admitted() == ["w"]


def test_what_a_queue_does_not_lend_is_not_borrowed() -> None:
    world = World()
    queue(world, "a", "1")
    queue(world, "b", "2", limits={"lendingLimit": "1"})
    ask(world, "w", "a", cpu="3")
    world.settle()
    assert world.admitted() == []
    assert "> maximum capacity (2)" in world.condition("w", "QuotaReserved")[2]


def test_a_queue_takes_back_what_is_its_own_from_who_borrows_it() -> None:
    world = World()
    queue(world, "a", "1", preemption={"reclaimWithinCohort": "Any"})
    queue(world, "b", "1")
    ask(world, "borrows", "b", cpu="2", priority=100)
    world.settle()
    assert world.admitted() == ["borrows"]
    ask(world, "owns", "a", cpu="1")
    world.settle()
    message = (
        "Preempted to accommodate a workload (UID: uid-owns, JobUID: UNKNOWN) due to reclamation"
        " within the cohort; preemptor path: /c/a; preemptee path: /c/b"
    )
    assert world.condition("borrows", "Evicted") == ("True", "Preempted", message)
    assert world.condition("borrows", "Preempted") == ("True", "InCohortReclamation", message)
    world.stop_pods("borrows")
    world.settle()
    assert world.admitted() == ["owns"]


def test_without_the_policy_nothing_is_taken_back() -> None:
    world = World()
    queue(world, "a", "1")
    queue(world, "b", "1")
    ask(world, "borrows", "b", cpu="2")
    world.settle()
    ask(world, "owns", "a", cpu="1", priority=100)
    world.settle()
    assert world.admitted() == ["borrows"]


def test_who_need_not_borrow_comes_before_who_has_to() -> None:
    world = World()
    queue(world, "a", "1")
    queue(world, "b", "1")
    ask(world, "urgent", "a", cpu="2", priority=100)
    ask(world, "modest", "b", cpu="1")
    world.settle()
    assert world.admitted() == ["modest"]
