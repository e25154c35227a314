"""Rolling updates with surge groups: how many groups there are at every moment.

All sets are updated at once, and each test looks at one of them (lws-contract 6.5; the numbers are
those of 4.2 and 4.3).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from lws_kueue_lab import sandbox

from lws_kueue.api import names
from tests.kit.live import harness
from tests.kit.lws import checks, sets
from tests.kit.lws.sample import Sample, rollout

# What each set adds to the base. All have four groups, of which one may be unavailable if nothing
# else is said.
BASES: dict[str, dict[str, Any]] = {
    "solo": {"size": 1, "rolloutStrategy": rollout(surge=1)},
    "burst": {"rolloutStrategy": rollout(surge=4)},
    "spare": {"rolloutStrategy": rollout(unavailable=0, surge=1)},
    "parts": {
        "rolloutStrategy": rollout(surge=4),
        "template": {
            "subGroupPolicy": {"subGroupPolicyType": "LeaderWorker", "subGroupSize": 1},
        },
    },
    "unique": {
        "rolloutStrategy": rollout(surge=4),
        "networkConfig": {"subdomainPolicy": "UniquePerReplica"},
    },
}


@dataclass(frozen=True)
class Rolled:
    """The sets after their update, and what was seen from their creation to its end."""

    samples: dict[str, Sample]
    stateful_sets: harness.Recording
    services: harness.Recording

    def groups(self, name: str) -> list[int]:
        """Return how many groups a set was told to have, one number after the other."""
        return sets.replicas_over_time(self.stateful_sets, name)


@pytest.fixture(scope="module")
def rolled(
    installed: sandbox.Sandbox, shared_controller: harness.ControllerProcess
) -> Iterator[Rolled]:
    """The sets, created, updated and settled again."""
    if not shared_controller.running:
        shared_controller.start()
    cluster = installed
    with sets.namespaced(cluster, "surge") as namespace:
        with (
            harness.recording(cluster, *sets.STATEFUL_SET, namespace=namespace) as stateful_sets,
            harness.recording(cluster, *sets.SERVICE, namespace=namespace) as services,
        ):
            samples = {
                name: sets.create(
                    cluster,
                    sets.named(name, namespace=namespace, replicas=4, slow=True, **changes),
                )
                for name, changes in BASES.items()
            }
            for sample in samples.values():
                sets.wait_available(sample, groups=4)
            for sample in samples.values():
                sample.change_templates("2")
            for sample in samples.values():
                sets.wait_available(sample, groups=4)
        yield Rolled(samples, stateful_sets, services)
        print(shared_controller.tail())


def assert_goes_up_once_and_comes_down(groups: list[int], *, top: int) -> None:
    """From four to ``top`` in one step, and back without ever going up again."""
    assert groups[:2] == [4, top], groups
    assert groups[1:] == sorted(groups[1:], reverse=True), groups
    assert groups[-1] == 4, groups


def assert_whole(sample: Sample) -> None:
    """What is left after the update is what the set asks for, and nothing else."""
    checks.leader_set(sample, replicas=4)
    checks.worker_sets(sample)
    checks.eventually(checks.pods, sample)
    checks.condition(sample, "Available")
    checks.condition(sample, "UpdateInProgress", status="False")


@pytest.mark.row("E2E-02")
def test_a_set_of_leaders_only_is_updated_with_one_group_more(rolled: Rolled) -> None:
    assert rolled.groups("solo") == [4, 5, 4]
    sample = rolled.samples["solo"]
    assert_whole(sample)
    # Nor was there ever a worker StatefulSet.
    seen = {event["object"]["metadata"]["name"] for event in rolled.stateful_sets.events}
    assert not any(name.startswith("solo-") for name in seen)


@pytest.mark.row("E2E-05")
def test_no_more_surge_groups_are_made_than_outdated_ones_need(rolled: Rolled) -> None:
    # Four groups are outdated, one of them may be unavailable: three stand in, not four.
    assert_goes_up_once_and_comes_down(rolled.groups("burst"), top=7)
    assert_whole(rolled.samples["burst"])


@pytest.mark.row("E2E-06")
def test_with_nothing_unavailable_each_group_waits_for_the_one_that_stands_in(
    rolled: Rolled,
) -> None:
    assert rolled.groups("spare") == [4, 5, 4]
    assert_whole(rolled.samples["spare"])


@pytest.mark.row("E2E-09")
def test_groups_with_subgroups_surge_like_others(rolled: Rolled) -> None:
    assert_goes_up_once_and_comes_down(rolled.groups("parts"), top=7)
    sample = rolled.samples["parts"]
    assert_whole(sample)
    for name, pod in sample.pods().items():
        labels = pod["metadata"]["labels"]
        # Subgroups of one: a pod's subgroup is its place in the group.
        assert labels[names.SUBGROUP_INDEX] == labels[names.WORKER_INDEX], name


@pytest.mark.row("E2E-14")
def test_services_of_groups_come_and_go_with_the_surge(rolled: Rolled) -> None:
    assert_goes_up_once_and_comes_down(rolled.groups("unique"), top=7)
    sample = rolled.samples["unique"]
    assert_whole(sample)
    # A group that is replaced has no Service for a moment, so who had one says more than how many
    # there were at a time.
    checks.eventually(has_services_of, sample, groups=4)
    assert sets.names_of(rolled.services, "unique") == {f"unique-{group}" for group in range(7)}
    assert max(sets.count_over_time(rolled.services, "unique")) <= 7


def has_services_of(sample: Sample, *, groups: int) -> None:
    """Services of former groups go when the garbage collector gets to them."""
    there = {name for name in sample.services() if name.startswith("unique")}
    assert there == {f"unique-{group}" for group in range(groups)}
