"""What the API server refuses is told for as long as it lasts, by the groups that wait for it."""

from datetime import timedelta

import pytest

from lws_kueue.api import actions, names
from lws_kueue.controller import refusals, repairs
from tests.controller.test_decide import SET, cluster, environment, settle
from tests.kit.memory import cluster_model

WHY = "not on a Friday"


def refuse(model: cluster_model.Cluster, kind: str, *, name: str = "") -> list[str]:
    """Have the writes to a kind refused that the next pass wants; return their objects."""
    keys = [
        key
        for key in sorted(refusals.keys(model.decide(SET)), key=str)
        if key.ref.kind == kind and name in ("", key.ref.name)
    ]
    for key in keys:
        patch = actions.Patch(key.ref, {}, "1")
        body = {
            "apiVersion": key.ref.api_version,
            "kind": kind,
            "metadata": {"namespace": key.ref.namespace, "name": key.ref.name},
        }
        written: dict[str, repairs.Write] = {
            "create": actions.Create(body),
            "apply": actions.Apply(body, "lws"),
            "patch": patch,
            "delete": actions.Delete(key.ref, ""),
            "stop": actions.Delete(key.ref, "", stops=True),
        }
        write = written[key.verb]
        assert actions.key_of(write) == key
        model.attempts.refused(write, WHY, now=model.now)
    return [key.ref.name for key in keys]


def waits_for(model: cluster_model.Cluster) -> tuple[str, str]:
    """Reason and message of what the set says about groups that wait."""
    plan = model.decide(SET)
    stored = model.objects[names.LWS_KIND, SET].get("status") or {}
    status = plan.status.status if plan.status else stored
    found = [c for c in status["conditions"] if c["type"] == "WaitingForAdmission"]
    return (found[0]["reason"], found[0]["message"]) if found else ("", "")


def warned(model: cluster_model.Cluster) -> list[tuple[str, str]]:
    return [(event.reason, event.message) for event in model.decide(SET).warnings]


def admitted(model: cluster_model.Cluster) -> None:
    """Have all groups wait for Kueue and be admitted, but not released."""
    settle(model, admit=False)
    for name in model.pending():
        model.admit(name)


def leaders_made(model: cluster_model.Cluster) -> None:
    model.pass_once(SET)
    environment(model)


def complete(model: cluster_model.Cluster) -> None:
    """Have all pods of a set, before any Workload."""
    while not any(key.ref.kind == "Workload" for key in refusals.keys(model.decide(SET))):
        model.pass_once(SET)
        environment(model)


@pytest.mark.parametrize(
    ("before", "kind", "code", "groups", "does"),
    [
        (None, "ControllerRevision", "FailedCreate", "groups 0-1", "create"),
        (None, "StatefulSet", "FailedCreate", "groups 0-1", "create"),
        (leaders_made, "StatefulSet", "FailedCreate", "group 0", "create"),
        (complete, "Workload", "FailedCreate", "group 0", "create"),
        (admitted, "Pod", "ReleaseRefused", "group 0", "release"),
    ],
)
def test_groups_that_wait_for_what_is_refused_say_so(
    before: object, kind: str, code: str, groups: str, does: str
) -> None:
    model = cluster()
    if callable(before):
        before(model)
    name = refuse(model, kind)[0]
    told = f"the API server refuses to {does} {kind} {name}: {WHY}"
    reason, message = waits_for(model)
    assert (reason, message.split("; ")[0]) == (code, f"{groups}: {told}")
    assert "being" not in message
    assert [one for one in warned(model) if WHY in one[1]] == [(code, told)], "once"
    settle(model)
    model.attempts = repairs.Attempts()
    assert waits_for(model) == ("", "")


def test_one_group_whose_release_is_refused_tells_of_itself_alone() -> None:
    model = cluster()
    admitted(model)
    refuse(model, "Pod", name=f"{SET}-1-2")
    _, message = waits_for(model)
    assert message == f"group 1: the API server refuses to release Pod {SET}-1-2: {WHY}"


def test_a_group_that_waits_in_vain_to_be_stopped_says_so() -> None:
    model = cluster(replicas=1)
    settle(model)
    (name,) = model.of_kind("Workload")
    model.evict(name)
    refuse(model, "Pod")
    reason, message = waits_for(model)
    assert reason == "FailedDelete"
    assert f"group 0: the API server refuses to delete Pod {SET}-0" in message


def test_groups_that_run_wait_for_nothing_and_what_is_refused_is_a_warning() -> None:
    model = cluster()
    settle(model)
    model.objects[names.LWS_KIND, SET]["spec"]["replicas"] = 3
    model.touch(model.objects[names.LWS_KIND, SET])
    refuse(model, "StatefulSet")
    told = f"the API server refuses to update StatefulSet {SET}: {WHY}"
    assert waits_for(model) == ("FailedUpdate", f"group 2: {told}")
    assert ("FailedUpdate", told) in warned(model)


@pytest.mark.parametrize("kind", ["ControllerRevision", "StatefulSet", "Service"])
def test_a_plain_set_warns_of_what_is_refused(kind: str) -> None:
    model = cluster(queue=None)
    (name,) = refuse(model, kind)
    told = f"the API server refuses to create {kind} {name}: {WHY}"
    assert warned(model) == [("FailedCreate", told)]
    assert waits_for(model) == ("", "")


def test_a_status_that_is_refused_is_a_warning() -> None:
    model = cluster(queue=None)
    plan = model.decide(SET)
    assert plan.status is not None
    model.attempts.refused(plan.status, WHY, now=model.now)
    told = f"the API server refuses to update {names.LWS_KIND} {SET}: {WHY}"
    assert warned(model) == [("FailedUpdate", told)]


def test_what_is_refused_is_told_while_it_is_wanted_and_until_it_is_made() -> None:
    model = cluster()
    write = model.decide(SET).prepare[0]
    assert isinstance(write, actions.Create)
    attempts, later = model.attempts, model.now + timedelta(hours=1)
    attempts.refused(write, WHY, now=model.now)
    attempts.wants({actions.key_of(write)}, now=later)
    assert attempts.refuses
    attempts.wants((), now=model.now)
    assert attempts.refuses, "a pass may not see what those before and after it see"
    attempts.made(write, occasion="", now=later)
    assert not attempts.refuses
    attempts.refused(write, WHY, now=model.now)
    attempts.wants((), now=later)
    assert not attempts.refuses


def test_the_port_of_a_connection_is_no_news() -> None:
    model, write = cluster(), cluster().decide(SET).prepare[0]
    assert isinstance(write, actions.Create)
    said = [
        model.attempts.refused(write, f"read tcp 10.0.0.1:{port}->10.0.0.2:443", now=model.now)
        for port in (4711, 4712)
    ]
    assert said == [True, False]
