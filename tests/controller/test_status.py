import itertools
import random
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given as from_strategy
from hypothesis import strategies as st

from lws_kueue.api import lws
from lws_kueue.controller import status
from lws_kueue.controller.observe import groups
from lws_kueue.controller.rollout import scaling
from tests.kit import golden
from tests.kit.builders import given
from tests.kit.examples import examples

NOW = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)
STAMP = "2024-05-06T07:08:09Z"
EARLIER = "2024-01-01T00:00:00Z"
WAITING = "example.com/Waiting"


def compute(
    owner: lws.LeaderWorkerSet,
    *found: groups.Group,
    now: datetime = NOW,
    waiting: lws.Condition | None = None,
    **options: Any,
) -> status.Outcome:
    given_options: dict[str, Any] = {
        "key": "key",
        "leader_set": given.a_leader_set(replicas=len(found)),
        "own": {WAITING: waiting},
    }
    return status.compute(
        owner, found=groups.Groups(None, found), now=now, **(given_options | options)
    )


def condition(kind: str, value: str = "True", **changes: Any) -> dict[str, Any]:
    texts = {
        "Available": ("AllGroupsReady", "All replicas are ready"),
        "Progressing": ("GroupsProgressing", "Replicas are progressing"),
        "UpdateInProgress": ("GroupsUpdating", "Rolling Upgrade is in progress"),
    }
    reason, message = texts.get(kind, ("R", "M"))
    base = {"type": kind, "status": value, "reason": reason, "message": message}
    return base | {"lastTransitionTime": EARLIER, "observedGeneration": 1} | changes


def statuses(outcome: status.Outcome) -> dict[str, str]:
    return {c["type"]: c["status"] for c in outcome.status["conditions"]}


def test_a_new_set_is_progressing() -> None:
    outcome = compute(given.an_lws(), leader_set=None)
    assert outcome.status == {
        "readyReplicas": 0,
        "updatedReplicas": 0,
        "replicas": 0,
        "hpaPodSelector": (
            "leaderworkerset.sigs.k8s.io/name=test-sample,"
            "leaderworkerset.sigs.k8s.io/worker-index=0"
        ),
        "observedGeneration": 1,
        "conditions": [condition("Progressing", lastTransitionTime=STAMP)],
    }
    (event,) = outcome.events
    assert (event.type, event.reason) == ("Normal", "GroupsProgressing")
    assert event.message == "Replicas are progressing, with 0 groups ready of total 2 groups"
    assert outcome.changed
    assert not outcome.update_done


def test_a_set_whose_groups_are_ready_is_available_and_the_old_message_stays() -> None:
    owner = given.an_lws(status={"conditions": [condition("Progressing")]})
    outcome = compute(owner, given.a_group(0), given.a_group(1))
    assert outcome.status["conditions"] == [
        condition("Progressing", "False", lastTransitionTime=STAMP),
        condition("Available", lastTransitionTime=STAMP),
    ]
    assert outcome.events[0].message == (
        "All replicas are ready, with 2 groups ready of total 2 groups"
    )
    assert (outcome.status["readyReplicas"], outcome.status["updatedReplicas"]) == (2, 2)
    assert outcome.update_done


def test_what_has_not_changed_is_not_written() -> None:
    found = (given.a_group(0), given.a_group(1))
    first = compute(given.an_lws(), *found)
    again = compute(given.an_lws(status=first.status), *found, now=NOW + timedelta(hours=1))
    assert first.changed
    assert (again.changed, again.events, again.status) == (False, (), first.status)


def test_an_update_reaches_its_conditions_in_one_pass_with_one_event() -> None:
    owner = given.an_lws(status={"conditions": [condition("Available")]})
    outcome = compute(owner, given.a_group(0), given.a_group(1), key="new")
    assert outcome.status["conditions"] == [
        condition("Available", "False", lastTransitionTime=STAMP),
        condition("UpdateInProgress", lastTransitionTime=STAMP),
        condition("Progressing", lastTransitionTime=STAMP),
    ]
    assert [event.message for event in outcome.events] == [
        "Rolling Upgrade is in progress, with 2 groups ready of total 2 groups"
    ]
    assert outcome.status["updatedReplicas"] == 0


