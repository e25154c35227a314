"""Rolling updates end, whatever surge they ask for and however little quota there is."""

from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from lws_kueue_lab import sandbox

from tests.kit.kueue import fleet
from tests.kit.live import harness, selection
from tests.kit.lws import sets
from tests.kit.lws.sample import Object, rollout

SIZE = 2

# What the update changes of the pods: nothing that Kueue admitted, or what it did.
IMAGE, REQUESTS = "image", "requests"


def less_cpu(obj: Object) -> None:
    sets.give_new_image(obj)
    for template in sets.templates(obj):
        template["spec"]["containers"][0]["resources"]["requests"]["cpu"] = "9m"


CHANGES = {IMAGE: sets.give_new_image, REQUESTS: less_cpu}


def member(
    name: str, replicas: int, surge: Any, unavailable: int, *, what: str = IMAGE, headroom: int = 0
) -> fleet.Member:
    body = harness.leader_worker_set(
        name, namespace="", replicas=replicas, size=SIZE, cpu="10m", queue=name
    )
    body["spec"]["rolloutStrategy"] = rollout(unavailable=unavailable, surge=surge)
    return fleet.Member(name, body, CHANGES[what], unavailable, headroom=headroom)


# All combinations that the API takes, with quota for the groups and nothing else.
MATRIX = [
    member(f"r{replicas}-s{surge}-u{unavailable}", replicas, surge, unavailable)
    for replicas in range(1, 7)
    for surge in range(3)
    for unavailable in range(3)
    if surge or unavailable
]
# The rolls of which upstream's pair never ends four, and some more with quota to spare.
NAMED = [
    member("no-headroom-none-down", 3, 1, 0),
    member("no-headroom-one-down", 3, 1, 1),
    member("percent-surge", 4, "25%", 0, headroom=1),
    member("ample-none-down", 4, 1, 0, headroom=1),
    member("ample-one-down", 3, 1, 1, headroom=1),
    member("percent-surge-no-headroom", 4, "50%", 0),
    member("half-of-the-surge-fits", 4, 2, 1, headroom=1),
    member("ample-two-surge", 4, 2, 0, headroom=4),
]
READMITTED = [
    member(f"readmitted-r{replicas}-s{surge}-u{unavailable}", *combination, what=REQUESTS)
    for combination in [(1, 1, 0), (2, 0, 1), (3, 1, 0), (3, 1, 1), (4, 2, 1), (5, 0, 2), (6, 2, 2)]
    for replicas, surge, unavailable in [combination]
]
MEMBERS = (*MATRIX, *NAMED, *READMITTED)

# One of each kind: surge alone, budget alone, both, and one that is admitted anew.
FEW = {"r1-s1-u0", "r3-s0-u1", "r4-s2-u2", "half-of-the-surge-fits", "readmitted-r3-s1-u1"}


@pytest.fixture(scope="module")
def outcome(
    request: pytest.FixtureRequest,
    installed: sandbox.Sandbox,
    shared_controller: harness.ControllerProcess,
) -> Iterator[fleet.Outcome]:
    """All rolls at once, each in a queue of its own."""
    if not shared_controller.running:
        shared_controller.start()
    with sets.namespaced(installed, "rolls") as namespace:
        yield fleet.play(installed, selection.values(request, "one"), namespace=namespace)


def named(members: Iterable[fleet.Member]) -> pytest.MarkDecorator:
    return selection.parametrize("one", members, few=FEW, name=lambda member: member.name)


each = named(MEMBERS)


@each
def test_the_roll_ends_with_all_groups_new_and_no_surge_left(
    outcome: fleet.Outcome, one: fleet.Member
) -> None:
    replicas = one.body["spec"]["replicas"]
    assert one.name not in outcome.refused, outcome.refused[one.name]
    assert one.name in outcome.ended, f"not ended: {sorted(set(outcome.before) - {*outcome.ended})}"
    pods = outcome.pods[one.name]
    assert len(pods) == replicas * SIZE
    assert {pod["spec"]["containers"][0]["image"] for pod in pods.values()} == {sets.NEW_IMAGE}
    assert sorted(outcome.after[one.name]) == [str(index) for index in range(replicas)]


@each
def test_no_more_groups_are_down_than_the_set_allows_or_one(
    outcome: fleet.Outcome, one: fleet.Member
) -> None:
    fewest = outcome.books[one.name].fewest
    assert fewest is not None, "no pod was seen after the change"
    assert fewest >= one.stay


@each
def test_no_pod_runs_but_on_the_admission_of_its_own_group(
    outcome: fleet.Outcome, one: fleet.Member
) -> None:
    book = outcome.books[one.name]
    # Each pod ran once before the roll and once after it.
    assert book.released >= 2 * one.body["spec"]["replicas"] * SIZE
    assert not book.violations, "\n".join(book.violations)


@named([*MATRIX, *NAMED])
def test_a_new_image_rolls_under_the_same_workloads(
    outcome: fleet.Outcome, one: fleet.Member
) -> None:
    assert outcome.after[one.name] == outcome.before[one.name]


@named(READMITTED)
def test_other_requests_are_admitted_anew_for_every_group(
    outcome: fleet.Outcome, one: fleet.Member
) -> None:
    before, after = outcome.before[one.name], outcome.after[one.name]
    assert not set(before.values()) & set(after.values())


@selection.EACH_TIME
def test_usage_never_exceeds_nominal_quota(outcome: fleet.Outcome, which: str) -> None:
    assert outcome.overdrawn == []
