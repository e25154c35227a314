"""Whatever value a text quotes, it is told about the same object and field: floods have a pause."""

from collections.abc import Callable
from typing import Any

import pytest

from lws_kueue.api import actions, names, reasons
from lws_kueue.api.reasons import Reason
from lws_kueue.runtime import memory, repetition
from lws_kueue.workload import backing, release
from tests.controller.test_decide import SET, cluster, settle
from tests.kit.builders.builders import admitted, assigned, pod, running
from tests.kit.memory import cluster_model
from tests.workload.test_release import DEFAULT

Spoil = Callable[[dict[str, Any], int], None]


def label(name: str) -> Spoil:
    def spoil(live: dict[str, Any], value: int) -> None:
        live["metadata"]["labels"] = {**live["metadata"]["labels"], name: f"v{value}"}

    return spoil


def size(live: dict[str, Any], value: int) -> None:
    live["metadata"]["annotations"] = {
        **live["metadata"]["annotations"],
        names.SIZE: str(7 + value),
    }


def written_by(live: dict[str, Any], value: int) -> None:
    """Have another field manager each time set the same field."""
    live["spec"] = {**live["spec"], "minReadySeconds": 30}
    owns: dict[str, Any] = {"f:spec": {"f:minReadySeconds": {}}}
    live["metadata"]["managedFields"] = [{"manager": f"m{value}", "fieldsV1": owns}]


def spec(change: Callable[[int], dict[str, Any]]) -> Spoil:
    def spoil(live: dict[str, Any], value: int) -> None:
        live["spec"] = {**live["spec"], **change(value)}

    return spoil


QUOTED: dict[str, tuple[str, str, Spoil]] = {
    "minReadySeconds of leaders": (
        "StatefulSet",
        SET,
        spec(lambda value: {"minReadySeconds": value + 1}),
    ),
    "minReadySeconds of workers": (
        "StatefulSet",
        f"{SET}-0",
        spec(lambda value: {"minReadySeconds": value + 1}),
    ),
    "who writes it": ("StatefulSet", f"{SET}-0", written_by),
    "ordinals of workers": (
        "StatefulSet",
        f"{SET}-0",
        spec(lambda value: {"ordinals": {"start": value + 2}}),
    ),
    "a partition": (
        "StatefulSet",
        f"{SET}-0",
        spec(lambda value: {"updateStrategy": {"rollingUpdate": {"partition": value + 1}}}),
    ),
    "the revision of workers": ("StatefulSet", f"{SET}-0", label(names.REVISION_KEY)),
    "the revision of leaders": ("StatefulSet", SET, label(names.REVISION_KEY)),
    "worker-index": ("Pod", f"{SET}-0-1", label(names.WORKER_INDEX)),
    "group-index": ("Pod", f"{SET}-0-1", label(names.GROUP_INDEX)),
    "size": ("Pod", f"{SET}-0", size),
}


def told_in_a_flood(what: str, *, seconds: int) -> tuple[set[str], list[actions.Event]]:
    """Have a value written each second; return the texts of Warnings, and what is sent of them."""
    kind, name, spoil = QUOTED[what]
    model = cluster()
    settle(model)
    now = [0.0]
    warnings = repetition.Warnings(lambda: now[0])
    texts: set[str] = set()
    sent: list[actions.Event] = []
    for value in range(seconds):
        now[0] = float(value)
        live = model.objects[kind, name]
        spoil(live, value)
        model.touch(live)
        found = model.decide(SET).warnings
        texts |= {event.message for event in found}
        sent += warnings.due(found)[0]
    return texts, sent


@pytest.mark.parametrize("what", QUOTED)
def test_whoever_writes_another_value_each_second_causes_few_warnings(what: str) -> None:
    texts, sent = told_in_a_flood(what, seconds=60)
    assert len(texts) >= 60, "each value is another text"
    assert 1 <= len(sent) <= 6


def pods_beyond(count: int) -> Reason:
    workload = admitted([assigned("main", 2)])
    pods = [running(0), *(pod(index) for index in range(1, count))]
    _, problems = release.plan_release(workload, pods, terms=backing.Terms(flavors=DEFAULT))
    return problems[0]


def test_how_many_pods_are_too_many_does_not_matter_to_how_often_it_is_told() -> None:
    few, many = (pods_beyond(count) for count in (3, 7))
    assert few.message != many.message
    warnings = [actions.Plan(reasons=(why,)).warnings[0] for why in (few, many)]
    assert warnings[0].subject == warnings[1].subject


def test_conditions_that_quote_other_values_have_the_same_gist() -> None:
    few, many = (pods_beyond(count).of(0).held() for count in (3, 7))
    general = [reasons.quoting([why]) for why in (few, many)]
    told = [reasons.condition("W", one or ()) for one in general]
    assert told[0] is not None
    assert told[0] == told[1]
    assert reasons.quoting([Reason("Code", "says all", waits=True)]) is None
    other = reasons.quoting([few.of(1)])
    assert reasons.condition("W", other or ()) != told[0], "another group is news"


def held_by_a_check(model: cluster_model.Cluster, message: str) -> None:
    for live in model.of_kind("Workload").values():
        live["status"] = {
            "conditions": [
                {"type": "QuotaReserved", "status": "True", "reason": "R", "message": ""}
            ],
            "admission": live.get("status", {}).get("admission"),
            "admissionChecks": [{"name": "c", "state": "Pending", "message": message}],
        }
        model.touch(live)


def test_a_check_that_says_something_else_each_second_causes_few_status_writes() -> None:
    model = cluster()
    settle(model, admit=False)
    for name in model.pending():
        model.admit(name)
    now = [0.0]
    writes = memory.StatusWrites(1.0, clock=lambda: now[0])
    written: list[str] = []
    for second in range(120):
        now[0] = float(second)
        held_by_a_check(model, f"waits for {second} s")
        write = writes.due(model.decide(SET).status)[0]
        if write is None:
            continue
        writes.written()
        live = model.objects[names.LWS_KIND, SET]
        live["status"] = dict(write.status)
        model.touch(live)
        written += [
            one["message"] for one in write.status["conditions"] if "waits for" in one["message"]
        ]
    assert 1 <= len(written) <= 7
    assert len(set(written)) == len(written)