def test_update_in_progress_stays_until_the_set_is_available() -> None:
    stored = {"conditions": [condition("UpdateInProgress"), condition("Progressing")]}
    owner = given.an_lws(status=stored)
    waiting = compute(owner, given.a_group(0), given.a_group(1, ready=False))
    assert statuses(waiting) == {"UpdateInProgress": "True", "Progressing": "True"}
    done = compute(owner, given.a_group(0), given.a_group(1))
    assert statuses(done) == {
        "UpdateInProgress": "False",
        "Progressing": "False",
        "Available": "True",
    }


@pytest.mark.row("UT-11")
@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("Available", "Progressing", True),
        ("Available", "UpdateInProgress", True),
        ("Available", "Available", False),
        ("Progressing", "Progressing", False),
        ("Progressing", "UpdateInProgress", False),
    ],
)
def test_exclusive_conditions(one: str, other: str, expected: bool) -> None:
    assert status.exclusive(one, other) is expected
    assert status.exclusive(other, one) is expected


@pytest.mark.row("UT-16")
@pytest.mark.parametrize(
    ("stored", "generation", "changed"),
    [
        ([condition("Progressing", "False")], 1, True),
        ([], 1, True),
        ([condition("Available", "False")], 1, True),
        ([condition("Progressing")], 1, False),
        ([condition("Progressing")], 2, True),
    ],
)
def test_setting_a_condition_changes_what_differs(
    stored: list[dict[str, Any]], generation: int, changed: bool
) -> None:
    owner = given.an_lws(
        status={"conditions": stored, "observedGeneration": generation}, generation=generation
    )
    assert bool(compute(owner).events) is changed


def test_a_new_generation_replaces_the_wanted_condition_and_marks_the_others() -> None:
    stored = [condition("Progressing", "False"), condition("Available")]
    owner = given.an_lws(status={"conditions": stored}, generation=2)
    outcome = compute(owner, given.a_group(0), given.a_group(1))
    assert outcome.status["conditions"] == [
        condition("Progressing", "False", observedGeneration=2),
        condition("Available", lastTransitionTime=STAMP, observedGeneration=2),
    ]


def test_in_an_update_a_new_generation_moves_the_time_of_the_first_condition_only() -> None:
    stored = [condition("UpdateInProgress"), condition("Progressing")]
    owner = given.an_lws(status={"conditions": stored}, generation=2)
    outcome = compute(owner, given.a_group(0), given.a_group(1), key="new")
    assert outcome.status["conditions"] == [
        condition("UpdateInProgress", lastTransitionTime=STAMP, observedGeneration=2),
        condition("Progressing", observedGeneration=2),
    ]


def test_a_group_that_lacks_its_workers_counts_as_nothing() -> None:
    lone = groups.Group(index=1, size=2, leader=given.a_leader(1))
    bounds = scaling.Bounds(replicas=2)
    counted = status.count(groups.Groups(None, (given.a_group(0), lone)), key="key", bounds=bounds)
    assert counted == status.Counts(
        ready=1, updated=1, ready_desired=1, current=1, current_updated=1, settled=1
    )


def test_surge_groups_count_for_replicas_and_not_for_conditions() -> None:
    found = [given.a_group(i, key="new") for i in (2, 3)] + [given.a_group(i) for i in (0, 1)]
    owner = given.an_lws(rollout={"maxSurge": 2})
    outcome = compute(owner, *found, key="new")
    assert (outcome.status["readyReplicas"], outcome.status["updatedReplicas"]) == (4, 2)
    assert statuses(outcome) == {"UpdateInProgress": "True", "Progressing": "True"}


def test_groups_below_the_partition_need_not_be_updated() -> None:
    owner = given.an_lws(rollout={"partition": 1})
    outcome = compute(owner, given.a_group(0), given.a_group(1, key="new"), key="new")
    assert statuses(outcome) == {"Available": "True"}
    assert not outcome.update_done
    beyond = given.an_lws(rollout={"partition": 9})
    assert statuses(compute(beyond, given.a_group(0), given.a_group(1), key="new")) == {
        "Available": "True"
    }


