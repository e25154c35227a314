"""What a set asks for goes back and forth, and nobody fights; or somebody does at the same time."""

import copy
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from lws_kueue.api import actions, facts, names
from lws_kueue.controller import repairs
from lws_kueue.dispatch import observed as dispatched
from tests.controller.test_decide import SET, body, settle
from tests.kit.memory import cluster_model

NOW = datetime(2030, 1, 1, tzinfo=UTC)
HOUR = 3600
OCCASION = "uid/1"
BEATS = (1, 30, 240)

Json = dict[str, Any]


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def label(turn: int) -> Json:
    return {"metadata": {"labels": {"team": f"t{turn}"}}, "spec": {"replicas": 2}}


def annotation(turn: int) -> Json:
    return {"metadata": {"annotations": {"note": f"n{turn}"}}, "spec": {"replicas": 2}}


def replicas(turn: int) -> Json:
    return {"metadata": {}, "spec": {"replicas": 2 + turn}}


def sometimes_there(turn: int) -> Json:
    return {"metadata": {"labels": {"team": "t"} if turn else {}}, "spec": {"replicas": 2}}


WANTS: dict[str, Callable[[int], Json]] = {
    "a label": label,
    "an annotation": annotation,
    "the replicas of a surge": replicas,
    "a label that comes and goes": sometimes_there,
}


class Stateful:
    """A StatefulSet that is applied as an API server does, by a controller that holds its writes.

    ``wanted`` says what is to be applied at which second; the times of writes are ``written``.
    """

    def __init__(self, attempts: repairs.Attempts | None = None) -> None:
        self.attempts = attempts or repairs.Attempts()
        self.live: Json | None = None
        self.written: list[float] = []
        self.late: list[float] = []
        self.told: list[float] = []

    def applied(self, wanted: Json) -> Json:
        meta = {"namespace": "ns", "name": "sample", "uid": "u", **wanted["metadata"]}
        fields = {
            "f:metadata": {
                f"f:{part}": {f"f:{key}": {} for key in values}
                for part, values in wanted["metadata"].items()
            },
            "f:spec": {f"f:{key}": {} for key in wanted["spec"]},
        }
        entry = {"manager": names.FIELD_MANAGER, "operation": "Apply", "fieldsV1": fields}
        head = {"apiVersion": "apps/v1", "kind": "StatefulSet"}
        return {**head, "metadata": {**meta, "managedFields": [entry]}, "spec": wanted["spec"]}

    def write(self, wanted: Json) -> actions.Apply:
        meta = {"namespace": "ns", "name": "sample", **wanted["metadata"]}
        sent = {
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "metadata": meta,
            "spec": wanted["spec"],
        }
        live = facts.StatefulSet.of(self.live) if self.live is not None else None
        return actions.Apply(sent, names.FIELD_MANAGER, force=live is not None, replaces=live)

    def look(self, wanted: Json, second: float) -> None:
        """Apply what is wanted, where it is not there and may be written now."""
        if self.live != self.applied(wanted):
            write, now = self.write(wanted), at(second)
            if self.attempts.wait(write, occasion=OCCASION, now=now) > 0:
                self.late.append(second)
            else:
                self.attempts.made(write, occasion=OCCASION, now=now)
                self.live = self.applied(wanted)
                self.written.append(second)
        for key in self.attempts.unnamed([actions.key_of(self.write(wanted))]):
            self.attempts.named(key, "")
        if any(backs_off for backs_off, _ in self.attempts.causes(at(second))):
            self.told.append(second)

    def undo(self) -> None:
        """Have somebody write all that was applied in another way."""
        assert self.live is not None
        self.live = copy.deepcopy(self.live)
        self.live["spec"]["replicas"] = 77
        self.live["metadata"].setdefault("labels", {})["team"] = "rival"

    def delete(self) -> None:
        self.live = None


