"""What is written again because somebody undoes it: how often, how long after, and what is told."""

import dataclasses
import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import hypothesis
import hypothesis.strategies as st
import pytest

from lws_kueue.api import actions, lws, names
from lws_kueue.controller import repairs, rivals
from lws_kueue.workload import diff
from tests.kit.builders import builders, given

NOW = datetime(2030, 1, 1, tzinfo=UTC)
OCCASION = "uid/1"
MINUTE = 60.0

SET = actions.Ref(names.LWS_API_VERSION, names.LWS_KIND, "ns", "sample")
POD = actions.Ref("v1", "Pod", "ns", "sample-0")
WORKLOAD = actions.Ref(names.KUEUE_API_VERSION, "Workload", "ns", "sample-0-1a2b3")
LEADERS = {
    "apiVersion": "apps/v1",
    "kind": "StatefulSet",
    "metadata": {"namespace": "ns", "name": "sample"},
    "spec": {"replicas": 2},
}


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def patch(ref: actions.Ref = WORKLOAD, *, subresource: str = "", **body: Any) -> actions.Patch:
    return actions.Patch(ref, {"metadata": body}, "7", subresource=subresource)


EACH_KIND_OF_WRITE: dict[str, repairs.Write] = {
    "a creation": actions.Create(LEADERS),
    "an apply": actions.Apply(LEADERS, "lws"),
    "a patch": patch(finalizers=["a"]),
    "a deletion": actions.Delete(WORKLOAD, "u"),
    "a report of a Workload": actions.Apply(
        {"apiVersion": "v1", "kind": "Workload", "metadata": {"name": "w"}, "status": {"a": 1}},
        "m",
        subresource="status",
    ),
    "a status": actions.StatusWrite(SET, {"readyReplicas": 1}, "7"),
}


def fight(
    attempts: repairs.Attempts,
    write: Callable[[int], repairs.Write],
    *,
    seconds: float,
    beat: float = 0.1,
) -> list[float]:
    """Return when writes were made while somebody undoes each at once."""
    times: list[float] = []
    for tick in range(int(seconds / beat)):
        now = at(tick * beat)
        wanted = write(len(times))
        if attempts.wait(wanted, occasion=OCCASION, now=now) <= 0:
            attempts.made(wanted, occasion=OCCASION, now=now)
            times.append(tick * beat)
    return times


@pytest.mark.row("WAR-02")
@pytest.mark.parametrize("kind", EACH_KIND_OF_WRITE)
def test_what_is_undone_at_once_is_written_six_times_in_a_minute_and_then_every_five_minutes(
    kind: str,
) -> None:
    write = EACH_KIND_OF_WRITE[kind]
    times = fight(repairs.Attempts(), lambda _: write, seconds=30 * MINUTE)
    first = [time for time in times if time < MINUTE]
    assert len(first) == 6
    assert first[1] - first[0] < 0.2, "the first repair is immediate"
    later = [time for time in times if time >= MINUTE]
    assert len(later) == 5
    gaps = [b - a for a, b in itertools.pairwise(times[5:])]
    assert all(299 < gap < 301 for gap in gaps)


def test_rivals_for_two_fields_of_one_object_do_not_double_the_writes() -> None:
    contents = (patch(finalizers=["a"]), patch(labels={"b": "c"}))
    times = fight(repairs.Attempts(), lambda n: contents[n % 2], seconds=MINUTE)
    # Each content is new once; what is repeated has one pause for the object.
    assert len(times) <= 7


def test_a_status_may_go_back_and_forth_but_the_same_is_not_repeated() -> None:
    back_and_forth = [actions.StatusWrite(SET, {"readyReplicas": n % 2}, "7") for n in range(600)]
    times = fight(repairs.Attempts(), lambda n: back_and_forth[n], seconds=MINUTE)
    assert len(times) == 600


def test_the_time_of_a_transition_does_not_make_a_status_another_one() -> None:
    def write(n: int) -> repairs.Write:
        condition = {"type": "Available", "status": "True", "lastTransitionTime": str(n)}
        return actions.StatusWrite(SET, {"conditions": [condition]}, str(n))

    assert len(fight(repairs.Attempts(), write, seconds=MINUTE)) == 6


