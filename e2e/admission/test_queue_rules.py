"""Labels and annotations by which a set talks to Kueue (kueue-contract 1.3, 5.3, 5.4 and 5.7)."""

from collections.abc import Mapping
from typing import Any

import pytest

from lws_kueue.api import names
from tests.kit.admission import support

POLICY = "lws-kueue-queue-rules"
NAME = "test-sample"
LABELS = "metadata.labels"
ANNOTATIONS = "metadata.annotations"
GATE = "example.com/my-gate"
OTHER = "example.com/other-gate"

Change = Mapping[str, Any]


def row(id_: str, *values: Any) -> Any:
    """Return a parameter set that carries the id of an acceptance row."""
    return pytest.param(*values, marks=pytest.mark.row(id_), id=id_)


def labels(**values: str | None) -> Change:
    """Return a change of `queue_name` and `priority_class`, by these names."""
    keys = {"queue_name": names.QUEUE_NAME, "priority_class": names.PRIORITY_CLASS}
    return {"metadata": {"labels": {keys[key]: value for key, value in values.items()}}}


def gated_by(value: str | None) -> Change:
    return {"metadata": {"annotations": {names.ADMISSION_GATED_BY: value}}}


QUEUED = labels(queue_name="test-queue")


def store(sets: support.Sets, *changes: Change, ready: int = 0) -> None:
    """Store a set with changes, of which some groups are ready."""
    given = sets.build()
    for change in changes:
        given = support.merged(given, change)
    sets.store(given)
    if ready:
        status = {"replicas": 2, "readyReplicas": ready}
        sets.update(NAME, {"status": status}, subresource="status")


def queued(sets: support.Sets, *changes: Change) -> dict[str, Any]:
    """Return a set in a queue, with changes."""
    given = support.merged(sets.build(), QUEUED)
    for change in changes:
        given = support.merged(given, change)
    return given


def refused_by_the_policy(refusal: support.Refusal, where: str, *, status: int = 422) -> None:
    assert f"'{POLICY}'" in refusal.message
    assert f"denied request: {where}: " in refusal.message
    assert refusal.status == status


# The queue -----------------------------------------------------------------------------------


@pytest.mark.row("C01")
def test_a_set_needs_no_queue(sets: support.Sets) -> None:
    sets.accept(sets.build())


@pytest.mark.row("C02")
@pytest.mark.parametrize("queue", ["test-queue", "team.a", "0", "q" * 63])
def test_a_queue_has_the_name_of_an_object(sets: support.Sets, queue: str) -> None:
    stored = sets.accept(queued(sets, labels(queue_name=queue)))
    assert stored["metadata"]["labels"][names.QUEUE_NAME] == queue


@pytest.mark.row("C05")
@pytest.mark.parametrize("queue", ["test_queue", "Queue", "a..b", ""])
def test_what_is_no_name_of_an_object_is_no_queue(sets: support.Sets, queue: str) -> None:
    with support.refused() as refusal:
        sets.accept(queued(sets, labels(queue_name=queue)))
    refused_by_the_policy(refusal, f"{LABELS}[{names.QUEUE_NAME}]")


@pytest.mark.parametrize("replicas", [row("C03", -1), row("C04", 1_000_001)])
def test_groups_are_counted_from_nothing_to_a_million(sets: support.Sets, replicas: int) -> None:
    with support.refused() as refusal:
        sets.accept(queued(sets, {"spec": {"replicas": replicas}}))
    assert "spec.replicas" in refusal.fields


@pytest.mark.parametrize("replicas", [row("U03", -1), row("U04", 1_000_001)])
def test_so_they_are_in_a_change(sets: support.Sets, replicas: int) -> None:
    store(sets, QUEUED)
    with support.refused() as refusal:
        sets.update(NAME, {"spec": {"replicas": replicas}})
    assert "spec.replicas" in refusal.fields