@pytest.mark.parametrize("beat", BEATS)
@pytest.mark.parametrize("what", WANTS)
def test_what_goes_back_and_forth_is_followed_at_once_and_no_war(what: str, beat: int) -> None:
    one = Stateful()
    for second in range(HOUR):
        one.look(WANTS[what]((second // beat) % 2), second)
    assert one.late == []
    assert one.told == []
    assert len(one.written) == HOUR // beat


@pytest.mark.parametrize("what", ["a label", "the replicas of a surge"])
@pytest.mark.parametrize("beat", [1, 7, 30, 240])
def test_who_undoes_at_once_what_goes_back_and_forth_is_held_and_told(what: str, beat: int) -> None:
    one = Stateful()
    for second in range(HOUR):
        one.look(WANTS[what]((second // beat) % 2), second)
        # Within the second: no change comes between a write and its end.
        if one.written and one.written[-1] == second:
            one.undo()
    assert one.told[0] < 2 * 60
    assert one.told[-1] == HOUR - 1
    # It is made, each content is applied once as a new one, and then there are five repairs.
    assert len([second for second in one.written if second < 60]) <= 8
    assert len(one.written) <= 8 + HOUR // repairs.LONGEST


def test_who_undoes_a_moment_after_a_change_has_no_more_than_that_change_for_each_repair() -> None:
    one = Stateful()
    for second in range(HOUR):
        one.look(label((second // 2) % 2), second)
        if one.written and second - one.written[-1] == 1:
            one.undo()
    assert one.told[-1] == HOUR - 1
    assert len(one.written) <= 2 * (8 + HOUR // repairs.LONGEST)


def test_what_is_undone_by_somebody_is_a_repetition_also_if_it_was_wanted_before_the_last() -> None:
    one = Stateful()
    for turn in range(2):
        one.look(label(turn), turn)
    for second in range(2, 40):
        one.undo()
        one.look(label(0), second)
    assert one.late
    assert one.told


def test_a_war_that_is_over_is_not_told_for_as_long_as_the_set_is_changed() -> None:
    one = Stateful()
    for second in range(120):
        one.look(label(0), second)
        one.undo()
    one.live = one.applied(label(0))
    over = 120 + repairs.HOLDS
    for second in range(120, HOUR):
        one.look(label((second // 100) % 2), second)
    assert one.told
    assert one.told[-1] <= over


def test_a_change_does_not_put_off_the_repair_of_what_is_undone() -> None:
    one = Stateful()
    for second in range(100):
        one.look(label(0), second)
        one.undo()
    last = one.written[-1]
    one.live = one.applied(label(0))
    one.look(label(1), last + 250)
    one.undo()
    one.look(label(1), last + 299)
    one.look(label(1), last + 301)
    assert one.written[-2:] == [last + 250, last + 301]


def test_what_was_deleted_and_made_anew_is_what_is_compared_afterwards() -> None:
    one = Stateful()
    one.look(label(0), 0)
    for second in range(1, HOUR, 60):
        one.look(label(1), second)
        one.look(label(0), second + 1)
        one.delete()
        one.look(label(1), second + 2)
        one.look(label(0), second + 3)
        one.look(label(1), second + 4)
    applied = [r.repetitions for k, r in one.attempts._records.items() if k.verb == "apply"]
    assert applied == [0]
    assert one.late, "who deletes it is held as before"


def test_after_a_restart_what_goes_back_and_forth_is_followed_as_well() -> None:
    one = Stateful(repairs.Attempts(weary_since=NOW))
    one.live = one.applied(label(1))
    for second in range(500):
        one.look(label((second // 5) % 2), second)
    assert one.late == []


def test_of_a_set_in_another_cluster_it_is_compared_as_well() -> None:
    attempts = repairs.Attempts()

    def write(turn: int, stands: int) -> actions.Apply:
        meta = {"namespace": "ns", "name": "sample", "labels": {"team": f"t{turn}"}}
        entry = {"manager": names.DISPATCH_FIELD_MANAGER, "operation": "Apply", "fieldsV1": {}}
        there = {**meta, "labels": {"team": f"t{stands}"}, "managedFields": [entry]}
        live = {"metadata": there, "spec": {"replicas": 1}}
        head = {"apiVersion": names.LWS_API_VERSION, "kind": names.LWS_KIND}
        return actions.Apply(
            {**head, "metadata": meta, "spec": {"replicas": 1}},
            names.DISPATCH_FIELD_MANAGER,
            because="key",
            cluster="east",
            replaces=dispatched.RemoteSet.of(live),
        )

    for turn in range(1, 20):
        moved = write(turn % 2, (turn - 1) % 2)
        assert attempts.wait(moved, occasion=OCCASION, now=at(turn)) == 0
        assert not attempts.made(moved, occasion=OCCASION, now=at(turn))
    undone = write(0, 5)
    assert attempts.made(undone, occasion=OCCASION, now=at(20))


# Whole passes ------------------------------------------------------------------------------------


class Model(cluster_model.Remembering):
    """A cluster with a set whose marks somebody changes."""

    def look(self) -> None:
        """Make a pass, and find out who undoes what is held."""
        plan = self.decide(SET)
        for key in self.attempts.unnamed(plan.held):
            self.attempts.named(key, "")
        self.pass_once(SET)

    def mark(self, field: str, value: str) -> None:
        """Change a label or an annotation of the set, which is no change of its spec."""
        owner = self.objects[names.LWS_KIND, SET]
        owner["metadata"] = {
            **owner["metadata"],
            field: {**(owner["metadata"].get(field) or {}), "team": value},
        }
        self.touch(owner)

    def leaders(self, field: str) -> str | None:
        found: Json = self.objects["StatefulSet", SET]["metadata"].get(field) or {}
        return found.get("team")

    def rival(self, field: str) -> None:
        """Have somebody else write the same on the StatefulSet."""
        live = self.objects["StatefulSet", SET]
        live["metadata"] = {
            **live["metadata"],
            field: {**(live["metadata"].get(field) or {}), "team": "rival"},
        }
        self.touch(live)

    @property
    def conditions(self) -> set[str]:
        status = self.objects[names.LWS_KIND, SET]["status"]
        return {one["type"] for one in status["conditions"] if one["status"] == "True"}


def running() -> Model:
    model = Model()
    model.store(body(replicas=2, size=2, queue="queue"))
    settle(model)
    return model


@pytest.mark.parametrize("beat", BEATS)
@pytest.mark.parametrize("field", ["labels", "annotations"])
def test_the_statefulset_has_what_the_set_has_after_each_change(field: str, beat: int) -> None:
    model = running()
    for turn in range(20):
        model.mark(field, f"t{turn % 2}")
        model.look()
        assert model.leaders(field) == f"t{turn % 2}"
        assert repairs.BACK_OFF not in model.conditions
        assert model.decide(SET).warnings == ()
        model.now += timedelta(seconds=beat)


@pytest.mark.row("WAR-02")
def test_while_somebody_fights_for_it_the_statefulset_is_written_as_seldom_as_ever() -> None:
    model = running()
    written: list[int] = []
    for turn in range(240):
        before = len(model.writes)
        model.mark("labels", f"t{turn // 3 % 2}")
        model.look()
        if "apply StatefulSet " in model.writes[before:]:
            written.append(5 * turn)
        if turn % 2:
            model.rival("labels")
        model.now += timedelta(seconds=5)
    assert repairs.BACK_OFF in model.conditions
    assert len([second for second in written if second >= 120]) <= 2 * (18 * 60 / repairs.LONGEST)
