"""The worked examples of a rolling update, to be played on a real control plane (lws-contract 4.4).

A scenario changes its set and yields what has to become true before it goes on; ``test_rollout.py``
plays them.

The table's stages are those of upstream's tests, which have no StatefulSet controller: there a
group that the partition has opened stays ready and outdated until the test replaces it. Here it is
replaced at once, and waits, updated and not ready, for its release. Written ``(partition, replicas,
ready, updated)``, the stages here have as many groups fewer ready and as many more updated as are
being replaced. Surge groups are at the new revision from the start.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from tests.kit.lws import checks
from tests.kit.lws.sample import Object, Sample, Stage, rollout, stage_of


@dataclass(frozen=True, slots=True)
class Seen:
    """A set and its leader StatefulSet, as one look at the namespace showed them."""

    obj: Object
    leader_set: Object


Check = Callable[[Seen], None]
Scenario = Callable[[Sample], Iterator[Check]]


@dataclass(frozen=True, slots=True)
class Play:
    """A scenario, and the set that it begins with: available, unless it is ``broken``."""

    scenario: Scenario
    replicas: int
    strategy: Object = field(default_factory=rollout)
    broken: bool = False


def at(*expected: int) -> Check:
    """The rollout is at a stage: partition, replicas, ready and updated groups."""

    def check(seen: Seen) -> None:
        assert stage_of(seen.obj, seen.leader_set) == expected

    return check


def says(**conditions: bool) -> Check:
    """The set has these conditions, True or False."""

    def check(seen: Seen) -> None:
        for kind, value in conditions.items():
            checks.condition_of(seen.obj, kind, status=str(value))

    return check


def that(check: Callable[..., None], *args: object, **kwargs: object) -> Check:
    """A composite check passes."""
    return lambda _: check(*args, **kwargs)


def released(one: Sample, stages: Mapping[tuple[int, ...], Stage]) -> Iterator[Check]:
    """Groups are released one after the other, or some together, and a stage comes of each."""
    for groups, stage in stages.items():
        one.release(*groups)
        yield at(*stage)


def x1(one: Sample) -> Iterator[Check]:
    """One group after the other."""
    one.change_templates("2")
    yield at(3, 4, 3, 1)
    yield says(UpdateInProgress=True, Progressing=True, Available=False)
    yield that(checks.event, one, "GroupsUpdating", "Updating replica 3")
    yield that(checks.revisions, one, count=2)
    yield from released(one, {(3,): (2, 4, 3, 2)})
    yield that(checks.event, one, "GroupsUpdating", "Updating replica 2")
    one.hold(3)
    yield at(2, 4, 2, 2)
    yield from released(
        one, {(3,): (2, 4, 3, 2), (2,): (1, 4, 3, 3), (1,): (0, 4, 3, 4), (0,): (0, 4, 4, 4)}
    )


def x2(one: Sample) -> Iterator[Check]:
    """Two unavailable."""
    one.change_templates("2")
    yield at(2, 4, 2, 2)
    yield from released(one, {(3,): (1, 4, 2, 3), (2,): (0, 4, 2, 4), (1, 0): (0, 4, 4, 4)})


def x3(one: Sample) -> Iterator[Check]:
    """More unavailable than there are."""
    one.change_templates("2")
    yield at(0, 4, 0, 4)
    yield from released(one, {(0, 1, 2, 3): (0, 4, 4, 4)})


def x4(one: Sample) -> Iterator[Check]:
    """Scaling up with an update."""
    one.change_templates("2", replicas=6)
    yield at(4, 6, 4, 2)
    yield from released(one, {(4, 5): (3, 6, 5, 3)})
    for group in (3, 2, 1):
        one.release(group)
        yield at(group - 1, 6, 5, 7 - group)
    yield from released(one, {(0,): (0, 6, 6, 6)})


def x5(one: Sample) -> Iterator[Check]:
    """Scaling up during an update."""
    one.change_templates("2")
    yield at(3, 4, 3, 1)
    yield from released(one, {(3,): (2, 4, 3, 2)})
    one.scale(6)
    yield at(2, 6, 3, 4)
    yield from released(one, {(4, 5): (2, 6, 5, 4)})
    for group in (2, 1):
        one.release(group)
        yield at(group - 1, 6, 5, 7 - group)
    yield from released(one, {(0,): (0, 6, 6, 6)})


def x6(one: Sample) -> Iterator[Check]:
    """Scaling down during an update."""
    one.change_templates("2")
    yield at(5, 6, 5, 1)
    one.scale(3)
    yield at(2, 3, 2, 1)
    yield from released(one, {(2,): (1, 3, 2, 2), (1,): (0, 3, 2, 3), (0,): (0, 3, 3, 3)})


def x7(one: Sample) -> Iterator[Check]:
    """Surge alone: no ready group goes before another one stands in for it."""
    one.change_templates("2")
    yield at(4, 5, 4, 1)
    for group in (4, 3, 2, 1):
        one.release(group)
        yield at(group - 1, 5, 4, 6 - group)
    yield from released(one, {(0,): (0, 4, 4, 4)})
    surge = f"deleting surge replica {one.name}-4"
    yield that(checks.event, one, "GroupsProgressing", surge)


def x8(one: Sample) -> Iterator[Check]:
    """One unavailable, and one more."""
    one.change_templates("2")
    yield at(3, 5, 3, 2)
    yield from released(
        one,
        {
            (4,): (2, 5, 3, 3),
            (3,): (1, 5, 3, 4),
            (2,): (0, 5, 3, 5),
            (1,): (0, 4, 3, 4),
            (0,): (0, 4, 4, 4),
        },
    )


def x9(one: Sample) -> Iterator[Check]:
    """Two unavailable, and two more."""
    one.change_templates("2")
    yield at(2, 6, 2, 4)
    yield from released(one, {(3, 2): (0, 4, 2, 4), (1, 0): (0, 4, 4, 4)})


def x10(one: Sample) -> Iterator[Check]:
    """Scaling up with an update and surge."""
    one.change_templates("2", replicas=4)
    yield at(2, 6, 2, 4)
    yield from released(one, {(5, 4, 3, 2): (0, 5, 3, 5), (1,): (0, 4, 3, 4), (0,): (0, 4, 4, 4)})


def x11(one: Sample) -> Iterator[Check]:
    """Scaling down with an update and surge."""
    one.change_templates("2", replicas=3)
    yield at(2, 5, 2, 3)
    yield from released(
        one, {(4, 3): (0, 5, 2, 5), (2,): (0, 4, 2, 4), (1,): (0, 3, 2, 3), (0,): (0, 3, 3, 3)}
    )


def x12(one: Sample) -> Iterator[Check]:
    """No more surge than replicas."""
    one.change_templates("2")
    yield at(1, 3, 1, 2)
    yield from released(one, {(2,): (0, 3, 1, 3), (1,): (0, 2, 1, 2), (0,): (0, 2, 2, 2)})


def x13(one: Sample) -> Iterator[Check]:
    """Scaling up and down during an update with surge."""
    one.change_templates("2")
    yield at(3, 6, 3, 3)
    one.scale(6)
    yield at(3, 8, 3, 5)
    yield from released(one, {(7, 6): (3, 8, 5, 5)})
    one.scale(2)
    yield at(1, 3, 1, 2)
    yield from released(one, {(2,): (0, 3, 1, 3), (1,): (0, 2, 1, 2), (0,): (0, 2, 2, 2)})


def x14(one: Sample) -> Iterator[Check]:
    """A second update half-way, with a revision for each template until it ends."""
    yield that(checks.revisions, one, count=1)
    one.change_templates("2")
    yield at(3, 6, 3, 3)
    yield that(checks.revisions, one, count=2)
    yield from released(one, {(5, 4): (1, 6, 3, 5)})
    yield that(checks.revisions, one, count=2)
    one.change_templates("3")
    yield that(checks.revisions, one, count=3)
    # In the table all six groups are ready when the second update comes. Here those that are not
    # go back to where they came from first (docs/compatibility.md).
    yield that(checks.left_version, one, "2", groups=(3, 2, 1))
    yield from released(one, {(3, 2, 1): (3, 6, 3, 3)})
    yield that(checks.revisions, one, count=3)
    yield from released(one, {(5, 4, 3): (0, 6, 3, 6), (2, 1): (0, 4, 3, 4), (0,): (0, 4, 4, 4)})


def x15(one: Sample) -> Iterator[Check]:
    """What is broken already eats the budget."""
    one.hold(1)
    yield at(0, 4, 3, 4)
    one.change_templates("2")
    yield at(3, 4, 2, 1)
    yield from released(one, {(3,): (1, 4, 2, 3), (2,): (0, 4, 2, 4), (1, 0): (0, 4, 4, 4)})


def x16(one: Sample) -> Iterator[Check]:
    """An update of groups that are all broken."""
    yield at(0, 2, 0, 2)
    one.change_templates("2")
    yield at(1, 2, 0, 1)
    yield from released(one, {(1,): (0, 2, 1, 2), (0,): (0, 2, 2, 2)})


def x17(one: Sample) -> Iterator[Check]:
    """The partition as a canary."""
    yield at(4, 6, 6, 6)
    one.change_templates("2")
    yield at(5, 6, 5, 1)
    yield from released(one, {(5,): (4, 6, 5, 2), (4,): (4, 6, 6, 2)})
    yield says(Available=True)
    one.patch({"rolloutStrategy": rollout(partition=2)})
    yield at(3, 6, 5, 3)
    yield says(Available=False)
    yield from released(one, {(3,): (2, 6, 5, 4), (2,): (2, 6, 6, 4)})
    yield says(Available=True)
    yield that(checks.revisions, one, count=2)
    # Beyond the table: to the end, as all others go.
    one.patch({"rolloutStrategy": rollout()})
    yield at(1, 6, 5, 5)
    yield from released(one, {(1,): (0, 6, 5, 6), (0,): (0, 6, 6, 6)})


def x18(one: Sample) -> Iterator[Check]:
    """Surge is kept while the partition holds."""
    yield at(2, 3, 3, 3)
    one.change_templates("2")
    yield at(2, 4, 2, 2)
    yield from released(one, {(3, 2): (2, 4, 4, 2)})
    yield says(Available=True)
    one.patch({"rolloutStrategy": rollout(surge=1)})
    yield at(0, 4, 2, 4)
    yield from released(one, {(1,): (0, 3, 2, 3), (0,): (0, 3, 3, 3)})


PLAYS = {
    "x1": Play(x1, replicas=4),
    "x2": Play(x2, replicas=4, strategy=rollout(unavailable=2)),
    "x3": Play(x3, replicas=4, strategy=rollout(unavailable=10)),
    "x4": Play(x4, replicas=4),
    "x5": Play(x5, replicas=4),
    "x6": Play(x6, replicas=6),
    "x7": Play(x7, replicas=4, strategy=rollout(unavailable=0, surge=1)),
    "x8": Play(x8, replicas=4, strategy=rollout(surge=1)),
    "x9": Play(x9, replicas=4, strategy=rollout(unavailable=2, surge=2)),
    "x10": Play(x10, replicas=2, strategy=rollout(surge=2)),
    "x11": Play(x11, replicas=6, strategy=rollout(surge=2)),
    "x12": Play(x12, replicas=2, strategy=rollout(surge=4)),
    "x13": Play(x13, replicas=4, strategy=rollout(surge=2)),
    "x14": Play(x14, replicas=4, strategy=rollout(surge=2)),
    "x15": Play(x15, replicas=4, strategy=rollout(unavailable=2)),
    "x16": Play(x16, replicas=2, broken=True),
    "x17": Play(x17, replicas=6, strategy=rollout(partition=4)),
    "x18": Play(x18, replicas=3, strategy=rollout(surge=1, partition=2)),
}