@pytest.mark.parametrize(
    "change",
    [
        lambda write: dataclasses.replace(write, body={"metadata": {"finalizers": ["other"]}}),
        lambda write: dataclasses.replace(write, because="another admission"),
        lambda write: dataclasses.replace(
            write, ref=dataclasses.replace(write.ref, name="another object")
        ),
        lambda write: dataclasses.replace(write, subresource="status"),
    ],
)
def test_another_content_occasion_or_object_waits_for_nothing(
    change: Callable[[actions.Patch], actions.Patch],
) -> None:
    attempts = repairs.Attempts()
    write = patch(finalizers=["a"])
    fight(attempts, lambda _: write, seconds=MINUTE)
    assert attempts.wait(write, occasion=OCCASION, now=at(MINUTE)) > 200
    assert attempts.wait(change(write), occasion=OCCASION, now=at(MINUTE)) == 0


def test_a_change_of_the_set_makes_every_write_the_first_again() -> None:
    attempts = repairs.Attempts()
    write = actions.Delete(POD, "u", because="key")
    fight(attempts, lambda _: write, seconds=MINUTE)
    assert attempts.wait(write, occasion=OCCASION, now=at(MINUTE)) > 10
    assert attempts.wait(write, occasion="uid/2", now=at(MINUTE)) == 0


def test_each_change_of_the_set_is_an_occasion_also_one_that_goes_back() -> None:
    attempts = repairs.Attempts()
    sets = [
        given.an_lws(generation=1),
        given.an_lws(generation=2),
        given.an_lws(generation=2, labels={names.QUEUE_NAME: "a"}),
        given.an_lws(generation=2),
        given.an_lws(generation=2, annotations={names.EXCLUSIVE_TOPOLOGY: "a"}),
        None,
    ]
    occasions = [attempts.occasion(owner) for owner in sets]
    assert len(set(occasions)) == len(sets)
    same = given.an_lws(generation=2, status={"readyReplicas": 1})
    assert attempts.occasion(given.an_lws(generation=2)) == attempts.occasion(same)


@pytest.mark.parametrize("key", ["argocd.argoproj.io/refresh", "example.com/seen", "team"])
def test_who_touches_a_mark_of_the_set_for_ever_ends_no_pause(key: str) -> None:
    attempts = repairs.Attempts()

    def occasion(beat: float) -> str:
        marks = {key: str(beat)}
        return attempts.occasion(given.an_lws(generation=2, labels=marks, annotations=marks))

    for second in range(0, 60, 2):
        if (
            attempts.wait(
                actions.Delete(POD, "u", because="key"), occasion=occasion(second), now=at(second)
            )
            <= 0
        ):
            attempts.made(
                actions.Delete(POD, "u", because="key"), occasion=occasion(second), now=at(second)
            )
    assert (
        attempts.wait(actions.Delete(POD, "u", because="key"), occasion=occasion(60), now=at(60))
        > 10
    )


STOP = actions.Delete(
    POD, "u", because="not admitted", stops=True, keeping_name=names.STOPPED_FINALIZER
)


def test_a_workload_that_gives_quota_back_is_neither_held_nor_counted() -> None:
    attempts = repairs.Attempts()
    for _ in range(20):
        attempts.made(actions.Delete(WORKLOAD, "u", stops=True), occasion=OCCASION, now=NOW)
    assert hold(actions.Plan(), attempts).warnings == ()


@pytest.mark.row("WAR-04")
@pytest.mark.row("WAR-02")
def test_a_workload_that_somebody_deletes_again_and_again_is_let_go_each_time() -> None:
    """What waits is its next creation: one that is going holds quota until it is let go."""
    attempts = repairs.Attempts()
    for number in range(12):
        going = builders.workload(
            name="sample-0-1a2b3",
            uid=f"wl-uid-{number}",
            metadata={
                "namespace": "ns",
                "deletionTimestamp": builders.EARLIER,
                "finalizers": [names.WORKLOAD_FINALIZER],
            },
        )
        (write,) = diff.removal(going, ())
        assert isinstance(write, actions.Patch)
        now = at(5.0 * number)
        assert attempts.wait(write, occasion=OCCASION, now=now) == 0
        assert not attempts.made(write, occasion=OCCASION, now=now)
    assert not list(attempts.causes(at(60)))