@pytest.mark.row("U01")
def test_a_set_in_a_queue_may_be_applied_again(sets: support.Sets) -> None:
    store(sets, QUEUED, ready=1)
    before = sets.get(NAME)["metadata"]["resourceVersion"]
    assert sets.update(NAME, QUEUED)["metadata"]["resourceVersion"] == before


@pytest.mark.row("U02")
def test_the_queue_may_change_while_no_group_is_ready(sets: support.Sets) -> None:
    store(sets, QUEUED)
    sets.update(NAME, labels(queue_name="another"))


@pytest.mark.row("U09")
def test_the_queue_is_kept_while_a_group_is_ready(sets: support.Sets) -> None:
    store(sets, QUEUED, ready=1)
    with support.refused() as refusal:
        sets.update(NAME, labels(queue_name="another"))
    refused_by_the_policy(refusal, f"{LABELS}[{names.QUEUE_NAME}]")


@pytest.mark.row("U10")
@pytest.mark.parametrize("ready", [0, 1])
@pytest.mark.parametrize("removed", [None, ""])
def test_a_set_cannot_leave_its_queue(sets: support.Sets, ready: int, removed: str | None) -> None:
    store(sets, QUEUED, ready=ready)
    with support.refused() as refusal:
        sets.update(NAME, labels(queue_name=removed))
    refused_by_the_policy(refusal, f"{LABELS}[{names.QUEUE_NAME}]")


# The priority --------------------------------------------------------------------------------

HIGH = labels(priority_class="high")
LOW = labels(priority_class="low")
NONE = labels(priority_class=None)


@pytest.mark.parametrize(
    ("before", "ready", "change"),
    [
        row("U11", HIGH, 0, LOW),
        row("U13", HIGH, 1, LOW),
        row("U15", NONE, 0, HIGH),
    ],
)
def test_a_priority_may_change_at_any_time_and_be_added_before_a_group_is_ready(
    sets: support.Sets, before: Change, ready: int, change: Change
) -> None:
    store(sets, support.merged(QUEUED, before), ready=ready)
    after = sets.update(NAME, change)["metadata"]["labels"]
    assert after[names.PRIORITY_CLASS] == change["metadata"]["labels"][names.PRIORITY_CLASS]


@pytest.mark.parametrize(
    ("before", "ready", "change"),
    [
        row("U12", NONE, 1, HIGH),
        row("U14", HIGH, 1, NONE),
        row("U17", HIGH, 0, NONE),
        pytest.param(HIGH, 0, labels(priority_class=""), id="emptied"),
    ],
)
def test_a_priority_is_not_added_to_ready_groups_and_never_removed(
    sets: support.Sets, before: Change, ready: int, change: Change
) -> None:
    store(sets, support.merged(QUEUED, before), ready=ready)
    with support.refused() as refusal:
        sets.update(NAME, change)
    refused_by_the_policy(refusal, f"{LABELS}[{names.PRIORITY_CLASS}]")


@pytest.mark.row("U16")
def test_a_status_in_the_same_write_does_not_count(sets: support.Sets) -> None:
    store(sets, QUEUED)
    change = support.merged(HIGH, {"status": {"replicas": 2, "readyReplicas": 1}})
    after = sets.update(NAME, change)
    assert after["metadata"]["labels"][names.PRIORITY_CLASS] == "high"
    assert "readyReplicas" not in after.get("status", {})


def test_a_plain_set_may_change_its_priority_as_it_likes(sets: support.Sets) -> None:
    store(sets, ready=1)
    sets.update(NAME, HIGH)
    sets.update(NAME, NONE)