def test_a_set_of_no_groups_is_available() -> None:
    outcome = compute(given.an_lws(replicas=0))
    assert statuses(outcome) == {"Available": "True"}
    assert outcome.update_done


def test_the_selector_and_unknown_fields_of_a_status_are_kept() -> None:
    owner = given.an_lws(status={"hpaPodSelector": "mine", "other": 1})
    outcome = compute(owner)
    assert (outcome.status["hpaPodSelector"], outcome.status["other"]) == ("mine", 1)


def test_replicas_are_those_that_the_leader_set_reports() -> None:
    outcome = compute(given.an_lws(), leader_set=given.a_leader_set(replicas=2, status_replicas=1))
    assert outcome.status["replicas"] == 1


def test_times_are_written_in_utc() -> None:
    local = NOW.astimezone(timezone(timedelta(hours=5)))
    assert compute(given.an_lws(), now=local).status["conditions"][0]["lastTransitionTime"] == STAMP


def _waiting(message: str = "queue q") -> lws.Condition:
    return lws.Condition(type=WAITING, status="True", reason="Waiting", message=message)


def test_our_own_condition_comes_goes_and_influences_nothing() -> None:
    found = (given.a_group(0), given.a_group(1, ready=False))
    plain = compute(given.an_lws(), *found)
    waiting = compute(given.an_lws(), *found, waiting=_waiting())
    *upstream, ours = waiting.status["conditions"]
    assert upstream == plain.status["conditions"]
    assert waiting.events == plain.events
    assert ours == condition(WAITING, reason="Waiting", message="queue q", lastTransitionTime=STAMP)
    gone = compute(given.an_lws(status=waiting.status), *found)
    assert (gone.status, gone.changed, gone.events) == (plain.status, True, ())


def test_our_own_condition_keeps_its_time_while_its_message_changes() -> None:
    first = compute(given.an_lws(), waiting=_waiting())
    later = compute(
        given.an_lws(status=first.status), waiting=_waiting("other"), now=NOW + timedelta(hours=1)
    )
    ours = later.status["conditions"][-1]
    assert (ours["message"], ours["lastTransitionTime"]) == ("other", STAMP)
    assert (later.changed, later.events) == (True, ())


_TYPES = ("Available", "Progressing", "UpdateInProgress")


@pytest.mark.parametrize("stored", list(itertools.product(["True", "False", None], repeat=3)))
@pytest.mark.parametrize("key", ["key", "new"])
@pytest.mark.parametrize("ready", [True, False])
def test_conditions_come_to_rest_and_never_contradict(
    stored: tuple[str | None, ...], key: str, ready: bool
) -> None:
    conditions = [condition(k, v) for k, v in zip(_TYPES, stored, strict=True) if v is not None]
    owner = given.an_lws(status={"conditions": conditions}, generation=2)
    found = (given.a_group(0, ready=ready), given.a_group(1))
    outcome = compute(owner, *found, key=key)
    true = {kind for kind, value in statuses(outcome).items() if value == "True"}
    assert not any(status.exclusive(a, b) for a in true for b in true)
    assert {c["observedGeneration"] for c in outcome.status["conditions"]} == {2}
    again = given.an_lws(status=outcome.status, generation=2)
    assert not compute(again, *found, key=key, now=NOW + timedelta(days=1)).changed


OTHERS = st.lists(
    st.builds(
        lambda kind, value, message, generation: {
            "type": kind,
            "status": value,
            "reason": "Beat",
            "message": message,
            "lastTransitionTime": EARLIER,
            **({} if generation is None else {"observedGeneration": generation}),
        },
        st.sampled_from(("a.example/A", "b.example/B", "c.example/C")),
        st.sampled_from(("True", "False", "Unknown")),
        st.text("xyz", max_size=2),
        st.none() | st.integers(0, 9),
    ),
    max_size=3,
    unique_by=lambda one: str(one["type"]),
)