def test_a_pod_that_is_stopped_again_keeps_its_name_for_a_pause_that_grows() -> None:
    attempts, now, kept = repairs.Attempts(), 0.0, []
    for _ in range(7):
        ((stop,),) = repairs.hold(
            actions.Plan(chains=((STOP,),)), attempts, occasion=OCCASION, now=at(now)
        ).chains
        assert isinstance(stop, actions.Delete)
        attempts.made(stop, occasion=OCCASION, now=at(now))
        pause = attempts.kept_for(POD, at(now), occasion=OCCASION, now=at(now))
        kept.append((bool(stop.keeping_name), pause))
        # Nothing keeps the name of the first one.
        now += pause
    assert kept == [
        (False, 0.0),
        *((True, pause) for pause in (1.0, 3.0, 8.0, 20.0, 300.0, 300.0)),
    ]


def test_who_takes_gates_away_is_told_once_for_all_pods_and_stands_in_the_condition() -> None:
    attempts, owner = repairs.Attempts(), given.an_lws()
    for name in ("sample-1", "sample-0"):
        one = dataclasses.replace(STOP, ref=dataclasses.replace(POD, name=name))
        for second in (0, 1, 2, 5):
            attempts.made(one, occasion=OCCASION, now=at(second))
    (warning,) = hold(actions.Plan(), attempts, seconds=6).warnings
    assert warning.message.startswith("Pod sample-0, like others of the set, is made or left")
    assert "kueue.x-k8s.io/admission" in warning.message
    assert repairs.condition(owner, attempts, now=at(6)) is None
    for second in (13, 33):
        attempts.made(STOP, occasion=OCCASION, now=at(second))
    assert repairs.condition(owner, attempts, now=at(34)) is not None


def test_a_pod_is_stopped_for_another_admission_as_if_for_the_first_time() -> None:
    attempts = repairs.Attempts()
    for _ in range(5):
        attempts.made(STOP, occasion=OCCASION, now=NOW)
    other = dataclasses.replace(STOP, because="evicted later")
    ((stop,),) = hold(actions.Plan(chains=((other,),)), attempts, seconds=1).chains
    assert isinstance(stop, actions.Delete)
    assert not stop.keeping_name


def test_a_name_is_free_when_the_set_changes_and_kept_for_as_long_as_can_be_after_a_restart() -> (
    None
):
    attempts = repairs.Attempts()
    for _ in range(5):
        attempts.made(STOP, occasion=OCCASION, now=NOW)
    assert attempts.kept_for(POD, NOW, occasion=OCCASION, now=at(5)) == 15
    assert attempts.kept_for(POD, NOW, occasion="uid/2", now=at(5)) == 0
    another = repairs.Attempts()
    assert another.kept_for(POD, NOW, occasion=OCCASION, now=at(5)) == 295
    assert another.kept_for(POD, NOW, occasion=OCCASION, now=at(301)) == 0


def test_the_statefulset_of_another_leader_is_another_one() -> None:
    def workers(leader: str) -> actions.Create:
        meta = {"namespace": "ns", "name": "sample-0", "ownerReferences": [{"uid": leader}]}
        return actions.Create({**LEADERS, "metadata": meta})

    attempts = repairs.Attempts()
    fight(attempts, lambda _: workers("old"), seconds=MINUTE)
    assert attempts.wait(workers("old"), occasion=OCCASION, now=at(MINUTE)) > 200
    assert attempts.wait(workers("new"), occasion=OCCASION, now=at(MINUTE)) == 0


@pytest.mark.row("P5", "WAR-02")
@pytest.mark.parametrize("write", [patch(POD, a=1), actions.Delete(POD, "u")])
def test_the_pauses_of_pods_grow_more_slowly_to_the_same_five_minutes(write: repairs.Write) -> None:
    times = fight(repairs.Attempts(), lambda _: write, seconds=20 * MINUTE)
    gaps = [round(b - a) for a, b in itertools.pairwise(times)]
    assert gaps == [0, 1, 3, 8, 20, 45, 90, 180, 300, 300]


def test_a_pod_that_stood_for_a_minute_is_let_go_as_if_for_the_first_time() -> None:
    attempts, write, now = repairs.Attempts(), patch(POD, a=1), 0.0
    for _ in range(20):
        assert attempts.wait(write, occasion=OCCASION, now=at(now)) == 0
        attempts.made(write, occasion=OCCASION, now=at(now))
        now += 61