# Gates of other parties ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "gates",
    [
        row("C22", GATE),
        row("C23", f"{GATE} "),
        row("C24", f"{GATE} ,{OTHER}"),
        row("C25", f"{GATE}, {OTHER}"),
        row("C26", f" {GATE}"),
        row("C27", f"{GATE},{OTHER}"),
        # Kueue's switch for all of this does not exist here: it is always on.
        row("C34", GATE),
        row("C36", ""),
        pytest.param("  ", id="blanks"),
        pytest.param("a.b/c/d-~%()'x", id="path"),
        pytest.param("a/" + "x" * 61, id="63-characters"),
        pytest.param(",".join(f"a/{n}" for n in range(64)), id="64-gates"),
    ],
)
def test_gates_are_paths_with_a_domain(sets: support.Sets, gates: str) -> None:
    stored = sets.accept(queued(sets, gated_by(gates)))
    assert stored["metadata"]["annotations"][names.ADMISSION_GATED_BY] == gates


@pytest.mark.parametrize(
    ("gates", "complaint"),
    [
        row("C28", "my-gate", "a path with a domain"),
        row("C29", f"{GATE},{GATE}", "twice"),
        row("C30", "example.com/" + "x" * 300, "63 characters"),
        row("C31", "example.com/my gate", "a path with a domain"),
        row("C32", "example .com/my-gate", "a path with a domain"),
        row("C33", f"{GATE},bad", "a path with a domain"),
        row("C35", "my-gate", "a path with a domain"),
        pytest.param(f"{GATE},", "a path with a domain", id="empty-gate"),
        pytest.param("/x", "a path with a domain", id="empty-domain"),
        pytest.param("example.com/", "a path with a domain", id="empty-path"),
        pytest.param("a/" + "x" * 62, "63 characters", id="64-characters"),
        pytest.param(",".join(f"a/{n}" for n in range(65)), "64 gates", id="65-gates"),
        pytest.param("," * 200_000, "8192 characters", id="long"),
    ],
)
def test_what_is_no_gate_is_refused(sets: support.Sets, gates: str, complaint: str) -> None:
    with support.refused() as refusal:
        sets.accept(queued(sets, gated_by(gates)))
    refused_by_the_policy(refusal, f"{ANNOTATIONS}[{names.ADMISSION_GATED_BY}]")
    assert complaint in refusal.message


@pytest.mark.parametrize(
    ("before", "after"),
    [
        row("U24", GATE, None),
        row("U25", f"{GATE},{OTHER}", ""),
        row("U26", f"{GATE},{OTHER}", OTHER),
        row("U28", f"{GATE},{OTHER}", f"{OTHER} , {GATE}"),
    ],
)
def test_gates_may_be_removed_and_reordered(
    sets: support.Sets, before: str, after: str | None
) -> None:
    store(sets, support.merged(QUEUED, gated_by(before)))
    stored = sets.update(NAME, gated_by(after))["metadata"].get("annotations", {})
    assert stored.get(names.ADMISSION_GATED_BY) == after


@pytest.mark.parametrize(
    ("before", "after"), [row("U23", None, GATE), row("U27", GATE, f"{GATE},{OTHER}")]
)
def test_no_gate_is_added_to_a_set_that_is_in_a_queue(
    sets: support.Sets, before: str | None, after: str
) -> None:
    store(sets, support.merged(QUEUED, gated_by(before)))
    with support.refused() as refusal:
        sets.update(NAME, gated_by(after))
    refused_by_the_policy(refusal, f"{ANNOTATIONS}[{names.ADMISSION_GATED_BY}]", status=403)


def test_a_plain_set_may_get_gates_before_it_gets_a_queue(sets: support.Sets) -> None:
    store(sets, ready=1)
    sets.update(NAME, gated_by(GATE))


@pytest.mark.row("C37")
def test_there_are_no_elastic_sets(sets: support.Sets) -> None:
    elastic = {"metadata": {"annotations": {names.ELASTIC_JOB: "true"}}}
    with support.refused() as refusal:
        sets.accept(queued(sets, elastic))
    refused_by_the_policy(refusal, f"{ANNOTATIONS}[{names.ELASTIC_JOB}]", status=403)
    # Only this value means anything to Kueue.
    sets.accept(queued(sets, {"metadata": {"annotations": {names.ELASTIC_JOB: "false"}}}))


# Everything else -----------------------------------------------------------------------------