@examples(200)
@from_strategy(
    others=OTHERS,
    older=OTHERS,
    held=st.booleans(),
    waits=st.booleans(),
    ready=st.booleans(),
    generation=st.integers(1, 3),
    shuffled=st.randoms(use_true_random=False),
)
def test_conditions_of_others_stay_as_they_stand_there_whatever_is_written_or_held(
    *,
    others: list[dict[str, Any]],
    older: list[dict[str, Any]],
    held: bool,
    waits: bool,
    ready: bool,
    generation: int,
    shuffled: random.Random,
) -> None:
    found = (given.a_group(0, ready=ready), given.a_group(1))
    stored = [condition("Progressing"), condition(WAITING), *others]
    shuffled.shuffle(stored)
    owner = given.an_lws(status={"conditions": stored}, generation=generation)
    unwritten = tuple(
        lws.Condition.model_validate(one) for one in [condition("Progressing"), *older]
    )
    waiting = _waiting() if waits else None
    options: dict[str, Any] = {"waiting": waiting, "unwritten": unwritten if held else None}
    outcome = compute(owner, *found, **options)
    kinds = {one["type"] for one in others}
    theirs = [one for one in outcome.status["conditions"] if one["type"] in kinds]
    assert theirs == [one for one in stored if one["type"] in kinds]
    ours = [one for one in outcome.status["conditions"] if one["type"] not in kinds]
    assert {one["observedGeneration"] for one in ours} == {generation}
    assert {one["type"] for one in ours} <= {*_TYPES, WAITING}
    assert compute(given.an_lws(generation=generation), *found, waiting=waiting).events == (
        compute(
            given.an_lws(status={"conditions": others}, generation=generation),
            *found,
            waiting=waiting,
        ).events
    )


@examples(100)
@from_strategy(
    beats=st.lists(OTHERS, max_size=5),
    waits=st.booleans(),
    generation=st.integers(1, 3),
    first=st.booleans(),
)
def test_what_others_write_to_their_conditions_causes_neither_a_write_nor_an_event(
    *, beats: list[list[dict[str, Any]]], waits: bool, generation: int, first: bool
) -> None:
    waiting = _waiting() if waits else None
    at_rest = compute(given.an_lws(generation=generation), waiting=waiting).status
    for theirs in beats:
        ours = at_rest["conditions"]
        stored = {**at_rest, "conditions": [*theirs, *ours] if first else [*ours, *theirs]}
        owner = given.an_lws(status=stored, generation=generation)
        outcome = compute(owner, waiting=waiting, now=NOW + timedelta(days=1))
        assert (outcome.changed, outcome.events) == (False, ())


@pytest.mark.parametrize("name", [n for n in golden.NAMES if n != "claims"])
def test_a_golden_set_that_is_ready_has_the_recorded_status(name: str) -> None:
    recording = golden.load(name)
    obj = recording.stored
    metadata = obj["metadata"] | {"generation": 1}
    stored = {"conditions": [condition("Progressing")]}
    owner = lws.LeaderWorkerSet.of({**obj, "metadata": metadata, "status": stored})
    size = owner.spec.leader_worker_template.size
    found = [given.a_group(index, size=size) for index in range(owner.spec.replicas)]
    outcome = compute(owner, *found)
    actual = dict(outcome.status)
    actual["conditions"] = [
        {key: value for key, value in c.items() if key != "lastTransitionTime"}
        for c in outcome.status["conditions"]
    ]
    assert actual == obj["status"]


def test_what_was_decided_and_not_written_is_where_the_next_transition_starts() -> None:
    before = given.an_lws(status={"conditions": [condition("Available")]})
    updating = compute(before, given.a_group(0), given.a_group(1), key="new")
    unwritten = lws.Status.model_validate(updating.status).conditions
    updated = (given.a_group(0, key="new"), given.a_group(1, key="new"))
    outcome = compute(before, *updated, key="new", unwritten=unwritten)
    assert statuses(outcome) == {
        "Available": "True",
        "UpdateInProgress": "False",
        "Progressing": "False",
    }
    assert [event.reason for event in outcome.events] == ["AllGroupsReady"]
    assert (updating.settled, outcome.settled) == (False, True)