def test_a_pod_that_went_at_once_has_not_stood_while_it_was_held() -> None:
    attempts, write = repairs.Attempts(), patch(POD, a=1)
    for _ in range(8):
        attempts.made(write, occasion=OCCASION, now=NOW)
    assert attempts.wait(write, occasion=OCCASION, now=NOW) == 180
    assert attempts.wait(write, occasion=OCCASION, now=at(100)) == 80


def test_a_back_off_of_something_else_does_not_slow_down_pods_after_a_restart() -> None:
    attempts = repairs.Attempts.of(in_back_off(), now=NOW)
    write = patch(POD, a=1)
    assert len(fight(attempts, lambda _: write, seconds=MINUTE)) == 6


def test_after_ten_quiet_minutes_the_next_repair_is_immediate() -> None:
    attempts = repairs.Attempts()
    write = patch(finalizers=["a"])
    last = fight(attempts, lambda _: write, seconds=MINUTE)[-1]
    assert attempts.wait(write, occasion=OCCASION, now=at(last + 299)) > 0
    assert attempts.wait(write, occasion=OCCASION, now=at(last + 601)) == 0
    attempts.made(write, occasion=OCCASION, now=at(last + 601))
    assert attempts.wait(write, occasion=OCCASION, now=at(last + 601)) == 0


def test_a_clock_that_is_set_back_does_not_make_a_pause_longer() -> None:
    attempts = repairs.Attempts()
    write = patch(finalizers=["a"])
    fight(attempts, lambda _: write, seconds=MINUTE)
    assert attempts.wait(write, occasion=OCCASION, now=NOW - timedelta(days=1)) <= 300


def test_what_was_written_long_ago_is_forgotten() -> None:
    attempts = repairs.Attempts()
    for number in range(100):
        ref = dataclasses.replace(POD, name=f"sample-{number}")
        attempts.made(actions.Delete(ref, "u"), occasion=OCCASION, now=at(number))
    assert len(attempts._records) == 100
    attempts.made(actions.Delete(POD, "u"), occasion=OCCASION, now=at(650.5))
    assert len(attempts._records) == 50


# Plans -------------------------------------------------------------------------------------------


def tired(*writes: repairs.Write) -> repairs.Attempts:
    """Attempts in which each of the writes has been repeated often."""
    attempts = repairs.Attempts()
    for write in writes:
        fight(attempts, lambda _, write=write: write, seconds=MINUTE)  # type: ignore[misc]
    return attempts


def hold(plan: actions.Plan, attempts: repairs.Attempts, seconds: float = MINUTE) -> actions.Plan:
    return repairs.hold(plan, attempts, occasion=OCCASION, now=at(seconds))


def test_a_write_that_is_held_takes_the_rest_of_its_chain_with_it_and_no_other_chain() -> None:
    held, rest, other = patch(a=1), patch(b=2), patch(POD, c=3)
    plan = actions.Plan(chains=((held, rest), (other,)))
    result = hold(plan, tired(held))
    assert result.chains == ((other,),)
    assert result.held == (actions.key_of(held),)
    assert result.recheck_after is not None
    assert 200 < result.recheck_after <= 300


def test_the_plan_is_looked_at_again_when_the_pause_is_over() -> None:
    held = patch(a=1)
    result = hold(actions.Plan(chains=((held,),), recheck_after=2.0), tired(held))
    assert result.recheck_after == 2.0


def test_what_stops_a_pod_that_runs_without_admission_is_never_held() -> None:
    stop = actions.Delete(POD, "u", stops=True)
    plan = actions.Plan(chains=((stop,),))
    assert hold(plan, tired(stop)).chains == plan.chains


def test_a_revision_that_cannot_be_kept_holds_back_what_carries_its_key_and_nothing_else() -> None:
    revision = actions.Create({**LEADERS, "kind": "ControllerRevision"})
    stop = actions.Delete(POD, "u", stops=True)
    plan = actions.Plan(
        prepare=(revision,), chains=((actions.Apply(LEADERS, "lws"),), (stop,)), finish=(patch(),)
    )
    result = hold(plan, tired(revision))
    assert result.prepare == ()
    assert result.chains == ((stop,),)
    assert result.finish == ()