# What a group is admitted for may change: it is admitted anew. Kueue's built-in integration refuses
# that, and has a switch for the size alone.

CPU = {"requests": {"cpu": "1"}}


def pods(role: str, **spec: Any) -> Change:
    """Return a change of the pods of one template, with its only container."""
    container = support.pod_template(role)["spec"]["containers"][0]
    return support.template(**{f"{role}Template": {"spec": {"containers": [container], **spec}}})


def running(role: str, image: str) -> Change:
    """Return a change of the image of the only container of one template."""
    return pods(role, containers=[{"name": role, "image": image}])


def asking(role: str, **resources: Any) -> Change:
    """Return a change of what the only container of one template asks for."""
    container = support.pod_template(role)["spec"]["containers"][0]
    return pods(role, containers=[container | {"resources": resources}])


@pytest.mark.parametrize("ready", [0, 1])
@pytest.mark.parametrize(
    "change",
    [
        row("U05", support.template(size=10)),
        row("U06", support.template(size=10)),
        row("U07", support.template(size=2)),
        row("U18", support.merged(running("leader", "app:2"), running("worker", "app:2"))),
        row("U19", support.merged(asking("leader", **CPU), asking("worker", **CPU))),
        row("U20", pods("worker", initContainers=[{"name": "i", "image": "x", "resources": CPU}])),
        row("I01", support.template(size=3)),
        row("I02", support.template(size=1)),
        row("I03", {"replicas": 7}),
        row("I04", support.template(size=3)),
        pytest.param(support.template(leaderTemplate=None), id="leader-template"),
        pytest.param(pods("worker", nodeSelector={"pool": "other"}), id="node-selector"),
        pytest.param(
            pods("worker", tolerations=[{"key": "k", "operator": "Exists"}]), id="tolerations"
        ),
        pytest.param(pods("worker", priorityClassName="system-node-critical"), id="pod-priority"),
        pytest.param(
            support.template(
                workerTemplate={"metadata": {"annotations": {names.PODSET_REQUIRED_TOPOLOGY: "x"}}}
            ),
            id="topology",
        ),
    ],
)
def test_the_groups_of_a_set_in_a_queue_may_change(
    sets: support.Sets, change: Change, ready: int
) -> None:
    store(sets, QUEUED, ready=ready)
    before = sets.get(NAME)["spec"]
    after = sets.update(NAME, {"spec": change})["spec"]
    assert support.merged(after, change) == after
    assert after == support.merged(before, change)


@pytest.mark.parametrize("ready", [0, 1])
def test_a_plain_set_may_get_a_queue_and_a_priority_at_any_time(
    sets: support.Sets, ready: int
) -> None:
    store(sets, ready=ready)
    both = support.merged(QUEUED, support.merged(HIGH, gated_by(GATE)))
    after = sets.update(NAME, both)["metadata"]
    assert support.merged(after, both["metadata"]) == after


@pytest.mark.row("U08", "I05")
def test_a_plain_set_may_change_its_size(sets: support.Sets) -> None:
    store(sets, ready=1)
    after = sets.update(NAME, {"spec": support.template(size=10)})
    assert after["spec"]["leaderWorkerTemplate"]["size"] == 10


@pytest.mark.row("I06")
def test_a_set_that_goes_with_its_owner_may_lose_its_finalizers(sets: support.Sets) -> None:
    given = queued(sets)
    given["metadata"]["finalizers"] = ["example.com/hold"]
    # There is no such owner any more.
    given["metadata"]["ownerReferences"] = [
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "name": "gone",
            "uid": "6f1c5a5e-0000-4000-8000-000000000000",
            "controller": True,
        }
    ]
    sets.store(given)
    sets.delete(NAME)
    # Whoever holds it cannot take it out of its queue all the same.
    for broken in (labels(queue_name=None), gated_by("x")):
        with support.refused():
            sets.update(NAME, broken)
    sets.update(NAME, {"metadata": {"finalizers": None}})