def test_of_a_release_only_the_pods_that_were_let_go_too_often_are_held() -> None:
    again, fresh = patch(POD, a=1), patch(dataclasses.replace(POD, name="sample-1"), a=1)
    told = actions.Event("Normal", "TopologyAssigned", "there")
    release = actions.Release(WORKLOAD, "u", "7", (again, fresh), events=(told,))
    plan = actions.Plan(chains=((release,),))
    ((kept,),) = hold(plan, tired(again)).chains
    assert isinstance(kept, actions.Release)
    assert kept.patches == (fresh,)
    assert kept.events == ()
    only = dataclasses.replace(release, patches=(again,))
    assert hold(actions.Plan(chains=((only,),)), tired(again)).chains == ()


def test_a_status_that_somebody_undoes_is_held() -> None:
    status = actions.StatusWrite(SET, {"readyReplicas": 1}, "7")
    assert hold(actions.Plan(status=status), tired(status)).status is None


def test_a_plan_without_repetitions_is_left_as_it_is() -> None:
    plan = actions.Plan(chains=((patch(a=1),),), recheck_after=5.0)
    assert hold(plan, repairs.Attempts()) == plan


# What is told ------------------------------------------------------------------------------------

STATEFUL_SET = {
    "metadata": {
        "managedFields": [
            {"manager": "lws", "operation": "Apply", "time": "2030-01-01T00:00:09Z"},
            {
                "manager": "kube-controller-manager",
                "subresource": "status",
                "time": "2030-01-01T00:00:10Z",
            },
            {"manager": "old", "time": "2029-01-01T00:00:00Z"},
            {
                "manager": "hpa",
                "time": "2030-01-01T00:00:09Z",
                "fieldsV1": {"f:spec": {"f:replicas": {}, "f:selector": {".": {}, "f:a": {}}}},
            },
        ]
    }
}


def test_the_other_writer_is_the_newest_field_manager_that_is_not_ours() -> None:
    key = actions.key_of(actions.Apply(LEADERS, "lws"))
    said = rivals.other_writer(STATEFUL_SET, key)
    assert said == "field manager hpa (.spec.replicas, .spec.selector.a)"
    reported = dataclasses.replace(key, verb="apply/status")
    assert rivals.other_writer(STATEFUL_SET, reported) == "field manager kube-controller-manager"
    assert rivals.other_writer({"metadata": {}}, key) == ""


def test_who_wrote_last_before_us_has_undone_nothing() -> None:
    key = actions.key_of(actions.Apply(LEADERS, "lws"))
    entries = [
        {"manager": "lws", "operation": "Apply", "time": "2030-01-01T00:00:09Z"},
        {"manager": "kubectl", "operation": "Update", "time": "2030-01-01T00:00:07Z"},
    ]
    assert rivals.other_writer({"metadata": {"managedFields": entries}}, key) == ""


def test_who_scales_is_named_although_that_leaves_no_time_and_only_if_nobody_else_was_later() -> (
    None
):
    key = actions.key_of(actions.Patch(POD, {}, "7"))
    ours = {"manager": "lws", "operation": "Update", "time": "2030-01-01T00:00:09Z"}
    fields: dict[str, Any] = {"f:spec": {"f:replicas": {}}}
    scale = {"manager": "hpa", "subresource": "scale", "fieldsV1": fields}
    old = {"manager": "old", "time": "2029-01-01T00:00:00Z"}
    said = rivals.other_writer({"metadata": {"managedFields": [ours, scale, old]}}, key)
    assert said == "field manager hpa (.spec.replicas)"
    later = {"manager": "later", "time": "2030-01-01T00:00:09Z"}
    said = rivals.other_writer({"metadata": {"managedFields": [ours, scale, later]}}, key)
    assert said == "field manager later"
    timed = {**scale, "time": "2030-01-01T00:00:07Z"}
    assert rivals.other_writer({"metadata": {"managedFields": [ours, timed]}}, key) == ""


def test_of_an_apply_that_comes_to_something_else_it_is_told_what_and_nobody_is_looked_for() -> (
    None
):
    write, attempts = actions.Apply(LEADERS, "lws"), repairs.Attempts()
    for second in (0, 1, 2, 5):
        attempts.made(write, occasion=OCCASION, now=at(second))
        attempts.changed(write, "spec.replicas was applied as 2 and became 1")
    assert attempts.unnamed([actions.key_of(write)]) == []
    (warning,) = hold(actions.Plan(), attempts, seconds=6).warnings
    assert "spec.replicas was applied as 2 and became 1" in warning.message
    assert "admission" in warning.message


def test_nobody_else_is_blamed_for_what_this_controller_deletes_itself() -> None:
    body = {**LEADERS, "kind": "Workload", "apiVersion": names.KUEUE_API_VERSION}
    attempts = repairs.Attempts()
    ref = actions.ref_of(body)
    renewing = actions.Event("Normal", "RenewingWorkload", "Group 0 needs another admission")
    for second in (0, 1, 2, 5):
        attempts.made(actions.Create(body), occasion=OCCASION, now=at(second))
        taken = actions.Delete(ref, str(second), events=(renewing,))
        attempts.made(taken, occasion=OCCASION, now=at(second))
    told = [warning.message for warning in hold(actions.Plan(), attempts, seconds=6).warnings]
    assert not any("by whom" in text for text in told), told
    assert any("by this controller" in t and "needs another admission" in t for t in told), told


def test_an_apply_that_makes_what_is_gone_is_a_creation_which_nobody_undoes_by_writing() -> None:
    write = actions.Apply(LEADERS, "lws", force=False)
    (warning,) = hold(actions.Plan(), tired(write)).warnings
    assert warning.message.startswith("StatefulSet sample is deleted each time it is made")
    assert "who deletes leaves no trace" in warning.message


def test_nothing_is_told_before_it_is_known_who_it_is() -> None:
    write = actions.Apply(LEADERS, "lws")
    attempts = tired(write)
    key = actions.key_of(write)
    assert hold(actions.Plan(), attempts).warnings == ()
    assert attempts.unnamed([key]) == [key]
    attempts.named(key, "field manager hpa (.spec.replicas)")
    assert attempts.unnamed([key]) == []
    (warning,) = hold(actions.Plan(), attempts).warnings
    assert (warning.type, warning.reason) == ("Warning", "RepairBackOff")
    assert "StatefulSet sample: field manager hpa (.spec.replicas) undoes" in warning.message


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (actions.Create(LEADERS), "StatefulSet sample is deleted each time it is made"),
        (actions.Delete(POD, "u"), "Pod sample-0 is deleted for the same reason again and again"),
        (patch(POD, a=1), "Pod sample-0 ends each time it is let go under the same admission"),
    ],
)
def test_what_no_field_manager_undoes_is_told_without_one(write: repairs.Write, said: str) -> None:
    (warning,) = hold(actions.Plan(), tired(write)).warnings
    assert warning.message.startswith(said)


def test_a_coincidence_is_not_told() -> None:
    write, attempts = actions.Create(LEADERS), repairs.Attempts()
    for second in range(3):
        attempts.made(write, occasion=OCCASION, now=at(second))
    assert hold(actions.Plan(), attempts, seconds=3).warnings == ()


def test_the_warning_is_the_same_for_as_long_as_the_cause_lasts() -> None:
    write = actions.Create(LEADERS)
    attempts = tired(write)
    first = hold(actions.Plan(), attempts).warnings
    attempts.made(write, occasion=OCCASION, now=at(400))
    assert hold(actions.Plan(), attempts, seconds=500).warnings == first
    assert hold(actions.Plan(), attempts, seconds=1100).warnings == ()


# The condition, and a restart --------------------------------------------------------------------


def in_back_off(message: str = "StatefulSet sample: somebody undoes") -> lws.LeaderWorkerSet:
    condition = {
        "type": "RepairBackOff",
        "status": "True",
        "reason": "WritesUndone",
        "message": message,
        "lastTransitionTime": "2030-01-01T00:00:00Z",
    }
    return given.an_lws(status={"conditions": [condition]})


def test_the_condition_stands_from_the_longest_pause_until_a_repair_has_stood_for_one() -> None:
    write, attempts, owner = actions.Create(LEADERS), repairs.Attempts(), given.an_lws()
    for second in (0, 1, 2, 5, 13):
        attempts.made(write, occasion=OCCASION, now=at(second))
    assert repairs.condition(owner, attempts, now=at(14)) is None
    attempts.made(write, occasion=OCCASION, now=at(33))
    standing = repairs.condition(owner, attempts, now=at(34))
    assert standing is not None
    assert (standing.type, standing.reason) == ("RepairBackOff", "WritesUndone")
    assert "StatefulSet sample" in standing.message
    again = hold(actions.Plan(), attempts, seconds=34).recheck_after
    assert again is not None
    assert repairs.LONGEST < again < repairs.LONGEST + MINUTE + 2
    assert repairs.condition(owner, attempts, now=at(34 + again)) is None


def test_the_condition_does_not_come_and_go_while_somebody_undoes_each_repair() -> None:
    write, attempts, owner = actions.Create(LEADERS), repairs.Attempts(), given.an_lws()
    stood: set[bool] = set()
    for second in range(30 * 60):
        if attempts.wait(write, occasion=OCCASION, now=at(second)) <= 0:
            attempts.made(write, occasion=OCCASION, now=at(second))
        if second > MINUTE:
            stood.add(repairs.condition(owner, attempts, now=at(second)) is not None)
    assert stood == {True}


def test_the_condition_does_not_come_and_go_while_pods_lose_their_gates() -> None:
    attempts, owner, now = repairs.Attempts(), given.an_lws(), 0.0
    stood: set[bool] = set()
    for stops in range(12):
        attempts.made(STOP, occasion=OCCASION, now=at(now))
        pause = attempts.kept_for(POD, at(now), occasion=OCCASION, now=at(now))
        # When the name is free a pod is made, and seen.
        for second in range(int(pause) + 10):
            told = repairs.condition(owner, attempts, now=at(now + second)) is not None
            if stops > 5:
                stood.add(told)
        now += pause + 10
    assert stood == {True}


def test_what_is_undone_after_the_condition_has_gone_waits_like_before_and_brings_it_back() -> None:
    write, attempts, owner = actions.Create(LEADERS), repairs.Attempts(), given.an_lws()
    last = fight(attempts, lambda _: write, seconds=MINUTE)[-1]
    again = last + repairs.HOLDS + 10
    assert repairs.condition(owner, attempts, now=at(again)) is None
    assert attempts.wait(write, occasion=OCCASION, now=at(again)) == 0
    attempts.made(write, occasion=OCCASION, now=at(again))
    assert attempts.wait(write, occasion=OCCASION, now=at(again + 1)) > 290
    assert repairs.condition(owner, attempts, now=at(again + 1)) is not None


def test_after_a_restart_a_set_in_back_off_has_one_repair_at_once_and_then_the_longest_pause() -> (
    None
):
    owner = in_back_off()
    attempts = repairs.Attempts.of(owner, now=NOW)
    write = actions.Create(LEADERS)
    times = fight(attempts, lambda _: write, seconds=15 * MINUTE)
    assert [round(time) for time in times] == [0, 300, 600]
    fresh = actions.Delete(POD, "u")
    assert attempts.wait(fresh, occasion=OCCASION, now=NOW) == 0


def test_the_condition_survives_a_restart_and_goes_when_nobody_undoes_anything_any_more() -> None:
    owner = in_back_off("as it was")
    attempts = repairs.Attempts.of(owner, now=NOW)
    kept = repairs.condition(owner, attempts, now=at(1))
    assert kept is not None
    assert kept.message == "as it was"
    again = attempts.over_in(at(1))
    assert again is not None
    assert repairs.condition(owner, attempts, now=at(1 + again)) is None


def test_a_set_that_is_not_in_back_off_begins_afresh() -> None:
    attempts = repairs.Attempts.of(given.an_lws(), now=NOW)
    assert len(fight(attempts, lambda _: actions.Create(LEADERS), seconds=MINUTE)) == 6
    assert repairs.Attempts.of(None, now=NOW).weary_since is None


@hypothesis.given(
    st.lists(st.tuples(st.sampled_from(sorted(EACH_KIND_OF_WRITE)), st.floats(0, 30)), max_size=200)
)
def test_whatever_comes_in_whatever_order_one_object_has_six_equal_writes_a_minute_at_most(
    steps: list[tuple[str, float]],
) -> None:
    attempts, now = repairs.Attempts(), 0.0
    made: dict[str, list[float]] = {}
    for kind, gap in steps:
        now += gap
        write = EACH_KIND_OF_WRITE[kind]
        if attempts.wait(write, occasion=OCCASION, now=at(now)) <= 0:
            attempts.made(write, occasion=OCCASION, now=at(now))
            made.setdefault(kind, []).append(now)
    for times in made.values():
        for index, time in enumerate(times):
            assert sum(time <= other < time + MINUTE for other in times[index:]) <= 6
